package v1alpha1

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/test/definitions"
)

func TestTheSchemasHaveTheFieldsOfTheTypes(t *testing.T) {
	definitions.Hold(t, Manifest,
		definitions.Type{Resource: Bundles, Of: reflect.TypeFor[PolicyBundle](), Status: true},
		definitions.Type{Resource: Revisions, Of: reflect.TypeFor[PolicyRevision]()},
		definitions.Type{Resource: Replicas, Of: reflect.TypeFor[PolicyReplica](), Status: true},
		definitions.Type{Resource: Exceptions, Of: reflect.TypeFor[PolicyException](), Namespaced: true},
		definitions.Type{Resource: BreakGlasses, Of: reflect.TypeFor[BreakGlass](), Status: true},
	)
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
				named := role.Name != "portcullis-auditor" || resource != "leases" // which are named after pods
				if narrow := map[string]string{"secrets": "portcullis-webhook-", "leases": "portcullis-", "validatingwebhookconfigurations": "portcullis", "mutatingwebhookconfigurations": "portcullis"}[resource]; narrow != "" && named && !slices.Equal(rule.Verbs, []string{"create"}) && !slices.Equal(rule.Verbs, []string{"get"}) {
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
		"portcullis-auditor-rescan":   {"create imagescans", "update imagescans"},
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
