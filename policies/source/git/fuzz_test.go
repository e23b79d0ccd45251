package git

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // packs end with it
	"os/exec"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// realPack is one that git has written, with differences in it.
func realPack(tb testing.TB) []byte {
	tb.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		tb.Skip("git is not installed: apt-get install git")
	}
	dir := tb.TempDir()
	script := `git init -q . && for i in 1 2 3 4 5 6; do seq 1 500 > f$i; echo $i >> f$i; done && git add . &&
		git -c user.name=Ada -c user.email=ada@example.com commit -q -m files &&
		git rev-list --objects HEAD | git pack-objects -q --stdout --delta-base-offset --window=50`
	command := exec.Command("sh", "-c", script)
	command.Dir = dir
	command.Env = append(command.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1")
	pack, err := command.Output()
	if err != nil {
		tb.Fatal(err)
	}
	return pack
}

// FuzzUnpack looks for panics, for more memory than allowed, and for objects under another hash than their own. The checksum at
// the end is made right, which is no secret.
func FuzzUnpack(f *testing.F) {
	pack := realPack(f)
	f.Add(pack[:len(pack)-sha1.Size])
	f.Add([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x00"))
	limits := Limits{Unpacked: 1 << 20, Objects: 100}.filled()
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha1.Sum(body) //nolint:gosec // packs end with it
		found, err := unpack(bytes.NewReader(append(bytes.Clone(body), sum[:]...)), limits)
		if err != nil {
			return
		}
		total := 0
		for hash, o := range found {
			total += len(o.content)
			if got := plumbing.ComputeHash(o.kind, o.content); got != hash {
				t.Errorf("got an object %s under the hash %s", got, hash)
			}
		}
		if total > 1<<20 {
			t.Errorf("got %d bytes, want %d at most", total, 1<<20)
		}
	})
}

// FuzzParseKnownHosts looks for panics, and for a key that is trusted without a line.
func FuzzParseKnownHosts(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN32NMpYOE8IFTgBbsWE6LohpKqVhcOm2aBbOgJDv0TN"
	f.Add("git.example.com,[git.example.com]:2222 " + key + "\n# comment\n@cert-authority *.example.com " + key + "\n@revoked * " + key + "\n")
	f.Add("|1|" + "AAAAAAAAAAAAAAAAAAAAAAAAAAA=" + "|" + "AAAAAAAAAAAAAAAAAAAAAAAAAAA= " + key)
	f.Fuzz(func(t *testing.T, text string) {
		known, err := parseKnownHosts(text)
		if err != nil {
			return
		}
		for _, line := range known.keys {
			if len(line.hosts) == 0 || line.key == nil {
				t.Errorf("got %+v, want hosts and a key", line)
			}
		}
		known.algorithms("git.example.com:22")
	})
}

// FuzzParseAddress looks for addresses with a password, of another scheme, or that read otherwise when written.
func FuzzParseAddress(f *testing.F) {
	for _, text := range []string{"https://git.example.com/a/b.git", "ssh://git@git.example.com:2222/a", "git@host:path", "ext::sh -c id", "https://a:b@c/d", "ssh://[::1]/x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := parseAddress(text, nil)
		if err != nil {
			if strings.Contains(err.Error(), "secret@") {
				t.Errorf("got %q, want no password in it", err)
			}
			return
		}
		if at.scheme != "https" && at.scheme != "ssh" {
			t.Errorf("got the scheme %q of %q", at.scheme, text)
		}
		again, err := parseAddress(at.String(), nil)
		if err != nil || *again != *at {
			t.Errorf("got %+v, %v when %q was written and read again, want %+v", again, err, text, at)
		}
	})
}

func BenchmarkUnpack(b *testing.B) {
	pack := realPack(b)
	limits := Limits{}.filled()
	b.SetBytes(int64(len(pack)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := unpack(bytes.NewReader(pack), limits); err != nil {
			b.Fatal(err)
		}
	}
}
