package policies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Policy is one policy as written: its rules and what its metadata says of them.
type Policy struct {
	// ID is "<group>/<policy>", from the package's last two segments.
	ID string
	// File is where it stands in the bundle.
	File string
	Metadata
	// Effects are the rules it has, sorted.
	Effects []Effect
	// CEL is the same for ValidatingAdmissionPolicies, nil for most policies.
	CEL *CEL

	module *ast.Module
	schema *jsonschema.Schema
}

// Metadata is what the annotations of a policy say (docs/policies.md).
type Metadata struct {
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Related     []string `json:"related,omitempty"`
	Declarations
}

// Declarations are the custom fields of the annotations.
type Declarations struct {
	Severity    string              `json:"severity"`
	Subject     Matching            `json:"match"`
	Remediation string              `json:"remediation"`
	Controls    map[string][]string `json:"controls,omitempty"`
	Doors       []Door              `json:"doors,omitempty"`
	Reads       []ReadDeclaration   `json:"reads,omitempty"`
	// Parameters is a JSON schema of type object, "" for a policy without any.
	Parameters map[string]any `json:"parameters,omitempty"`
	// Fix is "none" where no change of the manifest can help, for FixReason.
	Fix       string `json:"fix,omitempty"`
	FixReason string `json:"fixReason,omitempty"`
}

// Matching says what requests a policy is about.
type Matching struct {
	// Workload is "any" (pods and every pod template) or "pods"; "" with Resources.
	Workload   string          `json:"workload,omitempty"`
	Resources  []GroupResource `json:"resources,omitempty"`
	Operations []string        `json:"operations,omitempty"` // CREATE and UPDATE by default
	// Events makes it a policy about events, with a respond rule; then there is no other field.
	Events *EventMatching `json:"events,omitempty"`
	// Caller is "pod" for requests by the token of a pod only. Then resources may be "*" of the group "*": all of them.
	Caller string `json:"caller,omitempty"`
	// Syncs makes it a policy about syncs of secrets, with allow_sync, deny and warn rules; then there is no other field.
	Syncs *SyncMatching `json:"syncs,omitempty"`
}

// concerns decides by what was seen, or by who asks.
func (m *Matching) concerns(r *Request) bool {
	if m.Events != nil && !m.Events.matches(r.Event) {
		return false
	}
	if m.Syncs != nil && !m.Syncs.matches(r.Sync) {
		return false
	}
	return m.Caller == "" || r.Subject.Pod() != ""
}

// GroupResource names resources of one API group, with subresources as "pods/exec".
type GroupResource struct {
	Group     string   `json:"group"`
	Resources []string `json:"resources"`
}

// ReadDeclaration declares that a policy reads other cluster objects.
type ReadDeclaration struct {
	Group    string `json:"group"`
	Resource string `json:"resource"`
	Scope    string `json:"scope"` // "namespace" or "cluster"
	// More says what further objects can do: "allows" when they can only remove
	// findings, "denies" when they can only add some, "" when either.
	More string `json:"more,omitempty"`
}

var (
	severities = []string{"critical", "high", "medium", "low"}
	operations = []string{"CREATE", "UPDATE", "DELETE", "CONNECT"}
	effects    = []Effect{EffectDeny, EffectWarn, EffectPatch, EffectRespond, EffectAllowSync}
)

const (
	packageRoot    = "portcullis"
	libraryPackage = "lib"
)

func parseModule(name, content string) (*ast.Module, error) {
	module, err := ast.ParseModuleWithOpts(name, content, ast.ParserOptions{
		RegoVersion:       ast.RegoV1,
		ProcessAnnotation: true,
		Capabilities:      sandbox(),
	})
	if err != nil {
		return nil, fmt.Errorf("parsing Rego: %w", err)
	}
	if module == nil {
		return nil, errors.New("the file holds no Rego: it needs a package and rules")
	}
	return module, nil
}

// packageSegments gives the package path without data: portcullis, pods, privileged.
func packageSegments(module *ast.Module) []string {
	var segments []string
	for _, term := range module.Package.Path[1:] {
		segment, _ := term.Value.(ast.String)
		segments = append(segments, string(segment))
	}
	return segments
}

func isLibrary(module *ast.Module) bool {
	segments := packageSegments(module)
	return len(segments) >= 3 && segments[0] == packageRoot && segments[1] == libraryPackage
}

func newPolicy(file string, module *ast.Module) (*Policy, error) {
	segments := packageSegments(module)
	if len(segments) != 3 || segments[0] != packageRoot {
		return nil, fmt.Errorf("package %s: policies live in portcullis.<group>.<policy>, shared code in portcullis.lib.<name>", strings.Join(segments, "."))
	}
	policy := &Policy{
		ID:     strings.ReplaceAll(segments[1]+"/"+segments[2], "_", "-"),
		File:   file,
		module: module,
	}
	if err := policy.readMetadata(); err != nil {
		return nil, err
	}
	if err := policy.readRules(); err != nil {
		return nil, err
	}
	return policy, nil
}

