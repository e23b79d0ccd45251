package destination

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// reports are what a Watcher said.
type reports struct {
	mu  sync.Mutex
	all []string
}

func (r *reports) changed(owner Owner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, owner.Name)
}

func (r *reports) count(name string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reported := range r.all {
		if reported == name {
			n++
		}
	}
	return n
}

func (b *bench) watch(limit int) (*Watcher, *reports) {
	b.t.Helper()
	seen := &reports{}
	w := NewWatcher(b.client, limit, seen.changed)
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	b.t.Cleanup(func() { cancel(); <-done })
	return w, seen
}

// settled waits until a Watcher has seen an object as it is.
func (b *bench) settled(w *Watcher, name string) {
	b.t.Helper()
	version := b.get(name).ResourceVersion
	clustertest.Until(b.t, "the watch has seen "+name, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		known := w.watches[place{"Secret", b.namespace, name}]
		return known != nil && known.known == version && known.busy == 0
	})
}

func TestAWatchReportsWhatOthersDoAndNothingElse(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db")
	w, seen := b.watch(10)
	b.writer.Watcher = w
	w.Follow(owner, "Secret", "db") // it is not there yet
	status, _ := b.write(owner, s, data("password=one"), nil)
	for i := range 5 {
		status, _ = b.write(owner, s, data(fmt.Sprintf("password=%d", i), fmt.Sprintf("k%d=x", i)), status)
	}
	b.settled(w, "db")
	if n := seen.count("db"); n != 0 {
		t.Errorf("got %d reports of what we wrote ourselves, want none", n)
	}
	b.change("db", func(s *corev1.Secret) { s.Data["password"] = []byte("theirs") })
	clustertest.Until(t, "a change is reported", func() bool { return seen.count("db") == 1 })
	status, _ = b.write(owner, s, data("password=two"), status)
	b.settled(w, "db")
	s.Spec.Destination.Type = "kubernetes.io/basic-auth" // deletes and creates
	b.write(owner, s, data("username=u", "password=p"), status)
	b.settled(w, "db")
	if n := seen.count("db"); n != 1 {
		t.Errorf("got %d reports, want the one of the change", n)
	}
	b.must(b.admin.CoreV1().Secrets(b.namespace).Delete(t.Context(), "db", metav1.DeleteOptions{}))
	clustertest.Until(t, "a deletion is reported", func() bool { return seen.count("db") == 2 })
	w.Unfollow(owner, "Secret", "db")
	if watched, waiting := w.Watched(); watched != 0 || waiting != 0 {
		t.Errorf("got %d and %d watched, want none", watched, waiting)
	}
	if requests := b.requests(); slices.Contains(requests, "list secrets") {
		t.Errorf("got %q, want no list", requests)
	}
}

func TestAWatchFindsWhatWasChangedWhileNobodyWatched(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db")
	status, _ := b.write(owner, s, data("password=one"), nil)
	w, seen := b.watch(10)
	w.FollowFrom(owner, "Secret", "db", status.ResourceVersion)
	b.settled(w, "db")
	if n := seen.count("db"); n != 0 {
		t.Errorf("unchanged: got %d reports", n)
	}
	w.Unfollow(owner, "Secret", "db")
	b.change("db", func(s *corev1.Secret) { s.Data["password"] = []byte("theirs") })
	w.FollowFrom(owner, "Secret", "db", status.ResourceVersion)
	clustertest.Until(t, "the change is reported", func() bool { return seen.count("db") == 1 })
}

