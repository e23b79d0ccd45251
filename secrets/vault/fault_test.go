package vault

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/test/vaultfront"
)

var readShop = secrets.Call{Method: http.MethodGet, Path: "secret/data/shop"}

// behindFront has a front before a Vault, and a client that has logged in through it.
func behindFront(t *testing.T, address string, ca []byte, roleID, secretID string, timeout time.Duration) (*vaultfront.Front, func() (*Client, error)) {
	t.Helper()
	front, err := vaultfront.New(t.TempDir(), address, ca)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	pool := NewPool(Options{Cluster: held{"shop/app/secretID": secretID}})
	t.Cleanup(func() { _ = front.Close(); pool.Close(t.Context()) })
	conn := connectionTo(front.Address(), front.CA())
	conn.Spec.Timeout = &metav1.Duration{Duration: timeout}
	return front, func() (*Client, error) { return pool.Client(t.Context(), conn, appRole(roleID)) }
}

func TestEveryFaultHasItsReason(t *testing.T) {
	t.Run("before the imitation", func(t *testing.T) {
		v := imitate(t)
		testFaults(t, v.URL, v.ca(), "role", v.secretID)
	})
	t.Run("before a real Vault", func(t *testing.T) {
		s := realVault(t)
		testFaults(t, s.Address(), s.CA(), real.roleID, real.secretID)
	})
}

