package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/decisions"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

func TestADecisionIsShownWithoutItsObject(t *testing.T) {
	decision := &admission.Decision{
		ID: "d", Trace: "t", Time: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), Duration: 1500 * time.Microsecond, Mutation: true, Outcome: "denied",
		Request: admission.Request{Operation: "CREATE", Resource: metav1.GroupVersionResource{Resource: "pods"}, Kind: metav1.GroupVersionKind{Kind: "Pod"}, Namespace: "shop", Name: "web",
			Subject: admission.Subject{Username: "ann"}, Object: []byte(`{"canary":1}`), OldObject: []byte(`{"canary":1}`)},
		Verdict: admission.Verdict{
			Bundle: "b", Profile: "p", Patched: []byte(`{"canary":1}`), Patch: []byte(`[{"canary":1}]`),
			Findings: []policies.Finding{
				{Policy: "warns", Effect: policies.EffectDeny, Enforcement: policies.EnforceWarn, Message: "w", Details: map[string]any{"canary": 1}},
				{Policy: "records", Effect: policies.EffectDeny, Enforcement: policies.EnforceAudit, Message: "r"},
				{Policy: "waived", Effect: policies.EffectDeny, ExceptedBy: "x", Message: "x"},
				{Policy: "denies", Instance: "denies-here", Effect: policies.EffectDeny, Severity: "high", Message: "d", Fix: []policies.Change{{Path: "canary"}}},
			},
			Faults:    []policies.Fault{{Policy: "fails", Kind: policies.FaultPanic, Message: "f"}},
			Undecided: []policies.Undecided{{Policy: "open", Reason: "u"}},
		},
	}
	entry := entryOf(decision)
	line, err := json.Marshal(entry)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(line), "canary") {
		t.Errorf("something of the object is shown: %s", line)
	}
	var said []string
	for _, reason := range entry.Reasons {
		said = append(said, reason.Effect+" "+reason.Policy)
	}
	want := []string{"deny denies-here", "fault fails", "undecided open", "warn warns", "audit records", "excepted waived"}
	if !slices.Equal(said, want) {
		t.Errorf("got %q, want %q", said, want)
	}
	if entry.Door != "mutate" || entry.Verdict != "denied" || entry.User != "ann" || entry.Microseconds != 1500 || entry.Namespace != "shop" || entry.Bundle != "b" {
		t.Errorf("got %+v", entry)
	}
	for range decisions.MaxReasons {
		decision.Verdict.Findings = append(decision.Verdict.Findings, policies.Finding{Policy: "more"})
	}
	if entry := entryOf(decision); len(entry.Reasons) != decisions.MaxReasons || entry.More != 6 {
		t.Errorf("got %d reasons and %d more", len(entry.Reasons), entry.More)
	}
	if entry := entryOf(&admission.Decision{Outcome: "shed", Reason: "no room"}); len(entry.Reasons) != 1 || entry.Reasons[0].Message != "no room" {
		t.Errorf("of one that was shed: %+v", entry)
	}
}

// readers are who may see decisions of shop, and the webhook that asks.
const readers = `apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [policy.portcullis.dev], resources: [decisions], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: vic, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: vic}]
`

// A webhook process shows what it decided, on the port of reviews, to whom a real API server lets see it; and ends while somebody follows.
func TestAWebhookShowsItsDecisions(t *testing.T) {
	control, _, kubeconfig := clustertest.Start(t, []cluster.User{{Name: "vic"}, {Name: "bob"}}, []byte(readers))
	directory, bundle := t.TempDir(), t.TempDir()
	write(t, bundle, bundleText("1", "red"))
	p := start(t, "--caller=open", "--certificate-dir="+directory, "--kubeconfig="+kubeconfig, "--bundle="+bundle, "--decisions")
	waitForProbe(t, p.probes+"/readyz", 200, "[+] facts ok")
	client := client(t, directory)
	for _, namespace := range []string{"shop", "bank"} {
		if _, answer := send(t, client, p.url+"/validate?timeout=10s", onNode("in-"+namespace, namespace, "red")); answer.Response.Allowed {
			t.Fatal("it was admitted")
		}
	}
	get := func(ctx context.Context, user, query string) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+decisions.Path+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			config, err := control.Config(user)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+config.BearerToken)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
	for user, test := range map[string]struct {
		code      int
		see, hide string
	}{
		cluster.Admin: {200, `"namespace":"bank"`, "nodeName"},
		"vic":         {200, `"namespace":"shop"`, "bank"},
		"bob":         {200, "", "web"},
		"":            {401, "send a bearer token", "web"},
	} {
		response := get(t.Context(), user, "")
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != test.code || !strings.Contains(string(body), test.see) || strings.Contains(string(body), test.hide) {
			t.Errorf("%q: %d %s, want %d, %q and no %q", user, response.StatusCode, body, test.code, test.see, test.hide)
		}
	}
	client.Timeout = 0
	following := bufio.NewScanner(get(context.WithoutCancel(t.Context()), "vic", "?follow=true").Body)
	if !following.Scan() || !strings.Contains(following.Text(), "pods/node") {
		t.Fatalf("the first line is %q", following.Text())
	}
	p.stop()
	rest := ""
	for following.Scan() {
		rest += fmt.Sprintln(following.Text())
	}
	if code := p.wait(t); code != exitOK || !strings.Contains(rest, "shutting down") {
		t.Errorf("it ended with %d, and told followers %q: %s", code, rest, p.log)
	}
}
