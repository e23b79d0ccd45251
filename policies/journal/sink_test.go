package journal

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// receiver is a server over TLS that keeps what is posted to it.
type receiver struct {
	*httptest.Server
	ca string // a file with its certificate

	mu     sync.Mutex
	bodies [][]byte
	media  string
	token  string
	status int // of answers, 200 if 0
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.status != 0 {
			w.WriteHeader(r.status)
			return
		}
		if err == nil {
			r.bodies, r.media, r.token = append(r.bodies, body), request.Header.Get("Content-Type"), request.Header.Get("Authorization")
		}
	}))
	t.Cleanup(r.Close)
	r.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(r.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// sent records some decisions with a sink over HTTP and returns what arrives.
func sent(t *testing.T, r *receiver, form string) (bodies [][]byte, journal []byte) {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("let-me-in\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sink, err := NewHTTP(HTTPOptions{URL: r.URL + "/v1/logs", Form: form, CAFile: r.ca, TokenFile: token, Source: "replica-1"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	j := openIn(t, dir, func(o *Options) { o.Sinks = []Sink{sink} })
	for n := range 20 {
		j.Record(context.Background(), &admission.Decision{ID: fmt.Sprint("id-", n), Trace: strings.Repeat("0a", 16), Time: noon, Outcome: "denied", Request: pod("web", plainSpec)})
	}
	closeNow(t, j)
	if r.token != "Bearer let-me-in" {
		t.Errorf("got authorization %q, want the token", r.token)
	}
	if got := testutil.ToFloat64(j.counts.sinkSent.WithLabelValues(sink.Name())); got != 20 {
		t.Errorf("got %v sent, want 20", got)
	}
	return r.bodies, mustRead(t, newest(t, dir))
}

func TestLinesArriveAsTheyStandInTheJournal(t *testing.T) {
	r := newReceiver(t)
	bodies, written := sent(t, r, FormNDJSON)
	_, decisions, _ := strings.Cut(string(written), "\n") // without the header
	if got := string(slices.Concat(bodies...)); got != decisions || r.media != "application/x-ndjson" {
		t.Errorf("got %s as %s, want %s", got, r.media, decisions)
	}
}

func TestLinesArriveAsCloudEvents(t *testing.T) {
	r := newReceiver(t)
	bodies, _ := sent(t, r, FormCloudEvents)
	count := 0
	for _, body := range bodies {
		var events []struct {
			SpecVersion, ID, Source, Type, DataContentType string
			Data                                           Line
		}
		if err := json.Unmarshal(body, &events); err != nil {
			t.Fatal(err)
		}
		for _, event := range events {
			if want := fmt.Sprint("id-", count); event.SpecVersion != "1.0" || event.ID != want || event.Type != "dev.portcullis.decision" || event.Data.Decision.ID != want || event.Source != "/portcullis/replica-1" {
				t.Errorf("got %+v, want event %s", event, want)
			}
			count++
		}
	}
	if count != 20 || r.media != "application/cloudevents-batch+json" {
		t.Errorf("got %d events as %s, want 20", count, r.media)
	}
}

func TestLinesArriveAsLogsOfOpenTelemetry(t *testing.T) {
	r := newReceiver(t)
	bodies, _ := sent(t, r, FormOTLP)
	count := 0
	for _, body := range bodies {
		var request struct {
			ResourceLogs []struct {
				ScopeLogs []struct {
					LogRecords []struct {
						TimeUnixNano, TraceID, SeverityText string
						SeverityNumber                      int
						Body                                struct{ StringValue string }
					}
				}
			}
		}
		if err := json.Unmarshal(body, &request); err != nil {
			t.Fatal(err)
		}
		for _, record := range request.ResourceLogs[0].ScopeLogs[0].LogRecords {
			var line Line
			if err := json.Unmarshal([]byte(record.Body.StringValue), &line); err != nil {
				t.Fatal(err)
			}
			if line.Decision.ID != fmt.Sprint("id-", count) || record.TimeUnixNano != fmt.Sprint(noon.UnixNano()) || record.SeverityNumber != 13 || record.TraceID != strings.Repeat("0a", 16) {
				t.Errorf("got %+v, want decision %d as a warning", record, count)
			}
			count++
		}
	}
	if count != 20 {
		t.Errorf("got %d records, want 20", count)
	}
}

func TestAReceiverIsNotTrustedByChance(t *testing.T) {
	r := newReceiver(t)
	for name, test := range map[string]struct {
		options HTTPOptions
		want    string
	}{
		"without encryption":  {HTTPOptions{URL: "http://logs.example/"}, "use https"},
		"with a password":     {HTTPOptions{URL: "https://a:b@logs.example/"}, "put a token into a file"},
		"no address":          {HTTPOptions{URL: "logs"}, "no address"},
		"an unknown form":     {HTTPOptions{URL: "https://logs.example/", Form: "xml"}, "no form"},
		"no certificate file": {HTTPOptions{URL: "https://logs.example/", CAFile: "nowhere"}, "reading certificates"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewHTTP(test.options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
		})
	}
	sink, err := NewHTTP(HTTPOptions{URL: r.URL})
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Send(context.Background(), []Entry{{}}); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("got %v from a server nobody vouches for, want an error that may be mended", err)
	}
}

func TestWhatAReceiverWillNeverTakeIsNotSentAgain(t *testing.T) {
	r := newReceiver(t)
	sink, err := NewHTTP(HTTPOptions{URL: r.URL, CAFile: r.ca})
	if err != nil {
		t.Fatal(err)
	}
	for status, refused := range map[int]bool{400: true, 413: true, 401: false, 429: false, 503: false, 302: false} {
		r.mu.Lock()
		r.status = status
		r.mu.Unlock()
		if err := sink.Send(context.Background(), []Entry{{}}); err == nil || errors.Is(err, ErrRefused) != refused {
			t.Errorf("with status %d got %v, want refused %v", status, err, refused)
		}
	}
}

// sinkFunc is a sink for faults.
type sinkFunc func(ctx context.Context, entries []Entry) error

func (sinkFunc) Name() string                                      { return "test" }
func (f sinkFunc) Send(ctx context.Context, entries []Entry) error { return f(ctx, entries) }

func TestASinkThatHangsSlowsNobodyAndItsDropsAreCounted(t *testing.T) {
	dir := t.TempDir()
	hanging := sinkFunc(func(ctx context.Context, _ []Entry) error {
		<-ctx.Done()
		return ctx.Err()
	})
	j := openIn(t, dir, func(o *Options) { o.Sinks = []Sink{hanging} })
	const count = maxSinkLines + 2*maxSend
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for n := worker; n < count; n += 8 {
				j.Record(context.Background(), &admission.Decision{ID: fmt.Sprint(n), Time: noon, Outcome: "denied"})
			}
		})
	}
	group.Wait()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := j.Close(ended); err != nil {
		t.Fatal(err)
	}
	if v := intact(t, dir); v.Decisions != count {
		t.Errorf("got %d decisions, want %d", v.Decisions, count)
	}
	queue, closed := testutil.ToFloat64(j.counts.sinkDropped.WithLabelValues("test", "queue")), testutil.ToFloat64(j.counts.sinkDropped.WithLabelValues("test", "closed"))
	if queue+closed != count || queue < maxSend {
		t.Errorf("got %v dropped for want of room and %v at the end, want all %d counted", queue, closed, count)
	}
}

