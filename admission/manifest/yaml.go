package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	yamlv2 "go.yaml.in/yaml/v2"
	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// decodeYAML converts a chunk into JSON as sigs.k8s.io/yaml does for kubectl (a
// fuzz target compares the two), within the limits and without ambiguities.
func decodeYAML(c chunk, limits Limits) ([]root, error) {
	if err := checkDocumentEnd(c); err != nil {
		return nil, err
	}
	if err := checkSyntaxNodes(c, limits); err != nil {
		return nil, err
	}
	if err := checkAliases(c, limits); err != nil {
		return nil, err
	}
	var value any
	if err := yamlv2.UnmarshalStrict(c.text, &value); err != nil {
		return nil, explainYAML(c, err)
	}
	if value == nil {
		return nil, nil // only comments
	}
	converter := converter{limits: limits}
	value, err := converter.convert(value, 1)
	if err != nil {
		return nil, &Error{c.at(firstLine(c.text)), err.Error(), "correct the document"}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, &Error{c.at(firstLine(c.text)), "a value has no JSON form: " + err.Error(), "put it in quotes"}
	}
	return []root{{text, &source{file: c.file, text: c.text, line: c.line}}}, nil
}

// checkDocumentEnd refuses content behind a document end marker: kubectl does not
// see it, other tools do.
func checkDocumentEnd(c chunk) error {
	ended, line := false, 0
	for text := range bytes.Lines(c.text) {
		line++
		trimmed := bytes.TrimSpace(text)
		switch {
		case bytes.HasPrefix(text, []byte("...")) && (len(trimmed) == 3 || strings.ContainsAny(string(text[3]), " \t")):
			ended = true
		case ended && len(trimmed) > 0 && trimmed[0] != '#':
			return &Error{c.at(line), `kubectl ignores what follows the document end marker "..."`,
				"separate documents with --- instead"}
		}
		if hiddenSeparator.Match(text) {
			return &Error{c.at(line), "a document separator follows a line break that only YAML takes for one, and kubectl ignores what follows that",
				"end lines with line feeds"}
		}
	}
	return nil
}

// hiddenSeparator is a separator or end marker behind one of the line breaks that
// YAML 1.1 knows beside the line feed.
var hiddenSeparator = regexp.MustCompile(`[\r\x{85}\x{2028}\x{2029}](---|\.\.\.)([\s\x{85}\x{2028}\x{2029}]|$)`)

// checkSyntaxNodes bounds the memory of the parsers, which build a tree before
// anyone can count: each value of a YAML text needs an indicator of its own.
func checkSyntaxNodes(c chunk, limits Limits) error {
	if len(c.text) <= limits.Nodes {
		return nil
	}
	indicators := 0
	for i, b := range c.text {
		switch b {
		case ',', '[', '{':
			indicators++
		case ':', '-', '?':
			if i+1 == len(c.text) || strings.IndexByte(" \t\r\n\"'[{,]}", c.text[i+1]) >= 0 {
				indicators++
			}
		}
	}
	if indicators > limits.Nodes {
		return &Error{c.at(1), fmt.Sprintf("the document may have more than %d values", limits.Nodes), "split it"}
	}
	return nil
}

// checkAliases measures what the document becomes when its aliases are expanded,
// without expanding them.
func checkAliases(c chunk, limits Limits) error {
	if bytes.IndexByte(c.text, '*') < 0 || bytes.IndexByte(c.text, '&') < 0 {
		return nil
	}
	var document yamlv3.Node
	if err := yamlv3.Unmarshal(c.text, &document); err != nil {
		return explainYAML(c, err)
	}
	m := measurer{limits: limits, known: map[*yamlv3.Node]extent{}}
	_, err := m.measure(&document)
	if err != nil {
		return &Error{c.at(m.line), err.Error(), "write the values out instead of using aliases"}
	}
	return nil
}

// YAMLToJSON converts one document as sigs.k8s.io/yaml does, strictly, and refuses one whose aliases expand beyond
// [DefaultLimits]: a text that is a thousand times as long as an alias makes terabytes of a file of megabytes.
func YAMLToJSON(content []byte) ([]byte, error) {
	if err := CheckAliases(content); err != nil {
		return nil, err
	}
	return yaml.YAMLToJSONStrict(content)
}

// CheckAliases is the part of [YAMLToJSON] that refuses.
func CheckAliases(content []byte) error {
	err := checkAliases(chunk{text: content, line: 1}, DefaultLimits)
	if problem := (*Error)(nil); errors.As(err, &problem) {
		return fmt.Errorf("line %d: %s: %s", problem.Position.Line, problem.Problem, problem.Next)
	}
	return err
}

// extent is the size of an expanded subtree.
type extent struct {
	nodes, bytes int64
	depth        int
	open         bool // being measured: an alias to it is a loop
}

