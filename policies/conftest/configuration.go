package conftest

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/open-policy-agent/opa/v1/ast"
)

// configurationFile is where Conftest looks for its settings.
const configurationFile = "conftest.toml"

// maxConfiguration bounds conftest.toml in bytes.
const maxConfiguration = 64 << 10

// configuration is conftest.toml, as far as it bears on what policies find. Keys are those of Conftest's flags.
type configuration struct {
	Policy            texts  `toml:"policy"`
	Data              texts  `toml:"data"`
	Namespace         texts  `toml:"namespace"`
	AllNamespaces     bool   `toml:"all-namespaces"`
	RegoVersion       string `toml:"rego-version"`
	Strict            bool   `toml:"strict"`
	ShowBuiltinErrors bool   `toml:"show-builtin-errors"`
	FailOnWarn        bool   `toml:"fail-on-warn"`
	Combine           bool   `toml:"combine"`
	Parser            string `toml:"parser"`
	Ignore            string `toml:"ignore"`
	// Portcullis is a table that Conftest does not look at.
	Portcullis struct {
		// Resources are the only ones that requests are judged of, as plural.group: "deployments.apps", "services".
		Resources []string `toml:"resources"`
	} `toml:"portcullis"`
}

// cosmetic are keys of Conftest that change how results are shown, and not what they are.
var cosmetic = []string{
	"output", "no-color", "quiet", "trace", "suppress-exceptions", "stdin-filename", "junit-hide-message", "github-hide-passed",
	"show-skipped", "report", "tls",
}

// refused are keys of Conftest that would change what policies find in a way that is not carried over.
var refused = map[string]string{
	"update":          "policies come with the bundle and are verified with it: nothing is downloaded when they run",
	"capabilities":    "policies run in the sandbox of the bundle's own",
	"no-fail":         "violations that fail nothing would be an allow: leave it out",
	"proto-file-dirs": "textproto is not among the formats",
}

// texts is a text or a list of them, as Conftest takes either.
type texts []string

// UnmarshalTOML reads one text or a list of texts.
func (t *texts) UnmarshalTOML(value any) error {
	switch value := value.(type) {
	case string:
		for text := range strings.SplitSeq(value, ",") {
			*t = append(*t, strings.TrimSpace(text))
		}
		return nil
	case []any:
		for _, element := range value {
			text, ok := element.(string)
			if !ok {
				return fmt.Errorf("%v is no text", element)
			}
			*t = append(*t, text)
		}
		return nil
	}
	return fmt.Errorf("%v is neither a text nor a list of texts", value)
}

// readConfiguration reads conftest.toml, the zero value where there is none.
func readConfiguration(fsys fs.FS) (*configuration, error) {
	var c configuration
	content, err := fs.ReadFile(fsys, configurationFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &c, nil
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", configurationFile, err)
	case len(content) > maxConfiguration:
		return nil, fmt.Errorf("reading %s: it has %d bytes: use at most %d", configurationFile, len(content), maxConfiguration)
	}
	metadata, err := toml.Decode(string(content), &c)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", configurationFile, err)
	}
	if err := checkKeys(metadata); err != nil {
		return nil, fmt.Errorf("reading %s: %w", configurationFile, err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", configurationFile, err)
	}
	return &c, nil
}

func checkKeys(metadata toml.MetaData) error {
	var problems []error
	for _, key := range metadata.Undecoded() {
		name := key.String()
		if reason, known := refused[name]; known {
			problems = append(problems, fmt.Errorf("%s: %s", name, reason))
		} else if !slices.Contains(cosmetic, name) {
			problems = append(problems, fmt.Errorf("%s is not known: correct the name, or remove it", name))
		}
	}
	return errors.Join(problems...)
}

func (c *configuration) check() error {
	if _, err := c.version(); err != nil {
		return err
	}
	for _, pattern := range c.Namespace {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("namespace %q: %w", pattern, err)
		}
	}
	for _, folder := range slices.Concat(c.Policy, c.Data) {
		if !fs.ValidPath(path.Clean(folder)) {
			return fmt.Errorf("%q leads out of the folder: move what it names into the bundle", folder)
		}
	}
	for _, resource := range c.Portcullis.Resources {
		if resource == "" || resource != strings.ToLower(resource) || strings.ContainsAny(resource, "*/ ") {
			return fmt.Errorf("portcullis.resources: %q is no resource: write plural.group, like %q", resource, "deployments.apps")
		}
	}
	return nil
}

func (c *configuration) version() (ast.RegoVersion, error) {
	switch strings.ToLower(c.RegoVersion) {
	case "", "v1":
		return ast.RegoV1, nil
	case "v0":
		return ast.RegoV0, nil
	}
	return ast.RegoUndefined, fmt.Errorf("rego-version is %q: write %q or %q", c.RegoVersion, "v0", "v1")
}
