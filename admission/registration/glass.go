package registration

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// AnnotationOpening is the name of the [Opening] by an annotation of a configuration. No BreakGlass can have it.
const AnnotationOpening = "(annotation)"

// openness is what becomes of the configurations.
type openness int

const (
	// shut: as the policies say.
	shut openness = iota
	// ignoring: requests that nobody answers are admitted.
	ignoring
	// handsOff: as ignoring, and whatever else was done to the configurations is left as it is, their deletion too.
	handsOff
	// withdrawn: there are none.
	withdrawn
)

// openingsOf are the ways in which the glass is broken now, by name, and the window of the annotation. annotation is its value, "" for
// none; missing says that a configuration that there should be is gone, and with it perhaps the annotation.
func openingsOf(now time.Time, glasses []v1alpha1.BreakGlass, annotation, annotator string, missing bool, before *window) (open []Opening, after *window, problem string) {
	for n := range glasses {
		if g := &glasses[n]; g.Open(now) {
			open = append(open, Opening{Name: g.Name, Mode: g.Wants(), By: g.Spec.OpenedBy, Reason: g.Spec.Reason, Since: g.CreationTimestamp.UTC(), Until: g.Ends().UTC()})
		}
	}
	after = before
	switch {
	case annotation == "" && !missing:
		after = nil
	case annotation == "":
		// What was annotated has been deleted.
	case before == nil:
		after = &window{Since: now.UTC().Truncate(time.Second), Value: annotation}
	case before.Value != annotation:
		after = &window{Since: before.Since, Value: annotation}
	}
	if after != nil && after.Since.After(now) { // by a clock that ran ahead: it would last longer
		after = &window{Since: now.UTC().Truncate(time.Second), Value: after.Value}
	}
	if after != nil {
		until, err := after.until()
		switch {
		case err != nil:
			problem = "the annotation " + v1alpha1.BreakGlassUntilAnnotation + " is " + quoted(after.Value) + ", which is no RFC 3339 time: it does not count, write one such as " + now.UTC().Add(time.Hour).Format(time.RFC3339)
		case now.Before(until):
			open = append(open, Opening{Name: AnnotationOpening, Mode: v1alpha1.BreakGlassIgnore, By: annotator, Reason: "the annotation " + v1alpha1.BreakGlassUntilAnnotation + " of a webhook configuration", Since: after.Since, Until: until})
		case annotation == "":
			after = nil // over, and nothing is left that could count again
		}
	}
	slices.SortFunc(open, func(a, b Opening) int { return cmp.Compare(a.Name, b.Name) })
	return open, after, problem
}

// until is when it ends, no later than [v1alpha1.MaxBreakGlass] after it was first seen.
func (w *window) until() (time.Time, error) {
	until, err := time.Parse(time.RFC3339, w.Value)
	if err != nil {
		return time.Time{}, err
	}
	if latest := w.Since.Add(v1alpha1.MaxBreakGlass); until.After(latest) {
		until = latest
	}
	return until.UTC(), nil
}

// quoted shows what somebody wrote, bounded.
func quoted(text string) string {
	const longest = 64
	if len(text) > longest {
		text = text[:longest] + "…"
	}
	return "\"" + strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, text), "?") + "\""
}

// opennessOf is that of all openings together: the most open one counts.
func opennessOf(open []Opening) openness {
	most := shut
	for _, o := range open {
		one := ignoring
		switch {
		case o.Mode == v1alpha1.BreakGlassAdmit:
			one = withdrawn
		case o.Name == AnnotationOpening:
			one = handsOff
		}
		most = max(most, one)
	}
	return most
}

// next is when an opening ends first, and last when the last one does; zero without any.
func ends(open []Opening) (next, last time.Time) {
	for _, o := range open {
		if next.IsZero() || o.Until.Before(next) {
			next = o.Until
		}
		if o.Until.After(last) {
			last = o.Until
		}
	}
	return next, last
}

// difference are the openings that are new, and those that are gone.
func difference(before, after []Opening) (opened, closed []Opening) {
	in := func(all []Opening, one Opening) bool {
		return slices.ContainsFunc(all, func(o Opening) bool { return o.Name == one.Name && o.Since.Equal(one.Since) })
	}
	for _, o := range after {
		if !in(before, o) {
			opened = append(opened, o)
		}
	}
	for _, o := range before {
		if !in(after, o) {
			closed = append(closed, o)
		}
	}
	return opened, closed
}
