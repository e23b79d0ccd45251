package capacity

import (
	"cmp"
	"fmt"
	"slices"
)

// Thresholds say from when on there is a hint. A zero field means the default.
type Thresholds struct {
	// Over is the percentage of a request below which it is too much; 30 by default.
	Over int64
	// Under is the percentage of a request above which it is too little; 100 by default.
	Under int64
	// Limit is the percentage of a memory limit above which the container is near being killed; 90 by default.
	Limit int64
}

// Defaults of thresholds.
const (
	DefaultOver  = 30
	DefaultUnder = 100
	DefaultLimit = 90
)

// Requests below these are never too much: what they would save is not worth anybody's time.
const (
	smallCPU    = 50       // thousandths
	smallMemory = 64 << 20 // bytes
)

// MaxHints is how many hints a report lists; all are counted.
const MaxHints = 1000

// Totals are those of a namespace, or of all.
type Totals struct {
	Workloads int64 `json:"workloads"`
	Pods      int64 `json:"pods"`
	// Requests are what the scheduler counts, Limits the sum of those that there are.
	Requests Amount `json:"requests"`
	Limits   Amount `json:"limits"`
	// UnlimitedMemory counts the pods of which some container may use any amount of memory.
	UnlimitedMemory int64 `json:"podsWithoutMemoryLimit"`
	// Usage is what Measured of the pods use.
	Usage    Amount `json:"usage"`
	Measured int64  `json:"podsMeasured"`
	// Cost is what the requests cost in a month, nil without prices.
	Cost *Money `json:"costPerMonth,omitempty"`
}

// Namespace is one with its totals.
type Namespace struct {
	Name string `json:"name"`
	Totals
}

// HintKind says what does not fit.
type HintKind string

// The kinds of hints, gravest first.
const (
	NearLimit       HintKind = "near-limit"
	NoRequest       HintKind = "no-request"
	NoLimit         HintKind = "no-limit"
	Underprovided   HintKind = "under-provisioned"
	Overprovisioned HintKind = "over-provisioned"
)

// HintKinds are all kinds, gravest first.
func HintKinds() []HintKind {
	return []HintKind{NearLimit, NoRequest, NoLimit, Underprovided, Overprovisioned}
}

// Hint is one container of a workload that should be looked at.
type Hint struct {
	Kind      HintKind `json:"kind"`
	Namespace string   `json:"namespace"`
	Workload  string   `json:"workload"` // "Deployment/web"
	Container string   `json:"container"`
	Resource  string   `json:"resource"` // "cpu" or "memory"
	Pods      int64    `json:"pods"`
	// Given is the request, or the limit of NearLimit, and Used what a pod uses on average: thousandths of a
	// processor, or bytes. Percent is the second of the first.
	Given   int64 `json:"given,omitempty"`
	Used    int64 `json:"used,omitempty"`
	Percent int64 `json:"percent,omitempty"`
	// Idle is what all pods together request and do not use, of Overprovisioned.
	Idle    int64  `json:"idle,omitempty"`
	Message string `json:"message"`
}

// Report is what the ledger comes to.
type Report struct {
	Total      Totals           `json:"total"`
	Namespaces []Namespace      `json:"namespaces"` // by name
	Hints      []Hint           `json:"hints"`      // the first MaxHints
	Counts     map[HintKind]int `json:"hintCounts"` // of all
	// Idle is what is requested and not used, by workloads whose usage is known, Saving what that costs in a month.
	Idle   Amount   `json:"idle"`
	Saving *Money   `json:"idleCostPerMonth,omitempty"`
	Notes  []string `json:"notes,omitempty"`
}

// Report closes the ledger: it is not to be added to afterwards.
func (l *Ledger) Report(thresholds Thresholds, prices Prices) Report {
	l.settle()
	thresholds = thresholds.orDefault()
	report := Report{Namespaces: []Namespace{}, Hints: []Hint{}, Counts: map[HintKind]int{}}
	for name, totals := range l.namespaces {
		own := *totals
		own.Cost = prices.month(own.Requests)
		report.Namespaces = append(report.Namespaces, Namespace{name, own})
		report.Total = report.Total.plus(own)
	}
	report.Total.Cost = prices.month(report.Total.Requests)
	slices.SortFunc(report.Namespaces, func(a, b Namespace) int { return cmp.Compare(a.Name, b.Name) })
	for _, w := range l.workloads {
		for _, r := range w.containers {
			for _, hint := range r.hints(thresholds) {
				hint.Namespace, hint.Workload, hint.Container, hint.Pods = w.namespace, w.String(), r.name, r.pods
				report.Counts[hint.Kind]++
				report.Hints = append(report.Hints, hint)
			}
			report.Idle = report.Idle.plus(r.idle())
		}
	}
	slices.SortFunc(report.Hints, compareHints)
	report.Hints = report.Hints[:min(len(report.Hints), MaxHints)]
	report.Saving = prices.month(report.Idle)
	report.Notes = l.notes(&report)
	return report
}

func (t Thresholds) orDefault() Thresholds {
	return Thresholds{cmp.Or(t.Over, DefaultOver), cmp.Or(t.Under, DefaultUnder), cmp.Or(t.Limit, DefaultLimit)}
}

func (t Totals) plus(o Totals) Totals {
	return Totals{
		Workloads: t.Workloads + o.Workloads, Pods: add(t.Pods, o.Pods), Requests: t.Requests.plus(o.Requests), Limits: t.Limits.plus(o.Limits),
		UnlimitedMemory: add(t.UnlimitedMemory, o.UnlimitedMemory), Usage: t.Usage.plus(o.Usage), Measured: t.Measured + o.Measured,
	}
}

