package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
)

// grantReads gives the webhook what it needs and nothing else: to read namespaces and
// the kinds that the library's policies declare. It may write nothing, so a write by
// it would fail as well as be seen in the audit log.
func grantReads(ctx context.Context, admin kubernetes.Interface) error {
	rules, err := readRules(library.FS())
	if err != nil {
		return err
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: webhookUser}, Rules: rules}
	if _, err := admin.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("giving the webhook its rights: %w", err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: webhookUser},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: webhookUser}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: webhookUser},
	}
	if _, err := admin.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("giving the webhook its rights: %w", err)
	}
	return nil
}

func readRules(bundle fs.FS) ([]rbacv1.PolicyRule, error) {
	loaded, err := policies.Load(bundle)
	if err != nil {
		return nil, err
	}
	byGroup := map[string][]string{"": {"namespaces"}}
	for _, policy := range loaded.Policies {
		for _, read := range policy.Reads {
			if !slices.Contains(byGroup[read.Group], read.Resource) {
				byGroup[read.Group] = append(byGroup[read.Group], read.Resource)
			}
		}
	}
	var rules []rbacv1.PolicyRule
	for group, resources := range byGroup {
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: []string{"get", "list", "watch"}})
	}
	return rules, nil
}
