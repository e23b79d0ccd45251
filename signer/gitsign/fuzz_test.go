package gitsign

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// seed adds files of testdata/signed to a corpus.
func seed(f *testing.F, names ...string) {
	f.Helper()
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join("testdata", "signed", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
}

// FuzzParseCommit looks for commits of which other bytes are verified than those that were signed: payload and signature have to
// give the commit again.
func FuzzParseCommit(f *testing.F) {
	seed(f, "commit", "tag", "tree")
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := parseCommit(raw)
		if err != nil {
			return
		}
		if !bytes.HasPrefix(o.payload, []byte("tree "+o.tree+"\n")) {
			t.Errorf("got the payload %q, want one that begins with the tree", o.payload)
		}
		if o.signature == "" {
			if !bytes.Equal(o.payload, raw) {
				t.Errorf("got the payload %q of a commit that is not signed, want all of %q", o.payload, raw)
			}
			return
		}
		header := "gpgsig "
		if len(o.tree) == sha256Digits {
			header = "gpgsig-sha256 "
		}
		lines := header + strings.ReplaceAll(strings.TrimSuffix(o.signature, "\n"), "\n", "\n ") + "\n"
		at := bytes.Index(raw, []byte("\n"+header)) + 1
		if whole := string(o.payload[:at]) + lines + string(o.payload[at:]); whole != string(raw) {
			t.Errorf("got %q of payload and signature, want %q", whole, raw)
		}
	})
}

// FuzzParseTag looks for tags with something before or behind what was signed.
func FuzzParseTag(f *testing.F) {
	seed(f, "tag", "commit", "tree")
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := parseTag(raw)
		if err != nil {
			return
		}
		if whole := string(o.payload) + o.signature; whole != string(raw) {
			t.Errorf("got %q of payload and signature, want %q", whole, raw)
		}
		if !bytes.HasPrefix(o.payload, []byte("object "+o.target+"\n")) {
			t.Errorf("got the payload %q, want one that begins with what it points to", o.payload)
		}
	})
}

// FuzzParseTree looks for trees that can be written in two ways.
func FuzzParseTree(f *testing.F) {
	seed(f, "tree", "commit")
	f.Add([]byte("40000 a\x00" + strings.Repeat("x", 20) + "100644 a.b\x00" + strings.Repeat("y", 20)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := ParseTree(raw, sha1Digits)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range entries {
			hash, err := hex.DecodeString(e.Hash)
			if err != nil {
				t.Fatal(err)
			}
			again = append(append(append(again, string(e.Mode)+" "+e.Name...), 0), hash...)
		}
		if !bytes.Equal(again, raw) {
			t.Errorf("got %q when written again, want %q", again, raw)
		}
	})
}

// FuzzParseAllowedSigners looks for lines that count without a key or for nobody.
func FuzzParseAllowedSigners(f *testing.F) {
	seed(f, "allowed_signers")
	f.Add([]byte(`"ada@example.com,*@acme.example" cert-authority,namespaces="git,file",valid-after="20260101",valid-before="20270101120000Z" ssh-ed25519 AAAA # x`))
	f.Add([]byte("# comment\r\n\r\n*,!eve@* namespaces=\"a\\\"b\" ssh-rsa AAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		signers, err := parseAllowedSigners(string(text))
		if err != nil {
			return
		}
		for _, s := range signers {
			if s.key == nil || strings.Trim(s.principals, ", \t") == "" || !s.after.IsZero() && !s.before.IsZero() && !s.after.Before(s.before) {
				t.Errorf("got %+v, want a key, principals and a time at which it counts", s)
			}
		}
	})
}

// FuzzParseSSHSignature looks for panics, and for signatures that verify of something else. It is given what is within the armor.
func FuzzParseSSHSignature(f *testing.F) {
	armored, err := os.ReadFile("testdata/signed/signature.sshsig")
	if err != nil {
		f.Fatal(err)
	}
	blob, err := dearmorSSH(string(armored))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(blob)
	f.Fuzz(func(t *testing.T, blob []byte) {
		armored := sshsigBegin + "\n" + base64.StdEncoding.EncodeToString(blob) + "\n" + sshsigEnd + "\n"
		signature, err := parseSSHSignature(armored)
		if err != nil {
			return
		}
		if err := signature.verify([]byte("nobody has signed this")); err == nil {
			t.Error("got a signature of what nobody has signed")
		}
	})
}

// FuzzParsePGPSignature looks for panics, and for signatures that verify of something else.
func FuzzParsePGPSignature(f *testing.F) {
	seed(f, "signature.asc", "signature.sshsig")
	content, err := os.ReadFile("testdata/signed/keys.asc")
	if err != nil {
		f.Fatal(err)
	}
	keys, err := parsePGPKeys(string(content))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, armored []byte) {
		signature, err := parsePGPSignature(string(armored))
		if err != nil {
			return
		}
		if signer, err := signature.verify([]byte("nobody has signed this"), keys, time.Now()); err == nil {
			t.Errorf("got the signer %s of what nobody has signed", signer)
		}
	})
}

// FuzzParsePGPKeys looks for panics.
func FuzzParsePGPKeys(f *testing.F) {
	seed(f, "keys.asc", "signature.asc")
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parsePGPKeys(string(text))
		if err == nil && len(keys) == 0 && strings.TrimSpace(string(text)) != "" {
			t.Errorf("got no keys and no error of %q", text)
		}
	})
}

func TestMatchPatternsIsThatOfOpenSSH(t *testing.T) {
	for name, c := range map[string]struct {
		text, list string
		want       bool
	}{
		"the same text":                     {"git", "git", true},
		"another text":                      {"git", "file", false},
		"one of several":                    {"git", "file,git", true},
		"a star is any text":                {"ada@example.com", "*@example.com", true},
		"a star is no text too":             {"@example.com", "*@example.com", true},
		"two stars":                         {"a-b-c", "a*b*c", true},
		"a star takes more than first":      {"aab", "a*ab", true},
		"a question mark is one byte":       {"git", "g?t", true},
		"a question mark is not none":       {"gt", "g?t", false},
		"what is refused is not matched":    {"git", "*,!git", false},
		"what is refused first is not":      {"git", "!git,*", false},
		"a refusal alone matches nothing":   {"file", "!git", false},
		"an empty list matches nothing":     {"git", "", false},
		"an empty pattern matches nothing":  {"", "", false},
		"a pattern matches all of the text": {"gitlab", "git", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := MatchPatterns(c.text, c.list); got != c.want {
				t.Errorf("got %v of %q and %q, want %v", got, c.text, c.list, c.want)
			}
		})
	}
}
