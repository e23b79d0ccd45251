package parse

import (
	"bytes"
	"fmt"

	"github.com/tmccombs/hcl2json/convert"
)

// maxSigns bounds what the parser calls itself for without a bracket: negations, conditions, and signs in a row.
const maxSigns = 10_000

// maxDirectives bounds %{if} and %{for}: reading those within each other takes the square of their number.
const maxDirectives = 2_000

// readHCL2 reads HCL 2 and Terraform. Blocks are lists below their labels; what would have to be evaluated is text, as
// written in ${…}.
func readHCL2(content []byte) (any, error) {
	if err := checkNesting(content); err != nil {
		return nil, err
	}
	if max(bytes.Count(content, []byte("!")), bytes.Count(content, []byte("?")), minusSigns(content)) > maxSigns {
		return nil, fmt.Errorf("it has more than %d signs: split the file", maxSigns)
	}
	if bytes.Count(content, []byte("%{")) > maxDirectives {
		return nil, fmt.Errorf("it has more than %d directives in templates: split the file", maxDirectives)
	}
	raw, err := convert.Bytes(content, "", convert.Options{})
	if err != nil {
		return nil, err
	}
	return decode(raw)
}

// minusSigns is the longest run of minus signs, whatever space is between them.
func minusSigns(content []byte) int {
	longest, now := 0, 0
	for _, c := range content {
		switch c {
		case '-':
			now++
			longest = max(longest, now)
		case ' ', '\t', '\r', '\n':
		default:
			now = 0
		}
	}
	return longest
}
