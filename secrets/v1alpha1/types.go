package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/secrets"
)

// GroupVersion is that of the package.
var GroupVersion = schema.GroupVersion{Group: "secrets.portcullis.dev", Version: "v1alpha1"}

// The resources.
var (
	VaultConnections = GroupVersion.WithResource("vaultconnections") // cluster-scoped
	VaultAuths       = GroupVersion.WithResource("vaultauths")
	VaultSecrets     = GroupVersion.WithResource("vaultsecrets")
	VaultPushes      = GroupVersion.WithResource("vaultpushes")
	VaultLeases      = GroupVersion.WithResource("vaultleases") // in the namespace of portcullis-secrets only
)

// Labels, annotations, names.
const (
	// ManagedByLabel with ManagedBy is on all Secrets and ConfigMaps that are written.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedBy      = "portcullis-secrets"
	// FieldManager is that of server-side apply.
	FieldManager = "portcullis-secrets"
	// OwnerAnnotation is on what is written: the UID of the VaultSecret. The status and the owner reference decide whose it is; where
	// it has no owner, since it is to stay, this does, together with the field manager.
	OwnerAnnotation = "secrets.portcullis.dev/owner"
	// HashAnnotation is the keyed hash of what was written; for people and for drift.
	HashAnnotation = "secrets.portcullis.dev/hash"
	// RestartAnnotation is on the pod template of a workload that was restarted: the keyed hash of the keys that it uses.
	RestartAnnotation = "secrets.portcullis.dev/restarted-for"
	// SyncAnnotation asks for a sync now: any text, once per text (status.requested).
	SyncAnnotation = "secrets.portcullis.dev/sync"
	// Finalizer holds a VaultSecret or VaultPush until its leases are revoked, or have ended.
	Finalizer = "secrets.portcullis.dev/revoke"
	// HashKeyName is the Secret with the key of keyed hashes, LeaseName the Lease of the replicas; in the namespace of portcullis-secrets.
	HashKeyName = "portcullis-secrets-hash-key"
	LeaseName   = "portcullis-secrets"
	// DefaultNamespace is where portcullis-secrets runs unless it is told otherwise.
	DefaultNamespace = "portcullis-system"
	// ImmutableSlots is how many names an immutable Secret takes in turn: NAME-0 to NAME-7. They are few and known beforehand, so that a
	// Role can name them.
	ImmutableSlots = 8
)

// The conditions.
const (
	// ConditionSynced is True while the destination holds what Vault last gave; its reason is a secrets.Reason where it is not.
	ConditionSynced = "Synced"
	// ConditionAllowed is what policies say. Its message names those that deny, and what to do.
	ConditionAllowed = "Allowed"
	// ConditionRevocable says whether what is issued could be revoked: found out before it is issued.
	ConditionRevocable = "Revocable"
	// ConditionRestarted is about workloads: True once all that use it have the newest.
	ConditionRestarted = "Restarted"
	// ConditionRotationRequired is True where a static secret was in a pod that is quarantined, and is to be changed in Vault.
	ConditionRotationRequired = "RotationRequired"
	// ConditionReady is that of VaultConnections (it answers, unsealed) and VaultAuths (a login worked).
	ConditionReady = "Ready"
)

// VaultConnection is a Vault, and who may use it. Cluster-scoped: whoever may edit a namespace must not choose where credentials go.
type VaultConnection struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   VaultConnectionSpec   `json:"spec"`
	Status VaultConnectionStatus `json:"status,omitempty"`
}

