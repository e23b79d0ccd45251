package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits of lines that say the same.
const (
	// So many warnings and errors of one message are written in a window. A cluster whose every request fails for one reason is understood by then;
	// the journal has all decisions.
	maxSame = 100
	window  = time.Minute
	// Messages that are told apart. They are constants of programs, and of client-go.
	maxMessages = 1024
)

// lines counts warnings and errors by what they say.
type lines struct {
	now   func() time.Time
	after func(time.Duration, func())
	write func(context.Context, slog.Record) error

	left prometheus.Counter

	mu    sync.Mutex
	known map[line]*seen
}

// line is what makes two lines the same.
type line struct {
	level   slog.Level
	message string
}

// seen is how often a line came in a window.
type seen struct {
	until   time.Time
	written int
	left    int
}

func newLines() *lines {
	return &lines{
		now: time.Now, after: func(d time.Duration, f func()) { time.AfterFunc(d, f) }, known: map[line]*seen{},
		left: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "portcullis_log_lines_suppressed_total",
			Help: "Warnings and errors left out of the log because the same message came too often.",
		}),
	}
}

// allow says whether a line is written. Of what comes too often one line a window says how much was left out.
func (l *lines) allow(level slog.Level, message string) bool {
	if level < slog.LevelWarn {
		return true
	}
	key := line{level, message}
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.known[key]
	if known == nil {
		if len(l.known) >= maxMessages && !l.forget(now) {
			key = line{level: level} // which all others share
			known = l.known[key]
		}
		if known == nil {
			known = &seen{}
			l.known[key] = known
		}
	}
	if !now.Before(known.until) {
		*known = seen{until: now.Add(window), left: known.left} // left is said by say, which is on its way
	}
	if known.written < maxSame {
		known.written++
		return true
	}
	if known.left++; known.left == 1 {
		l.after(known.until.Sub(now), func() { l.say(key) })
	}
	l.left.Inc()
	return false
}

// forget makes room by what is past, and says whether there is some.
func (l *lines) forget(now time.Time) bool {
	for key, known := range l.known {
		if !now.Before(known.until) && known.left == 0 {
			delete(l.known, key)
		}
	}
	return len(l.known) < maxMessages
}

// say writes how many lines were left out.
func (l *lines) say(key line) {
	l.mu.Lock()
	left := 0
	if known := l.known[key]; known != nil {
		left, known.left = known.left, 0
	}
	l.mu.Unlock()
	if left == 0 {
		return
	}
	record := slog.NewRecord(l.now(), key.level, "left out lines that say the same: see the metrics and the journal for how often it happened", 0)
	message := key.message
	if message == "" {
		message = "many different ones"
	}
	record.AddAttrs(slog.String("message", cleaned(message)), slog.Int("lines", left), slog.Duration("within", window))
	_ = l.write(context.Background(), record)
}
