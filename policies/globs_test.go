package policies

import "testing"

func TestNamespacesMatchGlobs(t *testing.T) {
	for name, test := range map[string]struct {
		patterns  []string
		namespace string
		want      bool
	}{
		"its name":                        {[]string{"shop"}, "shop", true},
		"a glob":                          {[]string{"other", "shop-*"}, "shop-eu", true},
		"another":                         {[]string{"shop-*"}, "shop", false},
		"no globs":                        {nil, "shop", false},
		"no namespace, and all that have": {[]string{"*"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			matches, err := NamespaceGlobs(test.patterns)
			if err != nil {
				t.Fatal(err)
			}
			if got := matches(test.namespace); got != test.want {
				t.Errorf("%q matches %q: got %v, want %v", test.namespace, test.patterns, got, test.want)
			}
		})
	}
	for _, pattern := range []string{"", "["} {
		if _, err := NamespaceGlobs([]string{pattern}); err == nil {
			t.Errorf("got no error for the glob %q, want one", pattern)
		}
	}
}
