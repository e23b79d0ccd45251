package admissionpolicy

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

// composition makes the specification of one policy.
type composition struct {
	policy   *policies.Policy
	instance *policies.Instance
	reads    policies.ReadSet
	milder   []string
}

// variable is what expressions can use.
type variable = admissionregistrationv1.Variable

// spec is the specification without conditions and selectors.
func (c *composition) spec() (admissionregistrationv1.ValidatingAdmissionPolicySpec, error) {
	var none admissionregistrationv1.ValidatingAdmissionPolicySpec
	rules := c.rules()
	if len(rules) == 0 {
		return none, fmt.Errorf("nothing of what it is about is left by its match")
	}
	parameters, err := c.parameters()
	if err != nil {
		return none, err
	}
	written := c.policy.CEL
	if written.Differs != "" {
		c.milder = append(c.milder, strings.Join(strings.Fields(written.Differs), " "))
	}
	available := append(slices.Clone(standard), parameters)
	for _, v := range written.Variables {
		if slices.ContainsFunc(available, func(taken variable) bool { return taken.Name == v.Name }) {
			return none, fmt.Errorf("variable %s of policy.cel.yaml is there already: give it another name", v.Name)
		}
		available = append(available, variable{Name: v.Name, Expression: strings.TrimSpace(v.Expression)})
	}
	var lists []string
	for _, expression := range written.Deny {
		lists = append(lists, strings.TrimSpace(expression))
	}
	available = append(available, variable{Name: "findings", Expression: sum(lists)})
	expression := "variables.findings.size() == 0"
	if unchanged := c.unchanged(); unchanged != "" {
		available = append(available, variable{Name: "unchanged", Expression: unchanged})
		expression = "variables.unchanged || " + expression
	}
	used, err := inUse(available, expression)
	if err != nil {
		return none, err
	}
	remediation := strings.Join(strings.Fields(c.policy.Remediation), " ")
	return admissionregistrationv1.ValidatingAdmissionPolicySpec{
		FailurePolicy:    new(admissionregistrationv1.Fail),
		MatchConstraints: &admissionregistrationv1.MatchResources{MatchPolicy: new(admissionregistrationv1.Equivalent), ResourceRules: rules},
		Variables:        used,
		Validations: []admissionregistrationv1.Validation{{
			Expression: expression,
			// Where the other cannot be evaluated, is too long or has a line break.
			Message:           c.policy.ID + ": " + c.policy.Title + ". " + remediation,
			MessageExpression: quote(c.policy.ID+": ") + " + variables.findings.join('; ') + " + quote(". "+remediation),
			Reason:            new(reasonForbidden),
		}},
	}, nil
}

// builtIn are the API groups whose kinds with pods are Kubernetes' own and have their pods where [standard] looks.
var builtIn = []string{"", "apps", "batch"}

// rules are what the policy is about, of each operation that its instance leaves.
func (c *composition) rules() []admissionregistrationv1.NamedRuleWithOperations {
	var rules []admissionregistrationv1.NamedRuleWithOperations
	for _, operation := range c.policy.Subject.Operations {
		if match := c.instance.Match; match != nil && match.Operations != nil && !slices.Contains(match.Operations, operation) {
			continue
		}
		for _, group := range c.policy.Subject.ResourcesFor(operation) {
			if c.policy.Subject.Workload != "" && !slices.Contains(builtIn, group.Group) {
				continue
			}
			resources := slices.Sorted(slices.Values(group.Resources))
			same := func(r admissionregistrationv1.NamedRuleWithOperations) bool {
				return r.APIGroups[0] == group.Group && slices.Equal(r.Resources, resources)
			}
			if at := slices.IndexFunc(rules, same); at >= 0 {
				rules[at].Operations = append(rules[at].Operations, admissionregistrationv1.OperationType(operation))
				continue
			}
			rules = append(rules, admissionregistrationv1.NamedRuleWithOperations{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.OperationType(operation)},
				Rule: admissionregistrationv1.Rule{
					APIGroups: []string{group.Group}, APIVersions: []string{"*"}, Resources: resources, Scope: new(admissionregistrationv1.AllScopes),
				},
			}})
		}
	}
	return rules
}

// parameters are the instance's, a map that variables.parameters is.
func (c *composition) parameters() (variable, error) {
	values, err := c.policy.Values(c.instance.Parameters)
	if err != nil {
		return variable{}, err
	}
	raw, err := json.Marshal(values)
	if err != nil {
		return variable{}, err
	}
	var own map[string]any // not the policy's defaults, which the globs are replaced in
	if err := json.Unmarshal(raw, &own); err != nil {
		return variable{}, err
	}
	for _, path := range c.policy.CEL.Globs {
		if err := withRegexps(own, path); err != nil {
			return variable{}, err
		}
	}
	expression, err := literal(own)
	return variable{Name: "parameters", Expression: expression}, err
}

