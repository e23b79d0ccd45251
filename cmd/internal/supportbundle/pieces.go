package supportbundle

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	policiesv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	scannerv1alpha1 "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	secretsv1alpha1 "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// everywhere are resources that are taken from the whole cluster: ours, and what says who may and who is asked.
var everywhere = []schema.GroupVersionResource{
	policiesv1alpha1.Bundles, policiesv1alpha1.Replicas, policiesv1alpha1.Exceptions, policiesv1alpha1.GroupVersion.WithResource("breakglasses"),
	runtimev1alpha1.Quarantines, runtimev1alpha1.GroupVersion.WithResource("incidents"),
	secretsv1alpha1.VaultConnections, secretsv1alpha1.VaultAuths, secretsv1alpha1.VaultSecrets, secretsv1alpha1.VaultPushes,
	scannerv1alpha1.Resource,
	{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"},
	{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"},
	{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"},
	{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"},
}

// inNamespace are those that are taken from our namespace.
var inNamespace = []schema.GroupVersionResource{
	{Version: "v1", Resource: "pods"}, {Version: "v1", Resource: "services"}, {Version: "v1", Resource: "events"}, {Version: "v1", Resource: "serviceaccounts"},
	{Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "apps", Version: "v1", Resource: "statefulsets"}, {Group: "apps", Version: "v1", Resource: "daemonsets"}, {Group: "apps", Version: "v1", Resource: "replicasets"},
	{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
	{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
	{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
}

// pieces are all that is to be taken. Of pods that cannot be listed there is nothing.
func (g *gatherer) pieces(ctx context.Context) []piece {
	pieces := []piece{{name: "version.json", about: "versions of the command line and of the API server", take: g.versions}}
	for _, resource := range everywhere {
		pieces = append(pieces, piece{name: fileOf("cluster", resource), about: resource.Resource + " of the whole cluster", take: func(ctx context.Context) ([]byte, error) {
			list, err := g.at.List(ctx, resource)
			return g.list(list, err)
		}})
	}
	for _, resource := range inNamespace {
		pieces = append(pieces, piece{name: fileOf("namespace", resource), about: resource.Resource + " of " + g.at.Namespace, take: func(ctx context.Context) ([]byte, error) {
			list, err := g.at.ListOwn(ctx, resource)
			return g.list(list, err)
		}})
	}
	for _, component := range installation.Components() {
		pods, err := g.at.PodsOf(ctx, component)
		if err != nil {
			g.leave("logs and metrics of pods", reason(err))
			break
		}
		for n := range pods {
			pieces = append(pieces, g.ofPod(component, &pods[n])...)
		}
	}
	return pieces
}

func fileOf(folder string, resource schema.GroupVersionResource) string {
	name := resource.Resource
	if resource.Group != "" {
		name += "." + resource.Group
	}
	return folder + "/" + name + ".json"
}

// list writes objects.
func (g *gatherer) list(list installation.List, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	objects := []any{}
	for n := range list.Items {
		objects = append(objects, g.clean.object(list.Items[n].DeepCopy().Object))
	}
	return g.clean.document(map[string]any{"items": objects, "cut": list.Cut})
}

// versions are those of who asks and who answers.
func (g *gatherer) versions(ctx context.Context) ([]byte, error) {
	raw, err := g.at.Client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(map[string]any{"portcullis": g.options.Version, "server": json.RawMessage(raw)}, "", " ")
}

// ofPod are the logs of a pod's containers, and what it says of itself.
func (g *gatherer) ofPod(component installation.Component, pod *corev1.Pod) []piece {
	folder := "pods/" + pod.Name + "/"
	pieces := []piece{
		{name: folder + "metrics.txt", about: "/metrics of " + pod.Name, take: func(ctx context.Context) ([]byte, error) {
			return g.cleaned(g.at.RawMetrics(ctx, component, pod))
		}},
		{name: folder + "readyz.txt", about: "/readyz of " + pod.Name, take: func(ctx context.Context) ([]byte, error) {
			text, err := g.at.Readiness(ctx, component, pod)
			return g.cleaned([]byte(text), err)
		}},
	}
	for n := range pod.Spec.Containers {
		name := pod.Spec.Containers[n].Name
		pieces = append(pieces, g.log(folder, pod, name, false))
		for _, status := range pod.Status.ContainerStatuses {
			if status.Name == name && status.RestartCount > 0 {
				pieces = append(pieces, g.log(folder, pod, name, true))
			}
		}
	}
	return pieces
}

// log is that of one container, of its process before if previous.
func (g *gatherer) log(folder string, pod *corev1.Pod, container string, previous bool) piece {
	name, about := folder+container+".log", "log of "+container+" in "+pod.Name
	if previous {
		name, about = folder+container+".previous.log", about+", before it was restarted"
	}
	return piece{name: name, about: about, newest: true, take: func(ctx context.Context) ([]byte, error) {
		seconds, limit := int64(max(g.options.Since, time.Second)/time.Second), int64(maxLog)
		stream, err := g.at.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, Previous: previous, SinceSeconds: &seconds, Timestamps: true, LimitBytes: &limit}).Stream(ctx)
		if err != nil {
			return nil, err
		}
		defer stream.Close()
		text, err := io.ReadAll(io.LimitReader(stream, maxLog))
		if err != nil {
			return nil, fmt.Errorf("reading the log of %s: %w", container, err)
		}
		return g.clean.text(text), nil
	}}
}

func (g *gatherer) cleaned(text []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return g.clean.text(text), nil
}
