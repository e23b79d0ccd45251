package configuration

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/portcullis-dev/portcullis/policies"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// interests are a little of everything: closed and open, subresources, deletes and
// connects, an equivalent group, named namespaces, and what is never delivered.
var interests = []policies.Interest{
	{Resource: "pods", Operation: "CREATE", Validates: true, Mutates: true, FailClosed: true},
	{Resource: "pods", Operation: "UPDATE", Validates: true, FailClosed: true},
	{Resource: "pods/exec", Operation: "CONNECT", Validates: true, FailClosed: true},
	{Resource: "pods/ephemeralcontainers", Operation: "UPDATE", Validates: true, Mutates: true, FailClosed: true},
	{Resource: "namespaces", Operation: "UPDATE", Validates: true, FailClosed: true},
	{Resource: "namespaces", Operation: "DELETE", Validates: true, FailClosed: true},
	{Resource: "nodes", Operation: "UPDATE", Validates: true, FailClosed: true},
	{Resource: "serviceaccounts/token", Operation: "CREATE", Validates: true, FailClosed: true},
	{Group: "apps", Resource: "deployments", Operation: "CREATE", Validates: true, FailClosed: true},
	{Group: "apps", Resource: "deployments", Operation: "UPDATE", Validates: true, FailClosed: true},
	{Group: "apps", Resource: "replicasets", Operation: "CREATE", Validates: true, FailClosed: true},
	{Group: "apps", Resource: "replicasets", Operation: "UPDATE", Validates: true, FailClosed: true},
	{Group: "networking.k8s.io", Resource: "ingresses", Operation: "CREATE", Validates: true},
	{Group: "networking.k8s.io", Resource: "ingresses", Operation: "UPDATE", Validates: true},
	{Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Operation: "DELETE", Validates: true, FailClosed: true},
	{Group: "authentication.k8s.io", Resource: "tokenreviews", Operation: "CREATE", Validates: true, FailClosed: true},
	{Resource: "pods", Operation: "DELETE", Validates: true, FailClosed: true, Namespaces: own},
	{Resource: "pods/eviction", Operation: "CREATE", Validates: true, FailClosed: true, Namespaces: own},
	{Resource: "secrets", Operation: "UPDATE", Validates: true, FailClosed: true, Namespaces: own},
	{Resource: "serviceaccounts", Operation: "UPDATE", Validates: true, Namespaces: own},
	{Group: "discovery.k8s.io", Resource: "endpointslices", Operation: "UPDATE", Validates: true, FailClosed: true, Namespaces: own},
	{Resource: "configmaps", Operation: "UPDATE", Validates: true, FailClosed: true, Namespaces: own},
	{Resource: "configmaps", Operation: "UPDATE", Validates: true},
	{Resource: "services", Operation: "UPDATE", Validates: true, FailClosed: true, Namespaces: []string{"portcullis", "vault"}},
}

// own is the namespace that the webhook of inCluster runs in.
var own = []string{"portcullis"}

var inCluster = Options{
	Service:  &Service{Namespace: "portcullis", Name: "portcullis-webhook"},
	CABundle: []byte("-----BEGIN CERTIFICATE-----\n"),
	Recovery: Recovery{NodeNamespaces: DefaultNodeNamespaces},
}

func TestConfigurationsAreAsRecorded(t *testing.T) {
	t.Run("through the API", func(t *testing.T) {
		configurations, err := Compute(interests, inCluster)
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, "api.yaml", configurations.YAML)
	})
	t.Run("static", func(t *testing.T) {
		static, err := ComputeStatic(interests, Options{URL: "https://127.0.0.1:8443", CABundle: []byte("-----BEGIN CERTIFICATE-----\n")})
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, "static.yaml", static.YAML)
	})
}

func checkGolden(t *testing.T, name string, write func() ([]byte, error)) {
	t.Helper()
	got, err := write()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (go test -update writes it anew): got\n%s\nwant\n%s", file, got, want)
	}
}

