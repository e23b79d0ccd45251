package quarantine

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

const (
	// sweepEvery is the time between two looks for what is old.
	sweepEvery = 10 * time.Minute
	// incidentGrace is how long an Incident is kept that does not count any more, for people who look why a pod was refused.
	incidentGrace = time.Hour
)

// sweepEvery deletes what is old, now and then. Nothing depends on it.
func (c *Controller) sweepEvery(ctx context.Context) {
	if !cache.WaitForCacheSync(ctx.Done(), c.informer.HasSynced) {
		return
	}
	for {
		if err := c.sweep(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("deleting what is old: it is tried again", "error", err)
		}
		if !pause(ctx, sweepEvery) {
			return
		}
	}
}

// sweep deletes quarantines that have been over for long, or are too many, with their evidence, and incidents that do not count any more.
func (c *Controller) sweep(ctx context.Context) error {
	if err := c.sweepIncidents(ctx); err != nil {
		return err
	}
	var over []*v1alpha1.Quarantine
	for _, object := range c.informer.GetStore().List() {
		o, ok := object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		q, err := decode(o)
		if err != nil {
			c.log.Error("a Quarantine cannot be read: mend or delete it", "error", err)
			continue
		}
		if q.Status.Phase.Over() && q.Status.Ended != nil && q.Spec.Reopened == q.Status.Reopened {
			over = append(over, q)
		}
	}
	slices.SortFunc(over, func(a, b *v1alpha1.Quarantine) int {
		if acted := admitted(b) - admitted(a); acted != 0 {
			return acted
		}
		return b.Status.Ended.Compare(a.Status.Ended.Time)
	})
	for n, q := range over {
		if n < c.o.Kept && c.o.Now().Sub(q.Status.Ended.Time) < c.o.Keep {
			continue
		}
		if err := c.drop(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// admitted is 1 for a quarantine that was carried out, in any of its lives. Of those there are only as many as limits let there be; how many others
// there are is for those to say who may create pods, so these make room first.
func admitted(q *v1alpha1.Quarantine) int {
	if q.Status.Admitted != nil || slices.ContainsFunc(q.Status.Earlier, func(e v1alpha1.Earlier) bool { return e.Admitted != nil }) {
		return 1
	}
	return 0
}

// drop deletes a quarantine and its evidence. The evidence goes first: what is left of it without a quarantine is found by nobody.
func (c *Controller) drop(ctx context.Context, q *v1alpha1.Quarantine) error {
	err := c.dynamic.Resource(v1alpha1.Evidences).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "quarantine=" + q.Name})
	if err != nil {
		return fmt.Errorf("deleting the evidence of %s: %w", q.Name, err)
	}
	err = c.objects.delete(ctx, q)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting the Quarantine %s: %w", q.Name, err)
	}
	c.log.Info("an old quarantine was deleted", "quarantine", q.Name, "ended", q.Status.Ended.Time)
	return nil
}

// sweepIncidents deletes those that do not count any more.
func (c *Controller) sweepIncidents(ctx context.Context) error {
	incidents := c.dynamic.Resource(v1alpha1.Incidents)
	for page := ""; ; {
		list, err := incidents.List(ctx, metav1.ListOptions{Limit: listPage, Continue: page})
		if err != nil {
			return fmt.Errorf("listing the Incidents: %w", err)
		}
		for n := range list.Items {
			one := &list.Items[n]
			text, _, _ := unstructured.NestedString(one.Object, "spec", "expires")
			expires, err := time.Parse(time.RFC3339, text)
			if err != nil || c.o.Now().Sub(expires) < incidentGrace {
				continue
			}
			uid := one.GetUID()
			err = incidents.Delete(ctx, one.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return fmt.Errorf("deleting the Incident %s: %w", one.GetName(), err)
			}
		}
		if page = list.GetContinue(); page == "" {
			return nil
		}
	}
}
