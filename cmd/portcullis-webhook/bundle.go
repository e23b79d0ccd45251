package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/cluster"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/oci"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// What --bundle may be besides a folder.
const (
	bundleCluster  = "cluster"
	registryScheme = "oci://"
)

// maxVerification is for a file with a few keys.
const maxVerification = 1 << 20

// checkBundle finds what --bundle cannot be.
func (f *flags) checkBundle() error {
	scheme, _, remote := strings.Cut(f.bundle, "://")
	switch {
	case strings.HasPrefix(f.bundle, "git+"):
		return usagef("--bundle is %q: the webhook links no Git, so that a repository cannot attack what decides: name the repository in a PolicyBundle, which portcullis-controller fetches, and give --bundle=%s, or give a folder that portcullis bundle pull has filled", f.bundle, bundleCluster)
	case remote && f.bundle != registryScheme && scheme != "oci":
		return usagef("--bundle is %q: give a folder, %sREPOSITORY@DIGEST, or %s", f.bundle, registryScheme, bundleCluster)
	case f.fromRegistry() && !strings.Contains(f.bundle, "@"):
		return usagef("--bundle is %q: name the artifact by its digest, %sREPOSITORY@sha256:…, since a tag may be another bundle after each restart (portcullis bundle push prints it)", f.bundle, registryScheme)
	case f.fromRegistry() && f.bundleVerification == "":
		return usagef("--bundle is %q, and nothing says who must have signed it: give --bundle-verification, a file with the section verification of a PolicyBundle", f.bundle)
	case f.bundleVerification != "" && !f.fromRegistry():
		return usagef("--bundle-verification is for a bundle from a registry: leave it out (in a cluster each PolicyBundle says who must have signed it)")
	case f.fromCluster() && f.noCluster:
		return usagef("--bundle=%s and --no-cluster contradict each other: leave one out", bundleCluster)
	case f.fromCluster() && f.profile != "":
		return usagef("--profile is for one bundle: leave it out with --bundle=%s, where each bundle chooses by namespace", bundleCluster)
	case f.bundleCache != "" && !f.fromCluster():
		return usagef("--bundle-cache keeps the bundles of a cluster: leave it out, or give --bundle=%s", bundleCluster)
	}
	return nil
}

// fromCluster says whether the cluster names the bundles. A folder of that name is ./cluster.
func (f *flags) fromCluster() bool { return f.bundle == bundleCluster }

func (f *flags) fromRegistry() bool { return strings.HasPrefix(f.bundle, registryScheme) }

// fromFolder says whether the bundle is one that may change while the webhook runs.
func (f *flags) fromFolder() bool {
	return f.bundle != "" && !f.fromCluster() && !f.fromRegistry()
}

// lineup is what judges at first: the bundles of a cluster come later, and what they are is only asked for printing.
func (f *flags) lineup(ctx context.Context, first *revision.Revision, config *rest.Config, images *images) (*admission.Lineup, error) {
	if first != nil {
		return &admission.Lineup{Members: []admission.Member{{Active: first.Ready}}}, nil
	}
	lineup, _, err := cluster.Load(ctx, config, cluster.Options{Verifier: images.bundleVerifier(), Included: []policies.Included{builtIn()}})
	return lineup, err
}

// load compiles the one bundle that the flags name: nil where the cluster does.
func (f *flags) load(ctx context.Context, images *images) (*revision.Revision, error) {
	switch {
	case f.fromCluster():
		return nil, nil
	case f.fromRegistry():
		return f.pull(ctx, images)
	case f.bundle == "":
		return compileLibrary(f.profile)
	}
	const next = "give --bundle the folder that holds bundle.yaml, or leave it out for the built-in library"
	switch folder, err := os.Stat(f.bundle); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading the bundle: %s is not there: %s", f.bundle, next)
	case err != nil:
		return nil, fmt.Errorf("reading the bundle: %w: %s", err, next)
	case !folder.IsDir():
		return nil, fmt.Errorf("reading the bundle: %s is no folder: %s", f.bundle, next)
	}
	tree, err := archive.Read(os.DirFS(f.bundle))
	if err != nil {
		return nil, fmt.Errorf("loading the bundle %s: %w", f.bundle, err)
	}
	loaded, err := compileTree(tree, f.profile)
	if err != nil {
		return nil, fmt.Errorf("loading the bundle %s: %w", f.bundle, err)
	}
	return loaded, nil
}

// pull fetches and verifies a bundle by its digest.
func (f *flags) pull(ctx context.Context, images *images) (*revision.Revision, error) {
	by, err := readVerification(f.bundleVerification)
	if err != nil {
		return nil, err
	}
	repository, digest, _ := strings.Cut(strings.TrimPrefix(f.bundle, registryScheme), "@")
	from, err := oci.New(v1alpha1.OCISource{Repository: repository, Digest: digest}, oci.Options{Registry: images.registryOptions, Credentials: images.credentials})
	if err != nil {
		return nil, usagef("--bundle is %q: %w", f.bundle, err)
	}
	fetched, err := from.Fetch(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("loading the bundle: %w", err)
	}
	if _, err := images.bundleVerifier().Verify(ctx, fetched, by); err != nil {
		return nil, fmt.Errorf("loading the bundle: %w", err)
	}
	loaded, err := compileTree(fetched.Tree, f.profile)
	if err != nil {
		return nil, fmt.Errorf("loading the bundle %s: %w", f.bundle, err)
	}
	return loaded, nil
}

// readVerification reads a file with the section verification of a PolicyBundle.
func readVerification(name string) (by v1alpha1.Verification, err error) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxVerification {
		return by, fmt.Errorf("reading the verification: %s has more than %d bytes: correct --bundle-verification", name, maxVerification)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return by, correct("--bundle-verification", fmt.Errorf("reading the verification: %w", err))
	}
	if err := yaml.UnmarshalStrict(content, &by); err != nil {
		return by, fmt.Errorf("reading the verification %s: %w: correct --bundle-verification", name, err)
	}
	return by, nil
}

// bundleVerifier verifies who has signed a bundle.
func (i *images) bundleVerifier() *source.Verifier {
	return source.NewVerifier(source.VerifierOptions{Roots: i.roots, Now: time.Now})
}

// builtIn is the library for bundles that build on it: include: library.
func builtIn() policies.Included { return policies.Included{Name: "library", Files: library.FS()} }

// compileLibrary compiles the built-in library, by a profile of it, "" for any.
func compileLibrary(profile string) (*revision.Revision, error) {
	loaded, err := revision.Read(library.FS(), revision.Options{Profile: profile})
	return loaded, orUsage(err, library.FS(), profile)
}

// compileTree compiles the files of a bundle that has the profile, "" for any. The digest is that of the same files elsewhere.
func compileTree(tree *archive.Tree, profile string) (*revision.Revision, error) {
	loaded, err := revision.Load(tree, revision.Options{Included: []policies.Included{builtIn()}, Profile: profile})
	return loaded, orUsage(err, tree.FS(), profile)
}

// orUsage makes an error the user's where the bundle is good and has no such profile.
func orUsage(err error, files fs.FS, profile string) error {
	if err == nil || profile == "" {
		return err
	}
	bundle, broken := policies.Load(files, builtIn())
	if broken != nil || slices.Contains(bundle.Profiles(), profile) {
		return err
	}
	return usagef("the bundle has no profile %q: choose one of %s", profile, strings.Join(bundle.Profiles(), ", "))
}
