package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

func deprecations() Check {
	return Check{
		Name: "deprecations", About: "nobody asks for APIs that the next versions of Kubernetes will not have",
		Why:  "What still asks for an API that is gone stops working on the day of the upgrade.",
		look: lookAtDeprecations,
	}
}

// deprecated is 1 for each deprecated API that was asked for since the API server started, with the version that removes it
// (KEP-1693).
const deprecated = "apiserver_requested_deprecated_apis"

func lookAtDeprecations(ctx context.Context, p *patient, r *Result) {
	version, err := p.Client.Discovery().ServerVersion()
	if r.unread(err, "the version of the API server", "get --raw /version") {
		return
	}
	minor, err := minorOf(*version)
	if err != nil {
		r.unknown("kubectl version", "The version %q is none of Kubernetes 1", version.GitVersion)
		return
	}
	metrics, err := p.serverMetrics(ctx, deprecated)
	if r.unread(err, "the metrics of the API server", "get --raw /metrics") {
		return
	}
	asked := 0
	for _, sample := range metrics.Samples(deprecated) {
		if sample.Value == 0 {
			continue
		}
		asked++
		gone := sample.Labels["removed_release"]
		number, err := strconv.Atoi(strings.TrimPrefix(gone, "1."))
		what := strings.TrimPrefix(fmt.Sprintf("%s/%s %s", sample.Labels["group"], sample.Labels["version"], sample.Labels["resource"]), "/")
		if err == nil && number <= minor+1 {
			r.warn("kubectl get --raw /metrics | grep "+deprecated+" # the API server's audit log says who asks: annotation k8s.io/deprecated", "Somebody asks for %s, which Kubernetes %s does not have any more", what, gone)
		}
	}
	if len(r.Observations) == 0 {
		r.ok("%s asked for, none of which goes away with the next version", number(asked, "deprecated API was", "deprecated APIs were"))
	}
}
