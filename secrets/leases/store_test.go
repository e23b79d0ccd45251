package leases

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

const namespace = `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"portcullis-system"}}`

func leaseOf(uid string) *v1alpha1.VaultLease {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	return &v1alpha1.VaultLease{Spec: v1alpha1.VaultLeaseSpec{
		Owner: v1alpha1.LeaseOwner{Namespace: "shop", Name: "db", UID: uid}, Connection: "main", Auth: "shop",
		Leases: []secrets.Lease{
			{ID: "database/creds/shop/old", Mount: "database", Issued: at, Expires: at.Add(time.Hour), Duration: time.Hour, Renewable: true},
			{ID: "database/creds/shop/new", Mount: "database", Issued: at.Add(time.Minute), Expires: at.Add(2 * time.Hour), Duration: 90 * time.Minute, Renewable: true},
		},
		Token: v1alpha1.SealedToken{By: "transit:transit/leases", Ciphertext: "vault:v1:AAAA", Annotations: map[string]string{"round.test.example": "AQID"}, Accessor: "accessor", Expires: metav1.NewTime(at.Add(24 * time.Hour)), Renewable: true},
	}}
}

func TestWhatOneReplicaKeptTheOtherGoesOnWith(t *testing.T) {
	const user = "stranger"
	control, admin, _ := clustertest.Start(t, []cluster.User{{Name: user}}, v1alpha1.Manifest, []byte(namespace))
	clustertest.Serving(t, admin, v1alpha1.VaultLeases)
	ours, theirs := NewStore(admin, "portcullis-system"), NewStore(admin, "portcullis-system")
	ctx := t.Context()

	if got, err := ours.Get(ctx, "uid-1"); got != nil || err != nil {
		t.Fatalf("before: got %v, %v", got, err)
	}
	if err := ours.Delete(ctx, "uid-1"); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
	first := leaseOf("uid-1")
	if err := ours.Put(ctx, first); err != nil {
		t.Fatal(err)
	}
	got, err := theirs.Get(ctx, "uid-1")
	if err != nil || got == nil {
		t.Fatalf("got %v, %v", got, err)
	}
	if got.Name != "uid-1" || !equal(got.Spec, leaseOf("uid-1").Spec) {
		t.Errorf("got %+v, want %+v", got.Spec, leaseOf("uid-1").Spec)
	}

	// The second create of the same loses nothing, and neither does an update of what is old.
	again := leaseOf("uid-1")
	again.Spec.Leases = nil
	if err := theirs.Put(ctx, again); secrets.ReasonOf(err) != secrets.ClusterFailed || !apierrors.IsAlreadyExists(err) {
		t.Errorf("creating it twice: got %v, want AlreadyExists", err)
	}
	got.Spec.Leases = got.Spec.Leases[1:]
	if err := theirs.Put(ctx, got); err != nil {
		t.Fatal(err)
	}
	first.Spec.Leases = nil
	if err := ours.Put(ctx, first); secrets.ReasonOf(err) != secrets.ClusterFailed || !apierrors.IsConflict(err) {
		t.Errorf("writing over what is newer: got %v, want a conflict", err)
	}
	// After a Put the object can be put again as it is.
	for i := range 3 {
		got.Spec.Leases[0].Duration = time.Duration(i+1) * time.Hour
		if err := theirs.Put(ctx, got); err != nil {
			t.Fatalf("the %dth time: %v", i, err)
		}
	}
	if kept, err := ours.Get(ctx, "uid-1"); err != nil || len(kept.Spec.Leases) != 1 || kept.Spec.Leases[0].Duration != 3*time.Hour {
		t.Errorf("got %+v, %v", kept, err)
	}

	if err := ours.Put(ctx, leaseOf("uid-2")); err != nil {
		t.Fatal(err)
	}
	all, err := ours.List(ctx)
	if err != nil || len(all) != 2 {
		t.Errorf("got %d, %v", len(all), err)
	}
	if err := theirs.Delete(ctx, "uid-1"); err != nil {
		t.Fatal(err)
	}
	if all, err = ours.List(ctx); err != nil || len(all) != 1 || all[0].Name != "uid-2" {
		t.Errorf("after deleting one: got %v, %v", all, err)
	}

	// A VaultLease that says it is another's than its name does hands no token to anybody.
	if _, err := admin.Resource(v1alpha1.VaultLeases).Namespace("portcullis-system").Patch(ctx, "uid-2", types.MergePatchType, []byte(`{"spec":{"owner":{"uid":"uid-9"}}}`), metav1.PatchOptions{}); err == nil {
		for _, uid := range []string{"uid-2", "uid-9"} {
			if got, err := ours.Get(ctx, uid); got != nil {
				t.Errorf("%s: got %+v, %v", uid, got.Spec.Owner, err)
			}
		}
		if _, err := ours.List(ctx); secrets.ReasonOf(err) != secrets.ClusterFailed || !strings.Contains(err.Error(), "uid-2") {
			t.Errorf("listing it: got %v", err)
		}
	}

	config, err := control.Config(user)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	forbidden := NewStore(stranger, "portcullis-system")
	_, getting := forbidden.Get(ctx, "uid-2")
	_, listing := forbidden.List(ctx)
	for what, err := range map[string]error{"getting": getting, "listing": listing, "putting": forbidden.Put(ctx, leaseOf("uid-3")), "deleting": forbidden.Delete(ctx, "uid-2")} {
		if secrets.ReasonOf(err) != secrets.ClusterForbidden || !strings.Contains(err.Error(), "Roles") {
			t.Errorf("%s without a Role: got %v, want ClusterForbidden", what, err)
		}
	}
	for what, lease := range map[string]*v1alpha1.VaultLease{"no owner": leaseOf(""), "no token": {Spec: v1alpha1.VaultLeaseSpec{Owner: v1alpha1.LeaseOwner{UID: "a"}}}} {
		if err := ours.Put(ctx, lease); secrets.ReasonOf(err) != secrets.Misconfigured {
			t.Errorf("%s: got %v, want Misconfigured", what, err)
		}
	}
	if err := control.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Get(ctx, "uid-2"); secrets.ReasonOf(err) != secrets.ClusterFailed {
		t.Errorf("without an API server: got %v, want ClusterFailed", err)
	}
}

// equal compares times as instants.
func equal(a, b v1alpha1.VaultLeaseSpec) bool {
	if len(a.Leases) != len(b.Leases) || !a.Token.Expires.Equal(&b.Token.Expires) {
		return false
	}
	for i := range a.Leases {
		if !a.Leases[i].Issued.Equal(b.Leases[i].Issued) || !a.Leases[i].Expires.Equal(b.Leases[i].Expires) {
			return false
		}
		a.Leases[i].Issued, a.Leases[i].Expires = b.Leases[i].Issued, b.Leases[i].Expires
	}
	a.Token.Expires = b.Token.Expires
	return reflect.DeepEqual(a, b)
}

func TestManyAreListedPageByPage(t *testing.T) {
	_, admin, _ := clustertest.Start(t, nil, v1alpha1.Manifest, []byte(namespace))
	clustertest.Serving(t, admin, v1alpha1.VaultLeases)
	store := NewStore(admin, "portcullis-system")
	const many = 501 // one more than a page
	for i := range many {
		if err := store.Put(t.Context(), leaseOf(fmt.Sprintf("uid-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := store.List(t.Context()); err != nil || len(all) != many {
		t.Errorf("got %d, %v, want %d", len(all), err, many)
	}
}
