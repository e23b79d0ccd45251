package output

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Plain makes any string safe to show on one line of a terminal or a CI log.
//
//   - Control characters (C0, DEL, C1) become visible: an escape sequence in a name
//     could otherwise recolour, erase or forge lines.
//   - So do characters that reorder or hide text (bidirectional controls, zero-width
//     characters, line separators; "Trojan Source", CVE-2021-42574).
//   - "##[" is broken up and a leading "::" is preceded by a backslash, since GitHub's
//     runner takes such lines for commands wherever they are printed.
func Plain(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case hidden(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		i += size
	}
	plain := strings.ReplaceAll(b.String(), "##[", `##\[`)
	if strings.HasPrefix(strings.TrimLeftFunc(plain, unicode.IsSpace), "::") {
		plain = `\` + strings.TrimLeftFunc(plain, unicode.IsSpace)
	}
	return plain
}

// hidden says that a character does not show as itself.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' ||
		unicode.Is(unicode.Co, r) || unicode.Is(unicode.Noncharacter_Code_Point, r)
}

// EscapeJSON writes a JSON document so that it can be shown on a terminal. Its values stay the same.
func EscapeJSON(document []byte) []byte { return escapeJSON(document) }

// escapeJSON writes hidden characters of a JSON document as escapes. The values
// stay the same, and the document can be shown on a terminal: encoding/json
// leaves C1 controls (U+009B begins an escape sequence) and reordering ones as they are.
// What stands for invalid UTF-8 is escaped too, since the two implementations of
// encoding/json write it differently.
func escapeJSON(document []byte) []byte {
	var b bytes.Buffer
	for len(document) > 0 {
		r, size := utf8.DecodeRune(document)
		switch {
		case r == '\n' || (!hidden(r) && r != utf8.RuneError):
			b.Write(document[:size])
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		document = document[size:]
	}
	return b.Bytes()
}

// workflowData escapes the message of a GitHub workflow command.
// https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts
func workflowData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

// workflowProperty escapes a property of a GitHub workflow command.
func workflowProperty(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(Plain(s))
}

// Markdown makes a string safe as running text of a GitHub or GitLab comment: no
// markup, no HTML, no table cell, nobody mentioned.
func Markdown(s string) string {
	var b strings.Builder
	for _, r := range Plain(s) {
		switch r {
		case '&':
			b.WriteString("&amp;")
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '@':
			b.WriteString("@\u200b") // a zero-width space: @team would notify the team
		case '\\', '`', '*', '_', '{', '}', '[', ']', '(', ')', '#', '+', '!', '|', '~', '$':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// markdownCode is a string as inline code, in a table cell too.
func markdownCode(s string) string {
	s = Plain(s)
	if s == "" {
		return ""
	}
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	// A pipe ends a table cell even inside code; GitHub takes the backslash away again.
	return fence + strings.ReplaceAll(s, "|", `\|`) + fence
}
