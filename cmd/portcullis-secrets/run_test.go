package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/portcullis-dev/portcullis/cmd/internal/program"
)

// kubeconfig is that of an API server that there is not.
func kubeconfig(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	err := clientcmd.WriteToFile(api.Config{
		Clusters: map[string]*api.Cluster{"c": {Server: "https://127.0.0.1:1"}}, Contexts: map[string]*api.Context{"c": {Cluster: "c"}}, CurrentContext: "c",
	}, file)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// taken is an address where somebody listens.
func taken(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

func TestEachMistakeOfUsageSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage")
	if err := os.WriteFile(garbage, []byte("\x00garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	ready := func(args ...string) []string {
		return append([]string{"serve", "--namespace=guard", "--kubeconfig=" + kubeconfig(t), "--probes=127.0.0.1:0"}, args...)
	}
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no command":                          {[]string{}, program.ExitUsage, "name a command"},
		"a command that there is not":         {[]string{"sync"}, program.ExitUsage, `no command "sync": use serve, crd or roles`},
		"an argument":                         {ready("acme"), program.ExitUsage, "flags only"},
		"an unknown flag":                     {ready("--leader-elect"), program.ExitUsage, "unknown flag"},
		"a lease of no time":                  {ready("--lease-duration=10ms"), program.ExitUsage, "a second or more"},
		"no workers":                          {ready("--workers=0"), program.ExitUsage, "above 0"},
		"fewer than no watches":               {ready("--max-watches=-1"), program.ExitUsage, "0 for none"},
		"a log that would hold Secrets":       {ready("--log-level=DEBUG-6"), program.ExitUsage, "debug is the most"},
		"no time to end":                      {ready("--end-grace=0s"), program.ExitUsage, "above 0"},
		"a socket without a path":             {ready("--kms-socket=kms.sock"), program.ExitUsage, "absolute path of a unix socket"},
		"an address without port":             {ready("--probes=localhost"), program.ExitUsage, "host:port"},
		"an address that is taken":            {ready("--probes=" + taken(t)), program.ExitInternal, "correct --probes"},
		"a bundle in Git":                     {ready("--bundle=git+https://git.example.com/p@main"), program.ExitUsage, "portcullis-secrets links no Git"},
		"a bundle by its tag":                 {ready("--bundle=oci://ghcr.io/acme/policies:v1"), program.ExitUsage, "by its digest"},
		"a bundle that is not there":          {ready("--bundle=" + filepath.Join(dir, "none")), program.ExitInternal, "give --bundle the folder"},
		"a profile that is not in the bundle": {ready("--profile=lenient"), program.ExitUsage, "choose one of"},
		"a share that is none":                {ready("--journal=a", "--journal-allows=2"), program.ExitUsage, "from 0 to 1"},
		"a key of no journal":                 {ready("--journal-key=a"), program.ExitUsage, "give --journal"},
		"a journal where no folder can be":    {ready("--journal=" + garbage), program.ExitInternal, "correct --journal"},
		"a trusted root that is none":         {ready("--trusted-root=" + garbage), program.ExitInternal, "correct --trusted-root"},
		"no namespace":                        {[]string{"serve"}, program.ExitUsage, "give --namespace"},
		"no cluster":                          {[]string{"serve", "--namespace=guard", "--probes=127.0.0.1:0"}, program.ExitUsage, "give --kubeconfig"},
		"a kubeconfig that is not there":      {ready("--kubeconfig=/none"), program.ExitInternal, "correct --kubeconfig"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var stderr bytes.Buffer
			code := run(ctx, test.args, nil, io.Discard, &stderr)
			if code != test.code || !strings.Contains(stderr.String(), test.want) {
				t.Errorf("got exit %d and %q, want %d and %q", code, stderr.String(), test.code, test.want)
			}
			if usage := strings.Contains(stderr.String(), "--help"); usage != (test.code == program.ExitUsage) {
				t.Errorf("the hint at --help is there: %v, want %v: %s", usage, test.code == program.ExitUsage, stderr.String())
			}
		})
	}
}
