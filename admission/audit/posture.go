package audit

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
)

// DefaultSamples is how many findings a Posture keeps as examples: what fits on a few pages.
const DefaultSamples = 100

// Cell is what findings are counted by.
type Cell struct {
	Namespace   string               `json:"namespace"` // "" for objects without one
	Policy      string               `json:"policy"`
	Severity    string               `json:"severity"`
	Enforcement policies.Enforcement `json:"enforcement"`
	Excepted    bool                 `json:"excepted"`
}

// Posture adds up results. All totals are exact, in whatever order results came; only Samples is bounded. The zero value is
// empty and keeps DefaultSamples. It is used by one goroutine at a time.
type Posture struct {
	// MaxSamples bounds the samples, DefaultSamples for 0, none for less.
	MaxSamples int

	cells      map[Cell]int
	namespaces map[string]*scope
	exceptions map[exceptionKey]*int
	revisions  map[string]int
	folded     int
	samples    []Sample
	gaps       []Gap
}

// scope counts the objects of a namespace.
type scope struct{ objects, violating, faulty, undecided, owned int }

func (s *scope) add(o scope, sign int) {
	s.objects += sign * o.objects
	s.violating += sign * o.violating
	s.faulty += sign * o.faulty
	s.undecided += sign * o.undecided
	s.owned += sign * o.owned
}

type exceptionKey struct{ name, policy, until string }

// Sample is one finding as an example.
type Sample struct {
	Object  Reference        `json:"object"`
	Finding policies.Finding `json:"finding"`
}

// Add takes a result in.
func (p *Posture) Add(r *Result) { p.count(r, 1); p.sample(r) }

// Remove takes out a result that was added: an object that is gone, or that was judged again. Samples that it had
// are gone then, and only results that are added later fill their places.
func (p *Posture) Remove(r *Result) {
	p.count(r, -1)
	p.samples = slices.DeleteFunc(p.samples, func(s Sample) bool { return s.Object == r.Object })
}

// Incomplete notes what was not looked at.
func (p *Posture) Incomplete(gaps ...Gap) { p.gaps = append(p.gaps, gaps...) }

func (p *Posture) count(r *Result, sign int) {
	if p.cells == nil {
		p.cells, p.namespaces, p.exceptions, p.revisions = map[Cell]int{}, map[string]*scope{}, map[exceptionKey]*int{}, map[string]int{}
	}
	namespace := r.Object.Scope()
	one := scope{objects: 1}
	for n := range r.Findings {
		f := &r.Findings[n]
		addTo(p.cells, Cell{namespace, f.Policy, f.Severity, f.Enforcement, f.ExceptedBy != ""}, sign)
		if f.ExceptedBy == "" {
			one.violating = 1
			continue
		}
		key := exceptionKey{f.ExceptedBy, f.Policy, f.ExceptedUntil}
		if p.exceptions[key] == nil {
			p.exceptions[key] = new(int)
		}
		if *p.exceptions[key] += sign; *p.exceptions[key] == 0 {
			delete(p.exceptions, key)
		}
	}
	one.faulty, one.undecided = min(len(r.Faults), 1), min(len(r.Undecided), 1)
	if r.Owner != nil {
		one.owned = 1
	}
	if p.namespaces[namespace] == nil {
		p.namespaces[namespace] = &scope{}
	}
	p.namespaces[namespace].add(one, sign)
	if *p.namespaces[namespace] == (scope{}) {
		delete(p.namespaces, namespace)
	}
	p.folded += sign * r.Folded
	addTo(p.revisions, r.Revision, sign)
}

// addTo keeps no zeros: an empty Posture is empty, whatever was in it.
func addTo[K comparable](counts map[K]int, key K, n int) {
	if counts[key] += n; counts[key] == 0 {
		delete(counts, key)
	}
}

