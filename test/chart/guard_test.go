package chart

import (
	"errors"
	"maps"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/test/cluster"
)

type gvr = schema.GroupVersionResource

// Who asks in these tests. All may do nearly everything by RBAC.
var askers = map[string]struct {
	user   string
	groups []string
}{
	"a tenant":             {user: "tenant"},
	"an administrator":     {user: "root"},
	"an admin by group":    {user: "ops", groups: []string{"portcullis:admins"}},
	"somebody on call":     {user: "oncall", groups: []string{"portcullis:responders"}},
	"the responder":        {user: "system:serviceaccount:portcullis-system:portcullis-responder", groups: []string{"system:serviceaccounts", "system:serviceaccounts:portcullis-system"}},
	"secrets":              {user: "system:serviceaccount:portcullis-system:portcullis-secrets", groups: []string{"system:serviceaccounts", "system:serviceaccounts:portcullis-system"}},
	"another account here": {user: "system:serviceaccount:portcullis-system:default", groups: []string{"system:serviceaccounts", "system:serviceaccounts:portcullis-system"}},
	"a controller":         {user: "system:serviceaccount:kube-system:deployment-controller", groups: []string{"system:serviceaccounts", "system:serviceaccounts:kube-system"}},
	"the namespace controller": {user: "system:serviceaccount:kube-system:namespace-controller",
		groups: []string{"system:serviceaccounts", "system:serviceaccounts:kube-system"}},
}

// attempt is one change, tried without being made.
type attempt struct {
	resource, namespace, name string
	// create is an object to create; patch a merge patch of one that there is; neither deletes.
	create, patch string
	subresource   string
}

func (a attempt) try(t *testing.T, client dynamic.Interface) error {
	t.Helper()
	var at dynamic.ResourceInterface = client.Resource(resourceOf(a.resource))
	if a.namespace != "" {
		at = client.Resource(resourceOf(a.resource)).Namespace(a.namespace)
	}
	var below []string
	if a.subresource != "" {
		below = []string{a.subresource}
	}
	dry := []string{metav1.DryRunAll}
	var err error
	switch {
	case a.create != "":
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(a.create), &object.Object); err != nil {
			t.Fatal(err)
		}
		_, err = at.Create(t.Context(), object, metav1.CreateOptions{DryRun: dry}, below...)
	case a.patch != "":
		patch, convert := yaml.YAMLToJSON([]byte(a.patch))
		if convert != nil {
			t.Fatal(convert)
		}
		_, err = at.Patch(t.Context(), a.name, types.MergePatchType, patch, metav1.PatchOptions{DryRun: dry}, below...)
	case a.name == "": // a collection, whose requests name nothing
		err = at.DeleteCollection(t.Context(), metav1.DeleteOptions{DryRun: dry}, metav1.ListOptions{})
	default:
		err = at.Delete(t.Context(), a.name, metav1.DeleteOptions{DryRun: dry})
	}
	return err
}

const (
	systemPod = `{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: portcullis-system}, spec: {securityContext: {runAsNonRoot: true, runAsUser: 1, seccompProfile: {type: RuntimeDefault}}, containers: [{name: c, image: x, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}}`
	markedPod = `{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop, labels: {runtime.portcullis.dev/quarantine: q}}, spec: {containers: [{name: c, image: x}]}}`
	plainPod  = `{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop, labels: {app: shop}}, spec: {containers: [{name: c, image: x}]}}`
	isolating = `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: portcullis-q-2, namespace: shop}, spec: {podSelector: {}}}`
	ordinary  = `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: ours, namespace: shop}, spec: {podSelector: {}}}`
)

// before are objects that the attempts are about, made as the responder makes them.
var before = []string{
	`{apiVersion: v1, kind: Pod, metadata: {name: caught, namespace: shop, labels: {runtime.portcullis.dev/quarantine: q}, annotations: {runtime.portcullis.dev/why: x}}, spec: {containers: [{name: c, image: x}]}}`,
	`{apiVersion: v1, kind: Pod, metadata: {name: free, namespace: shop}, spec: {containers: [{name: c, image: x}]}}`,
	`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: portcullis-q-1, namespace: shop}, spec: {podSelector: {}}}`,
	`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: narrowed, namespace: shop, annotations: {runtime.portcullis.dev/restricted-for: q}}, spec: {podSelector: {}}}`,
	`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: theirs, namespace: shop}, spec: {podSelector: {}}}`,
	`{apiVersion: v1, kind: Secret, metadata: {name: portcullis-webhook-tls, namespace: portcullis-system}, stringData: {tls.crt: x}}`,
}

