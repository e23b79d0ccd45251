package signer

import (
	"strings"
	"testing"
)

func claimsOf(subject string) CertificateClaims {
	return CertificateClaims{Issuer: "https://token.actions.githubusercontent.com", Subject: subject}
}

func authorityOf(t testing.TB, identities ...Identity) *CheckedAuthority {
	t.Helper()
	configuration, err := Compile(with(keyless(), func(a *Authority) { a.Identities = identities }))
	if err != nil {
		t.Fatal(err)
	}
	return configuration.Authority("ci")
}

func TestCVE202529778EveryPartOfAnIdentityIsCompared(t *testing.T) {
	const issuer, subject = "https://token.actions.githubusercontent.com", "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"
	workflow := GitHubWorkflow{Trigger: "push", SHA: "abc", Name: "release", Repository: "acme/app", Ref: "refs/heads/main"}
	good := CertificateClaims{issuer, subject, workflow}
	for name, identity := range map[string]Identity{
		"exact":       {Issuer: issuer, Subject: subject, GitHubWorkflow: &workflow},
		"expressions": {IssuerRegExp: `https://token\.actions\.githubusercontent\.com`, SubjectRegExp: `https://github\.com/acme/app/\.github/workflows/[a-z]+\.yml@refs/heads/main`, GitHubWorkflow: &workflow},
	} {
		authority := authorityOf(t, identity)
		if ok, why := authority.Accepts(good); !ok {
			t.Errorf("%s: the right signer is not accepted: %s", name, why)
		}
		for change, test := range map[string]struct {
			change func(*CertificateClaims)
			want   string
		}{
			"another issuer":             {func(c *CertificateClaims) { c.Issuer = "https://accounts.google.com" }, "the issuer has to "},
			"an issuer with a beginning": {func(c *CertificateClaims) { c.Issuer = "x" + c.Issuer }, "the issuer has to "},
			"an issuer with an end":      {func(c *CertificateClaims) { c.Issuer += ".evil.com" }, "the issuer has to "},
			"an issuer with a newline":   {func(c *CertificateClaims) { c.Issuer += "\n" }, "the issuer has to "},
			"no issuer":                  {func(c *CertificateClaims) { c.Issuer = "" }, "(issuer nobody)"},
			"another repository":         {func(c *CertificateClaims) { c.Subject = strings.Replace(c.Subject, "acme/app", "acme/other", 1) }, "the subject has to "},
			"a subject with an end":      {func(c *CertificateClaims) { c.Subject += "x" }, "the subject has to "},
			"a subject with a line":      {func(c *CertificateClaims) { c.Subject = "x\n" + c.Subject }, "the subject has to "},
			"no subject":                 {func(c *CertificateClaims) { c.Subject = "" }, "signed by nobody"},
			"another trigger":            {func(c *CertificateClaims) { c.GitHubWorkflow.Trigger = "pull_request" }, "the workflow's trigger has to be push and is pull_request"},
			"another commit":             {func(c *CertificateClaims) { c.GitHubWorkflow.SHA = "abd" }, "the workflow's sha has to be abc and is abd"},
			"another name":               {func(c *CertificateClaims) { c.GitHubWorkflow.Name = "x" }, "the workflow's name has to be release and is x"},
			"another repository claim":   {func(c *CertificateClaims) { c.GitHubWorkflow.Repository = "acme/app2" }, "the workflow's repository has to be acme/app and is acme/app2"},
			"another ref":                {func(c *CertificateClaims) { c.GitHubWorkflow.Ref = "" }, "the workflow's ref has to be refs/heads/main and is not given"},
		} {
			claims := good
			test.change(&claims)
			if ok, why := authority.Accepts(claims); ok || !strings.Contains(why, test.want) {
				t.Errorf("%s, %s: got %v, %q, want a refusal with %q", name, change, ok, why, test.want)
			}
		}
	}
}

