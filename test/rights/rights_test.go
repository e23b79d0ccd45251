package rights_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/portcullis-dev/portcullis/test/rights"
)

const log = `{"stage":"ResponseComplete","verb":"get","requestURI":"/api/v1/namespaces/ours/pods/a/log","user":{"username":"system:serviceaccount:ours:one"},"objectRef":{"resource":"pods","namespace":"ours","name":"a","apiVersion":"v1","subresource":"log"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"list","requestURI":"/apis/apps/v1/deployments","user":{"username":"system:serviceaccount:ours:one"},"objectRef":{"resource":"deployments","apiGroup":"apps","apiVersion":"v1"},"responseStatus":{"code":200}}
{"stage":"ResponseStarted","verb":"watch","requestURI":"/apis/coordination.k8s.io/v1/namespaces/ours/leases","user":{"username":"system:serviceaccount:ours:one"},"objectRef":{"resource":"leases","namespace":"ours","apiGroup":"coordination.k8s.io","apiVersion":"v1"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"get","requestURI":"/api/v1/namespaces/ours/secrets/b","user":{"username":"system:serviceaccount:ours:one"},"objectRef":{"resource":"secrets","namespace":"ours","name":"b","apiVersion":"v1"},"responseStatus":{"code":403}}
{"stage":"ResponseComplete","verb":"get","requestURI":"/version","user":{"username":"system:serviceaccount:ours:one"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"get","requestURI":"/api/v1/nodes/x","user":{"username":"ann"},"objectRef":{"resource":"nodes","name":"x"},"responseStatus":{"code":403}}
{"stage":"Resp`

func TestWhatWasUsedAndWhatWasNot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	used, err := rights.ReadLog(file)
	if err != nil || len(used) != 4 {
		t.Fatalf("got %v and %v, want the four requests of the service account about resources", used, err)
	}
	if refused := rights.Refused(used); len(refused) != 1 || refused[0].Name != "b" {
		t.Errorf("got refused %v, want the one about the Secret b", refused)
	}
	namespaced := func(_, resource string) bool { return resource != "nodes" }
	grant := func(g rights.Grant) rights.Grant { g.Account, g.Role = "ours/one", "ClusterRole r"; return g }
	for name, test := range map[string]struct {
		rights.Grant
		unused bool
	}{
		"a subresource in the namespace":              {rights.Grant{Verb: "get", Resource: "pods/log", Namespace: "ours"}, false},
		"the resource itself":                         {rights.Grant{Verb: "get", Resource: "pods", Namespace: "ours"}, true},
		"a list of everything":                        {rights.Grant{Verb: "list", Group: "apps", Resource: "deployments"}, false},
		"a list in one namespace that was everywhere": {rights.Grant{Verb: "list", Group: "apps", Resource: "deployments", Namespace: "ours"}, true},
		"another verb":                                {rights.Grant{Verb: "patch", Group: "apps", Resource: "deployments"}, true},
		"another group":                               {rights.Grant{Verb: "list", Group: "extensions", Resource: "deployments"}, true},
		"everywhere what was used at home":            {rights.Grant{Verb: "watch", Group: "coordination.k8s.io", Resource: "leases"}, true},
		"at home what was used there":                 {rights.Grant{Verb: "watch", Group: "coordination.k8s.io", Resource: "leases", Namespace: "ours"}, false},
		"a name that was asked for":                   {rights.Grant{Verb: "get", Resource: "pods/log", Namespace: "ours", Name: "a"}, false},
		"another name":                                {rights.Grant{Verb: "get", Resource: "pods/log", Namespace: "ours", Name: "c"}, true},
		"what was refused is no use":                  {rights.Grant{Verb: "get", Resource: "secrets", Namespace: "ours", Name: "b"}, true},
	} {
		if unused := rights.Unused([]rights.Grant{grant(test.Grant)}, used, namespaced); (len(unused) == 1) != test.unused {
			t.Errorf("%s: got unused %v, want %v", name, unused, test.unused)
		}
	}
	other := grant(rights.Grant{Verb: "list", Group: "apps", Resource: "deployments"})
	other.Account = "ours/two"
	if unused := rights.Unused([]rights.Grant{other}, used, namespaced); len(unused) != 1 {
		t.Error("what one account did is counted for another")
	}
}
