package rights_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/portcullis-dev/portcullis/admission/audit/report/reporttest"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/gitserver"
	"github.com/portcullis-dev/portcullis/test/installation"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/vaultserver"
)

const (
	chartDir  = "../../charts/portcullis"
	pushToken = "correct-horse-battery-staple"
)

// scene is an installation of everything but the scanner's program, and all that it deals with.
type scene struct {
	*installation.Installation
	dir       string
	authority *pki.Authority // of Git and the push endpoint
	git       *gitserver.Server
	work      string // a clone
	key       *cosign.Key
	registry  *registrytest.Server
	image     string
	other     string // the same one elsewhere
	vault     *vaultserver.Server
	serial    int
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until something is so.
func eventually(t *testing.T, what string, is func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		last = is(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v", what, last)
	}
}

func newScene(t *testing.T) *scene {
	t.Helper()
	ctx := t.Context()
	if _, err := gitserver.Backend(ctx); err != nil {
		t.Skip(err)
	}
	s := &scene{dir: t.TempDir()}
	var err error
	s.authority, err = pki.NewAuthority(s.dir, "authority")
	must(t, err)
	s.vault, err = vaultserver.Start(ctx, vaultserver.Options{Dir: filepath.Join(s.dir, "vault")})
	must(t, err)
	t.Cleanup(func() { _ = s.vault.Stop() })
	s.startRegistry(t)
	s.startGit(t)
	serving, err := s.authority.Issue("controller", "portcullis-controller."+installation.Namespace+".svc")
	must(t, err)
	s.Installation, err = installation.Start(ctx, installation.Options{
		Dir: filepath.Join(s.dir, "installation"), Components: []string{installation.Responder, installation.Secrets}, AuditLeases: true,
		Before: s.before(t, serving), Values: s.values("policyreport"),
	})
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Logs(15))
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// values switch everything on.
func (s *scene) values(reports string) map[string]any {
	plain := "--plain-http-registry=" + s.registry.Host()
	git, _, _ := strings.Cut(strings.TrimPrefix(s.git.URL(""), "https://"), "/")
	return map[string]any{
		"bundle":     map[string]any{"source": "cluster"},
		"crds":       map[string]any{"keep": false}, // then an uninstall takes certificates away, too
		"registries": map[string]any{"allow": []any{s.registry.Host(), git}},
		"webhook":    map[string]any{"usePullSecrets": true, "decisions": true, "extraArgs": []any{plain, "--queue-scans", "--evidence-refresh-age=500ms", "--evidence-negative-age=500ms"}},
		"controller": map[string]any{
			"hook": map[string]any{"enabled": true}, "audit": map[string]any{"enabled": true, "secrets": true, "reports": reports, "interval": "5m"}, "extraArgs": []any{plain},
		},
		"responder": map[string]any{"cni": "", "extraArgs": []any{plain}},
		"secrets":   map[string]any{"extraArgs": []any{plain}},
	}
}

func (s *scene) startRegistry(t *testing.T) {
	t.Helper()
	var err error
	s.registry, err = registrytest.Start(registrytest.Referrers)
	must(t, err)
	t.Cleanup(func() { _ = s.registry.Close() })
	made, err := random.Image(64, 1)
	must(t, err)
	tag, err := name.NewTag(s.registry.Host() + "/shop/app:1")
	must(t, err)
	other, err := name.NewTag(s.registry.Host() + "/shop/other:1")
	must(t, err)
	must(t, remote.Write(tag, made, remote.WithContext(t.Context())))
	must(t, remote.Write(other, made, remote.WithContext(t.Context())))
	digest, err := made.Digest()
	must(t, err)
	s.image, s.other = tag.Repository.Name()+"@"+digest.String(), other.Repository.Name()+"@"+digest.String()
	private, _, err := cosign.GenerateKeyPair([]byte("password"))
	must(t, err)
	s.key, err = cosign.LoadPrivateKey(private, []byte("password"))
	must(t, err)
}

// startGit starts a server with the bundle.
func (s *scene) startGit(t *testing.T) {
	t.Helper()
	serving, err := s.authority.Issue("git")
	must(t, err)
	s.git, err = gitserver.Start(t.Context(), gitserver.Options{Dir: filepath.Join(s.dir, "repositories"), Serving: serving, Username: "ada", Password: "secret"})
	must(t, err)
	t.Cleanup(func() { _ = s.git.Stop() })
	bare, err := s.git.Create(t.Context(), "policies")
	must(t, err)
	s.work = filepath.Join(s.dir, "work")
	must(t, os.CopyFS(s.work, os.DirFS("testdata/bundle")))
	s.gitDo(t, "init", "-q", "--initial-branch=main")
	s.gitDo(t, "remote", "add", "origin", bare)
	s.publish(t)
}

func (s *scene) gitDo(t *testing.T, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "git", append([]string{"-C", s.work, "-c", "user.name=ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"}, arguments...)...)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v: %s", arguments, err, out)
	}
}

