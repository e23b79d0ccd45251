package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
)

// The words of specs.
const (
	KindSecret    = "Secret"
	KindConfigMap = "ConfigMap"

	RestartNone        = "None"
	RestartReferencing = "Referencing"
	RestartNamed       = "Named"

	Retain = "Retain"
	Delete = "Delete"

	KeyFormatPKCS8       = "PKCS8"
	KeyFormatTraditional = "Traditional"

	ChainFull = "Full"
	ChainLeaf = "Leaf"

	AlgorithmECDSA256 = "ECDSA256"

	CharsetAlphanumeric = "Alphanumeric"
	CharsetASCII        = "ASCII"
	CharsetHex          = "Hex"
	CharsetBase64URL    = "Base64URL"

	MethodKubernetes = "kubernetes"
	MethodJWT        = "jwt"
	MethodAppRole    = "appRole"
	MethodCert       = "cert"
)

// What counts where a field says nothing.
const (
	DefaultTimeout           = 10 * time.Second
	DefaultRequestsPerSecond = 50
	DefaultBurst             = 100
	DefaultTokenTTL          = 10 * time.Minute // the least that TokenRequest gives
	DefaultAudience          = "vault"
	DefaultInterval          = time.Hour
	DefaultRestartTimeout    = 10 * time.Minute
	DefaultPasswordLength    = 32
	DefaultTransitMount      = "transit"
	DefaultAppRoleMount      = "approle"
	DefaultKubernetesMount   = "kubernetes"
	DefaultSecretIDKey       = "secretID"
	DefaultJWTKey            = "token"
)

// The bounds of the interval of refreshing.
const (
	LeastInterval = 10 * time.Second
	MostInterval  = 365 * 24 * time.Hour
)

// Algorithms are those of keys that are made here.
var Algorithms = []string{"RSA2048", "RSA3072", "RSA4096", AlgorithmECDSA256, "ECDSA384", "Ed25519"}

// Engine is the one engine of a source, as policies name it (secrets.EngineKV2 …), "" where there is none or more than one.
func (s *Source) Engine() string {
	var engines []string
	if s.KV != nil {
		if s.KV.EngineVersion == 1 {
			engines = append(engines, secrets.EngineKV1)
		} else {
			engines = append(engines, secrets.EngineKV2)
		}
	}
	if s.Dynamic != nil {
		engines = append(engines, secrets.EngineDynamic)
	}
	if s.PKI != nil {
		engines = append(engines, secrets.EnginePKI)
	}
	if s.Transit != nil {
		engines = append(engines, secrets.EngineTransit)
	}
	if s.AppRoleSecretID != nil {
		engines = append(engines, secrets.EngineAppRole)
	}
	return only(engines)
}

// Method is the one method of a VaultAuth (MethodKubernetes …), "" where there is none or more than one.
func (s *VaultAuthSpec) Method() string {
	var methods []string
	if s.Kubernetes != nil {
		methods = append(methods, MethodKubernetes)
	}
	if s.JWT != nil {
		methods = append(methods, MethodJWT)
	}
	if s.AppRole != nil {
		methods = append(methods, MethodAppRole)
	}
	if s.Cert != nil {
		methods = append(methods, MethodCert)
	}
	return only(methods)
}

// only is the one of a list that has just one.
func only(of []string) string {
	if len(of) != 1 {
		return ""
	}
	return of[0]
}

// ServiceAccount is the one whose token is shown, "" for methods that show none.
func (s *VaultAuthSpec) ServiceAccount() string {
	switch {
	case s.Kubernetes != nil:
		return s.Kubernetes.ServiceAccount
	case s.JWT != nil:
		return s.JWT.ServiceAccount
	}
	return ""
}

// Defaulted is the object with each default written out. It shares with the original what it does not change: neither is to be written to.
func (c *VaultConnection) Defaulted() *VaultConnection {
	d := *c
	d.Spec.Timeout = or(d.Spec.Timeout, DefaultTimeout)
	setDefault(&d.Spec.RequestsPerSecond, DefaultRequestsPerSecond)
	setDefault(&d.Spec.Burst, DefaultBurst)
	if e := d.Spec.LeaseEncryption; e != nil && e.Transit != nil {
		transit := *e.Transit
		setDefault(&transit.Mount, DefaultTransitMount)
		setDefault(&transit.AuthMount, DefaultKubernetesMount)
		transit.Auth = transit.Auth.defaulted()
		d.Spec.LeaseEncryption = &LeaseEncryption{Transit: &transit, KMS: e.KMS}
	}
	return &d
}

