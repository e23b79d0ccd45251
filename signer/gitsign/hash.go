package gitsign

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/pjbgf/sha1cd"
)

// Lengths of hashes of objects, in hexadecimal digits.
const (
	sha1Digits   = 40
	sha256Digits = 64
)

// kind is what an object is, as it is hashed.
type kind string

const (
	kindCommit kind = "commit"
	kindTag    kind = "tag"
	kindTree   kind = "tree"
	kindBlob   kind = "blob"
)

// hashObject is the name of an object in a repository whose hashes have so many hexadecimal digits
// (gitformat-loose, "Object storage format"). A SHA-1 that shows the marks of a collision attack is an error: Git
// refuses such objects as well.
func hashObject(k kind, content []byte, digits int) (string, error) {
	header := fmt.Appendf(nil, "%s %d\x00", k, len(content))
	if digits == sha256Digits {
		hash := sha256.New()
		hash.Write(header)
		hash.Write(content)
		return hex.EncodeToString(hash.Sum(nil)), nil
	}
	hash, ok := sha1cd.New().(sha1cd.CollisionResistantHash)
	if !ok {
		return "", refuse(Mismatched, "hashing the %s: collisions of SHA-1 cannot be told: report this as a bug", k)
	}
	hash.Write(header)
	hash.Write(content)
	sum, collision := hash.CollisionResistantSum(nil)
	if collision {
		return "", refuse(Mismatched, "the %s %x is made for a collision of SHA-1, so a hash does not say which of two contents it is: find out who has put it there", k, sum)
	}
	return hex.EncodeToString(sum), nil
}

// isHash says whether a text is a hash of an object as Git writes it.
func isHash(text string) bool {
	if len(text) != sha1Digits && len(text) != sha256Digits {
		return false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// short is a hash for people.
func short(hash string) string { return hash[:min(len(hash), 12)] }
