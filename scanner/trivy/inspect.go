//go:build goexperiment.jsonv2

package trivy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	trivydb "github.com/aquasecurity/trivy-db/pkg/db"
	dbtypes "github.com/aquasecurity/trivy-db/pkg/types"
	"github.com/aquasecurity/trivy/pkg/clock"
	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	"github.com/aquasecurity/trivy/pkg/fanal/applier"
	"github.com/aquasecurity/trivy/pkg/fanal/artifact"
	artifactimage "github.com/aquasecurity/trivy/pkg/fanal/artifact/image"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/scan"
	"github.com/aquasecurity/trivy/pkg/scan/langpkg"
	"github.com/aquasecurity/trivy/pkg/scan/local"
	"github.com/aquasecurity/trivy/pkg/scan/ospkg"
	"github.com/aquasecurity/trivy/pkg/types"
	"github.com/aquasecurity/trivy/pkg/vulnerability"
)

// finding is what was found in an image, before it is judged.
type finding struct {
	report     types.Report
	seen       seen
	blobs      []ftypes.BlobInfo
	complaints []string
	thirdParty int64 // packages that were not looked up, since they are not the distribution's own
	database   *database
	java       bool // archives could be named
}

// inspect runs Trivy over an image.
func inspect(ctx context.Context, subject *image, database *database, options Options) (finding, error) {
	java, done, err := openJava(options.JavaDatabase)
	if err != nil {
		return finding{}, err
	}
	defer done()
	complaints, stop := listen()
	defer stop()

	cache := newLayerCache(subject, options, java)
	artifact, err := artifactimage.NewArtifact(subject, cache, artifactOption(options))
	if err != nil {
		return finding{}, fmt.Errorf("preparing the analysis: %w", err)
	}
	judge := local.NewService(applier.NewApplier(cache), ospkg.NewScanner(), langpkg.NewScanner(), vulnerability.NewClient(trivydb.Config{}))
	report, err := scan.NewService(judge, artifact).ScanArtifact(withClock(ctx, options.Now()), scanOptions(options))
	// What the layers say is the cause; what Trivy makes of it, if anything, is the consequence.
	if cause := subject.failure(); cause != nil {
		return finding{}, cause
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return finding{}, analysisError(err)
	}
	found := finding{report: report, complaints: complaints.sorted(), thirdParty: complaints.skipped(), database: database, java: options.JavaDatabase != ""}
	if err := found.gather(subject, cache); err != nil {
		return finding{}, err
	}
	if len(found.complaints) == 0 {
		if err := cache.keep(); err != nil {
			return finding{}, err
		}
	}
	return found, nil
}

// analysisError tells what is wrong with the image from what is wrong with the machine. Analysers of single files only
// log that they failed; those that see several files at once end Trivy's scan, and would do so each time.
func analysisError(err error) error {
	machine := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) || errors.Is(err, fs.ErrPermission)
	if !machine && strings.Contains(err.Error(), "post analysis error") {
		return unscannable("files in it could not be parsed: %s", printable(err.Error()))
	}
	return fmt.Errorf("analysing the image: %w", err)
}

// gather collects what is known of the layers beside Trivy's report.
func (f *finding) gather(subject *image, cache *layerCache) error {
	var layers []seen
	for _, l := range subject.layers {
		of, verified := subject.layer(l.diffID.String()).known()
		if !verified {
			return fmt.Errorf("the layer %s was not read to its end: scan the image again", l.descriptor.Digest)
		}
		layers = append(layers, of)
	}
	f.seen = merge(layers)
	for _, blob := range cache.blobs {
		f.blobs = append(f.blobs, blob)
	}
	return nil
}

// artifactOption says how layers are read.
func artifactOption(options Options) artifact.Option {
	return artifact.Option{
		Type:              ftypes.TypeContainerImage,
		DisabledAnalyzers: disabled(options),
		Parallel:          options.Parallel,
		NoProgress:        true,
		Offline:           true,
		// Trivy's configuration file of the working directory is not asked for.
		SecretScannerOption:  analyzer.SecretScannerOption{},
		LicenseScannerOption: analyzer.LicenseScannerOption{Full: options.LicenseFiles, ClassifierConfidenceLevel: 0.9},
	}
}

// disabled are the analysers that do not run: those of configuration files, which are not about packages and read
// archives of charts without bounds (CVE-2026-54448); those of lock files, which name what a build wanted and not
// what is in the image, as in "trivy image"; and those that only serve functions that are not used.
func disabled(options Options) []analyzer.Type {
	off := append([]analyzer.Type{
		analyzer.TypeExecutable, analyzer.TypeHistoryDockerfile, analyzer.TypeApkCommand, analyzer.TypeRpmArchive,
	}, analyzer.TypeConfigFiles...)
	if !options.LockFiles {
		off = append(off, analyzer.TypeLockfiles...)
	}
	if options.NoSecrets {
		off = append(off, analyzer.TypeSecret, analyzer.TypeImageConfigSecret)
	}
	if options.NoLicenses {
		off = append(off, analyzer.TypeDpkgLicense)
	}
	if !options.LicenseFiles {
		off = append(off, analyzer.TypeLicenseFile)
	}
	if options.JavaDatabase == "" {
		// Without a database the first archive would end the scan with an error. What was seen makes the image
		// unscannable, and everything else in it is still reported.
		off = append(off, analyzer.TypeJar)
	}
	return off
}

// scanOptions say what is looked up. The zero values of the first, second and last field find nothing or make every
// severity unknown, without an error.
func scanOptions(options Options) types.ScanOptions {
	scanners := types.Scanners{types.VulnerabilityScanner}
	if !options.NoSecrets {
		scanners = append(scanners, types.SecretScanner)
	}
	return types.ScanOptions{
		PkgTypes:            types.PkgTypes,
		PkgRelationships:    ftypes.Relationships,
		Scanners:            scanners,
		ImageConfigScanners: nil,
		VulnSeveritySources: []dbtypes.SourceID{"auto"},
	}
}

// withClock is the clock that Trivy takes from a context.
func withClock(ctx context.Context, now time.Time) context.Context { return clock.With(ctx, now.UTC()) }
