package registration

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// seen is everything that a turn depends on, as the API server has it at its beginning.
type seen struct {
	memory             *memory
	service            types.UID // "" where there is no such Service
	authority, serving *corev1.Secret
	byDoor             map[door]*configured
	ready              int // endpoints
	glasses            []v1alpha1.BreakGlass
	secretPath         string
}

// configurations are those that there are.
func (s *seen) configurations() []*configured {
	var all []*configured
	for _, d := range doors {
		if s.byDoor[d] != nil {
			all = append(all, s.byDoor[d])
		}
	}
	return all
}

// known are the authorities that clients trust by what is stored.
func (s *seen) known() []*x509.Certificate {
	var all []*x509.Certificate
	if s.serving != nil {
		all, _ = certificate.DecodeCertificates(s.serving.Data[bundleKey])
	}
	for _, one := range s.configurations() {
		all = append(all, one.authorities()...)
	}
	return all
}

// Turn looks at everything once, and makes it as it has to be. next is when something is due, zero for nothing that is known.
func (r *Registration) Turn(ctx context.Context) (next time.Time, err error) {
	now := r.options.Now()
	defer func() {
		r.metrics.turned(now, err)
		if err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) && r.told.fresh(err.Error(), now) {
			r.log.Error("the webhook's registration is not as it has to be: it is tried again", "error", err)
		}
	}()
	seen, err := r.read(ctx)
	if err != nil {
		return time.Time{}, err
	}
	r.metrics.endpoints.WithLabelValues().Set(float64(seen.ready))
	r.metrics.has(seen.byDoor)
	if r.uninstalled(seen) {
		r.metrics.waits(waitUninstalled)
		r.tell(ctx, corev1.EventTypeWarning, reasonWaiting, "Register", "nothing is registered, and nothing is put back: portcullis-controller uninstall was run at "+seen.memory.uninstalled.Format(time.RFC3339)+
			"; to register again take the annotation "+uninstalledAnnotation+" off the Lease "+r.leaseName())
		return time.Time{}, nil
	}
	open, glassErr := r.glass(ctx, now, seen)
	c, err := r.authority(ctx, now, seen)
	if err != nil {
		if errors.Is(err, errForeign) {
			r.wait(ctx, waitForeign, err.Error())
		}
		return time.Time{}, errors.Join(err, glassErr)
	}
	r.noteTrust(c, seen)
	configErr := r.register(ctx, now, seen, c, open)
	spread, leafErr := r.serve(ctx, now, seen, c)
	glassEnds, _ := ends(open)
	for _, at := range []time.Time{glassEnds, spread} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next, errors.Join(glassErr, configErr, leafErr)
}

// read reads everything. It is read anew at each turn: what a cache remembers may be what was just replaced.
func (r *Registration) read(ctx context.Context) (*seen, error) {
	found := &seen{byDoor: map[door]*configured{}}
	in := r.options.Service.Namespace
	var err error
	if found.memory, err = readMemory(ctx, r.kube.CoordinationV1().Leases(in), r.leaseName()); err != nil {
		return nil, err
	}
	service, err := r.kube.CoreV1().Services(in).Get(ctx, r.options.Service.Name, metav1.GetOptions{})
	switch {
	case err == nil:
		found.service = service.UID
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("reading the webhook's Service: %w", err)
	}
	if found.authority, err = r.secret(ctx, AuthoritySecret); err != nil {
		return nil, err
	}
	if found.serving, err = r.secret(ctx, ServingSecret); err != nil {
		return nil, err
	}
	if found.byDoor, err = r.readConfigurations(ctx); err != nil {
		return nil, err
	}
	if found.ready, err = r.endpoints(ctx); err != nil {
		return nil, err
	}
	if found.glasses, err = r.breakGlasses(ctx); err != nil {
		return nil, err
	}
	if r.options.SecretPath != nil {
		if found.secretPath, err = r.options.SecretPath(); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (r *Registration) readConfigurations(ctx context.Context) (map[door]*configured, error) {
	found := map[door]*configured{}
	v, err := r.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, r.options.Name, metav1.GetOptions{})
	switch {
	case err == nil:
		found[validating] = ofValidating(v)
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("reading the ValidatingWebhookConfiguration %s: %w", r.options.Name, err)
	}
	m, err := r.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, r.options.Name, metav1.GetOptions{})
	switch {
	case err == nil:
		found[mutating] = ofMutating(m)
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("reading the MutatingWebhookConfiguration %s: %w", r.options.Name, err)
	}
	return found, nil
}

// endpoints counts those that are ready.
func (r *Registration) endpoints(ctx context.Context) (int, error) {
	found, err := r.kube.DiscoveryV1().EndpointSlices(r.options.Service.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + r.options.Service.Name})
	if err != nil {
		return 0, fmt.Errorf("reading the webhook's endpoints: %w", err)
	}
	ready := 0
	for n := range found.Items {
		for _, e := range found.Items[n].Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready { // nil is "unknown", to be taken as ready (KEP-1672)
				ready++
			}
		}
	}
	return ready, nil
}

