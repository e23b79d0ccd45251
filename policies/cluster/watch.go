package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
)

// Waits.
const (
	// startWait is how long the API server is waited for before the last good bundles judge, where they are kept.
	startWait = 5 * time.Second
	// followWait is how long the kinds that a new bundle reads are waited for. Without them its policies fault.
	followWait = 20 * time.Second
)

// Options of [New] and [Load].
type Options struct {
	// Verifier verifies revisions again, whatever the controller has found. Nil has no trusted root.
	Verifier *source.Verifier
	// Included are the bundles that others may build on.
	Included []policies.Included
	// Compiled is shared with other watches of the process; nil with none.
	Compiled *Compiled
	// Accepts says why this process cannot judge by a bundle; nil takes all.
	Accepts func(*policies.Bundle) error
	// Directory keeps the last good bundles for a start without API server; "" keeps none.
	Directory string
	// Name is that of this replica's PolicyReplica; "" writes none. Labels are its labels.
	Name   string
	Labels map[string]string
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// Logger hears what is loaded and what is refused; nil discards.
	Logger *slog.Logger

	// Install is given each new lineup, one after the other.
	Install func(*admission.Lineup)
	// Follow makes the facts of kinds that policies read known, as [informer.Facts.Follow] does; nil for no facts.
	Follow func(context.Context, []policies.Read) error
	// Seen is what was seen of the candidate of a bundle; nil for nothing.
	Seen func(bundle string) *v1alpha1.Comparison
}

func (o *Options) setDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Verifier == nil {
		o.Verifier = source.NewVerifier(source.VerifierOptions{Now: o.Now})
	}
	if o.Install == nil {
		o.Install = func(*admission.Lineup) {}
	}
}

// Watch follows the bundles of a cluster. Use [New].
type Watch struct {
	options    Options
	objects    *objects
	cache      *cache
	bundles    toolscache.SharedIndexInformer
	exceptions toolscache.SharedIndexInformer
	replica    *replica
	changed    chan struct{} // holds at most one

	// Of the goroutine of Run:
	members *members

	mu        sync.Mutex
	installed bool
	problem   error // why nothing is installed yet
	reported  []*member
	granted   []policies.Exception
	notes     []string
}

// New makes a Watch of the cluster that config is for. Nothing is asked before Run.
func New(config *rest.Config, options Options) (*Watch, error) {
	options.setDefaults()
	objects, err := newObjects(config)
	if err != nil {
		return nil, err
	}
	kept, err := openCache(options.Directory, options.Logger)
	if err != nil {
		return nil, err
	}
	w := &Watch{options: options, objects: objects, cache: kept, changed: make(chan struct{}, 1), problem: errors.New("the PolicyBundles have not been listed yet")}
	w.members = newMembers(&loader{objects: objects, cache: kept, verifier: options.Verifier, options: &w.options}, options.Now)
	if w.bundles, err = w.watch(v1alpha1.Bundles); err != nil {
		return nil, err
	}
	if w.exceptions, err = w.watch(v1alpha1.Exceptions); err != nil {
		return nil, err
	}
	if options.Name != "" {
		w.replica = &replica{objects: objects, name: options.Name, labels: options.Labels, now: options.Now}
	}
	return w, nil
}

