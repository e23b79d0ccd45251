package stored

import (
	"testing"

	"k8s.io/client-go/rest"
)

// The API server ends watches, after minutes. The client made for discovery ended them after half a minute: each was a gap then, of
// each kind, for as long as it took to begin anew.
func TestAWatchHasNoDeadlineOfTheClient(t *testing.T) {
	client, err := New(&rest.Config{Host: "https://127.0.0.1:1"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := client.rest.(*rest.RESTClient).Client.Timeout; got != 0 {
		t.Errorf("the client ends each request after %s, want no deadline", got)
	}
}
