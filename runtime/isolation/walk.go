package isolation

// stage is a set of policies that decide together. Its groups are asked in order; within one the order is not defined, so that
// each policy is asked as if it were the first.
type stage struct {
	groups [][]bound
}

// bound is a policy that is about the subject, or may be.
type bound struct {
	*policy
	// sure says that it is about the subject, enforced, and understood. What another one accepts is assumed, what it
	// denies is not relied upon.
	sure bool
	// doubt says why it is not sure.
	doubt string
}

// decision is what a rule, or the end of a stage, makes of some ports of an atom.
type decision struct {
	action action // accept or deny
	policy *bound // nil where no policy is about the subject: then everything is accepted
	rule   *rule  // nil at the end of a stage
	match  truth  // of the rule's peers with the atom: perhaps or always
	ports  portSet
	stage  int
	group  int
}

// walk asks all stages about an atom in one direction, and tells each decision. Ports are told as accepted where they
// may be, and as denied where they surely are.
//
// An atom of the peers of one rule goes no farther than that rule: it is there to find out whether anything before the rule
// denies them. What others of its group accept does not depend on it, and what comes later is walked by atoms of its own.
func (w *world) walk(stages []stage, d direction, a *atom, tell func(decision)) {
	remaining := everyPort()
	for s := range stages {
		var passed portSet
		for g, group := range stages[s].groups {
			if a.of != nil && a.at.stage == s && a.at.group == g {
				w.ask(&group[a.at.index], d, a, remaining, func(x decision) {
					x.stage, x.group = s, g
					tell(x)
				})
				return
			}
			var decided portSet
			for i := range group {
				done, on := w.ask(&group[i], d, a, remaining, func(x decision) {
					x.stage, x.group = s, g
					tell(x)
				})
				decided, passed = decided.union(done), passed.union(on)
			}
			remaining = remaining.less(decided)
			if remaining.empty() && passed.empty() {
				return
			}
		}
		if end := stages[s].end(d); end != nil && !remaining.empty() {
			tell(decision{action: deny, policy: end, ports: remaining, stage: s, group: len(stages[s].groups)})
			remaining = portSet{}
		}
		remaining = remaining.union(passed)
		if remaining.empty() {
			return
		}
	}
	tell(decision{action: accept, ports: remaining, stage: len(stages)})
}

// ask takes the rules of one policy in order. It answers which ports are decided for good, and which may go on to the next stage.
func (w *world) ask(b *bound, d direction, a *atom, remaining portSet, tell func(decision)) (decided, passed portSet) {
	for i := range b.rules[d] {
		r := &b.rules[d][i]
		match := w.matches(&r.peers, a)
		if match == never {
			continue
		}
		surely, atMost := r.portsFor(a)
		if match == perhaps || !b.sure || r.vague != "" {
			surely = portSet{}
		}
		surely, atMost = remaining.intersect(surely), remaining.intersect(atMost)
		switch r.action {
		case accept:
			if !atMost.empty() {
				tell(decision{action: accept, policy: b, rule: r, match: match, ports: atMost})
			}
		case deny:
			if !surely.empty() {
				tell(decision{action: deny, policy: b, rule: r, match: match, ports: surely})
			}
		case pass:
			passed = passed.union(atMost)
		}
		decided, remaining = decided.union(surely), remaining.less(surely)
	}
	return decided, passed
}

// end is the policy because of which a stage denies what is left, nil if there is none.
func (s *stage) end(d direction) *bound {
	for g := range s.groups {
		for i := range s.groups[g] {
			if b := &s.groups[g][i]; b.sure && b.defaultDeny[d] {
				return b
			}
		}
	}
	return nil
}