// fed offers entries to a sink and waits, in a bubble of time, until all is sent or lost.
func fed(t *testing.T, count int, sink sinkFunc) (c *counts, took time.Duration) {
	t.Helper()
	c = newCounts(&Journal{files: &files{facts: &factWriter{}}}, Options{}.withDefaults())
	f := newFeed(sink, c, Options{})
	began := time.Now()
	for n := range count {
		f.offer(Entry{Sequence: uint64(n)})
	}
	f.close(context.Background())
	return c, time.Since(began)
}

func TestASinkThatFailsIsAskedAgainLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []time.Time
		var got []Entry
		_, took := fed(t, 3, func(_ context.Context, entries []Entry) error {
			if attempts = append(attempts, time.Now()); len(attempts) < 9 {
				return errors.New("not now")
			}
			got = append(got, entries...)
			return nil
		})
		if len(got) == 0 || len(attempts) < 9 {
			t.Fatalf("got %v after %d attempts, want them sent in the end", got, len(attempts))
		}
		for n := 1; n < 9; n++ {
			pause, most := attempts[n].Sub(attempts[n-1]), min(minPause<<(n-1), maxPause)
			if pause < most/2 || pause > most {
				t.Errorf("got pause %d of %v, want between a half and the whole of %v", n, pause, most)
			}
		}
		if took > 3*time.Minute {
			t.Errorf("got %v, want pauses bounded", took)
		}
	})
}

func TestLinesThatAreRefusedHoldUpNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		c, _ := fed(t, 2*maxSend, func(_ context.Context, entries []Entry) error {
			if first {
				first = false
				return fmt.Errorf("what is this: %w", ErrRefused)
			}
			return nil
		})
		refused, took := testutil.ToFloat64(c.sinkDropped.WithLabelValues("test", "refused")), testutil.ToFloat64(c.sinkSent.WithLabelValues("test"))
		if refused == 0 || refused+took != 2*maxSend {
			t.Errorf("got %v refused and %v sent, want all of %d in one of both", refused, took, 2*maxSend)
		}
	})
}

func TestASinkThatHangsIsGivenUpAndAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := false
		c, took := fed(t, 1, func(ctx context.Context, _ []Entry) error {
			if !hung {
				hung = true
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		if sent := testutil.ToFloat64(c.sinkSent.WithLabelValues("test")); sent != 1 || took < sendTimeout || took > sendTimeout+minPause {
			t.Errorf("got %v sent after %v, want it sent at the second attempt", sent, took)
		}
	})
}
