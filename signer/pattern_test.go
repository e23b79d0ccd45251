package signer

import (
	"regexp"
	"strings"
	"testing"
)

func matchImage(p pattern, image string) bool {
	registry, repository, _ := strings.Cut(image, "/")
	return p.matches(splitImage(nil, registry, repository))
}

func TestPatterns(t *testing.T) {
	for text, images := range map[string]map[string]bool{
		"ghcr.io/acme/**": {
			"ghcr.io/acme/app": true, "ghcr.io/acme/a/b/c": true,
			"ghcr.io/acme":          true, // any number of segments is none, too
			"ghcr.io/acme-evil/app": false, "ghcr.io/acmes/app": false, "ghcr.io.evil.com/acme/app": false, "evil.com/ghcr.io/acme/app": false, "ghcr.io:444/acme/app": false,
		},
		"ghcr.io/acme/*":                            {"ghcr.io/acme/app": true, "ghcr.io/acme/a/b": false, "ghcr.io/acme": false},
		"ghcr.io/acme/app":                          {"ghcr.io/acme/app": true, "ghcr.io/acme/app2": false, "ghcr.io/acme/app/x": false, "ghcr.io/acme/ap": false},
		"ghcr.io/acme/app-*":                        {"ghcr.io/acme/app-web": true, "ghcr.io/acme/app": false, "ghcr.io/acme/app-web/x": false, "ghcr.io/acme/my-app-web": false},
		"ghcr.io/acme/*-app-*":                      {"ghcr.io/acme/my-app-web": true, "ghcr.io/acme/my-app-my-app-": true, "ghcr.io/acme/app-web": false},
		"ghcr.io/**/app":                            {"ghcr.io/app": true, "ghcr.io/a/app": true, "ghcr.io/a/b/app": true, "ghcr.io/a/b/app/c": false, "ghcr.io/a/b/apps": false},
		"ghcr.io/**/a/**/b":                         {"ghcr.io/a/b": true, "ghcr.io/x/a/y/b": true, "ghcr.io/a/x/a/b/c/b": true, "ghcr.io/x/b": false, "ghcr.io/b/a": false},
		"ghcr.io/**/*":                              {"ghcr.io/a": true, "ghcr.io/a/b": true},
		"docker.io/library/*":                       {"docker.io/library/nginx": true, "docker.io/acme/nginx": false, "docker.io/library/a/b": false},
		"docker.io/**":                              {"docker.io/library/nginx": true, "docker.io/acme/app": true, "index.docker.io/library/nginx": false},
		"*.example.com/**":                          {"a.example.com/x": true, "a.b.example.com/x": false, "example.com/x": false, "evil-example.com/x": false, "a.example.com.evil.org/x": false, "a.example.com:5000/x": false, "evil.org/a.example.com/x": false},
		"*.*.example.com/x":                         {"a.b.example.com/x": true, "a.example.com/x": false},
		"eu-*.example.com/x":                        {"eu-west.example.com/x": true, "eu-.example.com/x": true, "us.example.com/x": false, "eu-a.b.example.com/x": false},
		"*.dkr.ecr.eu-west-1.amazonaws.com/acme/**": {"123456789012.dkr.ecr.eu-west-1.amazonaws.com/acme/app": true, "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.com/acme/app": false},
		"registry.example.com:5000/**":              {"registry.example.com:5000/a": true, "registry.example.com/a": false, "registry.example.com:50000/a": false},
		"*.example.com:5000/**":                     {"a.example.com:5000/a": true, "a.example.com/a": false},
		"localhost/app":                             {"localhost/app": true, "docker.io/localhost/app": false},
		"localhost:5000/**":                         {"localhost:5000/app": true},
		"[::1]:5000/**":                             {"[::1]:5000/app": true},
		"**":                                        {"ghcr.io/a": true, "docker.io/library/nginx": true, "localhost:5000/a/b/c": true},
	} {
		p, err := parsePattern(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for image, want := range images {
			if got := matchImage(p, image); got != want {
				t.Errorf("%s and %s: got %v, want %v", text, image, got, want)
			}
			if got := regexp.MustCompile(p.expression()).MatchString(image); got != want {
				t.Errorf("%s as an expression and %s: got %v, want %v", text, image, got, want)
			}
		}
	}
}

// Rows of the list of known bypasses.
func TestBypassPrefixOfARegistryOrRepository(t *testing.T) {
	// Aqua's research on k8sallowedrepos: registry.io/org must not be registry.io/org-evil, nor registry.io.evil.com.
	p, err := parsePattern("ghcr.io/acme/**")
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{"ghcr.io/acme-evil/x", "ghcr.io.evil.com/acme/x"} {
		if matchImage(p, image) {
			t.Errorf("%s is of %s", image, p.text)
		}
	}
}

func TestBypassOtherNamesOfDockerHub(t *testing.T) {
	for text, want := range map[string]string{
		"nginx":                         `"docker.io/library/nginx"`,
		"library/nginx":                 `"docker.io/library/nginx"`,
		"acme/*":                        `"docker.io/acme/*"`,
		"docker.io/nginx":               `"docker.io/library/nginx"`,
		"docker.io/*":                   `"docker.io/library/*"`,
		"index.docker.io/library/nginx": `"docker.io/library/nginx"`,
		"index.docker.io/nginx":         `"docker.io/library/nginx"`,
		"index.docker.io/**":            `"docker.io/**"`,
		"registry-1.docker.io/acme/app": `"docker.io/acme/app"`,
	} {
		if _, err := parsePattern(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got the error %v, want the spelling %s", text, err, want)
		}
	}
}

func TestBypassUnusualSpellings(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "it is empty",
		"gHcr.io/acme/x":                     `write "ghcr.io/acme/x"`,
		"ghcr.io/acme/App":                   `write "ghcr.io/acme/app"`,
		"ghcr.io:443/acme/x":                 `write "ghcr.io/acme/x"`,
		"ghcr.io:0/acme/x":                   "is none: use 1 to 65535",
		"ghcr.io:65536/x":                    "is none: use 1 to 65535",
		"ghcr.io:080/x":                      "is none: use 1 to 65535",
		"ghcr.io:/x":                         "is none: use 1 to 65535",
		"ghcr.io:*/x":                        "is none: use 1 to 65535",
		"ghcr.io/acmе/x":                     "U+0435",
		"ghcr.io/acme/x ":                    "U+0020",
		"ghcr.io/acme/x\x00":                 "U+0000",
		"https://ghcr.io/acme/x":             `it begins with "https://": write "ghcr.io/acme/x"`,
		"ghcr.io/acme/x:v1":                  `it has a tag: patterns name repositories, write "ghcr.io/acme/x"`,
		"ghcr.io/acme/x@sha256:abc":          `it has a digest: patterns name repositories, write "ghcr.io/acme/x"`,
		"ghcr.io":                            `it names no repository: write "ghcr.io/**"`,
		"ghcr.io/":                           "it has an empty segment",
		"ghcr.io//x":                         "it has an empty segment",
		"ghcr.io/acme/":                      "it has an empty segment",
		"/acme/x":                            "it names no registry",
		"ghcr.io/a**":                        `has "**" beside other characters`,
		"ghcr.io/**a/b":                      `has "**" beside other characters`,
		"ghcr.io/-a":                         "is in no repository's name",
		"ghcr.io/a..b":                       "is in no repository's name",
		"ghcr.io/a___b":                      "is in no repository's name",
		"ghcr.io/../x":                       "is in no repository's name",
		"ghcr.io/a?":                         "is in no repository's name",
		"ghcr.io/[ab]":                       "is in no repository's name",
		"*":                                  "its registry is any",
		"*/acme/**":                          "its registry is any",
		"**/acme/*":                          "its registry is any",
		"**/**":                              "its registry is any",
		"*.com/acme/**":                      "in the last two labels",
		"ghcr.*/acme/**":                     "in the last two labels",
		"ghcr.io*/acme/**":                   "in the last two labels",
		"*ghcr.io/acme/**":                   "in the last two labels",
		"a.**.example.com/x":                 "stands for segments of a path",
		"ghcr..io/x":                         "is no host",
		"-ghcr.io/x":                         "is no host",
		"ghcr_.io/x":                         "is no host",
		"[::1/x":                             "is no host",
		"user:pass@ghcr.io/x":                "it has a digest",
		strings.Repeat("a", 521):             "it has 521 bytes",
		"ghcr.io" + strings.Repeat("/a", 65): "it has 65 segments",
	} {
		if p, err := parsePattern(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %+v and the error %v, want one with %q", text, p, err, want)
		}
	}
}

