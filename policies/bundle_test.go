package policies

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const always = `deny contains "always" if input.request.operation`

func TestLoadRefusesTheWholeBundleForOneMistake(t *testing.T) {
	x := regoPolicy("pods/x", "", always)
	const use = "policies: [{policy: pods/x}]\n"
	exception := func(change, to string) string {
		return strings.Replace("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Exception\nname: e\npolicy: pods/x\nselector: {namespaces: [shop]}\nreason: r\nowner: o\nexpires: 2027-01-01\n", change, to, 1)
	}
	for name, test := range map[string]struct {
		files fstest.MapFS
		says  []string
	}{
		"an unknown field of the manifest":         {bundleFiles(use+"polices: []\n", "x.rego", x), []string{"bundle.yaml", "polices"}},
		"a field in the wrong case":                {bundleFiles(use+"Profiles: []\n", "x.rego", x), []string{"bundle.yaml", "Profiles"}},
		"a field in two cases":                     {bundleFiles("policies: [{policy: pods/x, enforcement: deny, Enforcement: off}]\n", "x.rego", x), []string{"bundle.yaml", "Enforcement"}},
		"a field twice":                            {bundleFiles(use+use, "x.rego", x), []string{"bundle.yaml", "policies"}},
		"an unknown field of an instance":          {bundleFiles("policies: [{policy: pods/x, enforce: deny}]\n", "x.rego", x), []string{"bundle.yaml", "enforce"}},
		"an unknown field of a match":              {bundleFiles("policies: [{policy: pods/x, match: {namespace: [a]}}]\n", "x.rego", x), []string{"bundle.yaml", "namespace"}},
		"an unknown field of an exclusion":         {bundleFiles("policies: [{policy: pods/x, match: {exclude: {operations: [CREATE]}}}]\n", "x.rego", x), []string{"bundle.yaml", "operations"}},
		"an unknown field of a profile":            {bundleFiles("profiles: [{name: a, inherits: b}]\ndefaultProfile: a\n", "x.rego", x), []string{"bundle.yaml", "inherits"}},
		"a second document in the manifest":        {bundleFiles(use+"---\npolicies: []\n", "x.rego", x), []string{"bundle.yaml", "one document"}},
		"an unknown policy":                        {bundleFiles("policies: [{policy: pods/y}]\n", "x.rego", x), []string{"pods/y", "bundle.yaml"}},
		"an unknown effect":                        {bundleFiles("policies: [{policy: pods/x, enforcement: block}]\n", "x.rego", x), []string{"bundle.yaml", "block", "deny, warn, audit, off"}},
		"an enforcement that YAML reads as true":   {bundleFiles("policies: [{policy: pods/x, enforcement: on}]\n", "x.rego", x), []string{"bundle.yaml", "true", "deny, warn, audit, off"}},
		"an enforcement left empty":                {bundleFiles("policies: [{policy: pods/x, enforcement: }]\n", "x.rego", x), []string{"bundle.yaml", "enforcement"}},
		"an unknown fail mode":                     {bundleFiles("policies: [{policy: pods/x, failMode: shut}]\n", "x.rego", x), []string{"bundle.yaml", "shut", "closed, open"}},
		"one instance twice":                       {bundleFiles("policies: [{policy: pods/x}, {policy: pods/x}]\n", "x.rego", x), []string{"pods/x", "name of its own"}},
		"an operation that does not exist":         {bundleFiles("policies: [{policy: pods/x, match: {operations: [PATCH]}}]\n", "x.rego", x), []string{"pods/x", "PATCH"}},
		"an empty glob":                            {bundleFiles("policies: [{policy: pods/x, match: {namespaces: ['']}}]\n", "x.rego", x), []string{"namespaces", "empty"}},
		"a glob that does not parse":               {bundleFiles("policies: [{policy: pods/x, match: {users: ['{a']}}]\n", "x.rego", x), []string{"users", "{a"}},
		"a selector with an unknown operator":      {bundleFiles("policies: [{policy: pods/x, match: {objectSelector: {matchExpressions: [{key: a, operator: Like}]}}}]\n", "x.rego", x), []string{"objectSelector", "Like"}},
		"an unknown profile of a namespace":        {bundleFiles("profiles: [{name: a}]\ndefaultProfile: a\nnamespaces: [{match: ['*'], profile: b}]\n", "x.rego", x), []string{"namespaces[0]", `"b"`}},
		"an assignment that matches nothing":       {bundleFiles("profiles: [{name: a}]\ndefaultProfile: a\nnamespaces: [{match: [], profile: a}]\n", "x.rego", x), []string{"namespaces[0]", "at least one"}},
		"profiles without a default":               {bundleFiles("profiles: [{name: a}]\n", "x.rego", x), []string{"defaultProfile"}},
		"a default profile that does not exist":    {bundleFiles("profiles: [{name: a}]\ndefaultProfile: b\n", "x.rego", x), []string{"defaultProfile", `"b"`}},
		"a default profile without any profiles":   {bundleFiles(use+"defaultProfile: strict\n", "x.rego", x), []string{"defaultProfile", `"strict"`}},
		"a profile without a name":                 {bundleFiles("profiles: [{description: a}]\n", "x.rego", x), []string{"no name"}},
		"a profile twice":                          {bundleFiles("profiles: [{name: a}, {name: a}]\ndefaultProfile: a\n", "x.rego", x), []string{`"a"`, "twice"}},
		"a profile that extends nothing":           {bundleFiles("profiles: [{name: a, extends: b}]\ndefaultProfile: a\n", "x.rego", x), []string{`"b"`, "does not exist"}},
		"a profile that extends itself":            {bundleFiles("profiles: [{name: a, extends: b}, {name: b, extends: a}]\ndefaultProfile: a\n", "x.rego", x), []string{"extends itself"}},
		"a profile label without its guard":        {bundleFiles(use+"profileLabel: example.com/profile\n", "x.rego", x), []string{"profileLabel", "namespaces/protected-labels"}},
		"no name":                                  {fstest.MapFS{"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nserial: 1\n")}}, []string{"bundle.yaml", "name is missing"}},
		"no serial":                                {fstest.MapFS{"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: a\n")}}, []string{"bundle.yaml", "serial is 0"}},
		"a serial below zero":                      {fstest.MapFS{"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: a\nserial: -1\n")}}, []string{"serial is -1"}},
		"another version of the manifest":          {fstest.MapFS{"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v9\nkind: Bundle\nname: a\nserial: 1\n")}}, []string{"bundle.yaml", "v9", APIVersion}},
		"no manifest":                              {fstest.MapFS{"x.rego": {Data: []byte(x)}}, []string{"bundle.yaml is missing"}},
		"a file that has no place":                 {bundleFiles(use, "x.rego", x, "policies/extra.yaml", "a: 1"), []string{"policies/extra.yaml", "no place"}},
		"Rego that does not parse":                 {bundleFiles(use, "x.rego", "package portcullis.pods.x\n\ndeny contains"), []string{"x.rego"}},
		"an empty Rego file":                       {bundleFiles(use, "x.rego", ""), []string{"x.rego", "empty module"}},
		"a package elsewhere":                      {bundleFiles(use, "x.rego", strings.Replace(x, "portcullis.pods.x", "company.pods.x", 1)), []string{"x.rego", "company.pods.x", "portcullis.<group>.<policy>"}},
		"a policy in two files":                    {bundleFiles(use, "x.rego", x, "y.rego", x), []string{"y.rego", "x.rego", "one file"}},
		"no metadata":                              {bundleFiles(use, "x.rego", "package portcullis.pods.x\n\n"+always), []string{"x.rego", "METADATA"}},
		"metadata without a title":                 {bundleFiles(use, "x.rego", strings.Replace(x, "# title:", "# titel:", 1)), []string{"x.rego", "title"}},
		"metadata with an unknown field":           {bundleFiles(use, "x.rego", strings.Replace(x, "severity:", "weight: 3\n#   severity:", 1)), []string{"x.rego", "weight"}},
		"an unknown severity":                      {bundleFiles(use, "x.rego", strings.Replace(x, "severity: high", "severity: severe", 1)), []string{"x.rego", "severe", "critical, high, medium, low"}},
		"no match":                                 {bundleFiles(use, "x.rego", strings.Replace(x, "#   match: {workload: any}\n", "", 1)), []string{"x.rego", "match"}},
		"an unknown workload":                      {onePolicy("match: {workload: pod}", always), []string{"x.rego", `"pod"`}},
		"workload beside resources":                {onePolicy("match: {workload: any, resources: [{group: '', resources: [pods]}]}", always), []string{"x.rego", "not both"}},
		"resources without a name":                 {onePolicy("match: {resources: [{group: apps, resources: []}]}", always), []string{"x.rego", "resources"}},
		"an unknown operation of a policy":         {onePolicy("match: {workload: any, operations: [PATCH]}", always), []string{"x.rego", "PATCH"}},
		"an unknown door":                          {onePolicy("doors: [webhook]", always), []string{"x.rego", "webhook"}},
		"reads without a scope":                    {onePolicy("reads: [{group: '', resource: services}]", always), []string{"x.rego", "scope"}},
		"reads with an unknown promise":            {onePolicy("reads: [{group: '', resource: services, scope: namespace, more: perhaps}]", always), []string{"x.rego", "more"}},
		"no fix without a reason":                  {onePolicy("fix: none", always), []string{"x.rego", "fixReason"}},
		"no rule":                                  {onePolicy("", "helper := 1"), []string{"x.rego", "no deny, warn, patch, respond or allow_sync rule"}},
		"a rule that is no set":                    {onePolicy("", "deny if input.request.operation"), []string{"x.rego", "must be a set"}},
		"a rule that is an object":                 {onePolicy("", `deny["x"] := 1 if input.request.operation`), []string{"x.rego", "must be a set"}},
		"data below the policies' own name":        {bundleFiles(use, "x.rego", x, "data/portcullis/lib.yaml", "a: 1"), []string{"data/portcullis/lib.yaml", "rename"}},
		"data twice":                               {bundleFiles(use, "x.rego", x, "data/a.yaml", "1", "data/a.json", "2"), []string{"data/a.yaml", "data.a is defined twice"}},
		"data that is a value and a folder":        {bundleFiles(use, "x.rego", x, "data/a.yaml", "1", "data/a/b.yaml", "2"), []string{"data/a/b.yaml", "both a value and a folder"}},
		"data with a key twice":                    {bundleFiles(use, "x.rego", x, "data/a.yaml", "b: 1\nb: 2\n"), []string{"data/a.yaml", "b"}},
		"a second document of data":                {bundleFiles(use, "x.rego", x, "data/a.yaml", "b: 1\n---\nc: 2\n"), []string{"data/a.yaml", "one document"}},
		"an exception for an unknown policy":       {bundleFiles(use, "x.rego", x, "exceptions/e.yaml", exception("pods/x", "pods/y")), []string{`"e"`, "pods/y"}},
		"two exceptions of one name":               {bundleFiles(use, "x.rego", x, "exceptions/e.yaml", exception("", ""), "exceptions/f.yaml", exception("", "")), []string{`"e"`, "twice"}},
		"two exceptions in one file":               {bundleFiles(use, "x.rego", x, "exceptions/e.yaml", exception("", "")+"---\n"+exception("name: e", "name: f")), []string{"exceptions/e.yaml", "one document"}},
		"an exception without an owner":            {bundleFiles(use, "x.rego", x, "exceptions/e.yaml", exception("owner: o\n", "")), []string{"exceptions/e.yaml", "owner"}},
		"an exception without a reason":            {bundleFiles(use, "x.rego", x, "exceptions/e.yaml", exception("reason: r\n", "")), []string{"exceptions/e.yaml", "reason"}},
		"an exception with a blank reason":         {bundleFiles(use, "x.rego", x, "exceptions/e.yaml", exception("reason: r\n", "reason: '  '\n")), []string{"exceptions/e.yaml", "reason"}},
		"an exception without a policy":            {bundleFiles(use, "x.rego", x, "exceptions/e.yaml", exception("policy: pods/x\n", "")), []string{"exceptions/e.yaml", "policy"}},
		"an exception without a name":              {bundleFiles(use, "x.rego", x, "exceptions/e.yaml", exception("name: e\n", "")), []string{"exceptions/e.yaml", "name"}},
		"an exception that never expires":          {bundleFiles(use, "x.rego", x, "exceptions/e.yaml", exception("expires: 2027-01-01\n", "")), []string{"exceptions/e.yaml", "expires"}},
		"an exception that expires some day":       {bundleFiles(use, "x.rego", x, "exceptions/e.yaml", exception("2027-01-01", "soon")), []string{"exceptions/e.yaml", "soon", "2027-01-31"}},
		"an exception for everything":              {bundleFiles(use, "x.rego", x, "exceptions/e.yaml", exception("{namespaces: [shop]}", "{}")), []string{"exceptions/e.yaml", "namespaces", "clusterScoped"}},
		"an exception with an unknown field":       {bundleFiles(use, "x.rego", x, "exceptions/e.yaml", exception("owner: o", "owner: o\nrules: [deny]")), []string{"exceptions/e.yaml", "rules"}},
		"an exception of another kind":             {bundleFiles(use, "x.rego", x, "exceptions/e.yaml", exception("kind: Exception", "kind: PolicyException")), []string{"exceptions/e.yaml", "PolicyException"}},
		"a policy whose name differs only in _":    {bundleFiles(use, "x.rego", strings.Replace(x, "pods.x", "pods_a.x", 1), "y.rego", strings.Replace(x, "portcullis.pods.x", `portcullis["pods-a"].x`, 1)), []string{"pods-a/x", "one file"}},
		"a parameter schema that is no object":     {onePolicy("parameters: {type: array}", always), []string{"x.rego", "array", "object"}},
		"a parameter schema that does not compile": {onePolicy("parameters: {type: object, properties: {a: {type: text}}}", always), []string{"x.rego", "parameters"}},
		"a parameter schema from elsewhere":        {onePolicy("parameters: {type: object, properties: {a: {$ref: 'file:///etc/passwd'}}}", always), []string{"x.rego", "parameters"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(test.files)
			wantRefusal(t, err, append(test.says, "loading the bundle")...)
		})
	}
}

