package controller

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/destination"
	"github.com/portcullis-dev/portcullis/secrets/restart"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/secrets/vault"
)

// memoryVault answers as Vault does, by an injected clock, to what the engines ask: kv, dynamic ("db/creds/…", leases of leaseTTL) and AppRole. It counts
// requests by second.
type memoryVault struct {
	clock    clock.WithTicker
	leaseTTL time.Duration
	tokenTTL time.Duration
	// slow is called with each request, without the lock.
	slow func(secrets.Call)

	mu       sync.Mutex
	next     int
	kv       map[string]memoryKV
	leases   map[string]*memoryLease
	tokens   map[string]*memoryToken
	sealed   bool
	requests map[int64]int
	asked    map[string]int // by the beginning of the path
	last     map[string]time.Time
	issued   int
	renewed  int
	revoked  int
	expired  int
	revoking error // what a revocation fails with
	watching func(string, vault.Health)
	names    func() []*v1alpha1.VaultConnection
}

type memoryKV struct {
	version int64
	created time.Time
	data    map[string]any
}

type memoryLease struct {
	token   string
	expires time.Time
}

type memoryToken struct{ expires time.Time }

func newMemoryVault(clock clock.WithTicker) *memoryVault {
	return &memoryVault{clock: clock, leaseTTL: 5 * time.Minute, tokenTTL: time.Hour, kv: map[string]memoryKV{}, leases: map[string]*memoryLease{},
		tokens: map[string]*memoryToken{}, requests: map[int64]int{}, asked: map[string]int{}, last: map[string]time.Time{}}
}

func (v *memoryVault) write(path string, data map[string]any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.kv[path] = memoryKV{v.kv[path].version + 1, v.clock.Now(), data}
}

func (v *memoryVault) seal(sealed bool) {
	v.mu.Lock()
	v.sealed = sealed
	tell, names := v.watching, v.names
	v.mu.Unlock()
	if tell == nil {
		return
	}
	health := vault.Health{Version: "1.0"}
	if sealed {
		health = vault.Health{Reason: secrets.Sealed, Sealed: true, Version: "1.0", Message: "Vault is sealed: unseal it"}
	}
	for _, conn := range names() {
		tell(conn.Name, health)
	}
}

func (v *memoryVault) Watch(ctx context.Context, names func() []*v1alpha1.VaultConnection, changed func(string, vault.Health)) {
	v.mu.Lock()
	v.watching, v.names = changed, names
	sealed := v.sealed
	v.mu.Unlock()
	if sealed {
		v.seal(true)
	}
	<-ctx.Done()
	v.mu.Lock()
	v.watching = nil
	v.mu.Unlock()
}

func (v *memoryVault) login() (Session, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.count("auth/login"); err != nil {
		return nil, err
	}
	v.next++
	token := fmt.Sprintf("token-%d", v.next)
	v.tokens[token] = &memoryToken{v.clock.Now().Add(v.tokenTTL)}
	return &memorySession{v, token, v.clock.Now().Add(v.tokenTTL * 2 / 3)}, nil
}

func (v *memoryVault) Client(context.Context, *v1alpha1.VaultConnection, *v1alpha1.VaultAuth) (Session, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.tokens["shared"] == nil {
		if err := v.count("auth/login"); err != nil {
			return nil, err
		}
		v.tokens["shared"] = &memoryToken{v.clock.Now().Add(1000 * time.Hour)}
	}
	return &memorySession{v, "shared", time.Time{}}, nil
}

func (v *memoryVault) Private(context.Context, *v1alpha1.VaultConnection, *v1alpha1.VaultAuth) (Session, error) {
	return v.login()
}

func (v *memoryVault) Resume(_ context.Context, _ *v1alpha1.VaultConnection, _ *v1alpha1.VaultAuth, token secrets.Value) (Session, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.count("auth/token/lookup-self"); err != nil {
		return nil, err
	}
	known := v.tokens[string(token.Reveal())]
	if known == nil || !known.expires.After(v.clock.Now()) {
		return nil, &secrets.Error{Reason: secrets.TokenRevoked, Message: "it has ended"}
	}
	return &memorySession{v, string(token.Reveal()), v.clock.Now()}, nil
}

