package controller

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/portcullis-dev/portcullis/secrets/leases"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// restored is the cluster of before with an empty etcd: objects have other UIDs and no status, Secrets are not there, and VaultLeases are
// those of before.
func (s *simulation) restored(name string, change func(*v1alpha1.VaultSecret)) {
	s.t.Helper()
	s.end()
	secret := s.secret(name)
	secret.UID, secret.Status, secret.Finalizers = types.UID("uid-restored-"+name), v1alpha1.VaultSecretStatus{}, nil
	change(secret)
	s.put(secret)
	s.writer = newMemoryWriter(s.hasher)
	s.begin()
}

func (s *simulation) leaseOf(uid string) *v1alpha1.VaultLease {
	s.t.Helper()
	kept, err := leases.NewStore(s.server, "portcullis-system").Get(s.t.Context(), uid)
	if err != nil {
		s.t.Fatal(err)
	}
	return kept
}

func newFormer(t *testing.T) *simulation {
	s := newSimulation(t)
	s.vault.leaseTTL, s.vault.tokenTTL = 24*time.Hour, 1000*time.Hour
	s.put(dynamicSecret("db"))
	s.begin()
	s.pass(3 * time.Minute)
	s.synced("db", "")
	return s
}

// unopened has the token of a lease be one that this installation cannot open: sealed by another key.
func (s *simulation) unopened(uid string) {
	s.t.Helper()
	kept := s.leaseOf(uid)
	kept.Spec.Token.Ciphertext = "c2VhbGVkIGZvciBhbm90aGVy"
	if err := leases.NewStore(s.server, "portcullis-system").Put(s.t.Context(), kept); err != nil {
		s.t.Fatal(err)
	}
}

// Whoever cannot open the token cannot know that it has ended: the key may be restored after the cluster.
func TestALeaseWhoseTokenCannotBeOpenedIsKeptAfterARestore(t *testing.T) {
	s := newFormer(t)
	s.unopened("uid-shop-db")
	s.restored("db", func(*v1alpha1.VaultSecret) {})
	told := map[string]int{}
	for range 40 {
		s.pass(time.Minute)
		for reason, times := range s.told() {
			told[reason] += times
		}
	}
	s.synced("db", "")
	s.vault.mu.Lock()
	defer s.vault.mu.Unlock()
	if s.leaseOf("uid-shop-db") == nil || s.vault.revoked != 0 || told["FormerKept"] == 0 || told["FormerRevoked"]+told["FormerEnded"] > 0 {
		t.Errorf("%d were revoked, the lease is there: %t, and %v was told; want it to be kept, and that to be said", s.vault.revoked, s.leaseOf("uid-shop-db") != nil, told)
	}
}

// What ended by itself was revoked by nobody.
func TestALeaseWhoseTokenHasEndedIsNotSaidToBeRevoked(t *testing.T) {
	s := newFormer(t)
	s.vault.mu.Lock()
	clear(s.vault.tokens)
	s.vault.mu.Unlock()
	s.restored("db", func(*v1alpha1.VaultSecret) {})
	s.told()
	s.await("the lease is forgotten", func() bool {
		s.pass(time.Minute)
		return s.leaseOf("uid-shop-db") == nil
	})
	if told := s.told(); told["FormerEnded"] != 1 || told["FormerRevoked"] > 0 {
		t.Errorf("%v was told, want that it had ended", told)
	}
}

// Nobody else knows the token: without it what was issued before would live on for as long as Vault lets it.
func TestLeasesOfBeforeARestoreAreRevokedOnceThereAreOthers(t *testing.T) {
	s := newFormer(t)
	s.restored("db", func(*v1alpha1.VaultSecret) {})
	s.pass(time.Minute)
	s.vault.mu.Lock()
	revoked := s.vault.revoked
	s.vault.mu.Unlock()
	if revoked != 0 || s.leaseOf("uid-shop-db") == nil {
		t.Error("it was revoked before there is another one")
	}
	s.await("the lease of before is revoked", func() bool {
		s.pass(time.Minute)
		return s.leaseOf("uid-shop-db") == nil
	})
	s.vault.mu.Lock()
	defer s.vault.mu.Unlock()
	if s.vault.issued != 2 || s.vault.revoked != 1 || len(s.vault.leases) != 1 {
		t.Errorf("%d were issued, %d revoked, and %d are left; want the one of before to be revoked, and the other to be left", s.vault.issued, s.vault.revoked, len(s.vault.leases))
	}
}

func TestLeasesOfBeforeARestoreStayWhereTheObjectSaysSo(t *testing.T) {
	s := newFormer(t)
	s.restored("db", func(o *v1alpha1.VaultSecret) { o.Spec.Source.Dynamic.RevokeOnDelete = new(false) })
	for range 30 {
		s.pass(time.Minute)
	}
	s.synced("db", "")
	s.vault.mu.Lock()
	defer s.vault.mu.Unlock()
	if s.leaseOf("uid-shop-db") == nil || s.vault.revoked != 0 {
		t.Errorf("%d were revoked, want none", s.vault.revoked)
	}
}

// An object that is not there may be restored yet. When the token has ended, there is nothing to keep.
func TestLeasesWithoutAnObjectAreForgottenWhenTheyHaveEnded(t *testing.T) {
	s := newFormer(t)
	s.end()
	s.server.mu.Lock()
	object, err := s.server.get(v1alpha1.VaultSecrets, "shop", "db")
	if err == nil {
		s.server.store(v1alpha1.VaultSecrets, "shop/db", object, watch.Deleted)
	}
	s.server.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	s.begin()
	for range 30 {
		s.pass(time.Minute)
	}
	if s.leaseOf("uid-shop-db") == nil {
		t.Fatal("it was forgotten while its token lives")
	}
	sealed := s.leaseOf("uid-shop-db").Spec.Token.Ciphertext
	s.unopened("uid-shop-db")
	for range 30 {
		s.pass(time.Minute)
	}
	kept := s.leaseOf("uid-shop-db")
	if kept == nil {
		t.Fatal("it was forgotten though nobody knows whether its token lives")
	}
	kept.Spec.Token.Ciphertext = sealed
	if err := leases.NewStore(s.server, "portcullis-system").Put(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	s.vault.mu.Lock()
	clear(s.vault.tokens)
	s.vault.mu.Unlock()
	s.await("the lease is forgotten", func() bool {
		s.pass(time.Minute)
		return s.leaseOf("uid-shop-db") == nil
	})
}
