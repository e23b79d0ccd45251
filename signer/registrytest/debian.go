package registrytest

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The Debian package docker-registry is distribution 2.8: no referrers API, artifact types unknown, tags and
// manifests checked as Docker's own registry does. Deletion is switched on.
const debianConfig = `version: 0.1
log: {level: error}
storage:
  filesystem: {rootdirectory: %s}
  delete: {enabled: true}
http:
  addr: %s
`

// StartDebian runs the registry that Debian packages until the test ends, and gives its host, as "127.0.0.1:PORT", once it
// answers. Without the package the test is skipped.
func StartDebian(t testing.TB) (host string) {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed; on Debian: apt-get install docker-registry")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host = listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	config := filepath.Join(directory, "config.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, debianConfig, filepath.Join(directory, "data"), host), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program, "serve", config)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("docker-registry wrote:\n%s", out.String())
		}
	})
	awaitDebian(t, host)
	return host
}

func awaitDebian(t testing.TB, host string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		response, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			response.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("docker-registry does not answer: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
}
