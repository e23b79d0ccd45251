package gate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/policies"
)

// testBundle has one policy for each thing a run can say.
var testBundle = map[string]string{
	"bundle.yaml": `apiVersion: policy.portcullis.dev/v1alpha1
kind: Bundle
name: test
serial: 1
policies:
- policy: pods/privileged
- policy: pods/owner
  enforcement: warn
- policy: network/isolated
- policy: namespaces/tier
- policy: network/host-taken
- policy: patch/pull-always
`,
	"pods/privileged.rego": metadata("Privileged", "critical", "workload: any", "") + `package portcullis.pods.privileged
deny contains {"msg": sprintf("container %q is privileged", [c.name]), "path": concat("", [c.path, ".securityContext.privileged"]), "fix": [{"op": "remove", "path": concat("", [c.path, ".securityContext.privileged"])}]} if {
	some c in input.workload.containers
	c.securityContext.privileged
}`,
	"pods/owner.rego": metadata("Owner", "low", "workload: any", "") + `package portcullis.pods.owner
deny contains "no owner label" if { not has_owner }
has_owner if { some l in input.workload.labels; l.key == "owner" }`,
	"network/isolated.rego": metadata("Isolated", "medium", "workload: any", "#   reads: [{group: networking.k8s.io, resource: networkpolicies, scope: namespace, more: allows}]\n") + `package portcullis.network.isolated
deny contains "no NetworkPolicy in the namespace" if { not any_policy }
any_policy if { some o in input.cluster; o.kind == "NetworkPolicy" }`,
	"network/host_taken.rego": metadata("Host taken", "high", "resources: [{group: networking.k8s.io, resources: [ingresses]}]", "#   reads: [{group: networking.k8s.io, resource: ingresses, scope: cluster, more: denies}]\n") + `package portcullis.network.host_taken
deny contains {"msg": "the host is taken", "path": "spec.rules"} if {
	some o in input.cluster
	o.object.spec.rules[0].host == input.object.spec.rules[0].host
}`,
	"namespaces/tier.rego": metadata("Tier", "low", "resources: [{group: \"\", resources: [configmaps]}]", "") + `package portcullis.namespaces.tier
deny contains "the namespace has no tier" if { not input.namespace.labels.tier }`,
	"patch/pull_always.rego": metadata("Pull always", "low", "workload: pods", "") + `package portcullis.patch.pull_always
patch contains {"path": ["spec", "containers", 0, "imagePullPolicy"], "set": "Always"} if { input.request.operation == "CREATE" }`,
}

func metadata(title, severity, match, more string) string {
	return "# METADATA\n# title: " + title + "\n# description: A test.\n# custom:\n#   severity: " + severity + "\n#   match: {" + match + "}\n#   remediation: Mend it.\n" + more
}

