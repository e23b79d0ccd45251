package journal

import (
	"encoding/json"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/secrets"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Version is that of the lines' schema. Fields may be added within a version.
const Version = 1

// SchemaID names the published schema of a line, docs/journal.schema.json.
const SchemaID = "https://portcullis.dev/schemas/journal-v1.json"

// The kinds of lines.
const (
	// KindHeader begins a file, and follows each restart.
	KindHeader = "header"
	// KindDecision is a request that was answered.
	KindDecision = "decision"
	// KindTransition is a step of a rollout.
	KindTransition = "transition"
)

// Line is one line of a journal. Which of Header, Decision and Transition is set follows from Kind.
type Line struct {
	// Sequence numbers the lines of a journal from 1 without gaps, whatever their kind.
	Sequence uint64 `json:"seq"`
	// Prev is "sha256:" and the hash of the line before this one, without its line feed; "" for the first one ever.
	Prev string `json:"prev"`
	// Version is that of the schema, see [Version].
	Version int       `json:"version"`
	Kind    string    `json:"kind"`
	Time    time.Time `json:"time"`

	Header     *Header     `json:"header,omitempty"`
	Decision   *Decision   `json:"decision,omitempty"`
	Transition *Transition `json:"transition,omitempty"`
}

// Header says who writes from here on.
type Header struct {
	// File is the number of the file.
	File uint64 `json:"file"`
	// Writer names the program, and the replica if it has one.
	Writer string `json:"writer,omitempty"`
	// Allows is the share of plain admissions that is kept, Unmatched whether requests are that no policy is about.
	Allows    float64 `json:"allows"`
	Unmatched bool    `json:"unmatched,omitempty"`
	// Recovered says what was cut off the end of the file before, where its writer was stopped in the middle of a line.
	Recovered *Recovered `json:"recovered,omitempty"`
}

// Recovered is the end of a file that was no line.
type Recovered struct {
	Bytes int64 `json:"bytes"`
}

// Transition is a step of a rollout of a bundle, of a quarantine, or of what is registered with the API server.
type Transition struct {
	// Bundle, Quarantine or Registration is there. Pod is that of a quarantine, as "namespace/name (UID)"; Registration the name of the
	// webhook configurations.
	Bundle       string `json:"bundle,omitempty"`
	Quarantine   string `json:"quarantine,omitempty"`
	Registration string `json:"registration,omitempty"`
	Pod          string `json:"pod,omitempty"`
	// From and To are revisions, or phases of a quarantine; "" for none.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Step is what was done: "activated", "trial", "promoted", "rolledBack", "rejected", "switched" …; of a quarantine "phase", or the
	// name of its step; of a registration "breakGlassOpened", "breakGlassClosed", "authority" or "leaf".
	Step string `json:"step"`
	// Reason says why, for people.
	Reason string `json:"reason,omitempty"`
}

// Decision is one request that was answered, as it is kept.
type Decision struct {
	ID    string        `json:"id"`
	Trace string        `json:"trace,omitempty"`
	Door  policies.Door `json:"door"`
	// Mutation says that patches were asked for.
	Mutation bool `json:"mutation,omitempty"`
	// Outcome is that of admission.Decision: "admitted", "denied", "fault", "unmatched", "shed" or "rejected", of an event
	// "responded" or "ignored"; Reason why nobody was asked.
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
	// Duration is in microseconds.
	Duration int64   `json:"duration"`
	Request  Request `json:"request"`
	// Redacted are the paths of what was replaced by a keyed hash: "object.data". See policies.Request.Redacted.
	Redacted []string `json:"redacted,omitempty"`
	Verdict  Verdict  `json:"verdict"`
	// Judges are the revisions that judged, each with its facts.
	Judges []Judge `json:"judges,omitempty"`
}

// Request is the request of a decision. Of the user, what the authenticator adds (extra) is left out.
type Request struct {
	UID         string `json:"uid,omitempty"`
	Operation   string `json:"operation"`
	Group       string `json:"group,omitempty"`
	APIVersion  string `json:"apiVersion,omitempty"` // of the resource
	Resource    string `json:"resource"`
	SubResource string `json:"subresource,omitempty"`
	// Kind is that of the object.
	Kind      Kind   `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	DryRun    bool   `json:"dryRun,omitempty"`
	Profile   string `json:"profile,omitempty"` // where one was given
	User      User   `json:"user"`
	Object    *Body  `json:"object,omitempty"`
	OldObject *Body  `json:"oldObject,omitempty"`
	Options   *Body  `json:"options,omitempty"`
	// Event is what was seen, of a request with the operation EVENT.
	Event *response.Event `json:"event,omitempty"`
	// Sync is what was to be read from Vault or written to it, of a request with the operation SYNC or PUSH. It holds no value.
	Sync *secrets.Sync `json:"sync,omitempty"`
}

// Kind is the type of an object.
type Kind struct {
	Group   string `json:"group,omitempty"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

// User is who asked.
type User struct {
	Username string   `json:"username"`
	UID      string   `json:"uid,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// Body is an object: as it is, or, where it is large, the digest of the fact that holds it.
type Body struct {
	Inline json.RawMessage `json:"inline,omitempty"`
	Digest string          `json:"digest,omitempty"`
}

// Verdict is what was answered.
type Verdict struct {
	Admitted  bool                 `json:"admitted"`
	Profile   string               `json:"profile,omitempty"`
	Matched   int                  `json:"matched"`
	Findings  []policies.Finding   `json:"findings,omitempty"`
	Faults    []policies.Fault     `json:"faults,omitempty"`
	Undecided []policies.Undecided `json:"undecided,omitempty"`
	// Responses are the actions that policies asked for because of an event.
	Responses []policies.Response `json:"responses,omitempty"`
	// Permits are what allow_sync rules permitted.
	Permits []policies.Permit `json:"permits,omitempty"`
	// Patch are RFC 6902 operations.
	Patch json.RawMessage `json:"patch,omitempty"`
}

// Judge is a revision that judged.
type Judge struct {
	Bundle   string `json:"bundle"`
	Revision string `json:"revision"`
	// Digest is that of the bundle's files.
	Digest string `json:"digest"`
	// Candidate says that the revision was on trial.
	Candidate bool  `json:"candidate,omitempty"`
	Facts     Facts `json:"facts,omitzero"`
}

// Facts names what was gathered for a judge. Digests are those of facts in the journal's folder.
type Facts struct {
	// Namespace is there where the labels of the request's namespace were asked for.
	Namespace *NamespaceFact `json:"namespace,omitempty"`
	// Reads are the kinds of objects that were asked for.
	Reads []ReadFact `json:"reads,omitempty"`
	// Images are those that were asked about.
	Images *ImageFacts `json:"images,omitempty"`
	// Exceptions is the digest of the list of those that the cluster granted, "" for none.
	Exceptions string `json:"exceptions,omitempty"`
}

// NamespaceFact is the namespace of the request, or why it was not known.
type NamespaceFact struct {
	Name    string `json:"name"`
	Digest  string `json:"digest,omitempty"`
	Missing string `json:"missing,omitempty"`
}

// ReadFact are the objects of one kind.
type ReadFact struct {
	Group     string `json:"group,omitempty"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace,omitempty"` // "" for all
	// Objects is the digest of the list of the objects' digests, "" for none.
	Objects string `json:"objects,omitempty"`
	// Partial is why some may be missing, "" where these were all.
	Partial string `json:"partial,omitempty"`
	// Redacted are the paths of values that were replaced in some object: "cluster.[].object.data".
	Redacted []string `json:"redacted,omitempty"`
}

// ImageFacts are what was known of images.
type ImageFacts struct {
	// Sections are the parts that were asked for: "resolved", "configs", "evidence", "scan", "replacement".
	Sections []string `json:"sections"`
	// Trust and Exemptions are the hashes of what the bundle says of signers and of single vulnerabilities: what was
	// verified with one says nothing about another.
	Trust      string `json:"trust,omitempty"`
	Exemptions string `json:"exemptions,omitempty"`
	// Images are digests by reference.
	Images map[string]string `json:"images"`
}

func (r *Request) resource() metav1.GroupVersionResource {
	return metav1.GroupVersionResource{Group: r.Group, Version: r.APIVersion, Resource: r.Resource}
}
