package scanner

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/package-url/packageurl-go"
	"github.com/portcullis-dev/portcullis/signer"
	"go.yaml.in/yaml/v3"
)

// ignore is an entry of a file of ignores.
type ignore struct {
	Ignore
	pkg    string
	purl   *component
	images *signer.Images // nil for all
}

// writtenIgnore is how people write it.
type writtenIgnore struct {
	ID string `yaml:"id"`
	// Package is the name as reports give it, PURL a package URL, whose version may be left out; one or none.
	Package string   `yaml:"package"`
	PURL    string   `yaml:"purl"`
	Images  []string `yaml:"images"`
	Reason  string   `yaml:"reason"`
	Owner   string   `yaml:"owner"`
	Expires string   `yaml:"expires"`
}

// readIgnores reads a file of ignores: a YAML list. All mistakes are reported together.
func readIgnores(content []byte) ([]*ignore, error) {
	if len(content) > maxDocument {
		return nil, fmt.Errorf("the file has %d bytes where %d are allowed", len(content), maxDocument)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	var written []writtenIgnore
	if err := decoder.Decode(&written); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the file is empty: write a list of ignores, or remove it")
		}
		return nil, fmt.Errorf("reading ignores: %w", err)
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file has more than one document: write one list")
	}
	var list []*ignore
	var mistakes []error
	for i := range written {
		one, err := written[i].check()
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("[%d]: %w", i, err))
			continue
		}
		list = append(list, one)
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return list, nil
}

func (w *writtenIgnore) check() (*ignore, error) {
	var mistakes []error
	report := func(format string, args ...any) { mistakes = append(mistakes, fmt.Errorf(format, args...)) }
	one := &ignore{Ignore: Ignore{ID: strings.TrimSpace(w.ID), Reason: strings.TrimSpace(w.Reason), Owner: strings.TrimSpace(w.Owner), Expires: w.Expires}, pkg: w.Package}
	if one.ID == "" {
		report("id is missing: name the vulnerability, as CVE-2026-1234")
	}
	if strings.ContainsAny(one.ID, "*? ") {
		report("id %q is a pattern: name one vulnerability", abbreviate(one.ID))
	}
	if one.Reason == "" {
		report("reason is missing: say why this can be lived with")
	}
	if one.Owner == "" {
		report("owner is missing: say who looks at it again")
	}
	if t, err := time.Parse(time.DateOnly, w.Expires); err != nil || t.Format(time.DateOnly) != w.Expires {
		report("expires is %q: write the first day on which it no longer counts, like 2026-12-31", abbreviate(w.Expires))
	}
	if w.Package != "" && w.PURL != "" {
		report("package and purl are both there: leave one out")
	}
	if w.PURL != "" {
		p, err := packageurl.FromString(w.PURL)
		switch {
		case err != nil:
			report("purl %q is none: %w", abbreviate(w.PURL), err)
		case p.Type == packageurl.TypeOCI || p.Type == packageurl.TypeDocker:
			report("purl %q is that of an image: write a pattern into images", abbreviate(w.PURL))
		}
		one.purl = &component{purls: []packageurl.PackageURL{p}}
	}
	if w.Images != nil {
		images, err := signer.ParseImages(w.Images)
		if err != nil {
			report("images: %w", err)
		}
		if len(w.Images) == 0 {
			report("images is empty: leave it out for all images, or name some")
		}
		one.images = &images
	}
	return one, errors.Join(mistakes...)
}

// lastingIgnore is the entry about a vulnerability that lasts longest, nil for none.
func lastingIgnore(v *Vulnerability, s *subject, list []*ignore) *Ignore {
	var best *Ignore
	for _, one := range list {
		if one.about(v, s) && (best == nil || one.Expires > best.Expires) {
			best = &one.Ignore
		}
	}
	if best == nil {
		return nil
	}
	found := *best
	return &found
}

func (i *ignore) about(v *Vulnerability, s *subject) bool {
	if i.images != nil && !i.images.Match(s.image.Registry, s.image.Repository) {
		return false
	}
	if i.pkg != "" && i.pkg != v.Package {
		return false
	}
	if i.purl == nil {
		return true
	}
	found, err := packageurl.FromString(v.PURL)
	return err == nil && i.purl.pkg(&found)
}
