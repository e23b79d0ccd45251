package source_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // Git names objects by it
	"crypto/sha512"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/sourcetest"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/gitsign"
)

func gitHash(kind string, content []byte) []byte {
	sum := sha1.Sum(append(fmt.Appendf(nil, "%s %d\x00", kind, len(content)), content...)) //nolint:gosec // as above
	return sum[:]
}

// treeObjects are those of the sample: a file, and a folder with a file.
func treeObjects(tree *archive.Tree) (root string, objects map[string][]byte) {
	manifest, _ := tree.Content("bundle.yaml")
	policy, _ := tree.Content("pods/policy.rego")
	below := append([]byte("100644 policy.rego\x00"), gitHash("blob", policy)...)
	top := append([]byte("100644 bundle.yaml\x00"), gitHash("blob", manifest)...)
	top = append(append(top, "40000 pods\x00"...), gitHash("tree", below)...)
	root = hex.EncodeToString(gitHash("tree", top))
	return root, map[string][]byte{root: top, hex.EncodeToString(gitHash("tree", below)): below}
}

// sshSign makes an SSH signature as "git commit -S" has it made (PROTOCOL.sshsig).
func sshSign(t testing.TB, key ssh.Signer, message string) string {
	t.Helper()
	sum := sha512.Sum512([]byte(message))
	signature, err := key.Sign(rand.Reader, append([]byte("SSHSIG"), ssh.Marshal(struct{ Namespace, Reserved, Hash, Sum string }{"git", "", "sha512", string(sum[:])})...))
	if err != nil {
		t.Fatal(err)
	}
	blob := append([]byte("SSHSIG"), ssh.Marshal(struct {
		Version                                   uint32
		Key, Namespace, Reserved, Hash, Signature string
	}{1, string(key.PublicKey().Marshal()), "git", "", "sha512", string(ssh.Marshal(signature))})...)
	return string(pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: blob}))
}

func newSSHKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// commit is a revision from a repository, signed if there is a key.
func commit(t testing.TB, key ssh.Signer) *source.Revision {
	t.Helper()
	tree := sourcetest.NewTree(t, 7)
	root, objects := treeObjects(tree)
	headers := "tree " + root + "\nauthor Ada <ada@example.com> 1790000000 +0000\ncommitter Ada <ada@example.com> 1790000000 +0000\n"
	signature := ""
	if key != nil {
		armored := strings.TrimSuffix(sshSign(t, key, headers+"\nSerial 7\n"), "\n")
		signature = "gpgsig " + strings.ReplaceAll(armored, "\n", "\n ") + "\n"
	}
	return sourcetest.Stored(t, &source.Revision{
		Tree: tree, Origin: "git+https://git.example.com/policies@" + root,
		Proof: source.Proof{Git: &gitsign.Proof{Commit: []byte(headers + signature + "\nSerial 7\n"), Trees: objects}},
	})
}

func TestCommitsAreVerified(t *testing.T) {
	ada, eve := newSSHKey(t), newSSHKey(t)
	allowed := func(key ssh.Signer, options string) v1alpha1.Verification {
		return v1alpha1.Verification{AllowedSigners: "ada@example.com " + options + string(ssh.MarshalAuthorizedKey(key.PublicKey()))}
	}
	now := time.Unix(1790000000, 0).Add(24 * time.Hour)
	for name, c := range map[string]struct {
		key          ssh.Signer
		verification v1alpha1.Verification
		spoil        func(*source.Revision)
		want         outcome
	}{
		"signed by an allowed signer":        {ada, allowed(ada, ""), nil, outcome{signers: []string{"ada@example.com (SSH key " + ssh.FingerprintSHA256(ada.PublicKey()) + ")"}}},
		"signed by nobody, which is allowed": {nil, v1alpha1.Verification{InsecureUnsigned: true}, nil, outcome{}},
		"signed by nobody":                   {nil, allowed(ada, ""), nil, outcome{cause: source.Unsigned}},
		"signed by another":                  {eve, allowed(ada, ""), nil, outcome{cause: source.Untrusted}},
		"signed by a key that has expired":   {ada, allowed(ada, `valid-before="20260101Z" `), nil, outcome{cause: source.Untrusted}},
		"signed, and nobody trusted":         {ada, v1alpha1.Verification{}, nil, outcome{cause: source.Misconfigured, want: "give allowedSigners or pgpKeys"}},
		"signed, and artifacts trusted":      {ada, by(cosigntest.Authority(t, "release", everywhere, cosigntest.NewKey(t))), nil, outcome{cause: source.Misconfigured, want: "give allowedSigners or pgpKeys"}},
		"signers that are none":              {ada, v1alpha1.Verification{AllowedSigners: "ada@example.com"}, nil, outcome{cause: source.Misconfigured}},
		"other files":                        {ada, allowed(ada, ""), func(r *source.Revision) { r.Tree = sourcetest.NewTree(t, 8) }, outcome{cause: source.Mismatched}},
		"other files, unsigned allowed":      {nil, v1alpha1.Verification{InsecureUnsigned: true}, func(r *source.Revision) { r.Tree = sourcetest.NewTree(t, 8) }, outcome{cause: source.Mismatched}},
		"another message":                    {ada, allowed(ada, ""), func(r *source.Revision) { r.Proof.Git.Commit = append(r.Proof.Git.Commit, "evil\n"...) }, outcome{cause: source.Untrusted}},
		"no trees":                           {ada, allowed(ada, ""), func(r *source.Revision) { r.Proof.Git.Trees = nil }, outcome{cause: source.Mismatched}},
		"no commit":                          {ada, v1alpha1.Verification{InsecureUnsigned: true}, func(r *source.Revision) { r.Proof.Git.Commit = nil }, outcome{cause: source.Mismatched}},
	} {
		t.Run(name, func(t *testing.T) {
			revision := commit(t, c.key)
			if c.spoil != nil {
				c.spoil(revision)
			}
			check(t, source.NewVerifier(source.VerifierOptions{Now: func() time.Time { return now }}), revision, c.verification, c.want)
		})
	}
}

func TestAKeyThatHasExpiredSinceVouchesForWhatWasStoredBefore(t *testing.T) {
	ada := newSSHKey(t)
	by := v1alpha1.Verification{AllowedSigners: `ada@example.com valid-before="20261001Z" ` + string(ssh.MarshalAuthorizedKey(ada.PublicKey()))}
	signed := time.Unix(1790000000, 0) // in September 2026
	verifier := source.NewVerifier(source.VerifierOptions{Now: func() time.Time { return signed.AddDate(1, 0, 0) }})
	revision := commit(t, ada)
	check(t, verifier, revision, by, outcome{cause: source.Untrusted})
	check(t, verifier.At(signed.Add(time.Hour)), revision, by, outcome{signers: []string{"ada@example.com (SSH key " + ssh.FingerprintSHA256(ada.PublicKey()) + ")"}})
	check(t, verifier.At(signed.AddDate(0, 1, 0)), revision, by, outcome{cause: source.Untrusted})
	check(t, verifier.At(time.Time{}), revision, by, outcome{cause: source.Untrusted})
}
