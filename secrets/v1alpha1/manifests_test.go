package v1alpha1

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/test/definitions"
)

func TestTheSchemasHaveTheFieldsOfTheTypes(t *testing.T) {
	definitions.Hold(t, Manifest,
		definitions.Type{Resource: VaultConnections, Of: reflect.TypeFor[VaultConnection](), Status: true, Bounded: true},
		definitions.Type{Resource: VaultAuths, Of: reflect.TypeFor[VaultAuth](), Namespaced: true, Status: true, Bounded: true},
		definitions.Type{Resource: VaultSecrets, Of: reflect.TypeFor[VaultSecret](), Namespaced: true, Status: true, Bounded: true},
		definitions.Type{Resource: VaultPushes, Of: reflect.TypeFor[VaultPush](), Namespaced: true, Status: true, Bounded: true},
		definitions.Type{Resource: VaultLeases, Of: reflect.TypeFor[VaultLease](), Namespaced: true, Bounded: true},
	)
}

func TestTheirShortNamesTellThemApart(t *testing.T) {
	want := map[string]string{"VaultConnection": "vc", "VaultAuth": "va", "VaultSecret": "vs", "VaultPush": "vp", "VaultLease": "vl"}
	for _, crd := range definitions.Read(t, Manifest) {
		if names := crd.Spec.Names; !slices.Equal(names.ShortNames, []string{want[names.Kind]}) || !slices.Equal(names.Categories, []string{"portcullis"}) {
			t.Errorf("%s has the short names %q and the categories %q, want %q and portcullis", crd.Name, names.ShortNames, names.Categories, want[names.Kind])
		}
	}
}

// Words that Go knows and the schema does not are refused when it matters most; words of the schema that Go does not know mean nothing.
func TestTheSchemaKnowsAllWords(t *testing.T) {
	all := definitions.Read(t, Manifest)
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
			"create events", "patch events",
			"get namespaces", "list namespaces", "watch namespaces",
			"get " + own + "quarantines", "list " + own + "quarantines", "watch " + own + "quarantines", "patch " + own + "quarantines/status",
			"list " + own + "incidents", "watch " + own + "incidents",
			"get " + crs + "vaultauths", "list " + crs + "vaultauths", "watch " + crs + "vaultauths", "get " + crs + "vaultconnections", "list " + crs + "vaultconnections", "watch " + crs + "vaultconnections",
			"get " + crs + "vaultsecrets", "list " + crs + "vaultsecrets", "watch " + crs + "vaultsecrets", "patch " + crs + "vaultsecrets",
			"get " + crs + "vaultpushes", "list " + crs + "vaultpushes", "watch " + crs + "vaultpushes", "patch " + crs + "vaultpushes",
			"update " + crs + "vaultauths/status",
			"update " + crs + "vaultconnections/status",
			"update " + crs + "vaultsecrets/status",
			"update " + crs + "vaultpushes/status",
			"update " + crs + "vaultsecrets/finalizers",
		},
		"Role portcullis-secrets": {
			"create coordination.k8s.io/leases", "get coordination.k8s.io/leases portcullis-secrets", "update coordination.k8s.io/leases portcullis-secrets",
			"get secrets " + HashKeyName, "create secrets", "create serviceaccounts/token portcullis-secrets",
			"get " + crs + "vaultleases", "list " + crs + "vaultleases", "create " + crs + "vaultleases", "update " + crs + "vaultleases", "delete " + crs + "vaultleases",
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
