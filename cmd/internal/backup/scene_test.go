package backup

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	policiesv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	scannerv1alpha1 "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	secretsv1alpha1 "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/gitserver"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/process"
	"github.com/portcullis-dev/portcullis/test/programs"
)

const own = "portcullis-system"

// caught is an image that an incident is about.
const caught = "ghcr.io/acme/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// bundle denies privileged pods, answers reverse shells, and remembers.
const bundle = `apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: platform
serial: 7
include: library
response: {mode: enforce}
exceptionsFrom: {namespaces: [shop], maxDuration: 3650d}
profiles:
- name: ours
  policies:
  - policy: pods/privileged
  - policy: runtime/reverse-shell
    parameters: {actions: [{action: snapshot}, {action: isolate}, {action: condemn, parameters: {effect: deny}}]}
  - policy: runtime/incidents
defaultProfile: ours
`

// scene is one cluster with what runs in it.
type scene struct {
	t       *testing.T
	dir     string
	control *cluster.Cluster
	kube    kubernetes.Interface
	objects dynamic.Interface
	creator *cluster.Creator

	// ended ends the programs.
	ended []func()
}

// users are those of each cluster beside its administrator.
var users = []cluster.User{{Name: "restorer"}, {Name: "tenant"}, {Name: "nobody"}}

// newScene starts a control plane. dir may have the data of another one's etcd.
func newScene(t *testing.T, dir string, options cluster.Options) *scene {
	t.Helper()
	options.Dir, options.Users = dir, users
	s := &scene{t: t, dir: dir}
	var err error
	s.control, err = cluster.Start(t.Context(), options)
	s.must(err)
	t.Cleanup(s.end)
	config, err := s.control.Config(cluster.Admin)
	s.must(err)
	s.kube, err = kubernetes.NewForConfig(config)
	s.must(err)
	s.objects, err = dynamic.NewForConfig(config)
	s.must(err)
	return s
}

// define applies the definitions, and what is there before an installation.
func (s *scene) define() {
	s.t.Helper()
	s.refresh()
	s.create(clustertest.Namespaces(own, "shop"), policiesv1alpha1.Manifest, runtimev1alpha1.Manifest, definitionOf(scannerv1alpha1.Manifest), secretsv1alpha1.Manifest, policiesv1alpha1.BreakGlassGuard)
	for _, kind := range Kinds() {
		clustertest.Serving(s.t, s.objects, kind.Resource)
	}
	s.refresh()
}

// definitionOf leaves the roles out, which are in the same file.
func definitionOf(manifest []byte) []byte {
	first, _, _ := bytes.Cut(manifest, []byte("\n---\n"))
	return first
}

func (s *scene) refresh() {
	s.t.Helper()
	config, err := s.control.Config(cluster.Admin)
	s.must(err)
	s.creator, err = cluster.NewCreator(config)
	s.must(err)
}

