package containment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
)

func TestAnnotationsSayWhatHappenedAndAreTakenBack(t *testing.T) {
	b := newBench(t)
	b.apply(`{apiVersion: v1, kind: Pod, metadata: {name: db-0, annotations: {team: shop, note: old}}, spec: {containers: [{name: app, image: a}]}}`)
	before := b.pod("db-0")
	annotate := planned(response.Annotate, response.Parameters{Annotations: map[string]string{"note": "quarantined", "see/runbook": "https://example.org/r"}})
	q := b.quarantine(before, nil, annotate)
	b.take(q, annotate)
	after := b.pod("db-0").Annotations
	var note incidentNote
	if err := json.Unmarshal([]byte(after[v1alpha1.IncidentAnnotation]), &note); err != nil {
		t.Fatal(err)
	}
	if note.Quarantine != q.Name || note.Policy != "runtime/shell" || note.Rule != "Terminal shell in container" || note.Priority != "critical" || note.By != actor || note.Time.IsZero() {
		t.Errorf("got %+v", note)
	}
	if after["note"] != "quarantined" || after["see/runbook"] == "" || after["team"] != "shop" || q.Status.Originals.Annotations["note"] != "old" {
		t.Errorf("got %v, and %v written down", after, q.Status.Originals.Annotations)
	}
	b.undo(q, annotate)
	if after = b.pod("db-0").Annotations; !maps.Equal(after, before.Annotations) {
		t.Errorf("got %v, want %v", after, before.Annotations)
	}
}