func (v *memoryVault) Operator(context.Context, *v1alpha1.VaultConnection, string, v1alpha1.KubernetesAuth, string) (Session, error) {
	return nil, &secrets.Error{Reason: secrets.Misconfigured, Message: "there is no transit here"}
}
func (v *memoryVault) Forget(string)             {}
func (v *memoryVault) ForgetAuth(string, string) {}

// count counts a request, and says what is wrong with Vault. The lock is held.
func (v *memoryVault) count(path string) error {
	now := v.clock.Now()
	v.requests[now.Unix()]++
	v.asked[path]++
	v.last[path] = now
	if v.sealed {
		return &secrets.Error{Reason: secrets.Sealed, Doing: "asking " + path, Message: "Vault is sealed", Status: 503}
	}
	return nil
}

// everIssued is how many credentials were issued.
func (v *memoryVault) everIssued() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.issued
}

// sweep ends what has ended.
func (v *memoryVault) sweep() {
	now := v.clock.Now()
	for id, lease := range v.leases {
		if token := v.tokens[lease.token]; !lease.expires.After(now) || token == nil || !token.expires.After(now) {
			v.expired++
			delete(v.leases, id)
		}
	}
}

// most and total are requests in the busiest second and in all.
func (v *memoryVault) load() (most, total int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, n := range v.requests {
		most, total = max(most, n), total+n
	}
	return most, total
}

type memorySession struct {
	v       *memoryVault
	token   string
	renewAt time.Time
}

func (s *memorySession) Token() vault.Token {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	token := s.v.tokens[s.token]
	if token == nil {
		return vault.Token{}
	}
	return vault.Token{Value: secrets.ValueOf(s.token), Accessor: "accessor-" + s.token, Expires: token.expires, Renewable: true}
}

func (s *memorySession) KeepAlive(context.Context) (time.Time, error) {
	v := s.v
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.clock.Now()
	token := v.tokens[s.token]
	if token == nil || !token.expires.After(now) {
		return time.Time{}, &secrets.Error{Reason: secrets.TokenRevoked, Message: "it has ended"}
	}
	if now.Before(s.renewAt) {
		return s.renewAt, nil
	}
	if err := v.count("auth/token/renew-self"); err != nil {
		return s.renewAt, nil
	}
	token.expires = now.Add(v.tokenTTL)
	s.renewAt = now.Add(v.tokenTTL * 2 / 3)
	return s.renewAt, nil
}

func (s *memorySession) Revoke(context.Context) error {
	v := s.v
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.count("auth/token/revoke-self"); err != nil {
		return err
	}
	for id, lease := range v.leases {
		if lease.token == s.token {
			delete(v.leases, id)
			v.revoked++
		}
	}
	delete(v.tokens, s.token)
	return nil
}

func (s *memorySession) Capabilities(_ context.Context, paths []string) (map[string][]string, error) {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	if err := s.v.count("sys/capabilities-self"); err != nil {
		return nil, err
	}
	found := map[string][]string{}
	for _, path := range paths {
		found[path] = []string{"update"}
	}
	return found, nil
}

