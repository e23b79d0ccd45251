package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

const oneRun = `{"at":"2026-01-02T00:00:00Z","of":"prod","complete":true,"objects":8,"violating":3,"critical":2,"high":1,"medium":0,"low":0,"excepted":0,"undecided":0,"faulty":0}`

func TestHistoriesAreReadWholeOrNotAtAll(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		want    int
		problem string
	}{
		"none yet":                     {"", 0, ""},
		"two runs":                     {oneRun + "\n" + oneRun + "\n", 2, ""},
		"a line without its end":       {oneRun, 1, ""},
		"an empty line":                {oneRun + "\n\n" + oneRun, 2, ""},
		"half a line":                  {oneRun + "\n" + oneRun[:50], 0, "line 2"},
		"a field that nobody knows":    {`{"at":"2026-01-02T00:00:00Z","x":1}`, 0, `unknown field "x"`},
		"two objects in a line":        {oneRun + oneRun, 0, "something follows"},
		"a run at no time":             {`{"of":"prod"}`, 0, "does not say when"},
		"a count below nothing":        {`{"at":"2026-01-02T00:00:00Z","high":-1}`, 0, "-1 is no count"},
		"a count beyond all objects":   {`{"at":"2026-01-02T00:00:00Z","high":9007199254740993}`, 0, "is no count"},
		"a line that is too long":      {`{"of":"` + strings.Repeat("a", maxHistoryLine) + `"}`, 0, "too long"},
		"more than a file of it holds": {strings.Repeat(strings.Repeat(" ", 8000)+"\n", maxHistoryFile/8000+2), 0, "larger than 8 MB"},
		"the last ones of many runs":   {strings.Repeat(oneRun+"\n", maxHistory+5), maxHistory, ""},
	} {
		t.Run(name, func(t *testing.T) {
			entries, err := readHistory(strings.NewReader(test.content))
			if len(entries) != test.want || (err == nil) != (test.problem == "") || err != nil && !strings.Contains(err.Error(), test.problem) {
				t.Errorf("got %d runs and %v, want %d and %q", len(entries), err, test.want, test.problem)
			}
		})
	}
}

func FuzzHistory(f *testing.F) {
	for _, seed := range []string{"", oneRun, oneRun + "\n" + oneRun, "{}", `{"at":"2026-01-02T00:00:00Z"}`, `{"at":"0001-01-01T00:00:00Z"}`, "[1]", "null\nnull"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		entries, err := readHistory(bytes.NewReader(content))
		if err != nil {
			return
		}
		// What was read is written, and read again the same; and can be drawn.
		var b bytes.Buffer
		for n := range entries {
			line, err := json.Marshal(entries[n])
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
		again, err := readHistory(&b)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(entries) {
			t.Fatalf("got %v and %v, want %v again", again, err, entries)
		}
		if len(entries) > 0 {
			page := &auditPage{History: historyOf(entries, entries[0].Of)}
			if chart := page.Timeline(); chart != nil {
				for _, area := range chart.Areas {
					for point := range strings.FieldsSeq(area.Points) {
						var x, y int
						if n, _ := fmt.Sscanf(point, "%d,%d", &x, &y); n != 2 || x < 0 || x > planeWidth || y < 0 || y > planeHeight {
							t.Fatalf("the point %s is outside of the chart", point)
						}
					}
				}
			}
		}
	})
}

func TestObjectsAreCountedOnATerminal(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	var b strings.Builder
	count := countingLine(&b, "judged %d objects", func() time.Time { return now })
	for n := range 4 {
		count(n)
		now = now.Add(600 * time.Millisecond)
	}
	if got, want := b.String(), "\r\x1b[Kjudged 2 objects\r\r\x1b[Kjudged 3 objects\r"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
