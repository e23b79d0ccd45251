package gitsign

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/crypto/ssh"
)

// Proof shows that a commit has some files, and who has signed it.
type Proof struct {
	// Commit is the raw commit object, without the header that names its type and size.
	Commit []byte `json:"commit"`
	// Tag is the raw annotated tag that points to the commit, nil for none. If it is signed it vouches for a commit that
	// is not.
	Tag []byte `json:"tag,omitempty"`
	// Trees are raw tree objects by hexadecimal hash: that of the commit, those on the way to Path, and those below it
	// that are part of a bundle.
	Trees map[string][]byte `json:"trees"`
	// Path is the folder of the files, slash-separated, "" for the root.
	Path string `json:"path,omitempty"`
}

// Signers are those who may sign. The zero value is nobody.
type Signers struct {
	// AllowedSigners are SSH keys in OpenSSH's format (ssh-keygen(1), ALLOWED SIGNERS).
	AllowedSigners string
	// PGPKeys are armored OpenPGP public keys, one or several blocks.
	PGPKeys string
	// Now is the time at which a key must still count.
	Now time.Time
}

// Cause is why nobody has signed some files.
type Cause string

// The causes.
const (
	// Unsigned: neither the commit nor the tag has a signature.
	Unsigned Cause = "not signed"
	// Untrusted: there is a signature, and none that counts.
	Untrusted Cause = "signed by nobody who is trusted"
	// Mismatched: the files are not those of the commit, or the objects are not what Git writes.
	Mismatched Cause = "not the files of the commit"
	// Misconfigured: the signers cannot be read.
	Misconfigured Cause = "the signers cannot be read"
)

