package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/test/browser"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

var update = flag.Bool("update", false, "take the pictures of docs/console anew")

// pictures is where they are kept.
const pictures = "../../docs/console"

// launch opens a browser.
func launch(t *testing.T) *browser.Browser {
	t.Helper()
	path := browser.Find()
	if path == "" {
		t.Skip("there is no Chromium on this machine")
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) }) // some process of the browser may write there to its end
	b, err := browser.Start(t.Context(), path, profile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// surf opens a browser that is logged in.
func surf(t *testing.T, c *console, token string) *browser.Browser {
	t.Helper()
	b := launch(t)
	visit(t, b, c.base+"/login")
	// As somebody without a mouse does it: to the field, the token, to the button.
	ctx := t.Context()
	evaluate(t, b, "document.getElementById('token').focus()", nil)
	if err := b.Type(ctx, token); err != nil {
		t.Fatal(err)
	}
	if err := b.Press(ctx, "Tab"); err != nil {
		t.Fatal(err)
	}
	if err := b.Loading(ctx, func() error { return b.Press(ctx, "Enter") }); err != nil {
		t.Fatal(err)
	}
	arrive(t, b, "Overview")
	return b
}

// arrive waits for one of some pages, to its end: else its load event would be taken for that of the next one.
func arrive(t *testing.T, b *browser.Browser, titles ...string) (at string) {
	t.Helper()
	clustertest.Until(t, "the page "+strings.Join(titles, " or "), func() bool {
		var is string
		if b.Evaluate(t.Context(), "document.readyState + document.title", &is) != nil {
			return false
		}
		for _, title := range titles {
			if strings.HasPrefix(is, "complete"+title) {
				at = title
				return true
			}
		}
		return false
	})
	return at
}

func visit(t *testing.T, b *browser.Browser, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := b.Open(ctx, address); err != nil {
		t.Fatal(err)
	}
}

func evaluate(t *testing.T, b *browser.Browser, script string, into any) {
	t.Helper()
	if err := b.Evaluate(t.Context(), script, into); err != nil {
		t.Fatal(err)
	}
}

// A real browser shows what attackers write into objects as text, on each page and in the stream, and has nothing to complain about.
func TestABrowserShowsHostileTextsAsTexts(t *testing.T) {
	w := theWorld(t)
	w.story(t, hostile)
	c := w.open(t)
	b := surf(t, c, w.token(t, "ann"))
	shown := 0
	for _, page := range allPages {
		visit(t, b, c.base+w.real(page))
		var found struct {
			Pwned, Text bool
			Title       string
			Broken      []string
		}
		evaluate(t, b, `({pwned: !!document.getElementById("pwned"), text: document.body.textContent.includes('<img id=pwned'), title: document.title,
			broken: [...document.querySelectorAll("table th:not([scope]), input:not([type=hidden]), select, textarea, svg:not([aria-hidden]):not([role])")].filter(e => e.tagName === "TH" || !(e.labels && e.labels.length || e.ariaLabel)).map(e => e.outerHTML.slice(0, 200))})`, &found)
		if found.Pwned || strings.Contains(found.Title, "pwned") {
			t.Errorf("%s: an element of an attacker is on the page", page)
		}
		if found.Text {
			shown++
		}
		if len(found.Broken) > 0 {
			t.Errorf("%s: without a name for screen readers: %s", page, found.Broken)
		}
	}
	if shown < 6 {
		t.Errorf("hostile texts were shown on %d pages, want them on at least 6: the test looks at nothing", shown)
	}
	visit(t, b, c.base+"/decisions?namespace=shop")
	clustertest.Until(t, "the stream being open", func() bool {
		var state string
		return b.Evaluate(t.Context(), `document.getElementById("live-state").textContent`, &state) == nil && strings.HasPrefix(state, "Live")
	})
	w.ring.Add(denied("shop", "streamed"))
	clustertest.Until(t, "a decision in the stream", func() bool {
		var text string
		return b.Evaluate(t.Context(), `document.querySelector("#decisions tr").textContent`, &text) == nil && strings.Contains(text, "streamed") && strings.Contains(text, "<img id=pwned")
	})
	var pwned bool
	evaluate(t, b, `!!document.getElementById("pwned") || document.title.includes("pwned")`, &pwned)
	if pwned {
		t.Error("an attacker's element came by the stream")
	}
	if complaints := b.Complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(complaints, "\n"))
	}
}

// That the browser would complain, and that the policy is in force, is seen by breaking it.
func TestTheContentSecurityPolicyIsInForce(t *testing.T) {
	w := theWorld(t)
	c := w.open(t)
	b := surf(t, c, w.token(t, "bob"))
	b.Complaints()
	evaluate(t, b, `(() => { const i = document.createElement("img"); i.src = "https://evil.example.com/x.png"; document.body.append(i); })()`, nil)
	clustertest.Until(t, "a complaint about an image of another host", func() bool {
		return strings.Contains(strings.Join(b.Complaints(), ""), "img-src")
	})
	if err := b.Evaluate(t.Context(), `document.body.insertAdjacentHTML("beforeend", "<b>x</b>")`, nil); err == nil {
		t.Error("a script may parse HTML: trusted types are not required")
	}
}

