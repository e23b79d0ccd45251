package policies

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Included is a bundle that others may build on: include in bundle.yaml names it.
type Included struct {
	Name  string // "library"
	Files fs.FS
}

// readIncluding reads the files of a bundle and of the one that it includes, if any. The bundle's
// own data replace those of the same file; a policy of the same file is refused.
func readIncluding(fsys fs.FS, available []Included) (own, included map[string][]byte, err error) {
	if own, err = readBundleFiles(fsys); err != nil {
		return nil, nil, err
	}
	var manifest struct {
		Include string `json:"include"`
	}
	// A manifest that cannot be read is reported with the other mistakes, by Load.
	if decodeLoosely(own["bundle.yaml"], &manifest) != nil || manifest.Include == "" {
		return own, nil, nil
	}
	at := slices.IndexFunc(available, func(i Included) bool { return i.Name == manifest.Include })
	if at < 0 {
		return nil, nil, fmt.Errorf("reading the bundle: include %q: %s", manifest.Include, availableNames(available))
	}
	if included, err = readBundleFiles(available[at].Files); err != nil {
		return nil, nil, fmt.Errorf("reading the included bundle %q: %w", manifest.Include, err)
	}
	var problems []error
	for name := range included {
		if _, twice := own[name]; !twice || name == "bundle.yaml" {
			continue
		}
		if !strings.HasPrefix(name, "data/") {
			problems = append(problems, fmt.Errorf("%s is a file of the included bundle %q, too: give yours another name", name, manifest.Include))
		}
		delete(included, name)
	}
	if len(problems) > 0 {
		return nil, nil, fmt.Errorf("loading the bundle: %w", errors.Join(problems...))
	}
	return own, included, nil
}

func availableNames(available []Included) string {
	if len(available) == 0 {
		return "no bundle can be included here"
	}
	var names []string
	for _, i := range available {
		names = append(names, i.Name)
	}
	return "the bundles that can be included are: " + strings.Join(names, ", ")
}

// include lays a manifest over that of an included bundle: its own profiles and its own policies
// replace those of the same name, its namespaces are asked first.
//
// What the manifest configures in every profile counts in the included ones, too, whatever those say of it: that it did not would be
// a rule that is silently not applied.
func (m *Manifest) include(below *Manifest) {
	own := slices.Clone(m.Policies)
	for _, instance := range below.Policies {
		if !slices.ContainsFunc(m.Policies, func(own Instance) bool { return own.name() == instance.name() }) {
			m.Policies = append(m.Policies, instance)
		}
	}
	for _, profile := range below.Profiles {
		if !slices.ContainsFunc(m.Profiles, func(own Profile) bool { return own.Name == profile.Name }) {
			profile.Policies = replaced(profile.Policies, own)
			m.Profiles = append(m.Profiles, profile)
		}
	}
	m.Namespaces = append(m.Namespaces, below.Namespaces...)
	if m.DefaultProfile == "" {
		m.DefaultProfile = below.DefaultProfile
	}
}

// replaced are instances with others of the same name in their place.
func replaced(instances, by []Instance) []Instance {
	instances = slices.Clone(instances)
	for n := range instances {
		if at := slices.IndexFunc(by, func(i Instance) bool { return i.name() == instances[n].name() }); at >= 0 {
			instances[n] = by[at]
		}
	}
	return instances
}

// name is the instance's name, by default that of its policy.
func (i Instance) name() string {
	if i.Name != "" {
		return i.Name
	}
	return i.Policy
}

// extensions refuses files that add rules to a package of the included bundle: whoever reads a helper of it there must
// get what it says, and nothing else.
func extensions(modules map[string]*parsedModule, included map[string][]byte) []error {
	theirs := map[string]string{} // file by package
	for name := range included {
		if module := modules[name].module(); module != nil {
			theirs[module.Package.Path.String()] = name
		}
	}
	var problems []error
	for _, name := range sortedKeys(modules) {
		if _, is := included[name]; is {
			continue
		}
		module := modules[name].module()
		if module == nil {
			continue
		}
		if file, taken := theirs[module.Package.Path.String()]; taken {
			problems = append(problems, fmt.Errorf("%s: package %s is that of %s in the included bundle: give yours a package of its own", name, strings.TrimPrefix(module.Package.Path.String(), "data."), file))
		}
	}
	return problems
}
