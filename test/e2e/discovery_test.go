package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

// CVE-2026-55636: a rule with a typo in a resource's name is valid and matches nothing.
// Every rule that the webhook prints must name what the API server serves, or a
// resource of a project that testdata/known-crds.yaml lists.
func TestBypass38PrintedRulesNameWhatTheAPIServerServes(t *testing.T) {
	env := shared
	served := servedResources(t, env)
	var checked int
	for _, rule := range printedRules(t, env.library.printed) {
		for _, group := range rule.APIGroups {
			for _, name := range rule.Resources {
				checked++
				if !isServed(served, group, name) {
					t.Errorf("a rule names %s in group %q, which neither the API server serves nor testdata/known-crds.yaml knows", name, group)
				}
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d resources were compared, want at least those of workloads and RBAC", checked)
	}
	for _, name := range []string{"pods", "pods/ephemeralcontainers", "pods/resize", "pods/exec", "namespaces", "namespaces/finalize", "namespaces/status"} {
		if !slices.ContainsFunc(printedRules(t, env.library.printed), func(rule admissionregistrationv1.Rule) bool {
			return slices.Contains(rule.APIGroups, "") && slices.Contains(rule.Resources, name)
		}) {
			t.Errorf("no rule names %s", name)
		}
	}
}

// TestATypoInARuleIsNoticed shows that the comparison above can fail.
func TestATypoInARuleIsNoticed(t *testing.T) {
	served := servedResources(t, shared)
	for _, typo := range []string{"pod", "namespace/finalize", "pods/ephemeralcontainer", "deployments"} {
		if isServed(served, "", typo) {
			t.Errorf("%q in the core group counts as served", typo)
		}
	}
}

// servedResources is every resource and subresource, served or known, as "group/plural".
func servedResources(t *testing.T, env *environment) map[string]bool {
	t.Helper()
	_, lists, err := env.admin.Discovery().ServerGroupsAndResources()
	must(t, err)
	served := map[string]bool{}
	for _, list := range lists {
		group, _, grouped := strings.Cut(list.GroupVersion, "/")
		if !grouped {
			group = "" // the core group's is only a version
		}
		for _, resource := range list.APIResources {
			served[group+"/"+resource.Name] = true
		}
	}
	known := *parse[map[string][]string](t, string(mustReturn(os.ReadFile("testdata/known-crds.yaml"))(t)))
	for group, plurals := range known {
		for _, plural := range plurals {
			served[group+"/"+plural] = true
		}
	}
	return served
}

// isServed says whether a rule's resource, which may be a wildcard, matches anything.
func isServed(served map[string]bool, group, name string) bool {
	if group == "*" || name == "*" || name == "*/*" {
		return true
	}
	for resource := range served {
		theirGroup, theirName, _ := strings.Cut(resource, "/")
		theirPlural, theirSub, _ := strings.Cut(theirName, "/")
		plural, sub, _ := strings.Cut(name, "/")
		if theirGroup == group && (plural == "*" || plural == theirPlural) && (sub == "*" || sub == theirSub) {
			return true
		}
	}
	return false
}

// printedRules are the rules of both printed configurations.
func printedRules(t *testing.T, printed []byte) []admissionregistrationv1.Rule {
	t.Helper()
	validating, mutating := configurations(t, printed)
	var rules []admissionregistrationv1.Rule
	for _, webhook := range validating.Webhooks {
		for _, rule := range webhook.Rules {
			rules = append(rules, rule.Rule)
		}
	}
	for _, webhook := range mutating.Webhooks {
		for _, rule := range webhook.Rules {
			rules = append(rules, rule.Rule)
		}
	}
	return rules
}
