package audit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/policies"
)

// Reference names one object.
type Reference struct {
	Group   string `json:"group,omitempty"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
	// Resource is the plural by which the API server serves it.
	Resource  string `json:"resource"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// UID is empty for an object that no API server has stored.
	UID string `json:"uid,omitempty"`
}

// APIVersion is group and version as manifests have them.
func (r Reference) APIVersion() string {
	if r.Group == "" {
		return r.Version
	}
	return r.Group + "/" + r.Version
}

// GroupResource is "deployments.apps".
func (r Reference) GroupResource() string {
	if r.Group == "" {
		return r.Resource
	}
	return r.Resource + "." + r.Group
}

// Scope is the namespace that an object's findings count for: its own, a Namespace's own name, "" for the cluster.
func (r Reference) Scope() string {
	if r.Group == "" && r.Resource == "namespaces" {
		return r.Name
	}
	return r.Namespace
}

// String is "Kind namespace/name".
func (r Reference) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// compareReferences sorts by namespace, kind and name; UID tells apart what was deleted and made again.
func compareReferences(a, b Reference) int {
	return cmp.Or(
		strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Group, b.Group),
		strings.Compare(a.Name, b.Name), strings.Compare(a.UID, b.UID), strings.Compare(a.Version, b.Version))
}

// Object is an object that exists, as it is stored or dumped. Raw is never changed, and is not kept.
type Object struct {
	Reference
	Raw json.RawMessage
	// ResourceVersion is that of an object that is stored. Content is a hash of what is wanted of it: two states with the same
	// differ in their status only. Both may be empty.
	ResourceVersion string
	Content         uint64
}

// FromDocument is a manifest as an object. namespace is where namespaced objects are that do not say.
func FromDocument(document *manifest.Document, namespace string) Object {
	request := admission.CreateRequest(admission.DoorAudit, document, namespace)
	return Object{
		Reference: Reference{
			Group: request.Kind.Group, Version: request.Kind.Version, Kind: request.Kind.Kind, Resource: request.Resource.Resource,
			Namespace: request.Namespace, Name: request.Name, UID: metadataOf(document.JSON).UID,
		},
		Raw: document.JSON,
	}
}

// Result is what was found of one object. Findings are sorted as those of a verdict.
type Result struct {
	Object Reference `json:"object"`
	// Owner is the controller that the object says it belongs to, nil for none: the ReplicaSet of a pod.
	Owner *Owner `json:"owner,omitempty"`
	// Dormant says that nothing runs of the object, as of the ReplicaSets that a Deployment keeps for a rollback: what its owner
	// does not say, too, is not reported.
	Dormant bool `json:"dormant,omitempty"`
	// Findings are all of them, those waived by an exception among them.
	Findings  []policies.Finding   `json:"findings,omitempty"`
	Faults    []policies.Fault     `json:"faults,omitempty"`
	Undecided []policies.Undecided `json:"undecided,omitempty"`
	// Folded counts the findings that were left out since the owner has them, too: see [Fold].
	Folded int `json:"folded,omitempty"`
	// Matched counts the policies that were evaluated; Profile is the one that applied.
	Matched int    `json:"matched"`
	Profile string `json:"profile,omitempty"`
	// Revision are the revisions that judged: names, serials and digests, with commas between.
	Revision string `json:"revision"`
	// At is when the object was judged.
	At time.Time `json:"at"`
	// Running is what a pod runs, where somebody wants to know; nil for anything else.
	Running *Running `json:"-"`
	// Number is that of the judgement, from [Ledger.Number] before it began: of two of the same state the one that began later counts. 0
	// is of none.
	Number uint64 `json:"-"`
}

// Owner is a controller that an object names.
type Owner struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

// Verdict is what the Reviewer said, without facts and parts.
func (r *Result) Verdict() admission.Verdict {
	verdict := admission.Verdict{Findings: r.Findings, Faults: r.Faults, Undecided: r.Undecided, Bundle: r.Revision, Profile: r.Profile, Matched: r.Matched}
	verdict.Admitted = !verdict.Denied() && !verdict.Failed() && !slices.ContainsFunc(r.Undecided, admission.UndecidedCounts)
	return verdict
}

// Excepted counts the findings that an exception waives.
func (r *Result) Excepted() int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].ExceptedBy != "" {
			n++
		}
	}
	return n
}

// Clean says that nothing is wrong and everything could be judged.
func (r *Result) Clean() bool {
	return len(r.Findings) == r.Excepted() && len(r.Faults) == 0 && len(r.Undecided) == 0
}

// Compact leaves out of the findings what their policies say anyway and what is large: remediation, details and fix. The
// Result itself is not changed.
func (r Result) Compact() Result {
	if len(r.Findings) == 0 {
		return r
	}
	r.Findings = slices.Clone(r.Findings)
	for n := range r.Findings {
		f := &r.Findings[n]
		f.Remediation, f.Details, f.Fix = "", nil, nil
	}
	return r
}

// Gap is something that was not looked at.
type Gap struct {
	// What is a resource, "deployments.apps", or one object of it.
	What string `json:"what"`
	// Reason ends with the next step.
	Reason string `json:"reason"`
}

func (g Gap) String() string { return g.What + ": " + g.Reason }

// IncompleteError is of an audit that did not look at everything. What it looked at it has judged.
type IncompleteError struct{ Gaps []Gap }

func (e *IncompleteError) Error() string {
	var lines []string
	for _, gap := range e.Gaps {
		lines = append(lines, gap.String())
	}
	return fmt.Sprintf("the audit is not complete\n    %s", strings.Join(lines, "\n    "))
}
