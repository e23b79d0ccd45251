package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// secretsShowFlags are those of portcullis secrets show.
type secretsShowFlags struct {
	secretsFlags
	format string
}

func (p *program) secretsShowCommand() *cobra.Command {
	var f secretsShowFlags
	command := &cobra.Command{
		Use:   "show NAMESPACE/NAME",
		Short: "Show one VaultSecret: what it keeps, what policies said, its lease, restarts and conditions",
		Long: `show says all that is known of a VaultSecret (or, with --push, a VaultPush): where it comes from and goes to, what policies said
about it, when it was synced and will be again, its lease, which workloads were restarted, and each condition with what to do.

No value is shown, and none could be: the object holds none.`,
		Example: `  portcullis secrets show shop/db
  portcullis secrets show shop/db --format json | jq .status.conditions`,
		Args: arguments(cobra.ExactArgs(1), "name one object as NAMESPACE/NAME; secrets list has them"),
		RunE: func(command *cobra.Command, args []string) error {
			return p.secretsShow(command.Context(), &f, args[0])
		},
	}
	f.register(command.Flags())
	command.Flags().StringVar(&f.format, "format", "text", "`format`: text or json")
	complete(command, "format", "text", "json")
	return command
}

func (p *program) secretsShow(ctx context.Context, f *secretsShowFlags, argument string) error {
	if err := checkFormat(f.format); err != nil {
		return err
	}
	client, err := f.open(argument)
	if err != nil {
		return err
	}
	object, err := f.get(ctx, client, argument)
	if err != nil {
		return err
	}
	if f.format == "json" {
		return writeDocument(p.stdout, object.object.Object)
	}
	return writeSecret(p.stdout, object, time.Now())
}

// page is a text of lines with a name and what it is.
type page struct{ strings.Builder }

func (p *page) line(format string, arguments ...any) {
	fmt.Fprintln(p, output.Plain(fmt.Sprintf(format, arguments...)))
}

func (p *page) field(name, text string) {
	if text != "" {
		p.line("%-12s %s", name, text)
	}
}

func (p *page) heading(format string, arguments ...any) {
	p.WriteString("\n")
	p.line(format, arguments...)
}

// writeSecret says an object to people.
func writeSecret(w io.Writer, o *vaultObject, now time.Time) error {
	var b page
	engine, path := o.place()
	last, next := o.times()
	b.field(map[bool]string{true: "push", false: "secret"}[o.push != nil], o.name())
	b.field("state", o.state())
	b.field("vault", strings.TrimSpace(path+" "+parenthesized(engine)))
	b.field("auth", "VaultAuth "+o.auth())
	b.field(map[bool]string{true: "from", false: "destination"}[o.push != nil], o.endText())
	b.field("version", o.version())
	b.field("made", atText(o.born(), now))
	b.field(map[bool]string{true: "last push", false: "last sync"}[o.push != nil], atText(last, now))
	b.field("next", atText(next, now))
	if n := o.failures(); n > 0 {
		b.field("failures", fmt.Sprintf("%d in a row", n))
	}
	if o.secret != nil {
		b.field("refresh", refreshText(o.secret))
		b.field("restarts", rotationText(o.secret))
		b.field("deletion", deletionText(o.secret))
		showLease(&b, o.secret, now)
		showRestarts(&b, o.secret)
	}
	showStatements(&b, o)
	showConditions(&b, o)
	_, err := io.WriteString(w, b.String())
	return err
}

func parenthesized(text string) string {
	if text == "" {
		return ""
	}
	return "(" + text + ")"
}

// atText is a time, and how far away it is.
func atText(at *metav1.Time, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	text := at.UTC().Format(time.RFC3339)
	if at.After(now) {
		return text + " (" + dueText(at, now) + ")"
	}
	return text + " (" + ageText(at, now) + " ago)"
}

func (o *vaultObject) endText() string {
	if o.push != nil || o.secret.Status.Destination == nil {
		return o.end()
	}
	text, written := o.end(), o.secret.Status.Destination
	if written.Adopted {
		text += ", taken over from somebody else"
	}
	if len(written.Slots) > 0 {
		text += "; still there: " + strings.Join(written.Slots, ", ")
	}
	return text
}

