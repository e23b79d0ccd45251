package registration

import (
	"crypto/x509"
	"encoding/json"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// door is one of the two configurations.
type door string

const (
	validating door = "validating"
	mutating   door = "mutating"
)

// doors are both, in the order in which they are written: what is patched has to be judged, so judging comes first.
var doors = []door{validating, mutating}

// configured is a configuration of either kind. A mutating entry has all that a validating one has.
type configured struct {
	door    door
	meta    metav1.ObjectMeta
	entries []admissionregistrationv1.MutatingWebhook
}

func ofValidating(c *admissionregistrationv1.ValidatingWebhookConfiguration) *configured {
	if c == nil {
		return nil
	}
	made := &configured{door: validating, meta: c.ObjectMeta}
	for n := range c.Webhooks {
		w := &c.Webhooks[n]
		made.entries = append(made.entries, admissionregistrationv1.MutatingWebhook{
			Name: w.Name, ClientConfig: w.ClientConfig, Rules: w.Rules, FailurePolicy: w.FailurePolicy, MatchPolicy: w.MatchPolicy,
			NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector, SideEffects: w.SideEffects, TimeoutSeconds: w.TimeoutSeconds,
			AdmissionReviewVersions: w.AdmissionReviewVersions, MatchConditions: w.MatchConditions,
		})
	}
	return made
}

func ofMutating(c *admissionregistrationv1.MutatingWebhookConfiguration) *configured {
	if c == nil {
		return nil
	}
	return &configured{door: mutating, meta: c.ObjectMeta, entries: c.Webhooks}
}

func (c *configured) toValidating() *admissionregistrationv1.ValidatingWebhookConfiguration {
	made := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: c.meta}
	for n := range c.entries {
		w := &c.entries[n]
		made.Webhooks = append(made.Webhooks, admissionregistrationv1.ValidatingWebhook{
			Name: w.Name, ClientConfig: w.ClientConfig, Rules: w.Rules, FailurePolicy: w.FailurePolicy, MatchPolicy: w.MatchPolicy,
			NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector, SideEffects: w.SideEffects, TimeoutSeconds: w.TimeoutSeconds,
			AdmissionReviewVersions: w.AdmissionReviewVersions, MatchConditions: w.MatchConditions,
		})
	}
	return made
}

func (c *configured) toMutating() *admissionregistrationv1.MutatingWebhookConfiguration {
	return &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: c.meta, Webhooks: c.entries}
}

func (c *configured) copy() *configured {
	full := c.toMutating().DeepCopy()
	return &configured{door: c.door, meta: full.ObjectMeta, entries: full.Webhooks}
}

// fillIn sets what the API server sets where nothing is said, so that what is wanted can be compared with what is there.
func (c *configured) fillIn() {
	for n := range c.entries {
		w := &c.entries[n]
		if w.NamespaceSelector == nil {
			w.NamespaceSelector = &metav1.LabelSelector{}
		}
		if w.ObjectSelector == nil {
			w.ObjectSelector = &metav1.LabelSelector{}
		}
		if s := w.ClientConfig.Service; s != nil && s.Port == nil {
			s.Port = new(int32(443))
		}
	}
}

// text is what is compared.
func (c *configured) text() []byte {
	text, err := json.Marshal(c.entries)
	if err != nil { // they are plain values
		panic(err)
	}
	return text
}

// same says whether two have the same entries, and ours its labels, and the annotation only if it may.
func (c *configured) same(wanted *configured) bool {
	for key, value := range wanted.meta.Labels {
		if c.meta.Labels[key] != value {
			return false
		}
	}
	return c.meta.Annotations[v1alpha1.BreakGlassUntilAnnotation] == "" && equality.Semantic.DeepEqual(c.entries, wanted.entries)
}

// ours says whether the controller has written it, or somebody for our Service by hand.
func (c *configured) ours(service configuration.Service) bool {
	if c.meta.Labels["app.kubernetes.io/managed-by"] == ManagedBy {
		return true
	}
	return len(c.entries) > 0 && !slices.ContainsFunc(c.entries, func(w admissionregistrationv1.MutatingWebhook) bool {
		s := w.ClientConfig.Service
		return s == nil || s.Namespace != service.Namespace || s.Name != service.Name
	})
}

// trusts says whether each entry has an authority in its bundle.
func (c *configured) trusts(authority *x509.Certificate) bool {
	for n := range c.entries {
		bundle, err := certificate.DecodeCertificates(c.entries[n].ClientConfig.CABundle)
		if err != nil || !slices.ContainsFunc(bundle, authority.Equal) {
			return false
		}
	}
	return true
}

// authorities are those of all entries, each once.
func (c *configured) authorities() []*x509.Certificate {
	if c == nil {
		return nil
	}
	var all []*x509.Certificate
	for n := range c.entries {
		bundle, _ := certificate.DecodeCertificates(c.entries[n].ClientConfig.CABundle) // what cannot be read trusts nobody
		for _, one := range bundle {
			if !slices.ContainsFunc(all, one.Equal) {
				all = append(all, one)
			}
		}
	}
	return all
}

// failsClosed says whether an entry is one of those that refuse what nobody answers, by its name: see package configuration.
func failsClosed(entry string) bool {
	return strings.HasPrefix(entry, "fail.") || strings.HasPrefix(entry, "fail-")
}

// brokenTimeout is how long the API server waits for an answer that it does not need.
const brokenTimeout = 3

// open has entries admit what nobody answers, and waits for no answer longer than it must.
func (c *configured) open() {
	for n := range c.entries {
		c.entries[n].FailurePolicy = new(admissionregistrationv1.Ignore)
		if t := c.entries[n].TimeoutSeconds; t == nil || *t > brokenTimeout {
			c.entries[n].TimeoutSeconds = new(int32(brokenTimeout))
		}
	}
}

// close is the opposite of open for entries whose policies are not known now.
func (c *configured) close(timeout int32) {
	for n := range c.entries {
		policy := admissionregistrationv1.Ignore
		if failsClosed(c.entries[n].Name) {
			policy = admissionregistrationv1.Fail
			c.entries[n].TimeoutSeconds = &timeout
		}
		c.entries[n].FailurePolicy = &policy
	}
}

// changedBy is the last manager of a configuration other than one, and when it was.
func changedBy(meta *metav1.ObjectMeta, but string) (manager string, at time.Time) {
	for _, f := range meta.ManagedFields {
		if f.Manager != but && f.Time != nil && !f.Time.Time.Before(at) {
			manager, at = f.Manager, f.Time.Time
		}
	}
	return manager, at
}
