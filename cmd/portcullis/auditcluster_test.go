package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// auditedManifests are two namespaces and ann, who may list everything that policies of ownBundle are about but NetworkPolicies.
const auditedManifests = `apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: portcullis-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: portcullis-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: auditor}
rules:
- {apiGroups: ["", apps, batch], resources: [pods, podtemplates, namespaces, services, replicationcontrollers, deployments, replicasets, statefulsets, daemonsets, jobs, cronjobs], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ann-audits}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: auditor}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
`

// ownBundle takes exceptions of the cluster.
const ownBundle = `apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: own
serial: 1
include: library
defaultProfile: own
namespaces: [{match: ["*"], profile: own}]
profiles:
  - {name: own, policies: [{policy: pods/privileged}, {policy: network/default-deny-namespace, match: {namespaces: [shop]}}]}
exceptionsFrom: {namespaces: ["*"], central: [portcullis-system], maxDuration: 31d}
`

// audited is a real API server, as somebody audits it.
type audited struct {
	t       *testing.T
	control *cluster.Cluster
	client  dynamic.Interface
	dir     string
}

// run is the program as a user calls it.
func (a *audited) run(user string, wantCode int, arguments ...string) string {
	a.t.Helper()
	kubeconfig, err := a.control.Kubeconfig(user)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.runWith(a.t.Context(), wantCode, append(arguments, "--kubeconfig", kubeconfig)...)
}

func (a *audited) runWith(ctx context.Context, wantCode int, arguments ...string) string {
	a.t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(ctx, append([]string{"audit", "--bundle", a.dir}, arguments...), strings.NewReader(""), &stdout, &stderr)
	if code != wantCode {
		a.t.Errorf("portcullis audit %s: got exit code %d, want %d\n%s%s", strings.Join(arguments, " "), code, wantCode, &stdout, &stderr)
	}
	return stdout.String() + stderr.String()
}

func (a *audited) says(output string, all ...string) {
	a.t.Helper()
	for _, want := range all {
		if !strings.Contains(output, want) {
			a.t.Errorf("it does not say %q:\n%s", want, output)
		}
	}
}

// create makes an object, and gives its uid.
func (a *audited) create(resource schema.GroupVersionResource, manifest string) string {
	a.t.Helper()
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
		a.t.Fatal(err)
	}
	var made *unstructured.Unstructured
	var err error
	if namespace := object.GetNamespace(); namespace != "" {
		made, err = a.client.Resource(resource).Namespace(namespace).Create(a.t.Context(), object, metav1.CreateOptions{})
	} else {
		made, err = a.client.Resource(resource).Create(a.t.Context(), object, metav1.CreateOptions{})
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return string(made.GetUID())
}

