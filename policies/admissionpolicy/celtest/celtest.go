// Package celtest judges requests by exported ValidatingAdmissionPolicies as an API server does, in its environment of CEL, with
// its limits of cost, and without one. For tests.
package celtest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/admissionpolicy"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/lazy"
	"k8s.io/client-go/kubernetes/scheme"
)

// oldest is the first version of Kubernetes with ValidatingAdmissionPolicies in v1: expressions use nothing that it lacks.
var oldest = version.MajorMinor(1, 30)

// Server compiles and judges.
type Server struct{ env *cel.Env }

// NewServer makes one.
func NewServer() (*Server, error) {
	env, err := environmentOf(oldest)
	return &Server{env}, err
}

// environmentOf is the API server's for these policies (createEnvForOpts in k8s.io/apiserver/pkg/admission/plugin/cel), where
// object, oldObject and variables are of no known type when requests are judged.
func environmentOf(v *version.Version) (*cel.Env, error) {
	set, err := environment.MustBaseEnvSet(v).Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0),
		EnvOptions: []cel.EnvOption{
			cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType), cel.Variable("request", cel.DynType),
			cel.Variable("variables", cel.DynType),
		},
	}, environment.StrictCostOpt)
	if err != nil {
		return nil, err
	}
	return set.Env(environment.NewExpressions)
}

// Policy is one exported policy as an API server has it.
type Policy struct {
	spec       *admissionregistrationv1.ValidatingAdmissionPolicySpec
	conditions []cel.Program
	variables  map[string]cel.Program
	validation cel.Program
	message    cel.Program
}

// maxConditions is what an API server takes (validateMatchConditions in pkg/apis/admissionregistration/validation).
const maxConditions = 64

// Compile fails where an API server would refuse the policy.
func (s *Server) Compile(exported *admissionpolicy.Exported) (*Policy, error) {
	spec := &exported.Object.Spec
	c := &Policy{spec: spec, variables: map[string]cel.Program{}}
	one := func(expression string, want *cel.Type) (cel.Program, error) {
		ast, issues := s.env.Compile(expression)
		if issues.Err() != nil {
			return nil, fmt.Errorf("%s: %w", exported.Name, issues.Err())
		}
		if got := ast.OutputType(); want != nil && !got.IsExactType(want) && !got.IsExactType(cel.DynType) {
			return nil, fmt.Errorf("%s: got an expression of type %s, want %s: %s", exported.Name, got, want, expression)
		}
		return s.env.Program(ast, cel.InterruptCheckFrequency(celconfig.CheckFrequency))
	}
	if len(spec.MatchConditions) > maxConditions {
		return nil, fmt.Errorf("%s: got %d matchConditions, want at most %d", exported.Name, len(spec.MatchConditions), maxConditions)
	}
	names := map[string]bool{}
	var err error
	for _, condition := range spec.MatchConditions {
		if names[condition.Name] {
			return nil, fmt.Errorf("%s: got two matchConditions %s, want one", exported.Name, condition.Name)
		}
		names[condition.Name] = true
		program, err := one(condition.Expression, cel.BoolType)
		if err != nil {
			return nil, err
		}
		c.conditions = append(c.conditions, program)
	}
	for _, v := range spec.Variables {
		if c.variables[v.Name], err = one(v.Expression, nil); err != nil {
			return nil, err
		}
	}
	if c.validation, err = one(spec.Validations[0].Expression, cel.BoolType); err != nil {
		return nil, err
	}
	c.message, err = one(spec.Validations[0].MessageExpression, cel.StringType)
	return c, err
}

// Matches says whether the rules are about a request.
func (c *Policy) Matches(r *policies.Request) bool {
	resource := r.Resource.Resource
	if r.SubResource != "" {
		resource += "/" + r.SubResource
	}
	return slices.ContainsFunc(c.spec.MatchConstraints.ResourceRules, func(rule admissionregistrationv1.NamedRuleWithOperations) bool {
		return slices.Contains(rule.APIGroups, r.Resource.Group) && slices.Contains(rule.Resources, resource) &&
			slices.Contains(rule.Operations, admissionregistrationv1.OperationType(r.Operation))
	})
}

// Answer is what an API server says of a request. An error in its place refuses it, unless the failurePolicy is Ignore.
type Answer struct {
	// Matched says that all conditions hold, Refused that the validation does not.
	Matched, Refused bool
	Message          string
	// Cost of all that was evaluated, of which a binding may have 10,000,000.
	Cost uint64
}

// activation resolves the names of one request.
type activation struct {
	object, oldObject, request any
	variables                  ref.Val
}

func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "object":
		return a.object, true
	case "oldObject":
		return a.oldObject, true
	case "request":
		return a.request, true
	case "variables":
		return a.variables, true
	}
	return nil, false
}

