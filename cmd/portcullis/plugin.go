package main

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// The names under which kubectl finds the program: as its plugin, and as what completes the plugin's command line
// (https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/; k8s.io/kubectl/pkg/cmd/plugin_completion.go). A link with such a name is
// all there is to install.
const (
	pluginFile   = "kubectl-portcullis"
	completeFile = "kubectl_complete-portcullis"
)

// What people type to call the program.
const (
	programName = "portcullis"
	pluginName  = "kubectl portcullis"
)

// invocation is how the program was called. Its zero value is without arguments, as portcullis.
type invocation struct {
	plugin bool
	args   []string
}

// invoked reads a command line, its first word included.
func invoked(words []string) invocation {
	if len(words) == 0 {
		return invocation{}
	}
	args := words[1:]
	switch strings.TrimSuffix(filepath.Base(words[0]), ".exe") {
	case pluginFile:
		return invocation{plugin: true, args: args}
	case completeFile:
		return invocation{plugin: true, args: append([]string{cobra.ShellCompRequestCmd}, args...)}
	}
	return invocation{args: args}
}

// name is what people type.
func (i invocation) name() string {
	if i.plugin {
		return pluginName
	}
	return programName
}

// rename has the program speak of itself as it was called: in usage, examples and errors.
func (i invocation) rename(root *cobra.Command) {
	if !i.plugin {
		return
	}
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: pluginName}
	root.CompletionOptions.HiddenDefaultCmd = true // kubectl asks kubectl_complete-portcullis
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.Example = i.advice(c.Example)
		for _, below := range c.Commands() {
			walk(below)
		}
	}
	walk(root)
}

// ownCommand is a command of ours in a text, as it is typed where the program is called portcullis.
var ownCommand = regexp.MustCompile(`(^|[\s` + "`" + `;:|(])portcullis ([a-z])`)

// advice is a text with commands to run, in the words of how the program was called.
func (i invocation) advice(text string) string {
	if !i.plugin {
		return text
	}
	return ownCommand.ReplaceAllString(text, "${1}"+pluginName+" ${2}")
}
