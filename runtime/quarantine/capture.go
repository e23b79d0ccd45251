package quarantine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/containment"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// captureTimeout bounds one attempt to keep evidence: logs of many containers come from a node that may be slow.
const captureTimeout = 60 * time.Second

// capturing is evidence that is being kept, beside all else. nil is none.
type capturing struct {
	done   chan struct{} // nil once what came of it is written down
	read   chan struct{} // closed when the objects have been read
	giveUp context.CancelFunc
	kept   []v1alpha1.EvidenceReference
	err    error
}

func (c *capturing) running() bool { return c != nil && c.done != nil }

// wait waits until the objects have been read, or it is done, or for so long: from then on the pod may be changed.
func (c *capturing) wait(ctx context.Context, longest time.Duration) {
	if !c.running() {
		return
	}
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-c.read:
	case <-c.done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// stop gives it up, where it still runs.
func (c *capturing) stop() {
	if c.running() {
		c.giveUp()
		<-c.done
	}
}

// beginCapture begins to keep evidence if the plan asks for it and it is due.
func (c *Controller) beginCapture(ctx context.Context, q *v1alpha1.Quarantine, wanted func(response.Planned) bool) (*capturing, error) {
	n := slices.IndexFunc(q.Spec.Actions, func(a response.Planned) bool { return a.Action == response.Snapshot && wanted(a) })
	if n < 0 || settled(stepOf(&q.Status, string(response.Snapshot))) {
		return nil, nil
	}
	return c.startCapture(ctx, q)
}

// startCapture begins to keep evidence; nil is that it has failed and is not tried again yet.
func (c *Controller) startCapture(ctx context.Context, q *v1alpha1.Quarantine) (*capturing, error) {
	const name = string(response.Snapshot)
	if step := stepOf(&q.Status, name); step != nil && step.Next != nil && step.Next.After(c.o.Now()) {
		return nil, nil
	}
	err := c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) {
		c.begin(s, name, containment.Preparation{Precondition: "none: what can be read is kept"})
	})
	if err != nil {
		return nil, err
	}
	c.o.After(q.Name, name, PointPrepared)
	bounded, stop := context.WithTimeout(ctx, captureTimeout)
	capture := &capturing{done: make(chan struct{}), read: make(chan struct{}), giveUp: stop}
	read := sync.OnceFunc(func() { close(capture.read) })
	seen := *q // it is only read, and q goes on
	seen.Spec.Actions, seen.Spec.Triggers = slices.Clone(q.Spec.Actions), slices.Clone(q.Spec.Triggers)
	go func() {
		defer close(capture.done)
		capture.err = guard(func() (err error) {
			capture.kept, err = c.o.Capturer.Capture(bounded, &seen, read)
			return err
		})
	}()
	return capture, nil
}

// endCapture waits for the evidence, and writes down what there is.
func (c *Controller) endCapture(ctx context.Context, q *v1alpha1.Quarantine, capture *capturing) error {
	const name = string(response.Snapshot)
	<-capture.done
	capture.giveUp()
	capture.done = nil
	if capture.err != nil && (len(capture.kept) == 0 || stepOf(&q.Status, name).Attempts < maxCaptures) {
		if len(capture.kept) > 0 {
			if err := c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) { s.Evidence = mergeEvidence(s.Evidence, capture.kept) }); err != nil {
				return err
			}
		}
		return c.failed(ctx, q, name, capture.err)
	}
	c.o.After(q.Name, name, PointDone)
	err := c.write(ctx, q, func(s *v1alpha1.QuarantineStatus) {
		s.Evidence = mergeEvidence(s.Evidence, capture.kept)
		c.finish(s, name, containment.Outcome{Result: evidenceText(capture.kept, capture.err)})
	})
	if err != nil {
		return err
	}
	c.o.After(q.Name, name, PointRecorded)
	c.o.Metrics.step(stepOf(&q.Status, name))
	c.record(q, name, "", string(v1alpha1.StepDone), stepOf(&q.Status, name).Result)
	return nil
}

// maxEvidence is how many pieces a status names, as the schema allows.
const maxEvidence = 512

// mergeEvidence adds pieces; those of the same name are the same.
func mergeEvidence(kept, more []v1alpha1.EvidenceReference) []v1alpha1.EvidenceReference {
	for _, one := range more {
		same := func(k v1alpha1.EvidenceReference) bool { return k.Name == one.Name }
		if n := slices.IndexFunc(kept, same); n >= 0 {
			kept[n] = one
		} else if len(kept) < maxEvidence {
			kept = append(kept, one)
		}
	}
	return kept
}

func evidenceText(kept []v1alpha1.EvidenceReference, missing error) string {
	var size int64
	var kinds []string
	for _, one := range kept {
		size += one.Size
		if !slices.Contains(kinds, one.Kind) {
			kinds = append(kinds, one.Kind)
		}
	}
	text := fmt.Sprintf("%d pieces, %d bytes: %s", len(kept), size, strings.Join(kinds, ", "))
	if missing != nil {
		text += "; not kept: " + missing.Error()
	}
	return text
}
