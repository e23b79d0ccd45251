package doctor

import (
	"context"
	"fmt"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
)

func callerMode() Check {
	return Check{
		Name: "caller-mode", About: "the webhook answers the API server only",
		Why:  "Every pod of a cluster can reach a webhook; one that answers everybody tells what the policies let through, and can be kept busy.",
		look: lookAtCallerMode,
	}
}

func lookAtCallerMode(ctx context.Context, p *patient, r *Result) {
	deployment, err := p.Deployment(ctx, installation.Webhook)
	if r.unread(err, "the Deployments of "+p.Namespace, "list deployments --namespace "+p.Namespace) {
		return
	}
	if deployment == nil {
		r.unknown("see the flags that the webhook is started with", "There is no Deployment of portcullis-webhook in %s", p.Namespace)
		return
	}
	edit := fmt.Sprintf("kubectl --namespace %s edit deployment %s # --caller=certificate with --client-ca, or --caller=secret-path; docs/webhook.md says which", p.Namespace, deployment.Name)
	spec := &deployment.Spec.Template.Spec
	switch mode, _ := installation.Flag(installation.Webhook, spec, "caller"); mode {
	case "open":
		r.warn(edit, "The webhook answers everybody who reaches it (--caller=open)")
	case "secret-path":
		policies, err := p.Client.NetworkingV1().NetworkPolicies(p.Namespace).List(ctx, listOptions)
		if r.unread(err, "the network policies of "+p.Namespace, "list networkpolicies --namespace "+p.Namespace) {
			return
		}
		if len(policies.Items) == 0 {
			r.warn("install the chart with networkPolicy.enabled=true", "The webhook knows the API server by a secret path, and no network policy keeps others from trying")
			return
		}
		r.ok("The webhook knows the API server by a secret path, behind a network policy")
	case "", "certificate":
		if names, _ := installation.Flag(installation.Webhook, spec, "client-name"); names == "" {
			r.ok("The webhook knows the API server by a client certificate, any that --client-ca signed")
			return
		}
		r.ok("The webhook knows the API server by its client certificate")
	default:
		r.problem(edit, "The webhook is started with --caller=%s, which it does not know", mode)
	}
}
