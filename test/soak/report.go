package soak

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxListed bounds what is listed of each kind of failure.
const maxListed = 10

// Report is what came of a soak.
type Report struct {
	Seed uint64
	// Took is how long faults went on.
	Took time.Duration
	// Pods are admissions of pods and Deployments, Images those of pods of images.
	Pods, Images Requests
	// Decisions are those that the API server was told of, Journals the journals that were searched for them.
	Decisions, Journals int
	// Events are those that the responder acknowledged, Released the quarantines that a person ended.
	Events, Released int
	// Values are those that were written to Vault, Churned the VaultSecrets that were made and deleted.
	Values, Churned int
	// Faults has, by name, what happened.
	Faults map[string]*Fault

	lock     sync.Mutex
	failures map[string][]string
	checks   map[string]time.Duration
}

// Requests are those of one kind of load.
type Requests struct {
	Good, Bad int
	// Right were answered rightly, Denied are the bad ones of them; Failed were refused for safety, with a fault named; Unanswered were not judged by anybody.
	Right, Denied, Failed, Unanswered int
	// Calm and Faulty are how long they took, of those that were answered rightly.
	Calm, Faulty []time.Duration
}

// Fault is what happened of one kind.
type Fault struct {
	Count int
	// Recovery is the longest time until everything worked again.
	Recovery time.Duration
}

// The zeros: none of these may ever be.
const (
	wrongAllows    = "wrong allows"
	wrongRefusals  = "refusals that name no fault"
	calmRefusals   = "refusals while nothing fails"
	lostDecisions  = "lost decisions"
	brokenJournals = "broken journals"
	lostEvents     = "lost events"
	lostSecrets    = "lost secrets"
	stuckObjects   = "stuck objects"
	notRecovered   = "faults without recovery"
	problems       = "problems of the soak"
)

var zeros = []string{wrongAllows, wrongRefusals, calmRefusals, lostDecisions, brokenJournals, lostEvents, lostSecrets, stuckObjects, notRecovered, problems}

func newReport(seed uint64) *Report {
	return &Report{Seed: seed, Faults: map[string]*Fault{}, failures: map[string][]string{}, checks: map[string]time.Duration{}}
}

func (r *Report) fail(kind, what string) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.failures[kind] = append(r.failures[kind], what)
}

func (r *Report) wrongAllow(what string) { r.fail(wrongAllows, what) }
func (r *Report) stuck(what string)      { r.fail(stuckObjects, what) }
func (r *Report) lostSecret(what string) { r.fail(lostSecrets, what) }
func (r *Report) problem(err error)      { r.fail(problems, err.Error()) }

func (r *Report) unrecovered(fault string, err error) {
	r.fault(fault, 0)
	r.fail(notRecovered, fault+": "+err.Error())
}

func (r *Report) fault(name string, recovery time.Duration) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.Faults[name] == nil {
		r.Faults[name] = &Fault{}
	}
	r.Faults[name].Count++
	r.Faults[name].Recovery = max(r.Faults[name].Recovery, recovery)
}

// recovered is how long one check took after a fault.
func (r *Report) recovered(check string, took time.Duration) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.checks[check] = max(r.checks[check], took)
}

// probe is a bad request that was sent to see whether there is an answer.
func (r *Report) probe(what string, err error) {
	if outcomeOf(err) == admitted {
		r.wrongAllow(what + " of the checks")
	}
}

func (r *Report) admission(what string, bad bool, err error, took time.Duration, faulty bool) {
	r.judge(&r.Pods, what, bad, err, took, faulty)
}

func (r *Report) image(what string, bad bool, err error, took time.Duration, faulty bool) {
	r.judge(&r.Images, what, bad, err, took, faulty)
}

