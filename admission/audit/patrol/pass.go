package patrol

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/audit/stored"
	"github.com/portcullis-dev/portcullis/policies"
)

// area is what a pass goes over.
type area struct {
	// resources are "deployments.apps"; nil for all that policies are about.
	resources map[string]bool
	// namespaces are the only ones, nil for all and for what has none.
	namespaces map[string]bool
	// known leaves out what was judged as it is: it is for finding what is missing.
	known bool
}

// everything says that an area is all there is.
func (a *area) everything() bool { return a.resources == nil && a.namespaces == nil }

// covers says whether a pass over one area does for another.
func (a *area) covers(b *area) bool {
	within := func(outer, inner map[string]bool) bool {
		if outer == nil || inner == nil {
			return outer == nil
		}
		for name := range inner {
			if !outer[name] {
				return false
			}
		}
		return true
	}
	return (!a.known || b.known) && within(a.resources, b.resources) && within(a.namespaces, b.namespaces)
}

// maxPending bounds what waits: so many different areas are everything.
const maxPending = 64

// add has an area looked at.
func (p *Patrol) add(a area) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.insert(a, false)
}

// insert has an area looked at, before the others or after them, unless one does for it that waits. p.mu is held.
func (p *Patrol) insert(a area, first bool) {
	for n := range p.pending {
		if p.pending[n].covers(&a) {
			return
		}
	}
	p.pending = slices.DeleteFunc(p.pending, func(b area) bool { return a.covers(&b) })
	place := len(p.pending)
	if first {
		place = 0
	}
	if p.pending = slices.Insert(p.pending, place, a); len(p.pending) > maxPending {
		p.pending = []area{{}}
	}
}

// addInterests has what policies are about looked at: those of exact namespaces there only.
func (p *Patrol) addInterests(interests []policies.Interest) {
	everywhere, named := map[string]bool{}, map[string]map[string]bool{}
	for _, interest := range interests {
		resource := audit.Reference{Group: interest.Group, Resource: interest.Resource}.GroupResource()
		if interest.Namespaces == nil {
			everywhere[resource] = true
			continue
		}
		if named[resource] == nil {
			named[resource] = map[string]bool{}
		}
		for _, namespace := range interest.Namespaces {
			named[resource][namespace] = true
		}
	}
	if len(everywhere) > 0 {
		p.add(area{resources: everywhere})
	}
	for resource, namespaces := range named {
		if !everywhere[resource] {
			p.add(area{resources: map[string]bool{resource: true}, namespaces: namespaces})
		}
	}
}

// addObject has one object looked at.
func (p *Patrol) addObject(r audit.Reference) {
	if resources := p.addSingle(r); resources != nil {
		p.add(area{resources: resources})
	}
}

// addSingle notes an object. Beyond some it gives their resources instead, to be gone through.
func (p *Patrol) addSingle(r audit.Reference) map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	kind := area{resources: map[string]bool{r.GroupResource(): true}}
	if slices.ContainsFunc(p.pending, func(a area) bool { return a.covers(&kind) }) {
		return nil
	}
	if p.objects[r] = true; len(p.objects) <= maxSingle {
		return nil
	}
	resources := map[string]bool{}
	for object := range p.objects {
		resources[object.GroupResource()] = true
	}
	clear(p.objects)
	return resources
}

// rush has objects looked at before anything else, or, where there are too many, their kinds.
func (p *Patrol) rush(objects []audit.Reference) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range objects {
		p.urgent[r] = true
	}
	if len(p.urgent) <= maxSingle {
		return
	}
	resources := map[string]bool{}
	for r := range p.urgent {
		resources[r.GroupResource()] = true
	}
	clear(p.urgent)
	p.insert(area{resources: resources}, true)
}

// rushed takes what is to be looked at before anything else.
func (p *Patrol) rushed() []audit.Reference {
	p.mu.Lock()
	defer p.mu.Unlock()
	objects := slices.SortedFunc(maps.Keys(p.urgent), audit.CompareOrder)
	clear(p.urgent)
	return objects
}

// next takes from what waits: areas first, since they do for objects, too.
func (p *Patrol) next() (work *area, objects []audit.Reference, readers []reader) {
	if objects = p.rushed(); len(objects) > 0 {
		return nil, objects, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pending) > 0 {
		first := p.pending[0]
		p.pending = p.pending[1:]
		return &first, nil, nil
	}
	objects = slices.SortedFunc(maps.Keys(p.objects), audit.CompareOrder)
	clear(p.objects)
	if len(objects) > 0 {
		return nil, objects, nil
	}
	// What is read is read from watches of its own, which see the change a moment before or after.
	due := p.options.Now().Add(-related)
	for r, since := range p.readers {
		if !since.After(due) {
			readers = append(readers, r)
			delete(p.readers, r)
		}
	}
	return nil, nil, readers
}