// unchanged is true of an update that does not concern the policy (docs/adr/0005), "" where each does.
func (c *composition) unchanged() string {
	if !slices.Contains(c.policy.Subject.Operations, "UPDATE") || c.reads.Every {
		return ""
	}
	terms := []string{"request.operation == 'UPDATE'"}
	if c.policy.Subject.Workload != "" {
		terms = append(terms, "variables.runsTheSame")
	}
	if c.reads.Labels {
		terms = append(terms, "variables.podMetadata.?labels == variables.oldPodMetadata.?labels")
	}
	if c.reads.Annotations {
		terms = append(terms, "variables.podMetadata.?annotations == variables.oldPodMetadata.?annotations")
	}
	if c.reads.Object != nil {
		terms = append(terms, same(c.reads.Object, "optional.of(dyn(object))", "optional.of(dyn(oldObject))")...)
	}
	return strings.Join(terms, " && ")
}

// same are conditions for two optional values to differ in nothing that is read of them.
func same(read *policies.ReadField, now, before string) []string {
	switch {
	case read.Items != nil && !read.Items.Whole:
		a, b := now+".orValue({})", before+".orValue({})"
		// A list or a map, whose order is any.
		return []string{fmt.Sprintf("(type(%[1]s) == list || type(%[2]s) == list ? %[3]s == %[4]s : size(%[1]s) == size(%[2]s) && %[1]s.all(k, k in %[2]s && %[5]s == %[6]s))",
			a, b, projection(read, now, 0), projection(read, before, 0), ofItem(read.Items, a+"[?k]", 0), ofItem(read.Items, b+"[?k]", 0))}
	case len(read.Fields) > 0:
		var terms []string
		for _, name := range slices.Sorted(maps.Keys(read.Fields)) {
			terms = append(terms, same(read.Fields[name], now+field(name), before+field(name))...)
		}
		return terms
	}
	return []string{now + " == " + before}
}

// projection is what is read of an optional value, to compare. Maps in the items of others are taken as a whole.
func projection(read *policies.ReadField, value string, depth int) string {
	switch {
	case read.Items != nil && !read.Items.Whole:
		item := fmt.Sprintf("i%d", depth)
		return fmt.Sprintf("(type(%[1]s.orValue({})) == list ? dyn(%[1]s.orValue([]).map(%[2]s, %[3]s)) : dyn(%[1]s))", value, item, ofItem(read.Items, "optional.of("+item+")", depth+1))
	case len(read.Fields) > 0:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(read.Fields)) {
			parts = append(parts, "dyn("+projection(read.Fields[name], value+field(name), depth)+")")
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return value
}

// ofItem is the projection of one of several values, of which some may have no fields.
func ofItem(read *policies.ReadField, value string, depth int) string {
	if len(read.Fields) == 0 {
		return projection(read, value, depth)
	}
	return fmt.Sprintf("(type(%[1]s.orValue({})) == map ? dyn(%[2]s) : dyn(%[1]s))", value, projection(read, value, depth))
}

var identifier = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9]*$`)

// field selects a field that may be missing.
func field(name string) string {
	if identifier.MatchString(name) && !slices.Contains(reserved, name) {
		return ".?" + name
	}
	return "[?" + quote(name) + "]"
}

// reserved are words that CEL does not read as fields.
var reserved = []string{
	"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop", "namespace", "null", "package",
	"return", "true", "var", "void", "while",
}

// sum joins lists.
func sum(lists []string) string {
	if len(lists) == 1 {
		return lists[0]
	}
	return "(" + strings.Join(lists, ") +\n(") + ")"
}

var reference = regexp.MustCompile(`\bvariables\.([a-zA-Z_][a-zA-Z0-9_]*)`)

// inUse are the variables that an expression uses, those that they use first.
func inUse(available []variable, expression string) ([]variable, error) {
	wanted := map[string]bool{"findings": true}
	want := func(expression string) {
		for _, found := range reference.FindAllStringSubmatch(expression, -1) {
			wanted[found[1]] = true
		}
	}
	want(expression)
	var used []variable
	for _, v := range slices.Backward(available) {
		if !wanted[v.Name] {
			continue
		}
		if v.Name != "parameters" { // which is values only, of whatever text
			want(v.Expression)
		}
		used = append(used, v)
	}
	slices.Reverse(used)
	for name := range wanted {
		if !slices.ContainsFunc(used, func(u variable) bool { return u.Name == name }) {
			return nil, fmt.Errorf("an expression uses variables.%s: there is no such variable or parameter before it", name)
		}
	}
	return used, nil
}
