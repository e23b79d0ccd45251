package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/manifest"
)

// Hash is a short stable name for a list of strings: the same in every run, and another
// one for any other list.
func Hash(parts ...string) string {
	hash := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(hash, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}

// imagePrint is the fingerprint of a finding about an image: policy, vulnerability,
// package and repository. It outlives new tags and digests, a move of the line in the
// manifest, and a new version of the package that has the vulnerability still.
func imagePrint(policy string, d ImageDetails) string {
	return Hash("image", policy, d.Vulnerability, d.Subject(), d.File, d.Repository())
}

// ImageFingerprint is what makes a finding about an image the same one in another run; ok
// is false for other findings.
func (f Finding) ImageFingerprint() (fingerprint string, ok bool) {
	details, ok := f.Image()
	if !ok {
		return "", false
	}
	return imagePrint(f.Policy, details), true
}

// fingerprint is what makes a finding the same one in another run, for a baseline: what it
// is about an image, or policy, object and field otherwise. Neither line nor file is part of it.
// A finding without a field is told by its message; so is one that counts others ("and 12 more").
func fingerprint(f Finding, object Object, raw []byte) string {
	if print, ok := f.ImageFingerprint(); ok {
		return print
	}
	group, _, versioned := strings.Cut(object.APIVersion, "/")
	if !versioned {
		group = ""
	}
	parts := []string{"object", f.Policy, group, object.Kind, object.Namespace, object.Name, stablePath(raw, f.Path)}
	if f.Path == "" {
		parts = append(parts, f.Message)
	}
	return Hash(parts...)
}

// stablePath is a path with names for indexes, so that a container stays the same one when
// another is put before it: containers[name=app]. Items without a name have no place: [].
func stablePath(object []byte, path string) string {
	segments, err := manifest.ParsePath(path)
	if err != nil {
		return path
	}
	var b strings.Builder
	for n, segment := range segments {
		if segment.Index < 0 {
			b.WriteString("." + segment.Key)
			continue
		}
		b.WriteString("[" + itemName(object, manifest.JoinPath(segments[:n+1])) + "]")
	}
	return b.String()
}

// itemName is "name=app" for a list item that has such a name, "" for others.
func itemName(object []byte, path string) string {
	raw, ok := manifest.Get(object, path)
	if !ok {
		return ""
	}
	var item struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(raw, &item) != nil || item.Name == "" {
		return ""
	}
	return "name=" + item.Name
}
