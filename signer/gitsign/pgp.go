package gitsign

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// The armor of OpenPGP (RFC 9580, section 6.2).
const (
	pgpSignatureBegin = "-----BEGIN PGP SIGNATURE-----"
	pgpSignatureEnd   = "-----END PGP SIGNATURE-----"
	pgpKeysBegin      = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	// maxPGPSignature is how many bytes an armored signature may have; GnuPG's have a few hundred to a few thousand.
	maxPGPSignature = 64 << 10
)

// pgpHashes are those that a signature may be over. Collisions of the others have been made or are near
// (RFC 9580, section 9.5).
func pgpHashes() []crypto.Hash {
	return []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}
}

// parsePGPKeys reads armored public keys, one or several blocks. A block that cannot be read is an error.
func parsePGPKeys(text string) (openpgp.EntityList, error) {
	var keys openpgp.EntityList
	if strings.Contains(text, "PGP PRIVATE KEY") {
		return nil, errors.New("there is a private key: take it out, make a new pair, and give the public one (gpg --armor --export)")
	}
	before, rest, found := strings.Cut(text, pgpKeysBegin)
	if !found && strings.TrimSpace(before) != "" {
		return nil, errors.New("there is no armored public key: write them with gpg --armor --export")
	}
	for block := range strings.SplitSeq(rest, pgpKeysBegin) {
		if !found {
			break
		}
		read, err := openpgp.ReadArmoredKeyRing(strings.NewReader(pgpKeysBegin + block))
		if err != nil {
			return nil, fmt.Errorf("a block cannot be read: %w: write it with gpg --armor --export", err)
		}
		if len(read) == 0 {
			return nil, errors.New("a block has no key: write it with gpg --armor --export")
		}
		keys = append(keys, read...)
	}
	for _, key := range keys {
		if self, _ := key.PrimarySelfSignature(); self == nil {
			return nil, fmt.Errorf("the key %X has no signature of its own: write it with gpg --armor --export", key.PrimaryKey.Fingerprint)
		}
	}
	return keys, nil
}

// pgpSignature is an OpenPGP signature that was taken apart. Nothing of it is verified.
type pgpSignature struct {
	packet *packet.Signature
	raw    []byte
}

// parsePGPSignature reads an armored signature of one packet and nothing beside it.
func parsePGPSignature(armored string) (*pgpSignature, error) {
	if len(armored) > maxPGPSignature {
		return nil, fmt.Errorf("it has %d bytes, and the limit is %d", len(armored), maxPGPSignature)
	}
	trimmed := strings.TrimRight(armored, " \r\n")
	if !strings.HasSuffix(trimmed, "\n"+pgpSignatureEnd) || strings.Count(trimmed, "-----BEGIN ") != 1 || strings.Count(trimmed, "-----END ") != 1 {
		return nil, errors.New("it is not between the lines BEGIN and END PGP SIGNATURE")
	}
	block, err := armor.Decode(strings.NewReader(armored))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(block.Body)
	if err != nil {
		return nil, err
	}
	packets := packet.NewReader(bytes.NewReader(raw))
	first, err := packets.Next()
	if err != nil {
		return nil, err
	}
	signature, ok := first.(*packet.Signature)
	if !ok {
		return nil, errors.New("it is another packet than a signature")
	}
	if _, err := packets.Next(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind it")
	}
	return &pgpSignature{packet: signature, raw: raw}, nil
}

// verify says whom the signature is of.
func (s *pgpSignature) verify(message []byte, keys openpgp.EntityList, now time.Time) (string, error) {
	if s.packet.SigType != packet.SigTypeBinary {
		return "", fmt.Errorf("it is of the type 0x%02x, and Git makes signatures of binary documents: sign with git", int(s.packet.SigType))
	}
	if !slices.Contains(pgpHashes(), s.packet.Hash) {
		return "", fmt.Errorf("it is over a hash by %v, which can be forged: set digest-algo SHA512 in gpg.conf, and sign it anew", s.packet.Hash)
	}
	if s.packet.IssuerKeyId == nil {
		return "", errors.New("it does not say by which key it is: sign with git")
	}
	key, err := s.find(keys)
	if err != nil {
		return "", err
	}
	if err := s.checkTimes(key, now); err != nil {
		return "", err
	}
	at := now
	if s.packet.CreationTime.After(at) {
		at = s.packet.CreationTime // by no more than maxAhead
	}
	config := &packet.Config{Time: func() time.Time { return at }}
	_, entity, err := openpgp.VerifyDetachedSignature(openpgp.EntityList{key.Entity}, bytes.NewReader(message), bytes.NewReader(s.raw), config)
	if err != nil {
		return "", explainPGP(err, key)
	}
	return fmt.Sprintf("%s (OpenPGP key %X)", userOf(entity), key.PublicKey.Fingerprint), nil
}

