//go:build goexperiment.jsonv2

package trivy

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/portcullis-dev/portcullis/scanner"
)

// Version is that of the Trivy that is linked, as go.mod has it.
const Version = "0.74.0"

// Options say how an image is analysed. Database is required.
type Options struct {
	// Name is the image as SBOMs show it: "ghcr.io/acme/app"; what follows an @ is left out. It may be empty.
	Name string
	// Digest is what the manifest has to hash to, "" for whatever it does.
	Digest string

	// Database is the directory that holds trivy.db and metadata.json. DatabaseDigest is reported as it is.
	Database       string
	DatabaseDigest string
	// JavaDatabase is the directory that holds trivy-java.db and metadata.json. Without it an image with Java
	// archives is unscannable.
	JavaDatabase string

	// Cache is the directory in which the analysis of layers is kept, so that a new vulnerability database is
	// asked without reading layers again. Empty keeps nothing. Several processes may share it.
	Cache string
	// CacheSize is how many bytes are kept there, zero for DefaultCacheSize.
	CacheSize int64

	// NoSecrets leaves out the search for credentials in files and in the image's configuration.
	NoSecrets bool
	// NoLicenses leaves out what Debian's copyright files say, for the SBOM. Other package managers name licences
	// in their databases.
	NoLicenses bool
	// NoSBOM leaves out both SBOMs.
	NoSBOM bool
	// LockFiles also counts what the lock files of package managers for languages name. They say what a build wanted:
	// a test's lock file in a library counts as much as the application's. "trivy image" leaves them out.
	LockFiles bool
	// LicenseFiles searches all files for licence texts, which takes long.
	LicenseFiles bool

	Limits Limits
	// Parallel is how many layers and files are read at once, zero for one per core.
	Parallel int
	// Now is the clock, nil for the system's.
	Now func() time.Time
}

// Limits bound what one image may cost. A zero is the default. An image beyond them is unscannable.
type Limits struct {
	// Unpacked is the size of all layers unpacked, in bytes.
	Unpacked int64
	// Ratio is how many bytes one byte of a layer may unpack to, beyond a first RatioFree bytes.
	Ratio int64
	// Entries is the number of files, directories and links in all layers.
	Entries int64
	// Layers is their number.
	Layers int
}

// The defaults of the limits. The largest images in wide use, those of machine learning, unpack to about 20 GB in
// 300,000 files. Text and empty blocks shrink to a hundredth, gzip reaches 1032 to 1 with zeros only. Docker stops at
// 127 layers.
const (
	DefaultUnpacked = 32 << 30
	DefaultRatio    = 200
	DefaultEntries  = 2_000_000
	DefaultLayers   = 512
	// RatioFree bytes of a layer may unpack at any ratio: an empty disk image of a test is no bomb.
	RatioFree = 256 << 20
	// DefaultCacheSize holds the layers of some thousand images.
	DefaultCacheSize = 1 << 30
)

// Result is what is known of an image.
type Result struct {
	Report scanner.Report
	// CycloneDX and SPDX are the SBOM in both forms (CycloneDX 1.7 and SPDX 2.3 as JSON), nil where the image could
	// not be read or nobody wants them. They are the same bytes for the same image, name and time.
	CycloneDX, SPDX []byte
}

// Analyse says what is in an image. An error means that the analysis failed and may succeed another time, or that it
// cannot begin: a database that cannot be read, a layer that ends early, bytes that do not match their digest. What is
// wrong with the image itself is no error; the report's state and reasons say it.
func Analyse(ctx context.Context, image v1.Image, options Options) (Result, error) {
	options = options.withDefaults()
	report := newReport(options.Now())

	subject, err := openImage(image, options)
	if err != nil {
		return refused(report, options, err)
	}
	release, err := acquire(ctx)
	if err != nil {
		return Result{}, err
	}
	defer release()

	database, err := openDatabase(options.Database)
	if err != nil {
		return Result{}, err
	}
	defer database.close()
	report.Database = database.describe(options.DatabaseDigest)

	found, err := inspect(ctx, subject, database, options)
	if err != nil {
		return refused(report, options, err)
	}
	fill(&report, found)
	report.FinishedAt = stamp(options.Now())
	result := Result{Report: report}
	if options.NoSBOM {
		return result, nil
	}
	if result.CycloneDX, result.SPDX, err = materials(ctx, found.report, subject.digest, report.StartedAt); err != nil {
		return Result{}, err
	}
	return result, nil
}

// refused makes a report of an unscannable image, and passes on all other errors.
func refused(report scanner.Report, options Options, err error) (Result, error) {
	var unscannable *unscannableError
	if !errors.As(err, &unscannable) {
		return Result{}, err
	}
	report.State = scanner.StateUnscannable
	report.Reasons = []string{unscannable.reason}
	report.FinishedAt = stamp(options.Now())
	return Result{Report: report}, nil
}

// unscannableError says in words for people why an image cannot be analysed, now or later.
type unscannableError struct{ reason string }

func (e *unscannableError) Error() string { return e.reason }

func unscannable(format string, arguments ...any) error {
	return &unscannableError{reason: fmt.Sprintf(format, arguments...)}
}

func (o Options) withDefaults() Options {
	set(&o.Limits.Unpacked, DefaultUnpacked)
	set(&o.Limits.Ratio, DefaultRatio)
	set(&o.Limits.Entries, DefaultEntries)
	set(&o.Limits.Layers, DefaultLayers)
	set(&o.CacheSize, DefaultCacheSize)
	set(&o.Parallel, runtime.GOMAXPROCS(0))
	o.Name, _, _ = strings.Cut(o.Name, "@")
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func set[T int | int64](value *T, fallback T) {
	if *value <= 0 {
		*value = fallback
	}
}

// process is held by whoever uses Trivy: its database, its logger and the rules of its secret scanner are variables of
// the process (trivy#10542 is the crash of two that did not take turns).
var process = make(chan struct{}, 1)

func acquire(ctx context.Context) (release func(), err error) {
	select {
	case process <- struct{}{}:
		return func() { <-process }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for another analysis: %w", context.Cause(ctx))
	}
}
