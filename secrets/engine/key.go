package engine

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/portcullis-dev/portcullis/secrets"
)

// algorithms are the keys that can be made here.
var algorithms = []string{"RSA2048", "RSA3072", "RSA4096", "ECDSA256", "ECDSA384", "Ed25519"}

const defaultAlgorithm = "ECDSA256"

func knownAlgorithm(algorithm string) bool {
	return algorithm == "" || slices.Contains(algorithms, algorithm)
}

// makeKey makes a private key. Go's cryptography takes randomness from the system whatever random is, except for tests that tell it otherwise.
func makeKey(algorithm string, random io.Reader) (crypto.Signer, error) {
	switch orElse(algorithm, defaultAlgorithm) {
	case "RSA2048":
		return rsa.GenerateKey(random, 2048)
	case "RSA3072":
		return rsa.GenerateKey(random, 3072)
	case "RSA4096":
		return rsa.GenerateKey(random, 4096)
	case "ECDSA256":
		return ecdsa.GenerateKey(elliptic.P256(), random)
	case "ECDSA384":
		return ecdsa.GenerateKey(elliptic.P384(), random)
	case "Ed25519":
		_, key, err := ed25519.GenerateKey(random)
		return key, err
	}
	return nil, fmt.Errorf("no key is of the algorithm %q", algorithm)
}

// encodeKey is a private key in PEM: PKCS #8 (RFC 5958), or the traditional form of its kind, PKCS #1 (RFC 8017) and SEC 1 (RFC 5915).
func encodeKey(key crypto.Signer, traditional bool) (secrets.Value, error) {
	var block *pem.Block
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if traditional {
			block = &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
		}
	case *ecdsa.PrivateKey:
		if traditional {
			der, err := x509.MarshalECPrivateKey(key)
			if err != nil {
				return secrets.Value{}, errors.New("the private key is on a curve without a traditional form")
			}
			block = &pem.Block{Type: "EC PRIVATE KEY", Bytes: der}
		}
	default:
		if traditional {
			return secrets.Value{}, errors.New("keys of its kind have no traditional form: set keyFormat to PKCS8")
		}
	}
	if block == nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return secrets.Value{}, errors.New("the private key is of a kind that cannot be encoded")
		}
		block = &pem.Block{Type: "PRIVATE KEY", Bytes: der}
	}
	encoded := secrets.NewValue(pem.EncodeToMemory(block))
	clear(block.Bytes)
	return encoded, nil
}

// encodePublicKey is PKIX in PEM (RFC 5280).
func encodePublicKey(key crypto.PublicKey) (secrets.Value, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return secrets.Value{}, errors.New("the public key is of a kind that cannot be encoded")
	}
	return secrets.NewValue(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// parseKey reads one private key in PEM of any of the three forms. Its errors say nothing of what is in it.
func parseKey(text []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(text)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("the private key is not one block of PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		err = errors.New("another type")
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New("the private key is none of PKCS #8, PKCS #1 and SEC 1")
	}
	return signer, nil
}

// parseCertificates reads certificates in PEM, at most sixteen.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("it holds PEM that is no certificate")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("it holds a certificate that does not parse")
		}
		if certificates = append(certificates, certificate); len(certificates) > 16 {
			return nil, errors.New("it holds more than sixteen certificates")
		}
	}
	if len(certificates) == 0 || len(bytes.TrimSpace(text)) > 0 {
		return nil, errors.New("it is not certificates in PEM")
	}
	return certificates, nil
}

func encodeCertificates(certificates []*x509.Certificate) secrets.Value {
	var encoded []byte
	for _, certificate := range certificates {
		encoded = append(encoded, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	return secrets.NewValue(encoded)
}

// parsePublicKey reads a public key as transit gives it: PKIX in PEM, or the 32 bytes of an Ed25519 key in base64.
func parsePublicKey(text string) (crypto.PublicKey, error) {
	if block, rest := pem.Decode([]byte(text)); block != nil {
		if block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
			return nil, errors.New("it is not one public key in PEM")
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("it is a public key that does not parse")
		}
		return key, nil
	}
	raw, err := decodeBase64(text)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, errors.New("it is neither PEM nor an Ed25519 key")
	}
	return ed25519.PublicKey(raw), nil
}
