package controller

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

func TestWhatPoliciesDenyIsNotAskedOfVaultAndAllowedAgainWhenTheyChange(t *testing.T) {
	s := newSimulation(t)
	s.vault.write("shop/a", map[string]any{"password": "one"})
	s.put(kvSecret("a", time.Hour))
	s.judge.set("1", func(*secrets.Sync) string { return "the path does not carry the namespace" })
	s.begin()
	s.pass(3 * time.Minute)
	denied := s.synced("a", secrets.Denied)
	allowed := condition(denied.Status.Conditions, v1alpha1.ConditionAllowed)
	if allowed == nil || allowed.Message != "secrets/test: the path does not carry the namespace (name another path)" || len(denied.Status.Policies) != 1 || denied.Status.Policies[0].Remediation != "name another path" {
		t.Errorf("the denial says %+v and %+v", allowed, denied.Status.Policies)
	}
	if _, total := s.vault.load(); total != 0 {
		t.Errorf("%d requests were sent before policies allowed it", total)
	}
	s.judge.set("2", nil)
	s.c.Requeue("bundles")
	s.settle()
	s.synced("a", "")
	// And denied again: the last good Secret stays.
	s.judge.set("3", func(*secrets.Sync) string { return "no more" })
	s.c.Requeue("bundles")
	s.settle()
	if now := s.synced("a", secrets.Denied); now.Status.Destination == nil || len(s.writer.deleted) != 0 {
		t.Error("the last good Secret was not kept")
	}
}

func TestWhatWasIssuedAndIsThenDeniedIsRevokedAtOnce(t *testing.T) {
	s := newSimulation(t)
	s.put(dynamicSecret("db"))
	s.judge.set("1", func(sync *secrets.Sync) string {
		if sync.Secret != nil && sync.Secret.LifetimeSeconds > 60 {
			return "it lasts too long"
		}
		return ""
	})
	s.begin()
	s.pass(2 * time.Minute)
	s.synced("db", secrets.Denied)
	if s.vault.issued == 0 || s.vault.revoked != s.vault.issued || len(s.vault.leases) != 0 || s.writer.count() != 0 {
		t.Errorf("%d were issued, %d revoked; %d Secrets written", s.vault.issued, s.vault.revoked, s.writer.count())
	}
}

func TestLeasesAreRenewedWhilePoliciesCannotDecideAndNotWhenTheyDeny(t *testing.T) {
	s := newSimulation(t)
	s.put(dynamicSecret("db"))
	s.begin()
	s.pass(3 * time.Minute)
	lease := s.synced("db", "").Status.Lease
	s.judge.mu.Lock()
	s.judge.faults = true
	s.judge.mu.Unlock()
	s.pass(20 * time.Minute)
	undecided := s.synced("db", secrets.Undecided)
	if s.vault.expired != 0 || undecided.Status.Lease.ID != lease.ID || undecided.Status.Lease.Renewed < 4 {
		t.Errorf("the lease ended, or was renewed %d times only", undecided.Status.Lease.Renewed)
	}
	s.judge.mu.Lock()
	s.judge.faults, s.judge.objects = false, func(*secrets.Sync) string { return "no" }
	s.judge.mu.Unlock()
	s.c.Requeue("bundles")
	s.settle()
	renewed := s.synced("db", secrets.Denied).Status.Lease.Renewed
	s.pass(10 * time.Minute)
	if now := s.synced("db", secrets.Denied); now.Status.Lease.Renewed != renewed || now.Status.Destination == nil {
		t.Error("what is denied was renewed, or its Secret taken away")
	}
}

func TestADeletedObjectRevokesItsLeaseFirst(t *testing.T) {
	s := newSimulation(t)
	s.put(dynamicSecret("db"))
	s.begin()
	s.pass(3 * time.Minute)
	s.vault.seal(true)
	s.deleteSecret("db")
	s.pass(time.Minute)
	if s.secret("db").DeletionTimestamp == nil || len(s.vault.leases) != 1 {
		t.Fatal("it is gone though its lease could not be revoked")
	}
	s.vault.seal(false)
	s.settle()
	s.gone("db")
	if len(s.vault.leases) != 0 || s.vault.revoked != 1 {
		t.Errorf("%d leases are left", len(s.vault.leases))
	}
}

func TestADeletionWaitsForAnUnreachableVaultUntilLeasesHaveEndedByThemselvesAndNoLonger(t *testing.T) {
	s := newSimulation(t)
	s.put(dynamicSecret("db"))
	s.begin()
	s.pass(3 * time.Minute)
	ends := s.secret("db").Status.Lease.Expires.Time
	s.vault.seal(true)
	s.deleteSecret("db")
	s.pass(ends.Sub(s.clock.Now()) - time.Second)
	s.secret("db")
	s.pass(2 * time.Second)
	s.gone("db")
}

