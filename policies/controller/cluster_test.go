package controller

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// The controller runs with the roles that it prints, and no others.
const controllerUser = "portcullis-controller"

// shared is one API server for all tests of the package.
var shared = clustertest.Shared{
	Options: cluster.Options{WithoutControllers: true, Users: []cluster.User{{Name: controllerUser}}},
	Manifests: [][]byte{
		clustertest.Namespaces(v1alpha1.DefaultNamespace, "shop"), v1alpha1.Manifest, v1alpha1.Roles(v1alpha1.DefaultNamespace),
		clustertest.Binding(controllerUser, "portcullis-controller", v1alpha1.DefaultNamespace),
	},
}

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// bench is a cluster, as its administrator sees it.
type bench struct {
	t       *testing.T
	objects dynamic.Interface
	kube    *kubernetes.Clientset
	config  *rest.Config // the controller's
	admin   *rest.Config
	dir     string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	server := shared.Cluster(t)
	b := &bench{t: t, dir: t.TempDir()}
	var err error
	if b.admin, err = server.Config(cluster.Admin); err != nil {
		t.Fatal(err)
	}
	if b.config, err = server.Config(controllerUser); err != nil {
		t.Fatal(err)
	}
	if b.objects, err = dynamic.NewForConfig(b.admin); err != nil {
		t.Fatal(err)
	}
	if b.kube, err = kubernetes.NewForConfig(b.admin); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.clean)
	return b
}

// clean deletes what tests make: a controller keeps all bundles that there are.
func (b *bench) clean() {
	ctx := context.WithoutCancel(b.t.Context())
	for _, resource := range []dynamic.ResourceInterface{
		b.objects.Resource(v1alpha1.Bundles), b.objects.Resource(v1alpha1.Revisions), b.objects.Resource(v1alpha1.Replicas), b.objects.Resource(v1alpha1.Exceptions).Namespace("shop"),
	} {
		if err := resource.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			b.t.Error(err)
		}
	}
	lease := b.kube.CoordinationV1().Leases(v1alpha1.DefaultNamespace)
	if err := lease.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		b.t.Error(err)
	}
}

// until waits for what other programs do.
func (b *bench) until(what string, done func() bool) {
	b.t.Helper()
	clustertest.Until(b.t, what, done)
}

// running is a controller that runs.
type running struct {
	*Controller
	stop func()
}

// controller starts one, and ends it with the test.
func (b *bench) controller(identity string, change ...func(*Options)) *running {
	b.t.Helper()
	o := Options{Config: b.config, Namespace: v1alpha1.DefaultNamespace, Identity: identity, LeaseDuration: 2 * time.Second}
	for _, c := range change {
		c(&o)
	}
	c, err := New(o)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	b.t.Cleanup(stop)
	return &running{c, stop}
}

func with(all map[string]string, name, content string) map[string]string {
	copied := maps.Clone(all)
	copied[name] = content
	return copied
}

