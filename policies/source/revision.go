package source

import (
	"context"
	"errors"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/signer/gitsign"
)

// ErrUnchanged says that a source has what was fetched before.
var ErrUnchanged = errors.New("the source has not changed")

// Source is where revisions of one bundle come from.
type Source interface {
	// Fetch is the revision that the source has now. last is the Version of the one that was fetched before, "" for none;
	// where that is still it, the error is [ErrUnchanged]. A signature that is added later makes another version.
	Fetch(ctx context.Context, last string) (*Revision, error)
}

// Revision is one state of a bundle, as it was fetched. Nothing of it is verified.
type Revision struct {
	Tree *archive.Tree
	// Origin is where it was found, for people: "git+https://git.example.com/policies//prod@3f1c…".
	Origin string
	// Version is what the source tells revisions apart by. It begins with the commit of a repository and with the digest of
	// an artifact's manifest, and means nothing but to the source that it is from.
	Version string
	Proof   Proof
}

// Proof is what shows who has signed a revision. At most one field is set; none where nobody has.
type Proof struct {
	Git  *gitsign.Proof `json:"git,omitempty"`
	OCI  *OCIProof      `json:"oci,omitempty"`
	Blob *BlobProof     `json:"blob,omitempty"`
}

// OCIProof is an artifact of a registry with what is attached to it.
type OCIProof struct {
	// Registry and Repository are canonical, as in [registry.Repository]: authorities may sign in some of them only.
	Registry   string `json:"registry"`
	Repository string `json:"repository"`
	// Manifest is the artifact's, as it was received. Its digest is what is signed.
	Manifest []byte `json:"manifest"`
	// Attached is what may be a signature.
	Attached Attached `json:"attached"`
	// Layer is the archive that holds the files, as it was received; nil where each file is a layer, as Conftest makes them.
	// [Encode] writes it in place of the files.
	Layer []byte `json:"-"`
}

// BlobProof is a tarball with its signature.
type BlobProof struct {
	// Bundle is the Sigstore bundle about the tarball, empty where there is none.
	Bundle []byte `json:"bundle,omitempty"`
	// Tarball is what was received. [Encode] writes it in place of the files.
	Tarball []byte `json:"-"`
}

// packed are the bytes that the files were unpacked from, nil where they are of no archive.
func (p *Proof) packed() []byte {
	switch {
	case p.OCI != nil:
		return p.OCI.Layer
	case p.Blob != nil:
		return p.Blob.Tarball
	}
	return nil
}

// archived says whether the files are in one layer.
func (p *OCIProof) archived() bool {
	contents, err := ReadManifest(p.Manifest)
	return err == nil && contents.Archive != nil
}
