package workload

import (
	"errors"
	"strings"
	"testing"
)

const digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestParseImageIsCanonical(t *testing.T) {
	sha512 := "sha512:" + strings.Repeat("b", 128)
	tests := map[string]struct{ text, want string }{
		"a bare name is from Docker Hub's library":        {"nginx", "docker.io/library/nginx:latest"},
		"a name with tag":                                 {"nginx:1.27", "docker.io/library/nginx:1.27"},
		"a user's image on Docker Hub":                    {"acme/app", "docker.io/acme/app:latest"},
		"a digest alone leaves the tag empty":             {"nginx@" + digestA, "docker.io/library/nginx@" + digestA},
		"tag and digest are both kept":                    {"nginx:1@" + digestA, "docker.io/library/nginx:1@" + digestA},
		"a digest by another known algorithm":             {"nginx@" + sha512, "docker.io/library/nginx@" + sha512},
		"another registry":                                {"ghcr.io/acme/app:v1", "ghcr.io/acme/app:v1"},
		"the default port is removed":                     {"ghcr.io:443/acme/app", "ghcr.io/acme/app:latest"},
		"also with leading zeros":                         {"ghcr.io:0443/acme/app", "ghcr.io/acme/app:latest"},
		"another port stays":                              {"registry.example:5000/app", "registry.example:5000/app:latest"},
		"another port without leading zeros":              {"registry.example:05000/app", "registry.example:5000/app:latest"},
		"a host without dot keeps the port that names it": {"registry:443/app", "registry:443/app:latest"},
		"localhost is a registry":                         {"localhost/app", "localhost/app:latest"},
		"localhost on the default port":                   {"localhost:443/app", "localhost/app:latest"},
		"an IPv6 address":                                 {"[fd00::1]:5000/app", "[fd00::1]:5000/app:latest"},
		"an IPv6 address on the default port":             {"[fd00::1]:443/app", "[fd00::1]/app:latest"},
		"one component on another registry":               {"registry.example/app", "registry.example/app:latest"},
		"separators in the repository":                    {"ghcr.io/a-b/c__d/e.f--g", "ghcr.io/a-b/c__d/e.f--g:latest"},
		"a tag in upper case":                             {"nginx:Stable_1.0-RC", "docker.io/library/nginx:Stable_1.0-RC"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			image, err := ParseImage(test.text)
			if err != nil {
				t.Fatalf("got error %v, want %s", err, test.want)
			}
			if image.Ref != test.want || image.Text != test.text {
				t.Errorf("got %q of %q, want %q", image.Ref, image.Text, test.want)
			}
			again, err := ParseImage(image.Ref)
			if err != nil || again.Ref != image.Ref {
				t.Errorf("parsing the canonical form again: got %q (%v), want %q", again.Ref, err, image.Ref)
			}
		})
	}
}

// Row 1: an allow-list that compares prefixes of text takes another registry or
// organisation for an allowed one. The parts are there to be compared instead.
func TestBypass01_RegistryAndRepositoryAreSegments(t *testing.T) {
	tests := map[string][2]string{
		"ghcr.io/acme/x":              {"ghcr.io", "acme/x"},
		"ghcr.io/acme-evil/x":         {"ghcr.io", "acme-evil/x"},
		"ghcr.io.evil.com/acme/x":     {"ghcr.io.evil.com", "acme/x"},
		"evil.com/ghcr.io/acme/x":     {"evil.com", "ghcr.io/acme/x"},
		"ghcr.io:8443/acme/x":         {"ghcr.io:8443", "acme/x"},
		"docker.io.evil.com/library/": {},
	}
	for text, want := range tests {
		image, err := ParseImage(text)
		if got := [2]string{image.Registry, image.Repository}; got != want {
			t.Errorf("%s: got %q (%v), want %q", text, got, err, want)
		}
	}
}

// Row 2: Docker Hub has several names.
func TestBypass02_SpellingsOfDockerHubAreOne(t *testing.T) {
	const want = "docker.io/library/nginx:latest"
	for _, text := range []string{
		"nginx", "nginx:latest", "library/nginx", "docker.io/nginx", "docker.io/library/nginx", "docker.io/library/nginx:latest",
		"index.docker.io/nginx", "index.docker.io/library/nginx", "docker.io:443/nginx", "index.docker.io:443/library/nginx",
		"registry-1.docker.io/library/nginx", "registry-1.docker.io:443/library/nginx",
	} {
		image, err := ParseImage(text)
		if err != nil || image.Ref != want {
			t.Errorf("%s: got %q (%v), want %q", text, image.Ref, err, want)
		}
	}
}

