package signertest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	ct "github.com/google/certificate-transparency-go"
	cttls "github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/google/certificate-transparency-go/x509util"
	"github.com/portcullis-dev/portcullis/signer"
)

// Identity is whose certificate is issued.
type Identity struct {
	// Issuer is the URL of who vouches for the subject.
	Issuer string
	// Subject is a URL, or the address of a mailbox.
	Subject string
	// GitHubWorkflow are further claims; empty ones are left out.
	GitHubWorkflow signer.GitHubWorkflow
}

type period struct{ start, end time.Time }

// authority is a certificate authority with one intermediate, which issues.
type authority struct {
	root, intermediate *x509.Certificate
	key                *ecdsa.PrivateKey // of the intermediate
}

// Extensions of certificates: those of certificate transparency (RFC 6962, sections 3.1 and 3.3), and
// those of Fulcio (https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md).
var (
	poison  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}
	sctList = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
)

func fulcioOID(last int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, last}
}

func (p *PKI) nextSerial() *big.Int { return big.NewInt(p.serial.Add(1)) }

func (p *PKI) newAuthority(valid, intermediate period, usage x509.ExtKeyUsage) (authority, error) {
	rootKey, err := newKey()
	if err != nil {
		return authority{}, err
	}
	key, err := newKey()
	if err != nil {
		return authority{}, err
	}
	template := func(name string, valid period) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: p.nextSerial(), Subject: pkix.Name{CommonName: name, Organization: []string{"portcullis.test"}},
			NotBefore: valid.start, NotAfter: valid.end, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
		}
	}
	rootTemplate := template("root", valid)
	root, err := issue(rootTemplate, rootTemplate, rootKey.Public(), rootKey)
	if err != nil {
		return authority{}, err
	}
	intermediateTemplate := template("intermediate", intermediate)
	intermediateTemplate.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	issuing, err := issue(intermediateTemplate, root, key.Public(), rootKey)
	if err != nil {
		return authority{}, err
	}
	return authority{root: root, intermediate: issuing, key: key}, nil
}

func issue(template, parent *x509.Certificate, public crypto.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("issuing the certificate %q: %w", template.Subject.CommonName, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate %q: %w", template.Subject.CommonName, err)
	}
	return certificate, nil
}

// issueLeaf issues a certificate for signing, valid from the time on for ten minutes.
func (p *PKI) issueLeaf(identity Identity, public crypto.PublicKey, at time.Time, s *settings) (*x509.Certificate, *authority, error) {
	from := &p.fulcio
	switch {
	case s.has(ExpiredIntermediate):
		from = &p.expired
	case s.has(ForeignAuthority):
		from = &p.foreign
	}
	template, err := p.leafTemplate(identity, at)
	if err != nil {
		return nil, nil, err
	}
	if !s.has(NoSCT) {
		extension, err := p.logCertificate(*template, public, from, at, s)
		if err != nil {
			return nil, nil, err
		}
		template.ExtraExtensions = append(template.ExtraExtensions, extension)
	}
	leaf, err := issue(template, from.intermediate, public, from.key)
	return leaf, from, err
}

func (p *PKI) leafTemplate(identity Identity, at time.Time) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: p.nextSerial(), NotBefore: at, NotAfter: at.Add(leafValidity),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	if strings.Contains(identity.Subject, "://") {
		uri, err := url.Parse(identity.Subject)
		if err != nil {
			return nil, fmt.Errorf("reading the subject %q: %w", identity.Subject, err)
		}
		template.URIs = []*url.URL{uri}
	} else if identity.Subject != "" {
		template.EmailAddresses = []string{identity.Subject}
	}
	claims := identity.GitHubWorkflow
	// Extensions .1 to .6 hold the bare text, .8 a DER string.
	for last, text := range []string{1: identity.Issuer, 2: claims.Trigger, 3: claims.SHA, 4: claims.Name, 5: claims.Repository, 6: claims.Ref} {
		if text != "" {
			template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: fulcioOID(last), Value: []byte(text)})
		}
	}
	if identity.Issuer != "" {
		issuer, err := asn1.MarshalWithParams(identity.Issuer, "utf8")
		if err != nil {
			return nil, fmt.Errorf("encoding the issuer %q: %w", identity.Issuer, err)
		}
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: fulcioOID(8), Value: issuer})
	}
	return template, nil
}

