package signer

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Limits of one pattern. A registry has at most 255 characters (RFC 1035, section 2.3.4) and a port,
// a repository 255 (github.com/distribution/reference, NameTotalLengthMax).
const (
	maxPattern  = 520
	maxSegments = 64
)

// anyImage is the pattern of every image of every registry.
const anyImage = "**"

// pattern is a checked pattern of images: see [Authority.Images].
type pattern struct {
	text     string
	registry string   // with "*" for parts of a host's labels; "**" in a pattern of every image
	segments []string // of the repository
}

// The grammar of github.com/distribution/reference: a component of a repository, where
// a wildcard stands for a letter, and the host of a registry, where it stands in a label.
var (
	componentGrammar = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	labelGrammar     = regexp.MustCompile(`^[a-z0-9*](?:[a-z0-9*-]*[a-z0-9*])?$`)
	addressGrammar   = regexp.MustCompile(`^\[[0-9a-f:]+\]$`)
)

// hubNames are other names of Docker Hub, which never stand in a canonical reference.
var hubNames = map[string]bool{"index.docker.io": true, "registry-1.docker.io": true, "registry.hub.docker.com": true}

// parsePattern reads a pattern. What could never match a canonical reference is
// refused with the spelling that would, instead of silently matching nothing.
func parsePattern(text string) (pattern, error) {
	if err := spelling(text); err != nil {
		return pattern{}, err
	}
	if text == anyImage {
		return pattern{text: text, registry: anyImage, segments: []string{anyImage}}, nil
	}
	registry, repository, found := strings.Cut(text, "/")
	if !namesRegistry(registry) {
		return pattern{}, fmt.Errorf("it names no registry: write %q for Docker Hub, or begin with the registry's host", hubSpelling(text))
	}
	if !found && registry != "*" {
		return pattern{}, fmt.Errorf("it names no repository: write %q for all of the registry", registry+"/**")
	}
	if err := checkRegistry(registry, repository); err != nil {
		return pattern{}, err
	}
	p := pattern{text: text, registry: registry, segments: strings.Split(repository, "/")}
	if len(p.segments) > maxSegments {
		return pattern{}, fmt.Errorf("it has %d segments: use at most %d", len(p.segments), maxSegments)
	}
	for _, segment := range p.segments {
		if err := checkSegment(segment); err != nil {
			return pattern{}, err
		}
	}
	if registry == "docker.io" && len(p.segments) == 1 && p.segments[0] != "**" {
		return pattern{}, fmt.Errorf("repositories of Docker Hub have two segments: write %q", "docker.io/library/"+p.segments[0])
	}
	return p, nil
}

// spelling refuses what no canonical name of a repository has.
func spelling(text string) error {
	switch {
	case text == "":
		return fmt.Errorf("it is empty: write something like %q", "ghcr.io/acme/**")
	case len(text) > maxPattern:
		return fmt.Errorf("it has %d bytes: use at most %d", len(text), maxPattern)
	}
	for _, r := range text {
		if r <= ' ' || r >= 0x7f {
			return fmt.Errorf("it has the character %q (%U): use ASCII letters, digits and . _ - * / : only", r, r)
		}
	}
	if scheme, rest, found := strings.Cut(text, "://"); found {
		return fmt.Errorf("it begins with %q: write %q", scheme+"://", rest)
	}
	if name, _, found := strings.Cut(text, "@"); found {
		return fmt.Errorf("it has a digest: patterns name repositories, write %q", name)
	}
	if slash, colon := strings.LastIndexByte(text, '/'), strings.LastIndexByte(text, ':'); colon > slash && slash >= 0 {
		return fmt.Errorf("it has a tag: patterns name repositories, write %q", text[:colon])
	}
	if lower := strings.ToLower(text); lower != text {
		return fmt.Errorf("it has upper-case letters, which no image has: write %q", lower)
	}
	return nil
}

// namesRegistry is the rule by which a reference's first segment is a registry and not
// a part of the repository (github.com/distribution/reference, splitDockerDomain).
func namesRegistry(segment string) bool {
	return segment == "localhost" || strings.ContainsAny(segment, ".:[") || segment == "*" || segment == "**"
}

// hubSpelling is how a pattern without registry is written for Docker Hub.
func hubSpelling(text string) string {
	if !strings.Contains(text, "/") {
		text = "library/" + text
	}
	return "docker.io/" + text
}

