package leases

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Store keeps VaultLeases in the namespace of portcullis-secrets, each named by the UID of its VaultSecret. It asks the API server each
// time: what it says is what the other replica wrote last.
type Store struct {
	client    dynamic.ResourceInterface
	namespace string
}

// NewStore keeps them in a namespace.
func NewStore(client dynamic.Interface, namespace string) *Store {
	return &Store{client: client.Resource(v1alpha1.VaultLeases).Namespace(namespace), namespace: namespace}
}

// Put creates a VaultLease that has no resource version, and updates one that has, so that what another replica wrote meanwhile is never
// lost: that is ClusterFailed, and apierrors.IsConflict or IsAlreadyExists of it is true; Get it again then. It sets the name, and the
// resource version that it has afterwards.
func (s *Store) Put(ctx context.Context, lease *v1alpha1.VaultLease) error {
	doing := "writing the VaultLease of " + lease.Spec.Owner.Namespace + "/" + lease.Spec.Owner.Name
	if lease.Spec.Owner.UID == "" || lease.Spec.Token.Ciphertext == "" {
		return &secrets.Error{Reason: secrets.Misconfigured, Doing: doing, Message: "it lacks its owner's UID, or the sealed token"}
	}
	if lease.Spec.Leases == nil {
		lease.Spec.Leases = []secrets.Lease{} // the definition takes no null
	}
	lease.Name, lease.Namespace = lease.Spec.Owner.UID, s.namespace
	object, err := v1alpha1.Encode(lease)
	if err != nil {
		return &secrets.Error{Reason: secrets.Failed, Doing: doing, Message: "it does not encode"}
	}
	var written *unstructured.Unstructured
	if lease.ResourceVersion == "" {
		written, err = s.client.Create(ctx, object, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
	} else {
		written, err = s.client.Update(ctx, object, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
	}
	if err != nil {
		return clusterError(doing, err)
	}
	lease.ResourceVersion, lease.UID = written.GetResourceVersion(), written.GetUID()
	return nil
}

// Get is nil where there is none.
func (s *Store) Get(ctx context.Context, uid string) (*v1alpha1.VaultLease, error) {
	object, err := s.client.Get(ctx, uid, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, clusterError("reading the VaultLease "+uid, err)
	}
	return decode(object)
}

// Delete is no error where there is none.
func (s *Store) Delete(ctx context.Context, uid string) error {
	err := s.client.Delete(ctx, uid, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return clusterError("deleting the VaultLease "+uid, err)
	}
	return nil
}

// List gives all, page by page. One that does not decode, or is not named as its owner, is an error that names it: going on without it would
// lose a lease.
func (s *Store) List(ctx context.Context) ([]v1alpha1.VaultLease, error) {
	var all []v1alpha1.VaultLease
	options := metav1.ListOptions{Limit: 500}
	for {
		page, err := s.client.List(ctx, options)
		if err != nil {
			return nil, clusterError("listing VaultLeases", err)
		}
		for i := range page.Items {
			lease, err := decode(&page.Items[i])
			if err != nil {
				return nil, err
			}
			all = append(all, *lease)
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return all, nil
		}
	}
}

func decode(object *unstructured.Unstructured) (*v1alpha1.VaultLease, error) {
	doing := "reading the VaultLease " + object.GetName()
	lease, err := v1alpha1.Decode[v1alpha1.VaultLease](object)
	if err != nil {
		return nil, &secrets.Error{Reason: secrets.ClusterFailed, Doing: doing, Message: "it does not decode: delete it; its leases then end by themselves"}
	}
	// By its name it is found, so what it says of its owner must be the same, or a token could be handed to another VaultSecret.
	if lease.Spec.Owner.UID != lease.Name {
		return nil, &secrets.Error{Reason: secrets.ClusterFailed, Doing: doing, Message: "it is named otherwise than its owner's UID: delete it; its leases then end by themselves"}
	}
	return lease, nil
}

// clusterError keeps the API server's words out, which may quote the object, but not what kind of failure it is.
func clusterError(doing string, err error) error {
	reason, message := secrets.ClusterFailed, fmt.Sprintf("the API server answers %s; it is tried again", orElse(string(apierrors.ReasonForError(err)), "nothing"))
	switch {
	case apierrors.IsForbidden(err):
		reason, message = secrets.ClusterForbidden, "the API server forbids it: portcullis-secrets may get, list, create, update and delete vaultleases in its own namespace; apply its Roles"
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		message = "somebody else wrote it meanwhile; it is read again"
	}
	return &secrets.Error{Reason: reason, Doing: doing, Message: message, Cause: err}
}

func orElse(text, none string) string {
	if text == "" {
		return none
	}
	return text
}
