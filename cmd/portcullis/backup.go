package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/cmd/internal/backup"
	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	"github.com/portcullis-dev/portcullis/cmd/internal/version"
)

// backupFlags are those of portcullis backup.
type backupFlags struct {
	cluster    clusterFlags
	namespace  string
	output     string
	without    []string
	printRoles bool
}

const backupExits = `

Exit codes:
  64  usage      wrong flags or arguments, or no archive of portcullis backup
  4   fault      the cluster cannot be reached or refuses, or not all could be done
  0   admitted   it is done`

func (p *program) backupCommand() *cobra.Command {
	var f backupFlags
	command := &cobra.Command{
		Use:   "backup",
		Short: "Write the state of an installation into one archive",
		Long: `backup writes what custom resources of Portcullis say into one archive: bundles with their revisions and statuses, exceptions, quarantines with their
evidence, incidents, scans, and what is said of secrets of Vault. Each kind is read at one state of the cluster. The same state gives the same archive,
but for the time in its manifest.

No Secret is read, and none is in it; the archive lists those that its objects name. VaultLeases hold tokens that are encrypted by a key that is not in the
cluster. Evidence of quarantines is what was in pods: keep the archive as you keep that. The file is for you alone (mode 0600).

It prints the digest of the archive. Keep it elsewhere: restore --digest refuses any other archive, and whoever can change an archive that is restored decides
what the cluster admits.

What is kept in Git, in registries and on volumes is no part of it: docs/backup.md.` + backupExits,
		Example: `  portcullis backup
  portcullis backup --output nightly.tar.gz
  portcullis backup verify nightly.tar.gz
  portcullis backup --print-roles | kubectl apply -f -`,
		Args: knownCommand,
		RunE: func(command *cobra.Command, _ []string) error {
			return p.backup(command.Context(), &f, time.Now())
		},
	}
	f.cluster.register(command.Flags())
	command.Flags().StringVarP(&f.namespace, "namespace", "n", installation.DefaultNamespace, "`namespace` that Portcullis runs in")
	command.Flags().StringVarP(&f.output, "output", "o", "", "`file` to write, which must not exist (default: portcullis-backup-TIME.tar.gz)")
	command.Flags().StringSliceVar(&f.without, "without", nil, "`kinds` to leave out, as imagescans")
	command.Flags().BoolVar(&f.printRoles, "print-roles", false, "print the roles of who takes backups and of who restores them, and read nothing")
	complete(command, "without", backup.Names()...)
	command.AddCommand(p.backupVerifyCommand())
	return command
}

// kindsOf finds kinds by what people call them.
func kindsOf(flag string, names []string) ([]*backup.Kind, error) {
	var found []*backup.Kind
	for _, name := range names {
		kind := backup.Find(name)
		if kind == nil {
			return nil, usagef("%s: there is no kind %q in a backup: use one of %s", flag, name, strings.Join(backup.Names(), ", "))
		}
		found = append(found, kind)
	}
	return found, nil
}

// checkNamespace refuses what no namespace is called.
func checkNamespace(namespace string) error {
	if len(validation.IsDNS1123Label(namespace)) > 0 {
		return usagef("--namespace is %q, which is no namespace: kubectl get namespaces has those that there are", namespace)
	}
	return nil
}

func (p *program) backup(ctx context.Context, f *backupFlags, now time.Time) error {
	without, err := kindsOf("--without", f.without)
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
	switch _, err := os.Lstat(f.output); {
	case f.output == "":
		f.output = "portcullis-backup-" + now.UTC().Format("20060102-150405") + ".tar.gz"
	case !strings.HasSuffix(f.output, ".tar.gz") && !strings.HasSuffix(f.output, ".tgz"):
		return usagef("--output is %q: it is written as a compressed archive, so call it NAME.tar.gz", f.output)
	case err == nil:
		return usagef("--output is %q, which is there already: choose another name, nothing is overwritten", f.output)
	}
	at, err := f.cluster.installation(f.namespace)
	if err != nil {
		return err
	}
	if err := at.Reach(ctx); err != nil {
		return unreachable(at, err)
	}
	options := backup.Options{Client: at.Client, Dynamic: at.Dynamic, Namespace: f.namespace, Without: without, Program: version.String(), Taken: now}
	var manifest *backup.Manifest
	var digest string
	err = writePrivately(f.output, func(w *os.File) (err error) {
		manifest, digest, err = backup.Take(ctx, options, w)
		return err
	})
	if err != nil {
		return err
	}
	return p.backedUp(f.output, manifest, digest)
}

