package backup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

// Restore is how an archive is put into a cluster.
type Restore struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Namespace is that of the installation in this cluster.
	Namespace string
	// Only are the kinds that are restored, all for none.
	Only []*Kind
	// Apply writes. Without it all is sent as a dry run, so that what the cluster would refuse is known.
	Apply bool
	// Overwrite has what is there say what the archive says. Without it what is there stays. A Quarantine that is over stays over unless Only
	// names its kind, too.
	Overwrite bool
	Now       func() time.Time
	// Sleep waits while Leases are observed, nil for the clock of this machine. Its error is the context's cause.
	Sleep func(context.Context, time.Duration) error
}

// Outcome is what has become of one object.
type Outcome int

// The outcomes. The zero value is that it is not there.
const (
	// Failed was refused.
	Failed Outcome = iota
	// Created was not there.
	Created
	// Completed was there without a status, which it has now; what else it says stays.
	Completed
	// Overwritten was there, and said something else.
	Overwritten
	// Kept is there, and says the same.
	Kept
	// Differs is there, says something else, and stays as it is.
	Differs
	// Ended counts for nothing any more, and was not restored.
	Ended
)

// maxTold is how many objects a report names of each sort.
const maxTold = 50

// Report is what a restore has done, or would do.
type Report struct {
	Kinds []KindReport
	// Failures, Ended and Differing name objects, at most maxTold each; KindReport counts all. Returning are exceptions, incidents and
	// quarantines that were not there, or said something else: what somebody has taken back since the backup is among them.
	Failures, Ended, Differing, Returning []Told
	// Acting are programs that act already: as long as they do nothing is written that they would act on.
	Acting []string
	// Cluster is the one that was written to, Same says that the backup was taken from it.
	Cluster Cluster
	Same    bool
}

// KindReport counts what became of the objects of a kind.
type KindReport struct {
	Kind  *Kind
	Count map[Outcome]int
}

// Told is one object, and what there is to say about it.
type Told struct{ Object, Why string }

// Failed counts what was refused.
func (r *Report) Failed() (n int) {
	for _, kind := range r.Kinds {
		n += kind.Count[Failed]
	}
	return n
}

// ActingError says that programs act already.
type ActingError struct {
	Namespace string
	Programs  []string
}

func (e *ActingError) Error() string {
	var components []string
	for _, name := range e.Programs {
		components = append(components, strings.TrimPrefix(name, "portcullis-"))
	}
	return fmt.Sprintf("already acting: %s; what acts would act on objects whose status is not there yet: end it (kubectl --namespace %s scale deployment,statefulset --selector 'app.kubernetes.io/component in (%s)' --replicas=0), "+
		"wait until its Lease has run out, and run this again; or restore other kinds by --only; a Lease that nobody will give back has to be deleted", strings.Join(e.Programs, ", "), e.Namespace, strings.Join(components, ","))
}

