package containment

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// isDigest is of digests of images.
var isDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// condemn makes admission remember: an Incident for each subject. It works on pods that are gone.
type condemn struct{}

func (d condemn) prepare(_ context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Preparation, error) {
	wanted, err := d.incidents(c, q, a)
	if err != nil {
		return Preparation{Skip: err.Error()}, nil
	}
	names := make([]string, 0, len(wanted))
	for _, incident := range wanted {
		names = append(names, incident.Name)
	}
	return Preparation{Precondition: "Incidents " + strings.Join(names, ", ") + " are not there, or are of this quarantine"}, nil
}

// incidents are those that are to be there.
func (condemn) incidents(c *Cluster, q *v1alpha1.Quarantine, a response.Planned) ([]v1alpha1.Incident, error) {
	times := q.Spec.Settings.Times()
	lasts := q.Spec.IncidentTTL.Duration
	if lasts <= 0 {
		lasts = times.IncidentTTL
	}
	spec := v1alpha1.IncidentSpec{
		Scope: a.Parameters.Scope, Namespaces: a.Parameters.Namespaces, Effect: effectOf(a), Policy: a.Policy, Severity: a.Severity, Reason: a.Message,
		Quarantine: q.Name, Expires: metav1.NewTime(c.now().Add(lasts)),
	}
	incident := func(subject string) v1alpha1.Incident {
		return v1alpha1.Incident{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Incident"},
			ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.IncidentName(q.Name, spec.Scope, subject), Labels: map[string]string{v1alpha1.QuarantineLabel: q.Name}},
			Spec:       spec,
		}
	}
	pod := q.Spec.Pod
	switch spec.Scope {
	case response.ScopeOwner:
		if q.Spec.Owner == nil {
			return nil, errors.New("no controller stands above the pod")
		}
		owner := q.Spec.Owner
		spec.Owner = &v1alpha1.IncidentOwner{Group: owner.Group, Kind: owner.Kind, Namespace: pod.Namespace, Name: owner.Name}
		return []v1alpha1.Incident{incident(strings.Join([]string{owner.Group, owner.Kind, pod.Namespace, owner.Name}, "/"))}, nil
	case response.ScopeServiceAccount:
		if pod.ServiceAccount == "" {
			return nil, errors.New("the service account of the pod is not known")
		}
		spec.ServiceAccount = &v1alpha1.ServiceAccountReference{Namespace: pod.Namespace, Name: pod.ServiceAccount}
		return []v1alpha1.Incident{incident("ServiceAccount/" + pod.Namespace + "/" + pod.ServiceAccount)}, nil
	}
	spec.Scope = response.ScopeDigest
	digests := slices.DeleteFunc(slices.Clone(pod.Images), func(digest string) bool { return !isDigest.MatchString(digest) })
	if isDigest.MatchString(a.Digest) && (len(digests) == 0 || slices.Contains(digests, a.Digest)) {
		digests = []string{a.Digest} // one that the pod does not run is the sender's word alone
	}
	if len(digests) > 1 {
		// In which container it happened is not known: an image that half of the cluster has beside its own must not be denied for that.
		spec.Effect = response.EffectWarn
	}
	var all []v1alpha1.Incident
	for _, digest := range digests {
		spec.Digest = digest
		all = append(all, incident(digest))
	}
	if len(all) == 0 {
		return nil, errors.New("the digest of the image that ran is not known")
	}
	return all, nil
}

func effectOf(a response.Planned) string {
	if a.Parameters.Effect == response.EffectDeny {
		return response.EffectDeny
	}
	return response.EffectWarn
}

func (d condemn) do(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, a response.Planned) (Outcome, error) {
	wanted, err := d.incidents(c, q, a)
	if err != nil {
		return Outcome{}, err
	}
	var names []string
	for _, incident := range wanted {
		if err := c.ensureIncident(ctx, &incident); err != nil {
			return Outcome{}, err
		}
		names = append(names, incident.Name)
	}
	slices.Sort(names)
	return Outcome{Result: fmt.Sprintf("admission remembers the %s as %s, to %s", wanted[0].Spec.Scope, strings.Join(names, ", "), wanted[0].Spec.Effect), Incidents: names}, nil
}

// ensureIncident creates an incident. One that is there already stays as it is while it lasts; one that has expired begins anew.
func (c *Cluster) ensureIncident(ctx context.Context, incident *v1alpha1.Incident) error {
	object, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(incident)
	if err != nil {
		return fmt.Errorf("encoding Incident %s: %w", incident.Name, err)
	}
	_, err = c.client.Resource(v1alpha1.Incidents).Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{FieldManager: actor})
	if err == nil {
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating Incident %s: %w", incident.Name, err)
	}
	_, err = c.change(ctx, v1alpha1.Incidents, "", incident.Name, "", func(have *unstructured.Unstructured) ([]operation, error) {
		var old v1alpha1.Incident
		if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(have.Object, &old); err != nil {
			return nil, fmt.Errorf("decoding it: %w", err)
		}
		same := old.Spec
		same.Expires = incident.Spec.Expires
		if old.Spec.Expires.After(c.now()) && equality.Semantic.DeepEqual(same, incident.Spec) {
			return nil, nil
		}
		return []operation{{Op: "replace", Path: "/spec", Value: incident.Spec}}, nil
	})
	return err
}

// undo lifts the incidents of the quarantine, and no others.
func (condemn) undo(ctx context.Context, c *Cluster, q *v1alpha1.Quarantine, _ response.Planned) (Outcome, error) {
	list, err := c.client.Resource(v1alpha1.Incidents).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.QuarantineLabel + "=" + q.Name})
	if err != nil {
		return Outcome{}, fmt.Errorf("listing the Incidents of the quarantine: %w", err)
	}
	lifted := 0
	for _, object := range list.Items {
		if of, _, _ := unstructured.NestedString(object.Object, "spec", "quarantine"); of != q.Name {
			continue
		}
		uid := object.GetUID()
		err := c.client.Resource(v1alpha1.Incidents).Delete(ctx, object.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		if err != nil && !apierrors.IsNotFound(err) {
			return Outcome{}, fmt.Errorf("lifting Incident %s: %w", object.GetName(), err)
		}
		lifted++
	}
	return Outcome{Result: fmt.Sprintf("%d Incidents are lifted", lifted)}, nil
}