// logCertificate submits a precertificate to the certificate transparency log, and gives the
// extension with its answer (RFC 6962, sections 3.1 to 3.3).
func (p *PKI) logCertificate(template x509.Certificate, public crypto.PublicKey, from *authority, at time.Time, s *settings) (pkix.Extension, error) {
	template.ExtraExtensions = append(append([]pkix.Extension(nil), template.ExtraExtensions...), pkix.Extension{Id: poison, Critical: true, Value: asn1.NullBytes})
	der, err := x509.CreateCertificate(rand.Reader, &template, from.intermediate, public, from.key)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("issuing a precertificate: %w", err)
	}
	// Errors that are not fatal are about extensions that this parser finds odd.
	precertificate, err := ctx509.ParseCertificate(der)
	if ctx509.IsFatal(err) {
		return pkix.Extension{}, fmt.Errorf("reading the precertificate: %w", err)
	}
	issuer, err := ctx509.ParseCertificate(from.intermediate.Raw)
	if ctx509.IsFatal(err) {
		return pkix.Extension{}, fmt.Errorf("reading the intermediate certificate: %w", err)
	}
	key := p.ctLog
	if s.has(ForeignSCT) {
		key = p.foreignCTLog
	}
	sct, err := signTimestamp(key, []*ctx509.Certificate{precertificate, issuer}, at)
	if err != nil {
		return pkix.Extension{}, err
	}
	if s.has(WrongSCT) {
		sct.Timestamp++ // what was signed is another time
	}
	return encodeSCT(sct)
}

func signTimestamp(key *ecdsa.PrivateKey, chain []*ctx509.Certificate, at time.Time) (*ct.SignedCertificateTimestamp, error) {
	id, err := keyID(key.Public())
	if err != nil {
		return nil, err
	}
	sct := &ct.SignedCertificateTimestamp{SCTVersion: ct.V1, Timestamp: uint64(at.UnixMilli())} //nolint:gosec // after 1970
	copy(sct.LogID.KeyID[:], id)
	leaf, err := ct.MerkleTreeLeafFromChain(chain, ct.PrecertLogEntryType, sct.Timestamp)
	if err != nil {
		return nil, fmt.Errorf("making the entry of a precertificate: %w", err)
	}
	input, err := ct.SerializeSCTSignatureInput(*sct, ct.LogEntry{Leaf: *leaf})
	if err != nil {
		return nil, fmt.Errorf("encoding the entry of a precertificate: %w", err)
	}
	signature, err := cttls.CreateSignature(*key, cttls.SHA256, input)
	if err != nil {
		return nil, fmt.Errorf("signing the entry of a precertificate: %w", err)
	}
	sct.Signature = ct.DigitallySigned(signature)
	return sct, nil
}

func encodeSCT(sct *ct.SignedCertificateTimestamp) (pkix.Extension, error) {
	list, err := x509util.MarshalSCTsIntoSCTList([]*ct.SignedCertificateTimestamp{sct})
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("encoding the SCT: %w", err)
	}
	encoded, err := cttls.Marshal(*list)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("encoding the list of SCTs: %w", err)
	}
	value, err := asn1.Marshal(encoded)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("encoding the extension of SCTs: %w", err)
	}
	return pkix.Extension{Id: sctList, Value: value}, nil
}

// certificatePEM gives certificates one after the other.
func certificatePEM(certificates ...*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, certificate := range certificates {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
	}
	return out.Bytes()
}
