// Package cosigntest makes keys that sign, and the authorities that trust them, for tests.
package cosigntest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
)

// NewKey is a new key of ECDSA on P-256, as cosign makes them.
func NewKey(t testing.TB) *cosign.Key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := cosign.NewKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Authority is one whose signatures by any of the keys count for images of a pattern, "**" for all.
func Authority(t testing.TB, name, images string, keys ...*cosign.Key) signer.Authority {
	t.Helper()
	authority := signer.Authority{Name: name, Images: []string{images}}
	for _, key := range keys {
		public, err := key.PublicPEM()
		if err != nil {
			t.Fatal(err)
		}
		authority.Keys = append(authority.Keys, signer.Key{PEM: public})
	}
	return authority
}
