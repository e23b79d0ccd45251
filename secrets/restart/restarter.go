package restart

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// The states of v1alpha1.RestartStatus.
const (
	Waiting    = "Waiting"    // for those before it, until it is well itself, or for people (paused, OnDelete)
	Restarting = "Restarting" // its template is changed, and its pods are being replaced
	Restarted  = "Restarted"  // all that are to be replaced are, and are available
	Unneeded   = "Unneeded"   // it uses no key that changed, or was restarted for them already
	Stuck      = "Stuck"      // it did not become available: those after it are left alone
)

// How long until one looks again.
const (
	soon  = time.Second      // somebody else changed it
	watch = 5 * time.Second  // a rollout is under way
	later = 30 * time.Second // people, or something else, have to do something first
)

// MostStatuses is the most that a status holds of workloads. Those beyond are restarted as the others are.
const MostStatuses = 50

// unwellTimeout is how long one that has no pod available is waited for before it is restarted all the same: the new value may be what it
// lacks, and there is nothing to lose.
const unwellTimeout = time.Minute

// Used says what has changed.
type Used struct {
	// Name is the Secret now. Earlier are names that it had before, slots of an immutable one: references to them count as references to it,
	// and name it after a restart.
	Name    string
	Earlier []string
	// Keys are the keyed hashes by key (secrets.Hasher.Value) of now, Before of what workloads had last. Nil is that this is not known: then nothing
	// restarts.
	Keys, Before map[string]string
	// Immutable says that Name never had other values than these: who refers to it needs no restart.
	Immutable bool
	// Changed is when the Secret was written with Keys, zero where that is not known: a workload that was created later needs no restart.
	Changed time.Time
}

// Restarter restarts workloads.
type Restarter struct {
	workloads workloads
	clock     clock.PassiveClock
	hasher    *secrets.Hasher
}

// New is a Restarter that does what a client may.
func New(client kubernetes.Interface, clock clock.PassiveClock, hasher *secrets.Hasher) *Restarter {
	return &Restarter{workloads{client}, clock, hasher}
}

// Step takes at most one step: it looks which workloads use keys that changed, restarts the next if all before it are available, and says when to
// look again, 0 for never. prior are the statuses that the last Step gave for the same Keys; statuses of other hashes do not matter.
//
// The order is that of rotation.workloads, then, for Referencing, the other Deployments, StatefulSets and DaemonSets of the namespace, by name. A
// named workload that does not refer to the Secret is restarted when any key changes.
//
// One at a time: before the next all that were restarted are available, and it itself is well. Not well and without any available pod, it is
// restarted after a minute. One that does not become available within rotation.timeout, or whose progress deadline passes, is Stuck, and
// those after it are left as they are: a bad credential must not take all down. When it becomes available after all, it goes on. Paused
// Deployments are waited for without holding up others; templates of workloads with the strategy OnDelete are changed, and their pods left.
// Without pods there is nothing to restart.
//
// A workload that was created after Used.Changed started with the new value. The two times are of two clocks, in whole seconds: what is created
// within the second, or a clock that is behind, costs a restart that was not needed.
//
// Errors are *secrets.Error: ClusterForbidden, ClusterFailed. The statuses are good with an error, too.
func (r *Restarter) Step(ctx context.Context, namespace string, rotation *v1alpha1.Rotation, used Used, prior []v1alpha1.RestartStatus) ([]v1alpha1.RestartStatus, time.Duration, error) {
	if rotation == nil || rotation.Restart == "" || rotation.Restart == v1alpha1.RestartNone || used.Before == nil || maps.Equal(used.Before, used.Keys) {
		return prior, 0, nil
	}
	found, missing, err := r.find(ctx, namespace, rotation, used)
	if err != nil {
		return prior, later, err
	}
	s := &step{r: r, ctx: ctx, rotation: rotation, used: used, now: r.clock.Now(), prior: map[v1alpha1.WorkloadRef]v1alpha1.RestartStatus{}}
	for _, status := range prior {
		s.prior[v1alpha1.WorkloadRef{Kind: status.Kind, Name: status.Name}] = status
	}
	for _, w := range found {
		s.visit(w)
	}
	for _, ref := range missing {
		s.add(v1alpha1.RestartStatus{Kind: ref.Kind, Name: ref.Name, State: Unneeded, Message: "there is no such workload: correct rotation.workloads"})
	}
	return short(s.statuses), s.again, s.err
}

