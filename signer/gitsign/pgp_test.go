package gitsign_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/portcullis-dev/portcullis/signer/gitsign"
)

// gpg runs GnuPG as of a time, without anybody to ask.
func (r *repository) gpg(when time.Time, arguments ...string) string {
	r.t.Helper()
	faked := when.UTC().Format("20060102T150405")
	return string(r.run("gpg", append([]string{"--batch", "--quiet", "--faked-system-time", faked + "!", "--pinentry-mode", "loopback", "--passphrase", ""}, arguments...)...))
}

// pgpKey makes a key a year before the commits are made. usage and expiry are GnuPG's.
func (r *repository) pgpKey(mail, algorithm, usage, expiry string) {
	r.t.Helper()
	need(r.t, "gpg", "gpgconf")
	r.gpg(made.AddDate(-1, 0, 0), "--quick-generate-key", mail, algorithm, usage, expiry)
}

func (r *repository) export(mail string) string {
	r.t.Helper()
	return string(r.run("gpg", "--batch", "--armor", "--export", mail))
}

// signByPGP has what follows signed as of the time of the commit, with more options of GnuPG.
func (r *repository) signByPGP(mail string, options ...string) {
	r.t.Helper()
	program := r.home + "/gpg"
	script := fmt.Sprintf("#!/bin/sh\nexec gpg --batch --pinentry-mode loopback --passphrase '' --faked-system-time %s! %s \"$@\"\n",
		r.when.UTC().Format("20060102T150405"), strings.Join(options, " "))
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		r.t.Fatal(err)
	}
	r.git("config", "gpg.format", "openpgp")
	r.git("config", "gpg.program", program)
	r.git("config", "user.signingkey", mail)
}

func TestACommitSignedByOpenPGPIsAcceptedFromWhoMaySign(t *testing.T) {
	for _, algorithm := range []string{"ed25519", "rsa2048", "nistp256"} {
		t.Run(algorithm, func(t *testing.T) {
			r := newRepository(t, "sha1")
			r.pgpKey("ada@example.com", algorithm, "sign", "never")
			r.pgpKey("bob@example.com", algorithm, "sign", "never")
			r.bundle()
			r.signByPGP("ada@example.com")
			commit := r.commit("-S")
			r.git("tag", "-s", "-m", "Release", "v1")
			p := r.proof(commit, "", "")
			both := r.export("ada@example.com") + "\n" + r.export("bob@example.com")
			signer, err := gitsign.Verify(p, r.files, gitsign.Signers{PGPKeys: both, Now: now})
			accepted(t, "ada@example.com (OpenPGP key ", signer, err)
			signer, err = gitsign.Verify(r.proof(commit, "v1", ""), r.files, gitsign.Signers{PGPKeys: both, Now: now})
			accepted(t, "ada@example.com (OpenPGP key ", signer, err)

			signer, err = gitsign.Verify(p, r.files, gitsign.Signers{PGPKeys: r.export("bob@example.com"), Now: now})
			refusal{gitsign.Untrusted, []string{"is not the one that may sign", "pgpKeys"}}.check(t, signer, err)
			signer, err = gitsign.Verify(p, r.files, gitsign.Signers{Now: now})
			refusal{gitsign.Untrusted, []string{"may not sign, nor may any other"}}.check(t, signer, err)

			p.Commit = []byte(strings.Replace(string(p.Commit), "Change policies", "Chance policies", 1))
			signer, err = gitsign.Verify(p, r.files, gitsign.Signers{PGPKeys: both, Now: now})
			refusal{gitsign.Untrusted, []string{"is not of this content"}}.check(t, signer, err)
		})
	}
}

func TestAnOpenPGPKeyMustCount(t *testing.T) {
	const mail = "ada@example.com"
	for name, c := range map[string]struct {
		algorithm, usage, expiry string
		// before happens to the key before it signs, change after it has.
		before, change func(*repository)
		options        []string
		when, now      time.Time
		signer         string
		says           []string
	}{
		"it was made after it signed": {when: made.AddDate(-2, 0, 0), options: []string{"--ignore-time-conflict", "--ignore-valid-from"}, says: []string{"was made 2025-03-01", "set the clock"}},
		"it does not expire":          {signer: mail},
		"it has not expired yet":      {expiry: "2026-07-01", signer: mail},
		"it has expired since":        {expiry: "2026-05-01", says: []string{"has expired", "--quick-set-expire"}},
		"it has expired since, and was extended": {expiry: "2026-05-01", signer: mail,
			change: func(r *repository) { r.gpg(made.AddDate(0, 1, 0), "--quick-set-expire", r.fingerprint(mail), "1y") }},
		"it has expired since, of a day ago": {expiry: "2026-05-01", now: time.Date(2026, 4, 30, 0, 0, 0, 0, time.UTC), signer: mail},
		"it is revoked":                      {says: []string{"is revoked"}, change: func(r *repository) { r.revoke(mail) }},
		"a subkey of it is": {usage: "cert", signer: mail,
			before: func(r *repository) {
				r.gpg(made.AddDate(-1, 0, 0), "--quick-add-key", r.fingerprint(mail), "ed25519", "sign", "never")
			}},
		"a subkey of it has expired": {usage: "cert", says: []string{"has expired"},
			before: func(r *repository) {
				r.gpg(made.AddDate(-1, 0, 0), "--quick-add-key", r.fingerprint(mail), "ed25519", "sign", "2026-05-01")
			}},
		"its primary key has expired before its subkey": {usage: "cert", expiry: "2026-05-01", says: []string{"has expired"},
			before: func(r *repository) {
				r.gpg(made.AddDate(-1, 0, 0), "--quick-add-key", r.fingerprint(mail), "ed25519", "sign", "never")
			}},
		"its RSA is too short":            {algorithm: "rsa1024", says: []string{"RSA with 1024 bits", "2048"}},
		"it signs by SHA-1":               {algorithm: "rsa2048", options: []string{"--digest-algo", "SHA1", "--allow-weak-digest-algos"}, says: []string{"SHA-1", "can be forged"}},
		"its signature has expired":       {options: []string{"--default-sig-expire", "30d"}, says: []string{"it has expired"}},
		"its signature is dated ahead":    {now: made.Add(-2 * time.Hour), says: []string{"set the clock"}},
		"its signature is ahead by a bit": {now: made.Add(-time.Minute), signer: mail},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t, "sha1")
			for field, standard := range map[*string]string{&c.algorithm: "ed25519", &c.usage: "sign", &c.expiry: "never"} {
				if *field == "" {
					*field = standard
				}
			}
			if c.now.IsZero() {
				c.now = now
			}
			r.pgpKey(mail, c.algorithm, c.usage, c.expiry)
			if c.before != nil {
				c.before(r)
			}
			r.bundle()
			if !c.when.IsZero() {
				r.when = c.when
			}
			r.signByPGP(mail, c.options...)
			commit := r.commit("-S")
			if c.change != nil {
				c.change(r)
			}
			signer, err := gitsign.Verify(r.proof(commit, "", ""), r.files, gitsign.Signers{PGPKeys: r.export(mail), Now: c.now})
			if c.signer != "" {
				accepted(t, c.signer, signer, err)
				return
			}
			refusal{gitsign.Untrusted, c.says}.check(t, signer, err)
		})
	}
}

