//go:build goexperiment.jsonv2

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/queue"
	"github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// control is a real API server that knows the custom resource.
func control(t *testing.T) (kubeconfig string, client dynamic.Interface) {
	t.Helper()
	var manifest bytes.Buffer
	if code := run(t.Context(), []string{"crd"}, nil, &manifest, io.Discard); code != exitOK {
		t.Fatalf("portcullis-scanner crd: exit %d", code)
	}
	_, client, kubeconfig = clustertest.Start(t, nil, manifest.Bytes())
	clustertest.Serving(t, client, v1alpha1.Resource)
	return kubeconfig, client
}

func TestTwoReplicasScanWhatTheClusterAsksFor(t *testing.T) {
	kubeconfig, client := control(t)
	s := newShop(t)
	bad := s.push(s.image("3.0.11-1~deb12u2", "4.17.20"), "bad")
	good := s.push(s.image("3.0.13-1~deb12u1", "4.17.21"), "good")
	private, _, trust := s.keys(s.Host() + "/**")

	asker := queue.NewAsker(queue.NewClient(client), queue.AskerOptions{By: "shop/api"})
	for range 2 {
		for _, digest := range []string{bad, good} {
			if _, err := asker.Ask(t.Context(), s.repository, digest); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan string, 2)
	probes := freeAddress(t)
	for _, name := range []string{"one", "two"} {
		args := append([]string{"serve"}, s.flags()[1:]...)
		args = append(args, "--kubeconfig", kubeconfig, "--name", name, "--key", private, "--key-password-file", private+".password", "--work-dir", filepath.Join(s.work, name))
		if name == "one" {
			args = append(args, "--probes", probes)
		} else {
			args = append(args, "--probes", "127.0.0.1:0", "--require-isolation")
		}
		go func() {
			var stderr bytes.Buffer
			if code := run(ctx, args, nil, io.Discard, &stderr); code != exitOK {
				ended <- stderr.String()
				return
			}
			ended <- ""
		}()
	}
	phases := func() (all []string) {
		list, err := client.Resource(v1alpha1.Resource).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return nil
		}
		for _, item := range list.Items {
			status, _ := item.Object["status"].(map[string]any)
			phase, _ := status["phase"].(string)
			all = append(all, phase)
		}
		return all
	}
	clustertest.Until(t, "the end of both scans", func() bool { return slices.Equal(phases(), []string{"Done", "Done"}) })

	verifier := cosign.NewVerifier(cosign.Options{})
	for digest, want := range map[string][]string{bad: bothFound, good: nil} {
		evidence, err := verifier.Verify(t.Context(), s.client, cosign.Target{Repository: s.repository, Digest: digest}, trust)
		s.must(err)
		report := scanner.Latest(evidence.Attestations, trust, time.Now())
		if report.State != scanner.StateComplete || report.Authority != "scanners" || !slices.Equal(ids(report), want) || len(evidence.Attestations) != 1 {
			t.Errorf("%s: got state %s (%q) of %q with %q in %d attestations, want complete with %q in one", digest, report.State, report.Reasons, report.Authority, ids(report), len(evidence.Attestations), want)
		}
	}

	// A registry that takes nothing: the object holds the scan, which counts by its signature.
	locked := s.push(s.image("3.0.11-1~deb12u2", "4.17.21"), "locked")
	s.Inject(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				registrytest.Status(http.StatusForbidden, "")(next).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	_, err := asker.Ask(t.Context(), s.repository, locked)
	s.must(err)
	var statement []byte
	clustertest.Until(t, "the scan in the object", func() bool {
		statement, err = queue.NewClient(client).Statement(t.Context(), locked)
		s.must(err)
		return statement != nil
	})
	attestations, rejected := verifier.VerifyEnvelope(t.Context(), statement, locked, s.repository, trust)
	if report := scanner.Latest(attestations, trust, time.Now()); report.State != scanner.StateComplete || !slices.Equal(ids(report), []string{"CVE-2023-5678 high"}) {
		t.Errorf("from the object: got state %s (%q, rejected %+v) with %q", report.State, report.Reasons, rejected, ids(report))
	}
	if attestations, _ := verifier.VerifyEnvelope(t.Context(), statement, bad, s.repository, trust); len(attestations) > 0 {
		t.Error("the scan of one image counts for another")
	}
	nobody, err := signer.Compile(nil)
	s.must(err)
	if attestations, _ := verifier.VerifyEnvelope(t.Context(), statement, locked, s.repository, nobody); len(attestations) > 0 {
		t.Error("the scan counts though nobody is trusted")
	}
	// An image that is not there: the failure is told, and tried again.
	missing := registry.Repository{Registry: s.repository.Registry, Path: "acme/nothing"}
	gone := "sha256:" + strings.Repeat("ab", 32)
	_, err = asker.Ask(t.Context(), missing, gone)
	s.must(err)
	clustertest.Until(t, "a failed attempt", func() bool {
		item, err := client.Resource(v1alpha1.Resource).Get(t.Context(), "sha256-"+gone[7:], metav1.GetOptions{})
		s.must(err)
		status, _ := item.Object["status"].(map[string]any)
		return status["phase"] == "Failed" && status["nextAttempt"] != nil && status["reasons"] != nil
	})

	response, err := http.Get("http://" + probes + "/metrics")
	s.must(err)
	body, err := io.ReadAll(response.Body)
	s.must(errors.Join(err, response.Body.Close()))
	if !strings.Contains(string(body), `portcullis_scan_queue_objects{phase="Done"} 3`) {
		t.Errorf("the metrics lack the three objects that are done:\n%s", body)
	}
	stop()
	for range 2 {
		if fault := <-ended; fault != "" {
			t.Errorf("a replica failed: %s", fault)
		}
	}
}

// The schema is enforced by the API server, whoever writes.
func TestTheAPIServerRefusesObjectsThatAreNoScans(t *testing.T) {
	_, client := control(t)
	scans := client.Resource(v1alpha1.Resource)
	digest := "sha256:" + strings.Repeat("ab", 32)
	object := func(name, digest string, repositories ...any) map[string]any {
		return map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": v1alpha1.Kind, "metadata": map[string]any{"name": name},
			"spec": map[string]any{"digest": digest, "repositories": repositories, "requestedAt": "2026-11-28T12:00:00Z"}}
	}
	for what, content := range map[string]map[string]any{
		"a name that is not the digest's": object("shop", digest, "a/b"),
		"no digest":                       object("latest", "latest", "a/b"),
		"no repository":                   object("sha256-"+digest[7:], digest),
		"a repository twice":              object("sha256-"+digest[7:], digest, "a/b", "a/b"),
	} {
		if _, err := scans.Create(t.Context(), &unstructured.Unstructured{Object: content}, metav1.CreateOptions{}); err == nil {
			t.Errorf("%s: the object was taken", what)
		}
	}
	created, err := scans.Create(t.Context(), &unstructured.Unstructured{Object: object("sha256-"+digest[7:], digest, "a/b")}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	created.Object["spec"].(map[string]any)["digest"] = "sha256:" + strings.Repeat("cd", 32)
	if _, err := scans.Update(t.Context(), created, metav1.UpdateOptions{}); err == nil {
		t.Error("the digest of an object could be changed")
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
