package doctor

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// State is how something is. The zero value is unknown.
type State int

// The states, the one that wins when several apply last.
const (
	Unknown State = iota // it could not be looked at, and why is said
	OK
	Warning // it works, and will not for long or is weaker than it should be
	Problem // it does not work, or does not protect
)

var stateNames = map[State]string{Unknown: "unknown", OK: "ok", Warning: "warning", Problem: "problem"}

// String is its name: "ok".
func (s State) String() string { return stateNames[s] }

// MarshalJSON writes its name.
func (s State) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// Observation is one thing that was seen.
type Observation struct {
	State State `json:"state"`
	// Seen is what was seen, in one sentence.
	Seen string `json:"seen"`
	// Next is what to do about it: a command to run where there is one.
	Next string `json:"next,omitempty"`
}

// Result is what a check has found.
type Result struct {
	Check string `json:"check"`
	State State  `json:"state"`
	Why   string `json:"why"`
	Docs  string `json:"docs"`
	// Observations are what was seen, worst first, at most maxObservations. Left is how many more there are.
	Observations []Observation `json:"observations"`
	Left         int           `json:"leftOut,omitempty"`
	// Took is how long the check took.
	Took time.Duration `json:"-"`
}

// Bounds of what a check says.
const (
	maxObservations = 20
	maxSeen         = 600 // runes
)

func (r *Result) add(state State, next, format string, arguments ...any) {
	r.Observations = append(r.Observations, Observation{State: state, Seen: cut(fmt.Sprintf(format, arguments...)), Next: cut(next)})
}

// ok notes what is as it should be.
func (r *Result) ok(format string, arguments ...any) { r.add(OK, "", format, arguments...) }

// warn notes what works and should be different, with what to do.
func (r *Result) warn(next, format string, arguments ...any) {
	r.add(Warning, next, format, arguments...)
}

// problem notes what is broken, with what to do.
func (r *Result) problem(next, format string, arguments ...any) {
	r.add(Problem, next, format, arguments...)
}

// unknown notes what could not be found out, with how it can.
func (r *Result) unknown(next, format string, arguments ...any) {
	r.add(Unknown, next, format, arguments...)
}

// unread notes that something could not be read: what as in "the pods of shop", right as in "list pods --namespace shop". It says whether it was
// because there is an error.
func (r *Result) unread(err error, what, right string) bool {
	switch {
	case err == nil:
		return false
	case apierrors.IsForbidden(err) && strings.Contains(reason(err), "denied the request"):
		r.unknown("be of a group that namespaces/exempt-namespace-guard allows in the bundle (allowedGroups): reaching into pods of Portcullis is for those who run it", "Our own policies keep you from %s: %s", what, reason(err))
	case apierrors.IsForbidden(err):
		r.unknown("ask for the role that `portcullis doctor --print-roles` prints; this one takes: "+right, "You may not read %s: %s", what, reason(err))
	case apierrors.IsUnauthorized(err):
		r.unknown("log in again: `kubectl auth whoami` says as whom you are known", "The API server does not know you: %s", reason(err))
	default:
		r.unknown("try again; `kubectl "+kubectl(right)+"` shows whether it lasts", "%s could not be read: %s", capital(what), reason(err))
	}
	return true
}

// kubectl is the command of a right: "list pods --namespace shop" is got by "get pods --namespace shop".
func kubectl(right string) string {
	verb, rest, _ := strings.Cut(right, " ")
	if verb == "list" {
		verb = "get"
	}
	return verb + " " + rest
}

// finish adds up: the worst state of all wins, and what could not be found out wins over what is fine.
func (r *Result) finish() {
	if len(r.Observations) == 0 {
		r.unknown("report this, it is a mistake of the doctor", "The check came to no end")
	}
	slices.SortStableFunc(r.Observations, func(a, b Observation) int { return cmp.Compare(rank(b.State), rank(a.State)) })
	r.State = r.Observations[0].State
	if len(r.Observations) > maxObservations {
		r.Left = len(r.Observations) - maxObservations
		r.Observations = r.Observations[:maxObservations]
	}
}

// rank orders states for people: problems, warnings, what is unknown, the rest.
func rank(s State) int {
	return map[State]int{OK: 0, Unknown: 1, Warning: 2, Problem: 3}[s]
}

func cut(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(text) <= maxSeen {
		return text
	}
	return string([]rune(text)[:maxSeen-1]) + "…"
}

func capital(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// reason is an error of the API server in its own words, without what client-go puts around it.
func reason(err error) string {
	if err == nil {
		return ""
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Message != "" {
		return status.Status().Message
	}
	return err.Error()
}

// several is a list for people: the first few, and how many more there are.
func several(names []string) string {
	const shown = 5
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

// number is "1 pod", "3 pods".
func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
