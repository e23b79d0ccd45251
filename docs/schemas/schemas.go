// Package schemas holds the JSON schemas of all files that people write for Portcullis, as they are published beside this
// file: editors complete and check by them. They are generated from the types that read the files, with their comments.
//
// A schema says what a file may look like. What it means is checked by "portcullis policy test" and wherever a bundle is loaded.
package schemas

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
)

//go:embed *.json
var files embed.FS

// URL begins the addresses that the schemas are published at.
const URL = "https://raw.githubusercontent.com/portcullis-dev/portcullis/main/docs/schemas/"

// suffix ends the names of files.
const suffix = ".schema.json"

// Names are those of all schemas, sorted: "bundle", "exception".
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(fmt.Sprintf("reading what was compiled in: %v", err)) // cannot happen: the folder is part of the program
	}
	var names []string
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(entry.Name(), suffix))
	}
	slices.Sort(names)
	return names
}

// Schema is a schema by name.
func Schema(name string) ([]byte, error) {
	content, err := files.ReadFile(path.Base(name) + suffix)
	if err != nil {
		return nil, fmt.Errorf("there is no schema %q: use one of %s", name, strings.Join(Names(), ", "))
	}
	return content, nil
}

// Line is the comment with which a YAML file names its schema to editors
// (https://github.com/redhat-developer/yaml-language-server#using-inlined-schema).
func Line(name string) string { return "# yaml-language-server: $schema=" + URL + name + suffix }
