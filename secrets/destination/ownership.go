package destination

import (
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// ownership says whose an object is. The zero value is somebody else's.
type ownership int

const (
	others ownership = iota
	ours
	adopted // ours, and somebody else's before
)

// whose finds out. known is the status, nil where it names nothing.
func (w *Writer) whose(o *object, owner Owner, known *v1alpha1.DestinationStatus) ownership {
	controller := metav1.GetControllerOfNoCopy(&o.ObjectMeta)
	if controller != nil && string(controller.UID) != owner.UID {
		return others // even if it was ours: somebody else says now when it goes
	}
	was := ours
	if w.adopted(o) || known != nil && known.Adopted && known.UID == string(o.UID) {
		was = adopted
	}
	switch {
	case known != nil && known.UID != "" && known.UID == string(o.UID):
		return was
	case !byUs(o):
		return others
	case controller != nil, o.Annotations[v1alpha1.OwnerAnnotation] == owner.UID:
		return was
	}
	return others
}

// byUs says whether our field manager has written it.
func byUs(o *object) bool {
	return slices.ContainsFunc(o.ManagedFields, func(entry metav1.ManagedFieldsEntry) bool { return entry.Manager == v1alpha1.FieldManager })
}

// marks are labels and annotations by which other tools know what is theirs, with the tool. A mark is a whole key or, with a slash at its
// end, what a key begins with.
var marks = []struct{ key, tool string }{
	{"meta.helm.sh/", "Helm"},
	{"argocd.argoproj.io/", "Argo CD"},
	{"kustomize.toolkit.fluxcd.io/", "Flux"},
	{"helm.toolkit.fluxcd.io/", "Flux"},
	{"reconcile.external-secrets.io/", "External Secrets Operator"},
	{"secrets.hashicorp.com/", "Vault Secrets Operator"},
	{"secrets-store.csi.k8s.io/", "Secrets Store CSI Driver"},
	{"cert-manager.io/", "cert-manager"},
	{"kubernetes.io/service-account.", "Kubernetes"},
}

// reserved are the types whose Secrets are credentials of the cluster itself, or the state of a tool.
var reserved = []string{string(corev1.SecretTypeServiceAccountToken), string(corev1.SecretTypeBootstrapToken), "helm.sh/release.v1"}

// adoptable says why an object of somebody else's is left alone; nil where it is taken over.
func adoptable(current, wanted *object, adopt bool) error {
	at := current.place()
	if controller := metav1.GetControllerOfNoCopy(&current.ObjectMeta); controller != nil {
		return notOurs(at, "it exists and belongs to the %s %q: choose another destination.name", controller.Kind, controller.Name)
	}
	if slices.Contains(reserved, current.typ) {
		return notOurs(at, "it exists, and Secrets of the type %s are never taken over: choose another destination.name", current.typ)
	}
	if tool := markedBy(current); tool != "" {
		return notOurs(at, "it exists and is managed by %s: choose another destination.name, or take it out of there and remove the label or annotation that says so", tool)
	}
	if !adopt {
		return notOurs(at, "it exists and was not made by this VaultSecret: choose another destination.name, delete it, or set destination.adopt to take it over")
	}
	if current.typ != wanted.typ {
		return notOurs(at, "it exists with the type %q, which cannot be changed to %q without deleting it: delete it, or set destination.type", current.typ, wanted.typ)
	}
	if current.immutable {
		return notOurs(at, "it exists and is immutable: delete it, or choose another destination.name")
	}
	if current.DeletionTimestamp != nil {
		return notOurs(at, "it exists and is being deleted: it is made anew when it is gone")
	}
	return nil
}

func markedBy(o *object) string {
	if by := o.Labels[v1alpha1.ManagedByLabel]; by != "" && by != v1alpha1.ManagedBy {
		return by
	}
	for _, of := range []map[string]string{o.Labels, o.Annotations} {
		for key := range of {
			for _, mark := range marks {
				if key == mark.key || strings.HasSuffix(mark.key, "/") && strings.HasPrefix(key, mark.key) || strings.HasSuffix(mark.key, ".") && strings.HasPrefix(key, mark.key) {
					return mark.tool
				}
			}
		}
	}
	return ""
}

// owned are labels and annotations that a VaultSecret may not ask for: they would make the Secret look as if it were something of ours
// or of Kubernetes, or somebody else's.
func owned(key string) bool {
	prefix, _, prefixed := strings.Cut(key, "/")
	if !prefixed {
		return false
	}
	if prefix == "portcullis.dev" || strings.HasSuffix(prefix, ".portcullis.dev") || key == v1alpha1.ManagedByLabel {
		return true
	}
	for _, mark := range marks {
		if strings.HasPrefix(key, mark.key) {
			return true
		}
	}
	// What Kubernetes itself goes by: applied configurations (which hold values), service accounts, owners of namespaces. Recommended labels
	// (app.kubernetes.io) are anybody's.
	return prefix == "kubernetes.io" || prefix == "k8s.io" || strings.HasSuffix(prefix, ".k8s.io") || strings.HasSuffix(prefix, ".kubernetes.io") && prefix != "app.kubernetes.io"
}

// checked holds what was asked for to the limits, before anything is read or written.
func checked(at place, secret *v1alpha1.VaultSecret, content secrets.Data) error {
	to := &secret.Spec.Destination
	for _, of := range []map[string]string{to.Labels, to.Annotations} {
		for key := range of {
			if owned(key) {
				return misconfigured(at, "the label or annotation %q is not for VaultSecrets to set: remove it from destination", key)
			}
		}
	}
	if at.kind != v1alpha1.KindSecret && at.kind != v1alpha1.KindConfigMap {
		return misconfigured(at, "destination.kind is %q: use Secret or ConfigMap", at.kind)
	}
	if at.kind == v1alpha1.KindConfigMap && (secret.Spec.Source.Transit == nil || !secret.Spec.Source.Transit.PublicKeys) {
		return misconfigured(at, "a ConfigMap is for public keys only: use destination.kind Secret")
	}
	if to.Immutable && to.Adopt {
		return misconfigured(at, "destination.immutable and destination.adopt exclude each other: remove one")
	}
	if slices.Contains(reserved, to.Type) {
		return misconfigured(at, "Secrets of the type %s are the cluster's own: use another destination.type", to.Type)
	}
	size := 0
	for key, value := range content {
		size += len(key) + value.Len()
	}
	if size > MostBytes {
		return &secrets.Error{Reason: secrets.Unfit, Doing: "writing the " + at.String(), Message: "it would hold more than 1 MiB, which the API server does not take: choose keys, or split it in Vault"}
	}
	return nil
}

// managed are the keys of a map of the metadata that an entry of the managed fields has.
func managed(entry metav1.ManagedFieldsEntry, of string) []string {
	var fields struct {
		Metadata map[string]json.RawMessage `json:"f:metadata"`
	}
	if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
		return nil
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal(fields.Metadata[of], &keys) != nil {
		return nil
	}
	var names []string
	for key := range keys {
		if name, ok := strings.CutPrefix(key, "f:"); ok {
			names = append(names, name)
		}
	}
	return names
}

func metav1Resource(at place) schema.GroupResource {
	return schema.GroupResource{Resource: at.resource()}
}
