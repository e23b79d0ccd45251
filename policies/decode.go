package policies

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/portcullis-dev/portcullis/admission/patch"
)

type resultSet = topdown.QueryResult

// Limits of what is taken from one policy. They bound responses and logs.
const (
	maxFindings      = 100
	maxMessageRunes  = 1000
	maxDetailsBytes  = 16 << 10 // of details, and of a fix
	maxPatchesPolicy = 1000
)

// ruleFinding is a finding as Rego gives it.
type ruleFinding struct {
	Msg         string         `json:"msg"`
	Path        string         `json:"path"`
	Remediation string         `json:"remediation"`
	Details     map[string]any `json:"details"`
	Fix         []Change       `json:"fix"`
}

// decodeFindings turns the set a rule gave into findings.
func decodeFindings(i *instance, effect Effect, term *ast.Term) ([]Finding, error) {
	elements, err := setElements(term)
	if err != nil || len(elements) == 0 {
		return nil, err
	}
	var findings []Finding
	var problems []error
	for n, element := range elements {
		if n == maxFindings {
			more := newFinding(i, effect)
			more.Message = fmt.Sprintf("and %d more findings of this policy", len(elements)-maxFindings)
			findings = append(findings, more)
			break
		}
		finding, err := decodeFinding(i, effect, element)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		findings = append(findings, finding)
	}
	return findings, errors.Join(problems...)
}

func setElements(term *ast.Term) ([]*ast.Term, error) {
	if term == nil {
		return nil, errors.New("the rule gave no result")
	}
	set, ok := term.Value.(ast.Set)
	if !ok {
		return nil, fmt.Errorf("the rule gave %s, not a set", ast.ValueName(term.Value))
	}
	elements := make([]*ast.Term, 0, set.Len())
	set.Sorted().Foreach(func(e *ast.Term) { elements = append(elements, e) })
	return elements, nil
}

func newFinding(i *instance, effect Effect) Finding {
	finding := Finding{
		Policy: i.policy.ID, Title: i.policy.Title, Severity: i.policy.Severity,
		Effect: effect, Enforcement: i.Enforcement, Remediation: i.policy.Remediation,
	}
	if i.Name != i.policy.ID {
		finding.Instance = i.Name
	}
	// A warn rule never denies, whatever the policy's enforcement.
	if effect == EffectWarn && finding.Enforcement == EnforceDeny {
		finding.Enforcement = EnforceWarn
	}
	return finding
}

func decodeFinding(i *instance, effect Effect, term *ast.Term) (Finding, error) {
	finding := newFinding(i, effect)
	var given ruleFinding
	if text, ok := term.Value.(ast.String); ok {
		given.Msg = string(text)
	} else if read, ok := readFinding(term); ok {
		given = read
	} else if err := decodeTerm(term, &given); err != nil {
		return finding, fmt.Errorf("a finding is not {msg, path, remediation, details, fix}: %w", err)
	}
	if given.Msg == "" {
		return finding, errors.New("a finding has no msg")
	}
	finding.Message, finding.Path = Shorten(given.Msg), Shorten(given.Path)
	if given.Remediation != "" {
		finding.Remediation = Shorten(given.Remediation)
	}
	if given.Details != nil && fits(given.Details) {
		finding.Details = given.Details
	}
	if given.Fix != nil && fits(given.Fix) {
		finding.Fix = given.Fix
	}
	return finding, nil
}

// readFinding reads a finding as nearly all are, without the detour by way of JSON;
// false for any other, which decodeTerm then reads or says what is wrong with.
func readFinding(term *ast.Term) (f ruleFinding, ok bool) {
	object, ok := term.Value.(ast.Object)
	if !ok {
		return f, false
	}
	object.Foreach(func(key, value *ast.Term) {
		name, _ := key.Value.(ast.String)
		text, isText := value.Value.(ast.String)
		switch {
		case name == "msg" && isText:
			f.Msg = string(text)
		case name == "path" && isText:
			f.Path = string(text)
		case name == "remediation" && isText:
			f.Remediation = string(text)
		case name == "fix":
			var fits bool
			f.Fix, fits = readFix(value)
			ok = ok && fits
		default:
			ok = false
		}
	})
	return f, ok
}

func readFix(term *ast.Term) ([]Change, bool) {
	list, ok := term.Value.(*ast.Array)
	if !ok {
		return nil, false
	}
	changes := make([]Change, 0, list.Len())
	for i := range list.Len() {
		object, isObject := list.Elem(i).Value.(ast.Object)
		if !isObject {
			return nil, false
		}
		var change Change
		object.Foreach(func(key, value *ast.Term) {
			name, _ := key.Value.(ast.String)
			text, isText := value.Value.(ast.String)
			switch {
			case name == "op" && isText:
				change.Op = string(text)
			case name == "path" && isText:
				change.Path = string(text)
			case name == "value":
				var err error
				change.Value, err = ast.JSON(value.Value)
				ok = ok && err == nil
			default:
				ok = false
			}
		})
		changes = append(changes, change)
	}
	return changes, ok
}

// fits says whether a part of a finding is small enough to be kept.
func fits(value any) bool {
	raw, err := json.Marshal(value)
	return err == nil && len(raw) <= maxDetailsBytes
}

