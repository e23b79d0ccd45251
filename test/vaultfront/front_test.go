package vaultfront_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/vaultfront"
	"github.com/portcullis-dev/portcullis/test/vaultserver"
	"github.com/portcullis-dev/portcullis/test/vaultserver/vaultservertest"
)

var shared = vaultservertest.Shared{Prepare: func(ctx context.Context, s *vaultserver.Server) error {
	return errors.Join(
		s.Mount(ctx, "secret", "kv", map[string]string{"version": "2"}, ""),
		s.WriteKV2(ctx, "secret", "shop", map[string]any{"password": "first"}),
	)
}}

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// behind is a front before the Vault that is shared, and a client of it.
func behind(t *testing.T) (*vaultfront.Front, *api.Client) {
	t.Helper()
	s := shared.Server(t)
	front, err := vaultfront.New(t.TempDir(), s.Address(), s.CA())
	must(t, err)
	t.Cleanup(func() { must(t, front.Close()) })
	return front, clientOf(t, front, s.RootToken())
}

func clientOf(t *testing.T, front *vaultfront.Front, token string) *api.Client {
	t.Helper()
	config := api.DefaultConfig()
	config.Address, config.AgentAddress, config.MaxRetries = front.Address(), "", 0
	must(t, config.ConfigureTLS(&api.TLSConfig{CACertBytes: front.CA()}))
	client, err := api.NewClient(config)
	must(t, err)
	client.SetToken(token)
	return client
}

func read(ctx context.Context, client *api.Client) error {
	secret, err := client.KVv2("secret").Get(ctx, "shop")
	if err == nil && secret.Data["password"] != "first" {
		return errors.New("what was read is not what was written")
	}
	return err
}

func status(err error) int {
	if answer, ok := errors.AsType[*api.ResponseError](err); ok {
		return answer.StatusCode
	}
	return 0
}

func TestWhatDoesNotFailIsVaultsOwnAnswer(t *testing.T) {
	front, client := behind(t)
	must(t, read(t.Context(), client))
	front.Fail(vaultfront.Fault{Method: http.MethodPut, Do: vaultfront.Sealed()})
	front.Fail(vaultfront.Fault{Path: "elsewhere/", Do: vaultfront.Sealed()})
	must(t, read(t.Context(), client)) // the faults are for others
	if _, err := client.Logical().ReadWithContext(t.Context(), "elsewhere/x"); status(err) != http.StatusServiceUnavailable {
		t.Errorf("the path of a fault: got %v, want a 503", err)
	}
	if _, err := client.Logical().WriteWithContext(t.Context(), "secret/data/x", nil); status(err) != http.StatusServiceUnavailable {
		t.Errorf("the method of a fault: got %v, want a 503", err)
	}
	front.Heal()
	must(t, read(t.Context(), client))
}

func TestAClientSeesEachFault(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(elsewhere.Close)
	front, client := behind(t)
	answered := func(want int, words string) func(*testing.T, error) {
		return func(t *testing.T, err error) {
			if status(err) != want || !strings.Contains(err.Error(), words) {
				t.Errorf("got %v, want a %d with %q", err, want, words)
			}
		}
	}
	as := func(want error) func(*testing.T, error) {
		return func(t *testing.T, err error) {
			if !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
	}
	for name, test := range map[string]struct {
		fault vaultfront.Fault
		check func(*testing.T, error)
	}{
		"forbidden":                  {vaultfront.Fault{Do: vaultfront.Forbidden()}, answered(403, "permission denied")},
		"a token that was revoked":   {vaultfront.Fault{Do: vaultfront.Unknown()}, answered(403, "invalid token")},
		"not found":                  {vaultfront.Fault{Do: vaultfront.Answer(404, `{"errors":[]}`)}, as(api.ErrSecretNotFound)},
		"behind":                     {vaultfront.Fault{Do: vaultfront.Answer(412, `{"errors":["required index state not present"]}`)}, answered(412, "index state")},
		"limited":                    {vaultfront.Fault{Do: vaultfront.Limited(7)}, answered(429, "rate limit quota exceeded")},
		"failing":                    {vaultfront.Fault{Do: vaultfront.Answer(500, `{"errors":["internal error"]}`)}, answered(500, "internal error")},
		"a proxy's page":             {vaultfront.Fault{Do: vaultfront.Page(502)}, answered(502, "<html>")},
		"sealed":                     {vaultfront.Fault{Do: vaultfront.Sealed()}, answered(503, "Vault is sealed")},
		"a page where JSON is due":   {vaultfront.Fault{Do: vaultfront.Page(200)}, func(t *testing.T, err error) { t.Helper(); notNil(t, err) }},
		"JSON that is none":          {vaultfront.Fault{Do: vaultfront.Garbage()}, func(t *testing.T, err error) { t.Helper(); notNil(t, err) }},
		"half an answer":             {vaultfront.Fault{Change: vaultfront.Half}, func(t *testing.T, err error) { t.Helper(); notNil(t, err) }},
		"a connection that is reset": {vaultfront.Fault{Do: vaultfront.Reset()}, as(syscall.ECONNRESET)},
	} {
		t.Run(name, func(t *testing.T) {
			front.Fail(test.fault)
			test.check(t, read(t.Context(), client))
			front.Heal()
			must(t, read(t.Context(), client)) // and nothing of it stays
		})
	}
	t.Run("a redirect elsewhere", func(t *testing.T) {
		front.Fail(vaultfront.Fault{Do: vaultfront.Redirect(elsewhere.URL)})
		defer front.Heal()
		response := ask(t, client)
		defer response.Body.Close()
		if got := response.Header.Get("Location"); response.StatusCode != http.StatusTemporaryRedirect || got != elsewhere.URL {
			t.Errorf("got %s to %q, want a 307 to %s", response.Status, got, elsewhere.URL)
		}
	})
}

func notNil(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("got no error")
	}
}