// find gives the workloads in their order, and those that are named and are not there.
func (r *Restarter) find(ctx context.Context, namespace string, rotation *v1alpha1.Rotation, used Used) (found []*workload, missing []v1alpha1.WorkloadRef, err error) {
	for _, ref := range rotation.Workloads {
		if slices.ContainsFunc(found, func(w *workload) bool { return w.ref() == ref }) || slices.Contains(missing, ref) {
			continue
		}
		w, err := r.workloads.get(ctx, namespace, ref)
		switch {
		case apierrors.IsNotFound(err):
			missing = append(missing, ref)
		case err != nil:
			return nil, nil, failed("get", ref.Kind, namespace, ref.Name, err)
		case !w.deleting:
			w.named = true
			found = append(found, w)
		}
	}
	if rotation.Restart != v1alpha1.RestartReferencing {
		return found, missing, nil
	}
	names := used.names()
	for _, kind := range kinds {
		named := len(found)
		err := r.workloads.each(ctx, namespace, kind, func(w *workload) {
			refers := slices.ContainsFunc(references(&w.template.Spec), func(ref reference) bool { return names[ref.name] })
			if refers && !w.deleting && !slices.ContainsFunc(found, func(f *workload) bool { return f.ref() == w.ref() }) {
				found = append(found, w)
			}
		})
		if err != nil {
			return nil, nil, failed("list", kind, namespace, "", err)
		}
		slices.SortFunc(found[named:], func(a, b *workload) int { return strings.Compare(a.name, b.name) })
	}
	return found, missing, nil
}

func (u *Used) names() map[string]bool {
	names := map[string]bool{u.Name: true}
	for _, name := range u.Earlier {
		names[name] = true
	}
	return names
}

// step is one look at all workloads, in their order.
type step struct {
	r        *Restarter
	ctx      context.Context
	rotation *v1alpha1.Rotation
	used     Used
	now      time.Time
	prior    map[v1alpha1.WorkloadRef]v1alpha1.RestartStatus

	statuses []v1alpha1.RestartStatus
	again    time.Duration
	err      error
	// held says why no further workload is restarted now, "" where one may be.
	held string
}

func (s *step) add(status v1alpha1.RestartStatus) { s.statuses = append(s.statuses, status) }

// lookIn has the next look no later than in a while.
func (s *step) lookIn(d time.Duration) {
	if s.again == 0 || d < s.again {
		s.again = d
	}
}

// visit finds out how far a workload is, and restarts it if it is its turn.
func (s *step) visit(w *workload) {
	all := references(&w.template.Spec)
	keys := keysOf(all, s.used.names(), s.used.keys())
	if len(keys) == 0 && w.named {
		keys = slices.Sorted(maps.Keys(s.used.keys()))
	}
	hash := s.r.hash(keys, s.used.Keys)
	prior, known := s.prior[w.ref()]
	known = known && prior.Hash == hash
	status := v1alpha1.RestartStatus{Kind: w.kind, Name: w.name, Hash: hash, Since: &metav1.Time{Time: s.now}}
	if known {
		status.Since = or(prior.Since, status.Since)
	}
	changed := slices.ContainsFunc(keys, func(key string) bool { return s.used.Keys[key] != s.used.Before[key] })
	marked := marks(w.template)[s.used.Name] == hash
	switch {
	case known && (prior.State == Restarted || prior.State == Unneeded):
		s.add(prior) // once; whatever became of the annotation
	case !changed:
		status.State, status.Message = Unneeded, "it uses no key that changed"
		s.add(status)
	case marked, known && (prior.State == Restarting || prior.State == Stuck):
		// One whose pods people replace waits after it was changed, too.
		s.follow(w, status, known && (prior.State != Waiting || w.health.manual != ""))
	case !s.used.Changed.IsZero() && w.created.After(s.used.Changed):
		status.State, status.Message = Unneeded, "it was created after the change"
		s.add(status)
	case s.used.Immutable && !refersTo(all, s.used.Earlier) && refersTo(all, []string{s.used.Name}):
		status.State, status.Message = Unneeded, "it refers to the new Secret already"
		s.add(status)
	default:
		s.begin(w, all, status, known)
	}
}

// follow looks how far a workload is whose template was changed. ours says that the status knows of that.
func (s *step) follow(w *workload, status v1alpha1.RestartStatus, ours bool) {
	h := w.health
	switch {
	case h.manual != "" && !h.rolled:
		status.State, status.Message = Waiting, h.manual+": its pods get the new value when they are deleted (kubectl delete pod)"
		s.lookIn(10 * later)
	case h.complete() && ours:
		status.State = Restarted
	case h.complete():
		status.State, status.Message = Unneeded, "it was restarted for these values before"
	case h.paused:
		status.State, status.Message = Waiting, "it was paused before its pods were replaced: resume it (kubectl rollout resume)"
		s.lookIn(later)
	case h.failed, s.now.Sub(status.Since.Time) >= s.timeout():
		status.State = Stuck
		status.Message = fmt.Sprintf("%s since it was restarted: look at its pods (kubectl describe), and correct the value in Vault or the workload; those after it are not restarted before it is available", h)
		s.hold(w, "is stuck")
		s.lookIn(later)
	default:
		status.State, status.Message = Restarting, h.String()
		s.hold(w, "is being restarted")
		s.lookIn(watch)
	}
	s.add(status)
}