type measurer struct {
	limits Limits
	known  map[*yamlv3.Node]extent // by anchored node
	line   int                     // of the node that broke a limit
}

func (m *measurer) measure(n *yamlv3.Node) (extent, error) {
	if n.Kind == yamlv3.AliasNode {
		n = n.Alias
	}
	if e, ok := m.known[n]; ok {
		if e.open {
			m.line = n.Line
			return e, fmt.Errorf("an alias contains itself")
		}
		return e, nil
	}
	m.known[n] = extent{open: true}
	e := extent{nodes: 1, bytes: int64(len(n.Value)) + 2}
	for _, child := range n.Content {
		inner, err := m.measure(child)
		if err != nil {
			return e, err
		}
		e.nodes += inner.nodes
		e.bytes += inner.bytes
		e.depth = max(e.depth, inner.depth)
	}
	e.depth++
	m.known[n] = e
	if e.nodes > int64(m.limits.Nodes) || e.bytes > m.limits.Bytes || e.depth > m.limits.Depth {
		m.line = n.Line
		return e, fmt.Errorf("the aliases expand to more than %d values, %d bytes or %d levels",
			m.limits.Nodes, m.limits.Bytes, m.limits.Depth)
	}
	return e, nil
}

// converter turns what yaml makes of a document into what encoding/json takes.
type converter struct {
	limits Limits
	nodes  int
}

func (c *converter) convert(value any, depth int) (any, error) {
	c.nodes++
	if c.nodes > c.limits.Nodes {
		return nil, fmt.Errorf("the document has more than %d values", c.limits.Nodes)
	}
	if depth > c.limits.Depth {
		return nil, fmt.Errorf("the document is nested deeper than %d levels", c.limits.Depth)
	}
	var err error
	switch value := value.(type) {
	case map[any]any:
		fields := make(map[string]any, len(value))
		for k, v := range value {
			key, ok := keyText(k)
			if !ok {
				return nil, fmt.Errorf("a key is a %T, not a string", k)
			}
			if _, ok := fields[key]; ok {
				return nil, fmt.Errorf("the key %q is given twice, once not as a string", abbreviate(key))
			}
			if fields[key], err = c.convert(v, depth+1); err != nil {
				return nil, err
			}
		}
		return fields, nil
	case []any:
		for i, v := range value {
			if value[i], err = c.convert(v, depth+1); err != nil {
				return nil, err
			}
		}
		return value, nil
	default:
		return value, nil
	}
}

// keyText writes keys that are no strings as sigs.k8s.io/yaml does.
func keyText(key any) (string, bool) {
	switch key := key.(type) {
	case string:
		return key, true
	case int:
		return strconv.Itoa(key), true
	case int64:
		return strconv.FormatInt(key, 10), true
	case bool:
		return strconv.FormatBool(key), true
	case float64:
		switch text := strconv.FormatFloat(key, 'g', -1, 32); text {
		case "+Inf":
			return ".inf", true
		case "-Inf":
			return "-.inf", true
		case "NaN":
			return ".nan", true
		default:
			return text, true
		}
	default:
		return "", false
	}
}

var (
	yamlLine      = regexp.MustCompile(`line (\d+): `)
	yamlDuplicate = regexp.MustCompile(`key (".*") already set in map`)
	// Complaints of yaml's parser count lines from 0, those of its scanner from 1.
	yamlParser = regexp.MustCompile(`^did not find expected (<|'|key|node)|^found (undefined|duplicate|incompatible)`)
)

// explainYAML gives the first complaint of the parser its line in the file.
func explainYAML(c chunk, err error) error {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	message = strings.TrimPrefix(message, "unmarshal errors:\n  ")
	message, _, _ = strings.Cut(message, "\n")
	position := c.at(firstLine(c.text))
	if m := yamlLine.FindStringSubmatchIndex(message); m != nil {
		line, _ := strconv.Atoi(message[m[2]:m[3]])
		message = message[:m[0]] + message[m[1]:]
		if yamlParser.MatchString(message) {
			line++
		}
		position = c.at(line)
	}
	if strings.HasPrefix(message, "invalid map key") {
		return &Error{position, "a key is a list or map", "use a string"}
	}
	if m := yamlDuplicate.FindStringSubmatch(message); m != nil {
		return &Error{position, fmt.Sprintf("the key %s is given twice", abbreviate(m[1])), "remove one of the two"}
	}
	return &Error{position, abbreviate(message), "correct the YAML"}
}

// firstLine is the first line with content, counted from 1.
func firstLine(text []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if trimmed := bytes.TrimSpace(line); len(trimmed) > 0 && trimmed[0] != '#' {
			return n
		}
	}
	return 1
}