// TestRequestsReachOneEntry evaluates rules and conditions as the API server does.
func TestRequestsReachOneEntry(t *testing.T) {
	const (
		kubeSystem = "system:serviceaccount:kube-system:"
		mirror     = "kubernetes.io/config.mirror"
	)
	annotated := func(keys ...string) map[string]any {
		annotations := map[string]any{}
		for _, key := range keys {
			annotations[key] = "x"
		}
		return map[string]any{"metadata": map[string]any{"annotations": annotations}, "spec": map[string]any{}}
	}
	quarantined := map[string]any{"metadata": map[string]any{"labels": map[string]any{"runtime.portcullis.dev/quarantine": "q-1"}}, "spec": map[string]any{}}
	critical := map[string]any{"metadata": map[string]any{}, "spec": map[string]any{"priorityClassName": "system-node-critical"}}
	dying := func(labels map[string]any, spec map[string]any) map[string]any {
		return map[string]any{"metadata": map[string]any{"deletionTimestamp": "2026-01-01T00:00:00Z", "labels": labels}, "spec": spec}
	}
	web := map[string]any{"app": "web"}
	const responding = "system:serviceaccount:portcullis:portcullis-responder"
	const controlling = "system:serviceaccount:portcullis:portcullis-controller"
	named := func(name string) map[string]any { return map[string]any{"metadata": map[string]any{"name": name}} }
	spec := func(image string) map[string]any {
		return map[string]any{"metadata": map[string]any{}, "spec": map[string]any{"image": image}}
	}
	templated := func(replicas int, image string) map[string]any {
		return map[string]any{"metadata": map[string]any{}, "spec": map[string]any{"replicas": replicas, "template": spec(image)}}
	}
	node := func(r request) request {
		r.operation, r.resource, r.user, r.groups = "DELETE", "pods", "system:node:a", []string{"system:nodes"}
		return r
	}
	for name, test := range map[string]struct {
		request request
		want    string // the entry, "" for none
	}{
		"a user's pod":                                   {request{resource: "pods", namespace: "web", user: "alice", object: annotated()}, "fail"},
		"a user's ingress":                               {request{group: "networking.k8s.io", resource: "ingresses", namespace: "web", user: "alice"}, "ignore"},
		"a user's exec":                                  {request{operation: "CONNECT", resource: "pods", sub: "exec", namespace: "web", user: "alice"}, "fail"},
		"a user's resize":                                {request{operation: "UPDATE", resource: "pods", sub: "resize", namespace: "web", user: "alice"}, "fail"},
		"the API server's own namespace":                 {request{operation: "UPDATE", resource: "namespaces", user: "system:apiserver", groups: []string{"system:masters"}}, ""},
		"a user who calls himself the API server":        {request{operation: "UPDATE", resource: "namespaces", user: "system:apiserver", groups: []string{"system:authenticated"}, object: annotated(), old: annotated()}, "fail"},
		"a node's mirror pod":                            {request{resource: "pods", namespace: "kube-system", user: "system:node:a", groups: []string{"system:nodes"}, object: annotated(mirror)}, ""},
		"a user's pod dressed as a mirror pod":           {request{resource: "pods", namespace: "web", user: "alice", groups: []string{"system:nodes"}, object: annotated(mirror)}, "fail"},
		"a node's pod that is no mirror pod":             {request{resource: "pods", namespace: "web", user: "system:node:a", groups: []string{"system:nodes"}, object: annotated("other")}, "fail"},
		"a node without the group":                       {request{resource: "pods", namespace: "web", user: "system:node:a", object: annotated(mirror)}, "fail"},
		"the namespace controller's finalizer":           {request{operation: "UPDATE", resource: "namespaces", sub: "finalize", user: kubeSystem + "namespace-controller", object: dying(web, map[string]any{}), old: dying(web, map[string]any{"finalizers": []any{"kubernetes"}})}, ""},
		"the namespace controller changing a label":      {request{operation: "UPDATE", resource: "namespaces", sub: "finalize", user: kubeSystem + "namespace-controller", object: dying(map[string]any{"app": "evil"}, map[string]any{}), old: dying(web, map[string]any{})}, "fail"},
		"the garbage collector's finalizer":              {request{operation: "UPDATE", group: "apps", resource: "deployments", namespace: "web", user: kubeSystem + "generic-garbage-collector", object: dying(web, map[string]any{"replicas": 1}), old: dying(web, map[string]any{"replicas": 1})}, ""},
		"the garbage collector changing a spec":          {request{operation: "UPDATE", group: "apps", resource: "deployments", namespace: "web", user: kubeSystem + "generic-garbage-collector", object: dying(web, map[string]any{"replicas": 2}), old: dying(web, map[string]any{"replicas": 1})}, "fail"},
		"the garbage collector changing what lives":      {request{operation: "UPDATE", group: "apps", resource: "deployments", namespace: "web", user: kubeSystem + "generic-garbage-collector", object: annotated(), old: annotated()}, "fail"},
		"a user finishing a deletion":                    {request{operation: "UPDATE", group: "apps", resource: "deployments", namespace: "web", user: "alice", object: dying(web, map[string]any{}), old: dying(web, map[string]any{})}, "fail"},
		"the webhook's pod by its replica set":           {request{resource: "pods", namespace: "portcullis", user: kubeSystem + "replicaset-controller", object: annotated()}, "recover"},
		"the webhook's replica set by its deployment":    {request{operation: "UPDATE", group: "apps", resource: "replicasets", namespace: "portcullis", user: kubeSystem + "deployment-controller", object: annotated(), old: annotated()}, "recover"},
		"a user's pod in the webhook's namespace":        {request{resource: "pods", namespace: "portcullis", user: "alice", object: annotated()}, "fail"},
		"another namespace's pod by its replica set":     {request{resource: "pods", namespace: "web", user: kubeSystem + "replicaset-controller", object: annotated()}, "fail"},
		"a deployment in the webhook's namespace":        {request{operation: "UPDATE", group: "apps", resource: "deployments", namespace: "portcullis", user: kubeSystem + "deployment-controller", object: annotated(), old: annotated()}, "fail"},
		"a network plugin's pod on a new node":           {request{resource: "pods", namespace: "kube-system", user: kubeSystem + "daemon-set-controller", object: critical}, "recover"},
		"a DaemonSet's pod that no node waits for":       {request{resource: "pods", namespace: "kube-system", user: kubeSystem + "daemon-set-controller", object: annotated()}, "fail"},
		"a user's critical pod in kube-system":           {request{resource: "pods", namespace: "kube-system", user: "alice", object: critical}, "fail"},
		"a critical DaemonSet's pod in another place":    {request{resource: "pods", namespace: "web", user: kubeSystem + "daemon-set-controller", object: critical}, "fail"},
		"a node updating itself":                         {request{operation: "UPDATE", resource: "nodes", name: "a", user: "system:node:a", groups: []string{"system:nodes"}}, "recover"},
		"a node updating another":                        {request{operation: "UPDATE", resource: "nodes", name: "b", user: "system:node:a", groups: []string{"system:nodes"}}, "fail"},
		"a node's token for the webhook":                 {request{resource: "serviceaccounts", sub: "token", name: "webhook", namespace: "portcullis", user: "system:node:a", groups: []string{"system:nodes"}}, "recover"},
		"a node's token for another pod":                 {request{resource: "serviceaccounts", sub: "token", name: "web", namespace: "web", user: "system:node:a", groups: []string{"system:nodes"}}, "fail"},
		"a lease":                                        {request{operation: "UPDATE", group: "coordination.k8s.io", resource: "leases", namespace: "kube-node-lease", user: "system:node:a"}, ""},
		"an event":                                       {request{resource: "events", namespace: "web", user: "system:node:a"}, ""},
		"a node's status":                                {request{operation: "UPDATE", resource: "nodes", sub: "status", name: "a", user: "system:node:a"}, ""},
		"a pod's status":                                 {request{operation: "UPDATE", resource: "pods", sub: "status", namespace: "web", user: "system:node:a"}, ""},
		"a user's Secret where nobody asks for it":       {request{operation: "UPDATE", resource: "secrets", namespace: "web", user: "alice"}, ""},
		"a user's Secret where it matters":               {request{operation: "UPDATE", resource: "secrets", namespace: "portcullis", user: "alice"}, "fail-namespaces"},
		"a user's deleted pod where nobody asks for it":  {request{operation: "DELETE", resource: "pods", namespace: "web", user: "alice", old: annotated()}, ""},
		"a user's deleted pod where it matters":          {request{operation: "DELETE", resource: "pods", namespace: "portcullis", user: "alice", old: dying(web, nil)}, "fail-namespaces"},
		"a user's eviction where it matters":             {request{resource: "pods", sub: "eviction", namespace: "portcullis", user: "alice"}, "fail-namespaces"},
		"a ConfigMap, closed where it matters":           {request{operation: "UPDATE", resource: "configmaps", namespace: "portcullis", user: "alice"}, "fail-namespaces"},
		"a ConfigMap, open in other places":              {request{operation: "UPDATE", resource: "configmaps", namespace: "web", user: "alice"}, "ignore"},
		"what only warns where it matters":               {request{operation: "UPDATE", resource: "serviceaccounts", namespace: "portcullis", user: "alice"}, "ignore-namespaces"},
		"what only warns where nobody asks for it":       {request{operation: "UPDATE", resource: "serviceaccounts", namespace: "web", user: "alice"}, ""},
		"a second set of namespaces":                     {request{operation: "UPDATE", resource: "services", namespace: "vault", user: "alice"}, "fail-namespaces-2"},
		"the namespace of both sets":                     {request{operation: "UPDATE", resource: "services", namespace: "portcullis", user: "alice"}, "fail-namespaces-2"},
		"a node removing the webhook's deleted pod":      {node(request{namespace: "portcullis", old: dying(web, nil)}), ""},
		"a node deleting the webhook's living pod":       {node(request{namespace: "portcullis", old: annotated()}), "fail-namespaces"},
		"the garbage collector's pod":                    {request{operation: "DELETE", resource: "pods", namespace: "portcullis", user: kubeSystem + "generic-garbage-collector", old: annotated()}, ""},
		"the garbage collector's quarantined pod":        {request{operation: "DELETE", resource: "pods", namespace: "portcullis", user: kubeSystem + "generic-garbage-collector", old: quarantined}, "fail-namespaces"},
		"the namespace controller's quarantined pod":     {request{operation: "DELETE", resource: "pods", namespace: "portcullis", user: kubeSystem + "namespace-controller", old: quarantined}, ""},
		"the pod garbage collector's pod":                {request{operation: "DELETE", resource: "pods", namespace: "portcullis", user: kubeSystem + "pod-garbage-collector", old: annotated()}, ""},
		"the namespace controller's pod":                 {request{operation: "DELETE", resource: "pods", namespace: "portcullis", user: kubeSystem + "namespace-controller", old: annotated()}, ""},
		"the webhook's pod deleted by its replica set":   {request{operation: "DELETE", resource: "pods", namespace: "portcullis", user: kubeSystem + "replicaset-controller", old: annotated()}, "recover-namespaces"},
		"the webhook's pod on a lost node":               {request{operation: "DELETE", resource: "pods", namespace: "portcullis", user: kubeSystem + "node-controller", old: annotated()}, "recover-namespaces"},
		"the webhook's pod preempted":                    {request{operation: "DELETE", resource: "pods", namespace: "portcullis", user: "system:kube-scheduler", old: annotated()}, "recover-namespaces"},
		"the webhook's endpoints":                        {request{operation: "UPDATE", group: "discovery.k8s.io", resource: "endpointslices", namespace: "portcullis", user: kubeSystem + "endpointslice-controller"}, "recover-namespaces"},
		"the authority that the webhook's pods trust":    {request{operation: "UPDATE", resource: "configmaps", namespace: "portcullis", user: kubeSystem + "root-ca-cert-publisher"}, "recover-namespaces"},
		"the responder labelling a pod":                  {request{operation: "UPDATE", resource: "pods", namespace: "web", user: responding, object: spec("a"), old: spec("a")}, "recover"},
		"the responder changing a pod":                   {request{operation: "UPDATE", resource: "pods", namespace: "web", user: responding, object: spec("a"), old: spec("b")}, "fail"},
		"another account labelling a pod":                {request{operation: "UPDATE", resource: "pods", namespace: "web", user: "system:serviceaccount:web:portcullis-responder", object: spec("a"), old: spec("a")}, "fail"},
		"the responder suspending a deployment":          {request{operation: "UPDATE", group: "apps", resource: "deployments", namespace: "web", user: responding, object: templated(1, "a"), old: templated(2, "a")}, "recover"},
		"the responder changing a deployment's template": {request{operation: "UPDATE", group: "apps", resource: "deployments", namespace: "web", user: responding, object: templated(1, "a"), old: templated(1, "b")}, "fail"},
		"the responder creating a pod":                   {request{operation: "CREATE", resource: "pods", namespace: "web", user: responding, object: spec("a")}, "fail"},
		"the responder cordoning a node":                 {request{operation: "UPDATE", resource: "nodes", user: responding}, "recover"},
		"the controller's certificate of the webhook":    {request{operation: "UPDATE", resource: "secrets", namespace: "portcullis", name: "portcullis-webhook-tls", user: controlling, object: named("portcullis-webhook-tls")}, "recover-namespaces"},
		"the controller's first authority":               {request{operation: "UPDATE", resource: "secrets", namespace: "portcullis", user: controlling, object: named("portcullis-webhook-ca")}, "recover-namespaces"},
		"the controller's other Secret":                  {request{operation: "UPDATE", resource: "secrets", namespace: "portcullis", name: "other", user: controlling, object: named("other")}, "fail-namespaces"},
		"a user's certificate of the webhook":            {request{operation: "UPDATE", resource: "secrets", namespace: "portcullis", name: "portcullis-webhook-tls", user: "alice", object: named("portcullis-webhook-tls")}, "fail-namespaces"},
		"a webhook configuration, never delivered by it": {request{operation: "DELETE", group: "admissionregistration.k8s.io", resource: "validatingwebhookconfigurations", user: "alice"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			configurations, err := Compute(interests, inCluster)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			if test.want != "" {
				want = []string{test.want + ".validate.portcullis.dev"}
			}
			if got := reached(t, configurations.Validating, test.request); !slices.Equal(got, want) {
				t.Errorf("%+v reaches %v, want %v", test.request, got, want)
			}
		})
	}
}