func (p *Policy) readMetadata() error {
	var found *ast.Annotations
	for _, annotations := range p.module.Annotations {
		if annotations.Scope == "package" {
			found = annotations
		}
	}
	if found == nil {
		return errors.New("the package has no # METADATA: a policy needs title, description, severity, match and remediation")
	}
	if !within(found.Custom, new(int)) {
		return fmt.Errorf("reading metadata: custom: it is of more than %d bytes and values with its aliases written out: say less", maxMetadata)
	}
	custom, err := json.Marshal(found.Custom)
	if err != nil {
		return fmt.Errorf("reading metadata: %w", err)
	}
	p.Title, p.Description = found.Title, strings.TrimSpace(found.Description)
	if err := decodeStrict(custom, &p.Declarations); err != nil {
		return fmt.Errorf("reading metadata: custom: %w", err)
	}
	p.Remediation = strings.TrimSpace(p.Remediation)
	for _, related := range found.RelatedResources {
		p.Related = append(p.Related, related.Ref.String())
	}
	if p.Subject.Events != nil && len(p.Subject.Operations) == 0 {
		p.Subject.Operations = []string{OperationEvent}
	}
	if p.Subject.Syncs != nil {
		if len(p.Subject.Operations) > 0 {
			return errors.New("metadata: match: operations of syncs stand below syncs")
		}
		if p.Subject.Operations = p.Subject.Syncs.Operations; len(p.Subject.Operations) == 0 {
			p.Subject.Operations = []string{OperationSync, OperationPush}
		}
	}
	if len(p.Subject.Operations) == 0 {
		p.Subject.Operations = []string{"CREATE", "UPDATE"}
	}
	return p.checkMetadata()
}

func (p *Policy) checkMetadata() error {
	var problems []error
	report := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("metadata: "+format, args...))
	}
	if p.Title == "" || p.Description == "" || p.Remediation == "" {
		report("title, description and remediation are required: they are what a refused user reads")
	}
	if !slices.Contains(severities, p.Severity) {
		report("severity %q: use one of %s", p.Severity, strings.Join(severities, ", "))
	}
	switch {
	case p.Subject.Syncs != nil:
		for _, err := range p.Subject.checkSyncs() {
			report("match: %w", err)
		}
	case p.Subject.Events != nil:
		for _, err := range p.Subject.checkEvents() {
			report("match: %w", err)
		}
	case p.Subject.Workload != "" && len(p.Subject.Resources) > 0:
		report("match: give workload or resources, not both")
	case p.Subject.Workload == "" && len(p.Subject.Resources) == 0:
		report("match: give workload or resources")
	case p.Subject.Workload != "" && p.Subject.Workload != "any" && p.Subject.Workload != "pods":
		report("match: workload %q: use any or pods", p.Subject.Workload)
	}
	for _, group := range p.Subject.Resources {
		if len(group.Resources) == 0 || slices.Contains(group.Resources, "") {
			report("match: resources of group %q: name at least one resource, none of them empty", group.Group)
		}
	}
	switch p.Subject.Caller {
	case callerPod:
	case "":
		if p.Subject.wild() {
			report("match: resources %q: only a policy about one caller (caller: pod) may be about all resources", wildcard)
		}
	default:
		report("match: caller %q: use pod, or none for everybody", p.Subject.Caller)
	}
	if p.Subject.wild() && !p.Subject.anyResource() {
		report("match: resources: %q stands for all groups and all resources: write [{group: %q, resources: [%q]}]", wildcard, wildcard, wildcard)
	}
	for _, operation := range p.Subject.Operations {
		if p.Subject.Events == nil && p.Subject.Syncs == nil && !slices.Contains(operations, operation) {
			report("match: operation %q: use one of %s", operation, strings.Join(operations, ", "))
		}
	}
	for _, door := range p.Doors {
		if !slices.Contains([]Door{DoorGate, DoorAdmission, DoorAudit, DoorResponder, DoorSecrets}, door) {
			report("door %q: use gate, admission, audit, responder or secrets", door)
		}
	}
	for _, read := range p.Reads {
		if read.Resource == "" || (read.Scope != "namespace" && read.Scope != "cluster") || !slices.Contains([]string{"", "allows", "denies"}, read.More) {
			report("reads: %+v: resource is required, scope is namespace or cluster, more is allows or denies", read)
		}
	}
	if p.Fix != "" && (p.Fix != "none" || p.FixReason == "") {
		report("fix: only %q is known, with a fixReason", "none")
	}
	if err := p.compileSchema(); err != nil {
		report("parameters: %w", err)
	}
	return errors.Join(problems...)
}

