// Package installation is a real control plane with the chart installed and everything running, on any machine: programs
// are processes that test/kubelet runs in place of the chart's pods, with the arguments, files and rights that the chart gives
// them. Nothing is known here of what a program does; the chart says it.
//
//	i, err := installation.Start(ctx, installation.Options{Dir: t.TempDir(), Components: []string{installation.Responder}})
//	defer i.Stop()
//
// Kubernetes' own controllers make the pods, roll them out and replace them, so that `kubectl rollout`, `kubectl delete pod`
// and upgrades are what they are in any cluster.
package installation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/test/chart"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/kubelet"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/process"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// Components of the chart.
const (
	Webhook    = "webhook"
	Controller = "controller"
	Scanner    = "scanner"
	Responder  = "responder"
	Secrets    = "secrets"
	Console    = "console"
)

// Namespace is that of the release.
const Namespace = "portcullis-system"

// patience bounds waiting for a rollout.
const patience = 6 * time.Minute

// Options of an installation. Dir is required.
type Options struct {
	// Dir receives all that is written: the control plane's files, built programs, pods, logs.
	Dir string
	// Programs is a folder of built programs; they are built into Dir where it is empty.
	Programs string
	// Components run beside webhook and controller. The scanner also needs values of its own: a database, and a registry.
	Components []string
	// Chart is the folder of the chart, that of this checkout if empty.
	Chart string
	// Values are put over those that an installation here needs, see [Options.values].
	Values map[string]any
	// Args are further arguments of components' programs, after those of the chart, which may not say them.
	Args map[string][]string
	// Before are further objects that are there before the chart, a YAML stream.
	Before []byte
	// APIServerFlags, Users and AuditLeases are those of the control plane.
	APIServerFlags []string
	Users          []cluster.User
	AuditLeases    bool
	// Progress is told what takes long; os.Stderr if nil.
	Progress io.Writer
}

// Installation is the chart, installed.
type Installation struct {
	Control *cluster.Cluster
	// Node runs the pods.
	Node *kubelet.Node
	// Config, Client and Dynamic act as [cluster.Admin].
	Config  *rest.Config
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Senders is the authority of those who send events to the responder, Serving that of what components serve for others.
	Senders, Serving *pki.Authority

	options  Options
	rendered *chart.Rendered
	objects  []*unstructured.Unstructured // of the release
	revision int
}

// Start starts a control plane, installs the chart as Helm does, and waits until everything is rolled out.
func Start(ctx context.Context, options Options) (*Installation, error) {
	if options.Progress == nil {
		options.Progress = os.Stderr
	}
	i := &Installation{options: options}
	if err := i.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting an installation: %w", err), i.Stop())
	}
	return i, nil
}

func (i *Installation) start(ctx context.Context) error {
	o := &i.options
	if o.Programs == "" {
		o.Programs = filepath.Join(o.Dir, "bin")
		names := []string{}
		for _, component := range append([]string{Webhook, Controller}, o.Components...) {
			names = append(names, "portcullis-"+component)
		}
		if err := programs.Build(ctx, o.Programs, names...); err != nil {
			return err
		}
	}
	var err error
	// The API server finds webhooks by EndpointSlices: there is no proxy for the addresses of Services here.
	i.Control, err = cluster.Start(ctx, cluster.Options{
		Dir: filepath.Join(o.Dir, "cluster"), Users: o.Users, AuditLeases: o.AuditLeases, Progress: o.Progress, APIServerFlags: append([]string{"--enable-aggregator-routing=true"}, o.APIServerFlags...),
	})
	if err != nil {
		return err
	}
	if err := i.connect(); err != nil {
		return err
	}
	if err := i.StartNode(ctx); err != nil {
		return err
	}
	before, err := i.before(ctx)
	if err != nil {
		return err
	}
	if err := cluster.Apply(ctx, i.Config, before); err != nil {
		return err
	}
	return i.Upgrade(ctx, o.Chart, o.Values)
}

func (i *Installation) connect() (err error) {
	if i.Config, err = i.Control.Config(cluster.Admin); err != nil {
		return err
	}
	if i.Client, err = kubernetes.NewForConfig(i.Config); err != nil {
		return err
	}
	i.Dynamic, err = dynamic.NewForConfig(i.Config)
	return err
}

// StartNode starts the node, again after [kubelet.Node.Stop]: as after the end of a machine, its pods run again.
func (i *Installation) StartNode(ctx context.Context) (err error) {
	i.Node, err = kubelet.Start(ctx, kubelet.Options{
		Client: i.Client, Server: i.Control.URL, CAFile: i.Control.CAFile, Dir: filepath.Join(i.options.Dir, "node"), Program: i.program,
	})
	return err
}

// Stop ends everything. What was written stays in Options.Dir.
func (i *Installation) Stop() error {
	if i.Node != nil {
		i.Node.Stop()
	}
	if i.Control != nil {
		return i.Control.Stop()
	}
	return nil
}

// Upgrade does what helm upgrade --install does: what the chart renders to is applied, what it no longer renders to is deleted.
// It waits until everything is rolled out. An empty chart is that of this checkout.
func (i *Installation) Upgrade(ctx context.Context, folder string, values map[string]any) error {
	if err := i.Apply(ctx, folder, values); err != nil {
		return err
	}
	return i.WaitUntilRolledOut(ctx)
}

