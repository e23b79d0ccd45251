package web

import (
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/kube"
)

// The resources of others that pages read.
var (
	events     = corev1.SchemeGroupVersion.WithResource("events")
	pods       = corev1.SchemeGroupVersion.WithResource("pods")
	namespaces = corev1.SchemeGroupVersion.WithResource("namespaces")
	// Reports of either kind: what writes both means the same by them, so the first that is served counts.
	openReports   = schema.GroupVersionResource{Group: "openreports.io", Version: "v1alpha1", Resource: "reports"}
	policyReports = schema.GroupVersionResource{Group: "wgpolicyk8s.io", Version: "v1alpha2", Resource: "policyreports"}
)

// kindOf is a kind of workload.
type kindOf struct {
	kind     string
	resource schema.GroupVersionResource
}

// kinds of workloads, in the order in which they are listed.
var kinds = []kindOf{
	{"Deployment", appsv1.SchemeGroupVersion.WithResource("deployments")},
	{"StatefulSet", appsv1.SchemeGroupVersion.WithResource("statefulsets")},
	{"DaemonSet", appsv1.SchemeGroupVersion.WithResource("daemonsets")},
	{"CronJob", batchv1.SchemeGroupVersion.WithResource("cronjobs")},
	{"Job", batchv1.SchemeGroupVersion.WithResource("jobs")},
	{"ReplicaSet", appsv1.SchemeGroupVersion.WithResource("replicasets")},
	{"Pod", pods},
}

// together runs tasks at once; the first error that says that nobody is logged in any more is returned.
func together(tasks ...func() error) error {
	errs := make([]error, len(tasks))
	var group sync.WaitGroup
	for n, task := range tasks {
		group.Go(func() { errs[n] = task() })
	}
	group.Wait()
	for _, err := range errs {
		if kube.LoggedOut(err) {
			return err
		}
	}
	return nil
}

// namespaces are those that the caller may list, for the box in the header; none where they may not.
func (v *visit) namespaces() []string {
	list, err := kube.List[corev1.Namespace](v.r.Context(), v.caller, namespaces, kube.Query{})
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(list.Items))
	for n := range list.Items {
		names = append(names, list.Items[n].Name)
	}
	return names
}

// text of an error, "" for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