// breakGlasses are all of the cluster; none where the kind is not served.
func (r *Registration) breakGlasses(ctx context.Context) ([]v1alpha1.BreakGlass, error) {
	list, err := r.objects.Resource(v1alpha1.BreakGlasses).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the BreakGlasses: %w", err)
	}
	return glassesOf(list.Items), nil
}

// uninstalled says whether the configurations were taken away for good. The mark is about one Service: whoever installs anew makes
// another.
func (r *Registration) uninstalled(seen *seen) bool {
	m := seen.memory
	return !m.uninstalled.IsZero() && (seen.service == "" || m.gone == seen.service)
}

// wait says why nothing is registered, "" where something is.
func (r *Registration) wait(ctx context.Context, reason, note string) {
	r.metrics.waits(reason)
	if reason != "" {
		r.tell(ctx, corev1.EventTypeWarning, reasonWaiting, "Register", note)
	}
}

// glass finds out whether the glass is broken, writes it down, and tells of what is new. What could not be written down counts all
// the same.
func (r *Registration) glass(ctx context.Context, now time.Time, seen *seen) ([]Opening, error) {
	annotation, annotator := "", ""
	for _, one := range seen.configurations() {
		if value := one.meta.Annotations[v1alpha1.BreakGlassUntilAnnotation]; value != "" {
			annotation = value
			annotator, _ = changedBy(&one.meta, ManagedBy)
		}
	}
	m := seen.memory
	missing := r.missing(seen)
	deleted := r.takeDeleted()
	if annotation == "" && deleted != "" && (m.window == nil || m.window.Value != deleted) {
		annotation, annotator = deleted, "whoever deleted the configuration"
	}
	open, window, problem := openingsOf(now, seen.glasses, annotation, annotator, missing, m.window)
	if problem != "" {
		r.tell(ctx, corev1.EventTypeWarning, reasonIgnored, "BreakGlass", problem)
	}
	for n := range open { // whoever annotated was named when it was first seen
		if open[n].By == "" {
			open[n].By = byBefore(m.openings, open[n].Name)
		}
	}
	r.metrics.glass(open)
	opened, closed := difference(m.openings, open)
	m.openings, m.window = open, window
	if err := r.save(ctx, m); err != nil {
		r.keepDeleted(deleted) // nobody else knows of it
		return open, err
	}
	for _, o := range opened {
		effect := "requests that the webhook does not answer are admitted"
		if o.Mode == v1alpha1.BreakGlassAdmit {
			effect = "the webhook is asked about nothing"
		}
		r.tellGlass(ctx, reasonOpened, "BreakGlass", fmt.Sprintf("admission fails open until %s: %s, because of %s by %s: %s", o.Until.Format(time.RFC3339), effect, o.Name, o.By, o.Reason), o)
	}
	for _, o := range closed {
		how := "it was taken back"
		if !now.Before(o.Until) {
			how = "its time is over"
		}
		r.tellGlass(ctx, reasonClosed, "BreakGlass", fmt.Sprintf("%s, opened by %s, counts no more: %s", o.Name, o.By, how), o)
	}
	r.noteGlasses(ctx, now, seen.glasses)
	return open, nil
}

// missing says whether a configuration that policies ask for is not there; while they are not known, whether any is not.
func (r *Registration) missing(seen *seen) bool {
	interests := r.interests.Load()
	for _, d := range doors {
		asked := interests == nil || slices.ContainsFunc(*interests, func(i policies.Interest) bool { return d == validating && i.Validates || d == mutating && i.Mutates })
		if asked && seen.byDoor[d] == nil {
			return true
		}
	}
	return false
}

func byBefore(before []Opening, name string) string {
	for _, o := range before {
		if o.Name == name {
			return o.By
		}
	}
	return "unknown"
}

// noteGlasses writes into each BreakGlass whether it counts. It is for people; nothing depends on it.
func (r *Registration) noteGlasses(ctx context.Context, now time.Time, glasses []v1alpha1.BreakGlass) {
	for n := range glasses {
		g := &glasses[n]
		phase := v1alpha1.BreakGlassOver
		if g.Open(now) {
			phase = v1alpha1.BreakGlassInForce
		}
		until := metav1.NewTime(g.Ends())
		if g.Status.Phase == phase && g.Status.Until.Equal(&until) {
			continue
		}
		g.Status = v1alpha1.BreakGlassStatus{Phase: phase, Until: &until}
		if err := r.updateGlass(ctx, g); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			r.log.Debug("the status of a BreakGlass could not be written", "name", g.Name, "error", err)
		}
	}
}
