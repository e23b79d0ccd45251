package v1alpha1

import "strings"

// Labels of PolicyRevisions, by which they are listed without their data.
const (
	// BundleLabel is the name of the PolicyBundle that stored it.
	BundleLabel = "policy.portcullis.dev/bundle"
	// DigestLabel is the beginning of the revision's digest, as [DigestLabelValue] writes it.
	DigestLabel = "policy.portcullis.dev/digest"
)

// DigestLabelValue is the value of [DigestLabel] for a digest: the first 40 of its hexadecimal digits, since a label takes
// no more than 63 characters.
func DigestLabelValue(digest string) string {
	digits := strings.TrimPrefix(digest, "sha256:")
	return digits[:min(len(digits), 40)]
}
