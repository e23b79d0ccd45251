package conftest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/conftest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var _ admission.Judge = (*conftest.Engine)(nil)

func request(operation, group, resource, object string) *policies.Request {
	name, sub, _ := strings.Cut(resource, "/")
	return &policies.Request{
		Door: policies.DoorAdmission, Operation: operation, Namespace: "web",
		Resource: metav1.GroupVersionResource{Group: group, Version: "v1", Resource: name}, SubResource: sub,
		Object: json.RawMessage(object),
	}
}

func folder(files ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		fsys[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return fsys
}

func load(t testing.TB, files ...string) *conftest.Engine {
	t.Helper()
	engine, err := conftest.Load(folder(files...), conftest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

func evaluate(t testing.TB, engine *conftest.Engine, object string) policies.Result {
	t.Helper()
	return engine.Evaluate(context.Background(), request("CREATE", "", "services", object), nil, now, policies.PhaseValidate)
}

const latest = `package main
# METADATA
# title: Pinned images
deny_latest contains {"msg": msg, "image": image} if {
	some container in input.spec.containers
	image := container.image
	endswith(image, ":latest")
	msg := sprintf("%s is not pinned", [image])
}
warn contains "no owner" if not input.metadata.labels.owner
violation contains msg if { input.kind == "Secret"; msg := "no secrets" }
`

func TestRulesBecomeFindings(t *testing.T) {
	got := evaluate(t, load(t, "policy/main.rego", latest), `{"kind": "Pod", "spec": {"containers": [{"image": "nginx:latest"}]}}`)
	want := []policies.Finding{
		{
			Policy: "conftest/main.deny_latest", Title: "Pinned images", Severity: "high", Effect: policies.EffectDeny,
			Enforcement: policies.EnforceDeny, Message: "nginx:latest is not pinned", Details: map[string]any{"image": "nginx:latest"},
		},
		{
			Policy: "conftest/main.warn", Title: "Conftest rule warn of package main", Severity: "medium", Effect: policies.EffectWarn,
			Enforcement: policies.EnforceWarn, Message: "no owner",
		},
	}
	if got.Matched != 3 || len(got.Faults) > 0 || !reflect.DeepEqual(got.Findings, want) {
		t.Errorf("got %+v\nwant %+v of 3 rules, no faults", got, want)
	}
}

func TestWhatIsNoListOfMessagesIsAFault(t *testing.T) {
	cases := map[string]struct{ rule, fault string }{
		"an undefined rule is silent":         {`deny contains "x" if false`, ""},
		"a list of messages is taken":         {`deny := ["found"]`, ""},
		"null is silent":                      {`deny := null`, ""},
		"an empty message is silent":          {`deny contains ""`, ""},
		"a text is a fault":                   {`deny := "no"`, "gave a value of type string"},
		"false is a fault":                    {`deny := false`, "gave a value of type boolean"},
		"a number among messages is a fault":  {`deny contains 1`, "a result is of type number"},
		"an object without msg is a fault":    {`deny contains {"message": "x"}`, "no msg that is a text"},
		"a msg that is no text is a fault":    {`deny contains {"msg": 1}`, "no msg that is a text"},
		"two values of one rule are a fault":  {"deny := [\"a\"] if input.kind\ndeny := [\"b\"] if input.kind", "conflict"},
		"a strict error is silent by default": {`deny contains "x" if to_number(input.kind) > 1`, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			result := evaluate(t, load(t, "a.rego", "package main\nwarn contains \"w\" if false\n"+c.rule+"\n"), `{"kind": "Pod"}`)
			switch {
			case c.fault == "" && len(result.Faults) > 0:
				t.Errorf("got %+v, want no fault", result.Faults)
			case c.fault != "" && (len(result.Faults) != 1 || !strings.Contains(result.Faults[0].Message, c.fault) ||
				result.Faults[0].Policy != "conftest/main.deny" || result.Faults[0].FailMode != policies.FailClosed ||
				result.Faults[0].Enforcement != policies.EnforceDeny):
				t.Errorf("got %+v, want one fault of conftest/main.deny with %q that denies", result.Faults, c.fault)
			}
		})
	}
}

func TestAFaultCostsOnlyItsOwnRule(t *testing.T) {
	result := evaluate(t, load(t, "a.rego", "package main\ndeny_a := 1\ndeny_b contains \"b\"\n"), `{}`)
	if len(result.Faults) != 1 || result.Faults[0].Policy != "conftest/main.deny_a" || len(result.Findings) != 1 || result.Findings[0].Policy != "conftest/main.deny_b" {
		t.Errorf("got %+v, want a fault of deny_a and the finding of deny_b", result)
	}
}

func TestWhatCannotBeJudgedIsAFaultOfEveryRule(t *testing.T) {
	engine := load(t, "a.rego", latest)
	cases := map[string]struct {
		object string
		kind   policies.FaultKind
	}{
		"no object":              {"", policies.FaultInput},
		"null":                   {"null", policies.FaultInput},
		"no JSON":                {`{"a"`, policies.FaultInput},
		"a name twice":           {`{"kind": "Secret", "kind": "Pod"}`, policies.FaultInput},
		"a number of 500 digits": {`{"n": 1` + strings.Repeat("0", 500) + `}`, policies.FaultInput},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			result := evaluate(t, engine, c.object)
			if len(result.Faults) != 3 || result.Faults[0].Kind != c.kind {
				t.Errorf("got %+v, want three faults of kind %s", result.Faults, c.kind)
			}
		})
	}
}

