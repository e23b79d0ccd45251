package registry_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

func TestATransportConnectsByTheRulesOfClients(t *testing.T) {
	server, err := registrytest.Start(registrytest.TLS)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	other, err := registrytest.Start(registrytest.TLS)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	own, err := os.ReadFile(server.AuthorityFile())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(other.AuthorityFile())
	if err != nil {
		t.Fatal(err)
	}
	allow := []string{server.Host()}
	for name, c := range map[string]struct {
		options registry.Options
		want    string // "" for none
	}{
		"the authority in PEM":                {registry.Options{Allow: allow, Authorities: []registry.Authority{{PEM: own}}}, ""},
		"the authority alone":                 {registry.Options{Allow: allow, Authorities: []registry.Authority{{PEM: own, Only: true}}}, ""},
		"the authority of the host alone":     {registry.Options{Allow: allow, Authorities: []registry.Authority{{PEM: foreign}, {Host: server.Host(), PEM: own, Only: true}}}, ""},
		"another authority of the host alone": {registry.Options{Allow: allow, Authorities: []registry.Authority{{PEM: own}, {Host: server.Host(), PEM: foreign, Only: true}}}, "give it with --registry-ca"},
		"another authority":                   {registry.Options{Allow: allow, Authorities: []registry.Authority{{PEM: foreign, Only: true}}}, "give it with --registry-ca"},
		"an address that is not allowed":      {registry.Options{Authorities: []registry.Authority{{PEM: own}}}, "it is a loopback address; if " + server.Host() + " is to be used, give --allow-registry"},
	} {
		t.Run(name, func(t *testing.T) {
			transport, err := registry.NewTransport(c.options)
			if err != nil {
				t.Fatal(err)
			}
			defer transport.CloseIdleConnections()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL()+"/v2/", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := transport.RoundTrip(request)
			if err == nil {
				response.Body.Close()
			}
			if c.want == "" {
				if err != nil {
					t.Errorf("got %v, want none", err)
				}
				return
			}
			if err == nil {
				t.Fatalf("got an answer, want an error with %q", c.want)
			}
			if got := registry.Broken("asking", server.Host(), err).Error(); !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %q", got, c.want)
			}
			if got := registry.UntrustedCertificate(err); got != strings.Contains(c.want, "registry-ca") {
				t.Errorf("got that the certificate is why: %v", got)
			}
		})
	}
	for name, options := range map[string]registry.Options{
		"a host that is none":          {Allow: []string{"https://x"}},
		"an authority that is none":    {Authorities: []registry.Authority{{PEM: []byte("x")}}},
		"an authority that is nowhere": {Authorities: []registry.Authority{{File: "nowhere.pem"}}},
		"an authority of nothing":      {Authorities: []registry.Authority{{}}},
	} {
		if _, err := registry.NewTransport(options); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
