package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/portcullis-dev/portcullis/test/process"
)

// The users that the programs log in as: RBAC's bootstrap roles know them by name.
const (
	controllerManagerUser = "system:kube-controller-manager"
	schedulerUser         = "system:kube-scheduler"
)

// auditPolicy records who did what, with admission's annotations, but no bodies;
// reading is only recorded for those who are no part of the control plane.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler"]
  verbs: [get, list, watch]
` + withoutLeases + `- level: Metadata
`

// withoutLeases leaves out what is written every few seconds: see Options.AuditLeases.
const withoutLeases = `- level: None
  resources: [{group: coordination.k8s.io, resources: [leases]}]
`

func (c *Cluster) startEtcd(ctx context.Context) error {
	var err error
	if c.etcdURL == "" { // one that is started again stays where it was
		var port, peerPort int
		if port, err = FreePort(); err != nil {
			return err
		}
		if peerPort, err = FreePort(); err != nil {
			return err
		}
		c.etcdURL, c.etcdPeerURL = fmt.Sprintf("http://127.0.0.1:%d", port), fmt.Sprintf("http://127.0.0.1:%d", peerPort)
	}
	c.etcd, err = c.run("etcd",
		"--data-dir="+filepath.Join(c.options.Dir, "etcd"),
		"--client-url="+c.etcdURL,
		"--peer-url="+c.etcdPeerURL)
	if err != nil {
		return err
	}
	return c.etcd.WaitUntil(ctx, func(ctx context.Context) error { return getOK(ctx, c.etcdURL+"/health") })
}

func (c *Cluster) startAPIServer(ctx context.Context) error {
	flags := append([]string{
		"--etcd-servers=" + c.etcdURL,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", c.port),
		"--advertise-address=127.0.0.1",
		// The kubernetes Service may not point to loopback: see NodeOptions.APIServer.
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=" + serviceNetwork,
		"--tls-cert-file=" + c.files.serving.CertFile,
		"--tls-private-key-file=" + c.files.serving.KeyFile,
		"--service-account-issuer=" + c.URL,
		"--service-account-key-file=" + c.files.saPublicKey,
		"--service-account-signing-key-file=" + c.files.saPrivateKey,
		"--authorization-mode=Node,RBAC",
		"--token-auth-file=" + c.files.tokens,
		"--allow-privileged=true",
		// Logs and commands of pods on a real node: its kubelet knows the authority, and its name is no host's.
		"--kubelet-client-certificate=" + c.files.serving.CertFile,
		"--kubelet-client-key=" + c.files.serving.KeyFile,
		"--kubelet-preferred-address-types=InternalIP",
		"--admission-control-config-file=" + c.files.admission,
		"--audit-policy-file=" + c.files.auditPolicy,
		"--audit-log-path=" + c.AuditLog,
		"--audit-log-mode=blocking", // a test reads it after a request, not some time later
	}, c.options.APIServerFlags...)
	var err error
	if c.apiServer, err = c.run("kube-apiserver", flags...); err != nil {
		return err
	}
	client, err := c.Client(Admin)
	if err != nil {
		return err
	}
	return c.apiServer.WaitUntil(ctx, func(ctx context.Context) error { return Healthy(ctx, client, "/readyz") })
}

// startControllers starts controller manager and scheduler and waits for the first
// work of the former: the default service account, without which no pod is admitted.
func (c *Cluster) startControllers(ctx context.Context) error {
	var err error
	c.controller, err = c.run("kube-controller-manager",
		"--kubeconfig="+c.users[controllerManagerUser].kubeconfig,
		"--authentication-kubeconfig="+c.users[controllerManagerUser].kubeconfig,
		"--authorization-kubeconfig="+c.users[controllerManagerUser].kubeconfig,
		"--service-account-private-key-file="+c.files.saPrivateKey,
		"--root-ca-file="+c.CAFile,
		"--use-service-account-credentials=true",
		"--leader-elect=false",
		"--secure-port=0")
	if err != nil {
		return err
	}
	c.scheduler, err = c.run("kube-scheduler",
		"--kubeconfig="+c.users[schedulerUser].kubeconfig,
		"--authentication-kubeconfig="+c.users[schedulerUser].kubeconfig,
		"--authorization-kubeconfig="+c.users[schedulerUser].kubeconfig,
		"--leader-elect=false",
		"--secure-port=0")
	if err != nil {
		return err
	}
	client, err := c.Client(Admin)
	if err != nil {
		return err
	}
	return c.controller.WaitUntil(ctx, func(ctx context.Context) error {
		return hasServiceAccount(ctx, client, "default")
	})
}

func (c *Cluster) run(program string, flags ...string) (*process.Process, error) {
	return process.Start(process.Command{
		Name:    program,
		Path:    c.binary,
		Args:    append([]string{program}, flags...),
		LogFile: filepath.Join(c.options.Dir, "logs", program+".log"),
	})
}

// getOK asks a URL once; anything but 200 is an error.
func getOK(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}
