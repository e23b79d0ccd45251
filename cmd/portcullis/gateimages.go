package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/evidence"
	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/cmd/internal/registryflags"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/spf13/pflag"
)

// evidenceTimeout is how long one image's signatures and attestations may take: a registry that
// is slow is waited for, one that is dead must not hang a pipeline.
const evidenceTimeout = 2 * time.Minute

// imageFlags say which images are judged, and what is known of them from where.
type imageFlags struct {
	images                []string
	noImages, offline     bool
	evidence, trustedRoot string
	cache                 string
	registries            registryflags.Flags
	scan                  scanFlags
}

// register adds the flags of images that manifests name; --image is the gate's alone.
func (f *imageFlags) register(flags *pflag.FlagSet) {
	f.registerEvidence(flags)
	f.scan.register(flags)
}

// registerEvidence adds those about what others have signed.
func (f *imageFlags) registerEvidence(flags *pflag.FlagSet) {
	f.scan.when = scanNever
	flags.BoolVar(&f.noImages, "no-images", false, "ask nobody about images: policies that read signatures, attestations, configurations or scans are undecided")
	flags.BoolVar(&f.offline, "offline", false, "use no network for images: what is known of them is in oci: and tar: images, --evidence and the cache")
	flags.StringVar(&f.evidence, "evidence", "", "`directory` with attestations as files (Sigstore bundles or DSSE envelopes), or an OCI image layout with images and their signatures; counts by its signatures, as in a registry")
	flags.StringVar(&f.trustedRoot, "trusted-root", "", "trusted_root.json `file` of Sigstore that keyless signatures and log entries are verified with")
	flags.StringVar(&f.cache, "cache-dir", "", "`directory` for verified evidence, layers, analyses and the vulnerability database (default: portcullis in the user's cache directory)")
	f.registries.DockerConfig = registryflags.UserDockerConfig()
	f.registries.Register(flags)
}

// check finds flags that contradict each other.
func (f *imageFlags) check() error {
	if f.noImages && len(f.images) > 0 {
		return usagef("--no-images and --image contradict each other: leave one out")
	}
	return f.scan.check()
}

// gateImages is what images are judged with in one run.
type gateImages struct {
	// facts gathers evidence; nil where no policy reads any.
	facts admission.Facts
	// fresh asks again what facts may remember of an earlier run; nil where it cannot.
	fresh admission.Facts
	// documents are the images that --image names.
	documents []source.Document
	// hosts are the registries of images that are in none of the layouts.
	hosts []string

	mu      sync.Mutex
	closers []func()
}

