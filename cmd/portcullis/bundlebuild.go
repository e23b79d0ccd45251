package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/spf13/cobra"
)

func (p *program) bundleBuildCommand() *cobra.Command {
	var file string
	command := &cobra.Command{
		Use:   "build DIR",
		Short: "Pack a bundle into a file, the same bytes for the same files",
		Long: `build checks that the bundle compiles, packs its files and prints their digest, which a repository,
an artifact and a tarball with the same files have, too. Times, owners and modes have no part in it, nor have hidden files.

The file is a bundle as OPA's: sign it with cosign sign-blob --bundle FILE.sigstore.json.`,
		Example: "  portcullis bundle build policies/ --output policies.tar.gz",
		Args:    arguments(cobra.ExactArgs(1), "name the directory that holds bundle.yaml"),
		RunE:    func(_ *cobra.Command, args []string) error { return p.bundleBuild(args[0], file) },
	}
	command.Flags().StringVarP(&file, "output", "o", "", "`file` to write, - for standard output; without it only the digest is printed")
	return command
}

// readBundle reads the files of a directory as they would be published, and compiles them.
func readBundle(dir string) (*revision.Revision, error) {
	if _, err := openDirectory(dir); err != nil {
		return nil, err
	}
	tree, err := archive.Read(os.DirFS(dir))
	if err != nil {
		return nil, err
	}
	defer collectLess()()
	loaded, err := revision.Load(tree, revisionOptions())
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, nextBundle)
	}
	return loaded, nil
}

func (p *program) bundleBuild(dir, file string) error {
	loaded, err := readBundle(dir)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	if err := loaded.Tree.Pack(&packed); err != nil {
		return err
	}
	said := p.stdout
	switch file {
	case "":
	case "-":
		said = p.stderr
		if _, err := p.stdout.Write(packed.Bytes()); err != nil {
			return err
		}
	default:
		if err := replaceFile(file, packed.Bytes()); err != nil {
			return err
		}
	}
	manifest := loaded.Bundle.Manifest
	_, err = fmt.Fprintf(said, "%s  %s@%d, %s, %s\n", loaded.Digest, manifest.Name, manifest.Serial, countPolicies(loaded.Policies), countFiles(len(loaded.Tree.Names())))
	return err
}

func countFiles(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// replaceFile writes a file at once or not at all.
func replaceFile(name string, content []byte) error {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return usagef("writing %s: it is a directory: name a file", name)
	}
	file, err := os.CreateTemp(filepath.Dir(name), ".portcullis-*")
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return usagef("writing %s: %w: name a file in a directory that can be written to", name, err)
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return fmt.Errorf("writing %s: %w: name another file", name, err)
	}
	return nil
}

// bundleTests runs the tests of a revision as a cluster does before it activates one.
func bundleTests(ctx context.Context, tree *archive.Tree) (*revision.Report, error) {
	report, err := revision.Test(ctx, tree, revisionOptions())
	if err != nil {
		return nil, fmt.Errorf("testing the bundle: %w", err)
	}
	return report, nil
}
