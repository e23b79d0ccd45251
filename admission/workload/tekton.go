package workload

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// tektonTaskSpec is what of a Tekton TaskSpec becomes a pod. Steps run one after
// the other in one pod, each a container; sidecars beside them.
type tektonTaskSpec struct {
	Steps        []tektonStep `json:"steps"`
	Sidecars     []container  `json:"sidecars"`
	StepTemplate *container   `json:"stepTemplate"`
	Volumes      []volume     `json:"volumes"`
}

// tektonStep is a container, or a reference to a StepAction, which is judged by itself.
type tektonStep struct {
	container
	ComputeResources resources `json:"computeResources"` // resources until v1beta1
	Ref              struct {
		Name     string `json:"name"`
		Resolver string `json:"resolver"`
	} `json:"ref"`
}

// tektonRun is what of a TaskRun or PipelineRun settles about its pods.
type tektonRun struct {
	path       string // of what spec was read from
	spec       podSpec
	workspaces []placedVolume
	unresolved []Unresolved
}

func tektonTask(raw []byte) ([]pod, error) {
	spec, err := node{raw: raw}.child("spec")
	if err != nil || !spec.present() {
		return nil, err
	}
	return tektonPods(tektonRun{path: "spec"}, spec)
}

// tektonPods makes the pod of each task spec under the settings of a run.
func tektonPods(run tektonRun, specs ...node) ([]pod, error) {
	var pods []pod
	var total tally
	for _, at := range specs {
		var task tektonTaskSpec
		if err := at.decode(&task); err != nil {
			return nil, err
		}
		p := run.pod()
		if run.path == "spec" {
			p.path, p.metadataPath = at.path, join(at.path, "metadata")
		}
		p.addTask(&task, at.path)
		open, err := tektonExpressions.open(at)
		if err != nil {
			return nil, err
		}
		p.unresolved = append(p.unresolved, open...)
		if err := total.add(&p); err != nil {
			return nil, err
		}
		pods = append(pods, p)
	}
	return pods, nil
}

// pod is a pod of the run before it has steps.
func (run *tektonRun) pod() pod {
	p := pod{path: run.path, metadataPath: "metadata", template: true, spec: run.spec, syntax: tektonExpressions,
		unresolved: append([]Unresolved(nil), run.unresolved...)}
	for i := range run.spec.Volumes {
		p.volumes = append(p.volumes, placedVolume{run.path, "volumes", i, &run.spec.Volumes[i]})
	}
	p.volumes = append(p.volumes, run.workspaces...)
	return p
}

// addTask adds a task's steps, sidecars and volumes.
func (p *pod) addTask(task *tektonTaskSpec, path string) {
	for i := range task.Steps {
		step := &task.Steps[i]
		if step.Ref.Name != "" || step.Ref.Resolver != "" {
			continue
		}
		if len(step.ComputeResources.Limits)+len(step.ComputeResources.Requests) > 0 {
			step.Resources = step.ComputeResources
		}
		if task.StepTemplate != nil {
			step.inherit(task.StepTemplate, join(path, "stepTemplate"))
		}
		p.containers = append(p.containers, placedContainer{RoleApp, path, "steps", i, &step.container})
	}
	for i := range task.Sidecars {
		p.containers = append(p.containers, placedContainer{RoleSidecar, path, "sidecars", i, &task.Sidecars[i]})
	}
	for i := range task.Volumes {
		p.volumes = append(p.volumes, placedVolume{path, "volumes", i, &task.Volumes[i]})
	}
}

// inherit fills what the step does not say from the task's stepTemplate at a path.
func (c *container) inherit(template *container, path string) {
	if c.Image == "" && template.Image != "" {
		c.Image, c.imagePath = template.Image, join(path, "image")
	}
	c.ImagePullPolicy = or(c.ImagePullPolicy, template.ImagePullPolicy)
	if c.Command == nil {
		c.Command = template.Command
	}
	if c.Args == nil {
		c.Args = template.Args
	}
	if c.Resources.Limits == nil && c.Resources.Requests == nil {
		c.Resources = template.Resources
	}
	var paths paths
	for i, v := range template.Env {
		if !c.hasEnv(v.Name) {
			v.path = paths.index(path, "env", i)
			c.Env = append(c.Env, v)
		}
	}
	c.EnvFrom = append(c.EnvFrom, template.EnvFrom...)
	c.VolumeMounts = append(c.VolumeMounts, template.VolumeMounts...)
	c.VolumeDevices = append(c.VolumeDevices, template.VolumeDevices...)
	switch {
	case template.SecurityContext == nil:
	case c.SecurityContext == nil:
		c.SecurityContext = template.SecurityContext
	default:
		c.SecurityContext.inherit(template.SecurityContext)
	}
}

func (c *container) hasEnv(name string) bool {
	for i := range c.Env {
		if c.Env[i].Name == name {
			return true
		}
	}
	return false
}

// inherit fills absent fields. What the template allows and the step only leaves
// out stays allowed.
func (s *securityContext) inherit(t *securityContext) {
	if s.Privileged == nil {
		s.Privileged = t.Privileged
	}
	if s.AllowPrivilegeEscalation == nil {
		s.AllowPrivilegeEscalation = t.AllowPrivilegeEscalation
	}
	if s.ReadOnlyRootFilesystem == nil {
		s.ReadOnlyRootFilesystem = t.ReadOnlyRootFilesystem
	}
	if s.RunAsNonRoot == nil {
		s.RunAsNonRoot = t.RunAsNonRoot
	}
	if s.RunAsUser == nil {
		s.RunAsUser = t.RunAsUser
	}
	if s.RunAsGroup == nil {
		s.RunAsGroup = t.RunAsGroup
	}
	s.ProcMount = or(s.ProcMount, t.ProcMount)
	if s.Capabilities.Add == nil {
		s.Capabilities.Add = t.Capabilities.Add
	}
	if s.Capabilities.Drop == nil {
		s.Capabilities.Drop = t.Capabilities.Drop
	}
	if s.SeccompProfile == nil {
		s.SeccompProfile = t.SeccompProfile
	}
	if s.AppArmorProfile == nil {
		s.AppArmorProfile = t.AppArmorProfile
	}
	if s.SELinuxOptions == nil {
		s.SELinuxOptions = t.SELinuxOptions
	}
	if s.WindowsOptions == nil {
		s.WindowsOptions = t.WindowsOptions
	}
}

// tektonStepAction is a single step.
func tektonStepAction(raw []byte) ([]pod, error) {
	spec, err := node{raw: raw}.child("spec")
	if err != nil || !spec.present() {
		return nil, err
	}
	var step tektonStep
	if err := spec.decode(&step); err != nil {
		return nil, err
	}
	open, err := tektonExpressions.open(spec)
	p := pod{path: "spec", metadataPath: "metadata", template: true, syntax: tektonExpressions, unresolved: open,
		containers: []placedContainer{{RoleApp, "", "spec", -1, &step.container}}}
	return []pod{p}, err
}

func tektonTaskRun(raw []byte) ([]pod, error) {
	return tektonRunPods(node{raw: raw}, []string{"spec"}, []string{"spec.taskSpec"})
}

func tektonPipeline(raw []byte) ([]pod, error) {
	var specs []node
	for _, pattern := range []string{"spec.tasks[].taskSpec", "spec.finally[].taskSpec"} {
		found, err := node{raw: raw}.find(pattern)
		if err != nil {
			return nil, err
		}
		specs = append(specs, found...)
	}
	return tektonPods(tektonRun{path: "spec"}, specs...)
}

