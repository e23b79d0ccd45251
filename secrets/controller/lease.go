package controller

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/engine"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// How what has no lease id is named in statuses.
const (
	serialPrefix   = "serial:"
	accessorPrefix = "accessor:"
)

// idOf names a lease in a status.
func idOf(lease *secrets.Lease) string {
	switch {
	case lease.ID != "":
		return lease.ID
	case lease.Serial != "":
		return serialPrefix + lease.Serial
	}
	return accessorPrefix + lease.Accessor
}

// lease is that of what the destination holds, nil for none. It is what this process knows, or what the VaultLease says, or the status.
func (p *pass) lease() *secrets.Lease {
	status := p.status.Lease
	if status == nil {
		return nil
	}
	if known := p.m.inUse; known != nil && idOf(known) == status.ID {
		return known
	}
	made := &secrets.Lease{Issued: status.Issued.Time, Expires: status.Expires.Time, Renewable: status.Renewable, Duration: status.Expires.Sub(status.Issued.Time)}
	if kept := p.m.lease; kept != nil {
		if n := slices.IndexFunc(kept.Spec.Leases, func(one secrets.Lease) bool { return idOf(&one) == status.ID }); n >= 0 {
			one := kept.Spec.Leases[n]
			one.Expires, one.Renewable = status.Expires.Time, status.Renewable && one.Renewable // a renewal is in the status only
			p.m.inUse = &one
			return &one
		}
	}
	switch serial, isSerial := strings.CutPrefix(status.ID, serialPrefix); {
	case isSerial:
		made.Serial = serial
	case strings.HasPrefix(status.ID, accessorPrefix):
		made.Accessor = strings.TrimPrefix(status.ID, accessorPrefix)
	default:
		made.ID = status.ID
	}
	made.Mount, made.Role = mountAndRole(&p.secret.Spec.Source)
	return made
}

func mountAndRole(source *v1alpha1.Source) (mount, role string) {
	switch {
	case source.PKI != nil:
		return source.PKI.Mount, source.PKI.Role
	case source.AppRoleSecretID != nil:
		return "auth/" + source.AppRoleSecretID.Mount, source.AppRoleSecretID.Role
	case source.Dynamic != nil:
		return source.Dynamic.Mount, ""
	}
	return "", ""
}

// renewAt is when a lease is renewed, or replaced where it cannot be.
func (p *pass) renewAt(lease *secrets.Lease) time.Time {
	from := lease.Expires.Add(-lease.Duration)
	if from.Before(lease.Issued) {
		from = lease.Issued
	}
	return secrets.RenewAt(from, lease.Expires, engine.RenewPercent(&p.secret.Spec.Source), string(p.seen.UID))
}

// leaseAt is when to look at the lease again; zero where there is none.
func (p *pass) leaseAt() time.Time {
	lease := p.lease()
	if lease == nil {
		return time.Time{}
	}
	return p.renewAt(lease)
}

// obtainIssued issues something new, where there is a reason: nothing is issued because the process began anew.
func (p *pass) obtainIssued(ctx context.Context) (*engine.Result, error) {
	lease := p.lease()
	switch {
	case lease == nil: // never issued, or what does not end
		if !p.due() {
			return nil, nil
		}
		return p.issue(ctx, false)
	case p.wanted != nil && !lease.Issued.After(p.wanted.since):
		return p.replace(ctx, lease)
	case p.respecified(), p.asked(), p.drifted, p.status.Destination == nil:
		return p.issue(ctx, false)
	case lease.ID != "":
		return p.keep(ctx, lease, true)
	case !p.now.Before(p.renewAt(lease)):
		return p.issue(ctx, false)
	}
	return nil, nil
}

// respecified says that the spec wants something else than what there is.
func (p *pass) respecified() bool {
	if p.seen.Status.HashKey != p.c.o.Hasher.ID() {
		return p.seen.Status.ObservedGeneration != p.seen.Generation
	}
	of, _, _ := strings.Cut(p.seen.Status.Source, ".")
	return of != p.specHash
}

