package gitsign

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// maxAllowedSigners is how many lines are read: each is compared with each signature.
const maxAllowedSigners = 10_000

// allowedSigner is one line of allowed_signers.
type allowedSigner struct {
	line       int
	principals string // a pattern list
	key        ssh.PublicKey
	// authority says that the key signs certificates, and no commits itself.
	authority  bool
	namespaces string // a pattern list, "" for all
	// after and before bound when the key counts; zero times do not.
	after, before time.Time
}

// parseAllowedSigners reads OpenSSH's allowed_signers (ssh-keygen(1), ALLOWED SIGNERS). A line that cannot be read is an
// error, as it is for ssh-keygen, and never a line less: it may be the one that limits a key.
//
// Times without a zone are UTC, and not the zone of whoever reads them as for ssh-keygen: all replicas have to agree.
func parseAllowedSigners(text string) ([]allowedSigner, error) {
	var signers []allowedSigner
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.Trim(line, " \t\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if number > maxAllowedSigners {
			return nil, fmt.Errorf("there are more than %d lines: remove those of keys that are not used", maxAllowedSigners)
		}
		signer, err := parseAllowedSigner(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		signer.line = number
		signers = append(signers, signer)
	}
	return signers, nil
}

// parseAllowedSigner reads "principals [options] keytype base64-key [comment]".
func parseAllowedSigner(line string) (allowedSigner, error) {
	var s allowedSigner
	var err error
	if s.principals, line, err = cutPrincipals(line); err != nil {
		return s, err
	}
	if first, _, _ := strings.Cut(line, " "); !isKeyType(first) {
		var options string
		if options, line, err = cutOptions(line); err != nil {
			return s, err
		}
		if err := s.setOptions(options); err != nil {
			return s, err
		}
	}
	if s.key, err = parseKey(line); err != nil {
		return s, err
	}
	if err := checkSSHKey(s.key); err != nil {
		return s, err
	}
	return s, nil
}

// cutPrincipals takes the first field, which may be quoted.
func cutPrincipals(line string) (principals, rest string, err error) {
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		principals, rest, ok = strings.Cut(quoted, `"`)
		if !ok {
			return "", "", errors.New("the quote around the principals is not closed: close it")
		}
	} else if at := strings.IndexAny(line, " \t"); at >= 0 {
		principals, rest = line[:at], line[at:]
	} else {
		return "", "", errors.New("there is no key behind the principals: write PRINCIPALS [OPTIONS] TYPE KEY")
	}
	if strings.Trim(principals, ", \t") == "" {
		return "", "", errors.New("it names no principals: write whom the key belongs to, as ada@example.com")
	}
	return principals, strings.TrimLeft(rest, " \t"), nil
}

// isKeyType says whether a field is the type of a key and not options.
func isKeyType(field string) bool {
	return slices.Contains([]string{
		ssh.KeyAlgoRSA, ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256, "ssh-dss",
	}, field) || strings.Contains(field, "-cert-v0")
}

// cutOptions takes the options, which end with the first blank outside of quotes.
func cutOptions(line string) (options, rest string, err error) {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line) && line[i+1] == '"':
			i++
		case c == '"':
			quoted = !quoted
		case (c == ' ' || c == '\t') && !quoted:
			return line[:i], strings.TrimLeft(line[i:], " \t"), nil
		}
	}
	if quoted {
		return "", "", errors.New("a quote in the options is not closed: close it")
	}
	return "", "", errors.New("there is no key behind the options: write PRINCIPALS [OPTIONS] TYPE KEY")
}

// setOptions reads options. One that is not known, or there twice, is an error: it may be a condition.
func (s *allowedSigner) setOptions(options string) error {
	seen := map[string]bool{}
	for options != "" {
		option, rest, err := cutOption(options)
		if err != nil {
			return err
		}
		options = rest
		name, value, valued := strings.Cut(option, "=")
		name = strings.ToLower(name)
		if seen[name] {
			return fmt.Errorf("the option %s is there twice: remove one", name)
		}
		seen[name] = true
		if err := s.setOption(name, value, valued); err != nil {
			return err
		}
	}
	if !s.after.IsZero() && !s.before.IsZero() && !s.after.Before(s.before) {
		return errors.New("valid-after is not before valid-before, so the key never counts: correct one")
	}
	return nil
}

func (s *allowedSigner) setOption(name, value string, valued bool) error {
	if name == "cert-authority" && !valued {
		s.authority = true
		return nil
	}
	if value = strings.TrimPrefix(value, " "); len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return fmt.Errorf("the option %.40q is none, or has no value in quotes: there are cert-authority, namespaces=\"…\", valid-after=\"…\" and valid-before=\"…\"", name)
	}
	value = strings.ReplaceAll(value[1:len(value)-1], `\"`, `"`)
	var err error
	switch name {
	case "namespaces":
		if s.namespaces = value; strings.Trim(value, ", ") == "" {
			return errors.New("the option namespaces names none, so the key never counts: write namespaces=\"git\"")
		}
	case "valid-after":
		s.after, err = parseValidity(value)
	case "valid-before":
		s.before, err = parseValidity(value)
	default:
		return fmt.Errorf("the option %.40q is not known: there are cert-authority, namespaces, valid-after and valid-before", name)
	}
	return err
}

