package destination

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// SSCSI #298, #364, #390: what was synced went stale unless a pod mounted it. Here no pod exists at all.
func TestASecretFollowsVaultWithoutAnyPodThatMountsIt(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db")
	status, outcome := b.write(owner, s, data("password=one", "user=shop"), nil)
	if outcome != (Outcome{Created: true}) {
		t.Errorf("got %+v, want it created", outcome)
	}
	b.holds("db", "password=one", "user=shop")
	made := b.get("db")
	if string(made.UID) != status.UID || made.ResourceVersion != status.ResourceVersion || status.Kind != "Secret" || made.Type != corev1.SecretTypeOpaque {
		t.Errorf("got %+v, want what was made: %s %s %s", status, made.UID, made.ResourceVersion, made.Type)
	}
	if c := metav1.GetControllerOf(made); c == nil || string(c.UID) != owner.UID || *c.BlockOwnerDeletion {
		t.Errorf("got the controller %+v, want the VaultSecret, which blocks nothing", c)
	}
	if got, want := made.Annotations[v1alpha1.HashAnnotation], b.hasher.Data(data("password=one", "user=shop")); got != want {
		t.Errorf("got the hash %s, want the keyed one %s", got, want)
	}

	again, outcome := b.write(owner, s, data("password=one", "user=shop"), status)
	if outcome != (Outcome{}) || again.ResourceVersion != status.ResourceVersion {
		t.Errorf("the same again: got %+v %+v, want nothing written", outcome, again)
	}
	status, outcome = b.write(owner, s, data("password=two"), again) // a key went
	if outcome != (Outcome{Changed: true}) || status.UID != again.UID {
		t.Errorf("other values: got %+v, want it changed in place", outcome)
	}
	b.holds("db", "password=two")
	status, _ = b.write(owner, s, data("password=three", "port=1"), status)
	b.holds("db", "password=three", "port=1")
	_, _ = b.write(owner, s, data("password=three"), status)
	b.holds("db", "password=three")
	if requests := b.requests(); slices.Contains(requests, "list secrets") || len(requests) == 0 {
		t.Errorf("got %q, want requests, and never a list", requests)
	}
}

// VSO #337, #748: Secrets that existed were overwritten.
func TestASecretOfSomebodyElseIsNeverOverwritten(t *testing.T) {
	b := newBench(t)
	adopting := func(spec *v1alpha1.VaultSecretSpec) { spec.Destination.Adopt = true }
	for i, c := range []struct {
		what   string
		theirs func(*corev1.Secret)
		adopt  bool
		says   string
	}{
		{"it exists and nobody said to take it over", func(*corev1.Secret) {}, false, "set destination.adopt"},
		{"it says that we manage it, which anybody can write", func(s *corev1.Secret) {
			s.Labels = map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedBy}
		}, false, "set destination.adopt"},
		{"it has a controller", func(s *corev1.Secret) {
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "kube-root-ca.crt", UID: rootCA(b), Controller: new(true)}}
		}, true, "belongs to the ConfigMap"},
		{"Helm manages it", func(s *corev1.Secret) { s.Labels = map[string]string{v1alpha1.ManagedByLabel: "Helm"} }, true, "managed by Helm"},
		{"Argo CD tracks it", func(s *corev1.Secret) { s.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "shop"} }, true, "managed by Argo CD"},
		{"it has another type", func(s *corev1.Secret) {
			s.Type, s.Data = corev1.SecretTypeBasicAuth, map[string][]byte{"username": []byte("u"), "password": []byte("p")}
		}, true, `the type "kubernetes.io/basic-auth"`},
		{"it is a bootstrap token", func(s *corev1.Secret) { s.Type = corev1.SecretTypeBootstrapToken }, true, "never taken over"},
		{"it is immutable", func(s *corev1.Secret) { s.Immutable = new(true) }, true, "immutable"},
	} {
		t.Run(c.what, func(t *testing.T) {
			b.t = t
			name := fmt.Sprintf("theirs-%d", i)
			s, owner := b.secret(name, func(spec *v1alpha1.VaultSecretSpec) {
				if c.adopt {
					adopting(spec)
				}
			})
			before := b.make(name, c.theirs)
			b.refused(owner, s, data("password=ours"), nil, secrets.NotOurs, c.says)
			if after := b.get(name); after.ResourceVersion != before.ResourceVersion {
				t.Errorf("got it changed: %v", after.ManagedFields)
			}
		})
	}
}

