package engine

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

func kv2(path string, change func(*v1alpha1.KVSource)) *v1alpha1.Source {
	source := &v1alpha1.KVSource{Mount: "secret", Path: path}
	if change != nil {
		change(source)
	}
	return &v1alpha1.Source{KV: source}
}

func kv1(path string, keys ...string) *v1alpha1.Source {
	return &v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "kv", Path: path, EngineVersion: 1, Keys: keys}}
}

func TestValuesComeOutAsTheyWereWritten(t *testing.T) {
	caller := login(t, "engine")
	// Version 2 of the engine itself keeps no whole numbers beyond 2^53.
	written := map[string]any{
		"text": "correct horse", "empty": "", "lines": "a\nb\r\n\tc ", "json": `{"a": 1}`, "unicode": "schlüssel \U0001f511 \u2028", "markup": `<&>"'`, "nul": "a\x00b",
		"number": 1234567890123456, "fraction": 0.1, "yes": true, "nothing": nil, "object": map[string]any{"b": []any{1, "<x>"}, "a": nil}, "list": []any{},
	}
	wanted := map[string]string{
		"text": "correct horse", "empty": "", "lines": "a\nb\r\n\tc ", "json": `{"a": 1}`, "unicode": "schlüssel \U0001f511 \u2028", "markup": `<&>"'`, "nul": "a\x00b",
		"number": "1234567890123456", "fraction": "0.1", "yes": "true", "nothing": "null", "object": `{"a":null,"b":[1,"<x>"]}`, "list": "[]",
	}
	must(t, realVault(t).WriteKV2(t.Context(), "secret", "values/all", written))
	write(t, "kv/values/all", written)
	for engine, source := range map[string]*v1alpha1.Source{"version 2": kv2("values/all", nil), "version 1": kv1("values/all")} {
		result := read(t, caller, source)
		if got := texts(result.Data); !maps.Equal(got, wanted) {
			t.Errorf("%s: got %q, want %q", engine, got, wanted)
		}
		if !slices.Equal(result.Metadata.Keys, slices.Sorted(maps.Keys(wanted))) || result.Lease != nil {
			t.Errorf("%s: got %+v and the lease %v", engine, result.Metadata, result.Lease)
		}
	}
}

func TestTheLatestVersionOrThePinnedOneIsRead(t *testing.T) {
	caller, s := login(t, "engine"), realVault(t)
	before := time.Now().Add(-time.Second)
	for _, password := range []string{"first", "second", "third"} {
		must(t, s.WriteKV2(t.Context(), "secret", "versions/db", map[string]any{"password": password}))
	}
	for version, wanted := range map[int64]string{0: "third", 1: "first", 2: "second", 3: "third"} {
		result := read(t, caller, kv2("versions/db", func(kv *v1alpha1.KVSource) { kv.Version = version }))
		number := version
		if number == 0 {
			number = 3
		}
		if got := string(result.Data["password"].Reveal()); got != wanted || result.Number != number || result.Metadata.Version != number || result.Version != string(rune('0'+number)) {
			t.Errorf("version %d: got %q of version %d (%q)", version, got, result.Number, result.Version)
		}
		if result.Created.Before(before) || result.Created.After(time.Now().Add(time.Second)) || result.Metadata.AgeSeconds < 0 || result.Metadata.AgeSeconds > 120 {
			t.Errorf("version %d: created at %s, %d s ago", version, result.Created, result.Metadata.AgeSeconds)
		}
	}
	// A version of version 1 has no time.
	write(t, "kv/versions/db", map[string]any{"password": "first"})
	if result := read(t, caller, kv1("versions/db")); !result.Created.IsZero() || result.Metadata.AgeSeconds != -1 || result.Metadata.Created != "" || result.Version != "" {
		t.Errorf("version 1: got %+v", result)
	}
}

