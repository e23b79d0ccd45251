package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// request is what a receiver was sent.
type request struct {
	method, path string
	header       http.Header
	body         []byte
}

// receiver is a web server with TLS that notes what it is sent and answers as it is told.
type receiver struct {
	*httptest.Server
	ca string // a file with its authority

	mu     sync.Mutex
	got    []request
	answer func(w http.ResponseWriter, attempt int)
}

func newReceiver(t *testing.T, answer func(http.ResponseWriter, int)) *receiver {
	t.Helper()
	r := &receiver{answer: answer, ca: filepath.Join(t.TempDir(), "ca.pem")}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.got = append(r.got, request{q.Method, q.URL.RequestURI(), q.Header, body})
		attempt := len(r.got)
		r.mu.Unlock()
		if r.answer != nil {
			r.answer(w, attempt)
		}
	}))
	t.Cleanup(r.Close)
	write(t, r.ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})))
	return r
}

func (r *receiver) requests() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]request(nil), r.got...)
}

func (r *receiver) one(t *testing.T) request {
	t.Helper()
	all := r.requests()
	if len(all) != 1 {
		t.Fatalf("got %d requests, want 1", len(all))
	}
	return all[0]
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// only is the receiver that a configuration has.
func only(t *testing.T, config string, arguments ...any) Receiver {
	t.Helper()
	routes := routes(t, config, arguments...)
	if len(routes) != 1 {
		t.Fatalf("got %d routes, want 1", len(routes))
	}
	return routes[0].Receiver
}

func routes(t *testing.T, config string, arguments ...any) []Route {
	t.Helper()
	read, err := ReadConfig(fmt.Appendf(nil, config, arguments...))
	if err != nil {
		t.Fatal(err)
	}
	all, err := read.Routes(Surroundings{Environment: func(name string) (string, bool) { return "from-" + name, name == "HOOK_TOKEN" }})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func send(t *testing.T, to Receiver, messages ...Message) {
	t.Helper()
	for _, m := range messages {
		if err := to.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

// decode reads JSON strictly into a value.
func decode(t *testing.T, raw []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
}

// alertsOf checks that a request is what Alertmanager takes, and gives the alerts as "name severity firing". The rules are those of
// postableAlerts and labelSet in https://github.com/prometheus/alertmanager/blob/v0.28.0/api/v2/openapi.yaml, and of Alert.Validate in
// https://github.com/prometheus/common/blob/v0.62.0/model/alert.go.
func alertsOf(t *testing.T, q request, now time.Time) []string {
	t.Helper()
	if q.method != http.MethodPost || !strings.HasSuffix(q.path, "/api/v2/alerts") || q.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %s %s of %s, want a POST of JSON to /api/v2/alerts", q.method, q.path, q.header.Get("Content-Type"))
	}
	var posted []struct {
		Labels, Annotations map[string]string
		StartsAt, EndsAt    time.Time
	}
	decode(t, q.body, &posted)
	name := regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	var said []string
	for _, alert := range posted {
		for _, set := range []map[string]string{alert.Labels, alert.Annotations} {
			for key, value := range set {
				if !name.MatchString(key) || value == "" {
					t.Errorf("got the label or annotation %q=%q, which Alertmanager does not take", key, value)
				}
			}
		}
		if !alert.StartsAt.IsZero() && alert.EndsAt.Before(alert.StartsAt) {
			t.Errorf("got an alert from %v to %v: it ends before it starts", alert.StartsAt, alert.EndsAt)
		}
		state := "resolved"
		if alert.EndsAt.After(now) {
			state = "fires"
		}
		said = append(said, fmt.Sprintf("%s %s %s", alert.Labels["alertname"], alert.Labels["severity"], state))
	}
	return said
}

const alertmanagerConfig = `
cluster: production
receivers:
  - name: oncall
    alertmanager: {url: "%s/am", caFile: "%s", labels: {team: security}}
`

func TestAnAlertFiresUntilTheQuarantineIsOver(t *testing.T) {
	server := newReceiver(t, nil)
	to := only(t, alertmanagerConfig, server.URL, server.ca)
	residual := shell(func(q *v1alpha1.Quarantine) {
		q.Status.Verdict, q.Status.Residual = "Residual", []string{"egress to anything, UDP 53: NetworkPolicy shop/allow-dns"}
	})
	for n, step := range []struct {
		m    Message
		want string
	}{
		{About(KindAwaitingApproval, shell(), noon, "x"), "PortcullisQuarantineAwaitsApproval critical fires"},
		{About(KindContaining, shell(), noon, "x"), "PortcullisQuarantine critical fires, PortcullisQuarantineAwaitsApproval critical resolved"},
		{About(KindContained, residual, noon, "x"), "PortcullisQuarantine critical fires, PortcullisQuarantineIncomplete critical fires"},
		{About(KindVerdictChanged, shell(), noon, "x"), "PortcullisQuarantine critical fires, PortcullisQuarantineIncomplete critical resolved"},
		{About(KindStepFailed, shell(), noon, "x"), "PortcullisQuarantineStepFailed critical fires"},
		{About(KindReleased, shell(), noon, "x"), "PortcullisQuarantine critical resolved, PortcullisQuarantineStepFailed critical resolved"},
	} {
		send(t, to, step.m)
		got := strings.Join(alertsOf(t, server.requests()[n], noon), ", ")
		if got != step.want {
			t.Errorf("%s: got %s, want %s", step.m.Details().Kind, got, step.want)
		}
	}
	var first []struct{ Labels map[string]string }
	decode(t, server.requests()[0].body, &first)
	want := "map[alertname:PortcullisQuarantineAwaitsApproval cluster:production namespace:shop pod:web-7d9f-abcde quarantine:q-0123456789abcdef0123 severity:critical team:security]"
	if got := fmt.Sprint(first[0].Labels); got != want {
		t.Errorf("labels: got %s, want %s", got, want)
	}
	if got, want := server.requests()[0].path, "/am/api/v2/alerts"; got != want {
		t.Errorf("path: got %s, want %s", got, want)
	}
}

func TestAnAlertEndsWithTheQuarantineThoughNobodyPostsAgain(t *testing.T) {
	server := newReceiver(t, nil)
	send(t, only(t, alertmanagerConfig, server.URL, server.ca), About(KindContained, shell(), noon, "x"))
	var posted []struct{ StartsAt, EndsAt time.Time }
	decode(t, server.one(t).body, &posted)
	if want := noon.Add(24 * time.Hour); !posted[0].EndsAt.Equal(want) || !posted[0].StartsAt.Equal(noon) {
		t.Errorf("got %+v, want from %v until the TTL of the quarantine, %v", posted, noon, want)
	}
}

func TestARaisedSeverityEndsTheAlertWithTheLowerOne(t *testing.T) {
	server := newReceiver(t, nil)
	to := only(t, alertmanagerConfig, server.URL, server.ca)
	mild := shell(func(q *v1alpha1.Quarantine) { q.Spec.Triggers[0].Severity = "medium" })
	send(t, to, About(KindContaining, mild, noon, "x"), About(KindContained, shell(), noon, "x"))
	got, want := strings.Join(alertsOf(t, server.requests()[1], noon), ", "), "PortcullisQuarantine critical fires, PortcullisQuarantine medium resolved"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestARestartedProcessEndsAlertsOfTheOneBefore(t *testing.T) {
	server := newReceiver(t, nil)
	high := shell(func(q *v1alpha1.Quarantine) { q.Spec.Triggers[0].Severity = "high" })
	send(t, only(t, alertmanagerConfig, server.URL, server.ca), About(KindReleased, high, noon, "x"))
	got := strings.Join(alertsOf(t, server.one(t), noon), ", ")
	for _, want := range []string{"PortcullisQuarantine high resolved", "PortcullisQuarantine medium resolved", "PortcullisQuarantineIncomplete high resolved"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s among it", got, want)
		}
	}
	if strings.Contains(got, "fires") || strings.Contains(got, "critical") {
		t.Errorf("got %s, want nothing that fires, and no severity above that of the quarantine", got)
	}
}

func TestTheBreakerIsAnAlert(t *testing.T) {
	server := newReceiver(t, nil)
	to := only(t, alertmanagerConfig, server.URL, server.ca)
	send(t, to,
		NewMessage(Details{Kind: KindBreakerOpened, Time: noon, Severity: Critical, Until: noon.Add(15 * time.Minute), Reason: "more than 50 plans in 1m"}),
		NewMessage(Details{Kind: KindBreakerClosed, Time: noon.Add(15 * time.Minute), Severity: Critical}))
	got := strings.Join(alertsOf(t, server.requests()[0], noon), ", ") + "; " + strings.Join(alertsOf(t, server.requests()[1], noon.Add(15*time.Minute)), ", ")
	if want := "PortcullisCircuitBreakerOpen critical fires; PortcullisCircuitBreakerOpen critical resolved"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEachAlertmanagerOfAClusterIsToldOnItsOwn(t *testing.T) {
	all := routes(t, `receivers: [{name: oncall, severity: high, alertmanager: {urls: ["https://am-0.example", "https://am-1.example"]}}]`)
	if len(all) != 2 || all[0].Receiver.Name() != "oncall/0" || all[1].Receiver.Name() != "oncall/1" || all[1].Severity != High {
		t.Errorf("got %+v, want two routes, oncall/0 and oncall/1, with the same filter", all)
	}
}

func TestAChatGetsWhatItShowsAsItIs(t *testing.T) {
	server := newReceiver(t, func(w http.ResponseWriter, _ int) { _, _ = io.WriteString(w, "ok") })
	hook := filepath.Join(t.TempDir(), "url")
	write(t, hook, server.URL+"/services/T0/B0/s3cr3t\n")
	to := only(t, "cluster: production\nreceivers: [{name: chat, slack: {urlFile: %q, caFile: %q}}]", hook, server.ca)
	hostile := "<!channel> @all [click](http://evil.example) `rm` & **now**"
	q := shell(func(q *v1alpha1.Quarantine) { q.Spec.Triggers[0].Output = hostile; q.Spec.Pod.Name = "<!here>" })
	send(t, to, About(KindContained, q, noon, hostile))
	got := server.one(t)
	if got.path != "/services/T0/B0/s3cr3t" || !strings.HasPrefix(got.header.Get("Content-Type"), "application/json") {
		t.Errorf("got %s of %s, want JSON for the address in the file", got.path, got.header.Get("Content-Type"))
	}
	var m struct {
		Text        string
		Mrkdwn      *bool
		Attachments []struct {
			Color, Text string
			MrkdwnIn    []string `json:"mrkdwn_in"`
			Fields      []struct{ Title, Value string }
		}
	}
	decode(t, got.body, &m)
	if m.Mrkdwn == nil || *m.Mrkdwn || len(m.Attachments) != 1 || m.Attachments[0].MrkdwnIn == nil || len(m.Attachments[0].MrkdwnIn) > 0 {
		t.Errorf("got %s, want markup off", got.body)
	}
	if want := "[production] Quarantined: pod shop/&lt;!here&gt;: Isolated"; m.Text != want {
		t.Errorf("text: got %q, want %q", m.Text, want)
	}
	if m.Attachments[0].Color != "danger" {
		t.Errorf("colour: got %q, want danger for what is critical", m.Attachments[0].Color)
	}
	all := m.Text + m.Attachments[0].Text
	for _, field := range m.Attachments[0].Fields {
		all += field.Value
	}
	for _, live := range []string{"<", ">", "@all", "](", "://", "`"} {
		if strings.Contains(all, live) {
			t.Errorf("got %q, which a chat makes something of: %s", live, all)
		}
	}
}

// attributes that CloudEvents 1.0.2 requires, and what they look like (section "Required Attributes").
var required = map[string]*regexp.Regexp{
	"specversion": regexp.MustCompile(`^1\.0$`), "id": regexp.MustCompile(`^[0-9a-f]{32}$`), "source": regexp.MustCompile(`^/portcullis/production/responder$`),
	"type": regexp.MustCompile(`^dev\.portcullis\.runtime\.contained$`), "subject": regexp.MustCompile(`^quarantines/q-0123456789abcdef0123$`),
	"time": regexp.MustCompile(`^2026-11-28T12:00:00Z$`), "dataschema": regexp.MustCompile(`^https://`), "severity": regexp.MustCompile(`^critical$`),
}

func TestCloudEventsHaveTheAttributesOfTheSpecification(t *testing.T) {
	for _, mode := range []string{ModeStructured, ModeBinary} {
		t.Run(mode, func(t *testing.T) {
			server := newReceiver(t, func(w http.ResponseWriter, _ int) { w.WriteHeader(http.StatusAccepted) })
			to := only(t, `{cluster: production, receivers: [{name: bus, cloudEvents: {url: "%s/in?x=1", caFile: "%s", tokenEnv: HOOK_TOKEN, mode: %s}}]}`, server.URL, server.ca, mode)
			send(t, to, About(KindContained, shell(), noon, "done"))
			got := server.one(t)
			if got.header.Get("Authorization") != "Bearer from-HOOK_TOKEN" || got.path != "/in?x=1" {
				t.Errorf("got %s with %q, want the token and the address as they are", got.path, got.header.Get("Authorization"))
			}
			attributes, data := map[string]string{}, got.body
			if mode == ModeBinary {
				if media := got.header.Get("Content-Type"); media != "application/json" {
					t.Errorf("content type: got %q, want that of the data", media)
				}
				for name := range got.header {
					if attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-"); ok {
						attributes[attribute] = got.header.Get(name)
					}
				}
			} else {
				if media := got.header.Get("Content-Type"); !strings.HasPrefix(media, "application/cloudevents+json") {
					t.Errorf("content type: got %q, want application/cloudevents+json", media)
				}
				var event map[string]json.RawMessage
				decode(t, got.body, &event)
				data = event["data"]
				delete(event, "data")
				for name, raw := range event {
					var text string
					decode(t, raw, &text)
					attributes[name] = text
				}
				if attributes["datacontenttype"] != "application/json" {
					t.Errorf("datacontenttype: got %q", attributes["datacontenttype"])
				}
			}
			for name, want := range required {
				if !want.MatchString(attributes[name]) {
					t.Errorf("attribute %s: got %q, want %v", name, attributes[name], want)
				}
			}
			var said struct {
				Title, Cluster, Verdict string
				Pod                     Pod
			}
			decode(t, data, &said)
			if said.Title == "" || said.Cluster != "production" || said.Verdict != "Isolated" || said.Pod.UID == "" {
				t.Errorf("data: got %+v of %s", said, data)
			}
		})
	}
}

func TestAttributesInHeadersAreEncoded(t *testing.T) {
	for text, want := range map[string]string{"plain-1.0": "plain-1.0", "Euro € ": "Euro%20%E2%82%AC%20", "a\"b%c": "a%22b%25c", "x\r\ny": "x%0D%0Ay"} {
		if got := headerValue(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

const busConfig = `receivers: [{name: bus, cloudEvents: {url: "%s", caFile: "%s"}}]`

func TestWhatAReceiverAnswersIsUnderstood(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		header  string
		refused bool
		after   time.Duration
		failed  bool
	}{
		"taken":                        {status: 200},
		"taken, without content":       {status: 204},
		"it will never take it":        {status: 400, refused: true, failed: true},
		"too large":                    {status: 413, refused: true, failed: true},
		"it does not know us yet":      {status: 401, failed: true},
		"it is not there yet":          {status: 404, failed: true},
		"it is asked too much":         {status: 429, header: "17", after: 17 * time.Second, failed: true},
		"it is being mended":           {status: 503, failed: true},
		"it has moved somewhere":       {status: 307, failed: true},
		"nonsense in Retry-After":      {status: 429, header: "soon", failed: true},
		"a negative time to come back": {status: 429, header: "-5", failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			elsewhere := newReceiver(t, nil)
			server := newReceiver(t, func(w http.ResponseWriter, _ int) {
				if test.header != "" {
					w.Header().Set("Retry-After", test.header)
				}
				w.Header().Set("Location", elsewhere.URL)
				w.WriteHeader(test.status)
			})
			err := only(t, busConfig, server.URL, server.ca).Send(t.Context(), about("web", "x", High))
			var later *RetryError
			after := time.Duration(0)
			if errors.As(err, &later) {
				after = later.After
			}
			if (err != nil) != test.failed || errors.Is(err, ErrRefused) != test.refused || after != test.after {
				t.Errorf("got %v (again after %v), want an error: %v, refused: %v, again after %v", err, after, test.failed, test.refused, test.after)
			}
			if got := len(elsewhere.requests()); got != 0 {
				t.Errorf("a redirect was followed: %d requests", got)
			}
		})
	}
}

func TestRetryAfterMayBeADate(t *testing.T) {
	if got := retryAfter(noon.Add(90*time.Second).Format(http.TimeFormat), noon); got != 90*time.Second {
		t.Errorf("got %v, want 90 s", got)
	}
	if got := retryAfter(noon.Add(-time.Hour).Format(http.TimeFormat), noon); got != 0 {
		t.Errorf("got %v of the past, want 0", got)
	}
}

func TestSecretsAreReadAnewAndNotSaid(t *testing.T) {
	server := newReceiver(t, nil)
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "first-token\n")
	to := only(t, `receivers: [{name: bus, cloudEvents: {url: "%s", caFile: "%s", tokenFile: "%s"}}]`, server.URL, server.ca, file)
	send(t, to, about("web", "1", High))
	write(t, file, "second-token\n")
	send(t, to, about("web", "2", High))
	for n, want := range []string{"Bearer first-token", "Bearer second-token"} {
		if got := server.requests()[n].header.Get("Authorization"); got != want {
			t.Errorf("message %d: got %q, want %q", n+1, got, want)
		}
	}

	hook := filepath.Join(t.TempDir(), "url")
	write(t, hook, "https://127.0.0.1:1/services/s3cr3t")
	err := only(t, `receivers: [{name: chat, slack: {urlFile: "%s"}}]`, hook).Send(t.Context(), about("web", "x", High))
	if err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v, want an error with the host and without the path, which is a secret", err)
	}
}

func TestAServerThatIsNotTheOneIsToldNothing(t *testing.T) {
	server, other := newReceiver(t, nil), newReceiver(t, nil)
	// Both have the certificate of httptest: another authority stands for another server.
	write(t, other.ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: selfSigned(t)})))
	err := only(t, busConfig, server.URL, other.ca).Send(t.Context(), about("web", "x", High))
	var unknown x509.UnknownAuthorityError
	var verification *tls.CertificateVerificationError
	if !errors.As(err, &unknown) && !errors.As(err, &verification) || len(server.requests()) != 0 {
		t.Errorf("got %v and %d requests, want a certificate that is not trusted, and none", err, len(server.requests()))
	}
}

