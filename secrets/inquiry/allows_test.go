package inquiry_test

import (
	"testing"

	"github.com/portcullis-dev/portcullis/secrets/inquiry"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Vault Secrets Operator #652: what is set up as a default lets every namespace read everything.
func TestVSO652NoNamespaceMayUseAConnectionUnlessItIsListed(t *testing.T) {
	namespaces := []string{"shop", "shop-a", "shop-a-b", "shops", "sho", "workshop", "web", "default", "kube-system", "portcullis-system"}
	for name, test := range map[string]struct {
		listed []string
		want   []string // of namespaces
	}{
		"no list":                             {nil, nil},
		"an empty list":                       {[]string{}, nil},
		"an empty name":                       {[]string{""}, nil},
		"one by name, and none like it":       {[]string{"shop"}, []string{"shop"}},
		"two by name":                         {[]string{"shop", "web"}, []string{"shop", "web"}},
		"a name in capitals":                  {[]string{"Shop"}, nil},
		"a name with a space":                 {[]string{" shop", "shop "}, nil},
		"two names in one text":               {[]string{"shop,web", "shop web", "shop\nweb"}, nil},
		"a regular expression":                {[]string{"shop.*", "^shop$", "(shop|web)"}, nil},
		"a glob behind a hyphen":              {[]string{"shop-*"}, []string{"shop-a", "shop-a-b"}},
		"a glob of one character":             {[]string{"shop-?"}, []string{"shop-a"}},
		"a glob before an end":                {[]string{"*shop"}, []string{"shop", "workshop"}},
		"a glob of all":                       {[]string{"*"}, namespaces},
		"a broken glob":                       {[]string{"[shop", "shop["}, nil},
		"a broken glob bars nobody behind it": {[]string{"[shop", "web"}, []string{"web"}},
	} {
		t.Run(name, func(t *testing.T) {
			conn := read[v1alpha1.VaultConnection](t, connectionYAML)
			conn.Spec.AllowedNamespaces = test.listed
			want := map[string]bool{}
			for _, namespace := range test.want {
				want[namespace] = true
			}
			for _, namespace := range namespaces {
				if got := inquiry.Allows(conn, namespace); got != want[namespace] {
					t.Errorf("got %t for %s where %q is listed, want %t", got, namespace, test.listed, want[namespace])
				}
			}
		})
	}
}
