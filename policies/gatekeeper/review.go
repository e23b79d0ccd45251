package gatekeeper

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/policies"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reviewReads is what a template can read of input.review.
type reviewReads struct {
	whole           bool // the review as one value
	paths           [][]string
	namespaceObject bool // it names namespaceObject
}

var reviewKey = ast.StringTerm("review")

// readsOfReview finds what the rules of modules that are not compiled yet can read. It is never too little: what cannot be
// followed, like a variable that holds the input, counts as all of its value.
func readsOfReview(modules map[string]*ast.Module) reviewReads {
	var reads reviewReads
	for _, name := range sortedKeys(modules) {
		followed := map[*ast.Term]bool{} // the input where a reference or a call leads on from it
		policies.WalkCalls(modules[name], func(function string, operands []*ast.Term, _ *ast.Location) {
			if read := objectGet(function, operands); read != nil {
				followed[operands[0]] = true
				reads.add(read)
			}
		})
		ast.WalkTerms(modules[name], func(term *ast.Term) bool {
			switch value := term.Value.(type) {
			case ast.Ref:
				if len(value) > 0 && !followed[term] {
					reads.add(value)
				}
				if len(value) > 0 {
					followed[value[0]] = true
				}
			case ast.Var:
				if !followed[term] {
					reads.add(ast.Ref{term})
				}
			case ast.String:
				reads.namespaceObject = reads.namespaceObject || value == "namespaceObject"
			}
			return false
		})
	}
	return reads
}

// objectGet is what a call like object.get(input, "parameters", {}) reads, by a key or a list of keys; nil for others.
func objectGet(function string, operands []*ast.Term) ast.Ref {
	if function != ast.ObjectGet.Name || len(operands) < 2 {
		return nil
	}
	var of ast.Ref
	switch object := operands[0].Value.(type) {
	case ast.Ref:
		of = object
	case ast.Var:
		of = ast.Ref{operands[0]}
	}
	if len(of) == 0 || !of[0].Equal(ast.InputRootDocument) {
		return nil
	}
	switch keys := operands[1].Value.(type) {
	case ast.String:
		return of.Append(operands[1])
	case *ast.Array:
		keys.Foreach(func(key *ast.Term) { of = of.Append(key) })
		return of
	}
	return nil
}

func (r *reviewReads) add(ref ast.Ref) {
	switch {
	case len(ref) == 0 || !ref[0].Equal(ast.InputRootDocument):
		return
	case len(ref) == 1:
		r.whole = true
		return
	case !ref[1].Equal(reviewKey):
		_, constant := ref[1].Value.(ast.String)
		r.whole = r.whole || !constant
		return
	}
	var path []string
	for _, term := range ref[2:] {
		text, ok := term.Value.(ast.String)
		if !ok {
			break
		}
		path = append(path, string(text))
	}
	r.whole = r.whole || len(path) == 0
	r.paths = append(r.paths, path)
}

// section says whether anything of a member of the review can be read.
func (r *reviewReads) section(name string) bool {
	return r.whole || slices.ContainsFunc(r.paths, func(path []string) bool { return path[0] == name })
}

// redacted is a path that a journal did not keep and that can be read, "" for none. On a deletion the object is the old one.
func (r *reviewReads) redacted(request *policies.Request) string {
	for _, gone := range request.Redacted {
		if r.whole || r.meets(strings.Split(gone, ".")) {
			return gone
		}
		if rest, ok := strings.CutPrefix(gone, "oldObject"); ok && request.Operation == "DELETE" && r.meets(strings.Split("object"+rest, ".")) {
			return gone
		}
	}
	return ""
}

// meets says whether a path that is read leads to another one, or below it.
func (r *reviewReads) meets(gone []string) bool {
	return slices.ContainsFunc(r.paths, func(path []string) bool {
		shorter := min(len(path), len(gone))
		return slices.Equal(path[:shorter], gone[:shorter])
	})
}

// review is one object to be judged, as templates see it.
type review struct {
	request *policies.Request
	// object is what is judged: on a deletion what is deleted.
	object, oldObject []byte
	// namespace is what is known of the namespace, nil for nothing.
	namespace *policies.Namespace
	source    source
	// implied is the ExpansionTemplate that made the object, nil for one that somebody sent.
	implied *expansion

	subjects []subject
	read     map[string]bool // raw members of the review that some template reads: others are not decoded
	term     *ast.Term       // made when the first template asks
	failed   error
}

// rawMembers are the members of a review that come as JSON.
var rawMembers = []string{"object", "oldObject", "options"}

// reading says that a template with these reads will be asked.
func (r *review) reading(reads *reviewReads) {
	for _, name := range rawMembers {
		if reads.section(name) {
			if r.read == nil {
				r.read = map[string]bool{}
			}
			r.read[name] = true
		}
	}
}

// newReview is the review of a request.
func newReview(request *policies.Request, namespace *policies.Namespace) *review {
	r := &review{request: request, object: request.Object, oldObject: request.OldObject, namespace: namespace, source: sourceOriginal}
	if request.Operation == "DELETE" {
		r.object = request.OldObject
	}
	return r
}

// absent says that there is no object, or null.
func absent(raw []byte) bool {
	text := strings.TrimSpace(string(raw))
	return text == "" || text == "null"
}

// lacks names what the request must hold and does not, "" for nothing: a policy asked about nothing objects to nothing.
func (r *review) lacks() string {
	switch r.request.Operation {
	case "CREATE", "UPDATE", "CONNECT":
		if absent(r.request.Object) {
			return "object"
		}
	case "DELETE":
		if absent(r.request.OldObject) {
			return "oldObject"
		}
	default:
		if absent(r.object) && absent(r.oldObject) {
			return "object"
		}
	}
	return ""
}

