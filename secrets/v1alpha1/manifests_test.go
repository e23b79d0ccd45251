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
		resource  schema.GroupVersionResource
		of        reflect.Type
		scope     apiextensionsv1.ResourceScope
		shortName string
		status    bool
	}{
		{VaultConnections, reflect.TypeFor[VaultConnection](), apiextensionsv1.ClusterScoped, "vc", true},
		{VaultAuths, reflect.TypeFor[VaultAuth](), apiextensionsv1.NamespaceScoped, "va", true},
		{VaultSecrets, reflect.TypeFor[VaultSecret](), apiextensionsv1.NamespaceScoped, "vs", true},
		{VaultPushes, reflect.TypeFor[VaultPush](), apiextensionsv1.NamespaceScoped, "vp", true},
		{VaultLeases, reflect.TypeFor[VaultLease](), apiextensionsv1.NamespaceScoped, "vl", false},
	} {
		crd := all[test.resource.GroupResource().String()]
		if crd == nil {
			t.Errorf("no definition of %s", test.resource.GroupResource())
			continue
		}
		delete(all, crd.Name)
		version := crd.Spec.Versions[0]
		if crd.Spec.Names.Kind != test.of.Name() || crd.Spec.Scope != test.scope || version.Name != GroupVersion.Version || (version.Subresources != nil && version.Subresources.Status != nil) != test.status {
			t.Errorf("%s is %s %s of %s, with a status of its own: %v; want %s %s of %s: %v", crd.Name, crd.Spec.Scope, crd.Spec.Names.Kind, version.Name,
				version.Subresources != nil, test.scope, test.of.Name(), GroupVersion.Version, test.status)
		}
		if !slices.Equal(crd.Spec.Names.ShortNames, []string{test.shortName}) || !slices.Equal(crd.Spec.Names.Categories, []string{"portcullis"}) {
			t.Errorf("%s has the short names %q and the categories %q, want %q and portcullis", crd.Name, crd.Spec.Names.ShortNames, crd.Spec.Names.Categories, test.shortName)
		}
		sections := 0
		for _, section := range []string{"Spec", "Status"} {
			if field, ok := test.of.FieldByName(section); ok {
				sections++
				compare(t, test.of.Name()+"."+section, field.Type, version.Schema.OpenAPIV3Schema.Properties[strings.ToLower(section)])
			}
		}
		if got := len(version.Schema.OpenAPIV3Schema.Properties); got != sections+3 {
			t.Errorf("%s has %d fields in the schema, want apiVersion, kind, metadata and %d more", crd.Name, got, sections)
		}
	}
	for name := range all {
		t.Errorf("there is a definition of %s, and no type", name)
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
	case of == reflect.TypeFor[metav1.Time](), of == reflect.TypeFor[time.Time]():
		wantType(t, path, schema, "string")
		if schema.Format != "date-time" {
			t.Errorf("%s has the format %q, want date-time", path, schema.Format)
		}
	case of.Kind() == reflect.String, of.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		wantType(t, path, schema, "string")
	case of.Kind() == reflect.Slice:
		wantType(t, path, schema, "array")
		if schema.Items == nil || schema.Items.Schema == nil {
			t.Errorf("%s says nothing of its items", path)
			return
		}
		if schema.MaxItems == nil {
			t.Errorf("%s has no end", path)
		}
		compare(t, path+"[]", of.Elem(), *schema.Items.Schema)
	case of.Kind() == reflect.Map:
		wantType(t, path, schema, "object")
		if schema.AdditionalProperties == nil || schema.AdditionalProperties.Schema == nil {
			t.Errorf("%s is a map whose values would be pruned", path)
			return
		}
		compare(t, path+"{}", of.Elem(), *schema.AdditionalProperties.Schema)
	case of.Kind() == reflect.Bool:
		wantType(t, path, schema, "boolean")
	case of.Kind() == reflect.Struct:
		wantType(t, path, schema, "object")
		fields := jsonFields(of)
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

// Words that Go knows and the schema does not are refused when it matters most; words of the schema that Go does not know mean nothing.
func TestTheSchemaKnowsAllWords(t *testing.T) {
	all := definitions(t)
	at := func(resource schema.GroupVersionResource, path string) apiextensionsv1.JSONSchemaProps {
		props := *all[resource.GroupResource().String()].Spec.Versions[0].Schema.OpenAPIV3Schema
		for name := range strings.SplitSeq(path, ".") {
			switch {
			case name == "[]":
				props = *props.Items.Schema
			case name == "{}":
				props = *props.AdditionalProperties.Schema
			default:
				next, ok := props.Properties[name]
				if !ok {
					t.Fatalf("%s has no %s", resource.Resource, path)
				}
				props = next
			}
		}
		return props
	}
	retention := []string{Delete, Retain}
	for _, test := range []struct {
		resource schema.GroupVersionResource
		path     string
		want     []string
	}{
		{VaultSecrets, "spec.destination.kind", []string{KindConfigMap, KindSecret}},
		{VaultSecrets, "spec.rotation.restart", []string{RestartNamed, RestartNone, RestartReferencing}},
		{VaultSecrets, "spec.rotation.workloads.[].kind", []string{"DaemonSet", "Deployment", "StatefulSet"}},
		{VaultSecrets, "spec.deletion.whenGone", retention},
		{VaultSecrets, "spec.deletion.whenDeleted", retention},
		{VaultSecrets, "spec.source.pki.keyFormat", []string{KeyFormatPKCS8, KeyFormatTraditional}},
		{VaultSecrets, "spec.source.pki.chain", []string{ChainFull, ChainLeaf}},
		{VaultSecrets, "spec.source.pki.csr.algorithm", Algorithms},
		{VaultSecrets, "spec.destination.type", []string{"Opaque", "kubernetes.io/basic-auth", "kubernetes.io/dockerconfigjson", "kubernetes.io/ssh-auth", "kubernetes.io/tls"}},
		{VaultSecrets, "status.restarts.[].state", []string{"Restarted", "Restarting", "Stuck", "Unneeded", "Waiting"}},
		{VaultSecrets, "status.policies.[].effect", []string{"allow_sync", "deny", "fault", "warn"}},
		{VaultPushes, "status.policies.[].effect", []string{"allow_sync", "deny", "fault", "warn"}},
		{VaultPushes, "spec.whenDeleted", retention},
		{VaultPushes, "spec.generate.{}.charset", []string{CharsetASCII, CharsetAlphanumeric, CharsetBase64URL, CharsetHex}},
		{VaultPushes, "spec.generate.{}.privateKey", Algorithms},
	} {
		var got []string
		for _, one := range at(test.resource, test.path).Enum {
			got = append(got, strings.Trim(string(one.Raw), `"`))
		}
		slices.Sort(got)
		if want := slices.Sorted(slices.Values(test.want)); !slices.Equal(got, want) {
			t.Errorf("%s %s knows %q, want %q", test.resource.Resource, test.path, got, want)
		}
	}
}

type role struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Rules             []rbacv1.PolicyRule `json:"rules"`
}