// watch follows all objects of a kind, which are few and small.
func (w *Watch) watch(resource schema.GroupVersionResource) (toolscache.SharedIndexInformer, error) {
	informer := dynamicinformer.NewFilteredDynamicInformer(w.objects.client, resource, metav1.NamespaceAll, 0, toolscache.Indexers{}, nil).Informer()
	poke := func(any) { w.poke() }
	_, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: poke, DeleteFunc: poke,
		UpdateFunc: func(before, after any) {
			if version(before) != version(after) {
				w.poke()
			}
		},
	})
	if err == nil {
		err = informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *toolscache.Reflector, err error) { w.failed(resource.Resource, err) })
	}
	if err == nil {
		err = informer.SetTransform(func(object any) (any, error) {
			if read, ok := object.(*unstructured.Unstructured); ok {
				read.SetManagedFields(nil)
			}
			return object, nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", resource.Resource, err)
	}
	return informer, nil
}

func version(object any) string {
	if read, ok := object.(*unstructured.Unstructured); ok {
		return read.GetResourceVersion()
	}
	return ""
}

// failed notes why nothing can be known yet.
func (w *Watch) failed(resource string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.installed && resource == v1alpha1.Bundles.Resource {
		w.problem = fmt.Errorf("listing the PolicyBundles: %w: install the custom resources, and let the webhook's service account get, list and watch them", err)
	}
}

// poke has Run look again.
func (w *Watch) poke() {
	select {
	case w.changed <- struct{}{}:
	default: // it will
	}
}

// Run follows the bundles and reports until the context ends, and then deletes its PolicyReplica.
func (w *Watch) Run(ctx context.Context) {
	var group sync.WaitGroup
	for _, informer := range []toolscache.SharedIndexInformer{w.bundles, w.exceptions} {
		group.Go(func() { informer.RunWithContext(ctx) })
	}
	if w.replica != nil {
		group.Go(func() { w.reports(ctx) })
	}
	w.begin(ctx)
	for ctx.Err() == nil {
		w.look(ctx)
		w.rest(ctx)
	}
	group.Wait()
}

// begin waits for the first list of the cluster, and judges by the last good bundles while there is none.
func (w *Watch) begin(ctx context.Context) {
	first, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	if toolscache.WaitForCacheSync(first.Done(), w.bundles.HasSynced) {
		toolscache.WaitForCacheSync(first.Done(), w.exceptions.HasSynced) // without them nothing is waived
		return
	}
	if last := w.cache.last(); len(last) > 0 && ctx.Err() == nil {
		w.options.Logger.Warn("the API server does not answer for PolicyBundles: judging by the last good ones, without exceptions of the cluster", "directory", w.options.Directory)
		w.install(ctx, listing{bundles: last}, nil)
	}
	toolscache.WaitForCacheSync(ctx.Done(), w.bundles.HasSynced)
}

// rest waits for something to change, or for the time to try again what failed.
func (w *Watch) rest(ctx context.Context) {
	var again <-chan time.Time
	if retry := w.members.retry(); !retry.IsZero() {
		timer := time.NewTimer(max(retry.Sub(w.options.Now()), time.Second))
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-ctx.Done():
	case <-w.changed:
	case <-again:
	}
}

// look installs what the cluster has now.
func (w *Watch) look(ctx context.Context) {
	bundles, unreadable := read[v1alpha1.PolicyBundle](w.bundles)
	exceptions, ungranted := read[v1alpha1.PolicyException](w.exceptions)
	for name, err := range ungranted {
		w.options.Logger.Error("an exception of the cluster cannot be read and waives nothing", "exception", name, "error", err)
	}
	if w.install(ctx, listing{bundles, unreadable}, exceptions) && len(bundles) > 0 {
		w.cache.remember(bundles)
	}
}

// read are the objects of a kind, and by their names what is wrong with those that cannot be read: the API server has
// validated them, but it takes more for a duration than Go does, and may have the definition of another version.
func read[T any](informer toolscache.SharedIndexInformer) (all []T, unreadable map[string]error) {
	unreadable = map[string]error{}
	for _, object := range informer.GetStore().List() {
		var one T
		found := object.(*unstructured.Unstructured)
		if err := decode(found, &one); err != nil {
			unreadable[toolscache.MetaObjectToName(found).String()] = err
			continue
		}
		all = append(all, one)
	}
	return all, unreadable
}

// install loads what is new and installs the lineup, and says whether all of it is as the cluster says.
func (w *Watch) install(ctx context.Context, bundles listing, exceptions []v1alpha1.PolicyException) bool {
	before := w.members.byName
	w.members.update(ctx, bundles)
	granted, ungranted := exceptionsOf(exceptions)
	lineup, missing := w.members.lineup(granted)
	w.say(before)
	if w.bundles.HasSynced() { // else nobody would answer
		w.follow(ctx)
	}
	if ctx.Err() != nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reported, w.granted = w.members.sorted(), granted
	w.notes = notesOf(w.reported, ungranted)
	if len(lineup.Members) == 0 || missing != nil && !w.installed {
		w.problem = missing
		return false
	}
	w.options.Install(lineup)
	w.installed = true
	return missing == nil && !slices.ContainsFunc(w.reported, func(m *member) bool { return m.problem != nil })
}

// follow has the facts that are read known before somebody judges by them.
func (w *Watch) follow(ctx context.Context) {
	if w.options.Follow == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, followWait)
	defer cancel()
	if err := w.options.Follow(ctx, w.members.reads()); err != nil {
		w.options.Logger.Warn("policies of a new bundle read what is not known yet, and will fail until it is", "error", err)
	}
}

