package main

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/spf13/pflag"
)

// reportFlags say what is written about a run, and what is known before it.
type reportFlags struct {
	format, output          string
	baseline, writeBaseline string
	summary, summaryKey     string
}

func (f *reportFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.format, "format", "text", "`format` of the report: "+strings.Join(output.Formats(), ", "))
	flags.StringVarP(&f.output, "output", "o", "", "write the report to this `file` instead of standard output")
	flags.StringVar(&f.baseline, "baseline", "", "fail only on findings that this `file` does not have: one of --write-baseline, or a report of --format json; it waives neither faults nor undecided policies")
	flags.StringVar(&f.writeBaseline, "write-baseline", "", "write what denies or warns to this `file`, for --baseline in later runs")
	flags.StringVar(&f.summary, "summary", "", "write a SLSA verification summary of each --image to this `file`, one line each")
	flags.StringVar(&f.summaryKey, "summary-key", "", "sign the summaries with this private key `file`, as Sigstore bundles; its password is in COSIGN_PASSWORD, else the terminal asks")
}

// check looks at the flags before anything is judged, and reads the baseline; nil where none is named.
func (f *reportFlags) check() (*gate.Baseline, error) {
	if _, err := output.New(f.format, io.Discard, output.Style{}); err != nil {
		return nil, usageError{err}
	}
	if f.summaryKey != "" && f.summary == "" {
		return nil, usagef("--summary-key signs what --summary writes: name a file with --summary")
	}
	if f.baseline == "" {
		return nil, nil
	}
	file, err := os.Open(f.baseline)
	if err != nil {
		return nil, usagef("opening the baseline: %w: name a file of --write-baseline, or leave --baseline out", err)
	}
	defer file.Close()
	if isDirectory(f.baseline) {
		return nil, usagef("reading the baseline: %s is a directory: name a file with --baseline", f.baseline)
	}
	baseline, err := gate.ReadBaseline(f.baseline, file)
	if err != nil {
		return nil, usageError{err}
	}
	return baseline, nil
}

// report opens all that is to be written, has it written, and makes it visible if all
// went well.
func (p *program) report(f *reportFlags, write func(gate.Handler) error) error {
	open := reports{}
	err := open.begin(f, p)
	if err == nil {
		err = write(output.Tee(open.handlers...))
	}
	if err != nil {
		return errors.Join(err, open.discard())
	}
	return open.commit()
}

// reports are those of one run.
type reports struct {
	handlers []gate.Handler
	files    []*output.File
}

func (r *reports) begin(f *reportFlags, p *program) error {
	w, shown := p.stdout, style(p.stdout)
	if f.output != "" {
		file, err := r.create(f.output, "--output")
		if err != nil {
			return err
		}
		w, shown = file, output.Style{}
	}
	handler, err := output.New(f.format, w, shown)
	if err != nil {
		return err
	}
	r.handlers = append(r.handlers, handler)
	if f.writeBaseline != "" {
		file, err := r.create(f.writeBaseline, "--write-baseline")
		if err != nil {
			return err
		}
		r.handlers = append(r.handlers, output.NewBaseline(file))
	}
	if f.summary == "" {
		return nil
	}
	sign, err := f.signer(p)
	if err != nil {
		return err
	}
	file, err := r.create(f.summary, "--summary")
	if err != nil {
		return err
	}
	r.handlers = append(r.handlers, output.NewSummaries(file, sign))
	return nil
}

// signer signs summaries; nil without a key.
func (f *reportFlags) signer(p *program) (output.SignSummary, error) {
	if f.summaryKey == "" {
		return nil, nil
	}
	key, err := (&keyFlags{file: f.summaryKey, passwordVariable: "COSIGN_PASSWORD"}).load(p)
	if err != nil {
		return nil, usagef("%w: check --summary-key", err)
	}
	return func(repository, digest string, statement []byte) ([]byte, error) {
		parsed, err := workload.ParseImage(repository)
		if err != nil {
			return nil, err
		}
		target := cosign.Target{Repository: registry.Repository{Registry: parsed.Registry, Path: parsed.Repository}, Digest: digest}
		return cosign.SignStatement(target, key, statement, signer.FormatBundle)
	}, nil
}

func (r *reports) create(name, flag string) (*output.File, error) {
	file, err := output.Create(name, flag)
	if err != nil {
		return nil, usageError{err}
	}
	r.files = append(r.files, file)
	return file, nil
}

func (r *reports) commit() error {
	var errs []error
	for _, file := range r.files {
		errs = append(errs, file.Commit())
	}
	return errors.Join(errs...)
}

func (r *reports) discard() error {
	var errs []error
	for _, file := range r.files {
		errs = append(errs, file.Discard())
	}
	return errors.Join(errs...)
}