func unreachable(at *installation.Installation, err error) error {
	return fmt.Errorf("reaching the cluster %s: %w: kubectl cluster-info shows whether it answers; --context chooses another one", at.Config.Host, err)
}

// backedUp says what is in an archive.
func (p *program) backedUp(file string, m *backup.Manifest, digest string) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, kind := range m.Kinds {
		note := ""
		switch {
		case kind.ResourceVersion == "":
			note = "the cluster does not know the kind"
		case kind.Deleting > 0:
			note = fmt.Sprintf("%d more were being deleted and are not in it", kind.Deleting)
		}
		fmt.Fprintf(table, "%s\t%d\t%s\n", output.Plain(kind.Resource), kind.Objects, note)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(p.stdout, strings.TrimRight(line, " \n"))
	}
	fmt.Fprintf(p.stdout, "%s: %d objects, taken %s by portcullis %s\n", output.Plain(file), m.Objects(), m.Taken.UTC().Format(time.RFC3339), output.Plain(m.Program))
	fmt.Fprintf(p.stdout, "digest %s\n", digest)
	if len(m.Secrets) > 0 {
		fmt.Fprintln(p.stdout, "Its objects name these Secrets, which are not in it:")
		return p.listSecrets(m.Secrets)
	}
	return nil
}

// listSecrets lists Secrets and who needs them.
func (p *program) listSecrets(all []backup.Reference) error {
	for _, one := range all {
		if _, err := fmt.Fprintf(p.stdout, "  %s/%s, for the %s\n", output.Plain(one.Namespace), output.Plain(one.Name), output.Plain(one.For)); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) backupVerifyCommand() *cobra.Command {
	var digest string
	command := &cobra.Command{
		Use: "verify FILE", Short: "Read an archive to its end, and say what is in it",
		Long: `verify reads an archive as restore does: all of it is there and is what its manifest says. It asks no cluster.` + backupExits,
		Example: `  portcullis backup verify nightly.tar.gz
  portcullis backup verify nightly.tar.gz --digest sha256:…`,
		Args: arguments(cobra.ExactArgs(1), "name one archive: portcullis backup verify FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			archive, err := openBackup(args[0], digest)
			if err != nil {
				return err
			}
			return p.backedUp(args[0], &archive.Manifest, archive.Digest)
		},
	}
	command.Flags().StringVar(&digest, "digest", "", "`digest` that it has to have, as backup printed it")
	return command
}

// openBackup reads an archive to its end.
func openBackup(file, digest string) (*backup.Archive, error) {
	if hex, isDigest := strings.CutPrefix(digest, "sha256:"); digest != "" && (!isDigest || len(hex) != 64) {
		return nil, usagef("--digest is %q: give it as backup printed it, sha256: and 64 digits", digest)
	}
	archive, err := backup.Open(func() (io.ReadCloser, error) { return openRegular(file) })
	if err != nil {
		return nil, usageError{err}
	}
	if digest != "" && archive.Digest != digest {
		return nil, usagef("%s has the digest %s, and not the one of --digest: it is another archive, or was changed", file, archive.Digest)
	}
	return archive, nil
}

// openRegular opens a file that can be read more than once.
func openRegular(file string) (io.ReadCloser, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: check the path; it is relative to the working directory", err)
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New(file + " is no file: an archive is read more than once, so it has to lie on a disk")
	}
	return os.Open(file)
}
