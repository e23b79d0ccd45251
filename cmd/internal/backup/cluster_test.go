package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	policiesv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/test/chart"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// others are objects of programs that do not run here, as those write them.
const others = `
{apiVersion: policy.portcullis.dev/v1alpha1, kind: PolicyException, metadata: {name: agent, namespace: shop}, spec: {policy: pods/privileged, reason: reads logs, owner: ops, expires: "2036-01-31", selector: {namespaces: [shop], names: [agent]}}}
---
{apiVersion: policy.portcullis.dev/v1alpha1, kind: PolicyException, metadata: {name: yesterday, namespace: shop}, spec: {policy: pods/privileged, reason: it was once, owner: ops, expires: "2026-01-31", selector: {namespaces: [shop], names: [yesterday]}}}
---
{apiVersion: scan.portcullis.dev/v1alpha1, kind: ImageScan, metadata: {name: sha256-SIXTYFOUR}, spec: {digest: "sha256:SIXTYFOUR", repositories: [ghcr.io/acme/app], requestedAt: "2026-11-29T10:00:00Z"}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultConnection, metadata: {name: main}, spec: {address: "https://vault.example.com:8200", allowedNamespaces: [shop]}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultAuth, metadata: {name: vault, namespace: shop}, spec: {connection: main, appRole: {roleID: shop, secretRef: {name: approle}}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultSecret, metadata: {name: db, namespace: shop, finalizers: [secrets.portcullis.dev/revoke]}, spec: {auth: vault, source: {dynamic: {mount: database, path: creds/shop}}, destination: {}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultPush, metadata: {name: made, namespace: shop}, spec: {auth: vault, destination: {mount: secret, path: shop/made}, generate: {password: {length: 32}}}}
`

const vaultLease = `{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultLease, metadata: {name: UID, namespace: portcullis-system}, spec: {owner: {namespace: shop, name: db, uid: UID}, connection: main, auth: vault,
 leases: [{id: database/creds/shop/x, mount: database, issued: "2026-11-29T10:00:00Z", expires: "2036-11-29T11:00:00Z", duration: 3600000000000}], token: {by: "transit:transit/portcullis-leases", ciphertext: "vault:v1:abc", accessor: a}}}`

