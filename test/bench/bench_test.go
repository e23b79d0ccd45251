package bench

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/revision"
)

func benchmark(b *testing.B, handler http.Handler, err error, bodies *Template, admitted bool) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	caller, err := NewCaller(handler, bodies, admitted)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		caller.Call()
	}
}

func BenchmarkYardstick(b *testing.B) {
	benchmark(b, Yardstick(), nil, AllDifferent(Pod()), true)
}

func BenchmarkFifty(b *testing.B) {
	handler, err := Portcullis(Fifty)
	benchmark(b, handler, err, AllDifferent(Pod()), true)
}

func BenchmarkFiftyInCEL(b *testing.B) {
	handler, err := CEL(Fifty)
	benchmark(b, handler, err, AllDifferent(Pod()), true)
}

func BenchmarkTen(b *testing.B) {
	handler, err := Portcullis(Ten)
	benchmark(b, handler, err, AllDifferent(Pod()), true)
}

func BenchmarkTenInCEL(b *testing.B) {
	handler, err := CEL(Ten)
	benchmark(b, handler, err, AllDifferent(Pod()), true)
}

func BenchmarkFiftyWithFindings(b *testing.B) {
	handler, err := Portcullis(Fifty)
	benchmark(b, handler, err, AllDifferent(BadPod()), false)
}

func BenchmarkFiftyWithFindingsInCEL(b *testing.B) {
	handler, err := CEL(Fifty)
	benchmark(b, handler, err, AllDifferent(BadPod()), false)
}

func BenchmarkHardened(b *testing.B) {
	handler, err := hardened()
	benchmark(b, handler, err, AllDifferent(Pod()), true)
}

func BenchmarkSameTemplate(b *testing.B) {
	handler, err := Portcullis(Fifty)
	benchmark(b, handler, err, SameTemplate(Pod()), true)
}

func BenchmarkUnmatched(b *testing.B) {
	handler, err := hardened()
	benchmark(b, handler, err, Unmatched(), true)
}

func BenchmarkUnmatchedYardstick(b *testing.B) {
	benchmark(b, Yardstick(), nil, Unmatched(), true)
}

func BenchmarkLease(b *testing.B) {
	handler, err := hardened()
	benchmark(b, handler, err, Lease(), true)
}

func BenchmarkLeaseYardstick(b *testing.B) {
	benchmark(b, Yardstick(), nil, Lease(), true)
}

func hardened() (http.Handler, error) {
	engine, err := NewHardenedEngine()
	if err != nil {
		return nil, err
	}
	return NewHandler(engine)
}

func BenchmarkLoadThousand(b *testing.B) {
	files, err := Thousand(1000)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := LoadBundle(files); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEngineAlone(b *testing.B) {
	engine, err := NewEngine(Fifty)
	if err != nil {
		b.Fatal(err)
	}
	var failed failing
	call := newDirect(b.Context(), engine, &failed)
	b.ReportAllocs()
	for b.Loop() {
		call()
	}
	if failed.err != nil {
		b.Fatal(failed.err)
	}
}

func BenchmarkLineup(b *testing.B) {
	for _, bundles := range []int{1, 2, 5} {
		b.Run(fmt.Sprintf("bundles=%d", bundles), func(b *testing.B) {
			lineup, err := NewLineup(Fifty, bundles)
			if err != nil {
				b.Fatal(err)
			}
			var failed failing
			call := newReviews(b.Context(), lineup, &failed)
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
			if failed.err != nil {
				b.Fatal(failed.err)
			}
		})
	}
}

func BenchmarkFiftyKept(b *testing.B) {
	kept, err := openJournal(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := kept.Close(b.Context()); err != nil {
			b.Error(err)
		}
	}()
	engine, err := NewEngine(Fifty)
	if err != nil {
		b.Fatal(err)
	}
	handler, err := NewRecordedHandler(engine, kept)
	benchmark(b, handler, err, AllDifferent(Pod()), true)
}

func BenchmarkReplay(b *testing.B) {
	const count = 1000
	dir := filepath.Join(b.TempDir(), "journal")
	if err := recordDecisions(b.Context(), dir, count); err != nil {
		b.Fatal(err)
	}
	for name, against := range map[string]bool{"recorded": false, "against": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := replayOnce(b.Context(), dir, count, against); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*count/b.Elapsed().Minutes(), "decisions/min")
		})
	}
}

func BenchmarkLoadStored(b *testing.B) {
	s, err := newStored(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		decoded, err := s.read(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := revision.Load(decoded.Tree, revision.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
