package controller

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// keptRevisions is how many revisions of a bundle are kept beside those that its status names: for a pin to go back to.
const keptRevisions = 5

// pruneAfter is how old a stored revision is before it may be deleted: it is stored before a status names it.
const pruneAfter = 10 * time.Minute

// store keeps revisions as PolicyRevisions, in parts that never change.
type store struct {
	client   dynamic.NamespaceableResourceInterface
	metadata metadata.Getter
	now      func() time.Time
}

// put stores a revision. What is stored already with the same files, perhaps with another proof of who signed them, stays if good
// takes it, and is replaced otherwise: if it was this bundle that stored it.
func (s *store) put(ctx context.Context, bundle, digest string, encoded []byte, good func(encoded []byte) error) error {
	stored, by, err := s.get(ctx, digest)
	switch {
	case err == nil && (bytes.Equal(stored, encoded) || good(stored) == nil):
		return nil
	case err == nil && by != bundle:
		return fmt.Errorf("storing revision %s: bundle %s has stored the same files with another signature, which does not count for this bundle: give this one a file that is its own, as a README", digest, by)
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("storing revision %s: %w", digest, err)
	}
	if err := s.remove(ctx, digest); err != nil {
		return fmt.Errorf("replacing revision %s: %w", digest, err)
	}
	return s.create(ctx, bundle, digest, encoded)
}

// create writes the parts, the first one last: whoever finds it finds all.
func (s *store) create(ctx context.Context, bundle, digest string, encoded []byte) error {
	chunks := slices.Collect(slices.Chunk(encoded, v1alpha1.MaxPart))
	for i := len(chunks) - 1; i >= 0; i-- {
		part := int32(i) //nolint:gosec // there are 32 at most, see source.MaxEncoded
		name, err := v1alpha1.RevisionName(digest, part)
		if err != nil {
			return err
		}
		object := &v1alpha1.PolicyRevision{
			TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PolicyRevision"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
				v1alpha1.BundleLabel: bundle, v1alpha1.DigestLabel: v1alpha1.DigestLabelValue(digest),
			}},
			Spec: v1alpha1.PolicyRevisionSpec{Bundle: bundle, Digest: digest, Part: part, Parts: int32(len(chunks)), Data: chunks[i]}, //nolint:gosec // as above
		}
		content, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err == nil {
			_, err = s.client.Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{})
		}
		if err != nil {
			return fmt.Errorf("storing part %d of revision %s: %w", part, digest, err)
		}
	}
	return nil
}

// get reads a stored revision, and which bundle stored it. The error of one that is not there, or not whole, is a NotFound of the
// API. Nothing of it is verified.
func (s *store) get(ctx context.Context, digest string) (encoded []byte, bundle string, err error) {
	parts := int32(1)
	for part := int32(0); part < parts; part++ {
		name, err := v1alpha1.RevisionName(digest, part)
		if err != nil {
			return nil, "", err
		}
		object, err := s.client.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, "", err
		}
		revision, err := decode[v1alpha1.PolicyRevision](object)
		if err != nil {
			return nil, "", err
		}
		encoded, bundle = append(encoded, revision.Spec.Data...), revision.Spec.Bundle
		parts = min(revision.Spec.Parts, v1alpha1.MaxParts)
	}
	return encoded, bundle, nil
}

// remove deletes the parts of a revision, the first one first, those of a put that was interrupted among them.
func (s *store) remove(ctx context.Context, digest string) error {
	for part := range int32(v1alpha1.MaxParts) {
		name, err := v1alpha1.RevisionName(digest, part)
		if err != nil {
			return err
		}
		switch err := s.client.Delete(ctx, name, metav1.DeleteOptions{}); {
		case apierrors.IsNotFound(err) && part > 0:
			// Parts are written from the last one down: there may be a gap before those that were.
			if found, err := s.anyPart(ctx, digest); err != nil || !found {
				return err
			}
		case err != nil && !apierrors.IsNotFound(err):
			return err
		}
	}
	return nil
}

func (s *store) anyPart(ctx context.Context, digest string) (bool, error) {
	list, err := s.metadata.List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.DigestLabel + "=" + v1alpha1.DigestLabelValue(digest)})
	return err == nil && len(list.Items) > 0, err
}

var revisionName = regexp.MustCompile(`^sha256-([0-9a-f]{64})-[0-9]+$`)

// prune deletes what nobody needs: revisions that no bundle's status names and that are not among the last five of a bundle that
// is there.
func (s *store) prune(ctx context.Context, bundles []v1alpha1.PolicyBundle) error {
	list, err := s.metadata.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing stored revisions: %w", err)
	}
	for _, part := range superfluous(list.Items, bundles, s.now()) {
		if err := s.client.Delete(ctx, part, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting the stored revision %s: %w", part, err)
		}
	}
	return nil
}

// superfluous are the names of parts to delete.
func superfluous(parts []metav1.PartialObjectMetadata, bundles []v1alpha1.PolicyBundle, now time.Time) []string {
	keep := map[string]bool{}
	for i := range bundles {
		s := &bundles[i].Status
		for _, r := range []*v1alpha1.RevisionStatus{s.Active, s.Candidate, s.Previous} {
			if r != nil {
				keep[r.Digest] = true
			}
		}
		keep[bundles[i].Spec.Pin] = true
		for _, digest := range newest(parts, bundles[i].Name) {
			keep[digest] = true
		}
	}
	var names []string
	for i := range parts {
		digest := digestOfPart(&parts[i])
		if digest != "" && !keep[digest] && now.Sub(parts[i].CreationTimestamp.Time) > pruneAfter {
			names = append(names, parts[i].Name)
		}
	}
	return names
}

// newest are the digests of the last revisions that a bundle has stored.
func newest(parts []metav1.PartialObjectMetadata, bundle string) []string {
	stored := map[string]time.Time{}
	for i := range parts {
		digest := digestOfPart(&parts[i])
		if at := parts[i].CreationTimestamp.Time; digest != "" && parts[i].Labels[v1alpha1.BundleLabel] == bundle && at.After(stored[digest]) {
			stored[digest] = at
		}
	}
	digests := make([]string, 0, len(stored))
	for digest := range stored {
		digests = append(digests, digest)
	}
	slices.SortFunc(digests, func(a, b string) int { return cmp.Or(stored[b].Compare(stored[a]), cmp.Compare(a, b)) })
	return digests[:min(len(digests), keptRevisions)]
}

// digestOfPart is "" for what is no part of a revision, which is left alone.
func digestOfPart(part *metav1.PartialObjectMetadata) string {
	match := revisionName.FindStringSubmatch(part.Name)
	if match == nil {
		return ""
	}
	return "sha256:" + match[1]
}