func TestTheKeysThatAreAskedForMustBeThere(t *testing.T) {
	caller := login(t, "engine")
	const canary = "canary-password-7c1e"
	data := map[string]any{"username": "shop", "password": canary, "host": "db"}
	must(t, realVault(t).WriteKV2(t.Context(), "secret", "keys/db", data))
	write(t, "kv/keys/db", data)
	for engine, source := range map[string]func(keys ...string) *v1alpha1.Source{
		"version 2": func(keys ...string) *v1alpha1.Source {
			return kv2("keys/db", func(kv *v1alpha1.KVSource) { kv.Keys = keys })
		},
		"version 1": func(keys ...string) *v1alpha1.Source { return kv1("keys/db", keys...) },
	} {
		if got := read(t, caller, source("password", "username")).Data.Keys(); !slices.Equal(got, []string{"password", "username"}) {
			t.Errorf("%s: got %v", engine, got)
		}
		_, err := Read(t.Context(), caller, source("password", "passwort", "port"), Options{})
		want(t, engine+" with missing keys", err, secrets.KeyMissing, canary)
		for _, name := range []string{`"passwort"`, `"port"`, `"host"`} {
			if err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %q does not name %s", engine, err, name)
			}
		}
	}
}

// External Secrets #1049: a secret whose version was deleted counted as synced.
func TestADeletedVersionIsNotFound(t *testing.T) {
	caller, s := login(t, "engine"), realVault(t)
	const canary = "canary-password-91aa"
	for range 3 {
		must(t, s.WriteKV2(t.Context(), "secret", "gone/db", map[string]any{"password": canary}))
	}
	latest := kv2("gone/db", nil)
	pinned := func(version int64) *v1alpha1.Source {
		return kv2("gone/db", func(kv *v1alpha1.KVSource) { kv.Version = version })
	}
	readError := func(source *v1alpha1.Source) error {
		_, err := Read(t.Context(), caller, source, Options{})
		return err
	}
	write(t, "secret/delete/gone/db", map[string]any{"versions": []int{3}})
	write(t, "secret/destroy/gone/db", map[string]any{"versions": []int{2}})
	want(t, "the latest is deleted", readError(latest), secrets.NotFound, canary)
	want(t, "the pinned one is deleted", readError(pinned(3)), secrets.NotFound, canary)
	want(t, "the pinned one is destroyed", readError(pinned(2)), secrets.NotFound, canary)
	want(t, "the pinned one never was", readError(pinned(9)), secrets.NotFound, canary)
	want(t, "an older one is there", readError(pinned(1)), "")
	write(t, "secret/undelete/gone/db", map[string]any{"versions": []int{3}})
	want(t, "the latest is back", readError(latest), "")
	want(t, "there is no such path", readError(kv2("gone/nothing", nil)), secrets.NotFound)
	want(t, "there is no such path of version 1", readError(kv1("gone/nothing")), secrets.NotFound)
	// Not for the test's root token, but for ours, the mount that is not there is forbidden.
	want(t, "there is no such mount", readError(&v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "nowhere", Path: "db"}}), secrets.Forbidden)
}

func TestVaultSaysWhichMountAnswers(t *testing.T) {
	caller, s := login(t, "engine"), realVault(t)
	const canary = "canary-password-5d02"
	must(t, s.WriteKV2(t.Context(), "secret", "production/db", map[string]any{"password": canary}))
	write(t, "kv/production/db", map[string]any{"password": canary})
	for what, source := range map[string]*v1alpha1.Source{
		"version 2 as version 1, below data/":       {KV: &v1alpha1.KVSource{Mount: "secret", Path: "data/production/db", EngineVersion: 1}},
		"half of the path as the mount":             {KV: &v1alpha1.KVSource{Mount: "secret/data/production", Path: "db", EngineVersion: 1}},
		"half of the path as the mount, version 1":  {KV: &v1alpha1.KVSource{Mount: "kv/production", Path: "db", EngineVersion: 1}},
		"version 2 as what issues":                  {Dynamic: &v1alpha1.DynamicSource{Mount: "secret", Path: "data/production/db"}},
		"version 1 as what issues":                  {Dynamic: &v1alpha1.DynamicSource{Mount: "kv", Path: "production/db"}},
		"half of the path as the mount that issues": {Dynamic: &v1alpha1.DynamicSource{Mount: "kv/production", Path: "db"}},
	} {
		result, err := Read(t.Context(), caller, source, Options{})
		want(t, what, err, secrets.Misconfigured, canary)
		if result != nil {
			t.Errorf("%s: it was read", what)
		}
	}
	// Version 1 read as version 2 asks for a path that is not there.
	_, err := Read(t.Context(), caller, &v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "kv", Path: "production/db"}}, Options{})
	want(t, "version 1 as version 2", err, secrets.NotFound, canary)
}
