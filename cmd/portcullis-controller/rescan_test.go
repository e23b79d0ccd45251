package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/queue"
	scans "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// images are a registry with two images, and a scanner of which only the looking into images is played: it claims objects of the queue and
// signs what it says.
type images struct {
	*registrytest.Server
	key *cosign.Key
	// runs is that of a pod, other one that the webhook has asked about once.
	runs, other cosign.Target

	mu       sync.Mutex
	database time.Time
	worker   *queue.Worker
}

// newest is the vulnerability made known between the two databases.
const newest = "CVE-2026-4242"

func newImages(t *testing.T) *images {
	t.Helper()
	server, err := registrytest.Start(registrytest.Referrers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	i := &images{Server: server, key: cosigntest.NewKey(t), database: time.Now().Add(-12 * time.Hour)}
	for path, target := range map[string]*cosign.Target{"acme/app": &i.runs, "acme/other": &i.other} {
		image, err := random.Image(64, 1)
		if err != nil {
			t.Fatal(err)
		}
		target.Repository = server.Repository(path)
		pushed, err := client.PushImage(t.Context(), target.Repository, "1", image)
		if err != nil {
			t.Fatal(err)
		}
		target.Digest = pushed.Digest
	}
	return i
}

// flags let a program speak with the registry.
func (i *images) flags() []string {
	return []string{"--allow-registry=" + i.Host(), "--plain-http-registry=" + i.Host()}
}

// bundle is one that believes the scanner.
func (i *images) bundle(t *testing.T) []byte {
	t.Helper()
	trust, err := json.Marshal(signer.Trust{Authorities: []signer.Authority{cosigntest.Authority(t, "scanner", "**", i.key)}, Scanners: []string{"scanner"}})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, "apiVersion: %s\nkind: Bundle\nname: acme\nserial: 1\ninclude: library\ntrust: %s\npolicies:\n- {policy: images/vulnerabilities}\n- {policy: pods/privileged}\n", policies.APIVersion, trust)
}

// pod is one that runs the image by a tag.
func (i *images) pod() string {
	return fmt.Sprintf(`---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop}}
---
{apiVersion: v1, kind: Pod, metadata: {name: running, namespace: shop}, spec: {containers: [{name: app, image: "%s:1"}]}}
`, i.runs.Repository)
}

// started has the pod run.
func (i *images) started(t *testing.T, client dynamic.Interface) {
	t.Helper()
	status := fmt.Appendf(nil, `{"status":{"phase":"Running","containerStatuses":[{"name":"app","image":"x","imageID":"%s@%s","ready":true,"restartCount":0}]}}`, i.runs.Repository, i.runs.Digest)
	if _, err := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace("shop").Patch(t.Context(), "running", "application/merge-patch+json", status, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
}

func (i *images) made() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.database
}

// scan looks into an image, by the database of now.
func (i *images) scan(_ context.Context, work queue.Work) (queue.Outcome, error) {
	made, target := i.made(), i.other
	now := time.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
	report := scanner.Report{
		State: scanner.StateComplete, StartedAt: now, FinishedAt: now, Scanner: scanner.Tool{Name: "trivy", Version: "1"}, Packages: scanner.Packages{OS: 10},
		Database: scanner.Database{UpdatedAt: made.UTC().Truncate(time.Second).Format(time.RFC3339)},
	}
	if work.Digest == i.runs.Digest {
		target = i.runs
		if time.Since(made) < 10*time.Hour {
			report.Vulnerabilities = []scanner.Vulnerability{{ID: newest, Package: "openssl", Version: "3.0.1", Fixed: "3.0.2", Severity: "critical", Status: "fixed", Class: "os"}}
		}
	}
	predicate, err := scanner.NewPredicate(report, scanner.Invocation{})
	if err != nil {
		return queue.Outcome{}, err
	}
	statement, err := cosign.NewStatement(target, scanner.PredicateType, predicate)
	if err != nil {
		return queue.Outcome{}, err
	}
	signed, err := cosign.SignStatement(target, i.key, statement, signer.FormatBundle)
	return queue.Outcome{State: report.State, Database: report.Database, Found: queue.Count(report.Vulnerabilities), Statement: signed}, err
}

// work has the scanner work off the queue until the test ends. The webhook has asked for one scan.
func (i *images) work(t *testing.T, client dynamic.Interface) {
	t.Helper()
	if _, err := queue.NewAsker(queue.NewClient(client), queue.AskerOptions{By: "portcullis-webhook"}).Ask(t.Context(), i.other.Repository, i.other.Digest); err != nil {
		t.Fatal(err)
	}
	worker, err := queue.NewWorker(queue.Options{Client: client, Name: "scanner", Scan: i.scan, Database: i.made})
	if err != nil {
		t.Fatal(err)
	}
	i.worker = worker
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- worker.Run(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// renewed waits until the image that runs was scanned, found out to be bad by the newer database, and reported so.
func (i *images) renewed(t *testing.T, client dynamic.Interface) {
	t.Helper()
	reports := schema.GroupVersionResource{Group: "wgpolicyk8s.io", Version: "v1alpha2", Resource: "policyreports"}
	findings := func() (string, error) {
		report, err := client.Resource(reports).Namespace("shop").Get(t.Context(), "portcullis", metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		results, _, _ := unstructured.NestedSlice(report.Object, "results")
		return fmt.Sprint(results), nil
	}
	name, err := scans.Name(i.runs.Digest)
	if err != nil {
		t.Fatal(err)
	}
	scanned := func() (state, by string, critical int64, err error) {
		object, err := client.Resource(scans.Resource).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return "", "", 0, err
		}
		state, _, _ = unstructured.NestedString(object.Object, "status", "phase")
		by, _, _ = unstructured.NestedString(object.Object, "spec", "requestedBy")
		critical, _, _ = unstructured.NestedInt64(object.Object, "status", "vulnerabilities", "critical")
		return state, by, critical, nil
	}
	clustertest.Eventually(t, "a scan of the image that runs, which nobody else asked for, and nothing found", func() error {
		state, by, critical, err := scanned()
		text, missing := findings()
		if err != nil || missing != nil || state != "Done" || by != "portcullis-controller" || critical != 0 || strings.Contains(text, "images/vulnerabilities") {
			return fmt.Errorf("got %s by %s with %d critical (%v) and the findings %s (%v)", state, by, critical, err, text, missing)
		}
		return nil
	})
	i.mu.Lock()
	i.database = time.Now().Add(-time.Hour)
	i.mu.Unlock()
	i.worker.Wake()
	clustertest.Eventually(t, newest+" in the report", func() error {
		text, err := findings()
		if err != nil || !strings.Contains(text, newest) {
			state, by, critical, why := scanned()
			return fmt.Errorf("got %s (%v); the scan is %s by %s with %d critical (%v)", text, err, state, by, critical, why)
		}
		return nil
	})
}
