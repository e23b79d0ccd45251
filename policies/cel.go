package policies

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// CEL is what a policy finds, said once more in the Common Expression Language: for ValidatingAdmissionPolicies, by which an
// API server judges without a webhook (KEP-3488). It stands beside the rules, in policy.cel.yaml beside policy.rego, and
// the engine never evaluates it. docs/validating-admission-policies.md says what expressions can read.
type CEL struct {
	// Variables are evaluated when they are first used. One may use those before it.
	Variables []CELVariable `json:"variables,omitempty"`
	// Deny are expressions, each a list of texts: what there is to object to. The object is refused if any list has one.
	Deny []string `json:"deny"`
	// Globs are the parameters that hold globs: "namespaces", or "annotations[].values" for fields in a list of objects.
	// Expressions see a regular expression in the place of each.
	Globs []string `json:"globs,omitempty"`
	// Differs says where the verdict can differ from that of the rules, and why; empty for nowhere.
	Differs string `json:"differs,omitempty"`
}

// CELVariable is one variable of [CEL].
type CELVariable struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
}

const celSuffix = ".cel.yaml"

var celName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// celReserved are no identifiers (cel-spec, "Syntax": IDENT).
var celReserved = []string{
	"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop", "namespace", "null", "package",
	"return", "true", "var", "void", "while",
}

// parseCEL reads and checks such a file. Whether expressions compile is known to who exports them.
func parseCEL(content []byte) (*CEL, error) {
	var c CEL
	if err := decodeYAML(content, &c); err != nil {
		return nil, fmt.Errorf("reading CEL: %w", err)
	}
	var problems []error
	if len(c.Deny) == 0 || slices.ContainsFunc(c.Deny, func(expression string) bool { return strings.TrimSpace(expression) == "" }) {
		problems = append(problems, errors.New("deny needs at least one expression, none of them empty"))
	}
	for _, v := range c.Variables {
		if !celName.MatchString(v.Name) || slices.Contains(celReserved, v.Name) || strings.TrimSpace(v.Expression) == "" {
			problems = append(problems, fmt.Errorf("variable %q: give each a name of letters, digits and underscores that CEL does not reserve, and an expression", v.Name))
		}
	}
	return &c, errors.Join(problems...)
}

// attachCEL gives each policy what a file beside it says in CEL.
func (b *Bundle) attachCEL() []error {
	var problems []error
	for _, name := range sortedKeys(b.cel) {
		rules := strings.TrimSuffix(name, celSuffix) + ".rego"
		found := false
		for _, policy := range b.Policies {
			if policy.File != rules {
				continue
			}
			found, policy.CEL = true, b.cel[name]
			if !policy.has(EffectDeny) {
				problems = append(problems, fmt.Errorf("%s: policy %s has no deny rule that it could stand for", name, policy.ID))
			}
		}
		if !found {
			problems = append(problems, fmt.Errorf("%s: there is no policy in %s: keep it beside the rules that it stands for", name, rules))
		}
	}
	return problems
}

// Values are the parameters of an instance with the policy's defaults filled in.
func (p *Policy) Values(given map[string]any) (map[string]any, error) { return p.parameters(given) }

// At says whether the policy applies at a door.
func (p *Policy) At(door Door) bool { return p.at(door) }

// ResourcesFor are all resources, subresources as "pods/exec", of which a policy judges an operation.
func (m *Matching) ResourcesFor(operation string) []GroupResource {
	var all []GroupResource
	for _, resource := range m.resourcesFor(operation) {
		at := slices.IndexFunc(all, func(g GroupResource) bool { return g.Group == resource.Group })
		if at < 0 {
			at, all = len(all), append(all, GroupResource{Group: resource.Group})
		}
		all[at].Resources = append(all[at].Resources, resource.Resource)
	}
	return all
}

// EnforcementAt is what a bundle makes of an instance's denials at a time, by its ramp.
func (i *Instance) EnforcementAt(now time.Time) Enforcement {
	return max(i.Enforcement, i.Ramp.at(now))
}

// Ends is when the exception begins to waive nothing.
func (e *Exception) Ends() time.Time { return e.expires }

// ClusterExcepts are the globs of the namespaces for whose objects exceptions of the cluster can waive findings of a policy,
// ["*"] where they can for all; nil for none.
func (b *Bundle) ClusterExcepts(policy string) []string {
	rules := b.Manifest.ExceptionsFrom
	switch {
	case rules == nil || rules.policies != nil && !rules.policies.match(policy) || b.guardsExceptions(policy):
		return nil
	case len(rules.Central) > 0:
		return []string{"*"}
	}
	return rules.Namespaces
}

