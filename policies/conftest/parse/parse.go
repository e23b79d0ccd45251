package parse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies/conftest"
)

// Limits of a file. Parsers of languages that nest are recursive: what they read is smaller, and its nesting is counted
// before they see it, since Go ends a program whose stack has grown too large.
const (
	maxFile     = 16 << 20 // JSON and YAML: plans of Terraform and rendered charts
	maxLanguage = 1 << 20  // all others
	maxNesting  = 200      // as of requests
)

// Parsers of formats, by Conftest's names.
const (
	Dockerfile = "dockerfile"
	Dotenv     = "dotenv"
	HCL2       = "hcl2"
	INI        = "ini"
	JSON       = "json"
	JSONC      = "jsonc"
	Properties = "properties"
	TOML       = "toml"
	XML        = "xml"
	YAML       = "yaml"
)

// parser reads one format.
type parser struct {
	name string
	most int // bytes
	read func(content []byte) (any, error)
}

var parsers = []parser{
	{Dockerfile, maxLanguage, readDockerfile},
	{Dotenv, maxLanguage, readDotenv},
	{HCL2, maxLanguage, readHCL2},
	{INI, maxLanguage, readINI},
	{JSON, maxFile, readJSON},
	{JSONC, maxFile, readJSONC},
	{Properties, maxLanguage, readProperties},
	{TOML, maxLanguage, readTOML},
	{XML, maxLanguage, readXML},
	{YAML, maxFile, readYAML},
}

// leftOut are formats of Conftest that are not read here, with the reason.
var leftOut = map[string]string{
	"codeowners": "it is no configuration that is deployed",
	"cue":        "CUE is a language to be evaluated: export it with \"cue export\" and check the JSON",
	"cyclonedx":  "attest the bill of materials and check images by it, or name the parser json or xml",
	"edn":        "it is hardly used beyond Clojure: convert it to JSON",
	"groovy":     "a Jenkinsfile is a program: no parser of it says what it does",
	"hcl1":       "Terraform has not used it since 0.12: write HCL 2",
	"hocon":      "it includes files and the environment: render it to JSON",
	"ignore":     "it is no configuration that is deployed",
	"jsonnet":    "Jsonnet is a language to be evaluated: render it with \"jsonnet\" and check the JSON",
	"nginx":      "its grammar depends on the modules that are loaded",
	"spdx":       "attest the bill of materials and check images by it, or name the parser json",
	"textproto":  "it cannot be read without its schema: convert it to JSON with \"buf convert\"",
	"vcl":        "it is a program of Varnish or Fastly",
}

// Names are the formats that can be read, sorted.
func Names() []string {
	names := make([]string, 0, len(parsers))
	for _, p := range parsers {
		names = append(names, p.name)
	}
	return names
}

// File reads a file in the format that its name says, or that is named ("" for none). The error names the file; that of
// a format that is not read says why.
func File(name, format string, content []byte) (conftest.Document, error) {
	if format == "" {
		format = formatOf(name)
	}
	contents, err := Read(format, content)
	if err != nil {
		return conftest.Document{}, fmt.Errorf("%s: %w", name, err)
	}
	return conftest.Document{Path: name, Contents: contents}, nil
}

// Supported says whether the name of a file tells of a format that is read.
func Supported(name string) bool {
	return slices.Contains(Names(), formatOf(name))
}

// Read reads content in a format.
func Read(format string, content []byte) (any, error) {
	at := slices.IndexFunc(parsers, func(p parser) bool { return p.name == format })
	if at < 0 {
		if reason, known := leftOut[format]; known {
			return nil, fmt.Errorf("the format %s is not read: %s", format, reason)
		}
		return nil, fmt.Errorf("the format %q is not known: name one with --parser: %s", format, strings.Join(Names(), ", "))
	}
	p := parsers[at]
	if len(content) > p.most {
		return nil, fmt.Errorf("the file has %d bytes: use at most %d of format %s", len(content), p.most, p.name)
	}
	value, err := p.guarded(content)
	if err != nil {
		return nil, fmt.Errorf("reading it as %s: %w", p.name, err)
	}
	return value, nil
}

// guarded makes an error of a panic of a parser: all of them read what strangers write.
func (p parser) guarded(content []byte) (value any, err error) {
	defer func() {
		if r := recover(); r != nil {
			value, err = nil, fmt.Errorf("the parser panicked: %v", r)
		}
	}()
	return p.read(content)
}

// formatOf is the format of a file by its name, as Conftest's parser.NewFromPath has it: an extension stands for the
// parser of that name.
func formatOf(name string) string {
	base := strings.ToLower(path.Base(strings.ReplaceAll(name, `\`, "/")))
	extension := strings.TrimPrefix(path.Ext(base), ".")
	switch {
	case name == "-":
		return YAML
	case base == "dockerfile", strings.HasPrefix(base, "dockerfile."), extension == "dockerfile":
		return Dockerfile
	case extension == "yml", extension == "yaml":
		return YAML
	case extension == "hcl", extension == "tf", extension == "tfvars":
		return HCL2
	case extension == "gitignore", extension == "dockerignore":
		return "ignore"
	case base == ".env", strings.HasPrefix(base, ".env."), extension == "env":
		return Dotenv
	case base == "nginx.conf":
		return "nginx"
	case base == "jenkinsfile", strings.HasPrefix(base, "jenkinsfile."):
		return "groovy"
	case base == "codeowners":
		return "codeowners"
	}
	return extension
}

// decode reads one JSON value, numbers as they are written.
func decode(content []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty")
		}
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the value")
	}
	return value, nil
}

// remarshal gives a value as its JSON has it.
func remarshal(value any) (any, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return decode(raw)
}

// checkNesting counts brackets, those in strings and comments too: nobody writes so many that are not closed.
func checkNesting(content []byte) error {
	depth := 0
	for _, c := range content {
		switch c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth = max(depth-1, 0)
		}
		if depth > maxNesting {
			return fmt.Errorf("it is nested deeper than %d", maxNesting)
		}
	}
	return nil
}
