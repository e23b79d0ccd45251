package v1alpha1

import (
	"encoding"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

func definitions(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	found := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for document := range strings.SplitSeq(string(Manifest), "\n---\n") {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict([]byte(document), &crd); err != nil {
			t.Fatal(err)
		}
		found[crd.Name] = &crd
	}
	return found
}

func schemaOf(t *testing.T, resource schema.GroupVersionResource) *apiextensionsv1.JSONSchemaProps {
	t.Helper()
	crd := definitions(t)[resource.GroupResource().String()]
	if crd == nil {
		t.Fatalf("no definition of %s", resource.GroupResource())
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// A field that the schema lacks is pruned by the API server without a word.
func TestTheSchemasHaveTheFieldsOfTheTypes(t *testing.T) {
	all := definitions(t)
	for _, test := range []struct {
		resource schema.GroupVersionResource
		of       reflect.Type
		status   bool
	}{
		{Quarantines, reflect.TypeFor[Quarantine](), true},
		{Evidences, reflect.TypeFor[QuarantineEvidence](), false},
		{Incidents, reflect.TypeFor[Incident](), false},
	} {
		crd := all[test.resource.GroupResource().String()]
		if crd == nil {
			t.Errorf("no definition of %s", test.resource.GroupResource())
			continue
		}
		version := crd.Spec.Versions[0]
		if crd.Spec.Names.Kind != test.of.Name() || crd.Spec.Scope != apiextensionsv1.ClusterScoped || version.Name != GroupVersion.Version || (version.Subresources != nil && version.Subresources.Status != nil) != test.status {
			t.Errorf("%s is %s %s of %s, with a status of its own: %v; want Cluster %s of %s: %v", crd.Name, crd.Spec.Scope, crd.Spec.Names.Kind, version.Name,
				version.Subresources != nil, test.of.Name(), GroupVersion.Version, test.status)
		}
		own := map[string]reflect.Type{}
		for field := range test.of.Fields() {
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			if options != "inline" && name != "metadata" {
				own[name] = field.Type
			}
		}
		root := version.Schema.OpenAPIV3Schema
		got := slices.DeleteFunc(slices.Sorted(maps.Keys(root.Properties)), func(name string) bool { return slices.Contains([]string{"apiVersion", "kind", "metadata"}, name) })
		if want := slices.Sorted(maps.Keys(own)); !slices.Equal(got, want) {
			t.Errorf("%s has the fields %q in the schema, want %q", test.of.Name(), got, want)
		}
		for name, field := range own {
			compare(t, test.of.Name()+"."+name, field, root.Properties[name])
		}
	}
}

// compare holds a schema to a type, and everything below.
func compare(t *testing.T, path string, of reflect.Type, schema apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	switch {
	case of.Kind() == reflect.Pointer:
		compare(t, path, of.Elem(), schema)
	case of == reflect.TypeFor[metav1.Duration]():
		wantType(t, path, schema, "string")
		wantDurations(t, path, schema.Pattern)
	case of == reflect.TypeFor[metav1.Time](), of == reflect.TypeFor[metav1.MicroTime]():
		wantType(t, path, schema, "string")
		if schema.Format != "date-time" {
			t.Errorf("%s has the format %q, want date-time", path, schema.Format)
		}
	case of == reflect.TypeFor[[]byte](), of.Kind() == reflect.String, of.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		wantType(t, path, schema, "string")
	case of.Kind() == reflect.Slice:
		wantType(t, path, schema, "array")
		if schema.Items == nil || schema.Items.Schema == nil {
			t.Errorf("%s says nothing of its items", path)
			return
		}
		compare(t, path+"[]", of.Elem(), *schema.Items.Schema)
	case of.Kind() == reflect.Map:
		wantType(t, path, schema, "object")
		if schema.AdditionalProperties == nil {
			t.Errorf("%s is a map whose values would be pruned", path)
		}
	case of.Kind() == reflect.Bool:
		wantType(t, path, schema, "boolean")
	case of.Kind() == reflect.Struct:
		wantType(t, path, schema, "object")
		fields := jsonFields(of)
		if path == "Quarantine.spec.owner.direct" {
			delete(fields, "direct") // a schema has an end
		}
		if got, want := slices.Sorted(maps.Keys(schema.Properties)), slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
			t.Errorf("%s has the fields %q in the schema, want %q", path, got, want)
		}
		for name, field := range fields {
			if property, ok := schema.Properties[name]; ok {
				compare(t, path+"."+name, field, property)
			}
		}
	default:
		wantType(t, path, schema, "integer")
	}
}

func wantType(t *testing.T, path string, schema apiextensionsv1.JSONSchemaProps, want string) {
	t.Helper()
	if schema.Type != want {
		t.Errorf("%s is of type %q in the schema, want %q", path, schema.Type, want)
	}
}

// wantDurations holds a pattern to what Go reads as a duration: the API server's format alone takes "1 day" too, and then
// nobody here can read the object.
func wantDurations(t *testing.T, path, pattern string) {
	t.Helper()
	compiled, err := regexp.Compile(pattern)
	if err != nil || pattern == "" {
		t.Errorf("%s has the pattern %q (%v), want one for durations", path, pattern, err)
		return
	}
	for _, text := range []string{"5m0s", "0s", "0", "1.5h", "10s", "1h30m", "1d", "7 days", "1 week", "3 s", "", "h", "1h 30m"} {
		_, err := time.ParseDuration(text)
		if got, want := compiled.MatchString(text), err == nil; got != want {
			t.Errorf("%s takes %q: %v, want %v", path, text, got, want)
		}
	}
}

func jsonFields(of reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for field := range of.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if options == "inline" {
			maps.Copy(fields, jsonFields(field.Type))
			continue
		}
		fields[name] = field.Type
	}
	return fields
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
			"create tier.globalnetworkpolicies", "create tiers", "create validatingwebhookconfigurations", "delete incidents", "delete networkpolicies", "delete pods", "delete quarantineevidences", "delete quarantines",
			"delete validatingwebhookconfigurations", "deletecollection quarantineevidences",
			"patch adminnetworkpolicies", "patch ciliumclusterwidenetworkpolicies", "patch clusternetworkpolicies", "patch cronjobs", "patch deployments", "patch deployments/scale",
			"patch events", "patch globalnetworkpolicies", "patch incidents", "patch jobs", "patch networkpolicies", "patch nodes", "patch pods", "patch quarantines", "patch quarantines/status",
			"patch replicasets", "patch replicasets/scale", "patch replicationcontrollers", "patch replicationcontrollers/scale", "patch statefulsets", "patch statefulsets/scale",
			"patch tier.globalnetworkpolicies", "patch tiers",
			"update adminnetworkpolicies", "update ciliumclusterwidenetworkpolicies", "update clusternetworkpolicies", "update deployments/scale", "update globalnetworkpolicies",
			"update incidents", "update leases", "update quarantines", "update quarantines/status", "update replicasets/scale", "update replicationcontrollers/scale", "update statefulsets/scale",
			"update tier.globalnetworkpolicies", "update tiers", "update validatingwebhookconfigurations",
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
