package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"
)

// TestAWatchThatFailsIsOneLineAMinute logs by the way that client-go's reflectors do.
func TestAWatchThatFailsIsOneLineAMinute(t *testing.T) {
	now := time.Unix(0, 0)
	var log bytes.Buffer
	klog.SetSlogLogger(slog.New(newWatchLog(slog.NewJSONHandler(&log, nil), func() time.Time { return now })))
	t.Cleanup(klog.ClearLogger)
	fail := func(kind string) {
		utilruntime.HandleErrorWithContext(t.Context(), errors.New("forbidden"), "Failed to watch", "reflector", "portcullis facts", "type", kind)
	}
	want := func(kind string, lines int) {
		t.Helper()
		if got := strings.Count(log.String(), `"type":"`+kind+`"`); got != lines {
			t.Errorf("%d lines about %s, want %d:\n%s", got, kind, lines, &log)
		}
	}
	for range 3 {
		fail("roles")
	}
	fail("pods")
	want("roles", 1)
	want("pods", 1)
	now = now.Add(time.Minute)
	fail("roles")
	want("roles", 2)
	for range 2 {
		klog.Background().Error(errors.New("other"), "something else")
	}
	if got := strings.Count(log.String(), "something else"); got != 2 {
		t.Errorf("%d lines about something else, want 2, each:\n%s", got, &log)
	}
}
