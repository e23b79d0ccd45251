package controller

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/engine"
	"github.com/portcullis-dev/portcullis/secrets/inquiry"
	"github.com/portcullis-dev/portcullis/secrets/leases"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/secrets/vault"
)

// suspicion is for how long others wait after a request has met an outage that the watch does not know of: one of them tries then.
const suspicion = 2 * time.Second

// outages are the Vaults that do not answer as they should, and who waits for them.
type outages struct {
	mu    sync.Mutex
	known map[string]*outage // by VaultConnection
}

type outage struct {
	err     error
	watched bool // the watch says so, and will say when it is over
	since   time.Time
	waiting map[Key]int // with their class
}

func newOutages() *outages { return &outages{known: map[string]*outage{}} }

// of says why a Vault is not asked now, nil if it is.
func (o *outages) of(connection string, now time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	one := o.known[connection]
	if one == nil || one.err == nil {
		return nil
	}
	if !one.watched && now.Sub(one.since) >= suspicion {
		one.since = now // this one tries
		return nil
	}
	return one.err
}

// begin notes an outage. What the watch says stands until it says otherwise.
func (o *outages) begin(connection string, err error, watched bool, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	one := o.known[connection]
	if one == nil {
		one = &outage{waiting: map[Key]int{}}
		o.known[connection] = one
	}
	if one.watched && !watched {
		return
	}
	one.err, one.watched, one.since = err, watched, now
}

// wait notes who waits.
func (o *outages) wait(connection string, key Key, class int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	one := o.known[connection]
	if one == nil {
		one = &outage{waiting: map[Key]int{}}
		o.known[connection] = one
	}
	one.waiting[key] = class
}

// end gives those that waited.
func (o *outages) end(connection string) map[Key]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	one := o.known[connection]
	if one == nil {
		return nil
	}
	delete(o.known, connection)
	return one.waiting
}

// troubled says whether anything is known against a Vault.
func (o *outages) troubled(connection string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.known[connection] != nil
}

// failed is told of each failure of a request to a Vault. Where Vault as a whole does not answer, the object waits under the connection, and is
// queued when it answers again.
func (c *Controller) failed(key Key, connection string, err error) secrets.Reason {
	return c.failedAs(key, connection, classRefresh, err)
}

func (c *Controller) failedAs(key Key, connection string, class int, err error) secrets.Reason {
	reason := secrets.ReasonOf(err)
	if !reason.Outage() || connection == "" {
		return reason
	}
	// One path may answer with 500, or slowly, while all others do not: those reasons do not keep others from asking.
	if reason == secrets.Sealed || reason == secrets.Unreachable || reason == secrets.Untrusted {
		c.outages.begin(connection, err, false, c.o.Clock.Now())
	}
	c.outages.wait(connection, key, class)
	return reason
}

// succeeded is told that a Vault has answered.
func (c *Controller) succeeded(connection string) {
	if c.outages.troubled(connection) {
		c.release(connection)
	}
}

// release queues all at once that wait for a Vault. Its rate is what throttles them; leases come first.
func (c *Controller) release(connection string) {
	now := c.o.Clock.Now()
	for key, class := range c.outages.end(connection) {
		c.queue.Add(key, now, class)
	}
}

// healthChanged is told by the watch.
func (c *Controller) healthChanged(ctx context.Context, name string, health vault.Health) {
	if health.Reason == "" {
		c.release(name)
	} else {
		c.outages.begin(name, &secrets.Error{Reason: health.Reason, Message: health.Message}, true, c.o.Clock.Now())
	}
	c.log.Info("a Vault has changed", "connection", name, "reason", string(health.Reason), "sealed", health.Sealed, "version", health.Version)
	conn := c.connection(name)
	if conn == nil {
		return
	}
	status := conn.Status
	status.Conditions = append([]metav1.Condition(nil), conn.Status.Conditions...)
	status.ObservedGeneration, status.Sealed = conn.Generation, new(health.Sealed)
	if health.Version != "" {
		status.Version = health.Version
	}
	state, reason, message := metav1.ConditionTrue, "Answers", "it answers, and is unsealed"
	if health.Reason != "" {
		state, reason, message = metav1.ConditionFalse, string(health.Reason), health.Message
	}
	if setCondition(&status.Conditions, conn.Generation, c.o.Clock.Now(), v1alpha1.ConditionReady, string(state), reason, message) && health.Reason != "" {
		c.event("VaultConnection", &conn.ObjectMeta, "Warning", reason, message)
	}
	updated := *conn
	updated.Status = status
	if err := c.updateStatus(ctx, c.o.Client.Resource(v1alpha1.VaultConnections), &updated, conn.Status); err != nil && ctx.Err() == nil {
		c.log.Error("writing the status of a VaultConnection", "connection", name, "error", err)
	}
}

