package main

import (
	"fmt"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
)

// notePatch says on standard error what whoever applies a patch has to look at: what no
// change is known for, and each value that a policy made up, since only the owner of the
// object knows the right one.
func (p *program) notePatch(e *gate.Explanation) {
	object := output.Plain(e.Object.String())
	for _, finding := range e.Unfixed {
		fmt.Fprintf(p.stderr, "no change is known for %s: %s: %s\n", object, output.Plain(finding.Policy), output.Plain(finding.Message))
	}
	told := map[string]bool{}
	for _, finding := range e.Findings {
		if finding.Weight() != gate.Denies {
			continue
		}
		for _, change := range finding.Fix {
			text := output.Plain(changeText(change))
			if change.Op == "remove" || told[text] {
				continue
			}
			told[text] = true
			fmt.Fprintf(p.stderr, "check the value, a placeholder or a guess, in %s: %s (%s)\n", object, text, output.Plain(finding.Policy))
		}
	}
}

// noteComments says what a manifest that is written anew does not have any more.
func (p *program) noteComments() {
	fmt.Fprintln(p.stderr, "the manifests are written anew, without comments and with their fields sorted: --patch=json has the changes alone")
}
