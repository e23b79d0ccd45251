package installation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// answering has events answered: pods are cut off from networks, and admission remembers.
var answering = map[string]any{"bundle": map[string]any{
	"response": map[string]any{"mode": "enforce"},
	"policies": []any{map[string]any{"policy": "runtime/reverse-shell", "parameters": map[string]any{"actions": []any{
		map[string]any{"action": "snapshot"}, map[string]any{"action": "isolate"}, map[string]any{"action": "condemn"},
	}}}},
}}

// TestUpgradeUnderTraffic installs the chart of the previous release, upgrades, and goes back, while people go on.
func TestUpgradeUnderTraffic(t *testing.T) {
	previous, err := filepath.Glob("testdata/previous/portcullis-*.tgz")
	if err != nil || len(previous) != 1 {
		t.Fatalf("got the charts %v and %v, want one", previous, err)
	}
	i := installed(t, Options{Components: []string{Responder, Secrets, Console}, Chart: previous[0], Values: answering})
	ctx := t.Context()
	eventually(t, "a bad pod is refused", func(ctx context.Context) error {
		if _, err := i.Client.CoreV1().Pods("default").Create(ctx, pod("bad", true), dry); err == nil || !strings.Contains(err.Error(), "pods/privileged") {
			return fmt.Errorf("no refusal by pods/privileged: %w", errors.Join(errors.New("got"), err))
		}
		return nil
	})
	people, err := os.ReadFile("testdata/objects.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := cluster.Parse(people)
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Apply(ctx, i.Config, objects); err != nil {
		t.Fatal(err)
	}
	i.quarantineOne(t)
	before := i.oneOfEach(t)

	load := startTraffic(t, i.Config, 5, 150*time.Millisecond, "previous version")
	pause(t, 5*time.Second)
	load.enter("upgrade")
	pods := i.running(t)
	if err := i.Upgrade(ctx, "", answering); err != nil {
		t.Error(err)
	}
	for uid, name := range i.running(t) {
		if pods[uid] != "" {
			t.Errorf("the pod %s is the one from before the upgrade, want all of them new", name)
		}
	}
	load.enter("current version")
	pause(t, 5*time.Second)
	i.same(t, "after the upgrade", before)
	load.enter("rollback")
	if err := i.Upgrade(ctx, previous[0], answering); err != nil {
		t.Error(err)
	}
	load.enter("previous version again")
	pause(t, 5*time.Second)
	i.same(t, "after the rollback", before)
	load.stop(t)
	if err := stored(ctx, i.Client); err != nil {
		t.Error(err)
	}
	i.nothingStuck(t)
}

// pause lets traffic go on for a while: what is measured is this time.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// quarantineOne has a reverse shell seen in a pod, and waits until the pod is contained.
func (i *Installation) quarantineOne(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	var pod corev1.Pod
	eventually(t, "pods of the shop run", func(ctx context.Context) error {
		list, err := i.Client.CoreV1().Pods("shop").List(ctx, metav1.ListOptions{LabelSelector: "app=cart"})
		if err != nil {
			return err
		}
		if len(list.Items) != 2 || slices.ContainsFunc(list.Items, func(p corev1.Pod) bool { return p.Status.Phase != corev1.PodRunning }) {
			return fmt.Errorf("there are %d, or they do not run", len(list.Items))
		}
		pod = list.Items[0]
		return nil
	})
	client, url, err := i.NewSender(ctx)
	if err != nil {
		t.Fatal(err)
	}
	event := programs.FalcoEvent{
		Hostname: "here", Output: "Notice Redirect stdout/stdin to network connection", Priority: "Notice",
		Rule: "Redirect STDOUT/STDIN to Network Connection in Container", Source: "syscall", Time: time.Now().UTC(), Tags: []string{"T1059", "container"},
		Fields: map[string]any{
			"k8s.ns.name": pod.Namespace, "k8s.pod.name": pod.Name, "k8s.pod.uid": string(pod.UID), "container.id": strings.ReplaceAll(string(pod.UID), "-", "")[:12],
			"proc.name": "bash", "proc.cmdline": "bash -i", "fd.name": "10.244.0.7:51820->203.0.113.7:4444", "evt.time": time.Now().UnixNano(),
		},
	}
	eventually(t, "an event is taken", func(ctx context.Context) error {
		status, text, err := event.Post(ctx, client, url)
		if err != nil || status != 200 {
			return fmt.Errorf("HTTP %d: %s: %w", status, text, errors.Join(errors.New("no"), err))
		}
		return nil
	})
	eventually(t, "the pod is contained", func(ctx context.Context) error {
		list, err := i.Dynamic.Resource(schema.GroupVersionResource{Group: "runtime.portcullis.dev", Version: "v1alpha1", Resource: "quarantines"}).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(list.Items) != 1 {
			return fmt.Errorf("there are %d quarantines", len(list.Items))
		}
		if phase, _, _ := unstructured.NestedString(list.Items[0].Object, "status", "phase"); phase != "Contained" {
			status, err := json.Marshal(list.Items[0].Object["status"])
			return fmt.Errorf("it is %s: %s: %w", phase, status, err)
		}
		return nil
	})
}

// running are the release's pods that run, by UID.
func (i *Installation) running(t *testing.T) map[string]string {
	t.Helper()
	list, err := i.Client.CoreV1().Pods(Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			names[string(pod.UID)] = pod.Name
		}
	}
	return names
}

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// transient are objects that programs make about themselves and that go with them.
var transient = []string{"PolicyReplica"}

