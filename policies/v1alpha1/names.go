package v1alpha1

import (
	"fmt"
	"strings"
)

// RevisionName is the name of the PolicyRevision that holds a part, from 0, of the revision with a digest: "sha256-", its
// 64 hexadecimal digits, and the part. Other digests have none.
func RevisionName(digest string, part int32) (string, error) {
	const digits = 64
	hex, ok := strings.CutPrefix(digest, "sha256:")
	if !ok || len(hex) != digits || strings.Trim(hex, "0123456789abcdef") != "" {
		return "", fmt.Errorf("naming the PolicyRevision of %.100q: revisions have SHA-256 digests", digest)
	}
	if part < 0 || part >= MaxParts {
		return "", fmt.Errorf("naming part %d of revision %s: there are at most %d", part, digest, MaxParts)
	}
	return fmt.Sprintf("sha256-%s-%d", hex, part), nil
}
