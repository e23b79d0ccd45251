package secrets

// The operations that policies are asked about.
const (
	OperationSync = "SYNC" // from Vault into the cluster
	OperationPush = "PUSH" // from the cluster to Vault
)

// The engines.
const (
	EngineKV1     = "kv-v1"
	EngineKV2     = "kv-v2"
	EngineDynamic = "dynamic"
	EnginePKI     = "pki"
	EngineTransit = "transit"
	EngineAppRole = "approle"
)

// Sync is what a policy with an allow_sync rule is asked about: input.sync. It holds no value. Policies are asked twice: before
// Vault is asked for anything (Secret is nil), and before anything is written (Secret is what is known of what was read).
type Sync struct {
	// Object is the VaultSecret or VaultPush.
	Object SyncObject `json:"object"`
	// Connection is the VaultConnection, Auth the VaultAuth.
	Connection SyncConnection `json:"connection"`
	Auth       SyncAuth       `json:"auth"`
	// Vault is the place in Vault.
	Vault SyncPlace `json:"vault"`
	// Destination is the Secret or ConfigMap; for a push, where the values come from.
	Destination SyncDestination `json:"destination"`
	// RefreshSeconds is the interval of refreshing; 0 where only leases and certificates say when, -1 for what is read once.
	RefreshSeconds int64 `json:"refreshSeconds"`
	// RestartsWorkloads says that workloads are restarted when the secret changes.
	RestartsWorkloads bool `json:"restartsWorkloads"`
	// DeletesWhenGone says that the Secret goes when Vault says 404.
	DeletesWhenGone bool `json:"deletesWhenGone"`

	Secret *SyncResult `json:"secret,omitempty"`
}

// SyncObject names the object.
type SyncObject struct {
	Kind      string            `json:"kind"` // VaultSecret, VaultPush
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
}

// SyncConnection is a Vault.
type SyncConnection struct {
	Name           string `json:"name"`
	Address        string `json:"address"`
	VaultNamespace string `json:"vaultNamespace"`
}

// SyncAuth is who asks Vault.
type SyncAuth struct {
	Name   string `json:"name"`
	Method string `json:"method"` // kubernetes, jwt, appRole, cert
	Mount  string `json:"mount"`
	Role   string `json:"role"`
	// ServiceAccount is the one whose token is shown, "" for other methods.
	ServiceAccount string `json:"serviceAccount"`
}

// SyncPlace is a place in Vault.
type SyncPlace struct {
	Engine string `json:"engine"` // kv-v1, kv-v2, dynamic, pki, transit, approle
	Mount  string `json:"mount"`  // without slashes at its ends
	// Path is the path below the mount: of the secret, the role that issues, or the transit key. Segments are it, split at slashes.
	Path     string   `json:"path"`
	Segments []string `json:"segments"`
	// Keys are the keys that are asked for, none for all. Version is the pinned one, 0 for the latest.
	Keys    []string `json:"keys"`
	Version int64    `json:"version"`
	// Accesses are the requests that will be made.
	Accesses []Access `json:"accesses"`
}

// SyncDestination is where values go.
type SyncDestination struct {
	Kind      string   `json:"kind"` // Secret, ConfigMap
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Keys      []string `json:"keys"` // of templates
	Immutable bool     `json:"immutable"`
	Adopts    bool     `json:"adopts"` // takes over a Secret that somebody else made
}

// SyncResult is what is known of a secret that was read.
type SyncResult struct {
	// Keys are those it has.
	Keys []string `json:"keys"`
	// Version is the one of KV v2, 0 for none.
	Version int64 `json:"version"`
	// Created is when this version was written, in RFC 3339, "" where Vault does not say; AgeSeconds how long ago that is, -1 then.
	Created    string `json:"created"`
	AgeSeconds int64  `json:"ageSeconds"`
	// LifetimeSeconds is how long it will last from when it was issued (a lease, a certificate), 0 for what does not end.
	LifetimeSeconds int64 `json:"lifetimeSeconds"`
	Renewable       bool  `json:"renewable"`
}
