// Package configuration computes what a Kubernetes API server must be told to send
// its requests to the webhook: a ValidatingWebhookConfiguration and a
// MutatingWebhookConfiguration.
//
// The rules are computed from the bundle's interests, so that what no policy is
// about is never sent: leases, events and the status of nodes, the bulk of a
// cluster's writes, are left out by construction. They are split into entries, and
// a request reaches at most one:
//
//   - fail: what a policy that enforces and fails closed matches, with failurePolicy
//     Fail: without an answer the request is denied;
//   - recover: of these, the few requests without which a cluster whose webhook is
//     down could never start it again, or could not contain a pod (see [Recovery]), with failurePolicy
//     Ignore: judged as all others while the webhook answers;
//   - ignore: what only other policies match, with failurePolicy Ignore.
//
// What policies match in named namespaces only has entries of its own, one of each kind
// for every distinct set of names: fail-namespaces, recover-namespaces,
// ignore-namespaces, then fail-namespaces-2 and so on. They select the namespaces by name,
// through a label that the API server itself sets and nobody can change
// (kubernetes.io/metadata.name). So the rest of the cluster is neither sent nor held up.
//
// No selector exempts a namespace from the policies that are for it: whoever may label or
// choose a namespace would choose the rules. A few kinds of requests reach no entry, told
// by who sends them (see [Exemptions]).
package configuration

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/portcullis-dev/portcullis/policies"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Defaults of [Options].
const (
	DefaultName           = "portcullis"
	DefaultTimeoutSeconds = 10
	// Recovery must not wait long for a webhook that is not there.
	recoverTimeoutSeconds = 3
)

// The paths of the two webhooks.
const (
	validatePath = "/validate"
	mutatePath   = "/mutate"
)

// Options say where the webhook is and who keeps it running. Either Service or URL is
// required.
type Options struct {
	// Name of both configurations, DefaultName if "".
	Name    string
	Service *Service
	// URL is where the webhook is reached without a Service: https://host[:port][/path].
	URL string
	// CABundle verifies the webhook's certificate, in PEM. Empty trusts what the API
	// server's host trusts.
	CABundle []byte
	// SecretPath is the first path segment, for that caller mode.
	SecretPath string
	// TimeoutSeconds of the entries fail and ignore, DefaultTimeoutSeconds if 0.
	TimeoutSeconds int32
	// Writes says that the webhook writes objects, though not on a dry run: it asks for scans.
	Writes   bool
	Recovery Recovery
}

// Service is where the webhook is reached inside the cluster.
type Service struct {
	Namespace, Name string
	Port            int32 // 443 if 0
}

// Configurations are the two objects. One that has no rules is nil.
type Configurations struct {
	Validating *admissionregistrationv1.ValidatingWebhookConfiguration
	Mutating   *admissionregistrationv1.MutatingWebhookConfiguration
}

// Compute gives the configurations to create through the API.
//
// The API server never sends its own admission configuration to webhooks that are
// configured this way, so interests in it are left out here; [ComputeStatic] keeps
// them.
func Compute(interests []policies.Interest, options Options) (*Configurations, error) {
	return compute(interests, options, reviews, admissionConfiguration)
}

func compute(interests []policies.Interest, options Options, undelivered ...[]resource) (*Configurations, error) {
	if err := options.complete(); err != nil {
		return nil, err
	}
	validating, err := split(interests, func(i policies.Interest) bool { return i.Validates }, undelivered)
	if err != nil {
		return nil, err
	}
	mutating, err := split(interests, func(i policies.Interest) bool { return i.Mutates }, undelivered)
	if err != nil {
		return nil, err
	}
	return &Configurations{
		Validating: options.validating(validating.entries("validate", options.Recovery)),
		Mutating:   options.mutating(mutating.entries("mutate", options.Recovery)),
	}, nil
}

func (o *Options) complete() error {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.TimeoutSeconds == 0 {
		o.TimeoutSeconds = DefaultTimeoutSeconds
	}
	if o.TimeoutSeconds < 1 || o.TimeoutSeconds > 30 {
		return fmt.Errorf("the timeout is %d s: Kubernetes allows 1 to 30", o.TimeoutSeconds)
	}
	if (o.Service == nil) == (o.URL == "") {
		return errors.New("say where the API server reaches the webhook: either a service or a URL")
	}
	if o.URL != "" {
		parsed, err := url.Parse(o.URL)
		if err != nil || parsed.Scheme != "https" || parsed.Host == "" || parsed.RawQuery != "" || parsed.Fragment != "" || parsed.User != nil {
			return fmt.Errorf("the URL is %q: give https://host[:port][/path], without user, query or fragment", o.URL)
		}
	}
	if o.Recovery.Namespace == "" && o.Service != nil {
		o.Recovery.Namespace = o.Service.Namespace
	}
	return nil
}

