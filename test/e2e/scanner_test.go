package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/process"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// scannerUser is whom the scanner logs in as.
const scannerUser = "portcullis-scanner"

// The roles of v1alpha1.Manifest, and the right of a webhook to look up the controllers of pods.
const (
	scannerRole   = "portcullis-scanner"
	requesterRole = "portcullis-scan-requester"
	ownerRole     = "portcullis-owner-reader"
)

// installScans installs the custom resource ImageScan with its roles, as `portcullis-scanner crd` prints them,
// and gives them to whoever needs them.
func installScans(ctx context.Context, env *environment) error {
	if _, err := env.creator.Create(ctx, v1alpha1.Manifest, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("installing ImageScans: %w", err)
	}
	owners := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: ownerRole}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"apps"}, Resources: []string{"replicasets", "statefulsets", "daemonsets"}, Verbs: []string{"get"}},
		{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"replicationcontrollers"}, Verbs: []string{"get"}},
	}}
	if _, err := env.admin.RbacV1().ClusterRoles().Create(ctx, owners, metav1.CreateOptions{}); err != nil {
		return err
	}
	return errors.Join(
		grant(ctx, env.admin, scannerUser, scannerRole),
		grant(ctx, env.admin, webhookUser, requesterRole),
		grant(ctx, env.admin, webhookUser, ownerRole))
}

func grant(ctx context.Context, admin kubernetes.Interface, user, role string) error {
	_, err := admin.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user + "-" + role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
	}, metav1.CreateOptions{})
	return err
}

// startScanner starts portcullis-scanner as a worker of the cluster, for as long as the test runs.
func startScanner(t *testing.T, env *environment, chain *supplyChain) *process.Process {
	t.Helper()
	must(t, programs.Build(t.Context(), chain.dir, "portcullis-scanner"))
	probes := fmt.Sprintf("127.0.0.1:%d", mustReturn(cluster.FreePort())(t))
	worker := mustReturn(process.Start(process.Command{
		Name: "portcullis-scanner", Path: filepath.Join(chain.dir, "portcullis-scanner"), LogFile: filepath.Join(chain.dir, "scanner.log"),
		Env: []string{"COSIGN_PASSWORD=" + keyPassword},
		Args: []string{
			"serve", "--kubeconfig=" + mustReturn(env.control.Kubeconfig(scannerUser))(t), "--key=" + chain.scannerKeyFile,
			"--database=" + chain.database, "--java-database=", "--work-dir=" + filepath.Join(chain.dir, "scans"), "--probes=" + probes,
			"--allow-registry=" + chain.host(), "--plain-http-registry=" + chain.host(),
		},
	}))(t)
	t.Cleanup(func() { must(t, worker.Stop()) })
	return worker
}
