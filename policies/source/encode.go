package source

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// MaxEncoded is how many bytes a stored revision may have: what the parts of a PolicyRevision hold.
const MaxEncoded = v1alpha1.MaxPart * v1alpha1.MaxParts

// encodedVersion begins a stored revision.
const encodedVersion = "portcullis.dev/revision/v1\n"

// encodedHeader is what a stored revision says beside its files.
type encodedHeader struct {
	Digest  string `json:"digest"`
	Origin  string `json:"origin,omitempty"`
	Version string `json:"version,omitempty"`
	Proof   Proof  `json:"proof"`
}

// Encode writes a revision to be stored: a line with the format, the length of a JSON object and the object, with origin
// and proof, and then the archive of the files: the one that was signed, where one was. The same revision gives the same bytes.
func Encode(r *Revision) ([]byte, error) {
	if r.Tree == nil {
		return nil, errors.New("storing a revision: it has no files")
	}
	header, err := json.Marshal(encodedHeader{Digest: r.Tree.Digest(), Origin: r.Origin, Version: r.Version, Proof: r.Proof})
	if err != nil {
		return nil, fmt.Errorf("storing %s: %w", r.Origin, err)
	}
	var b bytes.Buffer
	b.WriteString(encodedVersion)
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(header))))
	b.Write(header)
	if packed := r.Proof.packed(); packed != nil {
		b.Write(packed)
	} else if err := r.Tree.Pack(&b); err != nil {
		return nil, fmt.Errorf("storing %s: %w", r.Origin, err)
	}
	if b.Len() > MaxEncoded {
		return nil, fmt.Errorf("storing %s: it has %d bytes packed, and the limit is %d: leave out what is no policy, or make two bundles of it", r.Origin, b.Len(), MaxEncoded)
	}
	return b.Bytes(), nil
}

// Decode reads what [Encode] has written, within the same limits. What it gives is no more trusted than where it was
// stored: [Verifier.Verify] it.
func Decode(encoded []byte) (*Revision, error) {
	r, err := decode(encoded)
	if err != nil {
		return nil, fmt.Errorf("reading a stored revision: %w", err)
	}
	return r, nil
}

func decode(encoded []byte) (*Revision, error) {
	if len(encoded) > MaxEncoded {
		return nil, fmt.Errorf("it has %d bytes, and the limit is %d: store it anew", len(encoded), MaxEncoded)
	}
	rest, ok := bytes.CutPrefix(encoded, []byte(encodedVersion))
	if !ok {
		return nil, errors.New("it is none, or one of another version: store it anew with programs of one version")
	}
	if len(rest) < 4 || uint64(binary.BigEndian.Uint32(rest)) > uint64(len(rest)-4) {
		return nil, errors.New("it is cut short: store it anew")
	}
	length := binary.BigEndian.Uint32(rest)
	header, err := decodeHeader(rest[4 : 4+length])
	if err != nil {
		return nil, err
	}
	packed := rest[4+length:]
	tree, err := archive.Unpack(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	if tree.Digest() != header.Digest {
		return nil, fmt.Errorf("its files have the digest %s and not %.80q: store it anew", tree.Digest(), header.Digest)
	}
	if header.Proof.OCI != nil && header.Proof.OCI.archived() {
		header.Proof.OCI.Layer = packed
	}
	if header.Proof.Blob != nil {
		header.Proof.Blob.Tarball = packed
	}
	return &Revision{Tree: tree, Origin: header.Origin, Version: header.Version, Proof: header.Proof}, nil
}

// decodeHeader refuses fields that it does not know: they might be conditions.
func decodeHeader(raw []byte) (encodedHeader, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	var header encodedHeader
	if err := decoder.Decode(&header); err != nil {
		return header, fmt.Errorf("what it says of itself cannot be read: %w: store it anew with programs of one version", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return header, errors.New("there is something behind what it says of itself: store it anew")
	}
	return header, nil
}
