package signer

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// Limits of an identity. Fulcio takes subjects as URLs or addresses; a URL of GitHub with the
// longest names stays under 1 KiB.
const (
	maxIdentityText = 2 << 10
	// minLiteral is how many characters at least a regular expression must spell out. The shortest
	// thing that sets one signer apart is a domain: "@x.io".
	minLiteral = 4
	// maxExpression is how many characters and classes an expression may have once its counts
	// are written out: "(a{1000}){1000}" has a million.
	maxExpression = 10_000
)

// CertificateClaims is what a verified signing certificate says of its holder.
type CertificateClaims struct {
	// Issuer is extension 1.3.6.1.4.1.57264.1.8 (or .1 of old certificates), Subject the only
	// subject alternative name.
	Issuer  string
	Subject string
	// GitHubWorkflow are the extensions .2 to .6, "" where absent.
	GitHubWorkflow GitHubWorkflow
}

// checkedIdentity is an Identity with its expressions compiled. The zero value accepts nobody.
type checkedIdentity struct {
	issuer, subject matcher
	claims          GitHubWorkflow
}

// matcher compares text as a whole: with an expression, else exactly. The zero value matches
// nothing, nor does anything match the empty text (CVE-2025-29778).
type matcher struct {
	exact      string
	expression *regexp.Regexp
	text       string // of the expression, as written
}

func (m *matcher) matches(text string) bool {
	if text == "" {
		return false
	}
	if m.expression != nil {
		return m.expression.MatchString(text)
	}
	return m.exact == text
}

// String says what the text has to do, after "has to".
func (m *matcher) String() string {
	if m.expression != nil {
		return "match " + shorten(m.text) + " as a whole"
	}
	return "be " + shorten(m.exact)
}

func checkIdentity(identity Identity, problem func(place, format string, args ...any)) checkedIdentity {
	var checked checkedIdentity
	pinned := identity.GitHubWorkflow != nil && identity.GitHubWorkflow.Repository != ""
	checked.issuer = checkMatcher("issuer", identity.Issuer, identity.IssuerRegExp, false, problem)
	checked.subject = checkMatcher("subject", identity.Subject, identity.SubjectRegExp, pinned, problem)
	if claims := identity.GitHubWorkflow; claims != nil {
		checked.claims = *claims
		checkClaims(*claims, problem)
	}
	return checked
}

func checkClaims(claims GitHubWorkflow, problem func(place, format string, args ...any)) {
	if claims == (GitHubWorkflow{}) {
		problem("githubWorkflow", "it is empty: name a claim, or remove it")
	}
	for place, claim := range claims.byName() {
		if err := checkPlain(claim); claim != "" && err != nil {
			problem("githubWorkflow."+place, "%v", err)
		}
	}
	for place, claim := range map[string]string{"repository": claims.Repository, "ref": claims.Ref} {
		if strings.Contains(claim, "*") {
			problem("githubWorkflow."+place, "%q has a *, which is compared as it stands: write it out, or use subjectRegExp", shorten(claim))
		}
	}
}

func (w GitHubWorkflow) byName() map[string]string {
	return map[string]string{"trigger": w.Trigger, "sha": w.SHA, "name": w.Name, "repository": w.Repository, "ref": w.Ref}
}

// checkMatcher checks one side of an identity: pinned says that claims name the
// repository, so that the expression may leave open whose it is.
func checkMatcher(what, exact, expression string, pinned bool, problem func(place, format string, args ...any)) matcher {
	switch {
	case exact == "" && expression == "":
		problem(what, "there is none, so anybody would do: write %s, or %sRegExp", what, what)
		return matcher{}
	case exact != "" && expression != "":
		problem(what, "there are both %s and %sRegExp: remove one", what, what)
		return matcher{}
	case exact != "":
		if err := checkExact(what, exact); err != nil {
			problem(what, "%v", err)
			return matcher{}
		}
		return matcher{exact: exact}
	}
	compiled, err := compileAnchored(expression)
	if err == nil {
		err = checkNarrow(compiled, expression, pinned)
	}
	if err != nil {
		problem(what+"RegExp", "%q: %v", shorten(expression), err)
		return matcher{}
	}
	return matcher{expression: compiled, text: expression}
}

func checkExact(what, text string) error {
	if err := checkPlain(text); err != nil {
		return err
	}
	if strings.Contains(text, "*") {
		return fmt.Errorf("%q has a *, which is compared as it stands: use %sRegExp", shorten(text), what)
	}
	return nil
}

func checkPlain(text string) error {
	switch {
	case len(text) > maxIdentityText:
		return fmt.Errorf("it has %d bytes: use at most %d", len(text), maxIdentityText)
	case strings.TrimSpace(text) != text:
		return errors.New("it has spaces around it: remove them")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("it has control characters: remove them")
	}
	return nil
}

// compileAnchored compiles an expression to match a whole text. It is read on its own first:
// "a)|(?:b" is an error and not a way out of the anchors, and "\Q" ends where it ends.
func compileAnchored(text string) (*regexp.Regexp, error) {
	if len(text) > maxIdentityText {
		return nil, fmt.Errorf("it has %d bytes: use at most %d", len(text), maxIdentityText)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("it is no regular expression (%w): see https://github.com/google/re2/wiki/Syntax", err)
	}
	if n := expandedSize(parsed); n > maxExpression {
		return nil, fmt.Errorf("it has %d parts once its counts are written out: use at most %d", n, maxExpression)
	}
	compiled, err := regexp.Compile("^(?:" + parsed.String() + ")$")
	if err != nil {
		return nil, fmt.Errorf("it cannot be compiled (%w): make it shorter", err)
	}
	return compiled, nil
}

