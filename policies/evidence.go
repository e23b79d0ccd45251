package policies

import (
	"cmp"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/portcullis-dev/portcullis/admission/workload"
)

// imageNeeds says what the given instances can read of the images of a request, and
// what gathering it takes. It is the only part of Needs that looks at the object, and only
// if some instance reads more of an image than its reference.
func (e *Engine) imageNeeds(r *Request, phase Phase, candidates []*instance) ImageNeeds {
	readers := slices.DeleteFunc(slices.Clone(candidates), func(i *instance) bool {
		return !i.concerns(r, phase) || !i.readsEvidence(phase)
	})
	if len(readers) == 0 || absent(r.Object) {
		return ImageNeeds{}
	}
	workloads, err := e.extract(r, r.Object)
	if err != nil {
		return ImageNeeds{} // Evaluate reports it
	}
	needs := ImageNeeds{Namespace: r.namespace(), Subject: r.Subject, DryRun: r.DryRun, Door: r.Door, Trust: e.bundle.trust, Exemptions: e.bundle.exemptions}
	for n := range workloads {
		w := &workloads[n]
		sections := e.sectionsFor(r, phase, readers, w)
		if !sections.Any() {
			continue
		}
		needs.Sections = needs.Sections.union(sections)
		needs.add(w)
	}
	if needs.Sections.Replacement {
		needs.Owner = ownerOf(r)
	}
	needs.sort()
	return needs
}

// sections are the parts of images that a policy's rules of a phase read.
func (i *instance) sections(phase Phase) ImageSections {
	var sections ImageSections
	for _, effect := range phase.effects() {
		sections = sections.union(i.unit.images[effect])
	}
	return sections
}

// readsEvidence says whether a policy's rules of a phase read more of an image than its reference.
func (i *instance) readsEvidence(phase Phase) bool { return i.sections(phase).Any() }

// sectionsFor leaves out the readers that an update does not concern: relabelling a pod must
// not depend on a registry.
func (e *Engine) sectionsFor(r *Request, phase Phase, readers []*instance, w *workload.Workload) ImageSections {
	var sections ImageSections
	j := &judgement{engine: e, request: r, facts: &Facts{}, phase: phase}
	for _, i := range readers {
		p, err := e.plan(phase, []*instance{i})
		if err == nil && j.unconcerned(p, w) {
			continue
		}
		sections = sections.union(i.sections(phase))
	}
	return sections
}

func (n *ImageNeeds) add(w *workload.Workload) {
	for _, image := range w.Images {
		if !slices.ContainsFunc(n.Images, func(o workload.Image) bool { return o.Ref == image.Ref }) {
			n.Images = append(n.Images, image)
		}
	}
	if w.ServiceAccount != "" && !slices.Contains(n.ServiceAccounts, w.ServiceAccount) {
		n.ServiceAccounts = append(n.ServiceAccounts, w.ServiceAccount)
	}
	for _, secret := range w.SecretRefs {
		if secret.Via == "imagePullSecret" && !slices.Contains(n.PullSecrets, secret.Name) {
			n.PullSecrets = append(n.PullSecrets, secret.Name)
		}
	}
}

func (n *ImageNeeds) sort() {
	slices.SortFunc(n.Images, func(a, b workload.Image) int { return cmp.Compare(a.Ref, b.Ref) })
	slices.Sort(n.ServiceAccounts)
	slices.Sort(n.PullSecrets)
}

// ownerOf is the controller that a pod names, nil for none and for what is no pod.
func ownerOf(r *Request) *OwnerReference {
	if r.Resource.Group != "" || r.Resource.Resource != "pods" {
		return nil
	}
	var object struct {
		Metadata struct {
			OwnerReferences []struct {
				OwnerReference
				Controller bool `json:"controller"`
			} `json:"ownerReferences"`
		} `json:"metadata"`
	}
	if json.Unmarshal(r.Object, &object) != nil {
		return nil
	}
	for _, owner := range object.Metadata.OwnerReferences {
		if owner.Controller {
			return &owner.OwnerReference
		}
	}
	return nil
}

// withEvidence leaves out of a plan the instances that read what is not known of the
// workload's images, with a word on why, and those that an update does not concern.
func (j *judgement) withEvidence(p *plan, w *workload.Workload) (*plan, error) {
	if w == nil || !slices.ContainsFunc(p.instances, func(i *planned) bool { return i.sectionsRead.Any() }) {
		return p, nil
	}
	rest := make([]*instance, 0, len(p.instances))
	for _, i := range p.instances {
		if !i.sectionsRead.Any() {
			rest = append(rest, i.instance)
			continue
		}
		alone, err := j.engine.single(p, i.instance)
		if err == nil && j.unconcerned(alone, w) {
			continue
		}
		if path, reason := j.unknownImage(i.sectionsRead, w); reason != "" {
			j.unknownOr(i.instance, FaultFacts, "cannot know "+reason, path)
			continue
		}
		rest = append(rest, i.instance)
	}
	if len(rest) == len(p.instances) {
		return p, nil
	}
	return j.engine.plan(p.phase, rest)
}

// unknownImage is the first image of a workload of which something that is read is not known.
func (j *judgement) unknownImage(sections ImageSections, w *workload.Workload) (path, reason string) {
	for _, image := range w.Images {
		known, gathered := j.facts.Images[image.Ref]
		if !gathered {
			return image.Path, "what there is about image " + image.Ref + ": nobody asked a registry here"
		}
		if reason := sections.unknown(known); reason != "" {
			return image.Path, reason
		}
	}
	return "", ""
}

// unconcerned says that an update changes nothing that a plan's only instance reads of the object. It looks
// at references, never at what is known of the images: the same image is no change.
func (j *judgement) unconcerned(alone *plan, w *workload.Workload) bool {
	if j.request.Operation != "UPDATE" || absent(j.request.OldObject) {
		return false
	}
	bare := *j
	bare.facts = &Facts{Namespace: j.facts.Namespace, Cluster: j.facts.Cluster}
	in, err := bare.newInput(alone, j.request, w)
	if err != nil {
		return false
	}
	return bare.unchanged(alone, w, in)[0]
}
