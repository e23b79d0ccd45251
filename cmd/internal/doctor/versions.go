package doctor

import (
	"context"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	"github.com/portcullis-dev/portcullis/cmd/internal/version"
	corev1 "k8s.io/api/core/v1"
)

func versions() Check {
	return Check{
		Name: "versions", About: "all programs have one version, and it is that of this command line",
		Why:  "Programs of two versions may not understand each other's objects, and this doctor compares with its own version.",
		look: lookAtVersions,
	}
}

func lookAtVersions(ctx context.Context, p *patient, r *Result) {
	found := map[string][]string{}
	for _, component := range installation.Components() {
		pods, err := p.PodsOf(ctx, component)
		if r.unread(err, "the pods of "+p.Namespace, "list pods --namespace "+p.Namespace) {
			return
		}
		for n := range pods {
			running := p.version(ctx, component, &pods[n])
			found[running] = append(found[running], pods[n].Name)
		}
	}
	delete(found, "") // those that do not say
	var all []string
	for name := range found {
		all = append(all, name)
	}
	slices.Sort(all)
	own := version.String()
	switch {
	case len(all) == 0:
		r.unknown("kubectl --namespace "+p.Namespace+" get pods --output wide", "No pod says which version it runs")
	case len(all) > 1:
		r.warn("kubectl --namespace "+p.Namespace+" get pods --output custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[*].image # has a rollout stopped half way?", "Several versions run: %s", several(all))
	case all[0] != own:
		r.warn("use the command line of "+all[0]+", or upgrade the installation", "%s runs, and this command line is %s: what it compares with is its own version", all[0], own)
	default:
		r.ok("All run %s, as this command line does", own)
	}
}

// version is what a pod says that it runs, else the tag of its image.
func (p *patient) version(ctx context.Context, component installation.Component, pod *corev1.Pod) string {
	if metrics, err := p.Metrics(ctx, component, pod); err == nil {
		for _, sample := range metrics.Samples("portcullis_build_info") {
			if v := sample.Labels["version"]; v != "" {
				return v
			}
		}
	}
	if len(pod.Spec.Containers) == 0 {
		return ""
	}
	image, _, _ := strings.Cut(pod.Spec.Containers[0].Image, "@")
	if at := strings.LastIndex(image, ":"); at > strings.LastIndex(image, "/") {
		return image[at+1:]
	}
	return ""
}
