package gitsign

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // what is to be refused
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// sshsig are the fields of a signature (PROTOCOL.sshsig), in whatever order of mind their writer is.
type sshsig struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

func (s sshsig) armored(magic string) string {
	blob := append([]byte(magic), ssh.Marshal(s)...)
	return sshsigBegin + "\n" + base64.StdEncoding.EncodeToString(blob) + "\n" + sshsigEnd + "\n"
}

// toSign is what is signed of a message.
func toSign(hash string, message []byte) []byte {
	var sum []byte
	switch hash {
	case "sha1":
		s := sha1.Sum(message) //nolint:gosec // what is to be refused
		sum = s[:]
	case "sha256":
		s := sha256.Sum256(message)
		sum = s[:]
	default:
		s := sha512.Sum512(message)
		sum = s[:]
	}
	return append([]byte(sshsigMagic), ssh.Marshal(struct{ Namespace, Reserved, Hash, Digest string }{gitNamespace, "", hash, string(sum)})...)
}

// token is a FIDO token in software (PROTOCOL.u2f).
type token struct {
	public  ssh.PublicKey
	private ed25519.PrivateKey
}

func newToken(t *testing.T) token {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePublicKey(ssh.Marshal(struct{ Type, Key, Application string }{ssh.KeyAlgoSKED25519, string(public), "ssh:"}))
	if err != nil {
		t.Fatal(err)
	}
	return token{key, private}
}

// sign signs with flags: 1 for touched.
func (k token) sign(message []byte, flags byte) []byte {
	application, digest := sha256.Sum256([]byte("ssh:")), sha256.Sum256(message)
	signed := append(append(application[:], flags, 0, 0, 0, 1), digest[:]...)
	signature := ssh.Marshal(struct{ Format, Blob string }{ssh.KeyAlgoSKED25519, string(ed25519.Sign(k.private, signed))})
	return binary.BigEndian.AppendUint32(append(signature, flags), 1)
}

func TestAnSSHSignatureIsReadStrictly(t *testing.T) {
	message := []byte("tree 5d6ddb3039e31a63dd8e261e074c6334834e7c79\n")
	private, err := rsa.GenerateKey(rand.Reader, minRSABits)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	by := func(algorithm, hash string) []byte {
		signature, err := key.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, toSign(hash, message), algorithm)
		if err != nil {
			t.Fatal(err)
		}
		return ssh.Marshal(struct {
			Format string
			Blob   []byte
		}{signature.Format, signature.Blob})
	}
	public := key.PublicKey().Marshal()
	touched := newToken(t)
	for name, c := range map[string]struct {
		sshsig
		magic, behind string
		says          string // "" for accepted
	}{
		"by SHA-512":                     {sshsig: sshsig{1, public, "git", "", "sha512", by(ssh.KeyAlgoRSASHA512, "sha512")}},
		"by SHA-256":                     {sshsig: sshsig{1, public, "git", "", "sha256", by(ssh.KeyAlgoRSASHA256, "sha256")}},
		"by SHA-1":                       {sshsig: sshsig{1, public, "git", "", "sha512", by(ssh.KeyAlgoRSA, "sha512")}, says: `made by the algorithm "ssh-rsa"`},
		"of a hash by SHA-1":             {sshsig: sshsig{1, public, "git", "", "sha1", by(ssh.KeyAlgoRSASHA512, "sha1")}, says: `over a hash by "sha1"`},
		"with something behind":          {sshsig: sshsig{1, public, "git", "", "sha512", append(by(ssh.KeyAlgoRSASHA512, "sha512"), 0)}, says: "something behind it"},
		"of another version":             {sshsig: sshsig{2, public, "git", "", "sha512", by(ssh.KeyAlgoRSASHA512, "sha512")}, says: "of version 2"},
		"of another magic":               {sshsig: sshsig{1, public, "git", "", "sha512", by(ssh.KeyAlgoRSASHA512, "sha512")}, magic: "SSHSIX", says: "does not begin with SSHSIG"},
		"of a reserved field":            {sshsig: sshsig{1, public, "git", "x", "sha512", by(ssh.KeyAlgoRSASHA512, "sha512")}, says: "not of this content"},
		"of another key":                 {sshsig: sshsig{1, touched.public.Marshal(), "git", "", "sha512", by(ssh.KeyAlgoRSASHA512, "sha512")}, says: "made by the algorithm"},
		"with text behind its end":       {sshsig: sshsig{1, public, "git", "", "sha512", by(ssh.KeyAlgoRSASHA512, "sha512")}, behind: "x\n", says: "not between the lines"},
		"larger than any":                {sshsig: sshsig{1, public, "git", "", "sha512", by(ssh.KeyAlgoRSASHA512, "sha512")}, behind: strings.Repeat("\n", maxSSHSig), says: "the limit is"},
		"by a token that was touched":    {sshsig: sshsig{1, touched.public.Marshal(), "git", "", "sha512", touched.sign(toSign("sha512", message), 1)}},
		"by a token that nobody touched": {sshsig: sshsig{1, touched.public.Marshal(), "git", "", "sha512", touched.sign(toSign("sha512", message), 0)}, says: "user presence"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.magic == "" {
				c.magic = sshsigMagic
			}
			signature, err := parseSSHSignature(c.armored(c.magic) + c.behind)
			if err == nil {
				err = signature.verify(message)
			}
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want it to say %q", err, c.says)
			}
		})
	}
}

func TestATreeThatGitWouldNotWriteIsRefused(t *testing.T) {
	hash := strings.Repeat("x", 20)
	for name, c := range map[string]struct {
		raw    string
		digits int
		says   string // "" for accepted
	}{
		"an empty tree":                       {},
		"files and a folder in order":         {raw: "100644 a-b\x00" + hash + "40000 a\x00" + hash + "100755 a0\x00" + hash},
		"the same name twice":                 {raw: "100644 a\x00" + hash + "100644 a\x00" + hash, says: "twice"},
		"a file and a folder of one name":     {raw: "100644 a\x00" + hash + "100644 a.b\x00" + hash + "40000 a\x00" + hash, says: "twice"},
		"names out of order":                  {raw: "100644 b\x00" + hash + "100644 a\x00" + hash, says: "out of order"},
		"a folder where a file would be":      {raw: "40000 a\x00" + hash + "100644 a-b\x00" + hash, says: "out of order"},
		"a mode that begins with a zero":      {raw: "040000 a\x00" + hash, says: "the mode"},
		"a mode that is none":                 {raw: "100666 a\x00" + hash, says: "the mode"},
		"a name that leads up":                {raw: "40000 ..\x00" + hash, says: "leads elsewhere"},
		"a name that leads down":              {raw: "100644 a/b\x00" + hash, says: "leads elsewhere"},
		"no name":                             {raw: "100644 \x00" + hash, says: "leads elsewhere"},
		"no blank":                            {raw: "100644\x00" + hash, says: "has no name"},
		"a hash that is cut short":            {raw: "100644 a\x00" + hash[1:], says: "cut short"},
		"a name that is cut short":            {raw: "100644 a", says: "cut short"},
		"hashes of a length that Git has not": {digits: 32, says: "none of Git's"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.digits == 0 {
				c.digits = sha1Digits
			}
			_, err := ParseTree([]byte(c.raw), c.digits)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want it to say %q", err, c.says)
			}
		})
	}
}