// To open the glass must not need what is behind it.
func TestABreakGlassReachesNoEntry(t *testing.T) {
	for name, asked := range map[string]policies.Interest{
		"a policy about everything":     {Group: "*", Resource: "*", Operation: "CREATE", Validates: true, FailClosed: true},
		"a policy about its group":      {Group: "policy.portcullis.dev", Resource: "*/*", Operation: "CREATE", Validates: true, FailClosed: true},
		"a policy about break glasses":  {Group: "policy.portcullis.dev", Resource: "breakglasses", Operation: "CREATE", Validates: true, FailClosed: true},
		"one that fails open":           {Group: "*", Resource: "*", Operation: "CREATE", Validates: true},
		"one that is about a namespace": {Group: "*", Resource: "*", Operation: "CREATE", Validates: true, FailClosed: true, Namespaces: []string{"portcullis"}},
	} {
		t.Run(name, func(t *testing.T) {
			configurations, err := Compute([]policies.Interest{asked}, inCluster)
			if err != nil {
				t.Fatal(err)
			}
			if got := reached(t, configurations.Validating, request{operation: "CREATE", group: "policy.portcullis.dev", resource: "breakglasses", user: "alice"}); len(got) > 0 {
				t.Errorf("a BreakGlass reaches %v, want no entry", got)
			}
			other := request{operation: "CREATE", group: "policy.portcullis.dev", resource: "policybundles", user: "alice"}
			if got := reached(t, configurations.Validating, other); len(got) == 0 && asked.Resource != "breakglasses" {
				t.Error("a PolicyBundle reaches no entry, want one")
			}
		})
	}
}

