package redaction

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// maxLine is how much of a line is looked at with expressions; most of a longer one is replaced as a whole. Logs of programs have
// lines of some hundred bytes; a line that holds a dump may hold anything.
const maxLine = 64 << 10

// secretWord is a name that ends in a word for credentials, as it stands in variables, flags, headers and keys of JSON.
const secretWord = `[\w.-]*(?:passw(?:or)?d|passphrase|passcode|pwd|secret|token|credentials?|api[_-]?key|(?:access|private|signing|encryption|master|account|storage|auth|client|license)[_-]?key|(?:access|secret)[_-]?key[_-]?id|bearer|jwt|dsn|cookie|session[_-]?id|connection[_-]?string|authorization)`

// value is what follows such a name: in quotes, or up to where an argument, a field or a query parameter ends.
const value = `("(?:[^"\\]|\\.)*"?|'[^']*'?|\\"[^"]*?\\"|[^\s"',;&|)}\]]+)`

// privateKey is one up to the end of the block, or of the text.
var privateKey = regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(.*?)(?:-----END |\z)`)

// privateKeyEnd is the end of one whose beginning was cut off, at the beginning of a text.
var privateKeyEnd = regexp.MustCompile(`\A([A-Za-z0-9+/=\s:.-]{16,}?)-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----`)

// The places of credentials in a line of text: words without one of which, in lower case, the line has no such place, and the group of the
// expression that is replaced.
var linePatterns = []struct {
	mentions   []string
	expression *regexp.Regexp
	group      int
}{
	// Authorization: Basic dXNlcjpwYXNz, Authorization: Bearer eyJ…; also without the header's name.
	{[]string{"bearer", "basic", "negotiate", "aws4"}, regexp.MustCompile(`(?i)\b(?:bearer|basic|negotiate|aws4-hmac-sha256)\s+([\w+/=.~:-]{6,})`), 1},
	// password=hunter2, "apiKey": "hunter2", DB_PASSWORD: hunter2.
	{secretWords, regexp.MustCompile(`(?i)(?:^|[^\w])` + secretWord + `\\?["']?\s*(?:=|:|=>)\s*` + value), 1},
	// --token hunter2
	{secretWords, regexp.MustCompile(`(?i)(?:^|\s)--?` + secretWord + `\s+` + value), 1},
	// https://ann:hunter2@example.org
	{[]string{"://"}, regexp.MustCompile(`://[^/\s:@"']*:([^/\s@"']+)@`), 1},
	// curl -u ann:hunter2, --user ann:hunter2, wget --proxy-user …
	{[]string{"-u", "-user"}, regexp.MustCompile(`(?:^|\s)(?:-u|--user|--proxy-user)[\s=]*[^\s:"']+:([^\s"']+)`), 1},
	// mysql -phunter2, sshpass -p hunter2, redis-cli -a hunter2: flags whose name says nothing.
	{[]string{"mysql", "mariadb"}, regexp.MustCompile(`\b(?:mysql|mysqldump|mysqladmin|mariadb)\b.*?\s-p([^\s"']+)`), 1},
	{[]string{"sshpass"}, regexp.MustCompile(`\bsshpass\b.*?\s-p\s*([^\s"']+)`), 1},
	{[]string{"redis-cli"}, regexp.MustCompile(`\bredis-cli\b.*?\s-a\s+([^\s"']+)`), 1},
	// echo hunter2 | docker login --password-stdin
	{[]string{"echo"}, regexp.MustCompile(`\becho\s+(?:-\w+\s+)*` + value + `\s*\|.*(?:--password-stdin|sudo\s+-S|passwd|chpasswd)`), 1},
	// Tokens that are known by how they begin, and those that come in three parts.
	{[]string{"gh", "glpat-", "xox", "sk-", "k_live_", "npm_", "hvs.", "hvb.", "dop_v1_", "shpat_", "pypi-", "aiza"},
		regexp.MustCompile(`\b((?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|sk-|sk_live_|rk_live_|npm_|hvs\.|hvb\.|dop_v1_|shpat_|pypi-|AIza)[A-Za-z0-9_.\-]{12,})`), 1},
	{[]string{"akia", "asia", "aroa"}, regexp.MustCompile(`\b((?:AKIA|ASIA|AROA)[A-Z0-9]{12,})`), 1},
	{[]string{"eyj"}, regexp.MustCompile(`\b(eyJ[\w-]{8,}\.[\w-]+\.[\w-]*)`), 1},
}

// secretWords are what secretWord has in it.
var secretWords = []string{"passw", "passphrase", "passcode", "pwd", "secret", "token", "credential", "key", "bearer", "jwt", "dsn", "cookie", "session", "connection", "authorization"}

