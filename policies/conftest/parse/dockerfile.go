package parse

import (
	"bytes"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	dockerfile "github.com/moby/buildkit/frontend/dockerfile/parser"
)

// command is one instruction of a Dockerfile, with the names that Conftest gives its parts.
type command struct {
	Cmd    string   // in lower case; "comment" for a comment line
	SubCmd string   // of ONBUILD
	JSON   bool     // whether the value is written as JSON
	Flags  []string // such as --from=… of COPY
	Value  []string
	Stage  int // which FROM it belongs to, from 0
}

// readDockerfile gives a list with one element, the list of all commands.
func readDockerfile(content []byte) (any, error) {
	parsed, err := dockerfile.Parse(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	var commands []command
	stages := 0
	for _, node := range parsed.AST.Children {
		instruction, err := instructions.ParseInstruction(node)
		if err != nil {
			return nil, err
		}
		if _, ok := instruction.(*instructions.Stage); ok {
			stages++
		}
		stage := max(stages-1, 0)
		for _, comment := range node.PrevComment {
			commands = append(commands, command{Cmd: "comment", Stage: stage, Value: []string{comment}})
		}
		commands = append(commands, commandOf(node, stage))
	}
	return remarshal([][]command{commands})
}

func commandOf(node *dockerfile.Node, stage int) command {
	c := command{Cmd: strings.ToLower(node.Value), Flags: node.Flags, Stage: stage}
	if node.Next != nil && len(node.Next.Children) > 0 {
		node = node.Next.Children[0]
		c.SubCmd = node.Value
	}
	c.JSON = node.Attributes["json"]
	for next := node.Next; next != nil; next = next.Next {
		c.Value = append(c.Value, next.Value)
	}
	return c
}
