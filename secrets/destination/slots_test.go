package destination

import (
	"context"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

func immutable(spec *v1alpha1.VaultSecretSpec) { spec.Destination.Immutable = true }

func TestAnImmutableSecretTakesTheNextName(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db", immutable)
	status, _ := b.write(owner, s, data("password=0"), nil)
	if status.Name != "db-0" || len(status.Slots) != 0 {
		t.Fatalf("got %+v, want db-0", status)
	}
	if got := b.get("db-0"); got.Immutable == nil || !*got.Immutable {
		t.Error("got it mutable")
	}
	if same, outcome := b.write(owner, s, data("password=0"), status); same.Name != "db-0" || outcome != (Outcome{}) {
		t.Errorf("the same: got %+v %+v", same, outcome)
	}
	s.Spec.Destination.Labels = map[string]string{"team": "shop"}
	status, outcome := b.write(owner, s, data("password=0"), status)
	if b.get("db-0").Labels["team"] != "shop" || !outcome.Repaired {
		t.Errorf("got %+v, want labels of an immutable Secret kept up to date", outcome)
	}
	crashed, _ := b.write(owner, s, data("password=1"), status)
	status, _ = b.write(owner, s, data("password=1"), status) // the status was not written
	if status.Name != "db-1" || crashed.UID != status.UID || !slices.Equal(status.Slots, []string{"db-0"}) {
		t.Errorf("got %+v, want db-1 once, and db-0 of before", status)
	}
	lost, _ := b.write(owner, s, data("password=1"), nil)
	if lost.UID != status.UID || !slices.Equal(lost.Slots, []string{"db-0"}) {
		t.Errorf("without a status: got %+v, want db-1 found", lost)
	}
	b.must(b.admin.CoreV1().Secrets(b.namespace).Delete(t.Context(), "db-1", metav1.DeleteOptions{}))
	status, outcome = b.write(owner, s, data("password=1"), status)
	if status.Name != "db-1" || !outcome.Repaired || outcome.Changed {
		t.Errorf("deleted: got %+v %+v, want it again under the name that workloads refer to", status, outcome)
	}
	b.make("db-2")
	status, _ = b.write(owner, s, data("password=2"), status)
	b.holds("db-2", "theirs=kept")
	if status.Name != "db-3" {
		t.Errorf("got %+v, want the name of somebody else's Secret left out", status)
	}
	used := map[string]bool{"db-0": true}
	slots, err := b.writer.Collect(t.Context(), owner, status, func(name string) (bool, error) { return used[name], nil })
	b.must(err)
	if !slices.Equal(slots, []string{"db-0"}) || !b.gone("db-1") || b.gone("db-0") || b.gone("db-3") {
		t.Errorf("got %q, want only what is used to remain", slots)
	}
	status.Slots = slots
	b.must(b.writer.Delete(t.Context(), owner, status, false))
	if !b.gone("db-0") || !b.gone("db-3") || b.gone("db-2") {
		t.Error("got slots left, or somebody else's deleted")
	}
}

func TestSlotsThatAreAllUsedAreAnErrorThatSaysWhatToDo(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db", immutable)
	var status *v1alpha1.DestinationStatus
	for i := range v1alpha1.ImmutableSlots {
		status, _ = b.write(owner, s, data(fmt.Sprintf("password=%d", i)), status)
	}
	if status.Name != "db-7" || len(status.Slots) != 7 {
		t.Fatalf("got %+v, want all eight", status)
	}
	b.refused(owner, s, data("password=next"), status, secrets.NotOurs, "restart the workloads that still use the older ones")
	busy := func(name string) bool { return true }
	b.writer.Used = func(_ context.Context, _, name string) (bool, error) { return busy(name), nil }
	b.refused(owner, s, data("password=next"), status, secrets.NotOurs, "all 8 names")
	busy = func(name string) bool { return name != "db-4" && name != "db-7" }
	next, _ := b.write(owner, s, data("password=next"), status)
	if next.Name != "db-4" || slices.Contains(next.Slots, "db-4") || !slices.Contains(next.Slots, "db-7") {
		t.Errorf("got %+v, want the one that nobody uses, and not the last", next)
	}
	b.holds("db-4", "password=next")
	b.holds("db-7", "password=7")
}

func TestARenamedDestinationIsCollectedWhenNobodyUsesIt(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db")
	status, _ := b.write(owner, s, data("password=one"), nil)
	s.Spec.Destination.Name = "database"
	s.Status.Destination = status
	b.permit(*s)
	next, _ := b.write(owner, s, data("password=one"), status)
	if next.Name != "database" || !slices.Equal(next.Slots, []string{"db"}) {
		t.Errorf("got %+v, want the earlier name kept in mind", next)
	}
	b.holds("db", "password=one") // a workload may still use it
	slots, err := b.writer.Collect(t.Context(), owner, next, func(string) (bool, error) { return false, nil })
	b.must(err)
	if len(slots) != 0 || !b.gone("db") {
		t.Errorf("got %q, want it gone", slots)
	}
}
