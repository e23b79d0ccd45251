package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// reconcileQuarantine answers spec.revoke of a Quarantine that is in force: what the named Secrets hold of Vault is revoked and issued anew, or,
// where Vault has no lease for it, is to be rotated by people. status.revoked says how far each is; it is all that is remembered, so that another
// replica goes on. The time of an entry that is Rotating is when that began, a whole second: whatever was issued before it counts as the pod's.
//
// What is released later stays revoked. A Quarantine that is admitted again begins anew, since the pod may have had other secrets by then.
func (c *Controller) reconcileQuarantine(ctx context.Context, name string) error {
	for range 3 {
		// Not from the informer: an answer of a moment ago must not be given twice.
		live, err := c.o.Client.Resource(runtimev1alpha1.Quarantines).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return clusterError("reading the Quarantine", err)
		}
		q, err := decodeQuarantine(live)
		if err != nil {
			return err
		}
		answers, again := c.answerRevocations(q)
		if !again.IsZero() {
			c.enqueue(Key{Kind: KindQuarantine, Name: name}, again, classPeople)
		}
		if sameStatus(answers, q.Status.Revoked) {
			return nil
		}
		err = c.writeRevocations(ctx, q, answers)
		if !apierrors.IsConflict(err) {
			return err
		}
	}
	return errMoved
}

func decodeQuarantine(object *unstructured.Unstructured) (*runtimev1alpha1.Quarantine, error) {
	var q runtimev1alpha1.Quarantine
	raw, err := json.Marshal(object.Object)
	if err == nil {
		err = json.Unmarshal(raw, &q)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the Quarantine %s: %w", object.GetName(), err)
	}
	return &q, nil
}

// answerRevocations is what status.revoked is to be now, and when to look again if nobody else will say so.
func (c *Controller) answerRevocations(q *runtimev1alpha1.Quarantine) (answers []runtimev1alpha1.Revocation, again time.Time) {
	earlier := q.Status.Revoked
	if len(q.Spec.Revoke) == 0 || q.Status.Admitted == nil {
		return earlier, time.Time{}
	}
	now := c.o.Clock.Now()
	seen := map[runtimev1alpha1.SecretReference]bool{}
	for _, reference := range q.Spec.Revoke {
		if seen[reference] {
			continue
		}
		seen[reference] = true
		known := revocationOf(earlier, reference, q.Status.Admitted.Time)
		switch {
		case known != nil && known.State == answerRevoked:
			answers = append(answers, *known) // that is over
		case known == nil && !q.Status.Phase.InForce():
			// Nothing has begun, and now nothing is to: who released it has decided. What was said in an earlier life stands.
			if before := revocationOf(earlier, reference, time.Time{}); before != nil {
				answers = append(answers, *before)
			}
		case known == nil:
			began := now.Truncate(time.Second)
			if began.Before(now) {
				began = began.Add(time.Second)
			}
			answers = append(answers, c.revocation(reference, answerRotating, "begun", began))
			again = soonest(again, began)
		case known.Time.After(now):
			answers = append(answers, *known)
			again = soonest(again, known.Time.Time)
		default:
			answer := c.revoke(q, reference, known)
			answers = append(answers, answer)
			if answer.State != answerRevoked {
				// The VaultSecret tells when it is done; this is for when it did so before it was asked.
				age := now.Sub(known.Time.Time)
				again = soonest(again, now.Add(min(max(age/4, time.Second), quarantinesEvery)))
			}
		}
	}
	return answers, again
}

func soonest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// revocationOf is the answer about a Secret since a time: statuses have whole seconds.
func revocationOf(all []runtimev1alpha1.Revocation, reference runtimev1alpha1.SecretReference, since time.Time) *runtimev1alpha1.Revocation {
	for n := range all {
		if all[n].SecretReference == reference && !all[n].Time.Time.Before(since.Truncate(time.Second)) {
			return &all[n]
		}
	}
	return nil
}

func (c *Controller) revocation(reference runtimev1alpha1.SecretReference, state, message string, when time.Time) runtimev1alpha1.Revocation {
	return runtimev1alpha1.Revocation{SecretReference: reference, State: state, Message: cut(message, mostMessage), Time: metav1.NewTime(when.Truncate(time.Second))}
}

// revoke asks for what one Secret holds to be revoked, again and again until that is done, and says how far it is.
func (c *Controller) revoke(q *runtimev1alpha1.Quarantine, reference runtimev1alpha1.SecretReference, begun *runtimev1alpha1.Revocation) runtimev1alpha1.Revocation {
	now, since := c.o.Clock.Now(), begun.Time.Time
	kept := c.secretsOf(reference.Namespace, reference.Name)
	if len(kept) == 0 {
		return c.revocation(reference, answerFailed, "no VaultSecret keeps this Secret: revoke what is in it where it comes from", since)
	}
	why := fmt.Sprintf("the pod %s/%s that had it is quarantined (Quarantine %s)", q.Spec.Pod.Namespace, q.Spec.Pod.Name, q.Name)
	state, messages := answerRevoked, []string(nil)
	for _, secret := range kept {
		reached, message := c.rotated(secret, since)
		if reached == "" || reached == answerFailed {
			c.demandRotation(Key{KindSecret, secret.Namespace, secret.Name}, since, why)
		}
		state = worse(state, reached)
		if message != "" {
			messages = append(messages, message)
		}
	}
	message := strings.Join(messages, "; ")
	if state == answerRevoked {
		return c.revocation(reference, state, message, now)
	}
	if message == "" {
		message = "begun"
	}
	return c.revocation(reference, state, message, since)
}

// worse is the worse of two states: what failed, what is not done yet, what is.
func worse(a, b string) string {
	switch {
	case a == answerFailed || b == answerFailed:
		return answerFailed
	case a == answerRevoked && b == answerRevoked:
		return answerRevoked
	}
	return answerRotating
}

// writeRevocations writes status.revoked and nothing else, if the Quarantine is still the one that was read.
func (c *Controller) writeRevocations(ctx context.Context, q *runtimev1alpha1.Quarantine, answers []runtimev1alpha1.Revocation) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": q.UID, "resourceVersion": q.ResourceVersion},
		"status":   map[string]any{"revoked": answers},
	})
	if err != nil {
		return fmt.Errorf("encoding what was revoked: %w", err)
	}
	options := metav1.PatchOptions{FieldManager: "portcullis-secrets"}
	_, err = c.o.Client.Resource(runtimev1alpha1.Quarantines).Patch(ctx, q.Name, types.MergePatchType, patch, options, "status")
	switch {
	case err == nil, apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return err
	}
	return clusterError("writing what was revoked", err)
}