func testEngine(t testing.TB) *policies.Engine {
	t.Helper()
	files := fstest.MapFS{}
	for name, content := range testBundle {
		files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	bundle, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// recorder is a handler that keeps everything.
type recorder struct {
	run      Run
	results  []Result
	problems []Problem
	summary  Summary
	fail     error
}

func (r *recorder) Start(run Run) error        { r.run = run; return nil }
func (r *recorder) Result(result Result) error { r.results = append(r.results, result); return r.fail }
func (r *recorder) Problem(problem Problem) error {
	r.problems = append(r.problems, problem)
	return nil
}
func (r *recorder) Finish(summary Summary) error { r.summary = summary; return nil }

// judge runs the gate over manifests.
func judge(t *testing.T, g *Gate, manifests string) (*recorder, ExitCode) {
	t.Helper()
	loaded, err := source.Load(context.Background(), []string{"-"}, source.Options{Stdin: strings.NewReader(manifests)})
	if err != nil {
		t.Fatal(err)
	}
	return run(t, g, loaded)
}

func run(t *testing.T, g *Gate, loaded source.Loaded) (*recorder, ExitCode) {
	t.Helper()
	if g.Engine == nil {
		g.Engine = testEngine(t)
	}
	g.Now = func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
	r := &recorder{}
	code, err := g.Run(context.Background(), loaded, r)
	if err != nil {
		t.Fatal(err)
	}
	return r, code
}

// directory is a context directory of manifests.
func directory(t *testing.T, manifests string) *Directory {
	t.Helper()
	loaded, err := source.Load(context.Background(), []string{"-"}, source.Options{Stdin: strings.NewReader(manifests)})
	if err != nil || len(loaded.Problems) > 0 {
		t.Fatal(err, loaded.Problems)
	}
	return NewDirectory("live", loaded.Documents, "")
}

const (
	goodPod = "apiVersion: v1\nkind: Pod\nmetadata: {name: good, namespace: shop, labels: {owner: me}}\nspec:\n  containers:\n  - name: app\n    image: nginx\n---\n"
	badPod  = "apiVersion: v1\nkind: Pod\nmetadata: {name: bad, namespace: shop, labels: {owner: me}}\nspec:\n  containers:\n  - name: app\n    image: nginx\n    securityContext: {privileged: true}\n---\n"
	warned  = "apiVersion: v1\nkind: Pod\nmetadata: {name: warned, namespace: shop}\nspec:\n  containers:\n  - name: app\n    image: nginx\n---\n"
	netpol  = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np, namespace: shop}\n---\n"
	config  = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\n---\n"
	shop    = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {tier: gold}}\n---\n"
	ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: %s, namespace: shop}\nspec: {rules: [{host: a.example}]}\n---\n"
	broken  = "a: [\n---\n"
)

func TestExitCodes(t *testing.T) {
	for name, test := range map[string]struct {
		manifests  string
		cluster    string // "" for no context
		failOnWarn bool
		want       ExitCode
	}{
		"all admitted":                                          {goodPod + netpol, "", false, ExitAdmitted},
		"a denial":                                              {badPod + netpol, "", false, ExitDenied},
		"a denial wins over unreadable input":                   {badPod + netpol + broken, "", false, ExitDenied},
		"a denial wins over undecided policies":                 {badPod + config, "", false, ExitDenied},
		"unreadable input":                                      {goodPod + netpol + broken, "", false, ExitFault},
		"unreadable input wins over undecided policies":         {config + broken, "", false, ExitFault},
		"nothing but unreadable input":                          {broken, "", false, ExitFault},
		"nothing at all is not admitted":                        {"", "", false, ExitUsage},
		"only comments are not admitted":                        {"# nothing\n---\n", "", false, ExitUsage},
		"a NetworkPolicy that may be in the cluster":            {goodPod, "", false, ExitUndecided},
		"no NetworkPolicy in the complete cluster":              {goodPod, shop, false, ExitDenied},
		"a NetworkPolicy in the cluster":                        {goodPod, netpol, false, ExitAdmitted},
		"a NetworkPolicy of the run on top of the cluster":      {goodPod + netpol, shop, false, ExitAdmitted},
		"an unknown namespace":                                  {config, "", false, ExitUndecided},
		"a namespace among the documents":                       {config + shop, "", false, ExitAdmitted},
		"a namespace in the context":                            {config, shop, false, ExitAdmitted},
		"a namespace that is not in the context":                {config, netpol, false, ExitUndecided},
		"warnings do not fail":                                  {warned + netpol, "", false, ExitAdmitted},
		"warnings fail when asked to":                           {warned + netpol, "", true, ExitWarned},
		"undecided wins over warnings":                          {warned, "", true, ExitUndecided},
		"an object is no fact about itself":                     {fmt.Sprintf(ingress, "a"), shop, false, ExitAdmitted},
		"the same object in the cluster is another one's":       {fmt.Sprintf(ingress, "a"), fmt.Sprintf(ingress, "b"), false, ExitDenied},
		"two documents of a run collide, whatever is not known": {fmt.Sprintf(ingress, "a") + fmt.Sprintf(ingress, "b"), "", false, ExitDenied},
		"a host that something unknown may have taken":          {fmt.Sprintf(ingress, "a"), "", false, ExitUndecided},
	} {
		t.Run(name, func(t *testing.T) {
			g := &Gate{FailOnWarn: test.failOnWarn}
			if test.cluster != "" {
				g.Cluster = directory(t, test.cluster)
			}
			r, got := judge(t, g, test.manifests)
			if got != test.want || r.summary.Exit != got {
				t.Errorf("got %d (%s), reported %d, want %d (%s): %+v", got, got, r.summary.Exit, test.want, test.want, r.results)
			}
		})
	}
}

