package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/docs/schemas"
	"github.com/spf13/cobra"
)

//go:embed bundletemplate
var bundleTemplate embed.FS

// templateRoot is the folder of the template in the program.
const templateRoot = "bundletemplate"

func (p *program) bundleInitCommand() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Begin a policy bundle",
		Long: `init writes a bundle that works: the built-in library, one policy of its own with tests and
samples, a place for exceptions, and a workflow for GitHub. policy test accepts it at once.

DIR is created where it is not there, and must be empty but for hidden files (.git).`,
		Example: "  portcullis bundle init policies\n  portcullis bundle init --name acme",
		Args:    arguments(cobra.MaximumNArgs(1), "name one directory"),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return p.bundleInit(dir, name)
		},
	}
	command.Flags().StringVar(&name, "name", "", "`name` of the bundle (default: that of the directory)")
	return command
}

// bundleName is what a bundle may be called: its policies are in the group of its name.
var bundleName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,61}[a-z0-9]$`)

// reservedNames are those that a bundle's own policies cannot have as their group.
var reservedNames = []string{"portcullis", "library", "lib", "portcullis-library"}

func (p *program) bundleInit(dir, name string) error {
	if name == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return fmt.Errorf("finding the name of the directory: %w: give --name", err)
		}
		name = nameFrom(filepath.Base(abs))
	}
	if !bundleName.MatchString(name) || slices.Contains(reservedNames, name) {
		return usagef("the bundle cannot be called %q: give --name with lower-case letters, digits and dashes, as acme or team-a: at least two of them, a letter first, and none of %s", name, strings.Join(reservedNames, ", "))
	}
	if err := emptyDirectory(dir); err != nil {
		return err
	}
	written, err := writeTemplate(dir, name)
	if err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	for _, file := range written {
		fmt.Fprintln(p.stdout, filepath.Join(dir, file))
	}
	_, err = fmt.Fprintf(p.stderr, "The bundle %s is begun. Test it with: portcullis policy test %s --coverage\n", name, dir)
	return err
}

// nameFrom makes a name of a directory's.
func nameFrom(directory string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r == '-', r == '_', r == '.', r == ' ':
			return '-'
		}
		return -1
	}, strings.ToLower(directory))
	return strings.Trim(name, "-")
}

// emptyDirectory makes a directory, or finds it empty but for hidden files.
func emptyDirectory(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a bundle is no secret
			return usagef("making the directory: %w: name another one", err)
		}
		return nil
	case err != nil:
		return usagef("reading %s: %w: name a directory", dir, err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") {
			return usagef("%s is not empty (%s is in it), and nothing is overwritten: name another directory", dir, entry.Name())
		}
	}
	return nil
}

// writeTemplate writes all files of the template and says which.
func writeTemplate(dir, name string) (written []string, err error) {
	replace := strings.NewReplacer(
		"SCHEMA bundle", schemas.Line("bundle"), "SCHEMA exception", schemas.Line("exception"),
		"NAME", name, "PACKAGE", strings.ReplaceAll(name, "-", "_"),
	)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	err = fs.WalkDir(bundleTemplate, templateRoot, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := bundleTemplate.ReadFile(file)
		if err != nil {
			return err
		}
		target := strings.TrimPrefix(file, templateRoot+"/")
		if target == "workflow.yaml" {
			target = ".github/workflows/policies.yaml"
		}
		if err := root.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		written = append(written, target)
		return writeNewIn(root, target, []byte(replace.Replace(string(content))))
	})
	return written, err
}

// writeNewIn writes a file that is not there yet.
func writeNewIn(root *os.Root, name string, content []byte) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Close())
}
