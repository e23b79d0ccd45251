package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func webhookReachable() Check {
	return Check{
		Name: "webhook-reachable", About: "the API server reaches the webhook: a Deployment that runs as root of its node is created, on a dry run, and has to be judged",
		Why:  "What the API server cannot ask is refused by entries that fail closed, and admitted by those that fail open.",
		look: lookAtReach,
	}
}

// probeName is what is created on a dry run.
const probeName = "portcullis-doctor-probe"

// probe is a workload that no profile of the library admits. It is a Deployment, whose pods nobody makes on a dry run: Pod Security, which would
// refuse a pod before any webhook is asked, only warns of it.
func probe(namespace string) *appsv1.Deployment {
	labels := map[string]string{"app": probeName}
	yes := true
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: probeName, Namespace: namespace},
		Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{HostPID: true, HostNetwork: true, Containers: []corev1.Container{{
				Name: "probe", Image: "registry.invalid/portcullis-doctor-probe", SecurityContext: &corev1.SecurityContext{Privileged: &yes},
			}}},
		}},
	}
}

func lookAtReach(ctx context.Context, p *patient, r *Result) {
	heard := &warnings{}
	config := rest.CopyConfig(p.Config)
	config.WarningHandler, config.WarningHandlerWithContext = nil, heard
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		r.unknown("", "No client can be made: %v", err)
		return
	}
	namespace := p.options.ProbeNamespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	before, counted := p.reviews(ctx)
	_, err = client.AppsV1().Deployments(namespace).Create(ctx, probe(namespace), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: "portcullis-doctor"})
	said := reason(err)
	switch {
	case err == nil:
		p.admitted(ctx, r, namespace, heard.all(), before, counted)
	case strings.Contains(said, "failed calling webhook"):
		r.problem(nextCall(p.Namespace, said), "The API server cannot ask the webhook: %s", said)
	case strings.Contains(said, ".portcullis.dev\" denied the request") && strings.Contains(said, "could not be judged"):
		r.problem(fmt.Sprintf("kubectl --namespace %s logs --selector app.kubernetes.io/component=webhook --tail 50", p.Namespace), "The webhook answers, and could not judge: %s", said)
	case strings.Contains(said, ".portcullis.dev\" denied the request"):
		r.ok("A privileged Deployment in %s is denied by the webhook (dry run): %s", namespace, said)
	case apierrors.IsForbidden(err) && !strings.Contains(said, "denied the request"):
		r.unknown("run the doctor as somebody who may create deployments somewhere, and give --probe-namespace; nothing is created", "You may not try to create a Deployment in %s: %s", namespace, said)
	case apierrors.IsNotFound(err):
		r.unknown("give --probe-namespace with one that there is", "There is no namespace %s to try it in", namespace)
	default:
		r.unknown("give --probe-namespace with another one", "Something else refused the privileged Deployment in %s before the webhook could: %s", namespace, said)
	}
}

// admitted is about a privileged Deployment that was not refused: either a policy only warns, or nobody was asked.
func (p *patient) admitted(ctx context.Context, r *Result, namespace string, heard []string, before float64, counted bool) {
	for _, warning := range heard {
		if strings.Contains(warning, "pods/privileged") || strings.Contains(warning, "pods/host-namespaces") {
			r.warn("portcullis policy list --bundle cluster # see which profile that namespace has", "The webhook is asked, and the policies of %s only warn of a privileged Deployment: %s", namespace, warning)
			return
		}
	}
	after, again := p.reviews(ctx)
	switch {
	case counted && again && after > before:
		r.warn("portcullis policy list --bundle cluster # see which profile that namespace has", "The webhook is asked, and admits a privileged Deployment in %s", namespace)
	case counted && again:
		r.problem("kubectl get validatingwebhookconfiguration portcullis --output yaml", "A privileged Deployment in %s is admitted (dry run), and no webhook was asked", namespace)
	default:
		r.problem("kubectl get validatingwebhookconfiguration portcullis --output yaml # then see that the policies deny privileged pods there; --probe-namespace tries another namespace", "A privileged Deployment in %s is admitted (dry run): whether the webhook was asked is not known", namespace)
	}
}

// reviews is how many requests all webhooks have answered; ok is false where one does not say.
func (p *patient) reviews(ctx context.Context) (sum float64, ok bool) {
	pods, err := p.PodsOf(ctx, installation.Webhook)
	if err != nil || len(pods) == 0 {
		return 0, false
	}
	for n := range pods {
		metrics, err := p.Fresh(ctx, installation.Webhook, &pods[n])
		if err != nil {
			return 0, false
		}
		count, found := metrics.Sum("portcullis_webhook_requests_total")
		if !found {
			return 0, false
		}
		sum += count
	}
	return sum, true
}

// nextCall is the next step for a call that failed, by what the API server says of it.
func nextCall(namespace, said string) string {
	pods := fmt.Sprintf("kubectl --namespace %s get pods,endpointslices --selector app.kubernetes.io/component=webhook", namespace)
	switch {
	case strings.Contains(said, "x509"), strings.Contains(said, "certificate"):
		return "portcullis doctor --only certificates"
	case strings.Contains(said, "no endpoints available"), strings.Contains(said, "connection refused"), strings.Contains(said, "not found"):
		return pods
	case strings.Contains(said, "deadline exceeded"), strings.Contains(said, "timeout"):
		return pods + " # if they are ready, a network policy or a firewall keeps the control plane from them"
	case strings.Contains(said, "Forbidden"), strings.Contains(said, "403"), strings.Contains(said, "401"):
		return "portcullis doctor --only caller-mode"
	}
	return pods
}