// renewOnly keeps a lease alive, and does nothing else.
func (p *pass) renewOnly(ctx context.Context) error {
	lease := p.lease()
	if !p.issues() || lease == nil || lease.ID == "" {
		return nil
	}
	_, err := p.keep(ctx, lease, false)
	return err
}

// keep goes on with a lease: it takes up the token that holds it, keeps that alive, and renews the lease when its time has come. Where it cannot be
// saved something new is issued, if it may be.
func (p *pass) keep(ctx context.Context, lease *secrets.Lease, mayIssue bool) (*engine.Result, error) {
	issue := func(afresh bool) (*engine.Result, error) {
		if !mayIssue {
			return nil, nil
		}
		return p.issue(ctx, afresh)
	}
	if outage := p.c.outages.of(p.conn.Name, p.now); outage != nil {
		if p.m.session != nil && p.now.Before(p.renewAt(lease)) {
			return nil, nil // nothing is due, and nobody is asked
		}
		return nil, outage
	}
	session, err := p.resume(ctx)
	if lostBy(err) {
		p.lost(err)
		return issue(true)
	}
	if err != nil {
		return nil, err
	}
	if session == nil { // no VaultLease: nobody knows the token
		p.lost(&secrets.Error{Reason: secrets.LeaseLost, Message: "its VaultLease is gone, and with it the token that holds it"})
		return issue(true)
	}
	lease = p.lease() // how long it is granted for the VaultLease says, and a status does not
	alive, err := session.KeepAlive(ctx)
	if lostBy(err) {
		p.lost(err)
		return issue(true)
	}
	if err != nil {
		return nil, err
	}
	if !alive.IsZero() && !alive.After(p.now) { // its time was up, and it is not renewed: its greatest age is near
		return issue(true)
	}
	if p.now.Before(p.renewAt(lease)) {
		p.tokenEnds(alive)
		return nil, nil
	}
	if !lease.Renewable {
		return issue(false)
	}
	renewed, err := engine.Renew(ctx, session, *lease, engine.Options{Clock: p.c.o.Clock})
	if lostBy(err) {
		p.lost(err)
		return issue(secrets.ReasonOf(err) == secrets.TokenRevoked)
	}
	if err != nil {
		return nil, err
	}
	p.c.succeeded(p.conn.Name)
	if renewed.Duration < lease.Duration-lease.Duration/10 {
		renewed.Renewable = false // its greatest age is near, and each renewal would be shorter than the one before
	}
	p.renewed(ctx, lease, renewed)
	p.tokenEnds(alive)
	return nil, nil
}

// tokenEnds has the token looked at in its time.
func (p *pass) tokenEnds(alive time.Time) {
	if !alive.IsZero() {
		p.by(alive)
	}
}

// lostBy says that an error means that there is no lease any more.
func lostBy(err error) bool {
	reason := secrets.ReasonOf(err)
	return reason == secrets.TokenRevoked || reason == secrets.LeaseLost
}

// renewed notes a renewal. The VaultLease says only what a renewal does not change, unless it was the last one.
func (p *pass) renewed(ctx context.Context, before *secrets.Lease, now secrets.Lease) {
	p.m.inUse = &now
	p.status.Lease.Expires, p.status.Lease.Renewable = metav1.NewTime(now.Expires.Truncate(time.Second)), now.Renewable
	p.status.Lease.Renewed++
	p.status.LastSync = at(p.now)
	p.c.metrics.renewed(p.place.Engine)
	if before.Renewable == now.Renewable || p.m.lease == nil {
		return
	}
	for n := range p.m.lease.Spec.Leases {
		if idOf(&p.m.lease.Spec.Leases[n]) == idOf(&now) {
			p.m.lease.Spec.Leases[n] = now
		}
	}
	if err := p.c.o.Leases.Put(ctx, p.m.lease); err != nil {
		p.m.lease = nil // it is read again; the status says the same
	}
}

