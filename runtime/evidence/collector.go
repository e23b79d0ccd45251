package evidence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/policies/redaction"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// The kinds of pieces.
const (
	KindPod         = "pod"
	KindOwner       = "owner"
	KindNamespace   = "namespace"
	KindEvents      = "events"
	KindPolicies    = "policies"
	KindFalco       = "falco"
	KindLog         = "log"
	KindPreviousLog = "previousLog"
)

// kinds are all of them, in the order in which they are captured.
func kinds() []string {
	return []string{KindPod, KindFalco, KindOwner, KindNamespace, KindEvents, KindPolicies, KindLog, KindPreviousLog}
}

// Bounds of what is kept, before compression. A piece in base64 is far below what etcd takes for one object (1.5 MiB).
const (
	maxPiece = 256 << 10
	maxAll   = 4 << 20
	minPiece = 1 << 10 // less than that of something longer says nothing
	// objectBudget is how long objects may take, logBudget how long the logs of one container may.
	objectBudget = 2 * time.Second
	logBudget    = 10 * time.Second
)

// Options of a [Collector].
type Options struct {
	// Now is the clock, time.Now if nil.
	Now    func() time.Time
	Logger *slog.Logger
}

// Collector captures and reads evidence. It is for concurrent use.
type Collector struct {
	client   dynamic.Interface
	core     kubernetes.Interface
	now      func() time.Time
	log      *slog.Logger
	redactor redaction.Redactor
}

// New is a collector of a cluster that is reached by a configuration. It sends nothing.
func New(config *rest.Config, o Options) (*Collector, error) {
	config = rest.CopyConfig(config)
	if config.QPS == 0 {
		config.QPS, config.Burst = 100, 200 // client-go's default of 5 per second would use up the budget by waiting
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for logs: %w", err)
	}
	c := &Collector{client: client, core: core, now: o.Now, log: o.Logger}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// captured is one piece before it is kept.
type captured struct {
	kind, container string
	data            []byte
	truncated       bool
}

// capture is one run.
type capture struct {
	*Collector
	q        *v1alpha1.Quarantine
	kept     []v1alpha1.EvidenceReference
	size     int64
	problems []error
}

// Capture keeps what is known of the pod of a quarantine, and refers to all that is kept of it. It is idempotent: what is
// there already is not captured again. It keeps what it can within its time; what it could not keep is an error beside
// the references.
//
// read, if it is not nil, is called once the objects were read as they are: from then on the pod may be changed. What was read is
// kept afterwards, and logs after that.
func (c *Collector) Capture(ctx context.Context, q *v1alpha1.Quarantine, read func()) ([]v1alpha1.EvidenceReference, error) {
	run := &capture{Collector: c, q: q}
	if err := run.resume(ctx); err != nil {
		return nil, err
	}
	run.objects(ctx, read)
	run.logs(ctx)
	slices.SortFunc(run.kept, compare)
	return run.kept, errors.Join(run.problems...)
}

// resume finds out what is kept already.
func (r *capture) resume(ctx context.Context) error {
	pieces, err := r.list(ctx, r.q.Name)
	if err != nil {
		return err
	}
	for n := range pieces {
		reference := referenceTo(&pieces[n])
		if !strings.HasPrefix(reference.Name, r.prefix()) {
			continue // of an earlier life of the quarantine
		}
		r.kept = append(r.kept, reference)
		r.size += reference.Size
	}
	return nil
}

// has says whether a piece is kept.
func (r *capture) has(kind, container string) bool {
	return slices.ContainsFunc(r.kept, func(have v1alpha1.EvidenceReference) bool { return have.Kind == kind && have.Container == container })
}

func (r *capture) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf(format, args...))
}

// keep stores a piece. What is over the bounds is cut, or left out where all is full.
func (r *capture) keep(ctx context.Context, p captured) {
	room := min(maxPiece, maxAll-r.size)
	if room < minPiece && int64(len(p.data)) > room {
		r.problem("keeping %s: evidence of %d MiB is kept already", p.what(), maxAll>>20)
		return
	}
	if int64(len(p.data)) > room {
		p.data, p.truncated = cut(p.data, room, p.kind), true
	}
	piece, err := r.pack(p)
	if err != nil {
		r.problem("keeping %s: %w", p.what(), err)
		return
	}
	object, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(piece)
	if err != nil {
		r.problem("keeping %s: %w", p.what(), err)
		return
	}
	_, err = r.client.Resource(v1alpha1.Evidences).Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		if piece, err = r.get(ctx, piece.Name); err == nil && piece.Quarantine != r.q.Name {
			err = fmt.Errorf("%s belongs to quarantine %s", piece.Name, piece.Quarantine)
		}
	}
	if err != nil {
		r.problem("keeping %s: %w", p.what(), err)
		return
	}
	r.kept = append(r.kept, referenceTo(piece))
	r.size += piece.Size
}

func (p captured) what() string {
	if p.container == "" {
		return "the piece " + p.kind
	}
	return fmt.Sprintf("the piece %s of container %s", p.kind, p.container)
}

// cut shortens a piece: of a log the end is kept, of others the beginning. No character is cut in two.
func cut(data []byte, room int64, kind string) []byte {
	if kind == KindLog || kind == KindPreviousLog {
		data = data[int64(len(data))-room:]
		if line := slices.Index(data, '\n'); line >= 0 {
			data = data[line+1:]
		}
		return []byte(strings.ToValidUTF8(string(data), ""))
	}
	return []byte(strings.ToValidUTF8(string(data[:room]), ""))
}

func compare(a, b v1alpha1.EvidenceReference) int {
	if a.Kind != b.Kind {
		return slices.Index(kinds(), a.Kind) - slices.Index(kinds(), b.Kind)
	}
	if a.Container != b.Container {
		return strings.Compare(a.Container, b.Container)
	}
	return strings.Compare(a.Name, b.Name)
}
