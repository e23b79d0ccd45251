package rollout

import (
	"crypto/sha256"
	"encoding/binary"
	"path"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// InCanary says whether a namespace is among so many percent of a bundle's. It is a hash of both names: the same on every
// replica and at any time, a namespace that is in stays in when the share grows, and two bundles try their luck on different ones.
func InCanary(bundle, namespace string, percent int32) bool {
	sum := sha256.Sum256([]byte(bundle + "\x00" + namespace))
	return binary.BigEndian.Uint64(sum[:8])%100 < uint64(max(percent, 0)) //nolint:gosec // not negative
}

// Enforced says in which namespaces the verdict of a bundle's candidate counts in place of the active revision's; "" stands for
// objects without a namespace. Nil is nowhere.
func Enforced(bundle *v1alpha1.PolicyBundle) func(namespace string) bool {
	rollout := bundle.Spec.Rollout
	if bundle.Status.Candidate == nil || bundle.Status.Phase != v1alpha1.PhaseCanary || rollout.Strategy != v1alpha1.StrategyCanary {
		return nil
	}
	name := bundle.Name
	return func(namespace string) bool {
		if namespace == "" {
			return rollout.Percent >= 100
		}
		return InCanary(name, namespace, rollout.Percent) || matches(rollout.Namespaces, namespace)
	}
}

// matches takes no namespace for a glob that is none: a candidate is enforced where that was said, and nowhere else.
func matches(globs []string, namespace string) bool {
	for _, glob := range globs {
		if ok, err := path.Match(glob, namespace); err == nil && ok {
			return true
		}
	}
	return false
}
