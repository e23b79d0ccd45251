package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/cmd/internal/doctor"
	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
)

// doctorFlags are those of portcullis doctor.
type doctorFlags struct {
	cluster    clusterFlags
	namespace  string
	format     string
	only       []string
	list       bool
	printRoles bool
	failOnWarn bool
	timeout    time.Duration
	options    doctor.Options
}

func (p *program) doctorCommand() *cobra.Command {
	var f doctorFlags
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Check an installation of Portcullis in a cluster, and say what to do",
		Long: `doctor looks at an installation with your rights, changes nothing, and says what is wrong and what to do about it, the worst first.
What it may not look at it calls unknown, never fine: --print-roles prints the roles that let it see everything.

Whether the webhook is asked is tried: the creation of a privileged Deployment, on a dry run, in --probe-namespace.
Exit codes:
  64  usage     wrong flags or arguments
  1   problem   something does not work, or does not protect
  4   fault     the cluster cannot be reached
  5   warned    warnings, with --fail-on-warn
  0   fine      nothing is wrong, as far as it could be seen`,
		Example: `  portcullis doctor
  portcullis doctor --only webhook-reachable,certificates
  portcullis doctor --format json | jq '.results[] | select(.state == "problem")'
  portcullis doctor --print-roles | kubectl apply -f -`,
		Args: arguments(cobra.NoArgs, "doctor takes no arguments: name checks by --only"),
		RunE: func(command *cobra.Command, _ []string) error {
			return p.doctor(command.Context(), &f)
		},
	}
	f.cluster.register(command.Flags())
	command.Flags().StringVarP(&f.namespace, "namespace", "n", installation.DefaultNamespace, "`namespace` that Portcullis runs in")
	command.Flags().StringVar(&f.format, "format", "text", "`format`: text or json")
	command.Flags().StringSliceVar(&f.only, "only", nil, "these `checks` only; --list has them")
	command.Flags().BoolVar(&f.list, "list", false, "list the checks, and look at nothing")
	command.Flags().BoolVar(&f.printRoles, "print-roles", false, "print the roles that let somebody run all checks, and look at nothing")
	command.Flags().BoolVar(&f.failOnWarn, "fail-on-warn", false, "exit with 5 if there are warnings and no problem")
	command.Flags().DurationVar(&f.timeout, "timeout", doctor.DefaultTimeout, "`time` for one check")
	command.Flags().StringVar(&f.options.Registry, "registry", "", "a registry to reach from here, as `host` or host:port")
	command.Flags().StringVar(&f.options.ProbeNamespace, "probe-namespace", "default", "`namespace` of the Deployment that is created on a dry run")
	complete(command, "format", "text", "json")
	complete(command, "only", checkNames()...)
	return command
}

func checkNames() []string {
	var names []string
	for _, check := range doctor.Checks() {
		names = append(names, check.Name)
	}
	return names
}

// check finds mistakes before anything is asked.
func (f *doctorFlags) check() ([]doctor.Check, error) {
	if err := checkFormat(f.format); err != nil {
		return nil, err
	}
	for flag, namespace := range map[string]string{"--namespace": f.namespace, "--probe-namespace": f.options.ProbeNamespace} {
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			return nil, usagef("%s is %q, which is no namespace: kubectl get namespaces has those that there are", flag, namespace)
		}
	}
	switch {
	case f.timeout <= 0:
		return nil, usagef("--timeout %s: give a duration, as 30s", f.timeout)
	case f.list && f.printRoles:
		return nil, usagef("--list and --print-roles: use one of them")
	case strings.ContainsAny(f.options.Registry, "/@ "):
		return nil, usagef("--registry is %q: give its host only, as ghcr.io or registry.example.com:5000", f.options.Registry)
	}
	checks, unknown := doctor.Select(f.only)
	if unknown != "" {
		return nil, usagef("there is no check %q: portcullis doctor --list has those that there are", unknown)
	}
	return checks, nil
}

func (p *program) doctor(ctx context.Context, f *doctorFlags) error {
	checks, err := f.check()
	if err != nil {
		return err
	}
	if f.printRoles {
		_, err := p.stdout.Write(doctor.Roles(f.namespace))
		return err
	}
	if f.list {
		return p.listChecks(checks)
	}
	at, err := f.cluster.installation(f.namespace)
	if err != nil {
		return err
	}
	if err := at.Reach(ctx); err != nil {
		return fmt.Errorf("reaching the cluster %s: %w: kubectl cluster-info shows whether it answers; --context chooses another one", at.Config.Host, err)
	}
	report, err := doctor.Run(ctx, at, checks, f.timeout, f.options)
	if err != nil {
		return err
	}
	report.Rewrite(p.called.advice)
	p.code = doctorCode(report, f.failOnWarn)
	if f.format == "json" {
		return writeDocument(p.stdout, report)
	}
	return doctor.WriteText(p.stdout, report, style(p.stdout))
}

// installation opens that of a namespace. Its checks ask much at once.
func (f *clusterFlags) installation(namespace string) (*installation.Installation, error) {
	config, err := f.config()
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 200, 400
	return installation.Open(config, namespace, time.Now)
}

// doctorCode is the exit code for a report.
func doctorCode(report *doctor.Report, failOnWarn bool) gate.ExitCode {
	switch {
	case report.Count(doctor.Problem) > 0:
		return gate.ExitDenied
	case failOnWarn && report.Count(doctor.Warning) > 0:
		return gate.ExitWarned
	}
	return gate.ExitAdmitted
}

func (p *program) listChecks(checks []doctor.Check) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for n := range checks {
		fmt.Fprintf(table, "%s\t%s\n", checks[n].Name, checks[n].About)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(p.stdout, cutLines(text.String(), style(p.stdout).Width))
	return err
}
