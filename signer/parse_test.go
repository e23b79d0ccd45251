package signer

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseTrustIsStrict(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"CVE-2025-29778: a field that is misspelled": {`{"authorities":[{"name":"a","identities":[{"issuer":"https://a.b","subjectRegexp":"x"}]}]}`, `unknown field "authorities[0].identities[0].subjectRegexp"`},
		"an unknown field":                           {`{"authority":[]}`, `unknown field "authority"`},
		"a field in another case":                    {`{"Authorities":[]}`, `unknown field "Authorities"`},
		"a field that is given twice":                {`{"authorities":[],"authorities":[]}`, `duplicate field "authorities"`},
		"a wrong type":                               {`{"authorities":{}}`, "cannot unmarshal"},
		"text behind the end":                        {`{} {}`, "invalid character"},
		"nothing":                                    {``, "unexpected end"},
		"more than a file may have":                  {`"` + strings.Repeat("x", 1<<20) + `"`, "it has 1048578 bytes: use at most 1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseTrust([]byte(test.content)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got the error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestParsePatternsOfOthers(t *testing.T) {
	images, err := ParseImages([]string{"ghcr.io/acme/**", "docker.io/library/*"})
	if err != nil {
		t.Fatal(err)
	}
	if !images.Match("docker.io", "library/nginx") || images.Match("docker.io", "acme/nginx") || (Images{}).Match("docker.io", "library/nginx") {
		t.Error("the patterns match other images than they say")
	}
	if _, err := ParseImages([]string{"nginx", "ghcr.io"}); err == nil || strings.Count(err.Error(), "the pattern") != 2 {
		t.Errorf("got the error %v, want both mistakes", err)
	}
}

// FuzzOverlap looks for expressions that both match a text and are said not to meet.
func FuzzOverlap(f *testing.F) {
	for _, seed := range [][3]string{{`acme-[a-m]+`, `acme-.*x?`, "acme-a"}, {`(?i)acme|b*`, `[^b]*`, "AcMe"}, {`a{2,5}`, `(aa)+`, "aaaa"}, {`\w\b.`, `a.`, "a "}, {`(?s).`, `\n|\x{10ffff}`, "\n"}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, first, second, text string) {
		var pair [2]matcher
		for i, expression := range []string{first, second} {
			compiled, err := compileAnchored(expression)
			if err != nil {
				return
			}
			pair[i] = matcher{expression: compiled, text: expression}
		}
		steps := overlapSteps / 20
		shared, known := pair[0].meets(&pair[1], &steps)
		if known && shared == "" && text != "" && utf8.ValidString(text) && pair[0].matches(text) && pair[1].matches(text) {
			t.Fatalf("%q and %q both match %q and are said not to meet", first, second, text)
		}
	})
}

// FuzzParseTrust looks for content that crashes, or that trusts somebody without saying whom.
func FuzzParseTrust(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"authorities":null}`,
		`{"authorities":[{"name":"release","images":["ghcr.io/acme/**"],"keys":[{"pem":"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEoZIzj0CAQYIKoZIzj0DAQ==\n-----END PUBLIC KEY-----\n","name":"v3"}],"transparencyLog":true}]}`,
		`{"authorities":[{"name":"ci","images":["**"],"identities":[{"issuer":"https://a.b","subjectRegExp":"https://github\\.com/acme/.*","githubWorkflow":{"ref":"refs/heads/main"}}],"attestations":[{"predicateType":"https://slsa.dev/provenance/v1","maxAge":"720h"}]}],"requirements":[{"name":"r","images":["ghcr.io/**"],"atLeast":{"count":1,"of":["ci"]}}],"scanners":["ci"],"vex":["ci"]}`,
		`{"authorities":[{"name":"ci","images":["**"],"identities":[{"issuerRegExp":".*","subjectRegExp":"a)|(?:b"}]}]}`,
		`{"requirements":[{"anyOf":[]},{"allOf":null},{"atLeast":{"count":-1}}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		trust, err := ParseTrust(content)
		if err != nil {
			return
		}
		configuration, err := Compile(trust)
		if err != nil {
			return
		}
		if again, err := Compile(trust); err != nil || again.Hash() != configuration.Hash() {
			t.Fatalf("compiled twice: the error %v, the hashes %s and %s", err, configuration.Hash(), again.Hash())
		}
		for _, authority := range configuration.authorities {
			if len(authority.images) == 0 || (len(authority.PublicKeys) == 0) == (len(authority.identities) == 0) {
				t.Fatalf("authority %+v was taken", authority.Authority)
			}
			for _, claims := range []CertificateClaims{{}, {Issuer: "https://q7x2mz9k.invalid"}, {Subject: "q7x2mz9k@q7x2mz9k.invalid"}, {Issuer: "https://q7x2mz9k.invalid", Subject: "q7x2mz9k@q7x2mz9k.invalid"}} {
				if ok, _ := authority.Accepts(claims); ok && !strings.Contains(string(content), "q7x2mz9k") {
					t.Fatalf("authority %+v accepts %+v", authority.Authority, claims)
				}
			}
		}
		for i := range configuration.requirements {
			if required := configuration.requirements[i].required; required.Count < 1 || int(required.Count) > len(required.Authorities) {
				t.Fatalf("requirement %+v was taken", required)
			}
		}
	})
}
