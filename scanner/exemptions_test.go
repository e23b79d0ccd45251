package scanner

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/signer"
)

const (
	image  = "ghcr.io/acme/shop/app:1.2"
	digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	other  = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// finding is a report with one vulnerability.
func finding() Report {
	report := sample()
	report.Vulnerabilities[0].PURL = "pkg:npm/lodash@4.17.20"
	return report
}

// openVEX is a document with one statement about the vulnerability of [finding].
func openVEX(products string, change ...string) []byte {
	document := `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://acme.example/vex/1","author":"Acme","timestamp":"2026-11-01T00:00:00Z","version":1,
	"statements":[{"vulnerability":{"name":"CVE-2021-23337"},"products":` + products + `,"status":"not_affected","justification":"vulnerable_code_not_in_execute_path"}]}`
	return []byte(strings.NewReplacer(change...).Replace(document))
}

// A statement about another product must never hide a finding.
func TestStatementsCountForTheirProductsOnly(t *testing.T) {
	for name, c := range map[string]struct {
		products string
		counts   bool
	}{
		"the image by digest":                            {`[{"@id":"pkg:oci/app@` + digest + `"}]`, true},
		"the image by digest, percent-encoded":           {`[{"@id":"pkg:oci/app@` + strings.ReplaceAll(digest, ":", "%3A") + `"}]`, true},
		"the image by digest in identifiers":             {`[{"@id":"https://acme.example/app","identifiers":{"purl":"pkg:oci/app@` + digest + `"}}]`, true},
		"the image by its hash":                          {`[{"@id":"https://acme.example/app","hashes":{"sha-256":"` + digest[7:] + `"}}]`, true},
		"the image by its repository":                    {`[{"@id":"pkg:oci/app?repository_url=ghcr.io/acme/shop/app"}]`, true},
		"the image by its repository, the name left out": {`[{"@id":"pkg:oci/app?repository_url=ghcr.io/acme/shop"}]`, true},
		"the image by its repository and tag":            {`[{"@id":"pkg:oci/app?repository_url=ghcr.io/acme/shop/app&tag=1.2"}]`, true},
		"the image by digest and architecture":           {`[{"@id":"pkg:oci/app@` + digest + `?arch=amd64"}]`, true},
		"the image as type docker":                       {`[{"@id":"pkg:docker/acme/shop/app@1.2?repository_url=ghcr.io"}]`, true},
		"one of several products":                        {`[{"@id":"pkg:oci/other@` + digest + `"},{"@id":"pkg:npm/lodash@4.17.20"}]`, true},
		"the package in any image":                       {`[{"@id":"pkg:npm/lodash@4.17.20"}]`, true},
		"the package in any version":                     {`[{"@id":"pkg:npm/lodash"}]`, true},
		"the package in the image":                       {`[{"@id":"pkg:oci/app@` + digest + `","subcomponents":[{"@id":"pkg:npm/lodash@4.17.20"}]}]`, true},
		"the image of another digest":                    {`[{"@id":"pkg:oci/app@` + other + `"}]`, false},
		"another digest of the same repository":          {`[{"@id":"pkg:oci/app@` + other + `?repository_url=ghcr.io/acme/shop/app"}]`, false},
		"an image of another name and the same digest":   {`[{"@id":"pkg:oci/other@` + digest + `"}]`, false},
		"an image of this name in another repository":    {`[{"@id":"pkg:oci/app?repository_url=ghcr.io/evil/app"}]`, false},
		"a repository that begins like this one":         {`[{"@id":"pkg:oci/app?repository_url=ghcr.io/acme"}]`, false},
		"the digest in another repository":               {`[{"@id":"pkg:oci/app@` + digest + `?repository_url=ghcr.io/evil/app"}]`, false},
		"an image known by its name alone":               {`[{"@id":"pkg:oci/app"}]`, false},
		"an image known by its name and tag":             {`[{"@id":"pkg:oci/app?tag=1.2"}]`, false},
		"another tag of the repository":                  {`[{"@id":"pkg:oci/app?repository_url=ghcr.io/acme/shop/app&tag=1.1"}]`, false},
		"one platform of whatever the repository holds":  {`[{"@id":"pkg:oci/app?repository_url=ghcr.io/acme/shop/app&arch=arm64"}]`, false},
		"a qualifier that is not understood":             {`[{"@id":"pkg:oci/app@` + digest + `?flavour=slim"}]`, false},
		"the package in another version":                 {`[{"@id":"pkg:npm/lodash@4.17.19"}]`, false},
		"a package of another name":                      {`[{"@id":"pkg:npm/lodash.template@4.17.20"}]`, false},
		"a package of another namespace":                 {`[{"@id":"pkg:npm/%40acme/lodash@4.17.20"}]`, false},
		"a package of another type":                      {`[{"@id":"pkg:gem/lodash@4.17.20"}]`, false},
		"the package built for another architecture":     {`[{"@id":"pkg:npm/lodash@4.17.20?arch=arm64"}]`, false},
		"another package in the image":                   {`[{"@id":"pkg:oci/app@` + digest + `","subcomponents":[{"@id":"pkg:npm/minimist"}]}]`, false},
		"the package in another image":                   {`[{"@id":"pkg:oci/app@` + other + `","subcomponents":[{"@id":"pkg:npm/lodash@4.17.20"}]}]`, false},
		"a part of the package":                          {`[{"@id":"pkg:npm/lodash@4.17.20","subcomponents":[{"@id":"pkg:npm/minimist"}]}]`, false},
		"a part of the image that nothing identifies":    {`[{"@id":"pkg:oci/app@` + digest + `","subcomponents":[{"@id":"https://acme.example/part"}]}]`, false},
		"a product that is a text":                       {`[{"@id":"ghcr.io/acme/shop/app"}]`, false},
		"a product known by CPE":                         {`[{"@id":"x","identifiers":{"cpe23":"cpe:2.3:a:acme:app:1.2:*:*:*:*:*:*:*"}}]`, false},
		"a product with nothing in it":                   {`[{}]`, false},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := NewExemptions(map[string][]byte{"vex/acme.json": openVEX(c.products)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := e.Apply(finding(), image, digest, nil, nil).Vulnerabilities[0].VEX
			if (got != nil) != c.counts {
				t.Fatalf("got %+v, want a statement: %t", got, c.counts)
			}
			if want := (Statement{Status: "not_affected", Justification: "vulnerable_code_not_in_execute_path", Source: "vex/acme.json", Author: "Acme", Time: "2026-11-01T00:00:00Z"}); c.counts && *got != want {
				t.Errorf("got  %+v\nwant %+v", *got, want)
			}
		})
	}
}

// Whoever writes a pod chooses the tag beside a digest: app:1.2@sha256:… runs what the digest names, were it version 1.1.
func TestATagBesideADigestIsNoProduct(t *testing.T) {
	e, err := NewExemptions(map[string][]byte{"vex/acme.json": openVEX(`[{"@id":"pkg:oci/app?repository_url=ghcr.io/acme/shop/app&tag=1.2"}]`)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		image  string
		counts bool
	}{
		"a tag alone":           {"ghcr.io/acme/shop/app:1.2", true},
		"a tag beside a digest": {"ghcr.io/acme/shop/app:1.2@" + digest, false},
	} {
		if got := e.Apply(finding(), test.image, digest, nil, nil).Vulnerabilities[0].VEX; (got != nil) != test.counts {
			t.Errorf("%s: got %+v, want a statement: %t", name, got, test.counts)
		}
	}
}

func TestTheNewestStatementCounts(t *testing.T) {
	const product = `[{"@id":"pkg:npm/lodash"}]`
	affected := []string{`"status":"not_affected","justification":"vulnerable_code_not_in_execute_path"`, `"status":"affected","action_statement":"update"`}
	later := []string{`"2026-11-01T00:00:00Z"`, `"2026-11-02T00:00:00Z"`}
	for name, c := range map[string]struct {
		files  map[string][]byte
		status string
	}{
		"a later affected takes a not_affected back":       {map[string][]byte{"a": openVEX(product), "b": openVEX(product, append(affected, later...)...)}, "affected"},
		"a later not_affected follows an affected":         {map[string][]byte{"a": openVEX(product, later...), "b": openVEX(product, affected...)}, "not_affected"},
		"of two at the same time the one that admits more": {map[string][]byte{"a": openVEX(product), "b": openVEX(product, affected...)}, "affected"},
		"a statement about another vulnerability":          {map[string][]byte{"a": openVEX(product, "CVE-2021-23337", "CVE-2021-23338")}, ""},
		"a vulnerability by one of its other names":        {map[string][]byte{"a": openVEX(product, `{"name":"CVE-2021-23337"}`, `{"name":"GHSA-35jh-r3h4-6jhm","aliases":["CVE-2021-23337"]}`)}, "not_affected"},
		"a statement with a time of its own":               {map[string][]byte{"a": openVEX(product, `"status"`, `"timestamp":"2026-11-03T00:00:00Z","status"`), "b": openVEX(product, append(affected, later...)...)}, "not_affected"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := NewExemptions(c.files, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if s := e.Apply(finding(), image, digest, nil, nil).Vulnerabilities[0].VEX; s != nil {
				got = s.Status
			}
			if got != c.status {
				t.Errorf("got status %q, want %q", got, c.status)
			}
		})
	}
}

func TestAttestedVEXCountsFromTrustedAuthoritiesOnly(t *testing.T) {
	trust := trusted(t)
	vex := func(authority, predicateType, signed string, document []byte) []signer.Attestation {
		return []signer.Attestation{{Signer: signer.Signer{Authority: authority, Time: signed}, PredicateType: predicateType, Predicate: document}}
	}
	withoutProducts := openVEX(`[]`)
	for name, c := range map[string]struct {
		attestations []signer.Attestation
		counts       bool
	}{
		"by an authority whose VEX is trusted":            {vex("vendor", "https://openvex.dev/ns", "", openVEX(`[{"@id":"pkg:npm/lodash"}]`)), true},
		"under the predicate type with a version":         {vex("vendor", "https://openvex.dev/ns/v0.2.0", "", openVEX(`[{"@id":"pkg:npm/lodash"}]`)), true},
		"without products it is about the attested image": {vex("vendor", "https://openvex.dev/ns", "", withoutProducts), true},
		"signed after it was stated":                      {vex("vendor", "https://openvex.dev/ns", "2026-11-01T00:00:00Z", withoutProducts), true},
		"stated after it was signed":                      {vex("vendor", "https://openvex.dev/ns", "2026-10-01T00:00:00Z", withoutProducts), false},
		"by an authority whose scans are trusted":         {vex("scanners", "https://openvex.dev/ns", "", withoutProducts), false},
		"by an authority that signs images":               {vex("release", "https://openvex.dev/ns", "", withoutProducts), false},
		"by an authority nobody knows":                    {vex("", "https://openvex.dev/ns", "", withoutProducts), false},
		"about another image":                             {vex("vendor", "https://openvex.dev/ns", "", openVEX(`[{"@id":"pkg:oci/app@`+other+`"}]`)), false},
		"under a predicate type that begins like VEX":     {vex("vendor", "https://openvex.dev/nsx", "", withoutProducts), false},
		"in a document that cannot be read":               {vex("vendor", "https://openvex.dev/ns", "", withoutProducts[:100]), false},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := NewExemptions(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := e.Apply(finding(), image, digest, c.attestations, trust).Vulnerabilities[0].VEX
			if (got != nil) != c.counts {
				t.Fatalf("got %+v, want a statement: %t", got, c.counts)
			}
			if got != nil && (got.Authority != "vendor" || got.Source != "attestation") {
				t.Errorf("got authority %q and source %q, want vendor and attestation", got.Authority, got.Source)
			}
		})
	}
}

func TestCSAF(t *testing.T) {
	read := func(change ...string) []byte {
		content, err := os.ReadFile(filepath.Join("testdata", "csaf.json"))
		if err != nil {
			t.Fatal(err)
		}
		return []byte(strings.NewReplacer(change...).Replace(string(content)))
	}
	report := finding()
	report.Vulnerabilities = append(report.Vulnerabilities,
		Vulnerability{ID: "CVE-2024-0001", Package: "openssl", PURL: "pkg:deb/debian/openssl@3.0.11?arch=amd64&distro=debian-12.5", Severity: "high", Status: "affected", Class: "os"})
	for name, c := range map[string]struct {
		content []byte
		first   string
		second  string
	}{
		"a component of the image, and a package": {read(), "not_affected", "affected"},
		"the component in another image":          {read(digest, other), "", "affected"},
		"another component of the image":          {read("pkg:npm/lodash@4.17.20", "pkg:npm/minimist@1.2.5"), "", "affected"},
		"a product that only a name identifies":   {read(`"purl": "pkg:deb/debian/openssl"`, `"sbom_urls": ["https://acme.example"]`), "not_affected", ""},
		"a component that only a name identifies": {read(`"purl": "pkg:npm/lodash@4.17.20"`, `"sbom_urls": ["https://acme.example"]`), "", "affected"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := NewExemptions(map[string][]byte{"vex/csaf.json": c.content}, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := e.Apply(report, image, digest, nil, nil)
			for i, want := range []string{c.first, c.second} {
				status := ""
				if s := got.Vulnerabilities[i].VEX; s != nil {
					status = s.Status
				}
				if status != want {
					t.Errorf("%s: got status %q, want %q", got.Vulnerabilities[i].ID, status, want)
				}
			}
		})
	}
	e, err := NewExemptions(map[string][]byte{"vex/csaf.json": read()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Statement{Status: "not_affected", Justification: "vulnerable_code_not_in_execute_path", Impact: "template() is never called.", Source: "vex/csaf.json", Author: "Acme Product Security", Time: "2026-11-01T00:00:00Z"}
	if got := e.Apply(report, image, digest, nil, nil).Vulnerabilities[0].VEX; got == nil || *got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestIgnores(t *testing.T) {
	const rest = "  reason: not reachable\n  owner: team-shop\n  expires: 2026-12-31\n"
	for name, c := range map[string]struct {
		content string
		counts  bool
	}{
		"a vulnerability everywhere":          {"- id: CVE-2021-23337\n" + rest, true},
		"its identifier in another case":      {"- id: cve-2021-23337\n" + rest, true},
		"in a package":                        {"- id: CVE-2021-23337\n  package: lodash\n" + rest, true},
		"in a package by purl":                {"- id: CVE-2021-23337\n  purl: pkg:npm/lodash\n" + rest, true},
		"in some images":                      {"- id: CVE-2021-23337\n  images: [ghcr.io/acme/**]\n" + rest, true},
		"another vulnerability":               {"- id: CVE-2021-23338\n" + rest, false},
		"in another package":                  {"- id: CVE-2021-23337\n  package: minimist\n" + rest, false},
		"in another version by purl":          {"- id: CVE-2021-23337\n  purl: pkg:npm/lodash@4.17.19\n" + rest, false},
		"in images that are called almost so": {"- id: CVE-2021-23337\n  images: [ghcr.io/acme-evil/**]\n" + rest, false},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := NewExemptions(nil, map[string][]byte{"ignores/shop.yaml": []byte(c.content)})
			if err != nil {
				t.Fatal(err)
			}
			got := e.Apply(finding(), image, digest, nil, nil).Vulnerabilities[0].Ignore
			if (got != nil) != c.counts {
				t.Fatalf("got %+v, want an ignore: %t", got, c.counts)
			}
			if got != nil && (got.Owner != "team-shop" || got.Reason != "not reachable" || got.Expires != "2026-12-31") {
				t.Errorf("got %+v, want owner, reason and expiry of the file", *got)
			}
		})
	}
}

// Expiry is for policies to judge by their clock; of two entries the one that lasts longer counts.
func TestOfTwoIgnoresTheLongerOneCounts(t *testing.T) {
	entry := func(expires string) string {
		return "- {id: CVE-2021-23337, reason: r, owner: o, expires: " + expires + "}\n"
	}
	for _, content := range []string{entry("2026-12-31") + entry("2027-01-31"), entry("2027-01-31") + entry("2026-12-31")} {
		e, err := NewExemptions(nil, map[string][]byte{"a": []byte(content)})
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Apply(finding(), image, digest, nil, nil).Vulnerabilities[0].Ignore; got == nil || got.Expires != "2027-01-31" {
			t.Errorf("got %+v, want the one that expires 2027-01-31", got)
		}
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	_, err := NewExemptions(map[string][]byte{
		"vex/a.json": []byte(`{`),
		"vex/b.json": []byte(`{"clean":true}`),
		"vex/c.json": openVEX(`[]`),
		"vex/d.json": openVEX(`[{"@id":"pkg:npm/lodash"}]`, `"not_affected"`, `"harmless"`),
		"vex/e.json": openVEX(`[{"@id":"pkg:npm/lodash"}]`, `"timestamp":"2026-11-01T00:00:00Z",`, ``),
		"vex/f.json": []byte(`{"document":{"csaf_version":"2.0","category":"csaf_base"}}`),
		"vex/z.json": []byte("\n"),
	}, map[string][]byte{
		"ignores/a.yaml": []byte("- id: CVE-1\n"),
		"ignores/b.yaml": []byte("- {id: CVE-1, reason: r, owner: o, expires: 2026-12-31, package_name: x}\n"),
		"ignores/c.yaml": []byte("- {id: CVE-1, reason: r, owner: o, expires: never}\n"),
		"ignores/d.yaml": []byte("- {id: 'CVE-*', reason: r, owner: o, expires: 2026-12-31, images: ['*/acme'], package: a, purl: 'pkg:npm/a'}\n"),
		"ignores/e.yaml": []byte(""),
		"ignores/f.yaml": []byte("- {id: CVE-1, reason: ' ', owner: o, expires: 2026-02-30, images: []}\n"),
		"ignores/g.yaml": []byte("[]\n---\n[]\n"),
	})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{
		"vex/a.json: the document is no JSON", "vex/b.json: the document is neither", "vex/c.json: statements[0]: it names no product", `vex/d.json: statements[0]: invalid status value "harmless"`,
		"vex/e.json: statements[0]: neither it nor", "vex/f.json: reading CSAF", "reason is missing", "owner is missing", `expires is ""`, "ignores/b.yaml: reading ignores", "package_name", `expires is "never"`,
		`id "CVE-*" is a pattern`, `images: the pattern "*/acme"`, "package and purl are both there", "ignores/e.yaml: the file is empty", "vex/z.json: the file is empty", `expires is "2026-02-30"`, "images is empty", "more than one document",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestApplyModifiesNothing(t *testing.T) {
	e, err := NewExemptions(map[string][]byte{"a": openVEX(`[{"@id":"pkg:npm/lodash"}]`)}, map[string][]byte{"b": []byte("- {id: CVE-2021-23337, reason: r, owner: o, expires: 2026-12-31}\n")})
	if err != nil {
		t.Fatal(err)
	}
	report := finding()
	first := e.Apply(report, image, digest, nil, nil)
	if !reflect.DeepEqual(report, finding()) {
		t.Errorf("the report became %+v", report)
	}
	first.Vulnerabilities[0].VEX.Status, first.Vulnerabilities[0].Ignore.Expires = "affected", "2000-01-01"
	if again := e.Apply(report, image, digest, nil, nil).Vulnerabilities[0]; again.VEX.Status != "not_affected" || again.Ignore.Expires != "2026-12-31" {
		t.Errorf("changing a result changed the exemptions: %+v, %+v", again.VEX, again.Ignore)
	}
}

func TestTheHashIsOfNamesAndContents(t *testing.T) {
	hash := func(vex, ignores map[string][]byte) string {
		e, err := NewExemptions(vex, ignores)
		if err != nil {
			t.Fatal(err)
		}
		return e.Hash()
	}
	document := openVEX(`[{"@id":"pkg:npm/lodash"}]`)
	seen := map[string]string{}
	for name, h := range map[string]string{
		"nothing": hash(nil, nil), "a document": hash(map[string][]byte{"a": document}, nil), "the document by another name": hash(map[string][]byte{"b": document}, nil),
		"another document": hash(map[string][]byte{"a": openVEX(`[{"@id":"pkg:npm/lodash@1"}]`)}, nil), "an ignore": hash(nil, map[string][]byte{"a": []byte("- {id: CVE-1, reason: r, owner: o, expires: 2026-12-31}\n")}),
	} {
		if !strings.HasPrefix(h, "sha256:") || len(h) != 71 {
			t.Errorf("%s: the hash is %q", name, h)
		}
		if seen[h] != "" {
			t.Errorf("%s and %s have the same hash", name, seen[h])
		}
		seen[h] = name
	}
}

func FuzzVEX(f *testing.F) {
	f.Add(openVEX(`[{"@id":"pkg:oci/app@` + digest + `","subcomponents":[{"@id":"pkg:npm/lodash@4.17.20"}]}]`))
	f.Add([]byte(`{"document":{"csaf_version":"2.0"},"vulnerabilities":[null,{"product_status":{"fixed":[null]}}],"product_tree":{"branches":[null],"relationships":[null]}}`))
	csaf, err := os.ReadFile(filepath.Join("testdata", "csaf.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(csaf)
	f.Fuzz(func(t *testing.T, content []byte) {
		e, err := NewExemptions(map[string][]byte{"vex": content}, nil)
		if err != nil {
			return
		}
		got := e.Apply(finding(), image, digest, nil, nil)
		if got.State != StateComplete || len(got.Vulnerabilities) != 1 || got.Vulnerabilities[0].ID != "CVE-2021-23337" {
			t.Errorf("a document changed more than the status: %+v", got)
		}
	})
}

func FuzzIgnores(f *testing.F) {
	f.Add([]byte("- {id: CVE-2021-23337, purl: 'pkg:npm/lodash', images: [ghcr.io/acme/**], reason: r, owner: o, expires: 2026-12-31}\n"))
	f.Add([]byte("- &a {id: CVE-1, reason: r, owner: o, expires: 2026-12-31}\n- *a\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		e, err := NewExemptions(nil, map[string][]byte{"ignores": content})
		if err != nil {
			return
		}
		if i := e.Apply(finding(), image, digest, nil, nil).Vulnerabilities[0].Ignore; i != nil && (i.Owner == "" || i.Reason == "" || len(i.Expires) != len("2026-12-31")) {
			t.Errorf("an ignore without owner, reason or expiry counts: %+v", *i)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	e, err := NewExemptions(map[string][]byte{"a": openVEX(`[{"@id":"pkg:npm/lodash"}]`)}, nil)
	if err != nil {
		b.Fatal(err)
	}
	report := finding()
	for i := range 200 {
		v := report.Vulnerabilities[0]
		if i%2 == 0 {
			v.ID = "CVE-2020-1"
		}
		report.Vulnerabilities = append(report.Vulnerabilities, v)
	}
	b.ReportAllocs()
	for b.Loop() {
		e.Apply(report, image, digest, nil, nil)
	}
}
