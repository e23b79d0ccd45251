package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/trace"
)

// logged is what a handler writes, line by line.
func logged(t *testing.T, format string, write func(*slog.Logger)) []map[string]any {
	t.Helper()
	var out bytes.Buffer
	flags := Flags{LogFormat: format}
	write(flags.Logger(&out, slog.LevelDebug))
	var all []map[string]any
	for line := range strings.Lines(out.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, entry)
	}
	return all
}

type secretive struct{ User, Password string }

type spoken string

func (s spoken) String() string { return "spoken " + string(s) }

type broken struct{ text *string }

func (b *broken) Error() string { return *b.text }

func TestCredentialsAreNotLogged(t *testing.T) {
	const hidden = "hunter2hunter2"
	for name, write := range map[string]func(*slog.Logger){
		"in a message":                   func(l *slog.Logger) { l.Info("asking with Authorization: Bearer " + hidden) },
		"in a text":                      func(l *slog.Logger) { l.Info("m", "url", "https://ann:"+hidden+"@example.org/") },
		"in an error":                    func(l *slog.Logger) { l.Info("m", "error", fmt.Errorf("calling: %w", errors.New("password="+hidden))) },
		"in what has a String method":    func(l *slog.Logger) { l.Info("m", "what", spoken("token="+hidden)) },
		"in a list":                      func(l *slog.Logger) { l.Info("m", "arguments", []string{"a", "--password=" + hidden}) },
		"in a struct":                    func(l *slog.Logger) { l.Info("m", "login", secretive{"ann", hidden}) },
		"in bytes":                       func(l *slog.Logger) { l.Info("m", "body", []byte(`{"password":"`+hidden+`"}`)) },
		"under a name that says it":      func(l *slog.Logger) { l.Info("m", "Token", hidden) },
		"in a group":                     func(l *slog.Logger) { l.Info("m", slog.Group("a", slog.Group("b", slog.String("password", hidden)))) },
		"in attributes of a logger":      func(l *slog.Logger) { l.With("token", hidden, "url", "redis://:"+hidden+"@db").Info("m") },
		"in a group of a logger":         func(l *slog.Logger) { l.WithGroup("g").Info("m", "password", hidden) },
		"far in a text that is too long": func(l *slog.Logger) { l.Info("m", "a", strings.Repeat("x ", maxAttribute/2-10)+"password="+hidden) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, entry := range logged(t, FormatJSON, write) {
				if written := fmt.Sprint(entry); strings.Contains(written, "hunter2") {
					t.Errorf("the line is %s, want it without the credential", written)
				}
			}
		})
	}
}

