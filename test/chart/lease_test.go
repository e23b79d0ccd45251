package chart

import (
	"errors"
	"testing"
)

var errNotRefused = errors.New("a tenant is not refused by it")

// RBAC limits by whole names only, and not what is created: the guard keeps each account to Leases of its own.
func TestAccountsWriteTheirOwnLeasesOnly(t *testing.T) {
	e := installed(t)
	const of = "system:serviceaccount:portcullis-system:portcullis-"
	lease := func(name string) attempt {
		return attempt{resource: "coordination.k8s.io/v1/leases", namespace: "portcullis-system", create: `{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: ` + name + `, namespace: portcullis-system}}`}
	}
	eventually(t, "the guard is in force", func() error {
		if err := lease("x").try(t, e.as(t, "tenant")); !isRefused(err, "portcullis-namespace") {
			return errNotRefused
		}
		return nil
	})
	for name, test := range map[string]struct {
		account string
		attempt attempt
		may     bool
	}{
		"the controller its own":            {"controller", lease("portcullis-controller"), true},
		"the controller the webhook's":      {"controller", lease("portcullis-webhook"), true},
		"the controller that of a replica":  {"controller", lease("portcullis-audit-portcullis-controller-7d9f-x2x4z"), true},
		"the controller the responder's":    {"controller", lease("portcullis-responder"), false},
		"the responder its own":             {"responder", lease("portcullis-responder"), true},
		"the responder its ledger":          {"responder", lease("portcullis-responder-ledger"), true},
		"the responder the controller's":    {"responder", lease("portcullis-controller"), false},
		"the responder one of an audit":     {"responder", lease("portcullis-audit-x"), false},
		"secrets its own":                   {"secrets", lease("portcullis-secrets"), true},
		"secrets the responder's":           {"secrets", lease("portcullis-responder"), false},
		"the console":                       {"console", lease("portcullis-console"), false},
		"the webhook":                       {"webhook", lease("portcullis-webhook"), false},
		"the scanner":                       {"scanner", lease("portcullis-scanner"), false},
		"the console something else of us":  {"console", attempt{resource: "v1/pods", namespace: "portcullis-system", create: systemPod}, false},
		"the webhook something else of us":  {"webhook", attempt{resource: "v1/pods", namespace: "portcullis-system", create: systemPod}, false},
		"the responder something else here": {"responder", attempt{resource: "v1/pods", namespace: "portcullis-system", create: systemPod}, true},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.attempt.try(t, e.as(t, of+test.account, "system:serviceaccounts", "system:serviceaccounts:portcullis-system"))
			if refused := isRefused(err, "portcullis-namespace"); refused == test.may || test.may && err != nil {
				t.Errorf("may: %t, got %v", test.may, err)
			}
		})
	}
}