func TestAReceiverThatNeverAnswersIsLeft(t *testing.T) {
	release := make(chan struct{})
	server := newReceiver(t, func(http.ResponseWriter, int) { <-release })
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := only(t, busConfig, server.URL, server.ca).Send(ctx, about("web", "x", High)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that the time is over", err)
	}
}

func TestALongAnswerIsNotReadToItsEnd(t *testing.T) {
	server := newReceiver(t, func(w http.ResponseWriter, _ int) {
		w.WriteHeader(http.StatusBadRequest)
		for range 1 << 12 {
			if _, err := io.WriteString(w, strings.Repeat("token=s3cr3t-value \x1b[31m", 200)); err != nil {
				return
			}
		}
	})
	err := only(t, busConfig, server.URL, server.ca).Send(t.Context(), about("web", "x", High))
	if err == nil || len(err.Error()) > 1000 || strings.Contains(err.Error(), "s3cr3t") || strings.ContainsRune(err.Error(), 0x1b) {
		t.Errorf("got %.2000q, want a short error without credentials and control characters", fmt.Sprint(err))
	}
}

// The whole way: a receiver that is down for two attempts gets everything, in its order, over TLS.
func TestWhatFailsAtFirstIsToldInTheEnd(t *testing.T) {
	server := newReceiver(t, func(w http.ResponseWriter, attempt int) {
		if attempt <= 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	d := NewDispatcher(atOnce(nil, Route{Receiver: only(t, busConfig, server.URL, server.ca)}))
	for _, kind := range []Kind{KindContaining, KindContained, KindReleased} {
		d.Notify(About(kind, shell(), noon, "x"))
	}
	d.Close(t.Context())
	var kinds []string
	for _, q := range server.requests() {
		var event struct{ Type string }
		decode(t, q.body, &event)
		kinds = append(kinds, strings.TrimPrefix(event.Type, CloudEventType))
	}
	if got, want := strings.Join(kinds, " "), "containing containing containing contained released"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
