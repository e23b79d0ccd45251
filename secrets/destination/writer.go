package destination

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/csaupgrade"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// MostBytes is the most that a Secret or ConfigMap may hold, as the API server has it (corev1.MaxSecretSize).
const MostBytes = 1 << 20

// AdoptedAnnotation is on what was somebody else's before: it is never deleted. It is there for a crash between the write and the status,
// and for people.
const AdoptedAnnotation = "secrets.portcullis.dev/adopted"

// Owner is the VaultSecret.
type Owner struct{ Namespace, Name, UID string }

// Outcome says what was done. The zero Outcome is that nothing had to be written.
type Outcome struct {
	// Created: it was not there. Changed: it holds other values than before, since Vault does. Repaired: it was taken back to what it was
	// last made to be, after somebody had changed or deleted it.
	Created, Changed, Repaired bool
}

// Writer writes what VaultSecrets make.
type Writer struct {
	// Used says whether a pod or workload of a namespace refers to a Secret. With it, slots of immutable Secrets that nobody uses are freed
	// when none is left; without it that is left to Collect.
	Used func(ctx context.Context, namespace, name string) (bool, error)
	// Watcher is told of each write, so that it reports only what others do. It may be nil.
	Watcher *Watcher

	objects objects
	hasher  *secrets.Hasher
}

// New is a Writer that writes as a client may.
func New(client kubernetes.Interface, hasher *secrets.Hasher) *Writer {
	return &Writer{objects: objects{client}, hasher: hasher}
}

// Write makes the destination hold content. prior is the status that the last Write gave, nil for none. What is there already is read, and
// written only if it differs; where it was written in part before an error, the next Write goes on.
//
// With destination.adopt a Secret that exists is taken over: its other keys go, its labels and annotations stay. Never taken over is what has a
// controller, what other tools say is theirs (app.kubernetes.io/managed-by and the marks of Helm, Argo CD, Flux and other operators of
// secrets: two who write the same take turns for ever; whoever wants it takes the mark off first), tokens of service accounts and bootstrap
// tokens, releases of Helm, what is immutable, of another type, or being deleted. What was taken over is never deleted, not even to change its type.
//
// Errors are *secrets.Error: NotOurs, ClusterForbidden, ClusterFailed, Unfit (the API server finds it invalid, or it is too large),
// Misconfigured.
func (w *Writer) Write(ctx context.Context, owner Owner, secret *v1alpha1.VaultSecret, content secrets.Data, prior *v1alpha1.DestinationStatus) (v1alpha1.DestinationStatus, Outcome, error) {
	at := place{kindOf(secret.Spec.Destination.Kind), owner.Namespace, v1alpha1.DestinationName(secret)}
	if err := checked(at, secret, content); err != nil {
		return before(prior), Outcome{}, err
	}
	if secret.Spec.Destination.Immutable {
		return w.writeSlot(ctx, owner, secret, content, prior)
	}
	known := prior
	if known != nil && (known.Kind != at.kind || known.Name != at.name) {
		known = nil
	}
	written, outcome, err := w.writeOne(ctx, owner, w.wanted(owner, secret, content, at), secret.Spec.Destination.Adopt, known)
	if err != nil {
		return before(prior), Outcome{}, err
	}
	status := statusOf(written, w.adopted(written))
	status.Slots = earlier(prior, written.place())
	return status, outcome, nil
}

// attempts is how often a write begins anew when the object changed under it.
const attempts = 4

// writeOne creates the object or makes it what is wanted.
func (w *Writer) writeOne(ctx context.Context, owner Owner, wanted *object, adopt bool, known *v1alpha1.DestinationStatus) (*object, Outcome, error) {
	at := wanted.place()
	defer w.Watcher.writing(at)()
	var failure error
	for try := range attempts {
		var current *object
		if known != nil || try > 0 {
			found, err := w.objects.get(ctx, at)
			if err != nil && !apierrors.IsNotFound(err) {
				return nil, Outcome{}, failed("get", at, err)
			}
			current = found
		}
		if current == nil {
			created, err := w.objects.create(ctx, wanted)
			switch {
			case err == nil:
				w.Watcher.wrote(created)
				return created, Outcome{Created: true, Repaired: known != nil && known.UID != ""}, nil
			case apierrors.IsAlreadyExists(err): // look whose it is
				failure = err
				continue
			default:
				return nil, Outcome{}, failed("create", at, err)
			}
		}
		whose := w.whose(current, owner, known)
		if whose == others {
			if err := adoptable(current, wanted, adopt); err != nil {
				return nil, Outcome{}, err
			}
			whose = adopted
		}
		written, outcome, err := w.replace(ctx, current, w.claimed(wanted, whose == adopted), whose)
		if err == nil || !again(err) {
			return written, outcome, err
		}
		failure = err
	}
	return nil, Outcome{}, failed("patch", at, failure)
}

