package decisions

import (
	"fmt"
	"sync"
	"testing"
)

func numbered(n int) Entry { return Entry{ID: fmt.Sprint(n), Namespace: "shop"} }

func TestARingHoldsTheLastOnesAndCountsWhatIsGone(t *testing.T) {
	ring := NewRing(3, "p")
	for n := 1; n <= 5; n++ {
		ring.Add(numbered(n))
	}
	for name, test := range map[string]struct {
		after        uint64
		limit        int
		first        string
		count        int
		missed, next uint64
		more         bool
	}{
		"from the beginning":           {0, 10, "3", 3, 2, 5, true},
		"behind one that is there":     {3, 10, "4", 2, 0, 5, true},
		"behind one that is gone":      {1, 10, "3", 3, 1, 5, true},
		"part of it":                   {0, 2, "3", 2, 2, 4, false},
		"behind the last":              {5, 10, "", 0, 0, 5, true},
		"behind one of another ring":   {99, 10, "3", 3, 2, 5, true},
		"nothing, for a limit of none": {3, 0, "", 0, 0, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			entries, missed, next, more := ring.since(test.after, test.limit)
			if len(entries) != test.count || missed != test.missed || next != test.next || (more != nil) != test.more {
				t.Fatalf("got %d entries, %d missed, next %d, more %t; want %+v", len(entries), missed, next, more != nil, test)
			}
			if test.count > 0 && (entries[0].ID != test.first || entries[0].Process != "p") {
				t.Errorf("the first is %q of %q, want %q of p", entries[0].ID, entries[0].Process, test.first)
			}
		})
	}
}

func TestAddingWakesWhoeverWaitsAndNeverWaitsForThem(t *testing.T) {
	ring := NewRing(8, "")
	_, _, _, more := ring.since(0, 10)
	ring.Add(numbered(1))
	select {
	case <-more:
	default:
		t.Fatal("nobody was woken")
	}
	// Nobody reads any more: a thousand decisions are taken all the same, by several at once.
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for n := range 250 {
				ring.Add(numbered(n))
			}
		})
	}
	group.Wait()
	if _, _, next, _ := ring.since(0, 1000); next != 1001 {
		t.Errorf("got %d decisions, want 1001", next)
	}
}

func TestWhatIsKeptOfADecisionIsBounded(t *testing.T) {
	ring := NewRing(1, "")
	ring.Add(Entry{Reasons: make([]Reason, 3*MaxReasons)})
	entries, _, _, _ := ring.since(0, 1)
	if len(entries[0].Reasons) != MaxReasons || entries[0].More != 2*MaxReasons {
		t.Errorf("got %d reasons and %d more, want %d and %d", len(entries[0].Reasons), entries[0].More, MaxReasons, 2*MaxReasons)
	}
}

func BenchmarkAdd(b *testing.B) {
	ring := NewRing(DefaultSize, "")
	entry := Entry{ID: "4711", Namespace: "shop", Reasons: []Reason{{Effect: "deny", Policy: "pods/privileged", Message: "container is privileged"}}}
	b.ReportAllocs()
	for b.Loop() {
		ring.Add(entry)
	}
}
