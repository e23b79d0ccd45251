package installation

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// switchedOnLater are roles that the previous version's policies do not know: docs/install.md says what is switched on after the upgrade.
var switchedOnLater = []string{"portcullis-auditor-rescan"}

// TestAnUpgradeIsNotRefusedByWhatItReplaces: while an upgrade is applied the previous version still judges, and its policy
// rbac/portcullis-rights knows the names of its own roles only.
func TestAnUpgradeIsNotRefusedByWhatItReplaces(t *testing.T) {
	previous, err := filepath.Glob("testdata/previous/portcullis-*.tgz")
	if err != nil || len(previous) != 1 {
		t.Fatalf("got the charts %v and %v, want one", previous, err)
	}
	known := []string{}
	for _, role := range rolesOf(t, previous[0]) {
		known = append(known, role.Name)
	}
	if len(known) < 10 {
		t.Fatalf("the previous chart has the roles %v, want more", known)
	}
	later := []string{}
	for _, role := range rolesOf(t, "../../charts/portcullis") {
		if !slices.Contains(known, role.Name) && slices.ContainsFunc(role.Rules, writesOurs) {
			later = append(later, role.Name)
		}
	}
	slices.Sort(later)
	if !slices.Equal(later, switchedOnLater) {
		t.Errorf("the roles %v are new and write our objects, want %v: the previous version's webhook refuses them; have an older role do, or document what is switched on after the upgrade", later, switchedOnLater)
	}
}

// rolesOf are the roles in the files of a chart.
func rolesOf(t *testing.T, chart string) []rbacv1.ClusterRole {
	t.Helper()
	loaded, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	var roles []rbacv1.ClusterRole
	for _, file := range loaded.Files {
		if !strings.HasPrefix(file.Name, "files/roles/") {
			continue
		}
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal(file.Data, &role); err != nil {
			t.Fatal(err)
		}
		roles = append(roles, role)
	}
	return roles
}

func writesOurs(rule rbacv1.PolicyRule) bool {
	return slices.ContainsFunc(rule.APIGroups, func(g string) bool { return strings.HasSuffix(g, ".portcullis.dev") }) &&
		slices.ContainsFunc(rule.Verbs, func(v string) bool { return !slices.Contains([]string{"get", "list", "watch"}, v) })
}
