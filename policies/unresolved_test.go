package policies

import (
	"strings"
	"testing"
)

// template is an Argo workflow of one template with containers, and more beside them.
func template(containers, more string) string {
	return `{"kind":"Workflow","metadata":{"name":"shop"},"spec":{"templates":[{"name":"t","metadata":{"labels":{"app":"{{inputs.parameters.app}}"}},` + containers + `}]` + more + `}}`
}

const openArgument = `"container":{"name":"main","image":"app:1","args":["{{inputs.parameters.size}}"],"workingDir":"{{workflow.parameters.dir}}","env":[{"name":"A","value":"{{x}}"},{"name":"B","valueFrom":{"secretKeyRef":{"name":"{{y}}","key":"k"}}}]}`

func TestAPolicyIsUndecidedWhereItReadsWhatIsLeftOpen(t *testing.T) {
	for name, test := range map[string]struct {
		object, rule string
		undecided    bool
	}{
		"an argument":                         {template(openArgument, ""), `deny contains "x" if input.workload.containers[_].args[_] == "a"`, true},
		"another field of the container":      {template(openArgument, ""), `deny contains "x" if input.workload.containers[_].tty`, false},
		"a field the normal form leaves out":  {template(openArgument, ""), `deny contains "x" if input.workload.containers[_].command[0] == "a"`, false},
		"the container as a whole":            {template(openArgument, ""), `deny contains "x" if count(input.workload.containers) == 0`, true},
		"a variable's value":                  {template(openArgument, ""), `deny contains "x" if input.workload.containers[_].env[_].value == "a"`, true},
		"a reference under another name":      {template(openArgument, ""), `deny contains "x" if input.workload.containers[_].env[_].ref == "a"`, true},
		"a list made from it":                 {template(openArgument, ""), `deny contains "x" if input.workload.secretRefs[_].name == "a"`, true},
		"a label":                             {template(openArgument, ""), `deny contains "x" if { some l in input.workload.labels; l.value == "a" }`, true},
		"an annotation beside the label":      {template(openArgument, ""), `deny contains "x" if { some a in input.workload.annotations; a.value == "a" }`, false},
		"the raw object there":                {template(openArgument, ""), `deny contains "x" if input.object.spec.templates[_].container.args[_] == "a"`, true},
		"the raw object elsewhere":            {template(openArgument, ""), `deny contains "x" if input.object.spec.templates[_].container.image == "a"`, false},
		"the raw object below":                {template(openArgument, ""), `deny contains "x" if input.object.metadata.labels.a`, false},
		"nothing of the object":               {template(openArgument, ""), `deny contains "x" if input.request.name == "a"`, false},
		"an image, parsed":                    {template(`"container":{"image":"{{x}}"}`, ""), `deny contains "x" if input.workload.images[_].registry == "a"`, true},
		"an image, among the evidence":        {template(`"container":{"image":"{{x}}"}`, ""), `deny contains "x" if input.images[_].registry == "a"`, true},
		"an image, as written":                {template(`"container":{"image":"{{x}}"}`, ""), `deny contains "x" if input.workload.containers[_].image == "a"`, true},
		"an image, by the pull policy":        {template(`"container":{"image":"{{x}}"}`, ""), `deny contains "x" if input.workload.containers[_].imagePullPolicy == "Never"`, true},
		"an image, while privileges are read": {template(`"container":{"image":"{{x}}"}`, ""), `deny contains "x" if input.workload.containers[_].securityContext.privileged`, false},
		"a limit that requests default to":    {template(`"container":{"image":"a","resources":{"limits":{"memory":"{{x}}"}}}`, ""), `deny contains "x" if input.workload.containers[_].resources.requests.memory.value > 1`, true},
		"a limit of another resource":         {template(`"container":{"image":"a","resources":{"limits":{"memory":"{{x}}"}}}`, ""), `deny contains "x" if input.workload.containers[_].resources.limits.cpu.milli > 1`, false},
		"a service account":                   {template(`"container":{"image":"a"},"serviceAccountName":"{{x}}"`, ""), `deny contains "x" if input.workload.serviceAccount == "a"`, true},
		"a service account of all templates":  {template(`"container":{"image":"a"}`, `,"serviceAccountName":"{{x}}"`), `deny contains "x" if input.workload.serviceAccount == "a"`, true},
		"a profile of the whole pod":          {template(`"container":{"image":"a"},"securityContext":{"seccompProfile":{"type":"{{x}}"}}`, ""), `deny contains "x" if input.workload.containers[_].securityContext.seccompProfile.type == "a"`, true},
		"a claim of a volume":                 {template(`"container":{"image":"a"},"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"{{x}}"}}]`, ""), `deny contains "x" if input.workload.volumes[_].claim == "a"`, true},
		"a secret of a volume":                {template(`"container":{"image":"a"},"volumes":[{"name":"v","secret":{"secretName":"{{x}}"}}]`, ""), `deny contains "x" if input.workload.secretRefs[_].name == "a"`, true},
		"a path on the node":                  {template(`"container":{"image":"a"},"volumes":[{"name":"v","hostPath":{"path":"{{x}}"}}]`, ""), `deny contains "x" if input.workload.volumes[_].hostPath == "/"`, true},
		"an input of the template":            {template(`"container":{"image":"a"},"inputs":{"parameters":[{"name":"path","value":"{{x}}"}]}`, ""), `deny contains "x" if input.workload.path == "a"`, false},
		"a patch of the whole pod":            {template(`"container":{"image":"a"},"podSpecPatch":"{{x}}"`, ""), `deny contains "x" if input.workload.hostNetwork`, true},
		"the same text in a pod is text":      {`{"kind":"Pod","spec":{"containers":[{"name":"a","image":"a","args":["{{x}}"]}]}}`, `deny contains "x" if input.workload.containers[_].args[_] == "a"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, onePolicy("", test.rule))
			r := objectRequest("argoproj.io", "v1alpha1", "workflows", "Workflow", test.object)
			if strings.Contains(test.object, `"kind":"Pod"`) {
				r = podRequest(test.object)
			}
			r.Door = DoorGate
			result := judge(t, engine, r, nil)
			if got := len(result.Undecided) == 1; got != test.undecided || len(result.Faults) > 0 || len(result.Findings) > 0 {
				t.Errorf("got undecided = %v (%+v), want %v", got, result, test.undecided)
			}
		})
	}
}

func TestManifestPathsAreSplit(t *testing.T) {
	for path, want := range map[string]string{
		"":                            "",
		"spec":                        "spec",
		"spec.containers[0].image":    "spec|containers||image",
		"metadata.annotations[a.b/c]": "metadata|annotations|a.b/c",
		"metadata.labels[a].b":        "metadata|labels|a|b",
		"a[12][3]":                    "a||",
		"[0].a":                       "|a",
		"a[":                          "a|",
		"a..b":                        "a|b",
	} {
		if got := strings.Join(splitPath(path), "|"); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}
