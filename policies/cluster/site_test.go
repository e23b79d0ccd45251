package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/sourcetest"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// site is a real API server with the custom resources, the rights of a webhook, and two who sign.
type site struct {
	admin          dynamic.Interface
	webhook        *rest.Config
	trusted, other *cosign.Key
}

// by trusts somebody for everything.
func by(t *testing.T, key *cosign.Key) v1alpha1.Verification {
	t.Helper()
	return v1alpha1.Verification{Authorities: []signer.Authority{cosigntest.Authority(t, "platform", "**", key)}}
}

// webhookUser has the rights of a webhook and no others.
var webhookUser = cluster.User{Name: "webhook", Groups: []string{"system:authenticated"}}

func newSite(t *testing.T) *site {
	t.Helper()
	control, admin, _ := clustertest.Start(t, []cluster.User{webhookUser},
		v1alpha1.Manifest,
		[]byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: portcullis-system}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"),
		v1alpha1.Roles(v1alpha1.DefaultNamespace),
		[]byte("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: webhook}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-bundle-reader}\nsubjects: [{kind: User, name: webhook, apiGroup: rbac.authorization.k8s.io}]\n"),
	)
	clustertest.Serving(t, admin, v1alpha1.Bundles, v1alpha1.Revisions, v1alpha1.Replicas, v1alpha1.Exceptions)
	webhook, err := control.Config(webhookUser.Name)
	if err != nil {
		t.Fatal(err)
	}
	return &site{admin: admin, webhook: webhook, trusted: cosigntest.NewKey(t), other: cosigntest.NewKey(t)}
}

// clean deletes all objects of earlier tests.
func (s *site) clean(t *testing.T) {
	t.Helper()
	for _, resource := range []schema.GroupVersionResource{v1alpha1.Bundles, v1alpha1.Revisions, v1alpha1.Replicas, v1alpha1.Exceptions} {
		objects, err := s.admin.Resource(resource).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range objects.Items {
			if err := s.admin.Resource(resource).Namespace(object.GetNamespace()).Delete(t.Context(), object.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				t.Fatal(err)
			}
		}
	}
}

// files are those of a bundle that denies pods with one of some labels.
func files(bundle string, serial int, denied ...string) map[string][]byte {
	all := map[string][]byte{}
	var configured []string
	for _, word := range denied {
		configured = append(configured, fmt.Sprintf("{policy: %s/%s}", bundle, word))
		all[word+"/policy.rego"] = fmt.Appendf(nil, `# METADATA
# scope: package
# title: No %[2]s
# description: Pods are not %[2]s.
# custom:
#   severity: low
#   match: {resources: [{group: "", resources: [pods]}]}
#   remediation: Remove the label.
package portcullis.%[1]s.%[2]s

deny contains "is %[2]s" if input.object.metadata.labels.%[2]s
`, bundle, word)
	}
	all["bundle.yaml"] = fmt.Appendf(nil, "apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: %s\nserial: %d\npolicies: [%s]\nexceptionsFrom: {namespaces: [shop], maxDuration: 90d}\n", bundle, serial, strings.Join(configured, ", "))
	return all
}

// signed is a revision as the controller stores it.
func signed(t *testing.T, files map[string][]byte, by *cosign.Key) (digest string, stored []byte) {
	t.Helper()
	tree, err := archive.New(files)
	if err != nil {
		t.Fatal(err)
	}
	r := &source.Revision{Tree: tree, Origin: "https://policies.example.com/bundle.tar.gz", Version: "1"}
	if by != nil {
		tarball := sourcetest.Pack(t, tree)
		proof, err := cosign.SignBlob(tarball, by)
		if err != nil {
			t.Fatal(err)
		}
		r.Proof.Blob = &source.BlobProof{Tarball: tarball, Bundle: proof}
	}
	if stored, err = source.Encode(r); err != nil {
		t.Fatal(err)
	}
	return tree.Digest(), stored
}

// store writes the parts of a revision, of a number of bytes each.
func (s *site) store(t *testing.T, bundle, digest string, stored []byte, size int) {
	t.Helper()
	parts := max((len(stored)+size-1)/size, 1)
	for part := range parts {
		name, err := v1alpha1.RevisionName(digest, int32(part))
		if err != nil {
			t.Fatal(err)
		}
		s.create(t, v1alpha1.Revisions, "", "PolicyRevision", &v1alpha1.PolicyRevision{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: v1alpha1.PolicyRevisionSpec{
				Bundle: bundle, Digest: digest, Part: int32(part), Parts: int32(parts),
				Data: stored[part*size : min((part+1)*size, len(stored))],
			},
		})
	}
}

// put stores a revision that is signed by whom is trusted, in parts, and gives its digest.
func (s *site) put(t *testing.T, bundle string, serial int, denied ...string) string {
	t.Helper()
	digest, stored := signed(t, files(bundle, serial, denied...), s.trusted)
	s.store(t, bundle, digest, stored, 512)
	return digest
}

func (s *site) create(t *testing.T, resource schema.GroupVersionResource, namespace, kind string, object any) {
	t.Helper()
	content, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	delete(content, "status") // created by its own call
	made := &unstructured.Unstructured{Object: content}
	made.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	if _, err := s.admin.Resource(resource).Namespace(namespace).Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
		t.Fatalf("creating a %s: %v", kind, err)
	}
}