func TestWildcardsStayDisjoint(t *testing.T) {
	groups, resources := []string{"", "apps", "*"}, []string{"pods", "pods/exec", "events", "*", "*/*", "pods/*", "*/scale", "leases"}
	var all []policies.Interest
	for _, group := range groups {
		for _, resource := range resources {
			all = append(all, policies.Interest{Group: group, Resource: resource, Operation: "UPDATE", Validates: true})
		}
	}
	requests := []request{
		{resource: "pods"}, {resource: "pods", sub: "exec"}, {resource: "pods", sub: "scale"}, {group: "apps", resource: "deployments"},
		{group: "apps", resource: "deployments", sub: "scale"}, {group: "example.com", resource: "things"}, {group: "example.com", resource: "things", sub: "scale"},
	}
	heartbeat := []request{{group: "coordination.k8s.io", resource: "leases"}, {resource: "events"}, {group: "events.k8s.io", resource: "events"}, {resource: "nodes", sub: "status"}}
	for i := range all {
		for j := range all {
			chosen := []policies.Interest{all[i], all[j]}
			chosen[0].FailClosed = true
			configurations, err := Compute(chosen, inCluster)
			if err != nil {
				t.Fatal(err)
			}
			for _, request := range requests {
				request.operation, request.user = "UPDATE", "alice"
				got := reached(t, configurations.Validating, request)
				if want := expected(chosen, request); !slices.Equal(got, want) {
					t.Fatalf("with %+v closed and %+v open, %+v reaches %v, want %v", chosen[0], chosen[1], request, got, want)
				}
			}
			for _, request := range heartbeat {
				request.operation, request.user = "UPDATE", "alice"
				explicit := slices.ContainsFunc(chosen, func(i policies.Interest) bool {
					return i.Resource == "events" || i.Resource == "leases"
				})
				if got := reached(t, configurations.Validating, request); len(got) > 1 || len(got) == 1 && !explicit {
					t.Fatalf("with %+v and %+v, the heartbeat %+v reaches %v", chosen[0], chosen[1], request, got)
				}
			}
		}
	}
}

