package policies

import (
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/signer"
)

// input is what one evaluation sees.
type input struct {
	term     *ast.Term
	now      time.Time
	workload *workload.Workload
}

// Keys of input, made once.
var (
	requestKey   = ast.StringTerm("request")
	subjectKey   = ast.StringTerm("subject")
	workloadKey  = ast.StringTerm("workload")
	imagesKey    = ast.StringTerm("images")
	objectKey    = ast.StringTerm("object")
	oldObjectKey = ast.StringTerm("oldObject")
	namespaceKey = ast.StringTerm("namespace")
	clusterKey   = ast.StringTerm("cluster")
	nowKey       = ast.StringTerm("now")
	eventKey     = ast.StringTerm("event")
	syncKey      = ast.StringTerm("sync")
	incidentsKey = ast.StringTerm("incidents")
)

// newInput builds the input of a plan for one workload of a request (nil where
// there is none): just the sections, and in them the fields, that some policy reads.
func (p *plan) newInput(r *Request, w *workload.Workload, facts *Facts, trust *signer.Configuration, now, clock time.Time) (*input, error) {
	pairs := make([][2]*ast.Term, 0, 12)
	add := func(key, value *ast.Term) {
		if value != nil {
			pairs = append(pairs, [2]*ast.Term{key, value})
		}
	}
	if p.request != nil {
		shape, err := newRequestShape(r, p.reads.fields["request"])
		if err != nil {
			return nil, err
		}
		add(requestKey, p.request(reflect.ValueOf(shape).Elem()))
	}
	if p.subject != nil {
		add(subjectKey, p.subject(reflect.ValueOf(newSubjectShape(r.Subject)).Elem()))
	}
	if w != nil && p.workload != nil {
		add(workloadKey, p.workload(reflect.ValueOf(w).Elem()))
	}
	if w != nil && p.images != nil {
		images, err := p.images.encode(w.Images, facts, trust)
		if err != nil {
			return nil, err
		}
		add(imagesKey, images)
	}
	if p.namespace != nil && facts.Namespace != nil {
		add(namespaceKey, p.namespace(reflect.ValueOf(facts.Namespace).Elem()))
	}
	if p.now != nil {
		add(nowKey, ast.StringTerm(now.Format(time.RFC3339)))
	}
	for _, raw := range []struct {
		key  *ast.Term
		name string
		json json.RawMessage
	}{{objectKey, "object", r.Object}, {oldObjectKey, "oldObject", r.OldObject}} {
		reads := p.reads.fields[raw.name]
		if reads == nil || len(raw.json) == 0 {
			continue
		}
		term, err := decodeJSON(raw.json, reads)
		if err != nil {
			return nil, err
		}
		add(raw.key, term)
	}
	if reads := p.reads.fields["cluster"]; reads != nil {
		cluster, err := encodeCluster(p.visible(facts.Cluster), reads)
		if err != nil {
			return nil, err
		}
		add(clusterKey, cluster)
	}
	if reads := p.reads.fields["incidents"]; reads != nil {
		incidents, err := encodeIncidents(facts.Cluster, clock, reads)
		if err != nil {
			return nil, err
		}
		add(incidentsKey, incidents)
	}
	if p.event != nil && r.Event != nil {
		shape, err := newEventShape(r.Event, p.reads.fields["event"])
		if err != nil {
			return nil, err
		}
		add(eventKey, p.event(reflect.ValueOf(shape).Elem()))
	}
	if p.sync != nil && r.Sync != nil {
		add(syncKey, p.sync(reflect.ValueOf(r.Sync).Elem()))
	}
	return &input{term: ast.ObjectTerm(pairs...), now: now, workload: w}, nil
}

// visible are the objects for input.cluster: incidents are among them for policies that declare to read them as objects.
func (p *plan) visible(objects []Object) []Object {
	if p.reads.fields["incidents"] == nil {
		return objects
	}
	return slices.DeleteFunc(slices.Clone(objects), func(o Object) bool {
		return aboutIncidents(o) && !slices.Contains(p.declared, Read{Group: o.Group, Resource: o.Resource})
	})
}

