package gatekeeper

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/policies"
)

// maxDecoded bounds the objects of which the decoded form is kept, by the bytes of their JSON. OPA's values take some
// twenty times that.
const maxDecoded = 8 << 20

// decoded remembers the values of objects, which are the same from one request to the next. Objects are told apart by
// where their JSON lies: it is never modified, and being remembered it stays there. The zero value is empty.
type decoded struct {
	mu            sync.Mutex
	recent, older map[*byte]decodedObject
	bytes         int // of recent
}

type decodedObject struct {
	raw  []byte
	term *ast.Term
}

// value gives the value of an object's JSON.
func (d *decoded) value(raw []byte) (*ast.Term, error) {
	if len(raw) == 0 {
		return policies.RawValue(raw)
	}
	if known, ok := d.get(raw); ok {
		return known, nil
	}
	term, err := policies.RawValue(raw)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keep(decodedObject{raw, term})
	return term, nil
}

func (d *decoded) get(raw []byte) (*ast.Term, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known, ok := d.recent[&raw[0]]; ok && len(known.raw) == len(raw) {
		return known.term, true
	}
	known, ok := d.older[&raw[0]]
	if !ok || len(known.raw) != len(raw) {
		return nil, false
	}
	d.keep(known)
	return known.term, true
}

// keep remembers an object; when half of the room is taken, what was not asked for since the last time is forgotten.
func (d *decoded) keep(object decodedObject) {
	if d.bytes += len(object.raw); d.bytes > maxDecoded/2 || d.recent == nil {
		d.older, d.recent, d.bytes = d.recent, map[*byte]decodedObject{}, len(object.raw)
	}
	d.recent[&object.raw[0]] = object
}

// built is the last inventory of a template, with the objects that it is of.
type built struct {
	objects []policies.Object
	term    *ast.Term
}

// lastBuilt remembers one inventory: where nothing has changed in the cluster, the next request has the same.
type lastBuilt struct{ last atomic.Pointer[built] }

// inventory gives the inventory of objects, building it if they are not those of the last time.
func (l *lastBuilt) inventory(objects []policies.Object, values *decoded) (*ast.Term, error) {
	if last := l.last.Load(); last != nil && slices.EqualFunc(last.objects, objects, sameObject) {
		return last.term, nil
	}
	term, err := newInventory(objects, values)
	if err == nil {
		l.last.Store(&built{objects, term})
	}
	return term, err
}

// sameObject says whether two are one object in one version.
func sameObject(a, b policies.Object) bool {
	return len(a.Raw) > 0 && len(a.Raw) == len(b.Raw) && &a.Raw[0] == &b.Raw[0] && a.Name == b.Name && a.Namespace == b.Namespace &&
		a.Kind == b.Kind && a.Version == b.Version && a.Group == b.Group
}
