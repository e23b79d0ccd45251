package e2e

import (
	"os"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/test/cluster"
)

// TestManifestBasedAdmissionControl gives the API server the output of
// --print-config=manifests as files (KEP-5793, on by default in Kubernetes 1.37): it
// must be judged by the webhook without any configuration in the API, which even an
// administrator could delete.
func TestManifestBasedAdmissionControl(t *testing.T) {
	ctx := t.Context()
	validatingDir, mutatingDir := t.TempDir(), t.TempDir()
	env := startAlone(t, cluster.Options{ValidatingManifests: validatingDir, MutatingManifests: mutatingDir})
	installed := mustReturn(newInstallation(ctx, env, installOptions{name: "portcullis", profile: "restricted", replicas: 1}))(t)
	t.Cleanup(func() { must(t, installed.stop()) })
	validating, mutating := configurations(t, mustReturn(installed.printConfig(ctx, "manifests"))(t))
	for dir, object := range map[string]any{validatingDir: validating, mutatingDir: mutating} {
		must(t, os.WriteFile(filepath.Join(dir, "portcullis.yaml"), mustReturn(yaml.Marshal(object))(t), 0o600))
	}
	must(t, env.control.RestartAPIServer(ctx))
	must(t, env.waitUntilEffective(ctx))

	_, err := env.dev.CoreV1().Pods("team").Create(ctx, pod(t, "privileged", privileged), metav1.CreateOptions{})
	wantDenied(t, err, "pods/privileged")
	_, err = env.dev.CoreV1().Pods("team").Create(ctx, pod(t, "good"), metav1.CreateOptions{})
	wantAdmitted(t, err)

	hooks := env.admin.AdmissionregistrationV1()
	inAPI := mustReturn(hooks.ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{}))(t)
	if len(inAPI.Items) > 0 {
		t.Errorf("the API holds %d validating configurations, want none: then the files were not what denied", len(inAPI.Items))
	}
}
