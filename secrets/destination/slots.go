package destination

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// writeSlot makes sure that an immutable Secret with the content exists: the present one, one that was made before a crash, or the next name
// that is free.
func (w *Writer) writeSlot(ctx context.Context, owner Owner, secret *v1alpha1.VaultSecret, content secrets.Data, prior *v1alpha1.DestinationStatus) (v1alpha1.DestinationStatus, Outcome, error) {
	names := v1alpha1.DestinationNames(secret)
	at := place{v1alpha1.KindSecret, owner.Namespace, ""}
	next, present := 0, -1
	if prior != nil && prior.Kind == v1alpha1.KindSecret {
		if present = slices.Index(names, prior.Name); present >= 0 {
			next = present + 1
		}
	}
	repaired := false
	if present >= 0 { // it still is what it was, or somebody deleted it
		at.name = names[present]
		current, err := w.objects.get(ctx, at)
		switch {
		case apierrors.IsNotFound(err):
			// The same name again: workloads refer to it.
			next, repaired = present, true
		case err != nil:
			return before(prior), Outcome{}, failed("get", at, err)
		case w.whose(current, owner, prior) != others && current.data.Equal(content) && current.typ == typeOf(&secret.Spec.Destination) && current.immutable:
			return w.keepSlot(ctx, owner, secret, content, prior, current)
		}
	}
	orphans := []string(nil) // ours, of other content
	for try := range len(names) {
		at.name = names[(next+try)%len(names)]
		wanted := w.wanted(owner, secret, content, at)
		written, err := w.take(ctx, wanted)
		if err == nil {
			status := statusOf(written, false)
			status.Slots = addSlots(earlier(prior, written.place()), orphans, written.Name)
			return status, Outcome{Created: true, Changed: prior != nil && !repaired, Repaired: repaired}, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return before(prior), Outcome{}, failed("create", at, err)
		}
		current, err := w.objects.get(ctx, at)
		switch {
		case apierrors.IsNotFound(err): // it went just now: it is free the next time
			continue
		case err != nil:
			return before(prior), Outcome{}, failed("get", at, err)
		case w.whose(current, owner, nil) == others && (prior == nil || prior.UID != string(current.UID)):
			continue
		case current.data.Equal(content) && current.typ == wanted.typ && current.immutable && current.DeletionTimestamp == nil:
			status, outcome, err := w.keepSlot(ctx, owner, secret, content, prior, current)
			status.Slots = addSlots(status.Slots, orphans, status.Name)
			return status, outcome, err
		}
		orphans = append(orphans, current.Name)
	}
	return w.freeSlot(ctx, owner, secret, content, prior, orphans)
}

// take creates a slot.
func (w *Writer) take(ctx context.Context, wanted *object) (*object, error) {
	defer w.Watcher.writing(wanted.place())()
	created, err := w.objects.create(ctx, wanted)
	if err == nil {
		w.Watcher.wrote(created)
	}
	return created, err
}

// keepSlot goes on with a slot that holds the content. Its labels and annotations can be changed, and are repaired.
func (w *Writer) keepSlot(ctx context.Context, owner Owner, secret *v1alpha1.VaultSecret, content secrets.Data, prior *v1alpha1.DestinationStatus, current *object) (v1alpha1.DestinationStatus, Outcome, error) {
	wanted := w.wanted(owner, secret, content, current.place())
	outcome := Outcome{Changed: prior != nil && prior.Name != current.Name}
	if w.deviates(current, wanted) {
		defer w.Watcher.writing(wanted.place())()
		wanted.UID = current.UID
		applied, err := w.objects.apply(ctx, wanted)
		if err != nil {
			return before(prior), Outcome{}, failed("patch", wanted.place(), err)
		}
		w.Watcher.wrote(applied)
		current, outcome.Repaired = applied, true
	}
	status := statusOf(current, false)
	status.Slots = earlier(prior, current.place())
	return status, outcome, nil
}