// decodeTerm decodes a Rego value strictly: an unknown field is a typing error of
// the policy's author, who wants to know.
func decodeTerm(term *ast.Term, into any) error {
	value, err := ast.JSON(term.Value)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	return decoder.Decode(into)
}

// Shorten cuts a message down to the length that findings have at most, 1,000 characters.
func Shorten(text string) string {
	if utf8.RuneCountInString(text) <= maxMessageRunes {
		return text
	}
	runes := []rune(text)
	return string(runes[:maxMessageRunes-1]) + "…"
}

// rulePatch is a patch as Rego gives it.
type rulePatch struct {
	Path        []any           `json:"path"`
	Set         json.RawMessage `json:"set"`
	SetIfAbsent json.RawMessage `json:"setIfAbsent"`
	Remove      bool            `json:"remove"`
}

func decodePatches(name string, term *ast.Term) ([]patch.Edit, error) {
	elements, err := setElements(term)
	if err != nil {
		return nil, err
	}
	if len(elements) > maxPatchesPolicy {
		return nil, fmt.Errorf("%d patches: at most %d", len(elements), maxPatchesPolicy)
	}
	var edits []patch.Edit
	for _, element := range elements {
		edit, err := decodePatch(name, element)
		if err != nil {
			return nil, fmt.Errorf("a patch is not {path, set | setIfAbsent | remove}: %w", err)
		}
		edits = append(edits, edit)
	}
	return edits, nil
}

func decodePatch(name string, term *ast.Term) (patch.Edit, error) {
	edit := patch.Edit{Policy: name}
	var given rulePatch
	if err := decodeTerm(term, &given); err != nil {
		return edit, err
	}
	var err error
	if edit.Path, err = patchPath(given.Path); err != nil {
		return edit, err
	}
	switch set, absent := given.Set != nil, given.SetIfAbsent != nil; {
	case set && !absent && !given.Remove:
		edit.Op, edit.Value = patch.Set, given.Set
	case absent && !set && !given.Remove:
		edit.Op, edit.Value = patch.SetIfAbsent, given.SetIfAbsent
	case given.Remove && !set && !absent:
		edit.Op = patch.Remove
	default:
		return edit, errors.New("exactly one of set, setIfAbsent and remove is wanted")
	}
	return edit, nil
}

func patchPath(given []any) ([]any, error) {
	var path []any
	for _, segment := range given {
		switch segment := segment.(type) {
		case string:
			path = append(path, segment)
		case json.Number:
			index, err := segment.Int64()
			if err != nil || index < 0 {
				return nil, fmt.Errorf("index %s in a path", segment)
			}
			path = append(path, int(index))
		default:
			return nil, fmt.Errorf("%v in a path is neither key nor index", segment)
		}
	}
	if len(path) == 0 {
		return nil, errors.New("the path is empty")
	}
	return path, nil
}

// severityRank sorts critical first.
func severityRank(severity string) int { return slices.Index(severities, severity) }

func compareFindings(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(severityRank(a.Severity), severityRank(b.Severity)),
		strings.Compare(a.Policy, b.Policy),
		strings.Compare(a.Instance, b.Instance),
		strings.Compare(a.Bundle, b.Bundle),
		comparePaths(a.Path, b.Path),
		strings.Compare(a.Message, b.Message),
		strings.Compare(string(a.Effect), string(b.Effect)),
	)
}

// comparePaths sorts containers[2] before containers[10].
func comparePaths(a, b string) int {
	return cmp.Or(naturalCompare(a, b), strings.Compare(a, b))
}

func naturalCompare(a, b string) int {
	for a != "" && b != "" {
		m, n := digits(a), digits(b)
		if m > 0 && n > 0 {
			if c := cmp.Or(cmp.Compare(m, n), strings.Compare(a[:m], b[:n])); c != 0 {
				return c
			}
			a, b = a[m:], b[n:]
			continue
		}
		if c := cmp.Compare(a[0], b[0]); c != 0 {
			return c
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits counts the digits a string begins with.
func digits(s string) int {
	n := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if n < 0 {
		return len(s)
	}
	return n
}

func compareFaults(a, b Fault) int {
	return cmp.Or(strings.Compare(a.Policy, b.Policy), strings.Compare(a.Bundle, b.Bundle), strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Message, b.Message))
}

func compareUndecided(a, b Undecided) int {
	return cmp.Or(strings.Compare(a.Policy, b.Policy), strings.Compare(a.Bundle, b.Bundle), strings.Compare(a.Path, b.Path), strings.Compare(a.Reason, b.Reason))
}

func comparePatches(a, b patch.Edit) int {
	return cmp.Or(strings.Compare(a.Policy, b.Policy), strings.Compare(fmt.Sprint(a.Path...), fmt.Sprint(b.Path...)))
}

func compareObjects(a, b Object) int {
	return cmp.Or(
		strings.Compare(a.Group, b.Group), strings.Compare(a.Resource, b.Resource),
		strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name),
		// Objects with a generated name have none in a manifest.
		strings.Compare(a.Version, b.Version), bytes.Compare(a.Raw, b.Raw),
	)
}
