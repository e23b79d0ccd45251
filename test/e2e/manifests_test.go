package e2e

import (
	"os"
	"path/filepath"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/test/cluster"
)

// TestManifestBasedAdmissionControl gives the API server the output of
// --print-config=manifests as files (KEP-5793, on by default in Kubernetes 1.37): it
// must be judged by the webhook without any configuration in the API, which an
// administrator could delete.
func TestManifestBasedAdmissionControl(t *testing.T) {
	ctx := t.Context()
	validatingDir, mutatingDir := t.TempDir(), t.TempDir()
	env := startAlone(t, cluster.Options{ValidatingManifests: validatingDir, MutatingManifests: mutatingDir})
	for _, options := range []installOptions{
		{name: "portcullis", profile: "restricted", replicas: 1},
		{name: "portcullis-e2e", bundle: ownBundle, replicas: 1},
	} {
		installed := mustReturn(newInstallation(ctx, env, options))(t)
		t.Cleanup(func() { must(t, installed.stop()) })
		validating, mutating := configurations(t, mustReturn(installed.printConfig(ctx, "manifests"))(t))
		writeManifest(t, validatingDir, options.name, validating)
		if len(mutating.Webhooks) > 0 {
			writeManifest(t, mutatingDir, options.name, mutating)
		}
	}
	must(t, env.control.RestartAPIServer(ctx))
	must(t, env.waitUntilEffective(ctx))

	t.Run("requests are judged without a configuration in the API", func(t *testing.T) {
		inAPI := mustReturn(env.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{}))(t)
		if len(inAPI.Items) > 0 {
			t.Fatalf("the API holds %d validating configurations, want none", len(inAPI.Items))
		}
		_, err := env.dev.CoreV1().Pods("team").Create(ctx, pod(t, "privileged", privileged), metav1.CreateOptions{})
		wantDenied(t, err, "pods/privileged")
		_, err = env.dev.CoreV1().Pods("team").Create(ctx, pod(t, "good"), metav1.CreateOptions{})
		wantAdmitted(t, err)
	})
	t.Run("an administrator cannot delete a webhook configuration", func(t *testing.T) {
		hooks := env.admin.AdmissionregistrationV1().ValidatingWebhookConfigurations()
		_, err := hooks.Create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "other"}}, metav1.CreateOptions{})
		must(t, err)
		wantDenied(t, hooks.Delete(ctx, "other", metav1.DeleteOptions{}), "e2e/admission-configuration")
	})
}

func writeManifest(t *testing.T, dir, name string, object any) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, name+".yaml"), mustReturn(yaml.Marshal(object))(t), 0o600))
}
