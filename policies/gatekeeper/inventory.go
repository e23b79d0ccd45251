package gatekeeper

import (
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/policies"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// gvk is a kind of objects. An empty field stands for any.
type gvk struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

// inventoryReads are the kinds that a template can look up in data.inventory.
type inventoryReads struct {
	any     bool // the kind is computed: any that is declared
	cluster bool // objects outside namespaces too
	kinds   map[string]bool
}

// may says whether objects of a kind can be looked up.
func (r *inventoryReads) may(kind string) bool { return r.any || r.kinds[kind] }

var (
	inventoryPrefix = ast.MustParseRef("data.inventory")
	inventoryKey    = ast.StringTerm("inventory")
	// inventoryInput is where the inventory is instead: in the input, so that an evaluation needs no store.
	inventoryInput = ast.MustParseRef("input.inventory")
)

// redirectInventory lets references to data.inventory read input.inventory, and gives the kinds that they can look up: nil
// for none. References have the shapes data.inventory.cluster[groupVersion][kind][name] and
// data.inventory.namespace[namespace][groupVersion][kind][name].
func redirectInventory(modules map[string]*ast.Module) *inventoryReads {
	reads := &inventoryReads{kinds: map[string]bool{}}
	found := false
	for _, name := range sortedKeys(modules) {
		for _, ref := range refsOf(modules[name]) { // imports too: what is below them is not followed
			if ref.HasPrefix(inventoryPrefix) {
				found = true
				reads.add(ref[len(inventoryPrefix):])
			}
		}
		// The error is of the function, which gives none.
		_, _ = ast.TransformRefs(modules[name], func(ref ast.Ref) (ast.Value, error) {
			if ref.HasPrefix(inventoryPrefix) {
				return slices.Concat(inventoryInput, ref[len(inventoryPrefix):]), nil
			}
			return ref, nil
		})
	}
	if !found {
		return nil
	}
	return reads
}

func (r *inventoryReads) add(below ast.Ref) {
	at := 2 // cluster, groupVersion, kind
	inNamespaces := len(below) > 0 && below[0].Equal(ast.StringTerm("namespace"))
	r.cluster = r.cluster || !inNamespaces
	if inNamespaces {
		at = 3
	} else if len(below) == 0 || !below[0].Equal(ast.StringTerm("cluster")) {
		r.any = true
		return
	}
	if len(below) <= at {
		r.any = true
		return
	}
	kind, ok := below[at].Value.(ast.String)
	if !ok {
		r.any = true
		return
	}
	r.kinds[string(kind)] = true
}

// newInventory is data.inventory with objects.
func newInventory(objects []policies.Object, values *decoded) (*ast.Term, error) {
	cluster, namespaces := branch{}, branch{}
	for n := range objects {
		object := &objects[n]
		value, err := values.value(object.Raw)
		if err != nil {
			return nil, err
		}
		into := cluster
		if object.Namespace != "" {
			into = namespaces.below(object.Namespace)
		}
		into.below(gvk{object.Group, object.Version, object.Kind}.apiVersion()).below(object.Kind)[object.Name] = value
	}
	return branch{"cluster": cluster, "namespace": namespaces}.term(), nil
}

// branch is an object under construction: its members are branches and terms. Objects of OPA remember hashes of their
// members, and so are made from the leaves up.
type branch map[string]any

// below gives the branch under a key, making it where there is none.
func (b branch) below(key string) branch {
	found, ok := b[key].(branch)
	if !ok {
		found = branch{}
		b[key] = found
	}
	return found
}

func (b branch) term() *ast.Term {
	members := make([][2]*ast.Term, 0, len(b))
	for _, key := range sortedKeys(b) {
		value, ok := b[key].(*ast.Term)
		if !ok {
			value = b[key].(branch).term()
		}
		members = append(members, ast.Item(ast.StringTerm(key), value))
	}
	return ast.ObjectTerm(members...)
}