// TestAnEmptyClusterGoesOnWhereTheOtherEnded is the story of docs/backup.md: a cluster whose programs have judged, contained and
// remembered is backed up and lost; another one with an empty etcd is restored while Git is away.
func TestAnEmptyClusterGoesOnWhereTheOtherEnded(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts control planes")
	}
	ctx := t.Context()
	git := newRepository(t)
	bin := t.TempDir()
	if err := programs.Build(ctx, bin, "portcullis-controller", "portcullis-webhook", "portcullis-responder"); err != nil {
		t.Fatal(err)
	}

	before := newScene(t, filepath.Join(t.TempDir(), "before"), cluster.Options{})
	before.live(git, bin)
	if got := before.verdicts(); got != wantedVerdicts {
		t.Fatalf("before the backup got\n%s\nwant\n%s", got, wantedVerdicts)
	}
	was := before.get("PolicyBundle", "", "platform")
	quarantines, err := before.objects.Resource(Find("Quarantine").Resource).List(ctx, metav1.ListOptions{})
	before.must(err)
	quarantine := &quarantines.Items[0]
	before.stopPrograms()

	taken, manifest := before.backup()
	t.Run("the same state gives the same archive", func(t *testing.T) {
		if again, _ := before.backup(); !bytes.Equal(taken, again) {
			t.Error("two backups of one state differ")
		}
	})
	t.Run("whoever may not read all gets no backup", func(t *testing.T) {
		kube, objects := before.as("nobody")
		var into bytes.Buffer
		_, _, err := Take(ctx, Options{Client: kube, Dynamic: objects, Namespace: own}, &into)
		if missing := (*RightsError)(nil); !errors.As(err, &missing) || len(missing.Missing) != len(kinds) || !strings.Contains(err.Error(), "list vaultleases.secrets.portcullis.dev") || into.Len() > 0 {
			t.Errorf("got %v and %d bytes, want all %d rights to be named, and nothing written", err, into.Len(), len(kinds))
		}
	})
	if got, want := manifest.Of(Find("QuarantineEvidence")).Objects, 1; got < want {
		t.Errorf("%d pieces of evidence are backed up, want some", got)
	}
	if got := fmt.Sprint(manifest.Secrets); !strings.Contains(got, "{shop approle VaultAuth shop/vault}") {
		t.Errorf("the manifest names the Secrets %s, want the one of the VaultAuth", got)
	}
	before.must(before.control.Stop())
	before.control = nil
	before.must(git.server.Stop())

	t.Run("a copy of etcd's data needs no command", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(filepath.Join(dir, "etcd"), os.DirFS(filepath.Join(before.dir, "etcd"))); err != nil {
			t.Fatal(err)
		}
		copied := newScene(t, dir, cluster.Options{WithoutControllers: true})
		for _, object := range []*unstructured.Unstructured{was, quarantine} {
			now := copied.get(object.GetKind(), "", object.GetName())
			if now.GetUID() != object.GetUID() || now.GetCreationTimestamp() != object.GetCreationTimestamp() {
				t.Errorf("%s %s is another object", object.GetKind(), object.GetName())
			}
		}
		copied.end()
	})

	archive, err := Open(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(taken)), nil })
	if err != nil {
		t.Fatal(err)
	}
	after := newScene(t, filepath.Join(t.TempDir(), "after"), cluster.Options{})
	t.Run("a cluster without the definitions is told what it lacks", func(t *testing.T) {
		if _, err := after.restore(cluster.Admin, archive, nil); err == nil || !strings.Contains(err.Error(), "does not know policyrevisions.policy.portcullis.dev") || !strings.Contains(err.Error(), "apply what the crd command") {
			t.Errorf("got %v, want it to name the definitions that are missing", err)
		}
	})
	after.define()
	after.guard()
	after.rights(archive)
	after.restored(archive, git, was, quarantine)

	// Git is still away.
	after.startController(bin)
	after.startWebhook(bin, git.folder())
	after.startResponder(bin)
	clustertest.Eventually(t, "the same verdicts as before", func() error {
		if got := after.verdicts(); got != wantedVerdicts {
			return errors.New(got)
		}
		return nil
	})
	after.goesOn(git, was, quarantine)
}

