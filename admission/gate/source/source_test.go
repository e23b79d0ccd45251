package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// enter unpacks an archive into a new directory and works there.
func enter(t *testing.T, archive string) {
	t.Helper()
	dir := t.TempDir()
	for _, file := range txtar.Parse([]byte(archive)).Files {
		path := filepath.Join(dir, file.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

// transcript is everything a load says, one line each.
func transcript(loaded Loaded, paths ...string) string {
	var b strings.Builder
	for i := range loaded.Documents {
		d := &loaded.Documents[i]
		fmt.Fprintf(&b, "%s %s at %s", d.Kind, d.Name, d.Locate(""))
		for _, path := range paths {
			fmt.Fprintf(&b, ", %s at %s", path, d.Locate(path))
		}
		b.WriteString("\n")
	}
	for _, problem := range loaded.Problems {
		fmt.Fprintf(&b, "problem %s: %s\n", problem.Location, problem.Message)
	}
	for _, skip := range loaded.Skipped {
		fmt.Fprintf(&b, "skipped %s: %s", skip.File, skip.Reason)
		if skip.Manifest {
			b.WriteString(" (manifest)")
		}
		b.WriteString("\n")
	}
	return b.String()
}

const pod = `apiVersion: v1
kind: Pod
metadata:
  name: %s
spec:
  containers:
  - name: app
    image: nginx
`

func TestWhatIsRead(t *testing.T) {
	for name, test := range map[string]struct {
		archive, stdin string
		paths          []string
		locate         []string
		want           string
	}{
		"a file has exact positions": {
			archive: "-- a.yaml --\n" + fmt.Sprintf(pod, "a"),
			paths:   []string{"a.yaml"},
			locate:  []string{"spec.containers[0].image", "spec.containers[0].securityContext.privileged"},
			want:    "Pod a at a.yaml:1:1, spec.containers[0].image at a.yaml:8:5, spec.containers[0].securityContext.privileged at a.yaml:7:5\n",
		},
		"standard input is called -": {
			stdin: fmt.Sprintf(pod, "in"),
			paths: []string{"-"},
			want:  "Pod in at -:1:1\n",
		},
		"a directory is read in order of the names, hidden directories and foreign files are said to be skipped": {
			archive: "-- d/b.yml --\n" + fmt.Sprintf(pod, "b") + "-- d/a/c.json --\n{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"}}\n" +
				"-- d/.git/x.yaml --\nx: 1\n-- d/values.yaml --\nreplicas: 1\n-- d/list.json --\n[1]\n-- d/README.md --\n# no manifest\n",
			paths: []string{"d"},
			want: "ConfigMap c at d/a/c.json:1:1\nPod b at d/b.yml:1:1\n" +
				"skipped d/.git: hidden directories are not read: name it to read it\n" +
				"skipped d/list.json: not a Kubernetes manifest: the document is a list, not an object\n" +
				"skipped d/values.yaml: not a Kubernetes manifest: no apiVersion and kind\n",
		},
		"a file named by the user must hold objects": {
			archive: "-- values.yaml --\nreplicas: 1\n",
			paths:   []string{"values.yaml"},
			want:    "problem values.yaml:1:1: the document has no apiVersion and kind: every Kubernetes object has apiVersion and kind\n",
		},
		"an unreadable document does not hide the others": {
			archive: "-- a.yaml --\n" + fmt.Sprintf(pod, "a") + "---\na: [\n---\n" + fmt.Sprintf(pod, "b"),
			paths:   []string{"a.yaml"},
			want:    "Pod a at a.yaml:1:1\nPod b at a.yaml:12:1\nproblem a.yaml:",
		},
		"a half typed document is a problem, in a directory too": {
			archive: "-- d/a.yaml --\nkind: Pod\n",
			paths:   []string{"d"},
			want:    "problem d/a.yaml:1:1: the document has no apiVersion: every Kubernetes object has apiVersion and kind\n",
		},
		"a chart is rendered with its hooks, definitions and dependencies": {
			archive: chartArchive,
			paths:   []string{"web"},
			locate:  []string{"spec.containers[0].image"},
			want: "CustomResourceDefinition foos.example.com at web/crds/foo.yaml:1:1, spec.containers[0].image at web/crds/foo.yaml:1:1\n" +
				"ConfigMap db at web/charts/db/templates/cm.yaml:1, spec.containers[0].image at web/charts/db/templates/cm.yaml:1\n" +
				"Job migrate at web/templates/hook.yaml:1, spec.containers[0].image at web/templates/hook.yaml:6\n" +
				"Pod release-name at web/templates/pod.yaml:2, spec.containers[0].image at web/templates/pod.yaml (line 8 as rendered)\n",
		},
		"a kustomization points to the files its objects came from": {
			archive: kustomizeArchive,
			paths:   []string{"k/overlay"},
			locate:  []string{"spec.containers[0].image", "spec.hostNetwork"},
			want: "Pod prod-base at k/base/pod.yaml:1:1, spec.containers[0].image at k/base/pod.yaml:8:5, spec.hostNetwork at k/base/pod.yaml:5:1\n" +
				"ConfigMap prod-settings-cbbgm9h7dh at k/overlay/kustomization.yaml (line 1 as rendered), spec.containers[0].image at k/overlay/kustomization.yaml (line 1 as rendered), spec.hostNetwork at k/overlay/kustomization.yaml (line 1 as rendered)\n",
		},
		"what looks like a manifest in a hidden directory or beside a kustomization is marked": {
			archive: "-- d/.hidden/deep/p.yaml --\n" + fmt.Sprintf(pod, "p") + "-- d/.chart/c/Chart.yaml --\napiVersion: v2\nname: c\nversion: 1.0.0\n-- d/.github/ci.yaml --\non: push\n" +
				"-- d/k/kustomization.yaml --\nresources: []\n-- d/k/p.yaml --\n" + fmt.Sprintf(pod, "p") + "-- d/k/values.yaml --\nreplicas: 1\n-- d/k/broken.yaml --\nkind: [\n",
			paths: []string{"d"},
			want: "skipped d/.chart: hidden directories are not read: name it to read it (manifest)\n" +
				"skipped d/.github: hidden directories are not read: name it to read it\n" +
				"skipped d/.hidden: hidden directories are not read: name it to read it (manifest)\n" +
				"skipped d/k/broken.yaml: the kustomization beside it does not use it (manifest)\n" +
				"skipped d/k/p.yaml: the kustomization beside it does not use it (manifest)\n" +
				"skipped d/k/values.yaml: the kustomization beside it does not use it\n",
		},
		"a directory of kustomizations renders those that nothing builds upon, and reads the rest": {
			archive: kustomizeArchive + "-- k/other/p.yaml --\n" + fmt.Sprintf(pod, "other") + "-- k/base/unused.yaml --\n" + fmt.Sprintf(pod, "unused"),
			paths:   []string{"k"},
			want: "Pod prod-base at k/base/pod.yaml:1:1\nConfigMap prod-settings-cbbgm9h7dh at k/overlay/kustomization.yaml (line 1 as rendered)\n" +
				"Pod other at k/other/p.yaml:1:1\n" +
				"skipped k/base: rendered as a part of the kustomization k/overlay\n" +
				"skipped k/base/unused.yaml: the kustomization beside it does not use it (manifest)\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			enter(t, test.archive)
			loaded, err := Load(context.Background(), test.paths, Options{Stdin: strings.NewReader(test.stdin)})
			if err != nil {
				t.Fatal(err)
			}
			if got := transcript(loaded, test.locate...); !strings.HasPrefix(got, test.want) || (got != test.want && !strings.HasSuffix(test.want, ":")) {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

const chartArchive = `-- web/Chart.yaml --
apiVersion: v2
name: web
version: 1.0.0
dependencies:
- name: db
  version: 1.0.0
  repository: https://charts.invalid
-- web/values.yaml --
image: nginx
-- web/crds/foo.yaml --
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: foos.example.com
-- web/templates/_helpers.tpl --
{{ define "x" }}x{{ end }}
-- web/templates/NOTES.txt --
hello
-- web/templates/pod.yaml --
{{ if true }}
apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}}
spec:
  containers:
  - name: app
    image: {{ .Values.image }}
{{ end }}
-- web/templates/hook.yaml --
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: pre-install}}
spec:
  containers:
  - image: migrate
-- web/charts/db/Chart.yaml --
apiVersion: v2
name: db
version: 1.0.0
-- web/charts/db/templates/cm.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: db}
`

var kustomizeArchive = "-- k/base/kustomization.yaml --\nresources: [pod.yaml]\n-- k/base/pod.yaml --\n" + fmt.Sprintf(pod, "base") + `-- k/overlay/kustomization.yaml --
namePrefix: prod-
resources: [../base]
patches:
- patch: |-
    apiVersion: v1
    kind: Pod
    metadata: {name: base}
    spec: {hostNetwork: true}
configMapGenerator:
- name: settings
  literals: [home=https://example.com]
`

func TestChartOptions(t *testing.T) {
	enter(t, chartArchive+`-- prod.yaml --
image: prod
-- kube/Chart.yaml --
apiVersion: v2
name: kube
version: 1.0.0
kubeVersion: ">= 99.0.0"
-- kube/templates/a.yaml --
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-{{ .Release.Namespace }}-{{ .Capabilities.KubeVersion.Minor }}-{{ .Capabilities.APIVersions.Has "example.com/v1" }}
`)
	options := ChartOptions{Values: []string{"prod.yaml"}, Set: []string{"image=set"}}
	loaded, err := Load(context.Background(), []string{"web"}, Options{Chart: options})
	if err != nil || !strings.Contains(string(loaded.Documents[3].JSON), `"image":"set"`) {
		t.Errorf("--set does not override --values: got %s, %v", loaded.Documents[3].JSON, err)
	}
	options = ChartOptions{ReleaseName: "r", Namespace: "n", KubeVersion: "99.1.0", APIVersions: []string{"example.com/v1"}}
	loaded, err = Load(context.Background(), []string{"kube"}, Options{Chart: options})
	if err != nil || len(loaded.Documents) != 1 || loaded.Documents[0].Name != "r-n-1-true" {
		t.Errorf("got %+v, %v, want one ConfigMap r-n-1-true", loaded, err)
	}
}

// TestRefusals names what must not be read, and the message each gets.
func TestRefusals(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		fmt.Fprintf(w, pod, "fetched")
	}))
	defer server.Close()
	chart := "-- c/Chart.yaml --\napiVersion: v2\nname: c\nversion: 1.0.0\n"
	template := "-- c/templates/a.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	for name, test := range map[string]struct {
		archive string
		path    string
		options ChartOptions
		want    string
	}{
		"a remote base":                {"-- k/kustomization.yaml --\nresources: [" + server.URL + "/pod.yaml]\n", "k", ChartOptions{}, "vendor it into the repository"},
		"a base on GitHub":             {"-- k/kustomization.yaml --\nresources: [github.com/a/b]\n", "k", ChartOptions{}, "vendor it into the repository"},
		"a base over ssh":              {"-- k/kustomization.yaml --\nresources: [\"git@example.com:a/b\"]\n", "k", ChartOptions{}, "vendor it into the repository"},
		"a base in a local Git":        {"-- k/kustomization.yaml --\nbases: [\"file:///tmp/repository\"]\n", "k", ChartOptions{}, "vendor it into the repository"},
		"a remote base of a base":      {"-- k/kustomization.yaml --\nresources: [../b]\n-- b/kustomization.yaml --\nresources: [" + server.URL + "]\n", "k", ChartOptions{}, "vendor it into the repository"},
		"a remote patch":               {"-- k/kustomization.yaml --\npatches: [{path: " + server.URL + "}]\n", "k", ChartOptions{}, "vendor it into the repository"},
		"a remote file of a generator": {"-- k/kustomization.yaml --\nconfigMapGenerator: [{name: a, files: [\"x=" + server.URL + "\"]}]\n", "k", ChartOptions{}, "vendor it into the repository"},
		"a remote patch in a transformer file": {"-- k/kustomization.yaml --\ntransformers: [t.yaml]\n-- k/t.yaml --\napiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\npath: " + server.URL + "\n",
			"k", ChartOptions{}, "vendor it into the repository"},
		"a remote patch in an inline transformer": {"-- k/kustomization.yaml --\ntransformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: t}\n  path: " + server.URL + "\n",
			"k", ChartOptions{}, "vendor it into the repository"},
		"a remote OpenAPI schema":       {"-- k/kustomization.yaml --\nopenapi: {path: " + server.URL + "}\n", "k", ChartOptions{}, "vendor it into the repository"},
		"Helm charts in kustomize":      {"-- k/kustomization.yaml --\nhelmCharts: [{name: a, repo: https://example.com}]\n", "k", ChartOptions{}, "name it beside the kustomization"},
		"files above a kustomization":   {"-- k/kustomization.yaml --\nresources: [../secret.yaml]\n-- secret.yaml --\n" + fmt.Sprintf(pod, "s"), "k", ChartOptions{}, "is not in or below"},
		"a plugin":                      {"-- k/kustomization.yaml --\ngenerators: [g.yaml]\n-- k/g.yaml --\napiVersion: example.com/v1\nkind: Evil\nmetadata: {name: g}\n", "k", ChartOptions{}, "see that kustomize build accepts it"},
		"a chart without dependency":    {chart + "dependencies: [{name: db, version: 1.0.0, repository: " + server.URL + "}]\n" + template, "c", ChartOptions{}, "run helm dependency build first"},
		"a chart for another version":   {chart + "kubeVersion: '>= 99.0.0'\n" + template, "c", ChartOptions{}, "pass --kube-version"},
		"a library chart":               {chart + "type: library\n" + template, "c", ChartOptions{}, "name a chart that uses it"},
		"a broken template":             {chart + "-- c/templates/a.yaml --\n{{ .Values.x.y.z }}\n", "c", ChartOptions{}, "mend the template, or give what it needs with --values or --set"},
		"a template that yields a mess": {chart + "-- c/templates/a.yaml --\na: [\n", "c", ChartOptions{}, "the rendered output cannot be read"},
		"values against the schema":     {chart + template + "-- c/values.schema.json --\n{\"required\": [\"x\"]}\n", "c", ChartOptions{}, "check --values and --set"},
		"a remote schema":               {chart + template + "-- c/values.schema.json --\n{\"$ref\": \"" + server.URL + "\"}\n", "c", ChartOptions{}, "nothing is fetched here"},
		"a schema that reads a file":    {chart + template + "-- c/values.schema.json --\n{\"$ref\": \"file:///etc/passwd\"}\n", "c", ChartOptions{}, "nothing is fetched here"},
		"a broken archive":              {"-- c.tgz --\nno archive\n", "c.tgz", ChartOptions{}, "see that helm lint accepts it"},
	} {
		t.Run(name, func(t *testing.T) {
			enter(t, test.archive)
			loaded, err := Load(context.Background(), []string{test.path}, Options{Chart: test.options})
			if err != nil {
				t.Fatal(err)
			}
			if len(loaded.Problems) == 0 || len(loaded.Documents) > 0 || !strings.Contains(loaded.Problems[0].Message, test.want) {
				t.Errorf("got %d documents and %v, want none and a problem with %q", len(loaded.Documents), loaded.Problems, test.want)
			}
			t.Log(transcript(loaded))
		})
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("got %d network requests, want 0", n)
	}
}

func TestSymbolicLinks(t *testing.T) {
	enter(t, "-- secret.yaml --\n"+fmt.Sprintf(pod, "secret")+"-- out/manifests/b.yaml --\n"+fmt.Sprintf(pod, "b")+"-- logs/a.txt --\nx\n-- d/..data/a.yaml --\n"+fmt.Sprintf(pod, "a")+
		"-- c/Chart.yaml --\napiVersion: v2\nname: c\nversion: 1.0.0\n-- c/templates/a.yaml --\n{{ .Files.Get \"x\" }}\n")
	for link, target := range map[string]string{"d/a.yaml": "..data/a.yaml", "d/out.yaml": "../secret.yaml", "d/loop": ".", "d/outside": "../out", "d/logs": "../logs", "d/c.tgz": "../c.tgz", "d/gone.yaml": "nowhere", "c/x": "../secret.yaml"} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := Load(context.Background(), []string{"d", "c"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := `Pod a at d/a.yaml:1:1
problem d/c.tgz: following the symbolic link: no such file or directory: mend or remove it
problem d/gone.yaml: following the symbolic link: no such file or directory: mend or remove it
problem d/out.yaml: the symbolic link leads out of d, so nothing was decided about what it names: name its target beside d, or put a copy in its place
problem d/outside: the symbolic link leads out of d, so nothing was decided about what it names: name its target beside d, or put a copy in its place
problem c: reading the chart: the symbolic link c/x leads out of the chart: put a copy in its place
skipped d/..data: hidden directories are not read: name it to read it
skipped d/logs: symbolic links to directories are not followed: name its target to read it
skipped d/loop: symbolic links to directories are not followed: name its target to read it
`
	if got := transcript(loaded); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestChartArchive(t *testing.T) {
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	tarball := tar.NewWriter(zip)
	for _, file := range txtar.Parse([]byte(chartArchive)).Files {
		if err := tarball.WriteHeader(&tar.Header{Name: file.Name, Size: int64(len(file.Data)), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tarball.Write(file.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tarball.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	enter(t, "-- web-1.0.0.tgz --\n"+archive.String())
	if err := os.WriteFile("web-1.0.0.tgz", archive.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(context.Background(), []string{"."}, Options{})
	if err != nil || len(loaded.Documents) != 4 || loaded.Documents[2].Locate("").File != "web-1.0.0.tgz/templates/hook.yaml" {
		t.Errorf("got %s, %v, want 4 objects, the third at web-1.0.0.tgz/templates/hook.yaml", transcript(loaded), err)
	}
}

func TestWrongArguments(t *testing.T) {
	enter(t, chartArchive+"-- list.yaml --\n[1]\n")
	for name, test := range map[string]struct {
		path    string
		options ChartOptions
		want    string
	}{
		"a missing path":             {"nowhere", ChartOptions{}, "opening nowhere: no such file or directory: check the path; it is relative to the working directory"},
		"a missing values file":      {"web", ChartOptions{Values: []string{"nowhere.yaml"}}, "reading the values file nowhere.yaml: no such file or directory: check --values"},
		"a values file of a list":    {"web", ChartOptions{Values: []string{"list.yaml"}}, "it must hold one YAML object"},
		"a wrong assignment":         {"web", ChartOptions{Set: []string{"a"}}, "write it as key.key=value"},
		"a wrong Kubernetes version": {"web", ChartOptions{KubeVersion: "new"}, "write it as 1.37.0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(context.Background(), []string{test.path}, Options{Chart: test.options})
			var argument *ArgumentError
			if !errors.As(err, &argument) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an ArgumentError with %q", err, test.want)
			}
		})
	}
}

func TestKustomizationsInACircleAreReported(t *testing.T) {
	enter(t, "-- d/a/kustomization.yaml --\nresources: [../b]\n-- d/b/kustomization.yaml --\nresources: [../a]\n")
	loaded, err := Load(context.Background(), []string{"d"}, Options{})
	if err != nil || len(loaded.Problems) == 0 || !strings.Contains(loaded.Problems[0].Message, "cycle") {
		t.Errorf("got %s, %v, want a problem that names the cycle", transcript(loaded), err)
	}
}
