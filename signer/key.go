package signer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Limits of a key. RSA under 2048 bits is refused by NIST SP 800-131A; one above 8192 only
// costs time in every verification. An exponent under 65537 is outside FIPS 186-5, section 5.1.
const (
	maxPEM         = 8 << 10 // the key of 8192 bits has 1.5 KiB
	minRSABits     = 2048
	maxRSABits     = 8192
	minRSAExponent = 65537
)

// parseKey reads a public key that stands in the bundle itself.
func parseKey(key Key) (PublicKey, error) {
	text := strings.TrimSpace(key.PEM)
	if err := checkKeyText(text); err != nil {
		return PublicKey{}, err
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return PublicKey{}, errors.New("it is no PEM: copy the key whole, from -----BEGIN PUBLIC KEY----- to -----END PUBLIC KEY-----")
	}
	if err := checkBlockType(block.Type); err != nil {
		return PublicKey{}, err
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return PublicKey{}, errors.New("there is more after the key: give each key an entry of its own")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return PublicKey{}, fmt.Errorf("it is no public key that could be read (%w): copy it again", err)
	}
	if err := checkStrength(public); err != nil {
		return PublicKey{}, err
	}
	// Marshalled anew, so that one key has one fingerprint however it was encoded.
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return PublicKey{}, fmt.Errorf("it cannot be encoded (%w): copy it again", err)
	}
	sum := sha256.Sum256(der)
	return PublicKey{Key: public, Fingerprint: "sha256:" + hex.EncodeToString(sum[:]), Name: key.Name}, nil
}

// checkKeyText refuses everything that is a way to find a key and not the key:
// cosign reads such text from URLs, files, the environment and programs on PATH. The text
// itself is not repeated, since it may hold a secret.
func checkKeyText(text string) error {
	const print = "write the public key itself in PEM; \"cosign public-key --key …\" prints it"
	if len(text) > maxPEM {
		return fmt.Errorf("it has %d bytes: a key has at most %d", len(text), maxPEM)
	}
	if text == "" {
		return errors.New("it is empty: write the public key in PEM")
	}
	if strings.HasPrefix(text, "-----BEGIN ") {
		return nil
	}
	if strings.Contains(text, "-----BEGIN ") {
		return errors.New("there is something before the key: begin with -----BEGIN PUBLIC KEY-----")
	}
	if scheme, _, found := strings.Cut(text, "://"); found && len(scheme) <= 32 && !strings.ContainsAny(scheme, " \n") {
		return fmt.Errorf("it is a reference (%s://…): %s", scheme, print)
	}
	if strings.HasPrefix(text, "pkcs11:") {
		return fmt.Errorf("it is a reference (pkcs11:…): %s", print)
	}
	if !strings.ContainsAny(text, "\n") && (strings.ContainsAny(text, "/\\") || strings.HasSuffix(text, ".pub") || strings.HasSuffix(text, ".pem")) && len(text) < 256 {
		return errors.New("it looks like the path of a file: write the public key itself in PEM, the file's content")
	}
	return errors.New("it is no PEM: begin with -----BEGIN PUBLIC KEY-----")
}

func checkBlockType(kind string) error {
	switch {
	case kind == "PUBLIC KEY":
		return nil
	case strings.Contains(kind, "PRIVATE KEY"):
		return errors.New("it is a private key: take it out of the bundle, make a new pair since this one is known now, and write the public key")
	case strings.Contains(kind, "CERTIFICATE"):
		return errors.New("it is a certificate: write its public key, which \"openssl x509 -pubkey -noout\" prints")
	case kind == "RSA PUBLIC KEY":
		return errors.New("it is a public key in the form of PKCS #1: \"openssl rsa -RSAPublicKey_in -pubout\" converts it")
	default:
		return fmt.Errorf("it is a PEM block %q: write one called PUBLIC KEY (RFC 7468, section 13)", shorten(kind))
	}
}

func checkStrength(public any) error {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return fmt.Errorf("its curve %s is not supported: use P-256, P-384 or P-521", key.Curve.Params().Name)
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("it is an RSA key of %d bits: use %d to %d", bits, minRSABits, maxRSABits)
		}
		if key.E < minRSAExponent {
			return fmt.Errorf("its exponent is %d: make an RSA key with at least %d", key.E, minRSAExponent)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	default:
		return fmt.Errorf("keys of the kind %T are not supported: use ECDSA, RSA or Ed25519", public)
	}
}