// live has a cluster do all that leaves state behind.
func (s *scene) live(git *repository, bin string) {
	s.t.Helper()
	ctx := s.t.Context()
	s.define()
	s.create(git.policyBundle())
	s.startController(bin)
	clustertest.Eventually(s.t, "the bundle being active", func() error {
		status, _, _ := unstructured.NestedMap(s.get("PolicyBundle", "", "platform").Object, "status")
		if status["phase"] != "Active" {
			return fmt.Errorf("its status is %v", status)
		}
		return nil
	})
	s.create([]byte(strings.ReplaceAll(others, "SIXTYFOUR", strings.Repeat("c", 64))))
	secret := s.get("VaultSecret", "shop", "db")
	s.create([]byte(strings.ReplaceAll(vaultLease, "UID", string(secret.GetUID()))))
	s.status("VaultPush", "shop", "made", map[string]any{"version": int64(3), "hash": "0123456789abcdef.keyed", "hashKey": "k", "generated": "2026-11-01T00:00:00Z"})
	s.status("ImageScan", "", "sha256-"+strings.Repeat("c", 64), map[string]any{"phase": "Done", "state": "complete", "statement": "aGVsbG8=", "finishedAt": "2026-11-29T10:05:00Z"})
	s.create([]byte(fmt.Sprintf(`{apiVersion: policy.portcullis.dev/v1alpha1, kind: BreakGlass, metadata: {name: ops-1}, spec: {reason: the webhook does not start, openedBy: admin, until: %q}}`,
		time.Now().Add(3*time.Hour).UTC().Format(time.RFC3339))))

	// A pod that a reverse shell is reported of, before anybody is asked about pods.
	s.create([]byte(`{apiVersion: v1, kind: Node, metadata: {name: node-a}}`))
	running := pod("web", caught, false)
	running.Spec.NodeName, running.Labels = "node-a", map[string]string{"app": "web"}
	var made *corev1.Pod
	clustertest.Eventually(s.t, "the pod being created", func() (err error) {
		made, err = s.kube.CoreV1().Pods("shop").Create(ctx, running, metav1.CreateOptions{})
		return err
	})
	id := strings.Repeat(strings.ReplaceAll(string(made.UID), "-", ""), 2)
	made.Status.Phase = corev1.PodRunning
	made.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ContainerID: "containerd://" + id, ImageID: caught}}
	made, err := s.kube.CoreV1().Pods("shop").UpdateStatus(ctx, made, metav1.UpdateOptions{})
	s.must(err)
	s.startWebhook(bin, git.folder())
	responder, sender := s.startResponder(bin)
	now := time.Now().UTC()
	event := programs.FalcoEvent{
		Hostname: "falco-a", Output: "Notice Redirect stdout/stdin to network connection", Priority: "Notice", Source: "syscall", Time: now,
		Rule: "Redirect STDOUT/STDIN to Network Connection in Container", Tags: []string{"T1059", "container", "mitre_execution"},
		Fields: map[string]any{
			"container.id": id[:12], "k8s.ns.name": "shop", "k8s.pod.name": made.Name, "k8s.pod.uid": string(made.UID), "proc.name": "bash", "proc.pname": "python3",
			"proc.cmdline": "bash -i", "fd.name": "10.244.0.7:51820->203.0.113.7:4444", "evt.time": now.UnixNano(),
		},
	}
	code, text, err := event.Post(ctx, sender, responder.EventsURL())
	if err != nil || code != 200 {
		s.t.Fatalf("an event was answered with %d %s: %v", code, text, err)
	}
	name := response.QuarantineName(string(made.UID))
	clustertest.Eventually(s.t, "the pod being contained", func() error {
		q, err := s.objects.Resource(Find("Quarantine").Resource).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if phase, _, _ := unstructured.NestedString(q.Object, "status", "phase"); phase != "Contained" {
			return fmt.Errorf("its status is %v", q.Object["status"])
		}
		return nil
	})
	clustertest.Eventually(s.t, "the verdicts", func() error {
		if got := s.verdicts(); got != wantedVerdicts {
			return errors.New(got)
		}
		return nil
	})
}

// status writes a status as the program does whose it is.
func (s *scene) status(kind, namespace, name string, status map[string]any) {
	s.t.Helper()
	object := s.get(kind, namespace, name)
	object.Object["status"] = status
	_, err := s.objects.Resource(Find(kind).Resource).Namespace(namespace).UpdateStatus(s.t.Context(), object, metav1.UpdateOptions{})
	s.must(err)
}

// backup takes one, always at the same time.
func (s *scene) backup() ([]byte, *Manifest) {
	s.t.Helper()
	var into bytes.Buffer
	manifest, _, err := Take(s.t.Context(), Options{Client: s.kube, Dynamic: s.objects, Namespace: own, Program: "test", Taken: time.Unix(1, 0)}, &into)
	s.must(err)
	return into.Bytes(), manifest
}

func (s *scene) restore(user string, archive *Archive, change func(*Restore)) (*Report, error) {
	s.t.Helper()
	kube, objects := s.as(user)
	r := Restore{Client: kube, Dynamic: objects, Namespace: own, Apply: true, Now: time.Now}
	if change != nil {
		change(&r)
	}
	return r.Run(s.t.Context(), archive)
}

// guard applies what the chart has that holds without the webhook, and rights: the tenant may write all our kinds and their statuses, and
// is no administrator.
func (s *scene) guard() {
	s.t.Helper()
	s.t.Chdir("../../../test/chart") // where the chart is found
	off := map[string]any{"enabled": false}
	rendered, err := chart.Render(chart.Options{Values: map[string]any{"webhook": off, "responder": off, "secrets": off}}) // as docs/backup.md has it
	s.must(err)
	objects, err := cluster.Parse([]byte(rendered.Manifest))
	s.must(err)
	for _, object := range objects {
		if strings.HasPrefix(object.GetKind(), "ValidatingAdmissionPolicy") && object.GetName() != "portcullis-break-glass" {
			text, err := object.MarshalJSON()
			s.must(err)
			s.create(text)
		}
	}
	s.create(Roles(own), []byte(`
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: nearly-everything}, rules: [
  {apiGroups: [policy.portcullis.dev, runtime.portcullis.dev, scan.portcullis.dev, secrets.portcullis.dev], resources: [policybundles, policybundles/status, policyrevisions, policyexceptions, quarantines, quarantines/status, quarantineevidences, incidents, imagescans, imagescans/status, vaultconnections, vaultauths, vaultsecrets, vaultpushes, vaultpushes/status, vaultleases], verbs: ["*"]},
  {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get]}, {apiGroups: [""], resources: [namespaces], verbs: [get]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: nearly-everything}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: nearly-everything}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: tenant}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: restorer}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-restore}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: restorer}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: restorer, namespace: portcullis-system}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: portcullis-restore}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: restorer}]}
`))
}