// ask asks for the secret as plain HTTP does, and follows no redirect.
func ask(t *testing.T, client *api.Client) *http.Response {
	t.Helper()
	plain := &http.Client{Transport: client.CloneConfig().HttpClient.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, client.Address()+"/v1/secret/data/shop", nil)
	must(t, err)
	request.Header.Set("X-Vault-Token", client.Token())
	response, err := plain.Do(request)
	must(t, err)
	return response
}

func TestHalfAnAnswerBeginsAsTheWholeOneDoes(t *testing.T) {
	front, client := behind(t)
	whole := ask(t, client)
	want, err := io.ReadAll(whole.Body)
	must(t, err)
	must(t, whole.Body.Close())
	front.Fail(vaultfront.Fault{Change: vaultfront.Half})
	half := ask(t, client)
	defer half.Body.Close()
	got, err := io.ReadAll(half.Body)
	if err == nil {
		t.Error("reading half of it is no error")
	}
	if half.StatusCode != http.StatusOK || half.ContentLength <= int64(len(got)) || len(got) == 0 {
		t.Errorf("got %s, %d of %d bytes", half.Status, len(got), half.ContentLength)
	}
	// Each answer has a request_id of its own in its first bytes.
	if prefix := `{"request_id":"`; !strings.HasPrefix(string(got), prefix) || !strings.HasPrefix(string(want), prefix) {
		t.Errorf("got %.20q, want the beginning of %.20q", got, want)
	}
}

func TestAnAnswerOfTooMuchIsFarOverEightMebibytes(t *testing.T) {
	front, client := behind(t)
	front.Fail(vaultfront.Fault{Do: vaultfront.Huge()})
	response := ask(t, client)
	defer response.Body.Close()
	if read, err := io.CopyN(io.Discard, response.Body, 32<<20); err != nil {
		t.Errorf("it ended after %d bytes: %v", read, err)
	}
}

func TestAFaultHappensAsOftenAsItSays(t *testing.T) {
	front, client := behind(t)
	front.Fail(vaultfront.Fault{Times: 1})
	front.Fail(vaultfront.Fault{Times: 2, Do: vaultfront.Sealed()})
	front.Fail(vaultfront.Fault{Times: 1, Do: vaultfront.Page(502)})
	for n, want := range []int{0, 503, 503, 502, 0} {
		err := read(t.Context(), client)
		if got := status(err); got != want || want == 0 && err != nil {
			t.Errorf("request %d: got %v, want status %d", n+1, err, want)
		}
	}
}

