package signertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// Validity of what the parts of the PKI have. Certificates of Fulcio are good for ten minutes.
const (
	authorityValidity = 10 * 365 * 24 * time.Hour
	leafValidity      = 10 * time.Minute
)

// PKI is a virtual Sigstore. It may be used by several goroutines.
type PKI struct {
	// Now is the clock: certificates are issued, and entries are logged, at this time. It may
	// be replaced before first use, by a time within ten years.
	Now func() time.Time

	fulcio       authority // issues certificates
	expired      authority // as fulcio, in the trusted root, with an intermediate that has ended
	foreign      authority // not in the trusted root
	timestamps   timestamper
	foreignStamp timestamper
	log          *log
	log2         *log // of Rekor's second version
	foreignLog   *log
	ctLog        *ecdsa.PrivateKey
	foreignCTLog *ecdsa.PrivateKey

	began  time.Time
	serial atomic.Int64
	root   []byte
}

// New makes a PKI with keys of its own.
func New() (*PKI, error) { return NewAt(time.Now) }

// NewAt makes a PKI with a clock of its own; its authorities are valid ten years before and after
// the time that it shows now.
func NewAt(now func() time.Time) (*PKI, error) {
	p := &PKI{Now: now, began: now()}
	for _, key := range []**ecdsa.PrivateKey{&p.ctLog, &p.foreignCTLog} {
		var err error
		if *key, err = newKey(); err != nil {
			return nil, err
		}
	}
	if err := p.makeAuthorities(); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		into         **log
		host, origin string
	}{{&p.log, logHost, logOrigin}, {&p.foreignLog, logHost, logOrigin}, {&p.log2, log2Origin, log2Origin}} {
		made, err := newLog(part.host, part.origin)
		if err != nil {
			return nil, err
		}
		*part.into = made
	}
	var err error
	p.root, err = p.makeTrustedRoot()
	return p, err
}

func (p *PKI) makeAuthorities() error {
	valid := period{p.began.Add(-authorityValidity), p.began.Add(authorityValidity)}
	ended := period{valid.start, p.began.Add(-time.Hour)}
	signing, stamping := x509.ExtKeyUsageCodeSigning, x509.ExtKeyUsageTimeStamping
	for _, part := range []struct {
		into         *authority
		intermediate period
		usage        x509.ExtKeyUsage
	}{
		{&p.fulcio, valid, signing},
		{&p.expired, ended, signing},
		{&p.foreign, valid, signing},
		{&p.timestamps.authority, valid, stamping},
		{&p.foreignStamp.authority, valid, stamping},
	} {
		made, err := p.newAuthority(valid, part.intermediate, part.usage)
		if err != nil {
			return err
		}
		*part.into = made
	}
	for _, stamper := range []*timestamper{&p.timestamps, &p.foreignStamp} {
		if err := p.completeTimestamper(stamper, valid); err != nil {
			return err
		}
	}
	return nil
}

// TrustedRoot is trusted_root.json of the PKI
// (application/vnd.dev.sigstore.trustedroot+json;version=0.1).
func (p *PKI) TrustedRoot() []byte { return append([]byte(nil), p.root...) }

// TrustedMaterial is TrustedRoot as sigstore-go reads it.
func (p *PKI) TrustedMaterial() (root.TrustedMaterial, error) {
	material, err := root.NewTrustedRootFromJSON(p.root)
	if err != nil {
		return nil, fmt.Errorf("reading the trusted root: %w", err)
	}
	return material, nil
}

func (p *PKI) makeTrustedRoot() ([]byte, error) {
	start, end := p.began.Add(-authorityValidity), p.began.Add(authorityValidity)
	logs, ctLogs := map[string]*root.TransparencyLog{}, map[string]*root.TransparencyLog{}
	for _, part := range []struct {
		into map[string]*root.TransparencyLog
		key  *ecdsa.PrivateKey
		host string
	}{{logs, p.log.key, logHost}, {logs, p.log2.key, log2Origin}, {ctLogs, p.ctLog, "ctfe.portcullis.test"}} {
		id, err := keyID(part.key.Public())
		if err != nil {
			return nil, err
		}
		part.into[hex.EncodeToString(id)] = &root.TransparencyLog{
			BaseURL: "https://" + part.host, ID: id, ValidityPeriodStart: start, ValidityPeriodEnd: end,
			HashFunc: crypto.SHA256, PublicKey: part.key.Public(), SignatureHashFunc: crypto.SHA256,
		}
	}
	fulcio := func(a *authority) root.CertificateAuthority {
		return &root.FulcioCertificateAuthority{
			Root: a.root, Intermediates: []*x509.Certificate{a.intermediate},
			ValidityPeriodStart: start, ValidityPeriodEnd: end, URI: "https://fulcio.portcullis.test",
		}
	}
	stamps := &root.SigstoreTimestampingAuthority{
		Root: p.timestamps.root, Intermediates: []*x509.Certificate{p.timestamps.intermediate}, Leaf: p.timestamps.leaf,
		ValidityPeriodStart: start, ValidityPeriodEnd: end, URI: "https://timestamp.portcullis.test",
	}
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{fulcio(&p.fulcio), fulcio(&p.expired)}, ctLogs, []root.TimestampingAuthority{stamps}, logs)
	if err != nil {
		return nil, fmt.Errorf("making the trusted root: %w", err)
	}
	encoded, err := trusted.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding the trusted root: %w", err)
	}
	return encoded, nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return key, nil
}

// keyID is the hash of a key's SubjectPublicKeyInfo: the name of a log (RFC 6962, section 3.2).
func keyID(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encoding a public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return sum[:], nil
}
