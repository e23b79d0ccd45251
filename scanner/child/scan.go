package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// Database is a version of the vulnerability database, which must stay until the scan has ended.
type Database struct {
	// Directory holds trivy.db and metadata.json, JavaDirectory trivy-java.db and its metadata.json, "" for none.
	Directory, JavaDirectory string
	// Digest is that of its artifact or file, for reports.
	Digest string
}

// Job is an image to scan.
type Job struct {
	Source     Source
	Repository registry.Repository
	// Digest is that of the image or index.
	Digest   string
	Database Database
	// Platforms are which images of an index are scanned, "linux/amd64"; all for Linux where it is empty. An index with
	// none of them is a [PlatformError].
	Platforms []string
	Secrets   bool
	SBOM      bool
}

// Scan is what was found.
type Scan struct {
	// Report is about the job's digest: of an index, what is in any of its images.
	Report scanner.Report
	// Images are those that were scanned, one for each platform.
	Images []Image
	// LeftOut are the platforms for Linux of the index that [Job.Platforms] kept from being scanned. Where there are any,
	// Report says nothing about the digest as a whole.
	LeftOut []string
}

// Image is one image manifest.
type Image struct {
	Digest string
	// Platform as the index gives it, "" for an image without index.
	Platform string
	// CycloneDX and SPDX are the SBOMs, nil where none was asked for or the image could not be analysed.
	CycloneDX, SPDX []byte
}

// maxPlatforms is above the 18 platforms that the most portable images have.
const maxPlatforms = 32

// Scanner pulls images and has children analyse them.
type Scanner struct {
	Pool  *Pool
	Store *Store

	mu sync.Mutex
	// tested is the database with which the children flagged a known-bad image.
	tested Database
}

// Test has a child flag a known-bad image, once for each version of the database. Before it has, nothing is scanned:
// [Scanner.Scan] calls it.
func (s *Scanner) Test(ctx context.Context, database Database) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tested == database && database != (Database{}) {
		return nil
	}
	if err := s.Pool.SelfTest(ctx, database); err != nil {
		return err
	}
	s.tested = database
	return nil
}

// Scan scans one image or index. An error says that the image could not be fetched, or that nobody waits any longer; trying
// again may help. What the image is at fault for, and a child that died of it, are in the report.
func (s *Scanner) Scan(ctx context.Context, job Job) (Scan, error) {
	tested := s.testMeanwhile(ctx, job.Database)
	scan, err := s.scan(ctx, job, tested)
	if failed := tested(); failed != nil {
		err = failed
	}
	if err != nil {
		return Scan{}, err
	}
	scan.Report.Scanner = s.Pool.Tool() // unknown before the first child had started
	return scan, nil
}

// testMeanwhile begins to [Scanner.Test], which takes as long as a child takes to start, so that images are pulled
// meanwhile. What it returns waits for the result.
func (s *Scanner) testMeanwhile(ctx context.Context, database Database) (tested func() error) {
	result := make(chan error, 1)
	go func() { result <- s.Test(ctx, database) }()
	return sync.OnceValue(func() error { return <-result })
}

// scan is [Scanner.Scan]. No child is asked about the image before tested has returned, and without an error.
func (s *Scanner) scan(ctx context.Context, job Job, tested func() error) (Scan, error) {
	started := s.now()
	m, err := job.Source.Manifest(ctx, job.Repository, job.Digest)
	if err != nil {
		return Scan{}, fmt.Errorf("fetching the manifest of %s@%s: %w", job.Repository, job.Digest, err)
	}
	images, err := choose(m, job.Platforms)
	var refused *RefusedError
	if errors.As(err, &refused) {
		return Scan{Report: s.withoutAnalysis(job, scanner.StateUnscannable, started, refused.Reason)}, nil
	}
	if err != nil {
		return Scan{}, err
	}
	leftOut, err := LeftOut(m, job.Platforms)
	if err != nil {
		return Scan{}, err
	}
	scan := Scan{LeftOut: leftOut}
	var reports []scanner.Report
	for _, image := range images {
		report, err := s.scanImage(ctx, job, m, &image, tested)
		if err != nil {
			return Scan{}, fmt.Errorf("scanning %s@%s: %w", job.Repository, image.Digest, err)
		}
		for i, reason := range report.Reasons {
			if image.Platform != "" {
				report.Reasons[i] = image.Platform + ": " + reason
			}
		}
		reports = append(reports, report)
		scan.Images = append(scan.Images, image)
	}
	scan.Report = scanner.Merge(reports)
	return scan, nil
}

func (s *Scanner) now() string { return s.Pool.options.Now().UTC().Format(time.RFC3339) }

// withoutAnalysis is the report on what no child has said anything about.
func (s *Scanner) withoutAnalysis(job Job, state scanner.State, started, reason string) scanner.Report {
	return scanner.Report{
		State: state, Reasons: []string{reason}, StartedAt: started, FinishedAt: s.now(),
		Scanner: s.Pool.Tool(), Database: scanner.Database{Digest: job.Database.Digest},
		Vulnerabilities: []scanner.Vulnerability{}, Secrets: []scanner.Secret{},
	}
}

