package judging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/evidence"
	"github.com/portcullis-dev/portcullis/cmd/internal/registryflags"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// ImageFlags say how the images of pods are looked up.
type ImageFlags struct {
	registries  registryflags.Flags
	trustedRoot string
	cacheDir    string
}

// Register adds the flags to a set.
func (f *ImageFlags) Register(set *pflag.FlagSet) {
	set.StringVar(&f.trustedRoot, "trusted-root", "", "trusted_root.json `file` of Sigstore that keyless signatures and log entries are verified with, watched for changes")
	f.registries.Register(set)
	set.StringVar(&f.cacheDir, "evidence-cache-dir", "", "`folder` that keeps what positive verifications of images rest on, for after a restart; only in memory by default")
}

// Images is what images are judged with, and bundles verified.
type Images struct {
	flags    *ImageFlags
	options  registry.Options
	registry *registry.Client
	roots    *cosign.Roots // nil without --trusted-root
	scans    Scans         // nil where none are kept in the cluster
	evidence *evidence.Facts
}

// Scans are signed scans that are kept in the cluster. They are believed by their signatures only.
type Scans interface {
	// Statement is the signed scan of a digest, nil for none.
	Statement(ctx context.Context, digest string) ([]byte, error)
}

// KeptIn has images judged by the scans that are kept in the cluster, too. It comes before the judging begins.
func (i *Images) KeptIn(scans Scans) { i.scans = scans }

// Forget has everything found out anew that is remembered of a digest.
func (i *Images) Forget(digest string) {
	if i.evidence != nil {
		i.evidence.Forget(digest)
	}
}

// Open checks what the flags name.
func (f *ImageFlags) Open() (*Images, error) {
	i := &Images{flags: f}
	var err error
	if i.options, err = f.registries.Options(); err == nil {
		i.registry, err = registry.New(i.options)
	}
	if path := (*fs.PathError)(nil); err != nil && !errors.As(err, &path) {
		return nil, usage.New(err)
	}
	if err != nil {
		return nil, err
	}
	if f.trustedRoot != "" {
		if i.roots, err = cosign.NewRoots(f.trustedRoot); err != nil {
			return nil, fmt.Errorf("%w: correct --trusted-root", err)
		}
	}
	return i, nil
}

// accepts says why a bundle cannot be judged by: its trust takes a trusted root, and there is none.
func (i *Images) accepts(bundle *policies.Bundle) error {
	if i.roots == nil && bundle.Trust().NeedsTrustedRoot() {
		return errors.New("the bundle trusts keyless identities or wants a transparency log, and there is no trusted root to verify them with: give --trusted-root")
	}
	return nil
}

// facts are those of the cluster and of images.
func (i *Images) facts(around admission.Facts, noOwners string, register func(...prometheus.Collector), log *slog.Logger) (admission.Facts, error) {
	counts, verifies := evidence.NewMetrics(), cosign.NewVerifier(cosign.Options{Roots: i.roots})
	options := evidence.Options{
		Registry: i.registry, Verifier: verifier{verifies},
		NoOwners:  noOwners,
		Directory: i.flags.cacheDir, Metrics: counts, Logger: log,
	}
	if i.roots != nil {
		options.TrustedRoot = func() string { _, hash := i.roots.Current(); return hash }
	}
	if i.scans != nil {
		options.Statements = &statements{i.scans, verifies}
	}
	facts, err := evidence.New(around, options)
	if err != nil {
		return nil, err
	}
	register(counts)
	i.evidence = facts
	return facts, nil
}

// Close ends what is under way.
func (i *Images) Close() {
	if i.evidence != nil {
		i.evidence.Close()
	}
}

// verifier is cosign's for the evidence that policies read.
type verifier struct{ *cosign.Verifier }

// Verify implements [evidence.Verifier].
func (v verifier) Verify(ctx context.Context, source evidence.Registry, repository registry.Repository, digest string, trust *signer.Configuration) (signer.Evidence, error) {
	return v.Verifier.Verify(ctx, source, cosign.Target{Repository: repository, Digest: digest}, trust)
}

// statements are the scans in the cluster. Anybody may have written those: only what an authority has signed about this very digest
// counts.
type statements struct {
	scans    Scans
	verifier *cosign.Verifier
}

// Statements implements [evidence.Statements].
func (s *statements) Statements(ctx context.Context, repository registry.Repository, digest string, trust *signer.Configuration) ([]signer.Attestation, error) {
	content, err := s.scans.Statement(ctx, digest)
	if err != nil || content == nil {
		return nil, err
	}
	attestations, _ := s.verifier.VerifyEnvelope(ctx, content, digest, repository, trust)
	return attestations, nil
}
