package audit

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
)

// Ledger keeps what was found of the objects of a cluster, by scope: compact, and each text once. It may be used by any
// number of goroutines.
type Ledger struct {
	scopeOf func(Reference) string

	mu     sync.Mutex
	scopes map[string]*page
	texts  map[string]string
	gone   map[key]string // objects that were deleted while a pass ran, with their versions
	pass   uint64         // counts passes
	begun  uint64         // counts judgements
}

// page is what is kept of a scope.
type page struct {
	entries map[key]*entry
	dirty   bool
	// critical says that a critical finding has come since the page was read.
	critical bool
	posture  Posture // as it was when the page was read last
}

type key struct{ resource, namespace, name string }

func keyOf(r Reference) key { return key{r.GroupResource(), r.Namespace, r.Name} }

type entry struct {
	result  Result
	content uint64
	version string
	judged  time.Time
	pass    uint64
}

// NewLedger makes an empty Ledger. scopeOf says to which scope an object belongs.
func NewLedger(scopeOf func(Reference) string) *Ledger {
	return &Ledger{scopeOf: scopeOf, scopes: map[string]*page{}, texts: map[string]string{}, gone: map[key]string{}}
}

// Judged is what a result changes.
type Judged struct {
	// Before is what was found before, nil where the object is new here.
	Before *Result
	// Stale says that a newer state of the object is known, or what was found by a judgement of this one that was begun later: nothing
	// changes.
	Stale bool
	// Changed says that something else was found than before.
	Changed bool
	// Critical says that a critical finding stands that did not before.
	Critical bool
}

// Begin begins a pass: what it does not see is gone when it ends, see [Ledger.Sweep].
func (l *Ledger) Begin() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pass++
	clear(l.gone)
	clear(l.texts) // those of the findings that there are come again
	return l.pass
}

// Number numbers a judgement that is about to begin, see [Result].Number.
func (l *Ledger) Number() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun++
	return l.begun
}

// Put takes in what was found of an object. content is a hash of what was judged, version its resourceVersion. Of a result that
// says the same as the one before, that one's time stays: since then it is so.
func (l *Ledger) Put(r Result, content uint64, version string) Judged {
	scope, k := l.scopeOf(r.Object), keyOf(r.Object)
	r = r.Compact()
	at := r.At
	l.mu.Lock()
	defer l.mu.Unlock()
	l.internRunning(r.Running)
	if older(version, l.gone[k]) {
		return Judged{Stale: true}
	}
	p := l.page(scope)
	was := p.entries[k]
	var judged Judged
	if was != nil {
		// What was begun earlier may not know yet what the later one does, of an image or of an exception.
		late := r.Number != 0 && r.Number < was.result.Number && !older(was.version, version)
		if was.result.Object.UID == r.Object.UID && (late || older(version, was.version)) {
			was.pass = l.pass
			return Judged{Stale: true}
		}
		before := was.result
		judged.Before = &before
		judged.Changed = !sameFindings(&before, &r)
		if !judged.Changed {
			r.At = before.At
		}
		if !judged.Changed && before.Owner != nil == (r.Owner != nil) && before.Dormant == r.Dormant && before.Object == r.Object && before.Matched == r.Matched {
			was.content, was.version, was.judged, was.pass, was.result.Number, was.result.Revision, was.result.Running = content, version, at, l.pass, r.Number, r.Revision, r.Running
			return judged
		}
	} else {
		judged.Changed = true
	}
	judged.Critical = judged.Changed && newCritical(judged.Before, &r)
	l.intern(&r)
	p.entries[k] = &entry{r, content, version, at, l.pass}
	p.dirty, p.critical = true, p.critical || judged.Critical
	return judged
}

// older says that one resourceVersion is of before another. They are numbers (KEP-5504); of others nothing is known.
func older(version, other string) bool {
	if version == "" || other == "" {
		return false
	}
	a, err := strconv.ParseUint(version, 10, 64)
	b, also := strconv.ParseUint(other, 10, 64)
	return err == nil && also == nil && a < b
}

