package v1alpha1

import (
	_ "embed" // the manifests
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is the kind of [ImageScan].
const Kind = "ImageScan"

// GroupVersion is that of the package.
var GroupVersion = schema.GroupVersion{Group: "scan.portcullis.dev", Version: "v1alpha1"}

// Resource is that of [ImageScan].
var Resource = GroupVersion.WithResource("imagescans")

// Manifest is the CustomResourceDefinition and the roles of who uses it, YAML.
//
//go:embed imagescans.yaml
var Manifest []byte

// ImageScan asks for a scan of one digest, and says how far it is. It is cluster-scoped: an image is the same
// in each namespace. Its name follows from the digest, so that there is one for each; see [Name].
type ImageScan struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ImageScanSpec   `json:"spec"`
	Status ImageScanStatus `json:"status,omitempty"`
}

// ImageScanSpec is what is asked for.
type ImageScanSpec struct {
	// Digest is that of the image or index, "sha256:…". It never changes.
	Digest string `json:"digest"`
	// Repositories are where it lies, "ghcr.io/acme/app", as far as somebody asked for it: the scan is attached in
	// each. The image is read from the first.
	Repositories []string `json:"repositories"`
	// RequestedBy says who asked first, for people.
	RequestedBy string `json:"requestedBy,omitempty"`
	// RequestedAt is when somebody last asked for a scan. One that finished before is done again.
	RequestedAt metav1.Time `json:"requestedAt"`
	// Background says that nobody waits for it: scans that somebody waits for come first.
	Background bool `json:"background,omitempty"`
}

// Phase is how far a scan is. The zero value is that nobody has seen it yet.
type Phase string

// The phases.
const (
	PhaseQueued  Phase = "Queued"
	PhaseRunning Phase = "Running"
	PhaseDone    Phase = "Done"
	// PhaseFailed is a scan that will be tried again at status.nextAttempt.
	PhaseFailed Phase = "Failed"
)

// ImageScanStatus is how far it is. It explains and decides nothing.
type ImageScanStatus struct {
	Phase Phase `json:"phase,omitempty"`
	// Attempts counts how often the scan was begun since it last succeeded.
	Attempts int64 `json:"attempts,omitempty"`
	// ClaimedBy is the replica that scans now, ClaimExpires until when others leave it alone.
	ClaimedBy    string       `json:"claimedBy,omitempty"`
	ClaimExpires *metav1.Time `json:"claimExpires,omitempty"`
	// NextAttempt is when it is tried again, or, once done, scanned anew.
	NextAttempt *metav1.Time `json:"nextAttempt,omitempty"`
	// State is that of the report (complete, unscannable, error); Reasons say why it is not complete, or why the scan failed.
	State   string   `json:"state,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
	// Statement is the signed scan, a Sigstore bundle compressed with gzip, where it could not be attached in every
	// repository.
	Statement []byte `json:"statement,omitempty"`
	// Database is what the last scan was made with, Vulnerabilities what it found. Both are for putting scans into an order and for
	// people: what counts is signed.
	Database        *Database        `json:"database,omitempty"`
	Vulnerabilities *Vulnerabilities `json:"vulnerabilities,omitempty"`
	// FinishedAt is when the last scan ended, Expires when this object is deleted unless somebody asks again.
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
	Expires    *metav1.Time `json:"expires,omitempty"`
}

// Database is a vulnerability database.
type Database struct {
	// UpdatedAt is when it was made, Digest that of its artifact or of its file.
	UpdatedAt metav1.Time `json:"updatedAt"`
	Digest    string      `json:"digest,omitempty"`
}

// Vulnerabilities counts those of an image by severity, before VEX and ignores.
type Vulnerabilities struct {
	Critical int64 `json:"critical"`
	High     int64 `json:"high"`
	Medium   int64 `json:"medium"`
	Low      int64 `json:"low"`
	Unknown  int64 `json:"unknown"`
}

// Name is that of the object for a digest: "sha256-" and its 64 hexadecimal digits. Other digests have none.
func Name(digest string) (string, error) {
	hex, ok := strings.CutPrefix(digest, "sha256:")
	if !ok || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return "", fmt.Errorf("naming the scan of %.100q: scans are about SHA-256 digests", digest)
	}
	return "sha256-" + hex, nil
}
