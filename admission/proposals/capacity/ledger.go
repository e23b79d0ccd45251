package capacity

import (
	"encoding/json"
	"fmt"

	"github.com/portcullis-dev/portcullis/admission/proposals/ownership"
)

const (
	// maxWorkloads is how many workloads have a row of their own: those of the largest clusters that Kubernetes
	// supports take some 60 MB. What is beyond is in the totals only, and the report says so.
	maxWorkloads = 50_000
	// maxPods bounds the pods whose usage is told apart: the 150,000 that Kubernetes supports.
	maxPods = 150_000
	// maxContainers of one workload have rows.
	maxContainers = 100
)

// Ledger adds up. The zero value is not ready: see [NewLedger]. It is for one goroutine.
type Ledger struct {
	namespaces map[string]*Totals
	workloads  map[place]*workload
	// declared are templates of workloads, for those of which no pod was seen.
	declared map[place]*declaration
	// pods are where the usage of a pod goes; usage is what was measured of pods that have not been seen yet.
	pods  map[podName]*workload
	usage map[podName][]measured
	// beyond counts what had no room.
	beyond, unread int
}

type podName struct{ namespace, name string }

type place struct {
	namespace string
	ownership.Workload
}

type workload struct {
	place
	pods       int64
	declared   bool
	containers []*row
	beyond     int
}

// row is one container of all pods of a workload.
type row struct {
	name            string
	pods            int64
	requests, limit asked // of one pod, that of the last one seen
	usage           Amount
	measured        int64 // pods whose usage is known
}

type declaration struct {
	replicas int64
	spec     podSpec
}

type measured struct {
	container string
	Amount
}

// NewLedger makes an empty one.
func NewLedger() *Ledger {
	return &Ledger{
		namespaces: map[string]*Totals{}, workloads: map[place]*workload{}, declared: map[place]*declaration{},
		pods: map[podName]*workload{}, usage: map[podName][]measured{},
	}
}

// Add takes a pod, a workload or what metrics-server says of a pod; other objects are ignored. Pods that have ended count for
// nothing. kind and namespace are those of the object. What cannot be read is counted and named in the report.
func (l *Ledger) Add(group, kind, namespace string, raw json.RawMessage) {
	var err error
	switch {
	case group == "" && kind == "Pod":
		err = l.pod(namespace, raw)
	case group == "metrics.k8s.io" && kind == "PodMetrics":
		err = l.metrics(namespace, raw)
	case group == "apps" || group == "batch" || group == "" && kind == "ReplicationController" || group == "argoproj.io" && kind == "Rollout":
		err = l.template(namespace, kind, raw)
	}
	if err != nil {
		l.unread++
	}
}

// Wants says whether Add does anything with objects of a kind.
func Wants(group, kind string) bool {
	switch group {
	case "":
		return kind == "Pod" || kind == "ReplicationController"
	case "apps":
		return kind == "Deployment" || kind == "ReplicaSet" || kind == "StatefulSet" || kind == "DaemonSet"
	case "batch":
		return kind == "Job"
	case "argoproj.io":
		return kind == "Rollout"
	case "metrics.k8s.io":
		return kind == "PodMetrics"
	}
	return false
}

func (l *Ledger) pod(namespace string, raw json.RawMessage) error {
	var pod struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Spec   podSpec `json:"spec"`
		Status struct {
			Phase string `json:"phase"`
		} `json:"status"`
	}
	if err := json.Unmarshal(raw, &pod); err != nil {
		return fmt.Errorf("reading a pod: %w", err)
	}
	if pod.Status.Phase == "Succeeded" || pod.Status.Phase == "Failed" {
		return nil
	}
	object, err := ownership.Of(raw, "Pod")
	if err != nil {
		return err
	}
	w := l.count(place{namespace, object.Root()}, 1, &pod.Spec)
	name := podName{namespace, pod.Metadata.Name}
	if len(l.pods) < maxPods {
		l.pods[name] = w
	}
	for _, m := range l.usage[name] {
		l.measure(namespace, w, m)
	}
	if l.usage[name] != nil {
		l.totals(namespace).Measured++
		delete(l.usage, name)
	}
	return nil
}

