package policies

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/portcullis-dev/portcullis/admission/workload"
)

// Engine is one compiled bundle. It is immutable but for its caches and may be
// used by any number of goroutines. To change policies make another engine and
// swap the pointer; if that fails the old one stays.
type Engine struct {
	bundle   *Bundle
	compiler *ast.Compiler
	store    storage.Store
	txn      storage.Transaction // one read transaction: the store is never written

	profiles    map[string]*profile
	assignments []assignment
	index       index
	unguarded   bool        // set by tests to evaluate policies that guards would leave out
	unpruned    bool        // set by tests to give policies all of the input
	beforeRun   func(*plan) // set by tests to panic

	memo *memo
	pods workload.Cache // of normal forms, for pods of one template

	mu    sync.Mutex
	plans map[planKey]*plan
}

// profile is a resolved profile: what is configured in it.
type profile struct {
	name      string
	instances []*instance
}

// instance is a configured policy, compiled.
type instance struct {
	Instance
	policy *Policy
	unit   *unit
	match  *matcher
	number int // its place among all instances of the engine, the key of plans
}

type assignment struct {
	namespaces globs
	profile    string
}

// NewEngine compiles a bundle, all its profiles. All mistakes are reported together.
func NewEngine(b *Bundle) (*Engine, error) {
	return newEngine(b, func(string) bool { return true })
}

// NewEngineFor compiles what requests can be judged by: the profile that is named, or for "" those that the
// bundle assigns to some namespace. Others are as if they were not there, and take neither time nor memory.
func NewEngineFor(b *Bundle, profile string) (*Engine, error) {
	return newEngine(b, func(name string) bool {
		if profile != "" {
			return name == profile
		}
		return b.assigns(name)
	})
}

// assigns says whether some namespace, or what has none, can get a profile. With a label for it, any.
func (b *Bundle) assigns(profile string) bool {
	return b.Manifest.ProfileLabel != "" || profile == b.defaultProfile() ||
		slices.ContainsFunc(b.Manifest.Namespaces, func(a Assignment) bool { return a.Profile == profile })
}

func newEngine(b *Bundle, wanted func(profile string) bool) (*Engine, error) {
	e := &Engine{bundle: b, profiles: map[string]*profile{}, plans: map[planKey]*plan{}, memo: newMemo()}
	if err := e.compile(wanted); err != nil {
		return nil, fmt.Errorf("compiling bundle %s: %w", b.Manifest.Name, err)
	}
	return e, nil
}

// Bundle is the bundle the engine was made of.
func (e *Engine) Bundle() *Bundle { return e.bundle }

// Profiles are the names of the bundle's profiles, sorted.
func (e *Engine) Profiles() []string { return sortedKeys(e.profiles) }

// Enforcements gives the enforcement of each instance of a profile by name; nil
// for an unknown profile.
func (e *Engine) Enforcements(name string) map[string]Enforcement {
	p, ok := e.profiles[name]
	if !ok {
		return nil
	}
	enforcements := map[string]Enforcement{}
	for _, i := range p.instances {
		enforcements[i.Name] = i.Enforcement
	}
	return enforcements
}

// Instance gives a configured policy of a profile by its name.
func (e *Engine) Instance(profile, name string) (Instance, bool) {
	p, ok := e.profiles[profile]
	if !ok {
		return Instance{}, false
	}
	at := slices.IndexFunc(p.instances, func(i *instance) bool { return i.Name == name })
	if at < 0 {
		return Instance{}, false
	}
	return p.instances[at].Instance, true
}

