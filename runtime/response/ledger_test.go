package response

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// entry is a quarantine of its own pod.
func entry(n int, change ...func(*Entry)) Entry {
	e := Entry{Quarantine: fmt.Sprint("q-", n), Namespace: fmt.Sprint("ns-", n), Owner: fmt.Sprint("apps/Deployment/", n), Node: fmt.Sprint("node-", n)}
	for _, c := range change {
		c(&e)
	}
	return e
}

func ownedBy(owner string) func(*Entry)  { return func(e *Entry) { e.Owner = owner } }
func inNamespace(ns string) func(*Entry) { return func(e *Entry) { e.Namespace = ns } }
func cordons(e *Entry)                   { e.Cordons = true }

var plenty = Count{Desired: 100, Ready: 100, Nodes: 100}

func TestEachLimitIsCountedAndNamed(t *testing.T) {
	type step struct {
		after time.Duration
		entry Entry
		of    Count
		want  string // of the reason, "" where it is admitted
	}
	many := func(n int, change func(int) Entry, then ...step) []step {
		var all []step
		for i := range n {
			all = append(all, step{2 * time.Second, change(i), plenty, ""})
		}
		return append(all, then...)
	}
	calm := Settings{Cooldown: "1s"}
	for name, test := range map[string]struct {
		s     Settings
		steps []step
	}{
		"ten in ten minutes in the cluster": {calm, many(10, func(n int) Entry { return entry(n) }, step{0, entry(99), plenty, "limits.cluster"}, step{10 * time.Minute, entry(99), plenty, ""})},
		"five in a namespace": {calm, many(5, func(n int) Entry { return entry(n, inNamespace("shop")) },
			step{0, entry(98, inNamespace("shop")), plenty, "limits.namespace"}, step{0, entry(99), plenty, ""})},
		"two of an owner": {calm, many(2, func(n int) Entry { return entry(n, ownedBy("a")) },
			step{2 * time.Second, entry(98, ownedBy("a")), plenty, "limits.owner"}, step{11 * time.Minute, entry(98, ownedBy("a")), plenty, ""})},
		"limits of their own": {Settings{Cooldown: "1s", Limits: Limits{Cluster: 1, Window: "1m"}}, []step{{0, entry(1), plenty, ""}, {30 * time.Second, entry(2), plenty, "limits.cluster"}, {31 * time.Second, entry(2), plenty, ""}}},
		"half of an owner's pods at a time": {Settings{Cooldown: "1s", Limits: Limits{Owner: 100, Cluster: 100, Namespace: 100}}, []step{
			{0, entry(1, ownedBy("a")), Count{Desired: 4, Ready: 4}, ""}, {2 * time.Second, entry(2, ownedBy("a")), Count{Desired: 4, Ready: 4}, ""},
			{24 * time.Hour, entry(3, ownedBy("a")), Count{Desired: 4, Ready: 4}, "limits.ownerPercent"}, {0, entry(4, ownedBy("b")), Count{Desired: 4, Ready: 4}, ""}}},
		"of those that are ready": {Settings{Cooldown: "1s"}, []step{
			{0, entry(1, ownedBy("a")), Count{Desired: 10, Ready: 2}, ""}, {2 * time.Second, entry(2, ownedBy("a")), Count{Desired: 10, Ready: 2}, "limits.ownerPercent"}}},
		"one pod always may be": {calm, []step{{0, entry(1), Count{}, ""}, {0, entry(2), Count{Desired: 1, Ready: 1}, ""}}},
		"an owner cools down": {Settings{}, []step{{0, entry(1, ownedBy("a")), plenty, ""}, {59 * time.Second, entry(2, ownedBy("a")), plenty, "cools down"},
			{time.Second, entry(2, ownedBy("a")), plenty, ""}}},
		"the same quarantine again is no other one": {Settings{Limits: Limits{Cluster: 1}}, []step{{0, entry(1), plenty, ""}, {0, entry(1), plenty, ""}, {time.Hour, entry(1), plenty, ""}}},
		"one node at a time":                        {calm, []step{{0, entry(1, cordons), plenty, ""}, {time.Hour, entry(2, cordons), plenty, "limits.nodes"}, {0, entry(2), plenty, ""}}},
		"the same node for two quarantines": {calm, []step{{0, entry(1, cordons), plenty, ""},
			{0, entry(2, cordons, func(e *Entry) { e.Node = "node-1" }), plenty, ""}}},
		"nodes in percent": {Settings{Cooldown: "1s", Limits: Limits{Nodes: 5}}, []step{{0, entry(1, cordons), Count{Nodes: 10}, ""}, {0, entry(2, cordons), Count{Nodes: 10}, "limits.nodePercent"}, {0, entry(2, cordons), Count{Nodes: 20}, ""}}},
		"a quarantine that cordons only later": {calm, []step{{0, entry(1, cordons), plenty, ""}, {0, entry(2), plenty, ""},
			{0, entry(2, cordons), plenty, "limits.nodes"}, {0, entry(1, cordons), plenty, ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			ledger, now := &Ledger{}, noon
			for n, s := range test.steps {
				now = now.Add(s.after)
				got := ledger.Admit(s.entry, s.of, test.s, now)
				if (got == "") != (s.want == "") || !strings.Contains(got, s.want) {
					t.Errorf("step %d: got %q, want %q", n, got, s.want)
				}
			}
		})
	}
}

func TestWhatEndsMakesRoom(t *testing.T) {
	ledger := &Ledger{}
	s := Settings{Limits: Limits{Owner: 10}}
	admit := func(n int, now time.Time) string {
		return ledger.Admit(entry(n, ownedBy("a"), cordons), Count{Desired: 2, Ready: 2, Nodes: 3}, s, now)
	}
	if got := admit(1, noon); got != "" {
		t.Fatal(got)
	}
	if got := admit(2, noon.Add(time.Hour)); got == "" {
		t.Fatal("got a second pod of two admitted")
	}
	ledger.End("q-1", noon.Add(time.Hour))
	if got := admit(2, noon.Add(time.Hour)); got != "" {
		t.Errorf("got %q, want room for another one", got)
	}
}

func TestALedgerStaysSmallAndForgetsNothingInForce(t *testing.T) {
	ledger, now := &Ledger{}, noon
	s := Settings{Limits: Limits{Cluster: 1 << 40}}
	for n := range 3 * maxEntries {
		now = now.Add(10 * time.Second)
		if got := ledger.Admit(entry(n), plenty, s, now); got != "" {
			t.Fatal(n, got)
		}
		if n >= 10 {
			ledger.End(fmt.Sprint("q-", n), now)
		}
		if len(ledger.Entries) > maxEntries {
			t.Fatalf("got %d entries, want at most %d", len(ledger.Entries), maxEntries)
		}
	}
	inForce := ledger.inForce(func(Entry) bool { return true })
	if inForce != 10 {
		t.Errorf("got %d in force, want the first 10 still", inForce)
	}
	written, err := json.Marshal(ledger)
	if err != nil || len(written) > 200<<10 {
		t.Errorf("got %d bytes, %v, want less than annotations may have", len(written), err)
	}
	full := &Ledger{}
	for n := range maxEntries {
		if got := full.Admit(entry(n), plenty, s, now); got != "" {
			t.Fatal(got)
		}
	}
	if got := full.Admit(entry(9999), plenty, s, now); !strings.Contains(got, "release some") {
		t.Errorf("got %q, want a full ledger to admit nothing", got)
	}
}

// Whatever is admitted and ended in whatever order, no limit is ever exceeded.
func TestNoLimitIsEverExceeded(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		s := Settings{Cooldown: "1s", Limits: Limits{Window: "10m", Cluster: 1 + r.Int64N(12), Namespace: 1 + r.Int64N(6), Owner: 1 + r.Int64N(3), OwnerPercent: 1 + r.Int64N(100), Nodes: 1 + r.Int64N(3), NodePercent: 1 + r.Int64N(30)}}
		of := Count{Desired: r.Int64N(12), Nodes: r.Int64N(20)}
		of.Ready = r.Int64N(of.Desired + 1)
		ledger, now := &Ledger{}, noon
		type admitted struct {
			Entry
			at    time.Time
			ended bool
		}
		var all []*admitted
		for range 200 {
			now = now.Add(time.Duration(r.Int64N(int64(time.Minute))))
			if r.IntN(4) == 0 && len(all) > 0 {
				one := all[r.IntN(len(all))]
				one.ended = true
				ledger.End(one.Quarantine, now)
				continue
			}
			e := Entry{Quarantine: fmt.Sprint("q-", len(all), "-", now.UnixNano()), Namespace: fmt.Sprint("ns-", r.IntN(3)), Node: fmt.Sprint("node-", r.IntN(6)), Cordons: r.IntN(2) == 0}
			e.Owner = e.Namespace + fmt.Sprint("/owner-", r.IntN(4))
			// The ledger is one document.
			written, _ := json.Marshal(ledger)
			ledger = &Ledger{}
			if err := json.Unmarshal(written, ledger); err != nil {
				t.Fatal(err)
			}
			if ledger.Admit(e, of, s, now) == "" {
				all = append(all, &admitted{Entry: e, at: now})
			}
			counts, inForce, nodes := map[string]int64{}, map[string]int64{}, map[string]bool{}
			for _, a := range all {
				if a.at.After(now.Add(-10 * time.Minute)) {
					counts["cluster"]++
					counts["ns "+a.Namespace]++
					counts["owner "+a.Owner]++
				}
				if !a.ended {
					inForce[a.Owner]++
					if a.Cordons {
						nodes[a.Node] = true
					}
				}
			}
			for what, n := range counts {
				limit := map[string]int64{"c": s.Limits.Cluster, "n": s.Limits.Namespace, "o": s.Limits.Owner}[what[:1]]
				if n > limit {
					t.Fatalf("seed %d: got %d for %s, want at most %d", seed, n, what, limit)
				}
			}
			for owner, n := range inForce {
				if most := max(1, min(of.Desired, of.Ready)*s.Limits.OwnerPercent/100); n > most {
					t.Fatalf("seed %d: got %d of %s in force, want at most %d", seed, n, owner, most)
				}
			}
			if most := min(s.Limits.Nodes, max(1, of.Nodes*s.Limits.NodePercent/100)); int64(len(nodes)) > most {
				t.Fatalf("seed %d: got %d nodes cordoned, want at most %d", seed, len(nodes), most)
			}
		}
	}
}

