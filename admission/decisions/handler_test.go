package decisions

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// canary is a token that must be nowhere but in the header.
const canary = "canary-5b1f0e2a-token"

// desk is an API server that knows some users, for what a real one does not do on demand: fail, count, change its mind.
type desk struct {
	users         map[string]string // token -> name
	rights        map[string]bool   // "user namespace subresource"
	reviews, asks atomic.Int64
	failing       atomic.Bool
	revoked       atomic.Bool // every token
}

func (d *desk) client() *fake.Clientset {
	client := fake.NewClientset()
	client.PrependReactor("create", "tokenreviews", func(action clienttesting.Action) (bool, k8sruntime.Object, error) {
		d.reviews.Add(1)
		review := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview)
		if d.failing.Load() {
			return true, nil, errors.New("the API server is away, said " + review.Spec.Token)
		}
		name, known := d.users[review.Spec.Token]
		known = known && !d.revoked.Load()
		return true, &authenticationv1.TokenReview{Status: authenticationv1.TokenReviewStatus{Authenticated: known, User: authenticationv1.UserInfo{Username: name}}}, nil
	})
	client.PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, k8sruntime.Object, error) {
		d.asks.Add(1)
		if d.failing.Load() {
			return true, nil, errors.New("the API server is away")
		}
		spec := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).Spec
		of := spec.ResourceAttributes
		right := of.Verb == Verb && of.Group == Group && of.Resource == Resource && d.rights[spec.User+" "+of.Namespace+" "+of.Subresource]
		return true, &authorizationv1.SubjectAccessReview{Status: authorizationv1.SubjectAccessReviewStatus{Allowed: right}}, nil
	})
	return client
}

// scene is a server with decisions of three places.
type scene struct {
	t       *testing.T
	desk    *desk
	ring    *Ring
	server  *httptest.Server
	closing chan struct{}
	log     *bytes.Buffer
	now     atomic.Int64
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, ring: NewRing(100, "p"), closing: make(chan struct{}), log: &bytes.Buffer{}, desk: &desk{
		users:  map[string]string{"t-root": "root", "t-ann": "ann", "t-bob": "bob", canary: "carl"},
		rights: map[string]bool{"root  ": true, "root  users": true, "ann shop ": true, "carl shop ": true, "carl shop users": true},
	}}
	handler, err := NewHandler(s.ring, Options{Client: s.desk.client(), Closing: s.closing, Logger: slog.New(slog.NewJSONHandler(s.log, nil)),
		Now: func() time.Time { return time.Unix(1_800_000_000+s.now.Load(), 0) }})
	if err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewServer(handler)
	t.Cleanup(s.server.Close)
	for _, namespace := range []string{"shop", "bank", ""} {
		s.ring.Add(Entry{ID: "in-" + namespace, Namespace: namespace, User: "dora", Verdict: "denied", Reasons: []Reason{{Effect: "deny", Message: "password=hunter2-very-long in " + namespace}}})
	}
	return s
}

func (s *scene) get(ctx context.Context, token, query string) *http.Response {
	s.t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+Path+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := s.server.Client().Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { response.Body.Close() })
	return response
}

