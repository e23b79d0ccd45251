package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/otlp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// tracingConfiguration has an API server trace everything (KEP-647). It exports to nobody: what counts is what it tells webhooks.
const tracingConfiguration = `apiVersion: apiserver.config.k8s.io/v1
kind: TracingConfiguration
endpoint: 127.0.0.1:1
samplingRatePerMillion: 1000000
`

// observed is a real API server that traces, with the webhook as its webhook.
type observed struct {
	control *cluster.Cluster
	client  *kubernetes.Clientset
	traces  *otlp.Collector
	webhook *program
}

func observe(t *testing.T) *observed {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts an API server")
	}
	dir := t.TempDir()
	configuration := filepath.Join(dir, "tracing.yaml")
	if err := os.WriteFile(configuration, []byte(tracingConfiguration), 0o600); err != nil {
		t.Fatal(err)
	}
	control, err := cluster.Start(t.Context(), cluster.Options{
		Dir: dir, WithoutControllers: true, Users: []cluster.User{{Name: "portcullis-webhook"}}, APIServerFlags: []string{"--tracing-config-file=" + configuration},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = control.Stop() })
	o := &observed{control: control, traces: otlp.Start(t)}
	config, err := control.Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	creator, err := cluster.NewCreator(config)
	if err != nil {
		t.Fatal(err)
	}
	if o.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	// What docs/observability.md says that the webhook needs for its Events, and no more.
	objects := `apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: portcullis-webhook}
rules:
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: portcullis-webhook}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: portcullis-webhook}]
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-webhook}
`
	if _, err := creator.Create(t.Context(), []byte(objects), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bundle := t.TempDir()
	write(t, bundle, map[string]string{
		"bundle.yaml": "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: test\nserial: 1\npolicies: [{policy: pods/named}, {policy: pods/labelled, enforcement: warn}]\n",
		"named.rego":  rule("named", `startswith(object.get(input.object.metadata, "name", ""), "bad")`, "must not be called bad, with --password=hunter2"),
		"label.rego":  rule("labelled", `not input.object.metadata.labels.team`, "has no team"),
	})
	certificates := t.TempDir()
	kubeconfig, err := control.Kubeconfig("portcullis-webhook")
	if err != nil {
		t.Fatal(err)
	}
	arguments := []string{"--bundle=" + bundle, "--events"}
	o.webhook = start(t, append([]string{"--client-ca=" + control.WebhookClientCAFile, "--client-name=" + cluster.WebhookClientName, "--certificate-dir=" + certificates,
		"--kubeconfig=" + kubeconfig, "--otlp-endpoint=" + o.traces.URL, "--trace-sample=0"}, arguments...)...)
	waitForProbe(t, o.webhook.probes+"/readyz", 200)
	var printed, stderr bytes.Buffer
	if code := run(t.Context(), append([]string{"--print-config", "--url=" + o.webhook.url, "--certificate-dir=" + certificates, "--own-namespace=portcullis-system"}, arguments...), nil, &printed, &stderr); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	if _, err := creator.Create(t.Context(), printed.Bytes(), metav1.CreateOptions{}); err != nil {
		t.Fatalf("%v: %s", err, printed.String())
	}
	return o
}

// rule is a policy about pods.
func rule(name, body, message string) string {
	return fmt.Sprintf(`# METADATA
# title: %[1]s
# description: A rule for tests.
# custom:
#   severity: high
#   match: {resources: [{group: "", resources: [pods]}]}
#   remediation: Mend it.
package portcullis.pods.%[1]s

deny contains {"msg": "%[3]s", "path": "metadata"} if {
	%[2]s
}
`, name, body, message)
}

func (o *observed) pod(name, generated string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, GenerateName: generated, OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-1", UID: "8f7cc5cf-70c9-4cf6-94b4-9a8a8e1d9d34", Controller: new(true)},
		}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "registry.example/a:1"}}, AutomountServiceAccountToken: new(false)},
	}
}

// events are those in a namespace with a reason.
func (o *observed) events(t *testing.T, reason string) []eventsv1.Event {
	t.Helper()
	list, err := o.client.EventsV1().Events("shop").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(e eventsv1.Event) bool { return e.Reason != reason })
}