// pass goes over an area.
func (p *Patrol) pass(ctx context.Context, a area) {
	began := p.options.Now()
	kinds, gaps, err := p.served(ctx)
	if err != nil {
		if ctx.Err() == nil {
			p.note(audit.Gap{What: "kinds", Reason: err.Error() + ": it is tried again"})
			p.later(ctx, a)
		}
		return
	}
	p.clear("kinds")
	for _, gap := range gaps {
		p.note(gap)
	}
	p.forget(kinds, gaps)
	p.sees(kinds)
	// Kinds that were bad the last time come first, so that what is new of them is known first.
	worst := p.ledger.Worst()
	slices.SortStableFunc(kinds, func(x, y stored.Kind) int { return cmp.Compare(weight(worst, x), weight(worst, y)) })
	number := p.ledger.Begin()
	first := !p.hasPassed()
	shares := p.shares.Load()
	complete := len(gaps) == 0
	for _, kind := range kinds {
		if ctx.Err() != nil {
			return
		}
		p.single(ctx, p.rushed())
		if a.resources == nil || a.resources[kind.GroupResource()] {
			complete = p.list(ctx, kind, a, number, first || a.known) && complete
		}
	}
	if ctx.Err() != nil {
		return
	}
	p.finish(ctx, a, kinds, began, shares, complete)
}

// served are the kinds to go over, without those that are skipped.
func (p *Patrol) served(ctx context.Context) ([]stored.Kind, []audit.Gap, error) {
	kinds, gaps, err := p.options.Client.Kinds(ctx, audit.Interests(p.options.Reviewer.Lineup()))
	kinds = slices.DeleteFunc(kinds, func(k stored.Kind) bool { return slices.Contains(p.options.Skip, k.GroupResource()) })
	return kinds, slices.DeleteFunc(gaps, func(g audit.Gap) bool { return slices.Contains(p.options.Skip, g.What) }), err
}

// weight puts kinds with critical findings first, and those without any last.
func weight(worst map[string]int, kind stored.Kind) int {
	if w, ok := worst[kind.GroupResource()]; ok {
		return w
	}
	return 100
}

func (p *Patrol) hasPassed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed
}