// again says that the object changed, went or was made anew while it was written. An apply with the UID of another object is a conflict where there
// is none of the name, and else invalid: a UID cannot be changed.
func again(err error) bool {
	status := apierrors.APIStatus(nil)
	if apierrors.IsInvalid(err) && errors.As(err, &status) && status.Status().Details != nil {
		return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
	}
	return apierrors.IsConflict(err) || apierrors.IsNotFound(err)
}

// replace makes an object that is ours, or is becoming so, what is wanted. Errors that mean "look again" are the API server's own.
func (w *Writer) replace(ctx context.Context, current, wanted *object, whose ownership) (*object, Outcome, error) {
	at := wanted.place()
	same := current.data.Equal(wanted.data)
	outcome := Outcome{Changed: !same}
	if current.Annotations[v1alpha1.HashAnnotation] == wanted.Annotations[v1alpha1.HashAnnotation] && w.deviates(current, wanted) {
		outcome = Outcome{Repaired: true}
	}
	if current.DeletionTimestamp != nil {
		return nil, Outcome{}, &secrets.Error{Reason: secrets.ClusterFailed, Doing: fmt.Sprintf("writing the %s", at), Message: fmt.Sprintf("it is being deleted, and a finalizer of somebody else holds it (%s): it is made anew when it is gone", strings.Join(current.Finalizers, ", "))}
	}
	if current.typ != wanted.typ || current.immutable { // neither can be changed
		if whose == adopted {
			return nil, Outcome{}, notOurs(at, "it was taken over, has the type %q (immutable: %t), and that cannot be changed without deleting it: delete it, or choose another destination.name", current.typ, current.immutable)
		}
		w.Watcher.deleting(current)
		if err := w.objects.delete(ctx, current); err != nil && !apierrors.IsNotFound(err) {
			if again(err) {
				return nil, Outcome{}, err
			}
			return nil, Outcome{}, failed("delete", at, err)
		}
		created, err := w.objects.create(ctx, wanted)
		if err != nil {
			if apierrors.IsAlreadyExists(err) {
				return nil, Outcome{}, apierrors.NewConflict(metav1Resource(at), at.name, err)
			}
			return nil, Outcome{}, failed("create", at, err)
		}
		w.Watcher.wrote(created)
		outcome.Created = true
		return created, outcome, nil
	}
	if !w.deviates(current, wanted) {
		w.Watcher.wrote(current)
		return current, Outcome{}, nil
	}
	current, err := w.upgrade(ctx, current)
	if err != nil {
		return nil, Outcome{}, w.writeFailed(at, err)
	}
	applied := *wanted
	applied.UID = current.UID
	written, err := w.objects.apply(ctx, &applied)
	if err != nil {
		return nil, Outcome{}, w.writeFailed(at, err)
	}
	w.Watcher.wrote(written)
	if strays := strays(written, wanted); len(strays) > 0 {
		if written, err = w.objects.change(ctx, written, strays...); err != nil {
			return nil, Outcome{}, w.writeFailed(at, err)
		}
		w.Watcher.wrote(written)
	}
	return written, outcome, nil
}

func (w *Writer) writeFailed(at place, err error) error {
	if again(err) {
		return err
	}
	return failed("patch", at, err)
}

// upgrade makes fields that the first write, a create, set fields of our applies: those that an apply leaves out go only if they are. One
// request in the life of an object.
func (w *Writer) upgrade(ctx context.Context, current *object) (*object, error) {
	created := slices.ContainsFunc(current.ManagedFields, func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == v1alpha1.FieldManager && entry.Operation == metav1.ManagedFieldsOperationUpdate && entry.Subresource == ""
	})
	if !created {
		return current, nil
	}
	meta := &metav1.PartialObjectMetadata{ObjectMeta: current.ObjectMeta}
	body, err := csaupgrade.UpgradeManagedFieldsPatch(meta, sets.New(v1alpha1.FieldManager), v1alpha1.FieldManager)
	if err != nil || len(body) == 0 {
		return current, nil // the fields of it cannot be read: what an apply then leaves is taken away as a stray
	}
	upgraded, err := w.objects.patch(ctx, current.place(), types.JSONPatchType, body, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
	if err == nil {
		w.Watcher.wrote(upgraded)
	}
	return upgraded, err
}

// strays are the removals of what a server-side apply leaves since it is somebody else's: keys.
func strays(written, wanted *object) []operation {
	var operations []operation
	for _, key := range written.data.Keys() {
		if _, ok := wanted.data[key]; !ok {
			operations = append(operations, operation{Op: "remove", Path: "/data/" + escaped(key)})
		}
	}
	return operations
}

func escaped(key string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(key) }