func TestLoadReportsAllMistakesInTheSameOrder(t *testing.T) {
	files := bundleFiles("policies: []\n",
		"exceptions/e.yaml", "apiVersion: v9\nkind: E\nselector: {kinds: [''], names: [''], containers: ['']}\n",
		"a.rego", "", "b.rego", "package b")
	_, first := Load(files)
	wantRefusal(t, first, "a.rego", "b.rego", "name is required", "reason is required", "selector.kinds", "selector.containers")
	for range 50 {
		if _, err := Load(files); err.Error() != first.Error() {
			t.Fatalf("got\n%v\nthen\n%v", first, err)
		}
	}
}

func TestABareOffIsOff(t *testing.T) {
	for _, text := range []string{"off", "'off'", "no", "false"} {
		engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x, enforcement: "+text+"}]\n", "x.rego", regoPolicy("pods/x", "", always)))
		if result := judge(t, engine, podRequest(plainPod), nil); result.Matched != 0 {
			t.Errorf("enforcement: %s: got %d policies evaluated, want 0", text, result.Matched)
		}
	}
}

func TestProfilesInherit(t *testing.T) {
	engine := mustCompile(t, bundleFiles(`
policies:
  - policy: pods/x
  - {policy: pods/x, name: second, enforcement: warn}
profiles:
  - name: base
  - {name: soft, extends: base, atMost: warn, policies: [{policy: pods/x, name: own}]}
  - {name: softer, extends: soft, atMost: audit}
  - {name: without, extends: base, policies: [{policy: pods/x, enforcement: off}]}
  - {name: back, extends: without, policies: [{policy: pods/x, enforcement: audit}]}
  - {name: none, extends: base, atMost: off}
defaultProfile: base
`, "x.rego", regoPolicy("pods/x", "", always)))
	for profile, want := range map[string]map[string]Enforcement{
		"base":    {"pods/x": EnforceDeny, "second": EnforceWarn},
		"soft":    {"pods/x": EnforceWarn, "second": EnforceWarn, "own": EnforceDeny},
		"softer":  {"pods/x": EnforceAudit, "second": EnforceAudit, "own": EnforceAudit},
		"without": {"second": EnforceWarn},
		"back":    {"pods/x": EnforceAudit, "second": EnforceWarn},
		"none":    {},
	} {
		if got := engine.Enforcements(profile); !maps.Equal(got, want) {
			t.Errorf("profile %s: got %v, want %v", profile, got, want)
		}
	}
	if got := engine.Enforcements("nobody"); got != nil {
		t.Errorf("got %v for a profile that does not exist, want nil", got)
	}
}

