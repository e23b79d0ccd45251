package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/portcullis-dev/portcullis/scanner/trivy/trivytest"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// site is where programs are compared: the programs, a registry with images that a key has signed, and a
// vulnerability database.
type site struct {
	size       Size
	dir        string // with the programs of Portcullis
	peers      *Peers // nil where nothing is compared
	server     *registrytest.Server
	client     *registry.Client
	key        *cosign.Key
	publicFile string
	// small and large are references of images to scan, gate those to judge.
	small, large string
	gate         []string
	// largeText says what is in the large image.
	largeText string
}

// databaseMade is when the first vulnerability database was made.
var databaseMade = trivytest.DefaultUpdated

// smallSeed and largeSeed tell the packages of Node.js apart, gateSeed those of the images to judge: the next ones
// are each image's own.
const (
	smallSeed = 1
	largeSeed = 2
	gateSeed  = 10
)

func newSite(ctx context.Context, size Size, dir string, progress io.Writer) (*site, error) {
	s := &site{size: size, dir: filepath.Join(dir, "site")}
	if size.Peers {
		var err error
		if s.peers, err = NewPeers(ctx, progress); err != nil {
			return nil, err
		}
	}
	// Apart: what is built together is built with the experiment that only the scanner needs.
	for _, name := range []string{"portcullis", "portcullis-scanner"} {
		if err := programs.Build(ctx, s.dir, name); err != nil {
			return nil, err
		}
	}
	return s, s.open(ctx)
}

// open starts the registry and fills it.
func (s *site) open(ctx context.Context) error {
	for _, folder := range []string{s.dir, s.home(), s.trivyCache(), s.bundle()} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return fmt.Errorf("making a folder: %w", err)
		}
	}
	if err := s.startRegistry(); err != nil {
		return err
	}
	if err := s.fill(ctx); err != nil {
		return errors.Join(err, s.close())
	}
	return nil
}

func (s *site) close() error { return s.server.Close() }

func (s *site) home() string       { return filepath.Join(s.dir, "home") }
func (s *site) bundle() string     { return filepath.Join(s.dir, "bundle") }
func (s *site) trivyCache() string { return filepath.Join(s.dir, "trivy") }
func (s *site) database() string   { return filepath.Join(s.trivyCache(), "db") }

func (s *site) startRegistry() (err error) {
	if s.server, err = registrytest.Start(registrytest.Referrers); err != nil {
		return err
	}
	if s.client, err = s.server.Client(); err != nil {
		return errors.Join(err, s.server.Close())
	}
	return nil
}

// fill makes a key, the database and the images.
func (s *site) fill(ctx context.Context) error {
	private, public, err := cosign.GenerateKeyPair(nil)
	if err != nil {
		return err
	}
	if s.key, err = cosign.LoadPrivateKey(private, nil); err != nil {
		return err
	}
	s.publicFile = filepath.Join(s.dir, "cosign.pub")
	if err := os.WriteFile(s.publicFile, public, 0o600); err != nil {
		return err
	}
	if err := s.makeDatabase(databaseMade); err != nil {
		return err
	}
	if err := s.pushScanned(ctx); err != nil {
		return err
	}
	return s.pushJudged(ctx)
}

// makeDatabase writes the database, with more advisories if there are any.
func (s *site) makeDatabase(made time.Time, more ...trivytest.Advisory) error {
	seeds := []uint64{smallSeed, largeSeed, gateSeed}
	for n := range s.size.Images {
		seeds = append(seeds, gateSeed+1+uint64(n))
	}
	return trivytest.DatabaseAt(s.database(), made, append(advisories(s.size.Packages, s.size.Modules, seeds...), more...)...)
}

// pushScanned pushes the images to scan: one of a few files, where little but the start of programs takes time,
// and one as large as services are.
func (s *site) pushScanned(ctx context.Context) error {
	small, err := trivytest.Image(trivytest.Debian("12.5", debianPackages(min(20, s.size.Packages))...), moduleLayer(smallSeed, 2))
	if err != nil {
		return err
	}
	if s.small, err = s.push(ctx, "shop/small", small); err != nil {
		return err
	}
	program, err := s.goProgram(ctx)
	if err != nil {
		return err
	}
	system, modules := debianLayer(s.size.Packages), moduleLayer(largeSeed, s.size.Modules)
	server := []trivytest.Entry{trivytest.Program("usr/local/bin/server", program)}
	large, err := trivytest.Image(system, modules, server)
	if err != nil {
		return err
	}
	s.large, err = s.push(ctx, "shop/large", large)
	s.largeText = describeFiles(system, modules, server)
	return err
}

