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

// ImageFingerprint is what makes a finding about an image the same one in another run; ok
// is false for other findings. It is policy, vulnerability, package and repository: it
// outlives new tags and digests, a move of the line in the manifest, and a new version of the
// package that still has the vulnerability.
//
// What names no vulnerability, package or file in the image is told by its message without tag
// and digest: "12 more such vulnerabilities" must not be known by 11.
func (f Finding) ImageFingerprint() (fingerprint string, ok bool) {
	d, ok := f.Image()
	if !ok {
		return "", false
	}
	parts := []string{"image", Qualified(f.Bundle, f.Policy), d.Vulnerability, d.Subject(), d.File, d.Repository()}
	if d.Vulnerability == "" && d.Subject() == "" && d.File == "" {
		parts = append(parts, stableMessage(f.Message, d))
	}
	return Hash(parts...), true
}

// stableMessage is a message with the repository in place of what changes from build to build.
func stableMessage(message string, d ImageDetails) string {
	message = strings.ReplaceAll(message, d.Image, d.Repository())
	if d.Digest != "" {
		message = strings.ReplaceAll(message, "@"+d.Digest, "")
		message = strings.ReplaceAll(message, d.Digest, "")
	}
	return message
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
	parts := []string{"object", Qualified(f.Bundle, f.Policy), group, object.Kind, object.Namespace, object.Name, stablePath(raw, f.Path)}
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
