package session

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// clock is a time that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)} }

// carry is a request with the cookies of an answer.
func carry(answer *httptest.ResponseRecorder, change func(*http.Cookie)) *http.Request {
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, cookie := range answer.Result().Cookies() {
		if change != nil {
			change(cookie)
		}
		if cookie.MaxAge >= 0 {
			request.AddCookie(cookie)
		}
	}
	return request
}

func TestASessionIsWhatWasBegunUntilItEnds(t *testing.T) {
	for _, size := range []int{20, 900, 4000, MaxToken} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			at := newClock()
			cookies := NewCookies(true, time.Hour, at.now)
			token := strings.Repeat("t", size)
			answer := httptest.NewRecorder()
			begun, err := cookies.Begin(answer, "ann", token, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			for _, cookie := range answer.Result().Cookies() {
				if len(cookie.String()) > 4096 || strings.Contains(cookie.Value, "tttttttttt") {
					t.Errorf("the cookie %s has %d bytes", cookie.Name, len(cookie.String()))
				}
			}
			got := cookies.Of(carry(answer, nil))
			if got == nil || got.Token != token || got.Name != "ann" || got.ID != begun.ID {
				t.Fatal("it is another one")
			}
			if at.at = at.at.Add(time.Hour - time.Second); cookies.Of(carry(answer, nil)) == nil {
				t.Error("it ended too early")
			}
			if at.at = at.at.Add(time.Second); cookies.Of(carry(answer, nil)) != nil {
				t.Error("it did not end")
			}
		})
	}
}

