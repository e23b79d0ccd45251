package controller

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/engine"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Reasons of ConditionRotationRequired.
const (
	reasonQuarantined = "Quarantined" // True: it was in a pod that is quarantined
	reasonRotated     = "Rotated"     // False: it is another value now
)

// The answers to a Quarantine (runtime/v1alpha1, Revocation).
const (
	answerRevoked  = "Revoked"
	answerRotating = "Rotating"
	answerFailed   = "Failed"
)

// secretsOf are the VaultSecrets whose destination is a Secret of that name, or was.
func (c *Controller) secretsOf(namespace, name string) []*v1alpha1.VaultSecret {
	var found []*v1alpha1.VaultSecret
	for _, object := range indexed(c.index(&c.objects), byDestination, namespace+"/"+name) {
		if secret, ok := object.(*v1alpha1.VaultSecret); ok {
			if newest := c.secret(Key{KindSecret, secret.Namespace, secret.Name}); newest != nil {
				found = append(found, newest)
			}
		}
	}
	return found
}

// demandRotation has another value take the place of one that was in the wrong hands. What was issued before since is revoked at once and issued anew;
// what is static is marked, for people to change it in Vault. It is kept in memory only: ask until rotated answers.
func (c *Controller) demandRotation(key Key, since time.Time, why string) {
	c.flag(key, func(m *mind) { m.demand = &demand{since, why} })
	c.queue.Add(key, c.o.Clock.Now(), classPeople)
}

// rotated answers a demand: "" for not yet.
func (c *Controller) rotated(secret *v1alpha1.VaultSecret, since time.Time) (state, message string) {
	found := condition(secret.Status.Conditions, v1alpha1.ConditionRotationRequired)
	if found != nil && !found.LastTransitionTime.Time.Before(since.Truncate(time.Second)) {
		if found.Status == metav1.ConditionTrue {
			return answerRotating, found.Message
		}
		return answerRevoked, found.Message
	}
	if found != nil && found.Status == metav1.ConditionTrue {
		return answerRotating, found.Message // marked for another quarantine, and still to be changed
	}
	if synced := condition(secret.Status.Conditions, v1alpha1.ConditionSynced); synced != nil && synced.Status == metav1.ConditionFalse {
		if reason := secrets.Reason(synced.Reason); !reason.Outage() && reason != secrets.Undecided {
			return answerFailed, synced.Message
		}
	}
	return "", ""
}

// mark marks a static secret that a quarantine asks to be changed. Vault need not answer for that.
func (p *pass) mark() {
	if p.wanted == nil || p.issues() {
		return
	}
	dropCondition(&p.status.Conditions, v1alpha1.ConditionRotationRequired)
	if created := p.status.Created; created != nil && created.After(p.wanted.since) {
		setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionRotationRequired, "False", reasonRotated, "it was changed in Vault since")
	} else {
		setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionRotationRequired, "True", reasonQuarantined, p.wanted.why)
		p.c.event(KindSecret, &p.seen.ObjectMeta, "Warning", "RotationRequired", p.wanted.why)
	}
	p.met()
}

// met forgets a demand that is met.
func (p *pass) met() {
	wanted := p.wanted
	p.c.flag(p.key, func(m *mind) {
		if m.demand == wanted {
			m.demand = nil
		}
	})
}

// rotated is called when another value was written.
func (p *pass) rotated() {
	found := condition(p.status.Conditions, v1alpha1.ConditionRotationRequired)
	switch {
	case p.wanted != nil && p.issues():
		dropCondition(&p.status.Conditions, v1alpha1.ConditionRotationRequired)
		setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionRotationRequired, "False", reasonRotated, "what the pod held was revoked, and new credentials were issued")
		p.met()
	case found != nil && found.Status == metav1.ConditionTrue:
		setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionRotationRequired, "False", reasonRotated, "it was changed in Vault since")
	}
}

// replace revokes what is in the wrong hands before it issues anew.
func (p *pass) replace(ctx context.Context, lease *secrets.Lease) (*engine.Result, error) {
	var session Session
	var err error
	if lease.ID != "" {
		session, err = p.resume(ctx)
	} else {
		session, err = p.c.session(ctx, p.conn, p.auth)
	}
	if err != nil && !lostBy(err) {
		return nil, err
	}
	if session != nil {
		if err := engine.Revoke(ctx, session, *lease); err != nil && !lostBy(err) {
			if secrets.ReasonOf(err) != secrets.Forbidden || lease.ID == "" {
				return nil, err
			}
			// By revoking the token, which everybody may do with his own.
			if err := session.Revoke(ctx); err != nil {
				return nil, err
			}
			p.m.session = nil
		}
	}
	if kept := p.m.lease; kept != nil {
		kept.Spec.Leases = nil
	}
	p.m.inUse = nil
	return p.issue(ctx, p.m.session == nil)
}
