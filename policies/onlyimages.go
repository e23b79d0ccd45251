package policies

import "slices"

// aboutObject are the sections of the input that only an object has, or its surroundings.
var aboutObject = []string{"workload", "object", "oldObject", "namespace", "cluster", "subject", "event", "incidents"}

// OnlyImages is e with nothing but the policies that judge images as such: their deny and
// warn rules read evidence about images and nothing of the object or its surroundings, and
// those that do nothing but patch by such evidence, as by pinning the digest. It
// serves judging an image that no manifest names yet. Profiles and enforcement stay.
func (e *Engine) OnlyImages() *Engine {
	only := &Engine{
		bundle: e.bundle, compiler: e.compiler, store: e.store, txn: e.txn, assignments: e.assignments,
		profiles: map[string]*profile{}, plans: map[planKey]*plan{}, memo: newMemo(),
	}
	for name, p := range e.profiles {
		instances := slices.DeleteFunc(slices.Clone(p.instances), func(i *instance) bool { return !i.judgesImages() && !i.onlyPatchesImages() })
		only.profiles[name] = &profile{name: name, instances: instances}
	}
	only.index = newIndex(only.profiles)
	return only
}

// ReadsImages says whether any policy of any profile reads evidence about images.
func (e *Engine) ReadsImages() bool {
	for _, p := range e.profiles {
		for _, i := range p.instances {
			if i.Enforcement != EnforceOff && (i.readsEvidence(PhaseValidate) || i.readsEvidence(PhaseMutate)) {
				return true
			}
		}
	}
	return false
}

// Instances are the names of all policies that a profile configures, off ones left out; nil for
// an unknown profile.
func (e *Engine) Instances(profile string) []string {
	var names []string
	for name, enforcement := range e.Enforcements(profile) {
		if enforcement != EnforceOff {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// judgesImages says that a policy's verdict depends on images alone.
func (i *instance) judgesImages() bool {
	if !i.readsEvidence(PhaseValidate) {
		return false
	}
	for _, effect := range PhaseValidate.effects() {
		reads := i.unit.reads[effect]
		if slices.ContainsFunc(aboutObject, func(section string) bool { return reads.field(section) != nil }) {
			return false
		}
	}
	return true
}

// onlyPatchesImages says that a policy patches by what is known of images, and judges nothing.
func (i *instance) onlyPatchesImages() bool {
	return i.readsEvidence(PhaseMutate) && !slices.ContainsFunc(PhaseValidate.effects(), i.policy.has)
}
