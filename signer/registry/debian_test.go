package registry_test

import (
	"bytes"
	"testing"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

func TestTheRegistryOfDebian(t *testing.T) {
	host := registrytest.StartDebian(t)
	options := registry.Options{Allow: []string{host}, PlainHTTP: []string{host}}
	client := newClient(t, options)
	p := push(t, client, registry.Repository{Registry: host, Path: "acme/app"})
	journey(t, client, p)
	cold(t, newClient(t, options), pushed{repository: p.repository, blob: p.blob})
	_, err := client.Resolve(t.Context(), p.repository, "none")
	wantKind(t, err, registry.NotFound)
	large := bytes.Repeat([]byte("large"), 100_000)
	for range 2 { // the second time it is there already
		if _, err := client.PushBlob(t.Context(), p.repository, large); err != nil {
			t.Fatal(err)
		}
	}
}
