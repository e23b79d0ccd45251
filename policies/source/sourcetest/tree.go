// Package sourcetest makes small bundles for tests of sources, and sends them where revisions go.
package sourcetest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
)

// NewTree is the bundle acme with a serial and one policy.
func NewTree(t testing.TB, serial int) *archive.Tree {
	t.Helper()
	tree, err := archive.New(map[string][]byte{
		"bundle.yaml":      fmt.Appendf(nil, "name: acme\nserial: %d\n", serial),
		"pods/policy.rego": []byte("package pods\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// Pack gives the tarball of a tree.
func Pack(t testing.TB, tree *archive.Tree) []byte {
	t.Helper()
	var packed bytes.Buffer
	if err := tree.Pack(&packed); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// Stored sends a revision through what a cluster stores.
func Stored(t testing.TB, r *source.Revision) *source.Revision {
	t.Helper()
	encoded, err := source.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := source.Decode(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return again
}
