package cosign

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// Roots are the certificate authorities, transparency logs and time stamp authorities that
// keyless signatures are verified against: a trusted_root.json
// (https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto) that may
// change, such as one mounted from a ConfigMap. They are never fetched from anywhere.
type Roots struct {
	file string

	mu       sync.RWMutex
	seen     fs.FileInfo // of what was read last, good or not
	material root.TrustedMaterial
	hash     string
	fault    error
}

// NewRoots reads the file. It is looked at again at each use and read when it has changed; one
// that cannot be used leaves the last good one in place, and [Roots.Check] says so.
func NewRoots(file string) (*Roots, error) {
	r := &Roots{file: file}
	r.refresh()
	if r.fault != nil {
		return nil, r.fault
	}
	return r, nil
}

// ParseRoots takes the content of a trusted_root.json that does not change.
func ParseRoots(content []byte) (*Roots, error) {
	material, hash, err := parseRoots(content)
	if err != nil {
		return nil, fmt.Errorf("reading the trusted root: %w", err)
	}
	return &Roots{material: material, hash: hash}, nil
}

// Current is what to verify against and "sha256:" and the hash of the file it comes from: part of
// the key of every remembered verification.
func (r *Roots) Current() (root.TrustedMaterial, string) {
	r.refresh()
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.material, r.hash
}

// Check says why the file as it is now is not in use, nil if it is.
func (r *Roots) Check() error {
	r.refresh()
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.fault
}

// refresh reads the file if it is not the one that was read last.
func (r *Roots) refresh() {
	if r.file == "" {
		return
	}
	info, err := os.Stat(r.file)
	r.mu.RLock()
	same := err == nil && r.seen != nil && sameFile(r.seen, info)
	r.mu.RUnlock()
	if same {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.seen, r.fault = nil, fmt.Errorf("reading the trusted root: %w: restore it", err)
		return
	}
	content, err := os.ReadFile(r.file)
	if err != nil {
		r.seen, r.fault = nil, fmt.Errorf("reading the trusted root: %w: make it readable", err)
		return
	}
	r.seen = info
	material, hash, err := parseRoots(content)
	if err != nil {
		r.fault = fmt.Errorf("reading the trusted root %s: %w", r.file, err)
		return
	}
	r.material, r.hash, r.fault = material, hash, nil
}

func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func parseRoots(content []byte) (material root.TrustedMaterial, hash string, err error) {
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, "", errors.New("it is empty")
	}
	err = guarded(func() error {
		parsed, err := root.NewTrustedRootFromJSON(content)
		if err != nil {
			// Its parser speaks of its own types, and in words that change from run to run.
			return errors.New("it is no trusted_root.json of Sigstore")
		}
		if len(parsed.FulcioCertificateAuthorities()) == 0 && len(parsed.RekorLogs()) == 0 {
			return errors.New("it names neither a certificate authority nor a transparency log")
		}
		material = parsed
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(content)
	return material, "sha256:" + hex.EncodeToString(sum[:]), nil
}