func TestTheBreakerOpensAndCloses(t *testing.T) {
	ledger := &Ledger{}
	s := Settings{Breaker: Breaker{Plans: 3, Window: "1m", Pause: "5m"}}
	for n, step := range []struct {
		at   time.Duration
		open bool
	}{
		{0, false}, {70 * time.Second, false}, {80 * time.Second, false}, {90 * time.Second, true}, {5 * time.Minute, true},
		{90*time.Second + 5*time.Minute, false}, // closed again, and counted anew
		{91*time.Second + 5*time.Minute, false}, {92*time.Second + 5*time.Minute, true},
	} {
		open, since := ledger.Proposed(noon.Add(step.at), s)
		if open != step.open || open == since.IsZero() {
			t.Errorf("step %d: got %v since %s, want %v", n, open, since, step.open)
		}
		if again, _ := ledger.Open(noon.Add(step.at), s); again != open {
			t.Errorf("step %d: got %v when asked again", n, again)
		}
	}
	storm := &Ledger{}
	for n := range 49 {
		if open, _ := storm.Proposed(noon.Add(time.Duration(n)*time.Millisecond), Settings{}); open {
			t.Fatalf("got it open after %d plans", n+1)
		}
	}
	if open, _ := storm.Proposed(noon.Add(time.Second), Settings{}); !open {
		t.Error("got it closed after 50 plans in a second, want it open by default")
	}
}

func TestNamesOfQuarantinesAreValuesOfLabels(t *testing.T) {
	a, again, b := QuarantineName("uid-1"), QuarantineName("uid-1"), QuarantineName("uid-2")
	if a != again || a == b || len(a) != 22 || !strings.HasPrefix(a, "q-") {
		t.Errorf("got %s, %s, %s", a, again, b)
	}
}
