package doctor

import (
	"context"
	"fmt"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
)

func journals() Check {
	return Check{
		Name: "journal", About: "no process has lost lines of its journal",
		Why:  "What is not in the journal cannot be explained, replayed or proved afterwards.",
		look: lookAtJournals,
	}
}

func lookAtJournals(ctx context.Context, p *patient, r *Result) {
	kept := 0
	for _, component := range installation.Components() {
		pods, err := p.PodsOf(ctx, component)
		if r.unread(err, "the pods of "+p.Namespace, "list pods --namespace "+p.Namespace) {
			return
		}
		for n := range pods {
			pod := &pods[n]
			metrics, err := p.Metrics(ctx, component, pod)
			if err != nil {
				r.unread(err, "the metrics of the pod "+pod.Name, "get pods/proxy --namespace "+p.Namespace)
				continue
			}
			if _, ok := metrics.Sum("portcullis_journal_lines_total"); !ok {
				continue
			}
			kept++
			for _, sample := range metrics.Samples("portcullis_journal_dropped_total") {
				if sample.Value > 0 {
					r.problem(fmt.Sprintf("kubectl --namespace %s exec %s -- df -h # is its volume full or slow? docs/journal.md says what each reason means", p.Namespace, pod.Name),
						"%s has lost %.0f lines of its journal since it started (%s)", pod.Name, sample.Value, sample.Labels["reason"])
				}
			}
			if failed, _ := metrics.Sum("portcullis_journal_sync_errors_total"); failed > 0 {
				r.problem(fmt.Sprintf("kubectl --namespace %s describe pod %s # the volume of --journal", p.Namespace, pod.Name), "The disk of %s has refused to keep its journal %.0f times", pod.Name, failed)
			}
			if lost, _ := metrics.Sum("portcullis_journal_sink_dropped_total"); lost > 0 {
				r.warn("see the receiver of --journal-http; the journal itself has them: portcullis journal", "%s could not send %.0f lines of its journal to where copies go", pod.Name, lost)
			}
		}
	}
	switch {
	case kept == 0 && len(r.Observations) == 0:
		r.warn("start the webhook with --journal DIR, or install the chart with a journal", "No process keeps a journal of its decisions")
	case kept > 0 && len(r.Observations) == 0:
		r.ok("%s a journal, and lost nothing since the start", number(kept, "process keeps", "processes keep"))
	}
}
