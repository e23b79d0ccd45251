package gatekeeper

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// imageParts are the parts of an image reference that AssignImage can set, each "" to keep what is there: the domain
// without its slash, the path, and a tag with ":" or a digest with "@" before it.
type imageParts struct {
	domain, path, tag string
}

// What parts may look like. What they must not be is something that, put together and taken apart again, gives other
// parts: then setting them would never come to an end.
var (
	imageDomain = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_-]*\.[A-Za-z0-9_.-]*[A-Za-z0-9_]|localhost)(:[0-9]+)?$`)
	imagePath   = regexp.MustCompile(`^[a-z0-9]+(([._/]|__|-+)[a-z0-9]+)*$`)
	imageTag    = regexp.MustCompile(`^(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,})$`)
)

func (p imageParts) check() error {
	switch {
	case p == imageParts{}:
		return errors.New("parameters: give assignDomain, assignPath or assignTag")
	case p.domain != "" && !imageDomain.MatchString(p.domain):
		return fmt.Errorf("parameters.assignDomain %q is not the name of a registry", p.domain)
	case p.path != "" && !imagePath.MatchString(p.path):
		return fmt.Errorf("parameters.assignPath %q is not the path of an image", p.path)
	case p.tag != "" && !imageTag.MatchString(p.tag):
		return fmt.Errorf("parameters.assignTag %q is not :tag or @digest", p.tag)
	}
	if domain, _ := cutDomain(p.path); p.domain == "" && domain != "" {
		return fmt.Errorf("parameters.assignPath %q begins like a registry: put that into assignDomain", p.path)
	}
	return nil
}

// over puts the parts in place of those of a reference.
func (p imageParts) over(reference string) string {
	domain, rest := cutDomain(reference)
	path, tag := rest, ""
	if at := strings.IndexAny(rest, ":@"); at >= 0 {
		path, tag = rest[:at], rest[at:]
	}
	if p.domain != "" {
		domain = p.domain
	}
	if p.path != "" {
		path = p.path
	}
	if p.tag != "" {
		tag = p.tag
	}
	if domain != "" {
		domain += "/"
	}
	return domain + path + tag
}

// cutDomain takes the registry off a reference: what stands before the first slash and has a dot or a port, or is localhost.
func cutDomain(reference string) (domain, rest string) {
	before, behind, ok := strings.Cut(reference, "/")
	if !ok || !strings.ContainsAny(before, ".:") && before != "localhost" {
		return "", reference
	}
	return before, behind
}
