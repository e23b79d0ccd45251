package cluster

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/test/pki"
)

// writeAdmissionConfiguration writes the API server's --admission-control-config-file:
// the client certificate that it shows to every webhook, and where it finds webhook
// configurations that are files and not objects (KEP-5793).
// https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#authenticate-apiservers
func writeAdmissionConfiguration(dir string, client pki.Pair, manifests map[string]string) (string, error) {
	kubeconfig := filepath.Join(dir, "webhook-client.kubeconfig")
	config := clientcmdapi.NewConfig()
	// "*" matches every webhook that no other entry names.
	config.AuthInfos["*"] = &clientcmdapi.AuthInfo{ClientCertificate: client.CertFile, ClientKey: client.KeyFile}
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		return "", fmt.Errorf("writing the admission configuration: %w", err)
	}
	var plugins []map[string]any
	for _, name := range []string{"MutatingAdmissionWebhook", "ValidatingAdmissionWebhook"} {
		configuration := map[string]any{
			"apiVersion":     "apiserver.config.k8s.io/v1",
			"kind":           "WebhookAdmissionConfiguration",
			"kubeConfigFile": kubeconfig,
		}
		if manifests[name] != "" {
			configuration["staticManifestsDir"] = manifests[name]
		}
		plugins = append(plugins, map[string]any{"name": name, "configuration": configuration})
	}
	text, err := yaml.Marshal(map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1",
		"kind":       "AdmissionConfiguration",
		"plugins":    plugins,
	})
	if err != nil {
		return "", fmt.Errorf("writing the admission configuration: %w", err)
	}
	file := filepath.Join(dir, "admission.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", fmt.Errorf("writing the admission configuration: %w", err)
	}
	return file, nil
}