func TestWhatIsNoSessionOpensNone(t *testing.T) {
	at := newClock()
	cookies := NewCookies(true, time.Hour, at.now)
	answer := httptest.NewRecorder()
	if _, err := cookies.Begin(answer, "ann", strings.Repeat("t", 5000), time.Time{}); err != nil {
		t.Fatal(err)
	}
	flip := func(n int) func(*http.Cookie) {
		return func(c *http.Cookie) {
			if strings.HasSuffix(c.Name, fmt.Sprint(n)) && c.MaxAge > 0 {
				middle := len(c.Value) / 2
				c.Value = c.Value[:middle] + string(c.Value[middle]^1) + c.Value[middle+1:]
			}
		}
	}
	for name, request := range map[string]*http.Request{
		"one that was changed":           carry(answer, flip(0)),
		"one whose second half was":      carry(answer, flip(1)),
		"one without its second half":    carry(answer, func(c *http.Cookie) { c.MaxAge -= 2 * c.MaxAge * strings.Count(c.Name, "-1") }),
		"nothing":                        httptest.NewRequest(http.MethodGet, "/", nil),
		"one under the name without TLS": carry(answer, func(c *http.Cookie) { c.Name = strings.TrimPrefix(c.Name, "__Host-") }),
	} {
		if cookies.Of(request) != nil {
			t.Errorf("%s opens a session", name)
		}
	}
	if NewCookies(true, time.Hour, at.now).Of(carry(answer, nil)) != nil {
		t.Error("one of another process opens a session")
	}
	// What was sealed for something else is none.
	sealed, err := cookies.sealer.seal("oidc", Session{ID: "x", Expires: at.at.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.AddCookie(&http.Cookie{Name: cookies.name(0), Value: sealed})
	if cookies.Of(request) != nil {
		t.Error("what was sealed for a login opens a session")
	}
}

func TestABrowserKnowsThatItHadASession(t *testing.T) {
	at := newClock()
	cookies := NewCookies(true, time.Hour, at.now)
	answer := httptest.NewRecorder()
	begun, err := cookies.Begin(answer, "ann", "t", at.at.Add(time.Minute-time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range answer.Result().Cookies() {
		if cookie.MaxAge > 0 && cookie.MaxAge < 60 {
			t.Errorf("the browser forgets %s after %d seconds, before the session is over", cookie.Name, cookie.MaxAge)
		}
	}
	for name, test := range map[string]struct {
		request      *http.Request
		after        time.Duration
		was, expired bool
	}{
		"while it lasts":          {carry(answer, nil), 0, true, false},
		"when it is over":         {carry(answer, nil), time.Minute, true, true},
		"that never began":        {httptest.NewRequest(http.MethodGet, "/", nil), time.Minute, false, false},
		"that somebody made up":   {carry(answer, func(c *http.Cookie) { c.Value = "x" }), time.Minute, false, false},
		"that somebody prolonged": {carry(answer, func(c *http.Cookie) { c.Value = "9999999999" }), time.Minute, true, false},
	} {
		at := &clock{at.at.Add(test.after)}
		cookies.now = at.now
		if was, expired := cookies.Over(test.request); was != test.was || expired != test.expired {
			t.Errorf("a session %s: got %t, %t", name, was, expired)
		}
		if test.after > 0 && cookies.Of(test.request) != nil {
			t.Errorf("a session %s goes on", name)
		}
	}
	cookies.now = at.now
	out := httptest.NewRecorder()
	cookies.End(out, begun)
	if was, _ := cookies.Over(carry(out, nil)); was {
		t.Error("who logged out is told that the session is over")
	}
}

func TestASessionEndsWithItsToken(t *testing.T) {
	at := newClock()
	cookies := NewCookies(true, time.Hour, at.now)
	begun, err := cookies.Begin(httptest.NewRecorder(), "ann", "t", at.at.Add(time.Minute))
	if err != nil || !begun.Expires.Equal(at.at.Add(time.Minute)) {
		t.Errorf("got %v, %v, want a minute", begun, err)
	}
	if _, err := cookies.Begin(httptest.NewRecorder(), "ann", "t", at.at); err == nil {
		t.Error("an expired token began a session")
	}
	if _, err := cookies.Begin(httptest.NewRecorder(), "ann", strings.Repeat("t", MaxToken+1), time.Time{}); !errors.Is(err, ErrTooLong) {
		t.Errorf("a token that is too long: %v", err)
	}
}

func TestWhoLogsOutIsOut(t *testing.T) {
	at := newClock()
	cookies := NewCookies(true, time.Hour, at.now)
	answer := httptest.NewRecorder()
	begun, err := cookies.Begin(answer, "ann", "t", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	cookies.End(httptest.NewRecorder(), begun)
	if cookies.Of(carry(answer, nil)) != nil {
		t.Error("copied cookies go on")
	}
	for n := range maxEnded {
		cookies.ended[fmt.Sprint(n)] = at.at.Add(time.Hour)
	}
	again := httptest.NewRecorder()
	if begun, err = cookies.Begin(again, "ann", "t", time.Time{}); err != nil {
		t.Fatal(err)
	}
	cookies.End(httptest.NewRecorder(), begun)
	if cookies.Of(carry(again, nil)) != nil || len(cookies.ended) > maxEnded {
		t.Error("with no room to remember who is out, copied cookies go on")
	}
}

func TestFormsAreOfOneSession(t *testing.T) {
	cookies := NewCookies(true, time.Hour, newClock().now)
	one, other := &Session{ID: "one"}, &Session{ID: "other"}
	if !cookies.CheckCSRF(one, cookies.CSRF(one)) || cookies.CheckCSRF(other, cookies.CSRF(one)) || cookies.CheckCSRF(one, "") {
		t.Error("a form's token is taken of another session, or its own is not")
	}
}

func TestASessionPrintsWithoutItsToken(t *testing.T) {
	s := Session{ID: "ABCDEFGHIJKLMN", Name: "ann", Token: "canary"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "session", s, "pointer", &s)
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), fmt.Sprintf("%+v", &s), log.String()} {
		if strings.Contains(text, "canary") || strings.Contains(text, "IJKLMN") {
			t.Errorf("it prints as %s", text)
		}
	}
}

func TestALinkWorksOnce(t *testing.T) {
	at := newClock()
	once := NewOnce(at.now)
	code := once.Code()
	if once.Use("") || once.Use("guessed") || !once.Use(code) || once.Use(code) || once.Use("") {
		t.Error("it works by another code, or not once")
	}
	late := NewOnce(at.now)
	if at.at = at.at.Add(OnceLifetime); late.Use(late.Code()) {
		t.Error("it works after its time")
	}
}

func TestLimitsAreForEachOne(t *testing.T) {
	at := newClock()
	limits := NewLimits(at.now)
	var leave []func()
	for range maxStreams {
		end, ok := limits.Enter("ann", true)
		if !ok {
			t.Fatal("refused too early")
		}
		leave = append(leave, end)
	}
	if _, ok := limits.Enter("ann", true); ok {
		t.Error("one stream too many")
	}
	if _, ok := limits.Enter("bob", true); !ok {
		t.Error("somebody else is refused")
	}
	leave[0]()
	if _, ok := limits.Enter("ann", true); !ok {
		t.Error("refused though one has ended")
	}
	for n := range maxSessions {
		limits.Enter(fmt.Sprint(n), true)
	}
	if _, ok := limits.Enter("one too many", false); ok || len(limits.who) > maxSessions {
		t.Errorf("%d are counted", len(limits.who))
	}
}

func TestWhenATokenExpires(t *testing.T) {
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
	}
	for name, test := range map[string]struct {
		token string
		want  time.Time
	}{
		"one that says":           {jwt(`{"exp": 1790000000}`), time.Unix(1790000000, 0)},
		"one that says nothing":   {jwt(`{"sub": "x"}`), time.Time{}},
		"one that says nonsense":  {jwt(`{"exp": "soon"}`), time.Time{}},
		"one that says too much":  {jwt(`{"exp": 1e300}`), time.Time{}},
		"no JSON Web Token":       {"static", time.Time{}},
		"one that is not encoded": {"a.%.c", time.Time{}},
	} {
		if got := ExpiryOf(test.token); !got.Equal(test.want) {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

func FuzzExpiryOf(f *testing.F) {
	f.Add("e30.eyJleHAiOjF9.x")
	f.Fuzz(func(t *testing.T, token string) {
		if at := ExpiryOf(token); !at.IsZero() && at.Unix() <= 0 {
			t.Errorf("got %s", at)
		}
	})
}
