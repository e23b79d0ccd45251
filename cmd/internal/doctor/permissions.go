package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	"github.com/portcullis-dev/portcullis/policies/cluster"
	scannerv1alpha1 "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
)

func permissions() Check {
	return Check{
		Name: "permissions", About: "the service account of each program may do what its roles say, and nothing that would give it the cluster",
		Why:  "A right that is missing shows when it is needed, in the middle of an incident; one too many makes the program worth breaking into.",
		look: lookAtPermissions,
	}
}

// rolesOf are those that a program needs, whatever its flags are.
var rolesOf = map[installation.Component][]string{
	installation.Controller: {"portcullis-controller"},
	installation.Scanner:    {"portcullis-scanner"},
	installation.Responder:  {"portcullis-responder"},
	installation.Secrets:    {"portcullis-secrets"},
}

// bundleReader is the role of those that judge by PolicyBundles.
const bundleReader = "portcullis-bundle-reader"

// asking is how many questions are asked at once.
const asking = 16

func lookAtPermissions(ctx context.Context, p *patient, r *Result) {
	if _, err := p.Deployments(ctx); r.unread(err, "the Deployments of "+p.Namespace, "list deployments --namespace "+p.Namespace) {
		return
	}
	installed := 0
	for _, component := range installation.Components() {
		deployment, err := p.Deployment(ctx, component)
		if err != nil || deployment == nil {
			continue
		}
		installed++
		account := deployment.Spec.Template.Spec.ServiceAccountName
		if account == "" {
			account = "default"
		}
		if account == "default" {
			r.warn(fmt.Sprintf("kubectl --namespace %s edit %s %s # serviceAccountName: %s", p.Namespace, installation.KindOf(deployment), deployment.Name, component.Program()),
				"%s runs as the service account default, and so does every pod of %s that names none", component.Program(), p.Namespace)
		}
		if !p.rights(ctx, r, component, account) {
			return
		}
	}
	if installed == 0 {
		r.unknown("kubectl get deployments --all-namespaces --selector app.kubernetes.io/part-of=portcullis", "There is no Deployment of Portcullis in %s", p.Namespace)
	}
}

// rights compares what an account may do with what it has to. It gives up where nobody may ask.
func (p *patient) rights(ctx context.Context, r *Result, component installation.Component, account string) bool {
	needs, roles := p.needs(ctx, component)
	user := "system:serviceaccount:" + p.Namespace + ":" + account
	missing, err := p.denied(ctx, user, needs)
	if r.unread(err, "what "+user+" may do", "create subjectaccessreviews.authorization.k8s.io") {
		return false
	}
	excess, err := p.allowed(ctx, user, dangers(component))
	if r.unread(err, "what "+user+" may do", "create subjectaccessreviews.authorization.k8s.io") {
		return false
	}
	if len(missing) > 0 {
		r.problem(fmt.Sprintf("kubectl apply the roles that `%s roles --namespace %s` prints, and bind them to %s", printerOf(component), p.Namespace, account),
			"%s (%s) may not: %s. Its roles are %s", component.Program(), account, several(missing), strings.Join(roles, ", "))
	}
	if len(excess) > 0 {
		r.warn(fmt.Sprintf("kubectl get clusterrolebindings,rolebindings --all-namespaces --output wide | grep %s # then take away what it does not need", account),
			"%s (%s) may do more than it needs: %s", component.Program(), account, several(excess))
	}
	if len(missing) == 0 && len(excess) == 0 {
		r.ok("%s (%s) has the %s that it needs, and none of those that it must not have", component.Program(), account, number(len(needs), "right", "rights"))
	}
	return true
}

func printerOf(component installation.Component) string {
	if component == installation.Webhook {
		return installation.Controller.Program()
	}
	return component.Program()
}

// right is one thing that an account may do.
type right struct{ verb, group, resource, name, namespace string }

// String is the right for people: "get secrets in portcullis-system".
func (q right) String() string {
	text := q.verb + " " + q.resource
	if q.group != "" {
		text += "." + q.group
	}
	if q.name != "" {
		text += " " + q.name
	}
	if q.namespace != "" {
		text += " in " + q.namespace
	}
	return text
}

