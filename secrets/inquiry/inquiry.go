// Package inquiry is the question that policies are asked about a secret: made of a VaultSecret or VaultPush with its VaultAuth and
// VaultConnection, alike wherever it is asked, in the cluster and on the command line.
package inquiry

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/engine"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Once is Sync.RefreshSeconds of what is read once for each generation of the object and never again.
const Once = -1

// Generated is Sync.Destination.Kind of a push whose values are made and not read from a Secret.
const Generated = "Generated"

// NewSync is what policies are asked about a VaultSecret. It does not say what is known of the secret once it was read
// (Sync.Secret). An error is a *secrets.Error: MissingReference if the three do not belong together, Misconfigured if the object names
// no place in Vault or the VaultAuth no method.
func NewSync(conn *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth, secret *v1alpha1.VaultSecret) (*secrets.Sync, error) {
	sync, err := newSync("VaultSecret", &secret.ObjectMeta, secret.Spec.Auth, conn, auth)
	if err != nil {
		return nil, err
	}
	if sync.Vault, err = engine.Place(&secret.Spec.Source); err != nil {
		return nil, err
	}
	spec := &secret.Defaulted().Spec
	destination := &spec.Destination
	sync.Destination = secrets.SyncDestination{
		Kind: destination.Kind, Name: destination.Name, Type: destination.Type, Keys: slices.Sorted(maps.Keys(destination.Templates)),
		Immutable: destination.Immutable, Adopts: destination.Adopt,
	}
	switch sync.Vault.Engine {
	case secrets.EngineKV1, secrets.EngineKV2, secrets.EngineTransit: // the others end by themselves, which says when
		sync.RefreshSeconds = refreshSeconds(&spec.Refresh)
	}
	sync.RestartsWorkloads = spec.Rotation.Restart != v1alpha1.RestartNone
	sync.DeletesWhenGone = spec.Deletion.WhenGone == v1alpha1.Delete
	return sync, nil
}

// NewPushSync is what policies are asked about a VaultPush. Its Destination says where the values come from: the Secret, or Generated;
// Adopts is that it overwrites what somebody else has written to Vault. Errors are as NewSync's.
func NewPushSync(conn *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth, push *v1alpha1.VaultPush) (*secrets.Sync, error) {
	sync, err := newSync("VaultPush", &push.ObjectMeta, push.Spec.Auth, conn, auth)
	if err != nil {
		return nil, err
	}
	if sync.Vault, err = engine.PushPlace(&push.Spec.Destination); err != nil {
		return nil, err
	}
	sync.Destination = secrets.SyncDestination{Kind: Generated, Keys: slices.Sorted(maps.Keys(push.Spec.Generate)), Adopts: push.Spec.Destination.Overwrite}
	if from := push.Spec.Secret; from != nil {
		sync.Destination.Kind, sync.Destination.Name, sync.Destination.Keys = v1alpha1.KindSecret, from.Name, slices.Clone(from.Keys)
	}
	sync.RefreshSeconds = refreshSeconds(&push.Defaulted().Spec.Refresh)
	return sync, nil
}

func newSync(kind string, object *metav1.ObjectMeta, named string, conn *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth) (*secrets.Sync, error) {
	if auth.Namespace != object.Namespace || auth.Name != named || conn.Name != auth.Spec.Connection {
		return nil, &secrets.Error{
			Reason: secrets.MissingReference, Doing: "asking policies about " + object.Namespace + "/" + object.Name,
			Message: fmt.Sprintf("it names the VaultAuth %s of its namespace, which names the VaultConnection %s, and not %s/%s and %s", named, auth.Spec.Connection, auth.Namespace, auth.Name, conn.Name),
		}
	}
	who, err := authOf(auth)
	if err != nil {
		return nil, err
	}
	return &secrets.Sync{
		Object:     secrets.SyncObject{Kind: kind, Namespace: object.Namespace, Name: object.Name, Labels: maps.Clone(object.Labels)},
		Connection: secrets.SyncConnection{Name: conn.Name, Address: conn.Spec.Address, VaultNamespace: conn.Spec.VaultNamespace},
		Auth:       who,
	}, nil
}

// authOf is who asks Vault. The role of an AppRole is its role id, which is a name and no credential.
func authOf(auth *v1alpha1.VaultAuth) (secrets.SyncAuth, error) {
	spec := &auth.Defaulted().Spec
	who := secrets.SyncAuth{Name: auth.Name, Method: spec.Method(), Mount: spec.Mount, ServiceAccount: spec.ServiceAccount()}
	switch who.Method {
	case v1alpha1.MethodKubernetes:
		who.Role = spec.Kubernetes.Role
	case v1alpha1.MethodJWT:
		who.Role = spec.JWT.Role
	case v1alpha1.MethodAppRole:
		who.Role = spec.AppRole.RoleID
	case v1alpha1.MethodCert:
		who.Role = spec.Cert.Role
	default:
		return secrets.SyncAuth{}, &secrets.Error{
			Reason: secrets.Misconfigured, Doing: "asking policies about the VaultAuth " + auth.Namespace + "/" + auth.Name,
			Message: "it does not have exactly one method: name one of kubernetes, jwt, appRole and cert",
		}
	}
	return who, nil
}

// refreshSeconds is the interval of a refresh with its defaults.
func refreshSeconds(refresh *v1alpha1.Refresh) int64 {
	if refresh.Once {
		return Once
	}
	return int64(refresh.Interval.Seconds())
}

// NewRequest is the request about a sync that Reviewer.Sync answers. object is the VaultSecret or VaultPush; operatorNamespace that of
// portcullis-secrets, whose service account asks.
func NewRequest(sync *secrets.Sync, object any, operatorNamespace string) (admission.Request, error) {
	raw, err := json.Marshal(object)
	if err != nil {
		return admission.Request{}, fmt.Errorf("encoding the %s %s/%s: %w", sync.Object.Kind, sync.Object.Namespace, sync.Object.Name, err)
	}
	operation, resource := secrets.OperationSync, v1alpha1.VaultSecrets
	if sync.Object.Kind == "VaultPush" {
		operation, resource = secrets.OperationPush, v1alpha1.VaultPushes
	}
	group := "system:serviceaccounts"
	return admission.Request{
		Door: admission.DoorSecrets, Operation: operation, Namespace: sync.Object.Namespace, Name: sync.Object.Name, Object: raw, Sync: sync,
		Resource: metav1.GroupVersionResource{Group: resource.Group, Version: resource.Version, Resource: resource.Resource},
		Kind:     metav1.GroupVersionKind{Group: resource.Group, Version: resource.Version, Kind: sync.Object.Kind},
		Subject: policies.Subject{
			Username: "system:serviceaccount:" + operatorNamespace + ":" + v1alpha1.ManagedBy,
			Groups:   []string{group, group + ":" + operatorNamespace, "system:authenticated"},
		},
	}, nil
}

// Allows says whether a VaultConnection lists a namespace, by name or by a glob (*, ?). An empty list is nobody.
func Allows(conn *v1alpha1.VaultConnection, namespace string) bool {
	return slices.ContainsFunc(conn.Spec.AllowedNamespaces, func(pattern string) bool {
		matched, err := path.Match(pattern, namespace)
		return err == nil && matched
	})
}
