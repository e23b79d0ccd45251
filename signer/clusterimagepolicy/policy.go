package clusterimagepolicy

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// policy is a ClusterImagePolicy of either version.
type policy struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   json.RawMessage `json:"metadata"`
	Spec       spec            `json:"spec"`
	Status     json.RawMessage `json:"status,omitempty"`

	name string // of the metadata
}

type spec struct {
	Images      []image         `json:"images"`
	Authorities []authority     `json:"authorities,omitempty"`
	Policy      *predicateCheck `json:"policy,omitempty"`
	Mode        string          `json:"mode,omitempty"`
	Match       []match         `json:"match,omitempty"`
}

type image struct {
	Glob string `json:"glob"`
}

type match struct {
	Group    string                `json:"group,omitempty"`
	Version  string                `json:"version,omitempty"`
	Resource string                `json:"resource,omitempty"`
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

type authority struct {
	Name            string        `json:"name,omitempty"`
	Key             *key          `json:"key,omitempty"`
	Keyless         *keyless      `json:"keyless,omitempty"`
	Static          *static       `json:"static,omitempty"`
	Sources         []source      `json:"source,omitempty"`
	CTLog           *ctlog        `json:"ctlog,omitempty"`
	Attestations    []attestation `json:"attestations,omitempty"`
	Timestamp       *timestamp    `json:"rfc3161timestamp,omitempty"`
	SignatureFormat string        `json:"signatureFormat,omitempty"`
}

type key struct {
	SecretRef     *reference `json:"secretRef,omitempty"`
	Data          string     `json:"data,omitempty"`
	KMS           string     `json:"kms,omitempty"`
	HashAlgorithm string     `json:"hashAlgorithm,omitempty"`
}

type reference struct {
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Key       string `json:"key,omitempty"`
}

type keyless struct {
	URL               string     `json:"url,omitempty"`
	Identities        []identity `json:"identities,omitempty"`
	CACert            *key       `json:"ca-cert,omitempty"`
	TrustRootRef      string     `json:"trustRootRef,omitempty"`
	InsecureIgnoreSCT *bool      `json:"insecureIgnoreSCT,omitempty"`
}

type identity struct {
	Issuer        string `json:"issuer,omitempty"`
	Subject       string `json:"subject,omitempty"`
	IssuerRegExp  string `json:"issuerRegExp,omitempty"`
	SubjectRegExp string `json:"subjectRegExp,omitempty"`
}

type static struct {
	Action  string `json:"action"`
	Message string `json:"message,omitempty"`
}

type source struct {
	OCI                  string      `json:"oci,omitempty"`
	SignaturePullSecrets []reference `json:"signaturePullSecrets,omitempty"`
	TagPrefix            *string     `json:"tagPrefix,omitempty"`
}

type ctlog struct {
	URL          string `json:"url,omitempty"`
	TrustRootRef string `json:"trustRootRef,omitempty"`
}

type timestamp struct {
	TrustRootRef string `json:"trustRootRef,omitempty"`
}

type attestation struct {
	Name          string          `json:"name,omitempty"`
	PredicateType string          `json:"predicateType"`
	Policy        *predicateCheck `json:"policy,omitempty"`
}

// predicateCheck is a policy in CUE or Rego. Only its language is looked at.
type predicateCheck struct {
	Type              string          `json:"type"`
	Data              string          `json:"data,omitempty"`
	URL               string          `json:"url,omitempty"` // v1alpha1
	Remote            json.RawMessage `json:"remote,omitempty"`
	ConfigMapRef      *reference      `json:"configMapRef,omitempty"`
	FetchConfigFile   *bool           `json:"fetchConfigFile,omitempty"`
	IncludeSpec       *bool           `json:"includeSpec,omitempty"`
	IncludeObjectMeta *bool           `json:"includeObjectMeta,omitempty"`
	IncludeTypeMeta   *bool           `json:"includeTypeMeta,omitempty"`
}
