package journal

import (
	"cmp"
	"log/slog"
	"path/filepath"
	"time"
)

// Defaults of [Options].
const (
	// A file that an editor and a log shipper still open.
	DefaultMaxFile = 64 << 20
	// Some days of a busy cluster: a decision takes about 2 KB, a pod's 8 KB.
	DefaultMaxTotal = 4 << 30
	// What a power failure may cost.
	DefaultFlush = 200 * time.Millisecond
	// Nobody notices an answer that comes this much later; a write that takes longer meets a disk in trouble.
	DefaultWait = 5 * time.Millisecond
	// A burst of a second, as lines and as bytes.
	DefaultQueue      = 4096
	DefaultQueueBytes = 64 << 20
	// Larger objects lie beside the lines: most of them come again and again.
	DefaultInline = 32 << 10
)

// Options of a [Journal]. Dir is required.
type Options struct {
	// Dir is the folder, made if it is not there. One process writes to it at a time.
	Dir string
	// Writer names the program and the replica, for the header of files.
	Writer string
	// MaxFile is when a new file begins, in bytes; MaxTotal how much lines and facts may take on disk together before
	// the oldest file goes, with the facts that only it names.
	MaxFile, MaxTotal int64
	// Flush is how often what was written is synchronised with the disk.
	Flush time.Duration
	// Wait is how long Record waits for the kernel. What takes longer is written all the same, and counted as late.
	Wait time.Duration
	// Queue and QueueBytes bound the lines that wait for being written. What finds no place is dropped, and counted.
	Queue      int
	QueueBytes int64
	// Allows is the share of plain admissions that is kept, 0 for none and 1 for all, chosen by the hash of the request's
	// uid, so that the decisions of both webhooks on one request are kept or left together. Denials, faults and
	// admissions with warnings are always kept.
	Allows float64
	// Unmatched keeps requests, too, that no policy is about. They have no object.
	Unmatched bool
	// Inline is the size in bytes up to which an object stands in its line.
	Inline int
	// KeyFile holds the key of the hash that replaces secrets, Dir/key by default. It is made, readable to its owner only,
	// if it is not there.
	KeyFile string
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// Sinks get a copy of each line.
	Sinks []Sink
	// Logger hears of what is dropped and why, at most once a minute for each reason; nil discards.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	o.MaxFile = cmp.Or(o.MaxFile, DefaultMaxFile)
	o.MaxTotal = cmp.Or(o.MaxTotal, DefaultMaxTotal)
	o.Flush = cmp.Or(o.Flush, DefaultFlush)
	o.Wait = cmp.Or(o.Wait, DefaultWait)
	o.Queue = cmp.Or(o.Queue, DefaultQueue)
	o.QueueBytes = cmp.Or(o.QueueBytes, DefaultQueueBytes)
	o.Inline = cmp.Or(o.Inline, DefaultInline)
	o.KeyFile = cmp.Or(o.KeyFile, filepath.Join(o.Dir, "key"))
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
