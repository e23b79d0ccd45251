package registration

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

func glassOf(name string, created time.Time, lasting time.Duration, mode v1alpha1.BreakGlassMode) v1alpha1.BreakGlass {
	return v1alpha1.BreakGlass{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(created)},
		Spec:       v1alpha1.BreakGlassSpec{Reason: "the registry is gone", Until: metav1.NewTime(created.Add(lasting)), Mode: mode, OpenedBy: "alice"},
	}
}

func TestTheGlassIsBrokenForNoLongerThanItMay(t *testing.T) {
	at := func(d time.Duration) string { return start.Add(d).Format(time.RFC3339) }
	for name, test := range map[string]struct {
		now        time.Duration // after start
		glasses    []v1alpha1.BreakGlass
		annotation string
		missing    bool
		before     *window
		want       openness
		until      time.Duration // after start, of the last that ends; 0 for none
		window     bool
		problem    bool
	}{
		"nothing":                                  {want: shut},
		"one that lasts":                           {now: time.Hour, glasses: []v1alpha1.BreakGlass{glassOf("a", start, 2*time.Hour, "")}, want: ignoring, until: 2 * time.Hour},
		"one that is over":                         {now: 2 * time.Hour, glasses: []v1alpha1.BreakGlass{glassOf("a", start, 2*time.Hour, "")}, want: shut},
		"one that wants a day gets four hours":     {now: time.Hour, glasses: []v1alpha1.BreakGlass{glassOf("a", start, 24*time.Hour, "")}, want: ignoring, until: 4 * time.Hour},
		"one that wanted a day after four hours":   {now: 4 * time.Hour, glasses: []v1alpha1.BreakGlass{glassOf("a", start, 24*time.Hour, "")}, want: shut},
		"one that admits all":                      {glasses: []v1alpha1.BreakGlass{glassOf("a", start, time.Hour, v1alpha1.BreakGlassAdmit)}, want: withdrawn, until: time.Hour},
		"a mode that nobody knows":                 {glasses: []v1alpha1.BreakGlass{glassOf("a", start, time.Hour, "Everything")}, want: ignoring, until: time.Hour},
		"two, of which the more open counts":       {glasses: []v1alpha1.BreakGlass{glassOf("a", start, time.Hour, v1alpha1.BreakGlassAdmit), glassOf("b", start, 2*time.Hour, "")}, want: withdrawn, until: 2 * time.Hour},
		"a clock that was set back":                {now: -time.Hour, glasses: []v1alpha1.BreakGlass{glassOf("a", start, time.Hour, "")}, want: ignoring, until: time.Hour},
		"an annotation":                            {annotation: at(time.Hour), want: handsOff, until: time.Hour, window: true},
		"an annotation for a month":                {annotation: at(720 * time.Hour), want: handsOff, until: 4 * time.Hour, window: true},
		"an annotation for a month, 4 hours later": {now: 4 * time.Hour, annotation: at(720 * time.Hour), before: &window{start, at(720 * time.Hour)}, want: shut, window: true},
		"an annotation that is renewed":            {now: 3 * time.Hour, annotation: at(9 * time.Hour), before: &window{start, at(4 * time.Hour)}, want: handsOff, until: 4 * time.Hour, window: true},
		"an annotation that was renewed too late":  {now: 5 * time.Hour, annotation: at(9 * time.Hour), before: &window{start, at(4 * time.Hour)}, want: shut, window: true},
		"an annotation that is over":               {now: 2 * time.Hour, annotation: at(time.Hour), before: &window{start, at(time.Hour)}, want: shut, window: true},
		"an annotation that was taken off":         {now: time.Hour, before: &window{start, at(3 * time.Hour)}, want: shut},
		"what was annotated was deleted":           {now: time.Hour, missing: true, before: &window{start, at(3 * time.Hour)}, want: handsOff, until: 3 * time.Hour, window: true},
		"what was deleted then":                    {now: 3 * time.Hour, missing: true, before: &window{start, at(3 * time.Hour)}, want: shut},
		"something missing and nothing said":       {missing: true, want: shut},
		"an annotation that is no time":            {annotation: "tomorrow", want: shut, window: true, problem: true},
	} {
		t.Run(name, func(t *testing.T) {
			open, after, problem := openingsOf(start.Add(test.now), test.glasses, test.annotation, "kubectl", test.missing, test.before)
			_, last := ends(open)
			var until time.Time
			if test.until != 0 {
				until = start.Add(test.until)
			}
			if got := opennessOf(open); got != test.want || !last.Equal(until) || (after != nil) != test.window || (problem != "") != test.problem {
				t.Errorf("got %v until %s, window %v, problem %q; want %v until %s, window %v, problem %v", got, last, after, problem, test.want, until, test.window, test.problem)
			}
		})
	}
}

func TestEachOpeningIsToldOnce(t *testing.T) {
	a, b := Opening{Name: "a", Since: start}, Opening{Name: "b", Since: start}
	again := Opening{Name: "a", Since: start.Add(time.Hour)}
	opened, closed := difference([]Opening{a}, []Opening{again, b})
	if len(opened) != 2 || len(closed) != 1 || closed[0] != a {
		t.Errorf("got opened %v and closed %v, want the second a and b, and the first a", opened, closed)
	}
	if opened, closed = difference([]Opening{a, b}, []Opening{a, b}); len(opened)+len(closed) > 0 {
		t.Errorf("got opened %v and closed %v, want nothing", opened, closed)
	}
}

func FuzzAnAnnotationNeverCountsForLonger(f *testing.F) {
	for _, seed := range []string{"", "2027-01-01T13:00:00Z", "9999-12-31T23:59:59Z", "tomorrow", "2027-01-01T13:00:00+14:00"} {
		f.Add(seed, int64(0))
	}
	f.Fuzz(func(t *testing.T, value string, after int64) {
		now := start.Add(time.Duration(after))
		w := &window{Since: start, Value: value}
		open, _, problem := openingsOf(now, nil, value, "kubectl", false, w)
		for _, o := range open {
			if !now.Before(start.Add(v1alpha1.MaxBreakGlass)) || o.Until.After(start.Add(v1alpha1.MaxBreakGlass)) {
				t.Errorf("%q counts at %s until %s", value, now, o.Until)
			}
		}
		if len(problem) > maxNote {
			t.Errorf("%d bytes are said about it", len(problem))
		}
	})
}
