package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// quarantines are subtests of TestTheProgram.
func quarantines(t *testing.T, s *scene) {
	const name = "q-6b86b273ff34fce19d6b" // of the UID 1
	s.create(t, `
apiVersion: runtime.portcullis.dev/v1alpha1
kind: Quarantine
metadata: {name: `+name+`}
spec:
  pod: {namespace: shop, name: web-1, uid: "1"}
  mode: enforce
  triggers: [{policy: runtime/shell, message: a shell, event: e, rule: Shell, priority: critical, time: "2026-01-01T00:00:00.000000Z"}]
  actions: []
  revoke: [{namespace: shop, name: credentials}, {namespace: shop, name: db}, {namespace: shop, name: nobodys}]
`)
	lease := s.secret(t, "credentials", "").Status.Lease.ID
	before := s.secret(t, "db", "")
	status := func(t *testing.T, text string) {
		t.Helper()
		_, err := s.api.Resource(runtimev1alpha1.Quarantines).Patch(t.Context(), name, "application/merge-patch+json", []byte(`{"status":`+text+`}`), metav1.PatchOptions{}, "status")
		must(t, err)
	}
	answers := func(t *testing.T) (map[string]runtimev1alpha1.Revocation, *runtimev1alpha1.Quarantine) {
		t.Helper()
		object, err := s.api.Resource(runtimev1alpha1.Quarantines).Get(t.Context(), name, metav1.GetOptions{})
		must(t, err)
		raw, err := json.Marshal(object.Object)
		must(t, err)
		var q runtimev1alpha1.Quarantine
		must(t, json.Unmarshal(raw, &q))
		found := map[string]runtimev1alpha1.Revocation{}
		for _, one := range q.Status.Revoked {
			found[one.Name] = one
		}
		return found, &q
	}
	awaits := func(t *testing.T, secret, state string) {
		t.Helper()
		clustertest.Eventually(t, secret+" being "+state, func() error {
			if found, _ := answers(t); found[secret].State != state {
				return fmt.Errorf("it is %+v", found[secret])
			}
			return nil
		})
	}
	t.Run("one that waits for approval revokes nothing", func(t *testing.T) {
		status(t, `{"phase":"AwaitingApproval"}`)
		s.annotate(t, v1alpha1.VaultSecrets, "db")
		clustertest.Eventually(t, "the request being obeyed", func() error {
			now := s.secret(t, "db", "")
			if now.Status.Requested != now.Annotations[v1alpha1.SyncAnnotation] {
				return fmt.Errorf("it is %q", now.Status.Requested)
			}
			return nil
		})
		if found, _ := answers(t); len(found) != 0 {
			t.Errorf("it was answered: %+v", found)
		}
	})
	t.Run("one in force has leases revoked and issued anew", func(t *testing.T) {
		// What stands for a database gives what was written to it: another one would make others each time.
		_, err := s.vault.Write(t.Context(), "database/creds/shop", map[string]any{"username": "v-shop", "password": "made anew", "ttl": "6s"})
		must(t, err)
		status(t, `{"phase":"Containing","reason":"kept","admitted":"`+time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")+`"}`)
		awaits(t, "credentials", "Revoked")
		now := s.secret(t, "credentials", "").Status.Lease
		if now == nil || now.ID == lease || s.lives(t, lease) || !s.lives(t, now.ID) {
			t.Errorf("the lease is %+v; the one of before lives: %v", now, s.lives(t, lease))
		}
		if got := string(s.held(t, "credentials").Data["password"]); got != "made anew" {
			t.Errorf("the Secret holds %q", got)
		}
		_, q := answers(t)
		if q.Status.Phase != runtimev1alpha1.PhaseContaining || q.Status.Reason != "kept" || q.Status.Admitted == nil {
			t.Errorf("the rest of its status has changed: %+v", q.Status)
		}
	})
	t.Run("it has static secrets marked until they are others", func(t *testing.T) {
		awaits(t, "db", "Rotating")
		marked := s.secret(t, "db", "")
		found := false
		for _, condition := range marked.Status.Conditions {
			found = found || condition.Type == v1alpha1.ConditionRotationRequired && condition.Status == metav1.ConditionTrue
		}
		if !found || marked.Status.Version != before.Status.Version {
			t.Errorf("its conditions are %+v", marked.Status.Conditions)
		}
		must(t, s.vault.WriteKV2(t.Context(), "secret", "shop/db", map[string]any{"password": "three"}))
		s.annotate(t, v1alpha1.VaultSecrets, "db")
		awaits(t, "db", "Revoked")
	})
	t.Run("it says of what nobody keeps that it could not", func(t *testing.T) {
		awaits(t, "nobodys", "Failed")
	})
	t.Run("its release undoes nothing, and nothing is revoked twice", func(t *testing.T) {
		kept, _ := answers(t)
		id := s.secret(t, "credentials", "").Status.Lease.ID
		status(t, `{"phase":"Released"}`)
		since := time.Now()
		clustertest.Eventually(t, "two renewals", func() error {
			lease := s.secret(t, "credentials", "").Status.Lease
			if lease.ID != id {
				t.Fatalf("it was issued again: %+v", lease)
			}
			if lease.Expires.Time.Before(since.Add(10 * time.Second)) {
				return fmt.Errorf("it ends at %s", lease.Expires)
			}
			return nil
		})
		if now, _ := answers(t); now["credentials"] != kept["credentials"] || now["db"] != kept["db"] {
			t.Errorf("the answers are %+v, want %+v", now, kept)
		}
	})
}