// Apply is [Installation.Upgrade] without waiting.
func (i *Installation) Apply(ctx context.Context, folder string, values map[string]any) error {
	if folder == "" {
		root, err := programs.Checkout(ctx)
		if err != nil {
			return err
		}
		folder = filepath.Join(root, "charts", "portcullis")
	}
	i.revision++
	rendered, err := chart.Render(chart.Options{Chart: folder, Values: merged(i.options.values(), values), Namespace: Namespace, Revision: i.revision})
	if err != nil {
		return fmt.Errorf("rendering the chart: %w", err)
	}
	objects, err := cluster.Parse([]byte(rendered.Manifest))
	if err != nil {
		return err
	}
	if err := cluster.Apply(ctx, i.Config, objects); err != nil {
		return err
	}
	gone := slices.DeleteFunc(slices.Clone(i.objects), func(o *unstructured.Unstructured) bool {
		return slices.ContainsFunc(objects, func(other *unstructured.Unstructured) bool { return identity(o) == identity(other) })
	})
	i.rendered, i.objects = rendered, objects
	return cluster.Delete(ctx, i.Config, gone)
}

func identity(o *unstructured.Unstructured) string {
	return strings.Join([]string{o.GroupVersionKind().GroupKind().String(), o.GetNamespace(), o.GetName()}, "/")
}

// Objects are those of the release, as rendered.
func (i *Installation) Objects() []*unstructured.Unstructured { return i.objects }

// Uninstall does what helm uninstall does: the hook before, then all objects but the definitions, which the chart keeps.
func (i *Installation) Uninstall(ctx context.Context) error {
	hooks, err := cluster.Parse([]byte(i.rendered.Hooks))
	if err != nil {
		return err
	}
	hooks = slices.DeleteFunc(hooks, func(o *unstructured.Unstructured) bool {
		return !strings.Contains(o.GetAnnotations()["helm.sh/hook"], "pre-delete")
	})
	if err := cluster.Apply(ctx, i.Config, hooks); err != nil {
		return err
	}
	for _, hook := range hooks {
		if hook.GetKind() != "Job" {
			continue
		}
		if err := i.jobDone(ctx, hook.GetName()); err != nil {
			return err
		}
	}
	objects := slices.DeleteFunc(slices.Clone(i.objects), func(o *unstructured.Unstructured) bool {
		return o.GetKind() == "CustomResourceDefinition" || o.GetAnnotations()["helm.sh/resource-policy"] == "keep"
	})
	slices.Reverse(objects)
	return cluster.Delete(ctx, i.Config, slices.Concat(hooks, objects))
}

func (i *Installation) jobDone(ctx context.Context, name string) error {
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		job, err := i.Client.BatchV1().Jobs(Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		if job.Status.Failed > 0 {
			return false, errors.New("its pod failed")
		}
		return job.Status.Succeeded > 0, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the job %s: %w\n%s", name, err, i.Logs(5))
	}
	return nil
}

// WaitUntilRolledOut waits until each Deployment and StatefulSet of the release has all its pods, of its last template, ready.
func (i *Installation) WaitUntilRolledOut(ctx context.Context) error {
	var missing error
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		missing = i.rolledOut(ctx)
		return missing == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the rollout: %w: %w\n%s", err, missing, i.Logs(5))
	}
	return nil
}

func (i *Installation) rolledOut(ctx context.Context) error {
	for _, o := range i.objects {
		switch o.GetKind() {
		case "Deployment":
			d, err := i.Client.AppsV1().Deployments(Namespace).Get(ctx, o.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			if s := d.Status; s.ObservedGeneration < d.Generation || s.UpdatedReplicas != *d.Spec.Replicas || s.AvailableReplicas != *d.Spec.Replicas || s.Replicas != *d.Spec.Replicas {
				return fmt.Errorf("of %s %d of %d are available", o.GetName(), s.AvailableReplicas, *d.Spec.Replicas)
			}
		case "StatefulSet":
			d, err := i.Client.AppsV1().StatefulSets(Namespace).Get(ctx, o.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			if s := d.Status; s.ObservedGeneration < d.Generation || s.UpdatedReplicas != *d.Spec.Replicas || s.ReadyReplicas != *d.Spec.Replicas {
				return fmt.Errorf("of %s %d of %d are ready", o.GetName(), s.ReadyReplicas, *d.Spec.Replicas)
			}
		}
	}
	return nil
}

// Pods are the names of a component's pods that are not ending.
func (i *Installation) Pods(ctx context.Context, component string) ([]string, error) {
	list, err := i.Client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=" + component})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
			names = append(names, pod.Name)
		}
	}
	return names, nil
}

// Process is what runs in a pod now, nil if nothing does.
func (i *Installation) Process(pod string) *process.Process { return i.Node.Process(Namespace, pod) }

// Address is where a port of a pod is on this machine, HOST:PORT. Ports have the names that the chart gives them: https,
// probes, hook.
func (i *Installation) Address(pod, port string) (string, error) {
	number := i.Node.Port(Namespace, pod, port)
	if number == 0 {
		return "", fmt.Errorf("looking for the port %s of %s: there is none", port, pod)
	}
	return fmt.Sprintf("127.0.0.1:%d", number), nil
}

// Logs are the last lines of all pods' logs, for failures.
func (i *Installation) Logs(lines int) string {
	files, _ := filepath.Glob(filepath.Join(i.options.Dir, "node", "logs", Namespace, "*.log"))
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		last := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(file), strings.Join(last[max(0, len(last)-lines):], "\n"))
	}
	return all.String()
}