// expected is where a request belongs, said once more and simply: to fail if an interest
// that fails closed covers it, else to ignore if any does.
func expected(interests []policies.Interest, request request) []string {
	name := request.resource
	if request.sub != "" {
		name += "/" + request.sub
	}
	for _, failClosed := range []bool{true, false} {
		for _, i := range interests {
			group := i.Group == "*" || i.Group == request.group
			if group && i.FailClosed == failClosed && matchesName(i.Resource, name) {
				if failClosed {
					return []string{"fail.validate.portcullis.dev"}
				}
				return []string{"ignore.validate.portcullis.dev"}
			}
		}
	}
	// A rule for all of pods' updates brings their other ways of changing along.
	return nil
}

func matchesName(pattern, name string) bool {
	patternName, patternSub, _ := strings.Cut(pattern, "/")
	resource, sub, _ := strings.Cut(name, "/")
	return (patternName == "*" || patternName == resource) && (patternSub == "*" || patternSub == sub)
}

func TestNamedNamespacesStayDisjoint(t *testing.T) {
	var all []policies.Interest
	for _, resource := range []string{"secrets", "configmaps", "*"} {
		for _, namespaces := range [][]string{nil, {"a"}, {"b"}, {"a", "b"}} {
			for _, failClosed := range []bool{true, false} {
				all = append(all, policies.Interest{Resource: resource, Operation: "UPDATE", Validates: true, FailClosed: failClosed, Namespaces: namespaces})
			}
		}
	}
	for i := range all {
		for j := range all {
			for k := range all {
				chosen := []policies.Interest{all[i], all[j], all[k]}
				configurations, err := Compute(chosen, inCluster)
				if err != nil {
					t.Fatal(err)
				}
				for _, namespace := range []string{"", "a", "b", "c"} {
					request := request{operation: "UPDATE", resource: "secrets", namespace: namespace, user: "alice"}
					got := reached(t, configurations.Validating, request)
					if want := expectedIn(chosen, namespace); len(got) > 1 || kind(got) != want {
						t.Fatalf("with %+v, Secrets of namespace %q reach %v, want %q", chosen, namespace, got, want)
					}
				}
			}
		}
	}
}