// lost says that a lease was lost.
func (p *pass) lost(why error) {
	message := "the lease of what it holds is gone: " + messageOf(why) + "; new credentials are issued"
	p.c.event(KindSecret, &p.seen.ObjectMeta, "Warning", string(secrets.LeaseLost), message)
	p.c.metrics.lost(p.place.Engine)
	if secrets.ReasonOf(why) == secrets.TokenRevoked {
		p.m.session = nil
	}
	if p.m.lease != nil {
		id := ""
		if p.status.Lease != nil {
			id = p.status.Lease.ID
		}
		p.m.lease.Spec.Leases = slices.DeleteFunc(p.m.lease.Spec.Leases, func(one secrets.Lease) bool {
			return secrets.ReasonOf(why) == secrets.TokenRevoked || idOf(&one) == id
		})
	}
	p.m.inUse = nil
}

// load is the VaultLease, nil for none.
func (p *pass) load(ctx context.Context) (*v1alpha1.VaultLease, error) {
	if p.m.lease != nil {
		return p.m.lease, nil
	}
	kept, err := p.c.o.Leases.Get(ctx, string(p.seen.UID))
	if err != nil || kept == nil {
		return nil, err
	}
	if kept.Spec.Owner.Namespace != p.seen.Namespace || kept.Spec.Owner.Name != p.seen.Name {
		return nil, &secrets.Error{Reason: secrets.ClusterFailed, Message: "the VaultLease of its UID names another owner: delete it; its leases then end by themselves"}
	}
	p.m.lease = kept
	return kept, nil
}

// resume is the session that holds the leases: the one in hand, or one by the token that is kept; nil where none is.
func (p *pass) resume(ctx context.Context) (Session, error) {
	if p.m.session != nil {
		return p.m.session, nil
	}
	kept, err := p.load(ctx)
	if err != nil || kept == nil {
		return nil, err
	}
	session, err := p.c.resume(ctx, p.conn, p.auth, kept)
	if err != nil {
		return nil, err
	}
	p.m.session = session
	if p.status.Lease != nil {
		p.status.Lease.Resumed++
	}
	p.c.metrics.resumed(p.place.Engine)
	return session, nil
}

// resume goes on with a token that is kept.
func (c *Controller) resume(ctx context.Context, conn *v1alpha1.VaultConnection, auth *v1alpha1.VaultAuth, kept *v1alpha1.VaultLease) (Session, error) {
	if kept.Spec.Connection != conn.Name {
		return nil, &secrets.Error{Reason: secrets.LeaseLost, Message: "it is of the VaultConnection " + kept.Spec.Connection + ", and the VaultAuth names another now"}
	}
	if err := c.outages.of(conn.Name, c.o.Clock.Now()); err != nil {
		return nil, err
	}
	sealer, err := c.sealer(ctx, conn)
	if err != nil {
		return nil, err
	}
	token, err := sealer.Open(ctx, kept.Spec.Token, kept.Spec.Owner.UID)
	if err != nil {
		if reason := secrets.ReasonOf(err); reason == secrets.Refused || reason == secrets.Misconfigured {
			// Nobody will ever open it: sealed for another, or by a key that is gone.
			return nil, &secrets.Error{Reason: secrets.LeaseLost, Message: messageOf(err)}
		}
		return nil, err
	}
	return c.o.Vaults.Resume(ctx, conn, auth, token)
}

// issue has Vault make something new. afresh logs in anew, where the token of before is no more.
func (p *pass) issue(ctx context.Context, afresh bool) (*engine.Result, error) {
	if p.needsToken() {
		return p.issueHeld(ctx, afresh)
	}
	session, err := p.c.session(ctx, p.conn, p.auth)
	if err != nil {
		return nil, err
	}
	p.foresee(ctx, session)
	result, err := p.read(ctx, session)
	if err != nil {
		return nil, err
	}
	p.c.succeeded(p.conn.Name)
	if result.Lease == nil || result.Lease.ID == "" {
		return result, nil
	}
	// It has a lease, which would end with a token that others share: again, with a token of its own.
	p.revoke(ctx, session, *result.Lease)
	result.Data.Clear()
	p.m.tokened = true
	return p.issueHeld(ctx, afresh)
}