func sameFindings(a, b *Result) bool {
	return slices.EqualFunc(a.Findings, b.Findings, func(x, y policies.Finding) bool {
		return x.Policy == y.Policy && x.Instance == y.Instance && x.Bundle == y.Bundle && x.Severity == y.Severity && x.Effect == y.Effect && x.Enforcement == y.Enforcement &&
			x.Message == y.Message && x.Path == y.Path && x.ExceptedBy == y.ExceptedBy && x.ExceptedUntil == y.ExceptedUntil && x.Title == y.Title
	}) && slices.Equal(a.Faults, b.Faults) && slices.Equal(a.Undecided, b.Undecided)
}

func newCritical(before, after *Result) bool {
	count := func(r *Result) (n int) {
		if r == nil {
			return 0
		}
		for i := range r.Findings {
			if r.Findings[i].Severity == severities[0] && r.Findings[i].ExceptedBy == "" {
				n++
			}
		}
		return n
	}
	return count(after) > count(before)
}

// intern shares the texts of findings: those of one policy are much alike.
func (l *Ledger) intern(r *Result) {
	for n := range r.Findings {
		f := &r.Findings[n]
		for _, text := range []*string{&f.Policy, &f.Instance, &f.Bundle, &f.Title, &f.Severity, &f.Message, &f.Path, &f.ExceptedBy, &f.ExceptedUntil} {
			*text = l.text(*text)
		}
	}
	for _, text := range []*string{&r.Object.Group, &r.Object.Version, &r.Object.Kind, &r.Object.Resource, &r.Object.Namespace, &r.Profile, &r.Revision} {
		*text = l.text(*text)
	}
}

// maxTexts bounds what is shared: policies can write what they want.
const maxTexts = 100_000

func (l *Ledger) text(s string) string {
	if s == "" {
		return ""
	}
	if known, ok := l.texts[s]; ok {
		return known
	}
	if len(l.texts) >= maxTexts {
		clear(l.texts)
	}
	s = strings.Clone(s)
	l.texts[s] = s
	return s
}

// Same says that an object was judged as it is, and notes that it is still there.
func (l *Ledger) Same(r Reference, content uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.scopes[l.scopeOf(r)]
	if p == nil {
		return false
	}
	known := p.entries[keyOf(r)]
	if known == nil || known.content != content || known.result.Object.UID != r.UID {
		return false
	}
	known.pass = l.pass
	return true
}

// Remove forgets an object that is gone. version is the last that it had.
func (l *Ledger) Remove(r Reference, version string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := keyOf(r)
	l.gone[k] = version
	if p := l.scopes[l.scopeOf(r)]; p != nil && p.entries[k] != nil && !older(version, p.entries[k].version) {
		delete(p.entries, k)
		p.dirty = true
	}
}

// Sweep forgets what is gone: the objects of a resource, in one namespace or in all for "", that the pass did not see.
func (l *Ledger) Sweep(pass uint64, resource, namespace string) {
	l.sweep(func(k key, e *entry) bool {
		return k.resource == resource && (namespace == "" || k.namespace == namespace) && e.pass < pass
	})
}

// Keep forgets the objects of all resources but those that are named.
func (l *Ledger) Keep(resources map[string]bool) {
	l.sweep(func(k key, _ *entry) bool { return !resources[k.resource] })
}

func (l *Ledger) sweep(gone func(key, *entry) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.scopes {
		for k, e := range p.entries {
			if gone(k, e) {
				delete(p.entries, k)
				p.dirty = true
			}
		}
	}
}

