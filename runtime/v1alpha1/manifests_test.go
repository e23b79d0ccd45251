package v1alpha1

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/test/definitions"
)

func schemaOf(t *testing.T, resource schema.GroupVersionResource) *apiextensionsv1.JSONSchemaProps {
	t.Helper()
	crd := definitions.Read(t, Manifest)[resource.GroupResource().String()]
	if crd == nil {
		t.Fatalf("no definition of %s", resource.GroupResource())
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

func TestTheSchemasHaveTheFieldsOfTheTypes(t *testing.T) {
	definitions.Hold(t, Manifest,
		definitions.Type{Resource: Quarantines, Of: reflect.TypeFor[Quarantine](), Status: true, End: "Quarantine.spec.owner.direct.direct"},
		definitions.Type{Resource: Evidences, Of: reflect.TypeFor[QuarantineEvidence]()},
		definitions.Type{Resource: Incidents, Of: reflect.TypeFor[Incident]()},
	)
}

// Words that Go knows and the schema does not are refused when it matters most.
func TestTheSchemaKnowsAllWords(t *testing.T) {
	spec := schemaOf(t, Quarantines).Properties["spec"]
	status := schemaOf(t, Quarantines).Properties["status"]
	words := func(p apiextensionsv1.JSONSchemaProps) (all []string) {
		for _, one := range p.Enum {
			if word := strings.Trim(string(one.Raw), `"`); word != "" {
				all = append(all, word)
			}
		}
		slices.Sort(all)
		return all
	}
	var actions, priorities []string
	for _, a := range response.Actions() {
		actions = append(actions, string(a))
	}
	for p := response.Emergency; p <= response.Debug; p++ {
		priorities = append(priorities, p.String())
	}
	phases := []string{
		string(PhasePending), string(PhaseAwaitingApproval), string(PhaseContaining), string(PhaseContained), string(PhaseReleasing), string(PhaseReleased), string(PhaseRefused), string(PhaseAudited),
	}
	item := func(p apiextensionsv1.JSONSchemaProps, field string) apiextensionsv1.JSONSchemaProps {
		return p.Items.Schema.Properties[field]
	}
	for name, test := range map[string]struct {
		got  apiextensionsv1.JSONSchemaProps
		want []string
	}{
		"actions":           {item(spec.Properties["actions"], "action"), actions},
		"refused actions":   {item(spec.Properties["refused"], "action"), actions},
		"modes of actions":  {item(spec.Properties["actions"], "mode"), []string{"audit", "approve", "enforce"}},
		"mode":              {spec.Properties["mode"], []string{"audit", "approve", "enforce"}},
		"priorities":        {item(spec.Properties["triggers"], "priority"), priorities},
		"phases":            {status.Properties["phase"], phases},
		"states of steps":   {item(status.Properties["steps"], "state"), []string{string(StepRunning), string(StepDone), string(StepFailed), string(StepSkipped), string(StepUndone)}},
		"pieces":            {schemaOf(t, Evidences).Properties["piece"], []string{"pod", "owner", "namespace", "events", "log", "previousLog", "falco", "policies"}},
		"scopes":            {schemaOf(t, Incidents).Properties["spec"].Properties["scope"], []string{response.ScopeDigest, response.ScopeOwner, response.ScopeServiceAccount}},
		"effects":           {schemaOf(t, Incidents).Properties["spec"].Properties["effect"], []string{response.EffectWarn, response.EffectDeny}},
		"ways to end":       {spec.Properties["onExpiry"], []string{response.OnExpiryRelease, response.OnExpiryDelete}},
		"ways to escalate":  {spec.Properties["settings"].Properties["residual"], []string{response.ResidualAlert, response.ResidualEvict, response.ResidualDelete, response.ResidualRestrict}},
		"verdicts of a pod": {status.Properties["verdict"], []string{"Isolated", "Residual", "Unenforceable", "Unverified"}},
	} {
		slices.Sort(test.want)
		if got := words(test.got); !slices.Equal(got, test.want) {
			t.Errorf("%s: the schema knows %q, want %q", name, got, test.want)
		}
	}
}

// The roles are least privilege. What is not in this table nobody may do.
func TestTheRolesAllowNoMoreThanIsNeeded(t *testing.T) {
	got := map[string][]string{}
	for document := range strings.SplitSeq(string(Roles("guard")), "\n---\n") {
		var role struct {
			metav1.TypeMeta   `json:",inline"`
			metav1.ObjectMeta `json:"metadata"`
			Rules             []rbacv1.PolicyRule `json:"rules"`
		}
		if err := yaml.UnmarshalStrict([]byte(document), &role); err != nil {
			t.Fatal(err)
		}
		if role.Kind == "Role" && role.Namespace != "guard" {
			t.Errorf("the role %s is for namespace %q, want guard", role.Name, role.Namespace)
		}
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				if strings.Contains(resource, "*") || slices.Contains(rule.Verbs, "*") || slices.Contains(rule.APIGroups, "*") {
					t.Errorf("%s has a wildcard: %+v", role.Name, rule)
				}
				if resource == "secrets" || strings.HasPrefix(resource, "pods/exec") || strings.HasPrefix(resource, "pods/ephemeral") || strings.HasPrefix(resource, "nodes/") {
					t.Errorf("%s may use %s", role.Name, resource)
				}
				if resource == "leases" && !slices.Equal(rule.Verbs, []string{"create"}) && !slices.Equal(rule.ResourceNames, []string{"portcullis-responder", "portcullis-responder-ledger"}) {
					t.Errorf("%s may %v leases of the names %q, want only its own", role.Name, rule.Verbs, rule.ResourceNames)
				}
				for _, verb := range rule.Verbs {
					if verb != "get" && verb != "list" && verb != "watch" {
						got[role.Name] = append(got[role.Name], verb+" "+resource)
					}
				}
			}
		}
		if len(got[role.Name]) > 0 {
			slices.Sort(got[role.Name])
			got[role.Name] = slices.Compact(got[role.Name])
		}
	}
	want := map[string][]string{
		"portcullis-responder": {
			"create adminnetworkpolicies", "create ciliumclusterwidenetworkpolicies", "create clusternetworkpolicies", "create events", "create globalnetworkpolicies",
			"create incidents", "create leases", "create networkpolicies", "create pods/eviction", "create quarantineevidences", "create quarantines",
			"create tier.globalnetworkpolicies", "create tiers", "create validatingwebhookconfigurations", "delete incidents", "delete networkpolicies", "delete pods", "delete quarantines",
			"delete validatingwebhookconfigurations", "deletecollection quarantineevidences",
			"patch adminnetworkpolicies", "patch ciliumclusterwidenetworkpolicies", "patch clusternetworkpolicies", "patch cronjobs",
			"patch globalnetworkpolicies", "patch incidents", "patch jobs", "patch networkpolicies", "patch nodes", "patch pods", "patch quarantines",
			"patch tier.globalnetworkpolicies", "patch tiers",
			"update deployments/scale",
			"update leases", "update quarantines", "update quarantines/status", "update replicasets/scale", "update replicationcontrollers/scale", "update statefulsets/scale",
			"update validatingwebhookconfigurations",
		},
		"portcullis-incident-responder": {"update quarantines"},
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s may\n%q,\nwant\n%q", name, got[name], want[name])
		}
	}
	for name := range got {
		if want[name] == nil {
			t.Errorf("%s may %q, want nothing but reading", name, got[name])
		}
	}
}

func TestNamesFollowFromWhatTheyAreOf(t *testing.T) {
	name := response.QuarantineName("6a1f6d53-0ad0-4ad0-9d52-5a3f0a2d1c11")
	first, again := IncidentName(name, "digest", "sha256:1"), IncidentName(name, "digest", "sha256:1")
	other := IncidentName(name, "owner", "sha256:1")
	if first != again || first == other || !strings.HasPrefix(first, name+"-") || len(first) != len(name)+11 {
		t.Errorf("got %q, %q and %q, want the name of the quarantine with ten digits that follow from scope and subject", first, again, other)
	}
	if got, want := NetworkPolicyName(name), "portcullis-q-"+name; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