// count adds up over all kinds.
func count(r *Report, outcome Outcome) (n int) {
	for _, kind := range r.Kinds {
		n += kind.Count[outcome]
	}
	return n
}

// rights says who may restore.
func (s *scene) rights(archive *Archive) {
	t := s.t
	t.Run("whoever may not write it is told what is missing", func(t *testing.T) {
		_, err := s.restore("nobody", archive, nil)
		if missing := (*RightsError)(nil); !errors.As(err, &missing) || !slices.Contains(missing.Missing, "update quarantines/status.runtime.portcullis.dev") || !slices.Contains(missing.Missing, "create policybundles.policy.portcullis.dev") {
			t.Errorf("got %v, want the rights to be named", err)
		}
	})
	t.Run("a tenant who may write all by RBAC restores no quarantine", func(t *testing.T) {
		dry := func(r *Restore) {
			r.Apply, r.Only = false, []*Kind{Find("Quarantine"), Find("Incident"), Find("VaultLease")}
		}
		// The API server takes a second to compile new policies.
		clustertest.Eventually(t, "the guards refuse it", func() error {
			report, err := s.restore("tenant", archive, dry)
			if err != nil {
				return err
			}
			if got := count(report, Created); got > 0 || report.Failed() == 0 || !strings.Contains(report.Failures[0].Why, "somebody who administers Portcullis") {
				return fmt.Errorf("%d would be created, refused are %v", got, report.Failures)
			}
			return nil
		})
	})
}

