package evidence

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

func TestAPolicyThatReadsNoEvidenceCausesNoTraffic(t *testing.T) {
	silent := &fakeRegistry{}
	verifier := signedBy("release")
	facts := start(t, Options{Registry: silent, Verifier: verifier})
	needs := needing(t, policies.ImageSections{}, "ghcr.io/acme/app:1")
	needs.Images.Sections = policies.ImageSections{}
	if got := facts.Gather(t.Context(), needs); got.Images != nil {
		t.Errorf("got %v, want no facts about images", got.Images)
	}
	if asked := silent.asked(); asked != "" || verifier.count.Load() > 0 {
		t.Errorf("the registry was asked for %q, %d verifications, want none", asked, verifier.count.Load())
	}
}

func TestOnlyTheDigestIsResolvedWhereNothingElseIsRead(t *testing.T) {
	one := manifestNamed("one")
	from := &fakeRegistry{resolve: func(string) (registry.Manifest, error) { return one, nil }}
	verifier := signedBy("release")
	facts := start(t, Options{Registry: from, Verifier: verifier})
	got := gatherOne(t, facts, needing(t, policies.ImageSections{}, "ghcr.io/acme/app:1"))
	if got.Resolved != one.Digest || from.asked() != "resolve 1" || verifier.count.Load() != 0 {
		t.Errorf("resolved %q with %q and %d verifications, want %s with one request", got.Resolved, from.asked(), verifier.count.Load(), one.Digest)
	}
}