func (e *Engine) compile(wanted func(profile string) bool) error {
	resolved, err := e.bundle.resolveProfiles()
	if err != nil {
		return err
	}
	units := map[string]*unit{}
	var ordered []*unit
	var parameters []map[string]any
	number := 0
	for _, name := range sortedKeys(resolved) {
		if !wanted(name) {
			continue
		}
		p := &profile{name: name}
		for _, configured := range resolved[name] {
			policy := e.bundle.Policies[configured.Policy]
			if policy == nil {
				return fmt.Errorf("there is no policy %q", configured.Policy)
			}
			values, err := policy.parameters(configured.Parameters)
			if err != nil {
				return fmt.Errorf("%s: %w", configured.Name, err)
			}
			key, err := json.Marshal([]any{policy.ID, values})
			if err != nil {
				return err
			}
			u := units[string(key)]
			if u == nil {
				u = &unit{policy: policy, path: unitPath(policy.ID, len(ordered))}
				units[string(key)] = u
				ordered, parameters = append(ordered, u), append(parameters, values)
			}
			match, err := compileMatch(configured.Match)
			if err != nil {
				return fmt.Errorf("%s: %w", configured.Name, err)
			}
			p.instances = append(p.instances, &instance{Instance: configured, policy: policy, unit: u, match: match, number: number})
			number++
		}
		e.profiles[name] = p
	}
	for _, a := range e.bundle.Manifest.Namespaces {
		namespaces, err := compileGlobs(a.Match)
		if err != nil {
			return err
		}
		e.assignments = append(e.assignments, assignment{namespaces, a.Profile})
	}
	if e.compiler, err = compileUnits(e.bundle, ordered, parameters); err != nil {
		return err
	}
	if err := e.openStore(); err != nil {
		return err
	}
	c := &constants{compiler: e.compiler, store: e.store, txn: e.txn, known: map[string]access{}}
	var problems []error
	for _, u := range ordered {
		problems = append(problems, u.analyse(e.compiler, c))
	}
	e.index = newIndex(e.profiles)
	return errors.Join(problems...)
}

// Reads are the kinds of objects that policies of any profile can read at the admission door, declared and not (input.incidents).
func (e *Engine) Reads() []Read { return e.ReadsAt(DoorAdmission) }

// ReadsAt is Reads of another door.
func (e *Engine) ReadsAt(door Door) []Read {
	var reads []Read
	for _, name := range sortedKeys(e.profiles) {
		for _, i := range e.profiles[name].instances {
			if i.Enforcement == EnforceOff || !i.policy.at(door) || (door == DoorResponder) != (i.policy.Subject.Events != nil) || (door == DoorSecrets) != (i.policy.Subject.Syncs != nil) {
				continue
			}
			for _, read := range i.readsFor(&Request{}) {
				if !slices.Contains(reads, read) {
					reads = append(reads, read)
				}
			}
		}
	}
	return reads
}

func unitPath(id string, n int) ast.Ref {
	return ast.Ref{
		ast.DefaultRootDocument, ast.StringTerm(packageRoot), ast.StringTerm("units"),
		ast.StringTerm(fmt.Sprintf("%s#%d", id, n)),
	}
}

func (e *Engine) openStore() error {
	ctx := context.Background()
	e.store = inmem.NewFromObjectWithOpts(e.bundle.data, inmem.OptRoundTripOnWrite(true), inmem.OptReturnASTValuesOnRead(true))
	var err error
	e.txn, err = e.store.NewTransaction(ctx)
	return err
}

// profileFor is the profile that applies to a request. The label is asked only
// where the bundle says so.
func (e *Engine) profileFor(r *Request, namespace *Namespace) (*profile, error) {
	if r.Profile != "" {
		p, ok := e.profiles[r.Profile]
		if !ok {
			return nil, fmt.Errorf("there is no profile %q in bundle %s", r.Profile, e.bundle.Revision())
		}
		return p, nil
	}
	name := r.namespace()
	if label := e.bundle.Manifest.ProfileLabel; label != "" && name != "" && namespace != nil {
		if chosen, ok := namespace.Labels[label]; ok {
			p, ok := e.profiles[chosen]
			if !ok {
				return nil, fmt.Errorf("namespace %s has label %s=%s, but bundle %s has no such profile", name, label, chosen, e.bundle.Revision())
			}
			return p, nil
		}
	}
	if name != "" {
		for _, a := range e.assignments {
			if a.namespaces.match(name) {
				return e.compiled(a.profile)
			}
		}
	}
	return e.compiled(e.bundle.defaultProfile())
}

// compiled is a profile that the bundle has, if it is among those this engine was made for.
func (e *Engine) compiled(name string) (*profile, error) {
	p, ok := e.profiles[name]
	if !ok {
		return nil, fmt.Errorf("profile %q of bundle %s is not loaded here: requests are judged by another one", name, e.bundle.Revision())
	}
	return p, nil
}

// index finds the instances whose policies are about a resource and operation,
// without looking at the object.
type index struct {
	entries map[indexKey][]*instance
	// workloads are the instances that match any workload: at the gate they also
	// judge pod specs in kinds nobody knows.
	workloads map[string][]*instance
}

type indexKey struct {
	profile, group, resource, operation string
}

