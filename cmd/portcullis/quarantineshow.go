package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/runtime/evidence"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// quarantineShowFlags are those of portcullis quarantine show.
type quarantineShowFlags struct {
	cluster          clusterFlags
	evidence, format string
}

func (p *program) quarantineShowCommand() *cobra.Command {
	var f quarantineShowFlags
	command := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a quarantine: why, what was done, what it proves, what was kept",
		Long: `show says why a pod is quarantined, each step with what came of it, the proof of its isolation, what was changed and will be
put back, and which evidence was kept.

With --evidence it writes the evidence into a directory, one file for each piece, readable to you only. Each is checked against its
digest. Credentials were replaced when it was kept; what an attacker has written was not: do not open it with what runs it.`,
		Example: `  portcullis quarantine show q-5f1c0d2e9b7a44c1d3e8
  portcullis quarantine show q-5f1c0d2e9b7a44c1d3e8 --evidence incident/
  portcullis quarantine show q-5f1c0d2e9b7a44c1d3e8 --format json | jq .status.steps`,
		Args: arguments(cobra.ExactArgs(1), "name one quarantine; quarantine list has them"),
		RunE: func(command *cobra.Command, args []string) error {
			return p.quarantineShow(command.Context(), &f, args[0])
		},
	}
	f.cluster.register(command.Flags())
	command.Flags().StringVar(&f.evidence, "evidence", "", "write the evidence into this `directory`, which is made")
	command.Flags().StringVar(&f.format, "format", "text", "`format`: text or json")
	complete(command, "format", "text", "json")
	return command
}

func (p *program) quarantineShow(ctx context.Context, f *quarantineShowFlags, name string) error {
	if err := checkFormat(f.format); err != nil {
		return err
	}
	store, config, err := f.cluster.store()
	if err != nil {
		return err
	}
	q, err := store.Get(ctx, name)
	if err != nil {
		return unknownQuarantine(err, name)
	}
	if f.evidence != "" {
		collector, err := evidence.New(config, evidence.Options{})
		if err != nil {
			return fmt.Errorf("reading evidence: %w", err)
		}
		pieces, err := collector.Read(ctx, name)
		if err != nil {
			return fmt.Errorf("reading the evidence of %s: %w", name, err)
		}
		if err := writeEvidence(f.evidence, pieces); err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "%s of evidence in %s\n", counted(len(pieces), "piece"), output.Plain(f.evidence))
	}
	if f.format == "json" {
		return writeDocument(p.stdout, q)
	}
	return writeQuarantine(p.stdout, q)
}

// unknownQuarantine says of a quarantine that is not there how to find others.
func unknownQuarantine(err error, name string) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Reason == metav1.StatusReasonNotFound {
		return usagef("there is no quarantine %q: portcullis quarantine list --all has those that there are", name)
	}
	return err
}

// unfit are characters that a file name does not get.
var unfit = regexp.MustCompile(`[^a-zA-Z0-9._-]+`)

// writeEvidence writes each piece into a file of its own. It overwrites nothing: what is there could be another incident's.
func writeEvidence(dir string, pieces []evidence.Piece) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing evidence: %w: name a directory that you may write to", err)
	}
	for n := range pieces {
		name := filepath.Join(dir, evidenceFile(n, &pieces[n]))
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			return usagef("writing evidence: there is %s already: name an empty directory", name)
		}
		if err != nil {
			return fmt.Errorf("writing evidence: %w", err)
		}
		_, err = file.Write(pieces[n].Data)
		if err = errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("writing evidence: %w", err)
		}
	}
	return nil
}

// evidenceFile names a piece: "03-previousLog-app.txt".
func evidenceFile(n int, piece *evidence.Piece) string {
	name := fmt.Sprintf("%02d-%s", n+1, piece.Kind)
	if piece.Container != "" {
		name += "-" + piece.Container
	}
	name = strings.Trim(unfit.ReplaceAllString(name, "_"), ".")
	if strings.Contains(strings.ToLower(piece.Kind), "log") {
		return name + ".txt"
	}
	return name + ".json"
}

// writeQuarantine says a quarantine to people.
func writeQuarantine(w io.Writer, q *v1alpha1.Quarantine) error {
	var b strings.Builder
	line := func(format string, arguments ...any) {
		fmt.Fprintln(&b, output.Plain(fmt.Sprintf(format, arguments...)))
	}
	field := func(name, text string) {
		if text != "" {
			line("%-12s %s", name, text)
		}
	}
	field("quarantine", q.Name)
	field("phase", joinText(phaseText(q), q.Status.Reason))
	field("pod", fmt.Sprintf("%s/%s (uid %s)", q.Spec.Pod.Namespace, q.Spec.Pod.Name, q.Spec.Pod.UID))
	field("node", q.Spec.Pod.Node)
	if o := q.Spec.Owner; o != nil {
		field("owner", o.Kind+" "+o.Name)
	}
	field("images", strings.Join(q.Spec.Pod.Images, ", "))
	field("mode", string(q.Spec.Mode))
	field("branch", q.Spec.Branch)
	field("until", untilText(q))
	field("approved", statementText(q.Spec.Approval))
	field("released", statementText(q.Spec.Release))
	showTriggers(line, q)
	showSteps(line, q)
	showProof(line, q)
	showKept(line, q)
	_, err := io.WriteString(w, b.String())
	return err
}

