package clusterimagepolicy

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/portcullis-dev/portcullis/signer"
)

// Addresses of the public good instance of Sigstore, which the trusted root is of by default.
const (
	publicFulcio = "fulcio.sigstore.dev"
	publicRekor  = "rekor.sigstore.dev"
)

// predicateTypes are what cosign's names of predicate types stand for
// (github.com/sigstore/cosign, cmd/cosign/cli/options/predicate.go).
var predicateTypes = map[string]string{
	"custom":           "https://cosign.sigstore.dev/attestation/v1",
	"slsaprovenance":   "https://slsa.dev/provenance/v0.2",
	"slsaprovenance02": "https://slsa.dev/provenance/v0.2",
	"slsaprovenance1":  "https://slsa.dev/provenance/v1",
	"spdx":             "https://spdx.dev/Document",
	"spdxjson":         "https://spdx.dev/Document",
	"cyclonedx":        "https://cyclonedx.org/bom",
	"link":             "https://in-toto.io/Link/v1",
	"vuln":             "https://cosign.sigstore.dev/attestation/vuln/v1",
	"openvex":          "https://openvex.dev/ns",
}

// convert makes authorities and a requirement of a policy.
func (i *importer) convert(p *policy) {
	images := i.images(p)
	i.whole(p)
	var names []string
	passes, fails := false, false
	for n := range p.Spec.Authorities {
		a := &p.Spec.Authorities[n]
		place := fmt.Sprintf("spec.authorities[%d]", n)
		if a.Static != nil {
			passes = passes || a.Static.Action == "pass"
			fails = fails || a.Static.Action == "fail"
			i.static(p, place, a)
			continue
		}
		name := a.Name
		if name == "" {
			name = fmt.Sprintf("authority-%d", n)
		}
		name = p.name + "/" + name
		names = append(names, name)
		i.trust.Authorities = append(i.trust.Authorities, i.authority(p, place, name, images, a))
	}
	switch {
	case len(p.Spec.Authorities) == 0:
		i.problem(p.name, "spec.authorities", "there are none, so that policy-controller takes a signature by anybody: name who may sign")
	case passes:
		// One authority is enough, and this one always passes: nobody's signature matters.
		i.trust.Authorities = i.trust.Authorities[:len(i.trust.Authorities)-len(names)]
		i.note(p.name, "spec.authorities", "one of them passes without any signature, so that no requirement is made of the policy: what becomes of images without a requirement is for the bundle's policies to say (images/signed, pods/image-registries)")
	case len(names) == 0 && fails:
		i.problem(p.name, "spec.authorities", "all images are refused, which is no question of signatures: configure pods/image-registries without them, and leave the policy out")
	case len(names) > 0:
		i.trust.Requirements = append(i.trust.Requirements, signer.Requirement{Name: p.name, Images: images, AnyOf: names})
	}
}

// static is an authority that looks at no signature.
func (i *importer) static(p *policy, place string, a *authority) {
	if a.Key != nil || a.Keyless != nil || a.Static.Action != "pass" && a.Static.Action != "fail" {
		i.problem(p.name, place+".static", "it has to be alone, with the action pass or fail")
	} else if a.Static.Action == "fail" {
		i.note(p.name, place+".static", "an authority that always fails adds nothing to the others and is left out")
	}
}

// whole is what a policy says beside images and authorities.
func (i *importer) whole(p *policy) {
	if check := p.Spec.Policy; check != nil {
		i.problem(p.name, "spec.policy", "its %s is not run here, and without it more would be admitted: write a policy of the bundle that reads input.images[] (docs/policies.md), and remove it", language(check))
	}
	switch p.Spec.Mode {
	case "", "enforce":
	case "warn":
		i.note(p.name, "spec.mode", "warn is not a matter of trust: give the instance of images/signed the enforcement warn, or it denies")
	default:
		i.problem(p.name, "spec.mode", "%q is neither enforce nor warn", p.Spec.Mode)
	}
	if len(p.Spec.Match) > 0 {
		i.note(p.name, "spec.match", "the requirement is about the images wherever they run, which is stricter: narrow the instance of images/signed by its match (kinds, objectSelector) if that is meant")
	}
}