// Row 3: what looks like an allowed reference but is none is refused, never guessed.
func TestBypass03_LookalikesAreRefused(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"an upper-case registry":              {"gHcr.io/acme/x", "upper-case"},
		"an upper-case registry, no dot":      {"Registry/acme/x", "upper-case"},
		"an upper-case repository":            {"ghcr.io/Acme/x", "lowercase"},
		"a Cyrillic letter in the path":       {"ghcr.io/acmе/x", "U+0435"},
		"a Cyrillic letter in the registry":   {"ghсr.io/acme/x", "U+0441"},
		"a space behind":                      {"ghcr.io/acme/x ", "a space at position 15"},
		"a space before":                      {" ghcr.io/acme/x", "a space at position 1"},
		"a NUL byte":                          {"ghcr.io/acme/x\x00", "0x00"},
		"a line break":                        {"ghcr.io/acme/x\n", "0x0a"},
		"a zero-width space":                  {"ghcr.io/acme/\u200bx", "U+200B"},
		"invalid UTF-8":                       {"ghcr.io/acme/\xff", "0xff"},
		"a full-width slash":                  {"ghcr.io／acme/x", "U+FF0F"},
		"a scheme":                            {"https://ghcr.io/acme/x", "grammar"},
		"a trailing dot of the host":          {"ghcr.io./acme/x", "grammar"},
		"credentials":                         {"user@ghcr.io/acme/x", "grammar"},
		"dots as a segment":                   {"ghcr.io/acme/../evil", "grammar"},
		"an empty segment":                    {"ghcr.io//x", "grammar"},
		"a trailing slash":                    {"ghcr.io/x/", "grammar"},
		"an empty tag":                        {"ghcr.io/x:", "grammar"},
		"a port out of range":                 {"ghcr.io:70000/x", "port"},
		"port zero":                           {"ghcr.io:0/x", "port"},
		"percent-encoding":                    {"ghcr.io/acme%2fx", "grammar"},
		"an image ID":                         {strings.Repeat("a", 64), "64"},
		"a template expression":               {"{{ .Values.image }}", "space"},
		"nothing":                             {"", "empty"},
		"a name longer than any registry has": {"ghcr.io/" + strings.Repeat("a", 300), "more than 255"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { refused(t, test.text, test.want) })
	}
}

// Row 4: a digest is an algorithm that is known and as many digits as it has.
func TestBypass04_DigestsAreChecked(t *testing.T) {
	for _, digest := range []string{
		"sha256:abc", "foo:bar", "sha256:" + strings.Repeat("a", 63), "sha256:" + strings.Repeat("a", 65),
		"sha256:" + strings.Repeat("A", 64), "sha256:" + strings.Repeat("g", 64), "sha512:" + strings.Repeat("a", 64),
		"md5:" + strings.Repeat("a", 32), "SHA256:" + strings.Repeat("a", 64), "", "sha256", "sha256:",
		digestA + "@" + digestA, digestA + ":tag",
	} {
		t.Run(digest, func(t *testing.T) { refused(t, "ghcr.io/acme/x@"+digest, "write registry/repository") })
	}
}

func refused(t *testing.T, text, want string) {
	t.Helper()
	image, err := ParseImage(text)
	var reference *ReferenceError
	if !errors.As(err, &reference) {
		t.Fatalf("got %q (%v), want a ReferenceError", image.Ref, err)
	}
	if !strings.Contains(reference.Reason, want) || reference.Text != text {
		t.Errorf("got reason %q, want one with %q", reference.Reason, want)
	}
}

// FuzzReference holds the fast way against the grammar, and canonical forms
// against themselves.
func FuzzReference(f *testing.F) {
	for _, seed := range []string{
		"nginx", "docker.io/library/nginx:1.27", "ghcr.io:443/acme/x@" + digestA, "localhost/a", "a.b/c__d/e--f:T", "[::1]:5/a",
		"index.docker.io/a", "x:y/z", "registry-1.docker.io/a/b", strings.Repeat("a", 64), "a..b/c", "-a.b/c", "a-.b/c", "a.b/c-",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if fast, sure := splitCommon(text); sure {
			slow, reason := split(text)
			fast.canonicalRegistry()
			slow.canonicalRegistry()
			if reason != "" || slow != fast {
				t.Fatalf("%q: got %+v, the grammar has %+v %s", text, fast, slow, reason)
			}
		}
		image, err := ParseImage(text)
		if err != nil {
			return
		}
		again, err := ParseImage(image.Ref)
		if err != nil {
			t.Fatalf("%q: its canonical form %q is refused: %v", text, image.Ref, err)
		}
		image.Text, again.Text = "", ""
		if again != image {
			t.Fatalf("%q: got %+v of the canonical form, want %+v", text, again, image)
		}
	})
}

func BenchmarkParseImage(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseImage("ghcr.io/acme/shop/api:2.14.1@" + digestA); err != nil {
			b.Fatal(err)
		}
	}
}
