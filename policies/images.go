package policies

import (
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/signer"
)

// ImageNeeds says what of a request's images the matching policies can read, and all
// that whoever gathers it must know. The zero value needs nothing: no image is asked
// about on the network.
type ImageNeeds struct {
	// Images are those of the request's workloads, each reference once, sorted by it.
	Images []workload.Image
	// Sections are what is read of them.
	Sections ImageSections
	// Namespace, ServiceAccounts and PullSecrets (names) are those of the workloads, for
	// credentials where the operator lets them be used.
	Namespace       string
	ServiceAccounts []string
	PullSecrets     []string
	// Owner is the object that the pod at hand says controls it, nil where there is none
	// or nobody asks. It is the client's word.
	Owner *OwnerReference
	// Subject is who asks.
	Subject Subject
	// DryRun is true when nothing may be written: no scan may be asked for.
	DryRun bool
	// Door is where the request is judged.
	Door Door
	// Trust is the checked configuration of the bundle that is asking, Exemptions what the
	// bundle says of single vulnerabilities. Neither is nil where a section is needed.
	Trust      *signer.Configuration
	Exemptions *scanner.Exemptions
}

// OwnerReference names the controller of a pod.
type OwnerReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
}

// ImageSections are parts of what can be known of an image. Each costs requests to a
// registry that the others do not need.
type ImageSections struct {
	Resolved    bool // the digest that the reference stands for; all others need it
	Configs     bool // the image's own configuration, of each platform
	Evidence    bool // signatures and attestations
	Scan        bool // needs evidence
	Replacement bool // whether the pod replaces one of an admitted template
}

// Any says whether anything is read.
func (s ImageSections) Any() bool {
	return s.Resolved || s.Configs || s.Evidence || s.Scan || s.Replacement
}

// ImageFacts are what is known of one image. A part that could not be found out is
// named in Unknown; the policies that read it are then open (a fault live, undecided at
// the gate). No signature, no scan: that is knowledge, not the want of it.
type ImageFacts struct {
	// Resolved is the digest that the evidence is about: that of the reference, or what
	// its tag stood for when this was gathered.
	Resolved string
	Configs  []ImageConfig
	// Evidence is about Resolved.
	Evidence signer.Evidence
	Scan     scanner.Report
	// Replacement is true when the pod was made by a controller of the cluster of a template that is in the
	// cluster with this image: a pod like it was admitted before.
	Replacement bool
	// Unknown says why a part is not known.
	Unknown ImageUnknown
}

// ImageUnknown has the reason for each part that is not known, "" for those that are.
// Reasons are for people and end with the next step.
type ImageUnknown struct {
	Resolved    string `json:"resolved"`
	Configs     string `json:"configs"`
	Evidence    string `json:"evidence"`
	Scan        string `json:"scan"`
	Replacement string `json:"replacement"`
}

// ImageConfig is what policies see of the configuration of one manifest of an image
// (OCI image specification, "image configuration").
type ImageConfig struct {
	Digest       string   `json:"digest"`   // of the manifest
	Platform     string   `json:"platform"` // linux/amd64, linux/arm/v7; "" where the index says nothing that could be relied on
	User         string   `json:"user"`     // as written: "", "1000", "app:app"
	ExposedPorts []string `json:"exposedPorts"`
	Volumes      []string `json:"volumes"`
	Entrypoint   []string `json:"entrypoint"`
	Cmd          []string `json:"cmd"`
	Labels       []Label  `json:"labels"`
	// Layers are the digests of the layers unpacked (diff_ids), lowest first.
	Layers  []string `json:"layers"`
	Created string   `json:"created"` // RFC 3339; the builder's word
}

// Label is a label of an image.
type Label struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}
