package registrytest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// ask sends a request and returns the status.
func ask(t *testing.T, method, url, authorization string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func start(t *testing.T, shape registrytest.Shape, faults ...registrytest.Fault) *registrytest.Server {
	t.Helper()
	server, err := registrytest.Start(shape, faults...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func TestRegistriesDemandWhatTheirShapeSays(t *testing.T) {
	none := "/v2/acme/app/referrers/" + registry.DigestOf(nil)
	for shape, want := range map[registrytest.Shape]int{registrytest.Referrers: 404, registrytest.Fallback: 404, registrytest.Basic: 401, registrytest.Bearer: 401} {
		if got := ask(t, http.MethodGet, start(t, shape).URL()+none, ""); got != want {
			t.Errorf("%s: got %d, want %d", shape, got, want)
		}
	}
	if _, err := http.Get(start(t, registrytest.TLS).URL() + "/v2/"); err == nil {
		t.Error("the private certificate authority is trusted without being given")
	}
}

// A token for one repository opens no other, and one for reading does not write: a client
// that mixes them up is found out.
func TestTokensAreForTheirScope(t *testing.T) {
	server := start(t, registrytest.Bearer)
	var seen string
	server.Inject(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if authorization := r.Header.Get("Authorization"); strings.HasPrefix(authorization, "Bearer ") {
				seen = authorization
			}
			next.ServeHTTP(w, r)
		})
	})
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Resolve(t.Context(), server.Repository("acme/app"), "v1")
	if registry.KindOf(err) != registry.NotFound || seen == "" {
		t.Fatalf("got %v and the token %q, want a token and nothing found", err, seen)
	}
	for name, test := range map[string]struct {
		method, path string
		want         int
	}{
		"reading":              {http.MethodGet, "/v2/acme/app/manifests/v1", 404},
		"writing":              {http.MethodPut, "/v2/acme/app/manifests/v1", 401},
		"deleting":             {http.MethodDelete, "/v2/acme/app/manifests/v1", 401},
		"reading another":      {http.MethodGet, "/v2/acme/apple/manifests/v1", 401},
		"reading one below it": {http.MethodGet, "/v2/acme/app/x/manifests/v1", 401},
	} {
		if got := ask(t, test.method, server.URL()+test.path, seen); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
}

func TestRequestsAreRecordedAndFaultsEnd(t *testing.T) {
	server := start(t, registrytest.Referrers, registrytest.On("/v2/", registrytest.Times(2, registrytest.Status(http.StatusTeapot, "3"))))
	var got []int
	for range 3 {
		got = append(got, ask(t, http.MethodGet, server.URL()+"/v2/?n=1", "Basic x"))
	}
	if got[0] != 418 || got[1] != 418 || got[2] != 200 {
		t.Errorf("got %v, want the fault twice", got)
	}
	requests := server.Requests()
	if len(requests) != 3 || requests[0].Status != 418 || requests[0].Query != "n=1" || requests[0].Header.Get("Authorization") != "Basic x" || requests[2].Status != 200 {
		t.Errorf("got the requests %+v", requests)
	}
	server.Forget()
	if got := server.Requests(); len(got) != 0 {
		t.Errorf("got %+v after forgetting, want none", got)
	}
}
