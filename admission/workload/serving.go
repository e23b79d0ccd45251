package workload

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// kserveFrameworks are the fields of a predictor or explainer that are a container
// with a model in it.
var kserveFrameworks = []string{"model", "sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface",
	"pmml", "lightgbm", "paddle", "art"}

// kserve finds the parts of KServe's kinds that are a pod spec with further fields,
// labels and annotations among them, each with a second one for its workers.
func kserve(patterns ...string) func([]byte) ([]pod, error) {
	return func(raw []byte) ([]pod, error) {
		var pods []pod
		for _, pattern := range patterns {
			for _, pattern := range []string{pattern, pattern + ".workerSpec"} {
				found, err := node{raw: raw}.find(pattern)
				if err != nil {
					return nil, err
				}
				for _, at := range found {
					p, err := kservePod(at)
					if err != nil {
						return nil, err
					}
					pods = append(pods, p)
				}
			}
		}
		return pods, nil
	}
}

func kservePod(at node) (pod, error) {
	p := pod{path: at.path, metadataPath: at.path, template: true, images: true}
	if err := at.decode(&p.spec); err != nil {
		return p, err
	}
	if err := at.decode(&p.metadata); err != nil {
		return p, err
	}
	p.place()
	for _, name := range kserveFrameworks {
		model, err := at.child(name)
		if err != nil {
			return p, err
		}
		if !model.present() {
			continue
		}
		c := &container{}
		if err := model.decode(c); err != nil {
			return p, err
		}
		c.Name = or(c.Name, "kserve-container")
		p.containers = append(p.containers, placedContainer{RoleApp, at.path, name, -1, c})
	}
	return p, nil
}

// openFaaS reads a Function, which is a Deployment in its own words.
func openFaaS(raw []byte) ([]pod, error) {
	var object struct {
		Spec struct {
			Name                   string                    `json:"name"`
			Image                  string                    `json:"image"`
			Environment            map[string]jsontext.Value `json:"environment"`
			Labels                 pairs                     `json:"labels"`
			Annotations            pairs                     `json:"annotations"`
			Secrets                []string                  `json:"secrets"`
			Limits                 quantities                `json:"limits"`
			Requests               quantities                `json:"requests"`
			ReadOnlyRootFilesystem bool                      `json:"readOnlyRootFilesystem"`
		} `json:"spec"`
	}
	if err := (node{raw: raw}).decode(&object); err != nil {
		return nil, err
	}
	s := &object.Spec
	c := &container{Name: s.Name, Image: s.Image, Resources: resources{Limits: s.Limits, Requests: s.Requests},
		SecurityContext: &securityContext{ReadOnlyRootFilesystem: &s.ReadOnlyRootFilesystem}}
	for name, raw := range s.Environment {
		v := envVar{Name: name, path: join("spec.environment", name)}
		if err := (node{v.path, raw}).decode(&v.Value); err != nil {
			return nil, err
		}
		c.Env = append(c.Env, v)
	}
	slices.SortFunc(c.Env, func(a, b envVar) int { return strings.Compare(a.Name, b.Name) })
	p := pod{path: "spec", metadataPath: "spec", template: true, metadata: objectMeta{s.Labels, s.Annotations},
		containers: []placedContainer{{RoleApp, "", "spec", -1, c}}}
	var paths paths
	for i, name := range s.Secrets {
		p.secrets = append(p.secrets, SecretRef{Name: name, Via: "volume", Path: paths.index("spec", "secrets", i)})
	}
	return []pod{p}, nil
}

// trainJob reads what a TrainJob itself says of pods that a TrainingRuntime
// describes: the trainer's container, and changes to the pods of some jobs.
func trainJob(raw []byte) ([]pod, error) {
	object := node{raw: raw}
	var pods []pod
	trainer, err := trainerPod(object)
	if err != nil {
		return nil, err
	}
	if len(trainer.containers)+len(trainer.secrets) > 0 {
		pods = append(pods, trainer)
	}
	flat, err := object.find("spec.podSpecOverrides[]")
	if err != nil {
		return nil, err
	}
	for _, at := range flat {
		p := pod{path: at.path, metadataPath: join(at.path, "metadata"), template: true, images: true}
		if err := at.decode(&p.spec); err != nil {
			return nil, err
		}
		p.place()
		pods = append(pods, p)
	}
	overrides, err := object.find("spec.podTemplateOverrides[]")
	if err != nil {
		return nil, err
	}
	for _, at := range overrides {
		var template podTemplate
		if err := at.decode(&template); err != nil {
			return nil, err
		}
		p := templated(template, at.path)
		p.images = true
		pods = append(pods, p)
	}
	return pods, nil
}

func trainerPod(object node) (pod, error) {
	p := pod{path: "spec.trainer", metadataPath: "metadata", template: true, images: true}
	trainers, err := object.find("spec.trainer")
	if err != nil {
		return p, err
	}
	for _, at := range trainers {
		var trainer struct {
			container
			PerNode resources `json:"resourcesPerNode"`
		}
		if err := at.decode(&trainer); err != nil {
			return p, err
		}
		c := trainer.container
		c.Name, c.Resources = "node", trainer.PerNode
		p.containers = append(p.containers, placedContainer{RoleApp, "spec", "trainer", -1, &c})
	}
	for _, name := range []string{"dataset", "model"} {
		secrets, err := object.find("spec.initializer." + name + ".secretRef")
		if err != nil {
			return p, err
		}
		for _, at := range secrets {
			var ref nameOnly
			if err := at.decode(&ref); err != nil {
				return p, err
			}
			p.secrets = append(p.secrets, SecretRef{Name: ref.Name, Via: "envFrom", Path: at.path})
		}
	}
	return p, nil
}
