package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// CVE-2021-25735: for updates of nodes admission was shown the old object with fields
// of the new one, so a label could change unseen.
func TestBypass40OldAndNewNodeAreEvaluatedAsGiven(t *testing.T) {
	env := shared
	ctx := t.Context()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", Labels: map[string]string{"example.com/zone": "a"}}}
	_, err := env.admin.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	must(t, err)

	for name, patch := range map[string]string{
		"another zone": `{"metadata":{"labels":{"example.com/zone":"b"}}}`,
		"no zone":      `{"metadata":{"labels":{"example.com/zone":null}}}`,
	} {
		_, err = env.admin.CoreV1().Nodes().Patch(ctx, "node-1", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		t.Run(name, func(t *testing.T) { wantDenied(t, err, "e2e/node-labels", `from "a"`) })
	}
	_, err = env.admin.CoreV1().Nodes().Patch(ctx, "node-1", types.MergePatchType, []byte(`{"metadata":{"labels":{"example.com/rack":"7"}}}`), metav1.PatchOptions{})
	wantAdmitted(t, err)
}

// On DELETE the object is in oldObject, and a deletion of many has no name.
func TestBypass41DeletionsAreEvaluated(t *testing.T) {
	env := shared
	ctx := t.Context()
	label := map[string]string{"example.com/protected": "true"}

	t.Run("of a namespace", func(t *testing.T) {
		namespace := parse[corev1.Namespace](t, restrictedNamespace("protected"))
		namespace.Labels["example.com/protected"] = "true"
		_, err := env.admin.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
		must(t, err)
		wantDenied(t, env.admin.CoreV1().Namespaces().Delete(ctx, "protected", metav1.DeleteOptions{}), "e2e/protected")
	})
	t.Run("of a whole collection", func(t *testing.T) {
		maps := env.admin.CoreV1().ConfigMaps("team")
		for name, labels := range map[string]map[string]string{"kept": label, "plain": nil} {
			_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
			must(t, err)
		}
		wantDenied(t, maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}), "e2e/protected")
		_, err := maps.Get(ctx, "kept", metav1.GetOptions{})
		wantAdmitted(t, err)
		must(t, maps.Delete(ctx, "plain", metav1.DeleteOptions{}))
	})
}
