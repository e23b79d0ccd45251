package certificate

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pairFiles are two files as a mounted Secret has them.
type pairFiles struct{ certificate, key string }

func newPairFiles(t *testing.T) pairFiles {
	t.Helper()
	directory := t.TempDir()
	return pairFiles{filepath.Join(directory, "tls.crt"), filepath.Join(directory, "tls.key")}
}

func (f pairFiles) write(t *testing.T, certificate, key []byte) {
	t.Helper()
	for file, content := range map[string][]byte{f.certificate: certificate, f.key: key} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// writeNew writes a good pair that is valid for a day.
func (f pairFiles) writeNew(t *testing.T, now time.Time) {
	t.Helper()
	certificate, key := newPEM(t, now, day, "a")
	f.write(t, certificate, key)
}

// newPEM makes a pair in PEM.
func newPEM(t *testing.T, now time.Time, lifetime time.Duration, names ...string) (certificate, key []byte) {
	t.Helper()
	authority, err := newAuthority(now, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.issue(names, now, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := leaf.encode()
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, _ = bytes.Cut(encoded, []byte("-----BEGIN PRIVATE"))
	return certificate, append([]byte("-----BEGIN PRIVATE"), key...)
}

func TestAGoodNewPairIsServed(t *testing.T) {
	clock, files := newClock(), newPairFiles(t)
	files.writeNew(t, clock.now)
	serving, err := NewFiles(files.certificate, files.key, clock.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := serving.Expires()
	clock.now = clock.now.Add(12 * time.Hour)
	files.writeNew(t, clock.now)
	if err := serving.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := serving.Expires(); !got.After(before) {
		t.Errorf("the certificate expires at %s as before, want the new one", got)
	}
}

func TestABadNewPairIsNotServed(t *testing.T) {
	now := newClock().now
	certificate, key := newPEM(t, now, day, "a")
	_, otherKey := newPEM(t, now, day, "a")
	expired, expiredKey := newPEM(t, now.Add(-48*time.Hour), day, "a")
	nameless, namelessKey := newPEM(t, now, day)
	for name, bad := range map[string]struct {
		certificate, key []byte
		want             string
	}{
		"a key of another certificate": {certificate, otherKey, "both of one pair"},
		"no PEM":                       {[]byte("x"), []byte("y"), "both of one pair"},
		"half written":                 {certificate[:len(certificate)/2], key, "both of one pair"},
		"empty":                        {nil, nil, "both of one pair"},
		"expired":                      {expired, expiredKey, "expired"},
		"without a name":               {nameless, namelessKey, "subject alternative name"},
	} {
		t.Run(name, func(t *testing.T) {
			clock, files := newClock(), newPairFiles(t)
			files.writeNew(t, clock.now)
			serving, err := NewFiles(files.certificate, files.key, clock.Now, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			before, _ := serving.GetCertificate(nil)
			files.write(t, bad.certificate, bad.key)
			if err := serving.Reload(); err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("the error is %v, want one with %q", err, bad.want)
			}
			if after, _ := serving.GetCertificate(nil); after != before {
				t.Error("the old pair is not served any more")
			}
			if err := serving.Check(); err != nil {
				t.Errorf("the old pair is not ready: %v", err)
			}
			if _, err := NewFiles(files.certificate, files.key, clock.Now, nil); err == nil {
				t.Error("a start with the bad pair succeeds")
			}
		})
	}
}

func TestAMissingFileKeepsTheOldPair(t *testing.T) {
	clock, files := newClock(), newPairFiles(t)
	files.writeNew(t, clock.now)
	serving, err := NewFiles(files.certificate, files.key, clock.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files.key); err != nil {
		t.Fatal(err)
	}
	if err := serving.Reload(); err == nil {
		t.Error("reloading without a key succeeds")
	}
	if err := serving.Check(); err != nil {
		t.Error(err)
	}
}

func TestAuthoritiesFollowTheirFile(t *testing.T) {
	now, file := newClock().now, filepath.Join(t.TempDir(), "ca.crt")
	write := func(content []byte) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one, _ := newPEM(t, now, day, "a")
	two, _ := newPEM(t, now, day, "b")
	write(one)
	authorities, err := NewAuthorities(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := authorities.Pool()
	if err := authorities.Reload(); err != nil || authorities.Pool() != before {
		t.Errorf("an unchanged file gives another pool (%v)", err)
	}
	write(nil)
	if _, err := NewAuthorities(file, nil); err == nil {
		t.Error("a start with an empty file succeeds")
	}
	write([]byte("garbage"))
	if err := authorities.Reload(); err == nil || authorities.Pool() != before {
		t.Errorf("garbage gives error %v, want one, and the old pool", err)
	}
	write(two)
	if err := authorities.Reload(); err != nil || authorities.Pool() == before {
		t.Errorf("a changed file gives the old pool (%v)", err)
	}
}
