package policies

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ExceptionRules say which exceptions of the cluster a bundle takes: section exceptionsFrom of bundle.yaml. Without
// it a bundle takes none.
type ExceptionRules struct {
	// Namespaces are globs of the namespaces that may grant exceptions to what is in themselves.
	Namespaces []string `json:"namespaces,omitempty"`
	// Central are globs of the namespaces that may grant exceptions to anything. Whoever may write there decides
	// what the bundle enforces.
	Central []string `json:"central,omitempty"`
	// Policies are globs of the ids of policies that may be excepted, all if empty: "*" is any run of characters.
	Policies []string `json:"policies,omitempty"`
	// MaxDuration is the longest time from creation to expiry: "90d" or "36h". Required.
	MaxDuration string `json:"maxDuration"`
	// NotForCreator leaves out whoever created the exception: it waives nothing that they do themselves.
	NotForCreator bool `json:"notForCreator,omitempty"`

	namespaces, central, policies globs
	maxDuration                   time.Duration
}

// Grant is how an exception came into a cluster.
type Grant struct {
	// Namespace is where the PolicyException lies.
	Namespace string `json:"namespace"`
	// Bundle is the bundle it is about, "" for each that has the policy.
	Bundle string `json:"bundle,omitempty"`
	// Creator is the user who created it, "" where nobody has recorded that.
	Creator string `json:"creator,omitempty"`
	// Created is when.
	Created time.Time `json:"created"`
}

// compile checks the rules.
func (r *ExceptionRules) compile() []error {
	if r == nil {
		return nil
	}
	var problems []error
	for _, list := range []struct {
		field    string
		patterns []string
		into     *globs
	}{{"namespaces", r.Namespaces, &r.namespaces}, {"central", r.Central, &r.central}, {"policies", r.Policies, &r.policies}} {
		compiled, err := compileGlobs(list.patterns)
		if err != nil {
			problems = append(problems, fmt.Errorf("exceptionsFrom.%s: %w", list.field, err))
		}
		*list.into = compiled
	}
	if len(r.Namespaces)+len(r.Central) == 0 {
		problems = append(problems, errors.New("exceptionsFrom: name namespaces, or leave the section out to take no exceptions of the cluster"))
	}
	var err error
	if r.maxDuration, err = parseDays(r.MaxDuration); err != nil {
		problems = append(problems, fmt.Errorf("exceptionsFrom.maxDuration: %w", err))
	}
	return problems
}

// maxExceptionDays bounds maxDuration: ten years are for ever.
const maxExceptionDays = 3653

// parseDays reads "90d" or a duration of Go, "36h".
func parseDays(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err == nil && n > 0 && n <= maxExceptionDays {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d > 0 && d <= maxExceptionDays*24*time.Hour {
		return d, nil
	}
	return 0, fmt.Errorf("%q is no time from 1 ns to %d days: write it like 90d or 36h", text, maxExceptionDays)
}

// RefusesException says why a bundle does not take an exception of the cluster, "" if it does. What depends on the
// request, NotForCreator, is not looked at, and a creator that is not known refuses it only then.
func (b *Bundle) RefusesException(e *Exception) string {
	rules, grant := b.Manifest.ExceptionsFrom, e.Grant
	switch {
	case grant == nil:
		return "it does not say who grants it"
	case grant.Bundle != "" && grant.Bundle != b.Manifest.Name:
		return fmt.Sprintf("it is about bundle %q", grant.Bundle)
	case b.Policies[e.Policy] == nil && !b.isForeign(e.Policy):
		return fmt.Sprintf("bundle %s has no policy %q", b.Manifest.Name, e.Policy)
	case rules == nil:
		return fmt.Sprintf("bundle %s takes no exceptions of the cluster: its bundle.yaml has no exceptionsFrom", b.Manifest.Name)
	case rules.policies != nil && !rules.policies.match(e.Policy):
		return fmt.Sprintf("bundle %s lets nobody except %s in the cluster: put the exception into the bundle", b.Manifest.Name, e.Policy)
	case b.guardsExceptions(e.Policy):
		return fmt.Sprintf("%s guards by which rules bundle %s judges, so that nobody excepts it in the cluster: put the exception into the bundle", e.Policy, b.Manifest.Name)
	case !rules.central.match(grant.Namespace) && !rules.namespaces.match(grant.Namespace):
		return fmt.Sprintf("bundle %s takes no exceptions from namespace %s", b.Manifest.Name, grant.Namespace)
	case e.expires.Sub(grant.Created) > rules.maxDuration:
		return fmt.Sprintf("it lasts until %s, longer than the %s from its creation that bundle %s allows", e.Expires, rules.MaxDuration, b.Manifest.Name)
	case rules.NotForCreator && grant.Creator == "":
		return fmt.Sprintf("bundle %s must know who created it, and nobody has recorded that: configure the policies patch/exception-creator and exceptions/creator, and create it again", b.Manifest.Name)
	}
	return ""
}

// guardsExceptions says whether a bundle rests on a policy where it says who decides what: whoever could except it in the
// cluster could then give himself every other exception, or his namespace another profile.
func (b *Bundle) guardsExceptions(policy string) bool {
	switch policy {
	case creatorGuard:
		return true
	case labelGuard:
		return b.Manifest.ProfileLabel != "" || b.Manifest.PodSecurityLabels
	}
	return false
}

// creatorGuard is the policy that keeps creators of exceptions from passing for others.
const creatorGuard = "exceptions/creator"

// grants says whether an exception of the cluster may be considered for a request at all.
func (b *Bundle) grants(e *Exception, r *Request) bool {
	if b.RefusesException(e) != "" {
		return false
	}
	rules := b.Manifest.ExceptionsFrom
	if rules.NotForCreator && e.Grant.Creator == r.Subject.Username {
		return false
	}
	if rules.central.match(e.Grant.Namespace) {
		return true
	}
	// A Namespace is not in itself: its labels say by which rules it is judged.
	return r.Namespace == e.Grant.Namespace && !(r.Resource.Group == "" && r.Resource.Resource == "namespaces")
}

// title is how findings name an exception.
func (e *Exception) title() string {
	if e.Grant != nil {
		return e.Grant.Namespace + "/" + e.Name
	}
	return e.Name
}

// until is when the exception ends, as short as it can be said.
func (e *Exception) until() string {
	end := e.expires.UTC()
	if end.Equal(end.Truncate(24 * time.Hour)) {
		return end.Format(time.DateOnly)
	}
	return end.Format(time.RFC3339)
}

// ExpiresAt is when the exception ends.
func (e *Exception) ExpiresAt() time.Time { return e.expires }