// freeSlot deletes a slot of ours that nobody uses, and takes its name.
func (w *Writer) freeSlot(ctx context.Context, owner Owner, secret *v1alpha1.VaultSecret, content secrets.Data, prior *v1alpha1.DestinationStatus, mine []string) (v1alpha1.DestinationStatus, Outcome, error) {
	at := place{v1alpha1.KindSecret, owner.Namespace, v1alpha1.DestinationName(secret)}
	if w.Used != nil {
		for _, name := range mine {
			if prior != nil && name == prior.Name {
				continue // the last good one, until there is a better
			}
			at.name = name
			freed, err := w.remove(ctx, owner, at, "", func(name string) (bool, error) { return w.Used(ctx, owner.Namespace, name) })
			if err != nil {
				return before(prior), Outcome{}, err
			}
			if !freed {
				continue
			}
			created, err := w.take(ctx, w.wanted(owner, secret, content, at))
			if err != nil {
				return before(prior), Outcome{}, failed("create", at, err)
			}
			status := statusOf(created, false)
			status.Slots = addSlots(earlier(prior, created.place()), mine, created.Name)
			return status, Outcome{Created: true, Changed: prior != nil}, nil
		}
	}
	status := before(prior)
	if prior != nil {
		status.Slots = addSlots(status.Slots, mine, status.Name)
	}
	return status, Outcome{}, notOurs(place{v1alpha1.KindSecret, owner.Namespace, v1alpha1.DestinationName(secret)},
		"all %d names of the immutable Secret, %s to %s, are taken (%d by this VaultSecret): restart the workloads that still use the older ones, delete Secrets of others there, or choose another destination.name",
		v1alpha1.ImmutableSlots, v1alpha1.SlotName(v1alpha1.DestinationName(secret), 0), v1alpha1.SlotName(v1alpha1.DestinationName(secret), v1alpha1.ImmutableSlots-1), len(mine))
}

func addSlots(slots, more []string, except string) []string {
	all := append(append([]string(nil), slots...), more...)
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(name string) bool { return name == except })
}

// Collect deletes what the destination was before and nobody uses any more, and gives the names that remain: the next status.destination.slots.
// used says whether a pod or workload refers to a Secret of that name. What is not ours by its owner is forgotten and left.
func (w *Writer) Collect(ctx context.Context, owner Owner, prior *v1alpha1.DestinationStatus, used func(name string) (bool, error)) ([]string, error) {
	if prior == nil {
		return nil, nil
	}
	remain := []string(nil)
	for i, name := range prior.Slots {
		if name == prior.Name {
			continue
		}
		gone, err := w.remove(ctx, owner, place{prior.Kind, owner.Namespace, name}, "", used)
		if err != nil {
			return append(remain, prior.Slots[i:]...), err
		}
		if !gone {
			remain = append(remain, name)
		}
	}
	return remain, nil
}

// remove deletes an object of ours that is not used, and says whether none of ours is there any more. uid is the one it must have, "" where its owner
// says that it is ours. used may be nil.
func (w *Writer) remove(ctx context.Context, owner Owner, at place, uid string, used func(name string) (bool, error)) (bool, error) {
	current, err := w.objects.get(ctx, at)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, failed("get", at, err)
	}
	known := (*v1alpha1.DestinationStatus)(nil)
	if uid != "" {
		known = &v1alpha1.DestinationStatus{Kind: at.kind, Name: at.name, UID: uid}
	}
	if w.whose(current, owner, known) != ours || uid != "" && string(current.UID) != uid {
		return true, nil
	}
	if used != nil {
		inUse, err := used(at.name)
		if err != nil {
			return false, err
		}
		if inUse {
			return false, nil
		}
	}
	w.Watcher.deleting(current)
	if err := w.objects.delete(ctx, current); err != nil && !again(err) {
		return false, failed("delete", at, err)
	}
	return true, nil
}

