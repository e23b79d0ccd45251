package gitsign

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxObject is how many bytes a commit or a tag may have: they are headers and a message.
const MaxObject = 1 << 20

// maxHeaders is how many headers a commit or a tag may have. A merge has one parent for each branch; Linux's largest has
// 66.
const maxHeaders = 1000

// Headers that carry signatures. In a repository of one hash the other is that of a translated object.
const (
	headerSHA1   = "gpgsig"
	headerSHA256 = "gpgsig-sha256"
)

// object is what is read of a commit or a tag.
type object struct {
	kind kind
	hash string // its own
	// tree is that of a commit, target what a tag points to and targetType what that is.
	tree, target, targetType string
	// time is when the committer or tagger says that it was made; the zero time where none is said.
	time time.Time
	// signature is armored, "" for none; payload is what it is about.
	signature string
	payload   []byte
}

// name is the object for people.
func (o *object) name() string { return fmt.Sprintf("the %s %s", o.kind, short(o.hash)) }

// header is one header of an object, with the lines that continue it.
type header struct {
	name, value string
	start, end  int // of its lines in the object
}

// parseCommit reads a commit (git-hash-object(1); fsck.c fsck_commit): tree, parents, author, committer, other headers,
// an empty line and the message. What Git writes otherwise, and only tools that forge would, is an error: headers out of
// order, twice or without a value, and NUL, behind which some readers stop.
func parseCommit(raw []byte) (*object, error) {
	headers, _, err := parseHeaders(raw)
	if err != nil {
		return nil, err
	}
	o := &object{kind: kindCommit}
	rest, err := o.takeCommitHeaders(headers)
	if err != nil {
		return nil, err
	}
	if o.hash, err = hashObject(kindCommit, raw, len(o.tree)); err != nil {
		return nil, err
	}
	return o, o.takeSignatureHeader(raw, rest)
}

// takeCommitHeaders reads the headers that every commit has, and gives the others.
func (o *object) takeCommitHeaders(headers []header) ([]header, error) {
	if len(headers) == 0 || headers[0].name != "tree" || !isHash(headers[0].value) {
		return nil, errors.New("it does not begin with a tree")
	}
	o.tree = headers[0].value
	headers = headers[1:]
	for len(headers) > 0 && headers[0].name == "parent" {
		if !isHash(headers[0].value) || len(headers[0].value) != len(o.tree) {
			return nil, errors.New("a parent is no hash")
		}
		headers = headers[1:]
	}
	if len(headers) < 2 || headers[0].name != "author" || headers[1].name != "committer" {
		return nil, errors.New("author and committer do not follow the tree and the parents")
	}
	if _, err := timeOf(headers[0].value); err != nil {
		return nil, fmt.Errorf("the author: %w", err)
	}
	var err error
	if o.time, err = timeOf(headers[1].value); err != nil {
		return nil, fmt.Errorf("the committer: %w", err)
	}
	return headers[2:], nil
}

// takeSignatureHeader finds the signature among the other headers of a commit. What is signed is the commit without it
// (gitformat-signature, "Commit signatures").
func (o *object) takeSignatureHeader(raw []byte, headers []header) error {
	want, other := headerSHA1, headerSHA256
	if len(o.tree) == sha256Digits {
		want, other = other, want
	}
	seen := map[string]bool{"tree": true, "parent": true, "author": true, "committer": true}
	o.payload = raw
	for _, h := range headers {
		if seen[h.name] {
			return fmt.Errorf("the header %q is there twice, or where it does not belong", h.name)
		}
		// A merge has one mergetag for each tag that was merged.
		seen[h.name] = h.name != "mergetag"
		switch h.name {
		case other:
			return fmt.Errorf("it has the header %s, which is for a repository of another hash", other)
		case want:
			o.signature = h.value + "\n"
			o.payload = append(bytes.Clone(raw[:h.start]), raw[h.end:]...)
		}
	}
	return nil
}

// parseTag reads an annotated tag (git-mktag(1)): object, type, tag, tagger, an empty line and the message, at whose end the
// signature is (gitformat-signature, "Tag signatures").
func parseTag(raw []byte) (*object, error) {
	headers, body, err := parseHeaders(raw)
	if err != nil {
		return nil, err
	}
	if len(headers) < 3 || len(headers) > 4 || headers[0].name != "object" || headers[1].name != "type" || headers[2].name != "tag" {
		return nil, errors.New("its headers are not object, type, tag and tagger")
	}
	o := &object{kind: kindTag, target: headers[0].value, targetType: headers[1].value}
	if !isHash(o.target) {
		return nil, errors.New("what it points to is no hash")
	}
	if len(headers) == 4 {
		if headers[3].name != "tagger" {
			return nil, fmt.Errorf("it has the header %q in place of the tagger", headers[3].name)
		}
		if o.time, err = timeOf(headers[3].value); err != nil {
			return nil, fmt.Errorf("the tagger: %w", err)
		}
	}
	if o.hash, err = hashObject(kindTag, raw, len(o.target)); err != nil {
		return nil, err
	}
	o.payload = raw
	return o, o.takeSignatureBlock(raw, body)
}

