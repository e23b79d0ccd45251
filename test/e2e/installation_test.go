package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// webhookUser is whom the webhook logs in as to read namespaces and other facts.
const webhookUser = "portcullis-webhook"

// installOptions of one webhook.
type installOptions struct {
	name string // of its two configurations
	// bundle is a folder, "" for the built-in library; profile one of the bundle's, "" for its own choice.
	bundle, profile string
	replicas        int
	// args are further flags of the webhook.
	args []string
	// recoveryNamespace is where the webhook says that it runs.
	recoveryNamespace string
}

// installation is one webhook: its replicas behind one address.
type installation struct {
	options  installOptions
	front    *service
	replicas []*programs.Webhook
	creator  *cluster.Creator
	caFile   string
	// printed is what --print-config says.
	printed []byte
}

// newInstallation starts the replicas, which are ready when it returns. The API
// server does not know them until install.
func newInstallation(ctx context.Context, env *environment, options installOptions) (*installation, error) {
	front, err := newService()
	if err != nil {
		return nil, err
	}
	installed := &installation{options: options, front: front, creator: env.creator, caFile: env.control.CAFile}
	if err := installed.startReplicas(ctx, env.control); err != nil {
		return nil, errors.Join(err, installed.stop())
	}
	if installed.printed, err = installed.printConfig(ctx, ""); err != nil {
		return nil, errors.Join(err, installed.stop())
	}
	return installed, nil
}

func (i *installation) startReplicas(ctx context.Context, control *cluster.Cluster) error {
	serving, err := control.ServingCertificate(i.options.name)
	if err != nil {
		return err
	}
	kubeconfig, err := control.Kubeconfig(webhookUser)
	if err != nil {
		return err
	}
	for number := range i.options.replicas {
		addresses, err := freeAddresses(2)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%s-%d", i.options.name, number)
		replica, err := programs.StartWebhook(ctx, programs.WebhookOptions{
			Dir:          built,
			Name:         name,
			Bundle:       i.options.bundle,
			Profile:      i.options.profile,
			Args:         i.options.args,
			Listen:       addresses[0],
			Probes:       addresses[1],
			Serving:      serving,
			ClientCAFile: control.WebhookClientCAFile,
			ClientName:   cluster.WebhookClientName,
			Kubeconfig:   kubeconfig,
			LogFile:      filepath.Join(filepath.Dir(control.AuditLog), name+".log"),
		})
		i.replicas = append(i.replicas, replica)
		if err != nil {
			return err
		}
		i.front.add(addresses[0], replica.ReadyURL())
	}
	return nil
}

// freeAddresses are addresses on 127.0.0.1 that nobody listens on.
func freeAddresses(n int) ([]string, error) {
	var addresses []string
	for range n {
		port, err := cluster.FreePort()
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return addresses, nil
}

// printConfig asks the program for its configurations: in the given form, "" for
// objects of the API.
func (i *installation) printConfig(ctx context.Context, form string) ([]byte, error) {
	return programs.PrintConfig(ctx, programs.ConfigOptions{
		Dir:          built,
		Form:         form,
		Name:         i.options.name,
		Bundle:       i.options.bundle,
		Profile:      i.options.profile,
		URL:          "https://" + i.front.address(),
		CAFile:       i.caFile,
		OwnNamespace: i.options.recoveryNamespace,
		Args:         i.options.args,
	})
}

// install creates the printed configurations, as kubectl apply would.
func (i *installation) install(ctx context.Context) error {
	if _, err := i.creator.Create(ctx, i.printed, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("installing the configurations of %s: %w", i.options.name, err)
	}
	return nil
}

func (i *installation) stop() error {
	i.front.stop()
	var problems []error
	for _, replica := range i.replicas {
		problems = append(problems, replica.Stop())
	}
	return errors.Join(problems...)
}

// configurations reads what was printed; one that has no rules is not printed, and empty here.
func configurations(t *testing.T, printed []byte) (*admissionregistrationv1.ValidatingWebhookConfiguration, *admissionregistrationv1.MutatingWebhookConfiguration) {
	t.Helper()
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{}
	for _, object := range mustReturn(cluster.Parse(printed))(t) {
		text := mustReturn(yaml.Marshal(object.Object))(t)
		switch object.GetKind() {
		case "ValidatingWebhookConfiguration":
			must(t, yaml.UnmarshalStrict(text, validating))
		case "MutatingWebhookConfiguration":
			must(t, yaml.UnmarshalStrict(text, mutating))
		default:
			t.Errorf("a %s is printed, which is no webhook configuration", object.GetKind())
		}
	}
	return validating, mutating
}

// restrictedNamespace is a namespace that satisfies every policy about namespaces.
func restrictedNamespace(name string) string {
	return `
apiVersion: v1
kind: Namespace
metadata:
  name: ` + name + `
  labels:
    pod-security.kubernetes.io/enforce: restricted
`
}