func rootCA(b *bench) types.UID {
	var uid types.UID
	clustertest.Eventually(b.t, "a ConfigMap", func() error {
		m, err := b.admin.CoreV1().ConfigMaps(b.namespace).Get(b.t.Context(), "kube-root-ca.crt", metav1.GetOptions{})
		if err == nil {
			uid = m.UID
		}
		return err
	})
	return uid
}

func TestWhatIsTakenOverIsReplacedAndNeverDeleted(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db", func(spec *v1alpha1.VaultSecretSpec) { spec.Destination.Adopt = true })
	theirs := b.make("db", func(s *corev1.Secret) { s.Labels = map[string]string{"team": "shop"} })
	status, _ := b.write(owner, s, data("password=one"), nil)
	b.holds("db", "password=one")
	if got := b.get("db"); got.UID != theirs.UID || got.Labels["team"] != "shop" || len(got.OwnerReferences) != 0 || !status.Adopted {
		t.Errorf("got %v %v %+v, want the same object, without owner, and it written down", got.Labels, got.OwnerReferences, status)
	}
	lost, _ := b.write(owner, s, data("password=two"), nil) // the status was lost with a crash
	if !lost.Adopted || len(b.get("db").OwnerReferences) != 0 {
		t.Errorf("without a status: got %+v, want it known to be somebody else's before", lost)
	}
	s.Spec.Destination.Type = "kubernetes.io/basic-auth"
	b.refused(owner, s, data("username=u", "password=p"), lost, secrets.NotOurs, "cannot be changed without deleting it")
	b.must(b.writer.Delete(t.Context(), owner, lost, false))
	b.must(b.writer.Delete(t.Context(), owner, lost, false))
	b.holds("db", "password=two")
	if got := b.get("db"); got.Annotations[AdoptedAnnotation] != "" || got.Annotations[v1alpha1.OwnerAnnotation] != "" || got.Labels[v1alpha1.ManagedByLabel] != "" {
		t.Errorf("got %v %v, want our marks gone", got.Labels, got.Annotations)
	}
}

