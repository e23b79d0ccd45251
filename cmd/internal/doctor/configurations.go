package doctor

import (
	"bytes"
	"context"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// entry is one webhook of a configuration, of either kind.
type entry struct {
	configuration, kind string // "portcullis", "ValidatingWebhookConfiguration"
	admissionregistrationv1.ValidatingWebhook
	reinvoked bool
}

// title names an entry for people.
func (e *entry) title() string { return e.Name }

// failsClosed says what the failure policy of one of our entries is to be: those called fail… fail.
func (e *entry) failsClosed() bool { return strings.HasPrefix(e.Name, "fail") }

func (e *entry) policy() admissionregistrationv1.FailurePolicyType {
	if e.FailurePolicy == nil {
		return admissionregistrationv1.Fail
	}
	return *e.FailurePolicy
}

// validatingEntries and mutatingEntries are those of a configuration.
func validatingEntries(c *admissionregistrationv1.ValidatingWebhookConfiguration) []entry {
	var entries []entry
	for _, w := range c.Webhooks {
		entries = append(entries, entry{c.Name, "ValidatingWebhookConfiguration", w, false})
	}
	return entries
}

func mutatingEntries(c *admissionregistrationv1.MutatingWebhookConfiguration) []entry {
	var entries []entry
	for _, w := range c.Webhooks {
		entries = append(entries, entry{c.Name, "MutatingWebhookConfiguration", admissionregistrationv1.ValidatingWebhook{
			Name: w.Name, ClientConfig: w.ClientConfig, Rules: w.Rules, FailurePolicy: w.FailurePolicy, MatchPolicy: w.MatchPolicy,
			NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector, SideEffects: w.SideEffects, TimeoutSeconds: w.TimeoutSeconds,
			AdmissionReviewVersions: w.AdmissionReviewVersions, MatchConditions: w.MatchConditions,
		}, w.ReinvocationPolicy != nil && *w.ReinvocationPolicy == admissionregistrationv1.IfNeededReinvocationPolicy})
	}
	return entries
}

// ours says whether a configuration is one that Portcullis makes from policies.
func ours(name string) bool { return name == configuration.DefaultName }

// registered are both configurations; one that is not there is nil.
type registered struct {
	validating *admissionregistrationv1.ValidatingWebhookConfiguration
	mutating   *admissionregistrationv1.MutatingWebhookConfiguration
}

// entries are those of both.
func (c *registered) entries() []entry {
	var all []entry
	if c.validating != nil {
		all = append(all, validatingEntries(c.validating)...)
	}
	if c.mutating != nil {
		all = append(all, mutatingEntries(c.mutating)...)
	}
	return all
}

// registered reads our two configurations.
func (p *patient) registered(ctx context.Context) (*registered, error) {
	var c registered
	var err error
	name := configuration.DefaultName
	c.validating, err = p.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, name, getOptions)
	if apierrors.IsNotFound(err) {
		c.validating, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	c.mutating, err = p.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, name, getOptions)
	if apierrors.IsNotFound(err) {
		c.mutating, err = nil, nil
	}
	return &c, err
}

// seeConfigurations reads our configurations and says so where that cannot be.
func (p *patient) seeConfigurations(ctx context.Context, r *Result) *registered {
	c, err := p.registered(ctx)
	if r.unread(err, "the webhook configurations", "get validatingwebhookconfigurations,mutatingwebhookconfigurations portcullis") {
		return nil
	}
	return c
}

// expected computes the configurations that the policies need, for where the webhook is called now.
func (p *patient) expected(ctx context.Context, now *registered) (*configuration.Configurations, string, error) {
	judging, err := p.judges(ctx)
	if err != nil {
		return nil, "", err
	}
	wanted, err := configuration.Compute(judging.interests, p.place(now))
	return wanted, judging.from, err
}

// place are the options by which the present configurations call the webhook.
func (p *patient) place(now *registered) configuration.Options {
	options := configuration.Options{Recovery: configuration.Recovery{Namespace: p.Namespace, NodeNamespaces: configuration.DefaultNodeNamespaces}}
	for _, e := range now.entries() {
		options.CABundle = e.ClientConfig.CABundle
		if service := e.ClientConfig.Service; service != nil {
			options.Service = &configuration.Service{Namespace: service.Namespace, Name: service.Name}
			if service.Port != nil {
				options.Service.Port = *service.Port
			}
			options.Recovery.Namespace = service.Namespace
			return options
		}
		if url := e.ClientConfig.URL; url != nil {
			options.URL = strings.TrimSuffix(strings.TrimSuffix(*url, "/validate"), "/mutate")
			return options
		}
	}
	options.Service = &configuration.Service{Namespace: p.Namespace, Name: "portcullis-webhook"}
	return options
}

// sameSelector says whether two selectors select the same; nil and an empty one select all.
func sameSelector(a, b *metav1.LabelSelector) bool {
	all := func(s *metav1.LabelSelector) bool {
		return s == nil || len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0
	}
	if all(a) || all(b) {
		return all(a) && all(b)
	}
	return same(a, b)
}

// sameBundles says whether all entries trust the same authorities.
func sameBundles(entries []entry) bool {
	for n := range entries {
		if !bytes.Equal(entries[n].ClientConfig.CABundle, entries[0].ClientConfig.CABundle) {
			return false
		}
	}
	return true
}
