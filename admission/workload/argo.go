package workload

import "github.com/go-json-experiment/json/jsontext"

// argoPod are the fields that a workflow's spec and its templates share; a
// template's win. Names are those of the pod spec wherever they mean the same.
type argoPod struct {
	Volumes                      []volume            `json:"volumes"`
	ServiceAccountName           string              `json:"serviceAccountName"`
	AutomountServiceAccountToken *bool               `json:"automountServiceAccountToken"`
	SecurityContext              *podSecurityContext `json:"securityContext"`
	NodeSelector                 pairs               `json:"nodeSelector"`
	Tolerations                  []toleration        `json:"tolerations"`
	Affinity                     *affinity           `json:"affinity"`
	HostAliases                  []hostAlias         `json:"hostAliases"`
	SchedulerName                string              `json:"schedulerName"`
	PodSpecPatch                 string              `json:"podSpecPatch"`
}

// argoSpec is what of a WorkflowSpec bears on its pods.
type argoSpec struct {
	argoPod
	HostNetwork          bool         `json:"hostNetwork"`
	DNSPolicy            string       `json:"dnsPolicy"`
	PodPriorityClassName string       `json:"podPriorityClassName"`
	ImagePullSecrets     []nameOnly   `json:"imagePullSecrets"`
	PodMetadata          objectMeta   `json:"podMetadata"`
	TemplateDefaults     argoTemplate `json:"templateDefaults"`
}

// argoTemplate is what of a Template becomes a pod: one main container (or script,
// or a set of containers), init containers and sidecars.
type argoTemplate struct {
	argoPod
	Metadata          objectMeta `json:"metadata"`
	PriorityClassName string     `json:"priorityClassName"`
	Container         *container `json:"container"`
	Script            *container `json:"script"`
	ContainerSet      struct {
		Containers []container `json:"containers"`
	} `json:"containerSet"`
	InitContainers []container    `json:"initContainers"`
	Sidecars       []container    `json:"sidecars"`
	Steps          jsontext.Value `json:"steps"`
	DAG            jsontext.Value `json:"dag"`
}

// argoWorkflow finds the pods of a WorkflowSpec at a path: one for each template
// with containers, also of those written inline in steps and tasks.
func argoWorkflow(path string) func([]byte) ([]pod, error) {
	return func(raw []byte) ([]pod, error) {
		found, err := node{raw: raw}.find(path)
		if err != nil || len(found) == 0 {
			return nil, err
		}
		at := found[0]
		var spec argoSpec
		if err := at.decode(&spec); err != nil {
			return nil, err
		}
		templates, err := argoTemplates(at)
		if err != nil {
			return nil, err
		}
		shared, err := argoShared(at)
		if err != nil {
			return nil, err
		}
		var pods []pod
		var total tally
		for _, t := range templates {
			p, ok, err := spec.pod(at, t)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
			if t.path != join(at.path, "templateDefaults") {
				p.unresolved = append(p.unresolved, shared...)
			}
			if err := total.add(&p); err != nil {
				return nil, err
			}
			pods = append(pods, p)
		}
		if len(pods) == 0 && spec.PodSpecPatch != "" {
			pods = append(pods, patchedElsewhere(at.path, &spec))
		}
		return pods, nil
	}
}

// patchedElsewhere stands for the pods of templates that are not in the object, which
// its patch changes nevertheless.
func patchedElsewhere(path string, spec *argoSpec) pod {
	p := pod{path: path, metadataPath: "metadata", template: true, syntax: argoExpressions, images: true, origins: map[string]string{}}
	p.settle(&spec.argoPod, path)
	return p
}

// argoTemplates lists the templates of a workflow.
func argoTemplates(spec node) ([]node, error) {
	templates, err := spec.find("templates[]")
	if err != nil {
		return nil, err
	}
	all := templates
	for _, t := range templates {
		for _, pattern := range []string{"steps[][].inline", "dag.tasks[].inline"} {
			inline, err := t.find(pattern)
			if err != nil {
				return nil, err
			}
			all = append(all, inline...)
		}
	}
	defaults, err := spec.find("templateDefaults")
	return append(all, defaults...), err
}

