// Package cluster starts a real Kubernetes control plane for a test: etcd, API
// server, controller manager and scheduler as processes of their own, on 127.0.0.1,
// in a few seconds. There is no kubelet, so pods are stored and scheduled nowhere;
// everything that happens at the API server happens as in any cluster.
//
//	control, err := cluster.Start(ctx, cluster.Options{Dir: t.TempDir()})
//	defer control.Stop()
//	client, err := control.Client(cluster.Admin)
//
// The programs come in one binary, built once from the Go module test/controlplane
// (see [Binary]), which is why this package needs no k8s.io/kubernetes.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/process"
)

// readyTimeout bounds each program's start. An API server is ready in about three
// seconds; a machine that compiles something else on all its cores needs patience.
const readyTimeout = 2 * time.Minute

// WebhookClientName is the common name of the client certificate that the API
// server shows to webhooks.
const WebhookClientName = "kube-apiserver"

// Options of a cluster. Only Dir is required.
type Options struct {
	// Dir receives everything the cluster writes: certificates, data and logs/.
	Dir string
	// Users may log in beside [Admin].
	Users []User
	// ValidatingManifests and MutatingManifests are folders of webhook configurations
	// that the API server reads from files (manifest-based admission control).
	ValidatingManifests, MutatingManifests string
	// APIServerFlags are added to the API server's flags.
	APIServerFlags []string
	// AuditLeases has the audit log tell of Leases, too, which make most of it.
	AuditLeases bool
	// WithoutControllers leaves out controller manager and scheduler: then nothing
	// makes service accounts, and namespaces are never gone.
	WithoutControllers bool
	// Progress is told when the control plane has to be built first; os.Stderr if nil.
	Progress io.Writer
}

// Cluster is a running control plane.
type Cluster struct {
	// URL of the API server, https://127.0.0.1:PORT.
	URL string
	// CAFile is the authority of the API server's certificate.
	CAFile string
	// WebhookClientCAFile is the authority of the client certificate that the API
	// server shows to webhooks, whose common name is [WebhookClientName].
	WebhookClientCAFile string
	// WebhookClient is that certificate.
	WebhookClient pki.Pair
	// AuditLog is the API server's audit log: JSON lines, each request without bodies.
	AuditLog string

	binary    string
	options   Options
	authority *pki.Authority
	files     files
	users     map[string]user
	etcdURL   string
	// etcdPeerURL is where etcd would meet others.
	etcdPeerURL string
	port        int
	etcd        *process.Process
	apiServer   *process.Process
	controller  *process.Process
	scheduler   *process.Process
}

// files are those that programs are pointed to.
type files struct {
	serving                   pki.Pair
	saPrivateKey, saPublicKey string
	tokens                    string
	admission                 string
	auditPolicy               string
}

// Start starts a control plane and waits until it is ready.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	if options.Dir == "" {
		return nil, errors.New("starting a cluster: Options.Dir is empty; give it a folder such as t.TempDir()")
	}
	if options.Progress == nil {
		options.Progress = os.Stderr
	}
	binary, err := Binary(ctx, options.Progress)
	if err != nil {
		return nil, err
	}
	c := &Cluster{binary: binary, options: options, AuditLog: filepath.Join(options.Dir, "logs", "audit.log")}
	if err := c.prepare(); err != nil {
		return nil, fmt.Errorf("preparing a cluster: %w", err)
	}
	if err := c.startAll(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a cluster: %w", err), c.Stop())
	}
	return c, nil
}

