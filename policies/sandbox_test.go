package policies

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/ast"
)

func TestPoliciesMayOnlyComputeFromTheirArguments(t *testing.T) {
	rule := func(body string) fstest.MapFS { return onePolicy("", "deny contains \"x\" if { "+body+" }") }
	for name, test := range map[string]struct {
		files fstest.MapFS
		says  []string
	}{
		"http.send":                 {rule(`http.send({"method": "get", "url": "http://169.254.169.254"})`), []string{"http.send"}},
		"http.send in a library":    {bundleFiles("policies: [{policy: pods/x}]\n", "lib.rego", regoLibrary("l", `f(x) := http.send(x)`), "x.rego", regoPolicy("pods/x", "", always)), []string{"lib.rego", "http.send"}},
		"the network":               {rule(`net.lookup_ip_addr("example.com")`), []string{"net.lookup_ip_addr"}},
		"the process":               {rule(`opa.runtime()`), []string{"opa.runtime"}},
		"parsing Rego":              {rule(`rego.parse_module("a", "package a")`), []string{"rego.parse_module"}},
		"metadata":                  {rule(`rego.metadata.rule()`), []string{"rego.metadata.rule"}},
		"chance":                    {rule(`rand.intn("a", 2) == 1`), []string{"rand.intn"}},
		"identifiers":               {rule(`uuid.rfc4122("a")`), []string{"uuid.rfc4122"}},
		"traces":                    {rule(`trace("a")`), []string{"trace"}},
		"printing":                  {rule(`print(input.workload)`), []string{"x.rego", "print"}},
		"tokens":                    {rule(`io.jwt.decode("a")`), []string{"io.jwt.decode"}},
		"certificates":              {rule(`crypto.x509.parse_certificates("a")`), []string{"crypto.x509.parse_certificates"}},
		"signing for a cloud":       {rule(`providers.aws.sign_req({}, {}, 1)`), []string{"providers.aws.sign_req"}},
		"a range of a billion":      {rule(`numbers.range(1, 1000000000)`), []string{"numbers.range"}},
		"a range in steps":          {rule(`numbers.range_step(1, 1000000000, 1)`), []string{"numbers.range_step"}},
		"a block of addresses":      {rule(`net.cidr_expand("10.0.0.0/8")`), []string{"net.cidr_expand"}},
		"shifting far":              {rule(`bits.lsh(1, 1000000000)`), []string{"bits.lsh"}},
		"regular expression globs":  {rule(`regex.globs_match("a.*", "b.*")`), []string{"regex.globs_match"}},
		"YAML bombs":                {rule(`yaml.unmarshal("a: b")`), []string{"yaml.unmarshal"}},
		"templates":                 {rule(`strings.render_template("a", {})`), []string{"strings.render_template"}},
		"graph paths":               {rule(`graph.reachable_paths({}, [])`), []string{"graph.reachable_paths"}},
		"time zone files":           {rule(`time.clock([1, "Europe/Berlin"])`), []string{"time.clock"}},
		"a format that is computed": {rule(`sprintf(input.request.name, [])`), []string{"x.rego", "literal"}},
		"a format from a parameter": {bundleFiles("policies: [{policy: pods/x, parameters: {f: '%9999999d'}}]\n", "x.rego", regoPolicy("pods/x", "parameters: {properties: {f: {type: string}}}", `deny contains sprintf(input.parameters.f, [1])`)), []string{"x.rego", "literal"}},
		"a format in a local":       {rule("f := \"%d\"\nsprintf(f, [1])"), []string{"x.rego", "literal"}},
		"a huge width":              {rule(`sprintf("%999999999d", [1])`), []string{"999999999", "at most 100"}},
		"a huge precision":          {rule(`sprintf("%.101f", [1])`), []string{"101", "at most 100"}},
		"a width of many digits":    {rule(`sprintf("%99999999999999999999d", [1])`), []string{"99999999999999999999"}},
		"a width from an argument":  {rule(`sprintf("%*d", [1000000000, 1])`), []string{"from an argument"}},
		"an argument by its number": {rule(`sprintf("%[1]*d", [1000000000])`), []string{"from an argument"}},
		"a huge width in a call":    {rule(`startswith(sprintf("%1000d", [1]), "a")`), []string{"1000"}},
		"a huge width in a head":    {onePolicy("", `deny contains sprintf("%1000d", [1]) if input.request.name`), []string{"1000"}},
		"a huge width behind %%":    {rule(`sprintf("%%%1000d", [1])`), []string{"1000"}},
		"a huge width in a library": {bundleFiles("policies: [{policy: pods/x}]\n", "lib.rego", regoLibrary("l", `f(x) := sprintf("%1000d", [x])`), "x.rego", regoPolicy("pods/x", "", always)), []string{"lib.rego", "1000"}},
		"with":                      {rule(`input.request.name == "a" with input as {"request": {"name": "a"}}`), []string{"x.rego", "with", "tests only"}},
		"with in a comprehension":   {rule(`count([1 | true with input as {}]) > 0`), []string{"x.rego", "with"}},
		"with data":                 {rule(`data.a.b with data.a.b as 1`), []string{"x.rego", "with"}},
		"a regular expression that does not compile": {rule(`regex.match("(", input.request.name)`), []string{"x.rego", "("}},
		"a regular expression of a parameter":        {bundleFiles("policies: [{policy: pods/x, parameters: {p: 'a{99999}'}}]\n", "x.rego", regoPolicy("pods/x", "parameters: {properties: {p: {type: string}}}", `deny contains "x" if regex.match(input.parameters.p, input.request.name)`)), []string{"x.rego", "a{99999}"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := compileFiles(test.files)
			wantRefusal(t, err, test.says...)
		})
	}
}