func (s *simulation) deleteSecret(name string) {
	s.t.Helper()
	secret := s.secret(name)
	secret.DeletionTimestamp = &metav1.Time{Time: s.clock.Now()}
	s.put(secret)
	s.settle()
}

func (s *simulation) gone(name string) {
	s.t.Helper()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if s.server.objects[v1alpha1.VaultSecrets]["shop/"+name] != nil {
		s.t.Fatalf("%s is still there", name)
	}
	if left := s.server.objects[v1alpha1.VaultLeases]; len(left) != 0 {
		s.t.Fatalf("%d VaultLeases are left", len(left))
	}
}

func TestAChangedValueIsWrittenAndItsWorkloadRestartedOnce(t *testing.T) {
	s := newSimulation(t)
	s.vault.write("shop/a", map[string]any{"password": "one"})
	s.put(kvSecret("a", 10*time.Minute))
	s.begin()
	s.pass(3 * time.Minute)
	s.vault.write("shop/a", map[string]any{"password": "two"})
	s.pass(time.Hour)
	if now := s.synced("a", ""); now.Status.Version != "2" || s.writer.count() != 2 || s.restarter.total() != 1 {
		t.Errorf("version %s, %d writes, %d restarts: want 2, 2 and 1", now.Status.Version, s.writer.count(), s.restarter.total())
	}
}

func TestTheSyncAnnotationIsObeyedOnce(t *testing.T) {
	s := newSimulation(t)
	s.vault.write("shop/a", map[string]any{"password": "one"})
	s.put(kvSecret("a", time.Hour))
	s.begin()
	s.pass(3 * time.Minute)
	s.vault.write("shop/a", map[string]any{"password": "two"})
	secret := s.secret("a")
	secret.Annotations = map[string]string{v1alpha1.SyncAnnotation: "now"}
	s.put(secret)
	s.settle()
	if now := s.synced("a", ""); now.Status.Version != "2" || now.Status.Requested != "now" {
		t.Errorf("version %s, requested %q", now.Status.Version, now.Status.Requested)
	}
	asked := s.vault.asked["secret/data/shop/a"]
	s.pass(time.Minute)
	if s.vault.asked["secret/data/shop/a"] != asked {
		t.Error("it was obeyed twice")
	}
}

func TestASecretThatIsGoneInVaultIsKeptUnlessTheSpecSaysOtherwise(t *testing.T) {
	s := newSimulation(t)
	for _, name := range []string{"kept", "deleted"} {
		s.vault.write("shop/"+name, map[string]any{"password": "one"})
	}
	s.put(kvSecret("kept", time.Minute))
	deleted := kvSecret("deleted", time.Minute)
	deleted.Spec.Deletion.WhenGone = v1alpha1.Delete
	s.put(deleted)
	s.begin()
	s.pass(3 * time.Minute)
	s.vault.mu.Lock()
	clear(s.vault.kv)
	s.vault.mu.Unlock()
	s.pass(3 * time.Minute)
	if s.synced("kept", secrets.NotFound).Status.Destination == nil {
		t.Error("the Secret was not kept")
	}
	if s.synced("deleted", secrets.NotFound).Status.Destination != nil || len(s.writer.deleted) != 1 || s.writer.deleted[0] != "shop/deleted retain=false" {
		t.Errorf("deleted were %v", s.writer.deleted)
	}
}

func TestADestinationThatSomebodyChangedIsRepaired(t *testing.T) {
	s := newSimulation(t)
	s.vault.write("shop/a", map[string]any{"password": "one"})
	s.put(kvSecret("a", time.Hour))
	s.begin()
	s.pass(3 * time.Minute)
	s.told()
	s.writer.mu.Lock()
	s.writer.drifted["uid-shop-a"] = true
	s.writer.mu.Unlock()
	s.c.drifted(ownerOf(s.secret("a")))
	s.settle()
	if told := s.told(); told["Repaired"] != 1 || s.writer.count() != 2 || s.restarter.total() != 0 {
		t.Errorf("Events %v, %d writes, %d restarts", told, s.writer.count(), s.restarter.total())
	}
}

func TestAQuarantineHasLeasesRevokedAtOnceAndStaticSecretsMarked(t *testing.T) {
	s := newSimulation(t)
	s.vault.write("shop/a", map[string]any{"password": "one"})
	s.put(kvSecret("a", time.Hour))
	s.put(dynamicSecret("db"))
	s.begin()
	s.pass(3 * time.Minute)
	first := s.secret("db").Status.Lease.ID
	since := s.clock.Now()
	s.clock.Step(time.Second)
	for _, name := range []string{"a", "db"} {
		for _, of := range s.c.secretsOf("shop", name) {
			s.c.demandRotation(Key{KindSecret, of.Namespace, of.Name}, since, "it was in the pod shop/web, which is quarantined")
		}
	}
	s.settle()
	db := s.synced("db", "")
	if state, _ := s.c.rotated(db, since); state != answerRevoked || db.Status.Lease.ID == first || s.vault.leases[first] != nil || s.vault.revoked != 1 {
		t.Errorf("the lease is answered for with %q; %d were revoked", state, s.vault.revoked)
	}
	if state, message := s.c.rotated(s.secret("a"), since); state != answerRotating || message != "it was in the pod shop/web, which is quarantined" {
		t.Errorf("the static secret is answered for with %q: %s", state, message)
	}
	s.vault.write("shop/a", map[string]any{"password": "two"})
	s.pass(time.Hour)
	if state, _ := s.c.rotated(s.secret("a"), since); state != answerRevoked {
		t.Errorf("after it was changed in Vault it is answered for with %q", state)
	}
}

