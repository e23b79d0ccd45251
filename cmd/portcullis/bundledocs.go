package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/bundlesource"
	"github.com/spf13/cobra"
)

func (p *program) bundleDocsCommand() *cobra.Command {
	var bundle bundleFlags
	var to string
	command := &cobra.Command{
		Use:   "docs [BUNDLE]",
		Short: "Write the policy handbook of a bundle",
		Long: `docs writes what a bundle asks of whom, for the people whose manifests it judges: each profile and its
namespaces, each policy with its reason, severity, enforcement, parameters, remediation, controls and samples, and all
exceptions with their expiry.

--output names an .html file (one page that needs nothing else), an .md file, or a directory for both. Without it the handbook
is written to standard output as Markdown.

BUNDLE is ` + bundlesource.Forms + `; the built-in library without it.`,
		Example: "  portcullis bundle docs policies/ --output handbook.html\n  portcullis bundle docs cluster --output docs/",
		Args:    arguments(cobra.MaximumNArgs(1), "name one bundle"),
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) > 0 {
				bundle.ref = args[0]
			}
			return p.bundleDocs(command.Context(), &bundle, to)
		},
	}
	bundle.registerElsewhere(command.Flags(), nil)
	command.Flags().StringVarP(&to, "output", "o", "", "`file` ending in .html or .md, or directory, to write to")
	return command
}

func (p *program) bundleDocs(ctx context.Context, bundle *bundleFlags, to string) error {
	loaded, err := bundle.revision(ctx)
	if err != nil {
		return err
	}
	book, err := newHandbook(loaded, time.Now())
	if err != nil {
		return err
	}
	formats := map[string]func(io.Writer, *handbook) error{".html": writeHandbookHTML, ".md": writeHandbookMarkdown}
	if to == "" {
		return writeHandbookMarkdown(p.stdout, book)
	}
	files := []string{to}
	if formats[filepath.Ext(to)] == nil {
		if ext := filepath.Ext(to); ext != "" {
			if info, err := os.Stat(to); err != nil || !info.IsDir() {
				return usagef("--output %s: there is no format %s: name a file that ends in .html or .md, or a directory", to, ext)
			}
		}
		if err := os.MkdirAll(to, 0o755); err != nil { //nolint:gosec // it is meant to be read
			return usagef("--output %s: %w: name another directory", to, err)
		}
		files = []string{filepath.Join(to, "handbook.html"), filepath.Join(to, "handbook.md")}
	}
	for _, file := range files {
		var content bytes.Buffer
		if err := formats[filepath.Ext(file)](&content, book); err != nil {
			return fmt.Errorf("writing %s: %w", file, err)
		}
		if err := replaceFile(file, content.Bytes()); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(p.stdout, "%s: %s and %s of %s\n", strings.Join(files, ", "), countPolicies(len(book.Policies)), counted(len(book.Exceptions), "exception"), book.Revision)
	return err
}
