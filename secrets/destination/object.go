package destination

import (
	"context"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// object is a Secret or a ConfigMap. It holds values, and is let go of as soon as it was compared or written.
type object struct {
	metav1.ObjectMeta
	kind      string
	typ       string // of a Secret
	immutable bool
	data      secrets.Data
}

func (o *object) place() place { return place{o.kind, o.Namespace, o.Name} }

// objects reads and writes them.
type objects struct{ client kubernetes.Interface }

func (c objects) get(ctx context.Context, at place) (*object, error) {
	if at.kind == v1alpha1.KindConfigMap {
		return fromConfigMap(c.client.CoreV1().ConfigMaps(at.namespace).Get(ctx, at.name, metav1.GetOptions{}))
	}
	return fromSecret(c.client.CoreV1().Secrets(at.namespace).Get(ctx, at.name, metav1.GetOptions{}))
}

func (c objects) create(ctx context.Context, o *object) (*object, error) {
	options := metav1.CreateOptions{FieldManager: v1alpha1.FieldManager}
	if o.kind == v1alpha1.KindConfigMap {
		return fromConfigMap(c.client.CoreV1().ConfigMaps(o.Namespace).Create(ctx, o.configMap(), options))
	}
	return fromSecret(c.client.CoreV1().Secrets(o.Namespace).Create(ctx, o.secret(), options))
}

// apply is a server-side apply of all that we want, to the object with the UID in it and to no other.
func (c objects) apply(ctx context.Context, o *object) (*object, error) {
	var written any = o.secret()
	if o.kind == v1alpha1.KindConfigMap {
		written = o.configMap()
	}
	body, err := json.Marshal(written)
	if err != nil {
		return nil, fmt.Errorf("encoding the %s: %s", o.place(), "it does not encode") // an encoder's words may hold what it failed at
	}
	defer clear(body)
	return c.patch(ctx, o.place(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager, Force: new(true)})
}

func (c objects) patch(ctx context.Context, at place, by types.PatchType, body []byte, options metav1.PatchOptions) (*object, error) {
	if at.kind == v1alpha1.KindConfigMap {
		return fromConfigMap(c.client.CoreV1().ConfigMaps(at.namespace).Patch(ctx, at.name, by, body, options))
	}
	return fromSecret(c.client.CoreV1().Secrets(at.namespace).Patch(ctx, at.name, by, body, options))
}

// operation is one of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// change is a JSON patch of the very state that was read: another one is a conflict.
func (c objects) change(ctx context.Context, o *object, operations ...operation) (*object, error) {
	body, err := json.Marshal(append([]operation{
		{Op: "replace", Path: "/metadata/resourceVersion", Value: o.ResourceVersion},
	}, operations...))
	if err != nil {
		return nil, fmt.Errorf("encoding a patch: %w", err)
	}
	return c.patch(ctx, o.place(), types.JSONPatchType, body, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
}

func (c objects) delete(ctx context.Context, o *object) error {
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &o.UID}}
	if o.kind == v1alpha1.KindConfigMap {
		return c.client.CoreV1().ConfigMaps(o.Namespace).Delete(ctx, o.Name, options)
	}
	return c.client.CoreV1().Secrets(o.Namespace).Delete(ctx, o.Name, options)
}

func fromSecret(s *corev1.Secret, err error) (*object, error) {
	if err != nil {
		return nil, err
	}
	o := &object{ObjectMeta: s.ObjectMeta, kind: v1alpha1.KindSecret, typ: string(s.Type), immutable: s.Immutable != nil && *s.Immutable, data: secrets.Data{}}
	for key, value := range s.Data {
		o.data[key] = secrets.NewValue(value)
	}
	return o, nil
}

func fromConfigMap(m *corev1.ConfigMap, err error) (*object, error) {
	if err != nil {
		return nil, err
	}
	o := &object{ObjectMeta: m.ObjectMeta, kind: v1alpha1.KindConfigMap, immutable: m.Immutable != nil && *m.Immutable, data: secrets.Data{}}
	for key, value := range m.Data {
		o.data[key] = secrets.ValueOf(value)
	}
	for key, value := range m.BinaryData {
		o.data[key] = secrets.NewValue(value)
	}
	return o, nil
}

func (o *object) secret() *corev1.Secret {
	s := &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: v1alpha1.KindSecret}, ObjectMeta: o.ObjectMeta, Type: corev1.SecretType(o.typ), Data: map[string][]byte{}}
	for key, value := range o.data {
		s.Data[key] = value.Reveal()
	}
	if o.immutable {
		s.Immutable = new(true)
	}
	return s
}

func (o *object) configMap() *corev1.ConfigMap {
	m := &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: v1alpha1.KindConfigMap}, ObjectMeta: o.ObjectMeta, Data: map[string]string{}}
	for key, value := range o.data {
		if raw := value.Reveal(); utf8.Valid(raw) {
			m.Data[key] = string(raw)
		} else {
			if m.BinaryData == nil {
				m.BinaryData = map[string][]byte{}
			}
			m.BinaryData[key] = raw
		}
	}
	return m
}
