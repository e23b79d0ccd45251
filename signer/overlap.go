package signer

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"unicode"
)

// overlapSteps bounds the comparison of all expressions of a configuration: some 0.1 s and 50 MB. Two
// expressions as people write them take a few hundred.
const overlapSteps = 500_000

// sharedBy names a signer that both authorities accept, "" if there is none. What takes more steps
// than are left is not known.
func sharedBy(a, b *CheckedAuthority, steps *int) (shared string, known bool) {
	for _, key := range a.PublicKeys {
		if slices.ContainsFunc(b.PublicKeys, func(other PublicKey) bool { return other.Fingerprint == key.Fingerprint }) {
			return "the key " + key.Fingerprint, true
		}
	}
	for i := range a.identities {
		for j := range b.identities {
			if shared, known = a.identities[i].overlap(&b.identities[j], steps); shared != "" || !known {
				return shared, known
			}
		}
	}
	return "", true
}

// overlap describes a signer that both identities accept, "" if there is none.
func (i *checkedIdentity) overlap(other *checkedIdentity, steps *int) (shared string, known bool) {
	if i.claims.contradicts(other.claims) {
		return "", true
	}
	issuer, known := i.issuer.meets(&other.issuer, steps)
	if issuer == "" || !known {
		return "", known
	}
	subject, known := i.subject.meets(&other.subject, steps)
	if subject == "" || !known {
		return "", known
	}
	return fmt.Sprintf("the subject %q of the issuer %q", shorten(subject), shorten(issuer)), true
}

// contradicts says whether no certificate has both sets of claims.
func (w GitHubWorkflow) contradicts(other GitHubWorkflow) bool {
	for _, pair := range [...][2]string{{w.Trigger, other.Trigger}, {w.SHA, other.SHA}, {w.Name, other.Name}, {w.Repository, other.Repository}, {w.Ref, other.Ref}} {
		if pair[0] != "" && pair[1] != "" && pair[0] != pair[1] {
			return true
		}
	}
	return false
}

// meets gives a text that both match, "" if there is none.
func (m *matcher) meets(other *matcher, steps *int) (text string, known bool) {
	switch {
	case m.expression == nil && other.matches(m.exact):
		return m.exact, true
	case other.expression == nil && m.matches(other.exact):
		return other.exact, true
	case m.expression == nil || other.expression == nil:
		return "", true
	}
	return intersect(m.expression.String(), other.expression.String(), steps)
}

// intersect gives a text, not an empty one, that two anchored expressions match. It runs both at once over all texts:
// each state is a place in either program, and a step is a character that both take. Assertions are
// taken as met, so that expressions with \b inside may be said to meet where they do not.
func intersect(a, b string, steps *int) (text string, known bool) {
	left, right := newProgram(a), newProgram(b)
	if left == nil || right == nil {
		return "", false
	}
	start := state{uint32(left.code.Start), uint32(right.code.Start)} //nolint:gosec // an index of few instructions
	came := map[state]arrival{start: {}}
	for queue := []state{start}; len(queue) > 0; queue = queue[1:] {
		if *steps < 0 {
			return "", false
		}
		here := queue[0]
		from, to := left.reach(here.left, steps), right.reach(here.right, steps)
		for _, x := range from.takes {
			for _, y := range to.takes {
				if *steps -= cost(x) + cost(y); *steps < 0 {
					return "", false
				}
				next := state{x.Out, y.Out}
				_, seen := came[next]
				r, ok := common(x, y)
				if !ok {
					continue
				}
				if left.reach(next.left, steps).end && right.reach(next.right, steps).end {
					return spell(came, here) + string(r), true
				}
				if !seen {
					came[next] = arrival{here, r}
					queue = append(queue, next)
				}
			}
		}
	}
	return "", true
}

// state is a place in either program; arrival says how it was reached first.
type (
	state   struct{ left, right uint32 }
	arrival struct {
		from state
		by   rune
	}
)

// spell gives the text that leads to a state.
func spell(came map[state]arrival, here state) string {
	var text []rune
	for came[here] != (arrival{}) {
		text = append(text, came[here].by)
		here = came[here].from
	}
	slices.Reverse(text)
	return string(text)
}

// program is a compiled expression, with what is reached without a character remembered.
type program struct {
	code    *syntax.Prog
	reached map[uint32]reach
}

// reach is what comes next from a place: instructions that take a character, or the end.
type reach struct {
	takes []*syntax.Inst
	end   bool
}

// newProgram compiles an expression that was compiled before; nil if it cannot be.
func newProgram(expression string) *program {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil
	}
	code, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil
	}
	return &program{code: code, reached: map[uint32]reach{}}
}

func (p *program) reach(from uint32, steps *int) reach {
	if known, ok := p.reached[from]; ok {
		return known
	}
	var found reach
	seen := map[uint32]bool{}
	for todo := []uint32{from}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[at] {
			continue
		}
		seen[at] = true
		*steps--
		switch instruction := &p.code.Inst[at]; instruction.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			todo = append(todo, instruction.Arg, instruction.Out)
		case syntax.InstCapture, syntax.InstNop, syntax.InstEmptyWidth:
			todo = append(todo, instruction.Out)
		case syntax.InstMatch:
			found.end = true
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			found.takes = append(found.takes, instruction)
		case syntax.InstFail:
		}
	}
	p.reached[from] = found
	return found
}

// common is a character that both instructions take, a plain one if there is one.
func common(x, y *syntax.Inst) (rune, bool) {
	for _, plain := range "aA0-/." {
		if x.MatchRune(plain) && y.MatchRune(plain) {
			return plain, true
		}
	}
	// Ranges that overlap have the beginning of one of them in common.
	for _, side := range [2]*syntax.Inst{x, y} {
		for _, r := range beginnings(side) {
			if x.MatchRune(r) && y.MatchRune(r) {
				return r, true
			}
		}
	}
	return 0, false
}

// cost of an instruction is how many ranges of characters it has: classes of letters have hundreds.
func cost(instruction *syntax.Inst) int { return 1 + len(instruction.Rune)/2 }

// beginnings are the first characters of the ranges that an instruction takes.
func beginnings(instruction *syntax.Inst) []rune {
	switch {
	case instruction.Op == syntax.InstRuneAny || instruction.Op == syntax.InstRuneAnyNotNL:
		return []rune{0, '\n' + 1}
	case len(instruction.Rune) == 1:
		first := instruction.Rune[0]
		all := []rune{first}
		for r := unicode.SimpleFold(first); r != first; r = unicode.SimpleFold(r) {
			all = append(all, r)
		}
		return all
	}
	var all []rune
	for i := 0; i < len(instruction.Rune); i += 2 {
		all = append(all, instruction.Rune[i])
	}
	return all
}
