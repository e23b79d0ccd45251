package admissionpolicy_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/admissionpolicy"
	"github.com/portcullis-dev/portcullis/policies/sample"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// tester is the only one whose requests the policies judge, so that they are in nobody's way.
const tester = "tester"

// everything is a bundle that enforces all policies that are written in CEL, with the parameters of their samples.
func everything(t *testing.T) (*policies.Bundle, map[string]*sample.Suite) {
	t.Helper()
	bundle := libraryBundle(t)
	suites := map[string]*sample.Suite{}
	bundle.Manifest = policies.Manifest{APIVersion: policies.APIVersion, Kind: "Bundle", Name: "everything", Serial: 1}
	for id, policy := range bundle.Policies {
		if policy.CEL == nil {
			continue
		}
		suite, err := sample.Load(os.DirFS("../library"), policy)
		if err != nil {
			t.Fatal(err)
		}
		suites[id] = suite
		bundle.Manifest.Policies = append(bundle.Manifest.Policies, policies.Instance{
			Policy: id, Parameters: suite.Parameters, Match: &policies.Match{Users: []string{tester}},
		})
	}
	return bundle, suites
}

// A real API server takes every exported policy, its type checker has nothing to say of any, each refuses its deny samples and
// none its allow samples, so far as the API server lets them come so far.
func TestAnAPIServerEnforcesWhatIsExported(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a control plane")
	}
	bundle, suites := everything(t)
	options := admissionpolicy.Options{Now: sample.Now}
	options.Exempt, options.ExemptPods = configuration.Exempt()
	result, err := admissionpolicy.Export(bundle, options)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Exported) != len(suites) {
		t.Fatalf("got %d exported, want %d: left %v", len(result.Exported), len(suites), result.Left)
	}
	control, err := cluster.Start(t.Context(), cluster.Options{Dir: t.TempDir(), Users: []cluster.User{{Name: tester, Groups: []string{"system:masters"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = control.Stop() })
	config := unhurried(t, control, tester)
	admin, err := kubernetes.NewForConfig(unhurried(t, control, cluster.Admin))
	if err != nil {
		t.Fatal(err)
	}
	create(t, admin, result)
	makeNamespaces(t, admin, suites)
	waitUntilEnforced(t, config)
	t.Run("samples", func(t *testing.T) { trySamples(t, config, result, suites) })
	t.Run("type checking", func(t *testing.T) { checkTypes(t, admin, result) })
}

// unhurried is how a user reaches the API server, as fast as it answers.
func unhurried(t *testing.T, control *cluster.Cluster, user string) *rest.Config {
	t.Helper()
	config, err := control.Config(user)
	if err != nil {
		t.Fatal(err)
	}
	config = rest.CopyConfig(config)
	config.QPS = -1
	return config
}

func create(t *testing.T, admin kubernetes.Interface, result *admissionpolicy.Result) {
	t.Helper()
	api := admin.AdmissionregistrationV1()
	for n := range result.Exported {
		e := &result.Exported[n]
		if _, err := api.ValidatingAdmissionPolicies().Create(t.Context(), e.Object, metav1.CreateOptions{}); err != nil {
			t.Errorf("creating %s: %v", e.Name, err)
		}
		if _, err := api.ValidatingAdmissionPolicyBindings().Create(t.Context(), e.Binding, metav1.CreateOptions{}); err != nil {
			t.Errorf("binding %s: %v", e.Name, err)
		}
	}
}

// makeNamespaces makes those that samples are in, with their default service accounts.
func makeNamespaces(t *testing.T, admin kubernetes.Interface, suites map[string]*sample.Suite) {
	t.Helper()
	made := map[string]bool{}
	for _, suite := range suites {
		for _, s := range suite.Samples {
			for _, request := range s.Requests() {
				if name := request.Namespace; name != "" && !made[name] && request.Resource.Resource != "namespaces" {
					made[name] = true
					// Some are there already.
					_, _ = admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
				}
			}
		}
	}
	for name := range made {
		clustertest.Eventually(t, "the default service account of "+name, func() error {
			_, err := admin.CoreV1().ServiceAccounts(name).Get(t.Context(), "default", metav1.GetOptions{})
			return err
		})
	}
}

// waitUntilEnforced waits until the last policies refuse: API servers follow what is created with some delay.
func waitUntilEnforced(t *testing.T, config *rest.Config) {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	role := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": "everything"},
		"rules": []any{map[string]any{"apiGroups": []any{"*"}, "resources": []any{"*"}, "verbs": []any{"*"}}},
	}}
	raw, _ := role.MarshalJSON()
	clustertest.Eventually(t, "refusing a role with every right", func() error {
		err := client.RbacV1().RESTClient().Post().Resource("clusterroles").Param("dryRun", metav1.DryRunAll).Body(raw).Do(t.Context()).Error()
		if err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
}

// trySamples asks for the creation of each sample.
func trySamples(t *testing.T, config *rest.Config, result *admissionpolicy.Result, suites map[string]*sample.Suite) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	var refused, admitted, never atomic.Int64
	var all errgroup.Group
	all.SetLimit(8)
	for n := range result.Exported {
		e := &result.Exported[n]
		for _, s := range suites[e.Policy].Samples {
			for _, request := range s.Requests() {
				if request.Operation != "CREATE" || request.SubResource != "" || request.Subject.Username != "" ||
					!scheme.Scheme.Recognizes(schema.GroupVersionKind(request.Kind)) || !strings.Contains(string(request.Object), `"apiVersion"`) {
					continue
				}
				all.Go(func() error {
					err := tryOne(t.Context(), client, &request)
					own := err != nil && strings.Contains(err.Error(), fmt.Sprintf("ValidatingAdmissionPolicy '%s'", e.Name))
					byPolicy := err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy '")
					switch {
					case err != nil && strings.Contains(err.Error(), "resulted in error"):
						t.Errorf("%s: an expression fails: %v", s.File, err)
					case s.Kind == sample.Allow && own:
						t.Errorf("%s: got it refused by its policy, want it admitted: %v", s.File, err)
					case s.Kind == sample.Deny && err == nil && len(s.Requests()) == 1:
						t.Errorf("%s: got it admitted, want it refused", s.File)
					case byPolicy:
						refused.Add(1)
					case err == nil:
						admitted.Add(1)
					default:
						never.Add(1)
					}
					return nil
				})
			}
		}
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	if refused.Load() < 200 || admitted.Load() < 5 {
		t.Errorf("got %d refused by policies, %d admitted and %d refused by the API server before, want more", refused.Load(), admitted.Load(), never.Load())
	}
	t.Logf("%d refused by policies, %d admitted, %d refused by the API server before", refused.Load(), admitted.Load(), never.Load())
}

func tryOne(ctx context.Context, client dynamic.Interface, request *policies.Request) error {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(request.Object); err != nil {
		return err
	}
	resources := client.Resource(schema.GroupVersionResource(request.Resource))
	options := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	var err error
	if request.Namespace == "" || request.Resource.Resource == "namespaces" {
		_, err = resources.Create(ctx, object, options)
	} else {
		object.SetNamespace(request.Namespace)
		_, err = resources.Namespace(request.Namespace).Create(ctx, object, options)
	}
	return err
}

// checkTypes waits for the controller that checks expressions against the schemas of what the policies are about.
func checkTypes(t *testing.T, admin kubernetes.Interface, result *admissionpolicy.Result) {
	api := admin.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	for n := range result.Exported {
		name := result.Exported[n].Name
		clustertest.Eventually(t, "checking the types of "+name, func() error {
			policy, err := api.Get(t.Context(), name, metav1.GetOptions{})
			switch {
			case err != nil:
				return err
			case policy.Status.TypeChecking == nil:
				return fmt.Errorf("it is not checked yet")
			}
			for _, warning := range policy.Status.TypeChecking.ExpressionWarnings {
				t.Errorf("%s: %s: %s", name, warning.FieldRef, warning.Warning)
			}
			return nil
		})
	}
}
