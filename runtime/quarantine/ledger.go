package quarantine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// ledgerAnnotation holds the ledger, JSON.
const ledgerAnnotation = "runtime.portcullis.dev/ledger"

// ledgerConflicts is how often the ledger is tried to be written: all that is admitted at once goes through it.
const ledgerConflicts = 50

// ledger is a [response.Ledger] that all replicas share: the annotation of a Lease, which is only ever changed as it was read. Two that
// act at once, which the election prevents but for moments, exceed no limit either.
type ledger struct {
	leases coordinationclient.LeaseInterface
	name   string
	now    func() time.Time
}

// change reads the ledger, has it changed, and writes it, again where another one was faster. A ledger that cannot be read is an error:
// nothing is admitted by a limit that is not counted.
func (l *ledger) change(ctx context.Context, change func(*response.Ledger)) error {
	var err error
	for n := range ledgerConflicts {
		if n > 3 && !pause(ctx, time.Duration(n)*2*time.Millisecond) {
			return context.Cause(ctx)
		}
		var lease *coordinationv1.Lease
		lease, err = l.leases.Get(ctx, l.name, metav1.GetOptions{})
		fresh := apierrors.IsNotFound(err)
		if fresh {
			lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: l.name}}
		} else if err != nil {
			return fmt.Errorf("reading the ledger: %w", err)
		}
		var counted response.Ledger
		if text := lease.Annotations[ledgerAnnotation]; text != "" {
			if err := json.Unmarshal([]byte(text), &counted); err != nil {
				return fmt.Errorf("reading the ledger in the annotation %s of the Lease %s: %w; delete the Lease to count anew", ledgerAnnotation, l.name, err)
			}
		}
		change(&counted)
		text, err := json.Marshal(&counted)
		if err != nil {
			return fmt.Errorf("writing the ledger: %w", err)
		}
		if lease.Annotations == nil {
			lease.Annotations = map[string]string{}
		}
		if lease.Annotations[ledgerAnnotation] == string(text) {
			return nil
		}
		lease.Annotations[ledgerAnnotation] = string(text)
		err = l.write(ctx, lease, fresh)
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("writing the ledger: %w", err)
		}
	}
	return fmt.Errorf("writing the ledger: others were faster %d times: %w", ledgerConflicts, err)
}

func (l *ledger) write(ctx context.Context, lease *coordinationv1.Lease, fresh bool) (err error) {
	if fresh {
		_, err = l.leases.Create(ctx, lease, metav1.CreateOptions{})
		return err
	}
	_, err = l.leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}
