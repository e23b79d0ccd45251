package rights_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/test/installation"
	"github.com/portcullis-dev/portcullis/test/rights"
)

// compare reads the audit log.
func (s *scene) compare(t *testing.T) {
	t.Helper()
	granted, err := rights.Granted(t.Context(), s.Client, installation.Namespace)
	must(t, err)
	namespaced := map[string]bool{}
	_, lists, err := s.Client.Discovery().ServerGroupsAndResources()
	must(t, err)
	for _, list := range lists {
		group, _, ok := strings.Cut(list.GroupVersion, "/")
		if !ok {
			group = ""
		}
		for _, r := range list.APIResources {
			namespaced[group+"/"+r.Name] = r.Namespaced
		}
	}
	// While an installation goes, rights may go before those who have them.
	if refused := rights.Refused(s.used(t)); len(refused) > 0 {
		t.Errorf("rights are missing:\n%s", lines(refused))
	}
	must(t, s.Uninstall(t.Context()))
	used := s.used(t)
	unused := rights.Unused(granted, used, func(group, resource string) bool { return namespaced[group+"/"+resource] })
	unserved := 0
	unused = slices.DeleteFunc(unused, func(g rights.Grant) bool {
		if _, served := namespaced[g.Group+"/"+g.Resource]; !served {
			unserved++
			return true
		}
		return false
	})
	unused, idle := withoutExcused(unused, used)
	for _, e := range idle {
		if e.sometimes {
			t.Logf("this time no right is unused because %s", e.reason)
		} else {
			t.Errorf("no right is unused because %s: take the reason from the table", e.reason)
		}
	}
	t.Logf("%d rights are granted, %d requests were made; %d rights are about kinds that this cluster does not have", len(granted), len(used), unserved)
	if len(unused) > 0 {
		t.Errorf("%d rights are unused: take them from the roles, or add the reason to the table:\n%s", len(unused), lines(unused))
	}
}

// used is what our accounts asked for.
func (s *scene) used(t *testing.T) []rights.Use {
	t.Helper()
	used, err := rights.ReadLog(s.Control.AuditLog)
	must(t, err)
	return slices.DeleteFunc(used, func(u rights.Use) bool { return !strings.HasPrefix(u.Account, installation.Namespace+"/") })
}
