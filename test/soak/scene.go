package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"

	policiesv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/gitserver"
	"github.com/portcullis-dev/portcullis/test/installation"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/programs"
	"github.com/portcullis-dev/portcullis/test/vaultfront"
	"github.com/portcullis-dev/portcullis/test/vaultserver"
)

// Namespaces of the load.
const (
	loadNamespace    = "load"
	imageNamespace   = "images"
	victimNamespace  = "victims"
	secretsNamespace = "shop"
)

// onCall is who releases quarantines.
const onCall = "on-call"

// bundleName is that of the bundle, of its repository and of its PolicyBundle.
const bundleName = "soak"

// scene is everything that runs.
type scene struct {
	*installation.Installation
	dir      string
	registry *registrytest.Server
	client   *registry.Client
	release  *cosign.Key // signs images

	git       *gitserver.Server
	gitPair   pki.Pair
	gitCA     string
	gitFolder string
	serial    int64 // of the bundle that was pushed last

	vault *vaultserver.Server
	front *vaultfront.Front // stands between portcullis-secrets and Vault
}

func newScene(ctx context.Context, options Options) (*scene, error) {
	s := &scene{dir: options.Dir}
	for _, start := range []func(context.Context) error{s.startRegistry, s.startGit, s.startVault, func(ctx context.Context) error { return s.install(ctx, options) }} {
		if err := start(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *scene) stop() error {
	var problems []error
	if s.Installation != nil {
		problems = append(problems, s.Stop())
	}
	if s.front != nil {
		problems = append(problems, s.front.Close())
	}
	if s.vault != nil {
		problems = append(problems, s.vault.Stop())
	}
	if s.git != nil {
		problems = append(problems, s.git.Stop())
	}
	if s.registry != nil {
		problems = append(problems, s.registry.Close())
	}
	return errors.Join(problems...)
}

func (s *scene) startRegistry(context.Context) error {
	var err error
	if s.registry, err = registrytest.Start(registrytest.TLS); err != nil {
		return err
	}
	if s.client, err = s.registry.Client(); err != nil {
		return err
	}
	private, _, err := cosign.GenerateKeyPair(nil)
	if err != nil {
		return err
	}
	s.release, err = cosign.LoadPrivateKey(private, nil)
	return err
}

func (s *scene) startGit(ctx context.Context) error {
	authority, err := pki.NewAuthority(s.dir, "git-ca")
	if err != nil {
		return err
	}
	s.gitCA = authority.File
	if s.gitPair, err = authority.Issue("git"); err != nil {
		return err
	}
	if err := s.serveGit(ctx, ""); err != nil {
		return err
	}
	bare, err := s.git.Create(ctx, bundleName)
	if err != nil {
		return err
	}
	s.gitFolder = filepath.Join(s.dir, "work")
	if err := s.command(ctx, s.dir, "clone", "-q", bare, s.gitFolder); err != nil {
		return err
	}
	return s.pushBundle(ctx)
}

func (s *scene) serveGit(ctx context.Context, listen string) (err error) {
	s.git, err = gitserver.Start(ctx, gitserver.Options{Dir: filepath.Join(s.dir, "repositories"), Serving: s.gitPair, Listen: listen})
	return err
}

func (s *scene) command(ctx context.Context, dir string, args ...string) error {
	command := exec.CommandContext(ctx, "git", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0", "HOME="+s.dir,
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, out)
	}
	return nil
}

// bundleText is bundle.yaml. Limits are out of the way: they have tests of their own, and would refuse what is counted here.
const bundleText = `apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: soak
serial: %d
include: library
trust:
  authorities:
    - {name: release, images: ['%[2]s/soak/**'], keys: [{pem: %[3]s}]}
  requirements:
    - {name: soak, images: ['%[2]s/soak/**'], anyOf: [release]}
response:
  mode: enforce
  cooldown: 1ns
  limits: {cluster: 100000, namespace: 100000, owner: 100000, ownerPercent: 100}
  breaker: {plans: 100000}
policies:
  - {policy: namespaces/exempt-namespace-guard, enforcement: "off"}
profiles:
  - name: soak
    extends: baseline
    policies:
      - policy: runtime/reverse-shell
        parameters: {actions: [{action: snapshot}, {action: isolate}, {action: condemn, parameters: {effect: warn}}, {action: notify}]}
      - policy: runtime/incidents
      - policy: runtime/quarantined-exec
      - policy: runtime/quarantined-changes
      - policy: runtime/quarantine-labels
      - policy: runtime/quarantine-objects
      - policy: patch/seccomp-runtime-default
  - name: images
    extends: soak
    policies:
      - policy: images/signed
defaultProfile: soak
namespaces:
  - {match: [images], profile: images}
  - {match: [kube-system, kube-public, kube-node-lease], profile: system}
`

// pushBundle pushes the next revision.
func (s *scene) pushBundle(ctx context.Context) error {
	key, err := s.release.PublicPEM()
	if err != nil {
		return err
	}
	quoted, err := json.Marshal(key) // JSON is YAML
	if err != nil {
		return err
	}
	next := s.serial + 1
	text := fmt.Sprintf(bundleText, next, s.registry.Host(), quoted)
	if err := os.WriteFile(filepath.Join(s.gitFolder, "bundle.yaml"), []byte(text), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{{"add", "--all"}, {"commit", "-q", "-m", fmt.Sprintf("Revision %d", next)}, {"push", "-q", "origin", "HEAD:main"}} {
		if err := s.command(ctx, s.gitFolder, args...); err != nil {
			return fmt.Errorf("pushing a bundle: %w", err)
		}
	}
	s.serial = next
	return nil
}

// bundleActive says whether what was pushed last judges everywhere.
func (s *scene) bundleActive(ctx context.Context) error {
	object, err := s.Dynamic.Resource(policiesv1alpha1.Bundles).Get(ctx, bundleName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var bundle policiesv1alpha1.PolicyBundle
	if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &bundle); err != nil {
		return err
	}
	status := bundle.Status
	if status.Active == nil || status.Active.Serial != s.serial || status.Phase != policiesv1alpha1.PhaseActive {
		return fmt.Errorf("the bundle is %s with %+v, and serial %d was pushed; rejected: %+v", status.Phase, status.Active, s.serial, status.Rejected)
	}
	if status.Replicas < 2 || status.ReadyReplicas != status.Replicas {
		return fmt.Errorf("of %d replicas that judge %d have the bundle", status.Replicas, status.ReadyReplicas)
	}
	for _, c := range status.Conditions {
		if c.Type == policiesv1alpha1.ConditionReady && c.Status == metav1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("the bundle is not ready: %+v", status.Conditions)
}

func (s *scene) startVault(ctx context.Context) (err error) {
	if s.vault, err = vaultserver.Start(ctx, vaultserver.Options{Dir: filepath.Join(s.dir, "vault")}); err != nil {
		return err
	}
	s.front, err = vaultfront.New(filepath.Join(s.dir, "front"), s.vault.Address(), s.vault.CA())
	return err
}

// beforeText is what is there before the chart: the definitions, so that the bundle is, and what the chart's values name.
const beforeText = `
apiVersion: v1
kind: ConfigMap
metadata: {name: registry-ca, namespace: portcullis-system}
data: {ca.crt: %s}
---
apiVersion: policy.portcullis.dev/v1alpha1
kind: PolicyBundle
metadata: {name: soak}
spec:
  source: {git: {url: '%s', branch: main, caBundle: %s}}
  interval: 10s
  verification: {insecureUnsigned: true}
`

func (s *scene) install(ctx context.Context, options Options) error {
	var authorities [2][]byte
	for n, file := range []string{s.registry.AuthorityFile(), s.gitCA} {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if authorities[n], err = json.Marshal(string(text)); err != nil {
			return err
		}
	}
	before := append([]byte(strings.TrimSpace(string(policiesv1alpha1.Manifest))+"\n---\n"), fmt.Appendf(nil, beforeText, authorities[0], s.git.URL(bundleName), authorities[1])...)
	var err error
	s.Installation, err = installation.Start(ctx, installation.Options{
		Dir: filepath.Join(s.dir, "installation"), Programs: options.Programs, Before: before, Progress: options.Output,
		Users:      []cluster.User{{Name: onCall, Groups: []string{"portcullis:responders"}}},
		Components: []string{installation.Responder, installation.Secrets, installation.Console},
		Values: map[string]any{
			"bundle":     map[string]any{"source": "cluster"},
			"registries": map[string]any{"caConfigMap": "registry-ca", "allow": []any{"127.0.0.0/8"}},
			// All that is asked is written down and kept, to be compared.
			"webhook": map[string]any{"journal": map[string]any{"maxBytes": 4 << 30}, "extraArgs": []any{"--journal-unmatched"}},
			"secrets": map[string]any{"replicas": 2},
		},
	})
	if err != nil {
		return err
	}
	for _, name := range []string{loadNamespace, imageNamespace, victimNamespace, secretsNamespace} {
		err := until(ctx, func(ctx context.Context) error { return cluster.CreateNamespace(ctx, s.Client, name, nil) })
		if err != nil {
			return err
		}
	}
	return s.apply(ctx, onCallText)
}

// onCallText lets the person on call release quarantines.
const onCallText = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: on-call}
subjects: [{kind: User, name: on-call, apiGroup: rbac.authorization.k8s.io}]
roleRef: {kind: ClusterRole, name: portcullis-incident-responder, apiGroup: rbac.authorization.k8s.io}
`

// components are all of the installation.
var components = []string{installation.Webhook, installation.Controller, installation.Responder, installation.Secrets, installation.Console}

// rolledOut says whether all that the chart has runs: by what the API server knows, which may be old, and by asking each process.
func (s *scene) rolledOut(ctx context.Context) error {
	for _, component := range components {
		pods, err := s.Pods(ctx, component)
		if err != nil {
			return err
		}
		for _, pod := range pods {
			if err := s.ready(ctx, component, pod); err != nil {
				return fmt.Errorf("%s: %w", pod, err)
			}
		}
	}
	return s.WaitUntilRolledOut(ctx)
}

// ready asks the process of a pod whether it is.
func (s *scene) ready(ctx context.Context, component, pod string) error {
	if s.Process(pod) == nil {
		return errors.New("nothing runs")
	}
	port := "probes"
	if component == installation.Console {
		port = "https"
	}
	address, err := s.Address(pod, port)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if component == installation.Console { // whose certificate is nobody's business here
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	}
	return programs.Probe(ctx, http.DefaultClient, "http://"+address+"/readyz")
}

// apply applies manifests as the administrator.
func (s *scene) apply(ctx context.Context, manifests string) error {
	objects, err := cluster.Parse([]byte(manifests))
	if err != nil {
		return err
	}
	return cluster.Apply(ctx, s.Config, objects)
}
