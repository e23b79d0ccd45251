package registration

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

func (r *Registration) configurationOptions(bundle []byte, secretPath string) configuration.Options {
	service := r.options.Service
	return configuration.Options{
		Name: r.options.Name, Service: &service, CABundle: bundle, SecretPath: secretPath, TimeoutSeconds: r.options.TimeoutSeconds,
		// A webhook that asks for scans writes, though not on a dry run. To say so of one that does not costs nothing.
		Writes:   true,
		Recovery: configuration.Recovery{Namespace: service.Namespace, NodeNamespaces: r.options.NodeNamespaces},
	}
}

// wanted are the configurations as the policies have them. known is false while policies are not known or match nothing.
func (r *Registration) wanted(bundle []byte, secretPath string) (byDoor map[door]*configured, known bool, err error) {
	interests := r.interests.Load()
	if interests == nil || len(*interests) == 0 {
		return nil, false, nil
	}
	computed, err := configuration.Compute(*interests, r.configurationOptions(bundle, secretPath))
	if err != nil {
		return nil, false, fmt.Errorf("computing the webhook configurations: %w", err)
	}
	byDoor = map[door]*configured{validating: ofValidating(computed.Validating), mutating: ofMutating(computed.Mutating)}
	for d, one := range byDoor {
		if one == nil {
			delete(byDoor, d)
			continue
		}
		one.meta.Labels = labels()
		one.fillIn()
	}
	return byDoor, len(byDoor) > 0, nil
}

// repaired is a configuration as it has to be while its policies are not known: what is not about rules is put right.
func (r *Registration) repaired(before *configured, bundle []byte, secretPath string) *configured {
	made := before.copy()
	made.meta = metav1.ObjectMeta{Labels: labels()}
	timeout := r.options.TimeoutSeconds
	if timeout == 0 {
		timeout = configuration.DefaultTimeoutSeconds
	}
	made.close(timeout)
	for n := range made.entries {
		client := configuration.Client(r.configurationOptions(bundle, secretPath), made.door == mutating)
		made.entries[n].ClientConfig = client
	}
	made.fillIn()
	return made
}

// register makes the configurations as they have to be.
func (r *Registration) register(ctx context.Context, now time.Time, seen *seen, c *chain, open []Opening) error {
	bundle := c.bundle()
	wanted, known, err := r.wanted(bundle, seen.secretPath)
	if err != nil {
		return err
	}
	for _, one := range seen.configurations() {
		if seen.memory.since.IsZero() && !one.ours(r.options.Service) {
			r.wait(ctx, waitForeign, fmt.Sprintf("nothing is registered: there is a %s webhook configuration %s that calls somebody else: choose another --webhook-name, or delete it", one.door, r.options.Name))
			return nil
		}
	}
	registered := seen.memory.service == seen.service && seen.service != "" && !seen.memory.since.IsZero()
	if !registered && len(seen.configurations()) == 0 {
		if reason, note := r.unready(seen, known); reason != "" {
			r.wait(ctx, reason, note)
			return nil
		}
	}
	if !known && len(seen.configurations()) == 0 {
		r.wait(ctx, waitPolicies, "nothing is registered: no policies are known, or they match nothing")
		return nil
	}
	r.wait(ctx, "", "")
	how := opennessOf(open)
	if how == withdrawn {
		return r.withdraw(ctx, seen)
	}
	if m := seen.memory; m.since.IsZero() || seen.service != "" && m.service != seen.service { // before they are there: what is interrupted between is begun again
		seen.memory.since, seen.memory.service = now.Truncate(time.Second), seen.service
		seen.memory.uninstalled, seen.memory.gone = time.Time{}, ""
		if err := r.save(ctx, seen.memory); err != nil {
			return err
		}
	}
	if !known {
		r.tell(ctx, corev1.EventTypeWarning, reasonWaiting, "Register", "the rules stay as they are: no policies are known, or they match nothing")
	}
	for _, d := range doors {
		one := wanted[d]
		if !known && seen.byDoor[d] != nil {
			one = r.repaired(seen.byDoor[d], bundle, seen.secretPath)
		}
		if err := r.settle(ctx, now, d, seen, one, how, known); err != nil {
			return err
		}
	}
	return nil
}

// unready is why a first registration has to wait.
func (r *Registration) unready(seen *seen, known bool) (reason, note string) {
	service := r.options.Service.Namespace + "/" + r.options.Service.Name
	switch {
	case seen.service == "":
		return waitService, "nothing is registered yet: there is no Service " + service + ": create it, or correct --webhook-service"
	case !known:
		return waitPolicies, "nothing is registered yet: no policies are known, or they match nothing: see the PolicyBundles"
	case seen.ready == 0:
		return waitEndpoints, "nothing is registered yet: no endpoint of the Service " + service + " is ready, and a webhook that fails closed would stop the cluster: see the webhook's pods"
	}
	return "", ""
}

