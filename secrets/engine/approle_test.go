package engine

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

func secretID(role string, change func(*v1alpha1.AppRoleSecretIDSource)) *v1alpha1.Source {
	source := &v1alpha1.AppRoleSecretIDSource{Role: role}
	if change != nil {
		change(source)
	}
	return &v1alpha1.Source{AppRoleSecretID: source}
}

// logsIn says whether a role id and secret id are good for a login.
func logsIn(t *testing.T, data secrets.Data) bool {
	t.Helper()
	caller := newClient(t, realVault(t).Address(), "")
	_, err := caller.Do(t.Context(), secrets.Call{Method: http.MethodPut, Path: "auth/approle/login", Body: map[string]any{"role_id": string(data["role_id"].Reveal()), "secret_id": string(data["secret_id"].Reveal())}})
	return err == nil
}

func TestASecretIDLogsInUntilItIsDestroyed(t *testing.T) {
	caller := login(t, "engine")
	before := time.Now()
	result := read(t, caller, secretID("shop", func(r *v1alpha1.AppRoleSecretIDSource) {
		r.TTL, r.Metadata, r.CIDRs = &metav1.Duration{Duration: 30 * time.Minute}, map[string]string{"namespace": "shop"}, []string{"127.0.0.0/8"}
	}))
	lease := result.Lease
	if lease == nil || lease.Accessor == "" || result.Version != lease.Accessor || lease.Mount != "auth/approle" || lease.Role != "shop" || lease.ID != "" || lease.Renewable {
		t.Fatalf("got %+v", lease)
	}
	if lease.Duration != 30*time.Minute || lease.Issued.Before(before) || lease.Expires.Sub(lease.Issued) != 30*time.Minute {
		t.Errorf("got %+v", lease)
	}
	answer := write(t, "auth/approle/role/shop/secret-id-accessor/lookup", map[string]any{"secret_id_accessor": lease.Accessor})
	if metadata, _ := answer.Data["metadata"].(map[string]any); metadata["namespace"] != "shop" {
		t.Errorf("got the metadata %v", answer.Data["metadata"])
	}
	if cidrs, _ := answer.Data["cidr_list"].([]any); len(cidrs) != 1 || cidrs[0] != "127.0.0.0/8" {
		t.Errorf("got the addresses %v", answer.Data["cidr_list"])
	}
	if !logsIn(t, result.Data) {
		t.Error("it does not log in")
	}
	other := read(t, caller, secretID("shop", nil))
	if other.Lease.Duration != time.Hour {
		t.Errorf("without a lifetime asked for: got %s, want the role's hour", other.Lease.Duration)
	}
	must(t, Revoke(t.Context(), caller, *lease))
	if logsIn(t, result.Data) {
		t.Error("it logs in after it was destroyed")
	}
	if !logsIn(t, other.Data) {
		t.Error("another was destroyed with it")
	}
	must(t, Revoke(t.Context(), caller, *lease)) // gone already
}

func TestASecretIDFromElsewhereDoesNotLogIn(t *testing.T) {
	result := read(t, login(t, "engine"), secretID("shop", func(r *v1alpha1.AppRoleSecretIDSource) { r.CIDRs = []string{"192.0.2.0/24"} }))
	if logsIn(t, result.Data) {
		t.Error("it logs in from an address that is not of its own")
	}
}

func TestASecretIDThatWouldNeverEndIsNotKept(t *testing.T) {
	caller := login(t, "engine")
	_, err := Read(t.Context(), caller, secretID("endless", nil), Options{})
	want(t, "no lifetime anywhere", err, secrets.Misconfigured)
	if listed, err := realVault(t).Client().Logical().ListWithContext(t.Context(), "auth/approle/role/endless/secret-id"); err != nil || listed != nil && len(listed.Data) > 0 {
		t.Errorf("it was left: %v, %v", listed, err)
	}
	result := read(t, caller, secretID("endless", func(r *v1alpha1.AppRoleSecretIDSource) { r.TTL = &metav1.Duration{Duration: time.Hour} }))
	if result.Lease.Duration != time.Hour {
		t.Errorf("with one: got %+v", result.Lease)
	}
	_, err = Read(t.Context(), caller, secretID("nothing", nil), Options{})
	want(t, "no such role", err, secrets.NotFound)
}

func TestAnAnswerWithoutASecretIDIsNotKept(t *testing.T) {
	const canary = "canary-secret-id-0b7e"
	source := secretID("shop", nil)
	for what, test := range map[string]struct {
		answer    map[string]any
		want      secrets.Reason
		destroyed bool
	}{
		"no accessor":  {map[string]any{"secret_id": canary, "secret_id_ttl": float64(60)}, secrets.Malformed, false},
		"no secret id": {map[string]any{"secret_id_accessor": "a", "secret_id_ttl": float64(60)}, secrets.Malformed, true},
		"no lifetime":  {map[string]any{"secret_id": canary, "secret_id_accessor": "a"}, secrets.Misconfigured, true},
	} {
		destroyed := false
		place, _ := Place(source)
		_, err := Read(t.Context(), callerFunc(func(_ context.Context, call secrets.Call) (*secrets.Reply, error) {
			switch {
			case strings.HasPrefix(call.Path, "sys/internal/"):
				return mounted(place), nil
			case strings.HasSuffix(call.Path, "/role-id"):
				return &secrets.Reply{Data: map[string]any{"role_id": "r"}}, nil
			case strings.HasSuffix(call.Path, "/destroy"):
				destroyed = call.Body["secret_id_accessor"] == "a"
				return &secrets.Reply{}, nil
			}
			return &secrets.Reply{Data: test.answer}, nil
		}), source, Options{})
		want(t, what, err, test.want, canary)
		if destroyed != test.destroyed {
			t.Errorf("%s: destroyed is %v, want %v", what, destroyed, test.destroyed)
		}
	}
}