func TestDriftIsSeenAndRepaired(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db", func(spec *v1alpha1.VaultSecretSpec) {
		spec.Destination.Labels, spec.Destination.Annotations = map[string]string{"team": "shop", "tier": "1"}, map[string]string{"example.com/note": "x"}
	})
	content := func() secrets.Data { return data("password=one", "user=shop") }
	hash := b.hasher.Data(content())
	status, _ := b.write(owner, s, content(), nil)
	for _, c := range []struct {
		what  string
		drift func()
		// metadata alone is not seen by Drifted, which does not know what was asked for.
		metadata bool
	}{
		{"a value", func() { b.change("db", func(s *corev1.Secret) { s.Data["password"] = []byte("theirs") }) }, false},
		{"a key that went", func() { b.change("db", func(s *corev1.Secret) { delete(s.Data, "user") }) }, false},
		{"a key that somebody added", func() { b.change("db", func(s *corev1.Secret) { s.Data["a/b~c"[:1]] = []byte("x") }) }, false},
		{"a key that another manager applies", func() {
			_, err := b.admin.CoreV1().Secrets(b.namespace).Patch(t.Context(), "db", types.ApplyPatchType, []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"data":{"extra":"eA=="}}`), metav1.PatchOptions{FieldManager: "other"})
			b.must(err)
		}, false},
		{"a label", func() { b.change("db", func(s *corev1.Secret) { s.Labels["team"] = "other" }) }, true},
		{"an annotation that went", func() { b.change("db", func(s *corev1.Secret) { delete(s.Annotations, "example.com/note") }) }, true},
		{"the owner", func() { b.change("db", func(s *corev1.Secret) { s.OwnerReferences = nil }) }, true},
		{"the hash", func() { b.change("db", func(s *corev1.Secret) { s.Annotations[v1alpha1.HashAnnotation] = "x" }) }, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			b.t = t
			c.drift()
			if drifted, err := b.writer.Drifted(t.Context(), owner, status, hash); err != nil || drifted == c.metadata {
				t.Errorf("Drifted: got %t %v, want %t", drifted, err, !c.metadata)
			}
			if drifted, err := b.writer.DriftedFrom(t.Context(), owner, s, status, hash); err != nil || !drifted {
				t.Errorf("DriftedFrom: got %t %v, want true", drifted, err)
			}
			var outcome Outcome
			status, outcome = b.write(owner, s, content(), status)
			if c.what != "the hash" && outcome != (Outcome{Repaired: true}) {
				t.Errorf("got %+v, want it repaired", outcome)
			}
			b.holds("db", "password=one", "user=shop")
			got := b.get("db")
			if got.Labels["team"] != "shop" || got.Annotations["example.com/note"] != "x" || len(got.OwnerReferences) != 1 || got.Annotations[v1alpha1.HashAnnotation] != hash {
				t.Errorf("got %v %v %v", got.Labels, got.Annotations, got.OwnerReferences)
			}
			if drifted, err := b.writer.DriftedFrom(t.Context(), owner, s, status, hash); err != nil || drifted {
				t.Errorf("afterwards: got %t %v, want no drift", drifted, err)
			}
		})
	}
	b.t = t
	b.change("db", func(s *corev1.Secret) { s.Labels["mine"] = "theirs" })
	if drifted, err := b.writer.DriftedFrom(t.Context(), owner, s, status, hash); err != nil || drifted {
		t.Errorf("a label of theirs: got %t %v, want it left alone", drifted, err)
	}
	delete(s.Spec.Destination.Labels, "tier")
	status, _ = b.write(owner, s, content(), status)
	if got := b.get("db").Labels; got["tier"] != "" || got["mine"] != "theirs" {
		t.Errorf("got %v, want the label gone that is not asked for any more, and no other", got)
	}
	// Another hash key: what is there says nothing, and is not written for it but for the annotation.
	b.writer.hasher = secrets.NewHasher(secrets.ValueOf("another key of 32 bytes.........."))
	if _, outcome := b.write(owner, s, content(), status); outcome.Changed {
		t.Errorf("another hash key: got %+v, want no change", outcome)
	}
}

func TestASecretThatSomebodyDeletesIsMadeAgainAndOneThatIsMadeAnewIsNot(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db")
	status, _ := b.write(owner, s, data("password=one"), nil)
	hash := b.hasher.Data(data("password=one"))
	b.must(b.admin.CoreV1().Secrets(b.namespace).Delete(t.Context(), "db", metav1.DeleteOptions{}))
	if drifted, err := b.writer.Drifted(t.Context(), owner, status, hash); err != nil || !drifted {
		t.Errorf("deleted: got %t %v", drifted, err)
	}
	next, outcome := b.write(owner, s, data("password=one"), status)
	if outcome != (Outcome{Created: true, Repaired: true}) || next.UID == status.UID {
		t.Errorf("got %+v %+v, want it made anew", outcome, next)
	}
	b.must(b.admin.CoreV1().Secrets(b.namespace).Delete(t.Context(), "db", metav1.DeleteOptions{}))
	theirs := b.make("db")
	b.refused(owner, s, data("password=one"), next, secrets.NotOurs, "was not made by this VaultSecret")
	b.must(b.writer.Delete(t.Context(), owner, next, false)) // ESO #4560, #4214: nor is it deleted
	if got := b.get("db"); got.ResourceVersion != theirs.ResourceVersion {
		t.Error("got what somebody made anew changed")
	}

	// The apply itself carries the UID, for what changes between the look and the write.
	wanted := b.writer.wanted(owner, s, data("password=one"), place{"Secret", b.namespace, "db"})
	wanted.UID = types.UID(next.UID)
	if _, err := b.writer.objects.apply(t.Context(), wanted); !again(err) {
		t.Errorf("applying to another object: got %v, want a conflict", err)
	}
	b.must(b.admin.CoreV1().Secrets(b.namespace).Delete(t.Context(), "db", metav1.DeleteOptions{}))
	if _, err := b.writer.objects.apply(t.Context(), wanted); !again(err) || !b.gone("db") {
		t.Errorf("applying to nothing: got %v, want a conflict, and nothing made", err)
	}
}

func TestACrashBetweenWriteAndStatusIsGoneOnFrom(t *testing.T) {
	b := newBench(t)
	for _, deletion := range []string{"", v1alpha1.Retain} {
		name := "db" + strings.ToLower(deletion)
		s, owner := b.secret(name, func(spec *v1alpha1.VaultSecretSpec) { spec.Deletion.WhenDeleted = deletion })
		first, _ := b.write(owner, s, data("password=one"), nil)
		second, outcome := b.write(owner, s, data("password=two"), nil)
		if second.UID != first.UID || outcome != (Outcome{Changed: true}) || second.Adopted {
			t.Errorf("WhenDeleted %q: got %+v %+v, want the same Secret, as ours", deletion, second, outcome)
		}
		b.refused(Owner{Namespace: b.namespace, Name: name, UID: "another"}, s, data("password=x"), nil, secrets.NotOurs, "")
	}
}

// ESO #4560, #4214: Secrets went when nobody expected it.
func TestASecretGoesWithItsVaultSecretOnlyWhereItIsToldTo(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("goes")
	b.write(owner, s, data("password=one"), nil)
	kept, keptOwner := b.secret("stays", func(spec *v1alpha1.VaultSecretSpec) { spec.Deletion.WhenDeleted = v1alpha1.Retain })
	status, _ := b.write(keptOwner, kept, data("password=one"), nil)
	changed, changedOwner := b.secret("changed")
	first, _ := b.write(changedOwner, changed, data("password=one"), nil)
	changed.Spec.Deletion.WhenDeleted = v1alpha1.Retain // somebody thinks better of it
	b.write(changedOwner, changed, data("password=one"), first)
	if refs := b.get("changed").OwnerReferences; len(refs) != 0 {
		t.Errorf("got the owners %v, want none where it is to be retained", refs)
	}
	// Nobody runs but the garbage collector: the operator is gone with its definitions, say.
	for _, name := range []string{"goes", "stays", "changed"} {
		b.must(b.objects.Resource(v1alpha1.VaultSecrets).Namespace(b.namespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	clustertest.Until(t, "the Secret goes with its VaultSecret", func() bool { return b.gone("goes") })
	b.holds("stays", "password=one")
	b.holds("changed", "password=one")
	b.permit(*kept)
	b.must(b.writer.Delete(t.Context(), keptOwner, status, true))
	b.holds("stays", "password=one")
	again, next := b.secret("stays")
	b.refused(next, again, data("password=two"), nil, secrets.NotOurs, "destination.adopt")
	again.Spec.Destination.Adopt = true
	if status, _ := b.write(next, again, data("password=two"), nil); !status.Adopted {
		t.Errorf("got %+v, want what was retained taken over", status)
	}

	deleted, o := b.secret("deleted")
	status, _ = b.write(o, deleted, data("password=one"), nil)
	b.must(b.writer.Delete(t.Context(), o, status, false))
	if !b.gone("deleted") {
		t.Error("got it still there, want it deleted")
	}
	b.must(b.writer.Delete(t.Context(), o, status, false))
	b.must(b.writer.Delete(t.Context(), o, nil, false))
}

func TestAChangedTypeIsMadeAnewUnderTheUID(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db")
	status, _ := b.write(owner, s, data("username=u", "password=p"), nil)
	s.Spec.Destination.Type = "kubernetes.io/basic-auth"
	next, outcome := b.write(owner, s, data("username=u", "password=p"), status)
	if got := b.get("db"); got.Type != corev1.SecretTypeBasicAuth || next.UID == status.UID || !outcome.Created || string(got.UID) != next.UID {
		t.Errorf("got %s %+v %+v, want another Secret of the type", got.Type, next, outcome)
	}
	b.change("db", func(s *corev1.Secret) { s.Immutable = new(true) }) // somebody froze it
	final, _ := b.write(owner, s, data("username=u", "password=q"), next)
	if got := b.get("db"); got.Immutable != nil || string(got.UID) != final.UID {
		t.Errorf("got %v, want it made anew, and not immutable", got.Immutable)
	}
	b.holds("db", "username=u", "password=q")
}

func TestWhatIsAskedForIsHeldToLimits(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db")
	for _, key := range []string{"secrets.portcullis.dev/hash", "runtime.portcullis.dev/quarantine", "policy.portcullis.dev/x", "portcullis.dev/x", v1alpha1.ManagedByLabel, "kubernetes.io/service-account.name", "kubectl.kubernetes.io/last-applied-configuration", "meta.helm.sh/release-name"} {
		s.Spec.Destination.Labels = map[string]string{key: "x"}
		b.refused(owner, s, data("password=one"), nil, secrets.Misconfigured, key)
		s.Spec.Destination.Labels, s.Spec.Destination.Annotations = nil, map[string]string{key: "x"}
		b.refused(owner, s, data("password=one"), nil, secrets.Misconfigured, key)
		s.Spec.Destination.Annotations = nil
	}
	s.Spec.Destination.Labels = map[string]string{"app.kubernetes.io/name": "shop", "notportcullis.dev/x": "y"}
	b.refused(owner, s, data("big="+strings.Repeat("x", MostBytes)), nil, secrets.Unfit, "1 MiB")
	b.refused(owner, s, data("bad key=canary-value"), nil, secrets.Unfit, "invalid")
	s.Spec.Destination.Type = "kubernetes.io/dockerconfigjson"
	_, _, err := b.writer.Write(t.Context(), owner, s, data(".dockerconfigjson=canary-value"), nil)
	if secrets.ReasonOf(err) != secrets.Unfit || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v, want Unfit without what is in it", err)
	}
	s.Spec.Destination.Type = ""
	s.Spec.Destination.Kind = v1alpha1.KindConfigMap
	b.refused(owner, s, data("password=one"), nil, secrets.Misconfigured, "public keys only")
	s.Spec.Destination.Kind = ""
	b.write(owner, s, data("large="+strings.Repeat("x", MostBytes-10)), nil)
}

func TestPublicKeysAreWrittenIntoAConfigMap(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("keys", func(spec *v1alpha1.VaultSecretSpec) {
		spec.Source = v1alpha1.Source{Transit: &v1alpha1.TransitSource{Key: "release", PublicKeys: true}}
		spec.Destination.Kind = v1alpha1.KindConfigMap
	})
	status, _ := b.write(owner, s, data("release.pem=one"), nil)
	b.write(owner, s, data("release.pem=two", "release-v1.pem=one"), status)
	m, err := b.admin.CoreV1().ConfigMaps(b.namespace).Get(t.Context(), "keys", metav1.GetOptions{})
	b.must(err)
	if m.Data["release.pem"] != "two" || m.Data["release-v1.pem"] != "one" || string(m.UID) != status.UID {
		t.Errorf("got %v", m.Data)
	}
	b.must(b.writer.Delete(t.Context(), owner, status, false))
}

func TestAMissingRoleIsNamedWithWhatPrintsIt(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db")
	b.must(b.admin.RbacV1().RoleBindings(b.namespace).Delete(t.Context(), v1alpha1.RoleName, metav1.DeleteOptions{}))
	clustertest.Eventually(t, "the Role does not count any more", func() error {
		_, _, err := b.writer.Write(t.Context(), owner, s, data("password=one"), nil)
		if secrets.ReasonOf(err) != secrets.ClusterForbidden {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	b.refused(owner, s, data("password=one"), nil, secrets.ClusterForbidden, `may not create secrets (for "db") in the namespace `+b.namespace+": apply the Role that `portcullis-secrets roles --namespace "+b.namespace+"` prints")
	_, err := b.writer.Drifted(t.Context(), owner, &v1alpha1.DestinationStatus{Kind: "Secret", Name: "db", UID: "x"}, "")
	if secrets.ReasonOf(err) != secrets.ClusterForbidden || !strings.Contains(err.Error(), `get secrets "db"`) {
		t.Errorf("got %v, want the verb, the resource and the name", err)
	}
}

func TestTheRoleOfANamespaceReadsNoOtherSecret(t *testing.T) {
	b := newBench(t)
	b.secret("db")
	b.make("other")
	if _, err := b.client.CoreV1().Secrets(b.namespace).Get(t.Context(), "other", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want it forbidden", err)
	}
	if _, err := b.client.CoreV1().Secrets(b.namespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want a list forbidden", err)
	}
}

func TestAnAPIServerThatIsNotReachedSaysSoWithoutAnAddress(t *testing.T) {
	b := newBench(t)
	s, owner := b.secret("db")
	ended, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	_, _, err := b.writer.Write(ended, owner, s, data("password=canary-value"), nil)
	if secrets.ReasonOf(err) != secrets.ClusterFailed || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "https://") {
		t.Errorf("got %v, want ClusterFailed", err)
	}
}
