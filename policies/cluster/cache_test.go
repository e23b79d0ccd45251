package cluster

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestAKeptRevisionIsAsOldAsItWasStored(t *testing.T) {
	kept, err := openCache(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	digest := "sha256:" + strings.Repeat("ab", 32)
	stored := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	kept.put(digest, []byte("content"), stored)
	content, at := kept.get(digest)
	if string(content) != "content" || !at.Equal(stored) {
		t.Errorf("got %q of %s, want what was kept, of %s", content, at, stored)
	}
}
