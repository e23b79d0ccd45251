package journal

import (
	"context"
	"fmt"
	"time"
)

// Verification is what a walk along the chain of a journal has found.
type Verification struct {
	Files       int    `json:"files"`
	Lines       uint64 `json:"lines"`
	Decisions   uint64 `json:"decisions"`
	Transitions uint64 `json:"transitions"`
	Restarts    uint64 `json:"restarts"`
	// Facts counts those that are named, each once.
	Facts int `json:"facts"`
	// First and Last are the numbers of the first and of the last line. First is more than 1 where the oldest files were
	// removed.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Head is the hash of the last line: whoever kept it from an earlier walk, or has it from a sink, sees that nothing is
	// missing at the end.
	Head  string    `json:"head"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Torn says that the last line has no end: its writer is at it, or was stopped.
	Torn bool `json:"torn,omitempty"`
	// Break is the first place where the chain does not hold, nil for none.
	Break *Break `json:"break,omitempty"`
	// Missing are facts that are not there, or not what their names say, as far as maxMissing.
	Missing []string `json:"missing,omitempty"`
}

// Break is a place where a chain does not hold.
type Break struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// Intact says that every line is where its successor says, and every fact what its name says.
func (v *Verification) Intact() bool { return v.Break == nil && len(v.Missing) == 0 }

// maxMissing bounds what is listed.
const maxMissing = 20

// Verify walks the chain of a journal and looks at every fact. It ends at the first break. head is the hash of a line that
// must be there, as an earlier walk found it or a sink has it, "" for none: a chain alone does not tell that its last lines
// are missing, or that the very last one was changed. An error is one of reading.
func Verify(ctx context.Context, dir, head string) (*Verification, error) {
	reader, err := newFactReader(dir)
	if err != nil {
		return nil, err
	}
	v := &verifier{facts: reader, seen: map[string]bool{}, wanted: head}
	for raw, err := range rawLines(dir) {
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("verifying the journal: %w", context.Cause(ctx))
		}
		if reason := v.line(raw); reason != "" {
			v.found.Break = &Break{File: raw.file, Line: raw.number, Reason: reason}
			break
		}
	}
	v.found.Facts = len(v.seen)
	if v.wanted != "" && v.found.Break == nil {
		v.found.Break = &Break{File: v.file, Line: v.number, Reason: fmt.Sprintf("this is the end, and no line has the hash %s: lines are missing at the end, or the last one was changed", v.wanted)}
	}
	return &v.found, nil
}

type verifier struct {
	facts *factReader
	seen  map[string]bool
	found Verification
	// file and number are where the last line stands.
	file   string
	number int
	wanted string // the hash of a line that is still to come, "" for none
}

// line takes the next line and says why it does not follow the one before, "" if it does.
func (v *verifier) line(raw rawLine) string {
	if v.found.Torn {
		return "the line before it has no end"
	}
	if raw.torn {
		v.found.Torn = true
		return ""
	}
	line, err := decodeLine(raw)
	if err != nil {
		return err.Error()
	}
	switch {
	case v.found.Lines == 0:
		v.found.First = line.Sequence
		if line.Sequence == 1 && line.Prev != "" {
			return "it is the first line of all and names one before it"
		}
	case line.Sequence != v.found.Last+1:
		return fmt.Sprintf("it has number %d and the line before it %d: lines are missing, or come twice", line.Sequence, v.found.Last)
	case line.Prev != v.found.Head:
		return fmt.Sprintf("it follows a line with hash %s and the line before it has %s: that line was changed", line.Prev, v.found.Head)
	}
	v.count(raw, line)
	return ""
}

func (v *verifier) count(raw rawLine, line *Line) {
	if raw.file != v.file {
		v.file = raw.file
		v.found.Files++
	}
	v.number = raw.number
	v.found.Lines++
	v.found.Last, v.found.Head = line.Sequence, digestOf(raw.content)
	if v.found.Head == v.wanted {
		v.wanted = ""
	}
	if v.found.Since.IsZero() || line.Time.Before(v.found.Since) {
		v.found.Since = line.Time
	}
	if line.Time.After(v.found.Until) {
		v.found.Until = line.Time
	}
	switch line.Kind {
	case KindDecision:
		v.found.Decisions++
	case KindTransition:
		v.found.Transitions++
	case KindHeader:
		if raw.number > 1 {
			v.found.Restarts++
		}
	}
	for _, digest := range v.facts.named(line) {
		if v.seen[digest] {
			continue
		}
		v.seen[digest] = true
		if _, err := v.facts.get(digest); err != nil && len(v.found.Missing) < maxMissing {
			v.found.Missing = append(v.found.Missing, err.Error())
		}
	}
}
