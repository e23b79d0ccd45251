package rights_test

import (
	"slices"
	"testing"

	"github.com/portcullis-dev/portcullis/test/rights"
)

// excuse is why some rights stay though this test's run does not need them.
type excuse struct {
	reason string
	// sometimes is one of time or of chance: a slow run may use the right.
	sometimes bool
	of        func(rights.Grant, []rights.Use) bool
}

// excused are all of them. One that excuses nothing is in the way of the next mistake, and fails unless that is so sometimes only.
var excused = []excuse{
	{"informers list where the API server does not stream lists: before Kubernetes 1.34, or with the feature switched off", false, func(g rights.Grant, used []rights.Use) bool {
		return g.Verb == "list" && slices.ContainsFunc(used, func(u rights.Use) bool {
			return u.Account == g.Account && u.Verb == "watch" && u.Group == g.Group && u.Resource == g.Resource
		})
	}},
	{"the audit reads an object again by its name before it judges it anew: whichever kind that is", false, func(g rights.Grant, _ []rights.Use) bool {
		return (g.Role == "ClusterRole portcullis-auditor" || g.Role == "ClusterRole portcullis-auditor-secrets") && g.Verb == "get"
	}},
	{"the audit deletes reports of what is gone once in a pass, the first of which is five minutes after the start", true, named("ClusterRole portcullis-auditor", "delete", "policyreports", "clusterpolicyreports", "reports", "clusterreports")},
	{"a namespace that is not known yet is fetched (CVE-2025-46342): the watch is faster here", true, func(g rights.Grant, _ []rights.Use) bool {
		return g.Verb == "get" && g.Group == "" && g.Resource == "namespaces"
	}},
	{"an object is read again after a conflict, before its status is written", true, named("ClusterRole portcullis-secrets", "get", "vaultsecrets", "vaultauths", "vaultconnections", "vaultpushes")},
	{"reports of replicas are deleted when they have not changed for minutes", true, named("ClusterRole portcullis-controller", "delete", "policyreplicas")},
	{"quarantines are deleted days after they are over, and their evidence with them", false, func(g rights.Grant, _ []rights.Use) bool {
		return g.Role == "ClusterRole portcullis-responder" && (g.Verb == "delete" && g.Resource == "quarantines" || g.Verb == "deletecollection" && g.Resource == "quarantineevidences")
	}},
	{"evidence that a replica kept before it ended is read by the next one", false, named("ClusterRole portcullis-responder", "get", "quarantineevidences")},
	{"an Incident that is there is brought up to date when its quarantine is opened again with another end", false, named("ClusterRole portcullis-responder", "patch", "incidents")},
	{"a policy about events or syncs that reads input.incidents has them watched: the bundle here has none", false, func(g rights.Grant, _ []rights.Use) bool {
		return g.Resource == "incidents" && (g.Role == "ClusterRole portcullis-responder" && g.Verb == "watch" || g.Role == "ClusterRole portcullis-secrets" && (g.Verb == "list" || g.Verb == "watch"))
	}},
	{"a ConfigMap is deleted where its VaultSecret writes another one: what is done for Secrets is the same code", false, named("Role shop/portcullis-secrets", "delete", "configmaps")},
}

// named are verbs of resources that a role gives.
func named(role, verb string, resources ...string) func(rights.Grant, []rights.Use) bool {
	return func(g rights.Grant, _ []rights.Use) bool {
		return g.Role == role && g.Verb == verb && slices.Contains(resources, g.Resource)
	}
}

// withoutExcused are the unused grants that nothing excuses, and the excuses that excuse none.
func withoutExcused(unused []rights.Grant, used []rights.Use) (left []rights.Grant, idle []excuse) {
	left = slices.Clone(unused)
	for _, e := range excused {
		before := len(left)
		left = slices.DeleteFunc(left, func(g rights.Grant) bool { return e.of(g, used) })
		if len(left) == before {
			idle = append(idle, e)
		}
	}
	return left, idle
}

func TestAnExcuseIsForItsRole(t *testing.T) {
	for name, test := range map[string]struct {
		rights.Grant
		excused bool
	}{
		"the audit's":             {rights.Grant{Role: "ClusterRole portcullis-auditor", Verb: "get", Resource: "pods"}, true},
		"the audit's of Secrets":  {rights.Grant{Role: "ClusterRole portcullis-auditor-secrets", Verb: "get", Resource: "secrets"}, true},
		"that of rescans":         {rights.Grant{Role: "ClusterRole portcullis-auditor-rescan", Verb: "get", Group: "scan.portcullis.dev", Resource: "imagescans"}, false},
		"a report's":              {rights.Grant{Role: "ClusterRole portcullis-auditor", Verb: "delete", Resource: "reports"}, true},
		"one of a similar name":   {rights.Grant{Role: "ClusterRole other-portcullis-auditor", Verb: "delete", Resource: "reports"}, false},
		"one of another's verb":   {rights.Grant{Role: "ClusterRole portcullis-auditor", Verb: "create", Resource: "reports"}, false},
		"a Role of the same name": {rights.Grant{Role: "Role portcullis-system/portcullis-auditor", Verb: "get", Resource: "leases"}, false},
	} {
		left, idle := withoutExcused([]rights.Grant{test.Grant}, nil)
		if (len(left) == 0) != test.excused {
			t.Errorf("%s: got %v left, want it excused: %v", name, left, test.excused)
		}
		if want := len(excused); test.excused && len(idle) != want-1 || !test.excused && len(idle) != want {
			t.Errorf("%s: got %d idle excuses of %d", name, len(idle), want)
		}
	}
}