func language(check *predicateCheck) string {
	switch strings.ToLower(check.Type) {
	case "cue":
		return "CUE policy"
	case "rego":
		return "Rego policy (its input is another one)"
	}
	return fmt.Sprintf("policy of type %q", check.Type)
}

// authority is one that may sign the images of its policy.
func (i *importer) authority(p *policy, place, name string, images []string, a *authority) signer.Authority {
	made := signer.Authority{Name: name, Images: images}
	switch {
	case a.Key != nil && a.Keyless != nil, a.Key == nil && a.Keyless == nil:
		i.problem(p.name, place, "it needs exactly one of key, keyless and static")
	case a.Key != nil:
		made.Keys = i.key(p, place+".key", name, a.Key)
		made.TransparencyLog = i.logged(p, place, a)
	default:
		made.Identities = i.keyless(p, place+".keyless", a.Keyless)
		i.log(p, place, a)
	}
	for n := range a.Attestations {
		made.Attestations = append(made.Attestations, i.attestation(p, fmt.Sprintf("%s.attestations[%d]", place, n), &a.Attestations[n]))
	}
	if len(a.Attestations) > 0 {
		i.note(p.name, place+".attestations", "the image has to be signed by the authority, too, and not only attested: sign it, or the requirement is not met")
	}
	i.sources(p, place, a)
	i.timestamp(p, place, a)
	switch a.SignatureFormat {
	case "":
	case "legacy", "bundle":
		i.note(p.name, place+".signatureFormat", "signatures of either format count")
	default:
		i.problem(p.name, place+".signatureFormat", "%q is neither legacy nor bundle", a.SignatureFormat)
	}
	return made
}

// key is a public key that stands in the policy. One that is elsewhere could be changed without the bundle.
func (i *importer) key(p *policy, place, name string, k *key) []signer.Key {
	switch {
	case k.KMS != "":
		i.problem(p.name, place+".kms", "the bundle holds keys themselves: write what \"cosign public-key --key %s\" prints as data", k.KMS)
	case k.SecretRef != nil:
		namespace := k.SecretRef.Namespace
		if namespace == "" {
			namespace = "cosign-system"
		}
		i.problem(p.name, place+".secretRef", "the bundle holds keys themselves: write the public key in the Secret (kubectl get secret -n %s %s -o yaml, base64) as data", namespace, k.SecretRef.Name)
	case k.Data == "":
		i.problem(p.name, place, "it has no data: write the public key in PEM")
	}
	if k.HashAlgorithm != "" && !strings.EqualFold(k.HashAlgorithm, "sha256") {
		i.problem(p.name, place+".hashAlgorithm", "signatures over %s are not verified here: sign with sha256", k.HashAlgorithm)
	}
	if k.Data == "" {
		return nil
	}
	return []signer.Key{{PEM: k.Data, Name: name}}
}

// logged says whether signatures by key have to be in a transparency log. Version v1beta1 turns that off by an empty ctlog;
// where nothing is said, it is demanded.
func (i *importer) logged(p *policy, place string, a *authority) bool {
	empty := a.CTLog != nil && a.CTLog.URL == "" && a.CTLog.TrustRootRef == ""
	switch {
	case a.CTLog == nil:
		i.note(p.name, place+".ctlog", "nothing is said of a transparency log, and an entry in one is demanded: remove transparencyLog where signatures are not logged")
	case empty && strings.HasSuffix(p.APIVersion, "/v1beta1"):
		return false
	default:
		i.log(p, place, a)
	}
	return true
}

// log is which transparency log counts: the trusted root says that here, for all authorities.
func (i *importer) log(p *policy, place string, a *authority) {
	if a.CTLog == nil {
		return
	}
	if a.CTLog.TrustRootRef != "" {
		i.note(p.name, place+".ctlog.trustRootRef", "logs are those of the webhook's trusted root: give it one with the logs of TrustRoot %s and no others (--trusted-root)", a.CTLog.TrustRootRef)
	}
	if host := hostOf(a.CTLog.URL); host != "" && host != publicRekor {
		i.note(p.name, place+".ctlog.url", "logs are those of the webhook's trusted root: give it one with the log of %s and no others (--trusted-root)", host)
	}
}