// checkRegistry wants the canonical host of a registry, lower case, with a port only where
// it is not 443. A wildcard stands for one label of a host, or a part of one, left of
// the last two labels: "*.example.com" is a.example.com, and neither
// a.b.example.com nor example.com.evil.org. In any registry at all a path proves
// nothing, since everybody can have a registry: "*/acme/**" would be whoever likes to
// call a folder so.
func checkRegistry(registry, repository string) error {
	if registry == "*" || registry == "**" {
		return fmt.Errorf("its registry is any: everybody can have a registry with such a path, so write the registry's host, or %q alone for every image there is", anyImage)
	}
	if hubNames[registry] {
		return fmt.Errorf("the registry is Docker Hub, docker.io in canonical references: write %q", canonicalHub(repository))
	}
	host, port := registry, ""
	if colon := strings.LastIndexByte(registry, ':'); colon >= 0 && !strings.HasSuffix(registry, "]") {
		host, port = registry[:colon], registry[colon+1:]
		number, err := strconv.Atoi(port)
		if err != nil || number < 1 || number > 65535 || strconv.Itoa(number) != port {
			return fmt.Errorf("the registry's port %q is none: use 1 to 65535", port)
		}
		if number == 443 && (strings.ContainsAny(host, ".[") || host == "localhost") {
			return fmt.Errorf("443 is the default port, which canonical references leave out: write %q", host+"/"+repository)
		}
	}
	if addressGrammar.MatchString(host) {
		return nil
	}
	labels := strings.Split(host, ".")
	for i, label := range labels {
		if !labelGrammar.MatchString(label) {
			return fmt.Errorf("%q is no host: write one like %q", host, "registry.example.com")
		}
		if strings.Contains(label, "**") {
			return fmt.Errorf("%q stands for segments of a path: write %q for one label of a host", "**", "*")
		}
		if strings.Contains(label, "*") && i >= len(labels)-2 {
			return fmt.Errorf("a wildcard in the last two labels of the host %q would trust other people's domains: write them out", host)
		}
	}
	return nil
}

func canonicalHub(repository string) string {
	if !strings.Contains(repository, "/") && repository != "**" {
		repository = "library/" + repository
	}
	return "docker.io/" + repository
}

func checkSegment(segment string) error {
	switch {
	case segment == "":
		return fmt.Errorf("it has an empty segment: remove the slash that is too much")
	case segment == "**":
		return nil
	case strings.Contains(segment, "**"):
		return fmt.Errorf("the segment %q has %q beside other characters: write %q for a part of a segment", segment, "**", "*")
	}
	// A wildcard may stand for nothing or for separators, too: "app-*".
	literal := strings.ReplaceAll(segment, "*", "x")
	if !componentGrammar.MatchString(literal) {
		return fmt.Errorf("the segment %q is in no repository's name: use lower-case letters, digits and single . _ - between them", segment)
	}
	return nil
}

// matches says whether the segments of an image, its registry first, are of the pattern.
func (p *pattern) matches(image []string) bool {
	if p.registry == anyImage {
		return len(image) > 1
	}
	return len(image) > 1 && matchHost(p.registry, image[0]) && matchSegments(p.segments, image[1:])
}

// expression is the pattern as an anchored regular expression, for comparing patterns.
func (p *pattern) expression() string {
	if p.registry == anyImage {
		return "^.+$"
	}
	var text strings.Builder
	text.WriteString("^")
	for i, label := range strings.Split(p.registry, ".") {
		if i > 0 {
			text.WriteString(`\.`)
		}
		text.WriteString(globExpression(label, "[^/.:]*"))
	}
	for _, segment := range p.segments {
		if segment == "**" {
			text.WriteString("(?:/[^/]+)*")
		} else {
			text.WriteString("/" + globExpression(segment, "[^/]*"))
		}
	}
	text.WriteString("$")
	return text.String()
}

// globExpression writes any for each wildcard.
func globExpression(text, any string) string {
	return strings.ReplaceAll(regexp.QuoteMeta(text), `\*`, any)
}

// matchHost compares label by label, so that a wildcard never reaches over a dot.
func matchHost(pattern, host string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == host
	}
	for {
		label, morePattern, patternGoesOn := strings.Cut(pattern, ".")
		part, moreHost, hostGoesOn := strings.Cut(host, ".")
		if patternGoesOn != hostGoesOn || part == "" || !matchText(label, part) {
			return false
		}
		if !patternGoesOn {
			return true
		}
		pattern, host = morePattern, moreHost
	}
}

// matchSegments goes back to the last "**" only, which is enough and keeps the work
// within len(pattern)*len(segments).
func matchSegments(pattern, segments []string) bool {
	p, s, star, mark := 0, 0, -1, 0
	for s < len(segments) {
		switch {
		case p < len(pattern) && pattern[p] == "**":
			star, mark = p, s
			p++
		case p < len(pattern) && matchText(pattern[p], segments[s]):
			p++
			s++
		case star >= 0:
			mark++
			p, s = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == "**" {
		p++
	}
	return p == len(pattern)
}

// matchText compares one segment, where "*" stands for any characters or none.
func matchText(pattern, text string) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && pattern[p] == text[t]:
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// splitImage gives the segments of an image in buffer, its registry first.
func splitImage(buffer []string, registry, repository string) []string {
	segments := append(buffer[:0], registry)
	for rest, more := repository, true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		segments = append(segments, segment)
	}
	return segments
}

// anyMatches says whether one of the patterns is the image's.
func anyMatches(patterns []pattern, image []string) bool {
	for i := range patterns {
		if patterns[i].matches(image) {
			return true
		}
	}
	return false
}
