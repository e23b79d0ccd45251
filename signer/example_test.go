package signer_test

import (
	"fmt"

	"github.com/portcullis-dev/portcullis/signer"
)

func Example() {
	trust, err := signer.ParseTrust([]byte(`{
		"authorities": [{
			"name": "release",
			"images": ["ghcr.io/acme/**"],
			"identities": [{
				"issuer": "https://token.actions.githubusercontent.com",
				"subjectRegExp": "https://github\\.com/acme/.*"
			}]
		}],
		"requirements": [{"name": "signed", "images": ["ghcr.io/acme/**"], "anyOf": ["release"]}]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	configuration, err := signer.Compile(trust)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, authority := range configuration.For("ghcr.io", "acme/app") {
		_, why := authority.Accepts(signer.CertificateClaims{
			Issuer:  "https://token.actions.githubusercontent.com",
			Subject: "https://github.com/acme-evil/app/.github/workflows/release.yml@refs/heads/main",
		})
		fmt.Println(why)
	}
	for _, required := range configuration.Required("ghcr.io", "acme/app") {
		fmt.Println(required.Name, required.Count, "of", len(required.Authorities))
	}
	// Output:
	// signed by https://github.com/acme-evil/app/.github/workflows/release.yml@refs/heads/main (issuer https://token.actions.githubusercontent.com), which authority release does not accept: the subject has to match https://github\.com/acme/.* as a whole
	// signed 1 of 1
}

func ExampleCompile() {
	_, err := signer.Compile(&signer.Trust{Authorities: []signer.Authority{{
		Name:       "release",
		Images:     []string{"nginx"},
		Identities: []signer.Identity{{Issuer: "https://accounts.google.com", SubjectRegExp: ".*"}},
	}}})
	fmt.Println(err)
	// Output:
	// authorities[0] "release": images[0] "nginx": it names no registry: write "docker.io/library/nginx" for Docker Hub, or begin with the registry's host
	// authorities[0] "release": identities[0]: subjectRegExp: ".*": it matches "", too, so that everybody would be trusted: spell out who it is
}
