package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/proposals/capacity"
	"github.com/portcullis-dev/portcullis/admission/proposals/defaultdeny"
	"github.com/portcullis-dev/portcullis/policies"
)

// evil is what objects may say. Nothing of it may become markup, a script or an address of the page.
const evil = `"><script>document.title='owned'</script><img src=x onerror="document.title='owned'">{{.}}` + "\u202e\x1b[31m"

// samplePage is a page with everything on it.
func samplePage(t *testing.T) *auditPage {
	t.Helper()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	posture := &audit.Posture{MaxSamples: 40}
	rules := []gate.Rule{{ID: "pods/privileged", Title: "Privileged containers"}, {ID: "pods/evil", Title: evil}}
	severities := []string{"critical", "high", "medium", "low"}
	for n := range 60 {
		result := audit.Result{Object: audit.Reference{Version: "v1", Kind: "Pod", Resource: "pods", Namespace: fmt.Sprintf("team-%02d", n*n%31), Name: fmt.Sprintf("web-%d", n)}, Revision: "shop@1"}
		for k := range n % 5 {
			finding := policies.Finding{Policy: fmt.Sprintf("pods/rule-%02d", (n+k*7)%29), Title: "A rule", Severity: severities[(n+k)%4], Message: `container "app" is privileged`, Path: "spec.containers[0].securityContext.privileged", Remediation: "Set it to false.", Enforcement: policies.Enforcement(k % 3)}
			if k == 3 {
				finding.ExceptedBy, finding.ExceptedUntil = fmt.Sprintf("legacy-%d", n), now.AddDate(0, 0, n*3).Format(time.DateOnly)
			}
			result.Findings = append(result.Findings, finding)
		}
		posture.Add(&result)
	}
	posture.Add(&audit.Result{
		Object:   audit.Reference{Version: "v1", Kind: "Pod", Resource: "pods", Namespace: evil, Name: evil},
		Findings: []policies.Finding{{Policy: "pods/evil", Title: evil, Severity: "critical", Message: evil, Path: evil, Remediation: evil}, {Policy: "pods/evil", Severity: evil, Message: evil, ExceptedBy: evil, ExceptedUntil: evil}},
	})
	posture.Incomplete(audit.Gap{What: "secrets", Reason: "the API server refuses to list it: grant get, list and watch on secrets"}, audit.Gap{What: evil, Reason: evil})
	ledger := capacity.NewLedger()
	for n := range 12 {
		namespace := fmt.Sprintf("team-%02d", n)
		ledger.Add("", "Pod", namespace, fmt.Appendf(nil, `{"metadata":{"name":"web"},"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"%dm","memory":"%dMi"},"limits":{"memory":"2Gi"}}}]}}`, 300*n, 150*n))
		ledger.Add("metrics.k8s.io", "PodMetrics", namespace, fmt.Appendf(nil, `{"metadata":{"name":"web"},"containers":[{"name":"app","usage":{"cpu":"%dm","memory":"%dMi"}}]}`, 40*n*n%900, 170*n))
	}
	ledger.Add("", "Pod", evil, []byte(`{"metadata":{"name":"a"},"spec":{"containers":[{"name":"<b onclick=x>"}]}}`))
	price, err := capacity.ParsePrice("0.03")
	if err != nil {
		t.Fatal(err)
	}
	report := ledger.Report(capacity.Thresholds{}, capacity.Prices{CPUHour: price})
	var history []historyEntry
	for n := range 30 {
		history = append(history, historyEntry{At: now.AddDate(0, 0, 3*n-87), Of: evil, Complete: n != 12, Objects: 60, Critical: 30 - n/2, High: 22 - n/3, Medium: 18 + n%3, Low: 20 + n%5})
	}
	summary := posture.Summary(now)
	return &auditPage{
		Head:    gate.Run{Version: "test", Bundle: "shop@1 " + evil, BundleName: "shop", BundleDigest: "sha256:00", Profile: evil, Rules: rules},
		Summary: gate.Summary{Exit: gate.ExitDenied},
		Outcome: &auditOutcome{Of: evil, Posture: summary, auditProposals: auditProposals{
			Capacity: &report, Notes: []string{evil},
			Network: []defaultdeny.Proposal{{Namespace: "team-01", Directions: []string{"Ingress"}, Pods: 3, Hints: []defaultdeny.Hint{{Workload: "Deployment/" + evil, Pods: 3, Needs: []string{evil}, Loses: []string{evil}}}}},
		}},
		Problems: []gate.Problem{{Location: gate.Location{File: evil}, Message: evil}},
		History:  history, Now: now,
	}
}

