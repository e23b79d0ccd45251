package web

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission/decisions"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func TestAListIsCutIntoPages(t *testing.T) {
	items := make([]int, 2*pageSize+1)
	for name, test := range map[string]struct {
		page           string
		count, at      int
		previous, next string
	}{
		"the first":             {"", pageSize, 1, "", "/x?page=2&q=a"},
		"the second":            {"2", pageSize, 2, "/x?page=1&q=a", "/x?page=3&q=a"},
		"the last":              {"3", 1, 3, "/x?page=2&q=a", ""},
		"one behind the last":   {"99", 1, 3, "/x?page=2&q=a", ""},
		"one before the first":  {"-1", pageSize, 1, "", "/x?page=2&q=a"},
		"one that is no number": {"<script>", pageSize, 1, "", "/x?page=2&q=a"},
	} {
		shown, p := cutPage(items, "/x", url.Values{"page": {test.page}, "q": {"a"}}, false)
		if len(shown) != test.count || p.Page != test.at || p.Previous != test.previous || p.Next != test.next || p.Pages != 3 {
			t.Errorf("%s: got %d of %+v", name, len(shown), p)
		}
	}
	if shown, p := cutPage([]int(nil), "/x", url.Values{}, false); len(shown) != 0 || p.Pages != 1 {
		t.Errorf("an empty list: %+v", p)
	}
}

func TestHowFarAwayATimeIs(t *testing.T) {
	for after, want := range map[time.Duration]string{0: "just now", -30 * time.Second: "30 s ago", -5 * time.Minute: "5 min ago", -26 * time.Hour: "26 h ago", 72 * time.Hour: "in 3 d"} {
		if got := ago(noon, noon.Add(after)); got != want {
			t.Errorf("%s: got %q, want %q", after, got, want)
		}
	}
}

func TestBarsFillTheirPart(t *testing.T) {
	b := newBar("x", "", 10, amount{"bad", 2}, amount{"warn", 0}, amount{"good", 3})
	if len(b.Parts) != 2 || b.Parts[0] != (part{"bad", 0, 20}) || b.Parts[1] != (part{"good", 20, 30}) {
		t.Errorf("got %+v", b.Parts)
	}
	if b := newBar("x", "", 0, amount{"bad", 2}); len(b.Parts) != 0 {
		t.Errorf("of nothing: %+v", b.Parts)
	}
}

func TestColumnsStayInTheirPicture(t *testing.T) {
	var entries []decisions.Entry
	for n := range 500 {
		entries = append(entries, decisions.Entry{Time: noon.Add(time.Duration(n-450) * 10 * time.Second), Verdict: []string{"admitted", "denied", "fault"}[n%3]})
	}
	entries = append(entries, decisions.Entry{Time: noon.Add(-48 * time.Hour), Verdict: "denied"}, decisions.Entry{Time: noon.Add(48 * time.Hour), Verdict: "denied"})
	c := overTime(entries, noon)
	if len(c.Columns) != chartColumns || !strings.Contains(c.Summary, "decisions in the last hour") {
		t.Fatalf("got %+v", c)
	}
	for n, column := range c.Columns {
		for _, b := range column.Parts {
			if b.X < 0 || b.X+b.Width > float64(c.Width) || b.Y < 0 || b.Y+b.Height > float64(c.Base)+0.001 {
				t.Errorf("column %d leaves the picture: %+v", n, b)
			}
		}
	}
}

func TestTheLibraryIsListedWithItsProfiles(t *testing.T) {
	all, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]libraryPolicy{}
	for _, p := range all {
		byID[p.ID] = p
		if p.Title == "" || p.Severity == "" || p.First == "" {
			t.Errorf("%s lacks title, severity or description: %+v", p.ID, p)
		}
	}
	privileged := byID["pods/privileged"]
	if got := fmt.Sprint(privileged.Profiles); got != "[baseline restricted hardened system (warn)]" && !strings.Contains(got, "baseline") {
		t.Errorf("pods/privileged is in %s", got)
	}
	if !strings.HasPrefix(privileged.First, "A privileged container has every capability") || privileged.Severity != "critical" {
		t.Errorf("got %+v", privileged)
	}
}

func TestMetadataThatIsNoneIsAnError(t *testing.T) {
	for name, source := range map[string]string{"no metadata": "package x\n", "no YAML": "# METADATA\n# title: [\npackage x\n"} {
		if _, err := metadata(source); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