func refreshText(s *v1alpha1.VaultSecret) string {
	d := s.Defaulted()
	switch d.Spec.Source.Engine() {
	case "dynamic", "pki", "approle":
		return "before it ends"
	}
	if d.Spec.Refresh.Once {
		return "once"
	}
	return "every " + d.Spec.Refresh.Interval.Duration.String() + ", less up to a tenth"
}

func rotationText(s *v1alpha1.VaultSecret) string {
	switch rotation := s.Defaulted().Spec.Rotation; rotation.Restart {
	case v1alpha1.RestartReferencing:
		return "workloads that use a changed key"
	case v1alpha1.RestartNamed:
		var names []string
		for _, w := range rotation.Workloads {
			names = append(names, w.Kind+" "+w.Name)
		}
		return strings.Join(names, ", then ")
	}
	return "none"
}

func deletionText(s *v1alpha1.VaultSecret) string {
	d := s.Defaulted().Spec.Deletion
	kept := map[string]string{v1alpha1.Retain: "kept", v1alpha1.Delete: "deleted"}
	return fmt.Sprintf("%s when Vault says that it is gone, %s with the VaultSecret", kept[d.WhenGone], kept[d.WhenDeleted])
}

func showLease(b *page, s *v1alpha1.VaultSecret, now time.Time) {
	lease := s.Status.Lease
	if lease == nil {
		return
	}
	b.heading("Lease")
	b.field("  id", lease.ID)
	b.field("  issued", atText(&lease.Issued, now))
	b.field("  ends", atText(&lease.Expires, now))
	b.field("  renewable", map[bool]string{true: fmt.Sprintf("yes, renewed %d times", lease.Renewed), false: "no: a new one is issued before it ends"}[lease.Renewable])
	if lease.Resumed > 0 {
		b.field("  resumed", fmt.Sprintf("%d times, by another process", lease.Resumed))
	}
}

func showRestarts(b *page, s *v1alpha1.VaultSecret) {
	if len(s.Status.Restarts) == 0 {
		return
	}
	b.heading("Workloads")
	for _, r := range s.Status.Restarts {
		b.line("  %s %s: %s", r.Kind, r.Name, joinText(r.State, r.Message))
	}
}

func showStatements(b *page, o *vaultObject) {
	statements, bundles := o.policies()
	if len(statements) > 0 {
		b.heading("What policies said")
	}
	for n := range statements {
		s := &statements[n]
		b.line("  %s: %s", saidText(s), cmp.Or(s.Message, "no reason given"))
		if s.Remediation != "" {
			b.line("    next: %s", s.Remediation)
		}
	}
	if len(bundles) > 0 {
		b.line("  asked: %s", strings.Join(bundles, ", "))
	}
}

// saidText is which policy said what.
func saidText(s *v1alpha1.PolicyStatement) string {
	verbs := map[string]string{"allow_sync": "permits", "deny": "denies", "warn": "warns", "fault": "failed"}
	return s.Policy + " " + cmp.Or(verbs[s.Effect], s.Effect)
}

func showConditions(b *page, o *vaultObject) {
	conditions := o.conditions()
	if len(conditions) == 0 {
		b.heading("Nothing has been said about it yet: see that portcullis-secrets runs, and leads")
		return
	}
	b.heading("Conditions")
	for n := range conditions {
		c := &conditions[n]
		b.line("  %s %s since %s: %s", c.Type, c.Status, c.LastTransitionTime.UTC().Format(time.RFC3339), joinText(c.Reason, c.Message))
		if known, ok := reasonOf(c.Reason); ok && c.Status != metav1.ConditionTrue {
			b.line("    %s. %s", known.meaning, known.next)
		}
	}
	if o.observed() < o.object.GetGeneration() {
		b.line("  This is about an earlier state of the object (generation %d of %d).", o.observed(), o.object.GetGeneration())
	}
}
