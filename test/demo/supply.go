package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/test/images"
)

// supply is where the demo's images come from: a registry in this process, and what the shop's pipeline did to
// each of them with the programs of Portcullis.
type supply struct {
	dir      string
	registry *registrytest.Server
	// steps are the commands that were run, for people.
	steps []string
}

// The shop's images: one as it should be, and its twins.
const (
	goodImage       = "shop/cart:1.4.2"
	unsignedImage   = "shop/cart-unsigned:1.4.2"
	vulnerableImage = "shop/cart-vulnerable:1.4.2"
)

// builder is who builds the shop's images, source the repository they are built from.
const (
	builder = "https://ci.example.com/runner@v1"
	source  = "https://git.example.com/shop/cart"
)

// Packages of the images, and what the demo's vulnerability database knows of them.
var (
	fixedPackages      = []images.Package{{Name: "openssl", Version: "3.0.22-1~deb12u2"}, {Name: "zlib1g", Version: "1:1.2.13.dfsg-1"}}
	vulnerablePackages = []images.Package{{Name: "openssl", Version: "3.0.17-1~deb12u2"}, {Name: "zlib1g", Version: "1:1.2.13.dfsg-1"}}
	advisories         = []images.Advisory{
		{ID: "CVE-2025-9230", Package: "openssl", Title: "Out-of-bounds read and write in CMS decryption", Severity: "critical", Fixed: "3.0.17-1~deb12u3"},
	}
)

// newSupply builds the images and pushes, signs, scans and attests them.
func newSupply(ctx context.Context, dir string) (*supply, error) {
	s := &supply{dir: dir}
	var err error
	if s.registry, err = registrytest.Start(registrytest.Referrers); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("preparing the demo's images: %w", err), s.stop())
	}
	return s, nil
}

func (s *supply) prepare(ctx context.Context) error {
	if err := images.Database(filepath.Join(s.dir, "database"), images.Built(), advisories); err != nil {
		return err
	}
	program, err := images.BuildProgram(ctx, s.dir)
	if err != nil {
		return err
	}
	for ref, packages := range map[string][]images.Package{goodImage: fixedPackages, unsignedImage: fixedPackages, vulnerableImage: vulnerablePackages} {
		image, err := images.New(images.Options{Program: program, Packages: packages, Label: ref})
		if err != nil {
			return err
		}
		if _, err := images.Push(ctx, s.ref(ref), image); err != nil {
			return err
		}
	}
	provenance, err := s.writeProvenance()
	if err != nil {
		return err
	}
	for _, key := range []string{"release", "scanner"} {
		if err := s.run(ctx, "portcullis", "image", "generate-key-pair", "--output-prefix", filepath.Join(s.dir, key)); err != nil {
			return err
		}
	}
	signed := []string{s.ref(goodImage), s.ref(vulnerableImage)}
	for _, ref := range signed {
		if err := s.run(ctx, "portcullis", append([]string{"image", "sign", "--key", filepath.Join(s.dir, "release.key"), ref}, s.flags()...)...); err != nil {
			return err
		}
		attest := []string{"image", "attest", "--key", filepath.Join(s.dir, "release.key"), "--type", "slsaprovenance1", "--predicate", provenance, ref}
		if err := s.run(ctx, "portcullis", append(attest, s.flags()...)...); err != nil {
			return err
		}
	}
	return s.run(ctx, "portcullis-scanner", append(append([]string{"scan", "--attach", "--sbom", "--key", filepath.Join(s.dir, "scanner.key"),
		"--database", filepath.Join(s.dir, "database"), "--java-database=", "--work-dir", filepath.Join(s.dir, "scans"),
		s.ref(unsignedImage)}, signed...), s.flags()...)...)
}

// ref is an image of the registry.
func (s *supply) ref(image string) string { return s.registry.Host() + "/" + image }

// flags let a program speak with the registry, which is on loopback and has no TLS.
func (s *supply) flags() []string {
	return []string{"--allow-registry=" + s.registry.Host(), "--plain-http-registry=" + s.registry.Host()}
}

// run runs a program as the pipeline would.
func (s *supply) run(ctx context.Context, program string, args ...string) error {
	s.steps = append(s.steps, program+" "+strings.Join(args, " "))
	command := exec.CommandContext(ctx, filepath.Join(s.dir, program), args...)
	command.Env = append(os.Environ(), "COSIGN_PASSWORD=demo")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s %s: %w\n%s", program, strings.Join(args[:2], " "), err, output)
	}
	return nil
}

// writeProvenance writes what the builder says of its builds (SLSA v1.0, "Provenance").
func (s *supply) writeProvenance() (string, error) {
	file := filepath.Join(s.dir, "provenance.json")
	predicate := map[string]any{
		"buildDefinition": map[string]any{
			"buildType":          "https://ci.example.com/container@v1",
			"externalParameters": map[string]any{"source": map[string]any{"uri": "git+" + source, "digest": map[string]any{"gitCommit": strings.Repeat("4", 40)}}},
			"resolvedDependencies": []any{
				map[string]any{"uri": "git+" + source + "@refs/heads/main", "digest": map[string]any{"gitCommit": strings.Repeat("4", 40)}},
			},
		},
		"runDetails": map[string]any{"builder": map[string]any{"id": builder}},
	}
	raw, err := json.MarshalIndent(predicate, "", "  ")
	if err != nil {
		return "", err
	}
	return file, os.WriteFile(file, raw, 0o644)
}

// writeBundle writes the policies of the demo: the library's profile restricted for everything, and for the namespace
// images also what there has to be known of an image.
func (s *supply) writeBundle() (string, error) {
	template, err := manifests.ReadFile("manifests/bundle.yaml")
	if err != nil {
		return "", err
	}
	replace := []string{"REGISTRY", s.registry.Host(), "BUILDER", builder, "SOURCE", source}
	for _, key := range []string{"release", "scanner"} {
		public, err := os.ReadFile(filepath.Join(s.dir, key+".pub"))
		if err != nil {
			return "", err
		}
		text, err := json.Marshal(string(public)) // JSON is YAML
		if err != nil {
			return "", err
		}
		replace = append(replace, strings.ToUpper(key)+"-KEY", string(text))
	}
	dir := filepath.Join(s.dir, "bundle")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "bundle.yaml"), []byte(strings.NewReplacer(replace...).Replace(string(template))), 0o644)
}

func (s *supply) stop() error { return s.registry.Close() }