// Matching must not take time that grows with the number of wildcards.
func TestManyWildcardsAreMatchedInLinearSteps(t *testing.T) {
	p, err := parsePattern("ghcr.io/" + strings.Repeat("**/*a*a*/", 31) + "b")
	if err != nil {
		t.Fatal(err)
	}
	if matchImage(p, "ghcr.io/"+strings.Repeat("aaaaaaaa/", 28)+"c") {
		t.Error("the pattern matches an image that does not end in b")
	}
	if !matchImage(p, "ghcr.io/"+strings.Repeat("aa/", 31)+"b") {
		t.Error("the pattern does not match an image of its shape")
	}
}

// FuzzPattern looks for patterns that are taken and should not be, and that match what they do not spell out.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"ghcr.io/acme/**", "ghcr.io/acme/app"}, {"*.example.com/**", "a.example.com/x"}, {"**", "docker.io/library/nginx"}, {"ghcr.io/**/a*b/**", "ghcr.io/x/ab"},
		{"docker.io/library/*", "docker.io/library/nginx"}, {"localhost:5000/a", "localhost:5000/a"}, {"[::1]:5000/a", "[::1]:5000/a"}, {"nginx", "nginx"}, {"a..b/**", "a..b/"}, {"*/x", "evil.com/x"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, image string) {
		p, err := parsePattern(text)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("a pattern is refused without a word")
			}
			return
		}
		if strings.ToLower(text) != text || strings.ContainsAny(text, " @\\?") {
			t.Fatalf("%q was taken", text)
		}
		matched := matchImage(p, image)
		if !strings.Contains(text, "*") && matched != (text == image) {
			t.Fatalf("%q without wildcard and %q: got %v", text, image, matched)
		}
		if matched && text != anyImage {
			registry, _, _ := strings.Cut(image, "/")
			pattern, _, _ := strings.Cut(text, "/")
			if strings.Count(registry, ".") != strings.Count(pattern, ".") {
				t.Fatalf("%q matches %q: a wildcard reached over a dot", text, image)
			}
			labels := strings.Split(pattern, ".")
			if last := labels[len(labels)-1]; !strings.HasSuffix(registry, last) {
				t.Fatalf("%q matches %q of another domain", text, image)
			}
		}
		if matchImage(p, strings.TrimSuffix(image, "/")+"-evil/x") && !strings.Contains(text, "*") {
			t.Fatalf("%q matches %q-evil/x", text, image)
		}
	})
}