// pod makes the pod of one template; false where it has no containers.
func (spec *argoSpec) pod(at, template node) (pod, bool, error) {
	var t argoTemplate
	if err := template.decode(&t); err != nil {
		return pod{}, false, err
	}
	p := pod{path: template.path, metadataPath: join(template.path, "metadata"), template: true,
		metadata: t.Metadata, syntax: argoExpressions, origins: map[string]string{},
		// Defaults may leave the image to the templates that they complete.
		images: template.path == join(at.path, "templateDefaults")}
	p.addArgoContainers(&t)
	if len(p.containers) == 0 {
		return pod{}, false, nil
	}
	p.metadata.Labels = merged(t.Metadata.Labels, spec.PodMetadata.Labels)
	p.metadata.Annotations = merged(t.Metadata.Annotations, spec.PodMetadata.Annotations)
	p.spec.HostNetwork, p.spec.DNSPolicy = spec.HostNetwork, spec.DNSPolicy
	p.spec.ImagePullSecrets = spec.ImagePullSecrets
	p.origins["imagePullSecrets"] = at.path
	defaults := &spec.TemplateDefaults
	p.spec.PriorityClassName = or(or(t.PriorityClassName, defaults.PriorityClassName), spec.PodPriorityClassName)
	p.settle(&t.argoPod, template.path)
	p.settle(&defaults.argoPod, join(at.path, "templateDefaults"))
	p.settle(&spec.argoPod, at.path)
	open, err := argoExpressions.open(template)
	p.unresolved = append(p.unresolved, open...)
	return p, true, err
}

func (p *pod) addArgoContainers(t *argoTemplate) {
	for i := range t.InitContainers {
		p.containers = append(p.containers, placedContainer{RoleInit, p.path, "initContainers", i, &t.InitContainers[i]})
	}
	for i := range t.Sidecars {
		p.containers = append(p.containers, placedContainer{RoleSidecar, p.path, "sidecars", i, &t.Sidecars[i]})
	}
	if t.Container != nil {
		t.Container.Name = or(t.Container.Name, "main")
		p.containers = append(p.containers, placedContainer{RoleApp, p.path, "container", -1, t.Container})
	}
	if t.Script != nil {
		t.Script.Name = or(t.Script.Name, "main")
		p.containers = append(p.containers, placedContainer{RoleApp, p.path, "script", -1, t.Script})
	}
	for i := range t.ContainerSet.Containers {
		p.containers = append(p.containers, placedContainer{RoleApp, join(p.path, "containerSet"), "containers", i, &t.ContainerSet.Containers[i]})
	}
}

// settle takes what the pod does not have yet from one level: the template, the
// template defaults, the workflow. Volumes add up.
func (p *pod) settle(from *argoPod, path string) {
	s := &p.spec
	for i := range from.Volumes {
		p.volumes = append(p.volumes, placedVolume{path, "volumes", i, &from.Volumes[i]})
	}
	s.ServiceAccountName = or(s.ServiceAccountName, from.ServiceAccountName)
	s.SchedulerName = or(s.SchedulerName, from.SchedulerName)
	if s.AutomountServiceAccountToken == nil {
		s.AutomountServiceAccountToken = from.AutomountServiceAccountToken
	}
	if from.SecurityContext != nil && p.origins["securityContext"] == "" {
		s.SecurityContext = *from.SecurityContext
		p.origins["securityContext"] = path
	}
	if s.NodeSelector == nil {
		s.NodeSelector = append(pairs(nil), from.NodeSelector...)
	}
	if s.Tolerations == nil {
		s.Tolerations = from.Tolerations
		p.origins["tolerations"] = path
	}
	if s.HostAliases == nil {
		s.HostAliases = from.HostAliases
		p.origins["hostAliases"] = path
	}
	if from.Affinity != nil && p.origins["affinity"] == "" {
		s.Affinity = *from.Affinity
		p.origins["affinity"] = path
	}
	if from.PodSpecPatch != "" {
		p.unresolved = append(p.unresolved, Unresolved{join(path, "podSpecPatch"), abbreviate(from.PodSpecPatch),
			"Argo changes the pod by this patch when the workflow runs"})
	}
}

// argoShared lists the expressions in what the workflow sets for all templates.
func argoShared(spec node) ([]Unresolved, error) {
	var shared []Unresolved
	for _, name := range []string{"volumes", "serviceAccountName", "securityContext", "nodeSelector", "tolerations", "hostAliases",
		"schedulerName", "podPriorityClassName", "imagePullSecrets", "podMetadata", "templateDefaults"} {
		at, err := spec.child(name)
		if err != nil {
			return nil, err
		}
		open, err := argoExpressions.open(at)
		if err != nil {
			return nil, err
		}
		shared = append(shared, open...)
	}
	return shared, nil
}

// merged adds the pairs of others that own lacks.
func merged(own, others pairs) pairs {
	out := append(pairs(nil), own...)
	for _, pair := range others {
		if _, ok := own.get(pair.Key); !ok {
			out = append(out, pair)
		}
	}
	return out
}
