package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/images"
)

// supplyChain is what images come from: a registry, who signs, and who scans.
type supplyChain struct {
	dir      string
	registry *registrytest.Server
	// down makes the registry answer nobody.
	down   atomic.Bool
	client *registry.Client
	// release signs images and says what does not affect them; scanner signs scans.
	release, scanner         *cosign.Key
	scannerKeyFile, database string
	program                  string
}

// installed are the packages of the images, of which the older openssl is vulnerable.
var (
	fixedPackages      = []images.Package{{Name: "openssl", Version: "3.0.22-1~deb12u2"}, {Name: "zlib1g", Version: "1:1.2.13.dfsg-1"}}
	vulnerablePackages = []images.Package{{Name: "openssl", Version: "3.0.17-1~deb12u2"}, {Name: "zlib1g", Version: "1:1.2.13.dfsg-1"}}
	advisories         = []images.Advisory{
		{ID: "CVE-2025-9230", Package: "openssl", Title: "Out-of-bounds read in CMS decryption", Severity: "critical", Fixed: "3.0.17-1~deb12u3"},
	}
)

func newSupplyChain(ctx context.Context, dir string) (*supplyChain, error) {
	s := &supplyChain{dir: dir, database: filepath.Join(dir, "database")}
	var err error
	if s.registry, err = registrytest.Start(registrytest.Referrers, s.outage); err != nil {
		return nil, err
	}
	if s.client, err = registry.New(registry.Options{Allow: []string{s.host()}, PlainHTTP: []string{s.host()}}); err != nil {
		return nil, err
	}
	if s.release, _, err = s.newKey("release"); err != nil {
		return nil, err
	}
	if s.scanner, s.scannerKeyFile, err = s.newKey("scanner"); err != nil {
		return nil, err
	}
	if s.program, err = images.BuildProgram(ctx, dir); err != nil {
		return nil, err
	}
	return s, images.Database(s.database, images.Built(), advisories)
}

// host is the registry as references name it.
func (s *supplyChain) host() string { return s.registry.Host() }

// outage is the fault of a registry that is down.
func (s *supplyChain) outage(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.down.Load() {
			panic(http.ErrAbortHandler) // the connection breaks off
		}
		next.ServeHTTP(w, r)
	})
}

// keyPassword protects the keys of these tests.
const keyPassword = "correct horse"

func (s *supplyChain) newKey(name string) (*cosign.Key, string, error) {
	private, _, err := cosign.GenerateKeyPair([]byte(keyPassword))
	if err != nil {
		return nil, "", err
	}
	file := filepath.Join(s.dir, name+".key")
	if err := os.WriteFile(file, private, 0o600); err != nil {
		return nil, "", err
	}
	key, err := cosign.LoadPrivateKey(private, []byte(keyPassword))
	return key, file, err
}

// bundle writes the bundle that trusts the two keys.
func (s *supplyChain) bundle() (string, error) {
	release, err := s.release.PublicPEM()
	if err != nil {
		return "", err
	}
	scanner, err := s.scanner.PublicPEM()
	if err != nil {
		return "", err
	}
	template, err := os.ReadFile("testdata/images-bundle.yaml")
	if err != nil {
		return "", err
	}
	text := strings.NewReplacer("REGISTRY", s.host(), "RELEASE-KEY", quoted(release), "SCANNER-KEY", quoted(scanner)).Replace(string(template))
	dir := filepath.Join(s.dir, "bundle")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "bundle.yaml"), []byte(text), 0o644)
}

// quoted is text as a YAML scalar.
func quoted(text string) string {
	raw, err := json.Marshal(text) // JSON is YAML
	if err != nil {                // of a string
		panic(err)
	}
	return string(raw)
}

// image is one that was pushed.
type image struct{ tag, digest string }

// pinned is its reference with tag and digest, as the mutating door writes it.
func (i image) pinned() string { return i.tag + "@" + i.digest }

func (i image) target() cosign.Target {
	named, err := name.NewTag(i.tag)
	if err != nil { // of a tag that push has parsed
		panic(err)
	}
	return cosign.Target{Repository: registry.Repository{Registry: named.RegistryStr(), Path: named.RepositoryStr()}, Digest: i.digest}
}