func (c *Controller) connection(name string) *v1alpha1.VaultConnection {
	object, _, _ := c.index(&c.connections).GetByKey(name)
	conn, _ := object.(*v1alpha1.VaultConnection)
	return conn
}

func (c *Controller) connectionsNow() []*v1alpha1.VaultConnection {
	var all []*v1alpha1.VaultConnection
	for _, object := range c.index(&c.connections).List() {
		if conn, ok := object.(*v1alpha1.VaultConnection); ok {
			all = append(all, conn)
		}
	}
	return all
}

// references are what an object of a namespace logs in by: a VaultAuth of the same namespace and the VaultConnection that it names, which must
// list the namespace.
func (c *Controller) references(namespace, name string) (*v1alpha1.VaultConnection, *v1alpha1.VaultAuth, error) {
	object, _, _ := c.index(&c.auths).GetByKey(namespace + "/" + name)
	auth, ok := object.(*v1alpha1.VaultAuth)
	if !ok {
		return nil, nil, &secrets.Error{Reason: secrets.MissingReference, Message: fmt.Sprintf("the VaultAuth %s is not in the namespace %s: create it, or name another in spec.auth", name, namespace)}
	}
	conn := c.connection(auth.Spec.Connection)
	if conn == nil {
		return nil, auth, &secrets.Error{Reason: secrets.MissingReference, Message: fmt.Sprintf("the VaultConnection %s of the VaultAuth %s is not there: ask those who run the cluster which to name", auth.Spec.Connection, name)}
	}
	if !inquiry.Allows(conn, namespace) {
		return conn, auth, &secrets.Error{Reason: secrets.NamespaceBarred, Message: fmt.Sprintf("the VaultConnection %s does not list the namespace %s: ask those who run the cluster to add it to spec.allowedNamespaces", conn.Name, namespace)}
	}
	if err := vault.CheckConnection(&conn.Spec); err != nil {
		return conn, auth, about("the VaultConnection "+conn.Name, err)
	}
	if err := vault.CheckAuth(&auth.Spec); err != nil {
		return conn, auth, about("the VaultAuth "+name, err)
	}
	return conn, auth, nil
}

// about says what an error is about that does not.
func about(what string, err error) error {
	failed := (*secrets.Error)(nil)
	if !errors.As(err, &failed) {
		return &secrets.Error{Reason: secrets.Misconfigured, Doing: "reading " + what, Message: "it makes no sense: correct it"}
	}
	told := *failed
	if told.Doing == "" {
		told.Doing = "reading " + what
	}
	return &told
}

// session is a shared login. A Vault that is known not to answer is not asked.
func (c *Controller) session(ctx context.Context, conn *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth) (Session, error) {
	return c.logIn(ctx, conn, auth, c.o.Vaults.Client)
}

// private is a login of its own, for what has leases.
func (c *Controller) private(ctx context.Context, conn *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth) (Session, error) {
	return c.logIn(ctx, conn, auth, c.o.Vaults.Private)
}

func (c *Controller) logIn(ctx context.Context, conn *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth, by func(context.Context, *v1alpha1.VaultConnection, *v1alpha1.VaultAuth) (Session, error)) (Session, error) {
	if err := c.outages.of(conn.Name, c.o.Clock.Now()); err != nil {
		return nil, err
	}
	session, err := by(ctx, conn, auth)
	c.loggedIn(ctx, auth, err)
	return session, err
}

// readiness is what was last said of a VaultAuth.
type readiness struct {
	generation int64
	reason     secrets.Reason
}

