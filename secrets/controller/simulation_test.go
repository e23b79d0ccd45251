package controller

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/leases"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// simulation is a controller with everything around it in memory, and time that passes when it is told to.
type simulation struct {
	t         testing.TB
	clock     *clocktesting.FakeClock
	server    *memoryServer
	vault     *memoryVault
	writer    *memoryWriter
	restarter *memoryRestarter
	judge     *judge
	events    *record.FakeRecorder
	hasher    *secrets.Hasher
	log       *slog.Logger

	c    *Controller
	stop func()
}

func newSimulation(t testing.TB) *simulation {
	clock := clocktesting.NewFakeClock(time.Date(2026, 11, 29, 6, 0, 0, 0, time.UTC))
	hasher := secrets.NewHasher(secrets.ValueOf(strings.Repeat("k", secrets.HashKeySize)))
	s := &simulation{
		t: t, clock: clock, server: newMemoryServer(), vault: newMemoryVault(clock), writer: newMemoryWriter(hasher), restarter: &memoryRestarter{restarts: map[string]int{}},
		judge: &judge{bundle: "1"}, events: record.NewFakeRecorder(100_000), hasher: hasher, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if testing.Verbose() {
		s.log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s.put(&v1alpha1.VaultConnection{ObjectMeta: metav1.ObjectMeta{Name: "main"}, Spec: v1alpha1.VaultConnectionSpec{Address: "https://vault.test:8200", AllowedNamespaces: []string{"shop*"}}})
	s.put(&v1alpha1.VaultAuth{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "shop"}, Spec: v1alpha1.VaultAuthSpec{
		Connection: "main", Kubernetes: &v1alpha1.KubernetesAuth{Role: "shop", ServiceAccount: "shop"},
	}})
	t.Cleanup(func() { s.end() })
	return s
}

// put creates an object, or a new generation of it.
func (s *simulation) put(object any) {
	s.t.Helper()
	var encoded *unstructured.Unstructured
	var err error
	resource := v1alpha1.VaultSecrets
	switch o := object.(type) {
	case *v1alpha1.VaultConnection:
		resource = v1alpha1.VaultConnections
		encoded, err = v1alpha1.Encode(o)
	case *v1alpha1.VaultAuth:
		resource = v1alpha1.VaultAuths
		encoded, err = v1alpha1.Encode(o)
	case *v1alpha1.VaultSecret:
		encoded, err = v1alpha1.Encode(o)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	if encoded.GetUID() == "" {
		encoded.SetUID(types.UID("uid-" + encoded.GetNamespace() + "-" + encoded.GetName()))
	}
	if encoded.GetGeneration() == 0 {
		encoded.SetGeneration(1)
	}
	s.server.put(resource, encoded)
}

// change edits a VaultSecret as a person does.
func (s *simulation) change(name string, by func(*v1alpha1.VaultSecret)) {
	s.t.Helper()
	secret := s.secret(name)
	before := sameStatus(secret.Spec, secret.Spec)
	by(secret)
	if before {
		secret.Generation++
	}
	s.put(secret)
}

func (s *simulation) secret(name string) *v1alpha1.VaultSecret {
	s.t.Helper()
	s.server.mu.Lock()
	object, err := s.server.get(v1alpha1.VaultSecrets, "shop", name)
	s.server.mu.Unlock()
	if err != nil {
		s.t.Fatal(err)
	}
	secret, err := v1alpha1.Decode[v1alpha1.VaultSecret](object)
	if err != nil {
		s.t.Fatal(err)
	}
	return secret
}

// begin starts a process: nothing is remembered but what is in the API server and in Vault.
func (s *simulation) begin() {
	s.t.Helper()
	c, err := New(Options{
		Client: s.server, Kubernetes: fake.NewClientset(), Vaults: s.vault, Judge: s.judge, Hasher: s.hasher, KMS: plainSealer{}, Leases: leases.NewStore(s.server, "portcullis-system"),
		Writer: s.writer, Restarter: s.restarter, Namespace: "portcullis-system", Identity: "one", Clock: s.clock, Recorder: s.events, Log: s.log,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Lead(ctx) }()
	s.c = c
	s.stop = func() { cancel(); <-done }
	s.await("the informers", func() bool {
		if !c.Leads() {
			return false
		}
		c.mu.Lock()
		objects := c.objects
		c.mu.Unlock()
		s.server.mu.Lock()
		want := len(s.server.objects[v1alpha1.VaultSecrets])
		s.server.mu.Unlock()
		c.queue.mu.Lock()
		defer c.queue.mu.Unlock()
		return len(objects.ListKeys()) == want && (len(c.queue.items) >= want || want == 0)
	})
	s.settle()
}

func (s *simulation) end() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// await waits, in real time, for what goroutines are about to do.
func (s *simulation) await(what string, done func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			s.t.Fatalf("in a minute this did not happen: %s", what)
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// settle waits until nothing is due that could be done now, and the informer has seen all that was written.
func (s *simulation) settle() time.Time {
	s.t.Helper()
	return s.settled(25) // some milliseconds: what a person wrote has to come through the informer, too
}

func (s *simulation) settled(looks int) time.Time {
	s.t.Helper()
	var next time.Time
	calm := 0
	s.await("all that is due is done", func() bool {
		s.c.queue.wake()
		idle, due := s.c.queue.idle()
		if !idle || !due.IsZero() && !due.After(s.clock.Now()) || !s.informed() {
			calm = 0
			return false
		}
		calm++
		next = due
		return calm > looks
	})
	return next
}

// informed says whether watches have delivered everything.
func (s *simulation) informed() bool {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	for _, of := range s.server.watchers {
		for _, w := range of {
			w.mu.Lock()
			pending := len(w.pending)
			w.mu.Unlock()
			if pending > 0 {
				return false
			}
		}
	}
	if last := s.server.lastSecret; last.key != "" {
		object, _, _ := s.c.index(&s.c.objects).GetByKey(last.key)
		secret, ok := object.(*v1alpha1.VaultSecret)
		return ok && secret.ResourceVersion == last.version || !ok && last.version == ""
	}
	return true
}

// pass lets time pass, from one thing that is due to the next.
func (s *simulation) pass(d time.Duration) {
	s.t.Helper()
	end := s.clock.Now().Add(d)
	for {
		next := s.settled(3)
		if next.IsZero() || next.After(end) {
			s.clock.SetTime(end)
			s.settle()
			return
		}
		s.clock.SetTime(next)
	}
}

// event is how often an Event of a reason was made since the last time it was asked.
func (s *simulation) told() map[string]int {
	counts := map[string]int{}
	for {
		select {
		case text := <-s.events.Events:
			counts[strings.Fields(text)[1]]++
		default:
			return counts
		}
	}
}

func kvSecret(name string, interval time.Duration) *v1alpha1.VaultSecret {
	return &v1alpha1.VaultSecret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec: v1alpha1.VaultSecretSpec{
			Auth: "shop", Source: v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "secret", Path: "shop/" + name}},
			Refresh:  v1alpha1.Refresh{Interval: &metav1.Duration{Duration: interval}},
			Rotation: v1alpha1.Rotation{Restart: v1alpha1.RestartReferencing},
		},
	}
}

func dynamicSecret(name string) *v1alpha1.VaultSecret {
	return &v1alpha1.VaultSecret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec: v1alpha1.VaultSecretSpec{
			Auth: "shop", Source: v1alpha1.Source{Dynamic: &v1alpha1.DynamicSource{Mount: "db", Path: "creds/" + name}},
			Rotation: v1alpha1.Rotation{Restart: v1alpha1.RestartReferencing},
		},
	}
}