// compareHints puts the gravest first, and of one kind those that waste most.
func compareHints(a, b Hint) int {
	kinds := HintKinds()
	return cmp.Or(
		cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), cmp.Compare(a.Resource, b.Resource), cmp.Compare(b.Idle, a.Idle),
		cmp.Compare(b.Percent, a.Percent), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Workload, b.Workload), cmp.Compare(a.Container, b.Container),
	)
}

// used is what one pod uses on average.
func (r *row) used() Amount {
	if r.measured == 0 {
		return Amount{}
	}
	return Amount{r.usage.MilliCPU / r.measured, r.usage.MemoryBytes / r.measured}
}

// idle is what the measured pods request and do not use.
func (r *row) idle() Amount {
	requested := r.requests.times(r.measured)
	return Amount{max(0, requested.MilliCPU-r.usage.MilliCPU), max(0, requested.MemoryBytes-r.usage.MemoryBytes)}
}

func (r *row) hints(t Thresholds) []Hint {
	var hints []Hint
	used, idle := r.used(), r.idle()
	for _, of := range []struct {
		resource    string
		given       bool
		request     int64
		used, idle  int64
		small       int64
		noRequestIs string
	}{
		{"cpu", r.requests.cpu, r.requests.MilliCPU, used.MilliCPU, idle.MilliCPU, smallCPU, "the scheduler counts nothing for it, and others may take its processor time"},
		{"memory", r.requests.memory, r.requests.MemoryBytes, used.MemoryBytes, idle.MemoryBytes, smallMemory, "the scheduler counts nothing for it, and it is among the first to be evicted"},
	} {
		share := percent(of.used, of.request)
		switch {
		case !of.given:
			hints = append(hints, Hint{Kind: NoRequest, Resource: of.resource, Used: of.used, Message: fmt.Sprintf("it requests no %s: %s%s", of.resource, of.noRequestIs, usesNow(of.resource, of.used, r.measured))})
		case r.measured == 0 || of.request == 0:
		case share > t.Under:
			hints = append(hints, Hint{Kind: Underprovided, Resource: of.resource, Given: of.request, Used: of.used, Percent: share,
				Message: fmt.Sprintf("it requests %s %s and uses %s (%d%%): raise the request, or see why it uses more", Text(of.resource, of.request), of.resource, Text(of.resource, of.used), share)})
		case share < t.Over && of.request >= of.small:
			hints = append(hints, Hint{Kind: Overprovisioned, Resource: of.resource, Given: of.request, Used: of.used, Percent: share, Idle: of.idle,
				Message: fmt.Sprintf("it requests %s %s and uses %s (%d%%): watch it over a busy day, and lower the request if that is all", Text(of.resource, of.request), of.resource, Text(of.resource, of.used), share)})
		}
	}
	switch share := percent(used.MemoryBytes, r.limit.MemoryBytes); {
	case !r.limit.memory:
		hints = append(hints, Hint{Kind: NoLimit, Resource: "memory", Used: used.MemoryBytes, Message: "its memory has no limit: where it leaks, the node's other pods pay"})
	case r.measured > 0 && r.limit.MemoryBytes > 0 && share > t.Limit:
		hints = append(hints, Hint{Kind: NearLimit, Resource: "memory", Given: r.limit.MemoryBytes, Used: used.MemoryBytes, Percent: share,
			Message: fmt.Sprintf("it uses %s memory of %s at most (%d%%): it is killed when it reaches the limit", Text("memory", used.MemoryBytes), Text("memory", r.limit.MemoryBytes), share)})
	}
	return hints
}

func usesNow(resource string, used, measured int64) string {
	if measured == 0 {
		return ""
	}
	return fmt.Sprintf("; it uses %s now", Text(resource, used))
}

// notes say what the figures leave out.
func (l *Ledger) notes(r *Report) []string {
	var notes []string
	switch {
	case r.Total.Pods == 0:
	case r.Total.Measured == 0:
		notes = append(notes, "No usage is known, so that nothing is said about requests that are too high or too low: usage is read from metrics.k8s.io, or from PodMetrics in a dump (kubectl get podmetrics -A -o yaml).")
	default:
		notes = append(notes, "Usage is that of a moment: look at a busy day before a request is changed.")
		if r.Total.Measured < r.Total.Pods {
			notes = append(notes, fmt.Sprintf("The usage of %d of %d pods is not known.", r.Total.Pods-r.Total.Measured, r.Total.Pods))
		}
	}
	declared := 0
	for _, w := range l.workloads {
		if w.declared {
			declared++
		}
	}
	if declared > 0 {
		notes = append(notes, fmt.Sprintf("%d workloads have no pods here and are counted as they are declared.", declared))
	}
	if l.beyond > 0 {
		notes = append(notes, fmt.Sprintf("%d workloads beyond the first %d are in the totals only.", l.beyond, maxWorkloads))
	}
	if l.unread > 0 {
		notes = append(notes, fmt.Sprintf("%d objects could not be read and are not counted.", l.unread))
	}
	if all := r.count(); all > len(r.Hints) {
		notes = append(notes, fmt.Sprintf("%d more hints are counted and not listed.", all-len(r.Hints)))
	}
	return notes
}

func (r *Report) count() int {
	all := 0
	for _, n := range r.Counts {
		all += n
	}
	return all
}
