package quarantine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// conflicts is how often a write is tried that others are faster than. Whoever loses so often meets a dozen writers at one object.
const conflicts = 12

// listPage is how many objects one answer of the API server holds.
const listPage = 250

// Errors of a [Store].
var (
	// ErrNoPod is of a plan about the node itself: there is nothing to quarantine.
	ErrNoPod = errors.New("the plan is about no pod: there is nothing to quarantine")
	// ErrOver is of what is asked of a quarantine that is over.
	ErrOver = errors.New("the quarantine is over")
	// ErrNothingWaits is of an approval that nothing waits for.
	ErrNothingWaits = errors.New("nothing of the quarantine waits for an approval")
)

// StoreOptions are those of a [Store].
type StoreOptions struct {
	// Now is the clock; time.Now where nil.
	Now func() time.Time
}

// Store writes Quarantines down, and what people decide about them. It acts on nothing else. It is for any number of replicas and
// goroutines.
type Store struct {
	objects objects
	now     func() time.Time
}

// NewStore makes one. The client's rights are those that count.
func NewStore(client dynamic.Interface, o StoreOptions) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{newObjects(client), o.Now}
}

// Proposal is what a plan does not say.
type Proposal struct {
	// Settings are those of bundles, by name; of those that the plan is of, the strictest hold for the quarantine.
	Settings map[string]response.Settings
	// Revisions are those of the bundles that have judged, by name.
	Revisions map[string]string
	// Images are the digests that the pod runs ("sha256:…").
	Images []string
	// IncidentTTL is how long admission remembers; 0 is that of the settings.
	IncidentTTL time.Duration
	// Received is when the event was, Count how many like it came since the last proposal; 0 is one.
	Received time.Time
	Count    int64
	// Trace is the traceparent of the event, "" where it is not traced.
	Trace string
}

// Propose writes a plan down: as a Quarantine of its own, or into the one that its pod has already. Two replicas that propose at
// once both succeed. What is over begins anew where that is called for; see [reopens]. It gives the name, and whether the
// Quarantine is new.
func (s *Store) Propose(ctx context.Context, plan *response.Plan, p Proposal) (name string, created bool, err error) {
	if plan.Event.Pod == nil || plan.Event.Pod.UID == "" {
		return "", false, ErrNoPod
	}
	fresh := fromPlan(plan, p)
	for range conflicts {
		err = s.objects.create(ctx, fresh)
		if err == nil {
			return fresh.Name, true, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return "", false, fmt.Errorf("creating the Quarantine %s: %w", fresh.Name, err)
		}
		var old *v1alpha1.Quarantine
		if old, err = s.objects.get(ctx, fresh.Name); apierrors.IsNotFound(err) {
			continue // deleted since
		}
		if err != nil {
			return "", false, fmt.Errorf("reading the Quarantine %s: %w", fresh.Name, err)
		}
		if old.Spec.Pod.UID != fresh.Spec.Pod.UID {
			return "", false, fmt.Errorf("the Quarantine %s is about another pod (%s/%s): somebody has made it by hand; release and delete it", old.Name, old.Spec.Pod.Namespace, old.Spec.Pod.Name)
		}
		if !merge(old, fresh, s.now()) {
			return old.Name, false, nil
		}
		if err = s.objects.update(ctx, old); err == nil {
			return old.Name, false, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return "", false, fmt.Errorf("adding to the Quarantine %s: %w", old.Name, err)
		}
	}
	return "", false, fmt.Errorf("writing the Quarantine %s: others were faster %d times: %w", fresh.Name, conflicts, err)
}

// Get reads one. The error of one that is not there is a NotFound of the API.
func (s *Store) Get(ctx context.Context, name string) (*v1alpha1.Quarantine, error) {
	q, err := s.objects.get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("reading the Quarantine %s: %w", name, err)
	}
	return q, nil
}

// List reads all, the newest first.
func (s *Store) List(ctx context.Context) ([]v1alpha1.Quarantine, error) {
	var all []v1alpha1.Quarantine
	for page := ""; ; {
		list, err := s.objects.resource.List(ctx, metav1.ListOptions{Limit: listPage, Continue: page})
		if err != nil {
			return nil, fmt.Errorf("listing the Quarantines: %w", err)
		}
		for n := range list.Items {
			q, err := decode(&list.Items[n])
			if err != nil {
				return nil, err
			}
			all = append(all, *q)
		}
		if page = list.GetContinue(); page == "" {
			break
		}
	}
	slices.SortFunc(all, func(a, b v1alpha1.Quarantine) int {
		if c := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all, nil
}

// Release ends a quarantine: what was done is taken back. Releasing it twice is no mistake, and the first statement stays.
func (s *Store) Release(ctx context.Context, name string, by v1alpha1.Statement) error {
	return s.state(ctx, name, by, func(q *v1alpha1.Quarantine, said v1alpha1.Statement) error {
		if q.Spec.Release == nil {
			q.Spec.Release = &said
		}
		// One in audit may have left a label or an incident, which a person can take back.
		takesBack := q.Status.Phase == v1alpha1.PhaseAudited && len(undoable(q)) > 0
		if q.Status.Phase.Over() && q.Status.Reopened == q.Spec.Reopened && !takesBack {
			return fmt.Errorf("%w: it is %s", ErrOver, q.Status.Phase)
		}
		return nil
	})
}

// Approvable says whether something in a quarantine's plan waits, or would wait, for an approval that nobody has given.
func Approvable(q *v1alpha1.Quarantine) bool {
	return q.Spec.Approval == nil && (q.Spec.Mode == response.ModeApprove || slices.ContainsFunc(q.Spec.Actions, waitsForApproval))
}

// Approve lets a quarantine go on that waits for a person.
func (s *Store) Approve(ctx context.Context, name string, by v1alpha1.Statement) error {
	return s.state(ctx, name, by, func(q *v1alpha1.Quarantine, said v1alpha1.Statement) error {
		switch {
		case q.Status.Phase.Over() && q.Status.Reopened == q.Spec.Reopened:
			return fmt.Errorf("%w: it is %s", ErrOver, q.Status.Phase)
		case q.Spec.Approval != nil:
			return nil
		case !Approvable(q):
			return ErrNothingWaits
		}
		q.Spec.Approval = &said
		return nil
	})
}

// state writes what a person says.
func (s *Store) state(ctx context.Context, name string, said v1alpha1.Statement, change func(*v1alpha1.Quarantine, v1alpha1.Statement) error) error {
	said.By, said.Reason = cut(strings.TrimSpace(said.By), maxName), cut(strings.TrimSpace(said.Reason), maxMessage)
	if said.By == "" || said.Reason == "" {
		return errors.New("a statement needs who makes it and a reason: others will read it")
	}
	if said.Time.IsZero() {
		said.Time = metav1.NewTime(s.now())
	}
	var err error
	for range conflicts {
		var q *v1alpha1.Quarantine
		if q, err = s.objects.get(ctx, name); err != nil {
			return fmt.Errorf("reading the Quarantine %s: %w", name, err)
		}
		if err = change(q, said); err != nil {
			return fmt.Errorf("changing the Quarantine %s: %w", name, err)
		}
		if err = s.objects.update(ctx, q); !apierrors.IsConflict(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("writing the Quarantine %s: %w", name, err)
	}
	return nil
}