// forget ends what is about kinds that policies are not about any more.
func (p *Patrol) forget(kinds []stored.Kind, gaps []audit.Gap) {
	served := map[string]bool{}
	for _, kind := range kinds {
		served[kind.GroupResource()] = true
	}
	for _, gap := range gaps {
		served[gap.What] = true // it may be there
	}
	p.ledger.Keep(served)
	maps.DeleteFunc(p.kinds, func(resource string, _ bool) bool { return !served[resource] })
	for resource, stop := range p.watches {
		if !served[resource] {
			stop()
			delete(p.watches, resource)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = p.options.Now().Add(discovery)
	for what := range p.gaps {
		if !served[strings.TrimPrefix(what, changesOf)] {
			delete(p.gaps, what)
		}
	}
}

// changesOf begins what is missing where a kind cannot be watched.
const changesOf = "changes of "

// discover looks now and then for kinds that are served since the last pass or could not be listed then, or are not served any more.
func (p *Patrol) discover(ctx context.Context) {
	p.mu.Lock()
	due := p.passed && !p.options.Now().Before(p.asked)
	if due {
		p.asked = p.options.Now().Add(discovery)
	}
	p.mu.Unlock()
	if !due {
		return
	}
	kinds, gaps, err := p.served(ctx)
	if err != nil {
		return // the next pass says so
	}
	fresh := map[string]bool{}
	for _, kind := range kinds {
		if !p.kinds[kind.GroupResource()] {
			fresh[kind.GroupResource()] = true
		}
	}
	p.forget(kinds, gaps)
	if len(fresh) > 0 {
		p.add(area{resources: fresh})
	}
}

// finish ends a pass.
func (p *Patrol) finish(ctx context.Context, a area, kinds []stored.Kind, began time.Time, shares int64, complete bool) {
	now := p.options.Now()
	p.options.Metrics.ran(a.everything() && !a.known, now.Sub(began), now)
	if a.everything() {
		p.settled.Store(shares)
		p.mu.Lock()
		if !p.passed {
			p.images = now.Add(imagesInterval)
		}
		p.passed = true
		if !a.known || p.full.IsZero() {
			// Replicas, and clusters, that began together do not stay together.
			p.full = now.Add(p.options.Interval - time.Duration(rand.Int64N(int64(p.options.Interval/10)+1)))
		}
		p.mu.Unlock()
		p.options.Log.Info("went through all objects", "kinds", len(kinds), "complete", complete, "took", now.Sub(began).Round(time.Millisecond))
	}
	p.schedule(now, p.options.Reviewer.Lineup())
	p.Publish(ctx)
	if a.everything() && complete && p.options.Reports != nil && ctx.Err() == nil {
		if err := p.options.Reports.Sweep(ctx, p.options.Owns, p.ledger.Scopes()); err != nil {
			p.options.Log.Warn("deleting reports of what is gone fails: it is tried again with the next pass", "error", err)
		}
	}
}

// later tries an area again after a while.
func (p *Patrol) later(ctx context.Context, a area) {
	p.group.Go(func() {
		select {
		case <-ctx.Done():
		case <-time.After(retry):
			p.add(a)
			p.Wake()
		}
	})
}

// list goes over a kind and says whether all of it was seen. Its changes are followed from then on.
func (p *Patrol) list(ctx context.Context, kind stored.Kind, a area, number uint64, first bool) bool {
	namespaces := []string{""}
	if a.namespaces != nil && kind.Namespaced {
		namespaces = slices.Sorted(maps.Keys(a.namespaces))
	}
	for _, namespace := range namespaces {
		version, err := p.judgeAll(ctx, kind, namespace, a.known, first)
		if gap := stored.GapOf(ctx, kind, err); gap != nil {
			p.note(*gap)
			return false
		}
		if err != nil || ctx.Err() != nil {
			return false
		}
		p.clear(kind.GroupResource())
		p.ledger.Sweep(number, kind.GroupResource(), namespace)
		if namespace == "" {
			p.follow(ctx, kind, version)
			p.kinds[kind.GroupResource()] = true
		}
	}
	return true
}

// judgeAll judges the objects of a list, as many at once as there are places. The list waits for them: no more than a page
// and what is being judged is in memory.
func (p *Patrol) judgeAll(ctx context.Context, kind stored.Kind, namespace string, known, first bool) (version string, err error) {
	var group sync.WaitGroup
	defer group.Wait()
	seen := 0
	return p.options.Client.List(ctx, kind, namespace, func(object audit.Object) error {
		if seen++; seen%rushEvery == 0 {
			p.single(ctx, p.rushed())
		}
		if known && p.ledger.Same(object.Reference, object.Content) {
			return nil
		}
		if !p.place(ctx) {
			return context.Cause(ctx)
		}
		group.Go(func() {
			defer p.leave()
			p.judge(ctx, object, first)
		})
		return nil
	})
}

// rushEvery is after how many objects of a list it is looked for what comes before anything else.
const rushEvery = 500

// place waits for a place among those who judge.
func (p *Patrol) place(ctx context.Context) bool {
	select {
	case p.places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *Patrol) leave() { <-p.places }

// single looks at objects one by one.
func (p *Patrol) single(ctx context.Context, objects []audit.Reference) {
	if len(objects) == 0 {
		return
	}
	for _, r := range objects {
		kind := stored.Kind{Group: r.Group, Version: r.Version, Kind: r.Kind, Resource: r.Resource, Namespaced: r.Namespace != ""}
		object, found, err := p.options.Client.Get(ctx, kind, r.Namespace, r.Name)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			p.options.Log.Warn("looking at an object again fails: its kind is gone through", "object", r.String(), "error", err)
			p.later(ctx, area{resources: map[string]bool{r.GroupResource(): true}})
		case !found:
			p.ledger.Remove(r, "")
		case p.place(ctx):
			p.judge(ctx, object, false)
			p.leave()
		}
	}
	p.schedule(p.options.Now(), p.options.Reviewer.Lineup())
	poke(p.publish)
}

// relate has those looked at that are judged by reading what has changed.
func (p *Patrol) relate(readers []reader) {
	lineup := p.options.Reviewer.Lineup()
	for _, r := range readers {
		resources := map[string]bool{}
		for _, interest := range audit.ReadInterests(lineup, r.group, r.resource) {
			resources[audit.Reference{Group: interest.Group, Resource: interest.Resource}.GroupResource()] = true
		}
		if r.group == "" && r.resource == "namespaces" { // its labels choose profiles and policies
			resources = nil
		}
		if resources != nil && len(resources) == 0 {
			continue
		}
		work := area{resources: resources}
		if r.namespace != "" {
			work.namespaces = map[string]bool{r.namespace: true}
		}
		p.add(work)
	}
}
