package e2e

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// TestAServiceSendsNewConnectionsToReadyReplicasInTurn shows that the stand-in for a
// Kubernetes Service does what the tests with two replicas rest on.
func TestAServiceSendsNewConnectionsToReadyReplicasInTurn(t *testing.T) {
	front := mustReturn(newService())(t)
	t.Cleanup(front.stop)
	first, second := newReplica(t, "first"), newReplica(t, "second")
	front.add(first.Listener.Addr().String(), first.URL+"/readyz")
	front.add(second.Listener.Addr().String(), second.URL+"/readyz")
	wantReady := func(want int) {
		t.Helper()
		eventually(t, func(context.Context) error {
			if front.ready() != want {
				return errors.New("the number of ready replicas is another")
			}
			return nil
		})
	}
	wantReady(2)
	answers := map[string]int{}
	for range 10 {
		answers[ask(t, front.address())]++
	}
	if answers["first"] != 5 || answers["second"] != 5 {
		t.Errorf("two ready replicas: got answers %v, want five each", answers)
	}

	first.ready.Store(false)
	wantReady(1)
	for range 10 {
		if got := ask(t, front.address()); got != "second" {
			t.Errorf("one ready replica: got an answer by %s, want second", got)
		}
	}
}

type fakeReplica struct {
	*httptest.Server
	ready atomic.Bool
}

func newReplica(t *testing.T, name string) *fakeReplica {
	t.Helper()
	replica := &fakeReplica{}
	replica.ready.Store(true)
	replica.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" && !replica.ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, name)
	}))
	t.Cleanup(replica.Close)
	return replica
}

// ask asks over a new connection.
func ask(t *testing.T, address string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + address)
	must(t, err)
	defer response.Body.Close()
	return string(mustReturn(io.ReadAll(response.Body))(t))
}
