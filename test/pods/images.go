package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// repositories is the path below which images of Portcullis lie in a registry.
const repositories = "portcullis"

// Images are those of Portcullis in a registry, signed.
type Images struct {
	// Registry is what the chart's value images.registry is, and Digests is images.digests: by component, as sha256:….
	Registry string
	Digests  map[string]string
	// PublicKey verifies their signatures, PEM.
	PublicKey string
}

// BuildImages builds the images of components (webhook for portcullis-webhook) for this machine as "make images" does, pushes them to a
// registry and signs them with a new key. What it writes lies in a folder. Without anything compiled before it takes minutes.
func BuildImages(ctx context.Context, dir string, to *Registry, components ...string) (*Images, error) {
	images, err := buildImages(ctx, dir, to, components)
	if err != nil {
		return nil, fmt.Errorf("building the images of Portcullis: %w", err)
	}
	return images, nil
}

func buildImages(ctx context.Context, dir string, to *Registry, components []string) (*Images, error) {
	const password = "of a test"
	private, public, err := cosign.GenerateKeyPair([]byte(password))
	if err != nil {
		return nil, err
	}
	root, err := programs.Checkout(ctx)
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(to.CAFile)
	if err != nil {
		return nil, err
	}
	key, authorities, output := filepath.Join(dir, "cosign.key"), filepath.Join(dir, "authorities"), filepath.Join(dir, "images")
	if err := os.MkdirAll(authorities, 0o755); err != nil {
		return nil, err
	}
	for file, content := range map[string][]byte{key: private, filepath.Join(authorities, "registry.pem"): authority} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return nil, err
		}
	}
	images := &Images{Registry: to.Host + "/" + repositories, Digests: map[string]string{}, PublicKey: string(public)}
	args := []string{"run", "./charts/images", "--platform=linux/" + runtime.GOARCH, "--output=" + output, "--push=" + images.Registry, "--version=test", "--key=" + key}
	for _, component := range components {
		args = append(args, "--program=portcullis-"+component)
	}
	command := exec.CommandContext(ctx, "go", args...)
	// A folder of authorities stands beside the system's file of them (crypto/x509).
	command.Dir, command.Env = root, append(os.Environ(), "SSL_CERT_DIR="+authorities, "COSIGN_PASSWORD="+password)
	if output, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("running go %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return images, images.read(filepath.Join(output, "images.json"))
}

// read reads the digests of what was built.
func (i *Images) read(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var built []struct{ Program, Digest string }
	if err := json.Unmarshal(text, &built); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	for _, one := range built {
		i.Digests[strings.TrimPrefix(one.Program, "portcullis-")] = one.Digest
	}
	return nil
}

// Reference is the image of a component by its digest.
func (i *Images) Reference(component string) string {
	return i.Registry + "/portcullis-" + component + "@" + i.Digests[component]
}