func (s *step) hold(w *workload, why string) {
	if s.held == "" {
		s.held = fmt.Sprintf("the %s %s %s", w.kind, w.name, why)
	}
}

func (s *step) timeout() time.Duration {
	if s.rotation.Timeout == nil || s.rotation.Timeout.Duration <= 0 {
		return v1alpha1.DefaultRestartTimeout
	}
	return s.rotation.Timeout.Duration
}

// begin restarts a workload if it is its turn.
func (s *step) begin(w *workload, all []reference, status v1alpha1.RestartStatus, known bool) {
	h := w.health
	rewrites := refersTo(all, s.used.Earlier)
	switch {
	case w.health.desired == 0 && w.health.available == 0 && !rewrites && h.rolled:
		status.State, status.Message = Unneeded, "it has no pods: those that come start with the new value"
		s.add(status)
		return
	case s.err != nil:
		s.keep(w, status, known)
		return
	case h.paused:
		status.State, status.Message = Waiting, "it is paused: resume it (kubectl rollout resume), and it is restarted"
		s.lookIn(later)
	case s.held != "":
		status.State, status.Message, status.Since = Waiting, s.held, &metav1.Time{Time: s.now}
		s.lookIn(watch)
	case h.manual == "" && !h.steady() && !(h.available == 0 && known && s.now.Sub(status.Since.Time) >= unwellTimeout):
		status.State = Waiting
		status.Message = fmt.Sprintf("it is not well, so it is not restarted: %s. Look at its pods (kubectl describe); those after it wait, too", h)
		s.hold(w, "is not well")
		s.lookIn(watch)
	default:
		err := s.r.workloads.patch(s.ctx, w, s.operations(w, all, status.Hash))
		switch {
		case err == nil && h.manual != "":
			status.State, status.Message, status.Since = Waiting, h.manual+": its pods get the new value when they are deleted (kubectl delete pod)", &metav1.Time{Time: s.now}
			s.lookIn(10 * later)
		case err == nil:
			status.State, status.Message, status.Since = Restarting, "", &metav1.Time{Time: s.now}
			s.hold(w, "is being restarted")
			s.lookIn(watch)
		case apierrors.IsNotFound(err): // it just went
			return
		case apierrors.IsConflict(err):
			status.State, status.Message = Waiting, "somebody else changed it just now"
			s.hold(w, "was just changed")
			s.lookIn(soon)
		default:
			s.err = failed("patch", w.kind, w.namespace, w.name, err)
			s.lookIn(later)
			s.keep(w, status, known)
			return
		}
	}
	s.add(status)
}

// keep gives the status of before where nothing is known now.
func (s *step) keep(w *workload, status v1alpha1.RestartStatus, known bool) {
	if known {
		s.add(s.prior[w.ref()])
		return
	}
	status.State, status.Message = Waiting, "it could not be restarted yet"
	s.add(status)
}

// operations change the template: what it was restarted for, and the names of Secrets that are no more.
func (s *step) operations(w *workload, all []reference, hash string) []operation {
	const template = "/spec/template"
	held := marks(w.template)
	maps.DeleteFunc(held, func(name, _ string) bool { // of other Secrets only what is still referred to
		return slices.Contains(s.used.Earlier, name) || !refersTo(all, []string{name}) && name != s.used.Name
	})
	held[s.used.Name] = hash
	var operations []operation
	if w.template.Annotations == nil {
		operations = append(operations, operation{Op: "add", Path: template + "/metadata/annotations", Value: map[string]string{v1alpha1.RestartAnnotation: written(held)}})
	} else {
		operations = append(operations, operation{Op: "add", Path: template + "/metadata/annotations/" + strings.ReplaceAll(v1alpha1.RestartAnnotation, "/", "~1"), Value: written(held)})
	}
	for _, ref := range all {
		if slices.Contains(s.used.Earlier, ref.name) && ref.name != s.used.Name {
			operations = append(operations, operation{Op: "test", Path: template + "/spec" + ref.path, Value: ref.name}, operation{Op: "replace", Path: template + "/spec" + ref.path, Value: s.used.Name})
		}
	}
	return operations
}

