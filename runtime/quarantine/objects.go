package quarantine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// kind is that of a Quarantine.
const kind = "Quarantine"

// objects reads and writes Quarantines.
type objects struct{ resource dynamic.ResourceInterface }

func newObjects(client dynamic.Interface) objects {
	return objects{client.Resource(v1alpha1.Quarantines)}
}

func (o objects) get(ctx context.Context, name string) (*v1alpha1.Quarantine, error) {
	object, err := o.resource.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return decode(object)
}

func (o objects) create(ctx context.Context, q *v1alpha1.Quarantine) error {
	object, err := encode(q)
	if err == nil {
		_, err = o.resource.Create(ctx, object, metav1.CreateOptions{})
	}
	return err
}

// update writes all but the status, if the object is as it was read.
func (o objects) update(ctx context.Context, q *v1alpha1.Quarantine) error {
	object, err := encode(q)
	if err == nil {
		_, err = o.resource.Update(ctx, object, metav1.UpdateOptions{})
	}
	return err
}

// updateStatus writes the status, if the object is as it was read, and leaves q as it is then.
func (o objects) updateStatus(ctx context.Context, q *v1alpha1.Quarantine) error {
	object, err := encode(q)
	if err != nil {
		return err
	}
	if object, err = o.resource.UpdateStatus(ctx, object, metav1.UpdateOptions{}); err != nil {
		return err
	}
	written, err := decode(object)
	if err != nil {
		return err
	}
	*q = *written
	return nil
}

// delete deletes the object, if it is as it was read.
func (o objects) delete(ctx context.Context, q *v1alpha1.Quarantine) error {
	return o.resource.Delete(ctx, q.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &q.UID, ResourceVersion: &q.ResourceVersion}})
}

// decode reads an object. It goes by way of JSON, since priorities are words there and numbers in Go.
func decode(object *unstructured.Unstructured) (*v1alpha1.Quarantine, error) {
	var q v1alpha1.Quarantine
	raw, err := json.Marshal(object.Object)
	if err == nil {
		err = json.Unmarshal(raw, &q)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the Quarantine %s: %w", object.GetName(), err)
	}
	return &q, nil
}

func encode(q *v1alpha1.Quarantine) (*unstructured.Unstructured, error) {
	q.APIVersion, q.Kind = v1alpha1.GroupVersion.String(), kind
	raw, err := json.Marshal(q)
	object := &unstructured.Unstructured{}
	if err == nil {
		err = object.UnmarshalJSON(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("writing the Quarantine %s: %w", q.Name, err)
	}
	return object, nil
}

// Limits of texts, in characters, as the schema has them.
const (
	maxName         = 253
	maxMessage      = 1024
	maxOutput       = 4096
	maxRule         = 512
	maxPrecondition = 1024
	maxResult       = 2048
)

// cut shortens a text to so many bytes, which are no fewer characters.
func cut(text string, most int) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("…")], "") + "…"
}
