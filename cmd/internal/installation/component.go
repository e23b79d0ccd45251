package installation

import (
	"context"
	"path"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// Component is one program of Portcullis as it runs in a cluster: the value of ComponentLabel.
type Component string

// The components.
const (
	Webhook    Component = "webhook"
	Controller Component = "controller"
	Scanner    Component = "scanner"
	Responder  Component = "responder"
	Secrets    Component = "secrets"
	Console    Component = "console"
)

// Components are all, what everything depends on first.
func Components() []Component {
	return []Component{Webhook, Controller, Scanner, Responder, Secrets, Console}
}

// Program is the name of its program: "portcullis-webhook".
func (c Component) Program() string { return "portcullis-" + string(c) }

// probes are the ports of /readyz and /metrics where no flag says otherwise: the defaults of --probes.
var probes = map[Component]string{Webhook: "8081", Scanner: "8082", Controller: "8083", Responder: "8084", Secrets: "8085", Console: "8086"}

// of says which program runs in a pod: by its label, else by the name of what its first container runs.
func of(labels map[string]string, spec *corev1.PodSpec) Component {
	if named := Component(labels[ComponentLabel]); labels[PartOfLabel] == PartOf && slices.Contains(Components(), named) {
		return named
	}
	for n := range spec.Containers {
		container := &spec.Containers[n]
		runs := []string{imageName(container.Image)}
		if len(container.Command) > 0 {
			runs = append(runs, path.Base(container.Command[0]))
		}
		for _, component := range Components() {
			if slices.Contains(runs, component.Program()) {
				return component
			}
		}
	}
	return ""
}

// imageName is the last part of an image's name, without tag and digest.
func imageName(image string) string {
	image, _, _ = strings.Cut(path.Base(image), "@")
	image, _, _ = strings.Cut(image, ":")
	return image
}

// PodsOf are the pods of a component, those that have ended left out.
func (i *Installation) PodsOf(ctx context.Context, component Component) ([]corev1.Pod, error) {
	all, err := i.Pods(ctx)
	if err != nil {
		return nil, err
	}
	var found []corev1.Pod
	for n := range all {
		ended := all[n].Status.Phase == corev1.PodSucceeded || all[n].Status.Phase == corev1.PodFailed
		if !ended && of(all[n].Labels, &all[n].Spec) == component {
			found = append(found, all[n])
		}
	}
	return found, nil
}

// Deployment is that of a component, or its StatefulSet in that shape, nil where it is not installed.
func (i *Installation) Deployment(ctx context.Context, component Component) (*appsv1.Deployment, error) {
	all, err := i.Deployments(ctx)
	if err != nil {
		return nil, err
	}
	sets, err := i.StatefulSets(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.Concat(all, sets)
	for n := range all {
		labels := all[n].Spec.Template.Labels
		if of(labels, &all[n].Spec.Template.Spec) == component {
			return &all[n], nil
		}
	}
	return nil, nil
}

// container is the one that runs the program.
func container(component Component, spec *corev1.PodSpec) *corev1.Container {
	for n := range spec.Containers {
		if c := &spec.Containers[n]; c.Name == string(component) || c.Name == component.Program() || imageName(c.Image) == component.Program() {
			return c
		}
	}
	if len(spec.Containers) == 0 {
		return &corev1.Container{}
	}
	return &spec.Containers[0]
}

// Flag is the value of a flag that a component is started with, "" and false where it is not given. It reads --name=value and --name value.
func Flag(component Component, spec *corev1.PodSpec, name string) (string, bool) {
	c := container(component, spec)
	words := slices.Concat(c.Command, c.Args)
	for n, word := range words {
		if value, ok := strings.CutPrefix(word, "--"+name+"="); ok {
			return value, true
		}
		if word == "--"+name {
			if n+1 < len(words) && !strings.HasPrefix(words[n+1], "--") {
				return words[n+1], true
			}
			return "", true
		}
	}
	return "", false
}
