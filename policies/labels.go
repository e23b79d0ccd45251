package policies

import (
	"fmt"

	"github.com/go-json-experiment/json"
)

// objectLabels are an object's labels now and before, read at most once and only
// when some instance selects by them.
type objectLabels struct {
	done     bool
	now, old map[string]string
}

func (l *objectLabels) read(r *Request) error {
	if l.done {
		return nil
	}
	var err error
	if l.now, err = readLabels(r.Object); err != nil {
		return err
	}
	if l.old, err = readLabels(r.OldObject); err != nil {
		return err
	}
	l.done = true
	return nil
}

func readLabels(raw []byte) (map[string]string, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var object struct {
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, fmt.Errorf("reading the object's labels: %w", err)
	}
	return object.Metadata.Labels, nil
}
