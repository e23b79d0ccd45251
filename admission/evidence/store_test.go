package evidence

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// signatureRegistry has a "signature" of every image, under its legacy tag.
func signatureRegistry() *fakeRegistry {
	return &fakeRegistry{resolve: func(tag string) (registry.Manifest, error) {
		if strings.HasSuffix(tag, ".sig") {
			return manifestNamed("signature"), nil
		}
		return registry.Manifest{}, notFound(tag)
	}}
}

// reading is a verifier that reads the signature through its source, as a real one does.
func reading() *verifierFunc {
	return &verifierFunc{verify: func(ctx context.Context, source Registry, digest string, trust *signer.Configuration) (signer.Evidence, error) {
		repository := registry.Repository{Registry: "ghcr.io", Path: "acme/app"}
		manifest, err := source.Resolve(ctx, repository, strings.Replace(digest, ":", "-", 1)+".sig")
		if registry.KindOf(err) == registry.NotFound {
			return signer.Evidence{Digest: digest}, nil
		}
		if err != nil {
			return signer.Evidence{}, err
		}
		if _, err := source.Referrers(ctx, repository, digest); registry.KindOf(err) != registry.NotFound {
			return signer.Evidence{}, err
		}
		if manifest.Digest != manifestNamed("signature").Digest {
			return signer.Evidence{Digest: digest}, nil
		}
		return signed(digest, "release"), nil
	}}
}

// down is a registry that nobody reaches.
func down() *fakeRegistry {
	return &fakeRegistry{
		resolve:   func(string) (registry.Manifest, error) { return registry.Manifest{}, unreachable() },
		manifest:  func(string) (registry.Manifest, error) { return registry.Manifest{}, unreachable() },
		referrers: func(string) ([]registry.Descriptor, error) { return nil, unreachable() },
	}
}

