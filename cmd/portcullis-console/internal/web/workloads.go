package web

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/kube"
)

type workloadsData struct {
	Problems []string
	Rows     []workloadRow
	Pager    pager
}

type workloadRow struct {
	Kind, Namespace, Name, Ready, Link string
	Images                             []string
	Created                            time.Time
}

// object has the fields in which workloads of all kinds agree.
type object struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Replicas *int32                 `json:"replicas"`
		Selector *metav1.LabelSelector  `json:"selector"`
		Template corev1.PodTemplateSpec `json:"template"`
		// Of a CronJob.
		JobTemplate struct {
			Spec struct {
				Template corev1.PodTemplateSpec `json:"template"`
			} `json:"spec"`
		} `json:"jobTemplate"`
		// Of a pod itself.
		Containers []corev1.Container `json:"containers"`
	} `json:"spec"`
	Status struct {
		ReadyReplicas          int32 `json:"readyReplicas"`
		NumberReady            int32 `json:"numberReady"`
		DesiredNumberScheduled int32 `json:"desiredNumberScheduled"`
		Phase                  string
	} `json:"status"`
}

// listed are the kinds that the list has: those above pods, and pods without a controller.
const listedKinds = 5

func (v *visit) workloads() error {
	var lists [listedKinds + 1]read[object]
	var tasks []func() error
	for n := range listedKinds {
		tasks = append(tasks, func() error { return fill(&lists[n], v, kube.Query{Namespace: v.namespace}, kinds[n].resource) })
	}
	tasks = append(tasks, func() error { return fill(&lists[listedKinds], v, kube.Query{Namespace: v.namespace}, pods) })
	if err := together(tasks...); err != nil {
		return err
	}
	var data workloadsData
	var rows []workloadRow
	more := false
	for n := range lists {
		kind := "Pod"
		if n < listedKinds {
			kind = kinds[n].kind
		}
		more = more || lists[n].More
		if lists[n].err != nil {
			data.Problems = append(data.Problems, lists[n].err.Error())
		}
		for k := range lists[n].Items {
			o := &lists[n].Items[k]
			if (kind == "Pod" || kind == "Job") && metav1.GetControllerOf(o) != nil {
				continue
			}
			rows = append(rows, newWorkloadRow(kind, o, v.namespace))
		}
	}
	slices.SortFunc(rows, func(a, b workloadRow) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	data.Rows, data.Pager = cutPage(rows, "/workloads", v.query, more)
	return v.show("workloads", "Workloads", data)
}

func newWorkloadRow(kind string, o *object, scope string) workloadRow {
	row := workloadRow{Kind: kind, Namespace: o.Namespace, Name: o.Name, Created: o.CreationTimestamp.Time, Link: workloadLink(kind, o.Namespace, o.Name, scope)}
	switch kind {
	case "Deployment", "StatefulSet", "ReplicaSet":
		want := int32(1)
		if o.Spec.Replicas != nil {
			want = *o.Spec.Replicas
		}
		row.Ready = fmt.Sprintf("%d of %d", o.Status.ReadyReplicas, want)
	case "DaemonSet":
		row.Ready = fmt.Sprintf("%d of %d", o.Status.NumberReady, o.Status.DesiredNumberScheduled)
	}
	for _, containers := range [][]corev1.Container{o.Spec.Template.Spec.Containers, o.Spec.JobTemplate.Spec.Template.Spec.Containers, o.Spec.Containers} {
		for n := range containers {
			row.Images = append(row.Images, shortImage(containers[n].Image))
		}
	}
	return row
}

func workloadLink(kind, namespace, name, scope string) string {
	return address("/workload", "kind", kind, "in", namespace, "name", name, "namespace", scope)
}

// owned are the pods of a workload.
func owned(kind string, o *object, all []corev1.Pod) []corev1.Pod {
	return slices.DeleteFunc(all, func(pod corev1.Pod) bool {
		if kind == "Pod" {
			return pod.Name != o.Name
		}
		owner := metav1.GetControllerOf(&pod)
		if owner == nil {
			return true
		}
		switch kind {
		case "Deployment":
			// The ReplicaSet of a Deployment is called after it and the hash that its pods have as a label.
			return owner.Kind != "ReplicaSet" || owner.Name != o.Name+"-"+pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
		case "CronJob":
			// Its Jobs are called after it and the minute.
			return owner.Kind != "Job" || len(owner.Name) <= len(o.Name) || owner.Name[:len(o.Name)+1] != o.Name+"-" || pod.Labels[batchv1.JobNameLabel] != owner.Name
		}
		return owner.UID != o.UID
	})
}
