package signertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"time"

	"github.com/digitorus/timestamp"
)

// timestamper is a timestamp authority (RFC 3161).
type timestamper struct {
	authority
	leaf    *x509.Certificate
	leafKey *ecdsa.PrivateKey
}

// completeTimestamper issues the certificate that timestamps are signed with. Its only usage has
// to be critical (RFC 3161, section 2.3).
func (p *PKI) completeTimestamper(t *timestamper, valid period) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		return fmt.Errorf("encoding the usage of timestamps: %w", err)
	}
	t.leaf, err = issue(&x509.Certificate{
		SerialNumber: p.nextSerial(), Subject: pkix.Name{CommonName: "timestamps", Organization: []string{"portcullis.test"}},
		NotBefore: valid.start, NotAfter: valid.end, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}, t.intermediate, key.Public(), t.authority.key)
	t.leafKey = key
	return err
}

// stamp gives a response with a timestamp of a signature.
func (t *timestamper) stamp(signature []byte, at time.Time) ([]byte, error) {
	sum := sha256.Sum256(signature)
	stamp := timestamp.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Time: at,
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2},
	}
	response, err := stamp.CreateResponseWithOpts(t.leaf, t.leafKey, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("making a timestamp: %w", err)
	}
	return response, nil
}
