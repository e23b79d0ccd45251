package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
)

func readiness() Check {
	return Check{
		Name: "readiness", About: "what each process says of itself at /readyz: facts that it cannot read, bundles that it could not load",
		Why:  "A replica that cannot read a fact denies by each policy that needs it; one with an old bundle judges by old rules.",
		look: lookAtReadiness,
	}
}

func lookAtReadiness(ctx context.Context, p *patient, r *Result) {
	for _, component := range installation.Components() {
		pods, err := p.PodsOf(ctx, component)
		if r.unread(err, "the pods of "+p.Namespace, "list pods --namespace "+p.Namespace) {
			return
		}
		for n := range pods {
			pod := &pods[n]
			text, err := p.Readiness(ctx, component, pod)
			if err != nil {
				r.unread(err, "/readyz of the pod "+pod.Name, "get pods/proxy --namespace "+p.Namespace)
				continue
			}
			next := fmt.Sprintf("kubectl --namespace %s logs %s --tail 50", p.Namespace, pod.Name)
			fine := true
			for line := range strings.Lines(text) {
				line = strings.TrimSpace(line)
				if said, failed := strings.CutPrefix(line, "[-] "); failed {
					r.problem(next, "%s is not ready: %s", pod.Name, said)
					fine = false
				} else if said, noted := strings.CutPrefix(line, "[!] "); noted {
					r.warn(next, "%s says: %s", pod.Name, said)
					fine = false
				}
			}
			if fine {
				r.ok("%s is ready", pod.Name)
			}
		}
	}
	if len(r.Observations) == 0 {
		r.unknown("kubectl --namespace "+p.Namespace+" get pods", "There is no pod of Portcullis in %s to ask", p.Namespace)
	}
}
