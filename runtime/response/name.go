package response

import (
	"crypto/sha256"
	"encoding/hex"
)

// QuarantineName is the name of the Quarantine of a pod: "q-" and 20 hexadecimal digits of the SHA-256 of its UID. It is a
// value of a label, and part of the names of other objects.
func QuarantineName(podUID string) string {
	sum := sha256.Sum256([]byte(podUID))
	return "q-" + hex.EncodeToString(sum[:])[:20]
}
