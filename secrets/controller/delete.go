package controller

import (
	"context"
	"slices"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/engine"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// patienceOfDeletion is how long a deletion waits for what people would have to change, so that no namespace hangs for it. An outage is waited for
// until the leases have ended by themselves.
const patienceOfDeletion = 10 * time.Minute

// delete revokes what was issued, gives up or deletes the Secret, and lets the object go.
func (p *pass) delete(ctx context.Context) (time.Time, error) {
	p.c.unfollow(p.seen)
	if !slices.Contains(p.seen.Finalizers, v1alpha1.Finalizer) {
		p.c.forget(p.key)
		return time.Time{}, nil
	}
	until, err := p.revokeAll(ctx)
	if err == nil {
		until = p.seen.DeletionTimestamp.Add(patienceOfDeletion)
		retain := p.secret.Spec.Deletion.WhenDeleted == v1alpha1.Retain
		if written := p.status.Destination; written != nil {
			err = p.c.o.Writer.Delete(ctx, p.owner, written, retain)
		}
	}
	if ctx.Err() != nil {
		return time.Time{}, ctx.Err()
	}
	if err != nil && until.After(p.now) {
		return p.deleteLater(ctx, err, until)
	}
	if err != nil {
		p.c.event(KindSecret, &p.seen.ObjectMeta, "Warning", "NotRevoked", "it is let go, though not all is cleared away: "+messageOf(err))
	}
	if err := p.c.o.Leases.Delete(ctx, string(p.seen.UID)); err != nil {
		return time.Time{}, err
	}
	if err := p.c.setFinalizer(ctx, KindSecret, &p.seen.ObjectMeta, false); err != nil {
		return time.Time{}, err
	}
	p.c.forget(p.key)
	return time.Time{}, nil
}

// deleteLater says why the object is still there.
func (p *pass) deleteLater(ctx context.Context, failure error, until time.Time) (time.Time, error) {
	reason := secrets.ReasonOf(failure)
	message := "its deletion waits, at most until " + until.UTC().Format(time.RFC3339) + ": " + messageOf(failure)
	if setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionSynced, "False", reasonWord(reason), message) {
		p.c.event(KindSecret, &p.seen.ObjectMeta, "Warning", reasonWord(reason), message)
	}
	if kept := p.m.lease; kept != nil {
		p.c.failedAs(p.key, kept.Spec.Connection, classPeople, failure)
	} else if p.conn != nil {
		p.c.failedAs(p.key, p.conn.Name, classPeople, failure)
	}
	p.m.failures++
	next := p.now.Add(min(secrets.Backoff(p.m.failures, reason, 0, string(p.seen.UID)), time.Minute))
	return earlierOf(next, until), p.c.writeSecretStatus(ctx, p.seen, p.status)
}

// revokeAll revokes all that was issued. An error is worth waiting for until the time given.
func (p *pass) revokeAll(ctx context.Context) (time.Time, error) {
	soon := p.seen.DeletionTimestamp.Add(patienceOfDeletion)
	kept, err := p.load(ctx)
	if err != nil {
		return soon, err
	}
	if !engine.Revokes(&p.secret.Spec.Source) {
		return time.Time{}, nil // what was issued ends by itself
	}
	if kept != nil {
		return p.patience(p.revokeHeld(ctx, kept), lastOf(kept.Spec.Leases, p.status.Lease), soon)
	}
	var all []secrets.Lease
	if lease := p.lease(); lease != nil && lease.ID == "" && lease.Expires.After(p.now) {
		all = append(all, *lease)
	}
	for _, one := range p.m.retired {
		all = append(all, one.lease)
	}
	if len(all) == 0 {
		return time.Time{}, nil
	}
	return p.patience(p.revokeShared(ctx, all), lastOf(all, nil), soon)
}

// patience is how long to wait after a failure.
func (p *pass) patience(err error, ends, soon time.Time) (time.Time, error) {
	if secrets.ReasonOf(err).Outage() || ends.Before(soon) {
		return ends, err
	}
	return soon, err
}

// lastOf is when the last of some leases ends.
func lastOf(all []secrets.Lease, status *v1alpha1.LeaseStatus) time.Time {
	var last time.Time
	for _, one := range all {
		if one.Expires.After(last) {
			last = one.Expires
		}
	}
	if status != nil && status.Expires.After(last) {
		last = status.Expires.Time
	}
	return last
}

// revokeHeld revokes leases and then the token that made them, which takes what Vault's policy did not let us revoke one by one.
func (p *pass) revokeHeld(ctx context.Context, kept *v1alpha1.VaultLease) error {
	session, err := p.sessionOf(ctx, kept)
	if lostBy(err) {
		return nil // with the token its leases are gone
	}
	if err != nil {
		return err
	}
	for _, one := range kept.Spec.Leases {
		err := engine.Revoke(ctx, session, one)
		if reason := secrets.ReasonOf(err); reason == secrets.TokenRevoked {
			return nil
		} else if err != nil && reason != secrets.Forbidden {
			return err
		}
	}
	if p.m.former != nil {
		p.end(ctx, p.m.former)
	}
	return session.Revoke(ctx)
}

// sessionOf is the one that holds leases: the one in hand, or one by the token that is kept. The VaultAuth may be gone with the namespace; the
// token is still good.
func (p *pass) sessionOf(ctx context.Context, kept *v1alpha1.VaultLease) (Session, error) {
	if p.m.session != nil {
		return p.m.session, nil
	}
	conn := p.c.connection(kept.Spec.Connection)
	if conn == nil {
		return nil, &secrets.Error{Reason: secrets.MissingReference, Message: "the VaultConnection " + kept.Spec.Connection + " of its leases is not there"}
	}
	p.conn = conn
	object, _, _ := p.c.index(&p.c.auths).GetByKey(p.seen.Namespace + "/" + kept.Spec.Auth)
	auth, ok := object.(*v1alpha1.VaultAuth)
	if !ok || auth.Spec.Connection != conn.Name {
		auth = holderOf(kept)
	}
	session, err := p.c.resume(ctx, conn, auth, kept)
	if err != nil {
		return nil, err
	}
	p.m.session = session
	return session, nil
}

// revokeShared revokes certificates and secret ids.
func (p *pass) revokeShared(ctx context.Context, all []secrets.Lease) error {
	var err error
	if p.conn, p.auth, err = p.c.references(p.seen.Namespace, p.seen.Spec.Auth); err != nil {
		return err
	}
	session, err := p.c.session(ctx, p.conn, p.auth)
	if err != nil {
		return err
	}
	for _, one := range all {
		if err := engine.Revoke(ctx, session, one); err != nil {
			return err
		}
	}
	p.m.retired = nil
	p.status.Lease = nil // not again, if what follows fails
	return nil
}
