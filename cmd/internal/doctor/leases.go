package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	coordinationv1 "k8s.io/api/coordination/v1"
)

func leases() Check {
	return Check{
		Name: "leases", About: "of each program that elects one replica to act, one acts, and it lives",
		Why:  "While nobody holds the Lease, no bundle is rolled out, no pod quarantined, no secret synced.",
		look: lookAtLeases,
	}
}

// leaders are the programs that elect, by the names of their Leases where no flag says otherwise.
var leaders = []installation.Component{installation.Controller, installation.Responder, installation.Secrets}

func lookAtLeases(ctx context.Context, p *patient, r *Result) {
	list, err := p.Client.CoordinationV1().Leases(p.Namespace).List(ctx, listOptions)
	if r.unread(err, "the Leases of "+p.Namespace, "list leases --namespace "+p.Namespace) {
		return
	}
	byName := map[string]*coordinationv1.Lease{}
	for n := range list.Items {
		byName[list.Items[n].Name] = &list.Items[n]
	}
	for _, component := range leaders {
		deployment, err := p.Deployment(ctx, component)
		if err != nil || deployment == nil {
			continue
		}
		name, ok := installation.Flag(component, &deployment.Spec.Template.Spec, "lease-name")
		if !ok || name == "" {
			name = component.Program()
		}
		p.lease(ctx, r, component, name, byName[name])
	}
	if len(r.Observations) == 0 {
		r.ok("No program that elects is installed")
	}
}

func (p *patient) lease(ctx context.Context, r *Result, component installation.Component, name string, lease *coordinationv1.Lease) {
	logs := fmt.Sprintf("kubectl --namespace %s logs --selector app.kubernetes.io/component=%s --tail 50", p.Namespace, component)
	if lease == nil {
		r.problem(logs, "There is no Lease %s: no replica of %s has ever acted", name, component.Program())
		return
	}
	holder := ""
	if lease.Spec.HolderIdentity != nil {
		holder = *lease.Spec.HolderIdentity
	}
	lasts := 15 * time.Second
	if lease.Spec.LeaseDurationSeconds != nil {
		lasts = time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second
	}
	switch {
	case holder == "":
		r.problem(logs, "Nobody holds the Lease %s: no replica of %s acts", name, component.Program())
	case lease.Spec.RenewTime == nil || p.Now().Sub(lease.Spec.RenewTime.Time) > 2*lasts+5*time.Second:
		r.problem(logs, "The Lease %s was last renewed %s, and lasts %s: its holder %s does not act, and no other replica of %s has taken over", name, renewed(p.Now(), lease), lasts, holder, component.Program())
	case !p.lives(ctx, component, holder):
		r.warn(fmt.Sprintf("kubectl --namespace %s get lease %s --output yaml", p.Namespace, name), "The Lease %s is held by %s, which is no pod of %s", name, holder, component.Program())
	default:
		r.ok("%s: %s acts", component.Program(), holder)
	}
}

func renewed(now time.Time, lease *coordinationv1.Lease) string {
	if lease.Spec.RenewTime == nil {
		return "never"
	}
	return ago(now, lease.Spec.RenewTime.Time)
}

// lives says whether a holder is one of the pods of a program. Who cannot be told counts as alive.
func (p *patient) lives(ctx context.Context, component installation.Component, holder string) bool {
	pods, err := p.PodsOf(ctx, component)
	if err != nil {
		return true
	}
	for n := range pods {
		if strings.HasPrefix(holder, pods[n].Name) {
			return true
		}
	}
	return false
}
