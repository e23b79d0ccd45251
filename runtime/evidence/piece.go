package evidence

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// prefix begins the names of a quarantine's pieces. One that was reopened has others.
func (r *capture) prefix() string {
	if r.q.Spec.Reopened > 0 {
		return fmt.Sprintf("%s-r%d-", r.q.Name, r.q.Spec.Reopened)
	}
	return r.q.Name + "-e-"
}

// name is that of a piece: the same for the same piece. Names of containers are hashed, since two names together may be too long.
func (r *capture) name(p captured) string {
	sum := sha256.Sum256([]byte(p.kind + "\n" + p.container))
	return r.prefix() + hex.EncodeToString(sum[:5])
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// pack makes the object of a piece.
func (r *capture) pack(p captured) (*v1alpha1.QuarantineEvidence, error) {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	if _, err := writer.Write(p.data); err != nil {
		return nil, fmt.Errorf("compressing: %w", err)
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("compressing: %w", err)
	}
	piece := &v1alpha1.QuarantineEvidence{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "QuarantineEvidence"},
		ObjectMeta: metav1.ObjectMeta{Name: r.name(p), Labels: map[string]string{v1alpha1.QuarantineLabel: r.q.Name}},
		Quarantine: r.q.Name, Piece: p.kind, Container: p.container, Data: packed.Bytes(), Size: int64(len(p.data)), Digest: digestOf(p.data), Truncated: p.truncated,
		Captured: metav1.NewMicroTime(r.now()),
	}
	if r.q.UID != "" {
		piece.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Quarantine", Name: r.q.Name, UID: r.q.UID}}
	}
	return piece, nil
}

func referenceTo(piece *v1alpha1.QuarantineEvidence) v1alpha1.EvidenceReference {
	return v1alpha1.EvidenceReference{Name: piece.Name, Kind: piece.Piece, Container: piece.Container, Size: piece.Size, Digest: piece.Digest, Truncated: piece.Truncated}
}

// Piece is one piece of evidence, unpacked.
type Piece struct {
	v1alpha1.EvidenceReference
	Captured time.Time
	Data     []byte
}

// Read gives all pieces of a quarantine in order of kind and container. One whose digest is not that of its data is an error.
func (c *Collector) Read(ctx context.Context, quarantine string) ([]Piece, error) {
	objects, err := c.list(ctx, quarantine)
	if err != nil {
		return nil, err
	}
	var pieces []Piece
	for n := range objects {
		data, err := unpack(&objects[n])
		if err != nil {
			return nil, fmt.Errorf("reading evidence %s: %w", objects[n].Name, err)
		}
		pieces = append(pieces, Piece{EvidenceReference: referenceTo(&objects[n]), Captured: objects[n].Captured.Time, Data: data})
	}
	slices.SortFunc(pieces, func(a, b Piece) int { return compare(a.EvidenceReference, b.EvidenceReference) })
	return pieces, nil
}

// unpack gives the data of a piece, which must be what its size and digest say.
func unpack(piece *v1alpha1.QuarantineEvidence) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(piece.Data))
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(reader, maxPiece+1))
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	if int64(len(data)) != piece.Size || digestOf(data) != piece.Digest {
		return nil, fmt.Errorf("its %d bytes have the digest %s, not the %d of %s that it says: somebody has changed it", len(data), digestOf(data), piece.Size, piece.Digest)
	}
	return data, nil
}

// list reads the pieces of a quarantine.
func (c *Collector) list(ctx context.Context, quarantine string) ([]v1alpha1.QuarantineEvidence, error) {
	var all []v1alpha1.QuarantineEvidence
	for page := ""; ; {
		list, err := c.client.Resource(v1alpha1.Evidences).List(ctx, metav1.ListOptions{FieldSelector: "quarantine=" + quarantine, Limit: 50, Continue: page})
		if err != nil {
			return nil, fmt.Errorf("listing the evidence of quarantine %s: %w", quarantine, err)
		}
		for _, object := range list.Items {
			var piece v1alpha1.QuarantineEvidence
			if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &piece); err != nil {
				return nil, fmt.Errorf("decoding evidence %s: %w", object.GetName(), err)
			}
			all = append(all, piece)
		}
		if page = list.GetContinue(); page == "" {
			return all, nil
		}
	}
}

func (c *Collector) get(ctx context.Context, name string) (*v1alpha1.QuarantineEvidence, error) {
	object, err := c.client.Resource(v1alpha1.Evidences).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	var piece v1alpha1.QuarantineEvidence
	if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &piece); err != nil {
		return nil, fmt.Errorf("decoding evidence %s: %w", name, err)
	}
	return &piece, nil
}
