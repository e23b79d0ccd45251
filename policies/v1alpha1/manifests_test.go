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

// A field that the schema lacks is pruned by the API server without a word.
func TestTheSchemasHaveTheFieldsOfTheTypes(t *testing.T) {
	all := definitions(t)
	for _, test := range []struct {
		resource schema.GroupVersionResource
		of       reflect.Type
		scope    apiextensionsv1.ResourceScope
		status   bool
	}{
		{Bundles, reflect.TypeFor[PolicyBundle](), apiextensionsv1.ClusterScoped, true},
		{Revisions, reflect.TypeFor[PolicyRevision](), apiextensionsv1.ClusterScoped, false},
		{Replicas, reflect.TypeFor[PolicyReplica](), apiextensionsv1.ClusterScoped, true},
		{Exceptions, reflect.TypeFor[PolicyException](), apiextensionsv1.NamespaceScoped, false},
		{BreakGlasses, reflect.TypeFor[BreakGlass](), apiextensionsv1.ClusterScoped, true},
	} {
		crd := all[test.resource.GroupResource().String()]
		if crd == nil {
			t.Errorf("no definition of %s", test.resource.GroupResource())
			continue
		}
		version := crd.Spec.Versions[0]
		if crd.Spec.Names.Kind != test.of.Name() || crd.Spec.Scope != test.scope || version.Name != GroupVersion.Version || (version.Subresources != nil && version.Subresources.Status != nil) != test.status {
			t.Errorf("%s is %s %s of %s, with a status of its own: %v; want %s %s of %s: %v", crd.Name, crd.Spec.Scope, crd.Spec.Names.Kind, version.Name,
				version.Subresources != nil, test.scope, test.of.Name(), GroupVersion.Version, test.status)
		}
		for _, section := range []string{"Spec", "Status"} {
			if field, ok := test.of.FieldByName(section); ok {
				compare(t, test.of.Name()+"."+section, field.Type, version.Schema.OpenAPIV3Schema.Properties[strings.ToLower(section)])
			}
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
	case of == reflect.TypeFor[metav1.Time](), of == reflect.TypeFor[metav1.MicroTime](), of == reflect.TypeFor[[]byte](), of.Kind() == reflect.String, of.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		wantType(t, path, schema, "string")
	case of.Kind() == reflect.Slice:
		wantType(t, path, schema, "array")
		if schema.Items != nil && schema.Items.Schema != nil {
			compare(t, path+"[]", of.Elem(), *schema.Items.Schema)
		}
	case of.Kind() == reflect.Map:
		wantType(t, path, schema, "object")
	case of.Kind() == reflect.Bool:
		wantType(t, path, schema, "boolean")
	case of.Kind() == reflect.Struct:
		wantType(t, path, schema, "object")
		fields := jsonFields(of)
		if got, want := slices.Sorted(maps.Keys(schema.Properties)), slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
			t.Errorf("%s has the fields %q in the schema, want %q", path, got, want)
		}
		for name, field := range fields {
			compare(t, path+"."+name, field, schema.Properties[name])
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

// The roles are least privilege: the controller decides what is active and never what is wanted; a webhook reports and
// promotes nothing; nobody changes a stored revision.
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
				if role.Name == "portcullis-auditor-secrets" && resource == "secrets" && slices.Equal(rule.Verbs, []string{"get", "list", "watch"}) {
					continue // a role of its own, for whoever wants Secrets audited
				}
				if narrow := map[string]string{"secrets": "portcullis-webhook-", "validatingwebhookconfigurations": "portcullis", "mutatingwebhookconfigurations": "portcullis"}[resource]; narrow != "" && !slices.Equal(rule.Verbs, []string{"create"}) && !slices.Equal(rule.Verbs, []string{"get"}) {
					if len(rule.ResourceNames) == 0 || slices.ContainsFunc(rule.ResourceNames, func(name string) bool { return !strings.HasPrefix(name, narrow) }) {
						t.Errorf("the role %s may %v %s of the names %q, want only our own", role.Name, rule.Verbs, resource, rule.ResourceNames)
					}
				}
				for _, verb := range rule.Verbs {
					if verb != "get" && verb != "list" && verb != "watch" {
						got[role.Name] = append(got[role.Name], verb+" "+resource)
					}
				}
			}
		}
		slices.Sort(got[role.Name])
	}
	want := map[string][]string{
		"portcullis-controller": {
			"create events", "create leases", "create mutatingwebhookconfigurations", "create policyrevisions", "create secrets",
			"create validatingwebhookconfigurations", "delete mutatingwebhookconfigurations", "delete policyreplicas", "delete policyrevisions",
			"delete secrets", "delete validatingwebhookconfigurations", "patch policybundles/status", "update breakglasses/status", "update leases",
			"update mutatingwebhookconfigurations", "update policybundles/status", "update secrets", "update validatingwebhookconfigurations",
		},
		"portcullis-auditor": {
			"create clusterpolicyreports", "create clusterreports", "create leases", "create policyreports", "create reports",
			"delete clusterpolicyreports", "delete clusterreports", "delete leases", "delete policyreports", "delete reports",
			"update clusterpolicyreports", "update clusterreports", "update leases", "update policyreports", "update reports",
		},
		"portcullis-break-glass":      {"create breakglasses", "delete breakglasses"},
		"portcullis-bundle-reader":    {"create policyreplicas", "delete policyreplicas", "update policyreplicas/status"},
		"portcullis-exception-editor": {"create policyexceptions", "delete policyexceptions", "patch policyexceptions", "update policyexceptions"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestALabelTakesTheBeginningOfADigest(t *testing.T) {
	for digest, want := range map[string]string{
		"sha256:" + strings.Repeat("0a", 32): strings.Repeat("0a", 20),
		"sha256:12":                          "12",
		"":                                   "",
	} {
		if got := DigestLabelValue(digest); got != want {
			t.Errorf("%q: got %q, want %q", digest, got, want)
		}
	}
}
