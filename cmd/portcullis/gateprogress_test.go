package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestProgressBar(t *testing.T) {
	const words = "looked at %d of %d images"
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	draw := func(plain bool, steps ...time.Duration) string {
		var b strings.Builder
		now := clock
		bar := progressBar(&b, words, plain, func() time.Time { return now })
		for n, step := range steps {
			now = now.Add(step)
			bar(n+1, len(steps))
		}
		return b.String()
	}
	for name, test := range map[string]struct {
		steps []time.Duration
		plain bool
		want  string
	}{
		"a short run shows nothing": {[]time.Duration{time.Millisecond, time.Millisecond}, false, ""},
		"a long one a bar that goes away": {[]time.Duration{2 * time.Second, time.Second}, false,
			"\r\x1b[K██████████░░░░░░░░░░ looked at 1 of 2 images\r\x1b[K"},
		"one with NO_COLOR no characters that need a font": {[]time.Duration{2 * time.Second, time.Second}, true,
			"\r\x1b[K##########.......... looked at 1 of 2 images\r\x1b[K"},
		"quick steps are not all drawn": {[]time.Duration{2 * time.Second, time.Millisecond, time.Millisecond, time.Millisecond}, true,
			"\r\x1b[K#####............... looked at 1 of 4 images\r\x1b[K"},
	} {
		if got := draw(test.plain, test.steps...); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if progress(file, words) != nil || progress(&strings.Builder{}, words) != nil {
		t.Error("got a bar for what is no terminal, want none")
	}
}