func TestADeadlineIsAFault(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	result := load(t, "a.rego", latest).Evaluate(ctx, request("CREATE", "", "pods", "{}"), nil, now, policies.PhaseValidate)
	if len(result.Faults) != 3 || result.Faults[0].Kind != policies.FaultDeadline {
		t.Errorf("got %+v, want three faults: %s", result.Faults, policies.FaultDeadline)
	}
}

func TestWhatAJournalDidNotKeepIsNotReplayed(t *testing.T) {
	r := request("CREATE", "", "secrets", `{"kind": "Secret", "data": {"a": "hash"}}`)
	r.Redacted = []string{"object.data"}
	result := load(t, "a.rego", latest).Evaluate(context.Background(), r, nil, now, policies.PhaseValidate)
	if len(result.Findings) > 0 || len(result.Undecided) != 3 || !strings.HasPrefix(result.Undecided[0].Reason, "not replayable:") {
		t.Errorf("got %+v, want three undecided rules that are not replayable", result)
	}
}

func TestWhichRequestsAreJudged(t *testing.T) {
	everything := load(t, "a.rego", latest)
	some := load(t, "a.rego", latest, "conftest.toml", "[portcullis]\nresources = [\"deployments.apps\", \"pods\", \"leases.coordination.k8s.io\"]\n")
	cases := map[string]struct {
		operation, group, resource string
		everything, some           bool
	}{
		"a Deployment that is created":      {"CREATE", "apps", "deployments", true, true},
		"a Service that is updated":         {"UPDATE", "", "services", true, false},
		"a deletion":                        {"DELETE", "apps", "deployments", false, false},
		"an exec":                           {"CONNECT", "", "pods/exec", false, false},
		"an ephemeral container":            {"UPDATE", "", "pods/ephemeralcontainers", true, true},
		"a pod that is resized":             {"UPDATE", "", "pods/resize", true, true},
		"the status of a pod":               {"UPDATE", "", "pods/status", false, false},
		"the scale of a Deployment":         {"UPDATE", "apps", "deployments/scale", false, false},
		"a lease, unless it is asked for":   {"UPDATE", "coordination.k8s.io", "leases", false, true},
		"an event":                          {"CREATE", "events.k8s.io", "events", false, false},
		"a review, which is no object":      {"CREATE", "authorization.k8s.io", "subjectaccessreviews", false, false},
		"a custom resource of any group":    {"CREATE", "example.com", "events", true, false},
		"a Deployment of a group of others": {"CREATE", "example.com", "deployments", true, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(c.operation, c.group, c.resource, "{}")
			if got := everything.Matches(r); got != c.everything {
				t.Errorf("got %v without a list of resources, want %v", got, c.everything)
			}
			if got := some.Matches(r); got != c.some {
				t.Errorf("got %v with a list of resources, want %v", got, c.some)
			}
			if result := some.Evaluate(context.Background(), r, nil, now, policies.PhaseValidate); (result.Matched > 0) != c.some {
				t.Errorf("got %d rules asked, want some: %v", result.Matched, c.some)
			}
		})
	}
}

