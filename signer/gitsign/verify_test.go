package gitsign_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer/gitsign"
)

// refusal is a verification that must fail.
type refusal struct {
	cause gitsign.Cause
	says  []string
}

func (want refusal) check(t *testing.T, signer string, err error) {
	t.Helper()
	var refused *gitsign.Error
	if !errors.As(err, &refused) {
		t.Fatalf("got the signer %q and the error %v, want an error of the cause %q", signer, err, want.cause)
	}
	t.Logf("says: %v", err)
	if refused.Cause != want.cause {
		t.Errorf("got the cause %q (%v), want %q", refused.Cause, err, want.cause)
	}
	for _, part := range want.says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, want it to say %q", err, part)
		}
	}
	if signer != "" {
		t.Errorf("got the signer %q beside an error, want none", signer)
	}
}

func accepted(t *testing.T, want, signer string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("got the error %v, want it accepted", err)
	}
	if !strings.Contains(signer, want) {
		t.Errorf("got the signer %q, want %q", signer, want)
	}
}

func TestACommitSignedBySSHIsAcceptedFromWhoMaySign(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		for name, arguments := range map[string][]string{
			"an Ed25519 key": {"-t", "ed25519"},
			"an ECDSA key":   {"-t", "ecdsa", "-b", "384"},
			"an RSA key":     {"-t", "rsa", "-b", "2048"},
		} {
			t.Run(format+" by "+name, func(t *testing.T) {
				r := newRepository(t, format)
				file, public := r.sshKey("ada", arguments...)
				r.bundle()
				r.signBySSH(file)
				p := r.proof(r.commit("-S"), "", "")
				signer, err := gitsign.Verify(p, r.files, gitsign.Signers{AllowedSigners: "ada@example.com " + public, Now: now})
				accepted(t, "ada@example.com (SSH key SHA256:", signer, err)

				signer, err = gitsign.Verify(p, r.files, gitsign.Signers{Now: now})
				refusal{gitsign.Untrusted, []string{"may not sign, nor may any other"}}.check(t, signer, err)
			})
		}
	}
}

func TestTheFilesOfAFolderAreThoseOfTheCommit(t *testing.T) {
	r := newRepository(t, "sha1")
	file, public := r.sshKey("ada")
	r.signBySSH(file)
	r.bundle()
	r.write("prod/eu/bundle.yaml", "name: eu\n")
	r.write("prod/eu/pods/x.rego", "package x\n")
	r.git("update-index", "--chmod=+x", "prod/eu/pods/x.rego")
	signers := gitsign.Signers{AllowedSigners: "ada@example.com " + public, Now: now}
	commit := r.commit("-S")
	files := r.below("prod/eu")
	signer, err := gitsign.Verify(r.proof(commit, "", "prod/eu"), files, signers)
	accepted(t, "ada@example.com", signer, err)

	other := func(change func(map[string][]byte)) map[string][]byte {
		changed := maps.Clone(files)
		change(changed)
		return changed
	}
	signer, err = gitsign.Verify(r.proof(commit, "", "prod/eu"), other(func(f map[string][]byte) { f[".git/config"] = nil }), signers)
	accepted(t, "ada@example.com", signer, err)

	for name, c := range map[string]struct {
		path  string
		files map[string][]byte
		proof func(*gitsign.Proof)
		says  []string
	}{
		"a file has another content": {
			path: "prod/eu", files: other(func(f map[string][]byte) { f["bundle.yaml"] = []byte("name: us\n") }),
			says: []string{"bundle.yaml is not the file of the commit"},
		},
		"a file is missing": {
			path: "prod/eu", files: other(func(f map[string][]byte) { delete(f, "pods/x.rego") }),
			says: []string{"pods/x.rego is missing"},
		},
		"there is a file more": {
			path: "prod/eu", files: other(func(f map[string][]byte) { f["pods/y.rego"] = nil }),
			says: []string{"pods/y.rego is not in it"},
		},
		"a file is in place of another": {
			path: "prod/eu", files: other(func(f map[string][]byte) { f["pods/y.rego"] = f["pods/x.rego"]; delete(f, "pods/x.rego") }),
			says: []string{"pods/x.rego is missing"},
		},
		"the folder is another one":  {path: "prod", files: files, says: []string{"is missing"}},
		"the folder is not there":    {path: "prod/us", files: files, says: []string{"the path prod/us", "there is no folder us"}},
		"the folder is a file":       {path: "bundle.yaml", files: files, says: []string{"bundle.yaml is no folder"}},
		"the folder is named oddly":  {path: "prod//eu", files: files, says: []string{"there is no folder"}},
		"the folder leads elsewhere": {path: "prod/../prod/eu", files: files, says: []string{"there is no folder .."}},
		"a tree is not at hand": {
			path: "prod/eu", files: files, proof: func(p *gitsign.Proof) { clear(p.Trees) }, says: []string{"is not at hand"},
		},
		"a tree is another one": {
			path: "prod/eu", files: files, says: []string{"what is said to be the tree"},
			proof: func(p *gitsign.Proof) {
				for hash := range p.Trees {
					p.Trees[hash] = nil
				}
			},
		},
		"the commit is empty":      {path: "prod/eu", files: files, proof: func(p *gitsign.Proof) { p.Commit = nil }, says: []string{"it is empty"}},
		"the commit has a NUL":     {path: "prod/eu", files: files, proof: func(p *gitsign.Proof) { p.Commit = append(p.Commit, 0) }, says: []string{"NUL"}},
		"the commit is of no tree": {path: "prod/eu", files: files, proof: func(p *gitsign.Proof) { p.Commit = p.Commit[5:] }, says: []string{"write it anew"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := r.proof(commit, "", c.path)
			if c.proof != nil {
				c.proof(p)
			}
			signer, err := gitsign.Verify(p, c.files, signers)
			refusal{gitsign.Mismatched, c.says}.check(t, signer, err)
		})
	}
}

func TestWhatABundleDoesNotHoldIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		add  func(*repository)
		says string
	}{
		"a symbolic link": {
			says: "link.rego is a symbolic link",
			add: func(r *repository) {
				if err := os.Symlink("bundle.yaml", r.dir+"/link.rego"); err != nil {
					r.t.Fatal(err)
				}
				r.git("add", "link.rego")
				r.files["link.rego"] = []byte("bundle.yaml")
			},
		},
		"a submodule": {
			says: "vendor is a submodule",
			add: func(r *repository) {
				r.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("ab", 20)+",vendor")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t, "sha1")
			file, public := r.sshKey("ada")
			r.signBySSH(file)
			r.bundle()
			c.add(r)
			signer, err := gitsign.Verify(r.proof(r.commit("-S"), "", ""), r.files, gitsign.Signers{AllowedSigners: "ada@example.com " + public, Now: now})
			refusal{gitsign.Mismatched, []string{c.says}}.check(t, signer, err)
		})
	}
	t.Run("but hidden ones are passed over", func(t *testing.T) {
		r := newRepository(t, "sha1")
		file, public := r.sshKey("ada")
		r.signBySSH(file)
		r.bundle()
		if err := os.Symlink("bundle.yaml", r.dir+"/.link"); err != nil {
			t.Fatal(err)
		}
		r.git("add", ".link")
		signer, err := gitsign.Verify(r.proof(r.commit("-S"), "", ""), r.files, gitsign.Signers{AllowedSigners: "ada@example.com " + public, Now: now})
		accepted(t, "ada@example.com", signer, err)
	})
}

