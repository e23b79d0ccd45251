package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Defaults of [Options].
const (
	// How long a signature that was withdrawn may still admit while the registry does not answer, and how
	// long an outage of the registry is bridged. A shift change, not a weekend.
	DefaultAge = time.Hour
	// A scan that replaces its predecessor counts after this much time, and an image in use costs its
	// registry a dozen looks an hour.
	DefaultRefreshAge = 5 * time.Minute
	// Pipelines push, sign and attest within seconds; controllers retry a refused pod within ten.
	DefaultNegativeAge = 10 * time.Second
	// Longer than the longest timeout of an API server: what a request did not wait for is known to the next.
	DefaultFlightTimeout = 30 * time.Second
	// Evaluating takes milliseconds; a processor that is busy takes longer.
	DefaultMargin = 250 * time.Millisecond
	// What an image may take where the caller has no deadline: the API server's own default.
	DefaultTimeout = 10 * time.Second
	// Images of one request that are gathered at once.
	DefaultParallel = 8
	// Some thousand images are more than most clusters run; an image without SBOM takes 10 KB.
	DefaultMaxEntries = 4096
	DefaultMaxBytes   = 32 << 20
	// What is kept on disk.
	DefaultMaxDiskBytes = 256 << 20
)

// Registry is where an image and what is attached to it are read, with somebody's credentials. Errors are
// [registry.Error]; content has the digest that was asked for.
type Registry interface {
	Resolve(ctx context.Context, repository registry.Repository, tag string) (registry.Manifest, error)
	Manifest(ctx context.Context, repository registry.Repository, digest string) (registry.Manifest, error)
	Blob(ctx context.Context, repository registry.Repository, digest string, max int64) ([]byte, error)
	Referrers(ctx context.Context, repository registry.Repository, digest string) ([]registry.Descriptor, error)
}

// Verifier says what of the things attached to a digest counts. An error is that it could not be found out.
type Verifier interface {
	Verify(ctx context.Context, source Registry, repository registry.Repository, digest string, trust *signer.Configuration) (signer.Evidence, error)
}

// Statements are attestations about a digest that are kept elsewhere than in its registry. It returns only
// those whose signature an authority that trust names has made over this digest.
type Statements interface {
	Statements(ctx context.Context, repository registry.Repository, digest string, trust *signer.Configuration) ([]signer.Attestation, error)
}

// Queue takes requests for scans. It says when the scan may be done.
type Queue interface {
	Ask(ctx context.Context, repository registry.Repository, digest string) (retryAfter time.Duration, err error)
}

// PullSecrets are the credentials in the pull secrets of these names and in those of these service accounts of a
// namespace.
type PullSecrets interface {
	PullSecrets(ctx context.Context, namespace string, serviceAccounts, secrets []string) (registry.Credentials, error)
}

