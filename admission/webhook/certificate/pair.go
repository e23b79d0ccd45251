package certificate

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"
)

// Pair is a certificate with its key, for whoever keeps them elsewhere than in a [SelfSigned]: the controller, in Secrets. The zero
// value is none.
type Pair struct{ pair *pair }

// NewAuthority makes an authority that is valid for a lifetime from now.
func NewAuthority(now time.Time, lifetime time.Duration) (Pair, error) {
	made, err := newAuthority(now, lifetime)
	return Pair{made}, err
}

// Issue signs a serving certificate for DNS names and IP addresses. It ends no later than the authority does.
func (p Pair) Issue(names []string, now time.Time, lifetime time.Duration) (Pair, error) {
	made, err := p.pair.issue(names, now, lifetime)
	return Pair{made}, err
}

// DecodePair reads one certificate and its key (ECDSA, PKCS #8), both PEM. A key of another certificate is an error.
func DecodePair(certificate, key []byte) (Pair, error) {
	made, err := decodePair(append(append(append([]byte{}, certificate...), '\n'), key...))
	if err != nil {
		return Pair{}, fmt.Errorf("reading a certificate and its key: %w", err)
	}
	return Pair{made}, nil
}

// Encode writes both as PEM.
func (p Pair) Encode() (certificate, key []byte, err error) {
	encoded, err := x509.MarshalPKCS8PrivateKey(p.pair.key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a key: %w", err)
	}
	return EncodeCertificate(p.pair.certificate), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), nil
}

// Certificate is nil for the zero value.
func (p Pair) Certificate() *x509.Certificate {
	if p.pair == nil {
		return nil
	}
	return p.pair.certificate
}

// EncodeCertificate writes a certificate as PEM.
func EncodeCertificate(certificate *x509.Certificate) []byte { return encodeCertificate(certificate) }

// DecodeCertificates reads all certificates of a PEM text; there may be none.
func DecodeCertificates(content []byte) ([]*x509.Certificate, error) {
	return decodeCertificates(content)
}

// Overdue says that two thirds of a certificate's life are over, so that it is to be renewed.
func Overdue(certificate *x509.Certificate, now time.Time) bool { return overdue(certificate, now) }

// ValidAt says why a certificate is not valid at a time, nil if it is.
func ValidAt(certificate *x509.Certificate, now time.Time) error { return validNow(certificate, now) }