func (s *scene) create(manifests ...[]byte) {
	s.t.Helper()
	for _, manifest := range manifests {
		_, err := s.creator.Create(s.t.Context(), manifest, metav1.CreateOptions{})
		s.must(err)
	}
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// stopPrograms ends all programs, as an administrator does who is about to restore.
func (s *scene) stopPrograms() {
	for _, end := range s.ended {
		end()
	}
	s.ended = nil
}

func (s *scene) end() {
	s.stopPrograms()
	if s.control != nil {
		if err := s.control.Stop(); err != nil {
			s.t.Error(err)
		}
		s.control = nil
	}
}

func (s *scene) kubeconfig() string {
	s.t.Helper()
	file, err := s.control.Kubeconfig(cluster.Admin)
	s.must(err)
	return file
}

func (s *scene) address() string {
	s.t.Helper()
	port, err := cluster.FreePort()
	s.must(err)
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// get is an object of ours.
func (s *scene) get(kind, namespace, name string) *unstructured.Unstructured {
	s.t.Helper()
	object, err := s.objects.Resource(Find(kind).Resource).Namespace(namespace).Get(s.t.Context(), name, metav1.GetOptions{})
	s.must(err)
	return object
}

// as is how somebody reaches the cluster.
func (s *scene) as(user string) (kubernetes.Interface, dynamic.Interface) {
	s.t.Helper()
	config, err := s.control.Config(user)
	s.must(err)
	kube, err := kubernetes.NewForConfig(config)
	s.must(err)
	objects, err := dynamic.NewForConfig(config)
	s.must(err)
	return kube, objects
}

// startController starts portcullis-controller, which keeps the bundle.
func (s *scene) startController(bin string) {
	s.t.Helper()
	probes, log := s.address(), filepath.Join(s.dir, "controller.log")
	running, err := process.Start(process.Command{Name: "portcullis-controller", Path: filepath.Join(bin, "portcullis-controller"), LogFile: log,
		Args: []string{"serve", "--kubeconfig=" + s.kubeconfig(), "--namespace=" + own, "--probes=" + probes, "--allow-registry=127.0.0.0/8"}})
	s.must(err)
	s.ended = append(s.ended, func() { _ = running.Stop(); s.logs(log) })
	client := &http.Client{Timeout: 2 * time.Second}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	s.must(running.WaitUntil(ctx, func(ctx context.Context) error { return programs.Probe(ctx, client, "http://"+probes+"/readyz") }))
}

func (s *scene) logs(file string) {
	if text, err := os.ReadFile(file); err == nil && s.t.Failed() {
		s.t.Logf("%s:\n%s", filepath.Base(file), text)
	}
}

// startWebhook starts portcullis-webhook and has the API server ask it.
func (s *scene) startWebhook(bin, folder string) {
	s.t.Helper()
	serving, err := s.control.ServingCertificate("portcullis-webhook")
	s.must(err)
	log := filepath.Join(s.dir, "webhook.log")
	options := programs.WebhookOptions{Dir: bin, Name: "portcullis-webhook", Bundle: "cluster", Listen: s.address(), Probes: s.address(), Serving: serving,
		ClientCAFile: s.control.WebhookClientCAFile, ClientName: cluster.WebhookClientName, Kubeconfig: s.kubeconfig(), LogFile: log}
	running, err := programs.StartWebhook(s.t.Context(), options)
	s.must(err)
	s.ended = append(s.ended, func() { _ = running.Stop(); s.logs(log) })
	printed, err := programs.PrintConfig(s.t.Context(), programs.ConfigOptions{Dir: bin, Name: "portcullis", Bundle: folder, URL: "https://" + options.Listen, CAFile: s.control.CAFile})
	s.must(err)
	s.create(printed)
}

// startResponder starts portcullis-responder. It gives who may send it events.
func (s *scene) startResponder(bin string) (*programs.Responder, *http.Client) {
	s.t.Helper()
	senders, err := pki.NewAuthority(s.dir, "senders")
	s.must(err)
	serving, err := s.control.ServingCertificate("portcullis-responder")
	s.must(err)
	log := filepath.Join(s.dir, "responder.log")
	running, err := programs.StartResponder(s.t.Context(), programs.ResponderOptions{Dir: bin, Name: "one", Bundle: "cluster", Listen: s.address(), Probes: s.address(), Serving: serving,
		ClientCAFile: senders.File, Kubeconfig: s.kubeconfig(), Namespace: own, Spool: filepath.Join(s.dir, "spool"), Args: []string{"--cni=calico", "--lease-duration=2s", "--sender=falco"}, LogFile: log})
	s.must(err)
	s.ended = append(s.ended, func() { _ = running.Stop(); s.logs(log) })
	pair, err := senders.Issue("falco")
	s.must(err)
	certificate, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	s.must(err)
	authority, err := os.ReadFile(s.control.CAFile)
	s.must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return running, &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}}}}
}

// pod is one of shop, as it is tried.
func pod(name, image string, privileged bool) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Spec: corev1.PodSpec{
		AutomountServiceAccountToken: new(false), Containers: []corev1.Container{{Name: "app", Image: image, SecurityContext: &corev1.SecurityContext{Privileged: &privileged}}},
	}}
}

