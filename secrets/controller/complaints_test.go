package controller

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// synced fails the test unless an object is synced, or for another reason not.
func (s *simulation) synced(name string, reason secrets.Reason) *v1alpha1.VaultSecret {
	s.t.Helper()
	secret := s.secret(name)
	found := condition(secret.Status.Conditions, v1alpha1.ConditionSynced)
	want := string(reason)
	if want == "" {
		want = "Synced"
	}
	if found == nil || found.Reason != want || (found.Status == metav1.ConditionTrue) != (reason == "") {
		s.t.Fatalf("%s is %+v, want it %s", name, found, want)
	}
	return secret
}

// hashicorp/vault-secrets-operator#285: a restart of the operator restarted each workload with dynamic credentials.
func TestComplaint285ARestartOfTheOperatorIssuesNothingAndRestartsNothing(t *testing.T) {
	s := newSimulation(t)
	s.populate(10)
	s.begin()
	s.pass(time.Minute * 3)
	issued, writes := s.vault.issued, s.writer.count()
	for range 3 {
		s.end()
		s.begin()
		s.pass(time.Minute)
	}
	if s.vault.issued != issued || s.writer.count() != writes || s.restarter.total() != 0 {
		t.Errorf("three restarts issued %d credentials, wrote %d Secrets and restarted %d workloads", s.vault.issued-issued, s.writer.count()-writes, s.restarter.total())
	}
	if resumed := s.synced("s00004", "").Status.Lease.Resumed; resumed == 0 {
		t.Error("the lease was not resumed")
	}
}

// hashicorp/vault-secrets-operator#840: stuck with "503 Vault is sealed" after the unseal, until the object was made anew.
func TestComplaint840AllThatWaitedAreSyncedAtOnceWhenVaultIsUnsealed(t *testing.T) {
	s := newSimulation(t)
	s.populate(100)
	s.begin()
	s.pass(3 * time.Minute)
	s.vault.seal(true)
	for i := range 100 {
		if i%5 != 4 {
			s.vault.mu.Lock()
			path := fmt.Sprintf("shop/s%05d", i)
			held := s.vault.kv[path]
			s.vault.kv[path] = memoryKV{held.version + 1, s.clock.Now(), map[string]any{"password": "second"}}
			s.vault.mu.Unlock()
		}
	}
	_, before := s.vault.load()
	s.pass(12 * time.Minute)
	_, after := s.vault.load()
	if after-before > 10 {
		t.Errorf("%d requests were sent to a Vault that is known to be sealed", after-before)
	}
	waiting := s.synced("s00000", secrets.Sealed)
	if waiting.Status.Hash == "" || waiting.Status.Destination == nil {
		t.Error("the last good value was not kept")
	}
	writes := s.writer.count()
	s.vault.seal(false)
	s.settle() // and no time passes
	for i := range 100 {
		s.synced(fmt.Sprintf("s%05d", i), "")
	}
	if written := s.writer.count() - writes; written < 80 {
		t.Errorf("%d Secrets were written at the unseal, want 80 that had changed", written)
	}
}

// hashicorp/vault-secrets-operator#858, #734, #364: leases and their tokens were not renewed, or not after a restart, and credentials deleted.
func TestComplaints858And734And364LeasesAndTokensLiveOnOverRestartsAndOutages(t *testing.T) {
	s := newSimulation(t)
	s.vault.leaseTTL, s.vault.tokenTTL = 5*time.Minute, 20*time.Minute
	s.put(dynamicSecret("db"))
	s.begin()
	s.pass(3 * time.Minute)
	first := s.synced("db", "").Status.Lease.ID
	for range 6 {
		s.pass(7 * time.Minute)
		s.end() // as a crash: nothing is said to anybody
		s.clock.Step(30 * time.Second)
		s.begin()
		s.vault.seal(true)
		s.pass(20 * time.Second)
		s.vault.seal(false)
	}
	now := s.synced("db", "").Status.Lease
	if now.ID != first || s.vault.issued != 1 || s.vault.expired != 0 {
		t.Errorf("after 45 minutes with six restarts and outages the lease is %s, want %s; %d were issued, %d ended; Events: %v", now.ID, first, s.vault.issued, s.vault.expired, s.told())
	}
	if now.Renewed < 6 || now.Resumed < 6 {
		t.Errorf("it was renewed %d times and resumed %d times", now.Renewed, now.Resumed)
	}
}

