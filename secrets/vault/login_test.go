package vault

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

const login = "auth/approle/login"

// rig is a Pool at an imitation, whose clock the test turns.
func rig(t *testing.T) (*imitation, *Pool, *clocktesting.FakeClock) {
	t.Helper()
	turned := clocktesting.NewFakeClock(time.Now())
	v := imitate(t)
	v.now = turned.Now
	pool := NewPool(Options{Cluster: held{"shop/app/secretID": v.secretID}, Clock: turned, Registerer: prometheus.NewPedanticRegistry()})
	t.Cleanup(func() { pool.Close(t.Context()) })
	return v, pool, turned
}

func (v *imitation) client(t *testing.T, pool *Pool) *Client {
	t.Helper()
	client, err := pool.Client(t.Context(), connectionTo(v.URL, v.ca()), appRole("role"))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestFiveThousandObjectsOfOneAuthLogInOnceAndReadOnePathOnce(t *testing.T) {
	v, pool, _ := rig(t)
	v.hold = make(chan struct{})
	conn := connectionTo(v.URL, v.ca())
	shared := readShop
	shared.Shared = true
	var group sync.WaitGroup
	fail := make(chan error, 5000)
	for range 5000 {
		group.Go(func() {
			client, err := pool.Client(t.Context(), conn, appRole("role"))
			if err == nil {
				var reply *secrets.Reply
				if reply, err = client.Do(t.Context(), shared); err == nil {
					reply.Data["data"] = "changed" // each has a copy of his own
				}
			}
			if err != nil {
				fail <- err
			}
		})
	}
	clustertest.Until(t, "somebody logging in", func() bool { return v.asked(login) > 0 })
	close(v.hold)
	group.Wait()
	close(fail)
	for err := range fail {
		t.Fatal(err)
	}
	if logins, reads := v.asked(login), v.asked("secret/data/shop"); logins != 1 || reads != 1 {
		t.Errorf("%d logins and %d reads, want one of each", logins, reads)
	}
	reply, err := v.client(t, pool).Do(t.Context(), shared)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := reply.Data["data"].(map[string]any); !ok {
		t.Error("what one changed in its answer another got")
	}
}

func TestASharedReadIsForgottenAfterTwoSeconds(t *testing.T) {
	v, pool, turned := rig(t)
	client := v.client(t, pool)
	shared := readShop
	shared.Shared = true
	for range 2 {
		if _, err := client.Do(t.Context(), shared); err != nil {
			t.Fatal(err)
		}
	}
	if n := v.asked(readShop.Path); n != 1 {
		t.Fatalf("%d reads, want 1", n)
	}
	clustertest.Until(t, "the sweeper waiting", turned.HasWaiters)
	turned.Step(sharedFor)
	clustertest.Until(t, "the value going though nobody asks", func() bool {
		pool.mu.Lock()
		defer pool.mu.Unlock()
		return len(pool.shared) == 0
	})
	if _, err := client.Do(t.Context(), shared); err != nil || v.asked(readShop.Path) != 2 {
		t.Errorf("%d reads, want 2: %v", v.asked(readShop.Path), err)
	}
}

// External Secrets Operator #6728: an error state hammers the API.
func TestRefusedCredentialsOfManyObjectsAreShownOnceInFiveSeconds(t *testing.T) {
	v, pool, turned := rig(t)
	v.secretID = "another"
	conn := connectionTo(v.URL, v.ca())
	for range 100 {
		if _, err := pool.Client(t.Context(), conn, appRole("role")); secrets.ReasonOf(err) != secrets.LoginFailed {
			t.Fatalf("reason %q, want LoginFailed: %v", secrets.ReasonOf(err), err)
		}
	}
	if n := v.asked(login); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	v.mu.Lock()
	v.secretID = "secret-id-" + canary
	v.mu.Unlock()
	turned.Step(failedFor)
	if _, err := pool.Client(t.Context(), conn, appRole("role")); err != nil {
		t.Errorf("good credentials are refused after %s: %v", failedFor, err)
	}
}

// Vault Secrets Operator #858, #734, #364, #959: a token is not renewed, and what hangs on it ends.
func TestATokenIsRenewedBeforeItEndsAndReplacedAtItsGreatestAge(t *testing.T) {
	v, pool, turned := rig(t)
	v.most = 3 * time.Hour
	client := v.client(t, pool)
	for range 6 * 60 { // six hours by the minute
		turned.Step(time.Minute)
		if _, err := client.KeepAlive(t.Context()); err != nil {
			t.Fatal(err)
		}
		if until := client.Token().Expires; !turned.Now().Before(until) {
			t.Fatalf("the token ended at %s", until)
		}
		if _, err := client.Do(t.Context(), readShop); err != nil {
			t.Fatal(err)
		}
	}
	renewals, logins := v.asked("auth/token/renew-self"), v.asked(login)
	t.Logf("in six hours with tokens of one hour, three at most: %d logins, %d renewals", logins, renewals)
	if renewals < 4 || renewals > 12 || logins < 2 || logins > 4 {
		t.Errorf("%d renewals and %d logins, want about 8 and 3", renewals, logins)
	}
}

func TestATokenThatCannotBeRenewedIsReplacedInTime(t *testing.T) {
	v, pool, turned := rig(t)
	v.batch = true
	client := v.client(t, pool)
	for range 120 {
		turned.Step(time.Minute)
		if _, err := client.KeepAlive(t.Context()); err != nil || !turned.Now().Before(client.Token().Expires) {
			t.Fatalf("the token ended: %v", err)
		}
	}
	if n := v.asked("auth/token/renew-self"); n != 0 || v.asked(login) < 3 {
		t.Errorf("%d renewals and %d logins, want none and some", n, v.asked(login))
	}
}

func TestARevokedSharedTokenLeadsToOneLoginForAllThatReadWithIt(t *testing.T) {
	v, pool, _ := rig(t)
	client := v.client(t, pool)
	v.revokeAll()
	var group sync.WaitGroup
	for range 200 {
		group.Go(func() {
			if _, err := client.Do(t.Context(), readShop); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := v.asked(login); n != 2 {
		t.Errorf("%d logins, want the first and one more", n)
	}
}

func TestARevokedPrivateTokenIsSaidToBeAndIsNeverReplaced(t *testing.T) {
	v, pool, _ := rig(t)
	client, err := pool.Private(t.Context(), connectionTo(v.URL, v.ca()), appRole("role"))
	if err != nil {
		t.Fatal(err)
	}
	v.revokeAll()
	for range 2 {
		if _, err := client.Do(t.Context(), readShop); secrets.ReasonOf(err) != secrets.TokenRevoked {
			t.Errorf("reason %q, want TokenRevoked: %v", secrets.ReasonOf(err), err)
		}
	}
	if n := v.asked(login); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
}

func TestAPrivateTokenThatMayNotLookItselfUpIsNotTakenForRevoked(t *testing.T) {
	v, pool, _ := rig(t)
	v.blind = true
	client, err := pool.Private(t.Context(), connectionTo(v.URL, v.ca()), appRole("role"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(t.Context(), secrets.Call{Method: http.MethodGet, Path: "secret/data/other"}); secrets.ReasonOf(err) != secrets.Forbidden {
		t.Errorf("reason %q, want Forbidden: %v", secrets.ReasonOf(err), err)
	}
	if _, err := client.Do(t.Context(), readShop); err != nil {
		t.Errorf("its token is lost: %v", err)
	}
}

func TestClosingRevokesSharedTokensAndNeverPrivateOnes(t *testing.T) {
	v, pool, _ := rig(t)
	shared := v.client(t, pool)
	private, err := pool.Private(t.Context(), connectionTo(v.URL, v.ca()), appRole("role"))
	if err != nil {
		t.Fatal(err)
	}
	kept := private.Token().Value
	pool.Close(t.Context())
	v.mu.Lock()
	left := len(v.tokens)
	v.mu.Unlock()
	if left != 1 || shared.Token().Value.Len() != 0 {
		t.Errorf("%d tokens are left, want the private one's", left)
	}
	next := NewPool(Options{Cluster: held{"shop/app/secretID": v.secretID}})
	t.Cleanup(func() { next.Close(t.Context()) })
	resumed, err := next.Resume(t.Context(), connectionTo(v.URL, v.ca()), appRole("role"), kept)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resumed.Do(t.Context(), readShop); err != nil {
		t.Error(err)
	}
	v.revokeAll()
	if _, err := next.Resume(t.Context(), connectionTo(v.URL, v.ca()), appRole("role"), kept); secrets.ReasonOf(err) != secrets.TokenRevoked {
		t.Errorf("reason %q, want TokenRevoked: %v", secrets.ReasonOf(err), err)
	}
}

func TestOnlyTheObjectDecidesWhatIsSent(t *testing.T) {
	for name, value := range map[string]string{
		"VAULT_TOKEN": "hvs.env", "VAULT_NAMESPACE": "env", "VAULT_ADDR": "http://127.0.0.1:1", "VAULT_CACERT": "/nowhere", "VAULT_HEADERS": "nonsense", "VAULT_SKIP_VERIFY": "nonsense", "VAULT_CLIENT_TIMEOUT": "-x",
	} {
		t.Setenv(name, value)
	}
	v, pool, _ := rig(t)
	conn := connectionTo(v.URL, v.ca())
	conn.Spec.VaultNamespace = "team/shop"
	client, err := pool.Client(t.Context(), conn, appRole("role"))
	if err != nil {
		t.Fatal(err)
	}
	if token := v.headers.Get("X-Vault-Token"); token != "" {
		t.Errorf("a login shows a token: %q", token)
	}
	if _, err := client.Do(t.Context(), readShop); err != nil {
		t.Fatal(err)
	}
	if v.headers.Get("X-Vault-Namespace") != "team/shop" || v.headers.Get("X-Vault-Request") != "true" || !strings.HasPrefix(v.headers.Get("X-Vault-Token"), "hvs."+canary) {
		t.Error("namespace, token or the mark of a request of Vault's is not as it should be")
	}
}

// Vault Secrets Operator #840: a secret stays at "Vault is sealed" after an unseal.
func TestTheSealWatchTellsOfSealAndUnsealOnceEach(t *testing.T) {
	s := realVault(t)
	pool := NewPool(Options{Cluster: held{"shop/app/secretID": real.secretID}})
	t.Cleanup(func() { pool.Close(t.Context()) })
	conn := connectionTo(s.Address(), s.CA())
	client, err := pool.Client(t.Context(), conn, appRole(real.roleID))
	must(t, err)
	changes := make(chan Health, 16)
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		pool.Watch(ctx, func() []*v1alpha1.VaultConnection { return []*v1alpha1.VaultConnection{conn} }, func(_ string, h Health) { changes <- h })
	})
	t.Cleanup(func() { stop(); group.Wait() })
	if h := <-changes; h.Reason != "" || h.Version == "" {
		t.Fatalf("first %+v, want a good one", h)
	}
	must(t, s.Seal(t.Context()))
	if h := <-changes; h.Reason != secrets.Sealed || !h.Sealed {
		t.Errorf("sealed it is %+v", h)
	}
	if _, err := client.Do(t.Context(), readShop); secrets.ReasonOf(err) != secrets.Sealed {
		t.Errorf("reason %q, want Sealed: %v", secrets.ReasonOf(err), err)
	}
	must(t, s.Unseal(t.Context()))
	if h := <-changes; h.Reason != "" || h.Sealed {
		t.Errorf("unsealed it is %+v", h)
	}
	if _, err := client.Do(t.Context(), readShop); err != nil {
		t.Errorf("after the unseal: %v", err)
	}
}

func TestARealTokenOfThreeSecondsIsKeptAndReplacedAndItsRevocationSeen(t *testing.T) {
	s := realVault(t)
	roleID, secretID, err := roleOf(t.Context(), s, "brief")
	must(t, err)
	pool := NewPool(Options{Cluster: held{"shop/app/secretID": secretID}})
	t.Cleanup(func() { pool.Close(t.Context()) })
	client, err := pool.Client(t.Context(), connectionTo(s.Address(), s.CA()), appRole(roleID))
	must(t, err)
	first, seen := client.Token().Accessor, map[string]bool{}
	deadline := time.Now().Add(10 * time.Second)
	clustertest.Until(t, "ten seconds passing", func() bool {
		if _, err := client.Do(t.Context(), readShop); err != nil {
			t.Fatal(err)
		}
		seen[client.Token().Accessor] = true
		return time.Now().After(deadline)
	})
	if !seen[first] || len(seen) < 2 {
		t.Errorf("%d tokens in ten seconds with six at most", len(seen))
	}
	_, err = s.Write(t.Context(), "auth/token/revoke-accessor", map[string]any{"accessor": client.Token().Accessor})
	must(t, err)
	if _, err := client.Do(t.Context(), readShop); err != nil {
		t.Errorf("a shared client does not log in again: %v", err)
	}
	private, err := pool.Private(t.Context(), connectionTo(s.Address(), s.CA()), appRole(roleID))
	must(t, err)
	_, err = s.Write(t.Context(), "auth/token/revoke-accessor", map[string]any{"accessor": private.Token().Accessor})
	must(t, err)
	if _, err := private.Do(t.Context(), readShop); secrets.ReasonOf(err) != secrets.TokenRevoked {
		t.Errorf("reason %q, want TokenRevoked: %v", secrets.ReasonOf(err), err)
	}
}

func TestMetricsAndLogsCountAndNameNoValue(t *testing.T) {
	v := imitate(t)
	registry := prometheus.NewPedanticRegistry()
	var log strings.Builder
	pool := NewPool(Options{
		Cluster: held{"shop/app/secretID": v.secretID}, Registerer: registry, Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	client := v.client(t, pool)
	if _, err := client.Do(t.Context(), readShop); err != nil {
		t.Fatal(err)
	}
	_, _ = client.Do(t.Context(), secrets.Call{Method: http.MethodGet, Path: "secret/data/other"})
	families, err := registry.Gather()
	must(t, err)
	text := fmt.Sprint(families)
	for _, name := range []string{"requests_total", "request_duration_seconds", "logins_total", "wait_seconds", "token_expiry_seconds"} {
		if !strings.Contains(text, "portcullis_vault_"+name) {
			t.Errorf("there is no %s", name)
		}
	}
	for _, family := range families {
		if family.GetName() == "portcullis_vault_requests_total" && count(family, "read") != 2 {
			t.Errorf("%v reads are counted, want 2", count(family, "read"))
		}
	}
	pool.Close(t.Context())
	if strings.Contains(text+log.String()+fmt.Sprintf("%+v %#v", client.Token(), client.Token()), canary) {
		t.Error("a value or a token is in metrics, logs or prints")
	}
}

func count(family *dto.MetricFamily, operation string) (sum float64) {
	for _, metric := range family.GetMetric() {
		for _, label := range metric.GetLabel() {
			if label.GetName() == "operation" && label.GetValue() == operation {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	return sum
}
