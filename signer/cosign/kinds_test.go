package cosign_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/signertest"
)

// privateKeys are of every kind that a trust configuration takes.
func privateKeys(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	keys := map[string]crypto.Signer{}
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		keys[name] = must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(curve, rand.Reader))
	}
	keys["RSA 2048"] = must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	keys["RSA 2560"] = must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2560)) // a size without a default in Sigstore
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys["Ed25519"] = private
	return keys
}

// TestEveryKindOfKey verifies what is signed here, and what others sign: cosign before 2.4 hashed with SHA-256
// for every curve.
func TestEveryKindOfKey(t *testing.T) {
	ctx := context.Background()
	pki, _ := newPKI(t)
	for name, private := range privateKeys(t) {
		by := must[*signertest.Key](t)(signertest.KeyOf(private))
		for _, f := range forms() {
			if !f.key {
				continue
			}
			t.Run(name+" "+f.name+" with SHA-256", func(t *testing.T) {
				store := newMemory()
				f.attach(t, pki, by, store, realDigest)
				if evidence := verify(t, verifier(), store, realDigest, compile(t, f.authority(by))); counted(evidence) != 1 {
					t.Errorf("got %+v, want one that counts", evidence)
				}
			})
		}
		for _, format := range formats {
			t.Run(name+" "+format+" signed here", func(t *testing.T) {
				store, target := withImage(t)
				key := must[*cosign.Key](t)(cosign.NewKey(private))
				if _, err := cosign.Sign(ctx, store, target, key, cosign.SignOptions{Format: format}); err != nil {
					t.Fatal(err)
				}
				if evidence := verify(t, verifier(), store, target.Digest, compile(t, authorityOf(t, "release", key))); len(evidence.Signatures) != 1 {
					t.Errorf("got %+v, want one signature", evidence)
				}
			})
		}
	}
}

func TestAnEndedContextEndsVerifying(t *testing.T) {
	key, authority := newKey(t, "release")
	store, target := withImage(t)
	if _, err := cosign.Sign(context.Background(), store, target, key, cosign.SignOptions{Format: signer.FormatLegacy}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	store.fault = func(request string) error {
		if len(request) > 5 && request[:5] == "blob " {
			cancel() // while the last answer arrives
		}
		return nil
	}
	if evidence, err := verifier().Verify(ctx, store, target, compile(t, authority)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %+v and error %v, want that it was cancelled", evidence, err)
	}
}
