package judging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/oci"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// What --bundle may be besides a folder.
const (
	bundleCluster  = "cluster"
	registryScheme = "oci://"
)

// maxVerification is for a file with a few keys.
const maxVerification = 1 << 20

// BundleFlags say what policies judge: those of --bundle.
type BundleFlags struct {
	bundle, profile     string
	verification, cache string
	interval            time.Duration
}

// Register adds the flags to a set. what names what is judged: "events".
func (f *BundleFlags) Register(set *pflag.FlagSet, what string) {
	set.StringVar(&f.bundle, "bundle", "", "the policy `bundle`: a folder, oci://REPOSITORY@DIGEST, or cluster for the PolicyBundles that portcullis-controller rolls out; the built-in library by default")
	set.DurationVar(&f.interval, "bundle-interval", 10*time.Second, "`time` between looks at the folder of --bundle for a new revision; 0 never looks")
	set.StringVar(&f.verification, "bundle-verification", "", "YAML `file` that says who must have signed a bundle from a registry: the section verification of a PolicyBundle")
	set.StringVar(&f.cache, "bundle-cache", "", "`folder` that keeps the last good bundles of the cluster, for a start while the API server does not answer")
	set.StringVar(&f.profile, "profile", "", "`profile` of the bundle for all "+what+"; by default the bundle chooses by namespace")
}

// Check finds what --bundle cannot be. program is what the program is called in a sentence: "the responder".
func (f *BundleFlags) Check(program string) error {
	scheme, _, remote := strings.Cut(f.bundle, "://")
	switch {
	case strings.HasPrefix(f.bundle, "git+"):
		return usage.Errorf("--bundle is %q: %s links no Git, so that a repository cannot attack what acts: name the repository in a PolicyBundle, which portcullis-controller fetches, and give --bundle=%s", f.bundle, program, bundleCluster)
	case remote && scheme != "oci":
		return usage.Errorf("--bundle is %q: give a folder, %sREPOSITORY@DIGEST, or %s", f.bundle, registryScheme, bundleCluster)
	case f.fromRegistry() && !strings.Contains(f.bundle, "@"):
		return usage.Errorf("--bundle is %q: name the artifact by its digest, %sREPOSITORY@sha256:…, since a tag may be another bundle after each restart (portcullis bundle push prints it)", f.bundle, registryScheme)
	case f.fromRegistry() && f.verification == "":
		return usage.Errorf("--bundle is %q, and nothing says who must have signed it: give --bundle-verification, a file with the section verification of a PolicyBundle", f.bundle)
	case f.verification != "" && !f.fromRegistry():
		return usage.Errorf("--bundle-verification is for a bundle from a registry: leave it out (in a cluster each PolicyBundle says who must have signed it)")
	case f.fromCluster() && f.profile != "":
		return usage.Errorf("--profile is for one bundle: leave it out with --bundle=%s, where each bundle chooses by namespace", bundleCluster)
	case f.cache != "" && !f.fromCluster():
		return usage.Errorf("--bundle-cache keeps the bundles of a cluster: leave it out, or give --bundle=%s", bundleCluster)
	}
	return nil
}

// fromCluster says whether the cluster names the bundles. A folder of that name is ./cluster.
func (f *BundleFlags) fromCluster() bool { return f.bundle == bundleCluster }

func (f *BundleFlags) fromRegistry() bool { return strings.HasPrefix(f.bundle, registryScheme) }

// fromFolder says whether the bundle is one that may change while the program runs.
func (f *BundleFlags) fromFolder() bool {
	return f.bundle != "" && !f.fromCluster() && !f.fromRegistry()
}

// load compiles the one bundle that the flags name: nil where the cluster does.
func (f *BundleFlags) load(ctx context.Context, images *Images) (*revision.Revision, error) {
	switch {
	case f.fromCluster():
		return nil, nil
	case f.fromRegistry():
		return f.pull(ctx, images)
	case f.bundle == "":
		loaded, err := revision.Read(library.FS(), revision.Options{Profile: f.profile})
		return loaded, orUsage(err, library.FS(), f.profile)
	}
	if folder, err := os.Stat(f.bundle); err != nil || !folder.IsDir() {
		return nil, fmt.Errorf("reading the bundle: %s is no folder (%w): give --bundle the folder that holds bundle.yaml, or leave it out for the built-in library", f.bundle, cmpError(err))
	}
	tree, err := archive.Read(os.DirFS(f.bundle))
	if err != nil {
		return nil, fmt.Errorf("loading the bundle %s: %w", f.bundle, err)
	}
	return f.compile(tree)
}

