package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/runtime/evidence"
	"github.com/portcullis-dev/portcullis/runtime/quarantine"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// shopManifests are a namespace with a policy of its team, and who may decide about quarantines.
const shopManifests = `apiVersion: v1
kind: Namespace
metadata: {name: portcullis-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: shop}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow-dns, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress: [{ports: [{port: 53, protocol: UDP}]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ann-responds}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-incident-responder}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
`

// clusterPolicies serves ClusterNetworkPolicies, as a cluster with that API does.
const clusterPolicies = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: clusternetworkpolicies.policy.networking.k8s.io
  annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes-sigs/network-policy-api/pull/30"}
spec:
  group: policy.networking.k8s.io
  scope: Cluster
  names: {kind: ClusterNetworkPolicy, plural: clusternetworkpolicies}
  versions:
    - name: v1alpha2
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// incident is a real API server with a pod, and the quarantines of it.
type incident struct {
	t       *testing.T
	control *cluster.Cluster
	config  *rest.Config
	client  dynamic.Interface
	store   *quarantine.Store
	pod     *unstructured.Unstructured
}

func newIncident(t *testing.T) *incident {
	t.Helper()
	control, client, _ := clustertest.Start(t, []cluster.User{{Name: "ann"}, {Name: "bob"}}, v1alpha1.Manifest, []byte(shopManifests), v1alpha1.Roles("portcullis-system"), []byte(clusterPolicies))
	clustertest.Serving(t, client, v1alpha1.Quarantines, v1alpha1.Evidences, schema.GroupVersionResource{Group: "policy.networking.k8s.io", Version: "v1alpha2", Resource: "clusternetworkpolicies"})
	config, err := control.Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	i := &incident{t: t, control: control, config: config, client: client, store: quarantine.NewStore(client, quarantine.StoreOptions{})}
	template := map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "web"}}, "spec": map[string]any{
		"automountServiceAccountToken": false, "containers": []any{map[string]any{"name": "app", "image": "ghcr.io/acme/web:1", "env": []any{map[string]any{"name": "DB_PASSWORD", "value": "hunter2-very-long"}}}},
	}}
	selector := map[string]any{"matchLabels": map[string]any{"app": "web"}}
	deployment := i.create("apps/v1", "Deployment", "deployments", "web", nil, map[string]any{"replicas": int64(3), "selector": selector, "template": template})
	replicas := i.create("apps/v1", "ReplicaSet", "replicasets", "web-1", deployment, map[string]any{"replicas": int64(3), "selector": selector, "template": template})
	i.pod = i.create("v1", "Pod", "pods", "web-1-abcde", replicas, template["spec"].(map[string]any))
	return i
}

// create makes an object of the namespace shop with labels app=web, under a controller unless that is nil.
func (i *incident) create(version, kind, resource, name string, owner *unstructured.Unstructured, spec map[string]any) *unstructured.Unstructured {
	i.t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": kind, "spec": spec, "metadata": map[string]any{"name": name, "namespace": "shop", "labels": map[string]any{"app": "web"}}}}
	if owner != nil {
		yes := true
		object.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUID(), Controller: &yes}})
	}
	made, err := i.client.Resource(object.GroupVersionKind().GroupVersion().WithResource(resource)).Namespace("shop").Create(i.t.Context(), object, metav1.CreateOptions{})
	if err != nil {
		i.t.Fatal(err)
	}
	return made
}

