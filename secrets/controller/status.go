package controller

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// mostMessage bounds the message of a condition in bytes; an Event takes 1024.
const mostMessage = 1000

// setCondition sets a condition, and says whether its status or reason has changed. The time of transition is that of the status.
func setCondition(conditions *[]metav1.Condition, generation int64, now time.Time, kind, status, reason, message string) (changed bool) {
	made := metav1.Condition{
		Type: kind, Status: metav1.ConditionStatus(status), ObservedGeneration: generation, Reason: reason, Message: cut(message, mostMessage),
		LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)),
	}
	for n, known := range *conditions {
		if known.Type != kind {
			continue
		}
		if known.Status == made.Status {
			made.LastTransitionTime = known.LastTransitionTime
		}
		(*conditions)[n] = made
		return known.Status != made.Status || known.Reason != made.Reason
	}
	*conditions = append(*conditions, made)
	return true
}

func condition(conditions []metav1.Condition, kind string) *metav1.Condition {
	for n := range conditions {
		if conditions[n].Type == kind {
			return &conditions[n]
		}
	}
	return nil
}

func isTrue(conditions []metav1.Condition, kind string) bool {
	found := condition(conditions, kind)
	return found != nil && found.Status == metav1.ConditionTrue
}

func dropCondition(conditions *[]metav1.Condition, kind string) {
	*conditions = slices.DeleteFunc(*conditions, func(one metav1.Condition) bool { return one.Type == kind })
}

// cut bounds a text, between two characters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	most -= len("…")
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}

// messageOf is what a status says of an error. Of those that are not *secrets.Error, whose texts nobody has looked at, it says nothing.
func messageOf(err error) string {
	if failed := (*secrets.Error)(nil); errors.As(err, &failed) {
		return failed.Error()
	}
	return "a fault of portcullis-secrets: see its log"
}

func at(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t.Truncate(time.Second)}
}

// event tells people of a transition. It holds no value: neither reasons nor messages do.
func (c *Controller) event(kind string, object *metav1.ObjectMeta, eventtype, reason, message string) {
	if c.o.Recorder == nil {
		return
	}
	namespace := object.Namespace
	c.o.Recorder.Event(&corev1.ObjectReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: kind, Namespace: namespace, Name: object.Name, UID: object.UID, ResourceVersion: object.ResourceVersion,
	}, eventtype, reason, cut(message, mostMessage))
}

// errMoved says that somebody else wrote the status meanwhile: another replica leads.
var errMoved = errors.New("somebody else wrote its status meanwhile: it is read again")

// writeSecretStatus writes a status if it differs from the one that the object had. It is the one write of a pass.
func (c *Controller) writeSecretStatus(ctx context.Context, secret *v1alpha1.VaultSecret, status v1alpha1.VaultSecretStatus) error {
	if reflect.DeepEqual(secret.Status, status) {
		return nil
	}
	after := &v1alpha1.VaultSecret{ObjectMeta: metaOf(&secret.ObjectMeta), Status: status}
	version, err := writeStatus(ctx, c, v1alpha1.VaultSecrets, after, &after.ObjectMeta, func(live *v1alpha1.VaultSecret) bool { return sameStatus(live.Status, secret.Status) })
	if err != nil {
		return err
	}
	c.wrote(Key{KindSecret, secret.Namespace, secret.Name}, &status, version)
	c.answerQuarantines(secret)
	return nil
}

// writePushStatus is writeSecretStatus of a VaultPush.
func (c *Controller) writePushStatus(ctx context.Context, push *v1alpha1.VaultPush, status v1alpha1.VaultPushStatus) error {
	if reflect.DeepEqual(push.Status, status) {
		return nil
	}
	after := &v1alpha1.VaultPush{ObjectMeta: metaOf(&push.ObjectMeta), Status: status}
	version, err := writeStatus(ctx, c, v1alpha1.VaultPushes, after, &after.ObjectMeta, func(live *v1alpha1.VaultPush) bool { return sameStatus(live.Status, push.Status) })
	if err != nil {
		return err
	}
	c.wrote(Key{KindPush, push.Namespace, push.Name}, &status, version)
	return nil
}

// metaOf is what an update of a status has to name.
func metaOf(object *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: object.Namespace, Name: object.Name, UID: object.UID, ResourceVersion: object.ResourceVersion}
}