func rolesOf(t *testing.T, manifest []byte) []role {
	t.Helper()
	var all []role
	for document := range strings.SplitSeq(string(manifest), "\n---\n") {
		var one role
		if err := yaml.UnmarshalStrict([]byte(document), &one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// permissions are all that rules allow, one a line: "verb group/resource", with the names.
func permissions(rules []rbacv1.PolicyRule) []string {
	var all []string
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					if group != "" {
						resource := group + "/" + resource
						all = append(all, strings.TrimSpace(verb+" "+resource+" "+strings.Join(rule.ResourceNames, ",")))
						continue
					}
					all = append(all, strings.TrimSpace(verb+" "+resource+" "+strings.Join(rule.ResourceNames, ",")))
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// external-secrets #4704: the operator held every Secret of the cluster. Here its ClusterRole has none and no token; what it has of a namespace is
// granted there, by name. What is not in this table nobody may do.
func TestIssue4704TheRolesAllowNoMoreThanIsNeeded(t *testing.T) {
	crs, own := "secrets.portcullis.dev/", "runtime.portcullis.dev/"
	want := map[string][]string{
		"ClusterRole portcullis-secrets": {
			"create events", "create events.k8s.io/events", "patch events", "patch events.k8s.io/events",
			"get namespaces", "list namespaces", "watch namespaces",
			"get " + own + "quarantines", "list " + own + "quarantines", "watch " + own + "quarantines", "get " + own + "quarantines/status", "update " + own + "quarantines/status", "patch " + own + "quarantines/status",
			"get " + crs + "vaultauths", "list " + crs + "vaultauths", "watch " + crs + "vaultauths", "get " + crs + "vaultconnections", "list " + crs + "vaultconnections", "watch " + crs + "vaultconnections",
			"get " + crs + "vaultsecrets", "list " + crs + "vaultsecrets", "watch " + crs + "vaultsecrets", "update " + crs + "vaultsecrets", "patch " + crs + "vaultsecrets",
			"get " + crs + "vaultpushes", "list " + crs + "vaultpushes", "watch " + crs + "vaultpushes", "update " + crs + "vaultpushes", "patch " + crs + "vaultpushes",
			"get " + crs + "vaultauths/status", "update " + crs + "vaultauths/status", "patch " + crs + "vaultauths/status",
			"get " + crs + "vaultconnections/status", "update " + crs + "vaultconnections/status", "patch " + crs + "vaultconnections/status",
			"get " + crs + "vaultsecrets/status", "update " + crs + "vaultsecrets/status", "patch " + crs + "vaultsecrets/status",
			"get " + crs + "vaultpushes/status", "update " + crs + "vaultpushes/status", "patch " + crs + "vaultpushes/status",
			"update " + crs + "vaultsecrets/finalizers",
		},
		"Role portcullis-secrets": {
			"create coordination.k8s.io/leases", "get coordination.k8s.io/leases portcullis-secrets", "update coordination.k8s.io/leases portcullis-secrets", "patch coordination.k8s.io/leases portcullis-secrets",
			"get secrets " + HashKeyName, "create secrets", "create serviceaccounts/token portcullis-secrets",
			"get " + crs + "vaultleases", "list " + crs + "vaultleases", "watch " + crs + "vaultleases", "create " + crs + "vaultleases", "update " + crs + "vaultleases", "patch " + crs + "vaultleases", "delete " + crs + "vaultleases",
		},
		"ClusterRole portcullis-secrets-viewer": {
			"get " + crs + "vaultauths", "list " + crs + "vaultauths", "watch " + crs + "vaultauths", "get " + crs + "vaultsecrets", "list " + crs + "vaultsecrets", "watch " + crs + "vaultsecrets",
			"get " + crs + "vaultpushes", "list " + crs + "vaultpushes", "watch " + crs + "vaultpushes",
		},
	}
	for _, resource := range []string{"vaultauths", "vaultsecrets", "vaultpushes"} {
		for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete"} {
			want["ClusterRole portcullis-secrets-editor"] = append(want["ClusterRole portcullis-secrets-editor"], verb+" "+crs+resource)
		}
	}
	for _, role := range rolesOf(t, Roles("vaults")) {
		name := role.Kind + " " + role.Name
		if role.Kind == "Role" && role.Namespace != "vaults" {
			t.Errorf("%s is for the namespace %q, want vaults", name, role.Namespace)
		}
		wanted := slices.Sorted(slices.Values(want[name]))
		if got := permissions(role.Rules); !slices.Equal(got, wanted) {
			t.Errorf("%s allows\n%s,\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(wanted, "\n"))
		}
		delete(want, name)
		if role.Kind == "ClusterRole" {
			for _, rule := range role.Rules {
				for _, resource := range rule.Resources {
					if strings.Contains(resource, "*") || slices.Contains(rule.Verbs, "*") || slices.Contains(rule.APIGroups, "*") || resource == "secrets" || strings.HasPrefix(resource, "serviceaccounts") || resource == "vaultleases" || strings.HasPrefix(resource, "pods") {
						t.Errorf("%s may use %s everywhere", name, resource)
					}
				}
			}
		}
	}
	for name := range want {
		t.Errorf("there is no %s", name)
	}
}
