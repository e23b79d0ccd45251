package falco

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/falco/falcotest"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// sensor connects to a site as the Falco of a node.
func (s *site) sensor(node string) *falcotest.Sensor {
	s.t.Helper()
	pair, err := s.authority.Issue(nodePrefix + node)
	if err != nil {
		s.t.Fatal(err)
	}
	loaded, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		s.t.Fatal(err)
	}
	ca, err := os.ReadFile(s.authority.File)
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	sensor, err := falcotest.Dial(s.t.Context(), s.address, Path, &tls.Config{RootCAs: pool, ServerName: "localhost", Certificates: []tls.Certificate{loaded}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { sensor.Close() })
	return sensor
}

// storm is what nodes send at once.
type storm struct {
	rate     int // events a second, from all nodes together
	duration time.Duration
	nodes    int
}

// blow sends it and gives how many events of Critical were sent, how many at all, and how many were refused. One event in a hundred
// is Critical, and one in ten was sent before.
func (st storm) blow(s *site) (critical, sent, refused int64) {
	var all, grave, not atomic.Int64
	var group sync.WaitGroup
	began := time.Now()
	for node := range st.nodes {
		sensor := s.sensor(fmt.Sprint("node-", node))
		group.Go(func() {
			each := time.Second * time.Duration(st.nodes) / time.Duration(st.rate)
			var before []byte
			for n := 0; ; n++ {
				due := time.Duration(n) * each
				if due >= st.duration {
					return
				}
				if early := due - time.Since(began); early > time.Millisecond {
					time.Sleep(early) // the rate that is asked for, in bursts of a millisecond
				}
				priority := []string{"Debug", "Informational", "Notice", "Warning", "Error"}[n%5]
				again := n%10 == 9
				if n%100 == 50 {
					priority = "Critical"
					grave.Add(1)
				}
				if !again {
					before = falcotest.Event("Run shell untrusted", priority, n, began.Add(due))
				}
				status, text, err := sensor.Send(before)
				if err != nil {
					s.t.Errorf("%v (%s)", err, text)
					return
				}
				if all.Add(1); status != http.StatusOK {
					not.Add(1)
				}
			}
		})
	}
	group.Wait()
	return grave.Load(), all.Load(), not.Load()
}

// heap is how many bytes are in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestAStormOfEventsLosesNoGraveOne sends 10,000 events a second for a short time, PORTCULLIS_SOAK=1 for a minute, to a receiver whose
// events are taken by one goroutine: none of Critical is lost, all that are answered with 200 are taken, and memory does not grow.
func TestAStormOfEventsLosesNoGraveOne(t *testing.T) {
	st := storm{rate: 10_000, duration: 2 * time.Second, nodes: 8}
	if os.Getenv("PORTCULLIS_SOAK") != "" {
		st.duration = time.Minute
	}
	s := newSite(t, nil)
	warm := storm{rate: st.rate, duration: st.duration / 4, nodes: st.nodes}
	var taken, critical atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var taker sync.WaitGroup
	taker.Go(func() {
		for {
			item, err := s.queue.Take(ctx)
			if err != nil {
				return
			}
			taken.Add(1)
			if item.Message.Event.Priority == response.Critical {
				critical.Add(1)
			}
			item.Done()
		}
	})
	settle := func() {
		deadline := time.Now().Add(time.Minute)
		for s.queue.Status().Held > 0 || s.queue.Status().Lanes["ordinary"].Waiting+s.queue.Status().Lanes["urgent"].Waiting > 0 {
			if time.Now().After(deadline) {
				t.Fatalf("got %+v after a minute, want everything taken", s.queue.Status())
			}
			time.Sleep(5 * time.Millisecond) // polling
		}
	}
	criticalWarm, sentWarm, refusedWarm := warm.blow(s)
	settle()
	before := heap()
	began := time.Now()
	criticalSent, sent, refused := st.blow(s)
	took := time.Since(began)
	settle()
	after := heap()
	cancel()
	taker.Wait()
	duplicates := int64(testutil.ToFloat64(s.metrics.duplicates))
	criticalSent, sent, refused = criticalSent+criticalWarm, sent+sentWarm, refused+refusedWarm
	t.Logf("%.0f events/s for %s: %d sent, %d duplicates, %d shed, %d taken, %d of %d Critical ones; heap %d KiB before, %d KiB after",
		float64(sent-sentWarm)/took.Seconds(), took.Round(time.Millisecond), sent, duplicates, refused, taken.Load(), critical.Load(), criticalSent, before>>10, after>>10)
	if critical.Load() != criticalSent {
		t.Errorf("got %d Critical events, want all %d", critical.Load(), criticalSent)
	}
	if want := sent - duplicates - refused; taken.Load() != want || duplicates == 0 {
		t.Errorf("got %d events taken, want %d: %d sent, %d of them again, %d refused", taken.Load(), want, sent, duplicates, refused)
	}
	// What is remembered to recognise duplicates may grow to its bound: two generations of 64 Ki entries.
	if grown := after - before; grown > 16<<20 {
		t.Errorf("got a heap that grew by %d KiB in the storm, want it flat", grown>>10)
	}
}

// BenchmarkAcknowledgement is one Falco on one connection with mutual TLS: what it waits for each event.
func BenchmarkAcknowledgement(b *testing.B) {
	s := newSite(b, nil)
	sensor := s.sensor("node-a")
	ctx, cancel := context.WithCancel(context.Background())
	var taker sync.WaitGroup
	taker.Go(func() {
		for {
			item, err := s.queue.Take(ctx)
			if err != nil {
				return
			}
			item.Done()
		}
	})
	began := time.Now()
	waits := make([]time.Duration, 0, 1<<16)
	for n := 0; b.Loop(); n++ {
		event := falcotest.Event("Run shell untrusted", "Warning", n, began.Add(time.Duration(n)))
		sentAt := time.Now()
		if status, text, err := sensor.Send(event); err != nil || status != http.StatusOK {
			b.Fatalf("got %d %s, %v, want 200", status, text, err)
		}
		waits = append(waits, time.Since(sentAt))
	}
	cancel()
	taker.Wait()
	slices.Sort(waits)
	b.ReportMetric(float64(len(waits))/time.Since(began).Seconds(), "events/s")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds()), "p99-µs")
}
