package library_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// runtimePage is the page whose bundle turns the policies on.
const runtimePage = "../../docs/runtime-policies.md"

func runtimePageText(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(runtimePage)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// bundleOnRuntimePage is the bundle of the page, compiled.
func bundleOnRuntimePage(t *testing.T) *policies.Engine {
	t.Helper()
	match := pageFile.FindStringSubmatch(runtimePageText(t))
	if match == nil || match[1] != "bundle.yaml" {
		t.Fatalf("got no bundle.yaml on %s, want one", runtimePage)
	}
	return loadPage(t, fstest.MapFS{"bundle.yaml": {Data: []byte(match[2])}})
}

func TestTheBundleOnThePageAboutRunTimeActs(t *testing.T) {
	engine := bundleOnRuntimePage(t)
	for rule, want := range map[string]response.Mode{
		"Detect crypto miners using the Stratum protocol": response.ModeEnforce,
		"Netcat Remote Code Execution in Container":       response.ModeEnforce,
		"Change thread namespace":                         response.ModeApprove,
		"Terminal shell in container":                     response.ModeAudit,
	} {
		verdict := respond(engine, seen(func(e *response.Event) {
			e.Rule, e.Priority, e.Tags = rule, falcoRules[rule].priority, strings.Fields(falcoRules[rule].tags)
		}))
		if len(verdict.Responses) == 0 || len(verdict.Faults) > 0 {
			t.Errorf("%s: got responses %+v, faults %+v; want some and none", rule, verdict.Responses, verdict.Faults)
		}
		for _, one := range verdict.Responses {
			if one.Mode != want {
				t.Errorf("%s: got %s in the mode %q, want %q", rule, one.Action, one.Mode, want)
			}
		}
	}
}

// A token of a quarantined pod that writes to kube-system is why.
func TestTheGuardsOnThePageDenyInEveryProfileThatIsUsed(t *testing.T) {
	engine := bundleOnRuntimePage(t)
	for _, profile := range []string{"acting", "acting-system"} {
		enforcements := engine.Enforcements(profile)
		for _, id := range append([]string{"runtime/quarantined-token"}, guards...) {
			if got, ok := enforcements[id]; !ok || got != policies.EnforceDeny {
				t.Errorf("%s in the profile %s: got %v, %v; want deny", id, profile, got, ok)
			}
		}
	}
	if got, ok := engine.Enforcements("acting-system")["namespaces/protected-labels"]; !ok || got != policies.EnforceDeny {
		t.Errorf("got %v, %v for namespaces/protected-labels in acting-system; want deny, as the library has it", got, ok)
	}
}

func TestEveryRuntimePolicyIsOnThePageAboutRunTime(t *testing.T) {
	page := runtimePageText(t)
	for id, policy := range load(t).Policies {
		if strings.HasPrefix(id, "runtime/") && !strings.Contains(page, "`"+id+"`") {
			t.Errorf("%s: got no word about it (%s) on %s, want some", id, policy.Title, runtimePage)
		}
	}
}

// tableRow is a policy with its severity, its actions and those of its escalation.
var tableRow = regexp.MustCompile("(?m)^\\| `(runtime/[a-z-]+)` \\| ([a-z]+) \\| ([a-z, ()]+) \\|(.*)\\|$")

func TestTheTableOnThePageAboutRunTimeIsRight(t *testing.T) {
	names := func(list any) []string {
		var found []string
		for _, one := range list.([]any) {
			found = append(found, one.(map[string]any)["action"].(string))
		}
		return found
	}
	bundle := load(t)
	rows := tableRow.FindAllStringSubmatch(runtimePageText(t), -1)
	if len(rows) != 10 {
		t.Fatalf("got %d rows about policies, want 10", len(rows))
	}
	for _, row := range rows {
		policy := bundle.Policies[row[1]]
		if policy == nil || policy.Severity != row[2] {
			t.Errorf("got the severity %q of %s, want that of the policy", row[2], row[1])
			continue
		}
		properties := policy.Parameters["properties"].(map[string]any)
		said := strings.Split(regexp.MustCompile(` \([a-z]+\)`).ReplaceAllString(row[3], ""), ", ")
		if want := names(properties["actions"].(map[string]any)["default"]); !slices.Equal(said, want) {
			t.Errorf("%s: got the actions %q, want %q", row[1], said, want)
		}
		escalation, ok := properties["escalation"].(map[string]any)
		if ok != (strings.TrimSpace(row[4]) != "") {
			t.Errorf("%s: got the escalation %q, want one if the policy has one", row[1], row[4])
		}
		if ok {
			want := strings.Join(names(escalation["default"].(map[string]any)["actions"]), ", ")
			if !strings.HasPrefix(strings.TrimSpace(row[4]), want+" after ") {
				t.Errorf("%s: got the escalation %q, want it to begin with %q", row[1], row[4], want)
			}
		}
	}
}