// Run restores. The error is about all of it: a kind that the cluster does not know, rights that are missing (a [*RightsError]), a program
// that acts already (an [*ActingError]), an archive that changes. What was refused of single objects is in the report.
//
// It can be run again after it was interrupted: what is there stays, and a status that is missing is written.
func (r Restore) Run(ctx context.Context, from *Archive) (*Report, error) {
	wanted := r.wanted(from)
	served, err := servedKinds(ctx, r.Client)
	if err != nil {
		return nil, err
	}
	var unknown []string
	for _, kind := range wanted {
		if !served[kind.Name()] {
			unknown = append(unknown, kind.Name())
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("the cluster does not know %s: install the chart, or apply what the crd command of each program prints; or restore other kinds by --only", strings.Join(unknown, ", "))
	}
	if err := mayAll(ctx, r.Client, r.rights(wanted)); err != nil {
		return nil, err
	}
	report := &Report{Cluster: clusterOf(ctx, r.Client)}
	report.Same = report.Cluster.ID != "" && report.Cluster.ID == from.Manifest.Cluster.ID
	if report.Acting, err = r.acting(ctx, wanted); err != nil {
		return nil, err
	}
	if r.Apply && len(report.Acting) > 0 {
		return nil, &ActingError{Namespace: r.Namespace, Programs: report.Acting}
	}
	run := &restoring{Restore: r, report: report, uids: map[types.UID]types.UID{}}
	for _, kind := range wanted {
		run.kind, run.count = kind, map[Outcome]int{}
		report.Kinds = append(report.Kinds, KindReport{Kind: kind, Count: run.count})
		if err := from.Objects(kind, func(o *unstructured.Unstructured) error { return run.object(ctx, o) }); err != nil {
			return report, fmt.Errorf("restoring %s: %w", kind.Name(), err)
		}
	}
	return report, nil
}

// wanted are the kinds that the archive has objects of, in the order in which they are restored.
func (r Restore) wanted(from *Archive) []*Kind {
	var wanted []*Kind
	for n := range kinds {
		kind := &kinds[n]
		if of := from.Manifest.Of(kind); of != nil && of.Objects > 0 && (len(r.Only) == 0 || slices.Contains(r.Only, kind)) {
			wanted = append(wanted, kind)
		}
	}
	return wanted
}

func (r Restore) rights(wanted []*Kind) []right {
	var all []right
	for _, kind := range wanted {
		all = append(all, right{verb: "get", kind: kind}, right{verb: "create", kind: kind})
		if r.Overwrite && !kind.fixed {
			all = append(all, right{verb: "update", kind: kind})
		}
		if kind.status != nil {
			all = append(all, right{verb: "update", subresource: "status", kind: kind})
		}
	}
	return all
}

// restoring is one run.
type restoring struct {
	Restore
	report *Report
	kind   *Kind
	count  map[Outcome]int
	// uids are those of objects in this cluster, by those that they had.
	uids map[types.UID]types.UID
	// why is what there is to say of the object at hand that differs.
	why string
}

// object restores one. An error ends the run.
func (r *restoring) object(ctx context.Context, was *unstructured.Unstructured) error {
	if r.kind.ended != nil {
		if why := r.kind.ended(was, r.Now()); why != "" {
			r.count[Ended]++
			r.report.Ended = tell(r.report.Ended, r.kind, was, why)
			return nil
		}
	}
	r.why = ""
	outcome, err := r.put(ctx, was)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		outcome = Failed
		r.report.Failures = tell(r.report.Failures, r.kind, was, r.explain(was, err))
	}
	if outcome == Differs && r.why == "" {
		r.why = "it says something else here"
	}
	if r.why != "" && err == nil {
		r.report.Differing = tell(r.report.Differing, r.kind, was, r.why)
	}
	if r.kind.about != nil && (outcome == Created || outcome == Completed || outcome == Overwritten) {
		about := r.kind.about(was)
		if outcome == Overwritten && about != "" {
			about += "; it said something else here"
		}
		if about != "" {
			r.report.Returning = tell(r.report.Returning, r.kind, was, about)
		}
	}
	r.count[outcome]++
	return nil
}

func tell(all []Told, kind *Kind, o *unstructured.Unstructured, why string) []Told {
	if len(all) < maxTold {
		all = append(all, Told{Object: kind.Kind + " " + nameOf(o), Why: why})
	}
	return all
}

// explain adds the next step.
func (r *restoring) explain(was *unstructured.Unstructured, err error) string {
	switch {
	case apierrors.IsNotFound(err) && r.kind.Namespaced:
		return fmt.Sprintf("the namespace %s is not there: create it, and run this again", was.GetNamespace())
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return fmt.Sprintf("the namespace %s is being deleted: wait until it is gone, create it, and run this again", was.GetNamespace())
	case apierrors.IsForbidden(err):
		return err.Error() + ": have it done by somebody who administers Portcullis (docs/backup.md)"
	}
	return err.Error()
}