// wanted is the object as it is to be. Its annotations say its hash and whose it is.
func (w *Writer) wanted(owner Owner, secret *v1alpha1.VaultSecret, content secrets.Data, at place) *object {
	to := &secret.Spec.Destination
	o := &object{kind: at.kind, typ: typeOf(to), immutable: to.Immutable, data: content, ObjectMeta: metav1.ObjectMeta{
		Namespace: at.namespace, Name: at.name,
		Labels:      map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedBy},
		Annotations: map[string]string{v1alpha1.OwnerAnnotation: owner.UID, v1alpha1.HashAnnotation: w.hasher.Data(content)},
	}}
	maps.Copy(o.Labels, to.Labels)
	maps.Copy(o.Annotations, to.Annotations)
	if secret.Spec.Deletion.WhenDeleted != v1alpha1.Retain { // the garbage collector asks nobody: what is to stay has no owner
		o.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "VaultSecret", Name: owner.Name, UID: types.UID(owner.UID),
			Controller: new(true), BlockOwnerDeletion: new(false), // true would need rights over the finalizers of VaultSecrets
		}}
	}
	return o
}

// claimed is what is wanted of an object that was somebody else's: it has no owner with which it would go.
func (w *Writer) claimed(wanted *object, adopted bool) *object {
	if !adopted {
		return wanted
	}
	claimed := *wanted
	claimed.OwnerReferences = nil
	claimed.Annotations = maps.Clone(wanted.Annotations)
	claimed.Annotations[AdoptedAnnotation] = "true"
	return &claimed
}

func (w *Writer) adopted(o *object) bool { return o.Annotations[AdoptedAnnotation] != "" }

// deviates says whether an object is not as wanted. Labels, annotations and owners that others add are theirs.
func (w *Writer) deviates(current, wanted *object) bool {
	return current.typ != wanted.typ || current.immutable != wanted.immutable || !current.data.Equal(wanted.data) || w.metadataDeviates(current, wanted)
}

func (w *Writer) metadataDeviates(current, wanted *object) bool {
	return !contains(current.Labels, wanted.Labels) || !contains(current.Annotations, wanted.Annotations) || owns(current, wanted.OwnerReferences) != owns(wanted, wanted.OwnerReferences) ||
		len(wanted.OwnerReferences) == 0 && slices.ContainsFunc(current.OwnerReferences, func(r metav1.OwnerReference) bool {
			return string(r.UID) == current.Annotations[v1alpha1.OwnerAnnotation]
		}) ||
		superfluous(current, wanted)
}

// superfluous says whether labels or annotations are there that we set and that are not wanted any more: by the managed fields.
func superfluous(current, wanted *object) bool {
	for _, entry := range current.ManagedFields {
		if entry.Manager != v1alpha1.FieldManager || entry.FieldsV1 == nil {
			continue
		}
		for _, key := range managed(entry, "f:labels") {
			if _, ok := wanted.Labels[key]; !ok {
				return true
			}
		}
		for _, key := range managed(entry, "f:annotations") {
			if _, ok := wanted.Annotations[key]; !ok {
				return true
			}
		}
	}
	return false
}

func contains(has, wanted map[string]string) bool {
	for key, value := range wanted {
		if held, ok := has[key]; !ok || held != value {
			return false
		}
	}
	return true
}

func owns(o *object, references []metav1.OwnerReference) bool {
	if len(references) == 0 {
		return false
	}
	return slices.ContainsFunc(o.OwnerReferences, func(r metav1.OwnerReference) bool {
		return r.UID == references[0].UID && r.Controller != nil && *r.Controller
	})
}

// before is the status that stays where nothing was written.
func before(prior *v1alpha1.DestinationStatus) v1alpha1.DestinationStatus {
	if prior == nil {
		return v1alpha1.DestinationStatus{}
	}
	return *prior
}

func statusOf(o *object, adopted bool) v1alpha1.DestinationStatus {
	return v1alpha1.DestinationStatus{Kind: o.kind, Name: o.Name, UID: string(o.UID), ResourceVersion: o.ResourceVersion, Adopted: adopted}
}

// earlier are the names that the destination had before and that still exist as far as is known: slots, and what it was called before it got
// another name. Those of another kind are not among them; they go with the VaultSecret, which owns them.
func earlier(prior *v1alpha1.DestinationStatus, now place) []string {
	if prior == nil || prior.Kind != now.kind {
		return nil
	}
	names := append([]string(nil), prior.Slots...)
	if prior.Name != "" && !prior.Adopted {
		names = append(names, prior.Name)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == now.name })
}

func kindOf(kind string) string {
	if kind == "" {
		return v1alpha1.KindSecret
	}
	return kind
}

func typeOf(to *v1alpha1.Destination) string {
	switch {
	case kindOf(to.Kind) == v1alpha1.KindConfigMap:
		return ""
	case to.Type == "":
		return "Opaque"
	}
	return to.Type
}