func (s *memorySession) Do(_ context.Context, call secrets.Call) (*secrets.Reply, error) {
	if s.v.slow != nil {
		s.v.slow(call)
	}
	v := s.v
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.count(call.Path); err != nil {
		return nil, err
	}
	now := v.clock.Now()
	if token := v.tokens[s.token]; token == nil || !token.expires.After(now) {
		return nil, &secrets.Error{Reason: secrets.TokenRevoked, Message: "it has ended"}
	}
	v.sweep()
	id, _ := call.Body["lease_id"].(string)
	switch {
	case strings.HasPrefix(call.Path, "sys/internal/ui/mounts/"):
		return mountReply(strings.TrimPrefix(call.Path, "sys/internal/ui/mounts/")), nil
	case strings.HasPrefix(call.Path, "secret/data/"):
		held, ok := v.kv[strings.TrimPrefix(call.Path, "secret/data/")]
		if !ok {
			return nil, &secrets.Error{Reason: secrets.NotFound, Status: 404, Message: "it is not there"}
		}
		return &secrets.Reply{Data: map[string]any{
			"data":     maps.Clone(held.data),
			"metadata": map[string]any{"version": held.version, "created_time": held.created.UTC().Format(time.RFC3339Nano)},
		}}, nil
	case strings.HasPrefix(call.Path, "db/creds/"):
		v.next++
		v.issued++
		id := fmt.Sprintf("%s/%d", call.Path, v.next)
		v.leases[id] = &memoryLease{s.token, now.Add(v.leaseTTL)}
		return &secrets.Reply{LeaseID: id, LeaseDuration: v.leaseTTL, Renewable: true, Data: map[string]any{"username": id, "password": fmt.Sprint("p", v.next)}}, nil
	case call.Path == "sys/leases/renew":
		lease := v.leases[id]
		if lease == nil {
			return nil, &secrets.Error{Reason: secrets.Refused, Status: 400, Message: "lease not found"}
		}
		v.renewed++
		lease.expires = now.Add(v.leaseTTL)
		return &secrets.Reply{LeaseID: id, LeaseDuration: v.leaseTTL, Renewable: true}, nil
	case call.Path == "sys/leases/lookup":
		lease := v.leases[id]
		if lease == nil {
			return nil, &secrets.Error{Reason: secrets.Refused, Status: 400, Message: "invalid lease"}
		}
		return &secrets.Reply{Data: map[string]any{"id": id, "ttl": int64(lease.expires.Sub(now) / time.Second), "renewable": true}}, nil
	case call.Path == "sys/leases/revoke":
		if v.revoking != nil {
			return nil, v.revoking
		}
		if v.leases[id] != nil {
			v.revoked++
			delete(v.leases, id)
		}
		return &secrets.Reply{}, nil
	}
	return nil, &secrets.Error{Reason: secrets.Refused, Status: 400, Message: "there is no such path"}
}

func mountReply(path string) *secrets.Reply {
	mount, _, _ := strings.Cut(path, "/")
	if mount == "secret" {
		return &secrets.Reply{Data: map[string]any{"path": "secret/", "type": "kv", "options": map[string]any{"version": "2"}}}
	}
	return &secrets.Reply{Data: map[string]any{"path": mount + "/", "type": "database"}}
}

// memoryWriter keeps hashes of what was written, and what was deleted.
type memoryWriter struct {
	hasher *secrets.Hasher

	mu      sync.Mutex
	held    map[string]string // by namespace/name
	drifted map[string]bool   // by UID
	writes  int
	deleted []string
	failing error
}

func newMemoryWriter(hasher *secrets.Hasher) *memoryWriter {
	return &memoryWriter{hasher: hasher, held: map[string]string{}, drifted: map[string]bool{}}
}

func (w *memoryWriter) Write(_ context.Context, owner destination.Owner, secret *v1alpha1.VaultSecret, content secrets.Data, prior *v1alpha1.DestinationStatus) (v1alpha1.DestinationStatus, destination.Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failing != nil {
		return v1alpha1.DestinationStatus{}, destination.Outcome{}, w.failing
	}
	key := owner.Namespace + "/" + secret.Spec.Destination.Name
	hash := w.hasher.Data(content)
	outcome := destination.Outcome{Created: w.held[key] == "", Changed: w.held[key] != hash, Repaired: w.drifted[owner.UID]}
	w.writes++
	w.held[key] = hash
	delete(w.drifted, owner.UID)
	return v1alpha1.DestinationStatus{Kind: "Secret", Name: secret.Spec.Destination.Name, UID: "secret-" + owner.UID, ResourceVersion: fmt.Sprint(w.writes)}, outcome, nil
}

