package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/clusterimagepolicy"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// maxImport bounds what is read to be imported, in bytes.
const maxImport = 4 << 20

func (p *program) bundleImportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Make the trust section of a bundle of ClusterImagePolicies",
		Long: `import reads ClusterImagePolicies of sigstore's policy-controller, as kubectl prints them, and
prints the section trust of bundle.yaml that demands the same or more. "-" is standard input.

What is not carried over as it stands is said on standard error, field by field. What would
admit more than policy-controller does is an error: nothing is printed, and the exit code is 4.
See docs/cluster-image-policy.md.`,
		Example: `  kubectl get clusterimagepolicies -o yaml | portcullis bundle import - > trust.yaml
  portcullis bundle import policies/cip.yaml`,
		Args: arguments(cobra.ExactArgs(1), "name one file with ClusterImagePolicies, or - for standard input"),
		RunE: func(_ *cobra.Command, args []string) error { return p.bundleImport(args[0]) },
	}
}

func (p *program) bundleImport(name string) error {
	content, err := p.readArgument(name, maxImport)
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("reading %s: there is no such file: check the path", name)
	}
	if err != nil {
		return err
	}
	trust, notes, err := clusterimagepolicy.Import(content)
	for _, note := range notes {
		fmt.Fprintln(p.stderr, "note: "+output.Plain(note.String()))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	section, err := yaml.Marshal(map[string]*signer.Trust{"trust": trust})
	if err != nil {
		return fmt.Errorf("writing the trust section: %w", err)
	}
	_, err = p.stdout.Write(section)
	return err
}

// readArgument reads a file that an argument names, or standard input for "-", of at most so many bytes.
func (p *program) readArgument(name string, most int64) ([]byte, error) {
	from := p.stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		defer file.Close()
		from = file
	}
	content, err := io.ReadAll(io.LimitReader(from, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", name, err)
	case int64(len(content)) > most:
		return nil, fmt.Errorf("reading %s: it has more than %d bytes: split it", name, most)
	}
	return content, nil
}
