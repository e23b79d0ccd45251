package cluster

import (
	"reflect"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestWrittenExceptionsAreObjectsThatMeanTheSame(t *testing.T) {
	written, err := policies.Excepting([]policies.Violation{
		{Policy: "pods/privileged", Namespace: "shop", Kind: "Pod", Name: "cart", Container: "app"},
		{Policy: "conftest/main.deny_x", Namespace: "shop", Kind: "Pod", Name: "cart"},
		{Policy: "rbac/wildcards", Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "*"},
	}, policies.Terms{Reason: "It ran before the policy did.", Owner: "platform", Expires: "2027-01-31"})
	if err != nil {
		t.Fatal(err)
	}
	if len(written) != 3 {
		t.Fatalf("got %d exceptions, want one for each", len(written))
	}
	created := metav1.NewTime(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	for _, want := range written {
		object := Object(want, "security", "platform")
		if problems := validation.IsDNS1123Subdomain(object.Name); len(problems) > 0 {
			t.Errorf("the name %q is none: %v", object.Name, problems)
		}
		object.CreationTimestamp = created
		got, err := Exception(&object)
		if err != nil {
			t.Fatal(err)
		}
		if got.Grant == nil || *got.Grant != (policies.Grant{Namespace: "security", Bundle: "platform", Created: created.Time}) {
			t.Errorf("got the grant %+v, want that of the object", got.Grant)
		}
		if got.Policy != want.Policy || got.Expires != want.Expires || !reflect.DeepEqual(got.Selector, want.Selector) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}