// podResources are the resources whose object is a Pod with a spec that counts.
// They are matched by group and resource exactly: a webhook rule for pods does not
// include its subresources.
var podResources = []string{"pods", "pods/ephemeralcontainers", "pods/resize"}

func newIndex(profiles map[string]*profile) index {
	x := index{entries: map[indexKey][]*instance{}, workloads: map[string][]*instance{}}
	for _, name := range sortedKeys(profiles) {
		for _, i := range profiles[name].instances {
			for _, operation := range i.policy.Subject.Operations {
				for _, resource := range i.policy.Subject.resourcesFor(operation) {
					key := indexKey{name, resource.Group, resource.Resource, operation}
					x.entries[key] = append(x.entries[key], i)
				}
			}
			if i.policy.Subject.Workload == "any" {
				x.workloads[name] = append(x.workloads[name], i)
			}
		}
	}
	return x
}

// groupResource is one resource of one API group.
type groupResource struct{ Group, Resource string }

// resources are all resources a policy is about.
func (m *Matching) resources() []groupResource {
	var resources []groupResource
	if m.Events != nil {
		resources = append(resources, groupResource{"", "pods"})
	}
	if m.Syncs != nil {
		for _, operation := range m.Operations {
			resources = append(resources, groupResource{syncGroup, syncResources[operation]})
		}
	}
	for _, group := range m.Resources {
		for _, resource := range group.Resources {
			resources = append(resources, groupResource{group.Group, resource})
		}
	}
	if m.Workload != "" {
		for _, resource := range podResources {
			resources = append(resources, groupResource{"", resource})
		}
	}
	if m.Workload == "any" {
		for _, known := range workload.Known() {
			resource := groupResource{known.Group, known.Resource}
			if !slices.Contains(resources, resource) {
				resources = append(resources, resource)
			}
		}
	}
	return resources
}

// companions are subresources through which a resource itself is updated, spec or
// labels: whoever judges updates of the resource judges these, or is bypassed
// (CVE-2026-30963). Status is not among those of pods, though labels can be changed by
// it: nodes write it all the time, and hardly anybody else may.
var companions = map[groupResource][]string{
	{"", "pods"}:       podResources,
	{"", "namespaces"}: {"namespaces/finalize", "namespaces/status"},
}

// resourcesFor are all resources a policy is about when it comes to an operation.
func (m *Matching) resourcesFor(operation string) []groupResource {
	resources := m.resources()
	if operation != "UPDATE" {
		return resources
	}
	for _, named := range m.resources() {
		for _, name := range companions[named] {
			companion := groupResource{named.Group, name}
			if !slices.Contains(resources, companion) {
				resources = append(resources, companion)
			}
		}
	}
	return resources
}

// candidates are the instances of a profile that a request may concern.
func (e *Engine) candidates(p *profile, r *Request) []*instance {
	found := e.index.entries[indexKey{p.name, r.Resource.Group, r.resource(), r.Operation}]
	if r.Subject.Pod() != "" {
		found = union(e.index.entries[indexKey{p.name, wildcard, wildcard, r.Operation}], found)
	}
	if r.Door != DoorAdmission && (r.Operation == "CREATE" || r.Operation == "UPDATE") && !workload.Carries(r.Kind.Group, r.Kind.Kind) {
		return union(found, e.index.workloads[p.name])
	}
	return found
}

// union joins two lists of a profile's instances in the order of their numbers, each once.
func union(a, b []*instance) []*instance {
	if len(a) == 0 {
		return b
	}
	joined := slices.Concat(a, b)
	slices.SortFunc(joined, func(x, y *instance) int { return x.number - y.number })
	return slices.Compact(joined)
}

// Matches says whether any policy of any profile is about a resource and
// operation; of the request's own profile if it names one. It costs one map lookup
// per profile and never looks at the object. Of an event it says whether any is about its
// source, priority, rule and tags: most of what is seen concerns nobody.
func (e *Engine) Matches(r *Request) bool {
	for name := range e.profiles {
		if r.Profile != "" && r.Profile != name {
			continue
		}
		about := e.index.entries[indexKey{name, r.Resource.Group, r.resource(), r.Operation}]
		if len(about) > 0 && (r.Operation != OperationEvent || slices.ContainsFunc(about, func(i *instance) bool { return i.concerns(r, PhaseRespond) })) ||
			r.Subject.Pod() != "" && len(e.index.entries[indexKey{name, wildcard, wildcard, r.Operation}]) > 0 {
			return true
		}
	}
	return false
}
