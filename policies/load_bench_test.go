package policies

import (
	"os"
	"testing"
)

func BenchmarkLoadLibrary(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(os.DirFS("library")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompileLibrary(b *testing.B) {
	bundle, err := Load(os.DirFS("library"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewEngine(bundle); err != nil {
			b.Fatal(err)
		}
	}
}
