package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestFilesThatNeverWereManifestsArePassedOver(t *testing.T) {
	for name, test := range map[string]struct{ file, content, want string }{
		"JSON with comments":                        {"tsconfig.json", "{ // strict\n \"compilerOptions\": {}, }", "skipped d/tsconfig.json: " + foreignFile},
		"a JSON schema with items":                  {"schema.json", `{"type": "array", "items": {"type": "string"}}`, "skipped d/schema.json: " + foreignFile},
		"data with items":                           {"cart.yaml", "items:\n- {name: tea, price: 3}\n", "skipped d/cart.yaml: " + foreignFile},
		"broken YAML of another tool":               {"node_modules/x/test/bad.yaml", "a: [\n", "skipped d/node_modules/x/test/bad.yaml: " + foreignFile},
		"prose about kinds":                         {"notes.json", `{ // of any kind, whatever the apiVersion` + "\n", "skipped d/notes.json: " + foreignFile},
		"a broken manifest":                         {"a.yaml", "kind: Pod\na: [\n", "problem d/a.yaml"},
		"a broken manifest in a vendored directory": {"vendor/a.yaml", "kind: Pod\na: [\n", "problem d/vendor/a.yaml"},
		"a broken manifest with a comment in a key": {"a.yaml", "? kind # here\n: Pod\na: [\n", "problem d/a.yaml"},
		"a broken manifest in JSON":                 {"a.json", "{\"kind\" : \"Pod\", // here\n}", "problem d/a.json"},
		"a broken manifest with an escaped key":     {"a.json", `{"k\u0069nd" : "Pod",}`, "problem d/a.json"},
		"a list without kind of objects":            {"a.yaml", "items:\n- kind: Pod\n", "problem d/a.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			enter(t, "-- d/"+test.file+" --\n"+test.content+"\n")
			loaded, err := Load(context.Background(), []string{"d"}, Options{})
			if got := transcript(loaded); err != nil || !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, %v, want %s", got, err, test.want)
			}
		})
	}
}

func TestExclude(t *testing.T) {
	archive := ""
	for _, file := range []string{"a.yaml", "node_modules/b.yaml", "web/node_modules/c.yaml", "web/d.yaml", "web/deep/e.yaml"} {
		archive += "-- d/" + file + " --\n" + fmt.Sprintf(pod, strings.TrimSuffix(file[strings.LastIndex(file, "/")+1:], ".yaml"))
	}
	for name, test := range map[string]struct{ glob, want string }{
		"a name excludes at any depth":        {"node_modules", "Pod a,Pod d,Pod e,skipped d/node_modules,skipped d/web/node_modules"},
		"a folder may end with a slash":       {"node_modules/", "Pod a,Pod d,Pod e,skipped d/node_modules,skipped d/web/node_modules"},
		"a path is relative to the directory": {"web/*.yaml", "Pod a,Pod b,Pod e,Pod c,skipped d/web/d.yaml"},
		"a path may name a folder":            {"web/deep", "Pod a,Pod b,Pod d,Pod c,skipped d/web/deep"},
	} {
		t.Run(name, func(t *testing.T) {
			enter(t, archive)
			loaded, err := Load(context.Background(), []string{"d"}, Options{Exclude: []string{test.glob}})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range loaded.Documents {
				got = append(got, "Pod "+loaded.Documents[i].Name)
			}
			for _, skip := range loaded.Skipped {
				got = append(got, "skipped "+skip.File)
				if want := "--exclude " + test.glob; skip.Reason != want {
					t.Errorf("got the reason %q, want %q", skip.Reason, want)
				}
			}
			if strings.Join(got, ",") != test.want {
				t.Errorf("got %s, want %s", strings.Join(got, ","), test.want)
			}
		})
	}
	var argument *ArgumentError
	if _, err := Load(context.Background(), []string{"."}, Options{Exclude: []string{"["}}); !errors.As(err, &argument) {
		t.Errorf("got %v for a broken glob, want an ArgumentError", err)
	}
}