func TestInterestsCoverWhatMatches(t *testing.T) {
	all := load(t, "a.rego", latest).Interests("")
	if len(all) != 4 || !reflect.DeepEqual(all[0], interest("", "pods/ephemeralcontainers", "UPDATE")) {
		t.Errorf("got %+v, want everything that is created and updated, and two subresources of pods", all)
	}
	some := load(t, "a.rego", latest, "conftest.toml", "[portcullis]\nresources = [\"deployments.apps\"]\n").Interests("any")
	want := []policies.Interest{interest("apps", "deployments", "CREATE"), interest("apps", "deployments", "UPDATE")}
	if !reflect.DeepEqual(some, want) {
		t.Errorf("got %+v, want %+v", some, want)
	}
	warns := load(t, "a.rego", "package main\nwarn contains \"x\"\n").Interests("")
	if warns[0].FailClosed {
		t.Error("got warnings that fail closed, want them to fail open: they never deny")
	}
}

func interest(group, resource, operation string) policies.Interest {
	return policies.Interest{Group: group, Resource: resource, Operation: operation, Validates: true, FailClosed: true}
}

func TestPatchesHaveNothingToDo(t *testing.T) {
	result := load(t, "a.rego", latest).Evaluate(context.Background(), request("CREATE", "", "pods", "{}"), nil, now, policies.PhaseMutate)
	if !reflect.DeepEqual(result, policies.Result{}) {
		t.Errorf("got %+v, want nothing", result)
	}
}

func TestRegoOfBothVersions(t *testing.T) {
	old := "package main\ndeny[msg] { input.kind == \"Pod\"; msg = \"old\" }\ndeny_re[msg] { re_match(\"^P\", input.kind); any([true]); msg := \"re\" }\n"
	result := evaluate(t, load(t, "a.rego", old, "conftest.toml", "rego-version = \"v0\"\n"), `{"kind": "Pod"}`)
	if len(result.Findings) != 2 || result.Findings[0].Message != "old" {
		t.Errorf("got %+v, want the findings of both rules", result)
	}
	if _, err := conftest.Load(folder("a.rego", old), conftest.Options{}); err == nil {
		t.Error("got no error for Rego v0 where nothing says so, want one")
	}
}

func TestWarningsFailWhereConftestTomlSaysSo(t *testing.T) {
	result := evaluate(t, load(t, "a.rego", "package main\nwarn contains \"x\"\n", "conftest.toml", "fail-on-warn = true\n"), "{}")
	if len(result.Findings) != 1 || result.Findings[0].Effect != policies.EffectDeny || result.Findings[0].Enforcement != policies.EnforceDeny {
		t.Errorf("got %+v, want a finding that denies", result.Findings)
	}
}

func TestDataLiesAtItsFolder(t *testing.T) {
	rule := "package main\ndeny contains msg if { some port in data.services.ports; port == data.deep.er.port; msg := sprintf(\"%v\", [port]) }\n"
	result := evaluate(t, load(t, "policy/a.rego", rule, "data/a.yaml", "services: {ports: [22]}\n", "data/b.json", `{"services": {"more": 1}}`, "data/deep/er/c.yml", "port: 22\n"), "{}")
	if len(result.Findings) != 1 || result.Findings[0].Message != "22" {
		t.Errorf("got %+v, want one finding", result)
	}
}

