package gatekeeper

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/policies"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Options say whose policies a folder holds. The zero value is for those of the whole cluster.
type Options struct {
	// Tenant says that they are a tenant's: they are not asked about objects outside namespaces, and data.inventory holds
	// the objects of the request's namespace only.
	Tenant bool
	// Waive applies the exceptions of the bundle to findings; nil for none.
	Waive func(r *policies.Request, facts *policies.Facts, now time.Time, findings []policies.Finding)
}

// Engine is a folder of Gatekeeper's policies, compiled. It is immutable and may be used by any number of goroutines.
type Engine struct {
	options     Options
	templates   map[string]*template // by kind
	constraints []*constraint        // by template and name
	mutators    []*mutator           // in the order in which they are applied
	expansions  []*expansion         // by name
	config      config
	decoded     *decoded
}

// Load compiles the policies of a folder. What is wrong with it is reported together, by kind, name and file.
func Load(fsys fs.FS, o Options) (*Engine, error) {
	documents, err := readFolder(fsys, false)
	if err != nil {
		return nil, fmt.Errorf("loading Gatekeeper policies: %w", err)
	}
	e, err := newEngine(policiesOf(documents), o, false)
	if err != nil {
		return nil, fmt.Errorf("loading Gatekeeper policies: %w", err)
	}
	return e, nil
}

// policiesOf leaves out what is no policy and lies beside them in Gatekeeper's library: suites, the objects that suites
// name, and kustomizations.
func policiesOf(documents []document) []document {
	named := map[string]bool{}
	for n := range documents {
		if documents[n].group != suiteGroup {
			continue
		}
		var s suiteSpec
		if documents[n].decode(&s, false) != nil {
			continue // Test says what is wrong with it
		}
		folder := path.Dir(documents[n].file)
		for _, test := range s.Tests {
			for _, one := range test.Cases {
				named[path.Join(folder, one.Object)] = true
				for _, inventory := range one.Inventory {
					named[path.Join(folder, inventory)] = true
				}
			}
		}
	}
	return slices.DeleteFunc(documents, func(d document) bool {
		sample := named[d.file] && !strings.HasSuffix(d.group, ".gatekeeper.sh")
		return d.group == suiteGroup || sample || strings.HasPrefix(path.Base(d.file), "kustomization.")
	})
}

// newEngine makes an engine of documents. Those of a suite get their inventory from its cases, and need not declare it.
func newEngine(documents []document, o Options, suite bool) (*Engine, error) {
	e := &Engine{options: o, templates: map[string]*template{}, decoded: new(decoded)}
	var problems []error
	var constraints []*document
	seen := map[string]string{}
	for n := range documents {
		d := &documents[n]
		identity := d.group + "/" + d.kind + "/" + d.namespace + "/" + d.name
		if other, ok := seen[identity]; ok {
			problems = append(problems, fmt.Errorf("%s: it is in %s already: remove one", d.title, other))
			continue
		}
		seen[identity] = d.file
		if d.group == constraintGroup {
			constraints = append(constraints, d) // when all templates are known
			continue
		}
		problems = append(problems, e.add(d))
	}
	for _, kind := range sortedKeys(e.templates) {
		if suite {
			continue
		}
		if err := errors.Join(e.templates[kind].declare(&e.config), e.checkTenant(e.templates[kind])); err != nil {
			problems = append(problems, fmt.Errorf("ConstraintTemplate %s: %w", kind, err))
		}
	}
	for _, d := range constraints {
		problems = append(problems, e.addConstraint(d))
	}
	problems = append(problems, e.checkCounts())
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	e.sort()
	return e, errors.Join(checkConflicts(e.mutators), checkCycles(e.expansions))
}

// checkTenant refuses a tenant's template that looks where the tenant sees nothing: it would find nothing in silence.
func (e *Engine) checkTenant(t *template) error {
	if e.options.Tenant && t.inventory != nil && t.inventory.cluster {
		return errors.New("it can look up objects outside namespaces in data.inventory, and a tenant's policies see those of their namespaces only: look into data.inventory.namespace")
	}
	return nil
}

