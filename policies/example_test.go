package policies_test

import (
	"context"
	"fmt"
	"log"
	"testing/fstest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies"
)

// exampleBundle is a bundle of one policy: bundle.yaml configures what policies/ holds.
var exampleBundle = fstest.MapFS{
	"bundle.yaml": {Data: []byte(`
apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: example
serial: 7
policies:
  - policy: pods/registries
    parameters: {allowed: [ghcr.io]}
`)},
	"policies/registries/policy.rego": {Data: []byte(`
# METADATA
# title: Registries
# description: Images come from registries that are known.
# custom:
#   severity: high
#   match: {workload: any}
#   remediation: Take the image from one of the allowed registries.
#   parameters:
#     properties:
#       allowed: {type: array, items: {type: string}}
package portcullis.pods.registries

deny contains finding if {
	some image in input.workload.images
	not image.registry in input.parameters.allowed
	finding := {"msg": sprintf("%s is not from an allowed registry", [image.ref]), "path": image.path}
}
`)},
}

func Example() {
	bundle, err := policies.Load(exampleBundle)
	if err != nil {
		log.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		log.Fatal(err)
	}
	request := &policies.Request{
		Door: policies.DoorGate, Operation: "CREATE", Namespace: "shop", Name: "shop",
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Object:   []byte(`{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "app", "image": "nginx:1.29"}]}}`),
	}
	// Nothing that this policy reads has to be gathered; if it did, Needs would say so.
	needs := engine.Needs(request, policies.PhaseValidate)
	result := engine.Evaluate(context.Background(), request, &policies.Facts{}, time.Now(), policies.PhaseValidate)
	fmt.Println("nothing to gather:", needs.Empty())
	for _, finding := range result.Findings {
		fmt.Printf("%s (%s) at %s: %s\n", finding.Policy, finding.Severity, finding.Path, finding.Message)
	}
	// Output:
	// nothing to gather: true
	// pods/registries (high) at spec.containers[0].image: docker.io/library/nginx:1.29 is not from an allowed registry
}

// A bundle with a mistake in it is refused as a whole: a rule that is silently not
// applied is a hole.
func ExampleLoad() {
	_, err := policies.Load(fstest.MapFS{
		"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: example\nserial: 1\npolicies: [{policy: pods/privileged}]\n")},
	})
	fmt.Println(err)
	// Output:
	// loading the bundle: profile "default": there is no policy "pods/privileged": correct the name in bundle.yaml
}

// Compiling finds what a policy reads that does not exist.
func ExampleNewEngine() {
	files := fstest.MapFS{
		"bundle.yaml": exampleBundle["bundle.yaml"],
		"policies/registries/policy.rego": {Data: []byte(`
# METADATA
# title: Registries
# description: Images come from registries that are known.
# custom:
#   severity: high
#   match: {workload: any}
#   remediation: Take the image from one of the allowed registries.
#   parameters: {properties: {allowed: {type: array}}}
package portcullis.pods.registries

deny contains "private" if input.request.user == "root"
`)},
	}
	bundle, err := policies.Load(files)
	if err != nil {
		log.Fatal(err)
	}
	_, err = policies.NewEngine(bundle)
	fmt.Println(err != nil)
	// Output:
	// true
}
