package library_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/policies"
)

var update = flag.Bool("update", false, "write the golden files")

// documentation is the page of the library, which this test writes.
const documentation = "../../docs/library.md"

const preamble = `# The built-in library

<!-- Written by TestLibraryIsDocumented in policies/library from the policies' metadata and
     bundle.yaml: run "make golden" instead of editing it. -->

%d policies in %d groups. %s of a policy prints its whole documentation, with its
parameters and links; the rule is in %s.

A profile with %s or %s behind it does not deny by that policy there. A policy without a profile is
there to be configured in a bundle of your own ([policies.md](policies.md)); one that
patches changes pods on the way in instead of refusing them.

`

const legend = "`pss` is a control of the Pod Security Standards, `nsa` a section of the NSA/CISA Kubernetes Hardening\n" +
	"Guidance, `cis` a recommendation of the CIS Kubernetes Benchmark, `nist-800-190` a section of NIST SP 800-190,\n" +
	"`nist-800-204d` a section of NIST SP 800-204D, `slsa` a requirement of SLSA, `owasp-k8s` an entry of the OWASP Kubernetes Top Ten,\n" +
	"`mitre` a tactic or technique of MITRE ATT&CK.\n"

func TestLibraryIsDocumented(t *testing.T) {
	got, err := document(load(t))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(documentation, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(documentation)
	if err != nil {
		t.Fatalf("%v: run the test with -update to write it", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant, as %s has it,\n%s\nrun the test with -update if the change is meant", got, documentation, want)
	}
}

// document writes the page of a bundle.
func document(bundle *policies.Bundle) ([]byte, error) {
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		return nil, err
	}
	groups := map[string][]*policies.Policy{}
	for _, id := range slices.Sorted(maps.Keys(bundle.Policies)) {
		group, _, _ := strings.Cut(id, "/")
		groups[group] = append(groups[group], bundle.Policies[id])
	}
	var page bytes.Buffer
	fmt.Fprintf(&page, preamble, len(bundle.Policies), len(groups), "`portcullis policy show ID`", "`policies/library/ID/policy.rego`", "`warn`", "`audit`")
	writeProfiles(&page, bundle, engine)
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		fmt.Fprintf(&page, "\n## %s (%d)\n\n| policy | severity | profiles | what it is for | controls |\n|---|---|---|---|---|\n", group, len(groups[group]))
		for _, policy := range groups[group] {
			fmt.Fprintf(&page, "| [%s](../%s) | %s | %s | %s | %s |\n", policy.ID, "policies/library/"+policy.File,
				policy.Severity, cell(profilesOf(engine, policy.ID)), cell(purpose(policy)), cell(controlsOf(policy)))
		}
	}
	fmt.Fprintf(&page, "\n## Controls\n\n%s", legend)
	return page.Bytes(), nil
}

func writeProfiles(page io.Writer, bundle *policies.Bundle, engine *policies.Engine) {
	fmt.Fprint(page, "| profile | policies | what it is |\n|---|---|---|\n")
	for _, profile := range bundle.Manifest.Profiles {
		fmt.Fprintf(page, "| %s | %d | %s |\n", profile.Name, len(engine.Enforcements(profile.Name)), cell(profile.Description))
	}
}

// profilesOf are the profiles that a policy is in, in the order of bundle.yaml, with the
// enforcement where it does not deny.
func profilesOf(engine *policies.Engine, id string) string {
	var in []string
	for _, profile := range engine.Bundle().Manifest.Profiles {
		switch enforcement, ok := engine.Enforcements(profile.Name)[id]; {
		case ok && enforcement == policies.EnforceDeny:
			in = append(in, profile.Name)
		case ok:
			in = append(in, profile.Name+" ("+enforcement.String()+")")
		}
	}
	return strings.Join(in, ", ")
}

// purpose is the policy's title and the first sentence of its description.
func purpose(policy *policies.Policy) string {
	text := strings.Join(strings.Fields(policy.Description), " ")
	if first, _, more := strings.Cut(text, ". "); more {
		text = first + "."
	}
	return "**" + policy.Title + ".** " + text
}

func controlsOf(policy *policies.Policy) string {
	var controls []string
	for _, framework := range slices.Sorted(maps.Keys(policy.Controls)) {
		for _, control := range policy.Controls[framework] {
			controls = append(controls, framework+":"+control)
		}
	}
	return strings.Join(controls, "<br>")
}

// cell keeps text from ending a cell of the table.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text)
}