// publish replaces a folder by another one, in one step.
func (b *bench) publish(folder string, files map[string]string) {
	b.t.Helper()
	fresh, err := os.MkdirTemp(b.dir, "fresh-")
	if err != nil {
		b.t.Fatal(err)
	}
	for name, content := range files {
		file := filepath.Join(fresh, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := os.RemoveAll(folder); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(fresh, folder); err != nil {
		b.t.Fatal(err)
	}
}

// folder is a bundle in a folder, with an object that is about it.
func (b *bench) folder(name string, r v1alpha1.Rollout, change ...func(*v1alpha1.PolicyBundleSpec)) string {
	b.t.Helper()
	folder := filepath.Join(b.dir, name)
	spec := v1alpha1.PolicyBundleSpec{
		Source:       v1alpha1.Source{Directory: &v1alpha1.DirectorySource{Path: folder}},
		Verification: v1alpha1.Verification{InsecureUnsigned: true},
		Interval:     metav1.Duration{Duration: 10 * time.Second},
		Rollout:      r,
	}
	for _, c := range change {
		c(&spec)
	}
	b.create(name, spec)
	return folder
}

func (b *bench) create(name string, spec v1alpha1.PolicyBundleSpec) {
	b.t.Helper()
	object := encode(b.t, &v1alpha1.PolicyBundle{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PolicyBundle"},
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec,
	})
	if _, err := b.objects.Resource(v1alpha1.Bundles).Create(b.t.Context(), object, metav1.CreateOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

func encode(t *testing.T, object any) *unstructured.Unstructured {
	t.Helper()
	content, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: content}
}

func (b *bench) get(name string) *v1alpha1.PolicyBundle {
	b.t.Helper()
	bundle, err := getBundle(b.t.Context(), b.objects, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return bundle
}

// change changes what is wanted of a bundle.
func (b *bench) change(name string, change func(*v1alpha1.PolicyBundleSpec)) {
	b.t.Helper()
	b.until("changing "+name, func() bool {
		bundle := b.get(name)
		change(&bundle.Spec)
		_, err := b.objects.Resource(v1alpha1.Bundles).Update(b.t.Context(), encode(b.t, bundle), metav1.UpdateOptions{})
		if err != nil && !apierrors.IsConflict(err) {
			b.t.Fatal(err)
		}
		return err == nil
	})
}

// status waits until a bundle is at a state, as "3+4 Canary": the serials of the active revision and of that on trial.
func (b *bench) status(name, want string) v1alpha1.PolicyBundleStatus {
	b.t.Helper()
	var s v1alpha1.PolicyBundleStatus
	var got string
	defer func() {
		if b.t.Failed() {
			b.t.Logf("%s is at %q, want %q: %+v", name, got, want, s)
		}
	}()
	b.until(name+" is at "+want, func() bool {
		s = b.get(name).Status
		serial := func(r *v1alpha1.RevisionStatus) string {
			if r == nil {
				return "-"
			}
			return fmt.Sprint(r.Serial)
		}
		got = fmt.Sprintf("%s+%s %s", serial(s.Active), serial(s.Candidate), s.Phase)
		return got == want
	})
	return s
}

// condition waits until a condition is so, and gives it.
func (b *bench) condition(name, kind string, status metav1.ConditionStatus, reason, says string) {
	b.t.Helper()
	var got metav1.Condition
	defer func() {
		if b.t.Failed() {
			b.t.Logf("the condition is %+v", got)
		}
	}()
	b.until(fmt.Sprintf("%s has the condition %s %s %s with %q", name, kind, status, reason, says), func() bool {
		all := b.get(name).Status.Conditions
		if i := slices.IndexFunc(all, func(c metav1.Condition) bool { return c.Type == kind }); i >= 0 {
			got = all[i]
		}
		return got.Status == status && got.Reason == reason && strings.Contains(got.Message, says)
	})
}

// report is what a replica reports: it has loaded what the status says, and newly denied so much.
func (b *bench) report(replica, name string, newDenials int64) {
	b.t.Helper()
	s := b.get(name).Status
	loaded := v1alpha1.ReplicaBundle{Name: name, Active: s.Active.Digest}
	if s.Candidate != nil {
		loaded.Candidate = s.Candidate.Digest
		loaded.Comparison = &v1alpha1.Comparison{Candidate: s.Candidate.Digest, Compared: 10, NewDenials: newDenials, Policies: []v1alpha1.PolicyComparison{{
			Policy: "acme/replicas", NewDenials: newDenials,
			Samples: []v1alpha1.Sample{{Operation: "CREATE", Resource: "deployments.apps", Namespace: "shop", Name: "web", Message: "too many", Time: metav1.Now().Rfc3339Copy()}},
		}}}
	}
	object := &v1alpha1.PolicyReplica{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PolicyReplica"}, ObjectMeta: metav1.ObjectMeta{Name: replica}}
	replicas := b.objects.Resource(v1alpha1.Replicas)
	stored, err := replicas.Get(b.t.Context(), replica, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		stored, err = replicas.Create(b.t.Context(), encode(b.t, object), metav1.CreateOptions{})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	object.ResourceVersion = stored.GetResourceVersion()
	object.Status = v1alpha1.PolicyReplicaStatus{Heartbeat: metav1.Now(), Bundles: []v1alpha1.ReplicaBundle{loaded}}
	if _, err := replicas.UpdateStatus(b.t.Context(), encode(b.t, object), metav1.UpdateOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

// events waits for an Event about an object and gives its note.
func (b *bench) event(namespace, regarding, reason string) string {
	b.t.Helper()
	var note string
	b.until(fmt.Sprintf("an Event %s about %s", reason, regarding), func() bool {
		list, err := b.kube.EventsV1().Events(namespace).List(b.t.Context(), metav1.ListOptions{})
		if err != nil {
			b.t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.Regarding.Name == regarding && e.Reason == reason {
				note = e.Note
				return true
			}
		}
		return false
	})
	return note
}