func joinText(text, reason string) string {
	if reason == "" {
		return text
	}
	return text + ": " + reason
}

func untilText(q *v1alpha1.Quarantine) string {
	if q.Status.Admitted == nil || q.Spec.TTL.Duration <= 0 || q.Status.Phase.Over() {
		return ""
	}
	return q.Status.Admitted.Add(q.Spec.TTL.Duration).UTC().Format(time.RFC3339) + ", then " + q.Spec.OnExpiry
}

func statementText(s *v1alpha1.Statement) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("by %s at %s: %s", s.By, s.Time.UTC().Format(time.RFC3339), s.Reason)
}

func showTriggers(line func(string, ...any), q *v1alpha1.Quarantine) {
	line("\nWhy")
	for n := range q.Spec.Triggers {
		t := &q.Spec.Triggers[n]
		line("  %s (%s): %s", t.Policy, t.Severity, t.Message)
		line("    %s %s, rule %q%s", t.Time.UTC().Format(time.RFC3339), t.Priority, t.Rule, timesText(t.Count))
		if t.Output != "" {
			line("    %s", t.Output)
		}
	}
}

func timesText(count int64) string {
	if count < 2 {
		return ""
	}
	return fmt.Sprintf(", %d times", count)
}

func showSteps(line func(string, ...any), q *v1alpha1.Quarantine) {
	if len(q.Status.Steps) > 0 {
		line("\nWhat was done")
		for n := range q.Status.Steps {
			step := &q.Status.Steps[n]
			line("  %-18s %-8s %s", step.Name, step.State, step.Result)
		}
	}
	var waiting []string
	for _, planned := range q.Spec.Actions {
		if !stepped(q, string(planned.Action)) {
			waiting = append(waiting, string(planned.Action))
		}
	}
	if len(waiting) > 0 {
		heading := "Still to be done"
		if q.Status.Phase.Over() {
			heading = "What was not done"
		}
		line("\n%s", heading)
		line("  %s", strings.Join(waiting, ", "))
	}
	if len(q.Spec.Refused) > 0 {
		line("\nWhat was asked for and is not done")
		for _, refused := range q.Spec.Refused {
			line("  %-9s %s", refused.Action, refused.Reason)
		}
	}
}

func stepped(q *v1alpha1.Quarantine, name string) bool {
	for n := range q.Status.Steps {
		if q.Status.Steps[n].Name == name {
			return true
		}
	}
	return false
}

func showProof(line func(string, ...any), q *v1alpha1.Quarantine) {
	if q.Status.Verdict == "" {
		return
	}
	line("\nProof: %s", q.Status.Verdict)
	for _, flow := range q.Status.Residual {
		line("  %s", flow)
	}
	if q.Status.Connections != "" {
		line("  %s", connectionsText(q.Status.Connections))
	}
	if q.Status.PodGone {
		line("  the pod is gone")
	}
}

func showKept(line func(string, ...any), q *v1alpha1.Quarantine) {
	if len(q.Status.Evidence) > 0 {
		line("\nEvidence, for --evidence DIR")
		for _, piece := range q.Status.Evidence {
			line("  %s %s: %s%s", piece.Kind, piece.Container, counted(int(piece.Size), "byte"), truncatedText(piece.Truncated))
		}
	}
	if len(q.Status.Incidents) > 0 {
		line("\nAdmission remembers")
		line("  %s", strings.Join(q.Status.Incidents, ", "))
	}
	if len(q.Spec.Revoke) > 0 {
		line("\nSecrets that the pod held")
		for _, secret := range q.Spec.Revoke {
			line("  %s/%s: %s", secret.Namespace, secret.Name, revokedText(q, secret))
		}
	}
}

func truncatedText(truncated bool) string {
	if truncated {
		return ", cut: there was more"
	}
	return ""
}

func revokedText(q *v1alpha1.Quarantine, secret v1alpha1.SecretReference) string {
	for _, r := range q.Status.Revoked {
		if r.SecretReference == secret {
			return joinText(r.State, r.Message)
		}
	}
	return "nobody has answered yet: revoke it by hand if nothing does"
}
