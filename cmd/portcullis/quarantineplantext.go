package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// writeQuarantinePlan says a plan to people.
func writeQuarantinePlan(w io.Writer, planned *plannedQuarantine) error {
	var b strings.Builder
	line := func(format string, arguments ...any) {
		fmt.Fprintln(&b, output.Plain(fmt.Sprintf(format, arguments...)))
	}
	line("pod         %s/%s%s", planned.Pod.Namespace, planned.Pod.Name, ownerText(planned.Owner))
	line("quarantine  %s", planned.Quarantine)
	line("mode        %s", modeText(planned.Mode))
	line("network     %s", cmp.Or(string(planned.CNI), "not known"))
	if planned.Branch != "" {
		line("branch      %s", planned.Branch)
	}
	heading := func(format string, arguments ...any) {
		b.WriteString("\n")
		line(format, arguments...)
	}
	heading("What would be done, in this order")
	for n := range planned.Actions {
		line("  %-9s %s", planned.Actions[n].Action, plannedText(&planned.Actions[n], planned.Measures))
	}
	if len(planned.Actions) == 0 {
		line("  nothing")
	}
	if len(planned.Refused) > 0 {
		heading("What would not be done")
		for _, refused := range planned.Refused {
			line("  %-9s %s", refused.Action, refused.Reason)
		}
	}
	heading("Now: %s", planned.Before.Verdict)
	writeFlows(line, planned.Before.Residual)
	heading("Then: %s", planned.Verdict)
	writeFlows(line, planned.Residual)
	if planned.Connections == isolation.Cut { // what else may become of them is among the notes
		line("  %s", connectionsText(planned.Connections))
	}
	for _, note := range planned.Notes {
		line("  note: %s", note)
	}
	for _, advice := range planned.Advice {
		heading("%s", sentence(advice))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// sentence is a text with a capital and a full stop.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] + "." }

// maxFlows is how many flows are shown; JSON has all of them.
const maxFlows = 30

func writeFlows(line func(string, ...any), flows []isolation.Flow) {
	for n, flow := range flows {
		if n == maxFlows {
			line("  … and %d more: see --format json", len(flows)-n)
			return
		}
		line("  %s", flow)
	}
}

func ownerText(owner *response.Owner) string {
	if owner == nil {
		return ", which no controller stands above"
	}
	text := fmt.Sprintf(" of %s %s", owner.Kind, owner.Name)
	if owner.Desired > 0 {
		text += fmt.Sprintf(" (%s)", counted(int(owner.Desired), "pod"))
	}
	return text
}

func modeText(mode response.Mode) string {
	switch mode {
	case response.ModeEnforce:
		return "enforce: it would be done"
	case response.ModeApprove:
		return "approve: it would wait for a person"
	}
	return "audit: it would only be written down"
}

// plannedText says what an action does, as far as that does not follow from its name, and why it is there.
func plannedText(planned *response.Planned, m plannedMeasures) string {
	var parts []string
	if planned.Action == response.Isolate {
		parts = append(parts, "a NetworkPolicy of its own")
		if m.DenyTier != "" {
			tier := "the standing deny of " + string(m.DenyTier)
			if !m.Standing {
				tier += ", which would be installed"
			}
			parts = append(parts, tier)
		}
		if m.Detach {
			parts = append(parts, "all labels are taken off")
		} else {
			parts = append(parts, "its labels stay")
		}
	}
	if planned.Reason != "" {
		parts = append(parts, planned.Reason)
	} else if planned.Action != response.Isolate {
		parts = append(parts, planned.Message)
	}
	return strings.Join(parts, "; ")
}

func connectionsText(connections string) string {
	switch connections {
	case isolation.Cut:
		return "open connections are cut"
	case isolation.MayPersist:
		return "open connections may persist: the provider of the network need not cut them"
	}
	return "nothing is known of open connections"
}
