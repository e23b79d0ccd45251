package sample

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/policies"
)

const syncSample = `apiVersion: policy.portcullis.dev/v1alpha1
kind: SecretSync
sync:
  object: {namespace: shop}
  vault: {engine: kv-v2, mount: secret, path: shop/db}
`

func TestSamplesOfSyncs(t *testing.T) {
	const permits = `allow_sync contains "own" if input.sync.vault.segments[0] == input.sync.object.namespace`
	const denies = `deny contains "no" if input.sync.vault.segments[0] != input.sync.object.namespace`
	other := strings.Replace(syncSample, "shop/db", "shop-evil/db", 1)
	for name, test := range map[string]struct{ rules, kind, sample, want string }{
		"one that is permitted":                 {permits, "permit", syncSample, ""},
		"one that is not":                       {permits, "permit", other, "want it permitted, got"},
		"one that is refused":                   {permits, "refuse", other, ""},
		"one that is not refused":               {permits, "refuse", syncSample, "want it refused"},
		"one that is not denied":                {denies, "permit", syncSample, ""},
		"one that is denied":                    {denies, "refuse", other, ""},
		"one that is wrongly not denied":        {denies, "refuse", syncSample, "want it refused"},
		"a field that there is not":             {permits, "permit", syncSample + "  foo: 1\n", "foo"},
		"an operation that there is not":        {permits, "permit", syncSample + "operation: CREATE\n", "use SYNC or PUSH"},
		"a push":                                {permits, "permit", syncSample + "operation: PUSH\n", ""},
		"no place":                              {permits, "permit", strings.Replace(syncSample, "engine: kv-v2, ", "", 1), "an engine and a mount"},
		"a policy that is about another engine": {"", "permit", strings.Replace(syncSample, "kv-v2", "pki", 1), "matches nothing"},
		"no sync at all":                        {permits, "permit", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", "holds syncs"},
	} {
		t.Run(name, func(t *testing.T) {
			match, rules := "{syncs: {}}", test.rules
			if rules == "" {
				match, rules = "{syncs: {engines: [kv-v2]}}", permits
			}
			bundle, err := policies.Load(fstest.MapFS{
				"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: a\nserial: 1\npolicies: [{policy: secrets/x}]\n")},
				"x/policy.rego": {Data: []byte("# METADATA\n# title: X\n# description: X.\n# custom:\n#   severity: high\n#   match: " + match + "\n#   remediation: Look.\n" +
					"package portcullis.secrets.x\n\n" + rules + "\n")},
			})
			if err != nil {
				t.Fatal(err)
			}
			engine, err := policies.NewEngine(bundle)
			if err != nil {
				t.Fatal(err)
			}
			suite, err := Load(fstest.MapFS{"x/testdata/" + test.kind + "/a.yaml": {Data: []byte(test.sample)}}, bundle.Policies["secrets/x"])
			if err == nil {
				err = suite.Samples[0].Run(t.Context(), engine)
			}
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v, want it to do what it should", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
		})
	}
}
