package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/policies/admissionpolicy"
	"github.com/spf13/cobra"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

// policyExport are the flags of policy export.
type policyExport struct {
	bundle             bundleFlags
	as, format, output string
	policies           []string
	ignoreExceptions   bool
}

func (p *program) policyExportCommand() *cobra.Command {
	var f policyExport
	command := &cobra.Command{
		Use:   "export",
		Short: "Write policies as ValidatingAdmissionPolicies, which the API server enforces while no webhook answers",
		Long: `Write policies as ValidatingAdmissionPolicies and their bindings (KEP-3488, Kubernetes 1.30 and
later): the API server judges by them in its own process, so that they still refuse where the
webhook is not asked or does not answer.

They are a floor below the webhook. What they refuse the webhook refuses too; what an expression
cannot say exactly is said more mildly, and listed on standard error or in --format json.
docs/validating-admission-policies.md has the details.`,
		Example: `  portcullis policy export | kubectl apply -f -
  portcullis policy export --bundle ./bundle --output admission-policies/
  portcullis policy export --profile restricted --policy pods/privileged
  portcullis policy export --format json | jq '.left[] | {policy, reason}'`,
		Args: arguments(cobra.NoArgs, "export takes no arguments: choose policies with --policy"),
		RunE: func(command *cobra.Command, _ []string) error {
			return p.policyExport(command.Context(), &f)
		},
	}
	f.bundle.registerBundle(command.Flags(), nil)
	flags := command.Flags()
	flags.StringVar(&f.bundle.profile, "profile", "", "export this `profile` for all namespaces instead of the one that the bundle assigns to each")
	flags.StringArrayVar(&f.policies, "policy", nil, "export only the policy with this `id`; may be repeated")
	flags.StringVar(&f.as, "as", exportedForm, "`form`: "+exportedForm)
	flags.StringVarP(&f.output, "output", "o", "", "write one file for each policy into this `directory` instead of all to standard output; files of an earlier export that are not written again are removed")
	flags.StringVar(&f.format, "format", "text", "`format`: text (objects as YAML, what is left out on standard error) or json (both)")
	flags.BoolVar(&f.ignoreExceptions, "ignore-cluster-exceptions", false, "export policies that exceptions of the cluster (PolicyException) could waive, too: those exceptions then count for nothing at the API server")
	complete(command, "format", "text", "json")
	complete(command, "as", exportedForm)
	return command
}

const exportedForm = "validatingadmissionpolicy"

func (p *program) policyExport(ctx context.Context, f *policyExport) error {
	if err := checkFormat(f.format); err != nil {
		return err
	}
	if !strings.EqualFold(f.as, exportedForm) {
		return usagef("choosing the form %q: no such form: use %s", f.as, exportedForm)
	}
	bundle, err := f.bundle.load(ctx)
	if err != nil {
		return err
	}
	options := admissionpolicy.Options{Profile: f.bundle.profile, Policies: f.policies, Now: time.Now(), IgnoreClusterExceptions: f.ignoreExceptions}
	options.Exempt, options.ExemptPods = configuration.Exempt()
	result, err := admissionpolicy.Export(bundle, options)
	if err != nil {
		return usageError{err}
	}
	if f.output != "" {
		if err := writeExported(f.output, result); err != nil {
			return err
		}
	}
	if f.format == "json" {
		return p.exportedJSON(result, f.output == "")
	}
	if f.output == "" {
		stream, err := result.YAML()
		if err != nil {
			return err
		}
		if _, err := p.stdout.Write(stream); err != nil {
			return err
		}
	}
	return exportedText(p.stderr, result, f.output)
}

// exportedJSON writes what was exported and what was not, and the objects unless they are in files.
func (p *program) exportedJSON(result *admissionpolicy.Result, objects bool) error {
	document := struct {
		*admissionpolicy.Result
		Objects []map[string]any `json:"objects,omitempty"`
	}{Result: result}
	if objects {
		var err error
		if document.Objects, err = result.Objects(); err != nil {
			return err
		}
	}
	encoder := json.NewEncoder(p.stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}

// exportedText says to people what was exported and what was not.
func exportedText(w io.Writer, result *admissionpolicy.Result, directory string) error {
	var text strings.Builder
	denying := 0
	for _, e := range result.Exported {
		if slices.Contains(e.Actions, admissionregistrationv1.Deny) {
			denying++
		}
	}
	fmt.Fprintf(&text, "exported from %s: %d that deny, %d that warn", output.Plain(result.Bundle), denying, len(result.Exported)-denying)
	if directory != "" {
		fmt.Fprintf(&text, ", into %s", output.Plain(directory))
	}
	text.WriteString("\n")
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&text, "%s:\n", title)
		}
		for _, line := range lines {
			fmt.Fprintf(&text, "  %s\n", output.Plain(line))
		}
	}
	var milder []string
	for _, e := range result.Exported {
		for _, how := range e.Milder {
			milder = append(milder, fmt.Sprintf("%s in %s: %s", e.Instance, e.Profile, how))
		}
	}
	section("milder than the webhook", milder)
	left := map[string][]string{}
	for _, l := range result.Left {
		name := l.Instance + " in " + l.Profile
		left[l.Reason] = append(left[l.Reason], name)
	}
	var lines []string
	for _, reason := range slices.Sorted(maps.Keys(left)) {
		lines = append(lines, reason+":")
		for _, name := range left[reason] {
			lines = append(lines, "  "+name)
		}
	}
	section("left out", lines)
	section("note", result.Notes)
	_, err := io.WriteString(w, text.String())
	return err
}

// exportedHeader begins each file, by which the next export knows its own.
const exportedHeader = "# Exported by portcullis policy export from "

// writeExported writes a file for each policy, and removes those of an earlier export. A directory that holds other files is
// refused: whoever applies it would apply them, too.
func writeExported(directory string, result *admissionpolicy.Result) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return fmt.Errorf("writing admission policies: %w", err)
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return fmt.Errorf("writing admission policies: %w", err)
	}
	stale := map[string]bool{}
	for _, entry := range entries {
		own, err := exportedEarlier(filepath.Join(directory, entry.Name()))
		if err != nil {
			return fmt.Errorf("writing admission policies: %w", err)
		}
		if !own {
			return usagef("writing admission policies: %s is in %s and of no earlier export: name a directory of its own", entry.Name(), directory)
		}
		stale[entry.Name()] = true
	}
	for n := range result.Exported {
		e := &result.Exported[n]
		content, err := e.YAML()
		if err != nil {
			return err
		}
		name := e.Name + ".yaml"
		content = slices.Concat([]byte(exportedHeader+result.Bundle+".\n"), content)
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o644); err != nil {
			return fmt.Errorf("writing admission policies: %w", err)
		}
		delete(stale, name)
	}
	for _, name := range slices.Sorted(maps.Keys(stale)) {
		if err := os.Remove(filepath.Join(directory, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing what is exported no more: %w", err)
		}
	}
	return nil
}

// exportedEarlier says whether a file was written by an export.
func exportedEarlier(file string) (bool, error) {
	info, err := os.Lstat(file)
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	content, err := os.ReadFile(file)
	return bytes.HasPrefix(content, []byte(exportedHeader)), err
}
