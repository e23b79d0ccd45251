package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

func leased(t testing.TB, mount, name, ttl string, keys ...string) *v1alpha1.Source {
	t.Helper()
	write(t, mount+"/"+name, map[string]any{"username": "v-shop", "password": "canary-password-" + name, "ttl": ttl})
	return &v1alpha1.Source{Dynamic: &v1alpha1.DynamicSource{Mount: mount, Path: name, Keys: keys}}
}

func TestALeaseOfThreeSecondsIsRenewedForSeveralDurations(t *testing.T) {
	caller := login(t, "engine", "default")
	before := time.Now()
	result := read(t, caller, leased(t, "team/leased", "renewed", "3s", "username", "password"))
	lease := result.Lease
	if lease == nil || lease.Duration != 3*time.Second || !lease.Renewable || lease.Mount != "team/leased" || !strings.HasPrefix(lease.ID, "team/leased/renewed") {
		t.Fatalf("got %+v", lease)
	}
	if lease.Issued.Before(before) || lease.Expires.Sub(lease.Issued) != 3*time.Second || result.Metadata.LifetimeSeconds != 3 || !result.Metadata.Renewable {
		t.Errorf("got %+v, %+v", lease, result.Metadata)
	}
	if len(result.Data) != 2 {
		t.Errorf("got the keys %v", result.Data.Keys())
	}
	first := lease.Expires
	held := *lease
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for time.Since(before) < 10*time.Second { // more than three durations
		<-ticker.C
		renewed, err := Renew(t.Context(), caller, held)
		if err != nil {
			t.Fatalf("after %s: %v", time.Since(before), err)
		}
		if renewed.Duration != 3*time.Second || !renewed.Renewable || !renewed.Expires.After(held.Expires) || renewed.Issued != held.Issued {
			t.Fatalf("after %s: got %+v, before %+v", time.Since(before), renewed, held)
		}
		held = renewed
	}
	if held.Expires.Sub(first) < 6*time.Second {
		t.Errorf("renewed from %s to %s only", first, held.Expires)
	}
	found, err := Lookup(t.Context(), caller, held)
	if err != nil || found.Duration <= 0 || found.Duration > 3*time.Second || !found.Renewable || found.Expires.After(held.Expires.Add(2*time.Second)) {
		t.Errorf("looking it up: got %+v, %v", found, err)
	}
	// Nobody renews it any more.
	clustertest.Eventually(t, "the end of the lease", func() error {
		if _, err := Lookup(t.Context(), caller, held); secrets.ReasonOf(err) != secrets.LeaseLost {
			return fmt.Errorf("got %v, want LeaseLost", err)
		}
		return nil
	})
	_, err = Renew(t.Context(), caller, held)
	want(t, "renewing what has ended", err, secrets.LeaseLost)
	must(t, Revoke(t.Context(), caller, held))
}

func TestNearItsMaximalLifetimeALeaseIsGrantedLess(t *testing.T) {
	caller := login(t, "engine", "default")
	held := *read(t, caller, leased(t, "capped", "shrinking", "4s")).Lease
	if held.Duration != 4*time.Second {
		t.Fatalf("got %+v", held)
	}
	shrunk := false
	clustertest.Eventually(t, "the maximal lifetime of 6 s", func() error {
		renewed, err := Renew(t.Context(), caller, held)
		if secrets.ReasonOf(err) == secrets.LeaseLost {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		shrunk = shrunk || renewed.Duration < 4*time.Second
		if end := held.Issued.Add(8 * time.Second); renewed.Expires.After(end) {
			t.Fatalf("it is thought to last until %s, and at most until %s", renewed.Expires, end)
		}
		return fmt.Errorf("it lasts for %s more", renewed.Duration)
	})
	if !shrunk {
		t.Error("it was never granted less than was asked for: whoever renews it cannot see its end coming")
	}
}

// hashicorp/vault-secrets-operator #858, external-secrets #2198: leases end with the token that made them.
func TestALeaseDiesWithItsToken(t *testing.T) {
	caller, observer := login(t, "engine", "default"), login(t, "engine", "default")
	lease := *read(t, caller, leased(t, "team/leased", "orphan", "1h")).Lease
	if _, err := Lookup(t.Context(), observer, lease); err != nil {
		t.Fatal(err)
	}
	if err := realVault(t).Client().Auth().Token().RevokeTreeWithContext(t.Context(), caller.token); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the end of the lease", func() error {
		if _, err := Lookup(t.Context(), observer, lease); secrets.ReasonOf(err) != secrets.LeaseLost {
			return fmt.Errorf("got %v, want LeaseLost", err)
		}
		return nil
	})
	_, err := Renew(t.Context(), observer, lease)
	want(t, "renewing it by another token", err, secrets.LeaseLost)
	_, err = Renew(t.Context(), caller, lease)
	want(t, "renewing it by its own token", err, secrets.Forbidden)
}