// marks are the hashes that a template says its workload was restarted for, by the name of the Secret: "db=HASH,tls=HASH".
func marks(template *corev1.PodTemplateSpec) map[string]string {
	held := map[string]string{}
	for mark := range strings.SplitSeq(template.Annotations[v1alpha1.RestartAnnotation], ",") {
		if name, hash, ok := strings.Cut(mark, "="); ok {
			held[name] = hash
		}
	}
	return held
}

func written(marks map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(marks)) {
		all = append(all, name+"="+marks[name])
	}
	return strings.Join(all, ",")
}

// hash is the keyed hash of keys and their hashes. One that is not there is told from an empty one.
func (r *Restarter) hash(keys []string, hashes map[string]string) string {
	var texts []string
	for _, key := range keys {
		texts = append(texts, key, hashes[key])
	}
	return r.hasher.Texts(texts...)
}

// keys are those that the Secret has, or had before.
func (u *Used) keys() map[string]bool {
	keys := map[string]bool{}
	for key := range u.Keys {
		keys[key] = true
	}
	for key := range u.Before {
		keys[key] = true
	}
	return keys
}

func refersTo(all []reference, names []string) bool {
	return slices.ContainsFunc(all, func(r reference) bool { return slices.Contains(names, r.name) })
}

func or(given, otherwise *metav1.Time) *metav1.Time {
	if given == nil {
		return otherwise
	}
	return given
}

// short cuts statuses to what an object holds: those that need nothing go first, then those that are done, oldest in order.
func short(statuses []v1alpha1.RestartStatus) []v1alpha1.RestartStatus {
	for _, state := range []string{Unneeded, Restarted, Waiting} {
		for i := len(statuses) - 1; i >= 0 && len(statuses) > MostStatuses; i-- {
			if statuses[i].State == state {
				statuses = slices.Delete(statuses, i, i+1)
			}
		}
	}
	return statuses
}

// Uses says whether a pod that has not ended, or the template of a Deployment, StatefulSet or DaemonSet, refers to a Secret. Templates of CronJobs and
// old ReplicaSets do not count: one that is gone back to by kubectl rollout undo may name a Secret that is no more.
func (r *Restarter) Uses(ctx context.Context, namespace, secretName string) (bool, error) {
	refers := func(spec *corev1.PodSpec) bool { return refersTo(references(spec), []string{secretName}) }
	uses := false
	for _, kind := range kinds {
		err := r.workloads.each(ctx, namespace, kind, func(w *workload) { uses = uses || refers(&w.template.Spec) })
		if err != nil {
			return false, failed("list", kind, namespace, "", err)
		}
		if uses {
			return true, nil
		}
	}
	for options := (metav1.ListOptions{Limit: page}); ; {
		pods, err := r.workloads.client.CoreV1().Pods(namespace).List(ctx, options)
		if err != nil {
			return false, failed("list", "Pod", namespace, "", err)
		}
		for i := range pods.Items {
			if phase := pods.Items[i].Status.Phase; phase != corev1.PodSucceeded && phase != corev1.PodFailed && refers(&pods.Items[i].Spec) {
				return true, nil
			}
		}
		if options.Continue = pods.Continue; options.Continue == "" {
			return false, nil
		}
	}
}

var gerunds = map[string]string{"get": "reading", "list": "listing", "patch": "restarting"}

// failed is what the API server said, as an error with a reason.
func failed(verb, kind, namespace, name string, err error) error {
	what, resource := fmt.Sprintf("the %s %s/%s", kind, namespace, name), strings.ToLower(kind)+"s"
	if name == "" {
		what = fmt.Sprintf("the %ss of the namespace %s", kind, namespace)
	}
	e := &secrets.Error{Reason: secrets.ClusterFailed, Doing: gerunds[verb] + " " + what, Cause: err}
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		e.Message = "the API server is not reached"
		if request := (*url.Error)(nil); errors.As(err, &request) {
			e.Message += ": " + request.Err.Error()
		}
		return e
	}
	e.Status = int(status.Status().Code)
	switch {
	case apierrors.IsForbidden(err) && strings.Contains(status.Status().Message, "cannot "+verb+" resource"):
		rule := fmt.Sprintf("%s %s", verb, resource)
		if name != "" {
			rule += fmt.Sprintf(" %q", name)
		}
		e.Reason = secrets.ClusterForbidden
		e.Message = fmt.Sprintf("portcullis-secrets may not %s in the namespace %s: apply the Role that `portcullis-secrets roles --namespace %s` prints", rule, namespace, namespace)
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		e.Reason, e.Message = secrets.ClusterForbidden, "admission refuses it: look for the policy or webhook that does (kubectl rollout restart is refused in the same way), or leave it out of rotation"
	default:
		e.Message = fmt.Sprintf("the API server answers %q: it is tried again", apierrors.ReasonForError(err))
	}
	return e
}
