package conftest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/policies"
	kjson "sigs.k8s.io/json"
)

// Limits of a folder, as of a bundle.
const (
	maxFile  = 4 << 20
	maxBytes = 64 << 20
	maxFiles = 20_000
)

// Options say what of a folder is run. The zero value is for requests, and leaves the rest to conftest.toml.
type Options struct {
	// Namespaces are the packages whose rules are asked: names, or patterns of path.Match. Empty for those of
	// conftest.toml, and without any there "main".
	Namespaces []string
	// AllNamespaces asks the rules of every package.
	AllNamespaces bool
	// Policy are the files and folders with policies where conftest.toml names none; without any, the whole folder.
	Policy []string
	// Data are further folders with data, beside those of conftest.toml, and the folder data where that names none.
	Data []fs.FS
	// Files says that documents of files are checked, and not objects of requests: then data.conftest.file and
	// combine have a meaning.
	Files bool
	// Waive applies the exceptions of the bundle to findings about requests; nil for none.
	Waive func(r *policies.Request, facts *policies.Facts, now time.Time, findings []policies.Finding)
}

// Load compiles the policies of a folder. What is wrong with it is reported together.
func Load(fsys fs.FS, o Options) (*Engine, error) {
	loaded, err := load(fsys, o)
	if err != nil {
		return nil, fmt.Errorf("loading Conftest policies: %w", err)
	}
	return loaded, nil
}

func load(fsys fs.FS, o Options) (*Engine, error) {
	settings, err := readConfiguration(fsys)
	if err != nil {
		return nil, err
	}
	if settings.Combine && !o.Files {
		return nil, errors.New("conftest.toml has combine = true: a request has one object and nothing to combine it with: remove it, or check the files with \"portcullis conftest test\"")
	}
	modules, _, err := readModules(fsys, settings, o.Policy, false)
	if err != nil {
		return nil, err
	}
	data, err := readData(fsys, settings, o.Data)
	if err != nil {
		return nil, err
	}
	compiler, err := compile(modules, settings)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		compiler: compiler, data: data, strict: settings.ShowBuiltinErrors, settings: settings,
		resources: resourcesOf(settings.Portcullis.Resources), waive: o.Waive,
	}
	if e.namespaces, err = namespacesOf(modules, settings, o); err != nil {
		return nil, err
	}
	e.readsFile = readsFile(modules)
	if e.readsFile && !o.Files {
		return nil, errors.New("a policy reads data.conftest.file: a request has no file: keep the policy for \"portcullis conftest test\"")
	}
	e.store = inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true))
	if e.transaction, err = e.store.NewTransaction(context.Background()); err != nil {
		return nil, err
	}
	return e, e.prepare()
}

// readModules parses the policies, and with tests the files that test them. Contents are by file.
func readModules(fsys fs.FS, settings *configuration, otherwise []string, tests bool) (map[string]*ast.Module, map[string]string, error) {
	version, err := settings.version()
	if err != nil {
		return nil, nil, err
	}
	folders := []string(settings.Policy)
	if len(folders) == 0 {
		folders = otherwise
	}
	if len(folders) == 0 {
		folders = []string{"."}
	}
	files, err := readFiles(fsys, folders, func(name string) bool {
		return path.Ext(name) == ".rego" && (tests || !strings.HasSuffix(name, "_test.rego"))
	})
	if err != nil {
		return nil, nil, err
	}
	modules, contents := map[string]*ast.Module{}, map[string]string{}
	var problems []error
	for name, content := range files {
		options := ast.ParserOptions{RegoVersion: version, ProcessAnnotation: true}
		if !tests {
			options.Capabilities = capabilities(version)
		}
		module, err := ast.ParseModuleWithOpts(name, string(content), options)
		switch {
		case err != nil:
			problems = append(problems, err)
		case module != nil:
			problems = append(problems, checkModule(module, tests)...)
			modules[name], contents[name] = module, string(content)
		}
	}
	if len(problems) > 0 {
		return nil, nil, joined(problems)
	}
	if len(modules) == 0 {
		return nil, nil, fmt.Errorf("there is no policy in %s: put the *.rego files there", strings.Join(folders, ", "))
	}
	return modules, contents, nil
}