// object is what people and programs want to find again of one: what is wanted of it, and what is decided, "" where nothing is yet.
type object struct{ content, phase string }

// kept are the objects of all custom resources, by kind, namespace, name and UID, and by kind how many there are.
func (i *Installation) kept(ctx context.Context) (objects map[string]object, kinds map[string]int, err error) {
	objects, kinds = map[string]object{}, map[string]int{}
	list, err := i.Dynamic.Resource(definitions).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, err
	}
	for _, definition := range list.Items {
		kind, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "kind")
		if !strings.HasSuffix(definition.GetName(), ".portcullis.dev") || slices.Contains(transient, kind) {
			continue
		}
		all, err := i.resource(&definition).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, nil, err
		}
		kinds[kind] = len(all.Items)
		for _, one := range all.Items {
			phase, _, _ := unstructured.NestedString(one.Object, "status", "phase")
			content := maps.Clone(one.Object)
			delete(content, "metadata")
			delete(content, "status")
			text, err := json.Marshal(content)
			if err != nil {
				return nil, nil, err
			}
			objects[strings.Join([]string{kind, one.GetNamespace(), one.GetName(), string(one.GetUID())}, " ")] = object{string(text), phase}
		}
	}
	return objects, kinds, nil
}

// oneOfEach waits until there is an object of each kind of the installed chart, and returns all.
func (i *Installation) oneOfEach(t *testing.T) map[string]object {
	t.Helper()
	var objects map[string]object
	eventually(t, "there is one object of each kind", func(ctx context.Context) (err error) {
		var kinds map[string]int
		if objects, kinds, err = i.kept(ctx); err != nil {
			return err
		}
		for kind, count := range kinds {
			if count == 0 {
				return fmt.Errorf("there is no %s: add one to testdata/objects.yaml", kind)
			}
		}
		t.Logf("objects kept: %d of %d kinds", len(objects), len(kinds))
		return nil
	})
	return objects
}

// resource is where objects of a definition are, in all namespaces.
func (i *Installation) resource(definition *unstructured.Unstructured) dynamic.NamespaceableResourceInterface {
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "plural")
	return i.Dynamic.Resource(schema.GroupVersionResource{Group: group, Version: storageVersion(definition), Resource: plural})
}

func storageVersion(definition *unstructured.Unstructured) string {
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	for _, v := range versions {
		if one, ok := v.(map[string]any); ok && one["storage"] == true {
			name, _ := one["name"].(string)
			return name
		}
	}
	return ""
}

// same waits until all is as it was before. What was not decided then may be now.
func (i *Installation) same(t *testing.T, when string, before map[string]object) {
	t.Helper()
	eventually(t, when+" all is as before", func(ctx context.Context) error {
		now, _, err := i.kept(ctx)
		if err != nil {
			return err
		}
		var others []error
		for _, name := range slices.Sorted(maps.Keys(before)) {
			is, was := now[name], before[name]
			if is.content != was.content || was.phase != "" && is.phase != was.phase {
				others = append(others, fmt.Errorf("%s is %q\n%s\nwant %q\n%s", name, is.phase, is.content, was.phase, was.content))
			}
		}
		return errors.Join(others...)
	})
}

// nothingStuck looks for what waits for somebody: objects that are being deleted, objects of versions that no definition stores any more.
func (i *Installation) nothingStuck(t *testing.T) {
	t.Helper()
	eventually(t, "nothing is stuck", func(ctx context.Context) error {
		list, err := i.Dynamic.Resource(definitions).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, definition := range list.Items {
			if !strings.HasSuffix(definition.GetName(), ".portcullis.dev") {
				continue
			}
			if versions, _, _ := unstructured.NestedStringSlice(definition.Object, "status", "storedVersions"); !slices.Equal(versions, []string{storageVersion(&definition)}) {
				return fmt.Errorf("objects of %s are stored in the versions %v: migrate them to %s", definition.GetName(), versions, storageVersion(&definition))
			}
			all, err := i.resource(&definition).List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			for _, object := range all.Items {
				if object.GetDeletionTimestamp() != nil {
					return fmt.Errorf("%s %s is being deleted since %s", object.GetKind(), object.GetName(), object.GetDeletionTimestamp())
				}
			}
		}
		pods, err := i.Client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if pod.DeletionTimestamp != nil {
				return fmt.Errorf("the pod %s is being deleted since %s", pod.Name, pod.DeletionTimestamp)
			}
		}
		return nil
	})
}
