package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/version"
)

// The minor versions of Kubernetes 1 that Portcullis runs with. Match conditions and ValidatingAdmissionPolicies are stable from the oldest on
// (KEP-3716, KEP-3488); the newest is the one that it is tested with.
const (
	oldestMinor = 30
	newestMinor = 37
)

func apiServer() Check {
	return Check{
		Name: "api-server", About: "the API server answers, is ready, and has a version that Portcullis runs with",
		Why:  "Everything goes through the API server: admission, bundles, quarantines.",
		look: lookAtAPIServer,
	}
}

func lookAtAPIServer(ctx context.Context, p *patient, r *Result) {
	raw, err := p.Client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		r.problem("kubectl version", "The API server %s does not say its version: %s", p.Config.Host, reason(err))
		return
	}
	var info version.Info
	if err := json.Unmarshal(raw, &info); err != nil {
		r.problem("kubectl version", "The API server %s does not answer as one: %v", p.Config.Host, err)
		return
	}
	minor, err := minorOf(info)
	switch {
	case err != nil:
		r.unknown("kubectl version", "The version %q is none of Kubernetes 1", info.GitVersion)
	case minor < oldestMinor:
		r.problem(fmt.Sprintf("upgrade the cluster to Kubernetes 1.%d or newer", oldestMinor), "Kubernetes %s is too old: the webhook configurations have match conditions, which it does not know", info.GitVersion)
	case minor > newestMinor:
		r.warn("see the release notes of Portcullis for a version that is tested with it", "Kubernetes %s is newer than 1.%d, the newest that this version of Portcullis is tested with", info.GitVersion, newestMinor)
	default:
		r.ok("Kubernetes %s at %s", info.GitVersion, p.Config.Host)
	}
	answer, err := p.Client.Discovery().RESTClient().Get().AbsPath("/readyz").Param("verbose", "true").Do(ctx).Raw()
	if err == nil {
		return
	}
	if failed := failedChecks(string(answer)); len(failed) > 0 {
		r.problem("kubectl get --raw '/readyz?verbose'", "The API server is not ready: %s", several(failed))
		return
	}
	r.unread(err, "whether the API server is ready", "get --raw /readyz")
}

// leadingDigits of a version: managed clusters write "30+".
var leadingDigits = regexp.MustCompile(`^[0-9]+`)

func minorOf(info version.Info) (int, error) {
	if info.Major != "1" {
		return 0, fmt.Errorf("reading the version %q: its major version is not 1", info.GitVersion)
	}
	return strconv.Atoi(leadingDigits.FindString(info.Minor))
}

// failedChecks are those of /readyz that failed.
func failedChecks(text string) []string {
	var failed []string
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "[-]"); ok {
			failed = append(failed, strings.Fields(name + " ?")[0])
		}
	}
	return failed
}
