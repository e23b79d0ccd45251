package workload

import (
	"math"
	"strings"
	"testing"
)

// TestDefaults looks for a fragment of the normal form (without blanks) of a pod spec.
func TestDefaults(t *testing.T) {
	tests := map[string]struct{ spec, want string }{
		"the service account":                             {`{}`, `"serviceAccount":"default"`},
		"the deprecated name of the service account":      {`{serviceAccount: b}`, `"serviceAccount":"b"`},
		"the name wins over the deprecated one":           {`{serviceAccount: b, serviceAccountName: a}`, `"serviceAccount":"a"`},
		"a user namespace is not the default":             {`{}`, `"hostUsers":true`},
		"a user namespace":                                {`{hostUsers: false}`, `"hostUsers":false`},
		"the scheduler":                                   {`{}`, `"schedulerName":"default-scheduler"`},
		"the restart policy":                              {`{}`, `"restartPolicy":"Always"`},
		"the DNS policy":                                  {`{}`, `"dnsPolicy":"ClusterFirst"`},
		"the grace period":                                {`{}`, `"terminationGracePeriodSeconds":30`},
		"a grace period of none":                          {`{terminationGracePeriodSeconds: 0}`, `"terminationGracePeriodSeconds":0`},
		"a negative grace period":                         {`{terminationGracePeriodSeconds: -5}`, `"terminationGracePeriodSeconds":1`},
		"the pull policy of latest":                       {`{containers: [{name: c, image: a}]}`, `"imagePullPolicy":"Always"`},
		"the pull policy of latest with a digest":         {`{containers: [{name: c, image: "a:latest@` + digestA + `"}]}`, `"imagePullPolicy":"Always"`},
		"the pull policy of a tag":                        {`{containers: [{name: c, image: "a:1"}]}`, `"imagePullPolicy":"IfNotPresent"`},
		"the pull policy of a digest":                     {`{containers: [{name: c, image: "a@` + digestA + `"}]}`, `"imagePullPolicy":"IfNotPresent"`},
		"a pull policy that is given":                     {`{containers: [{name: c, image: a, imagePullPolicy: Never}]}`, `"imagePullPolicy":"Never"`},
		"the protocol":                                    {`{containers: [{name: c, image: a, ports: [{containerPort: 8}]}]}`, `"containerPort":8,"hostPort":0,"hostIP":"","protocol":"TCP"`},
		"the host's port on the host's network":           {`{hostNetwork: true, containers: [{name: c, image: a, ports: [{containerPort: 8}]}]}`, `"containerPort":8,"hostPort":8`},
		"a port of the host":                              {`{hostNetwork: true, containers: [{name: c, image: a, ports: [{containerPort: 8, hostPort: 9}]}]}`, `"containerPort":8,"hostPort":9`},
		"mount propagation":                               {`{containers: [{name: c, image: a, volumeMounts: [{name: v, mountPath: /v}]}]}`, `"propagation":"None"`},
		"requests from limits":                            {`{containers: [{name: c, image: a, resources: {limits: {cpu: 1}}}]}`, `"requests":{"cpu":{"text":"1","milli":1000}`},
		"requests beside limits":                          {`{containers: [{name: c, image: a, resources: {limits: {cpu: 1}, requests: {cpu: 0.5, memory: 1Ki}}}]}`, `"requests":{"cpu":{"text":"500m","milli":500},"memory":{"text":"1Ki","value":1024}`},
		"no limits from requests":                         {`{containers: [{name: c, image: a, resources: {requests: {cpu: 1}}}]}`, `"limits":{"extended":[]}`},
		"the priority of no class":                        {`{priority: 0}`, `"priorityClass":"","serviceAccount"`},
		"the priority of a class is its own matter":       {`{priorityClassName: high, priority: 1000}`, `"priorityClass":"high","serviceAccount"`},
		"the priority of a system class":                  {`{priorityClassName: system-cluster-critical}`, `"priority":2000000000`},
		"a priority without class":                        {`{priority: 7}`, `"priority":7`},
		"the tolerations the API server adds":             {`{tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 300}, {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 300}]}`, `"tolerations":[]`},
		"tolerations that only resemble them":             {`{tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute}]}`, `"tolerations":[{"key":"node.kubernetes.io/not-ready"`},
		"the operator of a toleration":                    {`{tolerations: [{key: k, value: v}]}`, `"operator":"Equal"`},
		"a toleration of everything":                      {`{tolerations: [{operator: Exists}]}`, `"tolerations":[{"key":"","operator":"Exists","value":"","effect":"","path":"spec.tolerations[0]"}]`},
		"a variable without value":                        {`{containers: [{name: c, image: a, env: [{name: A}]}]}`, `{"name":"A","value":"","source":"value"`},
		"a variable from a file":                          {`{containers: [{name: c, image: a, env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: p, key: k}}}]}]}`, `"source":"fileKeyRef","ref":"v","key":"k"`},
		"a variable from a field":                         {`{containers: [{name: c, image: a, env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}]}]}`, `"source":"fieldRef","ref":"status.hostIP"`},
		"a variable from a config map":                    {`{containers: [{name: c, image: a, env: [{name: A, valueFrom: {configMapKeyRef: {name: m, key: k}}}]}]}`, `"source":"configMapKeyRef","ref":"m","key":"k"`},
		"a variable from what is not known yet":           {`{containers: [{name: c, image: a, env: [{name: A, valueFrom: {future: {}}}]}]}`, `{"name":"A","value":"","source":""`},
		"the host of a probe":                             {`{containers: [{name: c, image: a, livenessProbe: {httpGet: {host: evil.example, port: 1}}}]}`, `"probes":[{"type":"liveness","handler":"httpGet","host":"evil.example"`},
		"the host of a hook":                              {`{containers: [{name: c, image: a, lifecycle: {preStop: {tcpSocket: {host: evil.example, port: 1}}}}]}`, `"hooks":[{"type":"preStop","handler":"tcpSocket","host":"evil.example"`},
		"a block device":                                  {`{containers: [{name: c, image: a, volumeDevices: [{name: v, devicePath: /dev/x}]}]}`, `"mounts":[{"volume":"v","mountPath":"/dev/x","subPath":"","readOnly":false,"propagation":"None","device":true`},
		"claims of devices":                               {`{resourceClaims: [{name: g, resourceClaimTemplateName: t}], containers: [{name: c, image: a, resources: {claims: [{name: g}]}}]}`, `"resourceClaims":[{"name":"g","claim":"","template":"t","path":"spec.resourceClaims[0]"}]`},
		"claims of devices before Kubernetes 1.31":        {`{resourceClaims: [{name: g, source: {resourceClaimName: c}}]}`, `"resourceClaims":[{"name":"g","claim":"c"`},
		"topology keys are sorted and given once":         {`{topologySpreadConstraints: [{topologyKey: z}, {topologyKey: a}], affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{podAffinityTerm: {topologyKey: z}}]}}}`, `"topologyKeys":["a","z"]`},
		"extended resources are sorted, with their path":  {`{containers: [{name: c, image: a, resources: {limits: {nvidia.com/gpu: 2, hugepages-2Mi: 2Mi}}}]}`, `"extended":[{"name":"hugepages-2Mi","text":"2Mi","value":2097152,"path":"spec.containers[0].resources.requests[hugepages-2Mi]"},{"name":"nvidia.com/gpu","text":"2","value":2,`},
		"resources of the pod":                            {`{resources: {limits: {cpu: 2}}, containers: [{name: c, image: a}]}`, `"resources":{"requests":{"cpu":{"text":"2","milli":2000}`},
		"pod requests are those of the containers":        {`{resources: {limits: {cpu: 2}}, containers: [{name: c, image: a, resources: {requests: {cpu: 100m}}}, {name: d, image: a, resources: {limits: {cpu: 200m}}}]}`, `"resources":{"requests":{"cpu":{"text":"300m","milli":300}`},
		"pod requests beside init containers":             {`{resources: {limits: {cpu: 2}}, initContainers: [{name: s, image: a, restartPolicy: Always, resources: {requests: {cpu: 100m}}}, {name: i, image: a, resources: {requests: {cpu: 1}}}], containers: [{name: c, image: a, resources: {requests: {cpu: 100m}}}]}`, `"resources":{"requests":{"cpu":{"text":"1100m","milli":1100}`},
		"a quantity that is a number":                     {`{containers: [{name: c, image: a, resources: {limits: {memory: 1048576}}}]}`, `"memory":{"text":"1048576","value":1048576}`},
		"a quantity that is rounded up":                   {`{containers: [{name: c, image: a, resources: {limits: {memory: 1500m, cpu: 0.0001}}}]}`, `{"cpu":{"text":"100u","milli":1},"memory":{"text":"1500m","value":2}`},
		"a quantity in canonical form":                    {`{containers: [{name: c, image: a, resources: {limits: {memory: 1024Mi, cpu: 1000m}}}]}`, `{"cpu":{"text":"1","milli":1000},"memory":{"text":"1Gi","value":1073741824}`},
		"mirror pods":                                     {`{}, metadata: {annotations: {kubernetes.io/config.mirror: x}}`, `"mirror":true`},
		"pods that are no mirror":                         {`{}`, `"mirror":false`},
		"Windows":                                         {`{os: {name: windows}}`, `"os":"windows"`},
		"the token where the pod does not say":            {`{}`, `"serviceAccount":"default","terminationGracePeriodSeconds"`},
		"the token where the pod says":                    {`{automountServiceAccountToken: false}`, `"automountServiceAccountToken":false`},
		"sysctls":                                         {`{securityContext: {sysctls: [{name: a, value: "1"}]}}`, `"sysctls":[{"name":"a","value":"1","path":"spec.securityContext.sysctls[0]"}]`},
		"a mount of a path with expressions":              {`{containers: [{name: c, image: a, volumeMounts: [{name: v, mountPath: /v, subPathExpr: $(POD)}]}]}`, `"subPath":"$(POD)"`},
		"an expression means nothing in a Kubernetes pod": {`{hostname: "{{x}}", containers: [{name: c, image: a, args: ["$(params.x)"]}]}`, `"unresolved":[]`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := only(t, `{apiVersion: v1, kind: Pod, spec: `+test.spec+`}`)
			got := strings.NewReplacer("\n", "", "\": ", "\":", " ", "").Replace(asJSON(t, w))
			if !strings.Contains(got, test.want) {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestQuantitiesBeyond64BitsAreTheLargest(t *testing.T) {
	tests := map[string]struct{ milli, whole int64 }{
		"9000000000000000000":  {math.MaxInt64, 9000000000000000000},
		"9E":                   {math.MaxInt64, 9000000000000000000},
		"100E":                 {math.MaxInt64, math.MaxInt64},
		"1e30":                 {math.MaxInt64, math.MaxInt64},
		"100Ei":                {math.MaxInt64, math.MaxInt64},
		"-9000000000000000000": {-math.MaxInt64, -9000000000000000000},
		"-100E":                {-math.MaxInt64, -math.MaxInt64},
		"9223372036854775":     {math.MaxInt64, 9223372036854775},
		"9223372036854774":     {9223372036854774000, 9223372036854774},
		"-1":                   {-1000, -1},
		"0":                    {0, 0},
		"1n":                   {1, 1},
	}
	for text, want := range tests {
		q, err := parseQuantity(quantity(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := milli(q); got != want.milli {
			t.Errorf("%s in thousandths: got %d, want %d", text, got, want.milli)
		}
		if got := whole(q); got != want.whole {
			t.Errorf("%s: got %d, want %d", text, got, want.whole)
		}
	}
}
