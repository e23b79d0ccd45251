package policies

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
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
	if yaml.Unmarshal(own["bundle.yaml"], &manifest) != nil || manifest.Include == "" {
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
func (m *Manifest) include(below *Manifest) {
	for _, instance := range below.Policies {
		if !slices.ContainsFunc(m.Policies, func(own Instance) bool { return own.name() == instance.name() }) {
			m.Policies = append(m.Policies, instance)
		}
	}
	for _, profile := range below.Profiles {
		if !slices.ContainsFunc(m.Profiles, func(own Profile) bool { return own.Name == profile.Name }) {
			m.Profiles = append(m.Profiles, profile)
		}
	}
	m.Namespaces = append(m.Namespaces, below.Namespaces...)
	if m.DefaultProfile == "" {
		m.DefaultProfile = below.DefaultProfile
	}
}

// name is the instance's name, by default that of its policy.
func (i Instance) name() string {
	if i.Name != "" {
		return i.Name
	}
	return i.Policy
}
