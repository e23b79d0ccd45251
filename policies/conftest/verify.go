package conftest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/types"
	"github.com/portcullis-dev/portcullis/policies/regotest"
)

// testTimeout is for one test.
const testTimeout = 10 * time.Second

// Reader reads a file in a format, "" for that of its name, as parse.File does. Tests call it by parse_config and its like.
// It is handed in, so that a program that only judges requests links no parsers.
type Reader func(name, format string, content []byte) (Document, error)

// Test runs the Rego tests of a folder, the rules test_* of all files, in the sandbox. Files that tests parse
// (parse_config_file) are those of the folder. Without a reader such tests fail with the reason.
func Test(ctx context.Context, fsys fs.FS, o Options, read Reader) ([]regotest.Result, error) {
	results, err := runTests(ctx, fsys, o, read)
	if err != nil {
		return nil, fmt.Errorf("testing Conftest policies: %w", err)
	}
	return results, nil
}

func runTests(ctx context.Context, fsys fs.FS, o Options, read Reader) ([]regotest.Result, error) {
	settings, err := readConfiguration(fsys)
	if err != nil {
		return nil, err
	}
	modules, _, err := readModules(fsys, settings, o.Policy, true)
	if err != nil {
		return nil, err
	}
	data, err := readData(fsys, settings, o.Data)
	if err != nil {
		return nil, err
	}
	version, err := settings.version()
	if err != nil {
		return nil, err
	}
	store := inmem.NewFromObject(data)
	transaction, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	defer store.Abort(ctx, transaction)
	builtins := (&testFiles{fsys, read}).builtins()
	runner := tester.NewRunner().
		SetCompiler(testCompiler(version, builtins)).
		SetDefaultRegoVersion(version).
		SetStore(store).
		SetModules(modules).
		SetTimeout(testTimeout).
		AddCustomBuiltins(builtins).
		CapturePrintOutput(true).
		RaiseBuiltinErrors(true)
	outcomes, err := runner.RunTests(ctx, transaction)
	if err != nil {
		return nil, err
	}
	var results []regotest.Result
	for outcome := range outcomes {
		results = append(results, resultOf(outcome))
	}
	slices.SortFunc(results, func(a, b regotest.Result) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Name, b.Name))
	})
	return results, ctx.Err()
}

func resultOf(outcome *tester.Result) regotest.Result {
	result := regotest.Result{Name: outcome.Package + "." + outcome.Name}
	if outcome.Location != nil {
		result.File, result.Line = outcome.Location.File, outcome.Location.Row
	}
	switch {
	case outcome.Error != nil:
		result.Problem = outcome.Error.Error()
	case outcome.Fail:
		result.Problem = "failed"
	}
	return result
}

// testCompiler has the sandbox of the policies, print, and what reads files of the folder.
func testCompiler(version ast.RegoVersion, builtins []*tester.Builtin) *ast.Compiler {
	known := capabilities(version)
	for _, builtin := range ast.CapabilitiesForThisVersion().Builtins {
		if slices.Contains([]string{"print", "internal.print", "internal.test_case", "time.now_ns"}, builtin.Name) &&
			!slices.ContainsFunc(known.Builtins, func(other *ast.Builtin) bool { return other.Name == builtin.Name }) {
			known.Builtins = append(known.Builtins, builtin)
		}
	}
	for _, builtin := range builtins {
		known.Builtins = append(known.Builtins, builtin.Decl)
	}
	return ast.NewCompiler().WithCapabilities(known).WithEnablePrintStatements(true).WithDefaultRegoVersion(version)
}

// testFiles are what Conftest's own built-ins read.
type testFiles struct {
	fsys fs.FS
	read Reader
}

// builtins are parse_config, parse_config_file and parse_combined_config_files (Conftest's builtins folder).
func (f *testFiles) builtins() []*tester.Builtin {
	object := types.NewObject(nil, types.NewDynamicProperty(types.S, types.A))
	declare := func(name string, arguments ...types.Type) (*ast.Builtin, *rego.Function) {
		function := types.NewFunction(types.Args(arguments...), object)
		return &ast.Builtin{Name: name, Decl: function}, &rego.Function{Name: name, Decl: function}
	}
	config, configFunction := declare("parse_config", types.S, types.S)
	file, fileFunction := declare("parse_config_file", types.S)
	combined, combinedFunction := declare("parse_combined_config_files", types.NewArray(nil, types.S))
	return []*tester.Builtin{
		{Decl: config, Func: rego.Function2(configFunction, func(_ rego.BuiltinContext, format, content *ast.Term) (*ast.Term, error) {
			return f.config(format, content)
		})},
		{Decl: file, Func: rego.Function1(fileFunction, func(at rego.BuiltinContext, name *ast.Term) (*ast.Term, error) {
			document, err := f.file(at, name)
			if err != nil {
				return nil, err
			}
			return inputOf(document.Contents)
		})},
		{Decl: combined, Func: rego.Function1(combinedFunction, func(at rego.BuiltinContext, names *ast.Term) (*ast.Term, error) {
			return f.combined(at, names)
		})},
	}
}

func (f *testFiles) config(format, content *ast.Term) (*ast.Term, error) {
	var name, text string
	if err := errors.Join(as(format, &name), as(content, &text)); err != nil {
		return nil, err
	}
	if f.read == nil {
		return nil, errNoReader
	}
	document, err := f.read("parse_config", name, []byte(text))
	if err != nil {
		return nil, err
	}
	return inputOf(document.Contents)
}

// errNoReader says why a test that parses files cannot run.
var errNoReader = errors.New("this program links no parsers of files: run the test with \"portcullis conftest verify\"")

// file reads a file beside the test that names it.
func (f *testFiles) file(at rego.BuiltinContext, term *ast.Term) (Document, error) {
	var name string
	if err := as(term, &name); err != nil {
		return Document{}, err
	}
	if f.read == nil {
		return Document{}, errNoReader
	}
	full := path.Join(path.Dir(at.Location.File), name)
	if !fs.ValidPath(full) {
		return Document{}, fmt.Errorf("%s leads out of the folder", name)
	}
	info, err := fs.Stat(f.fsys, full)
	if err != nil {
		return Document{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return Document{}, fmt.Errorf("%s is no regular file of at most %d bytes", name, maxFile)
	}
	content, err := fs.ReadFile(f.fsys, full)
	if err != nil {
		return Document{}, err
	}
	return f.read(full, "", content)
}

func (f *testFiles) combined(at rego.BuiltinContext, terms *ast.Term) (*ast.Term, error) {
	array, ok := terms.Value.(*ast.Array)
	if !ok {
		return nil, errors.New("parse_combined_config_files takes a list of files")
	}
	var documents []Document
	for n := range array.Len() {
		document, err := f.file(at, array.Elem(n))
		if err != nil {
			return nil, err
		}
		documents = append(documents, document)
	}
	return inputOf(combined(split(documents)).Contents)
}

// as reads a term into a Go value.
func as(term *ast.Term, into any) error {
	value, err := ast.JSON(term.Value)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}
