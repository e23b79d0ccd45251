package v1alpha1

import (
	"cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/signer"
)

// GroupVersion is that of the package.
var GroupVersion = schema.GroupVersion{Group: "policy.portcullis.dev", Version: "v1alpha1"}

// The resources.
var (
	Bundles    = GroupVersion.WithResource("policybundles")
	Revisions  = GroupVersion.WithResource("policyrevisions")
	Replicas   = GroupVersion.WithResource("policyreplicas")
	Exceptions = GroupVersion.WithResource("policyexceptions")
)

// PolicyBundle is one bundle of a cluster. It is cluster-scoped: whoever may write one decides what the cluster admits.
type PolicyBundle struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   PolicyBundleSpec   `json:"spec"`
	Status PolicyBundleStatus `json:"status,omitempty"`
}

// WantedName is the name that bundle.yaml must have.
func (b *PolicyBundle) WantedName() string { return cmp.Or(b.Spec.BundleName, b.Name) }

// PolicyBundleSpec says what is wanted.
type PolicyBundleSpec struct {
	// Source is where the bundle comes from.
	Source Source `json:"source"`
	// Verification says who must have signed it. The zero value trusts nobody: no revision is ever activated.
	Verification Verification `json:"verification"`
	// BundleName is the name that bundle.yaml must have, by default that of this object. A signature binds neither
	// repository nor branch; this does.
	BundleName string `json:"bundleName,omitempty"`
	// Interval is the time between two looks at the source, 5 minutes by default, at least 10 seconds.
	Interval metav1.Duration `json:"interval,omitempty"`
	// Namespaces makes it a tenant's bundle: it judges only what is in namespaces whose name matches one of these
	// globs, and reads nothing outside. Empty is all namespaces and objects without one.
	Namespaces []string `json:"namespaces,omitempty"`
	// Rollout is how a new revision replaces the active one.
	Rollout Rollout `json:"rollout,omitempty"`
	// Pin is the digest of the revision to keep, whatever the source says: the only way to one with a lower serial.
	// It takes effect at once, without a rollout. The revision must still be stored, or be what the source has.
	Pin string `json:"pin,omitempty"`
	// MinCoverage is how many percent of the lines of the bundle's policies its own tests must reach, 0 for any.
	MinCoverage int32 `json:"minCoverage,omitempty"`
	// PushSecretRef names a Secret in the controller's namespace whose key token is shared with the Git server or registry that
	// calls the controller's /hooks/<name of this object> when there is something new. Empty answers no such call.
	PushSecretRef string `json:"pushSecretRef,omitempty"`
	// Suspend stops looking at the source and rolling out; what is active stays. A canary is still rolled back by its limit,
	// and Pin and Abort are still followed.
	Suspend bool `json:"suspend,omitempty"`
}

// Source is where a bundle comes from: exactly one of the fields is set.
type Source struct {
	Git       *GitSource       `json:"git,omitempty"`
	OCI       *OCISource       `json:"oci,omitempty"`
	HTTP      *HTTPSource      `json:"http,omitempty"`
	Directory *DirectorySource `json:"directory,omitempty"`
}

// GitSource is a repository, over https:// or ssh://.
type GitSource struct {
	URL string `json:"url"`
	// Branch, Tag or Commit (40 hexadecimal digits): one of them; the remote's HEAD if none.
	Branch string `json:"branch,omitempty"`
	Tag    string `json:"tag,omitempty"`
	Commit string `json:"commit,omitempty"`
	// Path is the folder of the bundle in the repository, "" for its root.
	Path       string `json:"path,omitempty"`
	Connection `json:",inline"`
}

// OCISource is an artifact in a registry.
type OCISource struct {
	// Repository is registry and repository: "ghcr.io/acme/policies".
	Repository string `json:"repository"`
	// Tag or Digest: one of them.
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest,omitempty"`
	Connection `json:",inline"`
}

// HTTPSource is a tarball in OPA's bundle format.
type HTTPSource struct {
	URL string `json:"url"`
	// SignatureURL is where the Sigstore bundle about the tarball is, by default URL with ".sigstore.json" behind it.
	SignatureURL string `json:"signatureURL,omitempty"`
	Connection   `json:",inline"`
}

