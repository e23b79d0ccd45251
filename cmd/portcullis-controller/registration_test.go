package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/cmd/internal/program"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// TestTheProgramRegistersAndUninstalls runs it, with the policies of the library.
func TestTheProgramRegistersAndUninstalls(t *testing.T) {
	_, crds, _ := call(t, "crd")
	manifests := "apiVersion: v1\nkind: Namespace\nmetadata: {name: guard}\n---\n" +
		"apiVersion: v1\nkind: Service\nmetadata: {name: webhook, namespace: guard}\nspec: {ports: [{port: 443}]}\n---\n" +
		"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: one, namespace: guard, labels: {kubernetes.io/service-name: webhook}}\naddressType: IPv4\nendpoints: [{addresses: [192.0.2.1], conditions: {ready: true}}]\n---\n" + crds
	_, client, file := clustertest.Start(t, nil, []byte(manifests))
	probes, journal := free(t), filepath.Join(t.TempDir(), "journal")
	ctx, end := context.WithCancel(t.Context())
	done := make(chan int)
	go func() {
		done <- run(ctx, []string{"serve", "--kubeconfig=" + file, "--namespace=guard", "--name=one", "--probes=" + probes, "--journal=" + journal,
			"--webhook-service=guard/webhook:8443", "--webhook-name=guard", "--webhook-bundle=library", "--webhook-profile=restricted", "--webhook-timeout-seconds=7"}, nil, io.Discard, io.Discard)
	}()
	started(t, probes)
	validating := client.Resource(admissionregistrationv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations"))
	clustertest.Eventually(t, "it is registered", func() error {
		_, err := validating.Get(t.Context(), "guard", metav1.GetOptions{})
		return err
	})
	found, err := validating.Get(t.Context(), "guard", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	entry := found.Object["webhooks"].([]any)[0].(map[string]any)
	service := entry["clientConfig"].(map[string]any)["service"].(map[string]any)
	if service["namespace"] != "guard" || service["name"] != "webhook" || service["port"] != int64(8443) || entry["timeoutSeconds"] != int64(7) {
		t.Errorf("got %v after %v s, want the webhook of guard at 8443 after 7 s", service, entry["timeoutSeconds"])
	}
	clustertest.Eventually(t, "the metrics say what is registered", func() error {
		text := get(t, "http://"+probes+"/metrics")
		for _, line := range []string{`portcullis_registration_registered{door="validating"} 1`, `portcullis_registration_certificate_expiry_timestamp_seconds{certificate="leaf"}`, "portcullis_break_glass_active 0"} {
			if !strings.Contains(text, line) {
				return errors.New("there is no " + line)
			}
		}
		return nil
	})
	code, stdout, stderr := call(t, "uninstall", "--kubeconfig="+file, "--webhook-service=guard/webhook", "--webhook-name=guard", "--secrets")
	if code != program.ExitOK || !strings.Contains(stdout, "The webhook configurations guard are gone") || !strings.Contains(stdout, "Deleted the Secret guard/portcullis-webhook-tls.") {
		t.Errorf("uninstall: got exit %d, %q and %q", code, stdout, stderr)
	}
	if _, err := validating.Get(t.Context(), "guard", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after uninstall: got %v, want that it is not found", err)
	}
	end()
	if code := <-done; code != program.ExitOK {
		t.Errorf("it ended with %d, want %d", code, program.ExitOK)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