func TestWatchesAreBoundedAndTheNextGetsThePlace(t *testing.T) {
	b := newBench(t)
	var owners []Owner
	w, seen := b.watch(2)
	var all []v1alpha1.VaultSecret
	for i := range 3 {
		s, owner := b.secret(fmt.Sprintf("db-%d", i))
		all, owners = append(all, *s), append(owners, owner)
	}
	b.permit(all...)
	for i := range all {
		b.write(owners[i], &all[i], data("password=one"), nil)
		w.Follow(owners[i], "Secret", all[i].Name)
	}
	if watched, waiting := w.Watched(); watched != 2 || waiting != 1 {
		t.Errorf("got %d watched and %d waiting, want 2 and 1", watched, waiting)
	}
	w.Unfollow(owners[0], "Secret", "db-0")
	b.settled(w, "db-2")
	b.change("db-2", func(s *corev1.Secret) { s.Data["password"] = []byte("theirs") })
	b.change("db-0", func(s *corev1.Secret) { s.Data["password"] = []byte("theirs") })
	clustertest.Until(t, "the one that waited is watched", func() bool { return seen.count("db-2") == 1 })
	if n := seen.count("db-0"); n != 0 {
		t.Errorf("got %d reports of what is not watched", n)
	}
}

func TestAWatchGoesOnWhenTheAPIServerRestarts(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db")
	status, _ := b.write(owner, s, data("password=one"), nil)
	w, seen := b.watch(10)
	w.Follow(owner, "Secret", "db")
	b.settled(w, "db")
	b.must(shared.Cluster(t).RestartAPIServer(t.Context()))
	clustertest.Eventually(t, "somebody changes it", func() error {
		current, err := b.admin.CoreV1().Secrets(b.namespace).Get(t.Context(), "db", metav1.GetOptions{})
		if err != nil {
			return err
		}
		current.Data["password"] = []byte("theirs")
		_, err = b.admin.CoreV1().Secrets(b.namespace).Update(t.Context(), current, metav1.UpdateOptions{})
		return err
	})
	clustertest.Until(t, "the change is reported", func() bool { return seen.count("db") == 1 })
	_ = status
}

func TestAThousandWatchesAreSmall(t *testing.T) {
	b := newBench(t)
	const n = 1000
	s, owner := b.secret("db")
	// The rights for each of them in one rule.
	all := []v1alpha1.VaultSecret{*s}
	for i := range n {
		one := *s
		one.Name = fmt.Sprintf("w-%d", i)
		all = append(all, one)
	}
	b.permit(all...)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before, began := heap(), time.Now()
	w, seen := b.watch(n)
	for i := range n {
		w.Follow(Owner{Namespace: b.namespace, Name: all[i+1].Name, UID: owner.UID}, "Secret", all[i+1].Name)
	}
	last := all[n].Name
	clustertest.Until(t, "the API server has all watches", func() bool {
		watches := 0
		for _, request := range b.requests() {
			if request == "watch secrets" {
				watches++
			}
		}
		return watches >= n
	})
	after := heap()
	per := int64(after-before) / n
	t.Logf("%d watches in %s: %d bytes each, goroutines included", n, time.Since(began).Round(time.Millisecond), per)
	if per > 100<<10 {
		t.Errorf("got %d bytes for a watch, want at most 100 KiB", per)
	}
	b.make(last)
	clustertest.Until(t, "the last of them reports", func() bool { return seen.count(last) == 1 })
}

// BenchmarkWrite is the latency of a first write, a refresh that finds nothing new, and a change.
func BenchmarkWrite(bm *testing.B) {
	b := newBench(bm)
	s, owner := b.secret("db")
	var status *v1alpha1.DestinationStatus
	i := 0
	measure := func(bm *testing.B, next func()) {
		var took []time.Duration
		bm.ReportAllocs()
		for bm.Loop() {
			began := time.Now()
			next()
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		bm.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		bm.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	}
	status, _ = b.write(owner, s, data("password=one"), nil)
	bm.Run("unchanged", func(bm *testing.B) {
		measure(bm, func() { status, _ = b.write(owner, s, data("password=one"), status) })
	})
	bm.Run("changed", func(bm *testing.B) {
		measure(bm, func() { i++; status, _ = b.write(owner, s, data(fmt.Sprintf("password=%d", i)), status) })
	})
	bm.Run("created", func(bm *testing.B) {
		measure(bm, func() {
			b.must(b.writer.Delete(bm.Context(), owner, status, false))
			status, _ = b.write(owner, s, data("password=one"), nil)
		})
	})
}