// kind is "fail" of "fail-namespaces-2.validate.portcullis.dev", "" of none.
func kind(entries []string) string {
	kind, _, _ := strings.Cut(strings.Join(entries, " "), ".")
	kind, _, _ = strings.Cut(kind, "-")
	return kind
}

// expectedIn is where Secrets of a namespace belong. A wildcard is for all namespaces.
func expectedIn(interests []policies.Interest, namespace string) string {
	belongs := ""
	for _, i := range interests {
		wild, named := i.Resource == "*", i.Namespaces == nil || slices.Contains(i.Namespaces, namespace)
		switch {
		case !wild && (i.Resource != "secrets" || !named):
		case i.FailClosed:
			return "fail"
		default:
			belongs = "ignore"
		}
	}
	return belongs
}

// To policies a Namespace object is in its own namespace, to rules it is cluster-scoped.
func TestNamespaceObjectsAreDeliveredWhateverTheirName(t *testing.T) {
	configurations, err := Compute([]policies.Interest{{Resource: "namespaces", Operation: "UPDATE", Validates: true, FailClosed: true, Namespaces: own}}, inCluster)
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"", "finalize", "status"} {
		got := reached(t, configurations.Validating, request{operation: "UPDATE", resource: "namespaces", sub: sub, namespace: "portcullis", name: "portcullis", user: "alice"})
		if want := []string{"fail.validate.portcullis.dev"}; !slices.Equal(got, want) {
			t.Errorf("an update of namespaces/%s reaches %v, want %v", sub, got, want)
		}
	}
}

func TestBypass9_RulesForPodsBringTheirSubresources(t *testing.T) {
	configurations, err := Compute([]policies.Interest{{Resource: "pods", Operation: "UPDATE", Validates: true, FailClosed: true}}, inCluster)
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"", "ephemeralcontainers", "resize"} {
		got := reached(t, configurations.Validating, request{operation: "UPDATE", resource: "pods", sub: sub, namespace: "web", user: "alice"})
		if want := []string{"fail.validate.portcullis.dev"}; !slices.Equal(got, want) {
			t.Errorf("an update of pods/%s reaches %v, want %v", sub, got, want)
		}
	}
}