// populate makes so many objects, one in five with a lease.
func (s *simulation) populate(n int) {
	for i := range n {
		name := fmt.Sprintf("s%05d", i)
		if i%5 == 4 {
			s.put(dynamicSecret(name))
			continue
		}
		s.vault.write("shop/"+name, map[string]any{"password": "first", "user": name})
		s.put(kvSecret(name, 10*time.Minute))
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// 5,000 objects for ten minutes, and a restart of the process in the middle: nothing restarts, no lease ends, no herd. Complaints: #285 (an operator's
// restart restarts workloads), #949 (memory), #4231 (herds).
func TestFiveThousandObjectsForTenMinutesRestartNothingAndLoseNoLease(t *testing.T) {
	objects := 5000
	if testing.Short() {
		objects = 500
	}
	s := newSimulation(t)
	s.populate(objects)
	outside := heapInUse()
	began := time.Now()
	s.begin()
	s.pass(5 * time.Minute)
	mostAtStart, atStart := s.vault.load()
	inside := heapInUse() - outside
	if written := s.writer.count(); written != objects {
		t.Fatalf("%d of %d objects were written in the first five minutes", written, objects)
	}
	issued := s.vault.issued
	s.end()
	s.clock.Step(2 * time.Second)
	s.begin()
	s.pass(5 * time.Minute)

	s.vault.mu.Lock()
	s.vault.sweep()
	leasesNow, expired, issuedNow, renewed := len(s.vault.leases), s.vault.expired, s.vault.issued, s.vault.renewed
	s.vault.mu.Unlock()
	most, total := s.vault.load()
	reads, writes := s.server.reads.Load(), s.server.writes.Load()
	t.Logf("%d objects, 10 min simulated in %.1f s: memory of the controller %.1f MB; Vault: %d requests, %.1f/s, busiest second %d (at the start %d, %.1f/s); API server: %d writes, %.1f/s, %d reads; %d leases, %d renewals",
		objects, time.Since(began).Seconds(), float64(inside)/1e6, total, float64(total)/602, most, mostAtStart, float64(atStart)/300, writes, float64(writes)/602, reads, leasesNow, renewed)
	if restarts := s.restarter.total(); restarts != 0 {
		t.Errorf("%d workloads were restarted though nothing changed", restarts)
	}
	if expired != 0 {
		t.Errorf("%d leases ended", expired)
	}
	if issuedNow != issued || leasesNow != objects/5 {
		t.Errorf("after a restart of the process %d credentials were issued and %d leases are there, want %d as before it, and %d", issuedNow, leasesNow, issued, objects/5)
	}
	if most > objects/25 {
		t.Errorf("%d requests in one second: a herd", most)
	}
	if inside > 150e6 {
		t.Errorf("the controller holds %d bytes, the budget is 150 MB", inside)
	}
}
