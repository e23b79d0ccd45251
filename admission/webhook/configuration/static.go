package configuration

import (
	"errors"
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/policies"
	"sigs.k8s.io/yaml"
)

// StaticSuffix must end the name of every static configuration.
const StaticSuffix = ".static.k8s.io"

// Static are configurations for manifest-based admission control (KEP-5793: alpha
// in Kubernetes 1.36, beta and on by default in 1.37): files beside the API server
// that it loads before it serves anything, and that nobody can change through the API.
//
// What the API server of 1.37 demands, and so what this keeps to: names end in
// .static.k8s.io; clientConfig has a url and no service, since the service network may
// not be there yet; each admission plugin has a directory of its own, given by
// staticManifestsDir (an absolute path) in its part of --admission-control-config-file,
// which holds only that plugin's kinds of admissionregistration.k8s.io/v1. A client
// certificate comes from kubeConfigFile in the same place, as for other webhooks.
//
// Static webhooks are also sent changes of webhook configurations and admission
// policies, which those configured through the API never see, so here policies that
// match them take effect. Access and token reviews reach neither.
//
// A webhook configured both ways is asked twice.
type Static struct{ Configurations }

// ComputeStatic gives the configurations to put beside the API server.
func ComputeStatic(interests []policies.Interest, options Options) (*Static, error) {
	if options.URL == "" {
		return nil, errors.New("a static configuration cannot name a service: give the webhook's address as a URL that needs no cluster DNS")
	}
	if options.Name == "" {
		options.Name = DefaultName
	}
	if !strings.HasSuffix(options.Name, StaticSuffix) {
		options.Name += StaticSuffix
	}
	configurations, err := compute(interests, options, reviews)
	if err != nil {
		return nil, err
	}
	return &Static{*configurations}, nil
}

const staticPreamble = `# Manifest-based admission control (KEP-5793; Kubernetes 1.36 with the feature gate
# ManifestBasedAdmissionControlConfig, on by default from 1.37). Save each document
# below to the file it names, on every API server's host, and start the API server with
#
#   --admission-control-config-file=/etc/kubernetes/admission/configuration.yaml
#
#   apiVersion: apiserver.config.k8s.io/v1
#   kind: AdmissionConfiguration
#   plugins:
#   - name: ValidatingAdmissionWebhook
#     configuration:
#       apiVersion: apiserver.config.k8s.io/v1
#       kind: WebhookAdmissionConfiguration
#       kubeConfigFile: /etc/kubernetes/admission/kubeconfig.yaml # the client certificate
#       staticManifestsDir: /etc/kubernetes/admission/validating-webhooks
#   - name: MutatingAdmissionWebhook
#     configuration:
#       apiVersion: apiserver.config.k8s.io/v1
#       kind: WebhookAdmissionConfiguration
#       kubeConfigFile: /etc/kubernetes/admission/kubeconfig.yaml
#       staticManifestsDir: /etc/kubernetes/admission/mutating-webhooks
#
# Later changes of the files are picked up without a restart. Remove the
# configurations of the same webhook from the API, or it is asked twice.
`

// YAML writes the configurations with a comment that says where each belongs.
func (s *Static) YAML() ([]byte, error) {
	var stream strings.Builder
	stream.WriteString(staticPreamble)
	add := func(directory string, object any) error {
		document, err := yaml.Marshal(object)
		if err != nil {
			return fmt.Errorf("writing the %s: %w", directory, err)
		}
		fmt.Fprintf(&stream, "---\n# /etc/kubernetes/admission/%s/portcullis.yaml\n%s", directory, document)
		return nil
	}
	if s.Validating != nil {
		if err := add("validating-webhooks", s.Validating); err != nil {
			return nil, err
		}
	}
	if s.Mutating != nil {
		if err := add("mutating-webhooks", s.Mutating); err != nil {
			return nil, err
		}
	}
	return []byte(stream.String()), nil
}
