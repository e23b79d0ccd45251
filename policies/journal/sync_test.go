package journal

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/secrets"
)

// TestSyncsAreJudgedAgain, with all that policies read of them.
func TestSyncsAreJudgedAgain(t *testing.T) {
	const about = "match: {syncs: {}}\n"
	const own = `allow_sync contains sprintf("%v", [input.sync.secret.ageSeconds]) if input.sync.vault.segments[0] == "shop"`
	request := admission.Request{
		Door: admission.DoorSecrets, Operation: policies.OperationSync, Namespace: "shop", Name: "db",
		Resource: metav1.GroupVersionResource{Group: "secrets.portcullis.dev", Version: "v1alpha1", Resource: "vaultsecrets"},
		Sync: &secrets.Sync{
			Vault:  secrets.SyncPlace{Engine: secrets.EngineKV2, Mount: "secret", Path: "shop/db", Segments: []string{"shop", "db"}},
			Secret: &secrets.SyncResult{AgeSeconds: 9007199254740993},
		},
	}
	for name, test := range map[string]struct {
		now  string
		want Effect
	}{
		"the same policy":             {own, EffectNone},
		"one that permits no longer":  {`allow_sync contains "x" if input.sync.vault.segments[0] == "web"`, "another"},
		"one that denies as well now": {own + "\n\ndeny contains \"no\"", "another"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := openIn(t, dir, nil)
			reviewer := admission.NewReviewer(engineOf(t, 1, "", "secrets/x", about, own), cluster{}, clock)
			verdict := reviewer.Sync(t.Context(), request)
			if !verdict.Admitted || fmt.Sprint(verdict.Permits[0].Message) != "9007199254740993" {
				t.Fatalf("got %+v, want it permitted", verdict)
			}
			j.Record(t.Context(), &admission.Decision{ID: "id-1", Time: noon, Request: request, Outcome: "admitted", Verdict: verdict})
			closeNow(t, j)
			report := replay(t, dir, ReplayOptions{After: admission.Solo(engineOf(t, 2, "", "secrets/x", about, test.now))})
			if got := effectOf(report); got != test.want {
				t.Errorf("got %s and %+v, want %s", got, report.Changes, test.want)
			}
			if test.want != EffectNone && report.Counts.NewlyDenied != 1 {
				t.Errorf("got %+v, want one that is denied now", report.Counts)
			}
		})
	}
}