func TestBypassUnanchoredIdentity(t *testing.T) {
	authority := authorityOf(t, Identity{Issuer: "https://token.actions.githubusercontent.com", SubjectRegExp: `https://github\.com/acme/.*\.yml@refs/tags/v1|https://github\.com/acme`})
	if ok, why := authority.Accepts(claimsOf("https://github.com/acme/app/.github/workflows/a.yml@refs/tags/v1")); !ok {
		t.Error(why)
	}
	for _, subject := range []string{
		"https://github.com/acme-evil/app/.github/workflows/a.yml@refs/tags/v1", "https://github.com/acme-evil", "https://evil.com/?https://github.com/acme",
		"https://evil.com/https://github.com/acme/x.yml@refs/tags/v1", "https://github.com/acme/x.yml@refs/tags/v1-evil", "https://github.com/acme\n",
	} {
		if ok, _ := authority.Accepts(claimsOf(subject)); ok {
			t.Errorf("%q is accepted", subject)
		}
	}
}

func TestBypassUnanchoredAlternative(t *testing.T) {
	authority := authorityOf(t, Identity{Issuer: "https://token.actions.githubusercontent.com", SubjectRegExp: `jane@acme\.com|ci@acme\.com`})
	for subject, want := range map[string]bool{"jane@acme.com": true, "ci@acme.com": true, "jane@acme.com.evil.org": false, "evil-ci@acme.com": false} {
		if got, _ := authority.Accepts(claimsOf(subject)); got != want {
			t.Errorf("%s: got accepted %v, want %v", subject, got, want)
		}
	}
}

func TestAnyIdentityOfAnAuthorityWillDoAndAllAreExplained(t *testing.T) {
	identity := func(subject string) Identity {
		return Identity{Issuer: "https://token.actions.githubusercontent.com", Subject: subject}
	}
	authority := authorityOf(t, identity("https://a.example"), identity("https://b.example"), identity("https://c.example"), identity("https://d.example"), identity("https://e.example"))
	if ok, why := authority.Accepts(claimsOf("https://e.example")); !ok || why != "" {
		t.Errorf("got %v, %q, want the last identity accepted", ok, why)
	}
	_, why := authority.Accepts(claimsOf("https://github.com/acme-evil/\x1b[31mx"))
	want := "signed by https://github.com/acme-evil/?[31mx (issuer https://token.actions.githubusercontent.com), which authority ci does not accept: " +
		"the subject has to be https://a.example, or the subject has to be https://b.example, or the subject has to be https://c.example, or one of 2 more identities"
	if why != want {
		t.Errorf("got\n%s\nwant\n%s", why, want)
	}
}

func TestAnAuthorityByKeyAcceptsNoCertificate(t *testing.T) {
	configuration, err := Compile(&Trust{Authorities: []Authority{release()}})
	if err != nil {
		t.Fatal(err)
	}
	if ok, why := configuration.Authority("release").Accepts(claimsOf("https://github.com/acme/app")); ok || why != "authority release knows no keyless identities" {
		t.Errorf("got %v, %q, want a refusal that says so", ok, why)
	}
}

func BenchmarkAccepts(b *testing.B) {
	authority := authorityOf(b, keyless().Identities...)
	claims := claimsOf("https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1.2.3")
	b.ReportAllocs()
	for b.Loop() {
		if ok, why := authority.Accepts(claims); !ok {
			b.Fatal(why)
		}
	}
}

func BenchmarkFor(b *testing.B) {
	trust := &Trust{}
	for i := range 100 {
		authority := release()
		authority.Name = strings.Repeat("x", i+1)
		authority.Images = []string{"ghcr.io/team-" + strings.Repeat("x", i+1) + "/**", "*.example.com/" + strings.Repeat("x", i+1) + "/*-app"}
		trust.Authorities = append(trust.Authorities, authority)
	}
	configuration, err := Compile(trust)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := configuration.For("ghcr.io", "team-xxx/group/app"); len(got) != 1 {
			b.Fatalf("got %d authorities, want one", len(got))
		}
	}
}
