package git_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/sourcetest"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// sshKeyFile writes a key for git to sign with, and gives its line of allowed_signers.
func (r *repository) sshKeyFile(name string) (file, line string) {
	r.t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		r.t.Skip("ssh-keygen is not installed: apt-get install openssh-client")
	}
	key, private := newKey(r.t)
	file = filepath.Join(r.root, name)
	if err := os.WriteFile(file, private, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return file, name + "@example.com " + publicLine(key.PublicKey())
}

func (r *repository) signBy(file string) {
	r.git("config", "gpg.format", "ssh")
	r.git("config", "user.signingkey", file)
}

// TestWhoHasSignedIsKnownAfterEveryJourney goes the way of a revision: fetched, verified, stored, loaded, verified again.
func TestWhoHasSignedIsKnownAfterEveryJourney(t *testing.T) {
	r := newRepository(t)
	ada, adaLine := r.sshKeyFile("ada")
	eve, _ := r.sshKeyFile("eve")
	r.bundle(1)
	r.git("branch", "-M", "unsigned")
	unsigned := r.commit()
	r.signBy(ada)
	r.git("tag", "-s", "-m", "Release", "release")
	r.git("tag", "-a", "-m", "Draft", "draft")
	r.git("checkout", "-q", "-b", "signed")
	r.write("prod/bundle.yaml", []byte("name: acme\nserial: 2\n"))
	r.commit("-S")
	r.git("checkout", "-q", "-b", "strange")
	r.signBy(eve)
	r.bundle(3)
	r.commit("-S")
	r.git("update-ref", "refs/tags/renamed", "refs/tags/release")
	s := r.serve(nil)
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	verifier := source.NewVerifier(source.VerifierOptions{Now: func() time.Time { return now }})
	for name, c := range map[string]struct {
		from    v1alpha1.GitSource
		by      v1alpha1.Verification
		signer  string
		cause   source.Cause
		says    string
		fetches string // why it is not even fetched
	}{
		"a signed commit":               {from: v1alpha1.GitSource{Branch: "signed"}, signer: "ada@example.com (SSH key SHA256:"},
		"a folder of a signed commit":   {from: v1alpha1.GitSource{Branch: "signed", Path: "prod"}, signer: "ada@example.com"},
		"an unsigned commit":            {from: v1alpha1.GitSource{Branch: "unsigned"}, cause: source.Unsigned, says: unsigned[:12] + " is not signed"},
		"a signed tag of it":            {from: v1alpha1.GitSource{Tag: "release"}, signer: "ada@example.com"},
		"an unsigned tag of it":         {from: v1alpha1.GitSource{Tag: "draft"}, cause: source.Unsigned, says: "is not signed"},
		"a signed tag by another name":  {from: v1alpha1.GitSource{Tag: "renamed"}, fetches: `says that it is "release"`},
		"a stranger's commit":           {from: v1alpha1.GitSource{Branch: "strange"}, cause: source.Untrusted, says: "is not the one that may sign"},
		"a key for another namespace":   {from: v1alpha1.GitSource{Branch: "signed"}, by: v1alpha1.Verification{AllowedSigners: strings.Replace(adaLine, " ", ` namespaces="file" `, 1)}, cause: source.Untrusted, says: "namespaces"},
		"a key that has expired":        {from: v1alpha1.GitSource{Branch: "signed"}, by: v1alpha1.Verification{AllowedSigners: strings.Replace(adaLine, " ", ` valid-before="20260501" `, 1)}, cause: source.Untrusted, says: "valid before"},
		"an unsigned commit, if wanted": {from: v1alpha1.GitSource{Branch: "unsigned"}, by: v1alpha1.Verification{InsecureUnsigned: true}},
	} {
		t.Run(name, func(t *testing.T) {
			from := s.source()
			from.Branch, from.Tag, from.Path = c.from.Branch, c.from.Tag, c.from.Path
			if c.by.AllowedSigners == "" {
				c.by.AllowedSigners = adaLine
			}
			fetched, err := fetch(t, from, loopback(), "")
			if c.fetches != "" {
				refused(t, err, c.fetches)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, revision := range []*source.Revision{fetched, sourcetest.Stored(t, fetched)} {
				signers, err := verifier.Verify(t.Context(), revision, c.by)
				var because *source.VerificationError
				if c.cause != "" {
					if !errors.As(err, &because) || because.Cause != c.cause {
						t.Fatalf("got %v, %v, want the cause %q", signers, err, c.cause)
					}
					refused(t, err, c.says)
					continue
				}
				if err != nil || !strings.Contains(strings.Join(signers, ", "), c.signer) {
					t.Errorf("got %q, %v, want the signer %s", signers, err, c.signer)
				}
			}
		})
	}
}
