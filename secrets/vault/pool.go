package vault

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
	"k8s.io/utils/clock"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Options are what a Pool works with. Cluster is needed for methods of the cluster; the rest has defaults.
type Options struct {
	Cluster    Cluster
	Clock      clock.WithTicker
	Log        *slog.Logger
	Registerer prometheus.Registerer
	UserAgent  string
}

// Pool holds the connections to Vaults and the logins at them.
type Pool struct {
	cluster Cluster
	clock   clock.WithTicker
	log     *slog.Logger
	metrics *metrics
	agent   string

	mu          sync.Mutex
	connections map[string]*connection // by name
	clients     map[string]*Client     // shared ones, by identity
	flights     singleflight.Group
	shared      map[string]sharedReply
	sweeping    bool
	private     map[weak.Pointer[Client]]bool

	// What goes on by itself (logins, revocations) ends with the Pool.
	group  sync.WaitGroup
	ctx    context.Context //nolint:containedctx // it is that of all goroutines, and ended by Close
	cancel context.CancelFunc

	goroutines sync.Mutex // of closed; taken last
	closed     bool
}

// NewPool makes a Pool without connections.
func NewPool(options Options) *Pool {
	p := &Pool{
		cluster: options.Cluster, clock: options.Clock, log: options.Log, agent: options.UserAgent,
		connections: map[string]*connection{}, clients: map[string]*Client{}, shared: map[string]sharedReply{}, metrics: newMetrics(options.Registerer),
	}
	p.private = map[weak.Pointer[Client]]bool{}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if options.Registerer != nil {
		options.Registerer.MustRegister(newExpiries(p))
	}
	if p.clock == nil {
		p.clock = clock.RealClock{}
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	return p
}

// spawn runs something that outlives who asks for it; not after Close, which waits for it.
func (p *Pool) spawn(run func(context.Context)) bool {
	p.goroutines.Lock()
	defer p.goroutines.Unlock()
	if p.closed {
		return false
	}
	p.group.Go(func() { run(p.ctx) })
	return true
}

// all are the clients that are in use.
func (p *Pool) all() []*Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := slices.Collect(maps.Values(p.clients))
	for held := range p.private {
		if client := held.Value(); client != nil {
			found = append(found, client)
		} else {
			delete(p.private, held)
		}
	}
	return found
}

// keep notes a private client for as long as somebody has it.
func (p *Pool) keep(client *Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for held := range p.private {
		if held.Value() == nil {
			delete(p.private, held)
		}
	}
	p.private[weak.Make(client)] = true
}

func keyOf(name, uid string, generation int64) string {
	return fmt.Sprintf("%s/%s/%d", name, uid, generation)
}

// connect is the connection of a VaultConnection; one that has changed is made anew, and what was logged in by the old one is
// forgotten.
func (p *Pool) connect(object *v1alpha1.VaultConnection) (*connection, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.connections[object.Name]
	if known != nil && known.key == keyOf(object.Name, string(object.UID), object.Generation) {
		return known, nil
	}
	made, err := newConnection(object, p.agent)
	if err != nil {
		return nil, err
	}
	if known != nil {
		p.forget(func(c *Client) bool { return c.conn.name == object.Name })
		known.transport.CloseIdleConnections()
	}
	p.connections[object.Name] = made
	return made, nil
}

// Client is the shared login of a VaultAuth: one for each state of it and of its VaultConnection. Nothing that it reads may have a
// lease, which would end with it. It logs in when it is first used.
func (p *Pool) Client(ctx context.Context, object *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth) (*Client, error) {
	made, err := p.newClient(object, auth)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	client := p.clients[made.identity()]
	if client == nil {
		p.forget(func(c *Client) bool {
			return c.conn.name == made.conn.name && c.namespace == made.namespace && c.auth.Name == auth.Name
		})
		p.clients[made.identity()], client = made, made
	}
	p.mu.Unlock()
	_, err = client.session(ctx)
	return client, err
}

// Private is a login of its own: its token holds leases. Nothing shares it, and the Pool never revokes it.
func (p *Pool) Private(ctx context.Context, object *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth) (*Client, error) {
	client, err := p.newClient(object, auth)
	if err != nil {
		return nil, err
	}
	client.private = true
	p.keep(client)
	_, err = client.session(ctx)
	return client, err
}

// Resume goes on with the token of a Private client of an earlier process. The reason is TokenRevoked where it has ended.
func (p *Pool) Resume(ctx context.Context, object *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth, token secrets.Value) (*Client, error) {
	client, err := p.newClient(object, auth)
	if err != nil {
		return nil, err
	}
	client.private = true
	p.keep(client)
	return client, client.resume(ctx, token)
}

// Operator is a login by the Kubernetes method as a service account of the program's own namespace: for the encryption of leases.
func (p *Pool) Operator(ctx context.Context, object *v1alpha1.VaultConnection, mount string, auth v1alpha1.KubernetesAuth, namespace string) (*Client, error) {
	own := &v1alpha1.VaultAuth{Spec: v1alpha1.VaultAuthSpec{Connection: object.Name, Mount: mount, Kubernetes: &auth}}
	own.Name, own.Namespace = "(lease encryption)", namespace
	return p.Client(ctx, object, own)
}