func TestTheProfileComesFromTheFirstAssignmentThatMatches(t *testing.T) {
	engine := mustCompile(t, bundleFiles(`
policies: [{policy: pods/x}]
profiles: [{name: normal}, {name: system}, {name: other}]
defaultProfile: normal
namespaces:
  - {match: [kube-*, storage], profile: system}
  - {match: [kube-public, "team-?"], profile: other}
`, "x.rego", regoPolicy("pods/x", "", always)))
	for name, test := range map[string]struct {
		request Request
		want    string
	}{
		"a namespace that matches":                     {Request{Namespace: "storage"}, "system"},
		"a namespace that matches twice":               {Request{Namespace: "kube-public"}, "system"},
		"a namespace of the second entry":              {Request{Namespace: "team-a"}, "other"},
		"a namespace that matches but for one letter":  {Request{Namespace: "team-ab"}, "normal"},
		"a namespace in which a glob is only a part":   {Request{Namespace: "my-storage"}, "normal"},
		"a cluster-scoped object":                      {Request{}, "normal"},
		"a Namespace object uses its own name":         {Request{Resource: namespaceResource, Name: "kube-x"}, "system"},
		"an override wins":                             {Request{Namespace: "kube-public", Profile: "other"}, "other"},
		"a cluster-scoped object that is called alike": {Request{Name: "kube-system"}, "normal"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := judge(t, engine, &test.request, nil); got.Profile != test.want || len(got.Faults) > 0 {
				t.Errorf("got profile %q and faults %v, want %q", got.Profile, got.Faults, test.want)
			}
		})
	}
	result := judge(t, engine, &Request{Profile: "nobody"}, nil)
	if len(result.Faults) != 1 || !strings.Contains(result.Faults[0].Message, "nobody") {
		t.Errorf("got %+v, want a fault that names the unknown profile", result)
	}
}

