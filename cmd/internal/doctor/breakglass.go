package doctor

import (
	"context"
	"time"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func breakGlass() Check {
	return Check{
		Name: "break-glass", About: "nobody has broken the glass, by an object or by hand",
		Why:  "While the glass is broken, admission fails open, or asks nobody at all.",
		look: lookAtBreakGlass,
	}
}

func breakGlasses() schema.GroupVersionResource {
	return v1alpha1.GroupVersion.WithResource("breakglasses")
}

func lookAtBreakGlass(ctx context.Context, p *patient, r *Result) {
	now := p.Now()
	list, err := p.List(ctx, breakGlasses())
	if !apierrors.IsNotFound(err) && !r.unread(err, "the BreakGlass objects", "list breakglasses") {
		for n := range list.Items {
			var b v1alpha1.BreakGlass
			if err := decode(&list.Items[n], &b); err != nil {
				r.unknown("kubectl get breakglasses --output yaml", "A BreakGlass cannot be read: %v", err)
				continue
			}
			if !b.Open(now) {
				continue
			}
			left := b.Ends().Sub(now).Round(time.Minute)
			next := "kubectl delete breakglass " + b.Name + " # when what is broken is mended"
			if b.Wants() == v1alpha1.BreakGlassAdmit {
				r.problem(next, "%s has broken the glass, and nothing is judged for %s more: %s", b.Spec.OpenedBy, left, b.Spec.Reason)
				continue
			}
			r.warn(next, "%s has broken the glass: requests that the webhook does not answer are admitted for %s more: %s", b.Spec.OpenedBy, left, b.Spec.Reason)
		}
	}
	registered := p.seeConfigurations(ctx, r)
	if registered == nil {
		return
	}
	for _, annotations := range registered.annotations() {
		until, err := time.Parse(time.RFC3339, annotations[v1alpha1.BreakGlassUntilAnnotation])
		if err == nil && until.After(now) {
			r.problem("kubectl annotate validatingwebhookconfiguration,mutatingwebhookconfiguration portcullis "+v1alpha1.BreakGlassUntilAnnotation+"-",
				"The glass is broken by hand: until %s the controller does not undo what is done to the webhook configurations", until.UTC().Format(time.RFC3339))
			break
		}
	}
	if len(r.Observations) == 0 {
		r.ok("Nobody has broken the glass")
	}
}

// annotations are those of both configurations.
func (c *registered) annotations() []map[string]string {
	var all []map[string]string
	if c.validating != nil {
		all = append(all, c.validating.Annotations)
	}
	if c.mutating != nil {
		all = append(all, c.mutating.Annotations)
	}
	return all
}
