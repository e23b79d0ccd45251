package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/cmd/internal/backup"
	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
)

// restoreFlags are those of portcullis restore.
type restoreFlags struct {
	cluster                    clusterFlags
	namespace, digest          string
	only                       []string
	yes, overwrite, printRoles bool
}

func (p *program) restoreCommand() *cobra.Command {
	var f restoreFlags
	command := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put what backup has written into a cluster",
		Long: `restore creates the objects of an archive in a cluster that has the definitions, and writes the statuses that nobody could say again: which revision judges
and which are refused, what was done about a pod, which version of a secret was pushed. Without --yes it sends all as a dry run, and says what would become of it.

What is there stays: it can be run again after it was interrupted, and then goes on. --overwrite has what is there say what the archive says, but a
Quarantine that is over here stays over, unless --only quarantines is given, too.

What has expired is not restored, and no BreakGlass ever is. Programs that act on what is restored must not run meanwhile: restore observes their Leases for 15
seconds where they name a holder, and refuses. A program with another --lease-name is not seen. Namespaces have to be there.

It needs the roles that --print-roles prints, and to be known as an administrator by the guards of the chart.` + backupExits,
		Example: `  portcullis restore nightly.tar.gz
  portcullis restore nightly.tar.gz --digest sha256:… --yes
  portcullis restore nightly.tar.gz --only policyexceptions --yes`,
		Args: cobra.ArbitraryArgs,
		RunE: func(command *cobra.Command, args []string) error {
			return p.restore(command.Context(), &f, args, time.Now)
		},
	}
	f.cluster.register(command.Flags())
	command.Flags().StringVarP(&f.namespace, "namespace", "n", installation.DefaultNamespace, "`namespace` that Portcullis runs in")
	command.Flags().StringVar(&f.digest, "digest", "", "`digest` that the archive has to have, as backup printed it")
	command.Flags().StringSliceVar(&f.only, "only", nil, "these `kinds` only, as policyexceptions")
	command.Flags().BoolVar(&f.yes, "yes", false, "write, and not only say what would be written")
	command.Flags().BoolVar(&f.overwrite, "overwrite", false, "have objects that are there say what the archive says")
	command.Flags().BoolVar(&f.printRoles, "print-roles", false, "print the roles of who takes backups and of who restores them, and read nothing")
	complete(command, "only", backup.Names()...)
	return command
}

func (p *program) restore(ctx context.Context, f *restoreFlags, args []string, now func() time.Time) error {
	only, err := kindsOf("--only", f.only)
	if err != nil {
		return err
	}
	if err := checkNamespace(f.namespace); err != nil {
		return err
	}
	if f.printRoles {
		_, err := p.stdout.Write(backup.Roles(f.namespace))
		return err
	}
	if len(args) != 1 {
		return usagef("restore takes one archive, and got %d arguments: portcullis restore FILE", len(args))
	}
	archive, err := openBackup(args[0], f.digest)
	if err != nil {
		return err
	}
	at, err := f.cluster.installation(f.namespace)
	if err != nil {
		return err
	}
	if err := at.Reach(ctx); err != nil {
		return unreachable(at, err)
	}
	restore := backup.Restore{Client: at.Client, Dynamic: at.Dynamic, Namespace: f.namespace, Only: only, Apply: f.yes, Overwrite: f.overwrite, Now: now}
	report, err := restore.Run(ctx, archive)
	if report != nil {
		if err := p.restored(f, at, archive, report); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("restoring into %s: %w", at.Config.Host, err)
	}
	missing, unknown, err := restore.Missing(ctx, &archive.Manifest)
	if err != nil {
		return err
	}
	return p.afterRestore(f, report, missing, unknown)
}

// outcomes are the columns of the table.
var outcomes = []struct {
	outcome backup.Outcome
	did     string
}{
	{backup.Created, "CREATED"}, {backup.Completed, "COMPLETED"}, {backup.Overwritten, "OVERWRITTEN"}, {backup.Kept, "SAME"}, {backup.Differs, "DIFFERS"}, {backup.Ended, "OVER"}, {backup.Failed, "FAILED"},
}

// restored says what became of the objects.
func (p *program) restored(f *restoreFlags, at *installation.Installation, archive *backup.Archive, report *backup.Report) error {
	where := "another cluster than the one that it was taken from"
	if report.Same {
		where = "the cluster that it was taken from"
	}
	did := "Restored into"
	if !f.yes {
		did = "This would be restored into"
	}
	fmt.Fprintf(p.stdout, "%s %s, %s; taken %s.\n", did, output.Plain(at.Config.Host), where, archive.Manifest.Taken.UTC().Format(time.RFC3339))
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "KIND")
	for _, column := range outcomes {
		fmt.Fprint(table, "\t", column.did)
	}
	fmt.Fprintln(table)
	for _, kind := range report.Kinds {
		fmt.Fprint(table, kind.Kind.Name())
		for _, column := range outcomes {
			fmt.Fprint(table, "\t", kind.Count[column.outcome])
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	returning := "Came back; what was taken back since the backup is among them:"
	if !f.yes {
		returning = "These would come back; what was taken back since the backup is among them:"
	}
	for _, part := range []struct {
		title string
		told  []backup.Told
	}{
		{returning, report.Returning},
		{"Not restored, since over:", report.Ended},
		{"There, with something else, which stays; --overwrite has them say what the archive says:", report.Differing},
		{"Refused:", report.Failures},
	} {
		if len(part.told) > 0 {
			fmt.Fprintln(p.stdout, part.title)
		}
		for _, one := range part.told {
			fmt.Fprintf(p.stdout, "  %s: %s\n", output.Plain(one.Object), output.Plain(one.Why))
		}
	}
	return nil
}

// afterRestore says what to do next. What was refused is a fault.
func (p *program) afterRestore(f *restoreFlags, report *backup.Report, missing []backup.Reference, unknown int) error {
	if len(report.Acting) > 0 {
		fmt.Fprintf(p.stdout, "With --yes it would be refused: %s.\n", output.Plain((&backup.ActingError{Namespace: f.namespace, Programs: report.Acting}).Error()))
	}
	if len(missing) > 0 {
		title := "These Secrets are named, and are not there:"
		if unknown > 0 {
			title = "These Secrets are named, and are not there, or you may not see them:"
		}
		fmt.Fprintln(p.stdout, title)
		if err := p.listSecrets(missing); err != nil {
			return err
		}
	}
	if n := report.Failed(); n > 0 {
		return fmt.Errorf("restoring: %d objects were refused: mend what is said of each, and run it again; what is there stays", n)
	}
	next := "Next: start the programs, and see portcullis doctor."
	switch {
	case !f.yes:
		next = "Nothing was written: --yes does."
	case len(missing) > 0:
		next = "Next: create these Secrets, start the programs, and see portcullis doctor."
	}
	_, err := fmt.Fprintln(p.stdout, next)
	return err
}
