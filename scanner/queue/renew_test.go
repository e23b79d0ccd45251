package queue

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/registry"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Databases of two mornings.
var (
	old   = start.Add(-30 * time.Hour)
	newer = start.Add(-6 * time.Hour)
)

// with scans with the database of some time, and signs what it found.
func with(database time.Time) func(context.Context, Work) (Outcome, error) {
	return func(context.Context, Work) (Outcome, error) {
		return Outcome{
			State: scanner.StateComplete, Database: scanner.Database{UpdatedAt: database.Format(time.RFC3339), Digest: digestOf(1000)},
			Found: Count([]scanner.Vulnerability{{Severity: "critical"}, {Severity: "low"}, {Severity: "critical"}}), Statement: []byte(database.String()),
		}, nil
	}
}

func (b *bench) renew(repository registry.Repository, digest string, database time.Time) bool {
	b.t.Helper()
	asked, err := b.asker().Renew(b.t.Context(), repository, digest, database)
	if err != nil {
		b.t.Fatal(err)
	}
	return asked
}

func (b *bench) statement(digest string) string {
	b.t.Helper()
	statement, err := b.client.Statement(b.t.Context(), digest)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(statement)
}

func TestAScanSaysWithWhichDatabaseItWasMadeAndWhatItFound(t *testing.T) {
	b := newBench(t)
	b.ask(b.asker(), shop, digestOf(1))
	b.round(b.worker("one", with(old)))
	got := b.get(digestOf(1)).Status
	if got.Database == nil || !got.Database.UpdatedAt.Time.Equal(old) || got.Database.Digest != digestOf(1000) {
		t.Errorf("its database is %+v, want that of %s", got.Database, old)
	}
	if want := (v1alpha1.Vulnerabilities{Critical: 2, Low: 1}); got.Vulnerabilities == nil || *got.Vulnerabilities != want {
		t.Errorf("it found %+v, want %+v", got.Vulnerabilities, want)
	}
}

func TestAScanIsRenewedOnceForADatabase(t *testing.T) {
	b := newBench(t)
	if !b.renew(shop, digestOf(1), newer) {
		t.Error("an image without a scan was not asked for")
	}
	if b.renew(shop, digestOf(1), newer) || b.renew(copy2, digestOf(1), newer) {
		t.Error("it was asked for again while it waits")
	}
	b.round(b.worker("one", with(old)))
	for _, database := range []time.Time{old, old.Add(time.Millisecond), old.Add(-time.Hour)} {
		if b.renew(shop, digestOf(1), database) {
			t.Errorf("it was asked for again for the database of %s, want not: its scan was made with that of %s", database, old)
		}
	}
	if !b.renew(copy2, digestOf(1), newer) || b.renew(copy2, digestOf(1), newer) {
		t.Error("for a newer database it was asked for not once")
	}
	got := b.get(digestOf(1))
	if !pending(got) || !got.Spec.Background || !slices.Contains(got.Spec.Repositories, copy2.String()) {
		t.Errorf("the object is %+v, want it to wait in the background, for both repositories", got.Spec)
	}
}

// Whoever may create a pod can have the first scan of a digest look in a repository that does not have it.
func TestAScanThatFailedGetsTheRepositoryFromWhichItsImageRuns(t *testing.T) {
	b := newBench(t)
	b.ask(b.asker(), copy2, digestOf(1))
	scan := func(ctx context.Context, work Work) (Outcome, error) {
		if work.Repositories[0] != shop {
			return Outcome{}, errors.New("there is no such image")
		}
		return with(old)(ctx, work)
	}
	b.round(b.worker("one", scan))
	if !b.renew(shop, digestOf(1), newer) || b.renew(shop, digestOf(1), newer) {
		t.Error("the repository was not written once")
	}
	b.pass(DefaultBackoff - time.Second)
	b.round(b.worker("one", scan))
	if got := b.get(digestOf(1)).Status; got.Phase != v1alpha1.PhaseFailed || got.Attempts != 1 {
		t.Errorf("its status is %+v, want that asking again has it tried no earlier", got)
	}
	b.pass(time.Second)
	b.round(b.worker("one", scan))
	if got := b.get(digestOf(1)); got.Status.Phase != v1alpha1.PhaseDone {
		t.Errorf("its status is %+v, its repositories are %q, want it scanned", got.Status, got.Spec.Repositories)
	}
}

func TestAScanThatFailsIsKeptWhileItsImageRuns(t *testing.T) {
	const keep = 50 * time.Hour
	b := newBench(t)
	b.ask(b.asker(), shop, digestOf(1))
	keeps := func(o *Options) { o.Keep = keep }
	b.round(b.worker("one", with(old), keeps))
	known := b.statement(digestOf(1))
	failing := b.worker("one", func(context.Context, Work) (Outcome, error) { return Outcome{}, errors.New("the registry is down") }, keeps)
	writes := 0
	for range 2 * keep / time.Hour {
		b.pass(time.Hour)
		b.round(failing)
		if b.renew(shop, digestOf(1), old) {
			writes++
		}
	}
	if got := b.statement(digestOf(1)); got != known || writes < 2 || writes > 6 {
		t.Errorf("after twice the time its statement is %q, and it was written %d times, want %q and now and then", got, writes, known)
	}
	b.pass(keep + time.Hour)
	b.round(failing)
	if _, err := b.client.get(t.Context(), "sha256-"+digestOf(1)[7:]); !apierrors.IsNotFound(err) {
		t.Errorf("when it runs no more: got %v, want that it is gone", err)
	}
}

