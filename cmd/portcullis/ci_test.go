package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	yamlv3 "go.yaml.in/yaml/v3"
)

// ciDirectory has what people copy into their pipelines.
const ciDirectory = "../../docs/ci"

// documents are the YAML documents of a file of docs/ci.
func documents(t *testing.T, name string) []map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(ciDirectory, name))
	if err != nil {
		t.Fatal(err)
	}
	decoder := yamlv3.NewDecoder(bytes.NewReader(raw))
	var all []map[string]any
	for {
		var document map[string]any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, document)
	}
}

// in walks down keys and, for numbers, list items.
func in[T any](t *testing.T, value any, path ...any) T {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			value = value.(map[string]any)[step]
		case int:
			value = value.([]any)[step]
		}
	}
	got, ok := value.(T)
	if !ok {
		t.Fatalf("got %T at %v, want %T", value, path, got)
	}
	return got
}

// words are a list of strings.
func words(t *testing.T, value any, path ...any) []string {
	t.Helper()
	var all []string
	for _, word := range in[[]any](t, value, path...) {
		all = append(all, word.(string))
	}
	return all
}

// ciCommand is how one of the files calls the gate.
type ciCommand struct {
	shell  string // "" for arguments without a shell
	script string
	args   []string
	env    []string
	output string // a report that it writes
}

func container(t *testing.T, name string) ciCommand {
	job := in[map[string]any](t, documents(t, name)[0], "spec", "template", "spec", "containers", 0)
	args := append(words(t, job, "command"), words(t, job, "args")...)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "/workspace/cache", ".cache")
	}
	return ciCommand{args: args}
}

// ciCommands take the commands out of the files, with what the system would fill in.
func ciCommands(t *testing.T) map[string]ciCommand {
	github := in[map[string]any](t, documents(t, "github/action.yml")[0], "runs", "steps", 0)
	gitlab := in[map[string]any](t, documents(t, "gitlab/template.yml")[1], "portcullis-gate")
	tekton := in[map[string]any](t, documents(t, "tekton/task.yaml")[0], "spec", "steps", 0)
	jenkins, err := os.ReadFile(filepath.Join(ciDirectory, "jenkins/Jenkinsfile"))
	if err != nil {
		t.Fatal(err)
	}
	script := regexp.MustCompile(`(?s)sh '''(.*?)'''`).FindSubmatch(jenkins)
	if script == nil {
		t.Fatal("the Jenkinsfile has no sh step")
	}
	return map[string]ciCommand{
		"github/action.yml":   {shell: "bash", script: "set -eo pipefail\n" + in[string](t, github, "run"), env: []string{"PATHS=deploy", "IMAGES=", "BUNDLE=", "PROFILE=baseline", "BASELINE=", "SARIF=portcullis.sarif"}, output: "portcullis.sarif"},
		"gitlab/template.yml": {shell: "sh", script: "set -e\n" + strings.Join(words(t, gitlab, "script"), "\n"), env: []string{"GATE_PATHS=deploy", "GATE_BUNDLE=", "GATE_CONTAINER="}, output: "gl-code-quality-report.json"},
		"jenkins/Jenkinsfile": {shell: "sh", script: "set -e\n" + string(script[1]), env: []string{"WORKSPACE_TMP=.tmp"}, output: "portcullis.xml"},
		"tekton/task.yaml":    {shell: "sh", script: in[string](t, tekton, "script"), env: []string{"GATE_PATHS=deploy", "GATE_IMAGE=oci:image", "GATE_CACHE=.cache"}},
		"argocd/presync.yaml": container(t, "argocd/presync.yaml"),
		"flux/job.yaml":       container(t, "flux/job.yaml"),
	}
}