// Text replaces what looks like a credential in free text: a log, a command line, a message. A value goes on to the end of its line at most.
func (r *Redactor) Text(text string) string {
	if strings.Contains(text, "PRIVATE KEY") {
		text = r.pattern(r.pattern(text, privateKey, 1), privateKeyEnd, 1)
	}
	var out strings.Builder
	rest := 0 // where what is not written yet begins
	for _, line := range suspiciousLines(text) {
		out.WriteString(text[rest:line.from])
		out.WriteString(r.line(text[line.from:line.to], line.patterns))
		rest = line.to
	}
	if rest == 0 {
		return text
	}
	out.WriteString(text[rest:])
	return out.String()
}

// Argument replaces what looks like a credential in an argument of a command line, given the argument before: "--password", "hunter2".
func (r *Redactor) Argument(before, argument string) string {
	argument = r.Text(argument)
	if !strings.HasPrefix(before, "-") || strings.ContainsAny(before, " \t\n=") {
		return argument
	}
	if after, ok := strings.CutPrefix(r.Text(before+" "+argument), before+" "); ok {
		return after
	}
	return argument
}

// span is a line in a text, with the patterns (bits, by their place in linePatterns) that may find something in it.
type span struct {
	from, to int
	patterns uint
}

// suspiciousLines are those that mention anything of credentials and those that are too long, in order. Most lines of a log are neither.
func suspiciousLines(text string) []span {
	lower := asciiLower(text)
	found := map[int]span{}
	note := func(line span, pattern uint) {
		line.patterns = found[line.from].patterns | pattern
		found[line.from] = line
	}
	for n, pattern := range linePatterns {
		for _, mention := range pattern.mentions {
			for at := 0; at < len(text); {
				next := strings.Index(lower[at:], mention)
				if next < 0 {
					break
				}
				line := lineAround(text, at+next)
				note(line, 1<<n)
				at = line.to
			}
		}
	}
	for from := 0; len(text)-from > maxLine; {
		if end := strings.LastIndexByte(text[from:from+maxLine], '\n'); end >= 0 {
			from += end + 1
			continue
		}
		line := lineAround(text, from)
		note(line, 0)
		from = line.to
	}
	return slices.SortedFunc(maps.Values(found), func(a, b span) int { return a.from - b.from })
}

// lineAround is the line of a byte, its end included.
func lineAround(text string, at int) span {
	from := strings.LastIndexByte(text[:at], '\n') + 1
	if end := strings.IndexByte(text[at:], '\n'); end >= 0 {
		return span{from: from, to: at + end + 1}
	}
	return span{from: from, to: len(text)}
}

// asciiLower is a text with its ASCII letters in lower case, byte for byte.
func asciiLower(text string) string {
	lower := []byte(text)
	for n, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[n] = c + 'a' - 'A'
		}
	}
	return string(lower)
}

func (r *Redactor) line(line string, patterns uint) string {
	if len(line) > maxLine {
		tail := ""
		if strings.HasSuffix(line, "\n") {
			tail = "\n"
		}
		kept := strings.ToValidUTF8(line[:maxLine/16], "")
		return r.line(kept, patterns) + r.replace([]byte(line[maxLine/16:])) + tail
	}
	for n, p := range linePatterns {
		if patterns&(1<<n) != 0 {
			line = r.pattern(line, p.expression, p.group)
		}
	}
	return line
}

// pattern replaces one group of each match. What has been replaced already stays.
func (r *Redactor) pattern(text string, expression *regexp.Regexp, group int) string {
	var out strings.Builder
	last := 0
	for _, at := range expression.FindAllStringSubmatchIndex(text, -1) {
		from, to := at[2*group], at[2*group+1]
		if from < last || from == to {
			continue
		}
		held := text[from:to]
		quote, bare := unquoted(held)
		if bare == "" || bare == Redacted || strings.HasPrefix(Redacted, bare) {
			continue
		}
		out.WriteString(text[last:from])
		out.WriteString(quote + r.replace([]byte(bare)) + quote)
		last = to
	}
	if last == 0 {
		return text
	}
	out.WriteString(text[last:])
	return out.String()
}

// unquoted takes the quotes from a value, so that what is left of a line of JSON is JSON.
func unquoted(held string) (quote, bare string) {
	for _, q := range []string{`\"`, `"`, `'`} {
		if rest, ok := strings.CutPrefix(held, q); ok {
			return q, strings.TrimSuffix(rest, q)
		}
	}
	return "", held
}
