package response

import (
	"fmt"
	"strings"
)

// Priority is how grave a rule of Falco calls what it saw: that of syslog (RFC 5424, section 6.2.1), lower is graver. The zero
// value is the gravest.
type Priority int

// The priorities.
const (
	Emergency Priority = iota
	Alert
	Critical
	Error
	Warning
	Notice
	Informational
	Debug
)

var priorities = []string{"emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"}

// ParsePriority reads a priority in any case. "info" is Informational, as rules of Falco write it.
func ParsePriority(text string) (Priority, error) {
	lower := strings.ToLower(strings.TrimSpace(text))
	if lower == "info" {
		return Informational, nil
	}
	for n, name := range priorities {
		if lower == name {
			return Priority(n), nil
		}
	}
	return Debug, fmt.Errorf("priority %.40q: use one of %s", text, strings.Join(priorities, ", "))
}

// String is the priority's name in lower case.
func (p Priority) String() string {
	if p < 0 || int(p) >= len(priorities) {
		return fmt.Sprintf("priority %d", int(p))
	}
	return priorities[p]
}

// MarshalText writes the name; a value that is none is an error.
func (p Priority) MarshalText() ([]byte, error) {
	if p < 0 || int(p) >= len(priorities) {
		return nil, fmt.Errorf("there is no priority %d", int(p))
	}
	return []byte(priorities[p]), nil
}

// UnmarshalText reads what MarshalText writes, in any case.
func (p *Priority) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePriority(string(text))
	return err
}
