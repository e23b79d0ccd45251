package redaction

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"testing"
)

// tested marks equal values equally.
var tested = &Redactor{Replace: func(value []byte) string {
	sum := fnv.New64a()
	sum.Write(value)
	return fmt.Sprintf("hidden:%x", sum.Sum64())
}}

func TestWhatIsReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		object string
		secret bool
		paths  []string
	}{
		"data and stringData of a Secret": {`{"data":{"a":"aHVudGVyMg=="},"stringData":{"b":"hunter2"},"type":"Opaque"}`, true, []string{"data", "stringData"}},
		"what kubectl apply left on a Secret": {`{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}}}`, true,
			[]string{"metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]"}},
		"a Secret without data":           {`{"metadata":{"name":"a"}}`, true, nil},
		"data of something else":          {`{"data":{"a":"b"}}`, false, nil},
		"a password":                      {`{"spec":{"containers":[{"env":[{"name":"A","value":"1"},{"name":"DB_PASSWORD","value":"x"}]}]}}`, false, []string{"spec.containers[0].env[1].value"}},
		"a token, lower case":             {`{"spec":{"containers":[{"env":[{"name":"github_token","value":"x"}]}]}}`, false, []string{"spec.containers[0].env[0].value"}},
		"a variable in a variable":        {`{"env":[{"name":"A","value":{"env":[{"name":"TOKEN","value":"x"}]}}]}`, false, []string{"env[0].value.env[0].value"}},
		"a field env that is no list":     {`{"env":{"env":[{"name":"TOKEN","value":"x"}]}}`, false, []string{"env.env[0].value"}},
		"variables of odd kinds":          {`{"env":[1,{"name":2,"value":3},{"name":"TOKEN","value":"x"}]}`, false, []string{"env[2].value"}},
		"variables in another order":      {`{"env":[{"value":"x","name":"TOKEN"}]}`, false, []string{"env[0].value"}},
		"two documents":                   {`{"a":1} {"b":2}`, false, []string{""}},
		"a URL with a password":           {`{"spec":{"initContainers":[{"env":[{"name":"UPSTREAM","value":"https://ann:pw@example.org"}]}]}}`, false, []string{"spec.initContainers[0].env[0].value"}},
		"a list env of a custom resource": {`{"spec":{"deep":{"env":[{"name":"API_KEY","value":"x"}]}}}`, false, []string{"spec.deep.env[0].value"}},
		"a variable from a Secret":        {`{"spec":{"containers":[{"env":[{"name":"PASSWORD","valueFrom":{"secretKeyRef":{"name":"a","key":"b"}}}]}]}}`, false, nil},
		"a variable that is none":         {`{"spec":{"containers":[{"env":[{"name":"LOG_LEVEL","value":"debug"}]}]}}`, false, nil},
		"the annotation beside a password": {`{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}},"spec":{"env":[{"name":"TOKEN","value":"x"}]}}`, false,
			[]string{"metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]", "spec.env[0].value"}},
		"a password in the annotation alone": {`{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"spec\":{\"env\":[{\"name\":\"TOKEN\",\"value\":\"x\"}]}}"}}}`, false,
			[]string{"metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]"}},
		"an annotation with nothing to hide":      {`{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"spec\":{}}"}}}`, false, nil},
		"a name with escapes":                     {`{"spec":{"\u0065nv":[{"name":"TOKEN","value":"x"}]}}`, false, []string{"spec.env[0].value"}},
		"the token of a TokenReview":              {`{"spec":{"token":"hunter2","audiences":["a"]}}`, true, []string{"spec.token"}},
		"no JSON":                                 {`{"data":`, true, []string{""}},
		"no JSON, which nobody knows the kind of": {`password: hunter2`, false, []string{""}},
		"keys that come twice":                    {`{"data":{"a":"hunter2"},"data":{}}`, true, []string{""}},
		"data that is no map":                     {`{"data":"hunter2"}`, true, []string{"data"}},
		"a key with a dot":                        {`{"spec":{"a.b/c":{"env":[{"name":"TOKEN","value":"x"}]}}}`, false, []string{"spec[a.b/c].env[0].value"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := tested.Object([]byte(test.object), test.secret)
			if !slices.Equal(got.Paths, test.paths) {
				t.Errorf("got %q, want %q", got.Paths, test.paths)
			}
			if !json.Valid(got.Object) || bytes.Contains(got.Object, []byte("hunter2")) || bytes.Contains(got.Object, []byte("aHVudGVyMg")) {
				t.Errorf("got %s, want JSON without the secret", got.Object)
			}
			if len(test.paths) == 0 && string(got.Object) != test.object {
				t.Errorf("got %s, want it as it was", got.Object)
			}
		})
	}
}

func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{"data":{"a":"aHVudGVyMg=="},"stringData":{"b":"hunter2"}}`, `{"spec":{"containers":[{"env":[{"name":"TOKEN","value":"hunter2"}]}]}}`,
		`{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"env\":[{\"name\":\"TOKEN\",\"value\":\"hunter2\"}]}"}}}`, `[[[`, `{"env":{"env":[1,null,{"name":1}]}}`, "",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, raw []byte, secret bool) {
		got := tested.Object(raw, secret)
		if len(bytes.TrimSpace(raw)) == 0 {
			return
		}
		if !json.Valid(got.Object) {
			t.Fatalf("got %q of %q, want JSON", got.Object, raw)
		}
		if len(got.Paths) == 0 || got.Paths[0] != "" {
			if slow := tested.edited(raw, secret); !slices.Equal(slow.Paths, got.Paths) {
				t.Errorf("got %q at a glance of %q, want %q", got.Paths, raw, slow.Paths)
			}
		}
		again := tested.Object(got.Object, secret)
		if !slices.Equal(again.Paths, got.Paths) && len(got.Paths) > 0 && got.Paths[0] != "" {
			t.Errorf("got %q the second time, want %q", again.Paths, got.Paths)
		}
		var held struct {
			Data, StringData map[string]string
		}
		if secret && json.Unmarshal(got.Object, &held) == nil {
			for _, value := range held.Data {
				if !strings.HasPrefix(value, "hidden:") {
					t.Errorf("got %q in the data of %q", value, raw)
				}
			}
		}
	})
}
