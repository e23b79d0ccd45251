package admission_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/secrets"
)

// permitting is a revision of a bundle whose only policy is about syncs, with the rules given.
func permitting(t *testing.T, bundle, enforcement, rules string) admission.Ready {
	t.Helper()
	files := fstest.MapFS{
		"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: " + bundle + "\nserial: 1\npolicies: [{policy: secrets/x, enforcement: " + enforcement + "}]\n")},
		"x.rego": {Data: []byte("# METADATA\n# title: X\n# description: X.\n# custom:\n#   severity: high\n#   match: {syncs: {}}\n#   remediation: Look.\n" +
			"package portcullis.secrets.x\n\n" + rules + "\n")},
	}
	loaded, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(loaded)
	if err != nil {
		t.Fatal(err)
	}
	return admission.ReadyEngine(engine)
}

// dbSync is a request to read secret/shop/db into the namespace shop.
func dbSync() admission.Request {
	return admission.Request{
		Door: admission.DoorSecrets, Operation: policies.OperationSync, Namespace: "shop", Name: "db",
		Resource: metav1.GroupVersionResource{Group: "secrets.portcullis.dev", Version: "v1alpha1", Resource: "vaultsecrets"},
		Kind:     metav1.GroupVersionKind{Group: "secrets.portcullis.dev", Version: "v1alpha1", Kind: "VaultSecret"},
		Sync: &secrets.Sync{
			Object: secrets.SyncObject{Kind: "VaultSecret", Namespace: "shop", Name: "db"},
			Vault:  secrets.SyncPlace{Engine: secrets.EngineKV2, Mount: "secret", Path: "shop/db", Segments: []string{"shop", "db"}},
		},
	}
}

func TestASyncNeedsAPermitAndNoDenial(t *testing.T) {
	const own, never, denies, breaks = `allow_sync contains "own path" if input.sync.vault.segments[0] == input.sync.object.namespace`,
		`allow_sync contains "never" if input.sync.vault.mount == "other"`,
		`deny contains "no" if input.sync.vault.engine == "kv-v2"`,
		"allow_sync contains \"x\"\nallow_sync contains x if x := 1"
	all, shop := (func(string) bool)(nil), in("shop")
	member := func(bundle, enforcement, rules string, namespaces func(string) bool) admission.Member {
		return admission.Member{Active: permitting(t, bundle, enforcement, rules), Namespaces: namespaces}
	}
	for name, test := range map[string]struct {
		members  []admission.Member
		admitted bool
		says     string // in a finding or fault that is there
	}{
		"one that permits":                           {[]admission.Member{member("a", "deny", own, all)}, true, ""},
		"one that does not":                          {[]admission.Member{member("a", "deny", never, all)}, false, "of the policies that could permit it (secrets/x), none does"},
		"one that only denies other things":          {[]admission.Member{member("a", "deny", `deny contains "no" if input.sync.vault.engine == "pki"`, all)}, false, "no policy that is enforced"},
		"one that permits, another one that denies":  {[]admission.Member{member("a", "deny", own, all), member("b", "deny", denies, all)}, false, "no"},
		"one that permits and denies":                {[]admission.Member{member("a", "deny", own+"\n"+denies, all)}, false, "no"},
		"one on trial permits nothing":               {[]admission.Member{member("a", "audit", own, all)}, false, "no policy that is enforced"},
		"one that warns permits nothing":             {[]admission.Member{member("a", "warn", own, all)}, false, "no policy that is enforced"},
		"a denial on trial denies nothing":           {[]admission.Member{member("a", "deny", own, all), member("b", "audit", denies, all)}, true, ""},
		"two bundles, of which one does not permit":  {[]admission.Member{member("a", "deny", own, all), member("b", "deny", never, all)}, false, "none does"},
		"a tenant cannot permit himself":             {[]admission.Member{member("t", "deny", own, shop)}, false, "only bundles of tenants"},
		"nor where the cluster's bundle is about it": {[]admission.Member{member("a", "deny", never, all), member("t", "deny", own, shop)}, false, "none does"},
		"a tenant may refuse":                        {[]admission.Member{member("a", "deny", own, all), member("t", "deny", never, shop)}, false, "none does"},
		"a tenant of another namespace is not asked": {[]admission.Member{member("a", "deny", own, all), member("t", "deny", denies, in("web"))}, true, ""},
		"a permit that is no text is a fault":        {[]admission.Member{member("a", "deny", breaks, all)}, false, "a finding is not"},
		"no bundle":                                  {nil, false, "no bundle is loaded"},
	} {
		t.Run(name, func(t *testing.T) {
			verdict := lineup(test.members...).Sync(t.Context(), dbSync())
			var said []string
			for _, f := range verdict.Findings {
				said = append(said, f.Message)
			}
			for _, f := range verdict.Faults {
				said = append(said, f.Message)
			}
			if verdict.Admitted != test.admitted || test.says == "" && len(verdict.Permits) == 0 ||
				test.says != "" && !slices.ContainsFunc(said, func(text string) bool { return strings.Contains(text, test.says) }) {
				t.Errorf("got admitted %v, permits %+v, and %q, want %v and %q", verdict.Admitted, verdict.Permits, said, test.admitted, test.says)
			}
		})
	}
}

func TestARequestWithoutASyncIsPermittedNothing(t *testing.T) {
	request := dbSync()
	request.Sync = nil
	if v := lineup(admission.Member{Active: permitting(t, "a", "deny", `allow_sync contains "all"`)}).Sync(t.Context(), request); v.Admitted {
		t.Errorf("got %+v, want it refused", v)
	}
}

func TestPoliciesOfOtherDoorsPermitNoSync(t *testing.T) {
	v := lineup(admission.Member{Active: ready(t, "pods", 1, nothing)}).Sync(t.Context(), dbSync())
	if v.Admitted || len(v.Findings) != 1 || v.Findings[0].Policy != policies.NoPermit {
		t.Errorf("got %+v, want one finding that nothing permits it", v)
	}
}
