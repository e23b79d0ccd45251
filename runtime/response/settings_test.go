package response

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMistakesInSettingsAreAllReported(t *testing.T) {
	s := Settings{
		Mode: "kill", Namespaces: []NamespaceMode{{Mode: "maybe"}, {Match: []string{"["}, Mode: ModeAudit}},
		Protect:  Protection{Namespaces: []string{"[a"}, PriorityClasses: []string{""}, PodSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}}},
		Limits:   Limits{Window: "soon", Cluster: -1, OwnerPercent: 101},
		Breaker:  Breaker{Pause: "-1s"},
		Cooldown: "1", TTL: "0s", OnExpiry: "explode", IncidentTTL: "x", Window: "2h", DetachKinds: []string{"Rollout"},
	}
	err := s.Check()
	for _, want := range []string{
		"mode \"kill\"", "namespaces[0].mode", "namespaces[0].match", "namespaces[1].match", "protect.namespaces", "protect.priorityClasses", "protect.podSelector", "limits.window",
		"limits.cluster -1", "limits.ownerPercent 101", "breaker.pause", "cooldown", "ttl", "onExpiry", "incidentTTL", "window 2h", "detachKinds",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s in it", err, want)
		}
	}
	if err := (&Settings{}).Check(); err != nil {
		t.Errorf("got %v, want nothing wrong with the zero value", err)
	}
}

func TestTimesHaveDefaults(t *testing.T) {
	got := (&Settings{Cooldown: "nonsense", Window: "5h"}).Times()
	want := Times{Cooldown: time.Minute, TTL: 24 * time.Hour, IncidentTTL: 168 * time.Hour, Window: time.Hour, LimitWindow: 10 * time.Minute, BreakerWindow: time.Minute, BreakerPause: 15 * time.Minute}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestPrioritiesAreReadInAnyCase(t *testing.T) {
	for text, want := range map[string]Priority{"Critical": Critical, "WARNING": Warning, "Info": Informational, " informational ": Informational, "emergency": Emergency} {
		if got, err := ParsePriority(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	if _, err := ParsePriority("grave"); err == nil {
		t.Error("got a priority that there is not")
	}
	if _, err := Priority(9).MarshalText(); err == nil {
		t.Error("got a priority written that there is not")
	}
}

// Whatever settings say, a plan is made, and what cannot be read contains nothing.
func FuzzSettings(f *testing.F) {
	for _, seed := range []string{
		`{"mode":"enforce","namespaces":[{"match":["shop-*"],"mode":"audit"}],"limits":{"cluster":1}}`, `{"protect":{"namespaces":["[","{a,b}"],"podSelector":{"matchLabels":{"a":"b"}}}}`,
		`{"ttl":"1h","cooldown":"9999999h","breaker":{"plans":1,"window":"1ns"}}`, `{"mode":"enforce","detachKinds":["a/b"],"detachDaemonSets":true}`, `{"mode":"enforce","namespaces":[{"match":["{"],"mode":"enforce"}]}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var s Settings
		if json.Unmarshal([]byte(raw), &s) != nil {
			return
		}
		err := s.Check()
		if times := s.Times(); times.TTL <= 0 || times.Window <= 0 || times.Window > maxWindow || times.LimitWindow <= 0 || times.BreakerPause <= 0 || times.Cooldown <= 0 || times.IncidentTTL <= 0 || times.BreakerWindow <= 0 {
			t.Errorf("got %+v of %s", times, raw)
		}
		e := eventOf(deployment)
		plan, failed := NewPlan(e, []Ask{ask(Isolate)}, map[string]Settings{"b": s}, Facts{Own: "portcullis-system"})
		if failed != nil || plan.Mode != ModeAudit && Milder(plan.Mode, ModeApprove) == ModeAudit {
			t.Errorf("got %+v, %v of %s", plan, failed, raw)
		}
		if err == nil && s.Mode == "" && len(s.Namespaces) == 0 && plan.Mode != ModeAudit {
			t.Errorf("got %s of settings without a mode: %s", plan.Mode, raw)
		}
		ledger := &Ledger{}
		for n := range 3 {
			ledger.Admit(entry(n), plenty, s, noon)
			ledger.Proposed(noon, s)
		}
		if limit := s.Limits.filled().Cluster; err == nil && int64(len(ledger.Entries)) > limit {
			t.Errorf("got %d admitted of at most %d: %s", len(ledger.Entries), limit, raw)
		}
	})
}