// run is the program as a user calls it.
func (i *incident) run(user string, wantCode int, arguments ...string) string {
	i.t.Helper()
	kubeconfig, err := i.control.Kubeconfig(user)
	if err != nil {
		i.t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := run(i.t.Context(), append(append([]string{"quarantine"}, arguments...), "--kubeconfig", kubeconfig), strings.NewReader(""), &stdout, &stderr)
	if code != wantCode {
		i.t.Errorf("portcullis quarantine %s: got exit code %d, want %d\n%s%s", strings.Join(arguments, " "), code, wantCode, &stdout, &stderr)
	}
	return stdout.String() + stderr.String()
}

// says checks that an output has some texts.
func (i *incident) says(output string, wants ...string) {
	i.t.Helper()
	for _, want := range wants {
		if !strings.Contains(output, want) {
			i.t.Errorf("got\n%s\nwant %q in it", output, want)
		}
	}
}

// propose writes a quarantine of the pod down that waits for a person.
func (i *incident) propose() string {
	i.t.Helper()
	event := &response.Event{
		ID: "sha256:0", Source: "syscall", Rule: "Terminal shell in container", Priority: response.Critical, Time: time.Now(), Output: "sh -c id",
		Pod: &response.Pod{Namespace: "shop", Name: i.pod.GetName(), UID: string(i.pod.GetUID())},
	}
	asks := []response.Ask{{Policy: "runtime/terminal-in-container", Bundle: "acme", Severity: "high", Message: "A shell runs.", Mode: response.ModeApprove, Action: response.Isolate}}
	settings := map[string]response.Settings{"acme": {Mode: response.ModeApprove}}
	plan, err := response.NewPlan(event, asks, settings, response.Facts{Own: "portcullis-system"})
	if err != nil {
		i.t.Fatal(err)
	}
	name, _, err := i.store.Propose(i.t.Context(), plan, quarantine.Proposal{Settings: settings})
	if err != nil {
		i.t.Fatal(err)
	}
	return name
}

// status writes what the responder would.
func (i *incident) status(name string, change func(*v1alpha1.QuarantineStatus)) {
	i.t.Helper()
	q, err := i.store.Get(i.t.Context(), name)
	if err != nil {
		i.t.Fatal(err)
	}
	change(&q.Status)
	raw, err := json.Marshal(q)
	if err != nil {
		i.t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(raw); err != nil {
		i.t.Fatal(err)
	}
	if _, err := i.client.Resource(v1alpha1.Quarantines).UpdateStatus(i.t.Context(), object, metav1.UpdateOptions{}); err != nil {
		i.t.Fatal(err)
	}
}

func TestAQuarantineIsPlannedForAPodOfACluster(t *testing.T) {
	i := newIncident(t)
	pod := "shop/web-1-abcde"
	i.says(i.run(cluster.Admin, 1, "plan", pod, "--cni", "calico", "--deny-tier", "none"),
		"pod         shop/web-1-abcde of Deployment web (3 pods)", "all labels are taken off; ReplicaSet web-1 lets it go and replaces it",
		"Then: Residual", "egress to anything, UDP 53: NetworkPolicy shop/allow-dns")
	// The cluster serves an API with a deny before network policies: the responder would install its own there.
	i.says(i.run(cluster.Admin, 0, "plan", pod, "--cni", "kube-network-policies"), "the standing deny of ClusterNetworkPolicy, which would be installed", "Then: Isolated")
	// Nothing says which provider there is.
	i.says(i.run(cluster.Admin, 1, "plan", pod), "network     not known")

	var planned struct{ Quarantine, Verdict string }
	if err := json.Unmarshal([]byte(i.run(cluster.Admin, 0, "plan", pod, "--cni", "kube-network-policies", "--format", "json")), &planned); err != nil {
		t.Fatal(err)
	}
	if want := response.QuarantineName(string(i.pod.GetUID())); planned.Quarantine != want || planned.Verdict != "Isolated" {
		t.Errorf("got %+v, want the name %s that the responder gives, and Isolated", planned, want)
	}
	i.says(i.run(cluster.Admin, 64, "plan", "shop/other"), "there is no pod shop/other in the cluster", "kubectl get pods --namespace shop")
	i.says(i.run("bob", 4, "plan", pod), "forbidden")

	after, err := i.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace("shop").Get(t.Context(), i.pod.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if after.GetResourceVersion() != i.pod.GetResourceVersion() {
		t.Errorf("the pod was changed by planning: %v", after.GetLabels())
	}
}

func TestPeopleDecideAboutQuarantines(t *testing.T) {
	i := newIncident(t)
	i.says(i.run("ann", 0, "list"), "No quarantines.")
	name := i.propose()
	i.status(name, func(s *v1alpha1.QuarantineStatus) { s.Phase = v1alpha1.PhaseAwaitingApproval })
	i.says(i.run("ann", 0, "list"), name, "shop/web-1-abcde", "AwaitingApproval", "runtime/terminal-in-container")
	i.says(i.run("ann", 0, "list", "-n", "bank"), "No quarantines.")
	i.says(i.run("ann", 0, "show", name), "phase        AwaitingApproval", "runtime/terminal-in-container (high): A shell runs.", `rule "Terminal shell in container"`, "sh -c id", "Still to be done")
	i.says(i.run("ann", 64, "show", "q-00000000000000000000"), "portcullis quarantine list --all")

	i.says(i.run("bob", 4, "approve", name, "--reason", "let me"), "forbidden")
	i.says(i.run("ann", 0, "approve", name, "--reason", "Confirmed with the owner"), name+" goes on")
	i.says(i.run("ann", 0, "show", name), "approved     by ann at ", "Confirmed with the owner")

	i.status(name, func(s *v1alpha1.QuarantineStatus) {
		s.Phase, s.Verdict, s.Residual = v1alpha1.PhaseContained, "Residual", []string{"egress to anything, UDP 53: NetworkPolicy shop/allow-dns"}
		s.Steps = []v1alpha1.Step{{Name: "snapshot", State: v1alpha1.StepDone, Result: "3 pieces"}, {Name: "isolate", State: v1alpha1.StepDone, Result: "the pod is under portcullis-q-x"}}
	})
	i.says(i.run("ann", 0, "show", name), "Proof: Residual", "NetworkPolicy shop/allow-dns", "isolate            Done")
	i.says(i.run("ann", 0, "release", name, "--reason", "False alarm"), name+" is being released")
	q, err := i.store.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if q.Spec.Release == nil || q.Spec.Release.By != "ann" || q.Spec.Release.Reason != "False alarm" {
		t.Errorf("release: got %+v, want that of ann with the reason", q.Spec.Release)
	}

	i.status(name, func(s *v1alpha1.QuarantineStatus) { s.Phase = v1alpha1.PhaseReleased })
	i.says(i.run("ann", 1, "release", name, "--reason", "again"), "Nothing was decided")
	i.says(i.run("ann", 0, "list"), "No quarantines but 1 that are over: --all shows them.")
	i.says(i.run("ann", 0, "list", "--all"), name, "Released")
	var listed struct{ Items []v1alpha1.Quarantine }
	if err := json.Unmarshal([]byte(i.run("ann", 0, "list", "--all", "--format", "json")), &listed); err != nil || len(listed.Items) != 1 || listed.Items[0].Name != name {
		t.Errorf("got %+v (%v), want the quarantine as JSON", listed, err)
	}
}

func TestEvidenceIsWrittenIntoFiles(t *testing.T) {
	i := newIncident(t)
	name := i.propose()
	q, err := i.store.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	collector, err := evidence.New(i.config, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	kept, err := collector.Capture(ctx, q, nil)
	if len(kept) == 0 {
		t.Fatalf("nothing was kept: %v", err) // no kubelet has logs
	}
	dir := filepath.Join(t.TempDir(), "incident")
	i.says(i.run("ann", 0, "show", name, "--evidence", dir), fmt.Sprintf("of evidence in %s", dir))
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != len(kept) {
		t.Fatalf("got %v (%v), want %d files", files, err, len(kept))
	}
	var all []byte
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got mode %v, want it readable to its owner only", file, info.Mode())
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, content...)
	}
	if !bytes.Contains(all, []byte("ghcr.io/acme/web:1")) || bytes.Contains(all, []byte("hunter2")) {
		t.Errorf("got %s, want the pod, without its password", all)
	}
	i.says(i.run("ann", 64, "show", name, "--evidence", dir), "name an empty directory")
}