func (p *Pool) newClient(object *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth) (*Client, error) {
	if auth.Spec.Connection != object.Name {
		return nil, misconfigured("VaultAuth %s is of the VaultConnection %s, not %s", auth.Name, auth.Spec.Connection, object.Name)
	}
	if err := CheckAuth(&auth.Spec); err != nil {
		return nil, err
	}
	conn, err := p.connect(object)
	if err != nil {
		return nil, err
	}
	return &Client{pool: p, conn: conn, namespace: auth.Namespace, auth: auth.Defaulted()}, nil
}

// forget drops shared clients and revokes their tokens, later. The lock is held.
func (p *Pool) forget(which func(*Client) bool) {
	for key, client := range p.clients {
		if !which(client) {
			continue
		}
		delete(p.clients, key)
		p.spawn(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, client.conn.timeout)
			defer cancel()
			if err := client.Revoke(ctx); err != nil {
				p.log.Debug("a token that is not needed any more ends by itself", "identity", client.Identity(), "error", err)
			}
		})
	}
	for key := range p.shared {
		delete(p.shared, key)
	}
}

// Forget drops what is known of a VaultConnection that is gone.
func (p *Pool) Forget(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(func(c *Client) bool { return c.conn.name == name })
	if conn := p.connections[name]; conn != nil {
		conn.transport.CloseIdleConnections()
	}
	delete(p.connections, name)
	p.metrics.forget(name)
}

// ForgetAuth drops the login of a VaultAuth that is gone.
func (p *Pool) ForgetAuth(namespace, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(func(c *Client) bool { return c.namespace == namespace && c.auth.Name == name })
}

// Close revokes the tokens of shared clients, until ctx ends, and waits for what goes on. Those of private ones live on: leases hang on
// them. The Pool is of no use afterwards.
func (p *Pool) Close(ctx context.Context) {
	p.mu.Lock()
	clients, connections := p.clients, p.connections
	p.clients, p.connections = map[string]*Client{}, map[string]*connection{}
	clear(p.shared)
	p.mu.Unlock()
	var group sync.WaitGroup
	for _, client := range clients {
		group.Go(func() {
			if err := client.Revoke(ctx); err != nil {
				p.log.Debug("a token that is not needed any more ends by itself", "identity", client.Identity(), "error", err)
			}
		})
	}
	group.Wait()
	p.goroutines.Lock()
	p.closed = true
	p.goroutines.Unlock()
	p.cancel()
	p.group.Wait()
	for _, conn := range connections {
		conn.transport.CloseIdleConnections()
	}
}

// sharedFor is how long the answer to a shared read serves others that ask for the same.
const sharedFor = 2 * time.Second

// sharedTimeouts is how many timeouts of the VaultConnection a shared read may take with all that belongs to it: its turn, a login, a second try.
const sharedTimeouts = 6

type sharedReply struct {
	reply *secrets.Reply
	until time.Time
}

// share answers a read that others ask for at the same time, or asked for a moment ago, once. Each gets a copy of his own.
func (p *Pool) share(ctx context.Context, conn *connection, key string, read func(context.Context) (*secrets.Reply, error)) (*secrets.Reply, error) {
	if held := p.held(key); held != nil {
		return copied(held), nil
	}
	done := p.flights.DoChan(key, func() (any, error) {
		if held := p.held(key); held != nil { // whoever looked before it was held, and comes here after
			return held, nil
		}
		// It is for all that wait, whoever of them gives up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharedTimeouts*conn.timeout)
		defer cancel()
		reply, err := read(ctx)
		if err == nil {
			p.hold(key, reply)
		}
		return reply, err
	})
	select {
	case result := <-done:
		if result.Err != nil {
			return nil, result.Err
		}
		return copied(result.Val.(*secrets.Reply)), nil
	case <-ctx.Done():
		return nil, &secrets.Error{Reason: secrets.Slow, Doing: "waiting for an answer that others wait for, too", Message: "Vault takes long: it goes on, and is tried again", Cause: contextOf(ctx.Err())}
	}
}

func (p *Pool) held(key string) *secrets.Reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	held, ok := p.shared[key]
	if !ok || !p.clock.Now().Before(held.until) {
		return nil
	}
	return held.reply
}

func (p *Pool) hold(key string, reply *secrets.Reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	p.sweep(now)
	p.shared[key] = sharedReply{reply, now.Add(sharedFor)}
	if !p.sweeping { // so that values go though nobody asks again
		p.sweeping = p.spawn(p.sweepUntilEmpty)
	}
}

func (p *Pool) sweep(now time.Time) {
	for old, held := range p.shared {
		if !now.Before(held.until) {
			delete(p.shared, old)
		}
	}
}

func (p *Pool) sweepUntilEmpty(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.clock.After(sharedFor):
		}
		p.mu.Lock()
		p.sweep(p.clock.Now())
		if len(p.shared) == 0 {
			p.sweeping = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
}

// copied shares nothing with a reply that somebody could change.
func copied(reply *secrets.Reply) *secrets.Reply {
	other := *reply
	other.Data, _ = copyOf(reply.Data).(map[string]any)
	return &other
}

func copyOf(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if v == nil {
			return v
		}
		made := make(map[string]any, len(v))
		for key, below := range v {
			made[strings.Clone(key)] = copyOf(below)
		}
		return made
	case []any:
		made := make([]any, len(v))
		for n, below := range v {
			made[n] = copyOf(below)
		}
		return made
	}
	return value
}
