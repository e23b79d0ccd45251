package registry_test

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

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// The Debian package docker-registry is distribution 2.8: no referrers API, tags and
// manifests checked as Docker's own registry does. Deletion is switched on.
const debianConfig = `version: 0.1
log: {level: error}
storage:
  filesystem: {rootdirectory: %s}
  delete: {enabled: true}
http:
  addr: %s
`

func TestTheRegistryOfDebian(t *testing.T) {
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed; on Debian: apt-get install docker-registry")
	}
	host := startDebian(t, program)
	options := registry.Options{Allow: []string{host}, PlainHTTP: []string{host}}
	client := newClient(t, options)
	p := push(t, client, registry.Repository{Registry: host, Path: "acme/app"})
	journey(t, client, p)
	cold(t, newClient(t, options), pushed{repository: p.repository, blob: p.blob})
	_, err = client.Resolve(t.Context(), p.repository, "none")
	wantKind(t, err, registry.NotFound)
	large := bytes.Repeat([]byte("large"), 100_000)
	for range 2 { // the second time it is there already
		if _, err := client.PushBlob(t.Context(), p.repository, large); err != nil {
			t.Fatal(err)
		}
	}
}

// startDebian runs the program until the test ends and waits until it answers.
func startDebian(t *testing.T, program string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := listener.Addr().String()
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
	deadline := time.Now().Add(30 * time.Second)
	for {
		response, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			response.Body.Close()
			return host
		}
		if time.Now().After(deadline) {
			t.Fatalf("docker-registry does not answer: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
}