// VaultConnectionSpec says where it is.
type VaultConnectionSpec struct {
	// Address is an https URL without a path. http is taken on loopback only.
	Address string `json:"address"`
	// CABundle is PEM, the only roots that count; "" for those of the system. It is in the object itself: a reference into a namespace
	// would be read with rights that are not the reader's (CVE-2026-42875).
	CABundle      string `json:"caBundle,omitempty"`
	TLSServerName string `json:"tlsServerName,omitempty"`
	// VaultNamespace is sent as X-Vault-Namespace (Vault Enterprise, HCP).
	VaultNamespace string `json:"vaultNamespace,omitempty"`
	// AllowedNamespaces are names or globs of the Kubernetes namespaces whose VaultAuths may name it. Empty means none.
	AllowedNamespaces []string `json:"allowedNamespaces,omitempty"`
	// Timeout bounds one request: 10s for none, at most 60s.
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// RequestsPerSecond and Burst bound all requests of this program to this Vault: 50 and 100 for none.
	RequestsPerSecond int64 `json:"requestsPerSecond,omitempty"`
	Burst             int64 `json:"burst,omitempty"`
	// LeaseEncryption says how tokens that hold leases are encrypted to be resumed after a restart. Without it (and without a KMS plugin
	// given to the program) dynamic secrets are refused: their leases would be lost with the process.
	LeaseEncryption *LeaseEncryption `json:"leaseEncryption,omitempty"`
}

// LeaseEncryption is one of two ways.
type LeaseEncryption struct {
	// Transit encrypts with a key of this Vault.
	Transit *TransitEncryption `json:"transit,omitempty"`
	// KMS encrypts with the KMS v2 plugin (KEP-3299) whose socket the program is given.
	KMS bool `json:"kms,omitempty"`
}

// TransitEncryption is a key of the transit engine, and who may use it: a service account of the namespace of portcullis-secrets by the
// Kubernetes auth method.
type TransitEncryption struct {
	Mount string         `json:"mount,omitempty"` // transit for none
	Key   string         `json:"key"`
	Auth  KubernetesAuth `json:"auth"`
	// AuthMount is the mount of the auth method: kubernetes for none.
	AuthMount string `json:"authMount,omitempty"`
}