// choose picks the images of an index.
func choose(m registry.Manifest, platforms []string) ([]Image, error) {
	if !m.IsIndex() {
		return []Image{{Digest: m.Digest}}, nil
	}
	children, err := m.Children()
	if err != nil {
		return nil, refusef("the index cannot be read: %v", err)
	}
	var images []Image
	for _, child := range children {
		switch {
		case !runs(child.Platform, platforms):
			continue
		case strings.Contains(child.MediaType, "index") || strings.Contains(child.MediaType, "manifest.list"):
			return nil, refusef("the index has another index in it, of which container runtimes make different things")
		}
		if !slices.ContainsFunc(images, func(i Image) bool { return i.Digest == child.Digest }) {
			images = append(images, Image{Digest: child.Digest, Platform: child.Platform})
		}
	}
	switch has := forLinux(children, nil); {
	case len(images) == 0 && len(platforms) > 0 && len(has) > 0:
		return nil, &PlatformError{Platforms: platforms, Has: has}
	case len(images) == 0:
		return nil, refusef("the index has no image for Linux")
	case len(images) > maxPlatforms:
		return nil, refusef("the index has %d images where %d are allowed", len(images), maxPlatforms)
	}
	return images, nil
}

// PlatformError says that an index has images for Linux, and none for the platforms that were asked for.
type PlatformError struct {
	// Platforms were asked for, and Has is what the index has for Linux.
	Platforms, Has []string
}

// Error ends with the next step.
func (e *PlatformError) Error() string {
	return fmt.Sprintf("%s: the index has %s: choose one of these", strings.Join(e.Platforms, " or "), strings.Join(e.Has, ", "))
}

// LeftOut are the platforms for Linux that an index has besides those that are asked for: none where all are asked for,
// or where the manifest is of an image. It fails as the scan would: with a [PlatformError] where the index has none of
// them, with a [RefusedError] where it is unscannable.
func LeftOut(m registry.Manifest, platforms []string) ([]string, error) {
	if _, err := choose(m, platforms); err != nil || len(platforms) == 0 {
		return nil, err
	}
	children, err := m.Children()
	if err != nil {
		return nil, fmt.Errorf("reading the index %s: %w", m.Digest, err)
	}
	return forLinux(children, platforms), nil
}

// forLinux are the platforms of an index for nodes with Linux, each once, without those of except.
func forLinux(children []registry.Descriptor, except []string) []string {
	var found []string
	for _, child := range children {
		if !runs(child.Platform, nil) || len(except) > 0 && runs(child.Platform, except) {
			continue
		}
		platform := strings.Map(printable, child.Platform)
		if platform == "" {
			platform = "an image without platform"
		}
		if !slices.Contains(found, platform) {
			found = append(found, platform)
		}
	}
	return found
}

// printable keeps what an index calls a platform from steering a terminal.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}

// runs says whether nodes could take an index's entry for one of some platforms, or for any of Linux where none are named. They
// go by the platform that the index gives, in any case, by another name for the processor and by a lesser variant of it
// (containerd, platforms.Normalize), and by nothing else: an annotation that calls an image an attestation keeps
// nobody from running it. BuildKit's attestations are of the platform unknown/unknown. An entry without platform is for all.
func runs(platform string, platforms []string) bool {
	system, processor := normal(platform)
	if system == "" || len(platforms) == 0 {
		return system == "" || system == "linux"
	}
	return slices.ContainsFunc(platforms, func(wanted string) bool {
		s, p := normal(wanted)
		return s == system && p == processor
	})
}

// normal is the operating system of a platform and the processor without its variant.
func normal(platform string) (system, processor string) {
	platform, _, _ = strings.Cut(strings.ToLower(platform), ":") // the version of Windows
	system, processor, _ = strings.Cut(platform, "/")
	processor, _, _ = strings.Cut(processor, "/")
	switch processor {
	case "x86_64", "x86-64":
		processor = "amd64"
	case "i386":
		processor = "386"
	case "aarch64":
		processor = "arm64"
	case "armhf", "armel":
		processor = "arm"
	}
	return system, processor
}

// scanImage pulls one image and has it analysed.
func (s *Scanner) scanImage(ctx context.Context, job Job, top registry.Manifest, image *Image, tested func() error) (scanner.Report, error) {
	started := s.now()
	m := top
	if image.Digest != top.Digest {
		var err error
		if m, err = job.Source.Manifest(ctx, job.Repository, image.Digest); err != nil {
			return scanner.Report{}, fmt.Errorf("fetching the manifest: %w", err)
		}
	}
	layout, release, err := s.Store.Pull(ctx, job.Source, job.Repository, m)
	if refused := (*RefusedError)(nil); errors.As(err, &refused) {
		return s.withoutAnalysis(job, scanner.StateUnscannable, started, refused.Reason), nil
	}
	if err != nil {
		return scanner.Report{}, err
	}
	defer release()
	if err := tested(); err != nil {
		return scanner.Report{}, err
	}
	result, err := s.Pool.Ask(ctx, Request{
		Kind: Analyse, Layout: layout, Digest: image.Digest, Name: job.Repository.String() + "@" + image.Digest,
		Database: job.Database.Directory, JavaDatabase: job.Database.JavaDirectory, DatabaseDigest: job.Database.Digest,
		Secrets: job.Secrets, SBOM: job.SBOM,
	})
	if err != nil {
		if ctx.Err() != nil {
			return scanner.Report{}, err
		}
		return s.withoutAnalysis(job, scanner.StateError, started, err.Error()), nil
	}
	// The parent's clock counts: a child that was taken over must not say that its scan is of tomorrow.
	result.Report.StartedAt, result.Report.FinishedAt = started, s.now()
	result.Report.Scanner, result.Report.Database.Digest = s.Pool.Tool(), job.Database.Digest
	image.CycloneDX, image.SPDX = plain(result.CycloneDX), plain(result.SPDX)
	return result.Report, nil
}

// plain is nil for JSON's null.
func plain(raw json.RawMessage) []byte {
	if string(raw) == "null" {
		return nil
	}
	return raw
}
