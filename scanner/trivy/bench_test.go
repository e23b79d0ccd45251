//go:build goexperiment.jsonv2

package trivy_test

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	trivydb "github.com/aquasecurity/trivy-db/pkg/db"
	dbtypes "github.com/aquasecurity/trivy-db/pkg/types"
	"github.com/aquasecurity/trivy/pkg/cache"
	"github.com/aquasecurity/trivy/pkg/db"
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
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// plainImage is an image as Trivy itself would scan it.
type plainImage struct{ v1.Image }

func (i plainImage) Name() string          { return "image" }
func (i plainImage) RepoTags() []string    { return nil }
func (i plainImage) RepoDigests() []string { return nil }
func (i plainImage) ID() (string, error) {
	hash, err := i.ConfigName()
	return hash.String(), err
}

// plainTrivy is what "trivy image" runs between its flags and its output, with its default scanners.
func plainTrivy(b *testing.B, i v1.Image, database string) int {
	b.Helper()
	if err := db.Init(database); err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	memory := cache.NewMemoryCache()
	off := append([]analyzer.Type{analyzer.TypeExecutable, analyzer.TypeHistoryDockerfile, analyzer.TypeApkCommand, analyzer.TypeRpmArchive, analyzer.TypeJar, analyzer.TypeLicenseFile}, analyzer.TypeConfigFiles...)
	a, err := artifactimage.NewArtifact(plainImage{i}, memory, artifact.Option{Type: ftypes.TypeContainerImage, DisabledAnalyzers: append(off, analyzer.TypeLockfiles...), Parallel: 5, NoProgress: true, Offline: true})
	if err != nil {
		b.Fatal(err)
	}
	service := local.NewService(applier.NewApplier(memory), ospkg.NewScanner(), langpkg.NewScanner(), vulnerability.NewClient(trivydb.Config{}))
	report, err := scan.NewService(service, a).ScanArtifact(context.Background(), types.ScanOptions{
		PkgTypes: types.PkgTypes, Scanners: types.Scanners{types.VulnerabilityScanner, types.SecretScanner},
		PkgRelationships: ftypes.Relationships, VulnSeveritySources: []dbtypes.SourceID{"auto"},
	})
	if err != nil {
		b.Fatal(err)
	}
	count := 0
	for _, r := range report.Results {
		count += len(r.Vulnerabilities)
	}
	return count
}

// BenchmarkScan compares the analysis of a Debian image with packages of Node.js and Go with Trivy's own, and with
// that of the same image after an update of the database.
func BenchmarkScan(b *testing.B) {
	i := stored(b, image(b, realDebian(b)...))
	o := realOptions(b)
	want := len(analyse(b, i, o).Report.Vulnerabilities)
	b.Run("trivy", func(b *testing.B) {
		for b.Loop() {
			if got := plainTrivy(b, i, o.Database); got != want {
				b.Fatalf("Trivy finds %d, we found %d", got, want)
			}
		}
	})
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			analyse(b, i, o)
		}
		b.ReportMetric(peak(b), "peak-MB")
	})
	b.Run("rejudged", func(b *testing.B) {
		o.Cache = b.TempDir()
		analyse(b, i, o)
		b.ResetTimer()
		for b.Loop() {
			analyse(b, i, o)
		}
	})
}

// peak is the most memory the process had resident so far, in MB.
func peak(b *testing.B) float64 {
	b.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kB, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kB / 1024
		}
	}
	return 0
}
