package signer

import (
	"errors"
	"fmt"
)

// Images are checked patterns of images, as in [Authority.Images]. The zero value matches none.
type Images struct{ patterns []pattern }

// ParseImages checks patterns. All mistakes are reported together.
func ParseImages(texts []string) (Images, error) {
	var images Images
	var mistakes []error
	for _, text := range texts {
		p, err := parsePattern(text)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("the pattern %q: %w", text, err))
			continue
		}
		images.patterns = append(images.patterns, p)
	}
	if len(mistakes) > 0 {
		return Images{}, errors.Join(mistakes...)
	}
	return images, nil
}

// Match says whether one of the patterns is the image's. Both arguments are canonical, as in workload.Image.
func (i Images) Match(registry, repository string) bool {
	return anyMatches(i.patterns, splitImage(nil, registry, repository))
}
