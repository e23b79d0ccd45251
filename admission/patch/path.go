package patch

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var identifier = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_-]*$`)

// FormatPath writes a path as Kubernetes does in messages:
// spec.containers[0].image, metadata.annotations[example.com/key].
func FormatPath(path []any) string {
	var b strings.Builder
	for _, segment := range path {
		key, isKey := segment.(string)
		switch {
		case !isKey || !identifier.MatchString(key):
			fmt.Fprintf(&b, "[%v]", segment)
		case b.Len() == 0:
			b.WriteString(key)
		default:
			b.WriteString("." + key)
		}
	}
	return b.String()
}

// step is one step of a path in Kubernetes' notation. What stands in brackets is
// an index or a key: only the value it leads into tells which.
type step struct {
	text     string
	brackets bool
}

// index is the list index that the step may be.
func (s step) index() (int, bool) {
	if !s.brackets {
		return 0, false
	}
	index, err := strconv.Atoi(s.text)
	// "01" and "+1" are keys: nobody writes an index so.
	return index, err == nil && strconv.Itoa(index) == s.text && index >= 0
}

// parsePath reads what FormatPath writes.
func parsePath(path string) ([]step, error) {
	var steps []step
	for rest := path; rest != ""; {
		if key, after, ok := cutBrackets(rest); ok {
			steps = append(steps, step{key, true})
			rest = after
			if rest == "." {
				return nil, fmt.Errorf("path %q ends in a dot", path)
			}
			rest = strings.TrimPrefix(rest, ".")
			continue
		}
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			end = len(rest)
		}
		if end == 0 {
			return nil, fmt.Errorf("path %q has an empty or unclosed part at %q", path, rest)
		}
		steps = append(steps, step{rest[:end], false})
		rest = rest[end:]
		if after, ok := strings.CutPrefix(rest, "."); ok {
			if after == "" || after[0] == '[' {
				return nil, fmt.Errorf("path %q has an empty part", path)
			}
			rest = after
		}
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("the path is empty: name the field to change")
	}
	return steps, nil
}

// cutBrackets cuts "[key]" off the front. A bracket inside the key does not close
// it: only one at the end or before the next part does.
func cutBrackets(path string) (key, rest string, ok bool) {
	if !strings.HasPrefix(path, "[") {
		return "", "", false
	}
	for i := 1; i < len(path); i++ {
		if path[i] == ']' && (i+1 == len(path) || path[i+1] == '.' || path[i+1] == '[') {
			return path[1:i], path[i+1:], true
		}
	}
	return "", "", false
}

// parseExponent reads the exponent of a JSON number, "" for none. Room is left
// for shifting it by the number's digits.
func parseExponent(text string) (int64, bool) {
	if text == "" {
		return 0, true
	}
	exponent, err := strconv.ParseInt(text, 10, 62)
	return exponent, err == nil
}
