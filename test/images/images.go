// Package images makes small real images for the demo and for end-to-end tests: a static program on the package
// database of a distribution, and a vulnerability database that knows something about its packages.
package images

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/portcullis-dev/portcullis/test/programs"
)

// Package is one package of Debian 12 that the image says it has installed.
type Package struct{ Name, Version string }

// Options say what is in an image.
type Options struct {
	// Program is the file of a static program to run, "" for none.
	Program  string
	Packages []Package
	// Label is a label that tells images of the same content apart.
	Label string
}

// BuildProgram builds the program that images run and returns its file.
func BuildProgram(ctx context.Context, dir string) (string, error) { return build(ctx, dir, "program") }

// BuildServer builds a program that serves TCP on port 8080, and returns its file.
func BuildServer(ctx context.Context, dir string) (string, error) { return build(ctx, dir, "server") }

func build(ctx context.Context, dir, name string) (string, error) {
	root, err := programs.Checkout(ctx)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, name)
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "./test/images/"+name)
	command.Dir, command.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the %s of the images: %w\n%s", name, err, output)
	}
	return file, nil
}

// New makes an image: the same options give the same digest.
func New(options Options) (v1.Image, error) {
	files := map[string][]byte{
		"etc/os-release":      []byte("ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
		"etc/debian_version":  []byte("12.5\n"),
		"var/lib/dpkg/status": status(options.Packages),
	}
	if options.Program != "" {
		program, err := os.ReadFile(options.Program)
		if err != nil {
			return nil, fmt.Errorf("making an image: %w", err)
		}
		files["program"] = program
	}
	layer, err := layerOf(files)
	if err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	return mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: "amd64", OS: "linux",
		RootFS: rootFS(layer),
		Config: v1.Config{
			User: "65532:65532", Entrypoint: []string{"/program"},
			Labels: map[string]string{"org.opencontainers.image.title": options.Label},
		},
	})
}

func rootFS(layer v1.Layer) v1.RootFS {
	id, err := layer.DiffID()
	if err != nil { // of a layer made in memory
		panic(err)
	}
	return v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{id}}
}

// status is dpkg's database (deb-control(5)).
func status(packages []Package) []byte {
	var b bytes.Buffer
	for _, p := range packages {
		fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\nPriority: optional\nSection: libs\nMaintainer: Debian <debian@example.com>\nArchitecture: amd64\nVersion: %s\nDescription: a package\n\n", p.Name, p.Version)
	}
	return b.Bytes()
}

func layerOf(files map[string][]byte) (v1.Layer, error) {
	var names []string
	for file := range files {
		names = append(names, file)
	}
	slices.Sort(names)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	made := map[string]bool{}
	for _, file := range names {
		for _, dir := range parents(file) {
			if !made[dir] {
				made[dir] = true
				if err := w.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
					return nil, err
				}
			}
		}
		if err := w.WriteHeader(&tar.Header{Name: file, Mode: 0o755, Size: int64(len(files[file]))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[file]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
}

// parents are the folders of a file, outermost first.
func parents(file string) []string {
	var dirs []string
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		dirs = append([]string{dir}, dirs...)
	}
	return dirs
}

// Push pushes an image and returns its reference by digest. The registry is asked without TLS if it is
// on loopback.
func Push(ctx context.Context, ref string, image v1.Image, options ...remote.Option) (string, error) {
	tag, err := name.NewTag(ref)
	if err != nil {
		return "", fmt.Errorf("pushing %s: %w", ref, err)
	}
	if err := remote.Write(tag, image, append(options, remote.WithContext(ctx))...); err != nil {
		return "", fmt.Errorf("pushing %s: %w", ref, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return "", fmt.Errorf("pushing %s: %w", ref, err)
	}
	return tag.Context().Name() + "@" + digest.String(), nil
}

// Built is when the database of [Database] says it was built, by default.
func Built() time.Time { return time.Now().UTC().Truncate(time.Second) }

// severities are those of trivy-db by number.
var severities = []string{"UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL"}

func severity(name string) (int, error) {
	at := slices.Index(severities, strings.ToUpper(name))
	if at < 0 {
		return 0, fmt.Errorf("severity %q is unknown: use one of %s", name, strings.ToLower(strings.Join(severities, ", ")))
	}
	return at, nil
}