// cutOption takes the option before the first comma outside of quotes.
func cutOption(options string) (option, rest string, err error) {
	quoted := false
	for i := 0; i < len(options); i++ {
		switch c := options[i]; {
		case c == '\\' && i+1 < len(options) && options[i+1] == '"':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			if i+1 == len(options) {
				return "", "", errors.New("there is no option behind the last comma: remove the comma")
			}
			return options[:i], options[i+1:], nil
		}
	}
	return options, "", nil
}

// parseValidity reads YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z].
func parseValidity(text string) (time.Time, error) {
	digits := strings.TrimSuffix(text, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(digits) != len(layout) {
			continue
		}
		if parsed, err := time.ParseInLocation(layout, digits, time.UTC); err == nil && parsed.Unix() > 0 {
			return parsed, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time: write YYYYMMDD or YYYYMMDDHHMMSS, in UTC", text)
}

// parseKey reads "keytype base64-key [comment]".
func parseKey(text string) (ssh.PublicKey, error) {
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return nil, errors.New("there is no key: write PRINCIPALS [OPTIONS] TYPE KEY")
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil {
		return nil, fmt.Errorf("the key is no base64: %w: copy it from the file that ends with .pub", err)
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return nil, fmt.Errorf("the key cannot be read: %w: copy it from the file that ends with .pub", err)
	}
	if _, certificate := key.(*ssh.Certificate); certificate {
		return nil, errors.New("it is a certificate: give the key of the authority that issued it, with the option cert-authority")
	}
	if key.Type() != fields[0] {
		return nil, fmt.Errorf("the key is of the type %s and not %.40s: copy it from the file that ends with .pub", key.Type(), fields[0])
	}
	return key, nil
}

// accepts says whom a signature is of by this line. The first result is whether the line is about its key at all.
func (s *allowedSigner) accepts(signature *sshSignature, signed, now time.Time) (about bool, principal string, err error) {
	certificate, certified := signature.key.(*ssh.Certificate)
	switch {
	case certified != s.authority:
		return false, "", nil
	case certified && !sameKey(certificate.SignatureKey, s.key), !certified && !sameKey(signature.key, s.key):
		return false, "", nil
	}
	if s.namespaces != "" && !MatchPatterns(gitNamespace, s.namespaces) {
		return true, "", fmt.Errorf("line %d of the allowed signers has it for the namespaces %q only: add git to them", s.line, s.namespaces)
	}
	for _, at := range []moment{{signed, "when it signed"}, {now, "now"}} {
		if err := s.checkValidity(at); err != nil {
			return true, "", err
		}
	}
	if !certified {
		return true, s.principals, nil
	}
	principal, err = s.acceptCertificate(certificate, signed, now)
	return true, principal, err
}

// moment is a time at which a key must count.
type moment struct {
	time.Time
	words string
}

func (s *allowedSigner) checkValidity(at moment) error {
	if !s.after.IsZero() && at.Before(s.after) {
		return fmt.Errorf("line %d of the allowed signers has it valid after %s, which is later than %s (%s): sign it anew", s.line, date(s.after), at.words, date(at.Time))
	}
	if !s.before.IsZero() && !at.Before(s.before) {
		return fmt.Errorf("line %d of the allowed signers has it valid before %s, which is earlier than %s (%s): extend it there, or have it signed by a key that counts", s.line, date(s.before), at.words, date(at.Time))
	}
	return nil
}

// acceptCertificate says which of its principals a user certificate is accepted for (PROTOCOL.certkeys). Options that
// only make sense for logging in are refused, for they were meant to limit.
func (s *allowedSigner) acceptCertificate(c *ssh.Certificate, signed, now time.Time) (string, error) {
	if c.CertType != ssh.UserCert {
		return "", errors.New("its certificate is for a host: issue one for a user")
	}
	if err := checkSSHKey(c.SignatureKey); err != nil {
		return "", fmt.Errorf("its certificate's authority: %w", err)
	}
	if c.Signature == nil || c.Signature.Format == ssh.KeyAlgoRSA {
		return "", errors.New("its certificate is signed by SHA-1: issue it with ssh-keygen -t rsa-sha2-512")
	}
	at := slices.IndexFunc(c.ValidPrincipals, func(p string) bool { return MatchPatterns(p, s.principals) })
	if at < 0 {
		return "", fmt.Errorf("its certificate is for the principals %.200q, and line %d of the allowed signers takes %q: issue one for such a principal", c.ValidPrincipals, s.line, s.principals)
	}
	for _, moment := range []moment{{signed, "when it signed"}, {now, "now"}} {
		checker := &ssh.CertChecker{Clock: func() time.Time { return moment.Time }}
		if err := checker.CheckCert(c.ValidPrincipals[at], c); err != nil {
			return "", fmt.Errorf("its certificate does not count %s (%s): %w: issue a new one, and sign with that", moment.words, date(moment.Time), err)
		}
	}
	return c.ValidPrincipals[at], nil
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// MatchPatterns says whether a text matches a list of patterns of OpenSSH, separated by commas: "*" is any text, "?" any byte, and
// a pattern behind "!" that matches refuses the text whatever the others say (ssh_config(5), PATTERNS).
func MatchPatterns(text, list string) bool {
	matched := false
	for pattern := range strings.SplitSeq(list, ",") {
		negated, ok := strings.CutPrefix(pattern, "!")
		switch {
		case ok && matchPattern(text, negated):
			return false
		case !ok && pattern != "" && matchPattern(text, pattern):
			matched = true
		}
	}
	return matched
}

// matchPattern takes time in proportion to both lengths' product at most.
func matchPattern(text, pattern string) bool {
	t, p, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
