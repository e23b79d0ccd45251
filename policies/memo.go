package policies

import (
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/portcullis-dev/portcullis/admission/workload"
)

// A memo keeps what policies found for normal forms they have judged. Pods of one
// template differ in their names and little else, so most pods of a cluster are
// judged once and then recognised.
//
// Only policies that read nothing but the normal form and what is alike in the requests
// for such pods (the namespace, the operation …) take part: their findings depend
// on that, on their parameters and on nothing else. The key holds all that
// they read, hashed with SHA-256, so two pods share an entry only if no policy
// could tell them apart. Exceptions are applied afterwards, since they depend on
// the object's name and on time.
type memo struct {
	mu sync.Mutex
	// Two generations stand in for a list of recent use: when the young one is full
	// it becomes the old one, and what was not asked for since is forgotten.
	young, old map[memoKey]memoEntry
	findings   int // in the young one
}

type memoKey [sha256.Size]byte

// memoEntry holds the findings of each instance of a plan that found something, by
// its number.
type memoEntry map[int][]Finding

// A generation is bounded in entries, of which one for a pod without findings takes
// about 100 bytes, and in findings, which take about 500 bytes each.
const (
	maxMemo         = 4096
	maxMemoFindings = 8192
)

func newMemo() *memo { return &memo{young: map[memoKey]memoEntry{}} }

func (m *memo) get(key memoKey) (memoEntry, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if entry, ok := m.young[key]; ok {
		return entry, true
	}
	entry, ok := m.old[key]
	if ok {
		m.put(key, entry)
	}
	return entry, ok
}

func (m *memo) add(key memoKey, entry memoEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, entry)
}

func (m *memo) put(key memoKey, entry memoEntry) {
	if len(m.young) >= maxMemo || m.findings >= maxMemoFindings {
		m.young, m.old, m.findings = map[memoKey]memoEntry{}, m.young, 0
	}
	m.young[key] = entry
	for _, found := range entry {
		m.findings += len(found)
	}
}

// memoRequest are the fields of a request that go into the key.
var memoRequest = []string{"operation", "dryRun", "door", "resource", "subresource", "kind", "namespace"}

// memoizable says whether an instance's findings depend on the normal form alone, and
// on fields of the request that pods of one template share.
func (p *planned) memoizable() bool {
	if p.policy.Subject.Workload == "" || len(p.policy.Reads) > 0 || p.reads.whole {
		return false
	}
	for section, reads := range p.reads.fields {
		switch section {
		case "workload":
		case "images": // their references are alike, what is known of them changes
			if sectionsOf(p.reads).Any() || p.reads.field("images").item().field("requirements") != nil {
				return false
			}
		case "request":
			if reads.whole || reads.items != nil {
				return false
			}
			for field := range reads.fields {
				if !slices.Contains(memoRequest, field) {
					return false
				}
			}
		default:
			return false
		}
	}
	return true
}

// memoKeyFor hashes what the plan's memoizable instances read of a workload.
func (p *plan) memoKeyFor(w *workload.Workload, r *requestShape) memoKey {
	buffer := append(make([]byte, 0, 4096), p.key.phase...)
	buffer = appendString(buffer, p.key.instances)
	buffer = appendString(buffer, w.Path) // findings name the field they are about
	if p.print != nil {
		buffer = p.print(buffer, reflect.ValueOf(w).Elem())
	}
	if p.printImages != nil {
		buffer = p.printImages(buffer, reflect.ValueOf(&w.Images).Elem())
	}
	if p.printRequest != nil {
		buffer = p.printRequest(buffer, reflect.ValueOf(r).Elem())
	}
	return sha256.Sum256(buffer)
}

// A printer appends all that is read of a Go value to a buffer, such that two
// values give the same bytes only if they are alike as far as they are read. It
// mirrors the encoder.
type printer func([]byte, reflect.Value) []byte

func newPrinter(t reflect.Type, reads *readSet) printer {
	if reads == nil {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		inner := newPrinter(t.Elem(), reads)
		return func(buffer []byte, v reflect.Value) []byte {
			if v.IsNil() {
				return append(buffer, 0)
			}
			return inner(append(buffer, 1), v.Elem())
		}
	case reflect.Struct:
		return structPrinter(t, reads)
	case reflect.Slice:
		element := newPrinter(t.Elem(), reads.item())
		return func(buffer []byte, v reflect.Value) []byte {
			buffer = binary.AppendUvarint(buffer, uint64(v.Len()))
			for i := range v.Len() {
				if element != nil {
					buffer = element(buffer, v.Index(i))
				}
			}
			return buffer
		}
	case reflect.String:
		return func(buffer []byte, v reflect.Value) []byte { return appendString(buffer, v.String()) }
	case reflect.Bool:
		return func(buffer []byte, v reflect.Value) []byte {
			if v.Bool() {
				return append(buffer, 1)
			}
			return append(buffer, 0)
		}
	case reflect.Int64:
		return func(buffer []byte, v reflect.Value) []byte { return binary.AppendVarint(buffer, v.Int()) }
	}
	panic("policies: the normal form holds a " + t.String()) // a mistake in our own types
}

func structPrinter(t reflect.Type, reads *readSet) printer {
	type field struct {
		index int
		print printer
	}
	var fields []field
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if print := newPrinter(t.Field(i).Type, reads.field(name)); print != nil {
			fields = append(fields, field{i, print})
		}
	}
	return func(buffer []byte, v reflect.Value) []byte {
		for i := range fields {
			buffer = fields[i].print(buffer, v.Field(fields[i].index))
		}
		return buffer
	}
}

func appendString(buffer []byte, s string) []byte {
	buffer = binary.AppendUvarint(buffer, uint64(len(s)))
	return append(buffer, s...)
}
