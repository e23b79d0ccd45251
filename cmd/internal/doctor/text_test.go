package doctor

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	"k8s.io/client-go/rest"
)

// report is one of two checks in trouble and one that is fine.
func report() *Report {
	made := func(name, why string, notes func(*Result)) Result {
		r := Result{Check: name, Why: why, Docs: manual + "#" + name}
		notes(&r)
		r.finish()
		return r
	}
	return &Report{Cluster: "https://127.0.0.1:6443", Namespace: "portcullis-system", Time: time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC), Results: []Result{
		made("api-server", "Everything goes through it.", func(r *Result) { r.ok("Kubernetes v1.37.2 at https://127.0.0.1:6443") }),
		made("replicas", "One node must not stop all of them.", func(r *Result) {
			r.warn("kubectl scale deployment portcullis-webhook --replicas=2", "portcullis-webhook has one replica")
			r.ok("portcullis-scanner: 2 of 2 ready")
		}),
		made("certificates", "The API server asks nobody whose certificate it cannot verify: then all that fails closed is refused.", func(r *Result) {
			r.unknown("ask for the role", "You may not read the certificate")
			r.problem("kubectl delete secret portcullis-webhook-tls", "The certificate has ended, 3h ago")
		}),
	}}
}

func TestTheWorstComesFirstWithWhatToDo(t *testing.T) {
	var got bytes.Buffer
	if err := WriteText(&got, report(), output.Style{}); err != nil {
		t.Fatal(err)
	}
	want := `Portcullis in portcullis-system of https://127.0.0.1:6443, looked at on 2026-11-29 03:00 UTC

PROBLEM  certificates
  - The certificate has ended, 3h ago
    do: kubectl delete secret portcullis-webhook-tls
  - unknown: You may not read the certificate
    do: ask for the role
    why: The API server asks nobody whose certificate it cannot verify: then all that fails closed is refused.
    see: https://github.com/portcullis-dev/portcullis/blob/main/docs/doctor.md#certificates

WARNING  replicas
  - portcullis-webhook has one replica
    do: kubectl scale deployment portcullis-webhook --replicas=2
    why: One node must not stop all of them.
    see: https://github.com/portcullis-dev/portcullis/blob/main/docs/doctor.md#replicas

ok  api-server              Kubernetes v1.37.2 at https://127.0.0.1:6443

1 problem, 1 warning, 1 ok. Begin with certificates: the others may follow from it.
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func TestWhatTheClusterSaysReachesATerminalAsText(t *testing.T) {
	hostile := report()
	hostile.Results[2].Observations[0].Seen = "\x1b[2Jgone"
	hostile.Results[2].Observations[0].Next = "kubectl \x1b]0;x\x07"
	var got bytes.Buffer
	if err := WriteText(&got, hostile, output.Style{Width: 60}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(got.String(), "\x1b\x07") {
		t.Errorf("got %q", got.String())
	}
}

func TestAResultIsAsBadAsTheWorstOfIt(t *testing.T) {
	for name, test := range map[string]struct {
		states []State
		want   State
	}{
		"nothing was seen":                   {nil, Unknown},
		"all is fine":                        {[]State{OK, OK}, OK},
		"what is unknown is not fine":        {[]State{OK, Unknown}, Unknown},
		"a warning outweighs the unknown":    {[]State{Unknown, Warning, OK}, Warning},
		"a problem outweighs all the others": {[]State{Unknown, Problem, Warning}, Problem},
	} {
		t.Run(name, func(t *testing.T) {
			var r Result
			for _, state := range test.states {
				r.add(state, "", "x")
			}
			if r.finish(); r.State != test.want {
				t.Errorf("got %s, want %s", r.State, test.want)
			}
		})
	}
}

func TestWhatACheckSaysIsBounded(t *testing.T) {
	var r Result
	for n := range 100 {
		r.ok("fine %d", n)
	}
	r.problem("", "%s", strings.Repeat("long ", 1000))
	if r.finish(); len(r.Observations) != maxObservations || r.Left != 81 || r.State != Problem {
		t.Errorf("got %d observations, %d left, %s", len(r.Observations), r.Left, r.State)
	}
	if n := len([]rune(r.Observations[0].Seen)); n != maxSeen {
		t.Errorf("got %d runes, want %d", n, maxSeen)
	}
}

// TestACheckThatHangsOrPanicsHoldsUpNoOther has one that never ends, one that panics and one that is fine.
func TestACheckThatHangsOrPanicsHoldsUpNoOther(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	checks := []Check{
		{Name: "hangs", look: func(context.Context, *patient, *Result) { <-release }},
		{Name: "panics", look: func(context.Context, *patient, *Result) { panic("a mistake") }},
		{Name: "fine", look: func(_ context.Context, _ *patient, r *Result) { r.ok("fine") }},
	}
	at := &installation.Installation{Config: &rest.Config{}, Now: time.Now}
	got, err := Run(t.Context(), at, checks, 3*time.Second, Options{}) // as long as the one that hangs takes
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []string{"unknown given up", "unknown a mistake", "ok fine"} {
		state, words, _ := strings.Cut(want, " ")
		if r := got.Results[n]; r.State.String() != state || !strings.Contains(r.Observations[0].Seen, words) {
			t.Errorf("%s: got %s %q, want %q", r.Check, r.State, r.Observations[0].Seen, want)
		}
	}
}

func TestARegistryIsWhatAnswersAsOne(t *testing.T) {
	for name, test := range map[string]struct {
		code int
		want State
	}{
		"it wants a login":     {http.StatusUnauthorized, OK},
		"it answers":           {http.StatusOK, OK},
		"it is something else": {http.StatusNotFound, Problem},
		"it sends people away": {http.StatusFound, Problem},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(test.code) }))
			defer server.Close()
			before := http.DefaultTransport
			http.DefaultTransport = server.Client().Transport
			defer func() { http.DefaultTransport = before }()
			var r Result
			lookAtRegistry(t.Context(), &patient{options: Options{Registry: strings.TrimPrefix(server.URL, "https://")}}, &r)
			if r.finish(); r.State != test.want {
				t.Errorf("got %s, want %s:\n%s", r.State, test.want, r.text())
			}
		})
	}
}

func TestClocksThatDifferAreNoticed(t *testing.T) {
	for name, test := range map[string]struct {
		ahead time.Duration
		want  State
		says  string
	}{
		"a second":                   {time.Second, OK, "agrees"},
		"ten seconds behind":         {-10 * time.Second, Warning, "10s behind"},
		"two minutes ahead":          {2 * time.Minute, Problem, "2m0s ahead of"},
		"as much as cannot be known": {5 * time.Second, OK, "agrees"},
	} {
		t.Run(name, func(t *testing.T) {
			var r Result
			judge(&r, "date", "the clock of this machine", test.ahead, time.Second)
			if r.finish(); r.State != test.want || !strings.Contains(r.text(), test.says) {
				t.Errorf("got %s", r.text())
			}
		})
	}
}

// FuzzServerMetrics reads what an API server may say of itself: never more than is asked for, and never a panic.
func FuzzServerMetrics(f *testing.F) {
	f.Add("# TYPE a counter\na{x=\"1\"} 1\nb 2\n")
	f.Add("a{x=\"1\"} NaN\na{x=\"1\"} 2")
	f.Add("a{")
	f.Add("# TYPE a histogram\na 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := family(strings.NewReader(text), "a")
		if err != nil {
			return
		}
		for name := range got {
			if name != "a" {
				t.Errorf("got %s of %q, want a only", name, fmt.Sprint(text))
			}
		}
	})
}
