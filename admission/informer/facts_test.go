package informer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

var (
	netpols     = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	readNetpols = policies.Read{Group: "networking.k8s.io", Resource: "networkpolicies", Namespace: "shop"}
)

// serves is a resolver by table; a resource that is not in it is not served.
type serves map[schema.GroupResource]any

// silent is the answer that does not come.
type silent struct{}

func (s serves) resolve(ctx context.Context, resource schema.GroupResource) (*resolved, error) {
	switch answer := s[resource].(type) {
	case silent:
		<-ctx.Done()
		return nil, ctx.Err()
	case error:
		return nil, answer
	case resolved:
		return &answer, nil
	}
	return nil, nil
}

var servesAll = serves{
	netpols.GroupResource():    resolved{netpols, "NetworkPolicy"},
	namespaces.GroupResource(): resolved{namespaces, "Namespace"},
	// A kind that is asked for is watched from then on: too late for the first answer, whatever the scheduler does.
	{Group: "apps", Resource: "deployments"}: silent{},
}

func object(gvk, namespace, name string) *unstructured.Unstructured {
	version, kind, _ := strings.Cut(gvk, " ")
	metadata := map[string]any{
		"name":          name,
		"labels":        map[string]any{"app": name},
		"annotations":   map[string]any{lastApplied: "secret", "kept": "yes"},
		"managedFields": []any{map[string]any{"manager": "kubectl"}},
	}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": kind, "metadata": metadata, "spec": map[string]any{"n": int64(1)}}}
}

func netpol(namespace, name string) *unstructured.Unstructured {
	return object("networking.k8s.io/v1 NetworkPolicy", namespace, name)
}

func newClient(objects ...k8sruntime.Object) *dynamicfake.FakeDynamicClient {
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(k8sruntime.NewScheme(), map[schema.GroupVersionResource]string{
		netpols: "NetworkPolicyList", namespaces: "NamespaceList",
	}, objects...)
}

func start(t *testing.T, client *dynamicfake.FakeDynamicClient, resolver resolver, change ...func(*Options)) *Facts {
	t.Helper()
	options := Options{Reads: []policies.Read{{Group: "networking.k8s.io", Resource: "networkpolicies"}}}
	for _, change := range change {
		change(&options)
	}
	facts := newFacts(client, resolver, options)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { facts.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	eventually(t, func() error { return tried(facts) })
	return facts
}

// tried says that all kinds got an answer, good or bad.
func tried(facts *Facts) error {
	for name, reason := range facts.Availability() {
		if strings.Contains(reason, "not been listed yet") {
			return fmt.Errorf("%s: %s", name, reason)
		}
	}
	return nil
}

// TestBeforeTheFirstSyncReadinessWaits, for good where rights are missing.
func TestBeforeTheFirstSyncReadinessWaits(t *testing.T) {
	forbidden := apierrors.NewForbidden(netpols.GroupResource(), "", errors.New("no rights"))
	fail := func(resource string, err error) func(*dynamicfake.FakeDynamicClient) {
		return func(client *dynamicfake.FakeDynamicClient) {
			client.PrependReactor("list", resource, func(clienttesting.Action) (bool, k8sruntime.Object, error) { return true, nil, err })
		}
	}
	const rights = "grant the webhook's service account get, list and watch on "
	for name, test := range map[string]struct {
		client   func(*dynamicfake.FakeDynamicClient)
		resolver serves
		maxBytes int
		// What keeps it from being ready, "" if nothing, at once and after the wait.
		first, later string
		unavailable  string // kind
	}{
		"everything is listed":              {nil, servesAll, 0, "", "", ""},
		"a kind may not be listed":          {fail("networkpolicies", forbidden), servesAll, 0, rights + "networkpolicies.networking.k8s.io", rights + "networkpolicies.networking.k8s.io", "networkpolicies.networking.k8s.io"},
		"namespaces may not be listed":      {fail("namespaces", forbidden), servesAll, 0, rights + "namespaces", rights + "namespaces", "namespaces"},
		"nobody knows the webhook":          {fail("namespaces", apierrors.NewUnauthorized("who is it")), servesAll, 0, "who is it", rights + "namespaces", "namespaces"},
		"the API server does not answer":    {fail("networkpolicies", errors.New("no route")), servesAll, 0, "no route", "", "networkpolicies.networking.k8s.io"},
		"a kind is larger than its share":   {nil, servesAll, 300, "", "", "networkpolicies.networking.k8s.io"},
		"a kind that nobody defined":        {nil, serves{namespaces.GroupResource(): servesAll[namespaces.GroupResource()]}, 0, "", "", ""},
		"a group whose server is not there": {nil, serves{namespaces.GroupResource(): servesAll[namespaces.GroupResource()], netpols.GroupResource(): errors.New("503")}, 0, "503", "", "networkpolicies.networking.k8s.io"},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(netpol("shop", "a"), netpol("shop", "b"))
			if test.client != nil {
				test.client(client)
			}
			var now atomic.Int64
			facts := start(t, client, test.resolver, func(o *Options) {
				o.MaxBytes = test.maxBytes
				o.Now = func() time.Time { return time.Unix(now.Load(), 0) }
			})
			wantCheck(t, facts, test.first)
			now.Store(61)
			wantCheck(t, facts, test.later)
			for kind, reason := range facts.Availability() {
				if got, want := reason != "", kind == test.unavailable; got != want {
					t.Errorf("%s is unavailable: %v (%s), want %v", kind, got, reason, want)
				}
			}
		})
	}
}