// TestExamplesForCI runs what docs/ci says, as the systems would, on a manifest that is admitted and on
// one that is not.
func TestExamplesForCI(t *testing.T) {
	programs := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(programs, "portcullis")); err != nil {
		t.Fatal(err)
	}
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec:\n  containers:\n  - name: web\n    image: ghcr.io/acme/web:1\n    securityContext: {privileged: PRIVILEGED}\n"
	for name, command := range ciCommands(t) {
		if name == "tekton/task.yaml" {
			continue // judges an image: the script gateimages runs such a call
		}
		for privileged, want := range map[string]int{"false": 0, "true": 1} {
			t.Run(name+" with privileged "+privileged, func(t *testing.T) {
				dir := t.TempDir()
				if err := os.Mkdir(filepath.Join(dir, "deploy"), 0o700); err != nil {
					t.Fatal(err)
				}
				manifest := strings.ReplaceAll(pod, "PRIVILEGED", privileged)
				if err := os.WriteFile(filepath.Join(dir, "deploy", "pod.yaml"), []byte(manifest), 0o600); err != nil {
					t.Fatal(err)
				}
				args := command.args
				if command.shell != "" {
					args = []string{command.shell, "-c", command.script}
				}
				program, err := exec.LookPath(args[0])
				if args[0] == "portcullis" {
					program, err = filepath.Join(programs, "portcullis"), nil
				}
				if err != nil {
					t.Fatal(err)
				}
				run := &exec.Cmd{Path: program, Args: args, Dir: dir}
				run.Env = append(append(os.Environ(), "PATH="+programs+string(os.PathListSeparator)+os.Getenv("PATH"), "XDG_CACHE_HOME="+dir), command.env...)
				output, err := run.CombinedOutput()
				if got := run.ProcessState.ExitCode(); got != want {
					t.Fatalf("got exit code %d (%v), want %d:\n%s", got, err, want, output)
				}
				if command.output != "" {
					if _, err := os.Stat(filepath.Join(dir, command.output)); err != nil {
						t.Errorf("got no report: %v", err)
					}
				}
			})
		}
	}
}

// TestExamplesForCIKeepTheCacheOutOfTheCheckout: the gate believes the scans in its cache, and whoever can commit to the
// repository that is judged could put one there. Nothing can be committed below .git.
func TestExamplesForCIKeepTheCacheOutOfTheCheckout(t *testing.T) {
	outside := regexp.MustCompile(`^(?:\.git/|\$WORKSPACE_TMP/|/workspace/cache$|\$\{GATE_CACHE:-/tmp/)`)
	seen := 0
	for name := range ciCommands(t) {
		content, err := os.ReadFile(filepath.Join(ciDirectory, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, directory := range regexp.MustCompile(`--cache-dir[= ]"?([^"\s\],]+)`).FindAllStringSubmatch(string(content), -1) {
			seen++
			if !outside.MatchString(directory[1]) {
				t.Errorf("%s: got the cache %s, want one that no commit reaches", name, directory[1])
			}
		}
	}
	if seen < 5 {
		t.Errorf("got %d examples with a cache, want 5", seen)
	}
}

// TestExamplesForCIUseFlagsThatExist: also in calls that the test above does not reach.
func TestExamplesForCIUseFlagsThatExist(t *testing.T) {
	flags := (&program{}).gateCommand().Flags()
	seen := 0
	for name, command := range ciCommands(t) {
		text := command.script
		for _, arg := range command.args {
			text += "\n" + arg
		}
		for _, flag := range regexp.MustCompile(`(?m)(?:^|[\s(+])--([a-z][a-z-]*)`).FindAllStringSubmatch(text, -1) {
			seen++
			if flags.Lookup(flag[1]) == nil {
				t.Errorf("%s: got the flag --%s, want one of portcullis gate", name, flag[1])
			}
		}
	}
	if seen < 15 {
		t.Errorf("got %d flags, want all that the examples use", seen)
	}
}

// TestExamplesForCIAreAllTested: each file is parsed, and each that calls the gate is run or checked above.
func TestExamplesForCIAreAllTested(t *testing.T) {
	tested := ciCommands(t)
	others := []string{"README.md", "flux/gate.yaml"}
	err := filepath.WalkDir(ciDirectory, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(ciDirectory, path)
		if _, ok := tested[filepath.ToSlash(name)]; !ok && !slices.Contains(others, filepath.ToSlash(name)) {
			t.Errorf("%s is not tested", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(documents(t, "flux/gate.yaml")); got != 2 {
		t.Errorf("got %d documents in flux/gate.yaml, want 2", got)
	}
	for _, reference := range []string{"$[[ inputs.stage ]]", "$[[ inputs.image ]]", "$[[ inputs.paths ]]", "$[[ inputs.bundle ]]", "$[[ inputs.container ]]"} {
		name := strings.TrimSuffix(strings.TrimPrefix(reference, "$[[ inputs."), " ]]")
		if _, ok := in[map[string]any](t, documents(t, "gitlab/template.yml")[0], "spec", "inputs")[name]; !ok {
			t.Errorf("the GitLab component uses the input %s, which it does not declare", name)
		}
	}
}
