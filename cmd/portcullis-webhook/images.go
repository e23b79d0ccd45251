package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/evidence"
	"github.com/portcullis-dev/portcullis/admission/evidence/cluster"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/portcullis-dev/portcullis/cmd/internal/metrics"
	"github.com/portcullis-dev/portcullis/cmd/internal/registryflags"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner/queue"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/spf13/pflag"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// imageFlags say how images are judged.
type imageFlags struct {
	registries  registryflags.Flags
	trustedRoot string
	pullSecrets bool
	queueScans  bool

	cacheDir                          string
	cacheAge, refreshAge, negativeAge time.Duration
	cacheBytes                        int
	cacheDirBytes                     int64
}

func (f *imageFlags) register(set *pflag.FlagSet) {
	set.StringVar(&f.trustedRoot, "trusted-root", "", "trusted_root.json `file` of Sigstore that keyless signatures and log entries are verified with, watched for changes")
	f.registries.Register(set)
	set.BoolVar(&f.pullSecrets, "use-pull-secrets", false, "read images with the pull secrets of their pods, too; needs the right to read Secrets")
	set.BoolVar(&f.queueScans, "queue-scans", false, "ask for scans that are missing, and read signed ones, in ImageScan objects; needs the right to get, create and update them")
	set.StringVar(&f.cacheDir, "evidence-cache-dir", "", "`folder` that keeps what positive verifications rest on, for after a restart; only in memory by default")
	set.DurationVar(&f.cacheAge, "evidence-cache-age", evidence.DefaultAge, "longest `time` that verified evidence is used without asking the registry again")
	set.DurationVar(&f.refreshAge, "evidence-refresh-age", evidence.DefaultRefreshAge, "`time` after which evidence in use is verified anew in the background")
	set.DurationVar(&f.negativeAge, "evidence-negative-age", evidence.DefaultNegativeAge, "`time` that it is remembered that a signature or a scan is missing")
	set.IntVar(&f.cacheBytes, "evidence-cache-bytes", evidence.DefaultMaxBytes, "memory in `bytes` for evidence about images")
	set.Int64Var(&f.cacheDirBytes, "evidence-cache-dir-bytes", evidence.DefaultMaxDiskBytes, "`bytes` of files in --evidence-cache-dir")
}

// check finds flags that contradict each other.
func (f *imageFlags) check(noCluster bool) error {
	switch {
	case f.pullSecrets && noCluster:
		return usagef("--use-pull-secrets and --no-cluster contradict each other: leave one out")
	case f.queueScans && noCluster:
		return usagef("--queue-scans and --no-cluster contradict each other: leave one out")
	case f.cacheAge <= 0 || f.refreshAge <= 0 || f.negativeAge <= 0:
		return usagef("--evidence-cache-age, --evidence-refresh-age and --evidence-negative-age are times above 0: leave them out for the defaults")
	case f.cacheBytes <= 0 || f.cacheDirBytes <= 0:
		return usagef("--evidence-cache-bytes and --evidence-cache-dir-bytes are numbers above 0: leave them out for the defaults")
	}
	return nil
}

// images is what images are judged with.
type images struct {
	flags    *imageFlags
	registry *registry.Client
	// registryOptions are those of registry, for bundles.
	registryOptions registry.Options
	credentials     registry.Credentials // the operator's
	roots           *cosign.Roots        // nil without --trusted-root
	cluster         dynamic.Interface    // nil with --no-cluster
}

// open checks what the flags name.
func (f *imageFlags) open(config *rest.Config) (*images, error) {
	i := &images{flags: f}
	options, err := f.registries.Options()
	if err == nil {
		i.credentials, i.registryOptions = options.Credentials, options
		i.registry, err = registry.New(options)
	}
	if path := (*fs.PathError)(nil); err != nil && !errors.As(err, &path) {
		return nil, usageError{err}
	}
	if err != nil {
		return nil, err
	}
	if f.trustedRoot != "" {
		if i.roots, err = cosign.NewRoots(f.trustedRoot); err != nil {
			return nil, fmt.Errorf("%w: correct --trusted-root", err)
		}
	}
	if config == nil {
		return i, nil
	}
	config = rest.CopyConfig(config)
	// One read for each pod of a controller: a client that throttles itself would turn a burst into deadlines missed
	// (kyverno#3390).
	config.QPS, config.Burst = 200, 400
	if i.cluster, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	return i, nil
}