// A scanner whose clock is ahead ends a scan in the future: a request at this clock's time would count as answered.
func TestARenewalCountsThoughTheScannersClockIsAhead(t *testing.T) {
	b := newBench(t)
	b.ask(b.asker(), shop, digestOf(1))
	b.pass(time.Minute)
	b.round(b.worker("one", with(old)))
	b.pass(-30 * time.Second)
	if !b.renew(shop, digestOf(1), newer) || b.renew(shop, digestOf(1), newer) {
		t.Error("it was asked for not once")
	}
}

func TestWhatIsKnownStaysUntilTheNewScanHasEnded(t *testing.T) {
	b := newBench(t)
	b.ask(b.asker(), shop, digestOf(1))
	b.round(b.worker("one", with(old)))
	b.pass(time.Hour)
	before := b.statement(digestOf(1))
	b.renew(shop, digestOf(1), newer)
	for name, scan := range map[string]func(context.Context, Work) (Outcome, error){
		"while it is scanned": func(ctx context.Context, work Work) (Outcome, error) {
			if got := b.statement(digestOf(1)); got != before {
				t.Errorf("while it is scanned the statement is %q, want %q", got, before)
			}
			return Outcome{}, context.DeadlineExceeded
		},
		"a scan that fails": func(context.Context, Work) (Outcome, error) {
			return Outcome{State: scanner.StateError, Reasons: []string{"the child was killed"}}, nil
		},
	} {
		b.round(b.worker("one", scan))
		got := b.get(digestOf(1)).Status
		if b.statement(digestOf(1)) != before || got.Vulnerabilities == nil || got.Database == nil || !got.Database.UpdatedAt.Time.Equal(old) {
			t.Errorf("after %s the status is %+v, want the last scan's", name, got)
		}
		b.pass(2 * DefaultMaxBackoff)
	}
	b.round(b.worker("one", with(newer)))
	if got := b.get(digestOf(1)).Status; b.statement(digestOf(1)) == before || !got.Database.UpdatedAt.Time.Equal(newer) {
		t.Errorf("after the new scan the status is %+v, want that of the newer database", got)
	}
}

func TestWhatSomebodyWaitsForIsScannedFirst(t *testing.T) {
	b := newBench(t)
	var order []string
	w := b.worker("one", func(ctx context.Context, work Work) (Outcome, error) {
		order = append(order, work.Digest)
		return with(old)(ctx, work)
	}, func(o *Options) { o.Parallel = 1 })
	b.ask(b.asker(), shop, digestOf(0))
	b.round(w)
	b.pass(DefaultRescan) // 0 is due by itself
	b.renew(shop, digestOf(1), newer)
	b.renew(shop, digestOf(2), newer)
	b.pass(time.Second)
	b.ask(b.asker(), shop, digestOf(3))
	b.pass(time.Second)
	b.ask(b.asker(), shop, digestOf(2)) // now somebody waits for it
	for range 4 {
		b.round(w)
	}
	if want := []string{digestOf(0), digestOf(3), digestOf(2), digestOf(0), digestOf(1)}; !slices.Equal(order, want) {
		t.Errorf("scanned were %q, want %q", order, want)
	}
}

// Nobody else knows of a database until an image was scanned with it.
func TestOneImageTellsOfANewDatabase(t *testing.T) {
	b := newBench(t)
	for n := range 3 {
		b.ask(b.asker(), shop, digestOf(n))
		b.pass(time.Second)
	}
	var order []string
	database, made := old, old
	w := b.worker("one", func(ctx context.Context, work Work) (Outcome, error) {
		order = append(order, work.Digest)
		return with(made)(ctx, work)
	}, func(o *Options) { o.Parallel, o.Database = 1, func() time.Time { return database } })
	for range 5 {
		b.round(w)
		b.pass(time.Second)
	}
	first := []string{digestOf(0), digestOf(1), digestOf(2)}
	if !slices.Equal(order, first) {
		t.Fatalf("scanned were %q, want %q", order, first)
	}
	b.status(digestOf(2), func(s *v1alpha1.ImageScanStatus) { // which failed since, with the newer one: nobody listens to it
		s.Phase, s.NextAttempt, s.Database = v1alpha1.PhaseFailed, at(b.now().Add(24*time.Hour)), &v1alpha1.Database{UpdatedAt: *at(newer)}
	})
	database = newer // and the first scan that is to tell of it does not
	b.round(w)
	b.round(w)
	if want := append(slices.Clone(first), digestOf(0)); !slices.Equal(order, want) {
		t.Fatalf("with a newer database scanned were %q, want %q", order, want)
	}
	made = newer
	b.pass(tellAgain)
	for range 3 {
		b.round(w)
		b.pass(tellAgain)
	}
	if want := append(slices.Clone(first), digestOf(0), digestOf(1)); !slices.Equal(order, want) {
		t.Errorf("after one that did not tell scanned were %q, want %q and then no more", order, want)
	}
}
