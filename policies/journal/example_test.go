package journal_test

import (
	"context"
	"fmt"
	"os"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/journal"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// bundle is a bundle of one policy with a rule.
func bundle(rule string) *policies.Engine {
	loaded, err := policies.Load(fstest.MapFS{
		"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: example\nserial: 1\npolicies: [{policy: pods/host}]\n")},
		"host.rego": {Data: []byte(`# METADATA
# title: Host network
# description: Sees the traffic of its node.
# custom:
#   severity: high
#   match: {workload: any}
#   remediation: Leave hostNetwork out.
package portcullis.pods.host

` + rule + "\n")},
	})
	if err != nil {
		panic(err)
	}
	engine, err := policies.NewEngine(loaded)
	if err != nil {
		panic(err)
	}
	return engine
}

// A decision is kept, and judged again by the bundle of tomorrow.
func Example() {
	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	kept, err := journal.Open(journal.Options{Dir: dir, Allows: 1})
	if err != nil {
		panic(err)
	}
	request := admission.Request{
		Door: admission.DoorAdmission, UID: "1", Operation: "CREATE", Namespace: "shop", Name: "web",
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Object: []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},"spec":{"hostNetwork":true,"containers":[{"name":"a","image":"a"}]}}`),
	}
	today := admission.NewReviewer(bundle(`warn contains "it uses the network of its node" if input.workload.hostNetwork`), nil, time.Now)
	kept.Record(context.Background(), &admission.Decision{ID: "d1", Time: time.Now(), Outcome: "admitted", Request: request, Verdict: today.Review(context.Background(), request)})
	if err := kept.Close(context.Background()); err != nil {
		panic(err)
	}

	tomorrow := admission.Solo(bundle(`deny contains "it uses the network of its node" if input.workload.hostNetwork`))
	report, err := journal.Replay(context.Background(), dir, journal.ReplayOptions{After: tomorrow})
	if err != nil {
		panic(err)
	}
	for _, change := range report.Changes {
		fmt.Println(change.Effect, change.Object, change.Policies[0].Policy, change.Policies[0].Before, change.Policies[0].After)
	}
	// Output: newlyDenied pods web pods/host warns denies
}