// DirectorySource is a folder of the controller's own file system.
type DirectorySource struct {
	Path string `json:"path"`
}

// Connection is how a server is reached.
type Connection struct {
	// SecretRef names a Secret in the controller's namespace. For Git and HTTP it has username and password, or
	// bearerToken, or identity (an SSH private key) with known_hosts and, optionally, password; for OCI it is of the
	// type kubernetes.io/dockerconfigjson.
	SecretRef string `json:"secretRef,omitempty"`
	// CABundle are PEM certificates that are trusted instead of the system's.
	CABundle string `json:"caBundle,omitempty"`
	// ProxyURL is an http:// or https:// proxy, "" for that of the environment.
	ProxyURL string `json:"proxyURL,omitempty"`
}

// Verification says who must have signed a revision. What fits the source must be given.
type Verification struct {
	// AllowedSigners may have signed a Git commit or tag by SSH, in the format of OpenSSH's allowed_signers
	// (ssh-keygen(1)); namespaces, valid-after and valid-before are honoured.
	AllowedSigners string `json:"allowedSigners,omitempty"`
	// PGPKeys may have signed a Git commit or tag: armored OpenPGP public keys, one or several blocks.
	PGPKeys string `json:"pgpKeys,omitempty"`
	// Authorities may have signed an OCI artifact or a tarball; any of them will do.
	Authorities []signer.Authority `json:"authorities,omitempty"`
	// InsecureUnsigned activates what nobody has signed. Whoever can write to the source then decides what the
	// cluster admits. A directory is never signed and needs it.
	InsecureUnsigned bool `json:"insecureUnsigned,omitempty"`
}

// Strategy is how a new revision replaces the active one.
type Strategy string

// The strategies. The zero value is StrategyImmediate.
const (
	StrategyImmediate Strategy = "immediate"
	// StrategyShadow evaluates the candidate beside the active revision and counts differences.
	StrategyShadow Strategy = "shadow"
	// StrategyCanary enforces the candidate in some namespaces, and compares it in the others.
	StrategyCanary Strategy = "canary"
	// StrategyBlueGreen loads the candidate beside the active revision until it is promoted, and keeps the old one
	// loaded after that, so that both ways are one step.
	StrategyBlueGreen Strategy = "blueGreen"
)

// Rollout is how a new revision replaces the active one. The first revision of a bundle is active at once.
type Rollout struct {
	Strategy Strategy `json:"strategy,omitempty"`
	// Namespaces are globs of those where a canary is enforced, beside those of Percent.
	Namespaces []string `json:"namespaces,omitempty"`
	// Percent of the namespaces, by a stable hash of their names, where a canary is enforced: 0 to 100. Objects
	// without a namespace are judged by the candidate at 100 only.
	Percent int32 `json:"percent,omitempty"`
	// Duration is after how long a shadow or a canary is promoted by itself; 0 waits for Promote.
	Duration metav1.Duration `json:"duration,omitempty"`
	// MaxNewDenials is how many requests the candidate may deny that the active revision admits. One more rolls a
	// canary back by itself, and stops a shadow from being promoted.
	MaxNewDenials int64 `json:"maxNewDenials,omitempty"`
	// Promote is the digest of a candidate, or of the previous revision under blueGreen, to make active now.
	Promote string `json:"promote,omitempty"`
	// Abort is the digest of a candidate to drop now.
	Abort string `json:"abort,omitempty"`
}

// Phase is where a bundle is in its life.
type Phase string

// The phases. The zero value has no revision yet.
const (
	PhaseActive     Phase = "Active"     // one revision judges, none is on trial
	PhaseShadow     Phase = "Shadow"     // a candidate is compared
	PhaseCanary     Phase = "Canary"     // a candidate judges in some namespaces
	PhaseStandby    Phase = "Standby"    // blueGreen: a candidate is loaded and waits
	PhaseRolledBack Phase = "RolledBack" // the last candidate was dropped, see Rejected
)