func TestBypass38_RulesForNamespacesBringFinalizeAndStatus(t *testing.T) {
	configurations, err := Compute([]policies.Interest{{Resource: "namespaces", Operation: "UPDATE", Validates: true, FailClosed: true}}, inCluster)
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"", "finalize", "status"} {
		got := reached(t, configurations.Validating, request{operation: "UPDATE", resource: "namespaces", sub: sub, user: "alice"})
		if want := []string{"fail.validate.portcullis.dev"}; !slices.Equal(got, want) {
			t.Errorf("an update of namespaces/%s reaches %v, want %v", sub, got, want)
		}
	}
}

func TestBypass37_NoSelectorExemptsANamespaceOrObject(t *testing.T) {
	configurations, err := Compute(interests, inCluster)
	if err != nil {
		t.Fatal(err)
	}
	var named int
	check := func(name string, namespaces, objects *metav1.LabelSelector, rules []admissionregistrationv1.RuleWithOperations) {
		if objects != nil {
			t.Errorf("%s selects objects by %v, want none left out", name, objects)
		}
		if !strings.Contains(name, "-namespaces") {
			if namespaces != nil {
				t.Errorf("%s selects namespaces by %v, want none left out", name, namespaces)
			}
			return
		}
		named++
		if namespaces == nil || len(namespaces.MatchLabels) > 0 || len(namespaces.MatchExpressions) != 1 ||
			namespaces.MatchExpressions[0].Key != "kubernetes.io/metadata.name" || namespaces.MatchExpressions[0].Operator != metav1.LabelSelectorOpIn {
			t.Errorf("%s selects namespaces by %v, want only their names", name, namespaces)
		}
		for _, rule := range rules {
			if *rule.Scope != admissionregistrationv1.NamespacedScope {
				t.Errorf("%s is for %v of scope %s, want what is in namespaces", name, rule.Resources, *rule.Scope)
			}
		}
	}
	for _, webhook := range configurations.Validating.Webhooks {
		check(webhook.Name, webhook.NamespaceSelector, webhook.ObjectSelector, webhook.Rules)
	}
	for _, webhook := range configurations.Mutating.Webhooks {
		check(webhook.Name, webhook.NamespaceSelector, webhook.ObjectSelector, webhook.Rules)
	}
	if want := 4; named != want {
		t.Errorf("%d entries are for named namespaces, want %d: two that fail, one to recover, one that ignores", named, want)
	}
}

func TestBypass39_NoNamespaceIsExempt(t *testing.T) {
	configurations, err := Compute(interests, inCluster)
	if err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{"kube-system", "kube-public", "kube-node-lease", "portcullis", "default"} {
		got := reached(t, configurations.Validating, request{resource: "pods", namespace: namespace, user: "system:serviceaccount:" + namespace + ":deployer",
			object: map[string]any{"metadata": map[string]any{}, "spec": map[string]any{}}})
		if want := []string{"fail.validate.portcullis.dev"}; !slices.Equal(got, want) {
			t.Errorf("a pod in %s reaches %v, want %v", namespace, got, want)
		}
	}
}