func TestAnSSHSignatureCountsOnlyAsTheAllowedSignersSay(t *testing.T) {
	r := newRepository(t, "sha1")
	file, public := r.sshKey("ada")
	_, another := r.sshKey("bob")
	r.bundle()
	unsigned := r.commit()
	r.signBySSH(file)
	signed := r.commit("-S")
	for name, c := range map[string]struct {
		commit  string
		allowed string
		now     time.Time
		signer  string
		want    refusal
	}{
		"it is not signed":                 {commit: unsigned, allowed: "ada@example.com " + public, want: refusal{gitsign.Unsigned, []string{"is not signed", "git commit -S"}}},
		"the key is somebody else's":       {allowed: "bob@example.com " + another, want: refusal{gitsign.Untrusted, []string{"is not the one that may sign", "allowedSigners"}}},
		"the key is one of two":            {allowed: "bob@example.com " + another + "\nada@example.com " + public, signer: "ada@example.com"},
		"the key is for git":               {allowed: `ada@example.com namespaces="file,git" ` + public, signer: "ada@example.com"},
		"the key is for another namespace": {allowed: `ada@example.com namespaces="file" ` + public, want: refusal{gitsign.Untrusted, []string{`for the namespaces "file" only`}}},
		"the namespace is refused":         {allowed: `ada@example.com namespaces="*,!git" ` + public, want: refusal{gitsign.Untrusted, []string{"namespaces"}}},
		"one line refuses and one accepts": {allowed: `ada@example.com namespaces="file" ` + public + "\nada@git " + public, signer: "ada@git"},
		"the key has expired":              {allowed: `ada@example.com valid-before="20260501" ` + public, want: refusal{gitsign.Untrusted, []string{"valid before 2026-05-01T00:00:00Z", "earlier than now"}}},
		"the key had expired when it signed": {allowed: `ada@example.com valid-before="20260201" ` + public, now: made.AddDate(0, -2, 0).Add(59 * 24 * time.Hour),
			want: refusal{gitsign.Untrusted, []string{"valid before"}}},
		"the key expires this very second": {allowed: `ada@example.com valid-before="20260601120000Z" ` + public, want: refusal{gitsign.Untrusted, []string{"earlier than now"}}},
		"the key expires the next second":  {allowed: `ada@example.com valid-before="20260601120001" ` + public, signer: "ada@example.com"},
		"the key did not count yet":        {allowed: `ada@example.com valid-after="202603011201" ` + public, want: refusal{gitsign.Untrusted, []string{"valid after", "when it signed"}}},
		"the key counted already":          {allowed: `ada@example.com valid-after="20260301",valid-before="20270101" ` + public, signer: "ada@example.com"},
		"the key is that of an authority":  {allowed: `ada@example.com cert-authority ` + public, want: refusal{gitsign.Untrusted, []string{"is not the one that may sign"}}},
		"it is dated ahead":                {allowed: "ada@example.com " + public, now: made.Add(-2 * time.Hour), want: refusal{gitsign.Untrusted, []string{"set the clock"}}},
		"it is dated ahead by a bit":       {allowed: "ada@example.com " + public, now: made.Add(-time.Minute), signer: "ada@example.com"},
		"the allowed signers are a mess":   {allowed: "ada@example.com", want: refusal{gitsign.Misconfigured, []string{"line 1", "PRINCIPALS"}}},
		"an option is not known":           {allowed: `ada@example.com not-before="2026" ` + public, want: refusal{gitsign.Misconfigured, []string{"not-before", "is not known"}}},
		"a later line is a mess":           {allowed: "# ours\n\nada@example.com " + public + "\nbob ssh-ed25519 AAAA", want: refusal{gitsign.Misconfigured, []string{"line 4"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.commit == "" {
				c.commit = signed
			}
			if c.now.IsZero() {
				c.now = now
			}
			signer, err := gitsign.Verify(r.proof(c.commit, "", ""), r.files, gitsign.Signers{AllowedSigners: c.allowed, Now: c.now})
			if c.signer != "" {
				accepted(t, c.signer, signer, err)
				return
			}
			c.want.check(t, signer, err)
		})
	}
}

func TestACertificateCountsForItsPrincipalsAndItsTime(t *testing.T) {
	r := newRepository(t, "sha1")
	authority, public := r.sshKey("authority")
	_, other := r.sshKey("other")
	r.bundle()
	for name, c := range map[string]struct {
		certify []string
		allowed string
		signer  string
		says    []string
	}{
		"it is for who may sign": {
			certify: []string{"-n", "ada@example.com", "-V", "20260101:20270101"}, allowed: "*@example.com cert-authority " + public, signer: "ada@example.com",
		},
		"it is for another principal": {
			certify: []string{"-n", "eve@example.org", "-V", "20260101:20270101"}, allowed: "*@example.com cert-authority " + public,
			says: []string{`for the principals ["eve@example.org"]`, `takes "*@example.com"`},
		},
		"it is for a principal that is refused": {
			certify: []string{"-n", "bot@example.com", "-V", "20260101:20270101"}, allowed: "*@example.com,!bot@* cert-authority " + public, says: []string{"principals"},
		},
		"it is for nobody in particular": {
			certify: []string{"-V", "20260101:20270101"}, allowed: "* cert-authority " + public, says: []string{"principals"},
		},
		"it has expired": {
			certify: []string{"-n", "ada@example.com", "-V", "20260101:20260501"}, allowed: "*@example.com cert-authority " + public, says: []string{"does not count now"},
		},
		"it is newer than the commit": {
			certify: []string{"-n", "ada@example.com", "-V", "20260501:20270101"}, allowed: "*@example.com cert-authority " + public, says: []string{"does not count when it signed"},
		},
		"it is for a host": {
			certify: []string{"-h", "-n", "ada@example.com", "-V", "20260101:20270101"}, allowed: "*@example.com cert-authority " + public, says: []string{"for a host"},
		},
		"it is limited by an option": {
			certify: []string{"-n", "ada@example.com", "-V", "20260101:20270101", "-O", "source-address=10.0.0.0/8"}, allowed: "*@example.com cert-authority " + public, says: []string{"critical option"},
		},
		"it is by another authority": {
			certify: []string{"-n", "ada@example.com", "-V", "20260101:20270101"}, allowed: "*@example.com cert-authority " + other, says: []string{"is not the one that may sign"},
		},
		"its authority is no authority": {
			certify: []string{"-n", "ada@example.com", "-V", "20260101:20270101"}, allowed: "*@example.com " + public, says: []string{"is not the one that may sign"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			key, _ := r.sshKey("key" + strings.ReplaceAll(name, " ", "-"))
			arguments := append([]string{"-q", "-s", authority, "-I", "test"}, c.certify...)
			r.run("ssh-keygen", append(arguments, key+".pub")...)
			r.signBySSH(key + "-cert.pub")
			signer, err := gitsign.Verify(r.proof(r.commit("-S"), "", ""), r.files, gitsign.Signers{AllowedSigners: c.allowed, Now: now})
			if c.signer != "" {
				accepted(t, c.signer, signer, err)
				return
			}
			refusal{gitsign.Untrusted, c.says}.check(t, signer, err)
		})
	}
}

func TestWhatIsNotSignedForGitIsRefused(t *testing.T) {
	r := newRepository(t, "sha1")
	file, public := r.sshKey("ada")
	weak, weakPublic := r.sshKey("weak", "-t", "rsa", "-b", "1024")
	r.bundle()
	commit := r.object("commit", r.commit())
	sign := func(key, namespace string) string {
		if err := os.WriteFile(r.home+"/payload", commit, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(r.home + "/payload.sig") // of the last case
		r.run("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", namespace, r.home+"/payload")
		signature, err := os.ReadFile(r.home + "/payload.sig")
		if err != nil {
			t.Fatal(err)
		}
		return string(signature)
	}
	ours := sign(file, "git")
	for name, c := range map[string]struct {
		signature string
		allowed   string
		signer    string
		says      []string
	}{
		"it is signed for git":                  {signature: ours, signer: "ada@example.com"},
		"it is signed for files":                {signature: sign(file, "file"), says: []string{`for the namespace "file" and not for "git"`}},
		"an RSA key is too short":               {signature: sign(weak, "git"), says: []string{"1024 bits", "ed25519"}},
		"an RSA key that may sign is too short": {signature: ours, allowed: "ada@example.com " + weakPublic, says: []string{"line 1", "1024 bits"}},
		"the signature is cut short":            {signature: ours[:len(ours)/2], says: []string{"cannot be read"}},
		"something is behind the signature":     {signature: ours + "x\n", says: []string{"cannot be read"}},
		"it is an X.509 signature":              {signature: "-----BEGIN SIGNED MESSAGE-----\nMIIB\n-----END SIGNED MESSAGE-----\n", says: []string{"X.509", "gpg.format"}},
		"it is a text":                          {signature: "signed, Ada\n", says: []string{"no known format"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := r.proof("HEAD", "", "")
			p.Commit = withHeader(commit, "gpgsig", c.signature)
			if c.allowed == "" {
				c.allowed = "ada@example.com " + public
			}
			signer, err := gitsign.Verify(p, r.files, gitsign.Signers{AllowedSigners: c.allowed, Now: now})
			if c.signer != "" {
				accepted(t, c.signer, signer, err)
				return
			}
			cause := gitsign.Untrusted
			if c.allowed != "ada@example.com "+public {
				cause = gitsign.Misconfigured
			}
			refusal{cause, c.says}.check(t, signer, err)
		})
	}

	signed := withHeader(commit, "gpgsig", ours)
	for name, raw := range map[string][]byte{
		"there are two signatures":                   withHeader(signed, "gpgsig", ours),
		"there is a signature for another hash":      withHeader(signed, "gpgsig-sha256", ours),
		"there is another tree behind":               withHeader(signed, "tree", strings.Repeat("a", 40)),
		"there is another committer behind":          withHeader(signed, "committer", "Eve <eve@example.org> 1 +0000"),
		"there is another encoding behind the first": withHeader(withHeader(signed, "encoding", "a"), "encoding", "b"),
		"the committer goes on in the next line":     bytes.Replace(signed, []byte("+0000\ngpgsig"), []byte("+0000\n +0000\ngpgsig"), 1),
		"the committer has two mail addresses":       bytes.Replace(signed, []byte("committer Ada"), []byte("committer <a> Ada"), 1),
		"the commit begins with a blank":             append([]byte(" "), signed...),
		"the headers have no end":                    bytes.SplitAfter(signed, []byte("\n\n"))[0][:len(signed)/2],
	} {
		t.Run(name, func(t *testing.T) {
			p := r.proof("HEAD", "", "")
			p.Commit = raw
			signer, err := gitsign.Verify(p, r.files, gitsign.Signers{AllowedSigners: "ada@example.com " + public, Now: now})
			refusal{gitsign.Mismatched, []string{"reading the commit"}}.check(t, signer, err)
		})
	}

	for name, change := range map[string][2]string{
		"the message":   {"Change policies", "Chance policies"},
		"the author":    {"author Ada", "author Eve"},
		"the committer": {"committer Ada", "committer Eve"},
		"the time":      {"committer Ada <ada@example.com> 17", "committer Ada <ada@example.com> 16"},
	} {
		t.Run("another has changed "+name, func(t *testing.T) {
			p := r.proof("HEAD", "", "")
			p.Commit = bytes.Replace(signed, []byte(change[0]), []byte(change[1]), 1)
			signer, err := gitsign.Verify(p, r.files, gitsign.Signers{AllowedSigners: "ada@example.com " + public, Now: now})
			refusal{gitsign.Untrusted, []string{"it is not of this content"}}.check(t, signer, err)
		})
	}
}

// withHeader adds a header at the end of a commit's headers.
func withHeader(commit []byte, name, value string) []byte {
	value = strings.ReplaceAll(strings.TrimSuffix(value, "\n"), "\n", "\n ")
	return bytes.Replace(commit, []byte("\n\n"), []byte("\n"+name+" "+value+"\n\n"), 1)
}

func TestATagVouchesForACommitThatIsNotSigned(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			r := newRepository(t, format)
			ada, public := r.sshKey("ada")
			bob, _ := r.sshKey("bob")
			r.bundle()
			commit := r.commit()
			r.signBySSH(ada)
			r.git("tag", "-s", "-m", "Release", "v1")
			r.git("tag", "-a", "-m", "Unsigned", "v2")
			r.git("tag", "-s", "-m", "A tag of a tag", "v3", "v1")
			r.git("tag", "-s", "-m", "A tag of a tree", "v4", "HEAD^{tree}")
			other := r.commit("-S")
			r.git("tag", "-s", "-m", "Elsewhere", "v5")
			r.git("tag", "-a", "-m", "Unsigned", "v6")
			r.signBySSH(bob)
			r.git("tag", "-s", "-m", "By Bob", "v7", commit)
			r.git("tag", "-s", "-m", "By Bob", "v8", other)
			signers := gitsign.Signers{AllowedSigners: "ada@example.com " + public, Now: now}
			for name, c := range map[string]struct {
				commit, tag string
				change      func(*gitsign.Proof)
				want        refusal
			}{
				"a signed tag":                         {commit: commit, tag: "v1"},
				"an unsigned tag of a signed commit":   {commit: other, tag: "v6"},
				"a stranger's tag of a signed commit":  {commit: other, tag: "v8"},
				"an unsigned tag":                      {commit: commit, tag: "v2", want: refusal{gitsign.Unsigned, []string{"is not signed", "git tag -s"}}},
				"a stranger's tag":                     {commit: commit, tag: "v7", want: refusal{gitsign.Untrusted, []string{"the signature of the tag"}}},
				"a tag of a tag":                       {commit: commit, tag: "v3", want: refusal{gitsign.Mismatched, []string{`points to a "tag"`}}},
				"a tag of a tree":                      {commit: commit, tag: "v4", want: refusal{gitsign.Mismatched, []string{`points to a "tree"`}}},
				"a tag of another commit":              {commit: commit, tag: "v5", want: refusal{gitsign.Mismatched, []string{"and not to the commit"}}},
				"a tag whose message was changed":      {commit: commit, tag: "v1", want: refusal{gitsign.Untrusted, []string{"not of this content"}}, change: func(p *gitsign.Proof) { p.Tag = bytes.Replace(p.Tag, []byte("Release"), []byte("release"), 1) }},
				"a tag with two signatures":            {commit: commit, tag: "v1", want: refusal{gitsign.Mismatched, []string{"more than one signature"}}, change: func(p *gitsign.Proof) { p.Tag = append(p.Tag, p.Tag[bytes.Index(p.Tag, []byte("-----BEGIN")):]...) }},
				"a tag with a header more":             {commit: commit, tag: "v1", want: refusal{gitsign.Mismatched, []string{"its headers are not"}}, change: func(p *gitsign.Proof) { p.Tag = withHeader(p.Tag, "gpgsig", "x") }},
				"a tag with text behind its signature": {commit: commit, tag: "v1", want: refusal{gitsign.Untrusted, []string{"cannot be read"}}, change: func(p *gitsign.Proof) { p.Tag = append(p.Tag, "more\n"...) }},
				"a tag that is empty":                  {commit: commit, tag: "v1", want: refusal{gitsign.Mismatched, []string{"it is empty"}}, change: func(p *gitsign.Proof) { p.Tag = []byte{} }},
			} {
				t.Run(name, func(t *testing.T) {
					p := r.proof(c.commit, c.tag, "")
					if c.change != nil {
						c.change(p)
					}
					signer, err := gitsign.Verify(p, r.files, signers)
					if c.want.cause == "" {
						accepted(t, "ada@example.com", signer, err)
						return
					}
					c.want.check(t, signer, err)
				})
			}
		})
	}
}