// PolicyBundleStatus is how far it is.
type PolicyBundleStatus struct {
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	Phase              Phase `json:"phase,omitempty"`
	// Active judges. Candidate is on trial. Previous was active before and stays stored, for blueGreen loaded.
	Active    *RevisionStatus `json:"active,omitempty"`
	Candidate *RevisionStatus `json:"candidate,omitempty"`
	Previous  *RevisionStatus `json:"previous,omitempty"`
	// MaxSerial is the highest serial that was ever active: what is lower is refused, unless pinned. MaxSerialDigest is the
	// revision that had it: another one with the same serial is refused, too.
	MaxSerial       int64  `json:"maxSerial,omitempty"`
	MaxSerialDigest string `json:"maxSerialDigest,omitempty"`
	// Dropped is the last candidate that was rolled back or aborted. It is not tried again until the source has another one.
	Dropped string `json:"dropped,omitempty"`
	// Promoted is the Promote of the rollout that was last followed: each is followed once.
	Promoted string `json:"promoted,omitempty"`
	// Rejected are the last revisions that were not activated, newest first, at most 10.
	Rejected []Rejection `json:"rejected,omitempty"`
	// Comparison adds up what all replicas saw of the candidate.
	Comparison *Comparison `json:"comparison,omitempty"`
	// Replicas are those that have reported lately, ReadyReplicas those that have loaded exactly what is to be loaded.
	Replicas      int32 `json:"replicas,omitempty"`
	ReadyReplicas int32 `json:"readyReplicas,omitempty"`
	// History are the last transitions, newest first, at most 20.
	History []Transition `json:"history,omitempty"`
	// LastFetch is when the source was last looked at with success.
	LastFetch *metav1.Time `json:"lastFetch,omitempty"`
	// FetchRequested is when somebody last called the push endpoint: the source is looked at whenever it changes.
	FetchRequested *metav1.MicroTime `json:"fetchRequested,omitempty"`
	// Conditions are those of Condition constants.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Conditions of a PolicyBundle.
const (
	// ConditionFetched: the source was reached when it was last looked at.
	ConditionFetched = "Fetched"
	// ConditionAccepted: what the source has was verified, loaded, has passed its own tests and may follow what is active.
	ConditionAccepted = "Accepted"
	// ConditionReady: a revision is active, and every replica that reports has loaded what it is to load.
	ConditionReady = "Ready"
)

// RevisionStatus is one revision.
type RevisionStatus struct {
	// Digest is that of its files, "sha256:…"; the names of its PolicyRevisions follow from it, see [RevisionName].
	Digest string `json:"digest"`
	// Name is that of the bundle, as bundle.yaml has it.
	Name   string `json:"name"`
	Serial int64  `json:"serial"`
	// Origin is where it was found, for people: "git+https://git.example.com/policies//prod@3f1c…".
	Origin string `json:"origin,omitempty"`
	// Signers are who has signed it, for people.
	Signers  []string    `json:"signers,omitempty"`
	Policies int32       `json:"policies,omitempty"`
	Since    metav1.Time `json:"since,omitempty"`
}

// Rejection is a revision that was not activated.
type Rejection struct {
	// Digest is that of its files, "" where it could not be read; Origin where it was found.
	Digest string      `json:"digest,omitempty"`
	Origin string      `json:"origin,omitempty"`
	Reason string      `json:"reason"`
	Time   metav1.Time `json:"time"`
}

// Transition is one step of a rollout.
type Transition struct {
	From   string      `json:"from,omitempty"` // digest
	To     string      `json:"to,omitempty"`
	Step   string      `json:"step"` // "activated", "shadowing", "canary", "standby", "promoted", "rolled back", "aborted", "pinned"
	Reason string      `json:"reason,omitempty"`
	Time   metav1.Time `json:"time"`
}

// Comparison is how often a candidate and the active revision differ.
type Comparison struct {
	Candidate string `json:"candidate"` // digest
	// Compared are requests that both judged, Shed those that should have been compared and were not, for want of time.
	Compared int64 `json:"compared"`
	Shed     int64 `json:"shed"`
	// NewDenials are requests that the candidate denies and the active revision admits, NewAdmissions the other way round.
	NewDenials    int64              `json:"newDenials"`
	NewAdmissions int64              `json:"newAdmissions"`
	Policies      []PolicyComparison `json:"policies,omitempty"` // at most 50, most differences first
}

// PolicyComparison is how often one policy is why.
type PolicyComparison struct {
	Policy        string   `json:"policy"`
	NewDenials    int64    `json:"newDenials,omitempty"`
	NewAdmissions int64    `json:"newAdmissions,omitempty"`
	Samples       []Sample `json:"samples,omitempty"` // at most 3
}

// Sample is one request about which two revisions differ.
type Sample struct {
	Operation string      `json:"operation"`
	Resource  string      `json:"resource"` // "pods", "deployments.apps"
	Namespace string      `json:"namespace,omitempty"`
	Name      string      `json:"name,omitempty"`
	Message   string      `json:"message"`
	Time      metav1.Time `json:"time"`
}

// PolicyRevision is one part of a stored revision. It never changes. Its name is [RevisionName].
type PolicyRevision struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec PolicyRevisionSpec `json:"spec"`
}

