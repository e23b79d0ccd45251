package redaction

import "regexp"

var (
	// What credentials are called in the configuration of common images.
	credentialName = regexp.MustCompile(`(?i)pass(word|wd|phrase|code)?($|[^a-z]|s$)|pwd|secret|token|credential|api_?-?key|(access|private|signing|encryption|master|account|storage|ssh|auth|client|license)_?-?key|_key$|^key$|auth($|_)|bearer|dsn|conn(ection)?_?-?str|(database|db|redis|mongo(db)?|amqp|broker|postgres(ql)?|mysql)_?-?(url|uri)|salt|jwt|cookie`)
	// What they look like: a password in a URL, PEM, tokens with a prefix of their own, three parts of a JWT.
	credentialValue = regexp.MustCompile(`://[^/\s:@]*:[^/\s@]+@|-----BEGIN |\b(gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA|ASIA|AIza|sk-|sk_live_|rk_live_|npm_|hvs\.)[A-Za-z0-9_\-]{12,}|\beyJ[\w-]+\.[\w-]+\.[\w-]+`)
)

// Credential says whether a variable may hold a credential. It rather takes too many for one: a policy that reads the
// value of such a variable is not replayable, nothing else is lost.
func Credential(name, value string) bool {
	return credentialName.MatchString(name) || credentialValue.MatchString(value)
}
