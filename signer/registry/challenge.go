package registry

import "strings"

// challenge is how a registry wants to be signed in to (RFC 9110, section 11.6.1).
type challenge struct {
	// bearer with a token of realm for service; otherwise Basic.
	bearer         bool
	realm, service string
}

// parseChallenges reads WWW-Authenticate headers and takes Bearer before Basic. Other
// schemes are skipped.
func parseChallenges(headers []string) (challenge, bool) {
	var found challenge
	ok := false
	for _, header := range headers {
		for rest := header; rest != ""; {
			var scheme string
			var parameters map[string]string
			scheme, parameters, rest = nextChallenge(rest)
			switch {
			case strings.EqualFold(scheme, "bearer") && parameters["realm"] != "":
				return challenge{bearer: true, realm: parameters["realm"], service: parameters["service"]}, true
			case strings.EqualFold(scheme, "basic"):
				found, ok = challenge{realm: parameters["realm"]}, true
			}
		}
	}
	return found, ok
}

// nextChallenge cuts the first challenge off a header: a scheme and its parameters, up to
// the next scheme.
func nextChallenge(text string) (scheme string, parameters map[string]string, rest string) {
	text = strings.TrimLeft(text, " \t,")
	scheme, text = token(text)
	if scheme == "" {
		return "", nil, ""
	}
	parameters = map[string]string{}
	for {
		text = strings.TrimLeft(text, " \t,")
		name, after := token(text)
		after = strings.TrimLeft(after, " \t")
		if name == "" || !strings.HasPrefix(after, "=") {
			if name == "" {
				text = ""
			}
			return scheme, parameters, text
		}
		var value string
		value, text = parameter(strings.TrimLeft(after[1:], " \t"))
		if name = strings.ToLower(name); parameters[name] == "" {
			parameters[name] = value
		}
	}
}

// token cuts off a token of RFC 9110, section 5.6.2; "/", which base64 has, is let through.
func token(text string) (head, rest string) {
	end := strings.IndexFunc(text, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),:;<=>?@[\]{}`, r)
	})
	if end < 0 {
		return text, ""
	}
	return text[:end], text[end:]
}

// parameter cuts off a token or a quoted string.
func parameter(text string) (value, rest string) {
	if !strings.HasPrefix(text, `"`) {
		return token(text)
	}
	var out strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return out.String(), text[i+1:]
		case '\\':
			if i++; i < len(text) {
				out.WriteByte(text[i])
			}
		default:
			out.WriteByte(text[i])
		}
	}
	return "", ""
}
