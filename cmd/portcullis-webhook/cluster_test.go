package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// control is a real API server with the custom resources of bundles.
func control(t *testing.T) (kubeconfig string, client dynamic.Interface) {
	t.Helper()
	namespace := []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
	_, client, kubeconfig = clustertest.Start(t, nil, v1alpha1.Manifest, namespace)
	clustertest.Serving(t, client, v1alpha1.Revisions)
	return kubeconfig, client
}

func object(t *testing.T, kind string, from any) *unstructured.Unstructured {
	t.Helper()
	content, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(from)
	if err != nil {
		t.Fatal(err)
	}
	made := &unstructured.Unstructured{Object: content}
	made.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	return made
}

func create(t *testing.T, client dynamic.Interface, resource schema.GroupVersionResource, namespace string, made *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	unstructured.RemoveNestedField(made.Object, "status")
	created, err := client.Resource(resource).Namespace(namespace).Create(t.Context(), made, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return created
}

// storeRevision puts a revision, which nobody has signed, into the cluster.
func storeRevision(t *testing.T, client dynamic.Interface, files map[string]string) (digest string) {
	t.Helper()
	tree := newTree(t, files)
	stored, err := source.Encode(&source.Revision{Tree: tree, Origin: "a test"})
	if err != nil {
		t.Fatal(err)
	}
	name, err := v1alpha1.RevisionName(tree.Digest(), 0)
	if err != nil {
		t.Fatal(err)
	}
	create(t, client, v1alpha1.Revisions, "", object(t, "PolicyRevision", &v1alpha1.PolicyRevision{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.PolicyRevisionSpec{Bundle: "test", Digest: tree.Digest(), Parts: 1, Data: stored},
	}))
	return tree.Digest()
}

// bundleStatus replaces the status of the PolicyBundle "test".
func bundleStatus(t *testing.T, client dynamic.Interface, status v1alpha1.PolicyBundleStatus) {
	t.Helper()
	bundle, err := client.Resource(v1alpha1.Bundles).Get(t.Context(), "test", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	content, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(&status)
	if err != nil {
		t.Fatal(err)
	}
	bundle.Object["status"] = content
	if _, err := client.Resource(v1alpha1.Bundles).UpdateStatus(t.Context(), bundle, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func loaded(digest string) *v1alpha1.RevisionStatus {
	return &v1alpha1.RevisionStatus{Digest: digest, Name: "test", Serial: 1, Since: metav1.Now()}
}

// onNode is a review of a pod on a node, in a namespace.
func onNode(uid, namespace, node string) string {
	pod := fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":%q},"spec":{"nodeName":%q,"containers":[{"name":"a","image":"registry.example/a:1"}]}}`, namespace, node)
	return fmt.Sprintf(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":%q,"operation":"CREATE","namespace":%q,"name":"web",
"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"userInfo":{"username":"alice"},"object":%s}}`, uid, namespace, pod)
}

// TestTheBundlesOfAClusterJudge: a webhook process follows what a controller writes: a revision, a canary, what is compared, an
// exception. Every decision is in its journal.
func TestTheBundlesOfAClusterJudge(t *testing.T) {
	kubeconfig, api := control(t)
	red, blue := storeRevision(t, api, bundleText("1", "red")), storeRevision(t, api, bundleText("2", "blue"))
	withExceptions := bundleText("3", "green")
	withExceptions["bundle.yaml"] += "exceptionsFrom: {namespaces: [shop], maxDuration: 90d}\n"
	green := storeRevision(t, api, withExceptions)
	directory, journalDir, cacheDir := t.TempDir(), filepath.Join(t.TempDir(), "journal"), filepath.Join(t.TempDir(), "bundles")
	arguments := []string{"--caller=open", "--certificate-dir=" + directory, "--kubeconfig=" + kubeconfig, "--bundle=cluster", "--bundle-cache=" + cacheDir, "--journal=" + journalDir}
	p := start(t, arguments...)
	waitForProbe(t, p.probes+"/readyz", 503, "[-] bundles failed: the cluster has no PolicyBundle with an active revision")
	client := client(t, directory)
	_, answer := send(t, client, p.url+"/validate?timeout=10s", onNode("early", "shop", "none"))
	if answer.Response.Allowed {
		t.Error("without a bundle it admits, want it to deny")
	}
	create(t, api, v1alpha1.Bundles, "", object(t, "PolicyBundle", &v1alpha1.PolicyBundle{
		ObjectMeta: metav1.ObjectMeta{Name: "test"},
		Spec: v1alpha1.PolicyBundleSpec{
			Source: v1alpha1.Source{Directory: &v1alpha1.DirectorySource{Path: "/policies"}}, Verification: v1alpha1.Verification{InsecureUnsigned: true},
			Rollout: v1alpha1.Rollout{Strategy: v1alpha1.StrategyCanary, Namespaces: []string{"canary-*"}},
		},
	}))
	bundleStatus(t, api, v1alpha1.PolicyBundleStatus{Phase: v1alpha1.PhaseActive, Active: loaded(red)})
	waitForProbe(t, p.probes+"/readyz", 200, "[+] bundles ok")
	waitForProbe(t, p.probes+"/metrics", 200, `portcullis_webhook_bundle_info{bundle="test",revision="`+red+`",role="active"} 1`, "portcullis_journal_dropped_total")

	sent := 1
	says := func(allowed bool, namespace, node string) {
		t.Helper()
		clustertest.Eventually(t, fmt.Sprintf("answering %v to a pod on %s in %s", allowed, node, namespace), func() error {
			sent++
			uid := fmt.Sprint("uid-", sent)
			_, answer := send(t, client, p.url+"/validate?timeout=10s", onNode(uid, namespace, node))
			if answer.Response.Allowed != allowed {
				return fmt.Errorf("got %+v", answer.Response)
			}
			if id := answer.Response.AuditAnnotations["decision"]; !allowed && !strings.HasSuffix(answer.Response.Result.Message, "\ndecision "+id+": portcullis explain "+id+" --journal "+journalDir) {
				t.Errorf("the denial says %q, want how to have decision %q explained", answer.Response.Result.Message, id)
			}
			return nil
		})
	}
	says(false, "shop", "red")
	says(true, "shop", "blue")
	bundleStatus(t, api, v1alpha1.PolicyBundleStatus{Phase: v1alpha1.PhaseCanary, Active: loaded(red), Candidate: loaded(blue)})
	says(false, "canary-1", "blue")
	says(true, "canary-1", "red")
	says(false, "shop", "red")
	says(true, "shop", "blue")
	clustertest.Eventually(t, "reporting what the candidate would do", func() error {
		replicas, err := api.Resource(v1alpha1.Replicas).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(replicas.Items) != 1 {
			return fmt.Errorf("got %d replicas, %w", len(replicas.Items), err)
		}
		var replica v1alpha1.PolicyReplica
		if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(replicas.Items[0].Object, &replica); err != nil {
			return err
		}
		bundles := replica.Status.Bundles
		if len(bundles) != 1 || bundles[0].Active != red || bundles[0].Candidate != blue || bundles[0].Error != "" {
			return fmt.Errorf("got %+v", bundles)
		}
		// Of the four requests above two each differ in the one and in the other way.
		if seen := bundles[0].Comparison; seen == nil || seen.NewDenials < 2 || seen.NewAdmissions < 2 || seen.Policies[0].Policy != "pods/node" || len(seen.Policies[0].Samples) == 0 {
			return fmt.Errorf("got the comparison %+v", seen)
		}
		return nil
	})
	waitForProbe(t, p.probes+"/metrics", 200, `portcullis_webhook_compared_total{result="compared"}`, `role="candidate"} 1`)

	bundleStatus(t, api, v1alpha1.PolicyBundleStatus{Phase: v1alpha1.PhaseActive, Active: loaded(green)})
	says(false, "shop", "green")
	create(t, api, v1alpha1.Exceptions, "shop", object(t, "PolicyException", &v1alpha1.PolicyException{
		ObjectMeta: metav1.ObjectMeta{Name: "legacy", Namespace: "shop"},
		Spec: v1alpha1.PolicyExceptionSpec{Policy: "pods/node", Reason: "it moves", Owner: "shop", Expires: time.Now().Add(48 * time.Hour).UTC().Format(time.RFC3339),
			Selector: v1alpha1.ExceptionSelector{Namespaces: []string{"shop"}}},
	}))
	says(true, "shop", "green")
	waitForProbe(t, p.probes+"/metrics", 200, `portcullis_webhook_exceptions{state="expiring"} 1`)
	bundleStatus(t, api, v1alpha1.PolicyBundleStatus{Phase: v1alpha1.PhaseActive, Active: loaded("sha256:" + strings.Repeat("0", 64))})
	waitForProbe(t, p.probes+"/readyz", 200, "[!] bundles: bundle test: loading revision sha256:000000000000", "goes on judging")
	waitForProbe(t, p.probes+"/metrics", 200, `portcullis_webhook_bundle_outdated{bundle="test"} 1`)
	p.stop()
	if code := p.wait(t); code != exitOK {
		t.Errorf("exit code %d, want 0: %s", code, p.log)
	}
	replicas, err := api.Resource(v1alpha1.Replicas).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(replicas.Items) != 0 {
		t.Errorf("%d replicas are left, %v, want none", len(replicas.Items), err)
	}
	verified, err := journal.Verify(t.Context(), journalDir, "")
	if err != nil || !verified.Intact() || int(verified.Decisions) != sent {
		t.Errorf("the journal has %+v, %v, want %d decisions", verified, err, sent)
	}
}

// TestThePrintedConfigurationIsOfTheClustersBundles whatever the built-in library is about.
func TestThePrintedConfigurationIsOfTheClustersBundles(t *testing.T) {
	kubeconfig, api := control(t)
	digest := storeRevision(t, api, bundleText("1", "red"))
	create(t, api, v1alpha1.Bundles, "", object(t, "PolicyBundle", &v1alpha1.PolicyBundle{
		ObjectMeta: metav1.ObjectMeta{Name: "test"},
		Spec: v1alpha1.PolicyBundleSpec{
			Source: v1alpha1.Source{Directory: &v1alpha1.DirectorySource{Path: "/policies"}}, Verification: v1alpha1.Verification{InsecureUnsigned: true},
		},
	}))
	var stdout, stderr strings.Builder
	arguments := []string{"--print-config", "--url=https://127.0.0.1:8443", "--bundle=cluster", "--kubeconfig=" + kubeconfig}
	if code := run(t.Context(), arguments, nil, &stdout, &stderr); code != exitInternal || !strings.Contains(stderr.String(), "has no PolicyBundle with an active revision") {
		t.Errorf("without an active bundle: exit code %d, %s", code, &stderr)
	}
	bundleStatus(t, api, v1alpha1.PolicyBundleStatus{Phase: v1alpha1.PhaseActive, Active: loaded(digest)})
	if code := run(t.Context(), arguments, nil, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	if got := stdout.String(); !strings.Contains(got, "- pods\n") || strings.Contains(got, "networkpolicies") {
		t.Errorf("got %s, want pods and no network policies", got)
	}
}

func TestExceptionsAreCountedByState(t *testing.T) {
	now := time.Date(2027, time.January, 1, 0, 0, 0, 0, time.UTC)
	var exceptions []policies.Exception
	for n, left := range []time.Duration{-time.Hour, 0, time.Hour, expiringSoon, expiringSoon + time.Hour} {
		exception, err := policies.NewException(policies.Exception{
			APIVersion: policies.APIVersion, Kind: "Exception", Name: fmt.Sprint(n), Policy: "pods/node", Reason: "r", Owner: "o",
			Expires: now.Add(left).Format(time.RFC3339), Selector: policies.ExceptionSelector{ClusterScoped: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		exceptions = append(exceptions, exception)
	}
	got, _ := json.Marshal(countExceptions(exceptions, now))
	if want := `{"expired":2,"expiring":2,"valid":3}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
