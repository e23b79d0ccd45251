package clusterimagepolicy

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// images are the patterns of a policy: repositories that hold at least the images its globs match.
func (i *importer) images(p *policy) []string {
	var patterns []string
	if len(p.Spec.Images) == 0 {
		i.problem(p.name, "spec.images", "there are none: a policy about nothing demands nothing: remove it")
	}
	for n, image := range p.Spec.Images {
		place := fmt.Sprintf("spec.images[%d].glob", n)
		pattern, wider, err := convertGlob(image.Glob)
		if err != nil {
			i.problem(p.name, place, "%q: %w", image.Glob, err)
			continue
		}
		if wider != "" {
			i.note(p.name, place, "%q becomes %q: %s", image.Glob, pattern, wider)
		}
		if !slices.Contains(patterns, pattern) {
			patterns = append(patterns, pattern)
		}
	}
	return patterns
}

// globGrammar is what policy-controller takes for a glob (pkg/apis/glob/glob.go), and the sign before a digest.
var globGrammar = regexp.MustCompile(`^[a-zA-Z0-9_:/*.@-]+$`)

// convertGlob gives the pattern of repositories that covers all images of a glob. There "*" is any text without a slash, a
// tag included, and "**" any text; the whole reference is compared, with index.docker.io for Docker Hub. wider says why
// the pattern has more than the glob, "" if it has not.
func convertGlob(glob string) (pattern, wider string, err error) {
	switch {
	case !globGrammar.MatchString(glob):
		return "", "", fmt.Errorf("it is no glob of policy-controller")
	case glob != strings.ToLower(withoutTag(glob))+glob[len(withoutTag(glob)):]:
		return "", "", fmt.Errorf("no image has upper-case letters: write %q", strings.ToLower(glob))
	case glob == "*":
		return "docker.io/library/*", "", nil
	case glob == "*/*":
		return "docker.io/*/*", "", nil
	case glob == "**":
		return "**", "", nil
	}
	repository := withoutTag(glob)
	switch tag := glob[len(repository):]; {
	case tag != "":
		wider = fmt.Sprintf("the requirement is about all tags and digests of the repository, not only %s", tag)
	case !strings.HasSuffix(repository, "*"):
		wider = "the requirement is about all tags and digests of the repository"
	case strings.Contains(repository, "/**/"):
		wider = "** may stand for no folder at all, too"
	}
	pattern, hub := canonical(repository)
	if hub {
		wider = strings.TrimPrefix(wider+"; without a registry it is Docker Hub's, however the image is written", "; ")
	}
	if pattern, err = segments(pattern); err != nil {
		return "", "", err
	}
	return pattern, wider, nil
}

// withoutTag is a glob without ":TAG" or "@DIGEST". A colon before the last slash is that of a port.
func withoutTag(glob string) string {
	if name, _, found := strings.Cut(glob, "@"); found {
		glob = name
	}
	if colon := strings.LastIndexByte(glob, ':'); colon > strings.LastIndexByte(glob, '/') {
		return glob[:colon]
	}
	return glob
}

// canonical writes Docker Hub's host; hub says that there was none.
func canonical(repository string) (canonical string, hub bool) {
	registry, rest, found := strings.Cut(repository, "/")
	switch {
	case !found && !strings.ContainsAny(registry, ".:") && !strings.Contains(registry, "**") && registry != "localhost":
		return "docker.io/library/" + repository, true
	case registry == "index.docker.io":
		return "docker.io/" + rest, false
	case found && !strings.ContainsAny(registry, ".:*") && registry != "localhost":
		return "docker.io/" + repository, true
	}
	return repository, false
}

// segments writes "**" as patterns have it, for whole segments: "acme**" at the end becomes "acme*/**", which is the same and
// whatever is below.
func segments(repository string) (string, error) {
	parts := strings.Split(repository, "/")
	last := len(parts) - 1
	for n, part := range parts {
		switch {
		case part == "**" && n > 0, !strings.Contains(part, "**"):
		case n == last && n > 0 && strings.Count(part, "**") == 1 && strings.HasSuffix(part, "**"):
			parts[n] = strings.TrimSuffix(part, "**") + "*/**"
		default:
			return "", fmt.Errorf("%q stands where a pattern has whole segments only: write the registries and folders out, like %q", "**", "ghcr.io/acme/**")
		}
	}
	return strings.Join(parts, "/"), nil
}

// expression converts one that policy-controller looks for anywhere in a text to one that has to match the whole of it. What
// is open at its end is completed; at its beginning it has to be anchored, since whoever can choose what stands before it is
// trusted.
func (i *importer) expression(p *policy, place, text string) string {
	if text == "" {
		return ""
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		i.problem(p.name, place, "%q is no regular expression (%w)", text, err)
		return ""
	}
	begins, ends := anchors(parsed)
	switch {
	case !begins:
		i.problem(p.name, place, "%q matches in the middle of a text, too, so that whoever chooses what stands before is trusted: begin it with ^, alternatives in brackets", text)
		return ""
	case !ends:
		i.note(p.name, place, "%q is open at its end and becomes %q, which is the same: end it with $ to trust less", text, text+".*")
		return text + ".*"
	}
	return text
}

// anchors say whether an expression can only match at the beginning of a text, and whether it takes all of it to its end. ".*" is
// as good as an anchor: it says what is meant.
func anchors(expression *syntax.Regexp) (begins, ends bool) {
	parts := []*syntax.Regexp{expression}
	if expression.Op == syntax.OpConcat {
		parts = expression.Sub
	}
	first, last := parts[0], parts[len(parts)-1]
	return first.Op == syntax.OpBeginText || anything(first), last.Op == syntax.OpEndText || anything(last)
}

func anything(expression *syntax.Regexp) bool {
	return expression.Op == syntax.OpStar && (expression.Sub[0].Op == syntax.OpAnyCharNotNL || expression.Sub[0].Op == syntax.OpAnyChar)
}
