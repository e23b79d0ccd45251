package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/policies"
)

var at = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// some are results of a namespace with so many findings each.
func some(objects, findings int, message string) []audit.Result {
	severities := []string{"low", "critical", "medium", "high"}
	var results []audit.Result
	for n := range objects {
		r := audit.Result{
			Object: audit.Reference{Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments", Namespace: "shop", Name: fmt.Sprintf("web-%04d", n), UID: fmt.Sprint("uid-", n)},
			At:     at, Revision: "acme@1", Matched: findings + 2,
		}
		for m := range findings {
			r.Findings = append(r.Findings, policies.Finding{
				Policy: fmt.Sprintf("pods/p%d", m), Instance: fmt.Sprintf("pods/p%d", m), Title: "Title", Severity: severities[m%4], Effect: policies.EffectDeny,
				Message: fmt.Sprintf("%s %d", message, m), Path: "spec",
			})
		}
		results = append(results, r)
	}
	return results
}

func TestAReportIsCappedWorstFirstAndItsSummaryIsExact(t *testing.T) {
	results := some(300, 4, "is wrong")
	results[0].Findings[1].ExceptedBy, results[0].Findings[1].ExceptedUntil = "old-friend", "2027-01-31"
	results[1].Faults = []policies.Fault{{Policy: "pods/other", Kind: policies.FaultError, Message: "no"}}
	results[2].Findings[0].Enforcement = policies.EnforceWarn
	r := OpenReports.build("shop", results)
	if want := (summary{Pass: 300*2 - 1, Fail: 300*4 - 2, Warn: 1, Error: 1, Skip: 1}); r.Summary != want {
		t.Errorf("got %+v, want %+v", r.Summary, want)
	}
	if len(r.Results) != MaxResults || r.Metadata.Annotations[annotationTruncated] != fmt.Sprint(1201-MaxResults) || r.Source != Source {
		t.Errorf("got %d results, %+v, want %d and how many are left out", len(r.Results), r.Metadata.Annotations, MaxResults)
	}
	for n, one := range r.Results {
		want := "critical"
		if n == 299 {
			want = "" // the fault
		} else if n > 299 {
			want = "high"
		}
		if one.Severity != want {
			t.Fatalf("result %d is %s %q, want what is worst first: %q", n, one.Result, one.Severity, want)
		}
	}
	again := OpenReports.build("shop", slices.Clone(results))
	slices.Reverse(results)
	if turned := OpenReports.build("shop", results); !again.same(turned) {
		t.Error("the report depends on the order of the results")
	}
}

func TestAReportStaysBelowItsSizeWhateverMessagesSay(t *testing.T) {
	r := PolicyReport.build("shop", some(300, 4, strings.Repeat("ü\"<&", 3000)))
	content, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(content) > 1<<20 || len(r.Results) == 0 || r.Source != "" {
		t.Errorf("got %d bytes with %d results, want less than 1 MB and some", len(content), len(r.Results))
	}
}

func TestPodsAreCountedAtWhateverMadeThem(t *testing.T) {
	deployment := some(1, 1, "is wrong")[0]
	set := audit.Result{Object: audit.Reference{Group: "apps", Resource: "replicasets", Namespace: "shop", Name: "web-x", UID: "set"}, Owner: &audit.Owner{UID: deployment.Object.UID}}
	results := []audit.Result{deployment, set}
	for n := range 3 {
		results = append(results, audit.Result{Object: audit.Reference{Resource: "pods", Namespace: "shop", Name: fmt.Sprint("p", n), UID: fmt.Sprint("p", n)}, Owner: &audit.Owner{UID: "set"}, Dormant: n == 2})
	}
	r := PolicyReport.build("shop", results)
	if len(r.Results) != 1 || r.Results[0].Details["pods"] != "2" {
		t.Errorf("got %+v, want one result of two pods", r.Results)
	}
}

func TestScopesAndNamesOfReports(t *testing.T) {
	for scope, want := range map[string][2]string{"shop": {"shop", "portcullis"}, "cluster:clusterroles.rbac.authorization.k8s.io": {"", "portcullis-clusterroles.rbac.authorization.k8s.io"}} {
		namespace, resource := split(scope)
		if name := nameOf(resource); namespace != want[0] || name != want[1] || scopeOf(namespace, name) != scope {
			t.Errorf("%s: got %q, %q and back %q, want %q", scope, namespace, name, scopeOf(namespace, name), want)
		}
	}
	for _, foreign := range [][2]string{{"shop", "kyverno"}, {"", "portcullis"}, {"shop", "portcullis-pods"}} {
		if scope := scopeOf(foreign[0], foreign[1]); scope != "" {
			t.Errorf("%v is taken for ours: %q", foreign, scope)
		}
	}
}

func TestWhatWasFoundBeforeKeepsItsTime(t *testing.T) {
	before := OpenReports.build("shop", some(2, 1, "is wrong"))
	later := some(3, 1, "is wrong")
	for n := range later {
		later[n].At = at.Add(time.Hour)
	}
	after := OpenReports.build("shop", later)
	after.carry(before)
	if after.Results[0].Timestamp.Seconds != at.Unix() || after.Results[2].Timestamp.Seconds != at.Add(time.Hour).Unix() {
		t.Errorf("got %+v and %+v, want the old time of the old one", after.Results[0].Timestamp, after.Results[2].Timestamp)
	}
}