// sample keeps the findings that come first in the order of compareSamples.
func (p *Posture) sample(r *Result) {
	most := cmp.Or(p.MaxSamples, DefaultSamples)
	if most < 0 {
		return
	}
	for n := range r.Findings {
		if r.Findings[n].ExceptedBy != "" {
			continue
		}
		sample := Sample{Object: r.Object, Finding: r.Findings[n]}
		at, _ := slices.BinarySearchFunc(p.samples, sample, compareSamples)
		if at >= most {
			continue
		}
		p.samples = slices.Insert(p.samples, at, sample)
		p.samples = p.samples[:min(len(p.samples), most)]
	}
}

func compareSamples(a, b Sample) int {
	return cmp.Or(
		compareWeight(&a.Finding, &b.Finding),
		compareReferences(a.Object, b.Object),
		strings.Compare(a.Finding.Path, b.Finding.Path),
		strings.Compare(a.Finding.Message, b.Finding.Message))
}

// severities are those of policies, worst first.
var severities = []string{"critical", "high", "medium", "low"}

// compareWeight puts what is worst first: by severity, then what denies before what only warns, then by policy. What an exception
// waives comes last.
func compareWeight(a, b *policies.Finding) int {
	return cmp.Or(
		cmp.Compare(min(len(a.ExceptedBy), 1), min(len(b.ExceptedBy), 1)),
		cmp.Compare(rank(a.Severity), rank(b.Severity)),
		cmp.Compare(a.Enforcement, b.Enforcement),
		strings.Compare(a.Policy, b.Policy),
		strings.Compare(a.Instance, b.Instance),
		strings.Compare(a.Bundle, b.Bundle))
}

// rank puts a severity that is none last.
func rank(severity string) int {
	if n := slices.Index(severities, severity); n >= 0 {
		return n
	}
	return len(severities)
}

// Cells are all counts, sorted.
func (p *Posture) Cells() []Count {
	counts := make([]Count, 0, len(p.cells))
	for cell, n := range p.cells {
		counts = append(counts, Count{cell, n})
	}
	slices.SortFunc(counts, func(a, b Count) int {
		excepted := func(c Count) int {
			if c.Excepted {
				return 1
			}
			return 0
		}
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Policy, b.Policy), strings.Compare(a.Severity, b.Severity),
			cmp.Compare(a.Enforcement, b.Enforcement), cmp.Compare(excepted(a), excepted(b)))
	})
	return counts
}

// Count is how many findings there are of a cell.
type Count struct {
	Cell
	Findings int `json:"findings"`
}

// Tally counts findings: those that stand by severity and, again, by enforcement, and those that exceptions waive.
type Tally struct {
	Standing int `json:"standing"`
	Excepted int `json:"excepted"`

	Critical int `json:"critical"`
	High     int `json:"high"`
	Medium   int `json:"medium"`
	Low      int `json:"low"`

	Deny  int `json:"deny"`
	Warn  int `json:"warn"`
	Audit int `json:"audit"`
}

func (t *Tally) add(c Cell, n int) {
	if c.Excepted {
		t.Excepted += n
		return
	}
	t.Standing += n
	switch c.Severity {
	case "critical":
		t.Critical += n
	case "high":
		t.High += n
	case "medium":
		t.Medium += n
	default:
		t.Low += n
	}
	switch c.Enforcement {
	case policies.EnforceDeny:
		t.Deny += n
	case policies.EnforceWarn:
		t.Warn += n
	default:
		t.Audit += n
	}
}

// Summary is a Posture at one time, for JSON and for people. Everything in it is sorted.
type Summary struct {
	At time.Time `json:"at"`
	// Revisions judged the objects, each with how many.
	Revisions map[string]int `json:"revisions"`
	// Objects were judged, of which so many have a finding that stands, a fault, or a policy that could not be decided.
	Objects   int `json:"objects"`
	Violating int `json:"violating"`
	Faulty    int `json:"faulty"`
	Undecided int `json:"undecided"`
	// Owned belong to others that were made to make them: pods of a Deployment. Folded are their findings that their owners have, too,
	// and that are counted there only.
	Owned  int   `json:"owned"`
	Folded int   `json:"folded"`
	Total  Tally `json:"total"`

	Namespaces []NamespaceSummary `json:"namespaces"`
	Policies   []PolicySummary    `json:"policies"`
	// Exceptions are those that waive something, those that end first at the beginning.
	Exceptions []ExceptionSummary `json:"exceptions,omitempty"`
	// Samples are the worst findings, as many as were kept.
	Samples []Sample `json:"samples,omitempty"`
	// Gaps are what was not looked at.
	Gaps []Gap `json:"gaps,omitempty"`
}

