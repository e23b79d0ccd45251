package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

const (
	// sweepEvery is the time between two looks at what is old.
	sweepEvery = time.Minute
	// deadSweeps is after how many of them without a heartbeat the report of a replica is deleted. What it has counted was taken.
	deadSweeps = 10
	// ExpiringWithin is how long before its end an exception is told of.
	ExpiringWithin = 7 * 24 * time.Hour
	// maxExpiring is how many exceptions have a metric of their own, those that end first.
	maxExpiring = 1000
)

// sweeper looks after what is old, once a minute.
type sweeper struct {
	c *Controller
	// unchanged is for how many sweeps each replica has had the same heartbeat.
	beats     map[string]metav1.Time
	unchanged map[string]int
	// told are Events about exceptions, by what they say: each is made once.
	told map[string]bool
}

// sweepEvery sweeps until the context ends.
func (c *Controller) sweepEvery(ctx context.Context) {
	s := &sweeper{c: c, beats: map[string]metav1.Time{}, unchanged: map[string]int{}, told: map[string]bool{}}
	for {
		s.sweep(ctx)
		if !pause(ctx, sweepEvery) {
			return
		}
	}
}

func (s *sweeper) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s.exceptions(ctx)
	for what, do := range map[string]func(context.Context) error{"revisions": s.revisions, "replicas": s.replicas} {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			s.c.log.Warn("what is old could not be deleted: it is tried again", "what", what, "error", err)
		}
	}
}

// revisions deletes those that nobody needs, and has those fetched again that are needed and not there.
func (s *sweeper) revisions(ctx context.Context) error {
	list, err := s.c.dynamic.Resource(v1alpha1.Bundles).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the PolicyBundles: %w", err)
	}
	var bundles []v1alpha1.PolicyBundle
	for i := range list.Items {
		b, err := decode[v1alpha1.PolicyBundle](&list.Items[i])
		if err != nil {
			return err // whose revisions are needed is not known
		}
		bundles = append(bundles, *b)
	}
	if err := s.c.store.prune(ctx, bundles); err != nil {
		return err
	}
	for i := range bundles {
		if err := s.mend(ctx, &bundles[i]); err != nil {
			return err
		}
	}
	return nil
}

// mend has the active revision stored again if somebody has deleted it: no replica could start by it.
func (s *sweeper) mend(ctx context.Context, b *v1alpha1.PolicyBundle) error {
	if b.Status.Active == nil {
		return nil
	}
	there, err := s.c.store.anyPart(ctx, b.Status.Active.Digest)
	if err != nil || there {
		return err
	}
	s.c.log.Error("the active revision is not stored any more: its source is asked for it", "bundle", b.Name, "digest", b.Status.Active.Digest)
	if k := s.c.kept()[b.Name]; k != nil {
		k.forget()
	}
	return nil
}

// replicas deletes reports of replicas that are gone. The time is counted in sweeps, so that no clock that jumps deletes one.
func (s *sweeper) replicas(ctx context.Context) error {
	there := map[string]bool{}
	for _, r := range s.c.replicas() {
		there[r.Name] = true
		if before := s.beats[r.Name]; !before.Equal(&r.Status.Heartbeat) {
			s.beats[r.Name], s.unchanged[r.Name] = r.Status.Heartbeat, 0
			continue
		}
		if s.unchanged[r.Name]++; s.unchanged[r.Name] < deadSweeps {
			continue
		}
		err := s.c.dynamic.Resource(v1alpha1.Replicas).Delete(ctx, r.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &r.UID, ResourceVersion: &r.ResourceVersion}})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("deleting the PolicyReplica %s: %w", r.Name, err)
		}
	}
	for name := range s.beats {
		if !there[name] {
			delete(s.beats, name)
			delete(s.unchanged, name)
		}
	}
	return nil
}

// exceptions tells of exceptions that end soon, and of those that no bundle takes.
func (s *sweeper) exceptions(ctx context.Context) {
	now := s.c.now()
	told := map[string]bool{}
	var expiring []expiry
	for _, object := range all[v1alpha1.PolicyException](s.c.exceptions.GetStore()) {
		exception, err := exceptionOf(&object)
		reason := ""
		if err != nil {
			reason = err.Error()
		} else {
			reason = s.refusedBy(&exception)
			if left := exception.ExpiresAt().Sub(now); left > 0 && left <= ExpiringWithin {
				expiring = append(expiring, expiry{object.Namespace, object.Name, exception.ExpiresAt()})
				s.tell(ctx, told, &object, "ExceptionExpiring", fmt.Sprintf("it waives %s until %s: mend what it is about, or grant it anew", exception.Policy, exception.Expires))
			}
		}
		if reason != "" {
			s.tell(ctx, told, &object, "ExceptionRefused", reason)
		}
	}
	s.told = told // what is gone may be told of again
	slices.SortFunc(expiring, func(a, b expiry) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	})
	s.c.metrics.expiring(expiring[:min(len(expiring), maxExpiring)], len(expiring))
}

// refusedBy says why no bundle takes an exception, "" where one does or that is not known yet.
func (s *sweeper) refusedBy(e *policies.Exception) string {
	var reasons []string
	for _, k := range s.c.kept() {
		bundle, known := k.rules()
		if !known || bundle == nil {
			return ""
		}
		reason := bundle.RefusesException(e)
		if reason == "" {
			return ""
		}
		if e.Grant.Bundle == "" || e.Grant.Bundle == bundle.Manifest.Name {
			reasons = append(reasons, reason)
		}
	}
	slices.Sort(reasons)
	if len(reasons) == 0 {
		return fmt.Sprintf("there is no bundle %q: correct spec.bundle", e.Grant.Bundle)
	}
	return strings.Join(reasons, "; ")
}

// tell makes an Event about an exception once.
func (s *sweeper) tell(ctx context.Context, told map[string]bool, e *v1alpha1.PolicyException, reason, note string) {
	key := string(e.UID) + reason + note
	told[key] = true
	if s.told[key] {
		return
	}
	about := corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PolicyException", Namespace: e.Namespace, Name: e.Name, UID: e.UID, ResourceVersion: e.ResourceVersion}
	s.c.event(ctx, newEvent(about, corev1.EventTypeWarning, reason, "Check", note, note))
}

// exceptionOf is an exception as policies take it.
func exceptionOf(e *v1alpha1.PolicyException) (policies.Exception, error) {
	from := &e.Spec.Selector
	return policies.NewException(policies.Exception{
		APIVersion: policies.APIVersion, Kind: "Exception", Name: e.Name,
		Policy: e.Spec.Policy, Reason: e.Spec.Reason, Owner: e.Spec.Owner, Expires: e.Spec.Expires,
		Selector: policies.ExceptionSelector{Namespaces: from.Namespaces, ClusterScoped: from.ClusterScoped, Kinds: from.Kinds, Names: from.Names, Containers: from.Containers},
		Grant:    &policies.Grant{Namespace: e.Namespace, Bundle: e.Spec.Bundle, Creator: e.Annotations[v1alpha1.CreatorAnnotation], Created: e.CreationTimestamp.Time},
	})
}