// loggedIn says in the status of a VaultAuth how the last login went, where that has changed.
func (c *Controller) loggedIn(ctx context.Context, auth *v1alpha1.VaultAuth, err error) {
	reason := secrets.ReasonOf(err)
	if reason.Outage() {
		return // that is the VaultConnection's
	}
	key, now := auth.Namespace+"/"+auth.Name, readiness{auth.Generation, reason}
	c.mu.Lock()
	known, ok := c.readied[key]
	c.readied[key] = now
	c.mu.Unlock()
	if ok && known == now {
		return
	}
	status := auth.Status
	status.Conditions = append([]metav1.Condition(nil), auth.Status.Conditions...)
	status.ObservedGeneration = auth.Generation
	state, word, message := "True", "LoggedIn", "the login works"
	if err != nil {
		state, word, message = "False", string(reason), messageOf(err)
	}
	setCondition(&status.Conditions, auth.Generation, c.o.Clock.Now(), v1alpha1.ConditionReady, state, word, message)
	updated := *auth
	updated.Status = status
	if err := c.updateStatus(ctx, c.o.Client.Resource(v1alpha1.VaultAuths).Namespace(auth.Namespace), &updated, auth.Status); err != nil && ctx.Err() == nil {
		c.mu.Lock()
		delete(c.readied, key) // again the next time
		c.mu.Unlock()
		c.log.Debug("writing the status of a VaultAuth", "auth", key, "error", err)
	}
}

// updateStatus writes the status of a VaultConnection or VaultAuth, which are small and seldom change, if it differs from before.
func (c *Controller) updateStatus(ctx context.Context, client dynamic.ResourceInterface, object any, before any) error {
	var encoded *unstructured.Unstructured
	var err error
	var after any
	switch o := object.(type) {
	case *v1alpha1.VaultConnection:
		after = o.Status
		encoded, err = v1alpha1.Encode(o)
	case *v1alpha1.VaultAuth:
		after = o.Status
		encoded, err = v1alpha1.Encode(o)
	}
	if err != nil || reflect.DeepEqual(before, after) {
		return err
	}
	for range 3 {
		_, err = client.UpdateStatus(ctx, encoded, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		if !apierrors.IsConflict(err) {
			return err
		}
		live, getErr := client.Get(ctx, encoded.GetName(), metav1.GetOptions{})
		if getErr != nil || live.GetUID() != encoded.GetUID() {
			return getErr
		}
		encoded.SetResourceVersion(live.GetResourceVersion())
	}
	return err
}

// sealer is how tokens that hold leases of a VaultConnection are kept.
func (c *Controller) sealer(ctx context.Context, conn *v1alpha1.VaultConnection) (leases.Sealer, error) {
	how := conn.Defaulted().Spec.LeaseEncryption
	switch {
	case how != nil && how.Transit != nil:
		session, err := c.o.Vaults.Operator(ctx, conn, how.Transit.AuthMount, how.Transit.Auth, c.o.Namespace)
		if err != nil {
			return nil, while("logging in to keep the token of a lease", err)
		}
		return leases.NewTransit(session, how.Transit.Mount, how.Transit.Key), nil
	case c.o.KMS != nil:
		return c.o.KMS, nil
	case how != nil && how.KMS:
		return nil, &secrets.Error{Reason: secrets.MissingReference, Message: fmt.Sprintf("the VaultConnection %s has tokens of leases kept by a KMS plugin, and portcullis-secrets was given none: start it with --kms", conn.Name)}
	}
	return nil, &secrets.Error{Reason: secrets.MissingReference, Message: fmt.Sprintf("a lease ends with the token that made it, and the VaultConnection %s does not say how to keep that token over a restart: ask those who run the cluster to set spec.leaseEncryption", conn.Name)}
}

// while puts what was being done before an error's own words.
func while(doing string, err error) error {
	failed := (*secrets.Error)(nil)
	if !errors.As(err, &failed) {
		return err
	}
	told := *failed
	if told.Doing != "" {
		doing += ": " + told.Doing
	}
	told.Doing = doing
	return &told
}

// mountsOf remembers what a Vault said about its mounts.
func (c *Controller) mountsOf(connection string) *engine.Mounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.mounts[connection]
	if known == nil {
		known = &engine.Mounts{}
		c.mounts[connection] = known
	}
	return known
}