// prepare picks ports and writes all files the programs read.
func (c *Cluster) prepare() error {
	dir := c.options.Dir
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o755); err != nil {
		return err
	}
	var err error
	if c.port, err = FreePort(); err != nil {
		return err
	}
	c.URL = fmt.Sprintf("https://127.0.0.1:%d", c.port)
	if err := c.makeCertificates(); err != nil {
		return err
	}
	everybody := append([]User{
		{Name: Admin, Groups: []string{"system:masters"}},
		{Name: controllerManagerUser},
		{Name: schedulerUser},
	}, c.options.Users...)
	if c.users, c.files.tokens, err = newUsers(dir, c.URL, c.CAFile, everybody); err != nil {
		return err
	}
	c.files.admission, err = writeAdmissionConfiguration(dir, c.WebhookClient, map[string]string{
		"ValidatingAdmissionWebhook": c.options.ValidatingManifests,
		"MutatingAdmissionWebhook":   c.options.MutatingManifests,
	})
	if err != nil {
		return err
	}
	c.files.auditPolicy = filepath.Join(dir, "audit-policy.yaml")
	policy := auditPolicy
	if c.options.AuditLeases {
		policy = strings.Replace(policy, withoutLeases, "", 1)
	}
	return os.WriteFile(c.files.auditPolicy, []byte(policy), 0o600)
}

func (c *Cluster) makeCertificates() error {
	dir := c.options.Dir
	var err error
	if c.authority, err = pki.NewAuthority(dir, "cluster-ca"); err != nil {
		return err
	}
	if c.files.serving, err = c.authority.Issue("apiserver", "kubernetes.default.svc", serviceAddress); err != nil {
		return err
	}
	// An authority of its own: its certificates must not log in at the API server.
	webhook, err := pki.NewAuthority(dir, "webhook-client-ca")
	if err != nil {
		return err
	}
	if c.WebhookClient, err = webhook.Issue(WebhookClientName); err != nil {
		return err
	}
	c.CAFile, c.WebhookClientCAFile = c.authority.File, webhook.File
	c.files.saPrivateKey, c.files.saPublicKey, err = serviceAccountKeys(dir)
	return err
}

// ServingCertificate makes a certificate for a server on 127.0.0.1, reached by further
// names and addresses too, that is signed by the authority of CAFile. Its files are named
// after the server.
func (c *Cluster) ServingCertificate(server string, names ...string) (pki.Pair, error) {
	return c.authority.Issue(server, names...)
}

func (c *Cluster) startAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := c.startEtcd(ctx); err != nil {
		return err
	}
	if err := c.startAPIServer(ctx); err != nil {
		return err
	}
	if c.options.WithoutControllers {
		return nil
	}
	return c.startControllers(ctx)
}

// RestartAPIServer stops the API server and starts it again with the same data, port
// and certificates; it returns when the new one is ready.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	// Not Stop: the API server's graceful end waits a minute for watches to end.
	c.apiServer.Kill()
	if err := c.startAPIServer(ctx); err != nil {
		return fmt.Errorf("restarting the API server: %w", err)
	}
	return nil
}

// RestartEtcd kills etcd and starts it again with the same data and port; it returns when the API server is ready again.
func (c *Cluster) RestartEtcd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	c.etcd.Kill()
	if err := c.startEtcd(ctx); err != nil {
		return fmt.Errorf("restarting etcd: %w", err)
	}
	client, err := c.Client(Admin)
	if err != nil {
		return err
	}
	err = c.apiServer.WaitUntil(ctx, func(ctx context.Context) error { return Healthy(ctx, client, "/readyz") })
	if err != nil {
		return fmt.Errorf("waiting for the API server after a restart of etcd: %w", err)
	}
	return nil
}

// Stop ends all programs. What they wrote stays in Options.Dir.
func (c *Cluster) Stop() error {
	for _, program := range []*process.Process{c.scheduler, c.controller, c.apiServer} {
		if program != nil {
			program.Kill() // nothing of a test's cluster is worth a graceful end
		}
	}
	if c.etcd == nil {
		return nil
	}
	return c.etcd.Stop()
}

// Healthy asks an endpoint of the API server such as /readyz or /readyz/poststarthook/NAME;
// the error says what it answered if that is not "ok".
func Healthy(ctx context.Context, client kubernetes.Interface, path string) error {
	answer, err := client.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("asking %s: %w: %s", path, err, answer)
	}
	if string(answer) != "ok" {
		return fmt.Errorf("asking %s: it answered %q", path, answer)
	}
	return nil
}
