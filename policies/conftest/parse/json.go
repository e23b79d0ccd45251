package parse

import (
	"bytes"
)

// byteOrderMark may stand before JSON (RFC 8259, section 8.1).
var byteOrderMark = []byte("\xef\xbb\xbf")

func readJSON(content []byte) (any, error) { return decode(bytes.TrimPrefix(content, byteOrderMark)) }

// readJSONC reads JSON with comments: // to the end of the line and /* */.
func readJSONC(content []byte) (any, error) {
	return readJSON(withoutComments(content))
}

// withoutComments puts a space in place of each comment. Those in strings are none.
func withoutComments(content []byte) []byte {
	plain := make([]byte, 0, len(content))
	for len(content) > 0 {
		switch {
		case content[0] == '"':
			end := endOfString(content)
			plain = append(plain, content[:end]...)
			content = content[end:]
		case bytes.HasPrefix(content, []byte("//")):
			plain = append(plain, ' ')
			content = content[until(content, "\n"):]
		case bytes.HasPrefix(content, []byte("/*")):
			plain = append(plain, ' ')
			end := until(content[2:], "*/") + 2
			content = content[min(end+2, len(content)):]
		default:
			plain = append(plain, content[0])
			content = content[1:]
		}
	}
	return plain
}

// until is where a text begins, the end where it does not.
func until(content []byte, text string) int {
	if at := bytes.Index(content, []byte(text)); at >= 0 {
		return at
	}
	return len(content)
}

// endOfString is the length of the JSON string that content begins with.
func endOfString(content []byte) int {
	for i := 1; i < len(content); i++ {
		switch content[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(content)
}