// What is answered in Vault's place must be what Vault answers, or tests hold clients to what never comes.
func TestImitatedAnswersAreThoseOfVault(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a Vault")
	}
	s, err := vaultserver.Start(t.Context(), vaultserver.Options{Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() { _ = s.Stop() })
	front, err := vaultfront.New(t.TempDir(), s.Address(), s.CA())
	must(t, err)
	t.Cleanup(func() { must(t, front.Close()) })
	must(t, s.Mount(t.Context(), "secret", "kv", map[string]string{"version": "2"}, ""))
	client := clientOf(t, front, s.RootToken())
	compare := func(t *testing.T, fault http.HandlerFunc) {
		t.Helper()
		real := ask(t, client)
		defer real.Body.Close()
		front.Fail(vaultfront.Fault{Do: fault})
		imitated := ask(t, client)
		defer imitated.Body.Close()
		front.Heal()
		errorsOf := func(response *http.Response) string {
			var body map[string][]string
			must(t, json.NewDecoder(response.Body).Decode(&body))
			if len(body) != 1 {
				t.Errorf("the body has %d fields, want errors", len(body))
			}
			return strings.Join(body["errors"], "\n")
		}
		if real.StatusCode < 300 {
			t.Fatalf("Vault answered %s", real.Status)
		}
		if got, want := imitated.Status, real.Status; got != want {
			t.Errorf("status: got %s, want %s", got, want)
		}
		if got, want := imitated.Header.Get("Content-Type"), real.Header.Get("Content-Type"); got != want {
			t.Errorf("content type: got %s, want %s", got, want)
		}
		if got, want := imitated.Header.Get("Retry-After") != "", real.Header.Get("Retry-After") != ""; got != want {
			t.Errorf("Retry-After: got one %v, want one %v", got, want)
		}
		if got, want := errorsOf(imitated), errorsOf(real); got != want {
			t.Errorf("errors: got %q, want %q", got, want)
		}
	}
	t.Run("not found", func(t *testing.T) { compare(t, vaultfront.Answer(http.StatusNotFound, `{"errors":[]}`)) })
	t.Run("forbidden", func(t *testing.T) {
		defer client.SetToken(s.RootToken())
		token, err := s.Client().Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"default"}})
		must(t, err)
		client.SetToken(token.Auth.ClientToken)
		compare(t, vaultfront.Forbidden())
		must(t, s.Client().Auth().Token().RevokeTreeWithContext(t.Context(), token.Auth.ClientToken))
		compare(t, vaultfront.Unknown())
		client.SetToken("nobody's")
		compare(t, vaultfront.Unknown())
	})
	t.Run("limited", func(t *testing.T) {
		_, err := s.Write(t.Context(), "sys/quotas/config", map[string]any{"enable_rate_limit_response_headers": true})
		must(t, err)
		_, err = s.Write(t.Context(), "sys/quotas/rate-limit/secret", map[string]any{"path": "secret/", "rate": 1, "interval": "1m"})
		must(t, err)
		clustertest.Until(t, "the quota is used up", func() bool {
			response := ask(t, client)
			defer response.Body.Close()
			return response.StatusCode == http.StatusTooManyRequests
		})
		compare(t, vaultfront.Limited(7))
	})
	t.Run("sealed", func(t *testing.T) {
		must(t, s.Seal(t.Context()))
		compare(t, vaultfront.Sealed())
	})
}

func TestASlowAnswerComesWhenItIsReleased(t *testing.T) {
	front, client := behind(t)
	for name, fault := range map[string]func(<-chan struct{}) vaultfront.Fault{
		"Vault answered late": func(release <-chan struct{}) vaultfront.Fault {
			return vaultfront.Fault{Change: vaultfront.Late(release)}
		},
		"nothing was done": func(release <-chan struct{}) vaultfront.Fault { return vaultfront.Fault{Do: vaultfront.Hang(release)} },
	} {
		t.Run(name, func(t *testing.T) {
			defer front.Heal()
			release := make(chan struct{})
			front.Fail(fault(release))
			front.Forget()
			impatient, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := read(impatient, client); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("before it is released: got %v, want the end of the client's patience", err)
			}
			answer := make(chan error, 1)
			go func() { answer <- read(t.Context(), client) }()
			clustertest.Until(t, "the second request", func() bool { return front.Count("", "secret/") == 2 })
			select {
			case err := <-answer:
				t.Fatalf("it came before it was released: %v", err)
			default:
			}
			close(release)
			if err := <-answer; (err == nil) != (name == "Vault answered late") {
				t.Errorf("after it is released: got %v", err)
			}
		})
	}
}

func TestAHangEndsWithTheFront(t *testing.T) {
	front, client := behind(t)
	front.Fail(vaultfront.Fault{Do: vaultfront.Hang(nil)})
	answer := make(chan error, 1)
	go func() { answer <- read(t.Context(), client) }()
	clustertest.Until(t, "the request", func() bool { return front.Count("", "secret/") == 1 })
	must(t, front.Down())
	notNil(t, <-answer)
}

