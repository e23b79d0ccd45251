package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"path/filepath"

	"github.com/portcullis-dev/portcullis/test/pki"
)

// serviceAccountKeys makes the pair of keys that service account tokens are signed
// and checked with.
func serviceAccountKeys(dir string) (private, public string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("making service account keys: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", "", fmt.Errorf("making service account keys: %w", err)
	}
	private, public = filepath.Join(dir, "service-account.key"), filepath.Join(dir, "service-account.pub")
	if err := pki.WritePEM(public, "PUBLIC KEY", der); err != nil {
		return "", "", err
	}
	return private, public, pki.WriteKey(private, key)
}
