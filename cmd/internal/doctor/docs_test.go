package doctor

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestEachCheckHasASectionOfItsOwn holds docs/doctor.md to the checks, which link to it by their names.
func TestEachCheckHasASectionOfItsOwn(t *testing.T) {
	page, err := os.ReadFile("../../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	var sections, names []string
	for _, match := range regexp.MustCompile(`(?m)^### (.+)$`).FindAllStringSubmatch(string(page), -1) {
		sections = append(sections, match[1])
	}
	for _, check := range Checks() {
		names = append(names, check.Name)
		if check.About == "" || check.Why == "" || check.look == nil {
			t.Errorf("%s does not say what it looks at, or why", check.Name)
		}
	}
	if !slices.Equal(sections, names) {
		t.Errorf("docs/doctor.md has the sections\n%v, and there are the checks\n%v", sections, names)
	}
}

// TestTheRolesNeverWrite holds the roles to what the doctor promises.
func TestTheRolesNeverWrite(t *testing.T) {
	allowed := []string{"get", "list"}
	for _, role := range parse(Roles("edge")) {
		if ns := role.GetNamespace(); ns != "" && ns != "edge" && ns != "kube-system" {
			t.Errorf("%s is in %s", role.GetName(), ns)
		}
		for _, rule := range rulesOf(&role) {
			for _, verb := range rule.Verbs {
				review := verb == "create" && slices.Equal(rule.Resources, []string{"subjectaccessreviews"})
				dryRun := verb == "create" && role.GetName() == "portcullis-doctor-probe"
				if !slices.Contains(allowed, verb) && !review && !dryRun {
					t.Errorf("%s may %s %v", role.GetName(), verb, rule.Resources)
				}
			}
			if slices.Contains(rule.Resources, "secrets") && !slices.Equal(rule.ResourceNames, []string{servingSecret}) {
				t.Errorf("%s may read the Secrets %v", role.GetName(), rule.ResourceNames)
			}
		}
	}
}
