package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	corev1 "k8s.io/api/core/v1"
)

func sensors() Check {
	return Check{
		Name: "falco", About: "Falco speaks to the responder: each sensor was heard lately, and no event was lost",
		Why:  "A sensor that is silent looks just like a node on which nothing happens.",
		look: lookAtSensors,
	}
}

// unheard is after what time a sensor that says nothing of itself counts as silent: Falco's metrics come every 15 minutes where
// metrics.interval is not set otherwise (falco.yaml).
const unheard = 35 * time.Minute

func lookAtSensors(ctx context.Context, p *patient, r *Result) {
	pods, err := p.PodsOf(ctx, installation.Responder)
	if r.unread(err, "the pods of "+p.Namespace, "list pods --namespace "+p.Namespace) {
		return
	}
	if len(pods) == 0 {
		deployment, err := p.Deployment(ctx, installation.Responder)
		if err == nil && deployment == nil {
			r.ok("portcullis-responder is not installed")
			return
		}
		r.problem("portcullis doctor --only replicas", "No pod of portcullis-responder runs: nobody hears Falco")
		return
	}
	heard, events, read := map[string]time.Time{}, 0.0, 0
	for n := range pods {
		metrics, err := p.Metrics(ctx, installation.Responder, &pods[n])
		if err != nil {
			r.unread(err, "the metrics of the pod "+pods[n].Name, "get pods/proxy --namespace "+p.Namespace)
			continue
		}
		read++
		for _, sample := range metrics.Samples("portcullis_falco_sensor_last_seen_timestamp_seconds") {
			at := time.Unix(int64(sample.Value), 0)
			if sensor := sample.Labels["sensor"]; at.After(heard[sensor]) {
				heard[sensor] = at
			}
		}
		kept, _ := metrics.Sum("portcullis_falco_events_total")
		events += kept
		p.lost(r, &pods[n], metrics)
	}
	if read == 0 {
		return
	}
	var silent []string
	for sensor, at := range heard {
		if p.Now().Sub(at) > unheard {
			silent = append(silent, fmt.Sprintf("%s (%s)", sensor, ago(p.Now(), at)))
		}
	}
	switch next := "kubectl get pods --all-namespaces --selector app.kubernetes.io/name=falco --output wide # then see http_output and metrics in falco.yaml; docs/falco.md"; {
	case len(heard) == 0 && events == 0:
		r.problem(next, "The responder has heard nothing of any Falco since it started")
	case len(heard) == 0:
		r.warn(next, "Falco sends events (%.0f), and says nothing of itself: whether a sensor is silent cannot be told. Set metrics.enabled and output_rule in falco.yaml", events)
	case len(silent) > 0:
		r.problem(next, "%s for long: %s", number(len(silent), "sensor was not heard", "sensors were not heard"), several(silent))
	default:
		r.ok("%s heard within %s, %.0f events", number(len(heard), "sensor was", "sensors were"), unheard, events)
	}
}

// lost is about events that did not get through.
func (p *patient) lost(r *Result, pod *corev1.Pod, metrics installation.Metrics) {
	for _, sample := range metrics.Samples("portcullis_falco_events_dropped_total") {
		if sample.Value > 0 {
			r.problem(fmt.Sprintf("kubectl --namespace %s logs %s --tail 50 # docs/responder.md says what each reason means", p.Namespace, pod.Name),
				"%s has lost %.0f events of priority %s (%s)", pod.Name, sample.Value, sample.Labels["priority"], sample.Labels["reason"])
		}
	}
	for _, sample := range metrics.Samples("portcullis_falco_sensor_dropped") {
		if sample.Value > 0 {
			r.warn("see syscall_event_drops and base_syscalls in falco.yaml; docs/falco.md", "The sensor %s has dropped %.0f events (%s)", sample.Labels["sensor"], sample.Value, sample.Labels["where"])
		}
	}
}
