package decisions

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextsAreCutBetweenCharacters(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a short one":          {"äöü", "äöü"},
		"one that is too long": {strings.Repeat("ä", 10), "äää…"},
		"one that is no text":  {"a\xffb", "a\uFFFDb"},
		"one of the very size": {"1234567890", "1234567890"},
		"one byte above":       {"12345678901", "1234567…"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cut(test.text, 10); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// Whatever is in an object's name or in a message: a line stays one line of JSON, and is bounded.
func FuzzShown(f *testing.F) {
	f.Add("name", "</script>\n{\"notice\":1}", 3)
	f.Add("\xff\x00", strings.Repeat("token=abcdefghijklmnop ", 200), 40)
	f.Fuzz(func(t *testing.T, name, message string, count int) {
		entry := Entry{Name: name, Namespace: name, User: name, Bundle: message}
		for range min(max(count, 0), 100) {
			entry.Reasons = append(entry.Reasons, Reason{Effect: "deny", Policy: name, Message: message})
		}
		shown := entry.shown(name)
		line, err := json.Marshal(shown)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(string(line), "\n<>") || !utf8.Valid(line) {
			t.Errorf("the line is %q", line)
		}
		if len(shown.Reasons) > MaxReasons || len(shown.Name) > maxName || len(line) > 64<<10 {
			t.Errorf("%d reasons, a name of %d bytes, a line of %d", len(shown.Reasons), len(shown.Name), len(line))
		}
	})
}
