package policies

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/workload"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func formsRequest() *Request {
	return &Request{
		Door: DoorAdmission, Operation: "UPDATE", Namespace: "shop",
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Object:    json.RawMessage(`{"spec":{"containers":[{"name":"new","image":"a:1"}]}}`),
		OldObject: json.RawMessage(`{"spec":{"containers":[{"name":"old","image":"a:1"}]}}`),
	}
}

func TestEnginesThatShareFindTheNormalFormOnce(t *testing.T) {
	request := formsRequest()
	request.Share(new(workload.Cache))
	copied := *request
	copied.Share(new(workload.Cache)) // changes nothing
	first, err := new(Engine).extract(request, request.Object)
	if err != nil {
		t.Fatal(err)
	}
	second, err := new(Engine).extract(&copied, copied.Object)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != 1 || len(second) != 1 || &first[0] != &second[0] {
		t.Errorf("got %v and %v, want the very same", first, second)
	}
	before := copied
	before.Object, before.OldObject = copied.OldObject, nil
	old, err := new(Engine).extract(&before, before.Object)
	if err != nil || len(old) != 1 || old[0].Containers[0].Name != "old" {
		t.Errorf("got %v, %v, want the normal form of the old object", old, err)
	}
}

func TestWhatIsNotTheSharedRequestIsLookedAtAnew(t *testing.T) {
	other := json.RawMessage(`{"spec":{"containers":[{"name":"other","image":"a:1"}]}}`)
	for name, test := range map[string]struct {
		change func(*Request)
		want   string
	}{
		"another object":                     {func(r *Request) { r.Object = other }, "other"},
		"the same object written elsewhere":  {func(r *Request) { r.Object = slices.Clone(r.Object) }, "new"},
		"a subresource that is no workload":  {func(r *Request) { r.SubResource = "eviction" }, ""},
		"a kind that carries no pod":         {func(r *Request) { r.Kind.Kind = "ConfigMap" }, ""},
		"a part of the object":               {func(r *Request) { r.Object = r.Object[:2] }, "error"},
		"the door of a gate, which searches": {func(r *Request) { r.Door, r.Kind.Kind = DoorGate, "Widget" }, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			request := formsRequest()
			request.Share(new(workload.Cache))
			test.change(request)
			found, err := new(Engine).extract(request, request.Object)
			got := ""
			switch {
			case err != nil:
				got = "error"
			case len(found) > 0:
				got = found[0].Containers[0].Name
			}
			if got != test.want {
				t.Errorf("got %q (%v), want %q", got, err, test.want)
			}
		})
	}
}

func TestAMistakeOfAnObjectIsToldToAllWhoShareIt(t *testing.T) {
	request := formsRequest()
	request.Object = json.RawMessage(`{"spec":{"containers":7}}`)
	request.Share(new(workload.Cache))
	for n := range 2 {
		if found, err := new(Engine).extract(request, request.Object); err == nil {
			t.Errorf("engine %d: got %v and no error", n, found)
		}
	}
}
