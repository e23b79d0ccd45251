package workload

import "strings"

// splitCommon takes an ordinary reference apart, several times faster than the
// regular expressions of github.com/distribution/reference, which would take a
// tenth of the time of a pod. Whatever it is not sure of (not true) goes there; a
// fuzz target holds the two against each other.
func splitCommon(text string) (image Image, sure bool) {
	const longest = 200 // the grammar's limits begin beyond
	if len(text) > longest {
		return image, false
	}
	name, digest, digested := strings.Cut(text, "@")
	if digested && !isSHA256(digest) {
		return image, false
	}
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		image.Tag, name = name[colon+1:], name[:colon]
		if !isTag(image.Tag) {
			return image, false
		}
	}
	image.Text, image.Digest = text, digest
	image.Registry, image.Repository = hub, name
	first, rest, slash := strings.Cut(name, "/")
	switch {
	case !slash:
		image.Repository = "library/" + name
	case strings.IndexByte(first, '.') >= 0:
		image.Registry, image.Repository = first, rest
	case first == "localhost" || strings.IndexByte(first, ':') >= 0:
		return image, false
	}
	if !isDomain(image.Registry) || !isRepository(image.Repository) || !slash && len(name) == 64 {
		return image, false
	}
	return image, true
}

func isSHA256(digest string) bool {
	encoded, ok := strings.CutPrefix(digest, "sha256:")
	if !ok || len(encoded) != 64 {
		return false
	}
	for i := range len(encoded) {
		if c := encoded[i]; !(isDigit(c) || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

// isTag is [\w][\w.-]{0,127}.
func isTag(tag string) bool {
	if tag == "" || len(tag) > 128 || tag[0] == '.' || tag[0] == '-' {
		return false
	}
	for i := range len(tag) {
		if c := tag[i]; !(isLower(c) || isDigit(c) || 'A' <= c && c <= 'Z' || c == '_' || c == '.' || c == '-') {
			return false
		}
	}
	return true
}

// isDomain is a lower-case host name without port.
func isDomain(domain string) bool {
	edge := true // at the beginning or end of a label
	for i := range len(domain) {
		switch c := domain[i]; {
		case isLower(c) || isDigit(c):
			edge = false
		case edge:
			return false
		case c == '.':
			if domain[i-1] == '-' {
				return false
			}
			edge = true
		case c != '-':
			return false
		}
	}
	return !edge && domain[len(domain)-1] != '-'
}

// isRepository is a path whose components are letters and digits, with single
// separators between them. The grammar also takes "__" and "--": not sure.
func isRepository(repository string) bool {
	edge := true // a letter or digit has to follow
	for i := range len(repository) {
		switch c := repository[i]; {
		case isLower(c) || isDigit(c):
			edge = false
		case edge:
			return false
		case c == '/' || c == '.' || c == '_' || c == '-':
			edge = true
		default:
			return false
		}
	}
	return !edge
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
