package policies

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
)

const aboutSyncs = "match: {syncs: {}}\n"

// syncRequest is a request to read secret/shop/db into the namespace shop, or what change makes of it.
func syncRequest(operation string, change func(*secrets.Sync)) *Request {
	s := &secrets.Sync{
		Object:     secrets.SyncObject{Kind: "VaultSecret", Namespace: "shop", Name: "db", Labels: map[string]string{"app": "shop"}},
		Connection: secrets.SyncConnection{Name: "main", Address: "https://vault.example.com"},
		Vault:      secrets.SyncPlace{Engine: secrets.EngineKV2, Mount: "secret", Path: "shop/db", Segments: []string{"shop", "db"}},
	}
	if change != nil {
		change(s)
	}
	return &Request{
		Door: DoorSecrets, Operation: operation, Namespace: s.Object.Namespace, Name: s.Object.Name, Sync: s,
		Resource: metav1.GroupVersionResource{Group: syncGroup, Version: "v1alpha1", Resource: syncResources[operation]},
		Kind:     metav1.GroupVersionKind{Group: syncGroup, Version: "v1alpha1", Kind: s.Object.Kind},
	}
}

// said are the permits that count and what objects.
func said(result Result) []string {
	all := []string{}
	for n := range result.Permits {
		if result.Permits[n].Counts() {
			all = append(all, "permit: "+result.Permits[n].Message)
		}
	}
	for _, f := range result.Findings {
		all = append(all, string(f.Effect)+": "+f.Message)
	}
	for _, f := range result.Faults {
		all = append(all, "fault: "+f.Message)
	}
	for _, u := range result.Undecided {
		all = append(all, "undecided: "+u.Reason)
	}
	return all
}

func TestAPolicyAboutSyncsReadsWhatIsAskedFor(t *testing.T) {
	const rules = `allow_sync contains sprintf("%s may read %s of %s", [input.namespace.name, input.sync.vault.path, input.sync.connection.address]) if {
	input.namespace.labels.team == input.sync.vault.segments[0]
	input.sync.object.labels.app == "shop"
}

deny contains {"msg": "too old", "path": "spec.source"} if input.sync.secret.ageSeconds > 86400

warn contains "a push" if input.request.operation == "PUSH"`
	const permitted = "permit: shop may read shop/db of https://vault.example.com"
	for name, test := range map[string]struct {
		matching, operation string
		change              func(*secrets.Sync)
		want                []string
	}{
		"before it is read":           {aboutSyncs, OperationSync, nil, []string{permitted}},
		"a push":                      {aboutSyncs, OperationPush, nil, []string{permitted, "warn: a push"}},
		"after it was read":           {aboutSyncs, OperationSync, func(s *secrets.Sync) { s.Secret = &secrets.SyncResult{AgeSeconds: 3600} }, []string{permitted}},
		"after it was read, and old":  {aboutSyncs, OperationSync, func(s *secrets.Sync) { s.Secret = &secrets.SyncResult{AgeSeconds: 90000} }, []string{permitted, "deny: too old"}},
		"of an engine it is about":    {"match: {syncs: {engines: [kv-v2]}}\n", OperationSync, nil, []string{permitted}},
		"of another engine":           {"match: {syncs: {engines: [pki]}}\n", OperationSync, nil, []string{}},
		"of a Vault it is about":      {"match: {syncs: {connections: ['ma*']}}\n", OperationSync, nil, []string{permitted}},
		"of another Vault":            {"match: {syncs: {connections: [other]}}\n", OperationSync, nil, []string{}},
		"of another operation":        {"match: {syncs: {operations: [PUSH]}}\n", OperationSync, nil, []string{}},
		"a path of somebody else":     {aboutSyncs, OperationSync, func(s *secrets.Sync) { s.Vault.Segments = []string{"web", "db"} }, []string{"deny: nothing permits reading secret/shop/db (kv-v2) for namespace shop: of the policies that could permit it (secrets/x), none does"}},
		"a path that only looks like": {aboutSyncs, OperationSync, func(s *secrets.Sync) { s.Vault.Segments = []string{"shop-evil", "db"} }, []string{"deny: nothing permits reading secret/shop/db (kv-v2) for namespace shop: of the policies that could permit it (secrets/x), none does"}},
	} {
		t.Run(name, func(t *testing.T) {
			engine := mustCompile(t, bundleFiles("policies: [{policy: secrets/x}]\n", "x.rego", regoPolicy("secrets/x", test.matching, rules)))
			request := syncRequest(test.operation, test.change)
			if needs := engine.Needs(request, PhaseSync); len(test.want) > 0 && needs.Namespace != "shop" {
				t.Errorf("got needs %+v, want the namespace", needs)
			}
			facts := &Facts{Namespace: &Namespace{Name: "shop", Labels: map[string]string{"team": "shop"}}}
			if got := said(engine.Evaluate(t.Context(), request, facts, noon, PhaseSync)); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhatIsNotKnownPermitsNothing(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: secrets/x}]\n", "x.rego", regoPolicy("secrets/x",
		aboutSyncs+"reads: [{group: '', resource: serviceaccounts, scope: namespace, more: allows}]\n",
		`allow_sync contains "there are some" if count(input.cluster) >= 0`)))
	facts := &Facts{Partial: map[Read]string{{Resource: "serviceaccounts", Namespace: "shop"}: "not watched"}}
	result := engine.Evaluate(t.Context(), syncRequest(OperationSync, nil), facts, noon, PhaseSync)
	if len(result.Permits) != 0 || len(result.Findings) == 0 {
		t.Errorf("got %q, want no permit", said(result))
	}
}

func TestASyncIsNotAskedAboutAtTheAPIServer(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: secrets/x}]\n", "x.rego", regoPolicy("secrets/x", aboutSyncs, `allow_sync contains "a"`)))
	if interests := engine.Interests(""); len(interests) != 0 {
		t.Errorf("got %+v, want none", interests)
	}
	if engine.Matches(&Request{Operation: "CREATE", Resource: metav1.GroupVersionResource{Group: syncGroup, Resource: "vaultsecrets"}}) {
		t.Error("it matches the creation of a VaultSecret")
	}
}

func TestPoliciesAboutSyncsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, test := range map[string]struct{ metadata, rules, want string }{
		"a rule of another policy":    {"match: {workload: any}\n", `allow_sync contains "a"`, "match: {syncs: {}}"},
		"a patch":                     {aboutSyncs, `patch contains {"path": ["a"], "set": 1}`, "nothing to patch"},
		"workloads beside it":         {"match: {workload: any, syncs: {}}\n", `allow_sync contains "a"`, "nothing beside syncs"},
		"an operation that it is not": {"match: {syncs: {operations: [CREATE]}}\n", `allow_sync contains "a"`, "use SYNC or PUSH"},
		"operations in the old place": {"match: {syncs: {}, operations: [SYNC]}\n", `allow_sync contains "a"`, "stand below syncs"},
		"an engine that there is not": {"match: {syncs: {engines: [kv]}}\n", `allow_sync contains "a"`, "kv-v1"},
		"a rule that is no set":       {aboutSyncs, `allow_sync if true`, "must be a set"},
		"a field that there is not":   {aboutSyncs, `allow_sync contains "a" if input.sync.vault.mout == "x"`, "mout"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := compileFiles(bundleFiles("policies: [{policy: secrets/x}]\n", "x.rego", regoPolicy("secrets/x", test.metadata, test.rules)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
		})
	}
}