func wantCheck(t *testing.T, facts *Facts, want string) {
	t.Helper()
	switch err := facts.Check(); {
	case want == "" && err != nil:
		t.Errorf("it is not ready: %v, want ready", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("readiness says %v, want %q", err, want)
	}
}

// TestWhatWasListedOnceStaysReady although its watch then fails, and says so.
func TestWhatWasListedOnceStaysReady(t *testing.T) {
	facts := start(t, newClient(netpol("shop", "a")), servesAll)
	wantNames(t, facts, readNetpols, "shop/a")
	kind := facts.kind(netpols.GroupResource())
	kind.failed(apierrors.NewForbidden(netpols.GroupResource(), "", errors.New("taken away")))
	wantCheck(t, facts, "")
}

// TestAKindThatNoPolicyDeclaresKeepsNobodyFromBeingReady: it is watched when a review asks for it.
func TestAKindThatNoPolicyDeclaresKeepsNobodyFromBeingReady(t *testing.T) {
	client := newClient()
	client.PrependReactor("list", "networkpolicies", func(clienttesting.Action) (bool, k8sruntime.Object, error) {
		return true, nil, apierrors.NewForbidden(netpols.GroupResource(), "", errors.New("no rights"))
	})
	facts := start(t, client, servesAll, func(o *Options) { o.Reads = nil })
	eventually(t, facts.Check)
	checkPartial(t, facts, readNetpols, "")
	eventually(t, func() error {
		if reason := facts.Availability()[netpols.GroupResource().String()]; !strings.Contains(reason, "no rights") {
			return fmt.Errorf("it is unavailable because %q, want no rights", reason)
		}
		return nil
	})
	wantCheck(t, facts, "")
}

func TestBeforeItRunsItIsNotReady(t *testing.T) {
	wantCheck(t, newFacts(newClient(), servesAll, Options{}), "namespaces have not been listed yet")
}

func eventually(t *testing.T, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // polls a condition
	}
}

func names(facts policies.Facts) string {
	var names []string
	for _, object := range facts.Cluster {
		names = append(names, object.Namespace+"/"+object.Name)
	}
	return strings.Join(names, " ")
}

func wantNames(t *testing.T, facts *Facts, read policies.Read, want string) {
	t.Helper()
	eventually(t, func() error {
		got := facts.Gather(t.Context(), policies.Needs{Reads: []policies.Read{read}})
		if names(got) != want || len(got.Partial) > 0 {
			return fmt.Errorf("got %q, partial %v, want %q, complete", names(got), got.Partial, want)
		}
		return nil
	})
}