// read is what somebody sees at once.
func (s *scene) read(token, query string) (int, string) {
	s.t.Helper()
	response := s.get(s.t.Context(), token, query)
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestWhoSeesWhat(t *testing.T) {
	s := newScene(t)
	for name, test := range map[string]struct {
		token, query string
		code         int
		sees         []string
		says         string
	}{
		"whoever may see all sees all":            {"t-root", "", 200, []string{"in-shop", "in-bank", "in-"}, `"dora"`},
		"a viewer of one namespace sees that":     {"t-ann", "", 200, []string{"in-shop"}, `"user-`},
		"one that is named":                       {"t-ann", "?namespace=shop", 200, []string{"in-shop"}, ""},
		"another one is refused":                  {"t-ann", "?namespace=bank", 403, nil, "you may not see decisions about bank"},
		"users are named to whoever may see them": {canary, "", 200, []string{"in-shop"}, `"dora"`},
		"without rights there is nothing":         {"t-bob", "", 200, nil, ""},
		"without rights a namespace is refused":   {"t-bob", "?namespace=shop", 403, nil, "ask for the verb get"},
		"an unknown token":                        {"t-nobody", "", 401, nil, "log in again"},
		"no token":                                {"", "", 401, nil, "send a bearer token"},
		"a token that is too long":                {strings.Repeat("x", maxToken+1), "", 401, nil, "log in again"},
		"the last ones":                           {"t-root", "?limit=1", 200, []string{"in-"}, ""},
		"what comes behind one":                   {"t-root", "?after=2", 200, []string{"in-"}, ""},
		"a limit that is none":                    {"t-root", "?limit=0", 400, nil, "from 1 to 1000"},
		"a sequence that is none":                 {"t-root", "?after=x", 400, nil, "after is no sequence"},
		"a namespace that is none":                {"t-root", "?namespace=A%20b", 400, nil, "the namespace is none"},
		"neither to follow nor not":               {"t-root", "?follow=maybe", 400, nil, "neither true nor false"},
	} {
		t.Run(name, func(t *testing.T) {
			code, body := s.read(test.token, test.query)
			if code != test.code || !strings.Contains(body, test.says) {
				t.Fatalf("got %d %s, want %d and %q in it", code, body, test.code, test.says)
			}
			if strings.Contains(body, "hunter2") {
				t.Errorf("a credential of a message is shown: %s", body)
			}
			if code != http.StatusOK {
				return
			}
			var sees []string
			for line := range strings.Lines(body) {
				var entry Entry
				if err := json.Unmarshal([]byte(line), &entry); err != nil {
					t.Fatalf("%v: %s", err, line)
				}
				sees = append(sees, entry.ID)
			}
			if !slices.Equal(sees, test.sees) {
				t.Errorf("sees %q, want %q", sees, test.sees)
			}
		})
	}
	if strings.Contains(s.log.String(), canary) {
		t.Errorf("the token is in the log: %s", s.log)
	}
}

func TestAnswersOfTheAPIServerCountForAMoment(t *testing.T) {
	s := newScene(t)
	for range 3 {
		s.read("t-ann", "")
	}
	if reviews := s.desk.reviews.Load(); reviews != 1 {
		t.Errorf("whose the token is was asked %d times, want once", reviews)
	}
	s.desk.rights = map[string]bool{}
	s.now.Add(int64(knownFor/time.Second) + 1)
	if _, body := s.read("t-ann", ""); body != "" {
		t.Errorf("after the right was taken away: %q, want nothing", body)
	}
}

func TestWhoCannotBeAskedAboutSeesNothing(t *testing.T) {
	s := newScene(t)
	s.desk.failing.Store(true)
	code, body := s.read(canary, "")
	if code != http.StatusServiceUnavailable || strings.Contains(body, "in-shop") || !strings.Contains(body, "try again") {
		t.Errorf("got %d %s, want 503 and nothing of it", code, body)
	}
	if strings.Contains(s.log.String()+body, canary) {
		t.Errorf("the token is in what is said: %s %s", s.log, body)
	}
}

func TestStrangersCannotHaveTheAPIServerAskedWithoutEnd(t *testing.T) {
	s := newScene(t)
	busy := 0
	for n := range 200 {
		if code, _ := s.read("stranger-"+strings.Repeat("x", n), ""); code == http.StatusTooManyRequests {
			busy++
		}
	}
	if asked := s.desk.reviews.Load(); asked != sourceBurst || busy != 200-sourceBurst {
		t.Errorf("200 unknown tokens: asked %d times, refused %d: want %d and the others refused", asked, busy, sourceBurst)
	}
	if code, _ := s.read("t-nobody-else", ""); code != http.StatusTooManyRequests && code != http.StatusUnauthorized {
		t.Errorf("got %d", code)
	}
}

func TestFollowersSeeWhatComesUntilTheReplicaEnds(t *testing.T) {
	s := newScene(t)
	response := s.get(t.Context(), "t-ann", "?follow=true")
	lines := bufio.NewScanner(response.Body)
	next := func() string {
		for lines.Scan() {
			if len(lines.Bytes()) > 0 {
				return lines.Text()
			}
		}
		return ""
	}
	if line := next(); !strings.Contains(line, "in-shop") {
		t.Fatalf("the first line is %q", line)
	}
	s.ring.Add(Entry{ID: "hidden", Namespace: "bank"})
	s.ring.Add(Entry{ID: "new", Namespace: "shop"})
	if line := next(); !strings.Contains(line, `"new"`) {
		t.Fatalf("the next line is %q, want the new one of shop", line)
	}
	close(s.closing)
	if line := next(); !strings.Contains(line, "shutting down") {
		t.Errorf("the last line is %q", line)
	}
	if line := next(); line != "" {
		t.Errorf("there is more: %q", line)
	}
}

func TestAFollowerThatIsTooSlowIsToldWhatItMissed(t *testing.T) {
	s := newScene(t)
	s.read("t-root", "?after=1") // it is known
	for n := range 300 {
		s.ring.Add(Entry{ID: "flood", Namespace: "shop", Microseconds: int64(n)})
	}
	_, body := s.read("t-root", "?after=2")
	if !strings.HasPrefix(body, `{"notice":"201 decisions are gone`) {
		t.Errorf("begins with %.100q, want a notice of 201 that are gone", body)
	}
}

func TestOneUserCannotTakeAllPlaces(t *testing.T) {
	s := newScene(t)
	for range maxReadersOfUser {
		if response := s.get(t.Context(), "t-ann", "?follow=true"); response.StatusCode != http.StatusOK {
			t.Fatal(response.Status)
		}
	}
	if code, body := s.read("t-ann", ""); code != http.StatusTooManyRequests || !strings.Contains(body, "end another reader") {
		t.Errorf("one more of ann: %d %s, want 429", code, body)
	}
	if code, _ := s.read("t-root", ""); code != http.StatusOK {
		t.Errorf("another user: %d, want 200", code)
	}
}

func TestOnlyGET(t *testing.T) {
	s := newScene(t)
	response, err := s.server.Client().Post(s.server.URL, "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != http.MethodGet {
		t.Errorf("got %s", response.Status)
	}
}