func TestWorstCode(t *testing.T) {
	order := []ExitCode{ExitUsage, ExitDenied, ExitFault, ExitUndecided, ExitWarned, ExitAdmitted}
	if got := ExitCodes(); !slices.Equal(got, order) {
		t.Errorf("got %v, want %v", got, order)
	}
	for i, better := range order {
		for _, worse := range order[:i] {
			if got := Worst(better, worse); got != worse {
				t.Errorf("Worst(%d, %d): got %d, want %d", better, worse, got, worse)
			}
		}
	}
	if slices.Contains(order, 2) {
		t.Error("2 is what a crash returns and must not be ours")
	}
}

func TestFindingsPointToTheField(t *testing.T) {
	r, _ := judge(t, &Gate{}, badPod+netpol)
	if len(r.results) != 2 || len(r.results[0].Findings) != 1 {
		t.Fatalf("got %+v, want one finding", r.results)
	}
	finding := r.results[0].Findings[0]
	if got, want := finding.Location.String(), "-:8:23"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if finding.Policy != "pods/privileged" || finding.Weight() != Denies || len(finding.Fix) != 1 {
		t.Errorf("got %+v, want a denial of pods/privileged with a fix", finding)
	}
}

func TestUndecidedPoliciesAreNamed(t *testing.T) {
	r, _ := judge(t, &Gate{}, goodPod)
	if len(r.results[0].Undecided) != 1 || r.results[0].Undecided[0].Policy != "network/isolated" || !strings.Contains(r.results[0].Undecided[0].Reason, documentsOnly) {
		t.Errorf("got %+v, want network/isolated, because %s", r.results[0].Undecided, documentsOnly)
	}
}

func TestPatchRulesGoFirst(t *testing.T) {
	r, _ := judge(t, &Gate{}, goodPod+netpol)
	if got := string(r.results[0].Patch); !strings.Contains(got, "imagePullPolicy") {
		t.Errorf("got the patch %s, want one that sets imagePullPolicy", got)
	}
	if r.results[1].Patch != nil {
		t.Errorf("got the patch %s of a NetworkPolicy, want none", r.results[1].Patch)
	}
}