// find is the trusted key that the signature names, if that key may sign.
func (s *pgpSignature) find(keys openpgp.EntityList) (*openpgp.Key, error) {
	id := *s.packet.IssuerKeyId
	if len(keys.KeysById(id)) == 0 {
		return nil, fmt.Errorf("the OpenPGP key %s %s: add it to pgpKeys, or have it signed by somebody who may", s.issuer(), noneOf(len(keys)))
	}
	found := keys.KeysByIdUsage(id, packet.KeyFlagSign)
	if len(found) == 0 {
		return nil, fmt.Errorf("the OpenPGP key %s is not meant for signing: sign with one that is", s.issuer())
	}
	for _, key := range found {
		if len(s.packet.IssuerFingerprint) > 0 && !bytes.Equal(s.packet.IssuerFingerprint, key.PublicKey.Fingerprint) {
			continue
		}
		if revoked(key, keys) {
			return nil, fmt.Errorf("the OpenPGP key %X is revoked: have it signed by one that counts", key.PublicKey.Fingerprint)
		}
		for _, one := range []*packet.PublicKey{key.PublicKey, key.Entity.PrimaryKey} {
			if err := checkPGPKey(one); err != nil {
				return nil, err
			}
		}
		return &key, nil
	}
	return nil, fmt.Errorf("the OpenPGP key %s has the id of one that may sign, and is another: have it signed by one that may", s.issuer())
}

// revoked says whether a key is, by any of the blocks that it is in: who is told to give a revoked key adds it to the one that is
// there.
func revoked(key openpgp.Key, keys openpgp.EntityList) bool {
	for _, other := range keys {
		if bytes.Equal(other.PrimaryKey.Fingerprint, key.Entity.PrimaryKey.Fingerprint) && len(other.Revocations) > 0 {
			return true
		}
	}
	return slices.ContainsFunc(keys.KeysById(key.PublicKey.KeyId), func(other openpgp.Key) bool {
		return bytes.Equal(other.PublicKey.Fingerprint, key.PublicKey.Fingerprint) && len(other.Revocations) > 0
	})
}

// issuer names the key by its fingerprint where it is known.
func (s *pgpSignature) issuer() string {
	if len(s.packet.IssuerFingerprint) > 0 {
		return fmt.Sprintf("%X", s.packet.IssuerFingerprint)
	}
	return fmt.Sprintf("%016X", *s.packet.IssuerKeyId)
}

// checkTimes refuses what was signed before the key was made. That the key had not expired then follows from its not having
// expired now.
func (s *pgpSignature) checkTimes(key *openpgp.Key, now time.Time) error {
	signed := s.packet.CreationTime
	if err := checkAhead(signed, now); err != nil {
		return err
	}
	for _, one := range []*packet.PublicKey{key.PublicKey, key.Entity.PrimaryKey} {
		if signed.Before(one.CreationTime) {
			return fmt.Errorf("it is dated %s, and the OpenPGP key %X was made %s: set the clock, and sign it anew", date(signed), one.Fingerprint, date(one.CreationTime))
		}
	}
	return nil
}

// checkPGPKey refuses keys that are too weak (RFC 9580, section 9.1).
func checkPGPKey(key *packet.PublicKey) error {
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		bits, err := key.BitLength()
		if err != nil || bits < minRSABits {
			return fmt.Errorf("the OpenPGP key %X is RSA with %d bits, and the least is %d: make a new one with gpg --full-generate-key", key.Fingerprint, bits, minRSABits)
		}
	case packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA, packet.PubKeyAlgoEd25519, packet.PubKeyAlgoEd448:
	default:
		return fmt.Errorf("the OpenPGP key %X is of an algorithm that is not accepted: make a new one with gpg --full-generate-key", key.Fingerprint)
	}
	return nil
}

// explainPGP says what to do about an error of the verification.
func explainPGP(err error, key *openpgp.Key) error {
	fingerprint := key.PublicKey.Fingerprint
	switch {
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return fmt.Errorf("the OpenPGP key %X has expired, and vouches for nothing any more: extend it with gpg --quick-set-expire and give it anew, or have it signed by one that counts", fingerprint)
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return fmt.Errorf("the OpenPGP key %X is revoked: have it signed by one that counts", fingerprint)
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		return fmt.Errorf("it has expired, or a signature within the OpenPGP key %X has: sign it anew", fingerprint)
	}
	return fmt.Errorf("it is not of this content by the OpenPGP key %X: %w: sign it anew", fingerprint, err)
}

// userOf names a key's owner.
func userOf(entity *openpgp.Entity) string {
	if identity := entity.PrimaryIdentity(); identity != nil {
		return identity.Name
	}
	return "somebody without a name"
}
