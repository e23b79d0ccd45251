package bench

import (
	"net/http"
	"testing"
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
