package patrol

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission/audit/rescan"
	"github.com/portcullis-dev/portcullis/admission/audit/stored"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/queue"
	scans "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

func imageDigest(name string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name))) }

// podBundle is one with a policy about pods.
func podBundle(t *testing.T) *policies.Engine {
	t.Helper()
	loaded, err := policies.Load(fstest.MapFS{
		"bundle.yaml": {Data: []byte("apiVersion: " + policies.APIVersion + "\nkind: Bundle\nname: acme\nserial: 1\npolicies:\n- {policy: colours/red}\n")},
		"policies/red.rego": {Data: []byte(`# METADATA
# title: Not red
# description: Pods must not be red.
# custom:
#   severity: high
#   remediation: Choose another colour.
#   match: {resources: [{group: "", resources: [pods]}]}
#   fix: none
#   fixReason: Only its owner knows another colour.
package portcullis.colours.red

deny contains {"msg": "is red", "path": "metadata.labels.colour"} if input.object.metadata.labels.colour == "red"
`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(loaded)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// log is what a program says.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// asking is a Rescan under test.
type asking struct {
	metrics *rescan.Metrics
	log     log

	mu   sync.Mutex
	told []string
}

// asks begins a Rescan of what a Patrol knows to run.
func asks(t *testing.T, config *rest.Config, r *running) *asking {
	t.Helper()
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	client, err := stored.New(config, stored.Options{Limit: rescan.PageSize})
	if err != nil {
		t.Fatal(err)
	}
	a := &asking{metrics: rescan.NewMetrics()}
	made := rescan.New(rescan.Options{
		Client: client, Queue: queue.NewAsker(queue.NewClient(objects), queue.AskerOptions{By: "test"}), Running: r.Running, Metrics: a.metrics,
		Log: slog.New(slog.NewTextHandler(&a.log, nil)),
		Scanned: func(digests []string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.told = append(a.told, digests...)
			r.Rescanned(digests)
		},
	})
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { made.Run(ctx); close(ended) }()
	t.Cleanup(func() { end(); <-ended })
	return a
}

func (a *asking) has(names ...string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range names {
		if !slices.Contains(a.told, imageDigest(name)) {
			return false
		}
	}
	return true
}

func TestReplicasAskOnceForEachImageThatRuns(t *testing.T) {
	s := newSite(t)
	objects := ""
	for namespace, images := range map[string][]string{"rescan-a": {"shared", "only-a"}, "rescan-b": {"shared", "only-b"}} {
		objects += "---\n{apiVersion: v1, kind: Namespace, metadata: {name: " + namespace + "}}\n---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: " + namespace + "}}\n"
		for _, image := range images {
			objects += fmt.Sprintf("---\n{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: %s}, spec: {containers: [{name: app, image: \"ghcr.io/acme/app@%s\"}]}}\n", image, namespace, imageDigest(image))
		}
	}
	s.create(t, objects)
	admin, err := shared.control.Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range []string{"rescan-a/shared", "rescan-a/only-a", "rescan-b/shared", "rescan-b/only-b"} { // as a node says that it has pulled it
		namespace, name, _ := strings.Cut(pod, "/")
		status := fmt.Appendf(nil, `{"status":{"containerStatuses":[{"name":"app","image":"ghcr.io/acme/app","imageID":"ghcr.io/acme/app@%s","ready":true,"restartCount":0}]}}`, imageDigest(name))
		if _, err := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(namespace).Patch(t.Context(), name, types.MergePatchType, status, metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	var patrols []*running
	for _, namespace := range []string{"rescan-a", "rescan-b"} {
		patrols = append(patrols, start(t, s.auditor, namespace, podBundle(t), func(o *Options) { o.Images = true }))
	}

	s.create(t, "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: rescan}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-auditor-rescan}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: auditor}]}")

	// A cluster without scanner, and one that lets nobody ask, are said once.
	absent := asks(t, s.auditor, patrols[0])
	clustertest.Until(t, "it is said that there is no queue", func() bool { return strings.Contains(absent.log.String(), "portcullis-scanner crd") })
	s.create(t, string(scans.Manifest))
	clustertest.Serving(t, client, scans.Resource)
	refused := asks(t, s.strangers, patrols[0])
	clustertest.Until(t, "it is said that rights are missing", func() bool { return strings.Contains(refused.log.String(), "portcullis-auditor-rescan") })
	// Before it an API server that has not seen the binding yet may refuse.
	if n := strings.Count(absent.log.String(), "portcullis-scanner crd"); n != 1 {
		t.Errorf("it was said %d times that there is no queue, want once: %s", n, absent.log.String())
	}

	var mu sync.Mutex
	database, scanned := time.Now().Add(-12*time.Hour), map[string]int{}
	worker, err := queue.NewWorker(queue.Options{
		Client: client, Name: "scanner", Parallel: 2,
		Database: func() time.Time { mu.Lock(); defer mu.Unlock(); return database },
		Scan: func(_ context.Context, work queue.Work) (queue.Outcome, error) {
			mu.Lock()
			defer mu.Unlock()
			scanned[work.Digest]++
			if !slices.ContainsFunc([]string{"shared", "only-a", "only-b"}, func(name string) bool { return imageDigest(name) == work.Digest }) {
				return queue.Outcome{}, errors.New("nobody runs it")
			}
			return queue.Outcome{State: scanner.StateComplete, Database: scanner.Database{UpdatedAt: database.UTC().Truncate(time.Second).Format(time.RFC3339)}, Statement: []byte("signed")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	working, end := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- worker.Run(working) }()
	t.Cleanup(func() { end(); <-ended })

	a, b := asks(t, s.auditor, patrols[0]), asks(t, s.auditor, patrols[1])
	each := func(want int) func() error {
		return func() error {
			mu.Lock()
			defer mu.Unlock()
			for _, image := range []string{"shared", "only-a", "only-b"} {
				if scanned[imageDigest(image)] != want {
					return fmt.Errorf("%s was scanned %d times, want %d", image, scanned[imageDigest(image)], want)
				}
			}
			return nil
		}
	}
	clustertest.Eventually(t, "each image is scanned once", each(1))
	clustertest.Until(t, "both replicas hear of it", func() bool { return a.has("shared", "only-a") && b.has("shared", "only-b") })
	if a.has("only-b") || b.has("only-a") {
		t.Error("a replica was told of an image that does not run in its share")
	}
	mu.Lock()
	database = time.Now().Add(-time.Hour)
	mu.Unlock()
	worker.Wake()
	clustertest.Eventually(t, "each image is scanned again by the newer database", each(2))
	current := func(a *asking) error {
		return testutil.CollectAndCompare(a.metrics, strings.NewReader(`# HELP portcullis_audit_images Images that run in this replica's share, by their last scan: current, outdated (made with an older database), waiting, failed, none.
# TYPE portcullis_audit_images gauge
portcullis_audit_images{scan="current"} 2
portcullis_audit_images{scan="failed"} 0
portcullis_audit_images{scan="none"} 0
portcullis_audit_images{scan="outdated"} 0
portcullis_audit_images{scan="waiting"} 0
`), "portcullis_audit_images")
	}
	clustertest.Eventually(t, "all are current", func() error { return errors.Join(current(a), current(b)) })
	if err := each(2)(); err != nil {
		t.Error(err)
	}
	list, err := client.Resource(scans.Resource).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 3 {
		t.Errorf("the queue has %d objects (%v), want three", len(list.Items), err)
	}
}
