package response_test

import (
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// A shell in a pod of a Deployment: two policies ask for something, and one of them only records.
func ExampleNewPlan() {
	event := &response.Event{
		Rule: "Terminal shell in container", Priority: response.Critical, Time: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC),
		Pod: &response.Pod{Namespace: "shop", Name: "web-5d4f-x2x7k", UID: "6f1c", Node: "node-1"},
		Owner: &response.Owner{Group: "apps", Version: "v1", Kind: "Deployment", Name: "web", Desired: 3, Ready: 3,
			Direct: &response.Owner{Group: "apps", Version: "v1", Kind: "ReplicaSet", Name: "web-5d4f"}},
	}
	asks := []response.Ask{
		{Policy: "runtime/reverse-shell", Bundle: "acme", Mode: response.ModeEnforce, Action: response.Isolate},
		{Policy: "runtime/terminal", Bundle: "acme", Mode: response.ModeAudit, Action: response.Delete},
	}
	settings := map[string]response.Settings{"acme": {Mode: response.ModeEnforce}}
	plan, err := response.NewPlan(event, asks, settings, response.Facts{Own: "portcullis-system"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(plan.Name, plan.Mode, plan.TTL)
	for _, a := range plan.Actions {
		fmt.Printf("%s: %s\n", a.Action, a.Reason)
	}
	for _, r := range plan.Refused {
		fmt.Printf("not %s: %s\n", r.Action, r.Reason)
	}
	// Output:
	// q-4d482d944eb0a6761a09 enforce 24h0m0s
	// snapshot: evidence is kept before anything is taken from the pod
	// isolate: ReplicaSet web-5d4f lets it go and replaces it
	// not delete: policy runtime/terminal only records here; the mode of its bundle, namespace or policy would have to allow more
}