func (r *restoring) at(o *unstructured.Unstructured) dynamic.ResourceInterface {
	if r.kind.Namespaced {
		return r.Dynamic.Resource(r.kind.Resource).Namespace(o.GetNamespace())
	}
	return r.Dynamic.Resource(r.kind.Resource)
}

// dry is for the options of a write.
func (r *restoring) dry() []string {
	if r.Apply {
		return nil
	}
	return []string{metav1.DryRunAll}
}

// put has an object be there.
func (r *restoring) put(ctx context.Context, was *unstructured.Unstructured) (Outcome, error) {
	wanted := r.clean(was)
	made, err := r.at(was).Create(ctx, wanted, metav1.CreateOptions{DryRun: r.dry(), FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return r.there(ctx, was, wanted)
	}
	if err != nil {
		return Failed, err
	}
	r.uids[was.GetUID()] = made.GetUID()
	if err := r.writeStatus(ctx, was, made); err != nil {
		return Failed, fmt.Errorf("writing its status: %w: run this again", err)
	}
	return Created, nil
}

// there deals with one that is there.
func (r *restoring) there(ctx context.Context, was, wanted *unstructured.Unstructured) (Outcome, error) {
	found, err := r.at(was).Get(ctx, was.GetName(), metav1.GetOptions{})
	if err != nil {
		return Failed, err
	}
	if found.GetDeletionTimestamp() != nil {
		return Failed, errors.New("it is being deleted: wait until it is gone, and run this again")
	}
	r.uids[was.GetUID()] = found.GetUID()
	if r.kind.takenBack != nil && r.kind.takenBack(found, was) && (!r.Overwrite || !slices.Contains(r.Only, r.kind)) {
		if now, _ := found.Object["status"].(map[string]any); r.kind.blank(now) {
			return r.other(ctx, was, found) // it is released by what was done
		}
		r.why = fmt.Sprintf("it is over here, and in force in the archive: --overwrite together with --only %s puts it in force again", r.kind.Resource.Resource)
		return Differs, nil
	}
	same := sameSpec(found, wanted)
	outcome := Kept
	switch {
	case !same && r.kind.fixed:
		return Differs, nil
	case !same && !r.Overwrite:
		return r.other(ctx, was, found)
	case !same:
		outcome = Overwritten
		update := wanted.DeepCopy()
		update.SetResourceVersion(found.GetResourceVersion())
		update.SetUID(found.GetUID())
		update.SetFinalizers(found.GetFinalizers())
		if status, there := found.Object["status"]; there {
			update.Object["status"] = status
		}
		if found, err = r.at(was).Update(ctx, update, metav1.UpdateOptions{DryRun: r.dry(), FieldManager: fieldManager}); err != nil {
			return Failed, err
		}
	}
	status := r.status(was)
	if status == nil {
		return outcome, nil
	}
	now, _ := found.Object["status"].(map[string]any)
	switch {
	case equality.Semantic.DeepEqual(r.kind.status(now), status):
		return outcome, nil
	case r.kind.blank(now):
		if outcome == Kept {
			outcome = Completed
		}
	case r.Overwrite:
		outcome = Overwritten
	default:
		return Differs, nil
	}
	if err := r.writeStatus(ctx, was, found); err != nil {
		return Failed, fmt.Errorf("writing its status: %w: run this again", err)
	}
	return outcome, nil
}

// other deals with one whose spec says something else, and stays. A status that says nothing is none that stays: without the one of the
// archive a bundle would take an old serial for its first one, and a pod would be contained anew.
func (r *restoring) other(ctx context.Context, was, found *unstructured.Unstructured) (Outcome, error) {
	now, _ := found.Object["status"].(map[string]any)
	switch {
	case r.status(was) == nil || !r.kind.blank(now):
		return Differs, nil
	case !r.kind.anySpec:
		return Failed, errors.New("its spec says something else here, and its status, which says nothing yet, is not about that one: see which of them is right; then --overwrite, or --only with the other kinds")
	}
	if err := r.writeStatus(ctx, was, found); err != nil {
		return Failed, fmt.Errorf("writing its status: %w: run this again", err)
	}
	r.why = "its spec says something else here, and stays; its status, which said nothing, is that of the archive"
	return Completed, nil
}

// fieldManager is who the API server notes as the one who wrote.
const fieldManager = "portcullis-restore"

// statusAttempts is how often a status is written that somebody else writes at the same time.
const statusAttempts = 5

// writeStatus writes the status of an object as it is there. On a dry run there may be none.
func (r *restoring) writeStatus(ctx context.Context, was, there *unstructured.Unstructured) error {
	status := r.status(was)
	if status == nil || !r.Apply {
		return nil
	}
	if r.kind.begun != nil {
		status = r.kind.begun(status, r.Now)
	}
	uid := there.GetUID()
	for attempt := 1; ; attempt++ {
		there.Object["status"] = status
		_, err := r.at(was).UpdateStatus(ctx, there, metav1.UpdateOptions{FieldManager: fieldManager})
		if !apierrors.IsConflict(err) || attempt == statusAttempts {
			return err
		}
		if there, err = r.at(was).Get(ctx, was.GetName(), metav1.GetOptions{}); err != nil {
			return err
		}
		if there.GetUID() != uid {
			return errors.New("somebody has replaced it meanwhile")
		}
	}
}

// status is what is restored of a status, nil for nothing.
func (r *restoring) status(was *unstructured.Unstructured) map[string]any {
	status, _ := was.Object["status"].(map[string]any)
	if r.kind.status == nil || len(status) == 0 {
		return nil
	}
	kept := r.kind.status(status)
	if len(kept) == 0 || r.kind.blank(kept) {
		return nil
	}
	return kept
}

// clean is an object as it is created: what the API server and our programs write is left to them. Finalizers are set again by whoever
// finishes them, so that nothing waits for somebody who is not there; owners are those of this cluster, and one that is not there is
// none, or the garbage collector would take the object away.
func (r *restoring) clean(was *unstructured.Unstructured) *unstructured.Unstructured {
	made := &unstructured.Unstructured{Object: maps.Clone(was.Object)}
	delete(made.Object, "metadata")
	delete(made.Object, "status")
	made.SetName(was.GetName())
	if r.kind.Namespaced {
		made.SetNamespace(was.GetNamespace())
	}
	made.SetLabels(was.GetLabels())
	made.SetAnnotations(was.GetAnnotations())
	var owners []metav1.OwnerReference
	for _, owner := range was.GetOwnerReferences() {
		if uid, known := r.uids[owner.UID]; known {
			owner.UID = uid
			owners = append(owners, owner)
		}
	}
	made.SetOwnerReferences(owners)
	return made
}

// sameSpec compares all that is no metadata and no status.
func sameSpec(a, b *unstructured.Unstructured) bool {
	spec := func(o *unstructured.Unstructured) map[string]any {
		return without(o.Object, "apiVersion", "kind", "metadata", "status")
	}
	return equality.Semantic.DeepEqual(spec(a), spec(b))
}

// Missing are the Secrets of the manifest that are not there, or of which the caller may not know whether they are: unknown says how many.
func (r Restore) Missing(ctx context.Context, m *Manifest) (missing []Reference, unknown int, err error) {
	for _, reference := range m.Secrets {
		_, err := r.Client.CoreV1().Secrets(reference.Namespace).Get(ctx, reference.Name, metav1.GetOptions{})
		switch {
		case err == nil:
		case apierrors.IsForbidden(err):
			missing, unknown = append(missing, reference), unknown+1
		case apierrors.IsNotFound(err):
			missing = append(missing, reference)
		default:
			return nil, 0, fmt.Errorf("looking for the Secret %s/%s: %w", reference.Namespace, reference.Name, err)
		}
	}
	return missing, unknown, nil
}
