// Package shard says which of several replicas looks after what: each scope (a namespace, a kind without namespaces) belongs to
// one of those that are alive.
//
// A replica is alive as long as it renews a Lease of its own. Whoever sees that it did not change for the duration of the
// Lease, by its own clock, counts it out; the clocks of two replicas are never compared. A replica that cannot renew its own
// Lease in time owns nothing, since the others have taken over.
//
// Scopes are given to members by rendezvous: the member with the highest hash of both names has it. When a member comes or
// goes only those scopes move that it gets or had.
package shard

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// DefaultDuration is how long a replica may be silent. An audit has time: a shorter one costs the API server writes.
const DefaultDuration = 30 * time.Second

// Names and labels of the Leases.
const (
	leasePrefix = "portcullis-audit-"
	// Label is on the Lease of each replica.
	Label = "policy.portcullis.dev/audit-replica"
)

// forgetAfter is how many durations a Lease that nobody renews is left, so that people see who has gone.
const forgetAfter = 20

// Options of [New].
type Options struct {
	// Name is that of this replica, which no other has.
	Name string
	// Duration is DefaultDuration where 0.
	Duration time.Duration
	// Changed is told whenever the members are others; nil for nobody.
	Changed func()
	// Now is the clock, time.Now by default.
	Now func() time.Time
	Log *slog.Logger
}

// Members are the replicas that share the work.
type Members struct {
	leases  coordination.LeaseInterface
	options Options

	mu      sync.Mutex
	current []string
	// renewed is when this replica renewed its Lease last; zero for never.
	renewed time.Time
	// seen are the Leases, and since when they are as they are.
	seen map[string]sight
}

type sight struct {
	renew, holder string
	since         time.Time
}

// New makes one of the members, which owns nothing before Run. leases are those of the namespace that all replicas share.
func New(leases coordination.LeaseInterface, options Options) *Members {
	options.Duration = cmp.Or(options.Duration, DefaultDuration)
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Changed == nil {
		options.Changed = func() {}
	}
	return &Members{leases: leases, options: options, seen: map[string]sight{}}
}

// Run takes part until the context ends, and then says goodbye, so that the others need not wait.
func (m *Members) Run(ctx context.Context) {
	ticker := time.NewTicker(m.options.Duration / 3)
	defer ticker.Stop()
	failing := false
	for {
		err := m.Step(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			m.options.Log.Warn("sharing the audit with other replicas fails: it is tried again, and until then this one lets go of its share", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.options.Duration/3)
			defer cancel()
			if err := m.leases.Delete(ending, leasePrefix+m.options.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				m.options.Log.Warn("saying goodbye to the other replicas fails: they will notice", "error", err)
			}
			return
		case <-ticker.C:
		}
	}
}

// Step renews the Lease and looks who else is there, once.
func (m *Members) Step(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.options.Duration/3)
	defer cancel()
	m.count() // a process that was stopped for a while learns first that it has lost its share
	err := m.renew(ctx)
	if err == nil {
		err = m.look(ctx)
	}
	m.count()
	return err
}

func (m *Members) renew(ctx context.Context) error {
	began := m.options.Now()
	name := leasePrefix + m.options.Name
	lease, err := m.leases.Get(ctx, name, metav1.GetOptions{})
	missing := apierrors.IsNotFound(err)
	if missing {
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			Label: "true", "app.kubernetes.io/part-of": "portcullis", "app.kubernetes.io/component": "controller",
		}}}
	} else if err != nil {
		return fmt.Errorf("reading the Lease %s: %w", name, err)
	}
	seconds, renewed := int32(m.options.Duration/time.Second), metav1.NewMicroTime(began)
	lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: &m.options.Name, LeaseDurationSeconds: &seconds, RenewTime: &renewed}
	if missing {
		_, err = m.leases.Create(ctx, lease, metav1.CreateOptions{})
	} else {
		_, err = m.leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("renewing the Lease %s: %w", name, err)
	}
	m.mu.Lock()
	m.renewed = began // the time before: what others see is not older
	m.mu.Unlock()
	return nil
}

func (m *Members) look(ctx context.Context) error {
	list, err := m.leases.List(ctx, metav1.ListOptions{LabelSelector: Label})
	if err != nil {
		return fmt.Errorf("listing the Leases of the other replicas: %w", err)
	}
	now := m.options.Now()
	m.mu.Lock()
	before := m.seen
	m.seen = map[string]sight{}
	var gone []coordinationv1.Lease
	for _, lease := range list.Items {
		if lease.Spec.HolderIdentity == nil || lease.Spec.RenewTime == nil {
			continue
		}
		is := sight{renew: lease.Spec.RenewTime.String(), holder: *lease.Spec.HolderIdentity, since: now}
		if was, known := before[lease.Name]; known && was.renew == is.renew && was.holder == is.holder {
			is.since = was.since
		}
		m.seen[lease.Name] = is
		if now.Sub(is.since) > forgetAfter*m.options.Duration {
			gone = append(gone, lease)
		}
	}
	m.mu.Unlock()
	for _, lease := range gone {
		preconditions := metav1.Preconditions{UID: &lease.UID, ResourceVersion: &lease.ResourceVersion}
		if err := m.leases.Delete(ctx, lease.Name, metav1.DeleteOptions{Preconditions: &preconditions}); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("deleting the Lease %s, which nobody renews: %w", lease.Name, err)
		}
	}
	return nil
}

// count says who is alive now.
func (m *Members) count() {
	m.mu.Lock()
	current := m.alive()
	changed := !slices.Equal(current, m.current)
	m.current = current
	m.mu.Unlock()
	if changed {
		m.options.Log.Info("the audit is shared", "replicas", strings.Join(current, ", "), "name", m.options.Name)
		m.options.Changed()
	}
}

// alive is sorted. It is empty where this replica itself is not.
func (m *Members) alive() []string {
	now := m.options.Now()
	if m.renewed.IsZero() || now.Sub(m.renewed) >= m.options.Duration {
		return nil
	}
	names := []string{m.options.Name}
	for _, seen := range m.seen {
		if now.Sub(seen.since) < m.options.Duration {
			names = append(names, seen.holder)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Current are the names of those that are alive, sorted; none where this replica is not one of them.
func (m *Members) Current() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.alive()) == 0 {
		return nil
	}
	return m.current
}

// Owns says whether a scope is this replica's.
func (m *Members) Owns(scope string) bool { return Owner(m.Current(), scope) == m.options.Name }

// Owner is whose a scope is, "" where nobody is there.
func Owner(members []string, scope string) string {
	best, owner := uint64(0), ""
	for _, member := range members {
		if score := score(member, scope); owner == "" || score > best || score == best && member < owner {
			best, owner = score, member
		}
	}
	return owner
}

func score(member, scope string) uint64 {
	sum := sha256.Sum256([]byte(member + "\x00" + scope))
	return binary.BigEndian.Uint64(sum[:8])
}
