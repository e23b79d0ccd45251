package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/policies"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

type ownersFunc func(resource schema.GroupVersionResource, namespace, name string) (json.RawMessage, error)

func (o ownersFunc) Owner(_ context.Context, resource schema.GroupVersionResource, namespace, name string) (json.RawMessage, error) {
	return o(resource, namespace, name)
}

// TestBypass17_AnOwnerReferenceIsNotBelieved: a pod is a replacement only from the cluster's controller, of an object that is
// there under the same UID with the same image in the same container.
func TestBypass17_AnOwnerReferenceIsNotBelieved(t *testing.T) {
	const (
		replicaSet = "system:serviceaccount:kube-system:replicaset-controller"
		tagged     = "ghcr.io/acme/app:1"
	)
	pinned := tagged + "@" + digestOf("app")
	template := func(image string) string {
		return `{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"app-1","namespace":"shop","uid":"u1"},"spec":{"template":{"spec":{"containers":[{"name":"app","image":"` + image + `"},{"name":"other","image":"ghcr.io/acme/other:1"}]}}}}`
	}
	owner := policies.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "app-1", UID: "u1"}
	another := func(change func(*policies.OwnerReference)) *policies.OwnerReference {
		changed := owner
		change(&changed)
		return &changed
	}
	for name, test := range map[string]struct {
		owner    *policies.OwnerReference
		username string
		image    string
		template string
		err      error
		want     bool
		unknown  string
		looked   bool
	}{
		"a pod of the template":                                  {&owner, replicaSet, tagged, template(tagged), nil, true, "", true},
		"all controllers are one user":                           {&owner, "system:kube-controller-manager", tagged, template(tagged), nil, true, "", true},
		"pinned at this door, of a tag in the template":          {&owner, replicaSet, pinned, template(tagged), nil, true, "", true},
		"of a digest in the template":                            {&owner, replicaSet, pinned, template(pinned), nil, true, "", true},
		"of another digest in the template":                      {&owner, replicaSet, pinned, template(tagged + "@" + digestOf("old")), nil, false, "", true},
		"of another tag":                                         {&owner, replicaSet, "ghcr.io/acme/app:2", template(tagged), nil, false, "", true},
		"of another container's image":                           {&owner, replicaSet, "ghcr.io/acme/other:1", template(tagged), nil, false, "", true},
		"no owner":                                               {nil, replicaSet, tagged, template(tagged), nil, false, "", false},
		"another UID":                                            {another(func(o *policies.OwnerReference) { o.UID = "u2" }), replicaSet, tagged, template(tagged), nil, false, "", true},
		"no UID":                                                 {another(func(o *policies.OwnerReference) { o.UID = "" }), replicaSet, tagged, template(tagged), nil, false, "", true},
		"no UID, of an object without one":                       {another(func(o *policies.OwnerReference) { o.UID = "" }), replicaSet, tagged, strings.Replace(template(tagged), `,"uid":"u1"`, "", 1), nil, false, "", true},
		"an owner that is not there":                             {&owner, replicaSet, tagged, "", nil, false, "", true},
		"made by a person":                                       {&owner, "jane", tagged, template(tagged), nil, false, "", false},
		"made by another controller":                             {&owner, "system:serviceaccount:kube-system:job-controller", tagged, template(tagged), nil, false, "", false},
		"made by a namesake of the controller":                   {&owner, "system:serviceaccount:shop:replicaset-controller", tagged, template(tagged), nil, false, "", false},
		"a kind of the same name in another group":               {another(func(o *policies.OwnerReference) { o.APIVersion = "evil.example/v1" }), replicaSet, tagged, template(tagged), nil, false, "", false},
		"a kind that no controller of the cluster makes pods of": {another(func(o *policies.OwnerReference) { o.Kind = "Deployment" }), replicaSet, tagged, template(tagged), nil, false, "", false},
		"the API server does not answer":                         {&owner, replicaSet, tagged, "", errors.New("etcd is slow: retry"), false, "whether the pod replaces an admitted one of ReplicaSet shop/app-1: etcd is slow: retry", true},
		"an owner that cannot be read":                           {&owner, replicaSet, tagged, "[]", nil, false, "reading it", true},
	} {
		t.Run(name, func(t *testing.T) {
			looked := false
			facts := start(t, Options{Verifier: signedBy("release"), Owners: ownersFunc(func(resource schema.GroupVersionResource, namespace, name string) (json.RawMessage, error) {
				looked = true
				if got, want := resource.String()+" "+namespace+"/"+name, "apps/v1, Resource=replicasets shop/app-1"; got != want {
					t.Errorf("looked for %s, want %s", got, want)
				}
				if test.template == "" {
					return nil, test.err
				}
				return json.RawMessage(test.template), test.err
			})})
			needs := needing(t, policies.ImageSections{}, test.image)
			needs.Images.Sections = policies.ImageSections{Replacement: true}
			needs.Images.Owner, needs.Images.Subject.Username = test.owner, test.username
			got := gatherOne(t, facts, needs)
			if got.Replacement != test.want || !strings.Contains(got.Unknown.Replacement, test.unknown) || (test.unknown == "") != (got.Unknown.Replacement == "") {
				t.Errorf("replacement %v, unknown %q, want %v, unknown %q", got.Replacement, got.Unknown.Replacement, test.want, test.unknown)
			}
			if looked != test.looked {
				t.Errorf("the owner was looked up: %v, want %v", looked, test.looked)
			}
		})
	}
}

func TestWithoutAClusterAReplacementIsUnknown(t *testing.T) {
	facts := start(t, Options{Verifier: signedBy("release"), NoOwners: "the webhook runs with --no-cluster"})
	needs := needing(t, policies.ImageSections{Replacement: true}, "ghcr.io/acme/app@"+digestOf("app"))
	needs.Images.Owner = &policies.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Name: "import", UID: "u1"}
	needs.Images.Subject.Username = "jane"
	if got := gatherOne(t, facts, needs); got.Unknown.Replacement != "" || got.Replacement {
		t.Errorf("for a person: %v, unknown %q, want that it is none", got.Replacement, got.Unknown.Replacement)
	}
	needs.Images.Subject.Username = "system:serviceaccount:kube-system:job-controller"
	if got := gatherOne(t, facts, needs).Unknown.Replacement; !strings.Contains(got, "--no-cluster") {
		t.Errorf("for the controller: unknown because %q, want --no-cluster", got)
	}
}