func TestTheDigestChangesWithAnyByteAndName(t *testing.T) {
	files := bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", regoPolicy("pods/x", "", always), "data/a.yaml", "1", "pods/x_test.rego", "package t")
	digest := func(files fstest.MapFS) string {
		bundle, err := Load(files)
		if err != nil {
			t.Fatal(err)
		}
		return bundle.Digest
	}
	seen := map[string]string{digest(files): "the bundle itself"}
	change := func(what string, changed fstest.MapFS) {
		d := digest(changed)
		if other, same := seen[d]; same {
			t.Errorf("%s has the digest of %s", what, other)
		}
		seen[d] = what
	}
	for name := range files {
		changed := maps.Clone(files)
		changed[name] = &fstest.MapFile{Data: append(slices.Clone(files[name].Data), '\n')}
		change(name+" with one byte more", changed)
	}
	renamed := maps.Clone(files)
	renamed["y.rego"] = renamed["x.rego"]
	delete(renamed, "x.rego")
	change("a file renamed", renamed)
	// The border between a name and its content is part of what is hashed.
	change("a comment in one file", bundleFiles("policies: [{policy: pods/x}]\n", "x.rego", regoPolicy("pods/x", "", always), "data/a.yaml", "1 # b", "pods/x_test.rego", "package t"))
	change("documentation is none", func() fstest.MapFS {
		with := maps.Clone(files)
		with["data/b.yaml"] = &fstest.MapFile{Data: []byte("1")}
		return with
	}())
	with := maps.Clone(files)
	with["README.md"] = &fstest.MapFile{Data: []byte("read me")}
	with[".git/config.yaml"] = &fstest.MapFile{Data: []byte("not: ours")}
	with["pods/testdata/deny/a.yaml"] = &fstest.MapFile{Data: []byte("kind: Pod")}
	if digest(with) != digest(files) {
		t.Error("documentation, hidden folders and samples changed the digest")
	}
}

