package v1alpha1

import (
	"strings"
	"testing"
)

func TestPartsOfARevisionAreNamedByItsDigest(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for name, test := range map[string]struct {
		digest string
		part   int32
		want   string
	}{
		"the first part":              {digest, 0, "sha256-" + strings.Repeat("0a", 32) + "-0"},
		"the last part that there is": {digest, MaxParts - 1, "sha256-" + strings.Repeat("0a", 32) + "-31"},
		"one part too many":           {digest, MaxParts, ""},
		"a negative part":             {digest, -1, ""},
		"no digest":                   {"", 0, ""},
		"another algorithm":           {"sha512:" + strings.Repeat("0a", 64), 0, ""},
		"upper case":                  {"sha256:" + strings.Repeat("0A", 32), 0, ""},
		"another object's name":       {"sha256:" + strings.Repeat("0a", 30) + "/../", 0, ""},
		"digits missing":              {digest[:70], 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := RevisionName(test.digest, test.part)
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}
