package ownership

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/gobwas/glob"
)

func manifest(kind, name, owner, labels string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"kind":%q,"metadata":{"namespace":"shop","name":%q,"labels":{%s},"ownerReferences":[%s]}}`, kind, name, labels, owner))
}

func owned(kind, name string) string {
	return fmt.Sprintf(`{"kind":%q,"name":%q,"controller":true}`, kind, name)
}

func TestObjectsBelongToWhatSomebodyWrote(t *testing.T) {
	const hash = `"pod-template-hash":"6d4cf56db6"`
	for name, test := range map[string]struct {
		object json.RawMessage
		root   string
		// same are names of other objects of the workload, others of something else.
		same, others []string
	}{
		"a pod alone":                     {manifest("Pod", "web", "", ""), "Pod/web", nil, []string{"web-1"}},
		"a pod of a Deployment":           {manifest("Pod", "web-6d4cf56db6-x2x4z", owned("ReplicaSet", "web-6d4cf56db6"), hash), "Deployment/web", []string{"web-6d4cf56db6-abcde", "web-7f4cf56db-abcde"}, []string{"web", "web-admin-6d4cf56db6-abcde", "web-6d4cf56db6", "web-6d4cf56db6-abcdef"}},
		"a ReplicaSet of a Deployment":    {manifest("ReplicaSet", "web-6d4cf56db6", owned("Deployment", "web"), hash), "Deployment/web", []string{"web-7d4cf56db6"}, []string{"web", "web-admin-6d4cf56db6"}},
		"a pod of a Rollout":              {manifest("Pod", "web-6d4cf56db6-x2x4z", owned("ReplicaSet", "web-6d4cf56db6"), `"rollouts-pod-template-hash":"6d4cf56db6"`), "Rollout/web", []string{"web-7d4cf56db6-abcde"}, nil},
		"a pod of a ReplicaSet alone":     {manifest("Pod", "web-x2x4z", owned("ReplicaSet", "web"), ""), "ReplicaSet/web", []string{"web-abcde"}, []string{"web-abcdef"}},
		"a pod of a DaemonSet":            {manifest("Pod", "log-x2x4z", owned("DaemonSet", "log"), ""), "DaemonSet/log", []string{"log-abcde"}, []string{"log"}},
		"a pod of a StatefulSet":          {manifest("Pod", "db-0", owned("StatefulSet", "db"), ""), "StatefulSet/db", nil, []string{"db-1"}},
		"a pod of a Job":                  {manifest("Pod", "load-x2x4z", owned("Job", "load"), ""), "Job/load", []string{"load-abcde"}, nil},
		"a pod of a CronJob's Job":        {manifest("Pod", "tidy-29012345-x2x4z", owned("Job", "tidy-29012345"), ""), "CronJob/tidy", []string{"tidy-29012999-abcde"}, []string{"tidy-29012999"}},
		"a Job of a CronJob":              {manifest("Job", "tidy-29012345", owned("CronJob", "tidy"), ""), "CronJob/tidy", []string{"tidy-29012999"}, []string{"tidy"}},
		"a pod of something else":         {manifest("Pod", "kafka-0", owned("StrimziPodSet", "kafka"), ""), "StrimziPodSet/kafka", nil, []string{"kafka-1"}},
		"an owner that is no controller":  {json.RawMessage(`{"kind":"Pod","metadata":{"name":"web","ownerReferences":[{"kind":"Node","name":"a"}]}}`), "Pod/web", nil, nil},
		"a hash that is not in the name":  {manifest("Pod", "web-x2x4z", owned("ReplicaSet", "web"), hash), "ReplicaSet/web", []string{"web-abcde"}, nil},
		"a name that is a pattern itself": {manifest("Pod", "*-x2x4z", owned("DaemonSet", "*"), ""), "DaemonSet/*", []string{"*-abcde"}, []string{"web-abcde"}},
	} {
		t.Run(name, func(t *testing.T) {
			object, err := Of(test.object, "")
			if err != nil {
				t.Fatal(err)
			}
			if got := object.Root().String(); got != test.root {
				t.Errorf("got the workload %s, want %s", got, test.root)
			}
			pattern := object.Names()
			if (pattern == "") != (len(test.same) == 0) {
				t.Fatalf("got the glob %q, want one: %v", pattern, len(test.same) > 0)
			}
			if pattern == "" {
				return
			}
			compiled := glob.MustCompile(pattern)
			for _, same := range append(test.same, object.Name) {
				if !compiled.Match(same) {
					t.Errorf("the glob %s does not match %s, want it to", pattern, same)
				}
			}
			for _, other := range test.others {
				if compiled.Match(other) {
					t.Errorf("the glob %s matches %s, want it not to", pattern, other)
				}
			}
		})
	}
	if _, err := Of(json.RawMessage(`{"metadata":[]}`), "Pod"); err == nil {
		t.Error("got no error for metadata that are a list, want one")
	}
}
