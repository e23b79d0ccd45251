package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/conftest"
)

// conftestReport is what was found, in the shape that Conftest writes as JSON: one entry for each file and package.
// Beside what Conftest has there are errors, of rules that failed and of files that could not be read.
type conftestReport struct {
	entries []*conftestEntry
	rules   int
	files   map[string]bool
}

type conftestEntry struct {
	Filename   string           `json:"filename"`
	Namespace  string           `json:"namespace"`
	Warnings   []conftestResult `json:"warnings,omitempty"`
	Failures   []conftestResult `json:"failures,omitempty"`
	Exceptions []conftestResult `json:"exceptions,omitempty"`
	Errors     []conftestResult `json:"errors,omitempty"`
}

type conftestResult struct {
	Msg      string         `json:"msg"`
	Metadata map[string]any `json:"metadata,omitempty"`
}

// unread is a file that could not be read.
func (r *conftestReport) unread(name string, err error) {
	r.seen(name)
	entry := r.entry(name, "")
	entry.Errors = append(entry.Errors, conftestResult{Msg: err.Error()})
}

func (r *conftestReport) seen(name string) {
	if r.files == nil {
		r.files = map[string]bool{}
	}
	r.files[name] = true
}

func (r *conftestReport) add(checked []conftest.Checked) {
	for _, one := range checked {
		r.seen(one.Path)
		r.rules += one.Rules
		for _, finding := range one.Findings {
			r.finding(one.Path, finding)
		}
		for _, fault := range one.Faults {
			namespace, rule := conftestRule(fault.Policy)
			entry := r.entry(one.Path, namespace)
			entry.Errors = append(entry.Errors, conftestResult{Msg: rule + ": " + fault.Message, Metadata: map[string]any{"query": "data." + namespace + "." + rule}})
		}
	}
}

func (r *conftestReport) finding(path string, finding policies.Finding) {
	namespace, rule := conftestRule(finding.Policy)
	metadata := map[string]any{"query": "data." + namespace + "." + rule}
	for key, value := range finding.Details {
		if key != "query" {
			metadata[key] = value
		}
	}
	result := conftestResult{Msg: finding.Message, Metadata: metadata}
	entry := r.entry(path, namespace)
	switch {
	case finding.ExceptedBy != "":
		entry.Exceptions = append(entry.Exceptions, result)
	case finding.Effect == policies.EffectWarn:
		entry.Warnings = append(entry.Warnings, result)
	default:
		entry.Failures = append(entry.Failures, result)
	}
}

// conftestRule splits "conftest/team.web.deny_x" into package and rule.
func conftestRule(id string) (namespace, rule string) {
	id = strings.TrimPrefix(id, "conftest/")
	at := strings.LastIndexByte(id, '.')
	if at < 0 {
		return "", id
	}
	return id[:at], id[at+1:]
}

func (r *conftestReport) entry(name, namespace string) *conftestEntry {
	for _, entry := range r.entries {
		if entry.Filename == name && entry.Namespace == namespace {
			return entry
		}
	}
	entry := &conftestEntry{Filename: name, Namespace: namespace}
	r.entries = append(r.entries, entry)
	return entry
}

// total adds up one kind of result.
func (r *conftestReport) total(of func(*conftestEntry) []conftestResult) int {
	sum := 0
	for _, entry := range r.entries {
		sum += len(of(entry))
	}
	return sum
}

func conftestFailures(e *conftestEntry) []conftestResult   { return e.Failures }
func conftestWarnings(e *conftestEntry) []conftestResult   { return e.Warnings }
func conftestExceptions(e *conftestEntry) []conftestResult { return e.Exceptions }
func conftestErrors(e *conftestEntry) []conftestResult     { return e.Errors }

// failed says whether anything could not be read or judged.
func (r *conftestReport) failed() bool { return r.total(conftestErrors) > 0 }

func (r *conftestReport) code(failOnWarn bool) gate.ExitCode {
	codes := []gate.ExitCode{gate.ExitAdmitted}
	if r.total(conftestFailures) > 0 {
		codes = append(codes, gate.ExitDenied)
	}
	if r.failed() {
		codes = append(codes, gate.ExitFault)
	}
	if failOnWarn && r.total(conftestWarnings) > 0 {
		codes = append(codes, gate.ExitWarned)
	}
	return gate.Worst(codes...)
}

func (r *conftestReport) writeJSON(w io.Writer) error {
	entries := r.entries
	if entries == nil {
		entries = []*conftestEntry{}
	}
	document, err := json.MarshalIndent(entries, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	_, err = w.Write(append(output.EscapeJSON(document), '\n'))
	return err
}

// writeText writes a line for each result, in Conftest's words, and one that adds up.
func (r *conftestReport) writeText(w io.Writer) error {
	var b strings.Builder
	line := func(kind string, entry *conftestEntry, results []conftestResult) {
		for _, result := range results {
			fmt.Fprintf(&b, "%s - %s - %s - %s\n", kind, output.Plain(entry.Filename), output.Plain(entry.Namespace), output.Plain(result.Msg))
		}
	}
	for _, entry := range r.entries {
		line("EXCP", entry, entry.Exceptions)
		line("WARN", entry, entry.Warnings)
		line("FAIL", entry, entry.Failures)
		line("ERROR", entry, entry.Errors)
	}
	fmt.Fprintf(&b, "%s, %s asked: %s, %s, %s, %s\n", counted(len(r.files), "file"), counted(r.rules, "rule"), counted(r.total(conftestFailures), "failure"),
		counted(r.total(conftestWarnings), "warning"), counted(r.total(conftestExceptions), "exception"), counted(r.total(conftestErrors), "error"))
	_, err := io.WriteString(w, b.String())
	return err
}
