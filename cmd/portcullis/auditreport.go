package main

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
)

// formatHTML is the format of the page, beside those of the gate.
const formatHTML = "html"

// auditFormats are the formats of an audit. Those about images without manifests are the gate's.
func auditFormats() []string {
	return append(slices.DeleteFunc(output.Formats(), func(format string) bool {
		return format == "gitlab-container-scanning" || format == "cyclonedx-vex"
	}), formatHTML)
}

// auditReportFlags say what is written about an audit.
type auditReportFlags struct {
	gate          reportFlags
	html, history string
}

func (f *auditReportFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.gate.format, "format", "text", "`format` of the report: "+strings.Join(auditFormats(), ", "))
	flags.StringVarP(&f.gate.output, "output", "o", "", "write the report to this `file` instead of standard output")
	flags.StringVar(&f.gate.baseline, "baseline", "", "fail only on findings that this `file` does not have: one of --write-baseline, or a report of --format json")
	flags.StringVar(&f.gate.writeBaseline, "write-baseline", "", "write what denies or warns to this `file`, for --baseline in later runs")
	flags.StringVar(&f.html, "html", "", "write a page with charts to this `file`, beside the report")
	flags.StringVar(&f.history, "history", "", "add what the run comes to to this `file`, a line each, and draw it on the page; the last 1000 runs are kept")
}

func (f *auditReportFlags) check() error {
	if !slices.Contains(auditFormats(), f.gate.format) {
		return usagef("choosing the format %q: no such format: use one of %s", f.gate.format, strings.Join(auditFormats(), ", "))
	}
	return nil
}

// known reads the baseline; nil where none is named.
func (f *auditReportFlags) known() (*gate.Baseline, error) {
	flags := f.gate
	flags.format = "text" // the page is none of the gate's
	return flags.check()
}

// writeAudit opens all that is to be written, has it written, and makes it visible if all went well.
func (p *program) writeAudit(f *auditReportFlags, run *auditRun, write func(gate.Handler) error) error {
	open := reports{}
	err := open.beginAudit(f, p, run)
	if err == nil {
		err = write(output.Tee(open.handlers...))
	}
	if err != nil {
		return errors.Join(err, open.discard())
	}
	return open.commit()
}

func (r *reports) beginAudit(f *auditReportFlags, p *program, run *auditRun) error {
	var w io.Writer = p.stdout
	shown := style(p.stdout)
	if f.gate.output != "" {
		file, err := r.create(f.gate.output, "--output")
		if err != nil {
			return err
		}
		w, shown = file, output.Style{}
	}
	if f.gate.format == formatHTML {
		r.handlers = append(r.handlers, &auditPageHandler{w: w, run: run})
	} else {
		handler, err := output.New(f.gate.format, w, shown)
		if err != nil {
			return err
		}
		if f.gate.format == "text" {
			handler = &auditText{Handler: handler, w: w, run: run}
		}
		r.handlers = append(r.handlers, handler)
	}
	if f.gate.writeBaseline != "" {
		file, err := r.create(f.gate.writeBaseline, "--write-baseline")
		if err != nil {
			return err
		}
		r.handlers = append(r.handlers, output.NewBaseline(file))
	}
	if f.html != "" {
		file, err := r.create(f.html, "--html")
		if err != nil {
			return err
		}
		r.handlers = append(r.handlers, &auditPageHandler{w: file, run: run})
	}
	return nil
}
