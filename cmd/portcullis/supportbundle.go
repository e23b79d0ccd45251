package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/cmd/internal/doctor"
	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	"github.com/portcullis-dev/portcullis/cmd/internal/supportbundle"
	"github.com/portcullis-dev/portcullis/cmd/internal/version"
)

// supportBundleFlags are those of portcullis support-bundle.
type supportBundleFlags struct {
	cluster   clusterFlags
	namespace string
	output    string
	since     time.Duration
	dryRun    bool
}

func (p *program) supportBundleCommand() *cobra.Command {
	var f supportBundleFlags
	command := &cobra.Command{
		Use:   "support-bundle",
		Short: "Gather what somebody who helps needs to see of an installation, without secrets",
		Long: `support-bundle writes an archive with our own objects, the Deployments, pods and events of our namespace, logs, metrics, and what the doctor says.

No secret is in it: Secrets, ConfigMaps, VaultLeases and the evidence of quarantines are not even read, values of environment variables and
annotations are replaced, and all other text is searched for what looks like a credential. index.json says what is inside, what was left out, and why.
Look through it before you give it away: nobody can know a password that is called nothing of the kind.

The file is for you alone (mode 0600). --dry-run lists what would be taken.`,
		Example: `  portcullis support-bundle
  portcullis support-bundle --since 15m --output incident-42.tar.gz
  portcullis support-bundle --dry-run`,
		Args: arguments(cobra.NoArgs, "support-bundle takes no arguments: name the file by --output"),
		RunE: func(command *cobra.Command, _ []string) error {
			return p.supportBundle(command.Context(), &f)
		},
	}
	f.cluster.register(command.Flags())
	command.Flags().StringVarP(&f.namespace, "namespace", "n", installation.DefaultNamespace, "`namespace` that Portcullis runs in")
	command.Flags().StringVarP(&f.output, "output", "o", "", "`file` to write, which must not exist (default: portcullis-support-TIME.tar.gz)")
	command.Flags().DurationVar(&f.since, "since", time.Hour, "how `long` logs go back")
	command.Flags().BoolVar(&f.dryRun, "dry-run", false, "list what would be taken, and write nothing")
	return command
}

// check finds mistakes before anything is asked.
func (f *supportBundleFlags) check() error {
	switch {
	case len(validation.IsDNS1123Label(f.namespace)) > 0:
		return usagef("--namespace is %q, which is no namespace: kubectl get namespaces has those that there are", f.namespace)
	case f.since < time.Second:
		return usagef("--since %s: give how long logs go back, at least a second, as 1h", f.since)
	case f.output != "" && !strings.HasSuffix(f.output, ".tar.gz") && !strings.HasSuffix(f.output, ".tgz"):
		return usagef("--output is %q: it is written as a compressed archive, so call it NAME.tar.gz", f.output)
	case f.output != "" && f.dryRun:
		return usagef("--output and --dry-run: a dry run writes nothing, so leave one out")
	}
	if _, err := os.Lstat(f.output); f.output != "" && err == nil {
		return usagef("--output is %q, which is there already: choose another name, nothing is overwritten", f.output)
	}
	return nil
}

func (p *program) supportBundle(ctx context.Context, f *supportBundleFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	at, err := f.cluster.installation(f.namespace)
	if err != nil {
		return err
	}
	if err := at.Reach(ctx); err != nil {
		return fmt.Errorf("reaching the cluster %s: %w: kubectl cluster-info shows whether it answers; --context chooses another one", at.Config.Host, err)
	}
	options := supportbundle.Options{Since: f.since, Version: version.String()}
	if f.dryRun {
		options.Extra = doctorFiles(nil)
		return p.planned(ctx, at, options)
	}
	report, err := doctor.Run(ctx, at, doctor.Checks(), doctor.DefaultTimeout, doctor.Options{})
	if err != nil {
		return err
	}
	options.Extra = doctorFiles(report)
	bundle, err := supportbundle.Gather(ctx, at, options)
	if err != nil {
		return fmt.Errorf("gathering: %w", err)
	}
	now := at.Now().UTC()
	folder := "portcullis-support-" + now.Format("20060102-150405")
	if f.output == "" {
		f.output = folder + ".tar.gz"
	}
	if err := writePrivately(f.output, func(w *os.File) error { return bundle.Write(w, folder, now) }); err != nil {
		return err
	}
	return p.gathered(f.output, bundle)
}

// doctorFiles are what the doctor says, for people and for programs.
func doctorFiles(report *doctor.Report) []supportbundle.File {
	files := []supportbundle.File{{Name: "doctor.txt", About: "what portcullis doctor says"}, {Name: "doctor.json", About: "the same, for programs"}}
	if report == nil {
		return files
	}
	var text bytes.Buffer
	if err := doctor.WriteText(&text, report, output.Style{}); err == nil {
		files[0].Content = text.Bytes()
	}
	if written, err := json.MarshalIndent(report, "", " "); err == nil {
		files[1].Content = append(written, '\n')
	}
	return files
}

// planned lists what would be taken.
func (p *program) planned(ctx context.Context, at *installation.Installation, options supportbundle.Options) error {
	files, left, err := supportbundle.Plan(ctx, at, options)
	if err != nil {
		return err
	}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s\t%s\n", supportbundle.IndexName, "what is inside, what was left out, and why")
	for _, file := range files {
		fmt.Fprintf(table, "%s\t%s\n", output.Plain(file.Name), output.Plain(file.About))
	}
	fmt.Fprintln(table, "\nLeft out:")
	for _, one := range left {
		fmt.Fprintf(table, "%s\t%s\n", output.Plain(one.What), output.Plain(one.Why))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprint(p.stdout, text.String())
	return err
}

// gathered says what was written, and what to do with it.
func (p *program) gathered(file string, bundle *supportbundle.Bundle) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("looking at what was written: %w", err)
	}
	var unread []string
	for _, one := range bundle.LeftOut {
		if strings.HasPrefix(one.Why, "you may not") {
			unread = append(unread, one.What)
		}
	}
	fmt.Fprintf(p.stdout, "%s: %d files, %d KiB. Look through it before you give it away; index.json says what was left out.\n", output.Plain(file), len(bundle.Files), (info.Size()+1023)/1024)
	if len(unread) > 0 {
		fmt.Fprintf(p.stdout, "You may not read %d of what belongs there: `%s doctor --print-roles` prints the roles that may.\n", len(unread), p.called.name())
	}
	return nil
}

// writePrivately writes a file that only its owner may read, whole or not at all, and overwrites none.
func writePrivately(name string, write func(*os.File) error) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return usagef("--output is %q, which is there already: choose another name, nothing is overwritten", name)
	case err != nil:
		return fmt.Errorf("writing %s: %w: choose another place by --output", name, err)
	}
	if err := errors.Join(write(file), file.Sync(), file.Close()); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", name, err), os.Remove(name))
	}
	return nil
}