// readSubjects reads what matching needs, of the object and of the old one: a constraint is asked when it matches either.
func (r *review) readSubjects() error {
	raws := [][]byte{r.object}
	if r.request.Operation != "DELETE" {
		raws = append(raws, r.oldObject)
	}
	for _, raw := range raws {
		if absent(raw) {
			continue
		}
		metadata, err := readMetadata(raw)
		if err != nil {
			return err
		}
		s := subject{
			group: r.request.Kind.Group, kind: r.request.Kind.Kind,
			namespace: r.request.Namespace, name: metadata.Metadata.Name, generateName: metadata.Metadata.GenerateName,
			labels: metadata.Metadata.Labels, source: r.source,
		}
		if s.namespace == "" {
			s.namespace = metadata.Metadata.Namespace
		}
		if s.isNamespace() {
			s.namespace = ""
			if s.name == "" {
				s.name = r.request.Name
			}
		}
		if r.namespace != nil {
			s.namespaceKnown, s.namespaceLabels = true, r.namespace.Labels
		}
		r.subjects = append(r.subjects, s)
	}
	return nil
}

// matches says whether a match takes the object, or the old one.
func (r *review) matches(m *match) (bool, error) {
	var unknown error
	for n := range r.subjects {
		matched, err := m.matches(&r.subjects[n])
		if matched {
			return true, nil
		}
		if err != nil {
			unknown = err
		}
	}
	return false, unknown
}

// value is input.review: the AdmissionRequest (k8s.io/api/admission/v1), and namespaceObject. It is made once for all
// constraints.
func (r *review) value() (*ast.Term, error) {
	if r.term == nil && r.failed == nil {
		r.term, r.failed = r.build()
	}
	return r.term, r.failed
}

func (r *review) build() (*ast.Term, error) {
	request := r.request
	members := [][2]*ast.Term{
		item("uid", ast.StringTerm(request.UID)),
		item("kind", kindTerm(request.Kind)),
		item("resource", resourceTerm(request.Resource)),
		item("requestKind", kindTerm(request.Kind)),
		item("requestResource", resourceTerm(request.Resource)),
		item("operation", ast.StringTerm(request.Operation)),
		item("userInfo", userTerm(request.Subject)),
		item("dryRun", ast.BooleanTerm(request.DryRun)),
		item("namespaceObject", namespaceTerm(r.namespace)),
	}
	for name, text := range map[string]string{
		"name": request.Name, "namespace": request.Namespace, "subResource": request.SubResource, "requestSubResource": request.SubResource,
	} {
		if text != "" {
			members = append(members, item(name, ast.StringTerm(text)))
		}
	}
	for name, raw := range map[string][]byte{"object": r.object, "oldObject": r.oldObject, "options": request.Options} {
		value := ast.NullTerm()
		if r.read[name] && !absent(raw) {
			var err error
			if value, err = policies.RawValue(raw); err != nil {
				return nil, err
			}
		}
		members = append(members, item(name, value))
	}
	return ast.ObjectTerm(members...), nil
}

func item(name string, value *ast.Term) [2]*ast.Term { return ast.Item(ast.StringTerm(name), value) }

func kindTerm(k metav1.GroupVersionKind) *ast.Term {
	return ast.ObjectTerm(item("group", ast.StringTerm(k.Group)), item("version", ast.StringTerm(k.Version)), item("kind", ast.StringTerm(k.Kind)))
}

func resourceTerm(r metav1.GroupVersionResource) *ast.Term {
	return ast.ObjectTerm(item("group", ast.StringTerm(r.Group)), item("version", ast.StringTerm(r.Version)), item("resource", ast.StringTerm(r.Resource)))
}

// userTerm is userInfo (k8s.io/api/authentication/v1), in which what is empty is left out.
func userTerm(s policies.Subject) *ast.Term {
	var members [][2]*ast.Term
	if s.Username != "" {
		members = append(members, item("username", ast.StringTerm(s.Username)))
	}
	if s.UID != "" {
		members = append(members, item("uid", ast.StringTerm(s.UID)))
	}
	if len(s.Groups) > 0 {
		members = append(members, item("groups", textsTerm(s.Groups)))
	}
	if len(s.Extra) > 0 {
		var extra [][2]*ast.Term
		for name, values := range s.Extra {
			extra = append(extra, item(name, textsTerm(values)))
		}
		members = append(members, item("extra", ast.ObjectTerm(extra...)))
	}
	return ast.ObjectTerm(members...)
}

func textsTerm(texts []string) *ast.Term {
	terms := make([]*ast.Term, 0, len(texts))
	for _, text := range texts {
		terms = append(terms, ast.StringTerm(text))
	}
	return ast.ArrayTerm(terms...)
}

// namespaceTerm is what is known of the namespace in the shape of a Namespace, null for nothing.
func namespaceTerm(n *policies.Namespace) *ast.Term {
	if n == nil {
		return ast.NullTerm()
	}
	metadata := [][2]*ast.Term{item("name", ast.StringTerm(n.Name))}
	for name, texts := range map[string]map[string]string{"labels": n.Labels, "annotations": n.Annotations} {
		if len(texts) == 0 {
			continue
		}
		members := make([][2]*ast.Term, 0, len(texts))
		for key, text := range texts {
			members = append(members, item(key, ast.StringTerm(text)))
		}
		metadata = append(metadata, item(name, ast.ObjectTerm(members...)))
	}
	return ast.ObjectTerm(
		item("apiVersion", ast.StringTerm("v1")), item("kind", ast.StringTerm("Namespace")), item("metadata", ast.ObjectTerm(metadata...)),
	)
}
