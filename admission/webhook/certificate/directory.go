package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files of a directory. Each holds a certificate and, all but the last two, its
// key: one file is replaced in one step, so a crash never leaves a certificate with
// another's key.
const (
	authorityFile = "authority.pem"
	nextFile      = "next-authority.pem"
	leafFile      = "serving.pem"
	previousFile  = "previous-authorities.pem"
	// BundleFile is what the API server must trust, for the operator to read.
	BundleFile = "ca-bundle.pem"
)

// load reads the directory. A file that is missing will be made; one that cannot be
// read is an error, since replacing an authority unasked would cut off the API server.
func (s *SelfSigned) load() error {
	if s.options.Directory == "" {
		return nil
	}
	if err := os.MkdirAll(s.options.Directory, 0o700); err != nil {
		return fmt.Errorf("making the certificate directory: %w", err)
	}
	for file, target := range map[string]**pair{authorityFile: &s.authority, nextFile: &s.next, leafFile: &s.leaf} {
		loaded, err := s.loadPair(file)
		if err != nil {
			return fmt.Errorf("reading %s: %w: restore it, or delete the directory to begin with a new authority", filepath.Join(s.options.Directory, file), err)
		}
		*target = loaded
	}
	if err := s.loadPrevious(); err != nil {
		return fmt.Errorf("reading %s: %w", filepath.Join(s.options.Directory, previousFile), err)
	}
	// A crash between the two steps of taking over leaves the authority announced, too.
	if s.next != nil && s.authority != nil && s.next.certificate.Equal(s.authority.certificate) {
		s.next = nil
	}
	return nil
}

func (s *SelfSigned) loadPair(file string) (*pair, error) {
	content, err := os.ReadFile(filepath.Join(s.options.Directory, file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodePair(content)
}

func (s *SelfSigned) loadPrevious() error {
	content, err := os.ReadFile(filepath.Join(s.options.Directory, previousFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s.previous, err = decodeCertificates(content)
	return err
}

// save writes the previous authorities first and the leaf last: whatever is on disk
// after a crash, the bundle trusts the authority that signed the leaf.
func (s *SelfSigned) save() error {
	if s.options.Directory == "" {
		return nil
	}
	var previous bytes.Buffer
	for _, certificate := range s.previous {
		previous.Write(encodeCertificate(certificate))
	}
	if err := s.write(previousFile, previous.Bytes()); err != nil {
		return err
	}
	if err := s.write(BundleFile, s.bundle()); err != nil {
		return err
	}
	if err := s.savePair(authorityFile, s.authority); err != nil {
		return err
	}
	if err := s.savePair(nextFile, s.next); err != nil {
		return err
	}
	return s.savePair(leafFile, s.leaf)
}

func (s *SelfSigned) savePair(file string, pair *pair) error {
	if pair == nil {
		err := os.Remove(filepath.Join(s.options.Directory, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	content, err := pair.encode()
	if err != nil {
		return err
	}
	return s.write(file, content)
}

// write replaces a file in one step.
func (s *SelfSigned) write(file string, content []byte) error {
	temporary, err := os.CreateTemp(s.options.Directory, "."+file)
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // fails after the rename, as it should
	if _, err := temporary.Write(content); err != nil {
		temporary.Close()
		return err
	}
	if err := temporary.Sync(); err != nil {
		temporary.Close()
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), filepath.Join(s.options.Directory, file))
}

func (p *pair) encode() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return append(encodeCertificate(p.certificate), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), nil
}

func encodeCertificate(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}

func decodePair(content []byte) (*pair, error) {
	certificates, err := decodeCertificates(content)
	if err != nil {
		return nil, err
	}
	if len(certificates) != 1 {
		return nil, fmt.Errorf("it holds %d certificates instead of one", len(certificates))
	}
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "PRIVATE KEY" {
			continue
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		key, ok := parsed.(*ecdsa.PrivateKey)
		if !ok || !key.PublicKey.Equal(certificates[0].PublicKey) {
			return nil, errors.New("the key is not that of the certificate")
		}
		return &pair{certificate: certificates[0], key: key}, nil
	}
	return nil, errors.New("it holds no private key")
}

func decodeCertificates(content []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certificates = append(certificates, certificate)
	}
	return certificates, nil
}