func (w *memoryWriter) Drifted(_ context.Context, owner destination.Owner, prior *v1alpha1.DestinationStatus, hash string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.drifted[owner.UID] || w.held[owner.Namespace+"/"+prior.Name] != hash, nil
}

func (w *memoryWriter) Delete(_ context.Context, owner destination.Owner, prior *v1alpha1.DestinationStatus, retain bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deleted = append(w.deleted, fmt.Sprintf("%s/%s retain=%t", owner.Namespace, prior.Name, retain))
	if !retain {
		delete(w.held, owner.Namespace+"/"+prior.Name)
	}
	return nil
}

func (w *memoryWriter) Collect(_ context.Context, _ destination.Owner, prior *v1alpha1.DestinationStatus, _ func(string) (bool, error)) ([]string, error) {
	return prior.Slots, nil
}

func (w *memoryWriter) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writes
}

// memoryRestarter restarts one workload for each Secret that changed, as the real one does, and counts.
type memoryRestarter struct {
	mu       sync.Mutex
	restarts map[string]int // by Secret
}

func (r *memoryRestarter) Step(_ context.Context, namespace string, rotation *v1alpha1.Rotation, used restart.Used, _ []v1alpha1.RestartStatus) ([]v1alpha1.RestartStatus, time.Duration, error) {
	if rotation.Restart == v1alpha1.RestartNone || used.Before == nil || maps.Equal(used.Before, used.Keys) {
		return nil, 0, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restarts[namespace+"/"+used.Name]++
	return []v1alpha1.RestartStatus{{Kind: "Deployment", Name: "shop", State: restart.Restarted}}, 0, nil
}

func (r *memoryRestarter) Uses(context.Context, string, string) (bool, error) { return false, nil }

func (r *memoryRestarter) total() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range r.restarts {
		n += of
	}
	return n
}

// plainSealer stands for a KMS plugin.
type plainSealer struct{}

func (plainSealer) Seal(_ context.Context, token secrets.Value, owner string) (v1alpha1.SealedToken, error) {
	return v1alpha1.SealedToken{By: "kms:test", Ciphertext: base64.StdEncoding.EncodeToString([]byte(owner + " " + string(token.Reveal())))}, nil
}

func (plainSealer) Open(_ context.Context, sealed v1alpha1.SealedToken, owner string) (secrets.Value, error) {
	raw, err := base64.StdEncoding.DecodeString(sealed.Ciphertext)
	token, ok := strings.CutPrefix(string(raw), owner+" ")
	if err != nil || !ok {
		return secrets.Value{}, &secrets.Error{Reason: secrets.Refused, Message: "it was sealed for another"}
	}
	return secrets.ValueOf(token), nil
}

// judge permits all but what objects says no to.
type judge struct {
	mu      sync.Mutex
	bundle  string
	objects func(*secrets.Sync) string
	faults  bool
	asked   int
}

func (j *judge) Sync(_ context.Context, request admission.Request) admission.Verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked++
	verdict := admission.Verdict{Bundle: "test " + j.bundle}
	if j.faults {
		verdict.Faults = []policies.Fault{{Policy: "secrets/test", Kind: policies.FaultDeadline, Message: "too slow"}}
		return verdict
	}
	if j.objects != nil {
		if why := j.objects(request.Sync); why != "" {
			verdict.Findings = []policies.Finding{{Policy: "secrets/test", Effect: policies.EffectDeny, Message: why, Remediation: "name another path"}}
			return verdict
		}
	}
	verdict.Admitted = true
	verdict.Permits = []policies.Permit{{Policy: "secrets/test", Message: "it may"}}
	return verdict
}

func (j *judge) set(bundle string, objects func(*secrets.Sync) string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.bundle, j.objects = bundle, objects
}
