package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	"github.com/google/cel-go/interpreter"
	"github.com/portcullis-dev/portcullis/policies"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"
)

// Twin is a set of policies written in CEL, as one ValidatingAdmissionPolicy would
// hold them: expressions over object, request and params that are true where there
// is nothing to object to, and variables that are computed once for all of them.
//
// CEL gets the better of each choice: programs are optimised as the API server's are
// but count no cost (which it does for each step), the object is decoded once,
// straight into maps, by the fastest decoder we know, and no type of the object is
// declared or checked.
type Twin struct {
	containers, images cel.Program
	checks             []twinCheck
}

type twinCheck struct {
	policy  string
	program cel.Program
	params  ref.Val
}

// NewTwin compiles the CEL checks of some policies with their parameters.
func NewTwin(ids []string, parameters map[string]map[string]any) (*Twin, error) {
	env, err := cel.NewEnv(
		cel.Variable("object", cel.DynType),
		cel.Variable("request", cel.DynType),
		cel.Variable("params", cel.DynType),
		cel.Variable("containers", cel.ListType(cel.DynType)),
		cel.Variable("images", cel.ListType(cel.StringType)),
		cel.CrossTypeNumericComparisons(true),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.OptionalTypes(),
		ext.Strings(ext.StringsVersion(2)),
		ext.Sets(),
	)
	if err != nil {
		return nil, fmt.Errorf("making the CEL environment: %w", err)
	}
	t := &Twin{}
	if t.containers, err = compileCEL(env, celContainers); err != nil {
		return nil, err
	}
	if t.images, err = compileCEL(env, celImages); err != nil {
		return nil, err
	}
	for _, id := range ids {
		expression, ok := celChecks[id]
		if !ok {
			return nil, fmt.Errorf("policy %s has no counterpart in CEL", id)
		}
		program, err := compileCEL(env, expression)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		t.checks = append(t.checks, twinCheck{id, program, types.DefaultTypeAdapter.NativeToValue(parameters[id])})
	}
	return t, nil
}

func compileCEL(env *cel.Env, expression string) (cel.Program, error) {
	ast, issues := env.Compile(expression)
	if issues != nil && issues.Err() != nil {
		return nil, fmt.Errorf("compiling CEL: %w", issues.Err())
	}
	return env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.InterruptCheckFrequency(100))
}

// Objections are the policies that object. An expression that fails objects, as with
// failurePolicy Fail.
func (t *Twin) Objections(ctx context.Context, object, request map[string]any) []string {
	activation := &twinActivation{
		twin:    t,
		object:  types.DefaultTypeAdapter.NativeToValue(object),
		request: types.DefaultTypeAdapter.NativeToValue(request),
	}
	var objections []string
	for i := range t.checks {
		activation.params = t.checks[i].params
		result, _, err := t.checks[i].program.ContextEval(ctx, activation)
		if err != nil || result != types.True {
			objections = append(objections, t.checks[i].policy)
		}
	}
	return objections
}

// twinActivation gives expressions their variables, the computed ones when first asked.
type twinActivation struct {
	twin                    *Twin
	object, request, params ref.Val
	containers, images      ref.Val
}

func (a *twinActivation) ResolveName(name string) (any, bool) {
	switch name {
	case "object":
		return a.object, true
	case "request":
		return a.request, true
	case "params":
		return a.params, true
	case "containers":
		if a.containers == nil {
			a.containers, _, _ = a.twin.containers.Eval(a)
		}
		return a.containers, a.containers != nil
	case "images":
		if a.images == nil {
			a.images, _, _ = a.twin.images.Eval(a)
		}
		return a.images, a.images != nil
	}
	return nil, false
}

func (a *twinActivation) Parent() interpreter.Activation { return nil }

// ServeHTTP judges an AdmissionReview, so that a Twin can be measured like a webhook.
func (t *Twin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var review struct {
		Request map[string]any `json:"request"`
	}
	if err := jsonv2.Unmarshal(body, &review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	object, _ := review.Request["object"].(map[string]any)
	uid, _ := review.Request["uid"].(string)
	objections := t.Objections(ctx, object, review.Request)
	response := &admissionv1.AdmissionResponse{UID: k8stypes.UID(uid), Allowed: len(objections) == 0}
	if !response.Allowed {
		response.Result = &metav1.Status{Status: metav1.StatusFailure, Message: fmt.Sprint("failed: ", objections)}
	}
	writeReview(w, response)
}

// CEL is a webhook that judges by the CEL counterparts of some policies.
func CEL(ids []string) (http.Handler, error) {
	bundle, err := NewEngine(ids)
	if err != nil {
		return nil, err
	}
	parameters := map[string]map[string]any{}
	for _, id := range ids {
		parameters[id] = withDefaults(bundle.Bundle().Policies[id], Parameters[id])
	}
	return NewTwin(ids, parameters)
}

// withDefaults are a policy's parameters as its rules see them.
func withDefaults(policy *policies.Policy, given map[string]any) map[string]any {
	values := map[string]any{}
	properties, _ := policy.Parameters["properties"].(map[string]any)
	for name, property := range properties {
		schema, _ := property.(map[string]any)
		values[name] = schema["default"]
	}
	for name, value := range given {
		values[name] = value
	}
	return values
}
