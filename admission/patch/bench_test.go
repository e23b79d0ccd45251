package patch_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/patch"
)

// benchmarkPod is a pod of about 6 KB as the API server sends it.
func benchmarkPod() []byte {
	var containers []string
	for i := range 4 {
		var env []string
		for j := range 12 {
			env = append(env, fmt.Sprintf(`{"name":"SETTING_%02d","value":"a value of middling length %02d"}`, j, j))
		}
		containers = append(containers, fmt.Sprintf(`{"name":"c%d","image":"registry.example/team/app:1.%d","env":[%s],`+
			`"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},`+
			`"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent",`+
			`"volumeMounts":[{"name":"kube-api-access-abcde","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}]}`,
			i, i, strings.Join(env, ",")))
	}
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"b","labels":{"app":"a"}},`+
		`"spec":{"containers":[%s],"serviceAccountName":"default","dnsPolicy":"ClusterFirst"}}`, strings.Join(containers, ","))
}

func BenchmarkMerge(b *testing.B) {
	pod := benchmarkPod()
	var changing, keeping []patch.Edit
	for i := range 4 {
		changing = append(changing,
			setIfAbsent("patches/escalation", false, "spec", "containers", i, "securityContext", "allowPrivilegeEscalation"),
			set("patches/pull-policy", "Always", "spec", "containers", i, "imagePullPolicy"))
		keeping = append(keeping, setIfAbsent("patches/pull-policy", "Always", "spec", "containers", i, "imagePullPolicy"))
	}
	for name, edits := range map[string][]patch.Edit{"eight changes": changing, "nothing to change": keeping} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(pod)))
			for b.Loop() {
				if _, _, err := patch.Merge(pod, edits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkApplyChanges(b *testing.B) {
	pod := benchmarkPod()
	changes := []patch.Change{
		{Op: "set", Path: "spec.containers[0].securityContext.runAsNonRoot", Value: true},
		{Op: "add", Path: "spec.containers[1].securityContext.capabilities.drop", Value: "ALL"},
		{Op: "remove", Path: "spec.containers[2].volumeMounts[0]"},
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(pod)))
	for b.Loop() {
		if _, err := patch.ApplyChanges(pod, changes); err != nil {
			b.Fatal(err)
		}
	}
}