// TestARestartWithTheRegistryDown: what was verified before is verified again from disk, and nothing else.
func TestARestartWithTheRegistryDown(t *testing.T) {
	one := func(folder string) string {
		files, err := filepath.Glob(filepath.Join(folder, "*"+suffix))
		if err != nil || len(files) != 1 {
			t.Fatalf("files %q, error %v, want one", files, err)
		}
		return files[0]
	}
	rewrite := func(t *testing.T, folder string, change func([]byte) []byte) {
		t.Helper()
		content, err := os.ReadFile(one(folder))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(one(folder), change(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	forge := func(t *testing.T, folder string, change func(*transcript)) {
		t.Helper()
		rewrite(t, folder, func(content []byte) []byte {
			kept, err := decodeTranscript(content)
			if err != nil {
				t.Fatal(err)
			}
			change(kept)
			content, err = encodeTranscript(kept)
			if err != nil {
				t.Fatal(err)
			}
			return content
		})
	}
	for name, test := range map[string]struct {
		between func(t *testing.T, folder string, clock *clock)
		trust   string
		want    bool // signed; otherwise unknown
	}{
		"at once":             {func(*testing.T, string, *clock) {}, "", true},
		"just before its age": {func(_ *testing.T, _ string, c *clock) { c.advance(DefaultAge - time.Second) }, "", true},
		"at its age":          {func(_ *testing.T, _ string, c *clock) { c.advance(DefaultAge) }, "", false},
		"with another trust, against which it is verified": {func(*testing.T, string, *clock) {}, "another", true},
		"a clock that went back":                           {func(_ *testing.T, _ string, c *clock) { c.advance(-time.Minute) }, "", false},
		"a truncated file": {func(t *testing.T, folder string, _ *clock) {
			rewrite(t, folder, func(b []byte) []byte { return b[:len(b)-1] })
		}, "", false},
		"an empty file": {func(t *testing.T, folder string, _ *clock) { rewrite(t, folder, func([]byte) []byte { return nil }) }, "", false},
		"a flipped byte": {func(t *testing.T, folder string, _ *clock) {
			rewrite(t, folder, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}, "", false},
		"another version": {func(t *testing.T, folder string, _ *clock) {
			rewrite(t, folder, func(b []byte) []byte { return bytes.Replace(b, []byte("evidence 1"), []byte("evidence 2"), 1) })
		}, "", false},
		"forged: another signature in its place": {func(t *testing.T, folder string, _ *clock) {
			forge(t, folder, func(kept *transcript) { kept.Answers[0].Content = manifestNamed("forged").Raw })
		}, "", false},
		"forged: of another image": {func(t *testing.T, folder string, _ *clock) {
			forge(t, folder, func(kept *transcript) { kept.Digest = digestOf("other") })
		}, "", false},
		"forged: of another repository": {func(t *testing.T, folder string, _ *clock) {
			forge(t, folder, func(kept *transcript) { kept.Repository.Path = "acme/other" })
		}, "", false},
		"forged: an answer is missing": {func(t *testing.T, folder string, _ *clock) {
			forge(t, folder, func(kept *transcript) { kept.Answers = kept.Answers[:1] })
		}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			folder, clock := t.TempDir(), newClock()
			needs := needing(t, evidenceOnly, "ghcr.io/acme/app@"+digestOf("app"))
			before := start(t, Options{Registry: signatureRegistry(), Verifier: reading(), Directory: folder, Now: clock.now})
			wantSigned(t, gatherOne(t, before, needs), digestOf("app"))
			before.Close()
			test.between(t, folder, clock)
			if test.trust != "" {
				needs.Images.Trust = trusting(t, test.trust)
			}
			verifier := reading()
			after := start(t, Options{Registry: down(), Verifier: verifier, Directory: folder, Now: clock.now})
			got := gatherOne(t, after, needs)
			if !test.want {
				if len(got.Evidence.Signatures) > 0 || !strings.Contains(got.Unknown.Evidence, "unreachable, ghcr.io") {
					t.Errorf("got %+v, want that the registry cannot be reached", got)
				}
				return
			}
			wantSigned(t, got, digestOf("app"))
			if verifier.count.Load() == 0 {
				t.Error("nothing was verified, want the signature verified again")
			}
			if disk := looks(t, after, partEvidence, lookDisk); disk != 1 {
				t.Errorf("%v verdicts from disk, want 1", disk)
			}
		})
	}
}

// TestWhatIsNotPositiveIsNotKept, and a signature that was taken away does not come back with a restart.
func TestWhatIsNotPositiveIsNotKept(t *testing.T) {
	folder, clock := t.TempDir(), newClock()
	needs := needing(t, evidenceOnly, "ghcr.io/acme/app@"+digestOf("app"))
	from := signatureRegistry()
	facts := start(t, Options{Registry: from, Verifier: reading(), Directory: folder, Now: clock.now})
	gatherOne(t, facts, needs)
	landed(t, facts)
	wantFiles(t, folder, 1)
	from.resolve = nil
	clock.advance(DefaultRefreshAge)
	gatherOne(t, facts, needs) // begins the refresh
	landed(t, facts)
	wantFiles(t, folder, 0)
}

func wantFiles(t *testing.T, folder string, want int) {
	t.Helper()
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != want {
		t.Errorf("%d files, error %v, want %d", len(files), err, want)
	}
}

func TestConfigurationsSurviveARestart(t *testing.T) {
	folder, c := t.TempDir(), content{}
	needs := needing(t, configsOnly, "ghcr.io/acme/app@"+c.image(platformConfig("amd64")))
	before := start(t, Options{Registry: c.registry(), Verifier: signedBy("release"), Directory: folder})
	want := gatherOne(t, before, needs).Configs
	before.Close()
	after := start(t, Options{Registry: down(), Verifier: signedBy("release"), Directory: folder})
	if got := gatherOne(t, after, needs); len(got.Configs) != 1 || got.Configs[0].Digest != want[0].Digest || got.Configs[0].User != "app" {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestAForgedConfigurationOnDiskIsNotBelieved: its digest is checked as that of a registry's answer is.
func TestAForgedConfigurationOnDiskIsNotBelieved(t *testing.T) {
	folder, c := t.TempDir(), content{}
	digest := c.image(platformConfig("amd64"))
	needs := needing(t, configsOnly, "ghcr.io/acme/app@"+digest)
	before := start(t, Options{Registry: c.registry(), Verifier: signedBy("release"), Directory: folder})
	gatherOne(t, before, needs)
	before.Close()
	k := key{repository: registry.Repository{Registry: "ghcr.io", Path: "acme/app"}, subject: digest}
	kept := before.store.get(partConfigs, k)
	if kept == nil {
		t.Fatal("nothing is kept, want the configuration")
	}
	for n := range kept.Answers {
		kept.Answers[n].Content = bytes.Replace(kept.Answers[n].Content, []byte(`"app"`), []byte(`"ok!"`), 1)
	}
	if err := before.store.put(partConfigs, k, kept); err != nil {
		t.Fatal(err)
	}
	after := start(t, Options{Registry: down(), Verifier: signedBy("release"), Directory: folder})
	if got := gatherOne(t, after, needs); got.Unknown.Configs == "" || len(got.Configs) > 0 {
		t.Errorf("got %+v, want unknown", got)
	}
}

func TestTheFolderIsBounded(t *testing.T) {
	clock := newClock()
	kept, err := openStore(t.TempDir(), 4000, time.Hour, clock.now)
	if err != nil {
		t.Fatal(err)
	}
	at := func(n int) key { return key{subject: digestOf(string(rune('a' + n)))} }
	for n := range 20 {
		clock.advance(time.Second)
		written := &transcript{Part: partEvidence, Digest: at(n).subject, Fetched: clock.now(), Answers: []recorded{{Call: callBlob, Content: make([]byte, 400)}}}
		if err := kept.put(partEvidence, at(n), written); err != nil {
			t.Fatal(err)
		}
	}
	size := int64(0)
	files, err := filepath.Glob(filepath.Join(kept.folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s may be read by others: %s", file, info.Mode())
		}
		size += info.Size()
	}
	if size > 4000 || len(files) < 3 {
		t.Errorf("%d bytes in %d files, want at most 4000, and not fewer than 3", size, len(files))
	}
	if kept.get(partEvidence, at(19)) == nil || kept.get(partEvidence, at(0)) != nil {
		t.Error("the newest is gone or the oldest still there, want the oldest gone")
	}
	clock.advance(2 * time.Hour)
	if err := kept.prune(); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, kept.folder, 0)
}

// TestOpeningTheFolder leaves alone what is not of the cache, and says so when it cannot be written.
func TestOpeningTheFolder(t *testing.T) {
	folder := t.TempDir()
	foreign := filepath.Join(folder, "README")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unfinished := filepath.Join(folder, "new-1.tmp")
	if err := os.WriteFile(unfinished, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := errors.Join(os.Chtimes(foreign, old, old), os.Chtimes(unfinished, old, old)); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(folder, 1000, time.Hour, time.Now); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a file of others: %v, want it left alone", err)
	}
	if _, err := os.Stat(unfinished); err == nil {
		t.Error("what was left unfinished is still there, want it gone")
	}
	_, err := New(nobody{}, Options{Registry: &fakeRegistry{}, Verifier: signedBy("release"), Directory: filepath.Join(foreign, "below")})
	if err == nil || !strings.Contains(err.Error(), "--evidence-cache-dir") {
		t.Errorf("got error %v, want one that names --evidence-cache-dir", err)
	}
}

// TestAnAnswerThatIsNoneIsNotKept: playing it back would be taken for the registry's word.
func TestAnAnswerThatIsNoneIsNotKept(t *testing.T) {
	repository := registry.Repository{Registry: "ghcr.io", Path: "acme/app"}
	for name, test := range map[string]struct {
		ask  func(*recorder)
		kept bool
	}{
		"a manifest":         {func(r *recorder) { _, _ = r.Resolve(t.Context(), repository, "x.sig") }, true},
		"no such tag":        {func(r *recorder) { _, _ = r.Resolve(t.Context(), repository, "x.att") }, true},
		"nobody answers":     {func(r *recorder) { _, _ = r.Referrers(t.Context(), repository, digestOf("x")) }, false},
		"another repository": {func(r *recorder) { _, _ = r.Resolve(t.Context(), registry.Repository{}, "x.sig") }, false},
		"more than there is room for": {func(r *recorder) {
			r.max = 10
			_, _ = r.Resolve(t.Context(), repository, "x.sig")
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			from := signatureRegistry()
			from.referrers = func(string) ([]registry.Descriptor, error) { return nil, unreachable() }
			recorder := record(from, repository, 1<<20)
			test.ask(recorder)
			if got := recorder.transcript(partEvidence, key{repository: repository}, time.Now()) != nil; got != test.kept {
				t.Errorf("there is a transcript: %v, want %v", got, test.kept)
			}
		})
	}
}

// TestPlayingBack gives the same answers, and errors of the same kinds.
func TestPlayingBack(t *testing.T) {
	repository := registry.Repository{Registry: "ghcr.io", Path: "acme/app"}
	blob := []byte("blob")
	referrers := []registry.Descriptor{{MediaType: "m", ArtifactType: "a", Digest: digestOf("r"), Size: 3, Annotations: map[string]string{"k": "v"}}}
	from := signatureRegistry()
	from.blob = func(string) ([]byte, error) { return blob, nil }
	from.referrers = func(string) ([]registry.Descriptor, error) { return referrers, nil }
	recorder := record(from, repository, 1<<20)
	ctx := t.Context()
	for n := range 2 {
		var r Registry = recorder
		if n == 1 {
			r = play(reread(t, recorder, repository))
		}
		signature, err := r.Resolve(ctx, repository, "x.sig")
		if err != nil || signature.Digest != manifestNamed("signature").Digest || signature.MediaType == "" {
			t.Errorf("got %+v, error %v, want the signature's manifest", signature, err)
		}
		if _, err := r.Resolve(ctx, repository, "x.att"); registry.KindOf(err) != registry.NotFound {
			t.Errorf("got error %v, want not found", err)
		}
		if got, err := r.Blob(ctx, repository, registry.DigestOf(blob), 100); err != nil || !bytes.Equal(got, blob) {
			t.Errorf("got %q, error %v, want %q", got, err, blob)
		}
		if got, err := r.Referrers(ctx, repository, digestOf("x")); err != nil || len(got) != 1 || got[0].Annotations["k"] != "v" || got[0].Digest != referrers[0].Digest {
			t.Errorf("got %+v, error %v, want %+v", got, err, referrers)
		}
	}
	player := play(reread(t, recorder, repository))
	if _, err := player.Blob(ctx, repository, registry.DigestOf(blob), 1); registry.KindOf(err) != registry.TooLarge {
		t.Errorf("a smaller limit: %v, want too large", err)
	}
	if _, err := player.Manifest(ctx, repository, digestOf("never asked")); registry.KindOf(err) != registry.Unreachable {
		t.Errorf("what was never asked: %v, want unreachable", err)
	}
}

// reread is a recorder's transcript through a file's bytes.
func reread(t *testing.T, r *recorder, repository registry.Repository) *transcript {
	t.Helper()
	encoded, err := encodeTranscript(r.transcript(partEvidence, key{repository: repository}, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := decodeTranscript(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

func FuzzTranscript(f *testing.F) {
	for _, seed := range []*transcript{
		{},
		{Part: partEvidence, Digest: digestOf("app"), Fetched: time.Unix(1, 0).UTC(), Answers: []recorded{{Call: callResolve, Argument: "x.sig", Content: []byte("{}")}, {Call: callReferrers, Argument: "d", Fault: registry.NotFound}}},
	} {
		encoded, err := encodeTranscript(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded, []byte(nil))
		f.Add(encoded[:len(encoded)/2], encoded[headerSize:])
	}
	f.Add([]byte(nil), []byte(`{"answers":[{"call":"blob","content":"AAAA"}],"fetched":"x"}`))
	f.Fuzz(func(t *testing.T, file, body []byte) {
		if _, err := decodeTranscript(file); err != nil && !errors.Is(err, errDamaged) {
			t.Errorf("got error %v, want that the file is damaged", err)
		}
		kept, err := decodeTranscript(sealed(body)) // with the right sum
		if err != nil {
			return
		}
		player := play(kept)
		for asked := range player.answers {
			if _, err := player.Manifest(t.Context(), kept.Repository, asked.argument); err == nil && registry.DigestOf(player.answers[question{callManifest, asked.argument}].Content) != asked.argument {
				t.Errorf("%s was answered by other content", asked.argument)
			}
			if content, err := player.Blob(t.Context(), kept.Repository, asked.argument, 1<<20); err == nil && registry.DigestOf(content) != asked.argument {
				t.Errorf("%s was answered by other content", asked.argument)
			}
		}
	})
}