func render(t *testing.T, page *auditPage) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeAuditPage(&b, page); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestThePageIsAsItWas(t *testing.T) {
	const golden = "testdata/audit.golden.html"
	got := render(t, samplePage(t))
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the page differs from %s: look at it, and run the test with -update", golden)
	}
}

// nodes visits all elements of a page.
func nodes(t *testing.T, page []byte, visit func(*html.Node)) {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for node := range root.Descendants() {
		if node.Type == html.ElementNode {
			visit(node)
		}
	}
}

func attribute(node *html.Node, name string) (string, bool) {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func TestNothingOfAnObjectBecomesMarkup(t *testing.T) {
	page := render(t, samplePage(t))
	allowed := regexp.MustCompile(`^(html|head|meta|title|style|body|a|header|h[123]|p|nav|ul|li|main|div|strong|code|dl|dt|dd|section|svg|rect|line|polygon|i|table|caption|thead|tbody|tr|th|td|small|details|summary|span|br|footer)$`)
	nodes(t, page, func(node *html.Node) {
		if !allowed.MatchString(node.Data) {
			t.Errorf("the page has an element %s, want none", node.Data)
		}
		for _, a := range node.Attr {
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "src", a.Key == "srcset":
				t.Errorf("the element %s has the attribute %s=%q, want none", node.Data, a.Key, a.Val)
			case a.Key == "href" && !strings.HasPrefix(a.Val, "#"):
				t.Errorf("the page leads to %q, want only to itself", a.Val)
			}
		}
	})
	if bytes.ContainsAny(page, "\x1b\u202e") {
		t.Error("the page has control characters of objects, want them shown as text")
	}
	if count := bytes.Count(page, []byte("owned")); count < 20 {
		t.Errorf("the page says what the object says %d times, want it escaped, and not lost", count)
	}
}

func TestThePageIsAccessible(t *testing.T) {
	ids := map[string]int{}
	var anchors, labelled []string
	var mains, ones int
	nodes(t, render(t, samplePage(t)), func(node *html.Node) {
		if id, ok := attribute(node, "id"); ok {
			ids[id]++
		}
		if by, ok := attribute(node, "aria-labelledby"); ok {
			labelled = append(labelled, by)
		}
		switch node.Data {
		case "html":
			if lang, _ := attribute(node, "lang"); lang != "en" {
				t.Errorf("the page is in %q, want en", lang)
			}
		case "main":
			mains++
		case "h1":
			ones++
		case "a":
			href, _ := attribute(node, "href")
			anchors = append(anchors, strings.TrimPrefix(href, "#"))
		case "svg":
			_, hidden := attribute(node, "aria-hidden")
			label, named := attribute(node, "aria-label")
			if !hidden && (!named || label == "") {
				t.Error("a chart is neither hidden from screen readers nor has a name")
			}
		case "table":
			if first := node.FirstChild; first == nil || first.Data != "caption" {
				t.Error("a table has no caption")
			}
		case "th":
			if _, ok := attribute(node, "scope"); !ok {
				t.Error("a heading of a table does not say of what")
			}
		case "div":
			class, _ := attribute(node, "class")
			if _, focusable := attribute(node, "tabindex"); class == "scroll" && !focusable {
				t.Error("what scrolls cannot be scrolled by keyboard")
			}
		}
	})
	if mains != 1 || ones != 1 {
		t.Errorf("got %d main and %d h1, want one each", mains, ones)
	}
	for _, target := range append(anchors, labelled...) {
		if ids[target] != 1 {
			t.Errorf("there are %d elements with the id %q, want one", ids[target], target)
		}
	}
}