// needs are the rights of a program's roles, with their names.
func (p *patient) needs(ctx context.Context, component installation.Component) (needs []right, roles []string) {
	roles = slices.Clone(rolesOf[component])
	if component == installation.Webhook {
		if byCluster, _ := p.judgesByCluster(ctx); byCluster {
			roles = append(roles, bundleReader)
		}
		needs = p.facts(ctx)
	}
	for _, role := range builtInRoles(p.Namespace) {
		if !slices.Contains(roles, role.GetName()) {
			continue
		}
		namespace := role.GetNamespace()
		for _, rule := range rulesOf(&role) {
			needs = append(needs, expand(rule, namespace)...)
		}
	}
	return needs, roles
}

// facts are what a webhook lists and watches for the policies that judge.
func (p *patient) facts(ctx context.Context) []right {
	judging, err := p.judges(ctx)
	if err != nil {
		return nil
	}
	var needs []right
	for _, judge := range judging.revisions {
		for _, read := range cluster.ReadsOf(judge) {
			for _, verb := range []string{"list", "watch"} {
				needs = append(needs, right{verb: verb, group: read.Group, resource: read.Resource})
			}
		}
	}
	return needs
}

// builtInRoles are all roles of this version, for a namespace.
func builtInRoles(namespace string) []unstructured.Unstructured {
	var roles []unstructured.Unstructured
	add := func(manifest []byte) {
		for _, kind := range []string{"ClusterRole", "Role"} {
			roles = append(roles, ofKind(parse(manifest), kind)...)
		}
	}
	for _, group := range groups() {
		if group.roles != nil {
			add(group.roles(namespace))
		}
	}
	add(scannerv1alpha1.Manifest) // its roles are with its definition
	return roles
}

func rulesOf(role *unstructured.Unstructured) []rbacv1.PolicyRule {
	var read struct {
		Rules []rbacv1.PolicyRule `json:"rules"`
	}
	if err := k8sruntime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{"rules": role.Object["rules"]}, &read); err != nil {
		panic("reading a role that is built in: " + err.Error())
	}
	return read.Rules
}

// expand are the single rights of a rule.
func expand(rule rbacv1.PolicyRule, namespace string) []right {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	var rights []right
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				for _, name := range names {
					rights = append(rights, right{verb, group, resource, name, namespace})
				}
			}
		}
	}
	return rights
}

// dangers are rights that a program must not have: each gives it the cluster, or all secrets. Empty names are anywhere.
func dangers(component installation.Component) []right {
	list := []right{
		{verb: "*", group: "*", resource: "*"},
		{verb: "list", resource: "secrets"},
		{verb: "get", resource: "secrets"},
		{verb: "create", resource: "pods"},
		{verb: "create", resource: "pods/exec"},
		{verb: "impersonate", resource: "users"},
		{verb: "escalate", group: "rbac.authorization.k8s.io", resource: "clusterroles"},
		{verb: "bind", group: "rbac.authorization.k8s.io", resource: "clusterroles"},
		{verb: "create", resource: "serviceaccounts/token"},
		{verb: "update", group: "policy.portcullis.dev", resource: "policybundles"},
	}
	if component == installation.Webhook {
		// It reads pull secrets where --use-pull-secrets says so.
		list = slices.DeleteFunc(list, func(q right) bool { return q.resource == "secrets" && q.verb == "get" })
	}
	return list
}

// denied and allowed are those of rights that an account has not and has, sorted.
func (p *patient) denied(ctx context.Context, user string, rights []right) ([]string, error) {
	return p.review(ctx, user, rights, false)
}

func (p *patient) allowed(ctx context.Context, user string, rights []right) ([]string, error) {
	return p.review(ctx, user, rights, true)
}

// review asks the API server about each right (SubjectAccessReview), and gives those that it allows, or does not.
func (p *patient) review(ctx context.Context, user string, rights []right, allowed bool) ([]string, error) {
	_, namespace, _ := strings.Cut(strings.TrimPrefix(user, "system:"), ":")
	namespace, _, _ = strings.Cut(namespace, ":")
	groups := []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}
	var mu sync.Mutex
	found, first := map[string]bool{}, error(nil)
	places := make(chan struct{}, asking)
	var all sync.WaitGroup
	for _, q := range rights {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			resource, sub, _ := strings.Cut(q.resource, "/")
			answer, err := p.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: user, Groups: groups,
				ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: q.verb, Group: q.group, Resource: resource, Subresource: sub, Name: q.name, Namespace: q.namespace},
			}}, metav1.CreateOptions{})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil && first == nil:
				first = err
			case err == nil && answer.Status.Allowed == allowed:
				found[q.String()] = true
			}
		})
	}
	all.Wait()
	return slices.Sorted(maps.Keys(found)), first
}
