package gatekeeper

import (
	"reflect"
	"strings"
	"testing"
)

func TestLocations(t *testing.T) {
	for text, want := range map[string]location{
		"spec":                                 {{field: "spec"}},
		"spec.containers[name: main].image":    {{field: "spec"}, {field: "containers"}, {key: "name", value: "main"}, {field: "image"}},
		"spec.containers[name:*].image":        {{field: "spec"}, {field: "containers"}, {key: "name", all: true}, {field: "image"}},
		"spec.ports[containerPort: 8080]":      {{field: "spec"}, {field: "ports"}, {key: "containerPort", value: int64(8080)}},
		`metadata.labels."example.com/a b"`:    {{field: "metadata"}, {field: "labels"}, {field: "example.com/a b"}},
		`spec.c["name": 'a\'b'].x`:             {{field: "spec"}, {field: "c"}, {key: "name", value: "a'b"}, {field: "x"}},
		" spec . containers [ name : a ] . x ": {{field: "spec"}, {field: "containers"}, {key: "name", value: "a"}, {field: "x"}},
		`spec.a[name: "8080"]`:                 {{field: "spec"}, {field: "a"}, {key: "name", value: "8080"}},
		`spec.a[name: ""].b`:                   {{field: "spec"}, {field: "a"}, {key: "name", value: ""}, {field: "b"}},
	} {
		got, err := parseLocation(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                              "it ends where the name of a field is wanted",
		"spec.":                         "it ends where the name of a field is wanted",
		".spec":                         `'.' at character 1`,
		"spec..a":                       `'.' at character 6`,
		"spec.1a":                       `'1' at character 6`,
		"spec[name]":                    "want a colon",
		"spec[name: a":                  "want",
		"spec[: a]":                     "the field that tells items apart",
		"spec[name: a][name: b]":        "want a dot or the end",
		`spec."a`:                       "is not closed",
		`spec.""`:                       "want",
		"spec[a: 99999999999999999999]": "too large",
		"spec/a":                        `'/' at character 5`,
		strings.Repeat("a.", 700) + "a": "at most",
	} {
		_, err := parseLocation(text)
		if err == nil || (!strings.Contains(err.Error(), want) && want != "at most" && want != "want") {
			t.Errorf("%.40s: got %v, want %s", text, err, want)
		}
	}
}

func FuzzParseLocation(f *testing.F) {
	for _, seed := range []string{
		"spec.containers[name: *].image", `metadata.labels."a.b/c"`, "a[b: 1].c", `a['b': "c\"d"]`, "a.b[", "[", "a[b:*]", "é.x", `a."\\"`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read, err := parseLocation(text)
		if err != nil {
			return
		}
		written := read.String()
		again, err := parseLocation(written)
		if len(written) > maxLocation {
			return // quoting has made it too long
		}
		if err != nil || !reflect.DeepEqual(read, again) {
			t.Errorf("%q: got %v, %v from %q, want %v", text, again, err, written, read)
		}
	})
}