// takeSignatureBlock finds the signature at the end of a tag. What is signed is everything before it.
func (o *object) takeSignatureBlock(raw []byte, body int) error {
	for at := body; at < len(raw); {
		line, next := lineAt(raw, at)
		if formatOf(string(line)) != "" {
			if o.signature != "" {
				return errors.New("it has more than one signature")
			}
			o.signature, o.payload = string(raw[at:]), raw[:at]
		}
		at = next
	}
	return nil
}

// parseHeaders reads the headers of an object and says where its message begins.
func parseHeaders(raw []byte) ([]header, int, error) {
	switch {
	case len(raw) == 0:
		return nil, 0, errors.New("it is empty")
	case len(raw) > MaxObject:
		return nil, 0, fmt.Errorf("it has %d bytes, and the limit is %d", len(raw), MaxObject)
	case bytes.IndexByte(raw, 0) >= 0:
		return nil, 0, errors.New("it has a NUL, behind which some readers stop")
	}
	var headers []header
	for at := 0; at < len(raw); {
		line, next := lineAt(raw, at)
		if next > len(raw) {
			return nil, 0, errors.New("its headers are cut short")
		}
		if len(line) == 0 {
			return headers, next, nil
		}
		if line[0] == ' ' {
			if !continued(headers) {
				return nil, 0, errors.New("a line continues no header")
			}
			last := &headers[len(headers)-1]
			last.value, last.end = last.value+"\n"+string(line[1:]), next
			at = next
			continue
		}
		name, value, ok := strings.Cut(string(line), " ")
		if !ok || !isHeaderName(name) {
			return nil, 0, fmt.Errorf("the line %.60q is no header", line)
		}
		if len(headers) == maxHeaders {
			return nil, 0, fmt.Errorf("it has more than %d headers", maxHeaders)
		}
		headers = append(headers, header{name: name, value: value, start: at, end: next})
		at = next
	}
	return headers, len(raw), nil
}

// continued says whether a line may continue the last header: those with a fixed form are of one line.
func continued(headers []header) bool {
	if len(headers) == 0 {
		return false
	}
	switch headers[len(headers)-1].name {
	case "tree", "parent", "author", "committer", "object", "type", "tag", "tagger", "encoding":
		return false
	}
	return true
}

// lineAt is the line that begins somewhere, without its end, and where the next begins: behind the last byte and one
// more where the line has no end.
func lineAt(raw []byte, at int) ([]byte, int) {
	if end := bytes.IndexByte(raw[at:], '\n'); end >= 0 {
		return raw[at : at+end], at + end + 1
	}
	return raw[at:], len(raw) + 1
}

func isHeaderName(name string) bool {
	for _, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '-' && c != '_' && c != ':' {
			return false
		}
	}
	return name != ""
}

// timeOf reads the time of "Ada Lovelace <ada@example.com> 1700000000 +0100" (fsck.c, fsck_ident). The zone is how it is
// shown and nothing more.
func timeOf(ident string) (time.Time, error) {
	bad := fmt.Errorf("%.80q is not NAME <MAIL> SECONDS ZONE", ident)
	open, end := strings.IndexByte(ident, '<'), strings.LastIndexByte(ident, '>')
	if open < 0 || end < open || strings.Count(ident, "<") != 1 || strings.Count(ident, ">") != 1 {
		return time.Time{}, bad
	}
	seconds, zone, ok := strings.Cut(strings.TrimPrefix(ident[end+1:], " "), " ")
	if !ok || len(zone) < 5 || len(zone) > 7 || zone[0] != '+' && zone[0] != '-' || !isDigits(zone[1:]) {
		return time.Time{}, bad
	}
	if !isDigits(seconds) || len(seconds) > 1 && seconds[0] == '0' {
		return time.Time{}, bad
	}
	parsed, err := strconv.ParseInt(seconds, 10, 48)
	if err != nil {
		return time.Time{}, bad
	}
	return time.Unix(parsed, 0).UTC(), nil
}

func isDigits(text string) bool {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return text != ""
}
