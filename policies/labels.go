package policies

import (
	"fmt"

	"github.com/go-json-experiment/json"
)

// objectLabels are an object's labels now and before, read at most once and only
// when some instance selects by them.
type objectLabels struct {
	done           bool
	hasNow, hasOld bool // whether there is such an object
	now, old       map[string]string
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
	l.hasNow, l.hasOld = len(r.Object) > 0, len(r.OldObject) > 0
	l.done = true
	return nil
}

func readLabels(raw []byte) (map[string]string, error) {
	metadata, err := readMetadata(raw)
	return metadata.Labels, err
}

// objectMetadata is what the engine itself reads of an object.
type objectMetadata struct {
	Name         string            `json:"name"`
	GenerateName string            `json:"generateName"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
}

// readMetadata reads an object's metadata, empty where there is no object.
func readMetadata(raw []byte) (objectMetadata, error) {
	if len(raw) == 0 {
		return objectMetadata{}, nil
	}
	var object struct {
		Metadata objectMetadata `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return objectMetadata{}, fmt.Errorf("reading the object's metadata: %w", err)
	}
	return object.Metadata, nil
}
