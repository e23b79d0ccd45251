package cosign_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

func Example() {
	ctx := context.Background()
	server, err := registrytest.Start(registrytest.Referrers)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := server.Client()
	if err != nil {
		log.Fatal(err)
	}
	image, err := client.PushImage(ctx, server.Repository("acme/app"), "1", empty.Image)
	if err != nil {
		log.Fatal(err)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	key, err := cosign.NewKey(private)
	if err != nil {
		log.Fatal(err)
	}
	target := cosign.Target{Repository: server.Repository("acme/app"), Digest: image.Digest}
	if _, err := cosign.Sign(ctx, client, target, key, cosign.SignOptions{Annotations: map[string]string{"env": "prod"}}); err != nil {
		log.Fatal(err)
	}

	public, err := key.PublicPEM()
	if err != nil {
		log.Fatal(err)
	}
	trust, err := signer.Compile(&signer.Trust{Authorities: []signer.Authority{{
		Name: "release", Images: []string{server.Host() + "/acme/**"}, Keys: []signer.Key{{PEM: public}},
	}}})
	if err != nil {
		log.Fatal(err)
	}
	evidence, err := cosign.NewVerifier(cosign.Options{}).Verify(ctx, client, target, trust)
	if err != nil {
		log.Fatal(err)
	}
	for _, signature := range evidence.Signatures {
		fmt.Println(signature.Authority, signature.Format, signature.Annotations)
	}
	// Output: release bundle [{env prod}]
}
