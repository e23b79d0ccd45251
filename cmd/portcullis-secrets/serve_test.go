package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

const keptSecrets = `
apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultSecret
metadata: {name: db, namespace: shop}
spec:
  auth: vault
  source: {kv: {mount: secret, path: shop/db}}
  destination: {}
  refresh: {interval: 10s}
---
apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultSecret
metadata: {name: credentials, namespace: shop}
spec:
  auth: vault
  source: {dynamic: {mount: database, path: creds/shop}}
  destination: {}
---
apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultSecret
metadata: {name: denied, namespace: shop}
spec:
  auth: vault
  source: {kv: {mount: secret, path: shop/forbidden}}
  destination: {}
`

// leaseFor is how long the credentials last: long enough for a program to be started on a busy machine, short enough to see them renewed.
const leaseFor = 20 * time.Second

// TestTheProgram is one API server, one Vault, and replicas that run as they are shipped, with the printed roles and no others.
func TestTheProgram(t *testing.T) {
	s := newScene(t)
	must(t, s.vault.WriteKV2(t.Context(), "secret", "shop/db", map[string]any{"password": "one"}))
	must(t, s.vault.WriteKV2(t.Context(), "secret", "shop/forbidden", map[string]any{"password": "none"}))
	_, err := s.vault.Write(t.Context(), "database/creds/shop", map[string]any{"username": "v-shop", "password": "made", "ttl": leaseFor.String()})
	must(t, err)
	one := s.replica(t, "one")
	leads(t, one)
	s.apply(t, keptSecrets)

	t.Run("a secret is synced, and again when Vault has another", func(t *testing.T) {
		s.secret(t, "db", "")
		if got := string(s.held(t, "db").Data["password"]); got != "one" {
			t.Errorf("got %q, want what Vault has", got)
		}
		must(t, s.vault.WriteKV2(t.Context(), "secret", "shop/db", map[string]any{"password": "two"}))
		s.annotate(t, v1alpha1.VaultSecrets, "db")
		clustertest.Until(t, "the second value", func() bool { return string(s.held(t, "db").Data["password"]) == "two" })
	})
	t.Run("what a policy denies is not read, and says why", func(t *testing.T) {
		denied := s.secret(t, "denied", "Denied")
		if len(denied.Status.Policies) == 0 || denied.Status.Policies[0].Message != "it is forbidden" {
			t.Errorf("its statements are %+v", denied.Status.Policies)
		}
		if n := s.front.Count("", "secret/data/shop/forbidden"); n != 0 {
			t.Errorf("Vault was asked %d times", n)
		}
	})

	lease := s.secret(t, "credentials", "").Status.Lease.ID
	renewed := func(t *testing.T, by string) {
		t.Helper()
		since := time.Now()
		clustertest.Eventually(t, "a renewal by "+by, func() error {
			now, err := read[v1alpha1.VaultSecret](t.Context(), s, v1alpha1.VaultSecrets, "credentials")
			if err != nil {
				return err
			}
			status := now.Status.Lease
			if status == nil || status.ID != lease {
				t.Fatalf("the lease is %+v, want %s", status, lease)
			}
			if status.Expires.Time.Before(since.Add(leaseFor)) || status.Resumed == 0 {
				return fmt.Errorf("it ends at %s, and was resumed %d times", status.Expires, status.Resumed)
			}
			return nil
		})
		if !s.lives(t, lease) {
			t.Error("Vault does not know the lease any more")
		}
	}
	t.Run("a lease goes on after a crash", func(t *testing.T) {
		one.Kill()
		must(t, one.Start(t.Context()))
		leads(t, one)
		renewed(t, "the process after the crash")
	})
	two := s.replica(t, "two")
	t.Run("another replica takes over, and the lease goes on", func(t *testing.T) {
		one.Kill()
		leads(t, two)
		renewed(t, "the other replica")
	})
	t.Run("a program that is asked to end does so soon, and revokes nothing", func(t *testing.T) {
		must(t, one.Start(t.Context()))
		began := time.Now()
		must(t, two.Stop())
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		leads(t, one)
		renewed(t, "the first replica")
	})
	t.Run("pushes", func(t *testing.T) { pushes(t, s) })
	t.Run("quarantines", func(t *testing.T) { quarantines(t, s) })
	t.Run("nobody lists Secrets, and the printed roles are enough", func(t *testing.T) {
		must(t, one.Stop())
		audit(t, s)
	})
}

// audit reads what the account asked of the API server.
func audit(t *testing.T, s *scene) {
	t.Helper()
	file, err := os.Open(s.control.AuditLog)
	must(t, err)
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	asked := 0
	for lines.Scan() {
		var entry struct {
			Verb           string
			RequestURI     string
			User           struct{ Username string }
			ObjectRef      *struct{ Resource, Namespace, Name, Subresource string }
			ResponseStatus metav1.Status
		}
		must(t, json.Unmarshal(lines.Bytes(), &entry))
		if entry.User.Username != account || entry.ObjectRef == nil {
			continue
		}
		asked++
		if entry.ResponseStatus.Code == 403 {
			t.Errorf("%s %s is forbidden", entry.Verb, entry.RequestURI)
		}
		of := entry.ObjectRef
		if of.Resource == "secrets" && (entry.Verb == "list" || entry.Verb == "watch" || entry.Verb == "deletecollection") &&
			of.Name == "" && !strings.Contains(entry.RequestURI, "fieldSelector=metadata.name") {
			t.Errorf("%s %s reads Secrets that are not named", entry.Verb, entry.RequestURI)
		}
	}
	must(t, lines.Err())
	if asked < 20 {
		t.Errorf("the log has %d requests of the account only", asked)
	}
}