// add takes in a document that is not a constraint.
func (e *Engine) add(d *document) error {
	switch {
	case d.group == templateGroup && d.kind == "ConstraintTemplate":
		made, err := newTemplate(d)
		if err != nil {
			return err
		}
		e.templates[made.kind] = made
	case d.group == configGroup && d.kind == "Config":
		return e.config.addConfig(d)
	case d.group == syncSetGroup && d.kind == "SyncSet":
		return e.config.addSyncSet(d)
	case d.group == mutationGroup:
		made, err := newMutator(d)
		if err != nil {
			return err
		}
		e.mutators = append(e.mutators, made)
	case d.group == expansionGroup:
		made, err := newExpansion(d)
		if err != nil {
			return err
		}
		e.expansions = append(e.expansions, made)
	case d.group == externalGroup:
		return fmt.Errorf("%s: external data are not run: what a provider says at the moment cannot be replayed. Verify images with the bundle's own policies (input.images), or put what the provider knows into parameters", d.title)
	case d.group == statusGroup: // what Gatekeeper's pods have reported
	default:
		return fmt.Errorf("%s: %s is none of Gatekeeper's kinds that are run: put objects to test with into a folder samples", d.title, gvk{d.group, d.version, d.kind}.apiVersion())
	}
	return nil
}

func (e *Engine) addConstraint(d *document) error {
	t := e.templates[d.kind]
	if t == nil {
		return fmt.Errorf("%s: there is no ConstraintTemplate for %s, or it is refused: add it", d.title, d.kind)
	}
	made, err := newConstraint(d, t)
	if err != nil {
		return err
	}
	e.constraints = append(e.constraints, made)
	return nil
}

func (e *Engine) checkCounts() error {
	for _, one := range []struct {
		what      string
		count, of int
	}{
		{"ConstraintTemplates", len(e.templates), maxTemplates},
		{"constraints", len(e.constraints), maxInstances},
		{"mutators", len(e.mutators), maxTemplates}, // each is compared with every other
		{"ExpansionTemplates", len(e.expansions), maxExpansions},
	} {
		if one.count > one.of {
			return fmt.Errorf("there are %d %s: at most %d", one.count, one.what, one.of)
		}
	}
	return nil
}

func (e *Engine) sort() {
	slices.SortFunc(e.constraints, func(a, b *constraint) int {
		return strings.Compare(a.template.kind+"/"+a.name, b.template.kind+"/"+b.name)
	})
	slices.SortFunc(e.mutators, compareMutators)
	slices.SortFunc(e.expansions, func(a, b *expansion) int { return strings.Compare(a.name, b.name) })
}

// Policies are the names of what judges and mutates, sorted: "gatekeeper/k8srequiredlabels" for each template with a
// constraint, "gatekeeper/assign/NAME" for each mutator.
func (e *Engine) Policies() []string {
	var names []string
	for _, c := range e.constraints {
		names = append(names, c.template.id)
	}
	for _, m := range e.mutators {
		names = append(names, m.id)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// resourceOf is the resource that serves a kind.
func resourceOf(k gvk) metav1.GroupVersionResource {
	resource, _ := manifest.Resource(schema.GroupVersionKind(k))
	return metav1.GroupVersionResource(resource)
}

// Reads are the kinds of objects that templates with a constraint may look up, sorted and without namespaces.
func (e *Engine) Reads() []policies.Read {
	var reads []policies.Read
	for _, c := range e.constraints {
		for _, kind := range c.template.reading {
			resource := resourceOf(kind)
			reads = append(reads, policies.Read{Group: resource.Group, Resource: resource.Resource})
		}
	}
	slices.SortFunc(reads, func(a, b policies.Read) int {
		return cmp.Or(strings.Compare(a.Group, b.Group), strings.Compare(a.Resource, b.Resource))
	})
	return slices.Compact(reads)
}
