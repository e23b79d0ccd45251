package deps

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// source is what "go list" says of how a package is built.
type source struct {
	ImportPath, Dir string
	GoFiles         []string
	ImportMap       map[string]string
	Module          *struct {
		Main      bool
		GoVersion string
	}
	Error *struct{ Err string }
}

// Whoever runs "go install" has set nothing, least of all the experiment that Trivy needs. All that programs link is held to the
// types that it has then, which takes a tenth of the time that it takes to compile it once more.
func TestProgramsBuildWithoutAnyEnvironmentVariable(t *testing.T) {
	known := map[string]*types.Package{"unsafe": types.Unsafe}
	files := token.NewFileSet()
	for _, p := range plainSources(t) {
		if p.Error != nil {
			t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
		}
		if known[p.ImportPath] != nil {
			continue
		}
		var parsed []*ast.File
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			parsed = append(parsed, file)
		}
		own := p.Module != nil && p.Module.Main
		config := types.Config{
			Importer: imported(func(path string) (*types.Package, error) {
				if mapped, ok := p.ImportMap[path]; ok {
					path = mapped
				}
				return known[path], nil
			}),
			Sizes: types.SizesFor("gc", runtime.GOARCH), IgnoreFuncBodies: !own,
		}
		if p.Module != nil && p.Module.GoVersion != "" {
			config.GoVersion = "go" + p.Module.GoVersion
		}
		checked, err := config.Check(p.ImportPath, files, parsed, nil)
		if err != nil {
			t.Fatalf("a plain \"go build\" of %s: %v", p.ImportPath, err)
		}
		known[p.ImportPath] = checked
	}
}

type imported func(string) (*types.Package, error)

func (f imported) Import(path string) (*types.Package, error) { return f(path) }

// plainSources are the packages of all programs, each after those that it imports.
func plainSources(t *testing.T) []source {
	t.Helper()
	arguments := []string{"list", "-deps", "-json=ImportPath,Dir,GoFiles,ImportMap,Module,Error"}
	for _, program := range slices.Sorted(maps.Keys(forbidden)) {
		arguments = append(arguments, "./"+program)
	}
	command := exec.Command("go", arguments...)
	command.Dir = "../.."
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "GOEXPERIMENT=") && !strings.HasPrefix(variable, "GOFLAGS=") {
			command.Env = append(command.Env, variable)
		}
	}
	command.Env = append(command.Env, "CGO_ENABLED=0") // what C brings differs in no type
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []source
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var one source
		if err := decoder.Decode(&one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	if len(all) < 500 {
		t.Fatalf("got %d packages, want those of all programs", len(all))
	}
	return all
}
