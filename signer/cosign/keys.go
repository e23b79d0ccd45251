package cosign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	upstream "github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// keyVerifiers are the algorithms that cosign may have used with a key, the usual one first:
// versions before 2.4 hashed with SHA-256 for every curve, and for Ed25519 some hash first
// (RFC 8032, Ed25519ph).
func keyVerifiers(key crypto.PublicKey) []signature.Verifier {
	var loads []func() (signature.Verifier, error)
	add := func(load func() (signature.Verifier, error)) { loads = append(loads, load) }
	add(func() (signature.Verifier, error) { return signature.LoadDefaultVerifier(key) })
	switch key := key.(type) {
	case ed25519.PublicKey:
		add(func() (signature.Verifier, error) {
			return signature.LoadDefaultVerifier(key, options.WithED25519ph())
		})
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			add(func() (signature.Verifier, error) { return signature.LoadVerifier(key, crypto.SHA256) })
		}
	default: // RSA: sizes that have no default, too
		loads = []func() (signature.Verifier, error){func() (signature.Verifier, error) { return signature.LoadVerifier(key, crypto.SHA256) }}
	}
	var verifiers []signature.Verifier
	for _, load := range loads {
		if verifier, err := load(); err == nil {
			verifiers = append(verifiers, verifier)
		}
	}
	return verifiers
}

// ErrPassword says that a password does not decrypt a private key.
var ErrPassword = errors.New("the password does not decrypt it")

// Key is a private key that signs.
type Key struct {
	signer      crypto.Signer
	fingerprint string
}

// GenerateKeyPair makes an ECDSA key on P-256 as cosign does: the private one encrypted with the
// password (scrypt and NaCl secretbox) in a PEM block "ENCRYPTED SIGSTORE PRIVATE KEY", and the
// public one in a PEM block "PUBLIC KEY".
func GenerateKeyPair(password []byte) (private, public []byte, err error) {
	pair, err := upstream.GenerateKeyPair(func(bool) ([]byte, error) { return password, nil })
	if err != nil {
		return nil, nil, fmt.Errorf("making a key pair: %w", err)
	}
	return pair.PrivateBytes, pair.PublicBytes, nil
}

// LoadPrivateKey reads a private key: one that cosign or [GenerateKeyPair] has encrypted, or one in
// PKCS #8 ("PRIVATE KEY"), for which the password is not used. Keys are ECDSA, RSA or Ed25519. A wrong
// password is [ErrPassword]. The next step is for the caller to name, who knows where the key came from.
func LoadPrivateKey(text, password []byte) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		if len(bytes.TrimSpace(text)) == 0 {
			return nil, errors.New("reading the private key: it is empty")
		}
		return nil, errors.New("reading the private key: it is no PEM")
	}
	der := block.Bytes
	switch block.Type {
	case upstream.CosignPrivateKeyPemType, upstream.SigstorePrivateKeyPemType:
		var err error
		if der, err = encrypted.Decrypt(block.Bytes, password); err != nil {
			if bytes.Contains(block.Bytes, []byte(`"ciphertext"`)) {
				return nil, fmt.Errorf("reading the private key: %w", ErrPassword)
			}
			return nil, fmt.Errorf("reading the private key: %w", err)
		}
	case "PRIVATE KEY":
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return nil, errors.New("reading the private key: it is a public key")
	case "CERTIFICATE":
		return nil, errors.New("reading the private key: it is a certificate")
	default:
		return nil, fmt.Errorf("reading the private key: it is a PEM block %q, and neither an encrypted key of cosign nor one in PKCS #8", abbreviate(block.Type))
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("reading the private key: a %T cannot sign: use ECDSA, RSA or Ed25519", parsed)
	}
	return NewKey(private)
}

// NewKey takes a private key that is already read: ECDSA, RSA or Ed25519.
func NewKey(private crypto.Signer) (*Key, error) {
	if len(keyVerifiers(private.Public())) == 0 {
		return nil, fmt.Errorf("reading the private key: keys of the kind %T are not supported: use ECDSA, RSA or Ed25519", private)
	}
	key := &Key{signer: private}
	der, err := key.publicDER()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	key.fingerprint = "sha256:" + hex.EncodeToString(sum[:])
	return key, nil
}

func (k *Key) publicDER() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.signer.Public())
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	return der, nil
}

// public is the key as what it has signed is verified.
func (k *Key) public() signer.PublicKey {
	return signer.PublicKey{Key: k.signer.Public(), Fingerprint: k.fingerprint}
}

// PublicPEM is the public key as trust configurations have it.
func (k *Key) PublicPEM() (string, error) {
	der, err := k.publicDER()
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// Fingerprint is "sha256:" and the hash of the public key (SubjectPublicKeyInfo).
func (k *Key) Fingerprint() string { return k.fingerprint }
