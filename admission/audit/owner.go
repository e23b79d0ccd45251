package audit

import (
	"cmp"
	"hash/maphash"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/portcullis-dev/portcullis/policies"
)

// metadata is what the audit itself reads of an object.
type metadata struct {
	UID             string `json:"uid"`
	OwnerReferences []struct {
		Owner
		Controller bool `json:"controller"`
	} `json:"ownerReferences"`
	replicas *int64
	phase    string
}

// metadataOf is empty for what is no object: whoever judges it says so.
func metadataOf(raw []byte) metadata {
	var object struct {
		Metadata metadata `json:"metadata"`
		Spec     struct {
			Replicas any `json:"replicas"`
		} `json:"spec"`
		Status struct {
			Phase any `json:"phase"`
		} `json:"status"`
	}
	if json.Unmarshal(raw, &object) != nil {
		return metadata{}
	}
	if replicas, ok := object.Spec.Replicas.(float64); ok {
		n := int64(replicas)
		object.Metadata.replicas = &n
	}
	object.Metadata.phase, _ = object.Status.Phase.(string)
	return object.Metadata
}

func (m *metadata) controller() *Owner {
	for n := range m.OwnerReferences {
		if m.OwnerReferences[n].Controller {
			owner := m.OwnerReferences[n].Owner
			return &owner
		}
	}
	return nil
}

// dormant says that nothing runs of an object that somebody else owns: a ReplicaSet without replicas, which is the past of a
// Deployment, and a pod that has ended, which its Job keeps.
func (m *metadata) dormant(r Reference) bool {
	if m.controller() == nil {
		return false
	}
	switch r.GroupResource() {
	case "replicasets.apps", "replicationcontrollers":
		return m.replicas != nil && *m.replicas == 0
	case "pods":
		return m.phase == "Succeeded" || m.phase == "Failed"
	}
	return false
}

// Fold leaves out of the results of what is owned the findings that the owner has, too: a Deployment with a hundred pods has
// one mistake and not a hundred and two. What a pod has beside (a container that was injected, a template that was changed
// since) is reported at the pod. Owners are to come first; a pod whose owner has not been seen stands for itself.
//
// It remembers eight bytes for each finding of each owner.
type Fold struct {
	seed   maphash.Seed
	owners map[string]folded // by UID
}

type folded struct {
	owner    string // of the owner, by UID
	findings map[uint64]bool
}

// NewFold makes an empty Fold.
func NewFold() *Fold { return &Fold{seed: maphash.MakeSeed(), owners: map[string]folded{}} }

// Add gives a result without what its owners have, and remembers it as an owner.
func (f *Fold) Add(r Result) Result {
	above := ""
	if r.Owner != nil {
		above = r.Owner.UID
	}
	if r.Object.UID != "" && owns(r.Object) {
		known := folded{owner: above}
		if len(r.Findings) > 0 {
			known.findings = make(map[uint64]bool, len(r.Findings))
			for n := range r.Findings {
				known.findings[f.hash(&r.Findings[n])] = true
			}
		}
		f.owners[r.Object.UID] = known
	}
	if above == "" || len(r.Findings) == 0 {
		return r
	}
	if _, known := f.owners[above]; !known {
		return r
	}
	var rest []policies.Finding
	for n := range r.Findings {
		if !r.Dormant && !f.has(above, f.hash(&r.Findings[n])) {
			rest = append(rest, r.Findings[n])
		}
	}
	r.Folded += len(r.Findings) - len(rest)
	r.Findings = rest
	return r
}

// maxOwners bounds the way up from a pod: Pod, Job, CronJob, and something of the user's above. Owners in a circle are
// no reason to go round for ever.
const maxOwners = 5

// has says whether an owner, or one of its owners, has a finding.
func (f *Fold) has(owner string, finding uint64) bool {
	for range maxOwners {
		known, ok := f.owners[owner]
		if !ok {
			return false
		}
		if known.findings[finding] {
			return true
		}
		owner = known.owner
	}
	return false
}

// hash is the same for what a policy says of a template and of the pod made of it: all but the path, which is another one,
// and what is said of the exception by name.
func (f *Fold) hash(finding *policies.Finding) uint64 {
	var h maphash.Hash
	h.SetSeed(f.seed)
	for _, part := range []string{finding.Bundle, finding.Policy, finding.Instance, string(finding.Effect), finding.Enforcement.String(), finding.Message, finding.ExceptedBy} {
		h.WriteString(part)
		h.WriteByte(0)
	}
	return h.Sum64()
}

// owns says whether anything could name an object as its controller that policies are about.
func owns(r Reference) bool { return r.GroupResource() != "pods" }

// ranks are the resources that own others, before those; everything else comes between.
var ranks = map[string]int{
	"namespaces":           -5,
	"rollouts.argoproj.io": -4, "cronjobs.batch": -4, "deployments.apps": -4, "workflows.argoproj.io": -4, "cronworkflows.argoproj.io": -5,
	"statefulsets.apps": -3, "daemonsets.apps": -3, "replicasets.apps": -3, "jobs.batch": -3, "replicationcontrollers": -3,
	"pods": 1,
}

// CompareOrder is the order of an audit: owners first, then by resource, namespace and name.
func CompareOrder(a, b Reference) int {
	return cmp.Or(
		cmp.Compare(ranks[a.GroupResource()], ranks[b.GroupResource()]),
		strings.Compare(a.GroupResource(), b.GroupResource()),
		compareReferences(a, b))
}
