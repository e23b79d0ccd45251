package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	policiesv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	secretsv1alpha1 "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// stateObjects are what is backed up.
const stateObjects = `
{apiVersion: policy.portcullis.dev/v1alpha1, kind: PolicyException, metadata: {name: agent, namespace: shop}, spec: {policy: pods/host-path, reason: reads logs, owner: ops, expires: "2036-01-31", selector: {namespaces: [shop]}}}
---
{apiVersion: policy.portcullis.dev/v1alpha1, kind: PolicyException, metadata: {name: over, namespace: shop}, spec: {policy: pods/host-path, reason: it was once, owner: ops, expires: "2026-01-31", selector: {namespaces: [shop]}}}
---
{apiVersion: secrets.portcullis.dev/v1alpha1, kind: VaultAuth, metadata: {name: vault, namespace: shop}, spec: {connection: main, appRole: {roleID: shop, secretRef: {name: approle}}}}
`

// told is what a run of the program has said.
type told struct {
	code        int
	out, errors string
}

// says runs the program in the name of somebody.
func says(t *testing.T, kubeconfig string, args ...string) told {
	t.Helper()
	var out, errors bytes.Buffer
	code := run(t.Context(), append(args, "--kubeconfig", kubeconfig), strings.NewReader(""), &out, &errors)
	t.Logf("portcullis %s: %d\n%s%s", strings.Join(args, " "), code, out.String(), errors.String())
	return told{code, out.String(), errors.String()}
}

func (s told) want(t *testing.T, code int, lines ...string) {
	t.Helper()
	if s.code != code {
		t.Errorf("got exit code %d, want %d", s.code, code)
	}
	for _, line := range lines {
		if !regexp.MustCompile(line).MatchString(s.out + s.errors) {
			t.Errorf("it says\n%s%swant %q", s.out, s.errors, line)
		}
	}
}

func TestBackupAndRestoreSayWhatTheyDo(t *testing.T) {
	control, client, kubeconfig := clustertest.Start(t, []cluster.User{{Name: "bob"}}, clustertest.Namespaces("portcullis-system", "shop"), policiesv1alpha1.Manifest, secretsv1alpha1.Manifest)
	clustertest.Serving(t, client, policiesv1alpha1.Exceptions, secretsv1alpha1.VaultAuths)
	createAll(t, control, stateObjects)
	file := filepath.Join(t.TempDir(), "b.tar.gz")

	taken := says(t, kubeconfig, "backup", "--output", file)
	taken.want(t, 0, `(?m)^policyexceptions.policy.portcullis.dev +2$`, `(?m)^quarantines.runtime.portcullis.dev +0 +the cluster does not know the kind$`, `: 3 objects, taken 20`, `(?m)^  shop/approle, for the VaultAuth shop/vault$`)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the archive has %v (%v), want it for its owner alone", info.Mode(), err)
	}
	digest := regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(taken.out)
	says(t, kubeconfig, "backup", "--output", file).want(t, 64, "nothing is overwritten")

	for _, name := range []string{"agent", "over"} {
		remove(t, client.Resource(policiesv1alpha1.Exceptions).Namespace("shop"), name)
	}
	remove(t, client.Resource(secretsv1alpha1.VaultAuths).Namespace("shop"), "vault")
	says(t, kubeconfig, "restore", file).want(t, 0, "These would come back; what was taken back since the backup is among them:\n  PolicyException shop/agent: waives pods/host-path until 2036-01-31: reads logs \\(ops\\)", "This would be restored into https://127.0.0.1:.*, the cluster that it was taken from", `(?m)^policyexceptions.policy.portcullis.dev +1 +0 +0 +0 +0 +1 +0$`,
		`(?m)^  PolicyException shop/over: it expired 2026-01-31$`, "shop/approle, for the VaultAuth shop/vault", "Nothing was written: --yes does")
	if list, err := client.Resource(policiesv1alpha1.Exceptions).List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 0 {
		t.Errorf("a dry run has written %d exceptions (%v)", len(list.Items), err)
	}
	says(t, kubeconfig, "restore", file, "--yes", "--digest", digest).want(t, 0, "Restored into", "Next: create these Secrets, start the programs")
	says(t, kubeconfig, "restore", file, "--yes").want(t, 0, `(?m)^policyexceptions.policy.portcullis.dev +0 +0 +0 +1 +0 +1 +0$`)

	t.Run("bad input", func(t *testing.T) {
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		half := filepath.Join(t.TempDir(), "half.tar.gz")
		if err := os.WriteFile(half, whole[:len(whole)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		says(t, kubeconfig, "restore", half, "--yes").want(t, 64, "it is truncated; copy it again")
		says(t, kubeconfig, "restore", file, "--digest", "sha256:"+strings.Repeat("0", 64)).want(t, 64, "it is another archive, or was changed")
		bob, err := control.Kubeconfig("bob")
		if err != nil {
			t.Fatal(err)
		}
		says(t, bob, "restore", file, "--yes").want(t, 4, "you may not get policyexceptions.policy.portcullis.dev, create policyexceptions.policy.portcullis.dev, .*--print-roles")
		none := filepath.Join(t.TempDir(), "none.tar.gz")
		says(t, bob, "backup", "--output", none).want(t, 4, "you may not list policybundles.policy.portcullis.dev, ")
		if _, err := os.Stat(none); err == nil {
			t.Error("half a backup is left")
		}
	})
	t.Run("what is refused is a fault, with the next step", func(t *testing.T) {
		remove(t, client.Resource(policiesv1alpha1.Exceptions).Namespace("shop"), "agent")
		remove(t, client.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")), "shop") // it ends never: no controller runs
		says(t, kubeconfig, "restore", file, "--yes").want(t, 4, "PolicyException shop/agent: the namespace shop is being deleted: wait until it is gone", "2 objects were refused: mend what is said of each")
	})
}

func createAll(t *testing.T, control *cluster.Cluster, manifests string) {
	t.Helper()
	config, err := control.Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	creator, err := cluster.NewCreator(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := creator.Create(t.Context(), []byte(manifests), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, from dynamic.ResourceInterface, name string) {
	t.Helper()
	if err := from.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}