func TestTheRevisionNamesBundleSerialAndDigest(t *testing.T) {
	bundle, err := Load(onePolicy("", always))
	if err != nil {
		t.Fatal(err)
	}
	if want := "test@1 (" + bundle.Digest[:19] + ")"; bundle.Revision() != want || !strings.HasPrefix(bundle.Digest, "sha256:") {
		t.Errorf("got %q with digest %s, want %q", bundle.Revision(), bundle.Digest, want)
	}
}

func TestLoadBoundsABundle(t *testing.T) {
	many := bundleFiles("")
	for i := range maxBundleFiles {
		many[fmt.Sprintf("data/%d.yaml", i)] = &fstest.MapFile{Data: []byte("1")}
	}
	large := bundleFiles("")
	for i := range maxBundleBytes/maxBundleFile + 1 {
		large[fmt.Sprintf("data/%d.json", i)] = &fstest.MapFile{Data: make([]byte, maxBundleFile)}
	}
	for name, test := range map[string]struct {
		files fstest.MapFS
		says  string
	}{
		"one file too large":    {bundleFiles("", "data/a.json", strings.Repeat(" ", maxBundleFile)+"1"), "data/a.json has 4194305 bytes"},
		"too many files":        {many, "20000 files"},
		"too many bytes in all": {large, "67108864 bytes"},
		"a link":                {fstest.MapFS{"bundle.yaml": {Mode: fs.ModeSymlink, Data: []byte("b.yaml")}}, "bundle.yaml is not a regular file"},
		"a device":              {fstest.MapFS{"data/a.yaml": {Mode: fs.ModeDevice}}, "data/a.yaml is not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(test.files)
			wantRefusal(t, err, test.says, "reading the bundle")
		})
	}
}