func hostOf(text string) string {
	if text == "" {
		return ""
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" {
		return text
	}
	return parsed.Host
}

// keyless are identities.
func (i *importer) keyless(p *policy, place string, k *keyless) []signer.Identity {
	if k.CACert != nil {
		i.problem(p.name, place+".ca-cert", "certificate authorities are those of the trusted root, for all authorities alike: put it into a trusted root of its own (--trusted-root), and remove it here")
	}
	if k.TrustRootRef != "" {
		i.note(p.name, place+".trustRootRef", "certificate authorities are those of the webhook's trusted root: give it one with those of TrustRoot %s and no others (--trusted-root)", k.TrustRootRef)
	}
	if host := hostOf(k.URL); host != "" && host != publicFulcio {
		i.note(p.name, place+".url", "certificate authorities are those of the webhook's trusted root: give it one with that of %s and no others (--trusted-root)", host)
	}
	if k.InsecureIgnoreSCT != nil && *k.InsecureIgnoreSCT {
		i.note(p.name, place+".insecureIgnoreSCT", "certificates have to be in a certificate transparency log of the trusted root: this is not turned off")
	}
	if len(k.Identities) == 0 {
		i.problem(p.name, place+".identities", "there are none, so that anybody could sign: name issuer and subject")
	}
	var identities []signer.Identity
	for n := range k.Identities {
		at := fmt.Sprintf("%s.identities[%d]", place, n)
		one := &k.Identities[n]
		identities = append(identities, signer.Identity{
			Issuer: one.Issuer, Subject: one.Subject,
			IssuerRegExp:  i.expression(p, at+".issuerRegExp", one.IssuerRegExp),
			SubjectRegExp: i.expression(p, at+".subjectRegExp", one.SubjectRegExp),
		})
	}
	return identities
}

// attestation is one kind of statement.
func (i *importer) attestation(p *policy, place string, a *attestation) signer.AttestationRequirement {
	if a.Policy != nil {
		i.problem(p.name, place+".policy", "its %s is not run here, and without it more would be admitted: write a policy of the bundle that reads input.images[].attestations (docs/policies.md), and remove it", language(a.Policy))
	}
	if a.Name != "" {
		i.note(p.name, place+".name", "attestations have no names here: %q is left out", a.Name)
	}
	uri, known := predicateTypes[a.PredicateType]
	if !known {
		uri = a.PredicateType
	}
	return signer.AttestationRequirement{PredicateType: uri}
}

func (i *importer) sources(p *policy, place string, a *authority) {
	for n, source := range a.Sources {
		at := fmt.Sprintf("%s.source[%d]", place, n)
		if source.OCI != "" {
			i.note(p.name, at+".oci", "signatures are looked for beside the image only, not in %s: copy them there (cosign copy), or the requirement is not met", source.OCI)
		}
		if len(source.SignaturePullSecrets) > 0 {
			i.note(p.name, at+".signaturePullSecrets", "signatures are read with the credentials that the webhook has for the image's registry")
		}
		if source.TagPrefix != nil {
			i.note(p.name, at+".tagPrefix", "signatures under tags of another name are not found: attach them as cosign does, or the requirement is not met")
		}
	}
}

// timestamp demands a time by a timestamp authority. Keyless signatures need an entry in a log here, which has one.
func (i *importer) timestamp(p *policy, place string, a *authority) {
	switch {
	case a.Timestamp == nil:
	case a.Keyless != nil:
		i.note(p.name, place+".rfc3161timestamp", "keyless signatures have to be in a transparency log, which gives them their time: a timestamp alone is not enough")
	default:
		i.problem(p.name, place+".rfc3161timestamp", "a timestamp cannot be demanded of signatures by key: demand a transparency log (ctlog) instead, and remove it")
	}
}