// Error says why nobody has signed some files.
type Error struct {
	Cause Cause
	Err   error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap is the reason.
func (e *Error) Unwrap() error { return e.Err }

// refuse makes an [Error].
func refuse(cause Cause, format string, arguments ...any) error {
	return &Error{Cause: cause, Err: fmt.Errorf(format, arguments...)}
}

// Verify says who has signed a commit with exactly these files, of those who may: "ada@example.com (SSH key SHA256:…)".
// files are by their name below Path; names of which a part starts with a dot are no part of a bundle and are passed over.
//
// Every error is an [*Error]. That the files are not those of the commit is looked for first, so an error of another
// cause than [Mismatched] says that they are.
func Verify(p *Proof, files map[string][]byte, signers Signers) (signer string, err error) {
	if p == nil {
		return "", refuse(Unsigned, "there is no commit: fetch it again")
	}
	commit, err := parseCommit(p.Commit)
	if err != nil {
		return "", refuse(Mismatched, "reading the commit: %w: write it anew with git", err)
	}
	if err := bind(p, commit, files); err != nil {
		return "", err
	}
	objects := []*object{commit}
	if p.Tag != nil {
		tag, err := tagOf(p.Tag, commit)
		if err != nil {
			return "", err
		}
		objects = []*object{tag, commit}
	}
	ring, err := readSigners(signers)
	if err != nil {
		return "", err
	}
	return ring.verifyAny(objects)
}

// Hashes are those of the commit and of the tag, "" where there is none. They are computed, and nothing is verified.
func (p *Proof) Hashes() (commit, tag string, err error) {
	read, err := parseCommit(p.Commit)
	if err != nil {
		return "", "", fmt.Errorf("reading the commit: %w: write it anew with git", err)
	}
	if p.Tag == nil {
		return read.hash, "", nil
	}
	found, err := tagOf(p.Tag, read)
	if err != nil {
		return "", "", err
	}
	return read.hash, found.hash, nil
}

// tagOf reads a tag that points to a commit.
func tagOf(raw []byte, commit *object) (*object, error) {
	tag, err := parseTag(raw)
	if err != nil {
		return nil, refuse(Mismatched, "reading the tag: %w: make it anew with git tag -s", err)
	}
	if tag.targetType != string(kindCommit) {
		return nil, refuse(Mismatched, "%s points to a %.20q and not to a commit: tag the commit itself", tag.name(), tag.targetType)
	}
	if tag.target != commit.hash {
		return nil, refuse(Mismatched, "%s points to %s and not to %s: fetch it again", tag.name(), short(tag.target), commit.name())
	}
	return tag, nil
}

// ring are signers that were read.
type ring struct {
	allowed []allowedSigner
	keys    openpgp.EntityList
	now     time.Time
}

func readSigners(s Signers) (*ring, error) {
	allowed, err := parseAllowedSigners(s.AllowedSigners)
	if err != nil {
		return nil, refuse(Misconfigured, "reading the allowed signers: %w", err)
	}
	keys, err := parsePGPKeys(s.PGPKeys)
	if err != nil {
		return nil, refuse(Misconfigured, "reading the OpenPGP keys: %w", err)
	}
	return &ring{allowed: allowed, keys: keys, now: s.Now}, nil
}

// CheckSigners says whether signers can be read, and whether there are any. Its error is an [*Error] with the cause
// [Misconfigured].
func CheckSigners(s Signers) error {
	r, err := readSigners(s)
	if err != nil {
		return err
	}
	if len(r.allowed) == 0 && len(r.keys) == 0 {
		return refuse(Misconfigured, "nobody may sign: add SSH keys to allowedSigners, or OpenPGP keys to pgpKeys")
	}
	return nil
}

// verifyAny says who has signed one of the objects. Each of them has the files, so one signature that counts is enough.
func (r *ring) verifyAny(objects []*object) (string, error) {
	var reasons []error
	for _, o := range objects {
		if o.signature == "" {
			continue
		}
		signer, err := r.verify(o)
		if err == nil {
			return signer, nil
		}
		reasons = append(reasons, fmt.Errorf("the signature of %s: %w", o.name(), err))
	}
	switch len(reasons) {
	case 0:
		return "", refuse(Unsigned, "%s is not signed: sign it with git commit -S, or a tag of it with git tag -s", listed(objects))
	case 1:
		return "", &Error{Cause: Untrusted, Err: reasons[0]}
	}
	return "", refuse(Untrusted, "%w; %w", reasons[0], reasons[1])
}

// listed names objects for people: "neither the tag … nor the commit …" needs another verb, so the one that counts.
func listed(objects []*object) string {
	commit := objects[len(objects)-1]
	if len(objects) == 1 {
		return commit.name()
	}
	return objects[0].name() + " of " + commit.name()
}

// Signature formats that Git knows (gpg-interface.c).
const (
	formatSSH  = "SSH"
	formatPGP  = "OpenPGP"
	formatX509 = "X.509"
)

// formatOf is the format of the signature that a line begins, "" for none.
func formatOf(line string) string {
	switch {
	case strings.HasPrefix(line, sshsigBegin):
		return formatSSH
	case strings.HasPrefix(line, pgpSignatureBegin), strings.HasPrefix(line, "-----BEGIN PGP MESSAGE-----"):
		return formatPGP
	case strings.HasPrefix(line, "-----BEGIN SIGNED MESSAGE-----"):
		return formatX509
	}
	return ""
}

// verify says whom the signature of an object is of.
func (r *ring) verify(o *object) (string, error) {
	if o.time.IsZero() {
		return "", errors.New("nothing says when it was made: sign with a git of this century")
	}
	switch formatOf(o.signature) {
	case formatSSH:
		return r.verifySSH(o)
	case formatPGP:
		signature, err := parsePGPSignature(o.signature)
		if err != nil {
			return "", fmt.Errorf("it cannot be read: %w: sign it anew with git", err)
		}
		return signature.verify(o.payload, r.keys, r.now)
	case formatX509:
		return "", errors.New("it is an X.509 signature, and those are not accepted: set gpg.format to ssh or openpgp, and sign it anew")
	}
	return "", errors.New("it is of no known format: set gpg.format to ssh or openpgp, and sign it anew")
}

// verifySSH looks for a line of the allowed signers that accepts the key. One is enough; where none does, the first that is
// about the key says why.
func (r *ring) verifySSH(o *object) (string, error) {
	signature, err := parseSSHSignature(o.signature)
	if err != nil {
		return "", fmt.Errorf("it cannot be read: %w: sign it anew with git", err)
	}
	if err := signature.verify(o.payload); err != nil {
		return "", err
	}
	if err := checkAhead(o.time, r.now); err != nil {
		return "", err
	}
	fingerprint := ssh.FingerprintSHA256(signature.signingKey())
	var first error
	for i := range r.allowed {
		about, principal, err := r.allowed[i].accepts(signature, o.time, r.now)
		if about && err == nil {
			return fmt.Sprintf("%s (SSH key %s)", principal, fingerprint), nil
		}
		if about && first == nil {
			first = fmt.Errorf("the SSH key %s: %w", fingerprint, err)
		}
	}
	if first != nil {
		return "", first
	}
	return "", fmt.Errorf("the SSH key %s %s: add it to allowedSigners, or have it signed by somebody who may", fingerprint, noneOf(len(r.allowed)))
}

// maxAhead is how far a signature may be dated ahead: clocks differ.
const maxAhead = time.Hour

func checkAhead(signed, now time.Time) error {
	if signed.Sub(now) > maxAhead {
		return fmt.Errorf("it is dated %s, and it is %s now: set the clock that is wrong", date(signed), date(now))
	}
	return nil
}

// noneOf says of a key that it is none of so many that may sign.
func noneOf(n int) string {
	switch n {
	case 0:
		return "may not sign, nor may any other of its kind"
	case 1:
		return "is not the one that may sign"
	}
	return fmt.Sprintf("is none of the %d that may sign", n)
}