// needsToken says whether what is issued hangs on the token that it is issued by.
func (p *pass) needsToken() bool {
	seen := &p.seen.Status
	if p.m.tokened || p.m.lease != nil || p.place.Engine != secrets.EngineDynamic && seen.Lease != nil && !strings.HasPrefix(seen.Lease.ID, serialPrefix) && !strings.HasPrefix(seen.Lease.ID, accessorPrefix) {
		return true
	}
	// Of dynamic secrets that were synced without a lease (static roles) it is known.
	return p.place.Engine == secrets.EngineDynamic && (seen.LastSync == nil || seen.Lease != nil || p.respecified())
}

// issueHeld issues by a token of its own, and keeps that: the VaultLease is written before the credentials go anywhere. Its resource version is a
// fence: of two processes that issue at the same time one fails here, and revokes what it has.
func (p *pass) issueHeld(ctx context.Context, afresh bool) (*engine.Result, error) {
	kept, err := p.load(ctx)
	if err != nil {
		return nil, err
	}
	session := p.m.session
	if kept != nil && (kept.Spec.Auth != p.auth.Name || kept.Spec.Connection != p.conn.Name) {
		afresh = true
	}
	if session == nil && kept != nil && !afresh {
		if session, err = p.resume(ctx); lostBy(err) {
			kept.Spec.Leases = nil
		} else if err != nil {
			return nil, err
		}
	}
	var next v1alpha1.VaultLease
	if kept != nil {
		next = *kept
		next.Spec.Leases = slices.Clone(kept.Spec.Leases)
	}
	fresh := session == nil || afresh
	if fresh {
		if session, err = p.begin(ctx, &next); err != nil {
			return nil, err
		}
	}
	p.foresee(ctx, session)
	result, err := p.read(ctx, session)
	if err != nil {
		if fresh {
			p.end(ctx, session)
		} else if secrets.ReasonOf(err) == secrets.TokenRevoked {
			p.lost(err)
			return p.issueHeld(ctx, true)
		}
		return nil, err
	}
	p.c.succeeded(p.conn.Name)
	if result.Lease == nil || result.Lease.ID == "" {
		p.m.tokened = false
		if fresh {
			p.end(ctx, session)
		}
		return result, nil // it does not hang on the token after all
	}
	next.Spec.Leases = append(next.Spec.Leases, *result.Lease)
	if err := p.c.o.Leases.Put(ctx, &next); err != nil {
		// Nobody would know of it after a restart, or another process is ahead of us.
		p.revoke(ctx, session, *result.Lease)
		if fresh {
			p.end(ctx, session)
		}
		result.Data.Clear()
		p.m.lease, p.m.session, p.m.inUse = nil, nil, nil
		if apierrors.IsConflict(errors.Unwrap(err)) || apierrors.IsAlreadyExists(errors.Unwrap(err)) {
			return nil, errMoved
		}
		return nil, err
	}
	if fresh && p.m.session != nil {
		p.m.former, p.m.formerAfter = p.m.session, p.now.Add(retireAfter)
	}
	p.m.session, p.m.lease = session, &next
	return result, nil
}

