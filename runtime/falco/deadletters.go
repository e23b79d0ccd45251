package falco

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/policies/redaction"
)

const (
	// maxDeadLetters is how large a file of dead letters becomes before it takes the place of the one before.
	maxDeadLetters = 8 << 20
	// maxExcerpt is how much of a body is kept: enough to see who sent what. maxRedacted is how much is redacted before, so
	// that what is cut off does not leave half of a credential.
	maxExcerpt  = 2 << 10
	maxRedacted = 16 << 10
	// maxPerSecond is how many are kept in a second: a sensor that is set up wrong sends all it has.
	maxPerSecond = 100
)

// DeadLetters keep what was refused although its sender may send, so that nothing is lost without a trace: two files of lines of JSON, the
// older one goes when the newer is full, and at most 100 in a second are kept. It is for use by several goroutines.
type DeadLetters struct {
	path  string
	limit int64

	mu     sync.Mutex
	file   *os.File
	size   int64
	second int64 // of the last one, and how many there were in it
	count  int
}

// DeadLetter is one that was refused.
type DeadLetter struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
	Error  string    `json:"error"`
	// Sender is the node, or the common name of the certificate, that it came from.
	Sender string `json:"sender,omitempty"`
	Remote string `json:"remote,omitempty"`
	// Bytes is how many the body has, as far as it was read; Body its beginning, redacted.
	Bytes int    `json:"bytes"`
	Body  string `json:"body"`
}

// OpenDeadLetters appends to the file "refused.jsonl" in a folder, which is made if it is not there.
func OpenDeadLetters(dir string) (*DeadLetters, error) {
	d := &DeadLetters{path: filepath.Join(dir, "refused.jsonl"), limit: maxDeadLetters}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the refused events: %w", err)
	}
	if err := d.open(); err != nil {
		return nil, fmt.Errorf("opening the refused events: %w", err)
	}
	return d, nil
}

func (d *DeadLetters) open() error {
	f, err := os.OpenFile(d.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	d.file, d.size = f, info.Size()
	return nil
}

// Add keeps one. The body may be anything.
func (d *DeadLetters) Add(letter DeadLetter, body []byte) error {
	if d.tooMany(letter.Time) {
		return nil
	}
	letter.Bytes = len(body)
	letter.Body = excerpt(body)
	letter.Error = new(redaction.Redactor).Text(letter.Error)
	line, err := json.Marshal(letter)
	if err != nil {
		return fmt.Errorf("keeping a refused event: %w", err)
	}
	line = append(line, '\n')
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return fmt.Errorf("keeping a refused event: %w", fs.ErrClosed)
	}
	if d.size > 0 && d.size+int64(len(line)) > d.limit {
		if err := d.rotate(); err != nil {
			return fmt.Errorf("keeping a refused event: %w", err)
		}
	}
	n, err := d.file.Write(line)
	d.size += int64(n)
	if err != nil {
		return fmt.Errorf("keeping a refused event: %w", err)
	}
	return nil
}

// tooMany says whether a second has had its share.
func (d *DeadLetters) tooMany(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if second := now.Unix(); second != d.second {
		d.second, d.count = second, 0
	}
	d.count++
	return d.count > maxPerSecond
}

// excerpt is the beginning of a body without credentials.
func excerpt(body []byte) string {
	text := strings.ToValidUTF8(string(body[:min(len(body), maxRedacted)]), "\uFFFD")
	text = new(redaction.Redactor).Text(text)
	if len(text) > maxExcerpt {
		text = strings.ToValidUTF8(text[:maxExcerpt], "") + "…"
	}
	return text
}

func (d *DeadLetters) rotate() error {
	err := errors.Join(d.file.Close(), os.Rename(d.path, d.path+".1"))
	d.file = nil
	return errors.Join(err, d.open())
}

// Close closes the file.
func (d *DeadLetters) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file = nil
	return err
}
