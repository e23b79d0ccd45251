package engine

import (
	"context"
	"encoding/json"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// FuzzPlace: whatever is taken has one reading, for servers that clean paths, that decode them, and for policies with globs.
func FuzzPlace(f *testing.F) {
	for _, seed := range twoReadings {
		f.Add("secret", seed)
		f.Add(seed, "shop/db")
	}
	f.Add("team/secret", "shop/my db")
	f.Add("secret", "shop/schlüssel")
	f.Fuzz(func(t *testing.T, mount, below string) {
		sources := []*v1alpha1.Source{
			{KV: &v1alpha1.KVSource{Mount: mount, Path: below}},
			{KV: &v1alpha1.KVSource{Mount: mount, Path: below, EngineVersion: 1}},
			{Dynamic: &v1alpha1.DynamicSource{Mount: mount, Path: below}},
			pki(func(s *v1alpha1.PKISource) { s.Mount, s.Role = mount, below }),
			{Transit: &v1alpha1.TransitSource{Mount: mount, Key: below, PublicKeys: true}},
			{AppRoleSecretID: &v1alpha1.AppRoleSecretIDSource{Mount: mount, Role: below}},
		}
		for _, source := range sources {
			place, err := Place(source)
			if err != nil {
				if secrets.ReasonOf(err) != secrets.Misconfigured {
					t.Errorf("got %v, want Misconfigured", err)
				}
				if strings.ContainsFunc(err.Error(), func(r rune) bool { return unicode.IsControl(r) }) || len(err.Error()) > 1024 {
					t.Errorf("the error prints what it refuses as it is")
				}
				continue
			}
			if strings.Join(place.Segments, "/") != place.Path {
				t.Errorf("segments %q of %q", place.Segments, place.Path)
			}
			for _, access := range append(place.Accesses, RevokeAccesses(source)...) {
				wantOneReading(t, access.Path)
			}
			if place.Engine != secrets.EngineAppRole && place.Engine != secrets.EngineDynamic && slices.Contains(barredMounts, strings.Split(place.Mount, "/")[0]) {
				t.Errorf("took the mount %q", place.Mount)
			}
		}
	})
}

func wantOneReading(t *testing.T, requested string) {
	t.Helper()
	if path.Clean("/"+requested) != "/"+requested {
		t.Errorf("%q is cleaned to %q", requested, path.Clean("/"+requested))
	}
	u, err := url.Parse("https://vault/v1/" + requested)
	if err != nil || u.Path != "/v1/"+requested || u.RawQuery != "" || u.Fragment != "" || u.Host != "vault" {
		t.Errorf("%q is parsed to %v (%v)", requested, u, err)
	}
	if decoded, err := url.PathUnescape(requested); err != nil || decoded != requested {
		t.Errorf("%q is decoded to %q", requested, decoded)
	}
	if strings.ContainsAny(requested, `*+\;`) || len(requested) > maxPath {
		t.Errorf("%q is taken", requested)
	}
}

// FuzzReadReply: no answer makes an engine panic, and no text of an answer gets into an error.
func FuzzReadReply(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`, `{"data":null}`, `{"data":{"password":"correct horse"},"metadata":{"version":1,"created_time":"2026-11-01T12:00:00Z"}}`,
		`{"data":null,"metadata":{"version":3,"destroyed":true,"deletion_time":"2026-11-01T12:00:00Z"}}`, `{"data":{"a":1e400},"metadata":{"version":1.5}}`,
		`{"username":"u","password":"correct horse","nested":{"a":[1,null,true,"<&>"]}}`,
		`{"certificate":"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----","private_key":"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----","ca_chain":["x",1]}`,
		`{"batch_results":[{"plaintext":"Y29ycmVjdA=="},{"error":"cipher: message authentication failed"}]}`, `{"batch_results":[{"plaintext":"!"},{}]}`,
		`{"keys":{"1":{"public_key":"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=","creation_time":"2026-11-01T12:00:00Z"}},"latest_version":1,"min_decryption_version":1}`,
		`{"keys":{"1":1700000000},"latest_version":1}`, `{"keys":{"-1":{},"x":{}},"latest_version":9223372036854775807}`,
		`{"role_id":"r","secret_id":"correct horse","secret_id_accessor":"a","secret_id_ttl":3600}`, `{"role_id":"r","secret_id_accessor":"a","secret_id_ttl":-1}`,
		`{"id":"lease","ttl":9223372036854775807,"renewable":true}`, `{"id":"lease","ttl":1,"current_version":"2"}`,
	} {
		f.Add([]byte(seed), int64(3600), true)
		f.Add([]byte(seed), int64(-1), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, duration int64, numbers bool) {
		var data map[string]any
		decoder := json.NewDecoder(strings.NewReader(string(body)))
		if numbers {
			decoder.UseNumber()
		}
		if decoder.Decode(&data) != nil {
			return
		}
		texts := textsOf(data, nil)
		reply := func() *secrets.Reply {
			return &secrets.Reply{Data: data, LeaseID: "lease", LeaseDuration: time.Duration(duration), Renewable: numbers}
		}
		check := func(what string, err error) {
			if err == nil {
				return
			}
			for _, text := range texts {
				if strings.Contains(err.Error(), text) {
					t.Errorf("%s: the error holds %q of the answer: %v", what, text, err)
				}
			}
		}
		for what, source := range goodSources() {
			place, err := Place(source)
			if err != nil {
				t.Fatal(err)
			}
			result, err := Read(t.Context(), callerFunc(func(_ context.Context, call secrets.Call) (*secrets.Reply, error) {
				if strings.HasPrefix(call.Path, "sys/internal/ui/mounts/") {
					return mounted(place), nil
				}
				return reply(), nil
			}), source, Options{})
			check(what, err)
			if (err == nil) == (result == nil) {
				t.Errorf("%s: got %v and %v", what, result, err)
			}
			if result != nil && result.Lease != nil && (result.Lease.Duration <= 0 || !result.Lease.Expires.After(result.Lease.Issued)) {
				t.Errorf("%s: a lease that never was: %+v", what, result.Lease)
			}
			// What is mounted may be anything too.
			_, err = Read(t.Context(), callerFunc(func(context.Context, secrets.Call) (*secrets.Reply, error) { return reply(), nil }), source, Options{})
			if secrets.ReasonOf(err) == secrets.Malformed {
				check(what, err)
			}
		}
		whatever := callerFunc(func(context.Context, secrets.Call) (*secrets.Reply, error) { return reply(), nil })
		lease := secrets.Lease{ID: "lease", Duration: time.Hour}
		_, err := Renew(t.Context(), whatever, lease)
		check("renewing", err)
		_, err = Lookup(t.Context(), whatever, lease)
		check("looking up", err)
		destination := &v1alpha1.PushDestination{Mount: "secret", Path: "shop/db"}
		_, _, err = ReadPushed(t.Context(), whatever, destination)
		check("reading what was pushed", err)
		_, err = writeVersion2(t.Context(), whatever, "secret/data/shop/db", nil, 0)
		check("writing", err)
		_, err = currentVersion(t.Context(), whatever, destination)
		check("reading the version", err)
	})
}

// textsOf are the texts of an answer that are long enough not to be in an error by chance, keys of objects left out: they are no secrets.
func textsOf(value any, texts []string) []string {
	switch value := value.(type) {
	case string:
		if len(value) >= 8 {
			texts = append(texts, value)
		}
	case []any:
		for _, item := range value {
			texts = textsOf(item, texts)
		}
	case map[string]any:
		for _, item := range value {
			texts = textsOf(item, texts)
		}
	}
	return texts
}

// FuzzPEM: no text makes the parsers panic, and what they take comes out again as it went in.
func FuzzPEM(f *testing.F) {
	root := newAuthority(f, "root", nil, nil, day.AddDate(1, 0, 0))
	f.Add([]byte(root.pem()))
	f.Add([]byte(root.pem() + root.pem()))
	for _, algorithm := range []string{"RSA2048", "ECDSA256", "ECDSA384", "Ed25519"} {
		key, err := makeKey(algorithm, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(privatePEM(f, key)))
		public, err := encodePublicKey(key.Public())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(public.Reveal())
		if traditional, err := encodeKey(key, true); err == nil {
			f.Add(traditional.Reveal())
		}
	}
	f.Add([]byte("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if key, err := parseKey(text); err == nil {
			again, err := encodeKey(key, false)
			if err != nil {
				return // a kind of key that is parsed and not encoded
			}
			if _, err := parseKey(again.Reveal()); err != nil {
				t.Errorf("a key that was encoded here does not parse: %v", err)
			}
			_, _ = encodeKey(key, true)
		}
		if certificates, err := parseCertificates(text); err == nil {
			again, err := parseCertificates(encodeCertificates(certificates).Reveal())
			if err != nil || len(again) != len(certificates) {
				t.Errorf("certificates that were encoded here do not parse: %v", err)
			}
			for _, certificate := range certificates {
				_, _, _ = chainOf(certificate, map[string]any{"issuing_ca": string(text), "ca_chain": []any{string(text)}})
				_, _ = serialOf(certificate), subjectOf(certificate)
			}
		}
		if key, err := parsePublicKey(string(text)); err == nil {
			_, _ = encodePublicKey(key)
		}
	})
}
