package journal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Filter says which decisions are read. The zero value is all of them.
type Filter struct {
	// Since and Until bound the time: from Since on, before Until. Zero is no bound.
	Since, Until time.Time
	// Namespace is that of the request, "" for all.
	Namespace string
	// Policy is the id of a policy that found something or failed, "" for all.
	Policy string
}

// takes says whether a filter wants a line.
func (f *Filter) takes(line *Line) bool {
	d := line.Decision
	if d == nil || !f.Since.IsZero() && line.Time.Before(f.Since) || !f.Until.IsZero() && !line.Time.Before(f.Until) {
		return false
	}
	if f.Namespace != "" && d.Request.Namespace != f.Namespace && (d.Request.Resource != "namespaces" || d.Request.Name != f.Namespace) {
		return false
	}
	return f.Policy == "" || d.Verdict.names(f.Policy)
}

func (v *Verdict) names(policy string) bool {
	for n := range v.Findings {
		if v.Findings[n].Policy == policy || v.Findings[n].Instance == policy {
			return true
		}
	}
	for n := range v.Faults {
		if v.Faults[n].Policy == policy {
			return true
		}
	}
	for n := range v.Undecided {
		if v.Undecided[n].Policy == policy {
			return true
		}
	}
	return false
}

// place is where a line stands.
type place struct {
	file   string
	number int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.number) }

// rawLine is a line with its place. Its bytes are good until the next one is asked for.
type rawLine struct {
	place
	content []byte
	// torn says that the line feed is missing: its writer was stopped, or is at it.
	torn bool
}

// rawLines goes through the lines of a journal, oldest first. Files that are removed meanwhile, because they are too old,
// are passed over.
func rawLines(dir string) iter.Seq2[rawLine, error] {
	return func(yield func(rawLine, error) bool) {
		numbers, err := listFiles(dir)
		if err != nil {
			yield(rawLine{}, err)
			return
		}
		if len(numbers) == 0 {
			yield(rawLine{}, fmt.Errorf("reading the journal: there is no file %s… in %s: name the folder of a journal", filePrefix, dir))
			return
		}
		for n, number := range numbers {
			if !fileLines(dir, number, n == len(numbers)-1, yield) {
				return
			}
		}
	}
}

func fileLines(dir string, number uint64, newest bool, yield func(rawLine, error) bool) (goOn bool) {
	name := fileName(number)
	file, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) && !newest {
		return true
	}
	if err != nil {
		yield(rawLine{}, fmt.Errorf("reading the journal: %w", err))
		return false
	}
	defer file.Close()
	reader := bufio.NewReaderSize(file, 1<<20)
	for at := 1; ; at++ {
		content, err := readLine(reader)
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return yield(rawLine{place{name, at}, content, true}, nil)
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			yield(rawLine{}, fmt.Errorf("reading %s:%d: %w", name, at, err))
			return false
		}
		if !yield(rawLine{place{name, at}, content, false}, nil) {
			return false
		}
	}
}

// Read goes through the decisions of a journal that a filter takes, oldest first. It ends with the first error. A last
// line without its end is left out: its writer is at it, or was stopped.
func Read(dir string, filter Filter) iter.Seq2[*Line, error] {
	return func(yield func(*Line, error) bool) {
		for raw, err := range rawLines(dir) {
			if err != nil {
				yield(nil, err)
				return
			}
			if raw.torn {
				continue
			}
			line, err := decodeLine(raw)
			if err != nil {
				yield(nil, err)
				return
			}
			if filter.takes(line) && !yield(line, nil) {
				return
			}
		}
	}
}

// decodeLine decodes a line of this version.
func decodeLine(raw rawLine) (*Line, error) {
	line := &Line{}
	if err := json.Unmarshal(raw.content, line, encoding); err != nil {
		return nil, fmt.Errorf("reading the journal: %s is no line of a journal: %w: portcullis journal verify says what else is wrong", raw.place, err)
	}
	if line.Version != Version {
		return nil, fmt.Errorf("reading the journal: %s has version %d and this program reads %d: use the program that wrote it", raw.place, line.Version, Version)
	}
	return line, nil
}

// Find finds the decision with an id. Where no decision has it, the last one about a request with that uid is found, a review
// rather than a mutation.
func Find(ctx context.Context, dir, id string) (*Line, error) {
	var found *Line
	quoted, err := jsontext.AppendQuote(nil, id)
	if err != nil {
		return nil, fmt.Errorf("searching the journal: %w", err)
	}
	for raw, err := range rawLines(dir) {
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("searching the journal: %w", context.Cause(ctx))
		}
		if raw.torn || !bytes.Contains(raw.content, quoted) {
			continue // most lines need not be decoded
		}
		line, err := decodeLine(raw)
		if err != nil {
			return nil, err
		}
		if line.Decision == nil {
			continue
		}
		if line.Decision.ID == id {
			return line, nil
		}
		if line.Decision.Request.UID == id && (found == nil || !line.Decision.Mutation || found.Decision.Mutation) {
			found = line
		}
	}
	if found == nil {
		return nil, fmt.Errorf("searching the journal: no decision in %s has the id %q, and no request: it may be too old, or an admission that was left out", dir, strings.ToValidUTF8(id, "?"))
	}
	return found, nil
}

// named are the digests of all facts that a line names, those in lists included.
func (r *factReader) named(line *Line) []string {
	if line.Decision == nil {
		return nil
	}
	var digests []string
	add := func(digest string) {
		if digest != "" {
			digests = append(digests, digest)
		}
	}
	for _, body := range []*Body{line.Decision.Request.Object, line.Decision.Request.OldObject, line.Decision.Request.Options} {
		if body != nil {
			add(body.Digest)
		}
	}
	for n := range line.Decision.Judges {
		facts := &line.Decision.Judges[n].Facts
		if facts.Namespace != nil {
			add(facts.Namespace.Digest)
		}
		for _, read := range facts.Reads {
			add(read.Objects)
			listed, _ := r.list(read.Objects) // whoever needs the list reports it
			digests = append(digests, listed...)
		}
		if facts.Images != nil {
			for _, digest := range facts.Images.Images {
				add(digest)
			}
		}
		add(facts.Exceptions)
	}
	return digests
}

// list reads a list of digests; "" is an empty one.
func (r *factReader) list(digest string) ([]string, error) {
	if digest == "" {
		return nil, nil
	}
	if known, ok := r.lists.get(digest); ok {
		return known, nil
	}
	content, err := r.get(digest)
	if err != nil {
		return nil, err
	}
	var digests []string
	if err := json.Unmarshal(content, &digests); err != nil {
		return nil, fmt.Errorf("reading fact %s: %w", digest, err)
	}
	r.lists.add(digest, digests)
	return digests, nil
}