func TestGuardsHoldWithoutTheWebhook(t *testing.T) {
	e := installed(t)
	var objects []*unstructured.Unstructured
	for _, text := range before {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	// The first pod of a namespace waits for its service account.
	eventually(t, "making what the attempts are about", func() error { return cluster.Apply(t.Context(), e.config, objects) })

	as := func(who string) dynamic.Interface {
		asker, known := askers[who]
		if !known {
			t.Fatalf("nobody is called %q", who)
		}
		return e.as(t, asker.user, asker.groups...)
	}
	// The API server takes a second to compile new policies.
	canaries := map[string]attempt{
		"portcullis-namespace":          {resource: "v1/pods", namespace: "portcullis-system", create: systemPod},
		"portcullis-installation":       {resource: "apiextensions.k8s.io/v1/customresourcedefinitions", name: "quarantines.runtime.portcullis.dev"},
		"portcullis-quarantine-labels":  {resource: "v1/pods", namespace: "shop", create: markedPod},
		"portcullis-quarantine-objects": {resource: "networking.k8s.io/v1/networkpolicies", namespace: "shop", create: isolating},
	}
	for policy, canary := range canaries {
		eventually(t, policy+" is in force", func() error {
			if err := canary.try(t, as("a tenant")); !isRefused(err, policy) {
				return errors.Join(errors.New("a tenant is not refused by it"), err)
			}
			return nil
		})
	}

	const ours, definition = "portcullis-system", "apiextensions.k8s.io/v1/customresourcedefinitions"
	for name, test := range map[string]struct {
		attempt
		may, mayNot []string
	}{
		"a pod in our namespace": {attempt{resource: "v1/pods", namespace: ours, create: systemPod},
			[]string{"an administrator", "an admin by group", "a controller"}, []string{"a tenant", "somebody on call", "another account here"}},
		"the image of the webhook": {attempt{resource: "apps/v1/deployments", namespace: ours, name: "portcullis-webhook", patch: `{spec: {template: {spec: {containers: [{name: webhook, image: evil}]}}}}`},
			nil, []string{"a tenant", "another account here"}},
		"the scale of the webhook": {attempt{resource: "apps/v1/deployments", namespace: ours, name: "portcullis-webhook", patch: `{spec: {replicas: 0}}`, subresource: "scale"},
			[]string{"an administrator", "an admin by group"}, []string{"a tenant", "somebody on call"}},
		"deleting the webhook": {attempt{resource: "apps/v1/deployments", namespace: ours, name: "portcullis-webhook"},
			[]string{"an administrator"}, []string{"a tenant"}},
		"the webhook's certificate": {attempt{resource: "v1/secrets", namespace: ours, name: "portcullis-webhook-tls", patch: `{stringData: {tls.crt: another}}`},
			[]string{"an administrator", "the responder"}, []string{"a tenant", "another account here"}},
		"the bundle of the chart": {attempt{resource: "v1/configmaps", namespace: ours, name: "portcullis-bundle", patch: `{data: {bundle.yaml: ""}}`},
			[]string{"an administrator"}, []string{"a tenant"}},
		"a network policy of ours": {attempt{resource: "networking.k8s.io/v1/networkpolicies", namespace: ours, name: "portcullis-default-deny"},
			[]string{"an administrator"}, []string{"a tenant"}},
		"a binding in our namespace": {attempt{resource: "rbac.authorization.k8s.io/v1/rolebindings", namespace: ours, name: "portcullis-controller"},
			[]string{"an administrator"}, []string{"a tenant"}},
		"a token of our account": {attempt{resource: "v1/serviceaccounts", namespace: ours, name: "portcullis-controller", subresource: "token",
			create: `{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, metadata: {name: portcullis-controller}, spec: {audiences: [x]}}`},
			nil, []string{"a tenant", "another account here"}},
		"our namespace": {attempt{resource: "v1/namespaces", name: ours, patch: `{metadata: {labels: {pod-security.kubernetes.io/enforce: privileged}}}`},
			[]string{"an administrator"}, []string{"a tenant", "the responder"}},
		"deleting our namespace": {attempt{resource: "v1/namespaces", name: ours},
			[]string{"an administrator"}, []string{"a tenant"}},
		"somebody else's namespace": {attempt{resource: "v1/namespaces", name: "shop", patch: `{metadata: {labels: {a: b}}}`},
			[]string{"a tenant"}, nil},
		"a definition of ours": {attempt{resource: definition, name: "quarantines.runtime.portcullis.dev"},
			[]string{"an administrator", "the namespace controller"}, []string{"a tenant", "the responder"}},
		"all definitions at once": {attempt{resource: definition},
			[]string{"an administrator"}, []string{"a tenant", "the responder"}},
		"all rights at once": {attempt{resource: "rbac.authorization.k8s.io/v1/clusterroles"},
			nil, []string{"a tenant", "the responder"}},
		"a definition of others": {attempt{resource: definition, name: "certificates.cert-manager.io"},
			[]string{"a tenant"}, nil},
		"rights of ours": {attempt{resource: "rbac.authorization.k8s.io/v1/clusterroles", name: "portcullis-controller", patch: `{rules: []}`},
			[]string{"an administrator"}, []string{"a tenant", "the responder"}},
		"a binding of ours": {attempt{resource: "rbac.authorization.k8s.io/v1/clusterrolebindings", name: "portcullis-controller"},
			[]string{"an administrator"}, []string{"a tenant"}},
		"a pod with the label of a quarantine": {attempt{resource: "v1/pods", namespace: "shop", create: markedPod},
			[]string{"the responder", "somebody on call", "an administrator"}, []string{"a tenant", "a controller", "secrets"}},
		"a pod without it": {attempt{resource: "v1/pods", namespace: "shop", create: plainPod},
			[]string{"a tenant", "a controller"}, nil},
		"quarantining a pod": {attempt{resource: "v1/pods", namespace: "shop", name: "free", patch: `{metadata: {labels: {runtime.portcullis.dev/quarantine: q}}}`},
			[]string{"the responder"}, []string{"a tenant"}},
		"freeing a pod": {attempt{resource: "v1/pods", namespace: "shop", name: "caught", patch: `{metadata: {labels: {runtime.portcullis.dev/quarantine: null}}}`},
			[]string{"the responder", "somebody on call"}, []string{"a tenant", "a controller"}},
		"freeing a pod by its status": {attempt{resource: "v1/pods", namespace: "shop", name: "caught", subresource: "status", patch: `{metadata: {labels: {runtime.portcullis.dev/quarantine: null}}}`},
			[]string{"the responder"}, []string{"a tenant"}},
		"an annotation of a quarantine": {attempt{resource: "v1/pods", namespace: "shop", name: "caught", patch: `{metadata: {annotations: {runtime.portcullis.dev/why: another}}}`},
			[]string{"the responder"}, []string{"a tenant"}},
		"another label of a quarantined pod": {attempt{resource: "v1/pods", namespace: "shop", name: "caught", patch: `{metadata: {labels: {a: b}}}`},
			[]string{"a tenant"}, nil},
		"a network policy that isolates": {attempt{resource: "networking.k8s.io/v1/networkpolicies", namespace: "shop", create: isolating},
			[]string{"the responder"}, []string{"a tenant", "a controller"}},
		"deleting a network policy that isolates": {attempt{resource: "networking.k8s.io/v1/networkpolicies", namespace: "shop", name: "portcullis-q-1"},
			[]string{"the responder", "somebody on call", "the namespace controller"}, []string{"a tenant", "a controller"}},
		"an ordinary network policy": {attempt{resource: "networking.k8s.io/v1/networkpolicies", namespace: "shop", create: ordinary},
			[]string{"a tenant"}, nil},
		"what a narrowed policy selects": {attempt{resource: "networking.k8s.io/v1/networkpolicies", namespace: "shop", name: "narrowed", patch: `{spec: {podSelector: {matchLabels: {a: b}}}}`},
			[]string{"the responder"}, []string{"a tenant"}},
		"what a narrowed policy is for": {attempt{resource: "networking.k8s.io/v1/networkpolicies", namespace: "shop", name: "narrowed", patch: `{metadata: {annotations: {runtime.portcullis.dev/restricted-for: null}}}`},
			[]string{"the responder"}, []string{"a tenant"}},
		"what else a narrowed policy says": {attempt{resource: "networking.k8s.io/v1/networkpolicies", namespace: "shop", name: "narrowed", patch: `{metadata: {labels: {a: b}}}`},
			[]string{"a tenant", "the responder"}, nil},
		"somebody's own network policy": {attempt{resource: "networking.k8s.io/v1/networkpolicies", namespace: "shop", name: "theirs", patch: `{spec: {podSelector: {matchLabels: {a: b}}}}`},
			[]string{"a tenant"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, who := range test.may {
				if err := test.try(t, as(who)); err != nil {
					t.Errorf("%s may: got %v", who, err)
				}
			}
			for _, who := range test.mayNot {
				err := test.try(t, as(who))
				refused := false
				for policy := range maps.Keys(canaries) {
					refused = refused || isRefused(err, policy)
				}
				if !refused {
					t.Errorf("%s may not: got %v", who, err)
				}
			}
		})
	}
}