func TestLabelsAreSetBesideThoseOfThePod(t *testing.T) {
	b := newBench(t)
	b.apply(barePod)
	label := planned(response.Label, response.Parameters{Labels: map[string]string{"app": "hijacked", "incident": "yes"}})
	isolate := isolating(true)
	q := b.quarantine(b.pod("db-0"), nil, label, isolate)
	wantContains(t, b.take(q, label).Result, "left as they were, since the pod had them: app")
	if got := b.pod("db-0").Labels; got["app"] != "db" || got["incident"] != "yes" {
		t.Errorf("got %v, want what the pod had untouched", got)
	}
	b.take(q, isolate)
	if got, want := b.pod("db-0").Labels, map[string]string{"incident": "yes", v1alpha1.QuarantineLabel: q.Name}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	b.take(q, label)
	b.undo(q, label)
	b.undo(q, isolate)
	if got, want := b.pod("db-0").Labels, map[string]string{"app": "db"}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// replicas of the Deployment web, in the specification.
func (b *bench) replicas() int32 {
	b.t.Helper()
	deployment, err := b.kube.AppsV1().Deployments(b.namespace).Get(b.t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return *deployment.Spec.Replicas
}

func (b *bench) ownerWeb() *v1alpha1.OwnerReference {
	b.t.Helper()
	deployment, err := b.kube.AppsV1().Deployments(b.namespace).Get(b.t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return &v1alpha1.OwnerReference{Group: "apps", Version: "v1", Kind: "Deployment", Name: "web", UID: string(deployment.UID)}
}

func TestScalingWaitsForThePodToBeDetachedAndTellsWhoWillUndoIt(t *testing.T) {
	b := newBench(t)
	b.apply(strings.Replace(deploymentOfTwo, "{name: web}", `{name: web, annotations: {argocd.argoproj.io/tracking-id: "shop:apps/Deployment:shop/web"}}`, 1) + template("web") + `
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: keda-hpa-web, labels: {scaledobject.keda.sh/name: web}}
spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: other}
spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: other}}`)
	found := b.scheduled("app=web", 2)
	scale, detach := planned(response.Scale, response.Parameters{Replicas: 1}), planned(response.Detach)
	q := b.quarantine(&found[0], b.ownerWeb(), detach, scale)
	b.prepare(q, scale)
	if _, err := b.cluster.Do(t.Context(), q, scale); !errors.Is(err, ErrWaiting) || b.replicas() != 2 {
		t.Fatalf("got %v and %d replicas, want to wait: the ReplicaSet might delete the pod", err, b.replicas())
	}
	b.take(q, detach)
	b.eventually("the ReplicaSet lets it go", func() error {
		if metav1.GetControllerOf(b.pod(found[0].Name)) != nil {
			return errors.New("not yet")
		}
		return nil
	})
	outcome, err := b.cluster.Do(t.Context(), q, scale)
	if err != nil {
		t.Fatal(err)
	}
	wantContains(t, outcome.Result, "from 2 to 1", "HorizontalPodAutoscaler web", "ScaledObject web", "Argo CD")
	if strings.Contains(outcome.Result, "other") || b.replicas() != 1 || *q.Status.Originals.Replicas != 2 {
		t.Errorf("got %q, %d replicas, %d before", outcome.Result, b.replicas(), *q.Status.Originals.Replicas)
	}
	b.take(q, scale)
	wantContains(t, b.undo(q, scale).Result, "has 2 replicas again")
	if b.replicas() != 2 {
		t.Errorf("got %d replicas", b.replicas())
	}

	// What somebody else has set meanwhile stays.
	if _, err := b.cluster.Do(t.Context(), q, scale); err != nil {
		t.Fatal(err)
	}
	if _, err := b.kube.AppsV1().Deployments(b.namespace).Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"replicas":4}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	wantContains(t, b.undo(q, scale).Result, "somebody else has set")
	if b.replicas() != 4 {
		t.Errorf("got %d replicas, want 4 still", b.replicas())
	}

	other := b.quarantine(&found[0], b.ownerWeb())
	other.Spec.Owner.UID = "another"
	if skip := b.prepare(other, scale).Skip; !strings.Contains(skip, "does not exist") {
		t.Errorf("got %q, want another Deployment of the name left alone", skip)
	}
	if skip := b.prepare(b.quarantine(&found[0], b.ownerWeb()), planned(response.Scale, response.Parameters{Replicas: 9})).Skip; !strings.Contains(skip, "not more than 9") {
		t.Errorf("got %q, want nothing scaled up", skip)
	}
}

func TestANodeIsCordonedAsLongAsAnyQuarantineNeedsIt(t *testing.T) {
	b := newBench(t)
	node := b.namespace + "-node"
	if _, err := b.kube.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.kube.CoreV1().Nodes().Delete(context.WithoutCancel(t.Context()), node, metav1.DeleteOptions{})
	})
	cordon := planned(response.Cordon)
	on := func(uid string) *v1alpha1.Quarantine {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "gone", UID: types.UID(uid)}}
		pod.Spec.NodeName = node
		return b.quarantine(pod, nil, cordon)
	}
	get := func() *corev1.Node {
		found, err := b.kube.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	first, second := on("1"), on("2")
	b.take(first, cordon)
	b.take(second, cordon)
	if got := get(); !got.Spec.Unschedulable || len(nameList(got.Annotations[v1alpha1.CordonedAnnotation])) != 2 {
		t.Errorf("got %v, %v", got.Spec, got.Annotations)
	}
	wantContains(t, b.undo(first, cordon).Result, "stays cordoned for "+second.Name)
	if !get().Spec.Unschedulable {
		t.Error("got the node free while the second needs it")
	}
	b.undo(second, cordon)
	if got := get(); got.Spec.Unschedulable || got.Annotations[v1alpha1.CordonedAnnotation] != "" {
		t.Errorf("got %v, %v, want the node as it was", got.Spec, got.Annotations)
	}

	drive := planned(response.Cordon, response.Parameters{NoExecute: true})
	third := on("3")
	b.prepare(third, drive)
	if _, err := b.cluster.Do(t.Context(), third, drive); !errors.Is(err, ErrWaiting) {
		t.Errorf("got %v, want the taint, which ends the pod, to wait for evidence", err)
	}
	third.Status.Steps = []v1alpha1.Step{{Name: string(response.Snapshot), State: v1alpha1.StepDone}}
	b.take(third, drive)
	if got := get(); !slices.ContainsFunc(got.Spec.Taints, func(taint corev1.Taint) bool {
		return taint.Key == taintKey && taint.Effect == corev1.TaintEffectNoExecute
	}) {
		t.Errorf("got %v", got.Spec.Taints)
	}
	b.undo(third, drive)
	if got := get(); slices.ContainsFunc(got.Spec.Taints, func(taint corev1.Taint) bool { return taint.Key == taintKey }) || got.Spec.Unschedulable {
		t.Errorf("got %v, want the node as it was", got.Spec)
	}

	// One that somebody else has cordoned stays theirs.
	if _, err := b.kube.CoreV1().Nodes().Patch(t.Context(), node, types.MergePatchType, []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	fourth := on("4")
	wantContains(t, b.take(fourth, cordon).Result, "by somebody else")
	b.undo(fourth, cordon)
	if !get().Spec.Unschedulable {
		t.Error("got the node free that somebody else had cordoned")
	}
	fifth := on("5")
	fifth.Spec.Pod.Node = "no-such-node"
	if skip := b.prepare(fifth, cordon).Skip; skip == "" {
		t.Error("got a node cordoned that there is not")
	}
}

func digest(n int) string { return fmt.Sprintf("sha256:%064x", n) }

func (b *bench) incident(name string) v1alpha1.IncidentSpec {
	b.t.Helper()
	client, err := dynamic.NewForConfig(b.config)
	if err != nil {
		b.t.Fatal(err)
	}
	object, err := client.Resource(v1alpha1.Incidents).Get(b.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	var incident v1alpha1.Incident
	if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &incident); err != nil {
		b.t.Fatal(err)
	}
	return incident.Spec
}

func TestAdmissionRemembersWhatIsCondemned(t *testing.T) {
	clock := time.Now().Truncate(time.Second)
	b := newBench(t, func(o *Options) { o.Now = func() time.Time { return clock } })
	b.apply(barePod)
	deny := response.Parameters{Effect: response.EffectDeny, Namespaces: []string{"shop-*"}}
	scope := func(scope string) response.Planned {
		p := deny
		p.Scope = scope
		return planned(response.Condemn, p)
	}
	of := func(a response.Planned, digest string) response.Planned { a.Digest = digest; return a }
	base := v1alpha1.IncidentSpec{Namespaces: []string{"shop-*"}, Effect: "deny", Policy: "runtime/shell", Severity: "high", Reason: "a shell", Expires: metav1.NewTime(clock.Add(time.Hour))}
	for name, test := range map[string]struct {
		action response.Planned
		images []string
		want   func(*v1alpha1.IncidentSpec)
		n      int
	}{
		"the digest in which it happened":                         {of(scope("digest"), digest(2)), []string{digest(1), digest(2)}, func(s *v1alpha1.IncidentSpec) { s.Scope, s.Digest = "digest", digest(2) }, 1},
		"the only digest":                                         {scope(""), []string{digest(1)}, func(s *v1alpha1.IncidentSpec) { s.Scope, s.Digest = "digest", digest(1) }, 1},
		"which of several is not known: only a warning":           {scope("digest"), []string{digest(1), digest(2)}, func(s *v1alpha1.IncidentSpec) { s.Scope, s.Digest, s.Effect = "digest", digest(1), "warn" }, 2},
		"a digest that the pod does not run is the sender's word": {of(scope("digest"), digest(9)), []string{digest(1)}, func(s *v1alpha1.IncidentSpec) { s.Scope, s.Digest = "digest", digest(1) }, 1},
		"the owner": {scope("owner"), nil, func(s *v1alpha1.IncidentSpec) {
			s.Scope, s.Owner = "owner", &v1alpha1.IncidentOwner{Group: "apps", Kind: "Deployment", Namespace: b.namespace, Name: "web"}
		}, 1},
		"the service account": {scope("serviceAccount"), nil, func(s *v1alpha1.IncidentSpec) {
			s.Scope, s.ServiceAccount = "serviceAccount", &v1alpha1.ServiceAccountReference{Namespace: b.namespace, Name: "default"}
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			pod := b.pod("db-0")
			pod.UID = types.UID(name)
			q := b.quarantine(pod, &v1alpha1.OwnerReference{Group: "apps", Version: "v1", Kind: "Deployment", Name: "web"}, test.action)
			q.Spec.Pod.Images, q.Spec.IncidentTTL = test.images, metav1.Duration{Duration: time.Hour}
			outcome := b.take(q, test.action)
			if len(outcome.Incidents) != test.n {
				t.Fatalf("got %q, want %d", outcome.Incidents, test.n)
			}
			want := base
			want.Quarantine = q.Name
			test.want(&want)
			subject := want.Digest
			switch want.Scope {
			case "owner":
				subject = "apps/Deployment/" + b.namespace + "/web"
			case "serviceAccount":
				subject = "ServiceAccount/" + b.namespace + "/default"
			}
			got := b.incident(v1alpha1.IncidentName(q.Name, want.Scope, subject))
			if gotJSON, wantJSON := asJSON(t, got), asJSON(t, want); gotJSON != wantJSON {
				t.Errorf("got  %s\nwant %s", gotJSON, wantJSON)
			}
			wantContains(t, b.undo(q, test.action).Result, fmt.Sprintf("%d Incidents are lifted", test.n))
		})
	}
	q := b.quarantine(b.pod("db-0"), nil)
	for _, a := range []response.Planned{scope("digest"), scope("owner")} {
		if skip := b.prepare(q, a).Skip; skip == "" {
			t.Errorf("got %s condemned, want to be told that it is not known", a.Parameters.Scope)
		}
	}
	// One that has expired begins anew.
	a := scope("serviceAccount")
	outcome, err := b.cluster.Do(t.Context(), q, a)
	if err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(1000 * time.Hour)
	if _, err := b.cluster.Do(t.Context(), q, a); err != nil {
		t.Fatal(err)
	}
	if got := b.incident(outcome.Incidents[0]).Expires; !got.After(clock) {
		t.Errorf("got it expire at %s, want after %s", got, clock)
	}
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	written, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(written)
}

const podOfSecrets = `
apiVersion: v1
kind: Pod
metadata: {name: holder}
spec:
  imagePullSecrets: [{name: pull}]
  initContainers: [{name: init, image: a, envFrom: [{secretRef: {name: init-env}}, {configMapRef: {name: none}}]}]
  containers:
  - name: app
    image: a
    env: [{name: A, valueFrom: {secretKeyRef: {name: key, key: a}}}, {name: B, value: plain}]
    envFrom: [{secretRef: {name: env}}]
  volumes:
  - {name: a, secret: {secretName: volume}}
  - {name: b, projected: {sources: [{secret: {name: projected}}, {serviceAccountToken: {path: t}}]}}
  - {name: c, csi: {driver: x, nodePublishSecretRef: {name: csi}}}
  - {name: d, azureFile: {secretName: azure, shareName: s}}
  - {name: e, cephfs: {monitors: [m], secretRef: {name: ceph}}}
  - {name: f, secret: {secretName: volume}}
  - {name: g, configMap: {name: none}}
`

func TestTheSecretsThatAPodHeldAreNamedAndNotRead(t *testing.T) {
	b := newBench(t)
	b.apply(podOfSecrets)
	revoke := planned(response.Revoke)
	q := b.quarantine(b.pod("holder"), nil, revoke)
	q.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Quarantine"}
	var object map[string]any
	if err := json.Unmarshal([]byte(asJSON(t, q)), &object); err != nil {
		t.Fatal(err)
	}
	client := b.cluster.client.Resource(v1alpha1.Quarantines)
	created, err := client.Create(t.Context(), &unstructured.Unstructured{Object: object}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	q.UID = created.GetUID()
	wantContains(t, b.take(q, revoke).Result, "9 Secrets that the pod names", "service account")
	want := []string{"azure", "ceph", "csi", "env", "init-env", "key", "projected", "pull", "volume"}
	revoked := func() (names []string) {
		stored, err := client.Get(t.Context(), q.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var have v1alpha1.Quarantine
		if err := json.Unmarshal([]byte(asJSON(t, stored.Object)), &have); err != nil {
			t.Fatal(err)
		}
		for _, secret := range have.Spec.Revoke {
			if secret.Namespace != b.namespace {
				t.Errorf("got %+v", secret)
			}
			names = append(names, secret.Name)
		}
		return names
	}
	if got := revoked(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	// Of a pod that is gone, its controller's template says it.
	b.end("holder")
	b.apply(deploymentOfTwo + strings.Replace(template("web"), "spec:", "spec:\n      imagePullSecrets: [{name: of-template}]", 1))
	q.Spec.Owner = b.ownerWeb()
	wantContains(t, b.take(q, revoke).Result, "1 Secrets that the template of Deployment web names")
	if got := revoked(); !slices.Equal(got, []string{"of-template"}) {
		t.Errorf("got %q", got)
	}
	b.apply(barePod)
	if skip := b.prepare(b.quarantine(b.pod("db-0"), nil), revoke).Skip; skip == "" {
		t.Error("got something to revoke of a pod that names no Secret")
	}
}

func TestPoliciesThatStillAllowSomethingAreNarrowedAndWidenedAgain(t *testing.T) {
	b := newBench(t)
	b.apply(barePod + `
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow-dns, labels: {kustomize.toolkit.fluxcd.io/name: apps}}
spec: {podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}], ports: [{port: 53, protocol: UDP}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny-all}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: of-another}
spec: {podSelector: {matchLabels: {app: another}}, ingress: [{}]}`)
	before := b.networkPolicies()
	isolate, restrict := isolating(true), planned(response.Restrict)
	q := b.quarantine(b.pod("db-0"), nil, isolate)
	got := b.take(q, isolate)
	if got.Report == nil || got.Report.Verdict != "Residual" || len(got.Report.Residual) != 1 || got.Report.Residual[0].Policy != "NetworkPolicy "+b.namespace+"/allow-dns" {
		t.Fatalf("got %+v, want DNS to remain, and the policy named", got.Report)
	}
	got = b.take(q, restrict)
	wantContains(t, got.Result, "allow-dns (Flux applies it")
	if got.Report == nil || got.Report.Verdict != "Isolated" {
		t.Errorf("got %+v, want it isolated", got.Report)
	}
	after := b.networkPolicies()
	if names := after["allow-dns"].Annotations[v1alpha1.RestrictedAnnotation]; names != q.Name || !excludes(after["allow-dns"].Spec.PodSelector) {
		t.Errorf("got %+v", after["allow-dns"])
	}
	for _, name := range []string{"deny-all", "of-another"} {
		if after[name].ResourceVersion != before[name].ResourceVersion {
			t.Errorf("got %s changed, which allows the pod nothing", name)
		}
	}
	if len(q.Status.Originals.Policies) != 1 || q.Status.Originals.Policies[b.namespace+"/allow-dns"] != "{}" {
		t.Errorf("got %v written down", q.Status.Originals.Policies)
	}
	b.undo(q, restrict)
	now := b.networkPolicies()["allow-dns"]
	if asJSON(t, now.Spec) != asJSON(t, before["allow-dns"].Spec) || now.Annotations[v1alpha1.RestrictedAnnotation] != "" {
		t.Errorf("got %+v, want what was there before", now)
	}
}

// opened is a definition of a custom resource that takes anything.
func opened(group, version, kind, plural, scope string) string {
	return fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[4]s.%[1]s, annotations: {api-approved.kubernetes.io: "unapproved, for a test"}}
spec:
  group: %[1]s
  names: {kind: %[3]s, plural: %[4]s, singular: %[5]s}
  scope: %[6]s
  versions:
  - {name: %[2]s, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
---
`, group, version, kind, plural, strings.ToLower(kind), scope)
}

func TestTheStandingDenyIsInstalledInEachAPIThatTheClusterHas(t *testing.T) {
	b := newBench(t)
	if err := b.cluster.Setup(t.Context()); err != nil {
		t.Fatalf("got %v from a cluster without such an API, want nothing done", err)
	}
	for _, definition := range []string{
		opened("policy.networking.k8s.io", "v1alpha2", "ClusterNetworkPolicy", "clusternetworkpolicies", "Cluster"),
		opened("cilium.io", "v2", "CiliumClusterwideNetworkPolicy", "ciliumclusterwidenetworkpolicies", "Cluster"),
		opened("projectcalico.org", "v3", "GlobalNetworkPolicy", "globalnetworkpolicies", "Cluster"),
	} {
		b.define(definition)
	}
	resources := map[string][3]string{
		"ClusterNetworkPolicy": {"policy.networking.k8s.io", "v1alpha2", "clusternetworkpolicies"}, "CiliumClusterwideNetworkPolicy": {"cilium.io", "v2", "ciliumclusterwidenetworkpolicies"},
		"GlobalNetworkPolicy": {"projectcalico.org", "v3", "globalnetworkpolicies"},
	}
	get := func(kind string) (*unstructured.Unstructured, error) {
		of := resources[kind]
		gvr := schema.GroupVersionResource{Group: of[0], Version: of[1], Resource: of[2]}
		return b.cluster.client.Resource(gvr).Get(t.Context(), v1alpha1.DenyTierName, metav1.GetOptions{})
	}
	b.eventually("all are installed", func() error {
		if err := b.cluster.Setup(t.Context()); err != nil {
			return err
		}
		for kind := range resources {
			if _, err := get(kind); err != nil {
				return err
			}
		}
		return nil
	})
	written := len(b.written())
	if err := b.cluster.Setup(t.Context()); err != nil || len(b.written()) != written {
		t.Errorf("got %v and %q written, want nothing done the second time", err, b.written()[written:])
	}

	// A pod that another policy allows something is isolated all the same, since the deny stands before it.
	b.apply(barePod + "\n---\n" + `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: allow}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}}`)
	cilium, err := New(b.config, Options{CNI: "cilium"})
	if err != nil {
		t.Fatal(err)
	}
	b.cluster = cilium
	isolate := isolating(false)
	q := b.quarantine(b.pod("db-0"), nil, isolate)
	if got := b.take(q, isolate).Report; got == nil || got.Verdict != "Isolated" {
		t.Errorf("got %+v, want the standing deny to isolate it", got)
	}

	// What somebody changes is put right; what is somebody else's is not touched.
	object, err := get("CiliumClusterwideNetworkPolicy")
	if err != nil {
		t.Fatal(err)
	}
	admin, err := shared.Cluster(t).Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	gvr := schema.GroupVersionResource{Group: "cilium.io", Version: "v2", Resource: "ciliumclusterwidenetworkpolicies"}
	if _, err := client.Resource(gvr).Patch(t.Context(), v1alpha1.DenyTierName, types.JSONPatchType, []byte(`[{"op":"remove","path":"/spec/egressDeny"}]`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := b.cluster.Prove(t.Context(), q); err != nil || got.Verdict != "Residual" {
		t.Errorf("got %+v, %v, want the proof to see it", got, err)
	}
	if err := b.cluster.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	repaired, err := get("CiliumClusterwideNetworkPolicy")
	if err != nil || asJSON(t, repaired.Object["spec"]) != asJSON(t, object.Object["spec"]) {
		t.Errorf("got %v, %v, want %v", repaired, err, object)
	}
	if err := client.Resource(gvr).Delete(t.Context(), v1alpha1.DenyTierName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	theirs := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy", "metadata": map[string]any{"name": v1alpha1.DenyTierName}, "spec": map[string]any{"endpointSelector": map[string]any{}},
	}}
	if _, err := client.Resource(gvr).Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := b.cluster.Setup(t.Context()); err == nil || !strings.Contains(err.Error(), "somebody else's") {
		t.Errorf("got %v, want to be told of what is in the way", err)
	}
}

// The standard channel of network-policy-api has AdminNetworkPolicies whose peers are pods only.
func TestAnAPIThatKnowsNoNetworksGetsADenyAboutPods(t *testing.T) {
	b := newBench(t)
	b.define(strings.Replace(opened("policy.networking.k8s.io", "v1alpha1", "AdminNetworkPolicy", "adminnetworkpolicies", "Cluster"), "x-kubernetes-preserve-unknown-fields: true", `properties: {spec: {type: object, properties: {
		priority: {type: integer}, subject: {type: object, x-kubernetes-preserve-unknown-fields: true}, ingress: {type: array, items: {type: object, x-kubernetes-preserve-unknown-fields: true}},
		egress: {type: array, items: {type: object, properties: {name: {type: string}, action: {type: string}, to: {type: array, minItems: 1, items: {type: object, minProperties: 1, maxProperties: 1, properties: {
			namespaces: {type: object, x-kubernetes-preserve-unknown-fields: true}, pods: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}}}}}`, 1))
	resource := schema.GroupVersionResource{Group: "policy.networking.k8s.io", Version: "v1alpha1", Resource: "adminnetworkpolicies"}
	var peers []any
	b.eventually("it is installed", func() error {
		if err := b.cluster.Setup(t.Context()); err != nil {
			return err
		}
		object, err := b.cluster.client.Resource(resource).Get(t.Context(), v1alpha1.DenyTierName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		egress, _, _ := unstructured.NestedSlice(object.Object, "spec", "egress")
		peers, _, _ = unstructured.NestedSlice(egress[0].(map[string]any), "to")
		return nil
	})
	if len(peers) != 1 || peers[0].(map[string]any)["namespaces"] == nil {
		t.Errorf("got %v, want all pods", peers)
	}
	written := len(b.written())
	if err := b.cluster.Setup(t.Context()); err != nil || len(b.written()) != written {
		t.Errorf("got %v and %q written, want nothing done the second time", err, b.written()[written:])
	}
}

// define makes a definition of a custom resource until the test ends.
func (b *bench) define(definition string) {
	b.t.Helper()
	b.apply(definition)
	objects, err := cluster.Parse([]byte(definition))
	if err != nil {
		b.t.Fatal(err)
	}
	admin, err := shared.Cluster(b.t).Config(cluster.Admin)
	if err != nil {
		b.t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(admin)
	if err != nil {
		b.t.Fatal(err)
	}
	resource := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	b.t.Cleanup(func() {
		ctx := context.WithoutCancel(b.t.Context())
		for _, object := range objects {
			if err := client.Resource(resource).Delete(ctx, object.GetName(), metav1.DeleteOptions{}); err != nil {
				b.t.Error(err)
			}
			b.eventually("the definition is gone", func() error {
				if _, err := client.Resource(resource).Get(ctx, object.GetName(), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
					return fmt.Errorf("got %w", err)
				}
				return nil
			})
		}
	})
}

func TestWhichProviderTheAgentsAreOf(t *testing.T) {
	for name, test := range map[string]struct {
		agents []string
		want   string
	}{
		"none":                                   {nil, ""},
		"one that enforces":                      {[]string{"kube-proxy", "cilium"}, "cilium"},
		"flannel alone":                          {[]string{"kube-flannel-ds"}, "none"},
		"flannel under an agent for policies":    {[]string{"kube-flannel-ds", "kube-network-policies"}, "kube-network-policies"},
		"canal":                                  {[]string{"canal"}, "calico"},
		"two that enforce":                       {[]string{"calico-node", "cilium"}, ""},
		"one that nobody knows what it enforces": {[]string{"aws-node", "calico-node"}, ""},
		"kindnet":                                {[]string{"kindnet"}, ""},
		"OVN-Kubernetes":                         {[]string{"ovnkube-node"}, "ovn-kubernetes"},
	} {
		var found []agent
		for _, one := range test.agents {
			found = append(found, agent{"kube-system", one})
		}
		if got := detectCNI(found); string(got) != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// A DaemonSet that anybody could have made says nothing about the network.
func TestTheProviderIsLookedForWhereOnlyTheSystemIs(t *testing.T) {
	b := newBench(t, func(o *Options) { o.CNI = "" })
	b.apply(`
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: ovnkube-node}
spec:
  selector: {matchLabels: {app: x}}
  template:` + template("x"))
	if got := b.cluster.provider(t.Context()); got != "" {
		t.Errorf("got %q", got)
	}
	b.apply(barePod)
	report, err := b.cluster.Prove(t.Context(), b.quarantine(b.pod("db-0"), nil))
	if err != nil || report.Verdict == "Isolated" {
		t.Errorf("got %+v, %v, want nothing proved of a network that is not known", report, err)
	}
	b.apply(`
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: cilium, namespace: kube-system}
spec:
  selector: {matchLabels: {app: x}}
  template:` + template("x"))
	defer func() {
		if err := b.kube.AppsV1().DaemonSets("kube-system").Delete(t.Context(), "cilium", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}()
	if err := b.cluster.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.cluster.provider(t.Context()); got != "cilium" {
		t.Errorf("got %q, want cilium", got)
	}
}

func TestWhatIsNoActionOnAClusterIsAnError(t *testing.T) {
	c := &Cluster{}
	for _, a := range []response.Action{response.Snapshot, response.Notify, "explode", ""} {
		if _, err := c.Prepare(t.Context(), &v1alpha1.Quarantine{}, planned(a)); err == nil {
			t.Errorf("preparing %q: got no error", a)
		}
		if _, err := c.Do(t.Context(), &v1alpha1.Quarantine{}, planned(a)); err == nil {
			t.Errorf("%q: got no error", a)
		}
		if _, err := c.Undo(t.Context(), &v1alpha1.Quarantine{}, planned(a)); err == nil {
			t.Errorf("taking back %q: got no error", a)
		}
	}
	for _, a := range append(response.Actions(), response.Restrict) {
		if _, err := actionOf(a); (err != nil) != (a == response.Snapshot || a == response.Notify) {
			t.Errorf("%s: got %v", a, err)
		}
	}
}