// Whoever has no mouse gets everywhere, and sees where they are.
func TestPagesAreUsedByKeyboard(t *testing.T) {
	w := theWorld(t)
	w.story(t, hostile)
	c := w.open(t)
	b := surf(t, c, w.token(t, "ann"))
	visit(t, b, c.base+w.real("/quarantine?name=q-shop"))
	press := func(key string) {
		t.Helper()
		if err := b.Press(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	var focus string
	press("Tab")
	evaluate(t, b, `document.activeElement.textContent`, &focus)
	if focus != "Skip to content" {
		t.Fatalf("the first stop is %q, want the link to the content", focus)
	}
	press("Enter")
	clustertest.Until(t, "the focus in the content", func() bool {
		return b.Evaluate(t.Context(), `document.activeElement.id`, &focus) == nil && focus == "main"
	})
	press("Tab")
	evaluate(t, b, `document.activeElement.id + " " + getComputedStyle(document.activeElement).outlineStyle`, &focus)
	if focus != "approve-reason solid" {
		t.Fatalf("after the skip the focus is at %q, want the reason, with an outline", focus)
	}
	if err := b.Type(t.Context(), "Confirmed with the owner"); err != nil {
		t.Fatal(err)
	}
	press("Tab")
	if err := b.Loading(t.Context(), func() error { return b.Press(t.Context(), "Enter") }); err != nil {
		t.Fatal(err)
	}
	var text string
	evaluate(t, b, `document.querySelector("[role=status]").textContent`, &text)
	if !strings.Contains(text, "It is approved") {
		t.Errorf("the page says %q", text)
	}
	if by := nested(w.quarantine(t, w.real("q-shop")), "spec", "approval", "by"); by != "ann" {
		t.Errorf("it is approved by %q, want ann", by)
	}
}

// contrast finds texts whose colour is too near to what is behind them (WCAG 2.2, 1.4.3: 4.5 to 1, or 3 to 1 for large ones).
const contrast = `(() => {
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return {r: m[0], g: m[1], b: m[2], a: m.length > 3 ? m[3] : 1}; };
  const light = c => { const f = v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }; return .2126 * f(c.r) + .7152 * f(c.g) + .0722 * f(c.b); };
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.a > .99) return c; } return {r: 255, g: 255, b: 255}; };
  const bad = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || !e.getClientRects().length || e.closest("svg, datalist, option, .visually-hidden, .skip")) continue;
    const style = getComputedStyle(e), a = light(parse(style.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05), size = parseFloat(style.fontSize);
    if (ratio < (size >= 24 || size >= 18.66 && style.fontWeight >= 700 ? 3 : 4.5)) bad.push(ratio.toFixed(2) + " " + e.tagName + "." + e.className + " " + texts.currentNode.textContent.trim().slice(0, 40));
  }
  return bad;
})()`

// views are the pages that are looked at, and how.
var views = []struct {
	picture, page, colours string
	width, height          int
}{
	{"overview", "/", "light", 1280, 1150},
	{"overview-dark", "/", "dark", 1280, 1150},
	{"overview-narrow", "/", "light", 400, 1000},
	{"decisions", "/decisions?verdict=denied", "light", 1280, 900},
	{"decisions-dark", "/decisions", "dark", 1280, 900},
	{"timeline", "/workload?kind=Deployment&in=shop&name=web", "light", 1280, 1100},
	{"timeline-narrow-dark", "/workload?kind=Deployment&in=shop&name=web", "dark", 400, 1000},
	{"policies", "/policies", "light", 1280, 1100},
	{"images", "/images", "dark", 1280, 700},
	{"quarantine", "/quarantine?name=q-shop", "light", 1280, 1000},
	{"exceptions", "/exceptions", "light", 1280, 700},
	{"workloads", "/workloads", "dark", 400, 800},
	{"quarantines", "/quarantines", "dark", 1280, 600},
}

// Texts can be read in both schemes of colours, and nothing is wider than a narrow window. With -update the pictures of the documentation are taken.
func TestPagesCanBeReadLightAndDarkWideAndNarrow(t *testing.T) {
	w := theWorld(t)
	w.story(t, "")
	c := w.open(t)
	b := surf(t, c, w.token(t, "ann"))
	for _, view := range views {
		t.Run(view.picture, func(t *testing.T) {
			if err := b.Look(t.Context(), view.width, view.height, view.colours); err != nil {
				t.Fatal(err)
			}
			visit(t, b, c.base+w.real(view.page))
			var bad []string
			evaluate(t, b, contrast, &bad)
			if len(bad) > 0 {
				t.Errorf("hard to read: %s", strings.Join(bad, "\n"))
			}
			var tooWide int
			evaluate(t, b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`, &tooWide)
			if tooWide > 0 {
				t.Errorf("the page is %d pixels wider than a window of %d", tooWide, view.width)
			}
			picture, err := b.Picture(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(picture) > 300<<10 {
				t.Errorf("the picture has %d bytes, want less than 300 KiB", len(picture))
			}
			if *update {
				if err := os.WriteFile(filepath.Join(pictures, view.picture+".png"), picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if complaints := b.Complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(complaints, "\n"))
	}
}