// Options of [Facts].
type Options struct {
	// Registry reads with the operator's credentials. Required, as is Verifier.
	Registry Registry
	Verifier Verifier
	// TrustedRoot is the hash of the trusted root that Verifier uses now; nil where there is none.
	TrustedRoot func() string
	// Statements and Queue may be nil: there are none.
	Statements Statements
	Queue      Queue
	// PullSecrets may be nil: only the operator's credentials are used. WithCredentials is Registry with others.
	PullSecrets     PullSecrets
	WithCredentials func(registry.Credentials) Registry
	// Owners may be nil: whether a controller's pod is a replacement is then unknown, because of NoOwners.
	Owners   Owners
	NoOwners string
	// Directory keeps what positive verifications rest on, "" for nothing; MaxDiskBytes of it.
	Directory    string
	MaxDiskBytes int64
	// Age, RefreshAge, NegativeAge: see the package. Zero ones have the defaults.
	Age, RefreshAge, NegativeAge time.Duration
	// FlightTimeout limits a verification, Margin is kept back from the deadline of a request, Timeout is for
	// requests without deadline.
	FlightTimeout, Margin, Timeout time.Duration
	// Parallel is how many images of a request are gathered at once.
	Parallel int
	// MaxEntries and MaxBytes bound what is kept in memory.
	MaxEntries, MaxBytes int
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// Metrics count; nil counts nothing. Logger hears of what nobody else does; nil discards.
	Metrics *Metrics
	Logger  *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Age = cmp.Or(o.Age, DefaultAge)
	o.RefreshAge = min(cmp.Or(o.RefreshAge, DefaultRefreshAge), o.Age)
	o.NegativeAge = cmp.Or(o.NegativeAge, DefaultNegativeAge)
	o.FlightTimeout = cmp.Or(o.FlightTimeout, DefaultFlightTimeout)
	o.Margin = cmp.Or(o.Margin, DefaultMargin)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Parallel = cmp.Or(o.Parallel, DefaultParallel)
	o.MaxEntries = cmp.Or(o.MaxEntries, DefaultMaxEntries)
	o.MaxBytes = cmp.Or(o.MaxBytes, DefaultMaxBytes)
	o.MaxDiskBytes = cmp.Or(o.MaxDiskBytes, DefaultMaxDiskBytes)
	if o.TrustedRoot == nil {
		o.TrustedRoot = func() string { return "" }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	return o
}

// Facts is a source of facts for [admission.Reviewer]. It may be used by any number of goroutines.
type Facts struct {
	around  admission.Facts
	options Options
	store   *store
	flights *flights

	resolutions *memory[registry.Manifest]
	evidence    *memory[*verified]
	statements  *memory[*stated]
	configs     *memory[[]policies.ImageConfig]
	asked       *memory[asking]
	owners      *memory[ownerTemplate]
}

// New makes facts about images around those of a cluster. [Facts.Close] ends what goes on in the background.
func New(around admission.Facts, options Options) (*Facts, error) {
	if options.Registry == nil || options.Verifier == nil {
		return nil, errors.New("gathering evidence about images takes a registry and a verifier")
	}
	if options.PullSecrets != nil && options.WithCredentials == nil {
		return nil, errors.New("using pull secrets takes a registry that can be read with them")
	}
	options = options.withDefaults()
	f := &Facts{around: around, options: options, flights: newFlights(options.FlightTimeout)}
	if options.Directory != "" {
		var err error
		if f.store, err = openStore(options.Directory, options.MaxDiskBytes, options.Age, options.Now); err != nil {
			return nil, fmt.Errorf("opening the evidence cache: %w: choose another --evidence-cache-dir, or leave it out", err)
		}
	}
	f.resolutions = newMemory[registry.Manifest](f, partResolved, 0, 0) // never remembered: only asked once at a time
	f.evidence = newMemory[*verified](f, partEvidence, options.MaxEntries, options.MaxBytes)
	f.statements = newMemory[*stated](f, partStatements, options.MaxEntries, options.MaxBytes/4)
	f.configs = newMemory[[]policies.ImageConfig](f, partConfigs, options.MaxEntries, options.MaxBytes/4)
	f.asked = newMemory[asking](f, partQueue, options.MaxEntries, options.MaxBytes/16)
	f.owners = newMemory[ownerTemplate](f, partOwner, 0, 0)
	options.Metrics.watch(func() (entries, bytes int) { return f.evidence.held() })
	return f, nil
}

// Close ends verifications under way and waits for them.
func (f *Facts) Close() { f.flights.close() }

// Gather adds what is known of images to the facts of the cluster.
func (f *Facts) Gather(ctx context.Context, needs policies.Needs) policies.Facts {
	if !needs.Images.Sections.Any() || len(needs.Images.Images) == 0 {
		return f.around.Gather(ctx, needs)
	}
	var images map[string]policies.ImageFacts
	var group sync.WaitGroup
	group.Go(func() { images = f.gatherImages(ctx, &needs.Images) })
	facts := f.around.Gather(ctx, needs)
	group.Wait()
	facts.Images = images
	return facts
}

// gatherImages looks at all images, some at once, each within its share of the time.
func (f *Facts) gatherImages(ctx context.Context, needs *policies.ImageNeeds) map[string]policies.ImageFacts {
	start := f.options.Now()
	ctx, cancel := withMargin(ctx, f.options.Margin, f.options.Timeout)
	defer cancel()
	gathering := &gathering{Facts: f, needs: needs}
	if f.options.PullSecrets != nil {
		gathering.secrets = sync.OnceValues(func() (registry.Credentials, error) { return gathering.readSecrets(ctx) })
	}
	found := make([]policies.ImageFacts, len(needs.Images))
	budget := newBudget(ctx, len(needs.Images), f.options.Parallel)
	var group sync.WaitGroup
	var owner replacement
	if needs.Sections.Replacement {
		group.Go(func() { owner = gathering.replacement(ctx) })
	}
	one := func(n int) {
		own, done := budget.begin(ctx)
		defer done()
		found[n] = gathering.imageGuarded(own, needs.Images[n])
	}
	for n := range needs.Images[1:] {
		group.Go(func() { one(n + 1) })
	}
	one(0) // most pods have one image, which is known already: no goroutine for that
	group.Wait()
	images := make(map[string]policies.ImageFacts, len(found))
	for n, image := range needs.Images {
		if needs.Sections.Replacement {
			found[n].Replacement, found[n].Unknown.Replacement = owner.of(image)
		}
		images[image.Ref] = found[n]
	}
	f.options.Metrics.gathered(f.options.Now().Sub(start))
	return images
}
