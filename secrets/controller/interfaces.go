package controller

import (
	"context"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/destination"
	"github.com/portcullis-dev/portcullis/secrets/restart"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/secrets/vault"
)

// Judge answers whether policies allow a sync. It is an [admission.Reviewer].
type Judge interface {
	Sync(ctx context.Context, request admission.Request) admission.Verdict
}

// Session is somebody who has logged in at a Vault. It is a [vault.Client]; errors are *secrets.Error.
type Session interface {
	Do(context.Context, secrets.Call) (*secrets.Reply, error)
	Capabilities(ctx context.Context, paths []string) (map[string][]string, error)
	// KeepAlive renews the token if that is due, and says when to come again; zero for never.
	KeepAlive(context.Context) (time.Time, error)
	Token() vault.Token
	Revoke(context.Context) error
}

// Vaults are the Vaults of all VaultConnections. See [Pool].
type Vaults interface {
	Client(context.Context, *v1alpha1.VaultConnection, *v1alpha1.VaultAuth) (Session, error)
	Private(context.Context, *v1alpha1.VaultConnection, *v1alpha1.VaultAuth) (Session, error)
	Resume(ctx context.Context, conn *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth, token secrets.Value) (Session, error)
	Operator(ctx context.Context, conn *v1alpha1.VaultConnection, mount string, auth v1alpha1.KubernetesAuth, namespace string) (Session, error)
	Forget(connection string)
	ForgetAuth(namespace, name string)
	// Watch polls the connections until the context ends, and tells of each change.
	Watch(ctx context.Context, connections func() []*v1alpha1.VaultConnection, changed func(name string, health vault.Health))
}

// Writer writes destinations. It is a [destination.Writer].
type Writer interface {
	Write(ctx context.Context, owner destination.Owner, secret *v1alpha1.VaultSecret, content secrets.Data, prior *v1alpha1.DestinationStatus) (v1alpha1.DestinationStatus, destination.Outcome, error)
	Drifted(ctx context.Context, owner destination.Owner, prior *v1alpha1.DestinationStatus, hash string) (bool, error)
	Delete(ctx context.Context, owner destination.Owner, prior *v1alpha1.DestinationStatus, retain bool) error
	Collect(ctx context.Context, owner destination.Owner, prior *v1alpha1.DestinationStatus, used func(name string) (bool, error)) ([]string, error)
}

// Restarter restarts workloads, one after the other. It is a [restart.Restarter].
type Restarter interface {
	Step(ctx context.Context, namespace string, rotation *v1alpha1.Rotation, used restart.Used, prior []v1alpha1.RestartStatus) ([]v1alpha1.RestartStatus, time.Duration, error)
	Uses(ctx context.Context, namespace, secretName string) (bool, error)
}

// Watcher tells of Secrets that were changed by others. It is a [destination.Watcher].
type Watcher interface {
	FollowFrom(owner destination.Owner, kind, name, resourceVersion string)
	Unfollow(owner destination.Owner, kind, name string)
	Run(ctx context.Context)
}

// Leases keeps VaultLeases. It is a leases.Store.
type Leases interface {
	Put(ctx context.Context, lease *v1alpha1.VaultLease) error
	Get(ctx context.Context, uid string) (*v1alpha1.VaultLease, error)
	Delete(ctx context.Context, uid string) error
	List(ctx context.Context) ([]v1alpha1.VaultLease, error)
}

// Pool makes a [vault.Pool] Vaults.
func Pool(pool *vault.Pool) Vaults { return vaults{pool} }

type vaults struct{ *vault.Pool }

func (v vaults) Client(ctx context.Context, conn *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth) (Session, error) {
	return sessionOf(v.Pool.Client(ctx, conn, auth))
}

func (v vaults) Private(ctx context.Context, conn *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth) (Session, error) {
	return sessionOf(v.Pool.Private(ctx, conn, auth))
}

func (v vaults) Resume(ctx context.Context, conn *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth, token secrets.Value) (Session, error) {
	return sessionOf(v.Pool.Resume(ctx, conn, auth, token))
}

func (v vaults) Operator(ctx context.Context, conn *v1alpha1.VaultConnection, mount string, auth v1alpha1.KubernetesAuth, namespace string) (Session, error) {
	return sessionOf(v.Pool.Operator(ctx, conn, mount, auth, namespace))
}

// sessionOf keeps a client that could not log in from being a Session that is not nil.
func sessionOf(client *vault.Client, err error) (Session, error) {
	if err != nil {
		return nil, err
	}
	return client, nil
}