// accepts says why a bundle cannot be judged by: its trust takes a trusted root, and there is none.
func (i *images) accepts(bundle *policies.Bundle) error {
	if i.roots == nil && bundle.Trust().NeedsTrustedRoot() {
		return errors.New("the bundle trusts keyless identities or wants a transparency log, and there is no trusted root to verify them with: give --trusted-root")
	}
	return nil
}

// facts are those of the cluster and of images.
func (i *images) facts(around admission.Facts, logger *slog.Logger, shown *metrics.Registry, tasks *background) (admission.Facts, error) {
	counts := evidence.NewMetrics()
	verifies := verifier{cosign.NewVerifier(cosign.Options{Roots: i.roots})}
	options := evidence.Options{
		Registry: i.registry, Verifier: verifies,
		NoOwners:  "the webhook runs with --no-cluster",
		Directory: i.flags.cacheDir, MaxDiskBytes: i.flags.cacheDirBytes, MaxBytes: i.flags.cacheBytes,
		Age: i.flags.cacheAge, RefreshAge: i.flags.refreshAge, NegativeAge: i.flags.negativeAge,
		Metrics: counts, Logger: logger,
	}
	if i.roots != nil {
		options.TrustedRoot = func() string { _, hash := i.roots.Current(); return hash }
	}
	if i.cluster != nil {
		options.Owners = cluster.New(i.cluster)
	}
	if i.flags.pullSecrets {
		options.PullSecrets, options.WithCredentials = cluster.New(i.cluster), i.withCredentials
	}
	if i.flags.queueScans {
		objects := queue.NewClient(i.cluster)
		options.Queue = queue.NewAsker(objects, queue.AskerOptions{By: "portcullis-webhook"})
		options.Statements = &statements{objects: objects, verifier: verifies.Verifier}
	}
	facts, err := evidence.New(around, options)
	if err != nil {
		return nil, err
	}
	shown.MustRegister(counts)
	*tasks = append(*tasks, func(ctx context.Context) {
		<-ctx.Done()
		facts.Close()
	})
	return facts, nil
}

// withCredentials reads registries with pull secrets first and then, as a node does, with the operator's credentials.
func (i *images) withCredentials(secrets registry.Credentials) evidence.Registry {
	return i.registry.WithCredentials(registry.Chain{secrets, i.credentials})
}

// check is the readiness of the trusted root. A file that has been replaced by one that cannot be used leaves the last good
// one in place, and keeps no replica from being ready: all would go at once.
func (i *images) check() webhook.Check {
	check := webhook.Check{Name: "trusted root", Check: func() error { return nil }}
	if i.roots == nil {
		return check
	}
	check.Check = func() error {
		if material, _ := i.roots.Current(); material == nil {
			return i.roots.Check()
		}
		return nil
	}
	check.Notes = func() []string {
		if err := i.roots.Check(); err != nil {
			return []string{err.Error() + ": the last good one is used"}
		}
		return nil
	}
	return check
}

// verifier is cosign's for the evidence that policies read.
type verifier struct{ *cosign.Verifier }

// Verify implements [evidence.Verifier].
func (v verifier) Verify(ctx context.Context, source evidence.Registry, repository registry.Repository, digest string, trust *signer.Configuration) (signer.Evidence, error) {
	return v.Verifier.Verify(ctx, source, cosign.Target{Repository: repository, Digest: digest}, trust)
}

// statements are the scans in ImageScan objects. Anybody may have written those: only what an authority has signed about this
// very digest counts.
type statements struct {
	objects interface {
		Statement(ctx context.Context, digest string) ([]byte, error)
	}
	verifier *cosign.Verifier
}

// Statements implements [evidence.Statements].
func (s *statements) Statements(ctx context.Context, repository registry.Repository, digest string, trust *signer.Configuration) ([]signer.Attestation, error) {
	content, err := s.objects.Statement(ctx, digest)
	if err != nil || content == nil {
		return nil, err
	}
	attestations, _ := s.verifier.VerifyEnvelope(ctx, content, digest, repository, trust)
	return attestations, nil
}