func manifestNamed(name string) registry.Manifest {
	raw := []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[],"annotations":{"name":%q}}`, name))
	manifest, err := registry.ParseManifest(raw)
	if err != nil {
		panic(err)
	}
	return manifest
}

// TestBypass11_ATagIsResolvedOnceAndThatDigestCounts: CVE-2022-47633, where a registry answered A to who verified and B to who
// pinned.
func TestBypass11_ATagIsResolvedOnceAndThatDigestCounts(t *testing.T) {
	answers := []registry.Manifest{manifestNamed("signed"), manifestNamed("evil")}
	resolved := 0
	from := &fakeRegistry{resolve: func(string) (registry.Manifest, error) {
		resolved++
		return answers[min(resolved, 2)-1], nil
	}}
	facts := start(t, Options{Registry: from, Verifier: signedBy("release")})
	wantSigned(t, gatherOne(t, facts, needing(t, evidenceOnly, "ghcr.io/acme/app:1")), answers[0].Digest)
	wantCount(t, "resolutions", int64(resolved), 1)
}

// TestBypass13_ATagThatIsPushedAgainIsVerifiedAgain within the age of what is remembered.
func TestBypass13_ATagThatIsPushedAgainIsVerifiedAgain(t *testing.T) {
	good, evil := manifestNamed("signed"), manifestNamed("evil")
	now := good
	from := &fakeRegistry{resolve: func(string) (registry.Manifest, error) { return now, nil }}
	verifier := &verifierFunc{verify: func(_ context.Context, _ Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
		if digest == good.Digest {
			return signed(digest, "release"), nil
		}
		return signer.Evidence{Digest: digest}, nil
	}}
	facts := start(t, Options{Registry: from, Verifier: verifier})
	needs := needing(t, evidenceOnly, "ghcr.io/acme/app:1")
	wantSigned(t, gatherOne(t, facts, needs), good.Digest)
	now = evil
	got := gatherOne(t, facts, needs)
	if got.Resolved != evil.Digest || got.Evidence.Digest != evil.Digest || len(got.Evidence.Signatures) > 0 {
		t.Errorf("got %+v, want the digest of the new image without signatures", got)
	}
}

func TestEvidenceAboutAnotherDigestIsRefused(t *testing.T) {
	facts := start(t, Options{Verifier: &verifierFunc{verify: func(context.Context, Registry, string, *signer.Configuration) (signer.Evidence, error) {
		return signed(digestOf("other"), "release"), nil
	}}})
	got := gatherOne(t, facts, needing(t, evidenceOnly, "ghcr.io/acme/app@"+digestOf("app")))
	if got.Unknown.Evidence == "" || len(got.Evidence.Signatures) > 0 {
		t.Errorf("got %+v, want unknown", got)
	}
}

// TestThirtyPodsOfOneNewImageAreOneVerification begins them while the first is under way.
func TestThirtyPodsOfOneNewImageAreOneVerification(t *testing.T) {
	release := make(chan struct{})
	one := manifestNamed("one")
	from := &fakeRegistry{resolve: func(string) (registry.Manifest, error) { <-release; return one, nil }}
	verifier := &verifierFunc{verify: func(_ context.Context, _ Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
		return signed(digest, "release"), nil
	}}
	facts := start(t, Options{Registry: from, Verifier: verifier})
	needs := needing(t, evidenceOnly, "ghcr.io/acme/app:1")
	var group sync.WaitGroup
	got := make([]policies.ImageFacts, 30)
	for n := range got {
		group.Go(func() { got[n] = facts.Gather(t.Context(), needs).Images[needs.Images.Images[0].Ref] })
	}
	eventually(t, func() error {
		if joined := looks(t, facts, partResolved, lookJoined); joined != 29 {
			return fmt.Errorf("%v wait, want 29", joined)
		}
		return nil
	})
	close(release)
	group.Wait()
	for _, one := range got {
		wantSigned(t, one, one.Resolved)
	}
	wantCount(t, "verifications", verifier.count.Load(), 1)
	if asked := from.asked(); asked != "resolve 1" {
		t.Errorf("asked for %q, want one resolution", asked)
	}
}

// TestOneWhoGivesUpDoesNotTakeTheAnswerFromOthers: what it began goes on, and is there for the next.
func TestOneWhoGivesUpDoesNotTakeTheAnswerFromOthers(t *testing.T) {
	release := make(chan struct{})
	verifier := &verifierFunc{verify: func(ctx context.Context, _ Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
		select {
		case <-release:
			return signed(digest, "release"), nil
		case <-ctx.Done():
			return signer.Evidence{}, ctx.Err()
		}
	}}
	facts := start(t, Options{Verifier: verifier})
	needs := needing(t, evidenceOnly, "ghcr.io/acme/app@"+digestOf("app"))
	ref := needs.Images.Images[0].Ref
	impatient, cancel := context.WithCancel(t.Context())
	first, second := make(chan policies.ImageFacts, 1), make(chan policies.ImageFacts, 1)
	go func() { first <- facts.Gather(impatient, needs).Images[ref] }()
	eventually(t, func() error {
		if verifier.count.Load() == 0 {
			return errors.New("the verification has not begun")
		}
		return nil
	})
	go func() { second <- facts.Gather(t.Context(), needs).Images[ref] }()
	cancel()
	if got := <-first; !strings.Contains(got.Unknown.Evidence, "retry in a few seconds") {
		t.Errorf("who gave up got %+v, want that it is still unknown", got.Unknown)
	}
	close(release)
	wantSigned(t, <-second, digestOf("app"))
	wantSigned(t, gatherOne(t, facts, needs), digestOf("app"))
	wantCount(t, "verifications", verifier.count.Load(), 1)
}

// TestHowLongAnAnswerIsUsed moves the clock.
func TestHowLongAnAnswerIsUsed(t *testing.T) {
	const ref = "ghcr.io/acme/app@"
	unsigned := func(digest string) signer.Evidence { return signer.Evidence{Digest: digest} }
	bySigner := func(name string) func(string) signer.Evidence {
		return func(digest string) signer.Evidence { return signed(digest, name) }
	}
	for name, test := range map[string]struct {
		evidence func(digest string) signer.Evidence
		after    time.Duration
		want     int64 // verifications in the end
	}{
		"signed as required, before it is refreshed":  {bySigner("release"), DefaultRefreshAge - time.Second, 1},
		"signed as required, refreshed in background": {bySigner("release"), DefaultRefreshAge, 2},
		"signed as required, too old":                 {bySigner("release"), DefaultAge, 2},
		"no signature, at once":                       {unsigned, DefaultNegativeAge - time.Second, 1},
		"no signature, some seconds later":            {unsigned, DefaultNegativeAge, 2},
		"not by whom it must be, some seconds later":  {bySigner("scanner"), DefaultNegativeAge, 2},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			verifier := &verifierFunc{verify: func(_ context.Context, _ Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
				return test.evidence(digest), nil
			}}
			facts := start(t, Options{Verifier: verifier, Now: clock.now})
			needs := needing(t, evidenceOnly, ref+digestOf("app"))
			gatherOne(t, facts, needs)
			clock.advance(test.after)
			gatherOne(t, facts, needs)
			landed(t, facts)
			wantCount(t, "verifications", verifier.count.Load(), test.want)
		})
	}
}

// TestASignatureThatIsTakenAwayNoLongerCountsAfterTheRefresh, and one whose refresh fails does until it is too old.
func TestASignatureThatIsTakenAwayNoLongerCountsAfterTheRefresh(t *testing.T) {
	for name, test := range map[string]struct {
		later      func(digest string) (signer.Evidence, error)
		signatures int // after the refresh
		unknown    bool
	}{
		"taken away":                     {func(digest string) (signer.Evidence, error) { return signer.Evidence{Digest: digest}, nil }, 0, false},
		"the registry no longer answers": {func(string) (signer.Evidence, error) { return signer.Evidence{}, unreachable() }, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			verifier := signedBy("release")
			facts := start(t, Options{Verifier: verifier, Now: clock.now})
			needs := needing(t, evidenceOnly, "ghcr.io/acme/app@"+digestOf("app"))
			wantSigned(t, gatherOne(t, facts, needs), digestOf("app"))
			verifier.verify = func(_ context.Context, _ Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
				return test.later(digest)
			}
			clock.advance(DefaultRefreshAge)
			wantSigned(t, gatherOne(t, facts, needs), digestOf("app"))
			landed(t, facts)
			got := gatherOne(t, facts, needs)
			if len(got.Evidence.Signatures) != test.signatures || got.Unknown.Evidence != "" {
				t.Errorf("after the refresh: %d signatures, unknown %q, want %d", len(got.Evidence.Signatures), got.Unknown.Evidence, test.signatures)
			}
			landed(t, facts)
			wantCount(t, "verifications", verifier.count.Load(), 2)
			clock.advance(DefaultAge)
			if got := gatherOne(t, facts, needs); (got.Unknown.Evidence != "") != test.unknown || len(got.Evidence.Signatures) > 0 {
				t.Errorf("when it is too old: %+v, want unknown %v and no signature", got, test.unknown)
			}
		})
	}
}

func unreachable() error {
	return fmt.Errorf("listing what is attached to it: %w", &registry.Error{Kind: registry.Unreachable, Host: "ghcr.io", What: "fetching the manifest"})
}

// TestFaults: each is unknown with a reason, never the same as no signature, and asked again at once.
func TestFaults(t *testing.T) {
	fault := func(kind registry.Kind) error {
		return fmt.Errorf("reading signatures: %w", &registry.Error{Kind: kind, Host: "mirror.example.com", What: "fetching the manifest", RetryAfter: 7 * time.Second})
	}
	for name, test := range map[string]struct {
		err  error
		want []string
	}{
		"there is no such image":       {fault(registry.NotFound), []string{"not found, mirror.example.com", "push it first"}},
		"credentials are missing":      {fault(registry.Unauthorized), []string{"unauthorized, mirror.example.com", "give credentials for mirror.example.com"}},
		"an address that is refused":   {fault(registry.Forbidden), []string{"forbidden, mirror.example.com", "give --allow-registry mirror.example.com"}},
		"too many requests":            {fault(registry.RateLimited), []string{"rate limited, mirror.example.com", "retry in 7 s"}},
		"a registry that is slow":      {fault(registry.Timeout), []string{"timeout, mirror.example.com", "retry"}},
		"more than the limit":          {fault(registry.TooLarge), []string{"too large, mirror.example.com", "make it smaller"}},
		"more things than the limit":   {fault(registry.TooMany), []string{"too many, mirror.example.com", "remove"}},
		"not what the protocol says":   {fault(registry.Malformed), []string{"malformed, mirror.example.com", "check that"}},
		"another digest":               {fault(registry.Mismatch), []string{"mismatch, mirror.example.com", "do not use it"}},
		"nobody answers":               {fault(registry.Unreachable), []string{"unreachable, mirror.example.com", "retry"}},
		"there is no trusted root":     {errors.New("there is no trusted root: give --trusted-root"), []string{"give --trusted-root"}},
		"a panic in a library":         {nil, []string{"a defect: boom", "report this"}},
		"the place cannot be had":      {errTooManyFlights, []string{"too many images", "retry"}},
		"the replica is shutting down": {errClosed, []string{"shutting down", "retry"}},
	} {
		t.Run(name, func(t *testing.T) {
			verifier := &verifierFunc{verify: func(_ context.Context, _ Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
				switch {
				case digest == digestOf("good"):
					return signed(digest, "release"), nil
				case test.err == nil:
					panic("boom")
				}
				return signer.Evidence{}, test.err
			}}
			facts := start(t, Options{Verifier: verifier})
			needs := needing(t, withScan, "ghcr.io/acme/app@"+digestOf("bad"), "ghcr.io/acme/app@"+digestOf("good"))
			got := gatherAll(t, facts, needs)
			bad := got[needs.Images.Images[0].Ref]
			for _, want := range test.want {
				if !strings.Contains(bad.Unknown.Evidence, want) {
					t.Errorf("the reason is %q, want %q in it", bad.Unknown.Evidence, want)
				}
			}
			if bad.Unknown.Scan == "" || bad.Unknown.Resolved != "" || len(bad.Evidence.Signatures) > 0 {
				t.Errorf("got %+v, want evidence and scan unknown, and the digest known", bad)
			}
			wantSigned(t, got[needs.Images.Images[1].Ref], digestOf("good"))
			before := verifier.count.Load()
			gatherOne(t, facts, needs)
			wantCount(t, "verifications after a failure", verifier.count.Load()-before, 1)
		})
	}
}

func TestATagThatCannotBeResolvedLeavesEverythingUnknown(t *testing.T) {
	facts := start(t, Options{Registry: &fakeRegistry{}, Verifier: signedBy("release")})
	needs := needing(t, policies.ImageSections{Configs: true, Evidence: true, Scan: true}, "ghcr.io/acme/app:gone")
	got := gatherOne(t, facts, needs).Unknown
	const want = "the digest of ghcr.io/acme/app:gone (not found, ghcr.io)"
	for part, reason := range map[string]string{"digest": got.Resolved, "configs": got.Configs, "evidence": got.Evidence, "scan": got.Scan} {
		if !strings.HasPrefix(reason, want) {
			t.Errorf("%s is unknown because %q, want %q", part, reason, want)
		}
	}
}

// TestOneSlowImageDoesNotCostTheOthers although there is one place for all.
func TestOneSlowImageDoesNotCostTheOthers(t *testing.T) {
	verifier := &verifierFunc{verify: func(ctx context.Context, _ Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
		if digest != digestOf("slow") {
			return signed(digest, "release"), nil
		}
		<-ctx.Done()
		return signer.Evidence{}, ctx.Err()
	}}
	facts := start(t, Options{Verifier: verifier, Parallel: 1, Margin: time.Second})
	needs := needing(t, evidenceOnly, "a.example/slow@"+digestOf("slow"), "b.example/app@"+digestOf("one"), "c.example/app@"+digestOf("two"))
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	got := facts.Gather(ctx, needs).Images
	if ctx.Err() != nil {
		t.Error("the deadline has passed, want time left to evaluate")
	}
	if reason := got[needs.Images.Images[0].Ref].Unknown.Evidence; !strings.Contains(reason, "a.example has not answered within the time of this request") {
		t.Errorf("the slow one is unknown because %q, want that its host has not answered", reason)
	}
	wantSigned(t, got[needs.Images.Images[1].Ref], digestOf("one"))
	wantSigned(t, got[needs.Images.Images[2].Ref], digestOf("two"))
}

func TestShares(t *testing.T) {
	now := time.Unix(1000, 0)
	for name, test := range map[string]struct {
		left            time.Duration
		waiting, places int
		want            time.Duration
	}{
		"one image has all":                          {8 * time.Second, 1, 8, 8 * time.Second},
		"as many as places have all":                 {8 * time.Second, 8, 8, 8 * time.Second},
		"twice as many have half":                    {8 * time.Second, 16, 8, 4 * time.Second},
		"one more than places has half, too":         {8 * time.Second, 9, 8, 4 * time.Second},
		"the last of many has all that is left":      {time.Second, 1, 1, time.Second},
		"no time is no time":                         {0, 3, 1, 0},
		"a deadline in the past gives no more of it": {-3 * time.Second, 3, 1, -time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := share(now, now.Add(test.left), test.waiting, test.places).Sub(now); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestTimeIsKeptBackForEvaluation(t *testing.T) {
	for name, test := range map[string]struct{ timeout, least, most time.Duration }{
		"the margin of a long deadline":   {10 * time.Second, 9 * time.Second, 9750 * time.Millisecond},
		"half of a short one":             {200 * time.Millisecond, 0, 100 * time.Millisecond},
		"no deadline is the default time": {0, 9 * time.Second, DefaultTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			if test.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.timeout)
				defer cancel()
			}
			ctx, cancel := withMargin(ctx, DefaultMargin, DefaultTimeout)
			defer cancel()
			deadline, ok := ctx.Deadline()
			if left := time.Until(deadline); !ok || left < test.least || left > test.most {
				t.Errorf("%s are left, want %s to %s", left, test.least, test.most)
			}
		})
	}
}

// TestOtherTrustNeverUsesOldVerdicts.
func TestOtherTrustNeverUsesOldVerdicts(t *testing.T) {
	root := "root 1"
	verifier := signedBy("release")
	facts := start(t, Options{Verifier: verifier, TrustedRoot: func() string { return root }})
	needs := needing(t, evidenceOnly, "ghcr.io/acme/app@"+digestOf("app"))
	gatherOne(t, facts, needs)
	needs.Images.Trust = trusting(t, "another")
	gatherOne(t, facts, needs)
	wantCount(t, "verifications after another trust", verifier.count.Load(), 2)
	root = "root 2"
	gatherOne(t, facts, needs)
	wantCount(t, "verifications after another root", verifier.count.Load(), 3)
	other := needing(t, evidenceOnly, "ghcr.io/evil/app@"+digestOf("app"))
	gatherOne(t, facts, other)
	wantCount(t, "verifications in another repository", verifier.count.Load(), 4)
	gatherOne(t, facts, other)
	wantCount(t, "verifications of what is known", verifier.count.Load(), 4)
}

// TestARootThatChangesDuringAVerificationIsNotRemembered: nobody can say which one it was.
func TestARootThatChangesDuringAVerificationIsNotRemembered(t *testing.T) {
	root := "root 1"
	verifier := &verifierFunc{}
	verifier.verify = func(_ context.Context, _ Registry, digest string, _ *signer.Configuration) (signer.Evidence, error) {
		root = "root 2"
		return signed(digest, "release"), nil
	}
	facts := start(t, Options{Verifier: verifier, TrustedRoot: func() string { return root }})
	needs := needing(t, evidenceOnly, "ghcr.io/acme/app@"+digestOf("app"))
	wantSigned(t, gatherOne(t, facts, needs), digestOf("app"))
	root = "root 1"
	gatherOne(t, facts, needs)
	wantCount(t, "verifications", verifier.count.Load(), 2)
}

// TestMemoryIsBounded by entries and by bytes, and keeps what was used last.
func TestMemoryIsBounded(t *testing.T) {
	c := newCache[int](3, 10*entryOverhead)
	at := func(n int) key { return key{subject: fmt.Sprint(n)} }
	for n := range 3 {
		c.put(at(n), item[int]{value: n})
	}
	c.get(at(0))
	c.put(at(3), item[int]{value: 3})
	if _, ok := c.get(at(1)); ok || len(c.entries) != 3 {
		t.Errorf("%d entries, the one used least is still there: %v, want 3 without it", len(c.entries), ok)
	}
	c.put(at(4), item[int]{size: 4*entryOverhead - 1})
	c.put(at(5), item[int]{size: 4*entryOverhead - 1})
	if c.bytes > c.maxBytes || len(c.entries) != 2 {
		t.Errorf("%d bytes in %d entries, want at most %d in 2", c.bytes, len(c.entries), c.maxBytes)
	}
	c.put(at(5), item[int]{size: 5 * entryOverhead})
	if _, ok := c.get(at(5)); ok {
		t.Error("an answer of more than half of the cache is kept, want it gone, with the one that it replaces")
	}
	c.remove(at(4))
	if c.bytes != 0 || len(c.entries) != 0 || c.used.Len() != 0 {
		t.Errorf("%d bytes, %d entries are left, want none", c.bytes, len(c.entries))
	}
}

// TestASlowRegistryDoesNotTakeAllPlaces of the process.
func TestASlowRegistryDoesNotTakeAllPlaces(t *testing.T) {
	flights := newFlights(time.Minute)
	release := make(chan struct{})
	var slow sync.WaitGroup
	slow.Add(maxFlying)
	for range maxFlying {
		if err := flights.begin("slow.example", func(ctx context.Context) error { <-release; return nil }, func(error) { slow.Done() }); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	if err := flights.begin("fast.example", func(context.Context) error { return nil }, func(err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the other registry was asked: %v, want no error", err)
	}
	eventually(t, func() error {
		flights.mu.Lock()
		defer flights.mu.Unlock()
		if flights.hosts["slow.example"] != maxFlyingHost || len(flights.waiting) != maxFlying-maxFlyingHost {
			return fmt.Errorf("%d places for one registry, %d wait, want %d", flights.hosts["slow.example"], len(flights.waiting), maxFlyingHost)
		}
		return nil
	})
	close(release)
	slow.Wait()
	flights.close()
	if flights.flying != 0 || len(flights.hosts) != 0 || len(flights.waiting) != 0 {
		t.Errorf("%d places are still taken, want none", flights.flying)
	}
	if err := flights.begin("fast.example", nil, nil); !errors.Is(err, errClosed) {
		t.Errorf("after the end: %v, want %v", err, errClosed)
	}
}

func TestThereIsALimitOfWhatWaits(t *testing.T) {
	flights := newFlights(time.Minute)
	var refused error
	for range maxFlights + 1 {
		refused = flights.begin("slow.example", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, func(error) {})
	}
	if !errors.Is(refused, errTooManyFlights) {
		t.Errorf("one more than %d: %v, want %v", maxFlights, refused, errTooManyFlights)
	}
	flights.close() // ends all
	if flights.total != 0 {
		t.Errorf("%d are left after the end, want none", flights.total)
	}
}

// BenchmarkWarm gathers what is known already of one image: evidence and scan.
func BenchmarkWarm(b *testing.B) {
	facts := start(b, Options{Verifier: scannedBy(b, "scanner"), TrustedRoot: func() string { return "sha256:root" }})
	needs := needing(b, withScan, "ghcr.io/acme/app@"+digestOf("app"))
	if got := gatherOne(b, facts, needs); len(got.Evidence.Signatures) != 1 || got.Scan.State != "complete" {
		b.Fatalf("got %+v, want a signature and a scan", got)
	}
	b.ReportAllocs()
	for b.Loop() {
		facts.Gather(b.Context(), needs)
	}
}