func TestObjectsAreGatheredByNamespaceAndFollowed(t *testing.T) {
	client := newClient(netpol("shop", "b"), netpol("shop", "a"), netpol("web", "c"))
	facts := start(t, client, servesAll)
	all := policies.Read{Group: "networking.k8s.io", Resource: "networkpolicies"}
	wantNames(t, facts, readNetpols, "shop/a shop/b")
	wantNames(t, facts, all, "shop/a shop/b web/c")
	wantNames(t, facts, policies.Read{Group: "networking.k8s.io", Resource: "networkpolicies", Namespace: "empty"}, "")

	shop := client.Resource(netpols).Namespace("shop")
	if _, err := shop.Create(t.Context(), netpol("shop", "d"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wantNames(t, facts, readNetpols, "shop/a shop/b shop/d")
	if err := shop.Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	wantNames(t, facts, readNetpols, "shop/b shop/d")
	wantNames(t, facts, all, "shop/b shop/d web/c")

	changed := netpol("shop", "b")
	changed.Object["spec"] = map[string]any{"n": int64(2)}
	if _, err := shop.Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		got := facts.Gather(t.Context(), policies.Needs{Reads: []policies.Read{readNetpols}}).Cluster[0]
		if !strings.Contains(string(got.Raw), `"n":2`) {
			return fmt.Errorf("got %s, want the changed object", got.Raw)
		}
		return nil
	})
}

func TestObjectsAreProjected(t *testing.T) {
	facts := start(t, newClient(netpol("shop", "a")), servesAll)
	got := facts.Gather(t.Context(), policies.Needs{Reads: []policies.Read{readNetpols}}).Cluster[0]
	if strings.Contains(string(got.Raw), "managedFields") || strings.Contains(string(got.Raw), "last-applied") || !strings.Contains(string(got.Raw), `"kept":"yes"`) {
		t.Errorf("the object is %s, want it without managed fields and last applied configuration", got.Raw)
	}
	if got.Group != "networking.k8s.io" || got.Version != "v1" || got.Kind != "NetworkPolicy" || got.Resource != "networkpolicies" {
		t.Errorf("the object says it is %+v", got)
	}
}

func TestAReadOfAllNamespacesBringsThatOfOne(t *testing.T) {
	facts := start(t, newClient(netpol("shop", "a"), netpol("web", "b")), servesAll)
	got := facts.Gather(t.Context(), policies.Needs{Reads: []policies.Read{readNetpols, {Group: "networking.k8s.io", Resource: "networkpolicies"}}})
	if want := "shop/a web/b"; names(got) != want {
		t.Errorf("got %q, want %q, each once", names(got), want)
	}
}

// TestWhatIsNotKnownIsSaid: never an empty list without a reason.
func TestWhatIsNotKnownIsSaid(t *testing.T) {
	forbidden := apierrors.NewForbidden(netpols.GroupResource(), "", errors.New("no rights"))
	deny := func(client *dynamicfake.FakeDynamicClient) {
		fail := func(clienttesting.Action) (bool, k8sruntime.Object, error) { return true, nil, forbidden }
		client.PrependReactor("list", "networkpolicies", fail)
	}
	for name, test := range map[string]struct {
		client   func(*dynamicfake.FakeDynamicClient)
		resolver serves
		read     policies.Read
		options  func(*Options)
		want     string
	}{
		"a list that is forbidden":         {deny, servesAll, readNetpols, nil, "no rights"},
		"discovery that fails":             {nil, serves{namespaces.GroupResource(): servesAll[namespaces.GroupResource()], netpols.GroupResource(): errors.New("no route")}, readNetpols, nil, "no route"},
		"more than there is memory for":    {nil, servesAll, readNetpols, func(o *Options) { o.MaxBytes = 300 }, "--max-fact-bytes"},
		"a kind that was never asked for":  {nil, servesAll, policies.Read{Group: "apps", Resource: "deployments"}, nil, "not been listed yet"},
		"a kind before anything is listed": {nil, servesAll, readNetpols, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(netpol("shop", "a"), netpol("shop", "b"))
			if test.client != nil {
				test.client(client)
			}
			options := func(*Options) {}
			if test.options != nil {
				options = test.options
			}
			if test.want == "" {
				facts := newFacts(client, test.resolver, Options{}) // never run
				test.want = "not been listed yet"
				checkPartial(t, facts, test.read, test.want)
				return
			}
			facts := start(t, client, test.resolver, options)
			checkPartial(t, facts, test.read, test.want)
		})
	}
}

