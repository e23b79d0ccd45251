package main

import (
	"strings"
	"testing"
)

// TestTheDemoShowsWhatItPromises is `make demo`.
func TestTheDemoShowsWhatItPromises(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and starts the programs")
	}
	var stdout strings.Builder
	if err := run(t.Context(), onLoopback, false, &stdout, t.Output()); err != nil {
		t.Fatalf("%v\n%s", err, stdout.String())
	}
	for _, want := range []string{"privileged-pod.yaml", "wildcard-clusterrole.yaml", "allow-all-networkpolicy.yaml", "good-deployment.yaml", "signed-image.yaml", "unsigned-image.yaml", "vulnerable-image.yaml", "All 7 verdicts are as expected"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the output does not say %q:\n%s", want, stdout.String())
		}
	}
}

func TestAVerdictThatIsNotTheExpectedOneIsNoticed(t *testing.T) {
	denied := demoCase{deniedBy: "pods/privileged"}
	patched := demoCase{patched: "/spec/x"}
	for name, test := range map[string]struct {
		demoCase
		got  answer
		want bool // as expected
	}{
		"denied by the right policy":     {denied, answer{policies: []string{"pods/privileged"}}, true},
		"denied by another policy":       {denied, answer{policies: []string{"pods/probes"}}, false},
		"admitted though it is bad":      {denied, answer{admitted: true}, false},
		"admitted and patched":           {patched, answer{admitted: true, patched: []change{{"/spec/x", "1"}}}, true},
		"admitted without the patch":     {patched, answer{admitted: true}, false},
		"denied though it is good":       {patched, answer{policies: []string{"pods/probes"}, patched: []change{{"/spec/x", "1"}}}, false},
		"admitted and patched elsewhere": {patched, answer{admitted: true, patched: []change{{"/spec/y", "1"}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := test.check(test.got); (err == nil) != test.want {
				t.Errorf("got %v, want as expected = %v", err, test.want)
			}
		})
	}
}

func TestDoorsThatDifferAreNoticed(t *testing.T) {
	admitted := answer{admitted: true, patched: []change{{"/spec/x", "1"}}}
	for name, test := range map[string]struct {
		a, b answer
		want bool
	}{
		"the same":              {admitted, admitted, true},
		"another verdict":       {admitted, answer{policies: []string{"pods/privileged"}}, false},
		"another policy":        {answer{policies: []string{"a/b"}}, answer{policies: []string{"a/c"}}, false},
		"another patch":         {admitted, answer{admitted: true, patched: []change{{"/spec/x", "2"}}}, false},
		"a patch of the denied": {answer{policies: []string{"a/b"}}, answer{policies: []string{"a/b"}, patched: []change{{"/spec/x", "2"}}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := same(test.a, test.b); (err == nil) != test.want {
				t.Errorf("got %v, want the same = %v", err, test.want)
			}
		})
	}
}

// TestTheDemoOfAClusterShowsAnIncident is `make demo-cluster`.
func TestTheDemoOfAClusterShowsAnIncident(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and starts the programs, and a control plane")
	}
	var stdout strings.Builder
	if err := run(t.Context(), atAPIServer, false, &stdout, t.Output()); err != nil {
		t.Fatalf("%v\n%s", err, stdout.String())
	}
	for _, want := range []string{
		"All 7 verdicts are as expected", "vault: real", "Synced: Secret shop/cart-api", "was restarted once", "Denied across namespaces", "secrets/path-carries-namespace", "Vault sealed", "without loss",
		"revoked shop/cart-database: Revoked", "is gone from Vault", "Falco sees a reverse shell", "by runtime/reverse-shell", "proof: Isolated", "Replaced: the ReplicaSet has made",
		"kubectl exec is refused", "admitted, with a warning", "Released by",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the output does not say %q:\n%s", want, stdout.String())
		}
	}
}

// TestTheChartRunsWithEverything is `make cluster`.
func TestTheChartRunsWithEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and starts the programs, and a control plane")
	}
	var stdout strings.Builder
	if err := run(t.Context(), installed, false, &stdout, t.Output()); err != nil {
		t.Fatalf("%v\n%s", err, stdout.String())
	}
	for _, want := range []string{
		"All 7 verdicts are as expected", "portcullis-webhook-", "portcullis-controller-", "portcullis-scanner-", "portcullis-responder-0", "portcullis-secrets-", "portcullis-console-",
		"2 pods of shop/cart run", "Secret shop/cart-api is synced", "Reports", "proof: Isolated", "The console answers",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the output does not say %q:\n%s", want, stdout.String())
		}
	}
}