// VaultConnectionStatus is what was seen last.
type VaultConnectionStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Sealed             *bool              `json:"sealed,omitempty"`
	Version            string             `json:"version,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// VaultAuth is how objects of its namespace log in.
type VaultAuth struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   VaultAuthSpec   `json:"spec"`
	Status VaultAuthStatus `json:"status,omitempty"`
}

// VaultAuthSpec holds exactly one method.
type VaultAuthSpec struct {
	Connection string `json:"connection"`
	// Mount is that of the auth method, without "auth/": the method's usual name for none (kubernetes, jwt, approle, cert).
	Mount      string          `json:"mount,omitempty"`
	Kubernetes *KubernetesAuth `json:"kubernetes,omitempty"`
	JWT        *JWTAuth        `json:"jwt,omitempty"`
	AppRole    *AppRoleAuth    `json:"appRole,omitempty"`
	Cert       *CertAuth       `json:"cert,omitempty"`
}

// KubernetesAuth shows a token of a service account of the same namespace, made for the purpose by TokenRequest.
type KubernetesAuth struct {
	Role           string `json:"role"`
	ServiceAccount string `json:"serviceAccount"`
	// Audiences the token is for: ["vault"] for none. It never works at the API server unless that is named here.
	Audiences []string `json:"audiences,omitempty"`
	// TokenTTL is 10m for none, which is the least that Kubernetes gives; at most 1h.
	TokenTTL *metav1.Duration `json:"tokenTTL,omitempty"`
}

// JWTAuth shows a JWT: a service account's as KubernetesAuth does, or one that is kept in a Secret of the namespace.
type JWTAuth struct {
	Role           string           `json:"role"`
	ServiceAccount string           `json:"serviceAccount,omitempty"`
	Audiences      []string         `json:"audiences,omitempty"`
	TokenTTL       *metav1.Duration `json:"tokenTTL,omitempty"`
	SecretRef      *SecretKeyRef    `json:"secretRef,omitempty"`
}

// AppRoleAuth shows a role id and a secret id that is kept in a Secret of the namespace.
type AppRoleAuth struct {
	RoleID    string       `json:"roleID"`
	SecretRef SecretKeyRef `json:"secretRef"` // key: secretID for none
}

// CertAuth shows a client certificate: a Secret of the type kubernetes.io/tls of the namespace.
type CertAuth struct {
	Role       string `json:"role,omitempty"`
	SecretName string `json:"secretName"`
}

// SecretKeyRef is a key of a Secret of the same namespace.
type SecretKeyRef struct {
	Name string `json:"name"`
	Key  string `json:"key,omitempty"`
}

// VaultAuthStatus says how the last login went.
type VaultAuthStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// VaultSecret is one secret of Vault, kept in one Secret of its namespace.
type VaultSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   VaultSecretSpec   `json:"spec"`
	Status VaultSecretStatus `json:"status,omitempty"`
}

// VaultSecretSpec says what, where to, and when.
type VaultSecretSpec struct {
	// Auth is a VaultAuth of the namespace.
	Auth        string      `json:"auth"`
	Source      Source      `json:"source"`
	Destination Destination `json:"destination"`
	Refresh     Refresh     `json:"refresh,omitzero"`
	Rotation    Rotation    `json:"rotation,omitzero"`
	Deletion    Deletion    `json:"deletion,omitzero"`
	// Suspend stops everything but renewing leases.
	Suspend bool `json:"suspend,omitempty"`
}

// Source holds exactly one engine.
type Source struct {
	KV              *KVSource              `json:"kv,omitempty"`
	Dynamic         *DynamicSource         `json:"dynamic,omitempty"`
	PKI             *PKISource             `json:"pki,omitempty"`
	Transit         *TransitSource         `json:"transit,omitempty"`
	AppRoleSecretID *AppRoleSecretIDSource `json:"appRoleSecretID,omitempty"`
}

// KVSource is a secret of the key-value engine.
type KVSource struct {
	Mount string `json:"mount"`
	Path  string `json:"path"` // without data/
	// EngineVersion is 1 or 2; 2 for none.
	EngineVersion int64 `json:"engineVersion,omitempty"`
	// Version pins one of version 2; 0 for the latest.
	Version int64 `json:"version,omitempty"`
	// Keys are the only ones taken, and must be there; all for none.
	Keys []string `json:"keys,omitempty"`
}

// DynamicSource is what is issued with a lease: database credentials and the like.
type DynamicSource struct {
	Mount string `json:"mount"`
	Path  string `json:"path"` // "creds/shop"
	// Parameters are sent, with a POST where there are any.
	Parameters map[string]string `json:"parameters,omitempty"`
	Keys       []string          `json:"keys,omitempty"`
	// RenewPercent of a lease's duration is when it is renewed: 10 to 90, 67 for none.
	RenewPercent int64 `json:"renewPercent,omitempty"`
	// RevokeOnDelete revokes when the VaultSecret is deleted and when new credentials have replaced it: true for none.
	RevokeOnDelete *bool `json:"revokeOnDelete,omitempty"`
}

// PKISource is a certificate. Keys of the result: tls.crt (with the chain), tls.key, ca.crt.
type PKISource struct {
	Mount      string   `json:"mount"`
	Role       string   `json:"role"`
	CommonName string   `json:"commonName,omitempty"`
	AltNames   []string `json:"altNames,omitempty"` // DNS names and e-mail addresses
	IPSANs     []string `json:"ipSANs,omitempty"`
	URISANs    []string `json:"uriSANs,omitempty"`
	// TTL is the lifetime asked for; the role's for none.
	TTL *metav1.Duration `json:"ttl,omitempty"`
	// RenewPercent of the lifetime is when the next is issued, less up to a tenth at random: 10 to 90, 67 for none.
	RenewPercent int64 `json:"renewPercent,omitempty"`
	// CSR has the key made here and never shown to Vault (sign instead of issue): Algorithm is RSA2048, RSA3072, RSA4096, ECDSA256,
	// ECDSA384 or Ed25519; ECDSA256 for none.
	CSR *CSR `json:"csr,omitempty"`
	// KeyFormat is PKCS8 or Traditional (PKCS #1, SEC 1); PKCS8 for none. Chain says what tls.crt holds: Full, without the root, or
	// Leaf; Full for none.
	KeyFormat string `json:"keyFormat,omitempty"`
	Chain     string `json:"chain,omitempty"`
	// RevokeOnDelete also revokes what was replaced: false for none, since revoked certificates grow the revocation list.
	RevokeOnDelete bool `json:"revokeOnDelete,omitempty"`
}

// CSR says what key is made.
type CSR struct {
	Algorithm string `json:"algorithm,omitempty"`
}

// TransitSource holds one of two: what is decrypted, or a key whose public half is published.
type TransitSource struct {
	Mount string `json:"mount,omitempty"` // transit for none
	Key   string `json:"key"`
	// Ciphertexts ("vault:v1:…") by the key that their plaintext gets.
	Ciphertexts map[string]string `json:"ciphertexts,omitempty"`
	// Context is for derived keys, base64.
	Context string `json:"context,omitempty"`
	// PublicKeys publishes those of the key's versions from its min_decryption_version on: KEY.pem for the latest, KEY-vN.pem for each. Into a
	// ConfigMap, if destination.kind says so.
	PublicKeys bool `json:"publicKeys,omitempty"`
}

// AppRoleSecretIDSource issues secret ids. Keys of the result: role_id, secret_id.
type AppRoleSecretIDSource struct {
	Mount string `json:"mount,omitempty"` // of the auth method: approle for none
	Role  string `json:"role"`
	// TTL and Metadata are asked for; CIDRs bound who may use it.
	TTL      *metav1.Duration  `json:"ttl,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	CIDRs    []string          `json:"cidrs,omitempty"`
	// RenewPercent of its lifetime is when the next is issued: 67 for none. DestroyOnReplace destroys the old one after that: true for none.
	RenewPercent     int64 `json:"renewPercent,omitempty"`
	DestroyOnReplace *bool `json:"destroyOnReplace,omitempty"`
}

