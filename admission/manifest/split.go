package manifest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// chunk is the text between two document separators.
type chunk struct {
	file string
	text []byte
	line int // of the first line of text in the file
}

// at is the position of a line of the chunk, counted from 1.
func (c chunk) at(line int) Position {
	return Position{File: c.file, Line: c.line + line - 1}
}

// splitter cuts a stream at lines that begin with three dashes, as kubectl does
// (apimachinery's yaml.YAMLReader), which is not quite what YAML says: nothing
// but a comment may follow the dashes.
type splitter struct {
	file   string
	lines  *bufio.Reader
	limits Limits
	line   int   // lines consumed
	read   int64 // bytes consumed
	failed bool
}

func newSplitter(file string, r io.Reader, limits Limits) *splitter {
	return &splitter{file: file, lines: bufio.NewReaderSize(r, 16<<10), limits: limits}
}

// next returns the next chunk, or io.EOF. After any other error the stream cannot
// be read on.
func (s *splitter) next() (chunk, error) {
	if s.failed {
		return chunk{}, io.EOF
	}
	c := chunk{file: s.file, line: s.line + 1}
	for {
		separator, err := s.appendLine(&c)
		switch {
		case err == io.EOF && len(c.text) == 0:
			return chunk{}, io.EOF
		case err == io.EOF:
			return c, nil
		case err != nil:
			s.failed = true
			return chunk{}, err
		case separator && len(c.text) > 0:
			return c, nil
		case separator:
			c.line = s.line + 1
		}
	}
}

// appendLine adds one line to the chunk, or says that it was a separator.
func (s *splitter) appendLine(c *chunk) (separator bool, err error) {
	start := len(c.text)
	for {
		part, err := s.lines.ReadSlice('\n')
		s.read += int64(len(part))
		c.text = append(c.text, part...)
		if err == nil {
			break
		}
		if err == io.EOF {
			if len(c.text) == start {
				return false, io.EOF
			}
			break
		}
		if err != bufio.ErrBufferFull {
			return false, fmt.Errorf("reading %s: %w", s.file, err)
		}
		if err := s.checkSize(*c); err != nil {
			return false, err
		}
	}
	s.line++
	if err := s.checkSize(*c); err != nil {
		return false, err
	}
	if s.line == 1 {
		if err := s.checkByteOrderMark(c); err != nil {
			return false, err
		}
		start = 0
	}
	line := c.text[start:]
	if err := s.checkText(line); err != nil {
		return false, err
	}
	after, ok := bytes.CutPrefix(line, []byte("---"))
	if !ok {
		return false, nil
	}
	if rest := strings.TrimSpace(string(after)); rest != "" && rest[0] != '#' {
		return false, &Error{Position{File: s.file, Line: s.line},
			fmt.Sprintf("the document separator is followed by %q", abbreviate(rest)),
			"put it on a line of its own, as kubectl wants it"}
	}
	c.text = c.text[:start]
	return true, nil
}

func (s *splitter) checkSize(c chunk) error {
	if int64(len(c.text)) > s.limits.Bytes {
		return &Error{Position{File: s.file, Line: c.line},
			fmt.Sprintf("the document is larger than %d bytes", s.limits.Bytes),
			"split it, the API server would not take it either"}
	}
	if s.read > s.limits.Stream {
		return &Error{Position{File: s.file, Line: s.line},
			fmt.Sprintf("the stream is longer than %d bytes", s.limits.Stream),
			"split it into several files"}
	}
	return nil
}

// checkByteOrderMark drops that of UTF-8 and refuses others.
func (s *splitter) checkByteOrderMark(c *chunk) error {
	c.text = bytes.TrimPrefix(c.text, []byte("\xef\xbb\xbf"))
	for _, mark := range []string{"\xff\xfe", "\xfe\xff", "\x00\x00\xfe\xff"} {
		if bytes.HasPrefix(c.text, []byte(mark)) {
			return &Error{Position{File: s.file, Line: 1},
				"the file is encoded as UTF-16 or UTF-32", "save it as UTF-8"}
		}
	}
	return nil
}

// checkText refuses what is no text: YAML parsers differ in what they make of it.
func (s *splitter) checkText(line []byte) error {
	if i := bytes.IndexByte(line, 0); i >= 0 {
		return &Error{Position{s.file, s.line, utf8.RuneCount(line[:i]) + 1},
			"there is a NUL byte", "save the file as UTF-8 text without it"}
	}
	if !utf8.Valid(line) {
		return &Error{Position{s.file, s.line, firstInvalid(line) + 1},
			"the file is not encoded as UTF-8", "save it as UTF-8"}
	}
	return nil
}

// firstInvalid counts the characters before the first invalid one.
func firstInvalid(line []byte) int {
	for n := 0; ; n++ {
		r, size := utf8.DecodeRune(line)
		if r == utf8.RuneError && size <= 1 {
			return n
		}
		line = line[size:]
	}
}

// abbreviate cuts input down to what fits a message.
func abbreviate(text string) string {
	const most = 60
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