func TestNamespaces(t *testing.T) {
	definition := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: w.example.com}\nspec: {group: example.com, scope: Cluster, names: {kind: Widget, plural: widgetry}}\n---\n"
	evil := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: pods}\nspec: {group: \"\", scope: Cluster, names: {kind: Pod, plural: nothing}}\n---\n"
	for name, test := range map[string]struct {
		manifests, namespace, want string
	}{
		"a Pod goes to the default namespace":                 {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n", "", "Pod default/a"},
		"a Pod goes to the namespace of the run":              {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n", "shop", "Pod shop/a"},
		"a Pod stays in its own namespace":                    {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: own}\n", "shop", "Pod own/a"},
		"a ClusterRole is in none":                            {"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: a, namespace: odd}\n", "shop", "ClusterRole a"},
		"a ClusterIssuer is in none":                          {"apiVersion: cert-manager.io/v1\nkind: ClusterIssuer\nmetadata: {name: a}\n", "", "ClusterIssuer a"},
		"a Gatekeeper constraint is in none":                  {"apiVersion: constraints.gatekeeper.sh/v1\nkind: Anything\nmetadata: {name: a}\n", "", "Anything a"},
		"an unknown kind is in one":                           {"apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\n", "", "Widget default/a"},
		"a definition of the run says that it is not":         {"apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\n---\n" + definition, "", "Widget a"},
		"a definition cannot take a Pod out of its namespace": {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n" + evil, "", "Pod default/a"},
		"a generated name is shown as such":                   {"apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\n", "", "Pod default/a-*"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := judge(t, &Gate{Namespace: test.namespace}, test.manifests)
			if got := r.results[0].Object.String(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestOrder: the results come in the order of the documents however many are
// judged at a time, and reordering the documents changes none of them.
func TestOrder(t *testing.T) {
	var documents []string
	for i := range 50 {
		documents = append(documents, strings.ReplaceAll(badPod, "name: bad", fmt.Sprintf("name: bad-%02d", i)), fmt.Sprintf(ingress, fmt.Sprintf("i%02d", i)))
	}
	documents = append(documents, netpol, shop, config)
	forward, _ := judge(t, &Gate{}, strings.Join(documents, ""))
	slices.Reverse(documents)
	backward, _ := judge(t, &Gate{}, strings.Join(documents, ""))
	if got, want := backward.summary.Exit, forward.summary.Exit; got != want {
		t.Errorf("got exit code %d of the reversed documents, want %d", got, want)
	}
	if got := forward.results[2*7].Object.Name; got != "bad-07" {
		t.Errorf("got %s as result 14, want bad-07", got)
	}
	say := func(r *recorder) map[string]string {
		said := map[string]string{}
		for _, result := range r.results {
			text := string(result.Outcome)
			for _, finding := range result.Findings {
				text += "; " + finding.Policy + " " + finding.Path + " " + finding.Message
			}
			for _, open := range result.Undecided {
				text += "; undecided " + open.Policy
			}
			said[result.Object.String()] = text
		}
		return said
	}
	if got, want := say(backward), say(forward); !maps.Equal(got, want) {
		t.Errorf("got of the reversed documents\n%v\nwant\n%v", got, want)
	}
}

func TestHandlerErrorEndsTheRun(t *testing.T) {
	loaded, err := source.Load(context.Background(), []string{"-"}, source.Options{Stdin: strings.NewReader(strings.Repeat(goodPod, 100))})
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	r := &recorder{fail: full}
	code, err := (&Gate{Engine: testEngine(t), Now: time.Now}).Run(context.Background(), loaded, r)
	if !errors.Is(err, full) || code != ExitFault || len(r.results) != 1 {
		t.Errorf("got %v, code %d after %d results, want %v, code %d after 1", err, code, len(r.results), full, ExitFault)
	}
}

func TestInterruptedRunIsAFault(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	loaded, err := source.Load(ctx, []string{"-"}, source.Options{Stdin: strings.NewReader(strings.Repeat(goodPod, 100))})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	code, err := (&Gate{Engine: testEngine(t), Now: time.Now}).Run(ctx, loaded, &recorder{})
	if err == nil || code != ExitFault {
		t.Errorf("got %v, code %d, want an error and code %d", err, code, ExitFault)
	}
}

func BenchmarkRun(b *testing.B) {
	loaded, err := source.Load(context.Background(), []string{"-"}, source.Options{Stdin: strings.NewReader(strings.Repeat(badPod, 1000) + netpol)})
	if err != nil {
		b.Fatal(err)
	}
	g := &Gate{Engine: testEngine(b), Now: time.Now}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Run(context.Background(), loaded, &recorder{}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDiff(t *testing.T) {
	for name, test := range map[string]struct{ from, to, want string }{
		"nothing changes":                {`{"a":1}`, `{"a":1}`, `[]`},
		"a key is added":                 {`{}`, `{"a/b~":null}`, `[{"op":"add","path":"/a~1b~0","value":null}]`},
		"a key is removed":               {`{"a":1,"b":2}`, `{"b":2}`, `[{"op":"remove","path":"/a"}]`},
		"a value changes deep in a list": {`{"a":[{"b":1},{"b":2}]}`, `{"a":[{"b":1},{"b":false}]}`, `[{"op":"replace","path":"/a/1/b","value":false}]`},
		"a list grows":                   {`{"a":[1]}`, `{"a":[1,2]}`, `[{"op":"replace","path":"/a","value":[1,2]}]`},
		"a large number stays exact":     {`{"a":1}`, `{"a":9007199254740993}`, `[{"op":"replace","path":"/a","value":9007199254740993}]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := diff([]byte(test.from), []byte(test.to))
			if err != nil || string(got) != test.want {
				t.Errorf("got %s, %v, want %s", got, err, test.want)
			}
		})
	}
}

func TestExplanationsFixWhatTheyExplain(t *testing.T) {
	loaded, err := source.Load(context.Background(), []string{"-"}, source.Options{Stdin: strings.NewReader(badPod + netpol)})
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{Engine: testEngine(t), Now: time.Now}
	var explained []Explanation
	err = g.Explain(context.Background(), loaded, func(e Explanation) error {
		explained = append(explained, e)
		return nil
	})
	if err != nil || len(explained) != 2 {
		t.Fatalf("got %d explanations, %v, want 2", len(explained), err)
	}
	bad := explained[0]
	if len(bad.Traces) != 1 || bad.Traces[0].Policy != "pods/privileged" || bad.Traces[0].File != "pods/privileged.rego" {
		t.Errorf("got the traces %+v, want one of pods/privileged", bad.Traces)
	}
	if got := bad.Value("spec.containers[0].securityContext.privileged"); got != "true" {
		t.Errorf("got the value %q, want true", got)
	}
	if operations, err := bad.Operations(); err != nil || string(operations) != `[{"op":"remove","path":"/spec/containers/0/securityContext/privileged"}]` {
		t.Errorf("got %s, %v, want the removal of privileged", operations, err)
	}
	if r, code := judge(t, &Gate{}, string(bad.Fixed)+"\n---\n"+netpol); code != ExitAdmitted {
		t.Errorf("got %d of the fixed manifest, want %d: %+v", code, ExitAdmitted, r.results)
	}
	if explained[1].Fixed != nil {
		t.Errorf("got the change %s of an object that nothing objects to, want none", explained[1].Fixed)
	}
}

// The way round: a manifest in a hidden directory was passed over, and said so only at the
// end of a run that admits.
func TestManifestsThatWerePassedOver(t *testing.T) {
	hidden := source.Skip{File: "d/.hidden", Reason: "hidden directories are not read", Manifest: true}
	values := source.Skip{File: "d/values.yaml", Reason: "not a Kubernetes manifest"}
	for name, test := range map[string]struct {
		failOnSkip bool
		skipped    []source.Skip
		want       ExitCode
		problems   int
	}{
		"are named at the start and admitted by default":  {false, []source.Skip{hidden, values}, ExitAdmitted, 0},
		"are faults with --fail-on-skip":                  {true, []source.Skip{hidden, values}, ExitFault, 1},
		"are not what cannot be one, with --fail-on-skip": {true, []source.Skip{values}, ExitAdmitted, 0},
	} {
		t.Run(name, func(t *testing.T) {
			loaded, err := source.Load(context.Background(), []string{"-"}, source.Options{Stdin: strings.NewReader("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n")})
			if err != nil {
				t.Fatal(err)
			}
			loaded.Skipped = test.skipped
			report, code := run(t, &Gate{FailOnSkip: test.failOnSkip}, loaded)
			if code != test.want || len(report.problems) != test.problems || report.summary.Problems != test.problems {
				t.Errorf("got exit code %d and the problems %+v, want %d and %d", code, report.problems, test.want, test.problems)
			}
			if got, want := len(report.run.Skipped), len(test.skipped)-test.problems; got != want || len(report.summary.Skipped) != want {
				t.Errorf("got %+v at the start and %+v at the end, want the %d that are no problems", report.run.Skipped, report.summary.Skipped, want)
			}
		})
	}
}
