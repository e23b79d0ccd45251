package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	"github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func scans() Check {
	return Check{
		Name: "vulnerability-database", About: "scans use a vulnerability database of late, and are worked off",
		Why:  "With an old database new vulnerabilities are not found, and policies that want fresh scans deny.",
		look: lookAtScans,
	}
}

// Ages of a vulnerability database: Trivy's is made every six hours.
const (
	databaseOld     = 48 * time.Hour
	databaseTooOld  = 7 * 24 * time.Hour
	databaseMetric  = "portcullis_scanner_database_timestamp_seconds"
	queuedTooLong   = 30 * time.Minute
	maxFailedListed = 1000
)

func lookAtScans(ctx context.Context, p *patient, r *Result) {
	pods, err := p.PodsOf(ctx, installation.Scanner)
	if r.unread(err, "the pods of "+p.Namespace, "list pods --namespace "+p.Namespace) {
		return
	}
	if len(pods) == 0 {
		deployment, err := p.Deployment(ctx, installation.Scanner)
		if err == nil && deployment == nil {
			r.ok("portcullis-scanner is not installed")
			return
		}
		r.problem("portcullis doctor --only replicas", "No pod of portcullis-scanner runs: no image is scanned")
		return
	}
	for n := range pods {
		metrics, err := p.Metrics(ctx, installation.Scanner, &pods[n])
		if err != nil {
			r.unread(err, "the metrics of the pod "+pods[n].Name, "get pods/proxy --namespace "+p.Namespace)
			continue
		}
		logs := fmt.Sprintf("kubectl --namespace %s logs %s --tail 50 # can it reach the registry of the database?", p.Namespace, pods[n].Name)
		samples := metrics.Samples(databaseMetric)
		if len(samples) == 0 {
			r.unknown("upgrade portcullis-scanner to the version of this command line", "%s does not say how old its database is", pods[n].Name)
			continue
		}
		made := time.Unix(int64(samples[0].Value), 0)
		switch age := p.Now().Sub(made); {
		case samples[0].Value == 0:
			r.problem(logs, "%s has no vulnerability database yet", pods[n].Name)
		case age > databaseTooOld:
			r.problem(logs, "The vulnerability database of %s was made %s", pods[n].Name, ago(p.Now(), made))
		case age > databaseOld:
			r.warn(logs, "The vulnerability database of %s was made %s", pods[n].Name, ago(p.Now(), made))
		default:
			r.ok("The vulnerability database of %s was made %s", pods[n].Name, ago(p.Now(), made))
		}
	}
	p.queue(ctx, r)
}

// queue is about scans that fail, or that nobody takes.
func (p *patient) queue(ctx context.Context, r *Result) {
	list, err := p.List(ctx, v1alpha1.Resource)
	if apierrors.IsNotFound(err) || r.unread(err, "the ImageScans", "list imagescans") {
		return
	}
	var failed, waiting []string
	for n := range list.Items {
		object := &list.Items[n]
		phase, _, _ := unstructured.NestedString(object.Object, "status", "phase")
		switch {
		case v1alpha1.Phase(phase) == v1alpha1.PhaseFailed && len(failed) < maxFailedListed:
			failed = append(failed, object.GetName())
		case (phase == "" || v1alpha1.Phase(phase) == v1alpha1.PhaseQueued) && p.Now().Sub(object.GetCreationTimestamp().Time) > queuedTooLong:
			waiting = append(waiting, object.GetName())
		}
	}
	if len(failed) > 0 {
		r.warn("kubectl describe imagescan "+failed[0], "%s and will be tried again: %s", number(len(failed), "scan failed", "scans failed"), several(failed))
	}
	if len(waiting) > 0 {
		r.warn(fmt.Sprintf("kubectl --namespace %s scale deployment portcullis-scanner --replicas=2", p.Namespace), "%s for more than %s: %s", number(len(waiting), "scan waits", "scans wait"), queuedTooLong, several(waiting))
	}
}