func TestALeaseThatWasLostIsSaidToBeAndReplaced(t *testing.T) {
	s := newSimulation(t)
	s.put(dynamicSecret("db"))
	s.begin()
	s.pass(3 * time.Minute)
	first := s.synced("db", "").Status.Lease.ID
	s.told()
	s.vault.mu.Lock()
	clear(s.vault.tokens) // somebody revoked all
	clear(s.vault.leases)
	s.vault.mu.Unlock()
	s.pass(5 * time.Minute)
	if now := s.synced("db", "").Status.Lease.ID; now == first {
		t.Error("the lease that was lost is still said to be in use")
	}
	if told := s.told(); told["LeaseLost"] != 1 {
		t.Errorf("Events %v, want one LeaseLost", told)
	}
	if s.restarter.total() != 1 {
		t.Errorf("%d restarts, want one: the credentials are others", s.restarter.total())
	}
}

// hashicorp/vault-secrets-operator#1064: what was in its renewal window was not rotated until the operator was restarted.
func TestComplaint1064WhatCannotBeRenewedIsReplacedInItsWindowWithoutARestart(t *testing.T) {
	s := newSimulation(t)
	s.put(dynamicSecret("db"))
	s.begin()
	s.pass(3 * time.Minute)
	lease := s.synced("db", "").Status.Lease
	m := s.c.mindOf(Key{KindSecret, "shop", "db"}, "")
	m.inUse.Renewable = false
	s.pass(lease.Expires.Sub(s.clock.Now()) - time.Second)
	now := s.synced("db", "").Status.Lease
	if now.ID == lease.ID {
		t.Fatal("a second before its end it is not replaced")
	}
}

// hashicorp/vault-secrets-operator#465: a change of the spec was not applied.
func TestComplaint465AChangeOfTheSpecIsAppliedAtOnce(t *testing.T) {
	s := newSimulation(t)
	s.vault.write("shop/a", map[string]any{"password": "one"})
	s.vault.write("shop/b", map[string]any{"password": "two"})
	s.put(kvSecret("a", time.Hour))
	s.put(dynamicSecret("db"))
	s.begin()
	s.pass(3 * time.Minute)
	hash, lease := s.synced("a", "").Status.Hash, s.synced("db", "").Status.Lease.ID
	s.change("a", func(secret *v1alpha1.VaultSecret) { secret.Spec.Source.KV.Path = "shop/b" })
	s.change("db", func(secret *v1alpha1.VaultSecret) { secret.Spec.Source.Dynamic.Path = "creds/other" })
	s.settle()
	if now := s.synced("a", ""); now.Status.Hash == hash || now.Status.ObservedGeneration != 2 {
		t.Errorf("the Secret holds what it held before: generation %d", now.Status.ObservedGeneration)
	}
	if now := s.synced("db", "").Status.Lease.ID; now == lease {
		t.Error("the credentials are those of the role before")
	}
	// What does not concern the credentials issues none.
	lease = s.secret("db").Status.Lease.ID
	s.change("db", func(secret *v1alpha1.VaultSecret) { secret.Spec.Rotation.Restart = v1alpha1.RestartNone })
	s.settle()
	if now := s.synced("db", ""); now.Status.Lease.ID != lease || now.Status.ObservedGeneration != 3 {
		t.Error("a change of the rotation issued new credentials, or was not observed")
	}
}

// external-secrets/external-secrets#6728: objects in an error state asked the provider again and again. #4231: all at once.
func TestComplaints6728And4231WhatFailsAsksSeldomAndNotAtOnce(t *testing.T) {
	s := newSimulation(t)
	for i := range 100 {
		s.put(kvSecret(fmt.Sprintf("missing%02d", i), time.Hour)) // not in Vault
	}
	s.begin()
	s.pass(time.Hour)
	most, total := s.vault.load()
	s.synced("missing00", secrets.NotFound)
	if total > 100*12 {
		t.Errorf("100 objects that fail asked %d times in an hour", total)
	}
	if most > 25 {
		t.Errorf("%d of 100 asked in the same second", most)
	}
	t.Logf("100 objects that fail: %d requests in an hour, %d in the busiest second", total, most)
}