// Destination is what is written, into the VaultSecret's own namespace and nowhere else.
type Destination struct {
	// Name is that of the VaultSecret for none. Kind is Secret, or ConfigMap for public keys only.
	Name string `json:"name,omitempty"`
	Kind string `json:"kind,omitempty"`
	// Type is that of the Secret: Opaque for none, kubernetes.io/tls, kubernetes.io/dockerconfigjson, kubernetes.io/basic-auth,
	// kubernetes.io/ssh-auth. Keys that the type asks for are made of what the source has where that is clear: see docs/secrets.md.
	Type        string            `json:"type,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// Templates are Go templates by the key they make; with any, only their keys are written, unless KeepSource.
	Templates  map[string]string `json:"templates,omitempty"`
	KeepSource bool              `json:"keepSource,omitempty"`
	// Immutable writes each content as a new immutable Secret, NAME-0 to NAME-7 in turn. Workloads that are restarted get the new name.
	Immutable bool `json:"immutable,omitempty"`
	// Adopt takes over a Secret that exists and is of nobody. Without it such a Secret is left as it is, and the reason is NotOurs.
	Adopt bool `json:"adopt,omitempty"`
}

// Refresh says how often.
type Refresh struct {
	// Interval between two reads of what does not end by itself: 1h for none, at least 10s. Up to a tenth is taken off at random.
	Interval *metav1.Duration `json:"interval,omitempty"`
	// Once reads it once for each generation of the object.
	Once bool `json:"once,omitempty"`
}

// Rotation says what becomes of workloads when keys that they use have changed.
type Rotation struct {
	// Restart is None, Referencing (those of the namespace that use the Secret) or Named; None for none.
	Restart string `json:"restart,omitempty"`
	// Workloads are restarted in this order where Restart is Named; for Referencing they come first.
	Workloads []WorkloadRef `json:"workloads,omitempty"`
	// Timeout is how long one may take to be available again before the next has to wait for people: 10m for none.
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// WorkloadRef is a Deployment, StatefulSet or DaemonSet of the namespace.
type WorkloadRef struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// Deletion says what is taken away when.
type Deletion struct {
	// WhenGone is what happens when Vault says that the secret is not there: Retain or Delete; Retain for none.
	WhenGone string `json:"whenGone,omitempty"`
	// WhenDeleted is what happens to the Secret with the VaultSecret: Delete (it is owned) or Retain; Delete for none.
	WhenDeleted string `json:"whenDeleted,omitempty"`
}

// VaultSecretStatus is what was done. It holds no value.
type VaultSecretStatus struct {
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// LastSync is when the destination was last known to hold what Vault gives, NextSync when it will be looked at again.
	LastSync *metav1.Time `json:"lastSync,omitempty"`
	NextSync *metav1.Time `json:"nextSync,omitempty"`
	// Requested is the SyncAnnotation that was last obeyed.
	Requested string `json:"requested,omitempty"`
	// Version is the one of KV, or the serial of a certificate; Created when it was written in Vault.
	Version string       `json:"version,omitempty"`
	Created *metav1.Time `json:"created,omitempty"`
	// Hash is the keyed hash of what was written, Keys those of each key, by the key with the id HashKey.
	Hash    string            `json:"hash,omitempty"`
	Keys    map[string]string `json:"keys,omitempty"`
	HashKey string            `json:"hashKey,omitempty"`
	// Source is the keyed hash of the spec and what was read, so that a changed template writes anew.
	Source      string             `json:"source,omitempty"`
	Destination *DestinationStatus `json:"destination,omitempty"`
	Lease       *LeaseStatus       `json:"lease,omitempty"`
	// Restarts are the workloads that were restarted for the present hash, with how that went; at most 50.
	Restarts []RestartStatus `json:"restarts,omitempty"`
	// Policies say what allowed or denied it: at most 20.
	Policies []PolicyStatement `json:"policies,omitempty"`
	// Bundles are the revisions that were asked, "name@digest".
	Bundles []string `json:"bundles,omitempty"`
	// Failures counts those in a row.
	Failures   int64              `json:"failures,omitempty"`
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DestinationStatus names what was written.
type DestinationStatus struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	UID  string `json:"uid"`
	// ResourceVersion is that of our last write: what differs is compared by hash.
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// Adopted says that it was somebody else's before.
	Adopted bool `json:"adopted,omitempty"`
	// Slots are immutable Secrets of before that still exist.
	Slots []string `json:"slots,omitempty"`
}

// LeaseStatus is about what ends by itself.
type LeaseStatus struct {
	ID        string      `json:"id,omitempty"` // a lease id; "serial:…" or "accessor:…" else
	Issued    metav1.Time `json:"issued"`
	Expires   metav1.Time `json:"expires"`
	Renewable bool        `json:"renewable,omitempty"`
	// Renewed counts renewals, Resumed those times that another process went on with it.
	Renewed int64 `json:"renewed,omitempty"`
	Resumed int64 `json:"resumed,omitempty"`
}

// RestartStatus is how a restart went.
type RestartStatus struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// State: Waiting, Restarting, Restarted, Unneeded, Stuck.
	State   string       `json:"state"`
	Message string       `json:"message,omitempty"`
	Hash    string       `json:"hash,omitempty"`
	Since   *metav1.Time `json:"since,omitempty"`
}

// PolicyStatement is what a policy said.
type PolicyStatement struct {
	Policy      string `json:"policy"`
	Bundle      string `json:"bundle,omitempty"`
	Effect      string `json:"effect"` // allow_sync, deny, warn, fault
	Message     string `json:"message,omitempty"`
	Remediation string `json:"remediation,omitempty"`
}

// VaultPush keeps a value in Vault: one that is made here, or one of a Secret of the namespace.
type VaultPush struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   VaultPushSpec   `json:"spec"`
	Status VaultPushStatus `json:"status,omitempty"`
}

// VaultPushSpec says what, and where to.
type VaultPushSpec struct {
	Auth        string          `json:"auth"`
	Destination PushDestination `json:"destination"`
	// Exactly one of the two.
	Generate map[string]Generator `json:"generate,omitempty"` // by key
	Secret   *PushSecret          `json:"secret,omitempty"`
	// RotateAfter makes generated values anew; never for none.
	RotateAfter *metav1.Duration `json:"rotateAfter,omitempty"`
	Refresh     Refresh          `json:"refresh,omitzero"`
	// WhenDeleted is what happens in Vault with the VaultPush: Retain or Delete (of version 2: the version that was pushed); Retain for none.
	WhenDeleted string `json:"whenDeleted,omitempty"`
}

// PushDestination is a path of the key-value engine.
type PushDestination struct {
	Mount         string `json:"mount"`
	Path          string `json:"path"`
	EngineVersion int64  `json:"engineVersion,omitempty"` // 2 for none
	// Overwrite takes over a secret that was there before and was not pushed by this object: without it that is NotOurs. Version 2 only ever
	// writes with check-and-set.
	Overwrite bool `json:"overwrite,omitempty"`
}

// Generator makes a value.
type Generator struct {
	// Length of a password in characters, 16 to 1024: 32 for none. Charset is Alphanumeric (none), ASCII (with punctuation), Hex or Base64URL.
	Length  int64  `json:"length,omitempty"`
	Charset string `json:"charset,omitempty"`
	// PrivateKey makes a key instead: as CSR.Algorithm; the public half is KEY.pub.
	PrivateKey string `json:"privateKey,omitempty"`
}

// PushSecret is a Secret of the namespace.
type PushSecret struct {
	Name string   `json:"name"`
	Keys []string `json:"keys,omitempty"` // all for none
}

// VaultPushStatus is what was done.
type VaultPushStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	LastPush           *metav1.Time       `json:"lastPush,omitempty"`
	NextPush           *metav1.Time       `json:"nextPush,omitempty"`
	Generated          *metav1.Time       `json:"generated,omitempty"`
	Requested          string             `json:"requested,omitempty"`
	Version            int64              `json:"version,omitempty"`
	Hash               string             `json:"hash,omitempty"`
	HashKey            string             `json:"hashKey,omitempty"`
	Policies           []PolicyStatement  `json:"policies,omitempty"`
	Bundles            []string           `json:"bundles,omitempty"`
	Failures           int64              `json:"failures,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// VaultLease is what is needed to go on with a lease after a restart. It lies in the namespace of portcullis-secrets, named after the UID
// of its VaultSecret, so that nobody of that object's namespace reads or changes it.
type VaultLease struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec VaultLeaseSpec `json:"spec"`
}

// VaultLeaseSpec is written before the credentials are.
type VaultLeaseSpec struct {
	Owner      LeaseOwner `json:"owner"`
	Connection string     `json:"connection"`
	Auth       string     `json:"auth"`
	// Leases are all that are not known to have ended: the one in use is the last, those before it are to be revoked.
	Leases []secrets.Lease `json:"leases"`
	// Token is the one that made them, encrypted.
	Token SealedToken `json:"token"`
}

// LeaseOwner is the VaultSecret.
type LeaseOwner struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// SealedToken is an encrypted token.
type SealedToken struct {
	// By is "transit:MOUNT/KEY" or "kms:KEYID".
	By         string `json:"by"`
	Ciphertext string `json:"ciphertext"` // as the transit engine gives it, or base64
	// Annotations are the KMS plugin's, base64.
	Annotations map[string]string `json:"annotations,omitempty"`
	Accessor    string            `json:"accessor"`
	Expires     metav1.Time       `json:"expires,omitzero"`
	Renewable   bool              `json:"renewable,omitempty"`
}