// fingerprint is that of a primary key.
func (r *repository) fingerprint(mail string) string {
	r.t.Helper()
	for line := range strings.Lines(string(r.run("gpg", "--batch", "--with-colons", "--list-keys", mail))) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			return fields[9]
		}
	}
	r.t.Fatalf("gpg lists no fingerprint of %s", mail)
	return ""
}

// revoke takes the certificate of revocation that GnuPG makes with a key. It has a colon in front so that nobody imports
// it by mistake.
func (r *repository) revoke(mail string) {
	r.t.Helper()
	file := r.home + "/gnupg/openpgp-revocs.d/" + r.fingerprint(mail) + ".rev"
	content, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(content), ":-----BEGIN", "-----BEGIN", 1)), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.run("gpg", "--batch", "--quiet", "--import", file)
}

func TestOpenPGPKeysThatCannotBeReadAreRefused(t *testing.T) {
	r := newRepository(t, "sha1")
	r.pgpKey("ada@example.com", "ed25519", "sign", "never")
	r.bundle()
	r.signByPGP("ada@example.com")
	p := r.proof(r.commit("-S"), "", "")
	public := r.export("ada@example.com")
	for name, c := range map[string]struct {
		keys string
		says []string
	}{
		"a text":                  {keys: "ada@example.com", says: []string{"no armored public key", "gpg --armor --export"}},
		"a private key":           {keys: r.gpg(now, "--armor", "--export-secret-keys", "ada@example.com"), says: []string{"private key", "make a new pair"}},
		"a key that is cut short": {keys: public[:len(public)/2], says: []string{"a block cannot be read"}},
		"a mess behind a key":     {keys: public + "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxxxx\n-----END PGP PUBLIC KEY BLOCK-----\n", says: []string{"a block cannot be read"}},
	} {
		t.Run(name, func(t *testing.T) {
			signer, err := gitsign.Verify(p, r.files, gitsign.Signers{PGPKeys: c.keys, Now: now})
			refusal{gitsign.Misconfigured, append(c.says, "reading the OpenPGP keys")}.check(t, signer, err)
			if err := gitsign.CheckSigners(gitsign.Signers{PGPKeys: c.keys}); err == nil {
				t.Error("got no error of the check beforehand, want one")
			}
		})
	}
}

func TestAKeyThatWillBeRevokedIsRevoked(t *testing.T) {
	clock := func(at time.Time) *packet.Config { return &packet.Config{Time: func() time.Time { return at }} }
	ada, err := openpgp.NewEntity("Ada", "", "ada@example.com", clock(made.AddDate(-1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	proof, files := fixture()
	unsigned := []byte(regexp.MustCompile("(?s)gpgsig .*?-----END SSH SIGNATURE-----\n").ReplaceAllString(string(proof.Commit), ""))
	var signature bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&signature, ada, bytes.NewReader(unsigned), clock(made)); err != nil {
		t.Fatal(err)
	}
	proof.Commit = withHeader(unsigned, "gpgsig", signature.String())
	signer, err := gitsign.Verify(proof, files, gitsign.Signers{PGPKeys: armored(t, ada), Now: now})
	accepted(t, "ada@example.com", signer, err)

	before := armored(t, ada)
	if err := ada.RevokeKey(packet.KeySuperseded, "a new one comes", clock(now.AddDate(0, 1, 0))); err != nil {
		t.Fatal(err)
	}
	after := armored(t, ada)
	for _, keys := range []string{after, before + "\n" + after, after + "\n" + before} {
		signer, err = gitsign.Verify(proof, files, gitsign.Signers{PGPKeys: keys, Now: now})
		refusal{gitsign.Untrusted, []string{"is revoked"}}.check(t, signer, err)
	}
}

func armored(t *testing.T, key *openpgp.Entity) string {
	t.Helper()
	var text bytes.Buffer
	w, err := armor.Encode(&text, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return text.String()
}
