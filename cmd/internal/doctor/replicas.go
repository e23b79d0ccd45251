package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

func replicas() Check {
	return Check{
		Name: "replicas", About: "each program has the replicas that are wanted, spread over nodes, with a disruption budget",
		Why:  "While no webhook runs, what policies that fail closed are about is refused; one node or one drain must not stop all of them.",
		look: lookAtReplicas,
	}
}

func lookAtReplicas(ctx context.Context, p *patient, r *Result) {
	if _, err := p.Deployments(ctx); r.unread(err, "the Deployments of "+p.Namespace, "list deployments --namespace "+p.Namespace) {
		return
	}
	budgets, err := p.Client.PolicyV1().PodDisruptionBudgets(p.Namespace).List(ctx, listOptions)
	budgetsKnown := !r.unread(err, "the disruption budgets of "+p.Namespace, "list poddisruptionbudgets --namespace "+p.Namespace)
	for _, component := range installation.Components() {
		deployment, err := p.Deployment(ctx, component)
		if err != nil {
			continue
		}
		if deployment == nil {
			p.absent(ctx, r, component)
			continue
		}
		pods, err := p.PodsOf(ctx, component)
		if r.unread(err, "the pods of "+p.Namespace, "list pods --namespace "+p.Namespace) {
			return
		}
		p.running(r, component, deployment, pods)
		if component == installation.Webhook {
			p.spread(ctx, r, deployment, pods)
			if budgetsKnown {
				p.budgeted(r, deployment, budgets.Items)
			}
		}
	}
}

// absent is about a program that has no Deployment.
func (p *patient) absent(ctx context.Context, r *Result, component installation.Component) {
	if component != installation.Webhook {
		r.ok("%s is not installed", component.Program())
		return
	}
	if list, err := p.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, listOptions); err == nil {
		for n := range list.Items {
			if w := list.Items[n].Webhooks; ours(list.Items[n].Name) && len(w) > 0 && w[0].ClientConfig.URL != nil {
				r.ok("The webhook runs outside of the cluster, at %s", *w[0].ClientConfig.URL)
				return
			}
		}
	}
	r.problem("kubectl get deployments --all-namespaces --selector app.kubernetes.io/component=webhook # then give --namespace, or install the chart",
		"There is no Deployment of portcullis-webhook in %s: nothing is judged there", p.Namespace)
}

// running compares the replicas that are wanted with those that are ready.
func (p *patient) running(r *Result, component installation.Component, deployment *appsv1.Deployment, pods []corev1.Pod) {
	want, ready := int32(1), deployment.Status.ReadyReplicas
	if deployment.Spec.Replicas != nil {
		want = *deployment.Spec.Replicas
	}
	why := troubles(pods)
	next := fmt.Sprintf("kubectl --namespace %s describe pods --selector %s", p.Namespace, metav1.FormatLabelSelector(deployment.Spec.Selector))
	switch {
	case want == 0:
		r.warn(fmt.Sprintf("kubectl --namespace %s scale %s %s --replicas=2", p.Namespace, installation.KindOf(deployment), deployment.Name), "%s is scaled to 0", component.Program())
	case ready == 0:
		r.problem(next, "No replica of %s is ready, of %d%s", component.Program(), want, why)
	case ready < want:
		r.warn(next, "%d of %d replicas of %s are ready%s", ready, want, component.Program(), why)
	case component == installation.Webhook && want == 1:
		r.warn(fmt.Sprintf("kubectl --namespace %s scale %s %s --replicas=2", p.Namespace, installation.KindOf(deployment), deployment.Name), "%s has one replica: whenever it restarts, what policies that fail closed are about is refused", component.Program())
	default:
		r.ok("%s: %d of %d ready%s", component.Program(), ready, want, why)
	}
	if deployment.Status.ObservedGeneration >= deployment.Generation && deployment.Status.UpdatedReplicas < want {
		r.warn(fmt.Sprintf("kubectl --namespace %s rollout status %s %s", p.Namespace, installation.KindOf(deployment), deployment.Name), "%s is being rolled out: %d of %d replicas are up to date", component.Program(), deployment.Status.UpdatedReplicas, want)
	}
}

