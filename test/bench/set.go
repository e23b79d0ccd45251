package bench

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
)

// Fifty are the policies of the budget: every control of the Pod Security Standards,
// and all other policies of the library that judge the fields of a pod without
// reading further objects. Left out are the two that look for credentials in
// environment and arguments, which have no counterpart in CEL (entropy); they are
// part of the row for the whole profile.
var Fifty = []string{
	// Pod Security Standards, baseline and restricted.
	"pods/app-armor", "pods/capabilities-baseline", "pods/capabilities-restricted", "pods/host-namespaces",
	"pods/host-path-volumes", "pods/host-ports", "pods/host-probes", "pods/privilege-escalation", "pods/privileged",
	"pods/proc-mount", "pods/proc-mount-restricted", "pods/restricted-volumes", "pods/run-as-non-root",
	"pods/run-as-user", "pods/se-linux", "pods/seccomp-baseline", "pods/seccomp-restricted", "pods/sysctls",
	"pods/windows-host-process",
	// Images, resources, identity, scheduling.
	"pods/broad-tolerations", "pods/default-service-account", "pods/ephemeral-storage", "pods/extended-resources",
	"pods/host-aliases", "pods/host-path-allow-list", "pods/image-digest", "pods/image-latest-tag",
	"pods/image-registries", "pods/image-volumes", "pods/node-name", "pods/probes", "pods/read-only-root",
	"pods/resource-claims", "pods/resource-limits", "pods/resource-requests", "pods/runtime-class",
	"pods/secret-refs", "pods/shared-process-namespace", "pods/system-priority-classes", "pods/token-automount",
	"pods/writable-host-paths",
	// Namespaces, meshes, workloads.
	"namespaces/default-namespace-use", "network/consul-opt-out", "network/dns-policy",
	"network/istio-sidecar-injection", "network/linkerd-opt-out", "workloads/cost-labels",
	"workloads/duplicate-env", "workloads/termination-grace", "workloads/topology-spread",
}

// Ten are those of the fifty that peers are usually measured with.
var Ten = []string{
	"pods/privileged", "pods/host-namespaces", "pods/host-ports", "pods/capabilities-baseline",
	"pods/privilege-escalation", "pods/run-as-non-root", "pods/read-only-root", "pods/image-latest-tag",
	"pods/image-registries", "pods/resource-limits",
}

// Parameters are what a shop would configure; all else is left at its default. The
// pod takes its database password from a Secret by an environment variable.
var Parameters = map[string]map[string]any{
	"pods/image-registries": {"allowed": []any{"ghcr.io/acme", "docker.io/envoyproxy", "quay.io/prometheus"}},
	"pods/secret-refs":      {"forbidEnvironment": false},
	"pods/resource-limits":  {"cpu": true},
}

// NewEngine compiles some policies of the library, all enforced.
func NewEngine(ids []string) (*policies.Engine, error) {
	bundle, err := policies.Load(library.FS())
	if err != nil {
		return nil, err
	}
	manifest := policies.Manifest{APIVersion: policies.APIVersion, Kind: "Bundle", Name: "bench", Serial: 1}
	manifest.DefaultProfile = "all"
	profile := policies.Profile{Name: "all"}
	for _, id := range ids {
		profile.Policies = append(profile.Policies, policies.Instance{Policy: id, Parameters: Parameters[id]})
	}
	manifest.Profiles = []policies.Profile{profile}
	bundle.Manifest = manifest
	return policies.NewEngine(bundle)
}

// NewHardenedEngine compiles the library as it is, configured as a shop would, with
// the profile hardened for every namespace.
func NewHardenedEngine() (*policies.Engine, error) {
	bundle, err := policies.Load(library.FS())
	if err != nil {
		return nil, err
	}
	bundle.Manifest.DefaultProfile, bundle.Manifest.Namespaces = "hardened", nil
	for p := range bundle.Manifest.Profiles {
		configured := bundle.Manifest.Profiles[p].Policies
		for i := range configured {
			configured[i].Parameters = Parameters[configured[i].Policy]
		}
	}
	return policies.NewEngine(bundle)
}

// NewHandler makes the webhook's real handler around an engine.
func NewHandler(engine *policies.Engine) (*webhook.Handler, error) {
	return NewRecordedHandler(engine, nil)
}

// NewRecordedHandler is NewHandler with somebody who keeps the decisions, nil for nobody.
func NewRecordedHandler(engine *policies.Engine, recorder webhook.Recorder) (*webhook.Handler, error) {
	return webhook.NewHandler(webhook.Options{
		Reviewer: admission.NewReviewer(engine, cluster{}, time.Now),
		Callers:  &webhook.Callers{Mode: webhook.CallerOpen},
		Recorder: recorder,
	})
}

// Portcullis is the webhook's real handler with some policies of the library.
func Portcullis(ids []string) (http.Handler, error) {
	engine, err := NewEngine(ids)
	if err != nil {
		return nil, err
	}
	return NewHandler(engine)
}

// cluster is what the policies that read other objects see: a namespace, and a
// policy in it that denies all traffic by default.
type cluster struct{}

var defaultDeny = policies.Object{
	Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy", Resource: "networkpolicies",
	Namespace: "shop", Name: "default-deny",
	Raw: []byte(`{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"default-deny","namespace":"shop"},"spec":{"podSelector":{},"policyTypes":["Ingress","Egress"]}}`),
}

func (cluster) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	var facts policies.Facts
	if needs.Namespace != "" {
		facts.Namespace = &policies.Namespace{Name: needs.Namespace}
	}
	for _, read := range needs.Reads {
		if read.Group == defaultDeny.Group && read.Resource == defaultDeny.Resource {
			facts.Cluster = append(facts.Cluster, defaultDeny)
		}
	}
	return facts
}

// check makes sure that the policies exist and that nobody is counted twice.
func check(ids []string, want int) error {
	if len(slices.Compact(slices.Sorted(slices.Values(ids)))) != want {
		return fmt.Errorf("the set holds %d different policies: want %d", len(ids), want)
	}
	return nil
}