func (a *activation) Parent() interpreter.Activation { return nil }

// Request is a request as expressions see it.
type Request struct {
	of   *policies.Request
	seen activation
}

// Read makes a request ready. typed has objects of known kinds be Go values, as API servers hold them, and not maps as older ones do.
func Read(r *policies.Request, typed bool) (*Request, error) {
	read := &Request{of: r, seen: activation{request: types.DefaultTypeAdapter.NativeToValue(requestMap(r))}}
	var err error
	if read.seen.object, err = object(r.Object, r, typed); err != nil {
		return nil, fmt.Errorf("reading the object: %w", err)
	}
	if read.seen.oldObject, err = object(r.OldObject, r, typed); err != nil {
		return nil, fmt.Errorf("reading the old object: %w", err)
	}
	return read, nil
}

// Judge evaluates a request.
func (c *Policy) Judge(ctx context.Context, r *Request) (Answer, error) {
	var out Answer
	if !c.Matches(r.of) {
		return out, nil
	}
	seen := r.seen
	a := &seen
	evaluate := func(program cel.Program) (ref.Val, error) {
		value, details, err := program.ContextEval(ctx, a)
		if details != nil && details.ActualCost() != nil {
			out.Cost += *details.ActualCost()
			if *details.ActualCost() > celconfig.PerCallLimit {
				return nil, fmt.Errorf("an expression costs %d, more than the %d that it may", *details.ActualCost(), celconfig.PerCallLimit)
			}
		}
		return value, err
	}
	known := lazy.NewMapValue(apiservercel.NewObjectType("kubernetes.variables", map[string]*apiservercel.DeclField{}))
	for name, program := range c.variables {
		known.Append(name, func(*lazy.MapValue) ref.Val {
			value, err := evaluate(program)
			if err != nil {
				return types.NewErr("variable %s: %v", name, err)
			}
			return value
		})
	}
	a.variables = known
	for n, condition := range c.conditions {
		value, err := evaluate(condition)
		if err != nil {
			return out, fmt.Errorf("condition %s: %w", c.spec.MatchConditions[n].Name, err)
		}
		if value != types.True {
			return out, nil
		}
	}
	if out.Cost > celconfig.RuntimeCELCostBudgetMatchConditions {
		return out, fmt.Errorf("its conditions cost %d, more than the %d that they may", out.Cost, celconfig.RuntimeCELCostBudgetMatchConditions)
	}
	out.Matched = true
	value, err := evaluate(c.validation)
	if err != nil {
		return out, err
	}
	if out.Refused = value != types.True; out.Refused {
		text, err := evaluate(c.message)
		if err != nil {
			return out, err
		}
		out.Message = fmt.Sprint(text.Value())
	}
	if out.Cost > celconfig.RuntimeCELCostBudget {
		return out, fmt.Errorf("it costs %d, more than the %d of a binding", out.Cost, celconfig.RuntimeCELCostBudget)
	}
	return out, nil
}

// requestMap is the request as expressions see it, empty fields left out.
func requestMap(r *policies.Request) map[string]any {
	user := map[string]any{"username": r.Subject.Username}
	if len(r.Subject.Groups) > 0 {
		user["groups"] = r.Subject.Groups
	}
	m := map[string]any{
		"operation": r.Operation, "userInfo": user,
		"kind":     map[string]any{"group": r.Kind.Group, "version": r.Kind.Version, "kind": r.Kind.Kind},
		"resource": map[string]any{"group": r.Resource.Group, "version": r.Resource.Version, "resource": r.Resource.Resource},
	}
	for field, value := range map[string]string{"name": r.Name, "namespace": r.Namespace, "subResource": r.SubResource} {
		if value != "" {
			m[field] = value
		}
	}
	return m
}

// object is what an expression sees of an object.
func object(raw json.RawMessage, r *policies.Request, typed bool) (any, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	kind := schema.GroupVersionKind{Group: r.Kind.Group, Version: r.Kind.Version, Kind: r.Kind.Kind}
	if typed && scheme.Scheme.Recognizes(kind) {
		value, err := scheme.Scheme.New(kind)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(raw, value); err != nil {
			return nil, err
		}
		return common.SchemalessTypedToVal(value), nil
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	return types.DefaultTypeAdapter.NativeToValue(integers(value)), nil
}

// integers has numbers be what an API server decodes them to.
func integers(value any) any {
	switch value := value.(type) {
	case json.Number:
		if n, err := value.Int64(); err == nil {
			return n
		}
		n, _ := value.Float64()
		return n
	case []any:
		for i := range value {
			value[i] = integers(value[i])
		}
	case map[string]any:
		for key := range value {
			value[key] = integers(value[key])
		}
	}
	return value
}
