package journal

import (
	"context"
	"fmt"
	"io"
)

// Stream is a sink that writes lines to a stream, as standard output.
type Stream struct {
	name   string
	writer io.Writer
}

// NewStream makes one. name is its label in metrics.
func NewStream(name string, writer io.Writer) *Stream { return &Stream{name: name, writer: writer} }

// Name implements [Sink].
func (s *Stream) Name() string { return s.name }

// Send implements [Sink]. What was written in part cannot be taken back: lines after an error are refused.
func (s *Stream) Send(_ context.Context, entries []Entry) error {
	var buffer []byte
	for _, entry := range entries {
		buffer = append(append(buffer, entry.Line...), '\n')
	}
	if _, err := s.writer.Write(buffer); err != nil {
		return fmt.Errorf("writing lines of the journal to %s: %w: %w", s.name, err, ErrRefused)
	}
	return nil
}
