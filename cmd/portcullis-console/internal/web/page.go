package web

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// page is what the layout shows around a body.
type page struct {
	Title, Path, User, CSRF, Namespace, Flash string
	Namespaces                                []string
	Nav                                       []link
	Data                                      any
}

type link struct {
	Title, Link string
	Here        bool
}

// pages are those of the navigation.
var pages = []struct{ title, path string }{
	{"Overview", "/"}, {"Decisions", "/decisions"}, {"Workloads", "/workloads"}, {"Policies", "/policies"}, {"Images", "/images"}, {"Quarantines", "/quarantines"}, {"Exceptions", "/exceptions"},
}

// address is a path with a query of what is not empty.
func address(path string, pairs ...string) string {
	query := url.Values{}
	for n := 0; n+1 < len(pairs); n += 2 {
		if pairs[n+1] != "" {
			query.Set(pairs[n], pairs[n+1])
		}
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// pageSize is how many rows a page has.
const pageSize = 50

// pager leads from one page of a list to the next.
type pager struct {
	Page, Pages, Total int
	Previous, Next     string
	More               bool // there are more than could be read
}

// cutPage gives one page of a list.
func cutPage[T any](items []T, path string, query url.Values, more bool) ([]T, pager) {
	count := max((len(items)+pageSize-1)/pageSize, 1)
	at, err := strconv.Atoi(query.Get("page"))
	if err != nil {
		at = 1
	}
	at = min(max(at, 1), count)
	p := pager{Page: at, Pages: count, Total: len(items), More: more}
	to := func(n int) string {
		if n < 1 || n > count {
			return ""
		}
		other := url.Values{}
		for key, values := range query {
			if key != "page" && len(values) > 0 && values[0] != "" {
				other.Set(key, values[0])
			}
		}
		other.Set("page", strconv.Itoa(n))
		return path + "?" + other.Encode()
	}
	p.Previous, p.Next = to(at-1), to(at+1)
	from := (at - 1) * pageSize
	return items[from:min(from+pageSize, len(items))], p
}

// ago says how far away a time is.
func ago(now, at time.Time) string {
	d, text := now.Sub(at), "%s ago"
	if d < 0 {
		d, text = -d, "in %s"
	}
	switch {
	case d < 2*time.Second:
		return "just now"
	case d < 2*time.Minute:
		return fmt.Sprintf(text, strconv.Itoa(int(d/time.Second))+" s")
	case d < 2*time.Hour:
		return fmt.Sprintf(text, strconv.Itoa(int(d/time.Minute))+" min")
	case d < 48*time.Hour:
		return fmt.Sprintf(text, strconv.Itoa(int(d/time.Hour))+" h")
	}
	return fmt.Sprintf(text, strconv.Itoa(int(d/(24*time.Hour)))+" d")
}

// short is a digest as people compare it.
func short(digest string) string {
	if rest, ok := strings.CutPrefix(digest, "sha256:"); ok && len(rest) > 12 {
		return "sha256:" + rest[:12]
	}
	return digest
}

// shortImage is a reference with its digest as people compare it.
func shortImage(image string) string {
	if name, digest, pinned := strings.Cut(image, "@"); pinned {
		return name + "@" + short(digest)
	}
	return image
}

// tones of words that say how something is; all others are a note.
var tones = map[string]string{
	"admitted": "good", "denied": "bad", "fault": "bad", "shed": "bad", "rejected": "bad", "deny": "bad", "warn": "warn", "undecided": "bad", "bad": "bad", "good": "good",
	"critical": "bad", "high": "warn", "Active": "good", "Shadow": "note", "Canary": "warn", "RolledBack": "bad", "Done": "good", "Failed": "bad",
	"AwaitingApproval": "warn", "Containing": "warn", "Contained": "good", "Isolated": "good", "Residual": "warn", "Unenforceable": "bad", "Unverified": "warn", "Refused": "bad",
}

func tone(word any) string {
	if known := tones[fmt.Sprint(word)]; known != "" {
		return known
	}
	return "note"
}

func millis(microseconds int64) string {
	return strconv.FormatFloat(float64(microseconds)/1000, 'f', 1, 64)
}