// begin logs in for leases, and seals the token before anything is issued by it.
func (p *pass) begin(ctx context.Context, next *v1alpha1.VaultLease) (Session, error) {
	sealer, err := p.c.sealer(ctx, p.conn)
	if err != nil {
		return nil, err
	}
	session, err := p.c.private(ctx, p.conn, p.auth)
	if err != nil {
		return nil, err
	}
	token := session.Token()
	sealed, err := sealer.Seal(ctx, token.Value, string(p.seen.UID))
	if err != nil {
		p.end(ctx, session)
		return nil, err
	}
	sealed.Accessor, sealed.Renewable = token.Accessor, token.Renewable
	if !token.Expires.IsZero() {
		sealed.Expires = metav1.NewTime(token.Expires.Truncate(time.Second))
	}
	next.Spec = v1alpha1.VaultLeaseSpec{
		Owner:      v1alpha1.LeaseOwner{Namespace: p.seen.Namespace, Name: p.seen.Name, UID: string(p.seen.UID)},
		Connection: p.conn.Name, Auth: p.auth.Name, Token: sealed,
	}
	return session, nil
}

// end revokes a token that nothing hangs on.
func (p *pass) end(ctx context.Context, session Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := session.Revoke(ctx); err != nil {
		p.c.log.Debug("a token that is not needed any more ends by itself", "object", p.key.String(), "error", err)
	}
}

// revoke revokes what was issued in vain, also when the pass has ended meanwhile. It says whether it has.
func (p *pass) revoke(ctx context.Context, session Session, lease secrets.Lease) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := engine.Revoke(ctx, session, lease)
	if err != nil {
		p.c.log.Warn("what was issued in vain is not revoked yet", "object", p.key.String(), "expires", lease.Expires, "error", err)
	}
	return err == nil
}

// giveBack revokes what was issued and cannot be delivered.
func (p *pass) giveBack(ctx context.Context, result *engine.Result) {
	if result.Lease == nil {
		return
	}
	session := p.m.session
	if result.Lease.ID == "" || session == nil {
		shared, err := p.c.session(ctx, p.conn, p.auth)
		if err != nil || !p.revoke(ctx, shared, *result.Lease) {
			p.m.retired = append(p.m.retired, retired{*result.Lease, p.now})
		}
		return
	}
	if !p.revoke(ctx, session, *result.Lease) {
		return // it stays in the VaultLease, and is tried again
	}
	id := idOf(result.Lease)
	p.m.lease.Spec.Leases = slices.DeleteFunc(p.m.lease.Spec.Leases, func(one secrets.Lease) bool { return idOf(&one) == id })
	if err := p.c.o.Leases.Put(ctx, p.m.lease); err != nil {
		p.m.lease = nil
	}
}

// adopt notes what was issued as what is in use.
func (p *pass) adopt(result *engine.Result) {
	if before := p.lease(); before != nil && before.ID == "" && idOf(before) != idOf(result.Lease) && engine.Revokes(&p.secret.Spec.Source) {
		p.m.retired = append(p.m.retired, retired{*before, p.now.Add(retireAfter)})
	}
	lease := *result.Lease
	p.m.inUse = &lease
	p.status.Lease = &v1alpha1.LeaseStatus{
		ID: idOf(&lease), Issued: metav1.NewTime(lease.Issued.Truncate(time.Second)), Expires: metav1.NewTime(lease.Expires.Truncate(time.Second)), Renewable: lease.Renewable,
	}
	p.c.metrics.issued(p.place.Engine)
}

// retire revokes what was replaced, once the workloads that are restarted have the new, or some time later where none are.
func (p *pass) retire(ctx context.Context) {
	if p.rolling() || p.conn == nil || p.auth == nil {
		return
	}
	p.retireLeases(ctx)
	p.retireOthers(ctx)
	if p.m.former != nil {
		if p.now.Before(p.m.formerAfter) {
			p.by(p.m.formerAfter)
		} else {
			if engine.Revokes(&p.secret.Spec.Source) {
				p.end(ctx, p.m.former)
			}
			p.m.former = nil
		}
	}
}

// settled is from when on nothing needs what was replaced. Where workloads were restarted, all have the new.
func (p *pass) settled(since time.Time) time.Time {
	if p.secret.Spec.Rotation.Restart != v1alpha1.RestartNone && len(p.status.Restarts) > 0 {
		return p.now
	}
	return since.Add(retireAfter)
}