// say logs what has changed.
func (w *Watch) say(before map[string]*member) {
	for _, now := range w.members.sorted() {
		then := before[now.bundle.Name]
		if then == nil {
			then = &member{}
		}
		if digestOf(now.active) != digestOf(then.active) || digestOf(now.candidate) != digestOf(then.candidate) {
			w.options.Logger.Info("loaded a bundle", "bundle", now.bundle.Name, "active", short(digestOf(now.active)), "candidate", short(digestOf(now.candidate)), "phase", now.bundle.Status.Phase)
		}
		if now.problem != nil && (then.problem == nil || then.problem.Error() != now.problem.Error()) {
			w.options.Logger.Error("a bundle is not as its PolicyBundle says", "bundle", now.bundle.Name, "error", now.problem)
		}
	}
	for name := range before {
		if w.members.byName[name] == nil {
			w.options.Logger.Warn("a bundle judges no more: its PolicyBundle was deleted", "bundle", name)
		}
	}
}

func digestOf(l *loaded) string {
	if l == nil {
		return ""
	}
	return l.ready.Digest
}

// notesOf is what there is to know of a lineup that judges.
func notesOf(members []*member, ungranted error) []string {
	var notes []string
	for _, m := range members {
		if m.problem != nil {
			notes = append(notes, fmt.Sprintf("bundle %s: %v", m.bundle.Name, m.problem))
		}
	}
	if ungranted != nil {
		notes = append(notes, ungranted.Error())
	}
	return notes
}

// Check says why nothing can be judged yet.
func (w *Watch) Check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.installed {
		return nil
	}
	return w.problem
}

// Notes are what is not as the cluster says it should be, though requests are judged.
func (w *Watch) Notes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.notes
}

// Report is what is loaded of each bundle, as PolicyReplica has it, sorted by name.
func (w *Watch) Report() []v1alpha1.ReplicaBundle {
	w.mu.Lock()
	defer w.mu.Unlock()
	var bundles []v1alpha1.ReplicaBundle
	for _, m := range w.reported {
		bundles = append(bundles, m.reportOf(w.options.Seen))
	}
	return bundles
}

// Exceptions are those that the cluster grants, as the lineup has them.
func (w *Watch) Exceptions() []policies.Exception {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.granted
}

// reports writes the PolicyReplica until the context ends. One that cannot be written is tried again; requests are judged
// without it, but no rollout goes on.
func (w *Watch) reports(ctx context.Context) {
	ticker := time.NewTicker(reportInterval)
	defer ticker.Stop()
	failing := false
	for {
		err := w.replica.report(ctx, w.Report())
		if err != nil && ctx.Err() == nil && !failing {
			w.options.Logger.Warn("telling what is loaded fails: rollouts wait for it", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			if err := w.replica.leave(ctx); err != nil {
				w.options.Logger.Warn("saying goodbye failed: the controller will notice", "error", err)
			}
			return
		case <-ticker.C:
		}
	}
}
