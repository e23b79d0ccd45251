package policies

import "fmt"

// NamespaceGlobs makes a function that says whether a namespace matches one of some globs, which are written as in
// bundle.yaml. No namespace at all, "", matches none.
func NamespaceGlobs(patterns []string) (func(namespace string) bool, error) {
	compiled, err := compileGlobs(patterns)
	if err != nil {
		return nil, fmt.Errorf("reading the namespaces: %w", err)
	}
	return func(namespace string) bool { return namespace != "" && compiled.match(namespace) }, nil
}