func TestOrdinaryFormatsAreAllowed(t *testing.T) {
	for format, want := range map[string]string{
		`%d items`:           "7 items",
		`%05d`:               "00007",
		`%v%% of 1000`:       "7% of 1000",
		`above 50%% 1000 %d`: "above 50% 1000 7",
		`[%d]`:               "[7]",
		`%100d`:              strings.Repeat(" ", 99) + "7",
	} {
		engine := mustCompile(t, onePolicy("", fmt.Sprintf("deny contains sprintf(%q, [7])", format)))
		wantSpoken(t, judge(t, engine, podRequest(plainPod), nil), "pods/x: "+want)
	}
}

// The allow-list names built-ins; a name OPA does not know would be a mistake in it.
func TestTheAllowListHoldsOnlyBuiltinsOfThisOPA(t *testing.T) {
	for _, name := range allowedBuiltins {
		if !slices.ContainsFunc(ast.CapabilitiesForThisVersion().Builtins, func(b *ast.Builtin) bool { return b.Name == name || b.Infix == name }) {
			t.Errorf("%s is allowed, but OPA %s has no such built-in", name, "1.22.2")
		}
	}
}

// A built-in that is not deterministic or reaches outside must not slip in.
func TestNoAllowedBuiltinIsNondeterministicButTheClock(t *testing.T) {
	for _, b := range sandbox().Builtins {
		if b.Nondeterministic && b.Name != "time.now_ns" {
			t.Errorf("%s is allowed, but nondeterministic", b.Name)
		}
	}
}

func TestTheClockOfRegoIsTheTimeOfTheRequest(t *testing.T) {
	engine := mustCompile(t, onePolicy("", `deny contains sprintf("%d %s", [time.now_ns(), input.now])`))
	wantSpoken(t, judgeAt(t, engine, podRequest(plainPod), nil, noon.Add(59e9)), fmt.Sprintf("pods/x: %d 2026-03-01T12:00:00Z", noon.UnixNano()))
}