func TestWhatWasReplacedIsRevokedOnceNobodyNeedsIt(t *testing.T) {
	s := newSimulation(t)
	s.vault.leaseTTL = time.Hour
	s.put(dynamicSecret("db"))
	s.begin()
	s.pass(3 * time.Minute)
	first := s.synced("db", "").Status.Lease.ID
	secret := s.secret("db")
	secret.Annotations = map[string]string{v1alpha1.SyncAnnotation: "now"}
	secret.Spec.Rotation.Restart = v1alpha1.RestartNone // so that pods have it of a volume, some time later
	s.put(secret)
	s.settle()
	second := s.synced("db", "").Status.Lease.ID
	there := func() (bool, bool) {
		s.vault.mu.Lock()
		defer s.vault.mu.Unlock()
		return s.vault.leases[first] != nil, s.vault.leases[second] != nil
	}
	s.pass(time.Minute)
	if old, now := there(); first == second || !old || !now {
		t.Errorf("a minute after it was replaced the lease is there: %t, and what replaced it: %t", old, now)
	}
	s.pass(2 * time.Minute)
	if old, now := there(); old || !now {
		t.Errorf("three minutes after it was replaced the lease is there: %t, and what replaced it: %t", old, now)
	}
}

// What a process that does not lead any more still does must lose: the resource version of the VaultLease is the fence.
func TestWhoNoLongerLeadsRevokesWhatItStillIssues(t *testing.T) {
	s := newSimulation(t)
	s.put(dynamicSecret("db"))
	s.begin()
	s.pass(3 * time.Minute)
	reached, release := make(chan struct{}), make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	t.Cleanup(let)
	var held atomic.Bool
	s.vault.slow = func(call secrets.Call) {
		if call.Path == "db/creds/db" && held.CompareAndSwap(false, true) {
			close(reached)
			<-release
		}
	}
	key := Key{KindSecret, "shop", "db"}
	s.c.demandRotation(key, s.clock.Now(), "first") // it is about to issue when it is held up
	<-reached

	next := *s
	next.stop = nil
	next.begin()
	t.Cleanup(next.end)
	next.c.demandRotation(key, s.clock.Now(), "next")
	next.settle()
	in, issued := s.synced("db", "").Status.Lease.ID, s.vault.everIssued()

	let()
	s.await("the first has tried, and given it back", func() bool {
		s.vault.mu.Lock()
		defer s.vault.mu.Unlock()
		return s.vault.issued > issued && s.vault.leases[in] != nil && len(s.vault.leases) == 1
	})
	s.end()
	if now := s.synced("db", "").Status.Lease.ID; now != in {
		t.Errorf("the status names %s, want %s of who leads", now, in)
	}
	kept, err := s.c.o.Leases.Get(t.Context(), "uid-shop-db")
	if err != nil || len(kept.Spec.Leases) != 1 || kept.Spec.Leases[0].ID != in {
		t.Errorf("the VaultLease holds %+v, want %s only: %v", kept, in, err)
	}
}

func TestEachObjectIsQueuedOnceAtItsEarliestTime(t *testing.T) {
	s := newSimulation(t)
	q := newQueue(s.clock)
	now := s.clock.Now()
	a, b := Key{KindSecret, "shop", "a"}, Key{KindSecret, "shop", "b"}
	q.Add(a, now.Add(time.Minute), classRefresh)
	q.Add(a, now, classPeople)
	q.Add(a, now.Add(time.Hour), classRenewal)
	if key, class, _ := q.Get(classRefresh); key != a || class != classPeople {
		t.Errorf("first came %s of class %d", key, class)
	}
	q.Add(a, now, classRefresh) // while it runs
	q.Add(b, now, classRefresh)
	if key, _, _ := q.Get(classRefresh); key != b {
		t.Errorf("%s was given to two at a time", key)
	}
	q.Done(a, now.Add(time.Hour), classRefresh)
	if key, _, _ := q.Get(classRefresh); key != a {
		t.Errorf("what was asked for while it ran was lost: %s came", key)
	}
	q.Done(a, time.Time{}, classRefresh)
	if ready, waiting := q.Length(); ready != [classes]int{} || waiting != 0 {
		t.Errorf("%v are ready and %d wait", ready, waiting)
	}
}