// errFile is of a path that is there and no folder.
var errFile = errors.New("it is a file")

func cmpError(err error) error {
	if err != nil {
		return err
	}
	return errFile
}

// compile compiles the files of a bundle. The digest is that of the same files elsewhere.
func (f *BundleFlags) compile(tree *archive.Tree) (*revision.Revision, error) {
	loaded, err := revision.Load(tree, revision.Options{Included: []policies.Included{builtIn()}, Profile: f.profile})
	if err = orUsage(err, tree.FS(), f.profile); err != nil {
		return nil, fmt.Errorf("loading the bundle %s: %w", f.bundle, err)
	}
	return loaded, nil
}

// pull fetches and verifies a bundle by its digest.
func (f *BundleFlags) pull(ctx context.Context, images *Images) (*revision.Revision, error) {
	by, err := readVerification(f.verification)
	if err != nil {
		return nil, err
	}
	repository, digest, _ := strings.Cut(strings.TrimPrefix(f.bundle, registryScheme), "@")
	from, err := oci.New(v1alpha1.OCISource{Repository: repository, Digest: digest}, oci.Options{Registry: images.options, Credentials: images.options.Credentials})
	if err != nil {
		return nil, usage.Errorf("--bundle is %q: %w", f.bundle, err)
	}
	fetched, err := from.Fetch(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("loading the bundle: %w", err)
	}
	if _, err := images.bundleVerifier().Verify(ctx, fetched, by); err != nil {
		return nil, fmt.Errorf("loading the bundle: %w", err)
	}
	return f.compile(fetched.Tree)
}

// readVerification reads a file with the section verification of a PolicyBundle.
func readVerification(name string) (by v1alpha1.Verification, err error) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxVerification {
		return by, fmt.Errorf("reading the verification: %s has more than %d bytes: correct --bundle-verification", name, maxVerification)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return by, usage.Correct("--bundle-verification", fmt.Errorf("reading the verification: %w", err))
	}
	if err := yaml.UnmarshalStrict(content, &by); err != nil {
		return by, fmt.Errorf("reading the verification %s: %w: correct --bundle-verification", name, err)
	}
	return by, nil
}

// builtIn is the library for bundles that build on it: include: library.
func builtIn() policies.Included { return policies.Included{Name: "library", Files: library.FS()} }

// orUsage makes an error the user's where the bundle is good and has no such profile.
func orUsage(err error, files fs.FS, profile string) error {
	if err == nil || profile == "" {
		return err
	}
	bundle, broken := policies.Load(files, builtIn())
	if broken != nil || slices.Contains(bundle.Profiles(), profile) {
		return err
	}
	return usage.Errorf("the bundle has no profile %q: choose one of %s", profile, strings.Join(bundle.Profiles(), ", "))
}

// bundleVerifier verifies who has signed a bundle.
func (i *Images) bundleVerifier() *source.Verifier {
	return source.NewVerifier(source.VerifierOptions{Roots: i.roots, Now: time.Now})
}

// readsOf are the kinds that policies read at a door, in all bundles of a lineup.
func readsOf(lineup *admission.Lineup, door admission.Door) []policies.Read {
	var reads []policies.Read
	add := func(ready *admission.Ready) {
		if ready == nil {
			return
		}
		for _, judge := range ready.Judges {
			engine, ok := judge.(*policies.Engine)
			if !ok {
				continue
			}
			for _, read := range engine.ReadsAt(door) {
				read.Namespace = ""
				if !slices.Contains(reads, read) {
					reads = append(reads, read)
				}
			}
		}
	}
	for n := range lineup.Members {
		add(&lineup.Members[n].Active)
		add(lineup.Members[n].Candidate)
	}
	return reads
}
