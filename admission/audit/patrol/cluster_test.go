package patrol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/audit/report"
	"github.com/portcullis-dev/portcullis/admission/audit/report/reporttest"
	"github.com/portcullis-dev/portcullis/admission/audit/shard"
	"github.com/portcullis-dev/portcullis/admission/audit/stored"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// auditor has the rights of the role that is printed, stranger has none.
const auditor, stranger = "auditor", "stranger"

var (
	configMaps    = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	policyReports = schema.GroupVersionResource{Group: "wgpolicyk8s.io", Version: "v1alpha2", Resource: "policyreports"}
	openReports   = schema.GroupVersionResource{Group: "openreports.io", Version: "v1alpha1", Resource: "reports"}
)

// site is one API server for all tests of the package.
type site struct {
	admin     dynamic.Interface
	creator   *cluster.Creator
	auditor   *rest.Config
	strangers *rest.Config
}

var shared struct {
	once    sync.Once
	control *cluster.Cluster
	dir     string
	site    *site
	failure error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.control != nil {
		_ = shared.control.Stop()
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

func newSite(t *testing.T) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts an API server")
	}
	shared.once.Do(func() { shared.failure = begin() })
	if shared.failure != nil {
		t.Fatal(shared.failure)
	}
	return shared.site
}

func begin() (err error) {
	ctx := context.Background()
	if shared.dir, err = os.MkdirTemp("", "audit-test-"); err != nil {
		return err
	}
	shared.control, err = cluster.Start(ctx, cluster.Options{Dir: shared.dir, WithoutControllers: true, Users: []cluster.User{{Name: auditor}, {Name: stranger}}})
	if err != nil {
		return err
	}
	config, err := shared.control.Config(cluster.Admin)
	if err != nil {
		return err
	}
	s := &site{}
	if s.creator, err = cluster.NewCreator(config); err != nil {
		return err
	}
	if s.admin, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	if s.auditor, err = shared.control.Config(auditor); err != nil {
		return err
	}
	if s.strangers, err = shared.control.Config(stranger); err != nil {
		return err
	}
	binding := `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: auditor}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-auditor}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: auditor}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: auditor, namespace: portcullis-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: portcullis-auditor}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: auditor}]
`
	namespace := "{apiVersion: v1, kind: Namespace, metadata: {name: portcullis-system}}"
	for _, manifests := range [][]byte{[]byte(namespace), v1alpha1.Roles(v1alpha1.DefaultNamespace), []byte(binding)} {
		if _, err := s.creator.Create(ctx, manifests, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	shared.site = s
	return nil
}

// create makes objects that are gone when the test ends.
func (s *site) create(t *testing.T, manifests string) {
	t.Helper()
	made, err := s.creator.Create(t.Context(), []byte(manifests), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range made {
		t.Cleanup(func() { s.delete(object) })
	}
}

func (s *site) delete(object *unstructured.Unstructured) {
	gvk := object.GroupVersionKind()
	resource := schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: strings.ToLower(gvk.Kind) + "s"}
	if gvk.Kind == "NetworkPolicy" {
		resource.Resource = "networkpolicies"
	}
	now := int64(0)
	_ = s.admin.Resource(resource).Namespace(object.GetNamespace()).Delete(context.Background(), object.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now})
}

// namespace makes one with ConfigMaps of some colours.
func (s *site) namespace(t *testing.T, name string, colours ...string) {
	t.Helper()
	manifests := "{apiVersion: v1, kind: Namespace, metadata: {name: " + name + "}}"
	for n, colour := range colours {
		manifests += fmt.Sprintf("\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d, namespace: %s, labels: {test: colours}}, data: {colour: %s}}", n, name, colour)
	}
	s.create(t, manifests)
}

func (s *site) paint(t *testing.T, namespace, name, colour string) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"data":{"colour":%q}}`, colour)
	if _, err := s.admin.Resource(configMaps).Namespace(namespace).Patch(t.Context(), name, "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// bundle is one with a policy for each colour, which refuses ConfigMaps of it; and one about limits of namespaces.
func bundle(t *testing.T, serial int, colours ...string) *policies.Engine {
	t.Helper()
	files := fstest.MapFS{}
	manifest := fmt.Sprintf("apiVersion: %s\nkind: Bundle\nname: acme\nserial: %d\npolicies:\n", policies.APIVersion, serial)
	for _, colour := range append(slices.Clone(colours), "quota") {
		resource, rule := "configmaps", fmt.Sprintf(`input.object.data.colour == %q`, colour)
		if colour == "quota" {
			resource, rule = "namespaces", `input.object.metadata.labels.quota == "none"`
		}
		severity := map[string]string{"red": "critical"}[colour]
		if severity == "" {
			severity = "high"
		}
		files["policies/"+colour+".rego"] = &fstest.MapFile{Data: fmt.Appendf(nil, `# METADATA