// TestThePageInABrowser loads the page in Chromium, wide and narrow, and asks what it complains about. The page of a real browser has
// to be what was written: a policy that blocks its style, or a script that ran, would show.
func TestThePageInABrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium: apt-get install chromium")
	}
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, render(t, samplePage(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, size := range []string{"1280,900", "400,800"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
		command := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
			"--enable-logging=stderr", "--v=0", "--user-data-dir="+t.TempDir(), "--window-size="+size, "--dump-dom", "file://"+file)
		var stdout, stderr bytes.Buffer
		command.Stdout, command.Stderr, command.WaitDelay = &stdout, &stderr, time.Second
		err := command.Run()
		cancel()
		// Processes that a browser leaves behind may hold its output open; it has said what it has to say.
		if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			t.Fatalf("%s: %v\n%s", size, err, &stderr)
		}
		for line := range strings.Lines(stderr.String()) {
			if strings.Contains(line, "CONSOLE") {
				t.Errorf("%s: the browser complains: %s", size, line)
			}
		}
		title := ""
		nodes(t, stdout.Bytes(), func(node *html.Node) {
			if node.Data == "title" && node.FirstChild != nil && node.Parent.Data == "head" {
				title = node.FirstChild.Data
			}
		})
		if !strings.HasPrefix(title, `Audit of "><script>`) {
			t.Errorf("%s: got the title %q, want that of the page, as written", size, title)
		}
	}
}

// Charts never draw beyond their place, whatever is counted.
func TestChartsStayInTheirPlace(t *testing.T) {
	for name, test := range map[string]struct {
		part, whole int
		want        string
	}{
		"a third":          {1, 3, "33.33"},
		"all":              {7, 7, "100.00"},
		"nothing":          {0, 7, "0.00"},
		"of nothing":       {1, 0, "0"},
		"a very small one": {1, 1_000_000, "0.00"},
	} {
		if got := share(test.part, test.whole); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
	for n, want := range map[int]int{0: 1, 1: 1, 3: 4, 9: 10, 11: 20, 79: 80, 81: 100} {
		if got := roundUp(n); got != want {
			t.Errorf("rounding %d up: got %d, want %d", n, got, want)
		}
	}
	page := samplePage(t)
	page.History = []historyEntry{{At: page.Now, Critical: 1}, {At: page.Now, Critical: 2}}
	if page.Timeline() != nil {
		t.Error("got a chart of a moment, want none")
	}
	page.History = append(page.History, historyEntry{At: page.Now.AddDate(0, 0, 2), Critical: 1})
	if got, want := page.Timeline().Areas[0].Points, "0,120 0,0 1000,120 1000,240 0,240 0,240"; got != want {
		t.Errorf("got the points %s, want %s", got, want)
	}
}

func TestExceptionsAge(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for until, want := range map[string]struct {
		days  int
		class string
	}{
		"2026-03-01T12:00:00Z": {0, "critical"}, "2026-03-02": {1, "critical"}, "2026-03-08T12:00:00Z": {7, "critical"}, "2026-03-08T12:00:01Z": {8, "high"},
		"2026-03-31T12:00:00Z": {30, "high"}, "2026-05-30T12:00:00Z": {90, "medium"}, "2027-01-01": {306, "low"}, "never": {0, "critical"},
	} {
		if days, class := daysLeft(until, now); days != want.days || class != want.class {
			t.Errorf("until %s: got %d days, %s, want %d days, %s", until, days, class, want.days, want.class)
		}
	}
}
