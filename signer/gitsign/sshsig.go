package gitsign

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// The SSH signature format (OpenSSH, PROTOCOL.sshsig).
const (
	sshsigMagic   = "SSHSIG"
	sshsigVersion = 1
	sshsigBegin   = "-----BEGIN SSH SIGNATURE-----"
	sshsigEnd     = "-----END SSH SIGNATURE-----"
	// gitNamespace keeps signatures of Git from being those of anything else (gitformat-signature; git's gpg-interface.c).
	gitNamespace = "git"
	// maxSSHSig is how many bytes an armored signature may have: a certificate with many principals has a few thousand.
	maxSSHSig = 64 << 10
	// minRSABits is what OpenSSH makes and NIST SP 800-131A allows.
	minRSABits = 2048
)

// sshSignature is an SSH signature that was taken apart. Nothing of it is verified.
type sshSignature struct {
	key       ssh.PublicKey // may be an *ssh.Certificate
	namespace string
	reserved  string
	hash      string
	signature ssh.Signature
}

// parseSSHSignature reads an armored signature and nothing beside it.
func parseSSHSignature(armored string) (*sshSignature, error) {
	blob, err := dearmorSSH(armored)
	if err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(blob, []byte(sshsigMagic))
	if !ok {
		return nil, errors.New("it does not begin with SSHSIG")
	}
	var fields struct {
		Version   uint32
		PublicKey []byte
		Namespace string
		Reserved  string
		Hash      string
		Signature []byte
	}
	if err := ssh.Unmarshal(rest, &fields); err != nil {
		return nil, err
	}
	if fields.Version != sshsigVersion {
		return nil, fmt.Errorf("it is of version %d, and %d is the only one there is", fields.Version, sshsigVersion)
	}
	s := &sshSignature{namespace: fields.Namespace, reserved: fields.Reserved, hash: fields.Hash}
	if s.key, err = ssh.ParsePublicKey(fields.PublicKey); err != nil {
		return nil, fmt.Errorf("its key: %w", err)
	}
	if err := ssh.Unmarshal(fields.Signature, &s.signature); err != nil {
		return nil, err
	}
	return s, nil
}

// dearmorSSH decodes what is between the two lines.
func dearmorSSH(armored string) ([]byte, error) {
	if len(armored) > maxSSHSig {
		return nil, fmt.Errorf("it has %d bytes, and the limit is %d", len(armored), maxSSHSig)
	}
	armored = strings.ReplaceAll(strings.TrimRight(armored, "\r\n"), "\r\n", "\n")
	body, begins := strings.CutPrefix(armored, sshsigBegin+"\n")
	body, ends := strings.CutSuffix(body, "\n"+sshsigEnd)
	if !begins || !ends {
		return nil, errors.New("it is not between the lines BEGIN and END SSH SIGNATURE")
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(strings.ReplaceAll(body, "\n", ""))
	if err != nil {
		return nil, fmt.Errorf("it is no base64: %w", err)
	}
	return blob, nil
}

// verify says whether the key has signed a message for Git.
func (s *sshSignature) verify(message []byte) error {
	if s.namespace != gitNamespace {
		return fmt.Errorf("it is for the namespace %q and not for %q: sign with git, or with ssh-keygen -Y sign -n git", s.namespace, gitNamespace)
	}
	key := s.signingKey()
	if err := checkSSHKey(key); err != nil {
		return err
	}
	if err := s.checkAlgorithm(key); err != nil {
		return err
	}
	var digest []byte
	switch s.hash {
	case "sha256":
		sum := sha256.Sum256(message)
		digest = sum[:]
	case "sha512":
		sum := sha512.Sum512(message)
		digest = sum[:]
	default:
		return fmt.Errorf("it is over a hash by %.20q: use sha512", s.hash)
	}
	signed := ssh.Marshal(struct{ Namespace, Reserved, Hash, Digest string }{s.namespace, s.reserved, s.hash, string(digest)})
	// Keys on hardware are refused by Verify where nobody has touched them.
	if err := key.Verify(append([]byte(sshsigMagic), signed...), &s.signature); err != nil {
		return fmt.Errorf("it is not of this content: %w: sign it anew", err)
	}
	return nil
}

// signingKey is the key without its certificate.
func (s *sshSignature) signingKey() ssh.PublicKey {
	if certificate, ok := s.key.(*ssh.Certificate); ok {
		return certificate.Key
	}
	return s.key
}

// checkAlgorithm refuses SHA-1 and signatures with something behind them.
func (s *sshSignature) checkAlgorithm(key ssh.PublicKey) error {
	allowed := []string{key.Type()}
	if key.Type() == ssh.KeyAlgoRSA {
		allowed = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	if !slices.Contains(allowed, s.signature.Format) {
		return fmt.Errorf("it is made by the algorithm %.40q: use %s", s.signature.Format, strings.Join(allowed, " or "))
	}
	if !isHardware(key) && len(s.signature.Rest) > 0 {
		return errors.New("there is something behind it: sign it anew")
	}
	return nil
}

// isHardware says whether a key is on a FIDO token (PROTOCOL.u2f), whose signatures have flags and a counter behind them.
func isHardware(key ssh.PublicKey) bool {
	return key.Type() == ssh.KeyAlgoSKED25519 || key.Type() == ssh.KeyAlgoSKECDSA256
}

// checkSSHKey refuses keys that are too weak.
func checkSSHKey(key ssh.PublicKey) error {
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return nil
	case ssh.KeyAlgoRSA:
		return checkRSABits(key)
	}
	return fmt.Errorf("keys of the type %s are not accepted: make one with ssh-keygen -t ed25519", key.Type())
}

func checkRSABits(key ssh.PublicKey) error {
	wrapped, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return errors.New("the RSA key cannot be read: make one with ssh-keygen -t ed25519")
	}
	public, ok := wrapped.CryptoPublicKey().(*rsa.PublicKey)
	if !ok {
		return errors.New("the RSA key cannot be read: make one with ssh-keygen -t ed25519")
	}
	if bits := public.N.BitLen(); bits < minRSABits {
		return fmt.Errorf("the RSA key has %d bits, and the least is %d: make one with ssh-keygen -t ed25519", bits, minRSABits)
	}
	return nil
}

// sameKey compares keys by their wire format.
func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }
