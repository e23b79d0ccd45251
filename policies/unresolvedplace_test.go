package policies

import (
	"strings"
	"testing"
)

// The way round: an expression at a place that nobody had thought of decided nothing, so that
// policies judged the text with the expression in it.
func TestAnExpressionAtAnUnknownPlaceLeavesEverythingUndecided(t *testing.T) {
	const (
		tasks     = "tekton.dev/v1 tasks Task"
		taskRuns  = "tekton.dev/v1 taskruns TaskRun"
		workflows = "argoproj.io/v1alpha1 workflows Workflow"
		argoPod   = `"templates":[{"name":"t","container":{"image":"a"}}]`
	)
	task := func(kind, fields string) string {
		return `{"kind":"` + kind + `","metadata":{"name":"shop"},"spec":{` + fields + `}}`
	}
	argo := func(fields string) string { return task("Workflow", argoPod+","+fields) }
	for name, test := range map[string]struct {
		kind, object, rule string
		undecided          bool
	}{
		"the tolerations of a whole workflow":        {workflows, argo(`"tolerations":[{"key":"{{x}}"}]`), `input.workload.tolerations[_].key == "a"`, true},
		"the priority class of a whole workflow":     {workflows, argo(`"podPriorityClassName":"{{x}}"`), `input.workload.priorityClass == "a"`, true},
		"another field than that":                    {workflows, argo(`"podPriorityClassName":"{{x}}"`), `input.workload.hostNetwork`, false},
		"a container by default":                     {workflows, argo(`"templateDefaults":{"container":{"image":"a","args":["{{x}}"]}}`), `input.workload.containers[_].args[_] == "a"`, true},
		"an image by default":                        {workflows, argo(`"templateDefaults":{"container":{"image":"{{x}}"}}`), `input.workload.images[_].registry == "a"`, true},
		"the limits of a container by default":       {workflows, argo(`"templateDefaults":{"script":{"image":"a","resources":{"limits":{"memory":"{{x}}"}}}}`), `input.workload.containers[_].resources.limits.memory.value > 1`, true},
		"a field that nobody knows":                  {workflows, task("Workflow", `"templates":[{"name":"t","container":{"image":"a"},"future":{"setting":"{{x}}"}}]`), `input.workload.hostNetwork`, true},
		"an output of the template":                  {workflows, task("Workflow", `"templates":[{"name":"t","container":{"image":"a"},"outputs":{"parameters":[{"name":"tolerations","value":"{{x}}"}]}}]`), `input.workload.hostNetwork`, false},
		"when a template's container is restarted":   {workflows, task("Workflow", `"templates":[{"name":"t","container":{"image":"a"},"initContainers":[{"name":"i","image":"a","restartPolicy":"{{x}}"}]}]`), `input.workload.containers[_].role == "sidecar"`, true},
		"an argument of a step":                      {tasks, task("Task", `"steps":[{"image":"a","args":["$(params.x)"]}]`), `input.workload.containers[_].args[_] == "a"`, true},
		"the limits of a step":                       {tasks, task("Task", `"steps":[{"image":"a","computeResources":{"limits":{"memory":"$(params.x)"}}}]`), `input.workload.containers[_].resources.limits.memory.value > 1`, true},
		"the limits of a step that requests take":    {tasks, task("Task", `"steps":[{"image":"a","computeResources":{"limits":{"memory":"$(params.x)"}}}]`), `input.workload.containers[_].resources.requests.memory.value > 1`, true},
		"what all steps have: arguments":             {tasks, task("Task", `"stepTemplate":{"args":["$(params.x)"]},"steps":[{"image":"a"}]`), `input.workload.containers[_].args[_] == "a"`, true},
		"what all steps have: variables":             {tasks, task("Task", `"stepTemplate":{"env":[{"name":"A","value":"$(params.x)"}]},"steps":[{"image":"a"}]`), `input.workload.containers[_].env[_].value == "a"`, true},
		"what all steps have: limits":                {tasks, task("Task", `"stepTemplate":{"computeResources":{"limits":{"memory":"$(params.x)"}}},"steps":[{"image":"a"}]`), `input.workload.containers[_].resources.limits.memory.value > 1`, true},
		"what all steps have, another field":         {tasks, task("Task", `"stepTemplate":{"args":["$(params.x)"]},"steps":[{"image":"a"}]`), `input.workload.containers[_].tty`, false},
		"the default of a parameter":                 {tasks, task("Task", `"params":[{"name":"x","default":"$(context.taskRun.name)"}],"steps":[{"image":"a"}]`), `input.workload.containers[_].tty`, false},
		"an argument of a step in a run":             {taskRuns, task("TaskRun", `"podTemplate":{"hostNetwork":false},"taskSpec":{"steps":[{"image":"a","args":["$(params.x)"]}]}`), `input.workload.containers[_].args[_] == "a"`, true},
		"the default of a parameter in a run":        {taskRuns, task("TaskRun", `"podTemplate":{"hostNetwork":false},"taskSpec":{"params":[{"name":"x","default":"$(context.taskRun.name)"}],"steps":[{"image":"a"}]}`), `input.workload.containers[_].tty`, false},
		"the script of a step, which no policy sees": {tasks, task("Task", `"steps":[{"image":"a","script":"$(params.x)"}]`), `input.workload.containers[_].args[_] == "a"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy("", `deny contains "x" if `+test.rule))
			part := strings.FieldsFunc(test.kind, func(r rune) bool { return r == ' ' || r == '/' })
			r := objectRequest(part[0], part[1], part[2], part[3], test.object)
			r.Door = DoorGate
			result := judge(t, engine, r, nil)
			if got := len(result.Undecided) == 1; got != test.undecided || len(result.Faults) > 0 || len(result.Findings) > 0 {
				t.Errorf("got undecided = %v (%+v), want %v", got, result, test.undecided)
			}
		})
	}
}
