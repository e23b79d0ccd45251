package policies

import (
	"regexp"
	"testing"
)

// What an API server matches by a regular expression is what the engine matches by the glob.
func TestAGlobAndItsRegularExpressionMatchTheSame(t *testing.T) {
	texts := []string{"", "a", "ab", "b", "a.b", "a-b", "shop", "shop-test", "kube-system", "team/a", "a,b", "{a}", "a*b", "[a]", "a\nb", "é", "^", "!", "]", "a+", "(a)"}
	for _, pattern := range []string{
		"a", "*", "**", "a*", "*b", "a*b", "?", "a?b", "shop{,-test}", "{a,b}", "{shop,kube-*}", "[ab]", "[!ab]", "[a-c]*", "[!a-c]", "a.b", "a+", "(a)", `a\*b`, `\{a\}`, `\[a\]`, "*/*", "a,b", "[!*]*", "^",
	} {
		compiled, err := compileGlobs([]string{pattern})
		if err != nil {
			t.Fatal(err)
		}
		expression, err := Regexp(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		for _, text := range texts {
			if want, got := compiled.match(text), regexp.MustCompile(expression).MatchString(text); got != want {
				t.Errorf("%s as %s: matches %q: got %t, want %t", pattern, expression, text, got, want)
			}
		}
	}
}