func TestWhatIsNoCredentialIsLoggedAsItIs(t *testing.T) {
	entry := logged(t, FormatJSON, func(l *slog.Logger) {
		l.Info("synced", "secret", "shop/db", "key", "tls.crt", "count", 3, "took", time.Second, "on", true, "nothing", nil,
			"error", errors.New("no answer"), "spoken", spoken("x"), "labels", map[string]string{"a": "b"}, "broken", &broken{})
	})[0]
	for key, want := range map[string]any{
		"msg": "synced", "secret": "shop/db", "key": "tls.crt", "count": 3.0, "took": 1e9, "on": true, "nothing": nil, "error": "no answer", "spoken": "spoken x",
	} {
		if got := entry[key]; got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	if got := entry["labels"].(map[string]any)["a"]; got != "b" {
		t.Errorf("a map is %v, want it as JSON", entry["labels"])
	}
	if got, _ := entry["broken"].(string); !strings.Contains(got, "cannot be written") {
		t.Errorf("an error whose text panics is %q, want that it cannot be written", got)
	}
}

func TestLinesAreBounded(t *testing.T) {
	entry := logged(t, FormatJSON, func(l *slog.Logger) {
		many := []any{"long", strings.Repeat("ü", maxAttribute), "list", strings.Split(strings.Repeat("a ", 1000), " ")}
		for n := range 200 {
			many = append(many, fmt.Sprint("k", n), n)
		}
		l.Info(strings.Repeat("m", 2*maxAttribute), many...)
	})[0]
	if got := len(entry["msg"].(string)); got != maxAttribute {
		t.Errorf("the message has %d bytes, want %d", got, maxAttribute)
	}
	if long := entry["long"].(string); len(long) > maxAttribute || !utf8.ValidString(long) || !strings.HasSuffix(long, "ü…") {
		t.Errorf("a text has %d bytes and ends in %q, want it cut at a whole letter", len(long), long[len(long)-8:])
	}
	if got := len(entry["list"].([]any)); got != maxAttributes {
		t.Errorf("a list has %d elements, want %d", got, maxAttributes)
	}
	if got := len(entry); got > maxAttributes+4 {
		t.Errorf("the line has %d attributes, want %d", got, maxAttributes)
	}
}

func TestLinesNameTheirTrace(t *testing.T) {
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
	entries := logged(t, FormatJSON, func(l *slog.Logger) { l.InfoContext(ctx, "a"); l.Info("b") })
	if entries[0]["trace_id"] != "01000000000000000000000000000000" || entries[0]["span_id"] != "0200000000000000" {
		t.Errorf("the line is %v, want its trace and span", entries[0])
	}
	if _, ok := entries[1]["trace_id"]; ok {
		t.Errorf("the line is %v, want no trace", entries[1])
	}
}

func TestTextIsAFormToo(t *testing.T) {
	var out bytes.Buffer
	flags := Flags{LogFormat: FormatText}
	flags.Logger(&out, slog.LevelWarn).Warn("cannot", "error", errors.New("no answer"), "of", map[string]int{"a": 1})
	if got := out.String(); !strings.HasSuffix(got, `level=WARN msg=cannot error="no answer" of="{\"a\":1}"`+"\n") {
		t.Errorf("the line is %q, want it as text", got)
	}
	flags.Logger(&out, slog.LevelWarn).Info("more")
	if strings.Contains(out.String(), "more") {
		t.Error("a line below the level is written")
	}
}

func TestLinesThatSayTheSameAreCounted(t *testing.T) {
	var out bytes.Buffer
	h := newHandler(slog.NewJSONHandler(&out, nil))
	now := time.Unix(1_800_000_000, 0)
	var due []func()
	h.lines.now = func() time.Time { return now }
	h.lines.after = func(_ time.Duration, f func()) { due = append(due, f) }
	l := slog.New(h)
	for n := range maxSame + 40 {
		l.Error("the registry does not answer", "try", n)
		l.Info("reviewed", "try", n) // denials are one line each
	}
	l.Error("something else")
	count := func(text string) int { return strings.Count(out.String(), text) }
	if got := count(`"msg":"the registry does not answer"`); got != maxSame {
		t.Errorf("%d lines are written, want %d", got, maxSame)
	}
	if got := count(`"msg":"reviewed"`); got != maxSame+40 {
		t.Errorf("%d lines that are no warnings are written, want all", got)
	}
	if count("something else") != 1 {
		t.Error("another message is left out, too")
	}
	if len(due) != 1 {
		t.Fatalf("%d summaries are due, want one", len(due))
	}
	now = now.Add(window)
	due[0]()
	if got := count(`"message":"the registry does not answer","lines":40`); got != 1 {
		t.Errorf("the summary is there %d times, want once, with 40 lines, in\n%s", got, out.String()[max(0, out.Len()-500):])
	}
	l.Error("the registry does not answer")
	if got := count(`"msg":"the registry does not answer"`); got != maxSame+1 {
		t.Errorf("in the next window %d lines are written, want one more", got)
	}
	if got := testutil.ToFloat64(h.lines.left); got != 40 {
		t.Errorf("the metric counts %v, want 40", got)
	}
}

func TestManyDifferentMessagesTakeNoMoreMemory(t *testing.T) {
	h := newHandler(slog.DiscardHandler)
	now := time.Unix(1_800_000_000, 0)
	h.lines.now = func() time.Time { return now }
	h.lines.after = func(time.Duration, func()) {}
	for n := range 3 * maxMessages {
		h.allow(slog.LevelError, fmt.Sprint("message ", n))
	}
	if got := len(h.known); got > maxMessages+1 {
		t.Errorf("%d messages are told apart, want %d", got, maxMessages)
	}
	if h.allow(slog.LevelError, "one more of them") {
		t.Error("those that are not told apart have no limit")
	}
	now = now.Add(window)
	if !h.allow(slog.LevelError, "one of the next window") {
		t.Error("what is past takes up the room")
	}
}

func BenchmarkLog(b *testing.B) {
	for name, handler := range map[string]slog.Handler{"plain": slog.NewJSONHandler(discard{}, nil), "ours": newHandler(slog.NewJSONHandler(discard{}, nil))} {
		b.Run(name, func(b *testing.B) {
			l := slog.New(handler)
			b.ReportAllocs()
			for b.Loop() {
				l.Info("reviewed", "verdict", "denied", "uid", "0d1b0e2c-8a32-4bd2-b9a4-1f5d7f1c3c55", "namespace", "shop", "policies", []string{"pods/privileged"}, "milliseconds", 3)
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
