package v1alpha1

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
)

// CheckSecret holds a VaultSecret to the rules of its schema, as a *secrets.Error with the reason Misconfigured: for objects that no API server
// has seen (files), and for definitions that are older than the program. Places in Vault, and templates, are checked by those who use them.
func CheckSecret(s *VaultSecret) error {
	c := checks{doing: "checking the VaultSecret"}
	spec := &s.Spec
	c.that(spec.Auth != "", "spec.auth names no VaultAuth")
	c.that(spec.Source.Engine() != "", "a source has exactly one engine: kv, dynamic, pki, transit or appRoleSecretID")
	if kv := spec.Source.KV; kv != nil {
		c.oneOf("source.kv.engineVersion", kv.EngineVersion, 0, 1, 2)
		c.that(kv.Version >= 0, "source.kv.version is negative")
		c.that(kv.Version == 0 || kv.EngineVersion != 1, "only version 2 of the engine has versions of secrets")
	}
	if dynamic := spec.Source.Dynamic; dynamic != nil {
		c.percent("source.dynamic.renewPercent", dynamic.RenewPercent)
	}
	if pki := spec.Source.PKI; pki != nil {
		c.percent("source.pki.renewPercent", pki.RenewPercent)
		c.between("source.pki.ttl", pki.TTL, time.Second, 0)
		c.oneOfWords("source.pki.keyFormat", pki.KeyFormat, KeyFormatPKCS8, KeyFormatTraditional)
		c.oneOfWords("source.pki.chain", pki.Chain, ChainFull, ChainLeaf)
		if pki.CSR != nil {
			c.oneOfWords("source.pki.csr.algorithm", pki.CSR.Algorithm, Algorithms...)
		}
	}
	if transit := spec.Source.Transit; transit != nil {
		c.that((len(transit.Ciphertexts) > 0) != transit.PublicKeys, "transit is exactly one of ciphertexts to decrypt and publicKeys to publish")
	}
	if id := spec.Source.AppRoleSecretID; id != nil {
		c.percent("source.appRoleSecretID.renewPercent", id.RenewPercent)
		c.between("source.appRoleSecretID.ttl", id.TTL, time.Second, 0)
	}
	to := &spec.Destination
	c.oneOfWords("destination.kind", to.Kind, KindSecret, KindConfigMap)
	c.that(to.Kind != KindConfigMap || spec.Source.Transit != nil && spec.Source.Transit.PublicKeys, "a ConfigMap is for public keys only (source.transit.publicKeys)")
	c.that(to.Kind != KindConfigMap || to.Type == "" && !to.Immutable, "type and immutable are for Secrets")
	c.that(!to.Adopt || !to.Immutable, "an immutable Secret cannot be taken over: adopt or immutable")
	for _, name := range DestinationNames(s) {
		c.that(len(name) <= 253, "the name of the Secret is too long")
	}
	c.that(to.Labels[ManagedByLabel] == "", ManagedByLabel+" is set by portcullis-secrets")
	for key := range to.Annotations {
		c.that(!strings.HasPrefix(key, GroupVersion.Group+"/"), "annotations of secrets.portcullis.dev are set by portcullis-secrets")
	}
	c.refresh(spec.Refresh)
	c.oneOfWords("rotation.restart", spec.Rotation.Restart, RestartNone, RestartReferencing, RestartNamed)
	c.between("rotation.timeout", spec.Rotation.Timeout, time.Second, 24*time.Hour)
	switch spec.Rotation.Restart {
	case RestartNamed:
		c.that(len(spec.Rotation.Workloads) > 0, "restart: Named asks for workloads")
	case "", RestartNone:
		c.that(len(spec.Rotation.Workloads) == 0, "workloads are restarted with restart: Named or Referencing")
	}
	for _, w := range spec.Rotation.Workloads {
		c.that(w.Name != "" && (w.Kind == "Deployment" || w.Kind == "StatefulSet" || w.Kind == "DaemonSet"), "a workload is a Deployment, StatefulSet or DaemonSet with a name")
	}
	c.oneOfWords("deletion.whenGone", spec.Deletion.WhenGone, Retain, Delete)
	c.oneOfWords("deletion.whenDeleted", spec.Deletion.WhenDeleted, Retain, Delete)
	return c.err()
}

// CheckPush holds a VaultPush to the rules of its schema; see CheckSecret.
func CheckPush(p *VaultPush) error {
	c := checks{doing: "checking the VaultPush"}
	spec := &p.Spec
	c.that(spec.Auth != "", "spec.auth names no VaultAuth")
	c.that((len(spec.Generate) > 0) != (spec.Secret != nil), "a VaultPush is exactly one of generate and secret")
	c.that(spec.Secret == nil || spec.Secret.Name != "", "secret.name names no Secret")
	c.oneOf("destination.engineVersion", spec.Destination.EngineVersion, 0, 1, 2)
	for _, g := range spec.Generate {
		c.that(g.PrivateKey == "" || g.Length == 0 && g.Charset == "", "a private key has no length and no charset")
		c.that(g.Length == 0 || g.Length >= 16 && g.Length <= 1024, "a password has 16 to 1024 characters")
		c.oneOfWords("generate.charset", g.Charset, CharsetAlphanumeric, CharsetASCII, CharsetHex, CharsetBase64URL)
		c.oneOfWords("generate.privateKey", g.PrivateKey, Algorithms...)
	}
	c.that(spec.RotateAfter == nil || len(spec.Generate) > 0, "rotateAfter is for generated values")
	c.between("rotateAfter", spec.RotateAfter, LeastInterval, 0)
	c.refresh(spec.Refresh)
	c.oneOfWords("whenDeleted", spec.WhenDeleted, Retain, Delete)
	return c.err()
}

// checks keeps the mistakes that were found, in their order.
type checks struct {
	doing string
	wrong []string
}

func (c *checks) that(holds bool, message string) {
	if !holds && !slices.Contains(c.wrong, message) {
		c.wrong = append(c.wrong, message)
	}
}

func (c *checks) oneOf(field string, value int64, of ...int64) {
	c.that(slices.Contains(of, value), fmt.Sprintf("%s is %d", field, value))
}

// oneOfWords takes none, too.
func (c *checks) oneOfWords(field, value string, of ...string) {
	c.that(value == "" || slices.Contains(of, value), fmt.Sprintf("%s is %q: use %s", field, value, strings.Join(of, ", ")))
}

func (c *checks) percent(field string, value int64) {
	c.that(value == 0 || value >= secrets.LeastRenewPercent && value <= secrets.MostRenewPercent, fmt.Sprintf("%s is %d: use %d to %d", field, value, secrets.LeastRenewPercent, secrets.MostRenewPercent))
}

// between takes none, too. most is 0 for no end.
func (c *checks) between(field string, value *metav1.Duration, least, most time.Duration) {
	if value == nil {
		return
	}
	c.that(value.Duration >= least, fmt.Sprintf("%s is at least %s", field, least))
	c.that(most == 0 || value.Duration <= most, fmt.Sprintf("%s is at most %s", field, most))
}

func (c *checks) refresh(r Refresh) {
	c.between("refresh.interval", r.Interval, LeastInterval, MostInterval)
}

func (c *checks) err() error {
	if len(c.wrong) == 0 {
		return nil
	}
	return &secrets.Error{Reason: secrets.Misconfigured, Doing: c.doing, Message: strings.Join(c.wrong, "; ") + ": correct the object"}
}