// A folder that is a link would be passed over, with the policies in it.
func TestLoadRefusesAFolderThatIsALink(t *testing.T) {
	root, elsewhere := t.TempDir(), t.TempDir()
	for file, content := range map[string]string{
		filepath.Join(root, "bundle.yaml"):      string(bundleFiles("")["bundle.yaml"].Data),
		filepath.Join(elsewhere, "policy.rego"): regoPolicy("pods/x", "", always),
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(elsewhere, filepath.Join(root, "policies")); err != nil {
		t.Skip("no links here:", err)
	}
	_, err := Load(os.DirFS(root))
	wantRefusal(t, err, "policies is a link to a folder")
}

func TestDataIsReadByItsPath(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}]\n",
		"data/teams/shop.yaml", "owner: ada\nlimit: 9007199254740993\n", "data/top.json", `{"a": [1, 2]}`,
		"x.rego", regoPolicy("pods/x", "", `
deny contains sprintf("%s %d %d", [data.teams.shop.owner, data.teams.shop.limit, data.top.a[1]])
deny contains "undefined" if data.teams[input.object.kind]`)))
	wantSpoken(t, judge(t, engine, podRequest(plainPod), nil), "pods/x: ada 9007199254740993 2")
}

func TestLoadingTwiceAtOnceIsSafe(t *testing.T) {
	bundle, err := Load(onePolicy("", always))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for range 4 {
		go func() {
			_, err := NewEngine(bundle)
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// The profile label is only as safe as the guard of labels, so the guard must be
// enforced in all profiles, for everybody, for this label, and fail closed.
func TestAProfileLabelNeedsItsGuardEverywhere(t *testing.T) {
	guard := regoPolicy("namespaces/protected-labels", `
match: {resources: [{group: '', resources: [namespaces]}]}
parameters: {type: object, properties: {labels: {type: array, items: {type: string}, default: ["policy.portcullis.dev/*"]}}}
`, `deny contains "no" if { some l in input.parameters.labels; input.object.metadata.labels[l] }`)
	for name, test := range map[string]struct {
		manifest string
		refused  string
	}{
		"guarded":                        {"profileLabel: policy.portcullis.dev/profile\npolicies: [{policy: namespaces/protected-labels}]\n", ""},
		"guarded by name":                {"profileLabel: example.com/p\npolicies: [{policy: namespaces/protected-labels, parameters: {labels: [example.com/p]}}]\n", ""},
		"of a label that is not guarded": {"profileLabel: example.com/p\npolicies: [{policy: namespaces/protected-labels}]\n", "example.com/p"},
		"guard only warns":               {"profileLabel: policy.portcullis.dev/p\npolicies: [{policy: namespaces/protected-labels, enforcement: warn}]\n", "does not enforce"},
		"guard fails open":               {"profileLabel: policy.portcullis.dev/p\npolicies: [{policy: namespaces/protected-labels, failMode: open}]\n", "does not enforce"},
		"guard leaves somebody out":      {"profileLabel: policy.portcullis.dev/p\npolicies: [{policy: namespaces/protected-labels, match: {exclude: {users: [ada]}}}]\n", "does not enforce"},
		"one profile lacks it":           {"profileLabel: policy.portcullis.dev/p\nprofiles: [{name: a, policies: [{policy: namespaces/protected-labels}]}, {name: b}]\ndefaultProfile: a\n", `"b"`},
		"one profile softens it":         {"profileLabel: policy.portcullis.dev/p\nprofiles: [{name: a, policies: [{policy: namespaces/protected-labels}]}, {name: b, extends: a, atMost: warn}]\ndefaultProfile: a\n", `"b"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(bundleFiles(test.manifest, "g.rego", guard))
			if test.refused == "" {
				if err != nil {
					t.Errorf("got error %v, want none", err)
				}
				return
			}
			wantRefusal(t, err, "profileLabel", test.refused)
		})
	}
}