// expandedSize counts characters and ranges of classes, with counts written out.
func expandedSize(expression *syntax.Regexp) int {
	size := 1 + len(expression.Rune)
	for _, sub := range expression.Sub {
		size += expandedSize(sub)
	}
	if expression.Op == syntax.OpRepeat {
		size *= max(expression.Min, expression.Max, 1)
	}
	return size
}

// Probes are signers that no trust configuration means: ".invalid" is nobody's
// (RFC 6761, section 6.4), and the owner's name was drawn by lot. An expression that
// matches one leaves open who signs.
var probes = []string{
	"", " ", "\n", "0", "a", "Z", "~", "é", "0123456789abcdef", "zqxjkvbp-7391",
	"http://q7x2mz9k.invalid", "https://q7x2mz9k.invalid", "https://q7x2mz9k.invalid/", "https://q7x2mz9k.invalid/realms/q7x2mz9k",
	"https://q7x2mz9k.invalid/q7x2mz9k/q7x2mz9k/.github/workflows/q7x2mz9k.yml@refs/heads/main",
	"https://q7x2mz9k.invalid/q7x2mz9k/q7x2mz9k//.gitlab-ci.yml@refs/tags/v1.0.0",
	"q7x2mz9k@q7x2mz9k.invalid", "q7x2mz9k@q7x2mz9k.iam.gserviceaccount.com", "Q7x2.Mz9k+1@mail.q7x2mz9k.invalid",
	"spiffe://q7x2mz9k.invalid/ns/q7x2mz9k/sa/q7x2mz9k", "ssh://q7x2mz9k.invalid/1", "q7x2mz9k!q7x2mz9k.invalid",
}

// ownerProbes are signers on hosts where everybody can have an account: an expression
// that matches one trusts the host's every user.
var ownerProbes = []string{
	"https://github.com/q7x2mz9k/q7x2mz9k/.github/workflows/q7x2mz9k.yml@refs/heads/main",
	"https://github.com/q7x2mz9k/q7x2mz9k/.github/workflows/release.yml@refs/tags/v1.2.3",
	"https://github.com/q7x2mz9k/q7x2mz9k/.github/workflows/build.yaml@refs/tags/v1.2.3",
	"https://gitlab.com/q7x2mz9k/q7x2mz9k//.gitlab-ci.yml@refs/heads/main",
	"https://gitlab.com/q7x2mz9k/q7x2mz9k//.gitlab-ci.yml@refs/tags/v1.2.3",
	"q7x2mz9k@gmail.com", "q7x2mz9k@outlook.com", "q7x2mz9k@users.noreply.github.com",
}

// checkNarrow refuses expressions that match everything, or everything that looks like a
// signer, however they are written.
func checkNarrow(compiled *regexp.Regexp, text string, pinned bool) error {
	for _, probe := range probes {
		if compiled.MatchString(probe) {
			return fmt.Errorf("it matches %q, too, so that everybody would be trusted: spell out who it is", probe)
		}
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return err
	}
	if n := literals(parsed); n < minLiteral {
		return fmt.Errorf("it spells out %d characters, which leaves open who it is: spell out at least %d, better the whole beginning", n, minLiteral)
	}
	if pinned {
		return nil
	}
	for _, probe := range ownerProbes {
		if compiled.MatchString(probe) {
			return fmt.Errorf("it matches %q, too: everybody can have an account there, so spell out the owner", probe)
		}
	}
	return nil
}

// literals is how many characters each match has to spell out at least.
func literals(expression *syntax.Regexp) int {
	switch expression.Op {
	case syntax.OpLiteral:
		return len(expression.Rune)
	case syntax.OpCapture, syntax.OpPlus:
		return literals(expression.Sub[0])
	case syntax.OpRepeat:
		return expression.Min * literals(expression.Sub[0])
	case syntax.OpConcat:
		sum := 0
		for _, sub := range expression.Sub {
			sum += literals(sub)
		}
		return sum
	case syntax.OpAlternate:
		least := literals(expression.Sub[0])
		for _, sub := range expression.Sub[1:] {
			least = min(least, literals(sub))
		}
		return least
	default:
		return 0
	}
}

// accepts says why an identity does not accept claims, "" if it does.
func (i *checkedIdentity) accepts(claims *CertificateClaims) string {
	switch {
	case !i.issuer.matches(claims.Issuer):
		return fmt.Sprintf("the issuer has to %s", &i.issuer)
	case !i.subject.matches(claims.Subject):
		return fmt.Sprintf("the subject has to %s", &i.subject)
	}
	for _, claim := range [...]struct{ name, want, got string }{
		{"trigger", i.claims.Trigger, claims.GitHubWorkflow.Trigger},
		{"sha", i.claims.SHA, claims.GitHubWorkflow.SHA},
		{"name", i.claims.Name, claims.GitHubWorkflow.Name},
		{"repository", i.claims.Repository, claims.GitHubWorkflow.Repository},
		{"ref", i.claims.Ref, claims.GitHubWorkflow.Ref},
	} {
		if claim.want != "" && claim.want != claim.got {
			return fmt.Sprintf("the workflow's %s has to be %s and is %s", claim.name, shorten(claim.want), cmp.Or(shorten(claim.got), "not given"))
		}
	}
	return ""
}

// shorten cuts text down to what fits a message, and makes it safe for one: claims and
// expressions come from elsewhere.
func shorten(text string) string {
	const most = 160
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
	if len(text) <= most {
		return text
	}
	cut := most
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
