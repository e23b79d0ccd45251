package scanner

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/signer"
)

// ClockSkew is by how much the clocks of a scanner, of a timestamp authority and of the reader may differ.
const ClockSkew = 5 * time.Minute

// Latest is the newest scan among the verified attestations of an image by authorities whose scans the configuration
// believes. With none, its state is [StateMissing].
//
// A scan counts from when it finished. One that claims to have finished later than it was signed by the signature's trusted time,
// or later than now, is refused: it would stay the newest, and fresh, for as long as it likes. Where nothing that
// counts is readable, the state is [StateError].
func Latest(attestations []signer.Attestation, trust *signer.Configuration, now time.Time) Report {
	missing := Report{State: StateMissing, Reasons: []string{"nobody whose scans are trusted has signed a scan of this image"}, Vulnerabilities: []Vulnerability{}, Secrets: []Secret{}}
	if trust == nil {
		return missing
	}
	var newest *Report
	var unreadable []string
	for i := range attestations {
		a := &attestations[i]
		if a.PredicateType != PredicateType || !trust.Scanner(a.Authority) {
			continue
		}
		report, err := believe(a, now)
		if err != nil {
			unreadable = append(unreadable, fmt.Sprintf("a scan signed by %s does not count: %v", a.Authority, err))
			continue
		}
		report.Authority = a.Authority
		if newest == nil || supersedes(&report, newest) {
			newest = &report
		}
	}
	switch {
	case newest != nil:
		return *newest
	case len(unreadable) > 0:
		missing.State, missing.Reasons = StateError, sortedReasons(unreadable)
	}
	return missing
}

// believe reads a scan and holds its times against those that are trusted.
func believe(a *signer.Attestation, now time.Time) (Report, error) {
	report, err := ParsePredicate(a.Predicate)
	if err != nil {
		return Report{}, err
	}
	finished, err := checkTime("finishedAt", report.FinishedAt)
	if err != nil {
		return Report{}, err
	}
	if finished.After(now.Add(ClockSkew)) {
		return Report{}, fmt.Errorf("it says that it finished at %s, which is in the future", report.FinishedAt)
	}
	if a.Time == "" {
		return report, nil
	}
	signed, err := time.Parse(time.RFC3339, a.Time)
	if err != nil {
		return Report{}, fmt.Errorf("the time of its signature, %q, is none", abbreviate(a.Time))
	}
	if finished.After(signed.Add(ClockSkew)) {
		return Report{}, fmt.Errorf("it says that it finished at %s, and was signed at %s already", report.FinishedAt, a.Time)
	}
	return report, nil
}

// supersedes orders scans: the later one counts, of two at the same time the one that says worse things, so that the
// order in a registry never decides.
func supersedes(r, other *Report) bool {
	if c := strings.Compare(r.FinishedAt, other.FinishedAt); c != 0 {
		return c > 0
	}
	if r.State != other.State {
		return other.State == StateComplete
	}
	return len(r.Vulnerabilities) > len(other.Vulnerabilities)
}

// Merge is the report on an index of which each image for a platform was scanned: what is in any of them. Its state is the worst;
// with no reports at all it is [StateError].
func Merge(reports []Report) Report {
	if len(reports) == 0 {
		return Report{State: StateError, Reasons: []string{"the index has no image that could be scanned"}, Vulnerabilities: []Vulnerability{}, Secrets: []Secret{}}
	}
	all := scanned(reports[0])
	for _, r := range reports[1:] {
		if badness(r.State) > badness(all.State) {
			all.State = r.State
		}
		all.Reasons = sortedReasons(append(all.Reasons, r.Reasons...))
		all.StartedAt, all.FinishedAt = min(all.StartedAt, r.StartedAt), max(all.FinishedAt, r.FinishedAt)
		if r.Database.UpdatedAt < all.Database.UpdatedAt {
			all.Database = r.Database
		}
		// Different distributions in one index are possible; one that nobody maintains any more counts for all.
		if all.OS.Family == "" || r.OS.EndOfLife && !all.OS.EndOfLife {
			all.OS = r.OS
		}
		all.Packages = all.Packages.most(r.Packages)
		all.Vulnerabilities = union(all.Vulnerabilities, scanned(r).Vulnerabilities)
		all.Secrets = union(all.Secrets, r.Secrets)
	}
	return all
}

// most has the larger of each number: the images of an index hold the same packages, each for its platform.
func (p Packages) most(other Packages) Packages {
	return Packages{OS: max(p.OS, other.OS), Language: max(p.Language, other.Language), ThirdParty: max(p.ThirdParty, other.ThirdParty)}
}

// badness orders states. One that is none is the worst: the zero value of a report says nothing.
func badness(s State) int {
	states := []State{StateComplete, StateUnscannable, StateMissing, StateError}
	if at := slices.Index(states, s); at >= 0 {
		return at
	}
	return len(states)
}

// union keeps the order of the first list.
func union[T comparable](list, more []T) []T {
	known := make(map[T]bool, len(list))
	for _, one := range list {
		known[one] = true
	}
	for _, one := range more {
		if !known[one] {
			known[one] = true
			list = append(list, one)
		}
	}
	return list
}
