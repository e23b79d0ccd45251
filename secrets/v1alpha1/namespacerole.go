package v1alpha1

import (
	"bytes"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// RoleName is that of the Role and the RoleBinding of a namespace, and of the service account that the latter is for.
const RoleName = "portcullis-secrets"

// NamespaceRole is the Role of portcullis-secrets in one namespace, with its RoleBinding, as YAML: what the objects there need and no
// more. Secrets are named one by one, for reading too; a namespace's other Secrets stay out of reach, and so do tokens of its other service
// accounts. Only creating cannot be limited to names: whoever may create a Secret cannot read one by that.
//
// Objects of other namespaces are left out. It has to be written again when an object names something new; until then that object says
// ClusterForbidden.
func NamespaceRole(namespace string, secrets []VaultSecret, auths []VaultAuth, pushes []VaultPush, operatorNamespace string) []byte {
	role := rbacv1.Role{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: RoleName, Labels: map[string]string{ManagedByLabel: ManagedBy}},
		Rules:      namespaceRules(namespace, secrets, auths, pushes),
	}
	binding := rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: RoleName, Labels: map[string]string{ManagedByLabel: ManagedBy}},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: operatorNamespace, Name: RoleName}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: RoleName},
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "# What portcullis-secrets may do in %s: as much as the VaultAuths, VaultSecrets and VaultPushes there need.\n", namespace)
	for number, object := range []any{role, binding} {
		document, err := yaml.Marshal(object)
		if err != nil {
			panic(fmt.Sprintf("writing the role of %s: %v", namespace, err)) // plain structs of strings
		}
		if number > 0 {
			text.WriteString("---\n")
		}
		text.Write(document)
	}
	return text.Bytes()
}

// names are those of one kind of object, without repetition.
type names map[string]bool

func (n names) add(all ...string) {
	for _, name := range all {
		if name != "" {
			n[name] = true
		}
	}
}

func (n names) sorted() []string {
	sorted := make([]string, 0, len(n))
	for name := range n {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}

func namespaceRules(namespace string, secrets []VaultSecret, auths []VaultAuth, pushes []VaultPush) []rbacv1.PolicyRule {
	written := map[string]names{KindSecret: {}, KindConfigMap: {}}
	read, accounts := names{}, names{}
	workloads := map[string]names{"Deployment": {}, "StatefulSet": {}, "DaemonSet": {}}
	var referencing, immutable bool
	for i := range secrets {
		s := &secrets[i]
		if s.Namespace != namespace {
			continue
		}
		if kind := written[kindOf(s.Spec.Destination.Kind)]; kind != nil {
			kind.add(writtenNames(s)...)
		}
		immutable = immutable || s.Spec.Destination.Immutable
		referencing = referencing || s.Spec.Rotation.Restart == RestartReferencing
		if s.Spec.Rotation.Restart == RestartNamed {
			for _, w := range s.Spec.Rotation.Workloads {
				if kind := workloads[w.Kind]; kind != nil {
					kind.add(w.Name)
				}
			}
		}
	}
	for i := range auths {
		a := &auths[i]
		if a.Namespace != namespace {
			continue
		}
		accounts.add(a.Spec.ServiceAccount())
		if a.Spec.JWT != nil && a.Spec.JWT.SecretRef != nil {
			read.add(a.Spec.JWT.SecretRef.Name)
		}
		if a.Spec.AppRole != nil {
			read.add(a.Spec.AppRole.SecretRef.Name)
		}
		if a.Spec.Cert != nil {
			read.add(a.Spec.Cert.SecretName)
		}
	}
	for i := range pushes {
		if p := &pushes[i]; p.Namespace == namespace && p.Spec.Secret != nil {
			read.add(p.Spec.Secret.Name)
		}
	}

	rules := []rbacv1.PolicyRule{}
	rule := func(group, resource string, of names, verbs ...string) {
		if len(of) > 0 {
			rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: of.sorted(), Verbs: verbs})
		}
	}
	all := func(group string, resources []string, verbs ...string) {
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs})
	}
	for _, kind := range []struct{ kind, resource string }{{KindSecret, "secrets"}, {KindConfigMap, "configmaps"}} {
		if of := written[kind.kind]; len(of) > 0 {
			rule("", kind.resource, of, "get", "watch", "patch", "delete")
			all("", []string{kind.resource}, "create")
		}
	}
	rule("", "secrets", read, "get")
	rule("", "serviceaccounts/token", accounts, "create")
	switch {
	case referencing:
		all("apps", []string{"daemonsets", "deployments", "statefulsets"}, "get", "list", "patch")
	case immutable:
		all("apps", []string{"daemonsets", "deployments", "statefulsets"}, "list")
	}
	if !referencing {
		rule("apps", "daemonsets", workloads["DaemonSet"], "get", "patch")
		rule("apps", "deployments", workloads["Deployment"], "get", "patch")
		rule("apps", "statefulsets", workloads["StatefulSet"], "get", "patch")
	}
	if immutable { // a slot that a pod still uses is not taken again
		all("", []string{"pods"}, "list")
	}
	return rules
}