func testFaults(t *testing.T, address string, ca []byte, roleID, secretID string) {
	var strayed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
	t.Cleanup(elsewhere.Close)
	write := secrets.Call{Method: http.MethodPost, Path: "secret/data/shop", Body: map[string]any{"password": canary}}
	do := func(handler http.HandlerFunc) *vaultfront.Fault {
		return &vaultfront.Fault{Path: "secret/", Do: handler}
	}
	quote := fmt.Sprintf(`{"errors":["no %s"]}`, canary)
	for name, test := range map[string]struct {
		fault   *vaultfront.Fault
		before  func(*testing.T, *vaultfront.Front) // what happens to the front before anybody connects
		after   func(*testing.T, *vaultfront.Front) // and after the login
		call    secrets.Call
		timeout time.Duration
		want    secrets.Reason
		words   string
		waits   time.Duration
		sent    int
		secret  string // the secret id, where it is not the good one
	}{
		"nothing fails":                            {call: readShop, sent: 1},
		"Vault is sealed":                          {call: readShop, fault: do(vaultfront.Sealed()), want: secrets.Sealed, words: "unseal", sent: 1},
		"nobody listens":                           {call: readShop, after: func(t *testing.T, f *vaultfront.Front) { must(t, f.Down()) }, want: secrets.Unreachable},
		"the connection is reset":                  {call: write, fault: do(vaultfront.Reset()), want: secrets.Unreachable},
		"no answer comes in time":                  {call: readShop, fault: do(vaultfront.Hang(nil)), timeout: 2 * time.Second, want: secrets.Slow, words: "2s", sent: 1},
		"half an answer comes":                     {call: readShop, fault: &vaultfront.Fault{Path: "secret/", Change: vaultfront.Half}, want: secrets.Truncated},
		"the answer is no JSON":                    {call: readShop, fault: do(vaultfront.Garbage()), want: secrets.Malformed},
		"the answer does not end":                  {call: readShop, fault: do(vaultfront.Huge()), want: secrets.Malformed, words: "8 MiB"},
		"a proxy answers 200 with a page":          {call: readShop, fault: do(vaultfront.Page(http.StatusOK)), want: secrets.Malformed},
		"a proxy answers 404 with a page":          {call: readShop, fault: do(vaultfront.Page(http.StatusNotFound)), want: secrets.Malformed},
		"a proxy answers 404 with JSON of its own": {call: readShop, fault: do(vaultfront.Answer(http.StatusNotFound, `{"message":"no route"}`)), want: secrets.Malformed},
		"a proxy answers 403 with a page":          {call: readShop, fault: do(vaultfront.Page(http.StatusForbidden)), want: secrets.Malformed},
		"a proxy answers 502":                      {call: readShop, fault: do(vaultfront.Page(http.StatusBadGateway)), want: secrets.Failed, sent: 1},
		"a redirect to another host":               {call: readShop, fault: do(vaultfront.Redirect(elsewhere.URL)), want: secrets.Malformed, words: "redirect", sent: 1},
		"the certificate has expired":              {call: readShop, before: func(t *testing.T, f *vaultfront.Front) { must(t, f.ServeExpiredCertificate()) }, want: secrets.Untrusted, words: time.Now().UTC().Format("2006-")},
		"the certificate is for another name":      {call: readShop, before: func(t *testing.T, f *vaultfront.Front) { must(t, f.ServeCertificateForAnotherName()) }, want: secrets.Untrusted, words: "another name"},
		"the certificate is of an unknown issuer":  {call: readShop, before: func(t *testing.T, f *vaultfront.Front) { must(t, f.ServeCertificateOfAnotherAuthority(t.TempDir())) }, want: secrets.Untrusted, words: "caBundle"},
		"policies do not allow it":                 {call: secrets.Call{Method: http.MethodGet, Path: "secret/data/other"}, want: secrets.Forbidden, sent: 1},
		"there is nothing":                         {call: secrets.Call{Method: http.MethodGet, Path: "secret/data/missing"}, want: secrets.NotFound, sent: 1},
		"a quota of Vault's is used up":            {call: readShop, fault: do(vaultfront.Limited(7)), want: secrets.RateLimited, waits: 7 * time.Second, sent: 1},
		"a standby stays behind":                   {call: readShop, fault: do(vaultfront.Answer(http.StatusPreconditionFailed, `{"errors":["required index state not present"]}`)), want: secrets.Behind, sent: behindTries},
		"a standby is behind for a moment":         {call: readShop, fault: &vaultfront.Fault{Path: "secret/", Times: 2, Do: vaultfront.Answer(http.StatusPreconditionFailed, `{"errors":[]}`)}, sent: 3},
		"Vault fails and quotes a value":           {call: readShop, fault: do(vaultfront.Answer(http.StatusInternalServerError, quote)), want: secrets.Failed, sent: 1},
		"Vault refuses a write and quotes a value": {call: write, fault: do(vaultfront.Answer(http.StatusBadRequest, quote)), want: secrets.Refused, sent: 1},
		"Vault refuses a read and quotes a value":  {call: readShop, fault: do(vaultfront.Answer(http.StatusBadRequest, `{"errors":["`+canary+`"]}`)), want: secrets.Refused, words: "refuses", sent: 1},
		"the path climbs":                          {call: secrets.Call{Method: http.MethodGet, Path: "secret/data/../../sys/seal"}, want: secrets.Misconfigured},
		"the secret id is wrong":                   {call: readShop, secret: canary + "-wrong", want: secrets.LoginFailed, words: "Secret shop/app"},
		"Vault refuses a login and quotes a value": {call: readShop, fault: &vaultfront.Fault{Path: "auth/", Do: vaultfront.Answer(http.StatusBadRequest, quote)}, want: secrets.LoginFailed},
		"Vault is sealed when somebody logs in":    {call: readShop, fault: &vaultfront.Fault{Path: "auth/", Do: vaultfront.Sealed()}, want: secrets.Sealed},
		"a login is answered with a page":          {call: readShop, fault: &vaultfront.Fault{Path: "auth/", Do: vaultfront.Page(http.StatusOK)}, want: secrets.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			timeout := test.timeout
			if timeout == 0 {
				timeout = 30 * time.Second
			}
			id := secretID
			if test.secret != "" {
				id = test.secret
			}
			front, login := behindFront(t, address, ca, roleID, id, timeout)
			if test.before != nil {
				test.before(t, front)
			}
			if test.fault != nil {
				front.Fail(*test.fault)
			}
			client, err := login()
			if test.after != nil {
				test.after(t, front)
			}
			var reply *secrets.Reply
			if err == nil {
				reply, err = client.Do(t.Context(), test.call)
			}
			if got := secrets.ReasonOf(err); got != test.want {
				t.Fatalf("reason %q, want %q: %v", got, test.want, err)
			}
			if test.sent > 0 && front.Count("", "secret/") != test.sent {
				t.Errorf("%d requests, want %d", front.Count("", "secret/"), test.sent)
			}
			if err == nil {
				if data, _ := reply.Data["data"].(map[string]any); data["password"] != canary {
					t.Errorf("the answer lacks the value")
				}
				return
			}
			failed := err.(*secrets.Error)
			if !strings.Contains(failed.Message, test.words) || failed.Message == "" {
				t.Errorf("message %q lacks %q", failed.Message, test.words)
			}
			if failed.After != test.waits {
				t.Errorf("asked to wait %s, want %s", failed.After, test.waits)
			}
			for _, print := range []string{err.Error(), fmt.Sprintf("%+v", *failed), fmt.Sprintf("%#v", *failed)} {
				if strings.Contains(print, canary) || strings.Contains(print, secretID) || strings.Contains(print, "hvs.") || strings.ContainsAny(failed.Message, "\n\r") {
					t.Errorf("a value, a token or a second line in %q", print)
				}
			}
		})
	}
	if n := strayed.Load(); n != 0 {
		t.Errorf("%d requests followed a redirect to another host, with the token", n)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