// troubles are what containers of pods suffer from, as the end of a sentence.
func troubles(pods []corev1.Pod) string {
	var seen []string
	for n := range pods {
		pod := &pods[n]
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				seen = append(seen, fmt.Sprintf("%s is not scheduled: %s", pod.Name, cmp.Or(c.Message, c.Reason)))
			}
		}
		for _, c := range pod.Status.ContainerStatuses {
			switch {
			case c.State.Waiting != nil && c.State.Waiting.Reason != "ContainerCreating" && c.State.Waiting.Reason != "PodInitializing":
				seen = append(seen, fmt.Sprintf("%s waits: %s %s", pod.Name, c.State.Waiting.Reason, c.State.Waiting.Message))
			case c.LastTerminationState.Terminated != nil && c.LastTerminationState.Terminated.Reason == "OOMKilled":
				seen = append(seen, fmt.Sprintf("%s was killed for want of memory (%d restarts)", pod.Name, c.RestartCount))
			case c.RestartCount > 3:
				seen = append(seen, fmt.Sprintf("%s was restarted %d times", pod.Name, c.RestartCount))
			}
		}
	}
	if len(seen) == 0 {
		return ""
	}
	slices.Sort(seen)
	return "; " + several(seen)
}

// spread says whether the pods would all go with one node.
func (p *patient) spread(ctx context.Context, r *Result, deployment *appsv1.Deployment, pods []corev1.Pod) {
	nodes := map[string]bool{}
	for n := range pods {
		if name := pods[n].Spec.NodeName; name != "" {
			nodes[name] = true
		}
	}
	if len(pods) < 2 || len(nodes) != 1 {
		return
	}
	all, err := p.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 2})
	if err == nil && len(all.Items) == 1 {
		r.ok("All replicas of portcullis-webhook run on the only node that there is")
		return
	}
	for name := range nodes {
		r.warn(fmt.Sprintf("kubectl --namespace %s rollout restart %s %s # with topologySpreadConstraints over kubernetes.io/hostname, as the chart has them", p.Namespace, installation.KindOf(deployment), deployment.Name),
			"All replicas of portcullis-webhook run on the node %s", name)
	}
}

// budgeted says whether a drain may take all replicas at once, or none at all.
func (p *patient) budgeted(r *Result, deployment *appsv1.Deployment, budgets []policyv1.PodDisruptionBudget) {
	if deployment.Spec.Replicas != nil && *deployment.Spec.Replicas < 2 {
		return
	}
	of := labels.Set(deployment.Spec.Template.Labels)
	for n := range budgets {
		selector, err := metav1.LabelSelectorAsSelector(budgets[n].Spec.Selector)
		if err != nil || selector.Empty() || !selector.Matches(of) {
			continue
		}
		status := &budgets[n].Status
		if status.DisruptionsAllowed == 0 && status.ExpectedPods > 0 && status.CurrentHealthy >= status.ExpectedPods {
			r.warn(fmt.Sprintf("kubectl --namespace %s edit poddisruptionbudget %s # set maxUnavailable: 1", p.Namespace, budgets[n].Name), "The disruption budget %s allows no disruption even while all replicas are healthy: nodes cannot be drained", budgets[n].Name)
			return
		}
		r.ok("The disruption budget %s keeps drains from taking all replicas of portcullis-webhook", budgets[n].Name)
		return
	}
	r.warn(fmt.Sprintf("kubectl --namespace %s create poddisruptionbudget portcullis-webhook --selector=%s --max-unavailable=1", p.Namespace, metav1.FormatLabelSelector(deployment.Spec.Selector)),
		"No disruption budget covers portcullis-webhook: draining nodes may take all replicas at once")
}
