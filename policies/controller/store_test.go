package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies/revision/revisiontest"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

func TestRevisionsThatNobodyNeedsAreDeleted(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	digest := func(n int) string { return "sha256:" + fmt.Sprintf("%064x", n) }
	part := func(bundle string, n int, age time.Duration) metav1.PartialObjectMetadata {
		name, err := v1alpha1.RevisionName(digest(n), 0)
		if err != nil {
			t.Fatal(err)
		}
		return metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{v1alpha1.BundleLabel: bundle}, CreationTimestamp: metav1.NewTime(now.Add(-age)),
		}}
	}
	parts := []metav1.PartialObjectMetadata{
		part("gone", 30, time.Hour), part("gone", 31, time.Hour), part("gone", 32, time.Minute),
		{ObjectMeta: metav1.ObjectMeta{Name: "of-somebody-else", CreationTimestamp: metav1.NewTime(now.Add(-time.Hour))}},
	}
	for n := range 12 {
		parts = append(parts, part("acme", n, time.Duration(60-n)*time.Minute)) // 11 is the newest
	}
	acme := v1alpha1.PolicyBundle{ObjectMeta: metav1.ObjectMeta{Name: "acme"}}
	acme.Spec.Pin = digest(3)
	acme.Status = v1alpha1.PolicyBundleStatus{
		Active: &v1alpha1.RevisionStatus{Digest: digest(0)}, Candidate: &v1alpha1.RevisionStatus{Digest: digest(1)}, Previous: &v1alpha1.RevisionStatus{Digest: digest(2)},
	}
	other := v1alpha1.PolicyBundle{ObjectMeta: metav1.ObjectMeta{Name: "other"}}
	other.Status.Active = &v1alpha1.RevisionStatus{Digest: digest(31)} // the same files, stored by another bundle
	var got []string
	for _, name := range superfluous(parts, []v1alpha1.PolicyBundle{acme, other}, now) {
		got = append(got, strings.TrimLeft(strings.TrimSuffix(strings.TrimPrefix(name, "sha256-"), "-0"), "0"))
	}
	slices.Sort(got)
	// Neither what a status or a pin names, nor the last five, nor what was stored this very minute.
	if want := []string{"1e", "4", "5", "6"}; !slices.Equal(got, want) {
		t.Errorf("got %q deleted, want %q", got, want)
	}
}

func TestReportsOfReplicasThatAreGoneAreDeleted(t *testing.T) {
	b := newBench(t)
	c := b.controller("one")
	folder := b.folder("acme", v1alpha1.Rollout{})
	b.publish(folder, revisiontest.Files("acme", 1))
	b.status("acme", "1+- Active")
	b.report("gone", "acme", 0)
	b.report("there", "acme", 0)
	b.until("both are known", func() bool { return len(c.replicas()) == 2 })
	s := &sweeper{c: c.Controller, beats: map[string]metav1.Time{}, unchanged: map[string]int{}}
	for range deadSweeps {
		if err := s.replicas(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.objects.Resource(v1alpha1.Replicas).Get(t.Context(), "gone", metav1.GetOptions{}); err != nil {
		t.Errorf("it is deleted too early: %v", err)
	}
	s.unchanged["there"] = 0 // it has reported since
	if err := s.replicas(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := b.objects.Resource(v1alpha1.Replicas).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.Items[0].GetName() != "there" {
		t.Errorf("there are %d reports, %v, want the one that goes on", len(list.Items), err)
	}
}