// PolicyRevisionSpec is what it holds.
type PolicyRevisionSpec struct {
	Bundle string `json:"bundle"` // the name of the PolicyBundle
	Digest string `json:"digest"` // of the revision's files
	Part   int32  `json:"part"`   // from 0
	Parts  int32  `json:"parts"`
	// Data is this part of the revision as policies/source writes it, at most MaxPart bytes.
	Data []byte `json:"data"`
}

// Limits of a stored revision: etcd takes objects of 1.5 MiB.
const (
	MaxPart  = 700 << 10 // bytes before base64
	MaxParts = 32
)

// PolicyReplica is what one replica of the webhook has loaded and seen. The replica writes it, the controller reads it
// and deletes it when it is old. It only ever counts against a candidate.
type PolicyReplica struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Status PolicyReplicaStatus `json:"status,omitempty"`
}

// PolicyReplicaStatus is what it has loaded and seen.
type PolicyReplicaStatus struct {
	Heartbeat metav1.Time     `json:"heartbeat"`
	Bundles   []ReplicaBundle `json:"bundles,omitempty"`
}

// ReplicaBundle is what a replica has loaded of one bundle.
type ReplicaBundle struct {
	Name      string `json:"name"`
	Active    string `json:"active,omitempty"`    // digest
	Candidate string `json:"candidate,omitempty"` // digest
	// Error is why it has not loaded what the PolicyBundle says, "" if it has.
	Error string `json:"error,omitempty"`
	// Comparison is what it saw of the candidate since it started.
	Comparison *Comparison `json:"comparison,omitempty"`
}

// PolicyException waives findings of one policy until it expires, where the bundle takes exceptions from its namespace.
type PolicyException struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec PolicyExceptionSpec `json:"spec"`
}

// PolicyExceptionSpec has the fields of an exception in a bundle, and means the same.
type PolicyExceptionSpec struct {
	// Bundle is the bundle whose policy is excepted, "" for the only one.
	Bundle   string            `json:"bundle,omitempty"`
	Policy   string            `json:"policy"`
	Selector ExceptionSelector `json:"selector"`
	Reason   string            `json:"reason"`
	Owner    string            `json:"owner"`
	// Expires is a date (2027-01-31, the start of that day in UTC) or an RFC 3339 time.
	Expires string `json:"expires"`
}

// ExceptionSelector says what is excepted; lists are globs.
type ExceptionSelector struct {
	Namespaces    []string `json:"namespaces,omitempty"`
	ClusterScoped bool     `json:"clusterScoped,omitempty"`
	Kinds         []string `json:"kinds,omitempty"`
	Names         []string `json:"names,omitempty"`
	Containers    []string `json:"containers,omitempty"`
}

// CreatorAnnotation is who created an exception. The library's policy exceptions/creator sets it on creation and
// refuses any other value.
const CreatorAnnotation = "policy.portcullis.dev/created-by"