// NamespaceSummary is one namespace; "" stands for objects without one.
type NamespaceSummary struct {
	Namespace string `json:"namespace"`
	Objects   int    `json:"objects"`
	Violating int    `json:"violating"`
	Tally     Tally  `json:"tally"`
}

// PolicySummary is one policy. Severity is the worst that it has had.
type PolicySummary struct {
	Policy   string `json:"policy"`
	Severity string `json:"severity"`
	Tally    Tally  `json:"tally"`
}

// ExceptionSummary is one exception, by what it waives.
type ExceptionSummary struct {
	Name     string `json:"name"`
	Policy   string `json:"policy"`
	Until    string `json:"until"`
	Findings int    `json:"findings"`
}

// Summary is the posture of now.
func (p *Posture) Summary(now time.Time) Summary {
	s := Summary{At: now.UTC().Truncate(time.Second), Revisions: map[string]int{}, Folded: p.folded, Namespaces: []NamespaceSummary{}, Policies: []PolicySummary{}}
	for revision, n := range p.revisions {
		s.Revisions[revision] = n
	}
	namespaces, byPolicy := map[string]*NamespaceSummary{}, map[string]*PolicySummary{}
	for name, scope := range p.namespaces {
		s.Objects, s.Violating, s.Faulty = s.Objects+scope.objects, s.Violating+scope.violating, s.Faulty+scope.faulty
		s.Undecided, s.Owned = s.Undecided+scope.undecided, s.Owned+scope.owned
		namespaces[name] = &NamespaceSummary{Namespace: name, Objects: scope.objects, Violating: scope.violating}
	}
	for cell, n := range p.cells {
		s.Total.add(cell, n)
		namespaces[cell.Namespace].Tally.add(cell, n)
		of := byPolicy[cell.Policy]
		if of == nil {
			of = &PolicySummary{Policy: cell.Policy, Severity: cell.Severity}
			byPolicy[cell.Policy] = of
		}
		if rank(cell.Severity) < rank(of.Severity) {
			of.Severity = cell.Severity
		}
		of.Tally.add(cell, n)
	}
	for _, one := range namespaces {
		s.Namespaces = append(s.Namespaces, *one)
	}
	slices.SortFunc(s.Namespaces, func(a, b NamespaceSummary) int { return strings.Compare(a.Namespace, b.Namespace) })
	for _, one := range byPolicy {
		s.Policies = append(s.Policies, *one)
	}
	slices.SortFunc(s.Policies, func(a, b PolicySummary) int { return strings.Compare(a.Policy, b.Policy) })
	for key, n := range p.exceptions {
		s.Exceptions = append(s.Exceptions, ExceptionSummary{key.name, key.policy, key.until, *n})
	}
	slices.SortFunc(s.Exceptions, func(a, b ExceptionSummary) int {
		return cmp.Or(moment(a.Until).Compare(moment(b.Until)), strings.Compare(a.Name, b.Name), strings.Compare(a.Policy, b.Policy))
	})
	s.Samples, s.Gaps = slices.Clone(p.samples), slices.Clone(p.gaps)
	slices.SortFunc(s.Gaps, func(a, b Gap) int {
		return cmp.Or(strings.Compare(a.What, b.What), strings.Compare(a.Reason, b.Reason))
	})
	s.Gaps = slices.Compact(s.Gaps)
	return s
}

// moment is when an exception ends; what cannot be read sorts first, to be seen.
func moment(until string) time.Time {
	at, err := policies.ParseMoment(until)
	if err != nil {
		return time.Time{}
	}
	return at
}

// MarshalJSON writes the Summary, without a time: two postures of the same results are the same bytes.
func (p *Posture) MarshalJSON() ([]byte, error) { return json.Marshal(p.Summary(time.Time{})) }