// annotated are the annotations of our webhook in the API server's audit log, of the request that created a pod.
func (o *observed) annotated(t *testing.T, decision string) map[string]string {
	t.Helper()
	file, err := os.Open(o.control.AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var entry struct{ Annotations map[string]string }
		if json.Unmarshal(lines.Bytes(), &entry) != nil {
			continue
		}
		found := map[string]string{}
		for key, value := range entry.Annotations {
			if webhook, own, ok := strings.Cut(key, "/"); ok && strings.Contains(webhook, "portcullis") {
				found[own] = value
			}
		}
		if found["decision"] == decision {
			return found
		}
	}
	return nil
}

// TestADenialCanBeFollowedFromTheAPIServer by its trace, its Event, its line of the log and its audit annotations, which all name the same.
func TestADenialCanBeFollowedFromTheAPIServer(t *testing.T) {
	o := observe(t)
	pods := o.client.CoreV1().Pods("shop")
	clustertest.Eventually(t, "the webhook denies", func() error {
		if _, err := pods.Create(t.Context(), o.pod("bad", ""), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err == nil || !strings.Contains(err.Error(), "must not be called bad") {
			return fmt.Errorf("got %v", err)
		}
		return nil
	})
	if written := o.events(t, "PolicyDenied"); len(written) > 0 {
		t.Errorf("a dry run has an Event: %+v", written)
	}
	for range 3 {
		if _, err := pods.Create(t.Context(), o.pod("", "bad-"), metav1.CreateOptions{}); err == nil {
			t.Fatal("the pod is admitted")
		}
	}
	var event eventsv1.Event
	clustertest.Eventually(t, "an Event of the denial", func() error {
		written := o.events(t, "PolicyDenied")
		if len(written) != 1 {
			return fmt.Errorf("there are %d", len(written))
		}
		event = written[0]
		return nil
	})
	if r := event.Regarding; r.Kind != "ReplicaSet" || r.Name != "web-1" || r.Namespace != "shop" || r.UID == "" {
		t.Errorf("it regards %+v, want the owner of the pod that is not there", r)
	}
	if r := event.Related; r == nil || r.Kind != "Pod" || !strings.HasPrefix(r.Name, "bad-") || r.UID != "" {
		t.Errorf("it relates to %+v, want the pod", r)
	}
	if event.Type != corev1.EventTypeWarning || event.Action != "Create" || event.ReportingController != "portcullis.dev/webhook" || event.ReportingInstance == "" {
		t.Errorf("the Event is %+v", event)
	}
	if !strings.Contains(event.Note, "pods/named: must not be called bad") || strings.Contains(event.Note, "hunter2") || len(event.Note) > 1024 {
		t.Errorf("the note is %q, want why, without credentials", event.Note)
	}
	_, decision, ok := strings.Cut(strings.TrimSuffix(event.Note, ")"), "(decision ")
	if !ok {
		t.Fatalf("the note is %q, want the decision at its end", event.Note)
	}
	annotations := o.annotated(t, decision)
	if annotations["verdict"] != "denied" || !strings.Contains(annotations["policies"], "pods/named") || !strings.HasPrefix(annotations["bundle"], "test") || len(annotations["trace"]) != 32 {
		t.Fatalf("the audit annotations are %v, want verdict, policies, bundle and trace", annotations)
	}
	spans := spansOf(t, o.traces, annotations["trace"], "admission review")
	for _, span := range spans {
		if span.Name == "admission review" && (span.Attribute("portcullis.decision") != decision || span.Attribute("portcullis.outcome") != "denied" || len(span.ParentSpanId) == 0) {
			t.Errorf("the span is %v, want the same decision, below one of the API server", span)
		}
	}
	logged := false
	for line := range strings.Lines(o.webhook.log.String()) {
		logged = logged || strings.Contains(line, decision) && strings.Contains(line, `"trace_id":"`+annotations["trace"]+`"`)
	}
	if !logged {
		t.Errorf("no line of the log has decision and trace: %s", o.webhook.log)
	}

	created, err := pods.Create(t.Context(), o.pod("good", ""), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "an Event of the warning", func() error {
		if written := o.events(t, "PolicyWarned"); len(written) != 1 || written[0].Regarding.Kind != "Pod" || written[0].Regarding.Name != created.Name {
			return fmt.Errorf("there is %+v", written)
		}
		return nil
	})
	clustertest.Eventually(t, "repeats are a series", func() error {
		if series := o.events(t, "PolicyDenied")[0].Series; series == nil || series.Count != 3 {
			return fmt.Errorf("the series is %+v", series)
		}
		return nil
	})
}