// ReadSet is what an update has to change of an object for a policy to judge it again (docs/adr/0005). A policy about
// workloads judges each that changes what runs, besides.
type ReadSet struct {
	// Every says that every update is judged.
	Every bool
	// Labels and Annotations are the pod's.
	Labels, Annotations bool
	// Object is read of the object as it is sent, nil for nothing.
	Object *ReadField
}

// ReadField is a value that is read as a whole, or of which fields or all items are.
type ReadField struct {
	Whole  bool
	Fields map[string]*ReadField
	// Items are those of a list or the values of a map. What is read of single keys besides is among what they have.
	Items *ReadField
}

// ReadSet is that of a configured policy of a profile, by the name of its instance.
func (e *Engine) ReadSet(profile, instance string) (ReadSet, error) {
	p := e.profiles[profile]
	if p == nil {
		return ReadSet{}, fmt.Errorf("there is no profile %q", profile)
	}
	for _, i := range p.instances {
		if i.Name == instance {
			return i.readSet(), nil
		}
	}
	return ReadSet{}, fmt.Errorf("there is no policy %q in profile %q", instance, profile)
}

func (i *instance) readSet() ReadSet {
	reads := &readSet{}
	for _, effect := range PhaseValidate.effects() {
		reads.merge(i.unit.reads[effect])
	}
	workload, object := reads.fields["workload"], reads.fields["object"]
	return ReadSet{
		Every:  workload == nil && object == nil && reads.fields["images"] == nil || reads.fields["oldObject"] != nil,
		Labels: workload.field("labels") != nil, Annotations: workload.field("annotations") != nil,
		Object: newReadField(object),
	}
}

func newReadField(reads *readSet) *ReadField {
	switch {
	case reads == nil:
		return nil
	case reads.whole:
		return &ReadField{Whole: true}
	case reads.items != nil:
		each := &readSet{}
		each.merge(reads.items)
		for _, below := range reads.fields {
			each.merge(below)
		}
		return &ReadField{Items: newReadField(each)}
	}
	fields := map[string]*ReadField{}
	for name, below := range reads.fields {
		fields[name] = newReadField(below)
	}
	return &ReadField{Fields: fields}
}

// Regexp is a glob, as matches and exceptions have it, as a regular expression (RE2) for the whole text: * is any run of
// characters, ? any one, [a-z] and [!a-z] are classes, {a,b} a choice, and a backslash takes the next character as it is.
func Regexp(pattern string) (string, error) {
	if _, err := compileGlobs([]string{pattern}); err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString("^(?s:")
	braces := 0
	runes := []rune(pattern)
	for at := 0; at < len(runes); at++ {
		switch r := runes[at]; {
		case r == '*':
			out.WriteString(".*")
			for at+1 < len(runes) && runes[at+1] == '*' {
				at++
			}
		case r == '?':
			out.WriteByte('.')
		case r == '\\' && at+1 < len(runes):
			at++
			out.WriteString(regexp.QuoteMeta(string(runes[at])))
		case r == '{':
			braces++
			out.WriteString("(?:")
		case r == '}' && braces > 0:
			braces--
			out.WriteByte(')')
		case r == ',' && braces > 0:
			out.WriteByte('|')
		case r == '[':
			end := slices.Index(runes[at:], ']')
			if end < 0 {
				return "", fmt.Errorf("glob %q: a class has no end", pattern)
			}
			out.WriteString(class(string(runes[at+1 : at+end])))
			at += end
		default:
			out.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	out.WriteString(")$")
	if _, err := regexp.Compile(out.String()); err != nil {
		return "", fmt.Errorf("glob %q: %w", pattern, err)
	}
	return out.String(), nil
}

// class is a class of characters of a glob, [!a-z] without its brackets, as one of a regular expression.
func class(inner string) string {
	rest, not := strings.CutPrefix(inner, "!")
	var out strings.Builder
	out.WriteByte('[')
	if not {
		out.WriteByte('^')
	}
	for _, r := range rest {
		if strings.ContainsRune(`\^[]&~`, r) || r == '*' || r == '?' || r == '.' {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	out.WriteByte(']')
	return out.String()
}