func TestNamespaces(t *testing.T) {
	files := []string{"a.rego", "package main\ndeny contains \"main\"\n", "b.rego", "package team.web\ndeny contains \"web\"\n", "c.rego", "package team.db\ndeny contains \"db\"\n"}
	cases := map[string]struct {
		toml string
		o    conftest.Options
		want string
	}{
		"main by default":                    {"", conftest.Options{}, "[conftest/main.deny]"},
		"those of conftest.toml":             {"namespace = [\"team.web\"]", conftest.Options{}, "[conftest/team.web.deny]"},
		"a single one of conftest.toml":      {"namespace = \"team.db\"", conftest.Options{}, "[conftest/team.db.deny]"},
		"a pattern":                          {"namespace = [\"team.*\"]", conftest.Options{}, "[conftest/team.db.deny conftest/team.web.deny]"},
		"all of them":                        {"all-namespaces = true", conftest.Options{}, "[conftest/main.deny conftest/team.db.deny conftest/team.web.deny]"},
		"options come before conftest.toml":  {"all-namespaces = true", conftest.Options{Namespaces: []string{"main"}}, "[conftest/main.deny]"},
		"one that nothing is in is an error": {"namespace = [\"mian\"]", conftest.Options{}, "no policy is in package mian"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			engine, err := conftest.Load(folder(append(files, "conftest.toml", c.toml)...), c.o)
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				got = fmt.Sprint(engine.Rules())
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestFoldersThatAreRefused(t *testing.T) {
	rule := func(body string) string { return "package main\ndeny contains msg if { " + body + "; msg := \"x\" }\n" }
	cases := map[string]struct {
		files []string
		want  string
	}{
		"without a policy":                     {[]string{"a.txt", ""}, "there is no policy in ."},
		"without a rule to ask":                {[]string{"a.rego", "package main\nallow := true\n"}, "everything would be allowed"},
		"with network":                         {[]string{"a.rego", rule(`http.send({"url": "http://x", "method": "get"})`)}, "no network"},
		"with the environment":                 {[]string{"a.rego", rule(`opa.runtime().env.HOME`)}, "no network, files or environment"},
		"with a computed format":               {[]string{"a.rego", rule(`sprintf(input.x, [1])`)}, "must be a literal"},
		"with a pattern that does not compile": {[]string{"a.rego", rule(`regex.match("(", "x")`)}, "regex.match"},
		"with a truth value for a rule":        {[]string{"a.rego", "package main\ndeny if input.x\n"}, "write \"deny contains msg if\""},
		"with v1's object for a rule":          {[]string{"a.rego", "package main\ndeny[msg] if { msg := \"x\" }\n"}, "write \"deny contains msg if\""},
		"with Rego that does not parse":        {[]string{"a.rego", "package main\ndeny {"}, "a.rego:2"},
		"with an unknown key":                  {[]string{"a.rego", latest, "conftest.toml", "namspace = \"x\""}, "namspace is not known"},
		"with what would weaken it":            {[]string{"a.rego", latest, "conftest.toml", "no-fail = true"}, "would be an allow"},
		"with policies to download":            {[]string{"a.rego", latest, "conftest.toml", "update = [\"git::x\"]"}, "nothing is downloaded"},
		"with combine, of requests":            {[]string{"a.rego", latest, "conftest.toml", "combine = true"}, "nothing to combine"},
		"with a policy folder outside":         {[]string{"a.rego", latest, "conftest.toml", "policy = \"../x\""}, "leads out of the folder"},
		"with an unknown version":              {[]string{"a.rego", latest, "conftest.toml", "rego-version = \"v2\""}, "rego-version"},
		"with the file, of requests":           {[]string{"a.rego", rule(`data.conftest.file.name == "x"`)}, "a request has no file"},
		"with data that is no object":          {[]string{"a.rego", latest, "data/a.yaml", "- x"}, "needs names"},
		"with data that is defined twice":      {[]string{"a.rego", latest, "data/a.yaml", "x: 1", "data/b.yaml", "x: 2"}, "x is defined twice"},
		"with data in the place of the file":   {[]string{"a.rego", latest, "data/a.yaml", "conftest: {}"}, "rename the data"},
		"with a resource that is a wildcard":   {[]string{"a.rego", latest, "conftest.toml", "[portcullis]\nresources = [\"*\"]"}, "no resource"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := conftest.Load(folder(c.files...), conftest.Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestPoliciesOfFilesSeeTheFile(t *testing.T) {
	rule := "package main\ndeny contains data.conftest.file.name if data.conftest.file.dir != \"\"\n"
	engine, err := conftest.Load(folder("a.rego", rule), conftest.Options{Files: true})
	if err != nil {
		t.Fatal(err)
	}
	documents := []conftest.Document{{Path: "x/one.yaml", Contents: map[string]any{}}, {Path: "two.yaml", Contents: []any{1, 2}}}
	checked, err := engine.Check(context.Background(), documents, false, now)
	if err != nil || len(checked) != 3 {
		t.Fatalf("got %+v, %v, want three documents", checked, err)
	}
	for n, want := range []string{"one.yaml", "two.yaml", "two.yaml"} {
		if len(checked[n].Findings) != 1 || checked[n].Findings[0].Message != want {
			t.Errorf("got %+v, want a finding about %s", checked[n], want)
		}
	}
}

func TestTestsRunInTheSandbox(t *testing.T) {
	test := "package main\ntest_net if http.send({\"url\": \"http://127.0.0.1:1\", \"method\": \"get\"})\n"
	if _, err := conftest.Test(context.Background(), folder("a.rego", latest, "a_test.rego", test), conftest.Options{}, nil); err == nil || !strings.Contains(err.Error(), "http.send") {
		t.Errorf("got %v, want an error about http.send", err)
	}
	parses := "package main\ntest_file if parse_config_file(\"../../etc/passwd\")\ntest_fails if 1 == 2\ntest_passes if count(deny_latest) == 0\n"
	results, err := conftest.Test(context.Background(), folder("a.rego", latest, "a_test.rego", parses), conftest.Options{}, nil)
	if err != nil || len(results) != 3 || !strings.Contains(results[0].Problem, "links no parsers") || results[1].Problem != "failed" || results[2].Problem != "" {
		t.Errorf("got %+v, %v, want a test without parsers, one that fails and one that passes", results, err)
	}
}

func TestErrorsOfBuiltinsAreFaultsWhereTheyAreShown(t *testing.T) {
	rule := "package main\ndeny contains \"x\" if to_number(input.kind) > 1\n"
	result := evaluate(t, load(t, "a.rego", rule, "conftest.toml", "show-builtin-errors = true\n"), `{"kind": "Pod"}`)
	if len(result.Faults) != 1 || !strings.Contains(result.Faults[0].Message, "to_number") {
		t.Errorf("got %+v, want a fault of to_number", result)
	}
}

func TestCombinedDocumentsAreSortedByPath(t *testing.T) {
	rule := "package main\ndeny contains msg if { msg := concat(\" \", [file.path | some file in input]) }\n"
	engine, err := conftest.Load(folder("a.rego", rule, "conftest.toml", "combine = true\n"), conftest.Options{Files: true})
	if err != nil {
		t.Fatal(err)
	}
	documents := []conftest.Document{{Path: "b.yaml", Contents: 1}, {Path: "a.yaml", Contents: []any{1, 2}}}
	checked, err := engine.Check(context.Background(), documents, false, now)
	if err != nil || len(checked) != 1 || len(checked[0].Findings) != 1 || checked[0].Findings[0].Message != "a.yaml a.yaml b.yaml" {
		t.Errorf("got %+v, %v, want one input, in the order of paths", checked, err)
	}
}

// TestASlowRuleLeavesTimeToTheOthers is about shares: the rule would run for hours.
func TestASlowRuleLeavesTimeToTheOthers(t *testing.T) {
	slow := "package main\ndeny_a contains \"x\" if { some a in input.n; some b in input.n; some c in input.n; some d in input.n; some e in input.n; a + b + c + d + e < 0 }\n" +
		"deny_b contains \"fast\"\n"
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	object := `{"n": [` + strings.TrimSuffix(strings.Repeat("1,", 300), ",") + `]}`
	result := load(t, "a.rego", slow).Evaluate(ctx, request("CREATE", "", "services", object), nil, now, policies.PhaseValidate)
	if len(result.Faults) != 1 || result.Faults[0].Kind != policies.FaultDeadline || len(result.Findings) != 1 {
		t.Errorf("got %+v, want a fault of deny_a and the finding of deny_b", result)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(latest), []byte("namespace = [\"main\"]\nrego-version = \"v1\"\n[portcullis]\nresources = [\"services\"]\n"), []byte("a: {b: 1}\n"))
	f.Add([]byte("package main\ndeny[msg] { msg = \"old\" }\n"), []byte("rego-version = \"v0\"\n"), []byte("[]"))
	f.Fuzz(func(t *testing.T, rego, settings, data []byte) {
		engine, err := conftest.Load(folder("a.rego", string(rego), "conftest.toml", string(settings), "data/a.yaml", string(data)), conftest.Options{})
		if err == nil && len(engine.Rules()) == 0 {
			t.Error("got policies that ask nothing, want an error")
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	engine := load(b, "a.rego", latest)
	r := request("CREATE", "", "pods", `{"kind": "Pod", "metadata": {"labels": {"owner": "x"}}, "spec": {"containers": [{"image": "nginx:1"}, {"image": "redis:7"}]}}`)
	b.ReportAllocs()
	for b.Loop() {
		if result := engine.Evaluate(context.Background(), r, nil, now, policies.PhaseValidate); len(result.Faults) > 0 {
			b.Fatal(result.Faults)
		}
	}
}