// external-secrets/external-secrets#4180, #4900: a new object was synced minutes later since others waited.
func TestComplaints4180And4900ANewObjectIsSyncedAtOnceThoughOthersBackOff(t *testing.T) {
	s := newSimulation(t)
	for i := range 200 {
		s.put(kvSecret(fmt.Sprintf("missing%03d", i), time.Hour))
	}
	s.begin()
	s.pass(10 * time.Minute)
	// All workers that refresh are busy with a Vault that takes its time.
	release := make(chan struct{})
	var once sync.Once
	s.vault.slow = func(call secrets.Call) {
		if !strings.HasSuffix(call.Path, "secret/data/shop/new") {
			<-release
		}
	}
	t.Cleanup(func() { once.Do(func() { close(release) }) })
	s.c.Requeue("bundles")
	s.await("all workers are busy", func() bool {
		s.c.queue.mu.Lock()
		defer s.c.queue.mu.Unlock()
		return s.c.queue.running >= DefaultWorkers
	})
	s.vault.write("shop/new", map[string]any{"password": "new"})
	began := time.Now()
	s.put(kvSecret("new", time.Hour))
	s.await("the new object is synced", func() bool { return isTrue(s.secret("new").Status.Conditions, v1alpha1.ConditionSynced) })
	t.Logf("synced after %s of real time, with %d workers stuck", time.Since(began).Round(time.Millisecond), DefaultWorkers)
	once.Do(func() { close(release) })
}

func TestRenewalsDoNotWaitBehindRefreshes(t *testing.T) {
	q := newQueue(newSimulation(t).clock)
	for i := range 5000 {
		q.Add(Key{KindSecret, "shop", fmt.Sprint(i)}, time.Time{}.Add(1), classRefresh)
	}
	q.Add(Key{KindSecret, "shop", "lease"}, time.Time{}.Add(1), classRenewal)
	if key, class, _ := q.Get(classRefresh); key.Name != "lease" || class != classRenewal {
		t.Errorf("%s of class %d came before the renewal", key, class)
	}
}

// external-secrets GHSA-fcxq-v2r3-cc8h and GHSA-77v3-r3jw-j2v2: another namespace's secrets were read by an operator that may.
func TestIsolationFcxqAnd77v3NothingOfAnotherNamespaceIsUsed(t *testing.T) {
	s := newSimulation(t)
	s.vault.write("shop/a", map[string]any{"password": "one"})
	other := kvSecret("a", time.Hour)
	other.Namespace = "thief" // names the VaultAuth "shop", which is of another namespace
	s.put(other)
	barred := kvSecret("b", time.Hour)
	barred.Namespace, barred.Spec.Auth = "thief", "own"
	s.put(barred)
	s.put(&v1alpha1.VaultAuth{ObjectMeta: metav1.ObjectMeta{Namespace: "thief", Name: "own"}, Spec: v1alpha1.VaultAuthSpec{
		Connection: "main", Kubernetes: &v1alpha1.KubernetesAuth{Role: "shop", ServiceAccount: "shop"},
	}})
	s.begin()
	s.pass(5 * time.Minute)
	for name, want := range map[string]secrets.Reason{"a": secrets.MissingReference, "b": secrets.NamespaceBarred} {
		secret := s.c.secret(Key{KindSecret, "thief", name})
		if found := condition(secret.Status.Conditions, v1alpha1.ConditionSynced); found == nil || found.Reason != string(want) {
			t.Errorf("thief/%s is %+v, want %s", name, found, want)
		}
	}
	if _, total := s.vault.load(); total != 0 || s.writer.count() != 0 {
		t.Errorf("%d requests were sent for them, %d Secrets written", total, s.writer.count())
	}
}
