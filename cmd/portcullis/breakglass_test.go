package main

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

func TestBreakGlassMistakesEndWithTheNextStep(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"nothing to do":         {nil, "use break-glass open, close or list"},
		"an unknown command":    {[]string{"opne"}, "did you mean open?"},
		"no time":               {[]string{"open", "--reason=the webhook is down"}, "--for is missing"},
		"too long":              {[]string{"open", "--for=5h", "--reason=the webhook is down"}, "give a minute to 4h"},
		"too short":             {[]string{"open", "--for=1s", "--reason=the webhook is down"}, "give a minute to 4h"},
		"no reason":             {[]string{"open", "--for=1h"}, "--reason is missing"},
		"a mode there is not":   {[]string{"open", "--for=1h", "--reason=the webhook is down", "--mode=all"}, "choose ignore or admit"},
		"a wait of less than 0": {[]string{"open", "--for=1h", "--reason=the webhook is down", "--wait=-1s"}, "give 0 or more"},
		"an argument":           {[]string{"open", "x"}, "open takes flags only"},
		"no cluster":            {[]string{"list", "--kubeconfig=/none"}, "give --kubeconfig"},
	} {
		var out, errs strings.Builder
		code := run(t.Context(), append([]string{"break-glass"}, test.args...), strings.NewReader(""), &out, &errs)
		if code != int(gate.ExitUsage) || !strings.Contains(errs.String(), test.says) || out.Len() > 0 {
			t.Errorf("%s: got exit %d, %q and %q, want %d and %q", name, code, errs.String(), out.String(), gate.ExitUsage, test.says)
		}
	}
}

// TestTheGlassIsBrokenFromTheCommandLine does so on an API server, with something that answers as the controller does.
func TestTheGlassIsBrokenFromTheCommandLine(t *testing.T) {
	_, admin, file := clustertest.Start(t, nil, v1alpha1.Manifest, v1alpha1.BreakGlassGuard)
	clustertest.Serving(t, admin, v1alpha1.BreakGlasses)
	glasses := admin.Resource(v1alpha1.BreakGlasses)
	call := func(args ...string) (int, string, string) {
		var out, errs strings.Builder
		code := run(t.Context(), append(append([]string{"break-glass"}, args...), "--kubeconfig="+file), strings.NewReader(""), &out, &errs)
		return code, out.String(), errs.String()
	}
	if code, out, errs := call("list"); code != 0 || out != "Nobody has broken the glass.\n" {
		t.Fatalf("list: got exit %d, %q and %q", code, out, errs)
	}
	if code, out, _ := call("close"); code != 0 || !strings.Contains(out, "nothing to close") {
		t.Errorf("close: got exit %d and %q", code, out)
	}
	// Nobody takes it up.
	code, out, errs := call("open", "--for=30m", "--reason=the webhook is down", "--wait=300ms")
	if code != int(gate.ExitFault) || !strings.Contains(out, "requests that the webhook does not answer are admitted") || !strings.Contains(errs, "has not taken") {
		t.Errorf("open without controller: got exit %d, %q and %q", code, out, errs)
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	go takeUp(ctx, glasses)
	code, out, errs = call("open", "--for=30m", "--mode=admit", "--reason=the bundle denies everything")
	if code != 0 || !strings.Contains(out, "by admin: the webhook is asked about nothing") || !strings.Contains(out, "To end it before: portcullis break-glass close break-glass-") {
		t.Errorf("open: got exit %d, %q and %q", code, out, errs)
	}
	code, out, errs = call("list")
	if code != 0 || strings.Count(out, "\n") != 3 || !strings.Contains(out, "admit") || !strings.Contains(out, "the bundle denies everything") {
		t.Errorf("list: got exit %d, %q and %q", code, out, errs)
	}
	if code, _, errs := call("close", "none"); code != int(gate.ExitUsage) || !strings.Contains(errs, "there is no BreakGlass none") {
		t.Errorf("close of one that there is not: got exit %d and %q", code, errs)
	}
	if code, out, errs := call("close"); code != 0 || strings.Count(out, " is closed.") != 2 {
		t.Errorf("close: got exit %d, %q and %q", code, out, errs)
	}
	if left, err := glasses.List(t.Context(), metav1.ListOptions{}); err != nil || len(left.Items) > 0 {
		t.Errorf("%d are left: %v", len(left.Items), err)
	}
}

// takeUp says of each that it is in force.
func takeUp(ctx context.Context, glasses dynamic.ResourceInterface) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if list, err := glasses.List(ctx, metav1.ListOptions{}); err == nil {
			for n := range list.Items {
				one := &list.Items[n]
				if _, found := one.Object["status"]; !found {
					one.Object["status"] = map[string]any{"phase": string(v1alpha1.BreakGlassInForce)}
					_, _ = glasses.UpdateStatus(ctx, one, metav1.UpdateOptions{})
				}
			}
		}
		<-ticker.C
	}
}
