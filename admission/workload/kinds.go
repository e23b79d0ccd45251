package workload

import (
	"github.com/go-json-experiment/json"
)

// row is one kind of objects that carry pods.
type row struct {
	group, kind, resource string
	find                  func(raw []byte) ([]pod, error)
}

var rows = []row{
	{"", "Pod", "pods", findPod},
	{"", "PodTemplate", "podtemplates", findPodTemplate},
	{"", "ReplicationController", "replicationcontrollers", findReplicated},
	{"apps", "Deployment", "deployments", findReplicated},
	{"apps", "ReplicaSet", "replicasets", findReplicated},
	{"apps", "StatefulSet", "statefulsets", findReplicated},
	{"apps", "DaemonSet", "daemonsets", findTemplate},
	{"extensions", "Deployment", "deployments", findReplicated},
	{"extensions", "ReplicaSet", "replicasets", findReplicated},
	{"extensions", "DaemonSet", "daemonsets", findTemplate},
	{"batch", "Job", "jobs", findTemplate},
	{"batch", "CronJob", "cronjobs", findCronJob},
}

// rowOf finds the row of a kind.
func rowOf(group, kind string) (*row, bool) {
	for i := range rows {
		if rows[i].kind == kind && rows[i].group == group {
			return &rows[i], true
		}
	}
	return nil, false
}

func findPod(raw []byte) ([]pod, error) {
	var object podObject
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	p := pod{path: "spec", metadataPath: "metadata", metadata: object.Metadata, spec: object.Spec}
	p.place()
	return []pod{p}, nil
}

// controller is every controller whose pods are made from spec.template.
type controller struct {
	Spec struct {
		Replicas *int64      `json:"replicas"`
		Template podTemplate `json:"template"`
	} `json:"spec"`
}

func findTemplate(raw []byte) ([]pod, error) {
	var object controller
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	return []pod{templated(object.Spec.Template, "spec.template")}, nil
}

func findReplicated(raw []byte) ([]pod, error) {
	var object controller
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	p := templated(object.Spec.Template, "spec.template")
	p.replicas = object.Spec.Replicas
	if p.replicas == nil {
		one := int64(1)
		p.replicas = &one
	}
	return []pod{p}, nil
}

func findPodTemplate(raw []byte) ([]pod, error) {
	var object struct {
		Template podTemplate `json:"template"`
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	return []pod{templated(object.Template, "template")}, nil
}

func findCronJob(raw []byte) ([]pod, error) {
	var object struct {
		Spec struct {
			JobTemplate controller `json:"jobTemplate"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	return []pod{templated(object.Spec.JobTemplate.Spec.Template, "spec.jobTemplate.spec.template")}, nil
}

// templated is the pod of a template at a path.
func templated(t podTemplate, path string) pod {
	p := pod{path: path + ".spec", metadataPath: path + ".metadata", template: true, metadata: t.Metadata, spec: t.Spec}
	p.place()
	return p
}
