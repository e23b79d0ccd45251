package bundlesource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"sigs.k8s.io/yaml"

	aliases "github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/policies/source"
	sourcehttp "github.com/portcullis-dev/portcullis/policies/source/http"
	"github.com/portcullis-dev/portcullis/policies/source/oci"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/cosign"
)

// Fetched is a revision from elsewhere, with who has signed it: nobody where that was not asked for.
type Fetched struct {
	*source.Revision
	Signers []string
	// Name and Serial are those of bundle.yaml.
	Name   string
	Serial int64
}

// Fetch gets the bundle of a name, verifies it, and holds it to --bundle-name and --bundle-min-serial. One that is named by
// digest or commit is fetched once.
func (f *Flags) Fetch(ctx context.Context, name string) (*Fetched, error) {
	by, err := f.by()
	if err != nil {
		return nil, err
	}
	named, err := Parse(name)
	if err != nil {
		return nil, err
	}
	verifier, err := f.Verifier()
	if err != nil {
		return nil, err
	}
	kept, err := f.keep(named)
	if err != nil {
		return nil, err
	}
	if revision := kept.load(); revision != nil {
		// A signature may have come since: where it does not verify, it is fetched again.
		if signers, err := verifier.Verify(ctx, revision, by); err == nil {
			return f.check(&Fetched{Revision: revision, Signers: signers})
		}
	}
	revision, err := f.fetch(ctx, named)
	if err != nil {
		return nil, err
	}
	signers, err := verifier.Verify(ctx, revision, by)
	if err != nil {
		return nil, fmt.Errorf("opening the bundle: %w", err)
	}
	kept.store(revision)
	return f.check(&Fetched{Revision: revision, Signers: signers})
}

// Verifier verifies by the trusted root of the flags, if any.
func (f *Flags) Verifier() (*source.Verifier, error) {
	options := source.VerifierOptions{Now: time.Now}
	if f.root != "" {
		roots, err := cosign.NewRoots(f.root)
		if err != nil {
			return nil, wrong("%w: correct --bundle-trusted-root", err)
		}
		options.Roots = roots
	}
	return source.NewVerifier(options), nil
}

// check holds a verified revision to its name and serial, which the signature is about.
func (f *Flags) check(fetched *Fetched) (*Fetched, error) {
	var manifest struct {
		Name   string `json:"name"`
		Serial int64  `json:"serial"`
	}
	content, _ := fetched.Tree.Content("bundle.yaml")
	if len(content) == 0 {
		return nil, fmt.Errorf("opening the bundle %s: there is no bundle.yaml in it: name the folder that holds it, as git+https://HOST/REPOSITORY//PATH", fetched.Origin)
	}
	err := aliases.CheckAliases(content)
	if err == nil {
		err = yaml.Unmarshal(content, &manifest)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the bundle %s: reading bundle.yaml: %w", fetched.Origin, err)
	}
	fetched.Name, fetched.Serial = manifest.Name, manifest.Serial
	if f.name != "" && manifest.Name != f.name {
		return nil, another("opening the bundle %s: it is named %q, and --bundle-name demands %q: another bundle of the same signer is no replacement", fetched.Origin, manifest.Name, f.name)
	}
	if manifest.Serial < f.minSerial {
		return nil, another("opening the bundle %s: its serial is %d, and --bundle-min-serial demands %d: it may be an old one that somebody put back; lower the flag if it is meant", fetched.Origin, manifest.Serial, f.minSerial)
	}
	return fetched, nil
}

// OtherBundleError says that a bundle, whoever has signed it, is not the one that is wanted.
type OtherBundleError struct{ err error }

// Error implements error.
func (e *OtherBundleError) Error() string { return e.err.Error() }

// Unwrap is the reason.
func (e *OtherBundleError) Unwrap() error { return e.err }

func another(format string, arguments ...any) error {
	return &OtherBundleError{fmt.Errorf(format, arguments...)}
}

// fetch gets a revision from where it is.
func (f *Flags) fetch(ctx context.Context, named v1alpha1.Source) (*source.Revision, error) {
	from, err := f.source(named)
	if err != nil {
		return nil, err
	}
	revision, err := from.Fetch(ctx, "")
	if err != nil && named.Git != nil && named.Git.Branch != "" && ctx.Err() == nil {
		revision, err = f.fetchTag(ctx, named, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the bundle: %w", err)
	}
	return revision, nil
}

// fetchTag tries a name that is no branch as a tag: people write both behind the "@".
func (f *Flags) fetchTag(ctx context.Context, named v1alpha1.Source, asBranch error) (*source.Revision, error) {
	git := *named.Git
	git.Tag, git.Branch = git.Branch, ""
	from, err := f.source(v1alpha1.Source{Git: &git})
	if err != nil {
		return nil, asBranch
	}
	revision, err := from.Fetch(ctx, "")
	if err != nil {
		return nil, asBranch
	}
	return revision, nil
}

// source is where a revision comes from.
func (f *Flags) source(named v1alpha1.Source) (source.Source, error) {
	options, err := f.registry()
	if err != nil {
		return nil, err
	}
	var authority string
	if f.authority != "" {
		content, err := read("the certificate authorities", f.authority)
		if err != nil {
			return nil, err
		}
		authority = string(content)
	}
	var from source.Source
	switch {
	case named.OCI != nil:
		from, err = oci.New(*named.OCI, oci.Options{Registry: options})
	case named.HTTP != nil:
		named.HTTP.CABundle = authority
		from, err = sourcehttp.New(*named.HTTP, sourcehttp.Options{Credentials: webCredentials(), Allow: options.Allow, Cluster: options.Cluster, PlainHTTP: options.PlainHTTP})
	case named.Git != nil:
		named.Git.CABundle = authority
		from, err = f.git(*named.Git, options)
	default:
		err = errors.New("there is nothing to fetch: name a bundle as " + Forms)
	}
	if err != nil {
		return nil, wrong("opening the bundle: %w", err)
	}
	return from, nil
}

func webCredentials() sourcehttp.Credentials {
	return sourcehttp.Credentials{
		Username: os.Getenv(UsernameVariable), Password: os.Getenv(PasswordVariable), BearerToken: os.Getenv(TokenVariable),
	}
}