// sameStatus compares statuses as they are written: times have no fractions of seconds there.
func sameStatus(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// writeStatus updates the status subresource. Where the object has changed meanwhile it is written nevertheless if its status is still the one that
// this one was made of: specs are other people's, statuses ours alone while we lead.
func writeStatus[T v1alpha1.VaultSecret | v1alpha1.VaultPush](ctx context.Context, c *Controller, resource schema.GroupVersionResource, object *T, meta *metav1.ObjectMeta, same func(*T) bool) (string, error) {
	client := c.o.Client.Resource(resource).Namespace(meta.Namespace)
	for range 3 {
		encoded, err := v1alpha1.Encode(object)
		if err != nil {
			return "", err
		}
		written, err := client.UpdateStatus(ctx, encoded, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		if err == nil {
			return written.GetResourceVersion(), nil
		}
		if !apierrors.IsConflict(err) {
			return "", clusterError("writing the status", err)
		}
		live, err := client.Get(ctx, meta.Name, metav1.GetOptions{})
		if err != nil {
			return "", clusterError("reading it again", err)
		}
		decoded, err := v1alpha1.Decode[T](live)
		if err != nil {
			return "", err
		}
		if live.GetUID() != meta.UID || !same(decoded) {
			return "", errMoved
		}
		meta.ResourceVersion = live.GetResourceVersion()
	}
	return "", errMoved
}

// clusterError keeps the API server's words out, which may quote objects.
func clusterError(doing string, err error) error {
	reason := secrets.ClusterFailed
	message := "the API server answers " + string(apierrors.ReasonForError(err)) + "; it is tried again"
	if apierrors.IsForbidden(err) {
		reason, message = secrets.ClusterForbidden, "the API server forbids it: apply the Roles of portcullis-secrets (portcullis-secrets roles --namespace NS prints it)"
	}
	return &secrets.Error{Reason: reason, Doing: doing, Message: message, Cause: err}
}

// wrote remembers a status until the informer has it.
func (c *Controller) wrote(key Key, status any, version string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.minds[key]; m != nil {
		m.written, m.version = status, version
	}
}

// setFinalizer adds or takes away our finalizer, and leaves those of others.
func (c *Controller) setFinalizer(ctx context.Context, kind string, object *metav1.ObjectMeta, present bool) error {
	if slices.Contains(object.Finalizers, v1alpha1.Finalizer) == present {
		return nil
	}
	resource := v1alpha1.VaultSecrets
	if kind == KindPush {
		resource = v1alpha1.VaultPushes
	}
	client := c.o.Client.Resource(resource).Namespace(object.Namespace)
	finalizers, version := object.Finalizers, object.ResourceVersion
	for range 3 {
		wanted := slices.DeleteFunc(slices.Clone(finalizers), func(one string) bool { return one == v1alpha1.Finalizer })
		if present {
			wanted = append(wanted, v1alpha1.Finalizer)
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": object.UID, "resourceVersion": version, "finalizers": wanted}})
		if err != nil {
			return err
		}
		written, err := client.Patch(ctx, object.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
		switch {
		case err == nil:
			object.Finalizers, object.ResourceVersion = wanted, written.GetResourceVersion()
			return nil
		case apierrors.IsNotFound(err):
			return nil
		case !apierrors.IsConflict(err):
			return clusterError("writing the finalizer", err)
		}
		live, err := client.Get(ctx, object.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && live.GetUID() != object.UID {
			return nil
		}
		if err != nil {
			return clusterError("reading it again", err)
		}
		finalizers, version = live.GetFinalizers(), live.GetResourceVersion()
		if present && live.GetDeletionTimestamp() != nil {
			return errMoved // the API server takes none any more
		}
	}
	return errMoved
}

// answerQuarantines has those looked at again that may wait for a VaultSecret.
func (c *Controller) answerQuarantines(secret *v1alpha1.VaultSecret) {
	m := c.mindOf(Key{KindSecret, secret.Namespace, secret.Name}, secret.UID)
	if _, _, wanted := c.flags(m); wanted == nil {
		return
	}
	now := c.o.Clock.Now()
	for _, object := range c.index(&c.quarantines).List() {
		if one, ok := object.(*unstructured.Unstructured); ok {
			if revoke, _, _ := unstructured.NestedSlice(one.Object, "spec", "revoke"); len(revoke) > 0 {
				c.queue.Add(Key{Kind: KindQuarantine, Name: one.GetName()}, now, classPeople)
			}
		}
	}
}

// reasonWord is a reason as conditions take it.
func reasonWord(reason secrets.Reason) string {
	if reason == "" {
		return string(secrets.Failed)
	}
	return strings.ReplaceAll(string(reason), " ", "")
}
