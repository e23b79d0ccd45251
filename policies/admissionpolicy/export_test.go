package admissionpolicy_test

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/admissionpolicy"
	"github.com/portcullis-dev/portcullis/policies/admissionpolicy/celtest"
	"github.com/portcullis-dev/portcullis/policies/library"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var now = time.Date(2027, time.January, 15, 12, 0, 0, 0, time.UTC)

var named = regexp.MustCompile(`policy: ([a-z]+/[a-z-]+)`)

// load reads a bundle with the policies of the library that it names, and none of the library's profiles.
func load(t *testing.T, manifest string, exceptions ...string) *policies.Bundle {
	t.Helper()
	files := fstest.MapFS{"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\n" + manifest)}}
	patterns := []string{"lib/ages.rego", "lib/evidence.rego", "lib/patching.rego", "lib/wording.rego"}
	for _, found := range named.FindAllStringSubmatch(manifest+strings.Join(exceptions, ""), -1) {
		patterns = append(patterns, found[1]+"/policy.*")
	}
	for _, pattern := range patterns {
		names, err := fs.Glob(library.FS(), pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			content, err := fs.ReadFile(library.FS(), name)
			if err != nil {
				t.Fatal(err)
			}
			files[name] = &fstest.MapFile{Data: content}
		}
	}
	for n, exception := range exceptions {
		files[fmt.Sprintf("exceptions/%d.yaml", n)] = &fstest.MapFile{Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Exception\nreason: r\nowner: o\n" + exception)}
	}
	bundle, err := policies.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// privileged is a request for a privileged pod.
func privileged(namespace, name, user string, groups ...string) admission.Request {
	return admission.Request{
		Door: admission.DoorAdmission, Operation: "CREATE", Namespace: namespace, Name: name, Subject: admission.Subject{Username: user, Groups: groups},
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Object: []byte(fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":%q},"spec":{"containers":[{"name":"app","image":"a","securityContext":{"privileged":true}}]}}`, name, namespace)),
	}
}

// workloadOf is the same in a Deployment.
func workloadOf(r admission.Request) admission.Request {
	pod := string(r.Object)
	spec := pod[strings.Index(pod, `"spec":`) : len(pod)-1]
	r.Object = []byte(fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":%q,"namespace":%q},"spec":{"template":{%s}}}`, r.Name, r.Namespace, spec))
	r.Resource = metav1.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	r.Kind = metav1.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	return r
}

// Wherever a match, a profile or an exception says who is judged, both judge the same requests.
func TestTheSameRequestsAreJudged(t *testing.T) {
	requests := map[string]admission.Request{
		"a pod in shop":                      privileged("shop", "web", "jane", "developers"),
		"a Deployment in shop":               workloadOf(privileged("shop", "web", "jane")),
		"a pod in shop-test":                 privileged("shop-test", "web", "jane"),
		"a pod in team-a":                    privileged("team-a", "web-1", "jane"),
		"a pod in kube-system":               privileged("kube-system", "web", "jane"),
		"a pod of a service account in shop": privileged("shop", "job", "system:serviceaccount:ci:runner", "system:serviceaccounts"),
		"a pod of an administrator":          privileged("shop", "web", "root", "system:masters", "admins"),
		"a pod without a name":               privileged("shop", "", "jane"),
	}
	const one = "policies: [{policy: pods/privileged, match: %s}]"
	for name, test := range map[string]struct {
		manifest   string
		exceptions []string
		milder     []string // requests that only the webhook refuses
	}{
		"everything":                     {manifest: "policies: [{policy: pods/privileged}]"},
		"namespaces by name":             {manifest: fmt.Sprintf(one, "{namespaces: [shop, team-a]}")},
		"namespaces by globs":            {manifest: fmt.Sprintf(one, `{namespaces: ["shop?*", "{team,kube}-[!b]*"]}`)},
		"kinds":                          {manifest: fmt.Sprintf(one, "{kinds: [apps/Deployment]}")},
		"kinds and excluded kinds":       {manifest: fmt.Sprintf(one, "{exclude: {kinds: [Pod]}}")},
		"users":                          {manifest: fmt.Sprintf(one, "{users: [ja*]}")},
		"groups":                         {manifest: fmt.Sprintf(one, "{groups: [developers, system:masters]}")},
		"service accounts":               {manifest: fmt.Sprintf(one, "{serviceAccounts: [ci/*]}")},
		"excluded service accounts":      {manifest: fmt.Sprintf(one, "{exclude: {serviceAccounts: [ci/runner]}}")},
		"excluded users and groups":      {manifest: fmt.Sprintf(one, "{exclude: {users: [jane], groups: [admins]}}")},
		"excluded namespaces":            {manifest: fmt.Sprintf(one, `{exclude: {namespaces: ["*-*"]}}`)},
		"operations that are not this":   {manifest: fmt.Sprintf(one, "{operations: [UPDATE]}")},
		"profiles, the first that fits":  {manifest: profiles(`[{match: ["*-test"], profile: none}, {match: [shop*], profile: closed}, {match: ["*"], profile: none}]`, "closed")},
		"profiles, and the default one":  {manifest: profiles(`[{match: [shop, "team-*"], profile: none}]`, "closed")},
		"profiles, closed in one place":  {manifest: profiles(`[{match: [kube-system], profile: closed}]`, "none")},
		"profiles, without assignments":  {manifest: profiles(`[]`, "closed")},
		"an exception for a namespace":   {manifest: "policies: [{policy: pods/privileged}]", exceptions: []string{"name: a\npolicy: pods/privileged\nexpires: 2027-02-01\nselector: {namespaces: [shop]}\n"}},
		"an exception for names":         {manifest: "policies: [{policy: pods/privileged}]", exceptions: []string{"name: a\npolicy: pods/privileged\nexpires: 2027-02-01\nselector: {namespaces: [\"*\"], names: [\"web*\"], kinds: [Pod]}\n"}},
		"an exception that has ended":    {manifest: "policies: [{policy: pods/privileged}]", exceptions: []string{"name: a\npolicy: pods/privileged\nexpires: 2027-01-01\nselector: {namespaces: [\"*\"]}\n"}},
		"an exception for another":       {manifest: "policies: [{policy: pods/privileged}]", exceptions: []string{"name: a\npolicy: pods/host-ports\nexpires: 2027-02-01\nselector: {namespaces: [\"*\"]}\n"}},
		"an exception for no namespace":  {manifest: "policies: [{policy: pods/privileged}]", exceptions: []string{"name: a\npolicy: pods/privileged\nexpires: 2027-02-01\nselector: {clusterScoped: true}\n"}},
		"an exception for one container": {manifest: "policies: [{policy: pods/privileged}]", exceptions: []string{"name: a\npolicy: pods/privileged\nexpires: 2027-02-01\nselector: {namespaces: [team-a], containers: [other]}\n"}, milder: []string{"a pod in team-a"}},
		"exceptions granted in shop":     {manifest: "policies: [{policy: pods/privileged}]\nexceptionsFrom: {namespaces: [\"shop*\"], maxDuration: 30d}", milder: []string{"a pod in shop", "a Deployment in shop", "a pod in shop-test", "a pod of a service account in shop", "a pod of an administrator", "a pod without a name"}},
	} {
		t.Run(name, func(t *testing.T) {
			bundle := load(t, test.manifest, test.exceptions...)
			engine, err := policies.NewEngine(bundle)
			if err != nil {
				t.Fatal(err)
			}
			reviewer := admission.NewReviewer(engine, nil, func() time.Time { return now })
			result, err := admissionpolicy.Export(bundle, admissionpolicy.Options{Now: now, Policies: []string{"pods/privileged"}})
			if err != nil {
				t.Fatal(err)
			}
			for what, request := range requests {
				want := reviewer.Review(t.Context(), request).Denied()
				if got := refuses(t, result, &request); got != want && (got || !slices.Contains(test.milder, what)) {
					t.Errorf("%s: exported policies refuse it: got %t, want %t as the webhook", what, got, want)
				} else if got == want && slices.Contains(test.milder, what) {
					t.Errorf("%s: got the same verdict, want a milder one", what)
				}
			}
			said := slices.ContainsFunc(result.Exported, func(e admissionpolicy.Exported) bool { return len(e.Milder) > 0 })
			if len(test.milder) > 0 && !said {
				t.Error("got nothing said of what is milder")
			}
		})
	}
}

// profiles are two: closed, which refuses privileged pods, and none, which does not.
func profiles(assignments, byDefault string) string {
	return "profiles: [{name: closed, policies: [{policy: pods/privileged}]}, {name: none, policies: [{policy: pods/sysctls}]}]\ndefaultProfile: " + byDefault + "\nnamespaces: " + assignments
}

// refuses says whether any exported policy that denies refuses a request.
func refuses(t *testing.T, result *admissionpolicy.Result, r *admission.Request) bool {
	t.Helper()
	read, err := celtest.Read(r, true)
	if err != nil {
		t.Fatal(err)
	}
	for n := range result.Exported {
		policy, err := sharedServer(t).Compile(&result.Exported[n])
		if err != nil {
			t.Fatal(err)
		}
		answer, err := policy.Judge(t.Context(), read)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Refused && slices.Contains(result.Exported[n].Actions, "Deny") {
			return true
		}
	}
	return false
}

func TestEnforcementFailModeAndRampBecomeActionsAndFailurePolicies(t *testing.T) {
	bundle := load(t, `policies:
  - {policy: pods/privileged, failMode: open}
  - {policy: pods/host-ports, enforcement: warn}
  - {policy: pods/sysctls, enforcement: audit}
  - {policy: pods/host-aliases, enforcement: off}
  - {policy: pods/se-linux, ramp: {auditUntil: 2027-01-01, warnUntil: 2027-02-01}}
  - {policy: patch/image-pull-policy}
  - {policy: images/signed}
`)
	result, err := admissionpolicy.Export(bundle, admissionpolicy.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range result.Exported {
		got[e.Policy] = fmt.Sprint(e.Actions, " ", *e.Object.Spec.FailurePolicy, " ", len(e.Milder))
		if e.Binding.Spec.PolicyName != e.Object.Name {
			t.Errorf("%s: got a binding of %s, want one of %s", e.Policy, e.Binding.Spec.PolicyName, e.Object.Name)
		}
	}
	for _, left := range result.Left {
		got[left.Policy] = "left: " + left.Reason
	}
	for policy, want := range map[string]string{
		"pods/privileged": "[Deny Audit] Ignore 0", "pods/host-ports": "[Warn] Fail 0", "pods/se-linux": "[Warn] Fail 1",
		"pods/sysctls": "left: it is only recorded, which the webhook and the audit do", "pods/host-aliases": "",
		"patch/image-pull-policy": "left: it changes objects, which a ValidatingAdmissionPolicy cannot",
		"images/signed":           "left: it reads what is known of images, which a ValidatingAdmissionPolicy cannot",
	} {
		if got[policy] != want {
			t.Errorf("%s: got %q, want %q", policy, got[policy], want)
		}
	}
}

func TestALabelThatNamesTheProfileBecomesSelectors(t *testing.T) {
	const guard = "{policy: namespaces/protected-labels, parameters: {labels: [acme/profile], harmless: []}}"
	bundle := load(t, "profileLabel: acme/profile\ndefaultProfile: open\nprofiles: [{name: open, policies: ["+guard+"]}, {name: closed, policies: ["+guard+", {policy: pods/privileged}]}]\nnamespaces: [{match: [shop], profile: closed}]")
	result, err := admissionpolicy.Export(bundle, admissionpolicy.Options{Now: now, Policies: []string{"pods/privileged"}})
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(result.Notes, "\n"); !strings.Contains(notes, "acme/profile names no profile") || !strings.Contains(notes, "workingDir") {
		t.Errorf("got the notes %s, want one about labels that name no profile, and one about updates", notes)
	}
	got := map[string]string{}
	for _, e := range result.Exported {
		got[e.Name] = metav1.FormatLabelSelector(e.Object.Spec.MatchConstraints.NamespaceSelector)
	}
	want := map[string]string{"portcullis-acme.closed-by-label-pods-privileged": "acme/profile=closed", "portcullis-acme.closed-pods-privileged": "!acme/profile"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWhatExceptionsOfTheClusterCanWaiveAnywhereIsLeftOutUnlessTheyAreIgnored(t *testing.T) {
	bundle := load(t, "policies: [{policy: pods/privileged}, {policy: pods/sysctls}]\nexceptionsFrom: {central: [security], policies: [pods/privileged], maxDuration: 30d}")
	for ignore, want := range map[bool]int{false: 1, true: 2} {
		result, err := admissionpolicy.Export(bundle, admissionpolicy.Options{Now: now, IgnoreClusterExceptions: ignore, Policies: []string{"pods/privileged", "pods/sysctls"}})
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Exported) != want {
			t.Errorf("ignoring them %t: got %d exported, want %d: left %v", ignore, len(result.Exported), want, result.Left)
		}
	}
}

func TestAnExportIsTheSameEachTimeAndItsMistakesAreNamed(t *testing.T) {
	bundle := libraryBundle(t)
	var before string
	for range 3 {
		result, err := admissionpolicy.Export(bundle, admissionpolicy.Options{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		text, err := result.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if before != "" && before != string(text) {
			t.Fatal("got another text, want the same")
		}
		before = string(text)
	}
	for want, options := range map[string]admissionpolicy.Options{
		`there is no profile "x"`: {Profile: "x"}, `there is no policy "pods/x"`: {Policies: []string{"pods/x"}},
	} {
		if _, err := admissionpolicy.Export(bundle, options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestCELOfABundleThatCannotBeUsedIsRefused(t *testing.T) {
	const rules = "# METADATA\n# title: X\n# description: X.\n# custom:\n#   severity: low\n#   match: {workload: any}\n#   remediation: Mend it.\n" +
		"#   parameters: {type: object, properties: {names: {type: array, items: {type: string}, default: [\"it's\", \"a*\"]}}}\npackage portcullis.acme.x\n\ndeny contains \"x\" if input.workload.hostPID\n"
	for name, test := range map[string]struct{ file, content, want string }{
		"no policy beside it":              {"y.cel.yaml", "deny: [\"[]\"]", "there is no policy in y.rego"},
		"nothing to deny":                  {"x.cel.yaml", "deny: []", "deny needs at least one expression"},
		"a field that there is not":        {"x.cel.yaml", "deny: [\"[]\"]\nwarn: []", "warn"},
		"a reserved name":                  {"x.cel.yaml", "deny: [\"[]\"]\nvariables: [{name: namespace, expression: \"1\"}]", "does not reserve"},
		"a name that is taken":             {"x.cel.yaml", "deny: [\"[]\"]\nvariables: [{name: podSpec, expression: \"1\"}]", "is there already"},
		"a variable that there is not":     {"x.cel.yaml", "deny: [variables.nothing]", "variables.nothing"},
		"globs of no parameter":            {"x.cel.yaml", "deny: [\"[]\"]\nglobs: [others]", "no parameter others"},
		"nothing that is wrong, and globs": {"x.cel.yaml", "deny: [\"variables.parameters.names.filter(n, 'it' == n)\"]\nglobs: [names]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			bundle, err := policies.Load(fstest.MapFS{
				"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\npolicies: [{policy: acme/x}]\n")},
				"x.rego":      {Data: []byte(rules)}, test.file: {Data: []byte(test.content)},
			})
			var result *admissionpolicy.Result
			if err == nil {
				result, err = admissionpolicy.Export(bundle, admissionpolicy.Options{Now: now})
			}
			if err == nil {
				_, err = sharedServer(t).Compile(&result.Exported[0])
			}
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// The API server takes 64 conditions, and evaluates so much of each.
func TestManyExceptionsAreFewConditions(t *testing.T) {
	exceptions := make([]string, 300)
	for n := range exceptions {
		// The costliest to evaluate: regular expressions about the longest names.
		exceptions[n] = fmt.Sprintf("name: e%d\npolicy: pods/privileged\nexpires: 2027-02-01\nselector: {namespaces: [\"*-n%d-*\"], names: [\"%s*-%d-*%[3]s*\"]}\n", n, n, strings.Repeat("a", 50), n)
	}
	bundle := load(t, "policies: [{policy: pods/privileged}]", exceptions...)
	result, err := admissionpolicy.Export(bundle, admissionpolicy.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Exported) != 1 {
		t.Fatalf("got %d exported, %v left, want 1 exported", len(result.Exported), result.Left)
	}
	long := strings.Repeat("a", 50) + "-299-" + strings.Repeat("a", 198)
	for name, test := range map[string]struct {
		namespace string
		want      bool
	}{"one that the last excepts": {"shop-n299-test", false}, "one that none excepts": {strings.Repeat("n", 63), true}} {
		request := privileged(test.namespace, long, "jane")
		if got := refuses(t, result, &request); got != test.want {
			t.Errorf("%s: refused: got %t, want %t", name, got, test.want)
		}
	}
	for n := range exceptions {
		exceptions[n] = strings.Replace(exceptions[n], "names: [", "names: ["+strings.Repeat(`"*`+strings.Repeat("b", 60)+`*", `, 7), 1)
	}
	if result, err = admissionpolicy.Export(load(t, "policies: [{policy: pods/privileged}]", exceptions...), admissionpolicy.Options{Now: now}); err != nil {
		t.Fatal(err)
	}
	if len(result.Left) != 1 || !strings.Contains(result.Left[0].Reason, "exceptions") {
		t.Errorf("got %v left, want what has too many exceptions", result.Left)
	}
}

// References of images are spelled out as the webhook does, whose policies compare them with the same parameters.
func TestImagesAreSpelledOutAsTheWebhookDoes(t *testing.T) {
	const rules = "# METADATA\n# title: X\n# description: X.\n# custom:\n#   severity: low\n#   match: {workload: any}\n#   remediation: Mend it.\npackage portcullis.acme.x\n\ndeny contains \"x\" if input.workload.hostPID\n"
	bundle, err := policies.Load(fstest.MapFS{
		"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\npolicies: [{policy: acme/x}]\n")},
		"x.rego":      {Data: []byte(rules)}, "x.cel.yaml": {Data: []byte("deny: [variables.images]")},
	})
	if err != nil {
		t.Fatal(err)
	}
	result, err := admissionpolicy.Export(bundle, admissionpolicy.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	policy, err := sharedServer(t).Compile(&result.Exported[0])
	if err != nil {
		t.Fatal(err)
	}
	const digest = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	compared := 0
	for _, host := range []string{
		"", "docker.io/", "docker.io:443/", "index.docker.io/", "index.docker.io:443/", "registry-1.docker.io/", "registry-1.docker.io:443/", "docker.io:5000/",
		"harbor/", "harbor:443/", "harbor:0443/", "harbor:05000/", "harbor:5000/", "harbor.acme.example/", "harbor.acme.example:443/", "harbor.acme.example:00443/", "harbor.acme.example:5443/",
		"localhost/", "localhost:443/", "localhost:5000/", "[2001:db8::1]/", "[2001:db8::1]:443/", "10.0.0.1:443/", "ghcr.io/", "notdocker.io/", "a.docker.io:443/",
	} {
		for _, repository := range []string{"app", "library/app", "team/app", "docker.io/app", "team/docker.io/library/app", "localhost/app"} {
			for _, suffix := range []string{"", ":1", ":443", digest, ":1.2-3" + digest} {
				text := host + repository + suffix
				image, err := workload.ParseImage(text)
				if err != nil {
					t.Fatal(err)
				}
				request := privileged("shop", "web", "jane")
				request.Object = []byte(strings.Replace(string(request.Object), `"image":"a"`, fmt.Sprintf(`"image":%q`, text), 1))
				got, err := judged(t.Context(), policy, &request, true)
				if err != nil {
					t.Fatal(err)
				}
				canonical := image.Ref
				if suffix == "" {
					canonical = strings.TrimSuffix(canonical, ":latest") // expressions know whether a tag is written
				}
				if want := "acme/x: " + canonical + ". Mend it."; got.Message != want {
					t.Errorf("%s: got %s, want %s", text, got.Message, want)
				}
				compared++
			}
		}
	}
	if compared < 700 {
		t.Errorf("got %d references, want at least 700", compared)
	}
}

// Values of parameters are no expressions.
func TestAParameterMayHoldWhatLooksLikeAVariable(t *testing.T) {
	const rules = "# METADATA\n# title: X\n# description: X.\n# custom:\n#   severity: low\n#   match: {workload: any}\n#   remediation: Mend it.\n" +
		"#   parameters: {type: object, properties: {names: {type: array, items: {type: string}, default: []}}}\npackage portcullis.acme.x\n\ndeny contains \"x\" if input.workload.hostPID\n"
	bundle, err := policies.Load(fstest.MapFS{
		"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\npolicies: [{policy: acme/x, parameters: {names: [variables.nothing]}}]\n")},
		"x.rego":      {Data: []byte(rules)}, "x.cel.yaml": {Data: []byte("deny: [variables.parameters.names]")},
	})
	if err != nil {
		t.Fatal(err)
	}
	result, err := admissionpolicy.Export(bundle, admissionpolicy.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	request := privileged("shop", "web", "jane")
	if !refuses(t, result, &request) {
		t.Error("got it admitted, want it refused: the parameter is a finding")
	}
}

// Two bundles of a cluster do not overwrite each other's.
func TestNamesOfTwoBundlesDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, bundleName := range []string{"acme", "acme-default"} {
		bundle := load(t, "profiles: [{name: default, policies: [{policy: pods/privileged}]}, {name: default-default, policies: [{policy: pods/privileged}]}]\ndefaultProfile: default\nnamespaces: [{match: [shop], profile: default-default}]")
		bundle.Manifest.Name = bundleName
		result, err := admissionpolicy.Export(bundle, admissionpolicy.Options{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range result.Exported {
			if other := seen[e.Name]; other != "" {
				t.Errorf("got the name %s in %s and in %s, want two", e.Name, bundleName, other)
			}
			seen[e.Name] = bundleName
			if e.Object.Labels[admissionpolicy.BundleLabel] != bundleName {
				t.Errorf("got labels %v, want the bundle %s", e.Object.Labels, bundleName)
			}
		}
	}
}

// The volume by which the API server itself mounts a token is none of the pod's, and nothing that only resembles it.
func TestOnlyTheVolumeThatTheAPIServerAddsIsLeftOut(t *testing.T) {
	const rules = "# METADATA\n# title: X\n# description: X.\n# custom:\n#   severity: low\n#   match: {workload: any}\n#   remediation: Mend it.\npackage portcullis.acme.x\n\ndeny contains volume.name if some volume in input.workload.volumes\n"
	bundle, err := policies.Load(fstest.MapFS{
		"bundle.yaml": {Data: []byte("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: acme\nserial: 1\npolicies: [{policy: acme/x}]\n")},
		"x.rego":      {Data: []byte(rules)}, "x.cel.yaml": {Data: []byte("deny: [\"variables.volumes.map(v, v.name)\"]")},
	})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	result, err := admissionpolicy.Export(bundle, admissionpolicy.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	policy, err := sharedServer(t).Compile(&result.Exported[0])
	if err != nil {
		t.Fatal(err)
	}
	const injected = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop"},"spec":{"containers":[{"name":"app","image":"a",` +
		`"volumeMounts":[{"name":"kube-api-access-x","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","readOnly":true}]}],` +
		`"volumes":[{"name":"kube-api-access-x","projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"path":"token","expirationSeconds":3607}},` +
		`{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},` +
		`{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}]}}]}}`
	for name, test := range map[string]struct {
		old, new string
		want     bool
	}{
		"as the API server adds it":     {"", "", false},
		"without asking for a token":    {`"spec":{`, `"spec":{"automountServiceAccountToken":false,`, true},
		"another name":                  {"kube-api-access-x", "token", true},
		"another audience":              {`"path":"token"`, `"path":"token","audience":"vault"`, true},
		"another file of the token":     {`"path":"token"`, `"path":"vault"`, true},
		"a token that lives longer":     {"3607", "86400", true},
		"a token of the default length": {`,"expirationSeconds":3607`, "", true},
		"another ConfigMap":             {"kube-root-ca.crt", "settings", true},
		"another key":                   {`"key":"ca.crt"`, `"key":"other"`, true},
		"all keys":                      {`,"items":[{"key":"ca.crt","path":"ca.crt"}]`, "", true},
		"another field":                 {"metadata.namespace", "metadata.labels", true},
		"another mode":                  {"420", "511", true},
		"mounted elsewhere":             {"/var/run/secrets/kubernetes.io/serviceaccount", "/token", true},
		"mounted to write":              {`,"readOnly":true`, "", true},
		"mounted in part":               {`,"readOnly":true`, `,"readOnly":true,"subPath":"token"`, true},
		"mounted nowhere":               {`,"volumeMounts":[{"name":"kube-api-access-x","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","readOnly":true}]`, "", false},
		"behind another of such a name": {`"volumes":[`, `"volumes":[{"name":"kube-api-access-a","emptyDir":{}},`, true},
	} {
		request := privileged("shop", "web", "jane")
		request.Object = []byte(strings.ReplaceAll(injected, test.old, test.new))
		if test.old == "" {
			request.Object = []byte(injected)
		}
		if webhook := admission.NewReviewer(engine, nil, func() time.Time { return now }).Review(t.Context(), request).Denied(); webhook != test.want {
			t.Errorf("%s: the webhook refuses: got %t, want %t", name, webhook, test.want)
		}
		for _, typed := range []bool{true, false} {
			if got, err := judged(t.Context(), policy, &request, typed); err != nil || got.Refused != test.want {
				t.Errorf("%s (Go values: %t): refused: got %t, %v, want %t", name, typed, got.Refused, err, test.want)
			}
		}
	}
}