// verdict is what admission says of a pod: admitted, or the policy that denies it.
func (s *scene) verdict(p *corev1.Pod) string {
	_, err := s.kube.CoreV1().Pods("shop").Create(s.t.Context(), p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err == nil {
		return "admitted"
	}
	for _, policy := range []string{"pods/privileged", "runtime/incidents"} {
		if strings.Contains(err.Error(), policy) {
			return policy
		}
	}
	return err.Error()
}

// verdicts are of the requests that have to be judged the same before and after.
func (s *scene) verdicts() string {
	return strings.Join([]string{
		"a privileged pod: " + s.verdict(pod("bad", "ghcr.io/acme/other", true)),
		"one with an exception: " + s.verdict(pod("agent", "ghcr.io/acme/other", true)),
		"one whose exception is over: " + s.verdict(pod("yesterday", "ghcr.io/acme/other", true)),
		"a plain one: " + s.verdict(pod("good", "ghcr.io/acme/other", false)),
		"an image that was caught: " + s.verdict(pod("again", caught, false)),
	}, "\n")
}

const wantedVerdicts = `a privileged pod: pods/privileged
one with an exception: admitted
one whose exception is over: pods/privileged
a plain one: admitted
an image that was caught: runtime/incidents`

// repository is a signed bundle in a real Git server.
type repository struct {
	t         *testing.T
	dir       string
	authority *pki.Authority
	server    *gitserver.Server
	listen    string
	signers   string
	serving   pki.Pair
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	if _, err := gitserver.Backend(t.Context()); err != nil {
		t.Skip(err)
	}
	r := &repository{t: t, dir: t.TempDir()}
	var err error
	if r.authority, err = pki.NewAuthority(r.dir, "git-ca"); err != nil {
		t.Fatal(err)
	}
	if r.serving, err = r.authority.Issue("git"); err != nil {
		t.Fatal(err)
	}
	port, err := cluster.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	r.listen = fmt.Sprintf("127.0.0.1:%d", port)
	r.start()
	t.Cleanup(func() { _ = r.server.Stop() })
	if _, err := r.server.Create(t.Context(), "platform"); err != nil {
		t.Fatal(err)
	}
	r.publish()
	return r
}

// start starts the server, at the same place each time.
func (r *repository) start() {
	r.t.Helper()
	var err error
	if r.server, err = gitserver.Start(r.t.Context(), gitserver.Options{Dir: filepath.Join(r.dir, "repositories"), Serving: r.serving, Listen: r.listen}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repository) folder() string { return filepath.Join(r.dir, "work") }

func (r *repository) publish() {
	r.t.Helper()
	key := filepath.Join(r.dir, "ada")
	r.run(r.dir, "git", "init", "-q", "--initial-branch=main", r.folder())
	if err := os.WriteFile(filepath.Join(r.folder(), "bundle.yaml"), []byte(bundle), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.run(r.dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada@example.com", "-f", key)
	for _, args := range [][]string{
		{"config", "user.name", "Ada"}, {"config", "user.email", "ada@example.com"}, {"config", "gpg.format", "ssh"}, {"config", "user.signingkey", key + ".pub"},
		{"remote", "add", "origin", r.server.URL("platform")}, {"add", "--all"}, {"commit", "-q", "-S", "-m", "Begin"}, {"push", "-q", "origin", "main"},
	} {
		r.run(r.folder(), "git", args...)
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		r.t.Fatal(err)
	}
	r.signers = `ada@example.com namespaces="git" ` + strings.TrimSpace(string(public))
}

func (r *repository) run(dir, program string, args ...string) {
	r.t.Helper()
	command := exec.CommandContext(r.t.Context(), program, args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+filepath.Join(r.dir, "gitconfig"), "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_SSL_CAINFO="+r.authority.File, "HOME="+r.dir)
	if output, err := command.CombinedOutput(); err != nil {
		r.t.Fatal(errors.Join(fmt.Errorf("%s %s: %s", program, strings.Join(args, " "), output), err))
	}
}

// policyBundle is the PolicyBundle of the repository.
func (r *repository) policyBundle() []byte {
	r.t.Helper()
	authority, err := os.ReadFile(r.authority.File)
	if err != nil {
		r.t.Fatal(err)
	}
	return fmt.Appendf(nil, `{apiVersion: policy.portcullis.dev/v1alpha1, kind: PolicyBundle, metadata: {name: platform}, spec: {interval: 10s,
 source: {git: {url: %q, branch: main, caBundle: %q}}, verification: {allowedSigners: %q}}}`, r.server.URL("platform"), authority, r.signers)
}
