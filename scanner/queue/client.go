package queue

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
)

// Client reads and writes the objects.
type Client struct{ resource dynamic.ResourceInterface }

// NewClient makes a client.
func NewClient(client dynamic.Interface) *Client {
	return &Client{resource: client.Resource(v1alpha1.Resource)}
}

func (c *Client) get(ctx context.Context, name string) (*v1alpha1.ImageScan, error) {
	object, err := c.resource.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return decode(object)
}

func (c *Client) create(ctx context.Context, scan *v1alpha1.ImageScan) error {
	object, err := encode(scan)
	if err == nil {
		_, err = c.resource.Create(ctx, object, metav1.CreateOptions{})
	}
	return err
}

// update writes the spec, if the object is as it was read.
func (c *Client) update(ctx context.Context, scan *v1alpha1.ImageScan) error {
	object, err := encode(scan)
	if err == nil {
		_, err = c.resource.Update(ctx, object, metav1.UpdateOptions{})
	}
	return err
}

// updateStatus writes the status, if the object is as it was read, and gives the object as it is then.
func (c *Client) updateStatus(ctx context.Context, scan *v1alpha1.ImageScan) (*v1alpha1.ImageScan, error) {
	object, err := encode(scan)
	if err != nil {
		return nil, err
	}
	if object, err = c.resource.UpdateStatus(ctx, object, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	return decode(object)
}

// delete deletes the object, if it is as it was read.
func (c *Client) delete(ctx context.Context, scan *v1alpha1.ImageScan) error {
	return c.resource.Delete(ctx, scan.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &scan.UID, ResourceVersion: &scan.ResourceVersion}})
}

func decode(object *unstructured.Unstructured) (*v1alpha1.ImageScan, error) {
	var scan v1alpha1.ImageScan
	if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &scan); err != nil {
		return nil, fmt.Errorf("reading the ImageScan %s: %w", object.GetName(), err)
	}
	return &scan, nil
}

func encode(scan *v1alpha1.ImageScan) (*unstructured.Unstructured, error) {
	scan.APIVersion, scan.Kind = v1alpha1.GroupVersion.String(), v1alpha1.Kind
	content, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(scan)
	if err != nil {
		return nil, fmt.Errorf("writing the ImageScan %s: %w", scan.Name, err)
	}
	return &unstructured.Unstructured{Object: content}, nil
}

// Sizes of statements. Kubernetes takes objects of 1.5 MiB (etcd, --max-request-bytes); base64 makes four bytes of three, and the
// schema allows 1,300,000 of them.
const (
	maxPacked    = 900 << 10
	maxStatement = 16 << 20
)

// ErrTooLarge says that a signed scan does not fit into an object.
var ErrTooLarge = errors.New("the signed scan is too large for an object of Kubernetes: let the scanner write to the registry")

// pack compresses a statement.
func pack(statement []byte) ([]byte, error) {
	if statement == nil {
		return nil, nil
	}
	var out bytes.Buffer
	writer, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = writer.Write(statement)
	if err := errors.Join(err, writer.Close()); err != nil {
		return nil, err
	}
	if out.Len() > maxPacked || len(statement) > maxStatement {
		return nil, fmt.Errorf("%w (%d bytes, compressed %d)", ErrTooLarge, len(statement), out.Len())
	}
	return out.Bytes(), nil
}

// unpack reads a statement that anybody may have written.
func unpack(packed []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	statement, err := io.ReadAll(io.LimitReader(reader, maxStatement+1))
	if err == nil && len(statement) > maxStatement {
		err = fmt.Errorf("it has more than %d bytes", maxStatement)
	}
	return statement, err
}

// Statement is the signed scan that the object of a digest holds, nil for none. It is not verified: whoever may write
// objects can have put it there.
func (c *Client) Statement(ctx context.Context, digest string) ([]byte, error) {
	name, err := v1alpha1.Name(digest)
	if err != nil {
		return nil, err
	}
	scan, err := c.get(ctx, name)
	if apierrors.IsNotFound(err) || err == nil && len(scan.Status.Statement) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the ImageScan %s: %w", name, err)
	}
	statement, err := unpack(scan.Status.Statement)
	if err != nil {
		return nil, fmt.Errorf("reading the statement of the ImageScan %s: %w", name, err)
	}
	return statement, nil
}