// Client says how the webhook is called by one of its doors, as all entries of that say. The options have to be good: see [Compute].
func Client(options Options, mutates bool) admissionregistrationv1.WebhookClientConfig {
	if mutates {
		return options.client(mutatePath)
	}
	return options.client(validatePath)
}

// client says how one webhook is called.
func (o *Options) client(path string) admissionregistrationv1.WebhookClientConfig {
	if o.SecretPath != "" {
		path = "/" + o.SecretPath + path
	}
	client := admissionregistrationv1.WebhookClientConfig{CABundle: o.CABundle}
	if o.Service == nil {
		client.URL = new(strings.TrimSuffix(o.URL, "/") + path)
		return client
	}
	client.Service = &admissionregistrationv1.ServiceReference{Namespace: o.Service.Namespace, Name: o.Service.Name, Path: &path}
	if o.Service.Port != 0 {
		client.Service.Port = &o.Service.Port
	}
	return client
}

func (o *Options) timeout(entry entry) *int32 {
	if entry.recovers {
		return new(min(o.TimeoutSeconds, recoverTimeoutSeconds))
	}
	return new(o.TimeoutSeconds)
}

func (o *Options) sideEffects() *admissionregistrationv1.SideEffectClass {
	if o.Writes {
		return new(admissionregistrationv1.SideEffectClassNoneOnDryRun)
	}
	return new(admissionregistrationv1.SideEffectClassNone)
}

func (o *Options) validating(entries []entry) *admissionregistrationv1.ValidatingWebhookConfiguration {
	if len(entries) == 0 {
		return nil
	}
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: o.Name},
	}
	for _, entry := range entries {
		configuration.Webhooks = append(configuration.Webhooks, admissionregistrationv1.ValidatingWebhook{
			Name:                    entry.name,
			ClientConfig:            o.client(validatePath),
			Rules:                   entry.rules,
			NamespaceSelector:       entry.namespaces,
			FailurePolicy:           &entry.failurePolicy,
			MatchPolicy:             new(admissionregistrationv1.Equivalent),
			SideEffects:             o.sideEffects(),
			TimeoutSeconds:          o.timeout(entry),
			AdmissionReviewVersions: []string{"v1"},
			MatchConditions:         entry.conditions,
		})
	}
	return configuration
}

func (o *Options) mutating(entries []entry) *admissionregistrationv1.MutatingWebhookConfiguration {
	if len(entries) == 0 {
		return nil
	}
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: o.Name},
	}
	for _, entry := range entries {
		configuration.Webhooks = append(configuration.Webhooks, admissionregistrationv1.MutatingWebhook{
			Name:              entry.name,
			ClientConfig:      o.client(mutatePath),
			Rules:             entry.rules,
			NamespaceSelector: entry.namespaces,
			FailurePolicy:     &entry.failurePolicy,
			MatchPolicy:       new(admissionregistrationv1.Equivalent),
			SideEffects:       o.sideEffects(),
			TimeoutSeconds:    o.timeout(entry),
			// A sidecar that a later webhook adds is patched, too.
			ReinvocationPolicy:      new(admissionregistrationv1.IfNeededReinvocationPolicy),
			AdmissionReviewVersions: []string{"v1"},
			MatchConditions:         entry.conditions,
		})
	}
	return configuration
}

// YAML writes the configurations as a stream to apply.
func (c *Configurations) YAML() ([]byte, error) {
	var documents [][]byte
	add := func(object any) error {
		document, err := yaml.Marshal(object)
		documents = append(documents, document)
		return err
	}
	if c.Validating != nil {
		if err := add(c.Validating); err != nil {
			return nil, fmt.Errorf("writing the validating configuration: %w", err)
		}
	}
	if c.Mutating != nil {
		if err := add(c.Mutating); err != nil {
			return nil, fmt.Errorf("writing the mutating configuration: %w", err)
		}
	}
	return bytes.Join(documents, []byte("---\n")), nil
}
