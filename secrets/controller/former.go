package controller

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/engine"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// formerEvery is the time between two looks at leases whose VaultSecret is another one now.
const formerEvery = 10 * time.Minute

// endFormer ends leases of VaultSecrets that are no more, now and then: in a cluster that was restored from a backup each object has another
// UID than the one that its VaultLease names, and without its token nobody could revoke what was issued for it.
func (c *Controller) endFormer(ctx context.Context) {
	for wait := retireAfter; ; wait = formerEvery {
		select {
		case <-ctx.Done():
			return
		case <-c.o.Clock.After(wait):
		}
		all, err := c.o.Leases.List(ctx)
		if err != nil && ctx.Err() == nil {
			c.log.Warn("looking for leases whose VaultSecret is no more: it is tried again", "error", err)
		}
		for n := range all {
			if err := c.endIfFormer(ctx, &all[n]); err != nil && ctx.Err() == nil {
				c.log.Warn("a lease whose VaultSecret is no more is not ended yet", "lease", all[n].Name, "object", all[n].Spec.Owner.Namespace+"/"+all[n].Spec.Owner.Name, "error", err)
			}
		}
	}
}

// endIfFormer ends the leases of one that is no more, once the one that has its name now has credentials of its own and had the time to bring them
// to where they are used. Where there is none of the name nothing is revoked, for it may be restored yet; what has ended is forgotten.
func (c *Controller) endIfFormer(ctx context.Context, kept *v1alpha1.VaultLease) error {
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	owner := kept.Spec.Owner
	if known := c.secret(Key{KindSecret, owner.Namespace, owner.Name}); known != nil && string(known.UID) == owner.UID {
		return nil
	}
	live, err := c.secretNow(ctx, owner.Namespace, owner.Name)
	if err != nil || live != nil && string(live.UID) == owner.UID {
		return err
	}
	if live == nil || !engine.Revokes(&live.Defaulted().Spec.Source) {
		return c.forgetEnded(ctx, kept)
	}
	issued := live.Status.Lease
	if issued == nil || !isTrue(live.Status.Conditions, v1alpha1.ConditionSynced) || c.o.Clock.Now().Before(issued.Issued.Add(retireAfter)) {
		return nil
	}
	key := Key{KindSecret, owner.Namespace, owner.Name}
	p := &pass{c: c, m: &mind{uid: live.UID}, key: key, now: c.o.Clock.Now(), seen: live, secret: live.Defaulted(), status: copyStatus(&live.Status)}
	switch _, err := p.sessionOf(ctx, kept); secrets.ReasonOf(err) {
	case "":
	case secrets.TokenRevoked:
		c.log.Info("leases of a VaultSecret that is no more have ended with their token", "object", key.String(), "leases", len(kept.Spec.Leases))
		c.event(KindSecret, &live.ObjectMeta, "Normal", "FormerEnded", "what was issued for the VaultSecret that had this name before had ended with its token")
		return c.o.Leases.Delete(ctx, kept.Name)
	case secrets.LeaseLost:
		c.event(KindSecret, &live.ObjectMeta, "Warning", "FormerKept", "what was issued for the VaultSecret that had this name before is not revoked, for the token of the VaultLease "+kept.Name+
			" cannot be opened: "+messageOf(err)+": restore the key that sealed it, or revoke its leases in Vault and delete the VaultLease")
		return err
	default:
		return err
	}
	if err := p.revokeHeld(ctx, kept); err != nil {
		return err
	}
	c.log.Info("leases of a VaultSecret that is no more were revoked", "object", key.String(), "leases", len(kept.Spec.Leases))
	c.event(KindSecret, &live.ObjectMeta, "Normal", "FormerRevoked", "what was issued for the VaultSecret that had this name before was revoked")
	return c.o.Leases.Delete(ctx, kept.Name)
}

// secretNow asks the API server for a VaultSecret: an informer may be behind. It is nil where there is none.
func (c *Controller) secretNow(ctx context.Context, namespace, name string) (*v1alpha1.VaultSecret, error) {
	object, err := c.o.Client.Resource(v1alpha1.VaultSecrets).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, clusterError("reading the VaultSecret "+namespace+"/"+name, err)
	}
	return v1alpha1.Decode[v1alpha1.VaultSecret](object)
}

// forgetEnded deletes a VaultLease whose token has ended, with all that it held. One that cannot be opened may live.
func (c *Controller) forgetEnded(ctx context.Context, kept *v1alpha1.VaultLease) error {
	conn := c.connection(kept.Spec.Connection)
	if conn == nil {
		return &secrets.Error{Reason: secrets.MissingReference, Message: "the VaultConnection " + kept.Spec.Connection + " of its leases is not there"}
	}
	_, err := c.resume(ctx, conn, holderOf(kept), kept)
	if secrets.ReasonOf(err) != secrets.TokenRevoked {
		return err
	}
	return c.o.Leases.Delete(ctx, kept.Name)
}

// holderOf is a VaultAuth that stands for the one that is gone: the token that is kept is still good, and nobody logs in.
func holderOf(kept *v1alpha1.VaultLease) *v1alpha1.VaultAuth {
	auth := &v1alpha1.VaultAuth{Spec: v1alpha1.VaultAuthSpec{Connection: kept.Spec.Connection, Kubernetes: &v1alpha1.KubernetesAuth{Role: "none", ServiceAccount: "none"}}}
	auth.Namespace, auth.Name = kept.Spec.Owner.Namespace, kept.Spec.Auth
	return auth
}
