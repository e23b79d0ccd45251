package admission_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// responding is a revision of a bundle whose only policy asks for an action about every event.
func responding(t *testing.T, bundle, manifest string) admission.Ready {
	t.Helper()
	files := fstest.MapFS{
		"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: " + bundle + "\nserial: 1\npolicies: [{policy: runtime/x}]\n" + manifest)},
		"x.rego": {Data: []byte("# METADATA\n# title: X\n# description: X.\n# custom:\n#   severity: high\n#   match: {events: {}}\n#   remediation: Look.\n" +
			"package portcullis.runtime.x\n\nrespond contains {\"action\": \"isolate\", \"msg\": \"of " + bundle + "\"}\n")},
	}
	loaded, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(loaded)
	if err != nil {
		t.Fatal(err)
	}
	return admission.ReadyEngine(engine)
}

func shell(namespace string) admission.Request {
	request := pod(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"a","image":"a:1"}]}}`)
	request.Door, request.Operation, request.Namespace = admission.DoorResponder, policies.OperationEvent, namespace
	request.Event = &response.Event{Source: "syscall", Rule: "Shell", Priority: response.Critical, Time: noon, Pod: &response.Pod{Namespace: namespace, Name: "a", UID: "u"}}
	return request
}

// asks are the responses of a verdict with the bundles they are of.
func asks(v admission.Verdict) []string {
	var all []string
	for _, r := range v.Responses {
		all = append(all, strings.TrimPrefix(r.Bundle+":"+string(r.Action)+" "+r.Message, ":"))
	}
	return all
}

func TestAllBundlesAreAskedAboutAnEvent(t *testing.T) {
	v := lineup(
		admission.Member{Active: responding(t, "platform", "response: {mode: enforce, protect: {namespaces: [web]}}\n")},
		admission.Member{Active: responding(t, "team", "response: {mode: approve, protect: {namespaces: [shop]}, limits: {cluster: 100000}, breaker: {plans: 1}}\n"), Namespaces: in("shop")},
		admission.Member{Active: responding(t, "other", ""), Namespaces: in("web")},
		admission.Member{Active: ready(t, "pods", 1, nothing)},
	).Respond(t.Context(), shell("shop"))
	if got, want := asks(v), []string{"platform:isolate of platform", "team:isolate of team"}; !slices.Equal(got, want) {
		t.Errorf("got %q (faults %+v), want %q", got, v.Faults, want)
	}
	settings := v.Settings()
	if len(settings) != 4 || settings["platform"].Mode != response.ModeEnforce || settings["team"].Mode != response.ModeApprove || settings["other"].Mode != "" {
		t.Errorf("got %+v, want the section of each bundle", settings)
	}
	if len(settings["platform"].Protect.Namespaces) != 1 || len(settings["team"].Protect.Namespaces) != 0 {
		t.Errorf("got %+v, want what the platform protects, and not what a tenant does", settings)
	}
	if settings["team"].Limits != (response.Limits{}) || settings["team"].Breaker != (response.Breaker{}) {
		t.Errorf("got %+v, want a tenant to have the default limits: they count what all bundles do", settings["team"])
	}
}

func TestABundleAloneIsNotNamed(t *testing.T) {
	v := lineup(admission.Member{Active: responding(t, "platform", "response: {mode: enforce}\n")}).Respond(t.Context(), shell("shop"))
	if got, want := asks(v), []string{"isolate of platform"}; !slices.Equal(got, want) || v.Settings()[""].Mode != response.ModeEnforce {
		t.Errorf("got %q and %+v, want %q and the settings under no name", got, v.Settings(), want)
	}
}

func TestWithoutABundleAnEventIsAFault(t *testing.T) {
	if v := lineup().Respond(t.Context(), shell("shop")); len(v.Faults) != 1 || len(v.Responses) != 0 {
		t.Errorf("got %+v, want a fault and no response", v)
	}
}