// restored restores, in all ways in which that may go.
func (s *scene) restored(archive *Archive, git *repository, was, quarantine *unstructured.Unstructured) {
	t, ctx := s.t, s.t.Context()
	total := archive.Manifest.Objects()
	t.Run("a dry run says what would become of it, and writes nothing", func(t *testing.T) {
		report, err := s.restore("restorer", archive, func(r *Restore) { r.Apply = false })
		if err != nil {
			t.Fatal(err)
		}
		if got := count(report, Created); got != total-1 || count(report, Ended) != 1 || report.Same {
			t.Errorf("%d of %d would be created, %d are over, refused are %v; want all but one exception, in another cluster", got, total, count(report, Ended), report.Failures)
		}
		if list, err := s.objects.Resource(policiesv1alpha1.Revisions).List(ctx, metav1.ListOptions{}); err != nil || len(list.Items) > 0 {
			t.Errorf("there are %d revisions, %v", len(list.Items), err)
		}
	})
	t.Run("not while a program acts that would act on it", func(t *testing.T) {
		now := metav1.NewMicroTime(time.Now())
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "portcullis-responder", Namespace: own}, Spec: coordinationv1.LeaseSpec{HolderIdentity: new("one"), RenewTime: &now, LeaseDurationSeconds: new(int32(600))}}
		if _, err := s.kube.CoordinationV1().Leases(own).Create(ctx, lease, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		_, err := s.restore("restorer", archive, nil)
		if acting := (*ActingError)(nil); !errors.As(err, &acting) || !slices.Equal(acting.Programs, []string{"portcullis-responder"}) || !strings.Contains(err.Error(), "--selector 'app.kubernetes.io/component in (responder)' --replicas=0") {
			t.Errorf("got %v, want it to name the responder", err)
		}
		if err := s.kube.CoordinationV1().Leases(own).Delete(ctx, lease.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	// What applies a repository was here first: the PolicyBundle is there, and nobody has said anything of it yet. And a restore was interrupted.
	s.refresh()
	s.create(git.policyBundle())
	interrupted, cancel := context.WithCancel(ctx)
	kube, objects := s.as("restorer")
	stopping := Restore{Client: kube, Dynamic: objects, Namespace: own, Apply: true, Now: func() time.Time { cancel(); return time.Now() }}
	if _, err := stopping.Run(interrupted, archive); err == nil {
		t.Error("a restore that was interrupted says that it is done")
	}
	report, err := s.restore("restorer", archive, nil)
	s.must(err)
	if got := count(report, Created) + count(report, Kept) + count(report, Completed); got != total-1 || count(report, Ended) != 1 || report.Failed() > 0 {
		t.Errorf("%d of %d are there, %d are over; refused are %v, and %v differ", got, total, count(report, Ended), report.Failures, report.Differing)
	}
	if status, _, _ := unstructured.NestedString(s.get("PolicyBundle", "", "platform").Object, "status", "active", "digest"); status == "" || status != digestIn(was) {
		t.Errorf("the bundle that was there has the active revision %q, want %q", status, digestIn(was))
	}
	t.Run("again, nothing changes", func(t *testing.T) {
		state, _ := s.backup()
		report, err := s.restore("restorer", archive, func(r *Restore) { r.Overwrite = true })
		if err != nil {
			t.Fatal(err)
		}
		if got := count(report, Kept); got != total-1 {
			t.Errorf("%d of %d are said to be the same: %v", got, total-1, report.Kinds)
		}
		if again, _ := s.backup(); !bytes.Equal(state, again) {
			t.Error("something was written")
		}
	})
	t.Run("what says something else stays, unless it is to be overwritten", func(t *testing.T) {
		patch := []byte(`{"spec":{"reason":"changed here"}}`)
		if _, err := s.objects.Resource(policiesv1alpha1.Exceptions).Namespace("shop").Patch(ctx, "agent", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		only := func(r *Restore) { r.Only = []*Kind{Find("PolicyException")} }
		report, err := s.restore("restorer", archive, only)
		if err != nil || count(report, Differs) != 1 || len(report.Kinds) != 1 {
			t.Errorf("got %v and %v, want one that differs", report, err)
		}
		report, err = s.restore("restorer", archive, func(r *Restore) { only(r); r.Overwrite = true })
		if reason, _, _ := unstructured.NestedString(s.get("PolicyException", "shop", "agent").Object, "spec", "reason"); err != nil || count(report, Overwritten) != 1 || reason != "reads logs" {
			t.Errorf("got %v and %v, want one that was overwritten; its reason is %q", report, err, reason)
		}
	})
	t.Run("a namespace that is missing is named", func(t *testing.T) {
		other := newArchive(t, "PolicyException", `{"apiVersion":"policy.portcullis.dev/v1alpha1","kind":"PolicyException","metadata":{"name":"a","namespace":"nowhere","uid":"u"},"spec":{"policy":"p","reason":"r","owner":"o","expires":"2036-01-31","selector":{"clusterScoped":true}}}`)
		report, err := s.restore("restorer", other, nil)
		if err != nil || report.Failed() != 1 || !strings.Contains(report.Failures[0].Why, "the namespace nowhere is not there: create it") {
			t.Errorf("got %v and %v, want the namespace to be named", report, err)
		}
	})
}

func digestIn(bundle *unstructured.Unstructured) string {
	digest, _, _ := unstructured.NestedString(bundle.Object, "status", "active", "digest")
	return digest
}

// newArchive is one with a single object.
func newArchive(t *testing.T, kindName, object string) *Archive {
	t.Helper()
	kind := Find(kindName)
	var into bytes.Buffer
	w, err := newWriter(&into)
	if err != nil {
		t.Fatal(err)
	}
	of := Contents{Resource: kind.Name(), APIVersion: kind.Resource.GroupVersion().String(), Kind: kind.Kind}
	if err := w.page(&of, [][]byte{[]byte(object + "\n")}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.end(&Manifest{Kinds: []Contents{of}}); err != nil {
		t.Fatal(err)
	}
	archive, err := Open(opened(into.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

// goesOn looks at what programs make of what was restored.
func (s *scene) goesOn(git *repository, was, quarantine *unstructured.Unstructured) {
	t, ctx := s.t, s.t.Context()
	if got := digestIn(s.get("PolicyBundle", "", "platform")); got != digestIn(was) {
		t.Errorf("%s judges, want %s", got, digestIn(was))
	}
	condition := func(kind string) string {
		conditions, _, _ := unstructured.NestedSlice(s.get("PolicyBundle", "", "platform").Object, "status", "conditions")
		for _, c := range conditions {
			if one := c.(map[string]any); one["type"] == kind {
				return fmt.Sprint(one["status"])
			}
		}
		return ""
	}
	clustertest.Eventually(t, "the status of the bundle saying that Git is away, and that replicas have loaded it", func() error {
		if fetched, ready := condition("Fetched"), condition("Ready"); fetched != "False" || ready != "True" {
			return fmt.Errorf("Fetched is %q, Ready is %q", fetched, ready)
		}
		return nil
	})
	git.start()
	patch := []byte(`{"spec":{"interval":"11s"}}`) // it is looked at now, and not after the wait that failures have made long
	if _, err := s.objects.Resource(policiesv1alpha1.Bundles).Patch(ctx, "platform", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the status of the bundle catching up when Git is there again", func() error {
		if fetched, accepted := condition("Fetched"), condition("Accepted"); fetched != "True" || accepted != "True" {
			return fmt.Errorf("Fetched is %q, Accepted is %q", fetched, accepted)
		}
		return nil
	})
	if got := digestIn(s.get("PolicyBundle", "", "platform")); got != digestIn(was) {
		t.Errorf("with Git %s judges, want %s", got, digestIn(was))
	}
	clustertest.Eventually(t, "the responder seeing that the pod is gone", func() error {
		now := s.get("Quarantine", "", quarantine.GetName())
		phase, _, _ := unstructured.NestedString(now.Object, "status", "phase")
		gone, _, _ := unstructured.NestedBool(now.Object, "status", "podGone")
		if phase != "Contained" || !gone {
			return fmt.Errorf("its phase is %s, and the pod is gone: %t", phase, gone)
		}
		return nil
	})
	s.evidence(quarantine)

	if list, err := s.objects.Resource(policiesv1alpha1.BreakGlasses).List(ctx, metav1.ListOptions{}); err != nil || len(list.Items) > 0 {
		t.Errorf("the glass is broken again: %v, %v", list, err)
	}
	if version, _, _ := unstructured.NestedInt64(s.get("VaultPush", "shop", "made").Object, "status", "version"); version != 3 {
		t.Errorf("version %d is said to have been pushed, want 3", version)
	}
	if statement, _, _ := unstructured.NestedString(s.get("ImageScan", "", "sha256-"+strings.Repeat("c", 64)).Object, "status", "statement"); statement != "aGVsbG8=" {
		t.Errorf("the signed scan is %q", statement)
	}
	leases, err := s.objects.Resource(Find("VaultLease").Resource).Namespace(own).List(ctx, metav1.ListOptions{})
	if err != nil || len(leases.Items) != 1 {
		t.Fatalf("there are %d leases (%v), want the one of before", len(leases.Items), err)
	}
	// What is deleted is gone: nothing waits for a program that is not there.
	if err := s.objects.Resource(Find("VaultSecret").Resource).Namespace("shop").Delete(ctx, "db", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.objects.Resource(Find("VaultSecret").Resource).Namespace("shop").Get(ctx, "db", metav1.GetOptions{}); err == nil {
		t.Error("a VaultSecret that was deleted waits for its finalizer")
	}
}

// evidence is of the Quarantine as it is here, so that the garbage collector keeps it as long as that.
func (s *scene) evidence(quarantine *unstructured.Unstructured) {
	s.t.Helper()
	now := s.get("Quarantine", "", quarantine.GetName())
	list, err := s.objects.Resource(Find("QuarantineEvidence").Resource).List(s.t.Context(), metav1.ListOptions{FieldSelector: "quarantine=" + quarantine.GetName()})
	s.must(err)
	if len(list.Items) == 0 {
		s.t.Error("the evidence is gone")
	}
	for n := range list.Items {
		owners := list.Items[n].GetOwnerReferences()
		if len(owners) != 1 || owners[0].UID != now.GetUID() {
			s.t.Errorf("the evidence %s is of %v, want it of the Quarantine %s", list.Items[n].GetName(), owners, now.GetUID())
		}
	}
}