// count adds pods of a specification. w is nil where there is no room for the workload.
func (l *Ledger) count(at place, pods int64, spec *podSpec) (w *workload) {
	totals := l.totals(at.namespace)
	totals.Pods += pods
	totals.Requests = totals.Requests.plus(spec.requested().times(pods))
	limits := spec.limited().times(pods)
	totals.Limits = totals.Limits.plus(limits)
	if limits.MemoryBytes == 0 {
		totals.UnlimitedMemory += pods
	}
	w = l.workloads[at]
	if w == nil {
		totals.Workloads++
		if len(l.workloads) >= maxWorkloads {
			l.beyond++
			return nil
		}
		w = &workload{place: at}
		l.workloads[at] = w
	}
	w.pods += pods
	for _, c := range spec.running() {
		if r := w.row(c.Name); r != nil {
			r.pods += pods
			r.requests, r.limit = c.Resources.requests(), c.Resources.Limits.read()
			if pod := spec.Resources.requests(); pod.cpu || pod.memory { // the pod's requests are for all of its containers
				r.requests.cpu, r.requests.memory = r.requests.cpu || pod.cpu, r.requests.memory || pod.memory
			}
			if pod := spec.Resources.Limits.read(); pod.memory {
				r.limit.memory = true
			}
		}
	}
	return w
}

func (w *workload) row(container string) *row {
	for _, r := range w.containers {
		if r.name == container {
			return r
		}
	}
	if len(w.containers) >= maxContainers {
		w.beyond++
		return nil
	}
	r := &row{name: container}
	w.containers = append(w.containers, r)
	return r
}

func (l *Ledger) totals(namespace string) *Totals {
	t := l.namespaces[namespace]
	if t == nil {
		t = &Totals{}
		l.namespaces[namespace] = t
	}
	return t
}

func (l *Ledger) metrics(namespace string, raw json.RawMessage) error {
	var metrics struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Containers []struct {
			Name  string  `json:"name"`
			Usage amounts `json:"usage"`
		} `json:"containers"`
	}
	if err := json.Unmarshal(raw, &metrics); err != nil {
		return fmt.Errorf("reading the usage of a pod: %w", err)
	}
	name := podName{namespace, metrics.Metadata.Name}
	w, seen := l.pods[name]
	if seen {
		l.totals(namespace).Measured++
	}
	for _, c := range metrics.Containers {
		m := measured{c.Name, c.Usage.read().Amount}
		switch {
		case seen:
			l.measure(namespace, w, m)
		case len(l.usage) < maxPods:
			l.usage[name] = append(l.usage[name], m)
		}
	}
	return nil
}

func (l *Ledger) measure(namespace string, w *workload, m measured) {
	totals := l.totals(namespace)
	totals.Usage = totals.Usage.plus(m.Amount)
	if w == nil {
		return
	}
	if r := w.row(m.container); r != nil {
		r.usage = r.usage.plus(m.Amount)
		r.measured++
	}
}

// template keeps what a workload would run, for the case that none of its pods is among the objects: a dump without
// pods, or pods that a quota keeps from being.
func (l *Ledger) template(namespace, kind string, raw json.RawMessage) error {
	if !Wants("apps", kind) && !Wants("batch", kind) && !Wants("", kind) && kind != "Rollout" {
		return nil
	}
	object, err := ownership.Of(raw, kind)
	if err != nil {
		return err
	}
	if object.Owner.Name != "" {
		return nil // its owner declares the same
	}
	var read struct {
		Spec struct {
			Replicas    *int64 `json:"replicas"`
			Parallelism *int64 `json:"parallelism"`
			Template    struct {
				Spec podSpec `json:"spec"`
			} `json:"template"`
		} `json:"spec"`
		Status struct {
			Desired    int64  `json:"desiredNumberScheduled"` // of a DaemonSet
			Completion string `json:"completionTime"`         // of a Job
		} `json:"status"`
	}
	if err := json.Unmarshal(raw, &read); err != nil {
		return fmt.Errorf("reading a %s: %w", kind, err)
	}
	replicas := int64(1)
	switch {
	case kind == "DaemonSet":
		replicas = max(1, read.Status.Desired)
	case kind == "Job" && read.Status.Completion != "":
		replicas = 0
	case kind == "Job" && read.Spec.Parallelism != nil:
		replicas = *read.Spec.Parallelism
	case read.Spec.Replicas != nil:
		replicas = *read.Spec.Replicas
	}
	at := place{namespace, object.Root()}
	if len(l.declared) >= maxWorkloads && l.declared[at] == nil {
		l.beyond++
		return nil
	}
	l.declared[at] = &declaration{replicas: max(0, replicas), spec: read.Spec.Template.Spec}
	return nil
}

// settle counts what is declared and does not run.
func (l *Ledger) settle() {
	for at, declared := range l.declared {
		if l.workloads[at] == nil && declared.replicas > 0 {
			if w := l.count(at, declared.replicas, &declared.spec); w != nil {
				w.declared = true
			}
		}
	}
	clear(l.declared)
}