func (p *pass) retireLeases(ctx context.Context) {
	kept, session := p.m.lease, p.m.session
	if kept == nil || session == nil || len(kept.Spec.Leases) == 0 {
		return
	}
	inUse, after := "", p.now
	if lease := p.lease(); lease != nil {
		inUse, after = idOf(lease), p.settled(lease.Issued)
	}
	revokes := engine.Revokes(&p.secret.Spec.Source)
	var left []secrets.Lease
	for _, one := range kept.Spec.Leases {
		lease := p.lease()
		vain := lease == nil || one.Issued.After(lease.Issued) // it was never delivered
		switch {
		case idOf(&one) == inUse:
			left = append(left, one)
		case !one.Expires.After(p.now):
		case !revokes && !vain:
			left = append(left, one)
			p.by(one.Expires)
		case p.now.Before(after) && !vain:
			left = append(left, one)
			p.by(earlierOf(after, one.Expires))
		default:
			if err := engine.Revoke(ctx, session, one); err != nil && !lostBy(err) {
				p.c.log.Warn("what was replaced is not revoked yet", "object", p.key.String(), "expires", one.Expires, "error", err)
				left = append(left, one)
				p.by(earlierOf(p.now.Add(time.Minute), one.Expires))
			}
		}
	}
	if len(left) == len(kept.Spec.Leases) {
		return
	}
	kept.Spec.Leases = left
	if err := p.c.o.Leases.Put(ctx, kept); err != nil {
		p.m.lease = nil // read again
	}
}

func earlierOf(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// retireOthers revokes certificates and secret ids, which no token holds.
func (p *pass) retireOthers(ctx context.Context) {
	var left []retired
	for _, one := range p.m.retired {
		after := earlierOf(one.after, p.settled(one.after.Add(-retireAfter)))
		switch {
		case !one.lease.Expires.After(p.now):
		case p.now.Before(after):
			left = append(left, one)
			p.by(after)
		default:
			session, err := p.c.session(ctx, p.conn, p.auth)
			if err == nil {
				err = engine.Revoke(ctx, session, one.lease)
			}
			if err != nil {
				p.c.log.Warn("what was replaced is not revoked yet", "object", p.key.String(), "expires", one.lease.Expires, "error", err)
				one.after = p.now.Add(time.Minute)
				left = append(left, one)
				p.by(one.after)
			}
		}
	}
	p.m.retired = left
}

// foresee says whether what is about to be issued could be revoked: once for each state of the spec.
func (p *pass) foresee(ctx context.Context, session Session) {
	if !engine.Revokes(&p.secret.Spec.Source) {
		dropCondition(&p.status.Conditions, v1alpha1.ConditionRevocable)
		return
	}
	if known := condition(p.status.Conditions, v1alpha1.ConditionRevocable); known != nil && known.ObservedGeneration == p.seen.Generation && known.Status == metav1.ConditionTrue {
		return
	}
	accesses := engine.RevokeAccesses(&p.secret.Spec.Source)
	var paths []string
	for _, access := range accesses {
		paths = append(paths, access.Path)
	}
	if len(paths) == 0 {
		return
	}
	found, err := session.Capabilities(ctx, paths)
	if err != nil {
		setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionRevocable, "Unknown", reasonWord(secrets.ReasonOf(err)), messageOf(err))
		return
	}
	for _, access := range accesses {
		if held := found[access.Path]; !slices.Contains(held, access.Capability) && !slices.Contains(held, "root") {
			setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionRevocable, "False", string(secrets.Forbidden),
				"Vault's policy does not allow "+access.Capability+" of "+access.Path+": what is issued lasts until it ends by itself, or its token is revoked; allow it, or set revokeOnDelete to false")
			return
		}
	}
	setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionRevocable, "True", "Allowed", "what is issued can be revoked")
}