func newRequestShape(r *Request, reads *readSet) (*requestShape, error) {
	shape := &requestShape{
		Operation:   r.Operation,
		DryRun:      r.DryRun,
		Door:        string(r.Door),
		Resource:    resourceShape{r.Resource.Group, r.Resource.Version, r.Resource.Resource},
		SubResource: r.SubResource,
		Kind:        kindShape{r.Kind.Group, r.Kind.Version, r.Kind.Kind},
		Namespace:   r.namespace(),
		Name:        r.Name,
	}
	if below := reads.field("options"); below != nil && len(r.Options) > 0 {
		options, err := decodeJSON(r.Options, below)
		if err != nil {
			return nil, err
		}
		shape.Options = options
	}
	return shape, nil
}

func newSubjectShape(s Subject) *subjectShape {
	shape := &subjectShape{Username: s.Username, UID: s.UID, Groups: s.Groups}
	for _, key := range sortedKeys(s.Extra) {
		shape.Extra = append(shape.Extra, extraShape{key, s.Extra[key]})
	}
	if namespace, name, ok := s.ServiceAccount(); ok {
		shape.ServiceAccount = &serviceAccountShape{namespace, name}
	}
	return shape
}

// encodeCluster gives the gathered objects in an order that does not depend on how
// they were gathered.
func encodeCluster(objects []Object, reads *readSet) (*ast.Term, error) {
	sorted := slices.Clone(objects)
	slices.SortFunc(sorted, compareObjects)
	item := reads.item()
	encode := newEncoder(reflect.TypeFor[clusterShape](), item)
	terms := make([]*ast.Term, 0, len(sorted))
	for _, object := range sorted {
		if encode == nil {
			terms = append(terms, emptyObjectTerm)
			continue
		}
		shape := clusterShape{object.Group, object.Version, object.Kind, object.Resource, object.Namespace, object.Name}
		term := encode(reflect.ValueOf(&shape).Elem())
		if below := item.field("object"); below != nil {
			raw, err := decodeJSON(object.Raw, below)
			if err != nil {
				return nil, err
			}
			term.Value.(ast.Object).Insert(objectKey, raw)
		}
		terms = append(terms, term)
	}
	return ast.ArrayTerm(terms...), nil
}

// clusterShape is objectShape without the raw object.
type clusterShape struct {
	Group     string `json:"group"`
	Version   string `json:"version"`
	Kind      string `json:"kind"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// changed says whether two inputs differ in what a policy reads of the object. It
// compares the normal form, or the raw object where that is read.
func changed(reads *readSet, now, old *input) bool {
	for _, section := range []*ast.Term{workloadKey, imagesKey, objectKey} {
		name := string(section.Value.(ast.String))
		if below := reads.fields[name]; below != nil && differs(below, get(now.term, section), get(old.term, section)) {
			return true
		}
	}
	return false
}

func get(object, key *ast.Term) *ast.Term {
	return object.Value.(ast.Object).Get(key)
}

// differs compares two values as far as they are read.
func differs(reads *readSet, a, b *ast.Term) bool {
	if a == nil || b == nil {
		return a != b
	}
	if reads.whole {
		return !a.Equal(b)
	}
	switch x := a.Value.(type) {
	case ast.Object:
		y, ok := b.Value.(ast.Object)
		if !ok {
			return true
		}
		return differsObject(reads, x, y)
	case *ast.Array:
		y, ok := b.Value.(*ast.Array)
		if !ok || x.Len() != y.Len() {
			return true
		}
		below := reads.item()
		for i := range x.Len() {
			if below != nil && differs(below, x.Elem(i), y.Elem(i)) {
				return true
			}
		}
		return false
	}
	return !a.Equal(b)
}

func differsObject(reads *readSet, x, y ast.Object) bool {
	found := false
	compare := func(from, with ast.Object) {
		from.Foreach(func(key, value *ast.Term) {
			name, _ := key.Value.(ast.String)
			if below := reads.field(string(name)); below != nil && !found {
				found = differs(below, value, with.Get(key))
			}
		})
	}
	compare(x, y)
	compare(y, x)
	return found
}