func TestALeaseIsRevokedAtOnce(t *testing.T) {
	caller := login(t, "engine", "default")
	lease := *read(t, caller, leased(t, "team/leased", "revoked", "1h")).Lease
	must(t, Revoke(t.Context(), caller, lease))
	_, err := Lookup(t.Context(), caller, lease)
	want(t, "looking it up", err, secrets.LeaseLost)
	must(t, Revoke(t.Context(), caller, lease)) // gone already
	must(t, Revoke(t.Context(), caller, secrets.Lease{ID: "team/leased/revoked/never-was"}))
	err = Revoke(t.Context(), login(t, "default"), *read(t, caller, leased(t, "team/leased", "kept", "1h")).Lease)
	want(t, "revoking without being allowed to", err, secrets.Forbidden)
	for what, lease := range map[string]secrets.Lease{
		"nothing":                 {},
		"a mount of Vault itself": {Serial: "01:02", Mount: "sys/raw"},
		"a path as the role":      {Accessor: "a", Mount: "auth/approle", Role: "../../token"},
	} {
		want(t, what, Revoke(t.Context(), caller, lease), secrets.Misconfigured)
	}
}

func TestWhatIsIssuedAndOfNoUseIsRevokedAgain(t *testing.T) {
	const name = "useless"
	caller := login(t, "engine", "default")
	_, err := Read(t.Context(), caller, leased(t, "team/leased", name, "1h", "username", "port"), Options{})
	want(t, "a key is missing", err, secrets.KeyMissing, "canary-password-"+name)
	listed, err := realVault(t).Client().Logical().ListWithContext(t.Context(), "sys/leases/lookup/team/leased/"+name)
	must(t, err)
	if listed != nil && len(listed.Data) > 0 {
		t.Errorf("its lease is left: %v", listed.Data)
	}
}

func TestALeaseOfNoDurationIsNone(t *testing.T) {
	source := goodSources()["credentials"]
	for what, reply := range map[string]*secrets.Reply{
		"static credentials":     {Data: map[string]any{"password": "x"}},
		"an id without duration": {Data: map[string]any{"password": "x"}, LeaseID: "database/creds/shop/a"},
		"a negative duration":    {Data: map[string]any{"password": "x"}, LeaseID: "database/creds/shop/a", LeaseDuration: -time.Second},
	} {
		result, err := Read(t.Context(), answering(t, source, reply), source, Options{})
		if err != nil || result.Lease != nil || !result.Created.IsZero() {
			t.Errorf("%s: got %+v, %v", what, result, err)
		}
	}
}

// What Vault answers with 400 to a renewal is one of several things: only one of them is that the lease is lost.
func TestARenewalThatIsRefusedIsLookedInto(t *testing.T) {
	lease := secrets.Lease{ID: "database/creds/shop/a", Duration: time.Hour, Renewable: true}
	refused := &secrets.Error{Reason: secrets.Refused, Status: 400}
	for what, test := range map[string]struct {
		lookup *secrets.Reply
		err    error
		want   secrets.Reason
		left   time.Duration
	}{
		"it lives, and is renewed no more":  {&secrets.Reply{Data: map[string]any{"id": lease.ID, "ttl": float64(60), "renewable": true}}, nil, "", time.Minute},
		"it is unknown":                     {nil, refused, secrets.LeaseLost, 0},
		"nothing is left of it":             {&secrets.Reply{Data: map[string]any{"id": lease.ID, "ttl": float64(0)}}, nil, secrets.LeaseLost, 0},
		"it must not be looked up":          {nil, &secrets.Error{Reason: secrets.Forbidden}, secrets.LeaseLost, 0},
		"Vault is sealed meanwhile":         {nil, &secrets.Error{Reason: secrets.Sealed}, secrets.Sealed, 0},
		"the answer is about another lease": {&secrets.Reply{Data: map[string]any{"id": "other", "ttl": float64(60)}}, nil, secrets.Malformed, 0},
	} {
		got, err := Renew(t.Context(), callerFunc(func(_ context.Context, call secrets.Call) (*secrets.Reply, error) {
			if call.Path == "sys/leases/renew" {
				return nil, refused
			}
			return test.lookup, test.err
		}), lease, Options{Clock: stopped{&day}})
		want(t, what, err, test.want)
		if err == nil && (got.Renewable || got.Duration != test.left || !got.Expires.Equal(day.Add(test.left))) {
			t.Errorf("%s: got %+v", what, got)
		}
	}
	// The same for revoking: an engine that cannot take its credentials back is answered as 400, too.
	alive := callerFunc(func(_ context.Context, call secrets.Call) (*secrets.Reply, error) {
		if call.Path == "sys/leases/revoke" {
			return nil, refused
		}
		return &secrets.Reply{Data: map[string]any{"id": lease.ID, "ttl": float64(60)}}, nil
	})
	want(t, "a lease that lives on", Revoke(t.Context(), alive, lease), secrets.Refused)
}