// bundle creates a PolicyBundle with an active revision.
func (s *site) bundle(t *testing.T, name, active string, change ...func(*v1alpha1.PolicyBundleSpec)) {
	t.Helper()
	b := &v1alpha1.PolicyBundle{ObjectMeta: metav1.ObjectMeta{Name: name}}
	b.Spec.Source.HTTP = &v1alpha1.HTTPSource{URL: "https://policies.example.com/bundle.tar.gz"}
	b.Spec.Verification = by(t, s.trusted)
	for _, c := range change {
		c(&b.Spec)
	}
	s.create(t, v1alpha1.Bundles, "", "PolicyBundle", b)
	s.status(t, name, func(status *v1alpha1.PolicyBundleStatus) {
		status.Phase, status.Active = v1alpha1.PhaseActive, revisionOf(name, active)
	})
}

func revisionOf(name, digest string) *v1alpha1.RevisionStatus {
	return &v1alpha1.RevisionStatus{Digest: digest, Name: name, Serial: 1, Since: metav1.Now()}
}

// status changes the status as the controller does, spec what is wanted as an operator does.
func (s *site) status(t *testing.T, name string, change func(*v1alpha1.PolicyBundleStatus)) {
	t.Helper()
	s.change(t, name, true, func(b *v1alpha1.PolicyBundle) { change(&b.Status) })
}

func (s *site) spec(t *testing.T, name string, change func(*v1alpha1.PolicyBundleSpec)) {
	t.Helper()
	s.change(t, name, false, func(b *v1alpha1.PolicyBundle) { change(&b.Spec) })
}

func (s *site) change(t *testing.T, name string, status bool, change func(*v1alpha1.PolicyBundle)) {
	t.Helper()
	object, err := s.admin.Resource(v1alpha1.Bundles).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var b v1alpha1.PolicyBundle
	if err := decode(object, &b); err != nil {
		t.Fatal(err)
	}
	change(&b)
	content, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(&b)
	if err != nil {
		t.Fatal(err)
	}
	if status {
		_, err = s.admin.Resource(v1alpha1.Bundles).UpdateStatus(t.Context(), &unstructured.Unstructured{Object: content}, metav1.UpdateOptions{})
	} else {
		_, err = s.admin.Resource(v1alpha1.Bundles).Update(t.Context(), &unstructured.Unstructured{Object: content}, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// process is a webhook's part that judges by the cluster.
type process struct {
	watch    *Watch
	reviewer *admission.Reviewer
	stop     func()

	mu       sync.Mutex
	time     time.Time
	followed []policies.Read
}

func (p *process) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.time.IsZero() {
		return time.Now()
	}
	return p.time
}

func (p *process) set(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.time = now
}

// start begins to watch. It ends with the test.
func start(t *testing.T, config *rest.Config, change ...func(*Options)) *process {
	t.Helper()
	p := &process{}
	p.reviewer = admission.NewLineupReviewer(&admission.Lineup{}, noFacts{}, p.now)
	options := Options{
		Install: p.reviewer.Install,
		Follow: func(_ context.Context, reads []policies.Read) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.followed = reads
			return nil
		},
	}
	for _, c := range change {
		c(&options)
	}
	watch, err := New(config, options)
	if err != nil {
		t.Fatal(err)
	}
	p.watch = watch
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { watch.Run(ctx); close(done) }()
	p.stop = func() { cancel(); <-done }
	t.Cleanup(p.stop)
	return p
}

// ready waits until it judges.
func (p *process) ready(t *testing.T) *process {
	t.Helper()
	clustertest.Eventually(t, "being ready", p.watch.Check)
	return p
}

type noFacts struct{}

func (noFacts) Gather(context.Context, policies.Needs) policies.Facts { return policies.Facts{} }

// ask is what the lineup says of a pod with labels: "" if it is admitted.
func (p *process) ask(t *testing.T, namespace string, labels ...string) string {
	t.Helper()
	set := map[string]string{}
	for _, label := range labels {
		set[label] = "yes"
	}
	object, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "web", "namespace": namespace, "labels": set},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": "a.example/b:1"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	verdict := p.reviewer.Review(t.Context(), admission.Request{
		Door: admission.DoorAdmission, Operation: "CREATE", Namespace: namespace, Name: "web",
		Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Object: object,
	})
	var said []string
	for _, finding := range verdict.Findings {
		if admission.Denies(finding) {
			said = append(said, finding.Message)
		}
	}
	for _, fault := range verdict.Faults {
		said = append(said, fault.Message)
	}
	if verdict.Admitted != (len(said) == 0) {
		t.Errorf("admitted is %v, with %q", verdict.Admitted, said)
	}
	return strings.Join(said, ", ")
}

// says waits until a pod with labels gets an answer, "" for being admitted.
func (p *process) says(t *testing.T, want, namespace string, labels ...string) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("the answer %q about %s in %s", want, labels, namespace), func() error {
		if got := p.ask(t, namespace, labels...); got != want {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}

// reports waits until a bundle is reported as it should be, problem being a part of its error.
func (p *process) reports(t *testing.T, want v1alpha1.ReplicaBundle, problem string) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("the report %+v with %q", want, problem), func() error {
		for _, got := range p.watch.Report() {
			if got.Name != want.Name {
				continue
			}
			if got.Active == want.Active && got.Candidate == want.Candidate && strings.Contains(got.Error, problem) && (problem != "" || got.Error == "") {
				return nil
			}
			return fmt.Errorf("got %+v", got)
		}
		return fmt.Errorf("there is none")
	})
}

// with is a copy of files with others in it.
func with(files, more map[string][]byte) map[string][]byte {
	all := maps.Clone(files)
	maps.Copy(all, more)
	return all
}