func TestConnectionsThatAreThereSeeAnotherCertificateToo(t *testing.T) {
	front, client := behind(t)
	for name, test := range map[string]struct {
		serve func() error
		check func(error) bool
	}{
		"it has expired": {front.ServeExpiredCertificate, func(err error) bool {
			invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
			return ok && invalid.Reason == x509.Expired
		}},
		"it is for another name": {front.ServeCertificateForAnotherName, func(err error) bool {
			_, ok := errors.AsType[x509.HostnameError](err)
			return ok
		}},
		"it is of another authority": {func() error { return front.ServeCertificateOfAnotherAuthority(t.TempDir()) }, func(err error) bool {
			_, ok := errors.AsType[x509.UnknownAuthorityError](err)
			return ok
		}},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, read(t.Context(), client)) // leaves a connection
			must(t, test.serve())
			clustertest.Eventually(t, "the client's refusal", func() error { // it may see its connection end first
				err := read(t.Context(), client)
				if _, verified := errors.AsType[*tls.CertificateVerificationError](err); !verified {
					return errors.New("no certificate was refused")
				}
				if !test.check(err) {
					t.Fatalf("refused for another reason: %v", err)
				}
				return nil
			})
			must(t, front.ServeGoodCertificate())
			must(t, read(t.Context(), client))
		})
	}
}

func TestAPortIsClosedAndOpenedAgain(t *testing.T) {
	front, client := behind(t)
	must(t, read(t.Context(), client))
	must(t, front.Down())
	must(t, front.Down()) // it is
	clustertest.Eventually(t, "the refused connection", func() error {
		if err := read(t.Context(), client); !errors.Is(err, syscall.ECONNREFUSED) {
			return errors.New("not refused")
		}
		return nil
	})
	must(t, front.Up(t.Context()))
	must(t, front.Up(t.Context())) // it is
	must(t, read(t.Context(), client))
}

func TestRequestsAreRecordedWithoutTheirTokens(t *testing.T) {
	front, client := behind(t)
	started := time.Now()
	client.SetNamespace("team")
	_ = read(t.Context(), client) // Vault without Enterprise takes no notice, or refuses it
	client.ClearNamespace()
	client.ClearToken()
	_, err := client.Sys().HealthWithContext(t.Context())
	must(t, err)
	got := front.Requests()
	if len(got) != 2 {
		t.Fatalf("got %d requests, want 2", len(got))
	}
	first, second := got[0], got[1]
	if first.Method != http.MethodGet || first.Path != "secret/data/shop" || first.Namespace != "team" || len(first.Token) != 64 || first.Time.Before(started) {
		t.Errorf("the first is recorded as %+v", first)
	}
	if strings.Contains(first.Token, shared.Server(t).RootToken()) {
		t.Error("the token is recorded as it is")
	}
	if second.Path != "sys/health" || second.Namespace != "" || second.Token != "" {
		t.Errorf("the second is recorded as %+v", second)
	}
	if front.Count("", "") != 2 || front.Count(http.MethodGet, "secret/") != 1 || front.Count(http.MethodPut, "") != 0 {
		t.Error("they are not counted by method and path")
	}
	front.Forget()
	if left := front.Count("", ""); left != 0 {
		t.Errorf("%d are left after all were forgotten", left)
	}
}

func TestTheMostRequestsOfAnySpanAreCounted(t *testing.T) {
	front, client := behind(t)
	if got := front.Most("", "", time.Hour); got != 0 {
		t.Errorf("of none: got %d", got)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := read(t.Context(), client); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := front.Most(http.MethodGet, "secret/", time.Hour); got != 20 {
		t.Errorf("in an hour: got %d, want all 20", got)
	}
	if got := front.Most(http.MethodGet, "secret/", time.Nanosecond); got >= 20 {
		t.Errorf("in a nanosecond: got %d, want fewer", got)
	}
	if got := front.Most(http.MethodPut, "", time.Hour); got != 0 {
		t.Errorf("of another method: got %d, want none", got)
	}
}

func TestFaultsAreInjectedWhileRequestsCome(t *testing.T) {
	front, client := behind(t)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				_ = read(ctx, client)
			}
		})
	}
	for range 5 {
		front.Fail(vaultfront.Fault{Times: 3, Do: vaultfront.Reset()})
		front.Fail(vaultfront.Fault{Times: 3, Change: vaultfront.Half})
		must(t, front.ServeGoodCertificate())
		must(t, front.Down())
		must(t, front.Up(t.Context()))
		before := front.Count("", "")
		clustertest.Until(t, "further requests", func() bool { return front.Count("", "") > before+6 })
		front.Heal()
	}
	cancel()
	all.Wait()
	must(t, read(t.Context(), client))
}