// open reads what --image names and, where the policies read evidence, checks what the other flags
// name. Nothing is asked of a registry and nothing is written before a policy that matches reads some.
func (f *imageFlags) open(ctx context.Context, lineup *admission.Lineup, stderr io.Writer) (*gateImages, error) {
	g := &gateImages{}
	if f.noImages {
		g.facts = gate.Unasked("nobody was asked: leave --no-images out")
		return g, nil
	}
	sources := &imageSources{remote: noNetwork{}}
	err := g.open(ctx, f.images, sources)
	if err == nil && readsImages(lineup) {
		err = f.connect(g, sources, stderr)
	}
	if err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// open opens the images that were named.
func (g *gateImages) open(ctx context.Context, arguments []string, sources *imageSources) error {
	for _, text := range arguments {
		argument, err := parseImageArgument(ctx, text)
		if err != nil {
			return err
		}
		if layout := argument.layout; layout != nil {
			g.atClose(func() { _ = layout.Close() })
			sources.layouts = append(sources.layouts, heldLayout{layout, registry.Repository{Registry: argument.parsed.Registry, Path: argument.parsed.Repository}})
		} else {
			g.hosts = append(g.hosts, argument.parsed.Registry)
		}
		document, err := source.FromImage(argument.image)
		if err != nil {
			return err
		}
		g.documents = append(g.documents, document)
	}
	return nil
}

// connect makes what gathers evidence.
func (f *imageFlags) connect(g *gateImages, sources *imageSources, stderr io.Writer) error {
	client, err := f.client(g)
	if err != nil {
		return usageError{err}
	}
	if !f.offline {
		sources.remote = client
	}
	var roots *cosign.Roots
	if f.trustedRoot != "" {
		if roots, err = cosign.NewRoots(f.trustedRoot); err != nil {
			return usagef("%w: correct --trusted-root", err)
		}
	}
	verifier := &evidenceVerifier{Verifier: cosign.NewVerifier(cosign.Options{Roots: roots}), rootless: roots == nil}
	options := evidence.Options{
		Registry: sources, Verifier: verifier, NoOwners: "a gate sees no pods that run",
		Timeout: evidenceTimeout, FlightTimeout: evidenceTimeout,
	}
	if roots != nil {
		options.TrustedRoot = func() string { _, hash := roots.Current(); return hash }
	}
	if err := f.openEvidence(g, sources, verifier); err != nil {
		return err
	}
	cache := f.cacheDir()
	if cache != "" && len(sources.layouts) == 0 && verifier.files == nil {
		// What comes from files is not to be taken for what the registry has.
		options.Directory = filepath.Join(cache, "evidence")
	}
	var scanner *gateScanner
	if f.scan.when != scanNever {
		scanner = &gateScanner{flags: f.scan, sources: sources, offline: f.offline, cache: cache, log: warnings(stderr)}
		g.atClose(scanner.close)
	}
	with := func(options evidence.Options) *lazyFacts {
		return &lazyFacts{open: func() (admission.Facts, error) {
			facts, err := evidence.New(gate.NewFacts(nil, nil), options)
			if err != nil {
				return nil, err
			}
			g.atClose(facts.Close)
			if scanner == nil {
				return facts, nil
			}
			return &gate.Scans{Around: facts, Scanner: scanner, Always: f.scan.when == scanAlways}, nil
		}}
	}
	g.facts = with(options)
	if !f.offline && options.Directory != "" && isDirectory(options.Directory) {
		options.Directory = ""
		g.fresh = with(options)
	}
	return nil
}

// client reaches the registries of images that --image names wherever they are: the user names them. Manifests
// may be somebody else's, whose images are to lead nobody into the network of the pipeline.
func (f *imageFlags) client(g *gateImages) (*registry.Client, error) {
	options, err := f.registries.Options()
	if err != nil {
		return nil, err
	}
	options.Allow = append(slices.Clone(options.Allow), g.hosts...)
	return registry.New(options)
}

// warnings writes what a run should not hide, though it changes no verdict.
func warnings(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// openEvidence takes in what --evidence names.
func (f *imageFlags) openEvidence(g *gateImages, sources *imageSources, verifier *evidenceVerifier) error {
	if f.evidence == "" {
		return nil
	}
	if !isDirectory(f.evidence) {
		return usagef("opening the evidence: %s is no directory: name one with attestations or an OCI image layout in it, or leave --evidence out", f.evidence)
	}
	if isLayout(f.evidence) {
		layout, err := registry.NewLayout(f.evidence)
		if err != nil {
			return usagef("%w: check --evidence", err)
		}
		g.atClose(func() { _ = layout.Close() })
		sources.layouts = append(sources.layouts, heldLayout{layout: layout})
		return nil
	}
	statements, err := readStatements(f.evidence)
	if err != nil {
		return usagef("%w: check --evidence", err)
	}
	verifier.files = statements
	return nil
}

// cacheDir is where what outlives the run is kept, "" where nobody can tell.
func (f *imageFlags) cacheDir() string {
	if f.cache != "" {
		// The scanner's child, which reads databases and layers there, has a working directory of its own.
		if absolute, err := filepath.Abs(f.cache); err == nil {
			return absolute
		}
		return f.cache
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return "" // without a home; whoever needs the folder says so
	}
	return filepath.Join(user, "portcullis")
}

// atClose notes what is to be done in the end. It is called by several goroutines.
func (g *gateImages) atClose(end func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closers = append(g.closers, end)
}

// close ends what the run began, the last first.
func (g *gateImages) close() {
	for _, end := range slices.Backward(g.closers) {
		end()
	}
	g.closers = nil
}

// evidenceVerifier is cosign's verifier as package evidence calls it, with the attestations in files
// beside those in the registry.
type evidenceVerifier struct {
	*cosign.Verifier
	files *filedStatements // nil for none
	// rootless is set without --trusted-root.
	rootless bool
}

// Verify implements evidence.Verifier.
func (v *evidenceVerifier) Verify(ctx context.Context, from evidence.Registry, repository registry.Repository, digest string, trust *signer.Configuration) (signer.Evidence, error) {
	if v.rootless && onlyKeyless(trust.For(repository.Registry, repository.Path)) {
		return signer.Evidence{}, fmt.Errorf("verifying who signed %s: keyless signatures, the only ones trusted for it, cannot be verified without a trusted root: give --trusted-root FILE", repository)
	}
	found, err := v.Verifier.Verify(ctx, from, cosign.Target{Repository: repository, Digest: digest}, trust)
	if err != nil || v.files == nil {
		return found, err
	}
	found.Attestations = append(found.Attestations, v.files.about(ctx, v.Verifier, repository, digest, trust)...)
	return found, nil
}

// onlyKeyless says that there are authorities, none of which can sign with a key.
func onlyKeyless(authorities []*signer.CheckedAuthority) bool {
	return len(authorities) > 0 && !slices.ContainsFunc(authorities, func(a *signer.CheckedAuthority) bool { return len(a.PublicKeys) > 0 })
}

// lazyFacts opens what gathers facts when somebody asks for the first time: most runs never do.
type lazyFacts struct {
	open  func() (admission.Facts, error)
	once  sync.Once
	facts admission.Facts
}

// Gather implements admission.Facts.
func (l *lazyFacts) Gather(ctx context.Context, needs policies.Needs) policies.Facts {
	l.once.Do(func() {
		facts, err := l.open()
		if err != nil {
			facts = gate.Unasked(err.Error())
		}
		l.facts = facts
	})
	return l.facts.Gather(ctx, needs)
}
