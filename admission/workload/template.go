package workload

import (
	"strings"

	"github.com/go-json-experiment/json"
)

func findPod(raw []byte) ([]pod, error) {
	p := pod{path: "spec", metadataPath: "metadata"}
	var object podObject
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, explain("", err)
	}
	p.metadata, p.spec = object.Metadata, object.Spec
	p.place()
	return []pod{p}, nil
}

// findRevision reads a kind whose own spec is a pod spec, from which a controller
// makes pods.
func findRevision(raw []byte) ([]pod, error) {
	pods, err := findPod(raw)
	if err == nil {
		pods[0].template = true
	}
	return pods, err
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
		return nil, explain("", err)
	}
	return []pod{templated(object.Spec.Template, "spec.template")}, nil
}

// findReplicated reads a controller that makes one replica unless told otherwise.
func findReplicated(raw []byte) ([]pod, error) {
	var object controller
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, explain("", err)
	}
	p := templated(object.Spec.Template, "spec.template")
	p.replicas = object.Spec.Replicas
	if p.replicas == nil {
		one := int64(1)
		p.replicas = &one
	}
	return []pod{p}, nil
}

func findCronJob(raw []byte) ([]pod, error) {
	var object struct {
		Spec struct {
			JobTemplate controller `json:"jobTemplate"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, explain("", err)
	}
	return []pod{templated(object.Spec.JobTemplate.Spec.Template, "spec.jobTemplate.spec.template")}, nil
}

// templated is the pod of a template at a path.
func templated(t podTemplate, path string) pod {
	p := pod{path: path + ".spec", metadataPath: path + ".metadata", template: true, metadata: t.Metadata, spec: t.Spec}
	p.place()
	return p
}

// templates finds the pod templates at patterns (see [node.find]). Replicas are
// those written beside the template.
func templates(patterns ...string) func([]byte) ([]pod, error) {
	return func(raw []byte) ([]pod, error) {
		var pods []pod
		for _, pattern := range patterns {
			parent, name := "", pattern
			if dot := strings.LastIndexByte(pattern, '.'); dot >= 0 {
				parent, name = pattern[:dot], pattern[dot+1:]
			}
			carriers := []node{{raw: raw}}
			var err error
			if parent != "" {
				if carriers, err = carriers[0].find(parent); err != nil {
					return nil, err
				}
			}
			for _, carrier := range carriers {
				p, ok, err := templateIn(carrier, name)
				if err != nil {
					return nil, err
				}
				if ok {
					pods = append(pods, p)
				}
			}
		}
		return pods, nil
	}
}

// templateIn reads one template and the replicas beside it.
func templateIn(carrier node, name string) (pod, bool, error) {
	at, err := carrier.child(name)
	if err != nil || !at.present() {
		return pod{}, false, err
	}
	var template podTemplate
	if err := at.decode(&template); err != nil {
		return pod{}, false, err
	}
	p := templated(template, at.path)
	replicas, err := carrier.child("replicas")
	if err != nil {
		return pod{}, false, err
	}
	return p, true, replicas.decode(&p.replicas)
}

// runtimes finds templates whose images may be left to those who use them.
func runtimes(patterns ...string) func([]byte) ([]pod, error) {
	find := templates(patterns...)
	return func(raw []byte) ([]pod, error) {
		pods, err := find(raw)
		for i := range pods {
			pods[i].images = true
		}
		return pods, err
	}
}
