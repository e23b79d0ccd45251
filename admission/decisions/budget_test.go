package decisions

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// from sends a request as from some address, and gives the status.
func (s *scene) from(address, token string) int {
	s.t.Helper()
	request := httptest.NewRequest(http.MethodGet, Path, nil)
	request.RemoteAddr = address
	request.Header.Set("Authorization", "Bearer "+token)
	answer := httptest.NewRecorder()
	s.server.Config.Handler.ServeHTTP(answer, request)
	return answer.Code
}

// flood sends tokens of nobody from as many addresses as it takes until none is asked about any more.
func (s *scene) flood(round string) {
	s.t.Helper()
	for n := range 100 {
		for m := range sourceBurst + 1 {
			s.from(fmt.Sprintf("10.6.%d.7:1", n), fmt.Sprint("stranger-", round, n, "-", m))
		}
	}
	if code := s.from("10.7.0.1:1", "one-more-"+round); code != http.StatusTooManyRequests {
		s.t.Fatalf("an unknown token after a flood: %d, want 429: the test floods nothing", code)
	}
}

func (s *scene) pass(d time.Duration) { s.now.Add(int64(d / time.Second)) }

func TestOneSourceOfStrangersStarvesNoOther(t *testing.T) {
	s := newScene(t)
	for n := range 200 {
		s.from("10.6.0.7:"+strconv.Itoa(n+1), fmt.Sprint("stranger-", n))
	}
	if asked := s.desk.reviews.Load(); asked != sourceBurst {
		t.Errorf("200 unknown tokens of one address: asked %d times, want %d", asked, sourceBurst)
	}
	if code := s.from("10.6.0.7:9", "t-ann"); code != http.StatusTooManyRequests {
		t.Errorf("a token that nobody has seen, from there: %d, want 429", code)
	}
	if code := s.from("10.6.0.8:1", "t-ann"); code != http.StatusOK {
		t.Errorf("a token that nobody has seen, from elsewhere: %d, want 200", code)
	}
	s.pass(time.Second)
	if code := s.from("10.6.0.7:9", "t-bob"); code != http.StatusOK {
		t.Errorf("a second later: %d, want 200", code)
	}
	for n := range 200 { // one machine has as many addresses
		s.from(fmt.Sprintf("[2001:db8::%x]:1", n+1), fmt.Sprint("another-", n))
	}
	if asked := s.desk.reviews.Load(); asked != 2*sourceBurst+2 {
		t.Errorf("200 unknown tokens of one IPv6 network: asked %d times in all, want %d", asked, 2*sourceBurst+2)
	}
}

func TestManySourcesOfStrangersStarveNobodyWhoIsKnown(t *testing.T) {
	s := newScene(t)
	if code := s.from("10.1.0.1:1", "t-ann"); code != http.StatusOK {
		t.Fatal(code)
	}
	for round := range 5 {
		s.pass(knownFor + time.Second) // what was said of ann is forgotten, not that she is somebody
		s.flood(strconv.Itoa(round))
		if code := s.from("10.9.9.9:1", "t-ann"); code != http.StatusOK {
			t.Errorf("round %d: a token that was somebody's: %d, want 200", round, code)
		}
	}
	// Others who come by the same way as ann, as by the console, have that budget.
	if code := s.from("10.1.0.1:2", "t-bob"); code != http.StatusOK {
		t.Errorf("a new token from where a good one came: %d, want 200", code)
	}
	// A token that is nobody's any more is a stranger's.
	delete(s.desk.users, "t-ann")
	s.pass(knownFor + time.Second)
	if code := s.from("10.9.9.9:1", "t-ann"); code != http.StatusUnauthorized {
		t.Errorf("after it was revoked: %d, want 401", code)
	}
	s.pass(knownFor)
	s.flood("last")
	if code := s.from("10.9.9.9:1", "t-ann"); code != http.StatusTooManyRequests {
		t.Errorf("after it was revoked, in a flood: %d, want 429", code)
	}
}

func TestWhatIsRememberedOfStrangersIsBounded(t *testing.T) {
	s := newScene(t)
	a := s.server.Config.Handler.(*Handler).access
	for n := range 3 * maxSources {
		s.from(fmt.Sprintf("10.%d.%d.7:1", n>>8, n&255), fmt.Sprint("stranger-", n))
	}
	if len(a.budget.sources) > maxSources {
		t.Errorf("%d sources are counted, want at most %d", len(a.budget.sources), maxSources)
	}
	for n := range maxGoodOfUser + 10 { // somebody may make as many tokens as they like
		token := fmt.Sprint("t-mallory-", n)
		s.desk.users[token] = "mallory"
		s.pass(time.Second)
		s.from("192.0.2.1:1", token)
	}
	s.desk.users["t-late"] = "late"
	s.from("192.0.2.1:1", "t-late")
	mallory, late := 0, 0
	for _, good := range a.good {
		switch good.value {
		case "mallory":
			mallory++
		case "late":
			late++
		}
	}
	if mallory != maxGoodOfUser || late != 1 {
		t.Errorf("%d tokens of one user and %d of another are remembered, want %d and 1", mallory, late, maxGoodOfUser)
	}
	s.pass(goodFor + time.Second)
	s.from("192.0.2.1:1", "t-ann")
	if len(a.good) != 1 {
		t.Errorf("%d tokens are remembered after their time, want 1", len(a.good))
	}
}

// wire answers requests without a network.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

func TestManyWhoShowOneTokenAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		answers := make(chan struct{})
		client, err := kubernetes.NewForConfigAndClient(&rest.Config{QPS: -1}, &http.Client{Transport: wire(func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			<-answers
			body := `{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": {"authenticated": false}}`
			return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		a := newAccess(client, time.Now)
		const readers = 8
		errs := make(chan error, readers)
		for range readers {
			go func() {
				_, err := a.reader(t.Context(), "t-nobody", "10.1.0.1")
				errs <- err
			}()
		}
		synctest.Wait() // all of them wait
		close(answers)
		for range readers {
			if err := <-errs; !errors.Is(err, errUnknown) {
				t.Errorf("got %v, want that it is nobody's", err)
			}
		}
		if asked.Load() != 1 {
			t.Errorf("asked %d times, want once", asked.Load())
		}
	})
}
