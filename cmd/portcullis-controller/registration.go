package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/registration"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/cluster"
	"github.com/portcullis-dev/portcullis/policies/controller"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/policies/library"
)

// What --webhook-bundle may be.
const (
	webhookBundleCluster = "cluster"
	webhookBundleLibrary = "library"
)

// registrationFlags say what is registered with the API server; nothing unless service is given.
type registrationFlags struct {
	service, name   string
	timeout         int32
	secretFile      string
	nodeNamespaces  []string
	bundle, profile string
}

func (f *registrationFlags) register(set *pflag.FlagSet) {
	set.StringVar(&f.service, "webhook-service", "", "keep the webhook configurations and certificates for the webhook behind this Service: `namespace/name[:port]`; by default none are kept")
	set.StringVar(&f.name, "webhook-name", configuration.DefaultName, "`name` of both webhook configurations")
	set.Int32Var(&f.timeout, "webhook-timeout-seconds", configuration.DefaultTimeoutSeconds, "`seconds` the API server waits for an answer")
	set.StringVar(&f.secretFile, "webhook-secret-path-file", "", "`file` with the secret first path segment, where the webhook has --caller=secret-path")
	set.StringSliceVar(&f.nodeNamespaces, "webhook-node-namespaces", configuration.DefaultNodeNamespaces, "`namespaces` of the DaemonSets that a node needs to become ready")
	set.StringVar(&f.bundle, "webhook-bundle", webhookBundleCluster, "whose `policies` the rules follow, as the webhook has it: cluster for the PolicyBundles, library for the built-in one, or a folder with a bundle, read once")
	set.StringVar(&f.profile, "webhook-profile", "", "`profile` of the library or the folder, where the webhook has --profile; all by default")
}

// check finds flags that contradict each other or cannot be.
func (f *registrationFlags) check(set *pflag.FlagSet) error {
	if f.service == "" {
		var given string
		set.Visit(func(flag *pflag.Flag) {
			if strings.HasPrefix(flag.Name, "webhook-") {
				given = flag.Name
			}
		})
		if given != "" {
			return usage.Errorf("--%s is about what is registered: give --webhook-service, too", given)
		}
		return nil
	}
	if _, err := parseService("--webhook-service", f.service); err != nil {
		return err
	}
	switch {
	case len(validation.IsDNS1123Subdomain(f.name)) > 0:
		return usage.Errorf("--webhook-name is %q, which no object can be called: give lower case letters, digits and dashes", f.name)
	case f.timeout < 1 || f.timeout > 30:
		return usage.Errorf("--webhook-timeout-seconds is %d: Kubernetes allows 1 to 30", f.timeout)
	case f.bundle != webhookBundleCluster && f.bundle != webhookBundleLibrary && !strings.ContainsRune(f.bundle, '/'):
		return usage.Errorf("--webhook-bundle is %q: choose %s, %s, or a folder, as ./%s; for a webhook with an artifact of a registry apply what portcullis-webhook --print-config prints", f.bundle, webhookBundleCluster, webhookBundleLibrary, f.bundle)
	case strings.HasPrefix(f.bundle, "oci://"):
		return usage.Errorf("--webhook-bundle is an artifact of a registry, which is not fetched for this: apply what portcullis-webhook --print-config prints")
	case f.profile != "" && f.bundle == webhookBundleCluster:
		return usage.Errorf("--webhook-profile is for --webhook-bundle=%s or a folder: leave it out, each PolicyBundle chooses by namespace", webhookBundleLibrary)
	}
	return nil
}

// parseService reads NAMESPACE/NAME[:PORT].
func parseService(flag, text string) (configuration.Service, error) {
	address, portText, hasPort := strings.Cut(text, ":")
	namespace, name, _ := strings.Cut(address, "/")
	service := configuration.Service{Namespace: namespace, Name: name}
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1035Label(name)) > 0 {
		return service, usage.Errorf("%s is %q: give namespace/name or namespace/name:port", flag, text)
	}
	if hasPort {
		port, err := strconv.ParseUint(portText, 10, 16)
		if err != nil || port == 0 {
			return service, usage.Errorf("%s is %q: the port is no number from 1 to 65535", flag, text)
		}
		service.Port = int32(port)
	}
	return service, nil
}