func TestStaticWebhooksGuardAdmissionConfiguration(t *testing.T) {
	static, err := ComputeStatic(interests, Options{URL: "https://webhook.example:8443/"})
	if err != nil {
		t.Fatal(err)
	}
	got := reached(t, static.Validating, request{operation: "DELETE", group: "admissionregistration.k8s.io", resource: "validatingwebhookconfigurations", user: "alice"})
	if want := []string{"fail.validate.portcullis.dev"}; !slices.Equal(got, want) {
		t.Errorf("deleting a webhook configuration reaches %v, want %v", got, want)
	}
	if got, want := static.Validating.Name, "portcullis.static.k8s.io"; got != want {
		t.Errorf("the name is %q, want %q", got, want)
	}
	if got, want := *static.Validating.Webhooks[0].ClientConfig.URL, "https://webhook.example:8443/validate"; got != want {
		t.Errorf("the URL is %q, want %q", got, want)
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		options Options
		want    string
	}{
		"neither service nor URL":   {Options{}, "either a service or a URL"},
		"both":                      {Options{Service: &Service{"a", "b", 0}, URL: "https://a"}, "either a service or a URL"},
		"a URL without TLS":         {Options{URL: "http://a"}, "https://host"},
		"a URL with a query":        {Options{URL: "https://a/?b"}, "https://host"},
		"a timeout beyond the cap":  {Options{URL: "https://a", TimeoutSeconds: 31}, "1 to 30"},
		"a static one on a service": {Options{Service: &Service{"a", "b", 0}}, "cannot name a service"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compute(interests, test.options)
			if strings.HasPrefix(name, "a static") {
				_, err = ComputeStatic(interests, test.options)
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestWithoutInterestsThereIsNoConfiguration(t *testing.T) {
	configurations, err := Compute(nil, inCluster)
	if err != nil {
		t.Fatal(err)
	}
	if configurations.Validating != nil || configurations.Mutating != nil {
		t.Errorf("got %+v, want neither configuration", configurations)
	}
}

// request is an admission request as match conditions see it.
type request struct {
	operation            string // CREATE if empty
	group, resource, sub string
	namespace, name      string
	user                 string
	groups               []string
	object, old          map[string]any
}

// cel gives the variables. The API server leaves empty fields out of request.
func (r request) cel() map[string]any {
	variables := map[string]any{
		"operation": r.operation,
		"resource":  map[string]any{"group": r.group, "version": "v1", "resource": r.resource},
		"userInfo":  map[string]any{"username": r.user, "groups": append([]string{"system:authenticated"}, r.groups...)},
	}
	for key, value := range map[string]string{"subResource": r.sub, "namespace": r.namespace, "name": r.name} {
		if value != "" {
			variables[key] = value
		}
	}
	return variables
}

// reached are the entries whose rules match and whose conditions all hold.
func reached(t *testing.T, configuration *admissionregistrationv1.ValidatingWebhookConfiguration, r request) []string {
	t.Helper()
	if r.operation == "" {
		r.operation = "CREATE"
	}
	if configuration == nil {
		return nil
	}
	var names []string
	for _, webhook := range configuration.Webhooks {
		if !selects(t, webhook.NamespaceSelector, r) || !slices.ContainsFunc(webhook.Rules, func(rule admissionregistrationv1.RuleWithOperations) bool { return matchesRule(rule, r) }) {
			continue
		}
		holds := true
		for _, condition := range webhook.MatchConditions {
			holds = holds && evaluate(t, condition, r)
		}
		if holds {
			names = append(names, webhook.Name)
		}
	}
	return names
}

// selects follows k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/namespace, with
// the one label that every namespace has.
func selects(t *testing.T, selector *metav1.LabelSelector, r request) bool {
	t.Helper()
	if selector == nil || r.namespace == "" && r.resource != "namespaces" {
		return true
	}
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Matches(labels.Set{"kubernetes.io/metadata.name": r.namespace})
}

// matchesRule follows k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules.
func matchesRule(rule admissionregistrationv1.RuleWithOperations, r request) bool {
	wild := func(items []string, item string) bool {
		return slices.Contains(items, "*") || slices.Contains(items, item)
	}
	name := r.resource
	if r.sub != "" {
		name += "/" + r.sub
	}
	if *rule.Scope == admissionregistrationv1.NamespacedScope && (r.namespace == "" || r.group == "" && r.resource == "namespaces") {
		return false
	}
	return slices.Contains(rule.Operations, admissionregistrationv1.OperationType(r.operation)) && wild(rule.APIGroups, r.group) &&
		slices.ContainsFunc(rule.Resources, func(pattern string) bool { return matchesName(pattern, name) })
}

var programs = map[string]cel.Program{}

func evaluate(t *testing.T, condition admissionregistrationv1.MatchCondition, r request) bool {
	t.Helper()
	program := programs[condition.Expression]
	if program == nil {
		environment, err := cel.NewEnv(cel.Variable("request", cel.DynType), cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType))
		if err != nil {
			t.Fatal(err)
		}
		ast, issues := environment.Compile(condition.Expression)
		if issues.Err() != nil {
			t.Fatalf("condition %s: %v", condition.Name, issues.Err())
		}
		if program, err = environment.Program(ast); err != nil {
			t.Fatal(err)
		}
		programs[condition.Expression] = program
	}
	value := func(object map[string]any) any {
		if object == nil {
			return nil
		}
		return object
	}
	result, _, err := program.Eval(map[string]any{"request": r.cel(), "object": value(r.object), "oldObject": value(r.old)})
	if err != nil {
		t.Fatalf("condition %s on %+v: %v", condition.Name, r, err)
	}
	holds, ok := result.Value().(bool)
	if !ok {
		t.Fatalf("condition %s gives %v", condition.Name, fmt.Sprint(result))
	}
	return holds
}