// Defaulted is the object with each default written out; see VaultConnection.
func (a *VaultAuth) Defaulted() *VaultAuth {
	d := *a
	setDefault(&d.Spec.Mount, map[string]string{MethodKubernetes: DefaultKubernetesMount, MethodJWT: "jwt", MethodAppRole: DefaultAppRoleMount, MethodCert: "cert"}[a.Spec.Method()])
	if k := d.Spec.Kubernetes; k != nil {
		kubernetes := k.defaulted()
		d.Spec.Kubernetes = &kubernetes
	}
	if j := d.Spec.JWT; j != nil {
		jwt := *j
		if jwt.ServiceAccount != "" {
			jwt.TokenTTL = or(jwt.TokenTTL, DefaultTokenTTL)
			if len(jwt.Audiences) == 0 {
				jwt.Audiences = []string{DefaultAudience}
			}
		}
		if jwt.SecretRef != nil {
			ref := *jwt.SecretRef
			setDefault(&ref.Key, DefaultJWTKey)
			jwt.SecretRef = &ref
		}
		d.Spec.JWT = &jwt
	}
	if r := d.Spec.AppRole; r != nil {
		role := *r
		setDefault(&role.SecretRef.Key, DefaultSecretIDKey)
		d.Spec.AppRole = &role
	}
	return &d
}

func (k KubernetesAuth) defaulted() KubernetesAuth {
	k.TokenTTL = or(k.TokenTTL, DefaultTokenTTL)
	if len(k.Audiences) == 0 {
		k.Audiences = []string{DefaultAudience}
	}
	return k
}

// Defaulted is the object with each default written out; see VaultConnection.
func (s *VaultSecret) Defaulted() *VaultSecret {
	d := *s
	source := &d.Spec.Source
	if source.KV != nil {
		kv := *source.KV
		setDefault(&kv.EngineVersion, 2)
		source.KV = &kv
	}
	if source.Dynamic != nil {
		dynamic := *source.Dynamic
		setDefault(&dynamic.RenewPercent, secrets.DefaultRenewPercent)
		dynamic.RevokeOnDelete = orTrue(dynamic.RevokeOnDelete)
		source.Dynamic = &dynamic
	}
	if source.PKI != nil {
		pki := *source.PKI
		setDefault(&pki.RenewPercent, secrets.DefaultRenewPercent)
		setDefault(&pki.KeyFormat, KeyFormatPKCS8)
		setDefault(&pki.Chain, ChainFull)
		if pki.CSR != nil {
			csr := *pki.CSR
			setDefault(&csr.Algorithm, AlgorithmECDSA256)
			pki.CSR = &csr
		}
		source.PKI = &pki
	}
	if source.Transit != nil {
		transit := *source.Transit
		setDefault(&transit.Mount, DefaultTransitMount)
		source.Transit = &transit
	}
	if source.AppRoleSecretID != nil {
		id := *source.AppRoleSecretID
		setDefault(&id.Mount, DefaultAppRoleMount)
		setDefault(&id.RenewPercent, secrets.DefaultRenewPercent)
		id.DestroyOnReplace = orTrue(id.DestroyOnReplace)
		source.AppRoleSecretID = &id
	}
	setDefault(&d.Spec.Destination.Name, s.Name)
	setDefault(&d.Spec.Destination.Kind, KindSecret)
	if d.Spec.Destination.Kind == KindSecret {
		setDefault(&d.Spec.Destination.Type, "Opaque")
	}
	d.Spec.Refresh = d.Spec.Refresh.defaulted()
	setDefault(&d.Spec.Rotation.Restart, RestartNone)
	d.Spec.Rotation.Timeout = or(d.Spec.Rotation.Timeout, DefaultRestartTimeout)
	setDefault(&d.Spec.Deletion.WhenGone, Retain)
	setDefault(&d.Spec.Deletion.WhenDeleted, Delete)
	return &d
}

// Defaulted is the object with each default written out; see VaultConnection.
func (p *VaultPush) Defaulted() *VaultPush {
	d := *p
	setDefault(&d.Spec.Destination.EngineVersion, 2)
	if p.Spec.Generate != nil {
		d.Spec.Generate = make(map[string]Generator, len(p.Spec.Generate))
		for key, generator := range p.Spec.Generate {
			if generator.PrivateKey == "" {
				setDefault(&generator.Length, DefaultPasswordLength)
				setDefault(&generator.Charset, CharsetAlphanumeric)
			}
			d.Spec.Generate[key] = generator
		}
	}
	d.Spec.Refresh = d.Spec.Refresh.defaulted()
	setDefault(&d.Spec.WhenDeleted, Retain)
	return &d
}

func (r Refresh) defaulted() Refresh {
	r.Interval = or(r.Interval, DefaultInterval)
	return r
}

func setDefault[T comparable](field *T, value T) {
	var none T
	if *field == none {
		*field = value
	}
}

func or(given *metav1.Duration, otherwise time.Duration) *metav1.Duration {
	if given == nil || given.Duration == 0 {
		return &metav1.Duration{Duration: otherwise}
	}
	return given
}

func orTrue(given *bool) *bool {
	if given == nil {
		return new(true)
	}
	return given
}
