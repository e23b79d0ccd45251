package parse

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/net/html/charset"
)

// element is an XML element under way.
type element struct {
	label    string
	text     string
	children map[string][]any
}

func (e *element) add(label string, value any) {
	if e.children == nil {
		e.children = map[string][]any{}
	}
	e.children[label] = append(e.children[label], value)
}

// value is a text, or an object where there are children or attributes: these with "-" before their name, a text beside
// them as "#content". Namespaces are left out; what is there several times is a list. Of a text that children interrupt
// the last part counts, as in Conftest (github.com/basgys/goxml2json).
func (e *element) value() any {
	if len(e.children) == 0 {
		return e.text
	}
	object := map[string]any{}
	if e.text != "" {
		object["#content"] = e.text
	}
	for label, values := range e.children {
		if len(values) == 1 {
			object[label] = values[0]
		} else {
			object[label] = values
		}
	}
	return object
}

// readXML gives an object with the root element.
func readXML(content []byte) (any, error) {
	decoder := xml.NewDecoder(bytes.NewReader(content))
	decoder.CharsetReader = charset.NewReaderLabel
	open := []*element{{}}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		top := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			if len(open) > maxNesting {
				return nil, fmt.Errorf("it is nested deeper than %d", maxNesting)
			}
			child := &element{label: token.Name.Local}
			for _, attribute := range token.Attr {
				child.add("-"+attribute.Name.Local, attribute.Value)
			}
			open = append(open, child)
		case xml.CharData:
			if len(open) > 1 {
				top.text = strings.TrimFunc(string(token), invisible)
			}
		case xml.EndElement:
			open = open[:len(open)-1]
			open[len(open)-1].add(top.label, top.value())
		}
	}
	if len(open[0].children) == 0 {
		return nil, errors.New("it has no element")
	}
	return remarshal(open[0].value())
}

func invisible(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }
