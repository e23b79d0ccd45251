package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/portcullis-dev/portcullis/cmd/internal/bundlesource"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/spf13/cobra"
)

func (p *program) bundlePullCommand() *cobra.Command {
	var bundle bundleFlags
	command := &cobra.Command{
		Use:   "pull BUNDLE DIR",
		Short: "Fetch a bundle, verify it, and write its files to a directory",
		Long: `pull fetches a bundle, verifies who has signed it, and writes its files to DIR, which is created where it
is not there and must be empty. Nothing is written of a bundle that does not verify.`,
		Example: "  portcullis bundle pull oci://ghcr.io/acme/policies:7 policies/ --bundle-verification verification.yaml",
		Args:    arguments(cobra.ExactArgs(2), "name a bundle as "+bundlesource.RemoteForms+", and a directory"),
		RunE: func(command *cobra.Command, args []string) error {
			return p.bundlePull(command.Context(), &bundle, args[0], args[1])
		},
	}
	bundle.registerElsewhere(command.Flags(), nil)
	return command
}

func (p *program) bundlePull(ctx context.Context, bundle *bundleFlags, ref, dir string) error {
	if _, cluster := bundlesource.InCluster(ref); cluster || !bundlesource.Remote(ref) {
		return usagef("there is nothing to fetch from %s: name it as %s, or copy the directory", ref, bundlesource.RemoteForms)
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return usagef("%s is not empty (%s is in it), and nothing is overwritten: name another directory", dir, entries[0].Name())
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return usagef("reading %s: %w: name a directory", dir, err)
	}
	opened, err := bundle.other(ref).open(ctx)
	if err != nil {
		return err
	}
	if err := writeTree(dir, opened.from.Tree); err != nil {
		return fmt.Errorf("writing the bundle to %s: %w", dir, err)
	}
	signed := "taken whoever wrote it"
	if len(opened.from.Signers) > 0 {
		signed = "signed by " + strings.Join(opened.from.Signers, ", ")
	}
	_, err = fmt.Fprintf(p.stdout, "%s  %s@%d, %s, %s\n", opened.tree.Digest(), opened.from.Name, opened.from.Serial, countFiles(len(opened.from.Tree.Names())), signed)
	return err
}

// writeTree writes files into a directory and nowhere else, all of them or, where something fails, a part in a directory that
// was not there before.
func writeTree(dir string, tree *archive.Tree) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a bundle is no secret
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for name, content := range tree.All() {
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := writeNewIn(root, name, content); err != nil {
			return err
		}
	}
	return nil
}