func TestNoProofIsNoSigner(t *testing.T) {
	signer, err := gitsign.Verify(nil, nil, gitsign.Signers{})
	refusal{gitsign.Unsigned, nil}.check(t, signer, err)
	signer, err = gitsign.Verify(&gitsign.Proof{}, nil, gitsign.Signers{})
	refusal{gitsign.Mismatched, nil}.check(t, signer, err)
}

func TestHashesAreThoseThatGitComputes(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		r := newRepository(t, format)
		r.bundle()
		want := r.commit()
		r.git("tag", "-a", "-m", "A tag", "v1")
		commit, tag, err := r.proof(want, "v1", "").Hashes()
		if wantTag := r.git("rev-parse", "v1"); err != nil || commit != want || tag != wantTag {
			t.Errorf("got %s, %s, %v, want %s, %s", commit, tag, err, want, wantTag)
		}
	}
}

// TestATreeWithoutEndIsRefused is a "git bomb": a few trees, each of which names the next ten times.
func TestATreeWithoutEndIsRefused(t *testing.T) {
	r := newRepository(t, "sha1")
	r.bundle()
	list := ""
	for range 7 {
		tree := r.makeTree(list)
		list = ""
		for i := range 10 {
			list += fmt.Sprintf("040000 tree %s\t%d\n", tree, i)
		}
	}
	commit := r.git("commit-tree", "-m", "Boom", r.makeTree(list))
	signer, err := gitsign.Verify(r.proof(commit, "", ""), nil, gitsign.Signers{Now: now})
	refusal{gitsign.Mismatched, []string{"there are more than 200000 entries"}}.check(t, signer, err)
}

// makeTree makes one of a list as git ls-tree writes it.
func (r *repository) makeTree(list string) string {
	r.t.Helper()
	if err := os.WriteFile(r.home+"/list", []byte(list), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(string(r.run("sh", "-c", "git -C repository mktree < list")))
}