// secretPath reads the secret anew each time: it may be another one then.
func (f *registrationFlags) secretPath() (string, error) {
	content, err := os.ReadFile(f.secretFile)
	if err != nil {
		return "", usage.Correct("--webhook-secret-path-file", fmt.Errorf("reading the secret path: %w", err))
	}
	callers := webhook.Callers{Mode: webhook.CallerSecretPath, Secret: strings.TrimSpace(string(content))}
	if err := callers.Check(); err != nil {
		return "", fmt.Errorf("reading %s: %w", f.secretFile, err)
	}
	return callers.Secret, nil
}

// registrations writes what is registered into a journal.
type registrations struct {
	to   *journal.Journal
	name string
}

// Registration implements [registration.Journal].
func (j registrations) Registration(ctx context.Context, step, reason string) {
	j.to.Transition(ctx, journal.Transition{Registration: j.name, Step: step, Reason: reason})
}

// tasks are what keeps the registration, none where nothing is to be registered. of are the controller's options, and leads says whether it acts.
func (f *registrationFlags) tasks(config *rest.Config, compiled *cluster.Compiled, of controller.Options, leads func() bool, metrics func(...prometheus.Collector)) ([]func(context.Context) error, error) {
	if f.service == "" {
		return nil, nil
	}
	service, err := parseService("--webhook-service", f.service)
	if err != nil {
		return nil, err
	}
	options := registration.Options{
		Config: config, Service: service, Name: f.name, TimeoutSeconds: f.timeout, NodeNamespaces: f.nodeNamespaces, Profile: f.profile,
		Leads: leads, Identity: of.Identity, Metrics: registration.NewMetrics(), Log: of.Log,
	}
	if f.secretFile != "" {
		if _, err := f.secretPath(); err != nil {
			return nil, err
		}
		options.SecretPath = f.secretPath
	}
	if kept, ok := of.Journal.(transitions); ok {
		options.Journal = registrations{kept.to, f.name}
	}
	made, err := registration.New(options)
	if err != nil {
		return nil, usage.New(err)
	}
	metrics(options.Metrics)
	if f.bundle != webhookBundleCluster {
		lineup, err := bundleLineup(f.bundle, f.profile)
		if err != nil {
			return nil, err
		}
		made.Follow(lineup)
		return []func(context.Context) error{made.Run}, nil
	}
	watch, err := cluster.New(config, cluster.Options{Verifier: of.Verifier, Included: of.Included, Compiled: compiled, Logger: of.Log.With("for", "webhook rules"), Install: made.Follow})
	if err != nil {
		return nil, err
	}
	return []func(context.Context) error{made.Run, func(ctx context.Context) error { watch.Run(ctx); return nil }}, nil
}

// bundleLineup are the policies of the built-in library or of a folder, those of profiles that nothing is assigned to, too: they may be
// tomorrow, with the same configuration.
func bundleLineup(from, profile string) (*admission.Lineup, error) {
	bundle, err := loadBundle(from)
	if err != nil {
		return nil, fmt.Errorf("loading the policies of --webhook-bundle: %w: give the bundle that the webhook has", err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		return nil, fmt.Errorf("loading the policies of --webhook-bundle: %w: give the bundle that the webhook has", err)
	}
	if profiles := bundle.Profiles(); profile != "" && !slices.Contains(profiles, profile) {
		return nil, usage.Errorf("--webhook-profile is %q: the bundle has %s", profile, strings.Join(profiles, ", "))
	}
	return admission.Solo(engine), nil
}

func loadBundle(from string) (*policies.Bundle, error) {
	if from == webhookBundleLibrary {
		return policies.Load(library.FS())
	}
	for _, foreign := range []string{"gatekeeper", "conftest"} {
		if _, err := os.Stat(filepath.Join(from, foreign)); err == nil {
			return nil, fmt.Errorf("it has policies of %s, whose rules are not known here: apply what portcullis-webhook --print-config prints", foreign)
		}
	}
	return policies.Load(os.DirFS(from), policies.Included{Name: "library", Files: library.FS()})
}