// capabilities are the sandbox, with what a version of the language knows.
func capabilities(version ast.RegoVersion) *ast.Capabilities {
	own, language := policies.Sandbox(), ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(version))
	own.FutureKeywords, own.Features = language.FutureKeywords, language.Features
	return own
}

// checkModule refuses what the sandbox cannot hold, and rules that Conftest refuses: without "contains" a rule
// is a truth value, which says nothing (https://github.com/open-policy-agent/opa/issues/6509).
func checkModule(module *ast.Module, test bool) []error {
	if test {
		return nil
	}
	problems := policies.CheckSandboxed(module)
	for _, rule := range module.Rules {
		if rule.Head == nil || rule.Head.Value == nil || len(rule.Head.Reference) == 0 {
			continue
		}
		name := firstName(rule.Head.Reference)
		if _, asked := effectOf(name); asked && rule.Head.Value.Equal(ast.BooleanTerm(true)) {
			problems = append(problems, fmt.Errorf("%v: rule %s is a truth value, which says nothing: write \"%s contains msg if\"", rule.Location, name, name))
		}
	}
	return problems
}

func firstName(ref ast.Ref) string {
	switch value := ref[0].Value.(type) {
	case ast.Var:
		return string(value)
	case ast.String:
		return string(value)
	}
	return ""
}

func compile(modules map[string]*ast.Module, settings *configuration) (*ast.Compiler, error) {
	version, err := settings.version()
	if err != nil {
		return nil, err
	}
	compiler := ast.NewCompiler().
		WithCapabilities(capabilities(version)).
		WithDefaultRegoVersion(version).
		WithStrict(settings.Strict)
	compiler.Compile(modules)
	if !compiler.Failed() {
		return compiler, nil
	}
	var problems []error
	for _, problem := range compiler.Errors {
		hint := ""
		if strings.Contains(problem.Message, "undefined function") {
			hint = ": policies have no network, files or environment here, and nothing that makes much out of little"
		}
		problems = append(problems, errors.New(strings.ReplaceAll(problem.Error(), "\t", "    ")+hint))
	}
	return nil, joined(problems)
}

// joined puts problems into one order, whatever order files were read in.
func joined(problems []error) error {
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

// namespacesOf are the packages whose rules are asked, sorted. One that is named and not there is an error: its rules
// would silently not run.
func namespacesOf(modules map[string]*ast.Module, settings *configuration, o Options) ([]namespace, error) {
	found := map[string]*namespace{}
	for _, module := range modules {
		name := strings.TrimPrefix(module.Package.Path.String(), "data.")
		if found[name] == nil {
			found[name] = &namespace{name: name, path: module.Package.Path}
		}
		found[name].add(module)
	}
	patterns := o.Namespaces
	all := o.AllNamespaces
	if len(patterns) == 0 && !all {
		patterns, all = settings.Namespace, settings.AllNamespaces
	}
	if len(patterns) == 0 {
		patterns = []string{"main"}
	}
	if all {
		patterns = []string{"*"}
	}
	var chosen []namespace
	rules := 0
	for _, pattern := range patterns {
		matched := false
		for name, one := range found {
			// In Conftest's patterns "*" reaches over dots, and no package has a slash that is not quoted.
			ok, err := path.Match(pattern, name)
			if err != nil {
				return nil, fmt.Errorf("namespace %q: %w", pattern, err)
			}
			matched = matched || ok
			if ok && !slices.ContainsFunc(chosen, func(other namespace) bool { return other.name == name }) {
				chosen = append(chosen, *one)
				rules += len(one.rules)
			}
		}
		if !matched {
			return nil, fmt.Errorf("no policy is in package %s: name the packages with namespace in conftest.toml, or all with all-namespaces", pattern)
		}
	}
	if rules == 0 {
		return nil, fmt.Errorf("package %s has no rule deny, warn or violation, so that everything would be allowed", strings.Join(patterns, ", "))
	}
	slices.SortFunc(chosen, func(a, b namespace) int { return strings.Compare(a.name, b.name) })
	return chosen, nil
}

// readsFile says whether any policy reads data.conftest, which only files have.
func readsFile(modules map[string]*ast.Module) bool {
	prefix := ast.MustParseRef("data.conftest")
	found := false
	for _, module := range modules {
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			found = found || ref.HasPrefix(prefix)
			return false
		})
	}
	return found
}

