package journal

import (
	"fmt"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// Case is one decision with all that it was made of, for whoever wants to know why.
type Case struct {
	Line    *Line
	Request admission.Request
	// Facts are those that were recorded. What a policy asks for beyond them is said to be unknown.
	Facts      admission.Facts
	Exceptions []policies.Exception

	archive *archive
}

// OpenCase reads what a decision of a journal names.
func OpenCase(dir string, line *Line) (*Case, error) {
	archive, err := newArchive(dir)
	if err != nil {
		return nil, err
	}
	request, err := archive.request(line.Decision)
	if err != nil {
		return nil, fmt.Errorf("reading the request of %s: %w", line.Decision.ID, err)
	}
	exceptions, err := archive.exceptionsOf(line.Decision)
	if err != nil {
		return nil, fmt.Errorf("reading the exceptions of %s: %w", line.Decision.ID, err)
	}
	request.Redacted = append(request.Redacted, redactedFacts(line.Decision)...)
	return &Case{Line: line, Request: request, Facts: recorded{archive, line.Decision}, Exceptions: exceptions, archive: archive}, nil
}

// Image is what was known of an image, by the digest that a decision names.
func (c *Case) Image(digest string) (*policies.ImageFacts, error) { return c.archive.image(digest) }