func checkPartial(t *testing.T, facts *Facts, read policies.Read, want string) {
	t.Helper()
	got := facts.Gather(t.Context(), policies.Needs{Reads: []policies.Read{read}})
	if !strings.Contains(got.Partial[read], want) {
		t.Errorf("partial is %v, want %q for %v", got.Partial, want, read)
	}
	if len(got.Cluster) > 0 {
		t.Errorf("got %q, want nothing", names(got))
	}
}

func TestAPartialReadOfAllMakesThatOfOnePartial(t *testing.T) {
	facts := newFacts(newClient(), servesAll, Options{})
	all := policies.Read{Group: "networking.k8s.io", Resource: "networkpolicies"}
	got := facts.Gather(t.Context(), policies.Needs{Reads: []policies.Read{readNetpols, all}})
	if got.Partial[readNetpols] == "" || got.Partial[all] == "" {
		t.Errorf("partial is %v, want both", got.Partial)
	}
}

func TestAKindThatIsNotServedHasNoObjects(t *testing.T) {
	facts := start(t, newClient(), serves{namespaces.GroupResource(): servesAll[namespaces.GroupResource()]})
	wantNames(t, facts, readNetpols, "")
}

func TestAnUndeclaredKindIsWatchedFromThenOn(t *testing.T) {
	client := newClient(netpol("shop", "a"))
	held := make(chan struct{}) // else the list may be quicker than the answer
	client.PrependReactor("list", "networkpolicies", func(clienttesting.Action) (bool, k8sruntime.Object, error) {
		<-held
		return false, nil, nil
	})
	facts := start(t, client, servesAll, func(o *Options) { o.Reads = nil })
	checkPartial(t, facts, readNetpols, "not been listed yet")
	close(held)
	wantNames(t, facts, readNetpols, "shop/a")
}

// TestAWatchThatFailsForLongIsStale fails every watch and list after the first list.
func TestAWatchThatFailsForLongIsStale(t *testing.T) {
	client := newClient(netpol("shop", "a"))
	client.PrependWatchReactor("networkpolicies", clienttesting.DefaultWatchReactor(nil, errors.New("connection refused")))
	var now atomic.Int64
	facts := start(t, client, servesAll, func(o *Options) {
		o.Now = func() time.Time { return time.Unix(now.Load(), 0) }
		o.StaleAfter = time.Minute
	})
	kind := facts.kind(netpols.GroupResource())
	eventually(t, func() error {
		kind.mu.Lock()
		defer kind.mu.Unlock()
		if kind.failure == "" {
			return errors.New("the watch has not failed yet")
		}
		return nil
	})
	if got := facts.Gather(t.Context(), policies.Needs{Reads: []policies.Read{readNetpols}}); len(got.Partial) > 0 {
		t.Errorf("partial is %v, want none at once", got.Partial)
	}
	now.Store(61)
	got := facts.Gather(t.Context(), policies.Needs{Reads: []policies.Read{readNetpols}})
	if !strings.Contains(got.Partial[readNetpols], "connection refused") || names(got) != "shop/a" {
		t.Errorf("got %q, partial %v, want what is known, said to be stale", names(got), got.Partial)
	}
}

// TestBypass36_ANamespaceTheWatchDoesNotKnowIsFetched: its labels are not empty, they
// are unknown, until the API server says what they are.
func TestBypass36_ANamespaceTheWatchDoesNotKnowIsFetched(t *testing.T) {
	for name, test := range map[string]struct {
		react  func(clienttesting.Action) (bool, k8sruntime.Object, error)
		labels map[string]string
		want   string
	}{
		"created a moment ago": {func(clienttesting.Action) (bool, k8sruntime.Object, error) {
			return true, object("v1 Namespace", "", "new"), nil
		}, map[string]string{"app": "new"}, ""},
		"not there": {func(clienttesting.Action) (bool, k8sruntime.Object, error) {
			return true, nil, apierrors.NewNotFound(namespaces.GroupResource(), "new")
		}, nil, "does not exist"},
		"an error": {func(clienttesting.Action) (bool, k8sruntime.Object, error) {
			return true, nil, errors.New("etcd is slow")
		}, nil, "etcd is slow"},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(object("v1 Namespace", "", "shop"))
			facts := start(t, client, servesAll)
			client.PrependReactor("get", "namespaces", test.react)
			got := facts.Gather(t.Context(), policies.Needs{Namespace: "new"})
			if test.want != "" {
				if got.Namespace != nil || !strings.Contains(got.NamespaceMissing, test.want) {
					t.Errorf("got %+v, missing %q, want none because of %q", got.Namespace, got.NamespaceMissing, test.want)
				}
				return
			}
			if got.Namespace == nil || got.Namespace.Name != "new" || got.Namespace.Labels["app"] != "new" || got.NamespaceMissing != "" {
				t.Errorf("got %+v, missing %q, want the namespace with its labels", got.Namespace, got.NamespaceMissing)
			}
		})
	}
}

func TestAKnownNamespaceIsNotFetched(t *testing.T) {
	client := newClient(object("v1 Namespace", "", "shop"))
	facts := start(t, client, servesAll)
	client.PrependReactor("get", "namespaces", func(clienttesting.Action) (bool, k8sruntime.Object, error) {
		t.Error("the namespace was fetched")
		return true, nil, errors.New("not wanted")
	})
	got := facts.Gather(t.Context(), policies.Needs{Namespace: "shop"})
	if got.Namespace == nil || got.Namespace.Labels["app"] != "shop" || got.Namespace.Annotations["kept"] != "yes" {
		t.Errorf("got %+v, missing %q, want the namespace with labels and annotations", got.Namespace, got.NamespaceMissing)
	}
}

func TestANamespaceThatIsSlowToFetchIsMissingAtTheDeadline(t *testing.T) {
	client := newClient()
	facts := start(t, client, servesAll)
	release := make(chan struct{})
	var once sync.Once
	t.Cleanup(func() { once.Do(func() { close(release) }) })
	client.PrependReactor("get", "namespaces", func(clienttesting.Action) (bool, k8sruntime.Object, error) {
		<-release
		return true, nil, errors.New("late")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	got := facts.Gather(ctx, policies.Needs{Namespace: "new"})
	if got.Namespace != nil || !strings.Contains(got.NamespaceMissing, "deadline") {
		t.Errorf("got %+v, missing %q, want none because of the deadline", got.Namespace, got.NamespaceMissing)
	}
	once.Do(func() { close(release) })
}

func TestWithoutAClusterEverythingIsMissing(t *testing.T) {
	got := None{Reason: "there is no cluster"}.Gather(t.Context(), policies.Needs{Namespace: "shop", Reads: []policies.Read{readNetpols}})
	if got.Partial[readNetpols] != "there is no cluster" || !strings.Contains(got.NamespaceMissing, "no cluster") || got.Namespace != nil {
		t.Errorf("got %+v, want the reason for all", got)
	}
}

func TestDiscoveryFindsThePreferredVersion(t *testing.T) {
	list := func(version string, resources ...string) *metav1.APIResourceList {
		list := &metav1.APIResourceList{GroupVersion: version}
		for _, resource := range resources {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: resource, Kind: "K" + version, Verbs: metav1.Verbs{"get", "list", "watch"}})
		}
		return list
	}
	groups := []*metav1.APIGroup{{Name: "a.io", PreferredVersion: metav1.GroupVersionForDiscovery{GroupVersion: "a.io/v1"}}}
	lists := []*metav1.APIResourceList{list("v1", "pods"), list("a.io/v1beta1", "things", "old"), list("a.io/v1", "things"), list("a.io/v2", "things")}
	lists = append(lists, &metav1.APIResourceList{GroupVersion: "b.io/v1", APIResources: []metav1.APIResource{{Name: "reviews", Verbs: metav1.Verbs{"create"}}}})
	down := &discovery.ErrGroupDiscoveryFailed{Groups: map[schema.GroupVersion]error{{Group: "metrics.io", Version: "v1"}: errors.New("503")}}
	for name, test := range map[string]struct {
		resource schema.GroupResource
		failure  error
		want     string
	}{
		"the core group":                     {schema.GroupResource{Resource: "pods"}, nil, "v1"},
		"the preferred version":              {schema.GroupResource{Group: "a.io", Resource: "things"}, nil, "v1"},
		"the only version":                   {schema.GroupResource{Group: "a.io", Resource: "old"}, nil, "v1beta1"},
		"not served":                         {schema.GroupResource{Group: "c.io", Resource: "things"}, nil, "absent"},
		"not to be listed":                   {schema.GroupResource{Group: "b.io", Resource: "reviews"}, nil, "absent"},
		"a group that is down":               {schema.GroupResource{Group: "metrics.io", Resource: "pods"}, down, "error"},
		"another group than the one down":    {schema.GroupResource{Resource: "pods"}, down, "v1"},
		"an API server that is out of reach": {schema.GroupResource{Resource: "pods"}, errors.New("refused"), "error"},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := search(groups, lists, test.failure, test.resource)
			got := "absent"
			if err != nil {
				got = "error"
			} else if found != nil {
				got = found.resource.Version
			}
			if got != test.want {
				t.Errorf("got %s (%v), want %s", got, err, test.want)
			}
		})
	}
}