// tektonPipelineRun reads the settings of all tasks (spec.taskRunTemplate, in
// v1beta1 spec itself) and those of single tasks, which have no steps here.
func tektonPipelineRun(raw []byte) ([]pod, error) {
	pods, err := tektonRunPods(node{raw: raw}, []string{"spec.taskRunTemplate", "spec"},
		[]string{"spec.pipelineSpec.tasks[].taskSpec", "spec.pipelineSpec.finally[].taskSpec"})
	if err != nil {
		return nil, err
	}
	single, err := node{raw: raw}.find("spec.taskRunSpecs[]")
	if err != nil {
		return nil, err
	}
	for _, at := range single {
		run, found, err := tektonSettings(at)
		if err != nil {
			return nil, err
		}
		if found {
			pods = append(pods, run.pod())
		}
	}
	return pods, nil
}

// tektonRunPods makes the pods of a run: one for each task spec in it, or one
// without steps where it only says how the pods of tasks elsewhere are to run.
func tektonRunPods(object node, settings, patterns []string) ([]pod, error) {
	run, settled := tektonRun{path: "spec"}, false
	for _, pattern := range settings {
		found, err := object.find(pattern)
		if err != nil {
			return nil, err
		}
		for _, at := range found {
			if settled {
				break
			}
			if run, settled, err = tektonSettings(at); err != nil {
				return nil, err
			}
		}
	}
	if err := run.addWorkspaces(object); err != nil {
		return nil, err
	}
	var specs []node
	for _, pattern := range patterns {
		found, err := object.find(pattern)
		if err != nil {
			return nil, err
		}
		specs = append(specs, found...)
	}
	if len(specs) == 0 && (settled || len(run.workspaces) > 0) {
		return []pod{run.pod()}, nil
	}
	return tektonPods(run, specs...)
}

// tektonSettings reads podTemplate and serviceAccountName (taskPodTemplate and
// taskServiceAccountName in v1beta1's taskRunSpecs).
func tektonSettings(at node) (run tektonRun, found bool, err error) {
	run.path = "spec"
	var account struct {
		Name string `json:"serviceAccountName"`
		Task string `json:"taskServiceAccountName"`
	}
	if err := at.decode(&account); err != nil {
		return run, false, err
	}
	for _, name := range []string{"podTemplate", "taskPodTemplate"} {
		template, err := at.child(name)
		if err != nil {
			return run, false, err
		}
		if !template.present() {
			continue
		}
		if err := template.decode(&run.spec); err != nil {
			return run, false, err
		}
		if run.unresolved, err = tektonExpressions.open(template); err != nil {
			return run, false, err
		}
		run.path = template.path
		found = true
	}
	run.spec.ServiceAccountName = or(account.Name, account.Task)
	return run, found || run.spec.ServiceAccountName != "", nil
}

// addWorkspaces adds the volumes that the run binds to workspaces.
func (run *tektonRun) addWorkspaces(object node) error {
	workspaces, err := object.find("spec.workspaces")
	if err != nil || len(workspaces) == 0 {
		return err
	}
	var bindings []tektonWorkspace
	if err := workspaces[0].decode(&bindings); err != nil {
		return err
	}
	for i := range bindings {
		run.workspaces = append(run.workspaces, placedVolume{"spec", "workspaces", i, &bindings[i].volume})
	}
	open, err := tektonExpressions.open(workspaces[0])
	run.unresolved = append(run.unresolved, open...)
	return err
}

// tektonWorkspace is a volume with a few fields beside its source.
type tektonWorkspace struct{ volume }

// UnmarshalJSONFrom reads the volume; a claim template is that of an ephemeral volume.
func (w *tektonWorkspace) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	var fields map[string]jsontext.Value
	if err := json.UnmarshalDecode(d, &fields); err != nil {
		return err
	}
	delete(fields, "subPath")
	if template, ok := fields["volumeClaimTemplate"]; ok {
		delete(fields, "volumeClaimTemplate")
		ephemeral, err := json.Marshal(map[string]jsontext.Value{"volumeClaimTemplate": template})
		if err != nil {
			return err
		}
		fields["ephemeral"] = ephemeral
	}
	raw, err := json.Marshal(fields, json.Deterministic(true))
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, &w.volume)
}
