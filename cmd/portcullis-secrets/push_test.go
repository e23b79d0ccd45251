package main

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// pushes are subtests of TestTheProgram.
func pushes(t *testing.T, s *scene) {
	push := func(name, path, more string) string {
		return fmt.Sprintf("\napiVersion: secrets.portcullis.dev/v1alpha1\nkind: VaultPush\nmetadata: {name: %s, namespace: shop}\nspec:\n  auth: vault\n  destination: {mount: secret, path: shop/%s}\n%s", name, path, more)
	}
	t.Run("what is generated is kept, and another generator beside it changes nothing of it", func(t *testing.T) {
		s.apply(t, push("made", "made", "  generate: {password: {length: 24}, key: {privateKey: Ed25519}}\n"))
		first := s.push(t, "made", "")
		data, version := s.kv(t, "made")
		if len(data) != 3 || len(fmt.Sprint(data["password"])) != 24 || version != 1 || first.Status.Version != 1 || first.Status.Generated == nil {
			t.Fatalf("Vault holds %d keys in version %d, the status says %+v", len(data), version, first.Status)
		}
		s.patch(t, v1alpha1.VaultPushes, "made", `{"spec":{"generate":{"token":{"charset":"Hex"}}}}`)
		s.push(t, "made", "")
		again, version := s.kv(t, "made")
		if version != 2 || again["password"] != data["password"] || again["key"] != data["key"] || len(fmt.Sprint(again["token"])) != 32 {
			t.Errorf("version %d has other values, or not the new one", version)
		}
		s.annotate(t, v1alpha1.VaultPushes, "made")
		clustertest.Eventually(t, "the request being obeyed", func() error {
			now := s.push(t, "made", "")
			if now.Status.Requested != now.Annotations[v1alpha1.SyncAnnotation] {
				return fmt.Errorf("it is %q", now.Status.Requested)
			}
			return nil
		})
		if _, version := s.kv(t, "made"); version != 2 {
			t.Errorf("it was written again without need: version %d", version)
		}
	})
	t.Run("what somebody changed in Vault is as it was", func(t *testing.T) {
		data, _ := s.kv(t, "made")
		must(t, s.vault.WriteKV2(t.Context(), "secret", "shop/made", map[string]any{"password": "changed by hand"}))
		s.annotate(t, v1alpha1.VaultPushes, "made")
		clustertest.Until(t, "the repair", func() bool { _, version := s.kv(t, "made"); return version == 4 })
		if again, _ := s.kv(t, "made"); again["password"] != data["password"] || again["token"] != data["token"] {
			t.Error("the values are others than before")
		}
	})
	t.Run("values are made anew when they have had their time", func(t *testing.T) {
		s.apply(t, push("rotated", "rotated", "  generate: {password: {}}\n  rotateAfter: 10s\n"))
		s.push(t, "rotated", "")
		data, _ := s.kv(t, "rotated")
		clustertest.Until(t, "the second version", func() bool { _, version := s.kv(t, "rotated"); return version >= 2 })
		if again, _ := s.kv(t, "rotated"); again["password"] == data["password"] {
			t.Error("the value is the same")
		}
		must(t, s.api.Resource(v1alpha1.VaultPushes).Namespace("shop").Delete(t.Context(), "rotated", metav1.DeleteOptions{}))
	})
	t.Run("what somebody else wrote before is not touched", func(t *testing.T) {
		must(t, s.vault.WriteKV2(t.Context(), "secret", "shop/foreign", map[string]any{"password": "theirs"}))
		s.apply(t, push("foreign", "foreign", "  generate: {password: {}}\n"))
		s.push(t, "foreign", "NotOurs")
		if data, version := s.kv(t, "foreign"); version != 1 || data["password"] != "theirs" {
			t.Error("it was overwritten")
		}
		s.patch(t, v1alpha1.VaultPushes, "foreign", `{"spec":{"destination":{"overwrite":true}}}`)
		s.push(t, "foreign", "")
		if data, version := s.kv(t, "foreign"); version != 2 || data["password"] == "theirs" {
			t.Error("it was not taken over though the object says so")
		}
	})
	t.Run("a Secret is pushed by its name, and with its changes", func(t *testing.T) {
		_, err := s.kube.CoreV1().Secrets("shop").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "admin"}, StringData: map[string]string{"password": "first", "other": "kept back"}}, metav1.CreateOptions{})
		must(t, err)
		s.apply(t, push("admin", "admin", "  secret: {name: admin, keys: [password]}\n  whenDeleted: Delete\n"))
		s.push(t, "admin", "")
		if data, _ := s.kv(t, "admin"); len(data) != 1 || data["password"] != "first" {
			t.Errorf("Vault holds %d keys", len(data))
		}
		changed := s.held(t, "admin")
		changed.Data["password"] = []byte("second")
		_, err = s.kube.CoreV1().Secrets("shop").Update(t.Context(), changed, metav1.UpdateOptions{})
		must(t, err)
		s.annotate(t, v1alpha1.VaultPushes, "admin")
		clustertest.Until(t, "the second value", func() bool { data, _ := s.kv(t, "admin"); return data["password"] == "second" })
		must(t, s.kube.CoreV1().Secrets("shop").Delete(t.Context(), "admin", metav1.DeleteOptions{}))
		s.annotate(t, v1alpha1.VaultPushes, "admin")
		s.push(t, "admin", "MissingReference")
	})
	t.Run("what was pushed goes with its object where that says so, and stays otherwise", func(t *testing.T) {
		for _, name := range []string{"admin", "made"} {
			must(t, s.api.Resource(v1alpha1.VaultPushes).Namespace("shop").Delete(t.Context(), name, metav1.DeleteOptions{}))
			clustertest.Eventually(t, name+" being gone", func() error {
				if _, err := read[v1alpha1.VaultPush](t.Context(), s, v1alpha1.VaultPushes, name); err == nil {
					return fmt.Errorf("it is there")
				}
				return nil
			})
		}
		if data, _ := s.kv(t, "admin"); data != nil {
			t.Error("the pushed Secret is still in Vault")
		}
		if data, _ := s.kv(t, "made"); data == nil {
			t.Error("what was made is not in Vault any more")
		}
	})
	t.Run("what policies deny is not pushed", func(t *testing.T) {
		s.apply(t, push("denied", "forbidden", "  generate: {password: {}}\n  refresh: {interval: 10s}\n"))
		s.push(t, "denied", "Denied")
		if _, version := s.kv(t, "forbidden"); version != 1 {
			t.Error("it was written")
		}
	})
}
