package revision

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/conftest"
)

// Options say what a revision must be, and by what it judges.
type Options struct {
	// Name is the one that bundle.yaml must have, "" for any. A signature binds neither repository nor branch; this does.
	Name string
	// Namespaces are those of a tenant's bundle: it is held to what a tenant may do. Empty is no tenant.
	Namespaces []string
	// Profile is compiled alone where it is given; else those that the bundle assigns to something.
	Profile string
	// Included are the bundles that others may build on.
	Included []policies.Included
	// Reader reads files in the formats of Conftest, for tests of its policies that parse some; see [conftest.Reader].
	Reader conftest.Reader
	// Below limits [Test] to what is in this folder of the bundle and below it, "" for all.
	Below string
}

// Revision is one state of a bundle that is ready to judge. It is immutable.
type Revision struct {
	admission.Ready
	// Bundle and Engine are of the bundle's own policies, which may be none where it has others.
	Bundle *policies.Bundle
	Engine *policies.Engine
	// Tree are its files, nil after [Read].
	Tree *archive.Tree
	// Policies is how many policies are configured, those for other tools among them.
	Policies int

	files fs.FS
}

// Load compiles a revision. All mistakes that can be told apart are reported at once.
func Load(tree *archive.Tree, o Options) (*Revision, error) {
	revision, err := Read(tree.FS(), o)
	if err != nil {
		return nil, err
	}
	revision.own(tree)
	return revision, nil
}

// own makes the revision that of a tree: it goes by the digest of all files, in what people read, too.
func (r *Revision) own(tree *archive.Tree) {
	r.Tree, r.Digest = tree, tree.Digest()
	manifest := r.Bundle.Manifest
	r.Ready.Revision = fmt.Sprintf("%s@%d (%.19s)", manifest.Name, manifest.Serial, r.Digest)
}

// Read is Load for files that are no tree: the built-in library. The digest is that of the
// bundle, which documentation and samples have no part in.
func Read(fsys fs.FS, o Options) (*Revision, error) {
	bundle, err := policies.Load(fsys, o.Included...)
	if err != nil {
		return nil, err
	}
	return Compile(bundle, fsys, o)
}

// Of is Load for a bundle that was loaded from the tree already.
func Of(tree *archive.Tree, bundle *policies.Bundle, o Options) (*Revision, error) {
	revision, err := Compile(bundle, tree.FS(), o)
	if err != nil {
		return nil, err
	}
	revision.own(tree)
	return revision, nil
}

// Compile is Read for a bundle that was loaded from the files already.
func Compile(bundle *policies.Bundle, fsys fs.FS, o Options) (*Revision, error) {
	if err := o.check(bundle); err != nil {
		return nil, err
	}
	engine, err := policies.NewEngineFor(bundle, o.Profile)
	if err != nil {
		return nil, err
	}
	revision := &Revision{Ready: admission.ReadyEngine(engine), Bundle: bundle, Engine: engine, Policies: len(configured(bundle)), files: fsys}
	if err := revision.addForeign(fsys, o); err != nil {
		return nil, err
	}
	return revision, nil
}

// Files are those that it was compiled of. The caller must not write to them.
func (r *Revision) Files() fs.FS { return r.files }

// check holds a bundle to the options.
func (o *Options) check(bundle *policies.Bundle) error {
	if name := bundle.Manifest.Name; o.Name != "" && name != o.Name {
		return fmt.Errorf("loading the bundle: bundle.yaml names it %q, and %q is expected: correct the name, or name the bundle that is meant", name, o.Name)
	}
	if o.Profile != "" && !slices.Contains(bundle.Profiles(), o.Profile) {
		return fmt.Errorf("loading the bundle: it has no profile %q: use one of %s", o.Profile, strings.Join(bundle.Profiles(), ", "))
	}
	if len(o.Namespaces) > 0 {
		return bundle.CheckTenant()
	}
	return nil
}

// configured are the ids of the policies that some profile configures, whether it is assigned or not.
func configured(bundle *policies.Bundle) map[string]bool {
	ids := map[string]bool{}
	add := func(instances []policies.Instance) {
		for _, instance := range instances {
			if instance.Enforcement != policies.EnforceOff && bundle.Policies[instance.Policy] != nil {
				ids[instance.Policy] = true
			}
		}
	}
	add(bundle.Manifest.Policies)
	for _, profile := range bundle.Manifest.Profiles {
		add(profile.Policies)
	}
	return ids
}

// folder is a folder of policies for another tool, nil where there is none.
func folder(fsys fs.FS, name string) (fs.FS, error) {
	info, err := fs.Stat(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the folder %s of the bundle: %w", name, err)
	case !info.IsDir():
		return nil, fmt.Errorf("reading the folder %s of the bundle: it is a file: rename it", name)
	}
	return fs.Sub(fsys, name)
}