func TestPoliciesReadOnlyWhatIsTheirs(t *testing.T) {
	y := regoPolicy("pods/y", "", "secret := 1\n"+always)
	both := func(rules string, more ...string) fstest.MapFS {
		return bundleFiles("policies: [{policy: pods/x}, {policy: pods/y}]\n", append([]string{"y.rego", y, "x.rego", regoPolicy("pods/x", "", rules)}, more...)...)
	}
	for name, test := range map[string]struct {
		files fstest.MapFS
		says  []string
	}{
		"a rule of another policy":          {both(`deny contains "x" if data.portcullis.pods.y.secret`), []string{"x.rego", "another policy"}},
		"all rules of another policy":       {both(`deny contains "x" if data.portcullis.pods.y`), []string{"another policy"}},
		"all policies":                      {both(`deny contains "x" if data.portcullis`), []string{"another policy"}},
		"the compiled copies":               {both(`deny contains "x" if data.portcullis.units`), []string{"another policy"}},
		"a policy by a computed name":       {both(`deny contains "x" if { some k in ["pods"]; data.portcullis[k].y.secret }`), []string{"another policy"}},
		"data by a computed name":           {both(`deny contains "x" if { some k in ["portcullis"]; data[k].pods.y.secret }`), []string{"another policy"}},
		"all data":                          {both(`deny contains "x" if count(data) > 0`), []string{"another policy"}},
		"an import of another policy":       {both("import data.portcullis.pods.y\n" + `deny contains "x" if y.secret`), []string{"another policy"}},
		"an import of input":                {both("import input.workload\n" + `deny contains "x" if workload.os`), []string{"import", "input.workload"}},
		"a policy from a library":           {both(`deny contains "x" if data.portcullis.lib.l.f`, "lib.rego", regoLibrary("l", "f := data.portcullis.pods.y.secret")), []string{"lib.rego", "another policy"}},
		"a library that does not exist":     {both("import data.portcullis.lib.nobody\n" + `deny contains "x" if nobody.f(1)`), []string{"x.rego", "nobody"}},
		"a path that does not exist":        {both(`deny contains "x" if input.workload.container`), []string{"x.rego", "container", "input.schema.json"}},
		"a field of items that is no field": {both(`deny contains "x" if input.workload.containers[_].privileged`), []string{"x.rego", "privileged"}},
		"a section that does not exist":     {both(`deny contains "x" if input.review`), []string{"review"}},
		"a misspelled section in a library": {both(`deny contains "x" if data.portcullis.lib.l.f`, "lib.rego", regoLibrary("l", "f := input.wrokload")), []string{"lib.rego", "wrokload"}},
		"parameters in a library":           {both(`deny contains "x" if data.portcullis.lib.l.f`, "lib.rego", regoLibrary("l", "f := input.parameters.a")), []string{"lib.rego", "parameters"}},
		"other objects without reads":       {both(`deny contains "x" if input.cluster[_].name`), []string{"pods/x", "reads"}},
		"other objects by way of a library": {both(`deny contains "x" if data.portcullis.lib.l.f`, "lib.rego", regoLibrary("l", "f if input.cluster[_].name")), []string{"pods/x", "reads"}},
		"input as a whole":                  {both(`deny contains "x" if count(input) > 0`), []string{"input is used as a whole"}},
		"input in a set":                    {both(`deny contains "x" if count({input}) > 0`), []string{"input is used as a whole"}},
		"input under another name":          {both(`deny contains "x" if { all := input; walk(all, [_, value]); value == "1" }`), []string{"input is used as a whole"}},
		"input as an argument":              {both("deny contains \"x\" if large(input)\nlarge(x) if count(x) > 1"), []string{"input is used as a whole"}},
		"input of every":                    {both(`deny contains "x" if { every section in input { section } }`), []string{"input"}},
		"input by a computed key":           {both(`deny contains "x" if { some key in ["object"]; input[key].metadata }`), []string{"computed key"}},
		"input by a key in a local":         {both(`deny contains "x" if { some key in ["object", "oldObject"]; object := input[key]; object.metadata.labels.bad }`), []string{"computed key"}},
		"input by a key as an argument":     {both("deny contains \"x\" if { some key in [\"object\"]; bad(input[key]) }\nbad(x) if x.metadata.labels.bad"), []string{"computed key"}},
		"input by a key of object.get":      {both(`deny contains "x" if { some key in ["object"]; object.get(input, [key, "metadata"], {}).labels.bad }`), []string{"computed key"}},
		"input by a key of a whole path":    {both(`deny contains "x" if { some key in ["object"]; object.get(input, key, {}).metadata }`), []string{"input is used as a whole"}},
		"input by another name and a key":   {both(`deny contains "x" if { all := input; some key in ["object"]; o := all[key]; o.metadata.labels.bad }`), []string{"computed key"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := compileFiles(test.files)
			wantRefusal(t, err, test.says...)
		})
	}
}

func TestInputUnderAnotherNameIsReadByItsFields(t *testing.T) {
	engine := mustCompile(t, onePolicy("", "deny contains all.object.metadata.name if { all := input; named(all) }\nnamed(x) if x.request.name == \"shop\""))
	wantSpoken(t, judge(t, engine, podRequest(plainPod), nil), "pods/x: shop")
}

func TestLibrariesAndDataAreShared(t *testing.T) {
	engine := mustCompile(t, bundleFiles("policies: [{policy: pods/x}, {policy: pods/y}]\n",
		"lib/a.rego", regoLibrary("a", "import data.portcullis.lib.b\nname := b.shout(input.request.name)"),
		"lib/b.rego", regoLibrary("b", "shout(x) := concat(\"\", [upper(x), data.marks.end])"),
		"data/marks.yaml", "end: '!'\n",
		"x.rego", regoPolicy("pods/x", "", "import data.portcullis.lib.a\ndeny contains a.name"),
		"y.rego", regoPolicy("pods/y", "", "deny contains data.portcullis.lib.a.name")))
	wantSpoken(t, judge(t, engine, podRequest(plainPod), nil), "pods/x: SHOP!", "pods/y: SHOP!")
}
