package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/cmd/internal/program"
	"github.com/portcullis-dev/portcullis/test/pki"
)

// call runs the program.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// kubeconfig is one of a cluster that does not answer.
func kubeconfig(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\nclusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: x}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func taken(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

func TestMistakesEndWithTheirExitCodeAndTheNextStep(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	authority, err := pki.NewAuthority(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("responder")
	if err != nil {
		t.Fatal(err)
	}
	told := filepath.Join(dir, "notify.yaml")
	if err := os.WriteFile(told, []byte("receivers: [{name: a, sms: {}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	tls := []string{"serve", "--namespace=guard", "--tls-cert=" + pair.CertFile, "--tls-key=" + pair.KeyFile}
	ready := func(args ...string) []string {
		all := append(tls, "--client-ca="+authority.File, "--spool="+t.TempDir(), "--kubeconfig="+kubeconfig(t), "--listen=127.0.0.1:0", "--probes=127.0.0.1:0")
		return append(all, args...)
	}
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no command":                          {nil, program.ExitUsage, "name a command"},
		"a command that there is not":         {[]string{"watch"}, program.ExitUsage, `no command "watch": use serve, crd or roles`},
		"an argument":                         {ready("acme"), program.ExitUsage, "flags only"},
		"an unknown flag":                     {ready("--leader-elect"), program.ExitUsage, "unknown flag"},
		"a namespace that is none":            {[]string{"roles", "--namespace=A B"}, program.ExitUsage, "no namespace"},
		"no place for events":                 {append(tls, "--client-ca=a"), program.ExitUsage, "give --spool"},
		"no certificate":                      {[]string{"serve", "--spool=a", "--client-ca=a"}, program.ExitUsage, "give --tls-cert and --tls-key"},
		"anybody may send":                    {append(tls, "--spool=a"), program.ExitUsage, "give --client-ca, or --secret-path-file"},
		"two ways to know senders":            {append(tls, "--spool=a", "--client-ca=a", "--secret-path-file=b"), program.ExitUsage, "leave one out"},
		"a name without a CA":                 {append(tls, "--spool=a", "--secret-path-file=b", "--sender=c"), program.ExitUsage, "give --client-ca, too"},
		"a network that there is not":         {ready("--cni=flannel"), program.ExitUsage, "use one of calico"},
		"a lease of no time":                  {ready("--lease-duration=10ms"), program.ExitUsage, "a second or more"},
		"no room":                             {ready("--spool-max-bytes=0"), program.ExitUsage, "above 0"},
		"an address without port":             {ready("--listen=localhost"), program.ExitUsage, "host:port"},
		"a bundle in Git":                     {ready("--bundle=git+https://git.example.com/p@main"), program.ExitUsage, "links no Git"},
		"a bundle by its tag":                 {ready("--bundle=oci://ghcr.io/acme/policies:v1"), program.ExitUsage, "by its digest"},
		"a bundle that is not there":          {ready("--bundle=" + filepath.Join(dir, "none")), program.ExitInternal, "give --bundle the folder"},
		"a bundle that is a file":             {ready("--bundle=" + garbage), program.ExitInternal, "is no folder"},
		"a profile that is not in the bundle": {ready("--profile=lenient"), program.ExitUsage, "choose one of"},
		"a gRPC server without node":          {ready("--falco-grpc=127.0.0.1:5060"), program.ExitUsage, "NODE=HOST:PORT"},
		"a gRPC server without certificate":   {ready("--falco-grpc=node-a=127.0.0.1:5060"), program.ExitUsage, "--falco-grpc-cert"},
		"a share that is none":                {ready("--journal=a", "--journal-ignored=2"), program.ExitUsage, "from 0 to 1"},
		"a journal where no folder can be":    {ready("--journal=" + garbage), program.ExitInternal, "correct --journal"},
		"no namespace":                        {[]string{"serve", "--spool=a", "--client-ca=a", "--tls-cert=a", "--tls-key=a"}, program.ExitUsage, "give --namespace"},
		"no cluster":                          {append(tls, "--spool=a", "--client-ca="+authority.File), program.ExitUsage, "give --kubeconfig"},
		"a kubeconfig that is not there":      {ready("--kubeconfig=/none"), program.ExitInternal, "correct --kubeconfig"},
		"an address that is taken":            {ready("--listen=" + taken(t)), program.ExitInternal, "--listen"},
		"a client CA that is not there":       {ready("--client-ca=/none"), program.ExitInternal, "correct --client-ca"},
		"a client CA that is no certificate":  {ready("--client-ca=" + garbage), program.ExitInternal, "correct --client-ca"},
		"a certificate that is not there":     {ready("--tls-cert=/none"), program.ExitInternal, "correct --tls-cert and --tls-key"},
		"a place for events that is a file":   {ready("--spool=" + garbage), program.ExitInternal, "correct --spool"},
		"a short secret":                      {append(tls, "--spool="+t.TempDir(), "--kubeconfig="+kubeconfig(t), "--listen=127.0.0.1:0", "--probes=127.0.0.1:0", "--secret-path-file="+secret), program.ExitUsage, "at least"},
		"a secret that is not there":          {append(tls, "--spool="+t.TempDir(), "--kubeconfig="+kubeconfig(t), "--listen=127.0.0.1:0", "--probes=127.0.0.1:0", "--secret-path-file=/none"), program.ExitInternal, "correct --secret-path-file"},
		"a file of who is told that is wrong": {ready("--notify=" + told), program.ExitUsage, "correct --notify"},
		"no file of who is told":              {ready("--notify=/none"), program.ExitInternal, "correct --notify"},
		"a trusted root that is none":         {ready("--trusted-root=" + garbage), program.ExitInternal, "correct --trusted-root"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, test.args...)
			if code != test.code || !strings.Contains(stderr, test.says) || stdout != "" {
				t.Errorf("got exit %d, %q and %q, want %d and %q", code, stderr, stdout, test.code, test.says)
			}
		})
	}
}
