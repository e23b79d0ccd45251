package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

var listAll = metav1.ListOptions{}

// scene are three replicas at one API server, each with a clock of its own: they need not agree.
type scene struct {
	t       *testing.T
	kube    *fake.Clientset
	elapsed time.Duration
	members []*Members
	alive   []bool
}

func newScene(t *testing.T, names ...string) *scene {
	s := &scene{t: t, kube: fake.NewClientset()}
	for n, name := range names {
		skew := time.Duration(n) * 3 * time.Hour
		s.members = append(s.members, New(s.kube.CoordinationV1().Leases("portcullis-system"), Options{
			Name: name, Now: func() time.Time { return time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC).Add(skew + s.elapsed) },
		}))
		s.alive = append(s.alive, true)
	}
	return s
}

// pass lets time pass, in which those that are alive do their part.
func (s *scene) pass(d time.Duration) {
	for end := s.elapsed + d; s.elapsed < end; s.elapsed += DefaultDuration / 3 {
		for n, m := range s.members {
			if s.alive[n] {
				if err := m.Step(s.t.Context()); err != nil {
					s.t.Fatal(err)
				}
			}
		}
	}
}

// owners says of each of many scopes who takes it for its own.
func (s *scene) owners() map[string][]string {
	owners := map[string][]string{}
	for n := range 300 {
		scope := fmt.Sprint("namespace-", n)
		owners[scope] = nil
		for _, m := range s.members {
			if m.Owns(scope) {
				owners[scope] = append(owners[scope], m.options.Name)
			}
		}
	}
	return owners
}

func TestEachScopeIsOneMembersAndMovesOnlyWhereItMust(t *testing.T) {
	s := newScene(t, "a", "b", "c")
	s.pass(DefaultDuration)
	before, count := s.owners(), map[string]int{}
	for scope, owners := range before {
		if len(owners) != 1 {
			t.Fatalf("%s is owned by %v, want one", scope, owners)
		}
		count[owners[0]]++
	}
	for name, n := range count {
		if n < 60 || n > 140 {
			t.Errorf("%s owns %d of 300, want about a third", name, n)
		}
	}
	s.alive[1] = false
	s.pass(DefaultDuration * 2)
	for scope, owners := range s.owners() {
		if len(owners) != 1 || owners[0] == "b" {
			t.Fatalf("after b has died %s is owned by %v, want one of a and c", scope, owners)
		}
		if was := before[scope][0]; was != "b" && was != owners[0] {
			t.Errorf("%s has gone from %s to %s though neither has died", scope, was, owners[0])
		}
	}
	s.alive[1] = true
	s.pass(DefaultDuration)
	for scope, owners := range s.owners() {
		if !slices.Equal(owners, before[scope]) {
			t.Errorf("after b is back %s is owned by %v, want %v", scope, owners, before[scope])
		}
	}
}

// TestWhoeverCannotRenewOwnsNothing: the others have taken over by then, and both would write.
func TestWhoeverCannotRenewOwnsNothing(t *testing.T) {
	s := newScene(t, "a")
	s.pass(DefaultDuration)
	if !s.members[0].Owns("shop") {
		t.Fatal("a alone does not own a scope")
	}
	s.kube.PrependReactor("*", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("connection refused")
	})
	if err := s.members[0].Step(t.Context()); err == nil || !s.members[0].Owns("shop") {
		t.Errorf("after one failure: %v, owns %t, want the error and that it still owns", err, s.members[0].Owns("shop"))
	}
	s.elapsed += DefaultDuration
	if s.members[0].Owns("shop") || s.members[0].Current() != nil {
		t.Error("a owns a scope though its Lease has ended")
	}
}

func TestNothingIsOwnedBeforeTheFirstLook(t *testing.T) {
	if newScene(t, "a").members[0].Owns("shop") {
		t.Error("a owns a scope before it has told anybody")
	}
}

func TestALeaseThatNobodyRenewsIsDeletedInTheEnd(t *testing.T) {
	s := newScene(t, "a", "b")
	s.pass(DefaultDuration)
	s.alive[1] = false
	s.pass((forgetAfter + 3) * DefaultDuration)
	leases, err := s.kube.CoordinationV1().Leases("portcullis-system").List(t.Context(), listAll)
	if err != nil || len(leases.Items) != 1 || *leases.Items[0].Spec.HolderIdentity != "a" {
		t.Errorf("got %+v (%v), want the Lease of a only", leases, err)
	}
}

// TestWhoeverWasStoppedIsToldThatHeLostHisShare: what happened meanwhile others have seen, and he has not.
func TestWhoeverWasStoppedIsToldThatHeLostHisShare(t *testing.T) {
	s := newScene(t, "a", "b")
	s.pass(DefaultDuration)
	told := 0
	s.members[1].options.Changed = func() { told++ }
	s.alive[1] = false
	s.pass(2 * DefaultDuration)
	s.alive[1] = true
	s.pass(DefaultDuration)
	if told != 2 {
		t.Errorf("b was told %d times, want that it lost its share and that it has one", told)
	}
}

func TestGoodbyesAreSaid(t *testing.T) {
	changed := make(chan struct{}, 10)
	kube := fake.NewClientset()
	m := New(kube.CoordinationV1().Leases("portcullis-system"), Options{Name: "a", Changed: func() { changed <- struct{}{} }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { m.Run(ctx); close(ended) }()
	<-changed
	cancel()
	<-ended
	leases, err := kube.CoordinationV1().Leases("portcullis-system").List(t.Context(), listAll)
	if err != nil || len(leases.Items) != 0 {
		t.Errorf("got %+v (%v), want no Lease", leases, err)
	}
}