// push makes an image and pushes it under a tag of repository shop/NAME.
func (s *supplyChain) push(t *testing.T, name string, packages []images.Package) image {
	t.Helper()
	made := mustReturn(images.New(images.Options{Program: s.program, Packages: packages, Label: t.Name() + name}))(t)
	tag := s.host() + "/shop/" + name + ":1"
	ref := mustReturn(images.Push(t.Context(), tag, made))(t)
	return image{tag, ref[strings.IndexByte(ref, '@')+1:]}
}

func (s *supplyChain) sign(t *testing.T, i image) {
	t.Helper()
	_ = mustReturn(cosign.Sign(t.Context(), s.client, i.target(), s.release, cosign.SignOptions{}))(t)
}

// scanned attests a scan that was made just now, with what changes it.
func (s *supplyChain) scanned(t *testing.T, i image, change func(*scanner.Report)) {
	t.Helper()
	now := time.Now().UTC()
	report := scanner.Report{
		State: scanner.StateComplete, Reasons: []string{},
		StartedAt: now.Add(-time.Second).Format(time.RFC3339), FinishedAt: now.Format(time.RFC3339),
		Scanner: scanner.Tool{Name: "trivy", Version: "0.74.0"}, Database: scanner.Database{UpdatedAt: now.Format(time.RFC3339), Version: 2},
		OS: scanner.OS{Family: "debian", Name: "12.5"}, Packages: scanner.Packages{OS: 2},
		Vulnerabilities: []scanner.Vulnerability{}, Secrets: []scanner.Secret{},
	}
	if change != nil {
		change(&report)
	}
	predicate := mustReturn(scanner.NewPredicate(report, scanner.Invocation{}))(t)
	s.attest(t, s.scanner, i, scanner.PredicateType, predicate)
}

func (s *supplyChain) attest(t *testing.T, key *cosign.Key, i image, predicateType string, predicate []byte) {
	t.Helper()
	statement := mustReturn(cosign.NewStatement(i.target(), predicateType, predicate))(t)
	_ = mustReturn(cosign.Attest(t.Context(), s.client, i.target(), key, statement, cosign.AttestOptions{Format: signer.FormatBundle, Replace: true}))(t)
}

// webhookArgs are the flags of a webhook that may ask the registry.
func (s *supplyChain) webhookArgs(cache string) []string {
	return []string{"--allow-registry=" + s.host(), "--plain-http-registry=" + s.host(), "--evidence-cache-dir=" + cache, "--queue-scans",
		// What is new of an image counts sooner than in production.
		"--evidence-refresh-age=500ms", "--evidence-negative-age=500ms"}
}

// podOf is a pod of the team that runs an image.
func podOf(t *testing.T, name, ref string) *corev1.Pod {
	t.Helper()
	return pod(t, name, func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = ref })
}

// startImages starts a cluster of its own with a registry, and a webhook that judges images.
func startImages(t *testing.T, users ...cluster.User) (*environment, *supplyChain, *installation) {
	t.Helper()
	ctx := t.Context()
	chain, err := newSupplyChain(ctx, t.TempDir())
	must(t, err)
	t.Cleanup(func() { must(t, chain.registry.Close()) })
	env := startAlone(t, cluster.Options{Users: users})
	must(t, installScans(ctx, env))
	bundle := mustReturn(chain.bundle())(t)
	installed := mustReturn(newInstallation(ctx, env, installOptions{
		name: "portcullis-images", bundle: bundle, replicas: 1, args: chain.webhookArgs(filepath.Join(chain.dir, "cache")),
	}))(t)
	t.Cleanup(func() { must(t, installed.stop()) })
	must(t, installed.install(ctx))
	must(t, untilDenied(ctx, env, podOf(t, "probe", chain.host()+"/shop/nothing:1")))
	return env, chain, installed
}

var errNotDenied = errors.New("it is not denied yet")

// shortDir is a folder with a short path, for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	return mustReturn(os.MkdirTemp("", "n-"))(t) // the node removes it
}

func describe(i image) string { return fmt.Sprintf("%s (%s)", i.tag, i.digest) }