func TestAClusterIsAudited(t *testing.T) {
	control, client, _ := clustertest.Start(t, []cluster.User{{Name: "ann"}}, v1alpha1.Manifest, []byte(auditedManifests))
	exceptions := schema.GroupVersionResource{Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: "policyexceptions"}
	clustertest.Serving(t, client, exceptions)
	a := &audited{t: t, control: control, client: client, dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(a.dir, "bundle.yaml"), []byte(ownBundle), 0o600); err != nil {
		t.Fatal(err)
	}
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	const spec = `{automountServiceAccountToken: false, containers: [{name: app, image: a, securityContext: {privileged: true}, resources: {requests: {cpu: 250m, memory: 64Mi}}}]}`
	const template = `{metadata: {labels: {app: web}}, spec: ` + spec + `}`
	deployment := a.create(deployments, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: `+template+`}}`)
	replicas := a.create(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}, `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-6d4cf56db6, namespace: shop, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: "`+deployment+`", controller: true}]}, spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: `+template+`}}`)
	for _, name := range []string{"abcde", "bcdef"} {
		a.create(pods, `{apiVersion: v1, kind: Pod, metadata: {name: web-6d4cf56db6-`+name+`, namespace: shop, labels: {app: web, pod-template-hash: 6d4cf56db6}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-6d4cf56db6, uid: "`+replicas+`", controller: true}]}, spec: `+spec+`}`)
	}
	a.create(pods, `{apiVersion: v1, kind: Pod, metadata: {name: idle, namespace: portcullis-system}, spec: {automountServiceAccountToken: false, containers: [{name: app, image: a}]}}`)

	// Whoever may see everything: one mistake, counted where it was made, and the namespace.
	text := a.run(cluster.Admin, 1, "--capacity")
	a.says(text, `cluster/shop/deployments.apps/web: deny: Deployment shop/web: container "app" is privileged`, "cluster/namespaces/shop: deny: Namespace shop: no NetworkPolicy denies ingress",
		"counted at owners: 3 findings", "500m", "128 MiB", "No usage is known")
	if strings.Contains(text, "Pod shop/web") {
		t.Errorf("the pods are reported, too, want their Deployment only:\n%s", text)
	}

	// Whoever may not list NetworkPolicies: the gap is named, and what rests on it is undecided. Exceptions that she cannot see waive nothing.
	a.says(a.run("ann", 1), "needs the right to list networkpolicies.networking.k8s.io")
	a.says(a.run("ann", 3, "--kind", "namespaces"), "needs the right to list networkpolicies.networking.k8s.io", "undecided")
	policies := filepath.Join(t.TempDir(), "policies")
	a.says(a.run("ann", 3, "--kind", "pods", "--namespace", "portcullis-system", "--write-network-policies", policies), "nothing is proposed, as networkpolicies.networking.k8s.io could not be listed")
	if _, err := os.Stat(policies); err == nil {
		t.Error("policies were written, want none: those that there are were not seen")
	}
	a.says(a.run("ann", 0, "--kind", "pods", "--namespace", "portcullis-system", "--write-network-policies", policies, "--allow-gaps"), "nothing is proposed")

	// What is found is excepted, in the real cluster; then a new violation still shows.
	file := filepath.Join(t.TempDir(), "exceptions.yaml")
	a.run(cluster.Admin, 1, "--write-exceptions", file, "--owner", "platform")
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, manifest := range strings.Split(string(written), "---\n")[1:] {
		a.create(exceptions, manifest)
	}
	a.says(a.run(cluster.Admin, 0), "excepted: Deployment shop/web", "waived by exceptions: 5 findings")
	a.create(deployments, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: other, namespace: shop}, spec: {replicas: 0, selector: {matchLabels: {app: other}}, template: {metadata: {labels: {app: other}}, spec: {containers: [{name: app, image: a, securityContext: {privileged: true}}]}}}}`)
	a.says(a.run(cluster.Admin, 1), `deny: Deployment shop/other: container "app" is privileged`, "excepted: Deployment shop/web")

	// Proposed policies are taken by the API server, and leave nothing to propose.
	netpol := filepath.Join(t.TempDir(), "netpol")
	a.says(a.run(cluster.Admin, 1, "--write-network-policies", netpol), "shop: denies ingress and egress to 2 pods; 1 workload would lose something")
	proposed, err := os.ReadFile(filepath.Join(netpol, "shop.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	a.create(schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}, string(proposed))
	if text := a.run(cluster.Admin, 1, "--write-network-policies", filepath.Join(t.TempDir(), "again")); strings.Contains(text, "shop: denies") {
		t.Errorf("a policy is proposed again:\n%s", text)
	}

	a.contexts()
	a.interrupted()
}

// contexts are those of a kubeconfig, by name.
func (a *audited) contexts() {
	a.t.Helper()
	kubeconfig, err := a.control.Kubeconfig(cluster.Admin)
	if err != nil {
		a.t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		a.t.Fatal(err)
	}
	config.Contexts["prod"] = config.Contexts[config.CurrentContext]
	config.CurrentContext = "gone"
	file := filepath.Join(a.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		a.t.Fatal(err)
	}
	output := a.runWith(a.t.Context(), 1, "--kubeconfig", file, "--context", "prod", "--format", "json")
	var report struct {
		Summary struct {
			Audit struct{ Of string }
		}
	}
	if err := json.Unmarshal([]byte(output), &report); err != nil {
		a.t.Fatalf("%v\n%s", err, output)
	}
	if report.Summary.Audit.Of != "prod" {
		a.t.Errorf("got a report of %q, want one of prod", report.Summary.Audit.Of)
	}
	a.says(a.runWith(a.t.Context(), 64, "--kubeconfig", file, "--context", "other"), `reaching the cluster: context "other" does not exist: give --kubeconfig FILE`)
	a.says(a.runWith(a.t.Context(), 64, "--kubeconfig", file), "reaching the cluster")
}

// interrupted is an audit that ends before it is through: what was found is there, and said not to be everything.
func (a *audited) interrupted() {
	a.t.Helper()
	kubeconfig, err := a.control.Kubeconfig(cluster.Admin)
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(a.t.Context())
	defer cancel()
	dir := a.t.TempDir()
	page, history, exceptions := filepath.Join(dir, "page.html"), filepath.Join(dir, "runs.jsonl"), filepath.Join(dir, "exceptions.yaml")
	var stderr bytes.Buffer
	stdout := &cutting{at: "Deployment shop/", cut: cancel}
	code := run(ctx, []string{"audit", "--bundle", a.dir, "--kubeconfig", kubeconfig, "--html", page, "--history", history, "--write-exceptions", exceptions, "--owner", "x"}, strings.NewReader(""), stdout, &stderr)
	a.says(stdout.String()+stderr.String(), "the audit was interrupted after", "run it again")
	if code != 1 && code != 3 {
		a.t.Errorf("got exit code %d, want 1 or 3: not everything was judged\n%s%s", code, stdout, &stderr)
	}
	content, err := os.ReadFile(page)
	if err != nil || !bytes.Contains(content, []byte("This is not everything")) {
		a.t.Errorf("got no page that says that it is not everything: %v", err)
	}
	for _, file := range []string{history, exceptions} {
		if _, err := os.Stat(file); err == nil {
			a.t.Errorf("%s was written, want it not to be: it would be taken for everything", filepath.Base(file))
		}
	}
}

// cutting is a terminal whose user has seen enough when something is said.
type cutting struct {
	bytes.Buffer
	at  string
	cut func()
}

func (c *cutting) Write(p []byte) (int, error) {
	n, err := c.Buffer.Write(p)
	if strings.Contains(c.String(), c.at) {
		c.cut()
	}
	return n, err
}