// judge compares an answer with the right one.
func (r *Report) judge(of *Requests, what string, bad bool, err error, took time.Duration, faulty bool) {
	came := outcomeOf(err)
	switch {
	case bad && came == admitted:
		r.wrongAllow(what)
	case !bad && came == denied, came == unexplained:
		r.fail(wrongRefusals, fmt.Sprintf("%s: %v", what, err))
	case !bad && came == failed && !faulty:
		r.fail(calmRefusals, fmt.Sprintf("%s: %v", what, err))
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	if bad {
		of.Bad++
	} else {
		of.Good++
	}
	switch {
	case came == failed:
		of.Failed++
	case came == unanswered:
		of.Unanswered++
	case bad == (came == denied) && came != unexplained:
		of.Right++
		if bad {
			of.Denied++
		}
		if faulty {
			of.Faulty = append(of.Faulty, took)
		} else {
			of.Calm = append(of.Calm, took)
		}
	}
}

// decisions are those that the API server was told of, refusals those of them that let nothing in. The checks' own requests, of which the load
// knows nothing, make up for what an API server that was killed could not write any more.
func (r *Report) decisions(told, refusals, journals int, lost, broken []string) {
	r.Decisions, r.Journals = told, journals
	if denied := r.Pods.Denied + r.Images.Denied; refusals < denied {
		r.fail(lostDecisions, fmt.Sprintf("%d requests were denied, and the audit log tells of %d refusals", denied, refusals))
	}
	for _, one := range lost {
		r.fail(lostDecisions, one)
	}
	for _, one := range broken {
		r.fail(brokenJournals, one)
	}
}

func (r *Report) events(acknowledged, released int, lost []string) {
	r.Events, r.Released = acknowledged, released
	for _, one := range lost {
		r.fail(lostEvents, one)
	}
}

func (r *Report) secrets(values, churned int, lost []string) {
	r.Values, r.Churned = values, churned
	for _, one := range lost {
		r.fail(lostSecrets, one)
	}
}

// Failures are all that should not be, "" for nothing. A soak that has seen nothing of some kind has proved nothing about it.
func (r *Report) Failures() string {
	var text strings.Builder
	for _, seen := range []struct {
		what  string
		count int
	}{
		{"good pods", len(r.Pods.Calm)}, {"bad pods", r.Pods.Bad}, {"images", r.Images.Right}, {"decisions", r.Decisions}, {"journals", r.Journals}, {"events", r.Events}, {"released quarantines", r.Released}, {"values", r.Values}, {"faults", len(r.Faults)},
	} {
		if seen.count == 0 {
			fmt.Fprintf(&text, "the soak has seen no %s\n", seen.what)
		}
	}
	for _, kind := range zeros {
		all := r.failures[kind]
		for n, one := range all {
			if n == maxListed {
				fmt.Fprintf(&text, "%s: … and %d more\n", kind, len(all)-n)
				break
			}
			fmt.Fprintf(&text, "%s: %s\n", kind, one)
		}
	}
	return text.String()
}

// String is the table.
func (r *Report) String() string {
	var text strings.Builder
	faults := 0
	for _, f := range r.Faults {
		faults += f.Count
	}
	fmt.Fprintf(&text, "soak of %s, seed %d: %d faults of %d kinds\n", r.Took.Round(time.Second), r.Seed, faults, len(r.Faults))
	for _, of := range []struct {
		name     string
		requests *Requests
	}{{"pods and Deployments", &r.Pods}, {"images", &r.Images}} {
		q := of.requests
		fmt.Fprintf(&text, "%-22s %6d good, %d bad: %d right, %d refused by a fault, %d unanswered; p50/p99 calm %s/%s, faulty %s/%s\n", of.name, q.Good, q.Bad, q.Right, q.Failed, q.Unanswered,
			percentile(q.Calm, 50), percentile(q.Calm, 99), percentile(q.Faulty, 50), percentile(q.Faulty, 99))
	}
	fmt.Fprintf(&text, "%-22s %6d in %d journals\n", "decisions", r.Decisions, r.Journals)
	fmt.Fprintf(&text, "%-22s %6d acknowledged, %d quarantines released\n", "events", r.Events, r.Released)
	fmt.Fprintf(&text, "%-22s %6d values, %d VaultSecrets made and deleted\n", "secrets", r.Values, r.Churned)
	for _, kind := range zeros {
		fmt.Fprintf(&text, "%-28s %d\n", kind, len(r.failures[kind]))
	}
	fmt.Fprintf(&text, "longest time to work again, by check:")
	for _, name := range slices.Sorted(maps.Keys(r.checks)) {
		fmt.Fprintf(&text, " %s %s;", name, r.checks[name].Round(100*time.Millisecond))
	}
	fmt.Fprintf(&text, "\n%-42s %5s %10s\n", "fault", "count", "longest recovery")
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(&text, "%-42s %5d %10s\n", name, r.Faults[name].Count, r.Faults[name].Recovery.Round(100*time.Millisecond))
	}
	return text.String()
}

func percentile(of []time.Duration, p int) time.Duration {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)].Round(time.Millisecond / 10)
}
