package admissionpolicy

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/portcullis-dev/portcullis/policies"
)

// anyGlob is an expression that is true of a text that one of some globs matches, false for none: names are compared and
// a star at the end is a prefix, since both cost less than a regular expression.
func anyGlob(text string, patterns []string) (string, error) {
	var names, terms []string
	for _, pattern := range patterns {
		prefix, star := strings.CutSuffix(pattern, "*")
		switch {
		case !strings.ContainsAny(pattern, `*?[]{}\,!`):
			names = append(names, quote(pattern))
		case star && prefix == "":
			return "true", nil
		case star && !strings.ContainsAny(prefix, `*?[]{}\,!`):
			terms = append(terms, text+".startsWith("+quote(prefix)+")")
		default:
			expression, err := policies.Regexp(pattern)
			if err != nil {
				return "", err
			}
			terms = append(terms, text+".matches("+quote(expression)+")")
		}
	}
	switch len(names) {
	case 0:
	case 1:
		terms = append([]string{text + " == " + names[0]}, terms...)
	default:
		terms = append([]string{text + " in [" + strings.Join(names, ", ") + "]"}, terms...)
	}
	if len(terms) == 0 {
		return "false", nil
	}
	return strings.Join(terms, " || "), nil
}

// quote writes a string of CEL.
func quote(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' || r == '\'' || r == '\\' }) {
		return "'" + text + "'"
	}
	return strconv.Quote(text) // CEL reads the escapes of Go
}

// literal writes a value of JSON in CEL. Kubernetes wants the items of a list and the values of a map to be of one type;
// where they are not, each is dyn.
func literal(value any) (string, error) {
	switch value := value.(type) {
	case nil:
		return "null", nil
	case bool:
		return strconv.FormatBool(value), nil
	case string:
		return quote(value), nil
	case int:
		return strconv.Itoa(value), nil
	case int64:
		return strconv.FormatInt(value, 10), nil
	case float64:
		if value == float64(int64(value)) {
			return strconv.FormatInt(int64(value), 10), nil
		}
		return strconv.FormatFloat(value, 'f', -1, 64), nil
	case json.Number:
		return value.String(), nil
	case []any:
		items, err := literals(value)
		return "[" + strings.Join(items, ", ") + "]", err
	case map[string]any:
		keys := slices.Sorted(maps.Keys(value))
		values := make([]any, len(keys))
		for n, key := range keys {
			values[n] = value[key]
		}
		items, err := literals(values)
		for n, key := range keys {
			items[n] = quote(key) + ": " + items[n]
		}
		return "{" + strings.Join(items, ", ") + "}", err
	}
	return "", fmt.Errorf("a value of type %T has no literal in CEL", value)
}

// literals writes values side by side.
func literals(values []any) ([]string, error) {
	written := make([]string, len(values))
	mixed := false
	for n, value := range values {
		var err error
		if written[n], err = literal(value); err != nil {
			return written, err
		}
		mixed = mixed || shape(value) != shape(values[0])
	}
	if mixed {
		for n := range written {
			written[n] = "dyn(" + written[n] + ")"
		}
	}
	return written, nil
}

// shape is the type of a value as CEL has it, with the types of what it holds.
func shape(value any) string {
	var inner []string
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			inner = append(inner, shape(item))
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			inner = append(inner, shape(value[key]))
		}
	case int, int64, json.Number:
		return "number"
	case float64:
		return "number"
	default:
		return fmt.Sprintf("%T", value)
	}
	return fmt.Sprintf("%T", value) + "<" + strings.Join(slices.Compact(inner), " ") + ">"
}

var indexed = regexp.MustCompile(`^([^\[]+)\[\]\.(.+)$`)

// withRegexps replaces globs in parameters by regular expressions: those at a path, "namespaces" or "annotations[].values".
func withRegexps(parameters map[string]any, path string) error {
	if nested := indexed.FindStringSubmatch(path); nested != nil {
		list, ok := parameters[nested[1]].([]any)
		if !ok {
			return fmt.Errorf("globs: there is no list %s among the parameters", nested[1])
		}
		for _, item := range list {
			object, ok := item.(map[string]any)
			if !ok {
				return fmt.Errorf("globs: %s holds something else than objects", nested[1])
			}
			if err := withRegexps(object, nested[2]); err != nil {
				return err
			}
		}
		return nil
	}
	switch value := parameters[path].(type) {
	case string:
		expression, err := wholeText(value)
		parameters[path] = expression
		return err
	case []any:
		for n, item := range value {
			text, ok := item.(string)
			if !ok {
				return fmt.Errorf("globs: %s holds something else than texts", path)
			}
			expression, err := wholeText(text)
			if err != nil {
				return err
			}
			value[n] = expression
		}
		return nil
	}
	return fmt.Errorf("globs: there is no parameter %s that is a text or a list of them", path)
}

// wholeText is a glob of Rego's glob.match, which may be empty, as a regular expression.
func wholeText(pattern string) (string, error) {
	if pattern == "" {
		return "^$", nil
	}
	return policies.Regexp(pattern)
}