# title: Not %[1]s
# description: Objects must not be %[1]s.
# custom:
#   severity: %[4]s
#   remediation: Choose another colour.
#   match: {resources: [{group: "", resources: [%[2]s]}]}
#   fix: none
#   fixReason: Only its owner knows another colour.
package portcullis.colours.%[1]s

deny contains {"msg": "is %[1]s", "path": "data.colour"} if %[3]s
`, colour, resource, rule, severity)}
		manifest += "- {policy: colours/" + colour + "}\n"
	}
	files["bundle.yaml"] = &fstest.MapFile{Data: []byte(manifest)}
	loaded, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(loaded)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// noFacts knows of namespaces nothing but that they are there.
type noFacts struct{}

func (noFacts) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	return policies.Facts{Namespace: &policies.Namespace{Name: needs.Namespace, Labels: map[string]string{}, Annotations: map[string]string{}}}
}

// clock is a clock that is set.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// requests are those of one patrol.
type requests struct {
	mu   sync.Mutex
	all  []string
	fail func(*http.Request) *http.Response
}

func (r *requests) wrap(next http.RoundTripper) http.RoundTripper {
	return &roundTripper{next, func(request *http.Request) (*http.Response, error) {
		r.mu.Lock()
		r.all = append(r.all, request.Method+" "+request.URL.Path+"?"+request.URL.RawQuery)
		fail := r.fail
		r.mu.Unlock()
		if fail != nil {
			if response := fail(request); response != nil {
				return response, nil
			}
		}
		return next.RoundTrip(request)
	}}
}

type roundTripper struct {
	next http.RoundTripper
	do   func(*http.Request) (*http.Response, error)
}

func (r *roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r.do(request) }

// WrappedRoundTripper lets requests be cancelled.
func (r *roundTripper) WrappedRoundTripper() http.RoundTripper { return r.next }

// lists are the resources that were listed since the last call.
func (r *requests) lists() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := map[string]bool{}
	for _, one := range r.all {
		if strings.Contains(one, "limit=") && strings.HasPrefix(one, "GET") {
			found[strings.TrimPrefix(one[:strings.Index(one, "?")], "GET ")] = true
		}
	}
	r.all = nil
	return slices.Sorted(maps.Keys(found))
}

// running is a Patrol under test.
type running struct {
	*Patrol
	reviewer *admission.Reviewer
	clock    *clock
	requests *requests
	stop     func()

	mu      sync.Mutex
	decided []string
}

// start begins a Patrol of the namespaces that begin with a prefix.
func start(t *testing.T, config *rest.Config, prefix string, engine *policies.Engine, change ...func(*Options)) *running {
	t.Helper()
	r := &running{clock: newClock(), requests: &requests{}}
	owns := func(scope string) bool { return strings.HasPrefix(scope, prefix) }
	r.reviewer = admission.NewReviewer(engine, noFacts{}, r.clock.now)
	options := Options{
		Reviewer: r.reviewer, Owns: owns, Ready: func() error { return nil }, Now: r.clock.now,
		Decided: func(_ context.Context, d *admission.Decision) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.decided = append(r.decided, d.Outcome+" "+d.Request.Namespace+"/"+d.Request.Name)
		},
	}
	for _, f := range change {
		f(&options)
	}
	config = rest.CopyConfig(config)
	config.Wrap(r.requests.wrap)
	var err error
	if options.Client, err = stored.New(config, stored.Options{Limit: 2, Owns: options.Owns}); err != nil {
		t.Fatal(err)
	}
	r.Patrol = New(options)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { r.Run(ctx); close(ended) }()
	r.stop = func() { cancel(); <-ended }
	t.Cleanup(r.stop)
	clustertest.Until(t, "the first pass", r.hasPassed)
	return r
}

// found is what the ledger has of the objects of a namespace: "ConfigMap c1: is red", sorted.
func (r *running) found(namespace string) []string {
	all := []string{}
	for _, object := range r.ledger.Find(func(o *audit.Result) bool { return o.Object.Scope() == namespace && len(o.Findings) > 0 }) {
		r.ledger.Find(func(o *audit.Result) bool {
			if o.Object == object {
				for _, f := range o.Findings {
					text := object.Kind + " " + object.Name + ": " + f.Message
					if f.ExceptedBy != "" {
						text += " (" + f.ExceptedBy + ")"
					}
					all = append(all, text)
				}
			}
			return false
		})
	}
	slices.Sort(all)
	return all
}

func (r *running) eventually(t *testing.T, namespace string, want ...string) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprint("finding ", want, " in ", namespace), func() error {
		if got := r.found(namespace); !slices.Equal(got, want) && len(got)+len(want) > 0 {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}

func TestWhatIsThereIsFoundAndWhatChangesIsFollowed(t *testing.T) {
	s := newSite(t)
	s.namespace(t, "follow-1", "red", "green", "blue", "red", "green")
	r := start(t, s.auditor, "follow-", bundle(t, 1, "red", "blue"))
	r.eventually(t, "follow-1", "ConfigMap c0: is red", "ConfigMap c2: is blue", "ConfigMap c3: is red")
	s.paint(t, "follow-1", "c0", "green")
	r.eventually(t, "follow-1", "ConfigMap c2: is blue", "ConfigMap c3: is red")
	s.paint(t, "follow-1", "c1", "blue")
	r.eventually(t, "follow-1", "ConfigMap c1: is blue", "ConfigMap c2: is blue", "ConfigMap c3: is red")
	if err := s.admin.Resource(configMaps).Namespace("follow-1").Delete(t.Context(), "c3", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually(t, "follow-1", "ConfigMap c1: is blue", "ConfigMap c2: is blue")
	s.namespace(t, "follow-2", "red")
	r.eventually(t, "follow-2", "ConfigMap c0: is red")
	want := []string{"admitted follow-1/c0", "denied follow-1/c1", "denied follow-2/c0"}
	clustertest.Eventually(t, "decisions about changes only", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if slices.Sort(r.decided); !slices.Equal(r.decided, want) {
			return fmt.Errorf("got decisions %q, want only changes: %q", r.decided, want)
		}
		return nil
	})
	if gaps := r.Gaps(); len(gaps) > 0 {
		t.Errorf("got gaps %v, want none", gaps)
	}
}

// TestARevisionTouchesOnlyWhatItChanges counts what is listed.
func TestARevisionTouchesOnlyWhatItChanges(t *testing.T) {
	s := newSite(t)
	s.namespace(t, "touch-1", "red", "green")
	r := start(t, s.auditor, "touch-", bundle(t, 1, "red"))
	r.eventually(t, "touch-1", "ConfigMap c0: is red")
	if got := r.requests.lists(); !slices.Equal(got, []string{"/api/v1/configmaps", "/api/v1/namespaces"}) {
		t.Errorf("listed %q, want what policies are about, once", got)
	}
	r.reviewer.Activate(bundle(t, 2, "red", "green"))
	r.Wake()
	r.eventually(t, "touch-1", "ConfigMap c0: is red", "ConfigMap c1: is green")
	if got := r.requests.lists(); !slices.Equal(got, []string{"/api/v1/configmaps"}) {
		t.Errorf("for a policy about ConfigMaps listed %q, want those", got)
	}
	r.reviewer.Activate(bundle(t, 3, "red", "green"))
	r.Wake()
	clustertest.Until(t, "seeing the revision", func() bool {
		r.Patrol.mu.Lock()
		defer r.Patrol.mu.Unlock()
		return r.lineup == r.reviewer.Lineup()
	})
	if got := r.requests.lists(); len(got) > 0 {
		t.Errorf("for a revision that says the same listed %q, want nothing", got)
	}
	r.reviewer.Activate(bundle(t, 4, "green"))
	r.Wake()
	r.eventually(t, "touch-1", "ConfigMap c1: is green")
}

func TestAnExceptionWaivesAndEndsByItself(t *testing.T) {
	s := newSite(t)
	s.namespace(t, "except-1", "red", "red")
	engine := bundle(t, 1, "red")
	r := start(t, s.auditor, "except-", engine)
	r.eventually(t, "except-1", "ConfigMap c0: is red", "ConfigMap c1: is red")
	// The bundle takes no exceptions of the cluster: one of its own stands for both.
	excepted := withException(t, "except-1", r.clock.now().Add(time.Hour))
	r.reviewer.Activate(excepted)
	r.Wake()
	r.eventually(t, "except-1", "ConfigMap c0: is red (old-friend)", "ConfigMap c1: is red")
	r.requests.lists()
	r.clock.pass(2 * time.Hour)
	r.Wake()
	lapsed := " (exception old-friend expired on " + r.clock.now().Add(-time.Hour).UTC().Format(time.DateOnly) + ")"
	r.eventually(t, "except-1", "ConfigMap c0: is red"+lapsed, "ConfigMap c1: is red")
	if got := r.requests.lists(); len(got) > 0 {
		t.Errorf("for an exception that has ended listed %q, want only the object looked at", got)
	}
}

// withException is the bundle of red with an exception for c0.
func withException(t *testing.T, namespace string, until time.Time) *policies.Engine {
	t.Helper()
	plain := bundle(t, 2, "red").Bundle()
	exception, err := policies.NewException(policies.Exception{
		APIVersion: policies.APIVersion, Kind: "Exception", Name: "old-friend", Policy: "colours/red", Reason: "it was here first", Owner: "shop",
		Expires: until.UTC().Format(time.RFC3339), Selector: policies.ExceptionSelector{Namespaces: []string{namespace}, Names: []string{"c0"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	plain.Exceptions = append(plain.Exceptions, exception)
	plain.Digest = "sha256:" + strings.Repeat("e", 64)
	engine, err := policies.NewEngine(plain)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

func TestWhatMayNotBeListedIsSaidByName(t *testing.T) {
	s := newSite(t)
	r := start(t, s.strangers, "nobody-", bundle(t, 1, "red"))
	var named []string
	for _, gap := range r.Gaps() {
		if strings.Contains(gap.Reason, "grant get, list and watch on "+gap.What) {
			named = append(named, gap.What)
		}
	}
	if !slices.Equal(named, []string{"configmaps", "namespaces"}) {
		t.Errorf("got gaps %v, want configmaps and namespaces with what to grant", r.Gaps())
	}
}

// TestPagesThatExpireLoseNothing: the API server forgets after a few minutes where a list was.
func TestPagesThatExpireLoseNothing(t *testing.T) {
	s := newSite(t)
	s.namespace(t, "expire-1", "red", "red", "red", "red", "red")
	expired := &requests{}
	times := 0
	expired.fail = func(request *http.Request) *http.Response {
		if !strings.Contains(request.URL.RawQuery, "continue=") || times == 2 {
			return nil
		}
		times++
		status, _ := json.Marshal(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonExpired, Code: http.StatusGone, Message: "too old"})
		return &http.Response{StatusCode: http.StatusGone, Header: http.Header{"Content-Type": {"application/json"}}, Body: body(status), Request: request}
	}
	config := rest.CopyConfig(s.auditor)
	config.Wrap(expired.wrap)
	client, err := stored.New(config, stored.Options{Limit: 2, Owns: func(scope string) bool { return scope == "expire-1" }})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	kind := stored.Kind{Version: "v1", Kind: "ConfigMap", Resource: "configmaps", Namespaced: true}
	version, err := client.List(t.Context(), kind, "", func(object audit.Object) error {
		seen[object.Name] = true
		if strings.Contains(string(object.Raw), "managedFields") || !strings.HasPrefix(string(object.Raw), `{"apiVersion":"v1","kind":"ConfigMap"`) {
			t.Errorf("got %s, want its kind and no managedFields", object.Raw)
		}
		return nil
	})
	if err != nil || version == "" || len(seen) < 5 || times != 2 {
		t.Errorf("got %v at %q (%v) after %d pages had expired, want all five", seen, version, err, times)
	}
	times = -100
	if _, err := client.List(t.Context(), kind, "", func(audit.Object) error { return nil }); stored.GapOf(t.Context(), kind, err) == nil {
		t.Errorf("got %v, want a gap where pages expire again and again", err)
	}
}

func body(content []byte) *closer { return &closer{strings.NewReader(string(content))} }

type closer struct{ *strings.Reader }

func (*closer) Close() error { return nil }

// TestReports are written into both formats of a real API server, whose schemas prune what they do not know.
func TestReports(t *testing.T) {
	s := newSite(t)
	s.create(t, string(reporttest.FirstPolicyReport))
	clustertest.Serving(t, s.admin, policyReports)
	s.namespace(t, "report-1", "red", "blue", "green")
	writer, err := report.New(s.auditor, report.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, s.auditor, "report-", bundle(t, 1, "red", "blue"), func(o *Options) { o.Reports = writer })
	written := func(resource schema.GroupVersionResource, want map[string]any) *unstructured.Unstructured {
		t.Helper()
		var object *unstructured.Unstructured
		clustertest.Eventually(t, fmt.Sprint("a report that says ", want), func() (err error) {
			r.Publish(t.Context())
			if object, err = s.admin.Resource(resource).Namespace("report-1").Get(t.Context(), "portcullis", metav1.GetOptions{}); err != nil {
				return err
			}
			if got, _, _ := unstructured.NestedMap(object.Object, "summary"); fmt.Sprint(got) != fmt.Sprint(want) {
				return fmt.Errorf("got %v", got)
			}
			return nil
		})
		return object
	}
	first := map[string]any{"pass": int64(5), "fail": int64(2), "warn": int64(0), "error": int64(0), "skip": int64(0)}
	object := written(policyReports, first)
	results, _, _ := unstructured.NestedSlice(object.Object, "results")
	if len(results) != 2 {
		t.Fatalf("got %v, want two results", results)
	}
	worst, _ := results[0].(map[string]any)
	want := map[string]any{
		"source": "portcullis", "policy": "colours/red", "severity": "high", "result": "fail", "scored": true, "message": "is red",
		"properties": map[string]any{"enforcement": "deny", "path": "data.colour", "title": "Not red", "severity": "critical"},
	}
	for field, value := range want {
		if fmt.Sprint(worst[field]) != fmt.Sprint(value) {
			t.Errorf("%s is %v, want %v", field, worst[field], value)
		}
	}
	if worst["timestamp"] == nil || worst["resources"] == nil {
		t.Errorf("got %v, want when and what", worst)
	}
	// Nothing is written where nothing changes, not even after all has been judged again.
	r.Patrol.mu.Lock()
	before := r.Patrol.full
	r.Patrol.mu.Unlock()
	r.add(area{})
	r.Wake()
	s.paint(t, "report-1", "c2", "yellow")
	clustertest.Eventually(t, "judging all again", func() error {
		r.Patrol.mu.Lock()
		defer r.Patrol.mu.Unlock()
		if len(r.Patrol.pending) > 0 || r.Patrol.full.Equal(before) {
			return errors.New("the pass has not ended")
		}
		return nil
	})
	r.Publish(t.Context())
	if again := written(policyReports, first); again.GetResourceVersion() != object.GetResourceVersion() {
		t.Errorf("the report was written again though it says the same")
	}
	// A format that is new in the cluster is found, and another definition, too.
	s.create(t, string(reporttest.OpenReports))
	clustertest.Serving(t, s.admin, openReports)
	r.Patrol.options.Reports = mustWriter(t, s.auditor)
	s.paint(t, "report-1", "c1", "green")
	second := map[string]any{"pass": int64(6), "fail": int64(1), "warn": int64(0), "error": int64(0), "skip": int64(0)}
	written(policyReports, second)
	open := written(openReports, second)
	results, _, _ = unstructured.NestedSlice(open.Object, "results")
	if source, _, _ := unstructured.NestedString(open.Object, "source"); source != "portcullis" || len(results) != 1 || results[0].(map[string]any)["severity"] != "critical" {
		t.Errorf("got %v, want its source and a critical result", open.Object)
	}
	// What nobody is about any more is deleted.
	for n := range 3 {
		if err := s.admin.Resource(configMaps).Namespace("report-1").Delete(t.Context(), fmt.Sprint("c", n), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Sweep(t.Context(), func(scope string) bool { return scope == "report-1" }, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.Resource(policyReports).Namespace("report-1").Get(t.Context(), "portcullis", metav1.GetOptions{}); err == nil {
		t.Error("the report of a scope of which nothing is known is still there")
	}
}

func mustWriter(t *testing.T, config *rest.Config) *report.Writer {
	t.Helper()
	writer, err := report.New(config, report.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return writer
}

// TestReplicasShareWithoutGapsOrDoubles has three replicas by Leases of a real API server; one dies.
func TestReplicasShareWithoutGapsOrDoubles(t *testing.T) {
	s := newSite(t)
	const count = 12
	for n := range count {
		s.namespace(t, fmt.Sprint("share-", n), "red")
	}
	kube, err := kubernetes.NewForConfig(s.auditor)
	if err != nil {
		t.Fatal(err)
	}
	ticking := newClock()
	var members []*shard.Members
	var patrols []*running
	alive := []bool{true, true, true}
	step := func() {
		t.Helper()
		for n, m := range members {
			if alive[n] {
				if err := m.Step(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	changed := make([]func(), 3)
	for n := range alive {
		members = append(members, shard.New(kube.CoordinationV1().Leases("portcullis-system"), shard.Options{
			Name: fmt.Sprint("replica-", n), Now: ticking.now, Changed: func() {
				if changed[n] != nil {
					changed[n]()
				}
			},
		}))
	}
	step()
	step()
	engine := bundle(t, 1, "red")
	for n := range alive {
		r := start(t, s.auditor, "", engine, func(o *Options) {
			o.Owns = func(scope string) bool { return strings.HasPrefix(scope, "share-") && members[n].Owns(scope) }
		})
		patrols = append(patrols, r)
		changed[n] = r.Members
	}
	complete := func() error {
		for n := range count {
			namespace := fmt.Sprint("share-", n)
			var by []int
			for replica, r := range patrols {
				if alive[replica] && len(r.found(namespace)) > 0 {
					by = append(by, replica)
				}
			}
			if len(by) != 1 {
				return fmt.Errorf("%s is audited by %v, want one", namespace, by)
			}
		}
		return nil
	}
	clustertest.Eventually(t, "each namespace is audited once", complete)
	alive[1] = false
	patrols[1].stop()
	for range 5 {
		ticking.pass(shard.DefaultDuration / 3)
		step()
	}
	clustertest.Eventually(t, "each namespace is audited once after one has died", complete)
	alive[1] = true
	patrols[1] = start(t, s.auditor, "", engine, func(o *Options) {
		o.Owns = func(scope string) bool { return strings.HasPrefix(scope, "share-") && members[1].Owns(scope) }
	})
	changed[1] = patrols[1].Members
	step()
	step()
	clustertest.Eventually(t, "each namespace is audited once after it is back", complete)
}

func TestNothingIsJudgedBeforeItCanBe(t *testing.T) {
	s := newSite(t)
	s.namespace(t, "later-1", "red")
	var mu sync.Mutex
	waiting := errors.New("the PolicyBundles have not been listed yet")
	r := &running{clock: newClock(), requests: &requests{}}
	r.reviewer = admission.NewReviewer(bundle(t, 1, "red"), noFacts{}, r.clock.now)
	client, err := stored.New(s.auditor, stored.Options{Owns: func(scope string) bool { return scope == "later-1" }})
	if err != nil {
		t.Fatal(err)
	}
	r.Patrol = New(Options{Client: client, Reviewer: r.reviewer, Owns: func(scope string) bool { return scope == "later-1" }, Now: r.clock.now, Ready: func() error {
		mu.Lock()
		defer mu.Unlock()
		return waiting
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { r.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	clustertest.Until(t, "saying why", func() bool {
		return slices.ContainsFunc(r.Gaps(), func(g audit.Gap) bool { return strings.Contains(g.Reason, "have not been listed yet") })
	})
	mu.Lock()
	waiting = nil
	mu.Unlock()
	r.Wake()
	r.eventually(t, "later-1", "ConfigMap c0: is red")
	if gaps := r.Gaps(); len(gaps) > 0 {
		t.Errorf("got gaps %v, want none", gaps)
	}
}