// TestKindsAreFollowedWhileItRuns as those of a bundle that comes later.
func TestKindsAreFollowedWhileItRuns(t *testing.T) {
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	read := policies.Read{Resource: "pods"}
	for name, test := range map[string]struct {
		resolver serves
		list     func(context.Context) error
		// missing is in what is said of the kind after that, "" where it is known.
		missing, err string
	}{
		"one that is there":      {serves{pods.GroupResource(): resolved{pods, "Pod"}}, nil, "", ""},
		"one that is not served": {serves{}, nil, "", ""},
		"one that may not be listed": {serves{pods.GroupResource(): resolved{pods, "Pod"}}, func(context.Context) error {
			return apierrors.NewForbidden(pods.GroupResource(), "", errors.New("no rights"))
		}, "no rights", ""},
		"one whose discovery fails":     {serves{pods.GroupResource(): errors.New("no route")}, nil, "no route", ""},
		"one that is not answered soon": {serves{pods.GroupResource(): resolved{pods, "Pod"}}, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "not been listed yet", "waiting for the API server to list pods"},
	} {
		t.Run(name, func(t *testing.T) {
			client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(k8sruntime.NewScheme(), map[schema.GroupVersionResource]string{
				netpols: "NetworkPolicyList", namespaces: "NamespaceList", pods: "PodList",
			}, object("v1 Pod", "shop", "web"))
			ended, end := context.WithCancel(context.Background())
			defer end()
			client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, k8sruntime.Object, error) {
				if test.list == nil {
					return false, nil, nil
				}
				return true, nil, test.list(ended)
			})
			resolver := serves{namespaces.GroupResource(): resolved{namespaces, "Namespace"}}
			for name, answer := range test.resolver {
				resolver[name] = answer
			}
			facts := start(t, client, resolver, func(o *Options) { o.Reads = nil })
			ctx, cancel := context.WithCancel(t.Context())
			if test.err != "" {
				cancel()
			}
			defer cancel()
			if err := facts.Follow(ctx, []policies.Read{read}); test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Fatalf("following: got %v, want %q", err, test.err)
			}
			got := facts.Gather(t.Context(), policies.Needs{Reads: []policies.Read{read}})
			if missing := got.Partial[read]; !strings.Contains(missing, test.missing) || test.missing == "" && missing != "" {
				t.Errorf("missing is %q, want %q", missing, test.missing)
			}
			if test.missing == "" && len(test.resolver) > 0 && len(got.Cluster) != 1 {
				t.Errorf("got %d objects, want the pod", len(got.Cluster))
			}
			if err := facts.Check(); err != nil {
				t.Errorf("readiness waits for what is followed: %v", err)
			}
			end()
		})
	}
}