// settle makes one configuration as it has to be: wanted, or none for nil.
func (r *Registration) settle(ctx context.Context, now time.Time, d door, seen *seen, wanted *configured, how openness, known bool) error {
	before := seen.byDoor[d]
	switch {
	case how == handsOff && before == nil:
		return nil // whoever deleted it meant it
	case how == handsOff:
		annotations := before.meta.Annotations
		wanted = before.copy()
		wanted.open()
		if bytes.Equal(before.text(), wanted.text()) {
			return nil
		}
		wanted.meta.Annotations = annotations
		return r.update(ctx, before, wanted, wroteUpdated, annotations)
	case wanted == nil && before == nil:
		return nil
	case wanted == nil:
		return r.delete(ctx, before, "no policy asks for it any more")
	}
	if how == ignoring {
		wanted.open()
	}
	text := wanted.text()
	foreignEdit := bytes.Equal(r.written[d], text)
	if before == nil {
		result, note := wroteCreated, "registered the "+string(d)+" webhook"
		if foreignEdit {
			result, note = wroteHealed, "somebody had deleted the "+string(d)+" webhook configuration: it was put back; to have it gone open a BreakGlass"
			if r.damped(now) {
				return nil
			}
		}
		if err := r.create(ctx, d, wanted, result); err != nil {
			return err
		}
		r.written[d] = text
		r.tellWrite(ctx, result, note)
		return nil
	}
	if before.same(wanted) {
		r.written[d] = text
		return nil
	}
	result, note := wroteUpdated, "changed the "+string(d)+" webhook configuration to what the policies ask for"
	if foreignEdit {
		who, _ := changedBy(&before.meta, ManagedBy)
		result, note = wroteHealed, fmt.Sprintf("somebody had changed the %s webhook configuration (by %q): it was put back; to have admission fail open for a while open a BreakGlass", d, who)
		if r.damped(now) {
			return nil
		}
	}
	made := before.copy()
	made.entries = wanted.entries
	if made.meta.Labels == nil {
		made.meta.Labels = map[string]string{}
	}
	for key, value := range wanted.meta.Labels {
		made.meta.Labels[key] = value
	}
	annotations := made.meta.Annotations
	delete(annotations, v1alpha1.BreakGlassUntilAnnotation)
	if err := r.update(ctx, before, made, result, annotations); err != nil {
		return err
	}
	r.written[d] = text
	r.tellWrite(ctx, result, note)
	return nil
}

// damped says whether a repair waits for the next look, and counts it otherwise.
func (r *Registration) damped(now time.Time) bool {
	if r.damper.fighting(now) {
		r.log.Warn("the webhook configurations are changed again and again by others: they are put back at each look, not at once", "every", r.options.Resync)
		if len(r.damper.healed) > 0 && now.Sub(r.damper.healed[len(r.damper.healed)-1]) < min(r.options.Resync, fightTime/2) {
			return true
		}
	}
	r.damper.heal(now)
	return false
}

func (r *Registration) tellWrite(ctx context.Context, result, note string) {
	switch result {
	case wroteHealed:
		r.tell(ctx, corev1.EventTypeWarning, reasonHealed, "Heal", note)
	case wroteCreated:
		r.tell(ctx, corev1.EventTypeNormal, reasonRegistered, "Register", note)
	default:
		r.log.Info(note)
	}
}

func (r *Registration) create(ctx context.Context, d door, wanted *configured, result string) error {
	wanted.meta.Name = r.options.Name
	options := metav1.CreateOptions{FieldManager: ManagedBy}
	var err error
	if d == validating {
		_, err = r.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, wanted.toValidating(), options)
	} else {
		_, err = r.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, wanted.toMutating(), options)
	}
	return r.count(d, result, err, "creating")
}

func (r *Registration) update(ctx context.Context, before, made *configured, result string, annotations map[string]string) error {
	made.meta.Annotations = annotations
	made.meta.ResourceVersion = before.meta.ResourceVersion // a change meanwhile is a conflict, and looked at anew
	made.meta.ManagedFields = nil
	options := metav1.UpdateOptions{FieldManager: ManagedBy}
	var err error
	if before.door == validating {
		_, err = r.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Update(ctx, made.toValidating(), options)
	} else {
		_, err = r.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Update(ctx, made.toMutating(), options)
	}
	return r.count(before.door, result, err, "changing")
}

func (r *Registration) delete(ctx context.Context, before *configured, why string) error {
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &before.meta.UID, ResourceVersion: &before.meta.ResourceVersion}}
	var err error
	if before.door == validating {
		err = r.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, r.options.Name, options)
	} else {
		err = r.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(ctx, r.options.Name, options)
	}
	if apierrors.IsNotFound(err) {
		err = nil
	}
	if err := r.count(before.door, wroteDeleted, err, "deleting"); err != nil {
		return err
	}
	delete(r.written, before.door)
	r.tell(ctx, corev1.EventTypeNormal, reasonUnregistered, "Unregister", fmt.Sprintf("took the %s webhook configuration away: %s", before.door, why))
	return nil
}

func (r *Registration) count(d door, result string, err error, doing string) error {
	if err != nil {
		r.metrics.wrote(string(d), wroteFailed)
		return fmt.Errorf("%s the %s webhook configuration %s: %w", doing, d, r.options.Name, err)
	}
	r.metrics.wrote(string(d), result)
	return nil
}

// withdraw takes both away while the glass is broken for all.
func (r *Registration) withdraw(ctx context.Context, seen *seen) error {
	for _, one := range seen.configurations() {
		if err := r.delete(ctx, one, "the glass is broken for all requests"); err != nil {
			return err
		}
	}
	return nil
}

// updateGlass writes the status of a BreakGlass, if it is as it was read.
func (r *Registration) updateGlass(ctx context.Context, g *v1alpha1.BreakGlass) error {
	g.APIVersion, g.Kind = v1alpha1.GroupVersion.String(), "BreakGlass"
	content, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(g)
	if err != nil {
		return err
	}
	_, err = r.objects.Resource(v1alpha1.BreakGlasses).UpdateStatus(ctx, &unstructured.Unstructured{Object: content}, metav1.UpdateOptions{})
	return err
}