// Delete ends what Write has made: each object is deleted, under its UID, or with retain left without owner and marks of ours. What was taken
// over is always left. It does no harm twice.
func (w *Writer) Delete(ctx context.Context, owner Owner, prior *v1alpha1.DestinationStatus, retain bool) error {
	if prior == nil || prior.Name == "" {
		return nil
	}
	uids := map[string]string{prior.Name: prior.UID}
	for _, name := range append([]string{prior.Name}, prior.Slots...) {
		at := place{prior.Kind, owner.Namespace, name}
		var err error
		if retain || name == prior.Name && prior.Adopted {
			err = w.release(ctx, owner, at, uids[name])
		} else {
			_, err = w.remove(ctx, owner, at, uids[name], nil)
			if err == nil {
				err = w.release(ctx, owner, at, uids[name]) // one that was taken over is still there
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// release leaves an object to whoever wants it: our owner reference and annotations go.
func (w *Writer) release(ctx context.Context, owner Owner, at place, uid string) error {
	for range attempts {
		current, err := w.objects.get(ctx, at)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return failed("get", at, err)
		}
		known := &v1alpha1.DestinationStatus{Kind: at.kind, Name: at.name, UID: uid}
		if w.whose(current, owner, known) == others || current.DeletionTimestamp != nil {
			return nil
		}
		var operations []operation
		for i := len(current.OwnerReferences) - 1; i >= 0; i-- {
			if string(current.OwnerReferences[i].UID) == owner.UID {
				operations = append(operations, operation{Op: "remove", Path: fmt.Sprintf("/metadata/ownerReferences/%d", i)})
			}
		}
		for _, key := range []string{v1alpha1.OwnerAnnotation, v1alpha1.HashAnnotation, AdoptedAnnotation} {
			if _, ok := current.Annotations[key]; ok {
				operations = append(operations, operation{Op: "remove", Path: "/metadata/annotations/" + escaped(key)})
			}
		}
		if strings.EqualFold(current.Labels[v1alpha1.ManagedByLabel], v1alpha1.ManagedBy) {
			operations = append(operations, operation{Op: "remove", Path: "/metadata/labels/" + escaped(v1alpha1.ManagedByLabel)})
		}
		if len(operations) == 0 {
			return nil
		}
		done := w.Watcher.writing(at)
		released, err := w.objects.change(ctx, current, operations...)
		if err == nil {
			w.Watcher.wrote(released)
		}
		done()
		if err == nil || apierrors.IsNotFound(err) {
			return nil
		}
		if !again(err) {
			return failed("patch", at, err)
		}
	}
	return failed("patch", at, apierrors.NewConflict(metav1Resource(at), at.name, nil))
}

// Drifted says whether the destination is not what was written last any more: it is gone, is another object, or holds other values than those whose
// keyed hash is given. A change of nothing but the resource version of our last write is answered without looking at a value. Labels and
// annotations are the business of DriftedFrom.
func (w *Writer) Drifted(ctx context.Context, owner Owner, prior *v1alpha1.DestinationStatus, hash string) (bool, error) {
	return w.drifted(ctx, owner, nil, prior, hash)
}

// DriftedFrom is Drifted, and whether labels, annotations, type and owner are those that the VaultSecret asks for.
func (w *Writer) DriftedFrom(ctx context.Context, owner Owner, secret *v1alpha1.VaultSecret, prior *v1alpha1.DestinationStatus, hash string) (bool, error) {
	return w.drifted(ctx, owner, secret, prior, hash)
}

func (w *Writer) drifted(ctx context.Context, owner Owner, secret *v1alpha1.VaultSecret, prior *v1alpha1.DestinationStatus, hash string) (bool, error) {
	if prior == nil || prior.Name == "" {
		return true, nil
	}
	at := place{prior.Kind, owner.Namespace, prior.Name}
	current, err := w.objects.get(ctx, at)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, failed("get", at, err)
	}
	defer current.data.Clear()
	if string(current.UID) != prior.UID || current.DeletionTimestamp != nil {
		return true, nil
	}
	if current.ResourceVersion == prior.ResourceVersion {
		return false, nil
	}
	if controller := metav1.GetControllerOfNoCopy(&current.ObjectMeta); controller != nil && string(controller.UID) != owner.UID {
		return true, nil
	}
	if w.hasher.Data(current.data) != hash {
		return true, nil
	}
	if secret == nil {
		return false, nil
	}
	wanted := w.claimed(w.wanted(owner, secret, secrets.Data{}, at), prior.Adopted)
	wanted.Annotations[v1alpha1.HashAnnotation] = hash
	return current.typ != wanted.typ || current.immutable != wanted.immutable || w.metadataDeviates(current, wanted), nil
}
