package registry_test

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/v1/empty"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// A client reads the public registries without any options. This one is allowed to speak
// with a registry on a loopback address, without TLS.
func ExampleClient() {
	server, err := registrytest.Start(registrytest.Referrers)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client, err := registry.New(registry.Options{Allow: []string{server.Host()}, PlainHTTP: []string{server.Host()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, app := context.Background(), server.Repository("acme/app")
	if _, err := client.PushImage(ctx, app, "v1", empty.Image); err != nil {
		fmt.Println(err)
		return
	}
	manifest, err := client.Resolve(ctx, app, "v1")
	if err != nil {
		fmt.Println(err)
		return
	}
	referrers, err := client.Referrers(ctx, app, manifest.Digest)
	fmt.Println(manifest.Digest, len(referrers), err)
	_, err = client.Resolve(ctx, app, "v2")
	fmt.Println(registry.KindOf(err))
	// Output:
	// sha256:732112270d7e59418a8c080b134b24cabd67d250d0d0147a97ed95ba5c280aa4 0 <nil>
	// not found
}