// describeFiles counts files and their size.
func describeFiles(layers ...[]trivytest.Entry) string {
	files, size := 0, 0
	for _, layer := range layers {
		for _, entry := range layer {
			files++
			size += len(entry.Content)
		}
	}
	return fmt.Sprintf("%d files, %d MB", files, size/1_000_000)
}

// goProgram is a program of this module with many dependencies, as services have. It is built as the others are, so that
// nothing is compiled for it alone.
func (s *site) goProgram(ctx context.Context) ([]byte, error) {
	root, err := programs.Checkout(ctx)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, "server")
	command := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", file, "./test/conformance/sigstore")
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building a program for the images: %w\n%s", err, output)
	}
	return os.ReadFile(file)
}

// pushJudged pushes the images to judge: applications upon a system and packages that they share.
func (s *site) pushJudged(ctx context.Context) error {
	system, err := packed(debianLayer(s.size.Packages)...)
	if err != nil {
		return err
	}
	shared, err := packed(moduleLayer(gateSeed, s.size.Modules/2)...)
	if err != nil {
		return err
	}
	for n := range s.size.Images {
		own, err := packed(moduleLayer(gateSeed+1+uint64(n), s.size.Modules/5)...)
		if err != nil {
			return err
		}
		image, err := trivytest.ImageOf(system, shared, own)
		if err != nil {
			return err
		}
		reference, err := s.push(ctx, fmt.Sprintf("shop/service%d", n), image)
		if err != nil {
			return err
		}
		s.gate = append(s.gate, reference)
	}
	return nil
}

// push pushes an image and signs it, in the form that cosign verifies without a trusted root.
func (s *site) push(ctx context.Context, path string, image v1.Image) (string, error) {
	pushed, err := s.client.PushImage(ctx, s.server.Repository(path), "1", image)
	if err != nil {
		return "", err
	}
	target := cosign.Target{Repository: s.server.Repository(path), Digest: pushed.Digest}
	if _, err := cosign.Sign(ctx, s.client, target, s.key, cosign.SignOptions{Format: signer.FormatLegacy}); err != nil {
		return "", err
	}
	return target.String(), nil
}

// registryFlags let a program of Portcullis speak with the registry.
func (s *site) registryFlags() []string {
	return []string{"--allow-registry=" + s.server.Host(), "--plain-http-registry=" + s.server.Host()}
}

// trivy scans an image as "trivy image" does by default, without asking anybody for anything newer.
func (s *site) trivy(reference string) invocation {
	return invocation{s.peers.Trivy, []string{
		"image", "--quiet", "--skip-db-update", "--skip-java-db-update", "--offline-scan", "--skip-version-check", "--disable-telemetry",
		"--cache-dir", s.trivyCache(), "--scanners", "vuln,secret", "--image-src", "remote", "--insecure", "--format", "json", reference,
	}, s.home(), nil}
}

// cosign verifies the signature of an image. It would fetch Sigstore's trusted root each time, which a signature by key
// without log does not need, unless it is told of any key of a log.
func (s *site) cosign(reference string) invocation {
	return invocation{s.peers.Cosign, []string{
		"verify", "--key", s.publicFile, "--insecure-ignore-tlog=true", "--allow-http-registry", "--allow-insecure-registry", reference,
	}, s.home(), []string{"SIGSTORE_REKOR_PUBLIC_KEY=" + s.publicFile}}
}

// forgetTrivy removes what trivy has kept of images, and leaves the database.
func (s *site) forgetTrivy() error { return os.RemoveAll(filepath.Join(s.trivyCache(), "fanal")) }

// forget removes what the scanner has kept of images in its folder, and leaves the database.
func forget(folder string) error {
	entries, err := os.ReadDir(folder)
	for _, entry := range entries {
		if entry.Name() != "database" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(folder, entry.Name())))
		}
	}
	return err
}

// layersAsked is for how many layers the registry was asked since it last forgot.
func (s *site) layersAsked() int {
	n := 0
	for _, request := range s.server.Requests() {
		if strings.Contains(request.Path, "/blobs/") {
			n++
		}
	}
	return n
}
