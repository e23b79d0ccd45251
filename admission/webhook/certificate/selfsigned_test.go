package certificate

import (
	"bytes"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// clock is a time that tests move.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newClock() *clock { return &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

const day = 24 * time.Hour

func newSelfSigned(t *testing.T, clock *clock, directory string, names ...string) *SelfSigned {
	t.Helper()
	if len(names) == 0 {
		names = []string{"webhook.portcullis.svc", "127.0.0.1"}
	}
	own, err := NewSelfSigned(Options{Names: names, Directory: directory, AuthorityLifetime: 360 * day, LeafLifetime: 90 * day, Overlap: day, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return own
}

func renew(t *testing.T, own *SelfSigned) {
	t.Helper()
	if err := own.Renew(); err != nil {
		t.Fatal(err)
	}
}

// trusts says whether a caller with this bundle takes the serving certificate.
func trusts(bundle []byte, own *SelfSigned, now time.Time) error {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		return errors.New("the bundle is empty")
	}
	serving, err := own.GetCertificate(nil)
	if err != nil {
		return err
	}
	_, err = serving.Leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, DNSName: "webhook.portcullis.svc", KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

func serial(t *testing.T, own *SelfSigned) string {
	t.Helper()
	serving, err := own.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return serving.Leaf.SerialNumber.String()
}

func TestTheLeafIsRenewedAtTwoThirdsOfItsLife(t *testing.T) {
	clock := newClock()
	own := newSelfSigned(t, clock, "")
	first, begin := serial(t, own), clock.now
	clock.now = begin.Add(59 * day)
	renew(t, own)
	if got := serial(t, own); got != first {
		t.Error("the leaf was renewed before two thirds of its life")
	}
	clock.now = begin.Add(60 * day)
	renew(t, own)
	if got := serial(t, own); got == first {
		t.Error("the leaf was not renewed after two thirds of its life")
	}
	if err := trusts(own.CABundle(), own, clock.now); err != nil {
		t.Error(err)
	}
}

// TestEachStepOfARotationIsTrustedByItsNeighbours looks once a day for two years, as an
// API server would that is given the bundle up to an overlap late.
func TestEachStepOfARotationIsTrustedByItsNeighbours(t *testing.T) {
	clock := newClock()
	own := newSelfSigned(t, clock, "")
	bundle := own.CABundle()
	var sizes []int
	for range 730 {
		clock.now = clock.now.Add(day / 2)
		renew(t, own)
		if err := trusts(bundle, own, clock.now); err != nil {
			t.Fatalf("at %s a caller with the bundle of half a day before: %v", clock.now, err)
		}
		bundle = own.CABundle()
		if err := trusts(bundle, own, clock.now); err != nil {
			t.Fatalf("at %s a caller with the bundle of now: %v", clock.now, err)
		}
		if err := own.Check(); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, bytes.Count(bundle, []byte("BEGIN CERTIFICATE")))
	}
	if slices.Max(sizes) != 2 || slices.Min(sizes) != 1 {
		t.Errorf("the bundle holds %d to %d authorities, want 1, and 2 while they overlap", slices.Min(sizes), slices.Max(sizes))
	}
}

// TestAClockThatJumpsIsSurvived: a machine that slept, or a clock that was set, for any time.
func TestAClockThatJumpsIsSurvived(t *testing.T) {
	for name, jump := range map[string]time.Duration{
		"past the leaf":           100 * day,
		"past the authority":      400 * day,
		"ten years":               3650 * day,
		"back by an hour":         -time.Hour,
		"back by a year":          -365 * day,
		"into the overlap":        240*day + time.Hour,
		"just past the authority": 360*day + time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			own := newSelfSigned(t, clock, "")
			clock.now = clock.now.Add(jump)
			renew(t, own)
			if err := own.Check(); err != nil {
				t.Error(err)
			}
			if err := trusts(own.CABundle(), own, clock.now); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCheckSaysWhenTheCertificateIsOver(t *testing.T) {
	clock := newClock()
	own := newSelfSigned(t, clock, "")
	clock.now = clock.now.Add(91 * day) // and nobody renewed it
	if err := own.Check(); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("the error is %v, want that it expired", err)
	}
}

func TestADirectoryKeepsTheAuthorityOverRestarts(t *testing.T) {
	clock, directory := newClock(), filepath.Join(t.TempDir(), "certs")
	first := newSelfSigned(t, clock, directory)
	for _, restart := range []time.Duration{0, 30 * day, 240 * day, 12 * time.Hour, day, 90 * day} {
		clock.now = clock.now.Add(restart)
		bundle, err := os.ReadFile(filepath.Join(directory, BundleFile))
		if err != nil {
			t.Fatal(err)
		}
		again := newSelfSigned(t, clock, directory)
		if err := trusts(bundle, again, clock.now); err != nil {
			t.Errorf("after a restart %s later the old bundle does not trust the new leaf: %v", restart, err)
		}
	}
	again := newSelfSigned(t, clock, directory)
	if bytes.Equal(first.CABundle(), again.CABundle()) {
		t.Error("the authority was never changed")
	}
	files, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s may be read by others: %s", file.Name(), info.Mode())
		}
	}
}

// TestACrashBetweenTwoFilesIsSurvived leaves each file of a change of the authority
// as it was before, one after the other.
func TestACrashBetweenTwoFilesIsSurvived(t *testing.T) {
	for _, lost := range []string{authorityFile, nextFile, leafFile, previousFile, BundleFile} {
		t.Run(lost, func(t *testing.T) {
			clock, directory := newClock(), t.TempDir()
			newSelfSigned(t, clock, directory)
			clock.now = clock.now.Add(240 * day)
			announced := newSelfSigned(t, clock, directory).CABundle()
			file := filepath.Join(directory, lost)
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			clock.now = clock.now.Add(2 * day)
			newSelfSigned(t, clock, directory) // takes over
			if err := os.WriteFile(file, before, 0o600); err != nil {
				t.Fatal(err)
			}
			own := newSelfSigned(t, clock, directory)
			if err := trusts(announced, own, clock.now); err != nil {
				t.Errorf("the announced bundle does not trust the leaf: %v", err)
			}
			if err := trusts(own.CABundle(), own, clock.now); err != nil {
				t.Errorf("the bundle of now does not trust the leaf: %v", err)
			}
		})
	}
}

func TestABrokenDirectoryIsNotReplacedUnasked(t *testing.T) {
	clock, directory := newClock(), t.TempDir()
	newSelfSigned(t, clock, directory)
	if err := os.WriteFile(filepath.Join(directory, authorityFile), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := NewSelfSigned(Options{Names: []string{"a"}, Directory: directory, Now: clock.Now})
	if err == nil || !strings.Contains(err.Error(), "restore it") {
		t.Errorf("the error is %v, want one that says what to do", err)
	}
}

func TestAnotherNameGetsAnotherLeafOfTheSameAuthority(t *testing.T) {
	clock, directory := newClock(), t.TempDir()
	bundle := newSelfSigned(t, clock, directory, "webhook.portcullis.svc").CABundle()
	renamed := newSelfSigned(t, clock, directory, "webhook.portcullis.svc", "other.portcullis.svc")
	if !bytes.Equal(bundle, renamed.CABundle()) {
		t.Error("the authority changed")
	}
	serving, err := renamed.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := serving.Leaf.VerifyHostname("other.portcullis.svc"); err != nil {
		t.Error(err)
	}
}

// TestADirectoryThatCannotBeWrittenKeepsTheOldLeaf: what is not saved is not used, or a
// restart would serve with an authority that nobody was told of.
func TestADirectoryThatCannotBeWrittenKeepsTheOldLeaf(t *testing.T) {
	clock, directory := newClock(), filepath.Join(t.TempDir(), "certs")
	own := newSelfSigned(t, clock, directory)
	before := serial(t, own)
	if err := os.RemoveAll(directory); err != nil {
		t.Fatal(err)
	}
	clock.now = clock.now.Add(61 * day)
	if err := own.Renew(); err == nil {
		t.Error("renewing into a directory that is gone succeeded")
	}
	if got := serial(t, own); got != before {
		t.Error("a leaf is served that could not be saved")
	}
}

func TestOptionsThatCannotOverlapAreRefused(t *testing.T) {
	for name, options := range map[string]Options{
		"no name":                            {},
		"an overlap longer than the rest":    {Names: []string{"a"}, AuthorityLifetime: day, LeafLifetime: time.Hour, Overlap: 10 * time.Hour},
		"a leaf that outlives its signatory": {Names: []string{"a"}, AuthorityLifetime: day, LeafLifetime: 2 * day, Overlap: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewSelfSigned(options); err == nil {
				t.Error("they were accepted")
			}
		})
	}
}