// readData merges the data files: each at the path of its folder below the data folder, as OPA's loader does.
func readData(fsys fs.FS, settings *configuration, more []fs.FS) (map[string]any, error) {
	folders := []string(settings.Data)
	if len(folders) == 0 {
		if info, err := fs.Stat(fsys, "data"); err == nil && info.IsDir() {
			folders = []string{"data"}
		}
	}
	data := map[string]any{}
	for _, folder := range folders {
		if err := addData(data, fsys, path.Clean(folder)); err != nil {
			return nil, err
		}
	}
	for _, folder := range more {
		if err := addData(data, folder, "."); err != nil {
			return nil, err
		}
	}
	if _, taken := data["conftest"]; taken {
		return nil, errors.New("data.conftest is where the file is named that is checked: rename the data")
	}
	return data, nil
}

// addData takes the data files of a folder in, or a single file.
func addData(data map[string]any, fsys fs.FS, folder string) error {
	files, err := readFiles(fsys, []string{folder}, func(name string) bool {
		return slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name))
	})
	if err != nil {
		return err
	}
	for _, name := range sorted(files) {
		below := path.Dir(name)
		switch {
		case folder == name:
			below = ""
		case folder != ".":
			below = strings.TrimPrefix(strings.TrimPrefix(below, folder), "/")
		}
		value, err := decodeData(files[name])
		if err == nil {
			err = merge(data, below, value)
		}
		if err != nil {
			return fmt.Errorf("%s: reading data: %w", name, err)
		}
	}
	return nil
}

func decodeData(content []byte) (any, error) {
	raw, err := manifest.YAMLToJSON(content)
	if err != nil {
		return nil, err
	}
	var value any
	err = kjson.UnmarshalCaseSensitivePreserveInts(raw, &value)
	return value, err
}

// merge puts a value at a path. Two files may share objects, but not a value.
func merge(into map[string]any, below string, value any) error {
	if below != "" && below != "." {
		for _, segment := range slices.Backward(strings.Split(below, "/")) {
			value = map[string]any{segment: value}
		}
	}
	object, ok := value.(map[string]any)
	if !ok {
		return errors.New("the top is no object: data needs names")
	}
	for key, member := range object {
		there, taken := into[key]
		if !taken {
			into[key] = member
			continue
		}
		left, isLeft := there.(map[string]any)
		_, isRight := member.(map[string]any)
		if !isLeft || !isRight {
			return fmt.Errorf("%s is defined twice", key)
		}
		if err := merge(left, "", member); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// readFiles reads the files below some folders, or files that are named, that are wanted. Hidden ones take no part.
func readFiles(fsys fs.FS, below []string, wanted func(name string) bool) (map[string][]byte, error) {
	files := map[string][]byte{}
	total := 0
	for _, root := range below {
		err := fs.WalkDir(fsys, path.Clean(root), func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if hidden := strings.HasPrefix(path.Base(name), ".") && name != "."; hidden || entry.IsDir() || !wanted(name) {
				if hidden && entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			content, err := readFile(fsys, name, entry)
			if err != nil {
				return err
			}
			if total += len(content); total > maxBytes || len(files) >= maxFiles {
				return fmt.Errorf("the folder is larger than %d files or %d bytes", maxFiles, maxBytes)
			}
			files[name] = content
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func readFile(fsys fs.FS, name string, entry fs.DirEntry) ([]byte, error) {
	info, err := entry.Info()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file: policies hold no links or devices", name)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes: use at most %d", name, info.Size(), maxFile)
	}
	return fs.ReadFile(fsys, name)
}
