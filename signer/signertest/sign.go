package signertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"time"
)

// Key signs without certificate.
type Key struct {
	private crypto.Signer
	der     []byte
}

// NewKey makes a key on the curve P-256, as cosign does.
func NewKey() (*Key, error) {
	private, err := newKey()
	if err != nil {
		return nil, err
	}
	return KeyOf(private)
}

// KeyOf signs with an ECDSA, RSA or Ed25519 key, always with SHA-256 where there is a choice.
func KeyOf(private crypto.Signer) (*Key, error) {
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, fmt.Errorf("encoding a public key: %w", err)
	}
	return &Key{private: private, der: der}, nil
}

// PEM is the public key, as a trust configuration has it.
func (k *Key) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.der}))
}

// Fingerprint is that of [signer.PublicKey].
func (k *Key) Fingerprint() string {
	sum := sha256.Sum256(k.der)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Public is the public key.
func (k *Key) Public() crypto.PublicKey { return k.private.Public() }

// Hint is how a bundle names the key.
func (k *Key) Hint() string {
	sum := sha256.Sum256(k.der)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// sign signs a message: ECDSA and RSA (PKCS #1 version 1.5) over its SHA-256, Ed25519 itself.
func (k *Key) sign(message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	var signature []byte
	var err error
	switch k.private.Public().(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey:
		signature, err = k.private.Sign(rand.Reader, sum[:], crypto.SHA256)
	case ed25519.PublicKey:
		signature, err = k.private.Sign(nil, message, crypto.Hash(0))
	default:
		err = fmt.Errorf("%T is no key to sign with", k.private.Public())
	}
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return signature, nil
}

// holder signs, and proves who it is: with a certificate, or else by being known.
type holder struct {
	key       *Key
	authority *authority
	leaf      *x509.Certificate // nil for a key
}

// verifier is what the log is told, in PEM.
func (h *holder) verifier() []byte {
	if h.leaf != nil {
		return certificatePEM(h.leaf)
	}
	return []byte(h.key.PEM())
}

// keyless gives an identity a certificate.
func (p *PKI) keyless(identity Identity, s *settings) (*holder, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	issued := s.at.Add(-s.lead)
	if s.has(ExpiredCertificate) {
		issued = issued.Add(-leafValidity - time.Minute)
	}
	leaf, authority, err := p.issueLeaf(identity, key.Public(), issued, s)
	if err != nil {
		return nil, err
	}
	s.logged, s.stamps = true, true
	return &holder{key: key, leaf: leaf, authority: authority}, nil
}

// verifier2 is verifier for a log of Rekor's second version.
func (h *holder) verifier2() rekord2Verifier {
	v := rekord2Verifier{KeyDetails: "PKIX_ECDSA_P256_SHA_256"}
	if h.leaf != nil {
		v.Certificate = &RawBytes{h.leaf.Raw}
	} else {
		v.PublicKey = &RawBytes{h.key.der}
	}
	return v
}

// proofs are the words of others about a signature.
type proofs struct {
	entries []*entry
	stamp   []byte // nil without
}

// prove logs and stamps. add puts something into a log: the signature at hand, or for other
// that of something else.
func (p *PKI) prove(stamped []byte, s *settings, add func(l *log, other bool) (*entry, error)) (proofs, error) {
	entries, err := p.logged(s, add)
	if err != nil || !s.stamps || s.has(NoTimestamp) {
		return proofs{entries: entries}, err
	}
	stamper := &p.timestamps
	if s.has(ForeignTimestamp) {
		stamper = &p.foreignStamp
	}
	if s.has(OtherTimestamp) {
		stamped = append([]byte("another "), stamped...)
	}
	stamp, err := stamper.stamp(stamped, s.at)
	return proofs{entries, stamp}, err
}

func (p *PKI) logged(s *settings, add func(l *log, other bool) (*entry, error)) ([]*entry, error) {
	if !s.logged || s.has(NoLogEntry) {
		return nil, nil
	}
	l := p.log
	switch {
	case s.has(ForeignLogEntry):
		l = p.foreignLog
	case s.rekor2:
		l = p.log2
	}
	count := 1
	if s.twice {
		count = 2
	}
	var entries []*entry
	for range count {
		e, err := add(l, s.has(OtherLogEntry))
		if err != nil {
			return nil, err
		}
		if err := p.spoil(l, e, s); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// spoil makes a log entry wrong.
func (p *PKI) spoil(l *log, e *entry, s *settings) error {
	var err error
	switch {
	case s.has(WrongPromise):
		e.Time++
	case s.has(NoPromise):
		e.Promise = nil
	case s.has(WrongInclusion):
		e.Hashes[0] = leafHash([]byte("another"))
	case s.has(WrongCheckpoint):
		forger := log{host: l.host, origin: l.origin, key: p.foreignLog.key, id: p.foreignLog.id}
		e.Checkpoint, err = forger.checkpoint(e.TreeSize, e.Root)
	}
	return err
}

// flip changes the lowest bit of a byte in the middle.
func flip(content []byte) []byte {
	changed := append([]byte(nil), content...)
	changed[len(changed)/2] ^= 1
	return changed
}
