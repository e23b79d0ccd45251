package conftest_test

import (
	"cmp"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/conftest"
	"github.com/portcullis-dev/portcullis/policies/conftest/parse"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// example is one of Conftest's own, with the files that it is about.
type example struct {
	folder, policy, data string
	files                []string
	all, combine         bool
}

var examples = map[string]example{
	"docker":             {folder: "docker", files: []string{"Dockerfile"}, all: true},
	"ini":                {folder: "ini", files: []string{"grafana.ini"}},
	"hcl2":               {folder: "hcl2", files: []string{"terraform.tf"}},
	"kubernetes":         {folder: "kubernetes", files: []string{"deployment.yaml", "service.yaml", "deployment+service.yaml"}},
	"kubernetes-combine": {folder: "kubernetes/combine", policy: ".", files: []string{"deployment.yaml", "service.yaml"}, combine: true},
	"exceptions":         {folder: "exceptions", files: []string{"deployments.yaml"}},
	"combine":            {folder: "combine", files: []string{"team.yaml", "user1.yaml", "user2.yaml", "users.yaml"}, combine: true},
	"properties":         {folder: "properties", files: []string{"sample.properties"}},
	"xml":                {folder: "xml", files: []string{"pom.xml"}},
	"dotenv":             {folder: "dotenv", files: []string{"sample.env"}},
	"traefik":            {folder: "traefik", files: []string{"traefik.toml"}},
	"compose":            {folder: "compose", files: []string{"docker-compose.yml", "docker-compose-valid.yml"}},
	"data":               {folder: "data", data: "exclusions", files: []string{"service.yaml"}},
}

func (e *example) dir() string { return filepath.Join("testdata/examples", e.folder) }

func (e *example) policies() fs.FS {
	return os.DirFS(filepath.Join(e.dir(), cmp.Or(e.policy, "policy")))
}

func (e *example) options() conftest.Options {
	o := conftest.Options{Files: true, AllNamespaces: e.all}
	if e.data != "" {
		o.Data = []fs.FS{os.DirFS(filepath.Join(e.dir(), e.data))}
	}
	return o
}

// said is one result, in a form that can be compared.
type said struct{ file, rule, message, details string }

// TestExamplesOfConftest compares with what Conftest said of the same files.
func TestExamplesOfConftest(t *testing.T) {
	for name, e := range examples {
		t.Run(name, func(t *testing.T) {
			engine, err := conftest.Load(e.policies(), e.options())
			if err != nil {
				t.Fatal(err)
			}
			var documents []conftest.Document
			for _, file := range e.files {
				content, err := os.ReadFile(filepath.Join(e.dir(), file))
				if err != nil {
					t.Fatal(err)
				}
				document, err := parse.File(file, "", content)
				if err != nil {
					t.Fatal(err)
				}
				documents = append(documents, document)
			}
			checked, err := engine.Check(context.Background(), documents, e.combine, now)
			if err != nil {
				t.Fatal(err)
			}
			want := expected(t, name)
			if got := saidBy(t, checked); !slices.Equal(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if clean := name == "dotenv" || name == "properties"; !clean && len(want) == 0 {
				t.Error("got an example that finds nothing, want one that shows something")
			}
		})
	}
}

func saidBy(t *testing.T, checked []conftest.Checked) []said {
	var all []said
	for _, one := range checked {
		for _, fault := range one.Faults {
			t.Errorf("got a fault: %+v", fault)
		}
		for _, finding := range one.Findings {
			if finding.ExceptedBy != "" {
				continue // Conftest only counts them
			}
			details := ""
			if finding.Details != nil {
				raw, err := json.Marshal(finding.Details)
				if err != nil {
					t.Fatal(err)
				}
				details = string(raw)
			}
			all = append(all, said{one.Path, strings.TrimPrefix(finding.Policy, "conftest/"), finding.Message, details})
		}
	}
	return inOrder(all)
}

func inOrder(all []said) []said {
	slices.SortFunc(all, func(a, b said) int {
		return cmp.Or(strings.Compare(a.file, b.file), strings.Compare(a.rule, b.rule), strings.Compare(a.message, b.message))
	})
	return all
}

func expected(t *testing.T, name string) []said {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata/expected", name+".test.json"))
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		Msg      string
		Metadata map[string]any
	}
	var reports []struct {
		Filename           string
		Failures, Warnings []result
	}
	if err := json.Unmarshal(raw, &reports); err != nil {
		t.Fatal(err)
	}
	var all []said
	for _, report := range reports {
		for _, one := range slices.Concat(report.Failures, report.Warnings) {
			rule := strings.TrimPrefix(one.Metadata["query"].(string), "data.")
			delete(one.Metadata, "query")
			details := ""
			if len(one.Metadata) > 0 {
				encoded, err := json.Marshal(one.Metadata)
				if err != nil {
					t.Fatal(err)
				}
				details = string(encoded)
			}
			all = append(all, said{report.Filename, rule, one.Msg, details})
		}
	}
	return inOrder(all)
}

// TestTestsOfConftestsExamples runs the Rego tests that lie beside the examples, those that parse files among them.
func TestTestsOfConftestsExamples(t *testing.T) {
	ran := 0
	for name, e := range examples {
		t.Run(name, func(t *testing.T) {
			results, err := conftest.Test(context.Background(), e.policies(), e.options(), parse.File)
			if err != nil {
				t.Fatal(err)
			}
			for _, result := range results {
				// This one fails by Conftest, too: the message has changed since it was written.
				if result.Problem != "" && result.Name != "data.main.test_ip_with_disallowed_ciphers" {
					t.Errorf("got %s in %s:%d: %s, want it to pass", result.Name, result.File, result.Line, result.Problem)
				}
			}
			ran += len(results)
		})
	}
	if ran < 15 {
		t.Errorf("got %d tests, want at least 15", ran)
	}
}

// TestExceptionsAreShown is about what Conftest only counts.
func TestExceptionsAreShown(t *testing.T) {
	e := examples["exceptions"]
	engine, err := conftest.Load(e.policies(), conftest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	object := `{"kind": "Deployment", "metadata": {"name": "can-run-as-root"}}`
	result := engine.Evaluate(context.Background(), request("CREATE", "apps", "deployments", object), nil, now, policies.PhaseValidate)
	if len(result.Findings) != 1 || result.Findings[0].ExceptedBy != "rule exception of Conftest package main" {
		t.Errorf("got %+v, want one finding, excepted", result.Findings)
	}
}
