package webhook

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	admissionv1 "k8s.io/api/admission/v1"
)

// slow is a reviewer whose reviews say who has begun and end when they are let go.
type slow struct {
	entered chan string
	release chan struct{}
}

func (s slow) reviewer() reviewer {
	judge := func(_ context.Context, request admission.Request) admission.Verdict {
		s.entered <- request.Subject.Username
		<-s.release
		return admission.Verdict{Admitted: true}
	}
	return reviewer{review: judge, mutate: judge}
}

// crowd sends requests and keeps their answers.
type crowd struct {
	t       *testing.T
	handler *Handler
	answers chan *admissionv1.AdmissionResponse
}

func bodyOf(user, more string) string {
	return strings.Replace(body(more), `"username":"alice"`, `"username":"`+user+`"`, 1)
}

// send sends one request, whose answer comes later.
func (c crowd) send(user, more string) {
	go func() {
		_, review := answer(c.t, c.handler, post(ValidatePath, bodyOf(user, more)))
		c.answers <- review.Response
	}()
}

// waits returns when so many requests wait.
func (c crowd) waits(n int) {
	for c.handler.limiter.waitingNow() != n {
		time.Sleep(time.Millisecond) // polls a condition
	}
}

// TestNobodyTakesAllPlaces: one tenant with objects that cost seconds held every place, so
// that the requests of everybody else were denied.
func TestNobodyTakesAllPlaces(t *testing.T) {
	const build = "system:serviceaccount:build:"
	for name, test := range map[string]struct {
		greedy func(i int) string
		other  string
	}{
		"a user":                                  {func(int) string { return "mallory" }, "alice"},
		"all service accounts of a namespace":     {func(i int) string { return build + string(rune('a'+i)) }, "system:serviceaccount:shop:a"},
		"a user who is called like the namespace": {func(i int) string { return build + string(rune('a'+i)) }, "build"},
	} {
		t.Run(name, func(t *testing.T) {
			s := slow{make(chan string), make(chan struct{})}
			c := crowd{t, newHandler(t, s.reviewer(), func(o *Options) { o.MaxRunning, o.MaxWaiting = 4, 4 }), make(chan *admissionv1.AdmissionResponse)}
			for i := range 2 { // half of the places
				c.send(test.greedy(i), "")
				<-s.entered
			}
			for i := range 2 { // half of the waiting room, though two places are free
				c.send(test.greedy(2+i), "")
				c.waits(i + 1)
			}
			_, review := answer(t, c.handler, post(ValidatePath, bodyOf(test.greedy(4), "")))
			if got := review.Response; got.Allowed || got.Result.Code != 429 || got.Result.Details.RetryAfterSeconds == 0 || !strings.Contains(got.Result.Message, "of this user") {
				t.Fatalf("got %+v, want a denial of code 429 that says whose requests are too many, and when to retry", got)
			}
			for range 2 {
				c.send(test.other, "")
				if got := <-s.entered; got != test.other {
					t.Fatalf("a request of %s begins, want one of %s: the others have had their share", got, test.other)
				}
			}
			close(s.release)
			for range 2 {
				<-s.entered // those that waited
			}
			for range 6 {
				if got := <-c.answers; !got.Allowed {
					t.Errorf("got %+v, want admission of all that had a place", got.Result)
				}
			}
		})
	}
}

// TestAPlaceGoesToWhoeverMayHaveIt: the first in the queue may have had its share already.
func TestAPlaceGoesToWhoeverMayHaveIt(t *testing.T) {
	l := newLimiter(2, 8, 1<<20)
	begun := make(chan string)
	begin := func(subject string) {
		if err := l.acquire(context.Background(), subject, 1); err != nil {
			t.Error(err)
		}
		begun <- subject
	}
	for _, subject := range []string{"alice", "bob"} {
		go begin(subject)
		<-begun
	}
	for i, subject := range []string{"alice", "carol", "bob"} {
		go begin(subject)
		for l.waitingNow() != i+1 {
			time.Sleep(time.Millisecond) // polls a condition
		}
	}
	for _, step := range []struct{ ends, begins string }{{"bob", "carol"}, {"carol", "bob"}, {"alice", "alice"}} {
		l.release(step.ends, 1)
		if got := <-begun; got != step.begins {
			t.Errorf("when %s ends, %s begins, want %s", step.ends, got, step.begins)
		}
	}
}

// TestNobodyTakesAllMemory: bodies that wait are kept, so a share has bytes as well.
func TestNobodyTakesAllMemory(t *testing.T) {
	s := slow{make(chan string), make(chan struct{})}
	c := crowd{t, newHandler(t, s.reviewer(), func(o *Options) { o.MaxBody, o.MaxBodies = 1<<20, 4<<20 }), make(chan *admissionv1.AdmissionResponse)}
	large := `,"object":{"a":"` + strings.Repeat("a", 900<<10) + `"}`
	for range 2 {
		c.send("mallory", large)
		<-s.entered
	}
	_, review := answer(t, c.handler, post(ValidatePath, bodyOf("mallory", large)))
	if got := review.Response; got.Allowed || got.Result.Code != 429 {
		t.Errorf("got %+v, want a denial of code 429", got)
	}
	c.send("alice", large)
	<-s.entered
	close(s.release)
	for range 3 {
		if got := <-c.answers; !got.Allowed {
			t.Errorf("got %+v, want admission of all that had a place", got.Result)
		}
	}
}

func TestWhoeverGivesUpWaitingLeavesNothingBehind(t *testing.T) {
	l := newLimiter(1, 1, 1<<20)
	if err := l.acquire(context.Background(), "alice", 1); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.acquire(gone, "bob", 1); err == nil {
		t.Error("a request found a place in a full limiter")
	}
	l.release("alice", 1)
	if l.running != 0 || l.waitingNow() != 0 || len(l.shares) != 0 {
		t.Errorf("%d run, %d wait and %d shares are kept, want none", l.running, l.waitingNow(), len(l.shares))
	}
}