// parametersURL names the schema in messages. A relative name would be resolved
// against the working directory and show it.
const parametersURL = "urn:portcullis:parameters"

// compileSchema closes the parameter schema to unknown names and compiles it.
func (p *Policy) compileSchema() error {
	if p.Parameters == nil {
		return nil
	}
	if p.Parameters["type"] == nil {
		p.Parameters["type"] = "object"
	}
	if p.Parameters["type"] != "object" {
		return fmt.Errorf("type is %v: parameters are an object", p.Parameters["type"])
	}
	p.Parameters["additionalProperties"] = false
	// The schema compiler wants its own number type: decode what we hold once more.
	raw, err := json.Marshal(p.Parameters)
	if err != nil {
		return err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(jsonschema.SchemeURLLoader{}) // no scheme: a schema refers to nothing outside
	if err := compiler.AddResource(parametersURL, document); err != nil {
		return err
	}
	p.schema, err = compiler.Compile(parametersURL)
	return err
}

// parameters gives the values of an instance with defaults filled in.
func (p *Policy) parameters(given map[string]any) (map[string]any, error) {
	if p.Parameters == nil {
		if len(given) > 0 {
			return nil, fmt.Errorf("the policy takes no parameters, but %s is given", strings.Join(sortedKeys(given), ", "))
		}
		return map[string]any{}, nil
	}
	values := maps.Clone(given)
	if values == nil {
		values = map[string]any{}
	}
	properties, _ := p.Parameters["properties"].(map[string]any)
	for name, property := range properties {
		if _, set := values[name]; set {
			continue
		}
		schema, _ := property.(map[string]any)
		value, ok := schema["default"]
		if !ok {
			return nil, fmt.Errorf("parameter %q is required: the policy has no default for it", name)
		}
		values[name] = value
	}
	raw, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("reading parameters: %w", err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("reading parameters: %w", err)
	}
	if err := p.schema.Validate(document); err != nil {
		return nil, fmt.Errorf("parameters do not fit the policy's schema: %w", err)
	}
	return values, nil
}

func (p *Policy) readRules() error {
	for _, effect := range effects {
		for _, rule := range p.module.Rules {
			if string(rule.Head.Name) != string(effect) && rule.Head.Ref().String() != string(effect) {
				continue
			}
			if rule.Head.RuleKind() != ast.MultiValue {
				return fmt.Errorf("%s: rule %s must be a set: write \"%s contains finding if …\"", rule.Location, effect, effect)
			}
			if !slices.Contains(p.Effects, effect) {
				p.Effects = append(p.Effects, effect)
			}
		}
	}
	switch {
	case len(p.Effects) == 0:
		return errors.New("the policy has no deny, warn, patch, respond or allow_sync rule")
	case p.has(EffectRespond) && p.Subject.Events == nil:
		return errors.New("a policy with a respond rule is about events: say which (match: {events: {priority: warning}})")
	case p.Subject.Events != nil && !slices.Equal(p.Effects, []Effect{EffectRespond}):
		return errors.New("a policy about events has respond rules only: there is nothing to deny or to patch")
	}
	return p.checkSyncRules()
}

// checkEvents says what is wrong with the match of a policy about events.
func (m *Matching) checkEvents() []error {
	var problems []error
	if m.Workload != "" || len(m.Resources) > 0 || m.Caller != "" || !slices.Equal(m.Operations, []string{OperationEvent}) {
		problems = append(problems, errors.New("a policy about events has nothing beside events: no workload, resources, caller or operations"))
	}
	if err := m.Events.compile(); err != nil {
		problems = append(problems, err)
	}
	return problems
}

// has says whether the policy has a rule of an effect.
func (p *Policy) has(effect Effect) bool { return slices.Contains(p.Effects, effect) }

// at says whether the policy applies at a door.
func (p *Policy) at(door Door) bool { return len(p.Doors) == 0 || slices.Contains(p.Doors, door) }

// maxMetadata bounds what a policy says of itself in bytes and values, of which those of the library have a few hundred: aliases can
// make much of little.
const maxMetadata = 1 << 20

// within adds up how large a value is, and says whether that is no more than maxMetadata. It looks no further than that.
func within(value any, size *int) bool {
	*size++
	switch value := value.(type) {
	case string:
		*size += len(value)
	case []any:
		for _, item := range value {
			if !within(item, size) {
				return false
			}
		}
	case map[string]any:
		for key, item := range value {
			if *size += len(key); !within(item, size) {
				return false
			}
		}
	}
	return *size <= maxMetadata
}
