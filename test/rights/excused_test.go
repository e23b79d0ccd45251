package rights_test

import (
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/test/rights"
)

// excuse is why some rights stay though this test's run does not need them.
type excuse struct {
	reason string
	of     func(rights.Grant, []rights.Use) bool
}

// excused are all of them. One that excuses nothing is in the way of the next mistake, and fails.
var excused = []excuse{
	{"informers list where the API server does not stream lists: before Kubernetes 1.34, or with the feature switched off", func(g rights.Grant, used []rights.Use) bool {
		return g.Verb == "list" && slices.ContainsFunc(used, func(u rights.Use) bool {
			return u.Account == g.Account && u.Verb == "watch" && u.Group == g.Group && u.Resource == g.Resource
		})
	}},
	{"the audit reads an object again by its name before it judges it anew: whichever kind that is", func(g rights.Grant, _ []rights.Use) bool {
		return strings.HasPrefix(g.Role, "ClusterRole portcullis-auditor") && g.Verb == "get"
	}},
	{"the audit deletes reports of what is gone once in a pass, the first of which is five minutes after the start", named("portcullis-auditor", "delete", "policyreports", "clusterpolicyreports", "reports", "clusterreports")},
	{"a namespace that is not known yet is fetched (CVE-2025-46342): the watch is faster here", func(g rights.Grant, _ []rights.Use) bool {
		return g.Verb == "get" && g.Group == "" && g.Resource == "namespaces"
	}},
	{"an object is read again after a conflict, before its status is written", named("portcullis-secrets", "get", "vaultsecrets", "vaultauths", "vaultconnections", "vaultpushes")},
	{"reports of replicas are deleted when they have not changed for minutes", named("portcullis-controller", "delete", "policyreplicas")},
	{"quarantines are deleted days after they are over, and their evidence with them", func(g rights.Grant, _ []rights.Use) bool {
		return g.Role == "ClusterRole portcullis-responder" && (g.Verb == "delete" && g.Resource == "quarantines" || g.Verb == "deletecollection" && g.Resource == "quarantineevidences")
	}},
	{"evidence that a replica kept before it ended is read by the next one", named("portcullis-responder", "get", "quarantineevidences")},
	{"an Incident that is there is brought up to date when its quarantine is opened again with another end", named("portcullis-responder", "patch", "incidents")},
	{"a ConfigMap is deleted where its VaultSecret writes another one: what is done for Secrets is the same code", named("portcullis-secrets", "delete", "configmaps")},
}

// named are verbs of resources that a role of the name gives.
func named(role, verb string, resources ...string) func(rights.Grant, []rights.Use) bool {
	return func(g rights.Grant, _ []rights.Use) bool {
		return strings.HasSuffix(g.Role, role) && g.Verb == verb && slices.Contains(resources, g.Resource)
	}
}
