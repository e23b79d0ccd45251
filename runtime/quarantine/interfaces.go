package quarantine

import (
	"context"

	"github.com/portcullis-dev/portcullis/runtime/containment"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/notify"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// Cluster carries out single actions, and takes them back. Each is idempotent. [containment.Cluster] is one.
type Cluster interface {
	Setup(ctx context.Context) error
	Prepare(ctx context.Context, q *v1alpha1.Quarantine, a response.Planned) (containment.Preparation, error)
	Do(ctx context.Context, q *v1alpha1.Quarantine, a response.Planned) (containment.Outcome, error)
	Undo(ctx context.Context, q *v1alpha1.Quarantine, a response.Planned) (containment.Outcome, error)
	Prove(ctx context.Context, q *v1alpha1.Quarantine) (isolation.Report, error)
}

// Viewer gives what a proof sees. A [Cluster] that is one, too, lets audit say what isolation would give.
type Viewer interface {
	View(ctx context.Context, namespace string) (*isolation.Cluster, error)
}

// Capturer keeps evidence, and calls read once it has read the objects as they are. [evidence.Collector] is one.
type Capturer interface {
	Capture(ctx context.Context, q *v1alpha1.Quarantine, read func()) ([]v1alpha1.EvidenceReference, error)
}

// Notifier tells people. It never waits. [notify.Dispatcher] is one.
type Notifier interface {
	Notify(m notify.Message)
}