// publish pushes the bundle with the next serial.
func (s *scene) publish(t *testing.T) {
	t.Helper()
	s.serial++
	template, err := os.ReadFile("testdata/bundle/bundle.yaml")
	must(t, err)
	public, err := s.key.PublicPEM()
	must(t, err)
	quoted, err := json.Marshal(public) // JSON is YAML
	must(t, err)
	text := strings.NewReplacer("REGISTRY", s.registry.Host(), "KEY", string(quoted), "SERIAL", strconv.Itoa(s.serial), "RECORDED\n", recorded(t)).Replace(string(template))
	must(t, os.WriteFile(filepath.Join(s.work, "bundle.yaml"), []byte(text), 0o600))
	s.gitDo(t, "add", "-A")
	s.gitDo(t, "commit", "-q", "-m", "serial "+strconv.Itoa(s.serial))
	s.gitDo(t, "push", "-q", "origin", "HEAD:main")
}

// recorded are the library's policies, as lines of the bundle: they deny nothing here, and read what they read. Those that need parameters
// are left out, and those that respond: see act/asked.
func recorded(t *testing.T) string {
	t.Helper()
	loaded, err := policies.Load(library.FS())
	must(t, err)
	var lines strings.Builder
	for _, policy := range loaded.Policies {
		properties, _ := policy.Parameters["properties"].(map[string]any)
		required := slices.ContainsFunc(slices.Collect(maps.Values(properties)), func(p any) bool {
			one, ok := p.(map[string]any)
			_, has := one["default"]
			return ok && !has
		})
		if !required && !slices.ContainsFunc(policy.Effects, func(e policies.Effect) bool { return e == policies.EffectRespond || e == policies.EffectPatch }) {
			fmt.Fprintf(&lines, "  - {policy: %s, name: recorded-%s, enforcement: audit}\n", policy.ID, strings.ReplaceAll(policy.ID, "/", "-"))
		}
	}
	return lines.String()
}

// before is what is there before the chart.
func (s *scene) before(t *testing.T, serving pki.Pair) []byte {
	t.Helper()
	files := map[string]string{}
	for key, file := range map[string]string{"CA": s.authority.File, "CERT": serving.CertFile, "KEY": serving.KeyFile} {
		content, err := os.ReadFile(file)
		must(t, err)
		quoted, err := json.Marshal(string(content))
		must(t, err)
		files[key] = string(quoted)
	}
	people, err := os.ReadFile("testdata/before.yaml")
	must(t, err)
	definition, err := os.ReadFile(filepath.Join(chartDir, "files/definitions/policybundles.policy.portcullis.dev.yaml"))
	must(t, err)
	// The chart would run the scanner's program, too: see useScanner.
	var roles [][]byte
	for _, role := range []string{"scanner", "scan-requester"} {
		text, err := os.ReadFile(filepath.Join(chartDir, "files/roles/clusterrole-portcullis-"+role+".yaml"))
		must(t, err)
		roles = append(roles, text)
	}
	return bytes.Join([][]byte{people, definition, bytes.Join(roles, []byte("\n---\n")), reporttest.PolicyReport, reporttest.OpenReports, []byte(networkDefinitions()), fmt.Appendf(nil, `
apiVersion: v1
kind: Secret
metadata: {name: git, namespace: %[1]s}
stringData: {username: ada, password: secret}
---
apiVersion: v1
kind: Secret
metadata: {name: push, namespace: %[1]s}
stringData: {token: %[2]s}
---
apiVersion: v1
kind: Secret
metadata: {name: portcullis-controller-tls, namespace: %[1]s}
type: kubernetes.io/tls
stringData: {tls.crt: %[3]s, tls.key: %[4]s}
---
apiVersion: policy.portcullis.dev/v1alpha1
kind: PolicyBundle
metadata: {name: platform}
spec:
  source: {git: {url: '%[5]s', branch: main, secretRef: git, caBundle: %[6]s}}
  verification: {insecureUnsigned: true}
  pushSecretRef: push
  interval: 10s
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: portcullis-scanner, namespace: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: portcullis-scanner}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-scanner}
subjects: [{kind: ServiceAccount, name: portcullis-scanner, namespace: %[1]s}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: portcullis-webhook-scan-requester}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-scan-requester}
subjects: [{kind: ServiceAccount, name: portcullis-webhook, namespace: %[1]s}]
`, installation.Namespace, pushToken, files["CERT"], files["KEY"], s.git.URL("policies"), files["CA"])}, []byte("\n---\n"))
}

// networkDefinitions are APIs of network plugins by which a deny before all policies can be said, as bare as they can be: nobody
// enforces anything here.
func networkDefinitions() string {
	var all []string
	for _, one := range []struct{ group, version, kind, plural, scope string }{
		{"policy.networking.k8s.io", "v1alpha2", "ClusterNetworkPolicy", "clusternetworkpolicies", "Cluster"},
		{"gateway.networking.k8s.io", "v1beta1", "ReferenceGrant", "referencegrants", "Namespaced"},
	} {
		all = append(all, fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: %[4]s.%[1]s
  annotations: {api-approved.kubernetes.io: unapproved}
spec:
  group: %[1]s
  scope: %[5]s
  names: {kind: %[3]s, plural: %[4]s}
  versions: [{name: %[2]s, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`, one.group, one.version, one.kind, one.plural, one.scope))
	}
	return strings.Join(all, "---\n")
}

// create creates the objects of a file of testdata, with what is filled in.
func (s *scene) create(t *testing.T, file string, fill ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	must(t, err)
	objects, err := cluster.Parse([]byte(strings.NewReplacer(fill...).Replace(string(text))))
	must(t, err)
	must(t, cluster.Apply(t.Context(), s.Config, objects))
}

// errNotYet says nothing more.
var errNotYet = errors.New("not yet")
