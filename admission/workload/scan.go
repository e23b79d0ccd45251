package workload

import (
	"bytes"
	"errors"
)

// errUnusual says that an object is not written as scanMembers takes it.
var errUnusual = errors.New("unusual JSON")

// scanMembers gives the members of a JSON object that is known to be well-formed, five
// times as fast as a decoder, which has to find that out. It never reads beyond raw,
// whatever that holds; names with escapes it leaves to a decoder (errUnusual).
func scanMembers(raw []byte, f func(name string, value []byte) error) error {
	at := skipSpace(raw, 0)
	if at == len(raw) || raw[at] != '{' {
		return errUnusual
	}
	for at = skipSpace(raw, at+1); at < len(raw) && raw[at] != '}'; at = skipSpace(raw, at) {
		if raw[at] == ',' {
			at++
			continue
		}
		start := at
		at = skipValue(raw, at)
		if at < start+2 || raw[start] != '"' || bytes.IndexByte(raw[start:at], '\\') >= 0 {
			return errUnusual
		}
		name := string(raw[start+1 : at-1])
		at = skipSpace(raw, at)
		if at == len(raw) || raw[at] != ':' {
			return errUnusual
		}
		start = skipSpace(raw, at+1)
		if at = skipValue(raw, start); at <= start {
			return errUnusual
		}
		if err := f(name, raw[start:at]); err != nil {
			return err
		}
	}
	if at == len(raw) || skipSpace(raw, at+1) != len(raw) {
		return errUnusual
	}
	return nil
}

func skipSpace(raw []byte, at int) int {
	for at < len(raw) && (raw[at] == ' ' || raw[at] == '\n' || raw[at] == '\t' || raw[at] == '\r') {
		at++
	}
	return at
}

// skipValue is where the value ends that begins at an index, the index itself where none does.
func skipValue(raw []byte, at int) int {
	start, depth := at, 0
	for at < len(raw) {
		switch raw[at] {
		case '"':
			if at = skipString(raw, at); at < 0 {
				return start
			}
		case '{', '[':
			depth++
			at++
		case '}', ']':
			depth--
			at++
		case ',', ':', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return start
			}
			at++
			continue
		default:
			for at < len(raw) && bytes.IndexByte(endOfScalar, raw[at]) < 0 {
				at++
			}
		}
		if depth <= 0 {
			return at
		}
	}
	return start
}

// endOfScalar are the characters that end a number, true, false or null.
var endOfScalar = []byte(",:]}{[\" \n\t\r")

// skipString is where a string ends that begins at an index, -1 where it does not end.
func skipString(raw []byte, at int) int {
	for at++; at < len(raw); at++ {
		quote := bytes.IndexByte(raw[at:], '"')
		if quote < 0 {
			return -1
		}
		at += quote
		escapes := 0
		for raw[at-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return at + 1
		}
	}
	return -1
}