// Drop forgets the scopes that belong to somebody else now.
func (l *Ledger) Drop(owns func(scope string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for scope := range l.scopes {
		if !owns(scope) {
			delete(l.scopes, scope)
		}
	}
}

// Dirty are the scopes of which something has changed since they were read, those with new critical findings first, else sorted.
func (l *Ledger) Dirty() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var scopes []string
	for scope, p := range l.scopes {
		if p.dirty {
			scopes = append(scopes, scope)
		}
	}
	slices.SortFunc(scopes, func(a, b string) int {
		if l.scopes[a].critical != l.scopes[b].critical {
			if l.scopes[a].critical {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return scopes
}

// Scopes are all of them, sorted.
func (l *Ledger) Scopes() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var scopes []string
	for scope := range l.scopes {
		scopes = append(scopes, scope)
	}
	slices.Sort(scopes)
	return scopes
}

// Read gives what was found of a scope, owners first and without what they own says, too. Dirty is then no more.
func (l *Ledger) Read(scope string) []Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.scopes[scope]
	if p == nil {
		return nil
	}
	results := make([]Result, 0, len(p.entries))
	for _, e := range p.entries {
		results = append(results, e.result)
	}
	slices.SortFunc(results, func(a, b Result) int { return CompareOrder(a.Object, b.Object) })
	fold := NewFold()
	p.posture, p.dirty, p.critical = Posture{MaxSamples: -1}, false, false
	for n := range results {
		results[n] = fold.Add(results[n])
		p.posture.Add(&results[n])
	}
	if len(results) == 0 {
		delete(l.scopes, scope)
	}
	return results
}

// page is that of a scope, made where there is none. l.mu is held.
func (l *Ledger) page(scope string) *page {
	p := l.scopes[scope]
	if p == nil {
		p = &page{entries: map[key]*entry{}}
		l.scopes[scope] = p
	}
	return p
}

// Soil makes a scope dirty again: what was read has not been written. That may be that nothing is left in it.
func (l *Ledger) Soil(scope string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.page(scope).dirty = true
}

// Counts are the findings of all scopes, as they were read last, without namespaces, and how many objects there are.
func (l *Ledger) Counts() (cells map[Cell]int, objects int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	cells = map[Cell]int{}
	for _, p := range l.scopes {
		objects += len(p.entries)
		for cell, n := range p.posture.cells {
			cell.Namespace = ""
			cells[cell] += n
		}
	}
	return cells, objects
}

// Find are the objects of which something was found, sorted; in their order a pass looks at them again.
func (l *Ledger) Find(match func(*Result) bool) []Reference {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Reference
	for _, p := range l.scopes {
		for _, e := range p.entries {
			if match(&e.result) {
				found = append(found, e.result.Object)
			}
		}
	}
	slices.SortFunc(found, CompareOrder)
	return found
}

// Worst ranks the resources by the worst finding of an object of theirs: 0 for a critical one. Resources without findings are
// not in it.
func (l *Ledger) Worst() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	worst := map[string]int{}
	for _, p := range l.scopes {
		for k, e := range p.entries {
			for n := range e.result.Findings {
				f := &e.result.Findings[n]
				if known, ok := worst[k.resource]; f.ExceptedBy == "" && (!ok || rank(f.Severity) < known) {
					worst[k.resource] = rank(f.Severity)
				}
			}
		}
	}
	return worst
}

// NextEnd is when the first exception ends of those that waived something when it was judged last, zero for none. It may have
// come already.
func (l *Ledger) NextEnd() time.Time {
	var next time.Time
	l.ends(func(_ Reference, at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	})
	return next
}

// Ended are the objects of which an exception waived something that has ended since they were judged, sorted.
func (l *Ledger) Ended(now time.Time) []Reference {
	var ended []Reference
	l.ends(func(r Reference, at time.Time) {
		if !now.Before(at) {
			ended = append(ended, r)
		}
	})
	slices.SortFunc(ended, CompareOrder)
	return slices.Compact(ended)
}

// ends visits the ends of exceptions that come after an object was judged: what was judged after one knows of it.
func (l *Ledger) ends(visit func(Reference, time.Time)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.scopes {
		for _, e := range p.entries {
			for n := range e.result.Findings {
				if until := e.result.Findings[n].ExceptedUntil; until != "" {
					if at := moment(until); at.After(e.judged) {
						visit(e.result.Object, at)
					}
				}
			}
		}
	}
}
