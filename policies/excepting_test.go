package policies

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

var untilMay = Terms{Reason: "It ran before the policy did.", Owner: "platform@example.com", Expires: "2026-05-01"}

func TestExceptionsForViolationsWaiveJustThose(t *testing.T) {
	const pod = `{"kind":"Pod","metadata":{"name":"%s"},"spec":{"containers":[{"name":"app","image":"a"},{"name":"log","image":"b"}]}}`
	violations := []Violation{
		{Policy: "pods/x", Namespace: "shop", Kind: "Pod", Name: "cart"},
		{Policy: "pods/x", Namespace: "shop", Kind: "Pod", Name: "cart", Container: "app"},
		{Policy: "pods/x", Namespace: "shop", Kind: "Pod", Name: "till", Container: "app"},
		{Policy: "pods/x", Namespace: "desk", Kind: "Pod", Name: "cart"},
		{Policy: "pods/x", Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "*"},
		{Policy: "pods/x", Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "system:all"},
	}
	exceptions, err := Excepting(violations, untilMay)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		rand.Shuffle(len(violations), func(i, j int) { violations[i], violations[j] = violations[j], violations[i] })
		if again, err := Excepting(violations, untilMay); err != nil || !reflect.DeepEqual(again, exceptions) {
			t.Fatalf("got %+v, %v for another order, want %+v", again, err, exceptions)
		}
	}
	if len(exceptions) != 4 {
		t.Errorf("got %d exceptions, want one each for cart, till's container, desk's cart and the two roles: %+v", len(exceptions), exceptions)
	}
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", perContainer))
	engine.bundle.Exceptions = exceptions
	for name, test := range map[string]struct {
		namespace, object string
		left              []string
	}{
		"the object as a whole":            {"shop", "cart", nil},
		"one container of another":         {"shop", "till", []string{"pods/x: container log", "pods/x: image log", "pods/x: pod"}},
		"the same name in a namespace":     {"desk", "cart", nil},
		"another name in that namespace":   {"desk", "till", []string{"pods/x: container app", "pods/x: image app", "pods/x: container log", "pods/x: image log", "pods/x: pod"}},
		"a name that only begins like one": {"shop", "carts", []string{"pods/x: container app", "pods/x: image app", "pods/x: container log", "pods/x: image log", "pods/x: pod"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := podRequest(fmt.Sprintf(pod, test.object))
			r.Namespace, r.Name = test.namespace, test.object
			wantSpoken(t, judge(t, engine, r, nil), test.left...)
		})
	}
	for role, left := range map[string][]string{"*": nil, "system:all": nil, "admin": {"pods/x: pod"}} {
		r := objectRequest("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", `{}`)
		r.Namespace, r.Name = "", role
		wantSpoken(t, judge(t, engine, r, nil), left...)
	}
}

func TestExceptionsNeedTermsAndNames(t *testing.T) {
	ok := Violation{Policy: "pods/x", Namespace: "shop", Kind: "Pod", Name: "cart"}
	nameless := ok
	nameless.Name = ""
	for name, test := range map[string]struct {
		violation Violation
		terms     Terms
		want      string
	}{
		"an object without a name": {nameless, untilMay, "give it a name"},
		"no expiry":                {ok, Terms{Reason: "r", Owner: "o"}, "expires is required"},
		"no owner":                 {ok, Terms{Reason: "r", Expires: "2026-05-01"}, "owner is required"},
		"no reason":                {ok, Terms{Owner: "o", Expires: "2026-05-01"}, "reason is required"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Excepting([]Violation{test.violation}, test.terms)
			wantRefusal(t, err, test.want)
		})
	}
}
