package informer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/policies"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// status is what is known of a kind.
type status struct {
	name string
	// missing is why objects may be missing, "" if none are.
	missing string
	// awaited says that it has never been known; denied that the API server refuses.
	awaited, denied bool
}

// Check says why policies cannot judge yet: a kind that they declare, or namespaces, has
// not been listed once. Without the rights for it that stays so, since a webhook that
// is not ready is noticed when it is installed, and one that denies everything is noticed
// later. An API server that does not answer for a kind (its aggregated server may be
// a pod that this webhook would have to admit) is waited for only StaleAfter.
//
// What was listed once keeps nobody from being ready: see [Facts.Availability].
func (f *Facts) Check() error {
	f.mu.Lock()
	waiting := f.began.IsZero() || f.options.Now().Sub(f.began) <= f.options.StaleAfter
	f.mu.Unlock()
	var lines, denied, silent []string
	for _, kind := range f.statuses(true) {
		switch {
		case kind.awaited && kind.denied:
			denied = append(denied, kind.name)
		case kind.awaited && waiting:
			silent = append(silent, kind.name)
		default:
			continue
		}
		lines = append(lines, kind.missing)
	}
	if len(lines) == 0 {
		return nil
	}
	if len(denied) > 0 {
		lines = append(lines, "grant the webhook's service account get, list and watch on "+strings.Join(denied, ", "))
	}
	if len(silent) > 0 {
		lines = append(lines, fmt.Sprintf("%s: tried again, and done without %s after the start", strings.Join(silent, ", "), f.options.StaleAfter))
	}
	return fmt.Errorf("policies read what is not known yet\n    %s", strings.Join(lines, "\n    "))
}

// Availability gives for each kind that is watched why policies that read it fault, "" if they do not.
func (f *Facts) Availability() map[string]string {
	reasons := map[string]string{}
	for _, kind := range f.statuses(false) {
		// Namespaces are watched twice where policies read them all.
		if reasons[kind.name] == "" {
			reasons[kind.name] = kind.missing
		}
	}
	return reasons
}

// statuses are sorted by name.
func (f *Facts) statuses(onlyDeclared bool) []status {
	f.mu.Lock()
	defer f.mu.Unlock()
	statuses := []status{f.namespaces.status()}
	for name, kind := range f.kinds {
		if !onlyDeclared || f.declares(name) {
			statuses = append(statuses, kind.status())
		}
	}
	slices.SortFunc(statuses, func(a, b status) int { return strings.Compare(a.name, b.name) })
	return statuses
}

func (f *Facts) declares(name schema.GroupResource) bool {
	return slices.ContainsFunc(f.options.Reads, func(read policies.Read) bool {
		return read.Group == name.Group && read.Resource == name.Resource
	})
}
