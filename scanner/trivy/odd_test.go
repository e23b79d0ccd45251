//go:build goexperiment.jsonv2

package trivy_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/trivy"
	"github.com/portcullis-dev/portcullis/scanner/trivy/trivytest"
)

var (
	badPackage  = trivytest.Package{Name: "libssl3", Version: "3.0.17-1", Source: "openssl"}
	badAdvisory = trivytest.Advisory{Source: "debian 12", Package: "openssl", ID: "CVE-2024-0001", Fixed: "3.0.20-1", Severity: "CRITICAL", Score: 9.8}
	npmAdvisory = trivytest.Advisory{Source: trivytest.NPMSource, Package: "lodash", ID: "CVE-2021-23337", Fixed: "4.17.21", Severity: "HIGH"}
	goAdvisory  = trivytest.Advisory{Source: trivytest.GoSource, Package: "golang.org/x/text", ID: "CVE-2021-38561", Fixed: "0.3.7", Severity: "HIGH"}
	badFinding  = "CVE-2024-0001 libssl3 3.0.17-1"
)

// without are the entries but those of a path.
func without(entries []trivytest.Entry, path string) []trivytest.Entry {
	var kept []trivytest.Entry
	for _, e := range entries {
		if e.Path != path {
			kept = append(kept, e)
		}
	}
	return kept
}

// replacing are the entries, that of a path being another.
func replacing(entries []trivytest.Entry, by trivytest.Entry) []trivytest.Entry {
	return append(without(entries, by.Path), by)
}

var elf = []byte("\x7fELF and more")

func TestWhatWasNotLookedAtIsNeverComplete(t *testing.T) {
	debian := trivytest.Debian("12.5", badPackage)
	jar, err := trivytest.JarFile("Main")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		layers  [][]trivytest.Entry
		reasons []string
	}{
		"an image without anything":                 {reasons: []string{"no packages were found: the scanner knows nothing of what is in it"}},
		"an image with a text":                      {layers: [][]trivytest.Entry{{trivytest.Text("hello", "world")}}, reasons: []string{"no packages were found: the scanner knows nothing of what is in it"}},
		"a program of which nothing is known":       {layers: [][]trivytest.Entry{{trivytest.Program("app", elf)}}, reasons: []string{"no packages were found: the scanner knows nothing of what is in it"}},
		"a program beside packages of Node.js":      {layers: [][]trivytest.Entry{{trivytest.Program("usr/bin/node", elf), trivytest.NPM("lodash", "4.17.21")}}, reasons: []string{"there is no distribution, and programs or libraries of which nothing is known (usr/bin/node)"}},
		"a distribution that nobody knows":          {layers: [][]trivytest.Entry{append(without(replacing(debian, trivytest.Text("etc/os-release", "ID=\"evil\"\nVERSION_ID=12\n")), "etc/debian_version"), trivytest.NPM("lodash", "4.17.21"))}, reasons: []string{`the scanner does not recognise the distribution "evil" that etc/os-release names`}},
		"an os-release without an ID":               {layers: [][]trivytest.Entry{append(without(replacing(debian, trivytest.Text("etc/os-release", "")), "etc/debian_version"), trivytest.NPM("lodash", "4.17.21"))}, reasons: []string{"its os-release file names no distribution"}},
		"a package database of no distribution":     {layers: [][]trivytest.Entry{append(without(without(debian, "etc/os-release"), "etc/debian_version"), trivytest.NPM("lodash", "4.17.21"))}, reasons: []string{"there is a package database, but nothing says of which distribution: etc/os-release is missing"}},
		"a version that is none":                    {layers: [][]trivytest.Entry{replacing(debian, trivytest.Text("etc/debian_version", "99.5\n"))}, reasons: []string{"the scanner does not know the version \"99\" of debian", "the vulnerability database has no advisories for debian 99.5"}},
		"a removed package database":                {layers: [][]trivytest.Entry{append(without(debian, "var/lib/dpkg/status"), trivytest.Text("var/lib/dpkg/info/libssl3.list", "/x\n"))}, reasons: []string{"it is debian 12.5 without the packages of one: the package database was removed (etc/debian_version, var/lib/dpkg is there)"}},
		"one removed by an upper layer":             {layers: [][]trivytest.Entry{debian, {trivytest.Whiteout("var/lib/dpkg/status")}}, reasons: []string{"it is debian 12.5 without the packages of one: the package database was removed (etc/debian_version, var/lib/dpkg is there)"}},
		"a directory emptied by an upper layer":     {layers: [][]trivytest.Entry{debian, {trivytest.Opaque("var/lib/dpkg")}}, reasons: []string{"it is debian 12.5 without the packages of one: the package database was removed (etc/debian_version, var/lib/dpkg is there)"}},
		"a removed database and distribution":       {layers: [][]trivytest.Entry{{trivytest.Text("var/lib/dpkg/info/libssl3.list", ""), trivytest.NPM("lodash", "4.17.21")}}, reasons: []string{"there are files of a package manager (var/lib/dpkg), but neither its database nor etc/os-release"}},
		"an empty package database":                 {layers: [][]trivytest.Entry{replacing(debian, trivytest.Text("var/lib/dpkg/status", ""))}, reasons: []string{"it is debian 12.5 without the packages of one: the package database is empty or could not be read (var/lib/dpkg/status)"}},
		"a package database that is a link":         {layers: [][]trivytest.Entry{replacing(debian, trivytest.Entry{Path: "var/lib/dpkg/status", Symlink: "/opt/status"})}, reasons: []string{"it is debian 12.5 without the packages of one: the package database is a link, which the scanner does not follow (var/lib/dpkg/status)", "there are links in the place of files that the scanner reads (var/lib/dpkg/status)"}},
		"an archive that is a hard link":            {layers: [][]trivytest.Entry{append(debian, trivytest.Text("opt/data", string(jar)), trivytest.Entry{Path: "opt/app.jar", Hardlink: "opt/data"})}, reasons: []string{"there are links in the place of files that the scanner reads (opt/app.jar)"}},
		"a Java archive and no Java database":       {layers: [][]trivytest.Entry{append(debian, trivytest.Text("opt/app.jar", string(jar)))}, reasons: []string{"there are Java archives (opt/app.jar), and no Java database to name them: give the scanner one"}},
		"a package file that cannot be parsed":      {layers: [][]trivytest.Entry{append(debian, trivytest.Text("app/node_modules/x/package.json", "{"))}, reasons: []string{"a file could not be parsed: failed to parse app/node_modules/x/package.json: failed to parse app/node_modules/x/package.json: JSON decode error: unexpected EOF"}},
		"an RPM database that cannot be parsed":     {layers: [][]trivytest.Entry{append(debian, trivytest.Text("var/lib/rpm/rpmdb.sqlite", "no database"))}, reasons: []string{"a file could not be parsed: failed to parse rpmdb: failed to open RPM DB: binary read error: unexpected EOF"}},
		"a version that cannot be read":             {layers: [][]trivytest.Entry{trivytest.Debian("12.5", badPackage, trivytest.Package{Name: "odd", Version: "a:b"})}, reasons: []string{`the package odd has the version "a:b", which is none`}},
		"packages of other vendors alone":           {layers: [][]trivytest.Entry{trivytest.Debian("12.5", trivytest.Package{Name: "docker-ce", Version: "1.0", Maintainer: "Docker <support@docker.com>"})}, reasons: []string{"it is debian 12.5 without packages of its own: those that are there are other vendors', which the vulnerability database says nothing about"}},
		"a list of files that cannot be parsed":     {layers: [][]trivytest.Entry{append(debian, trivytest.Text("var/lib/dpkg/info/libssl3.md5sums", "nonsense\n"))}, reasons: []string{"the file var/lib/dpkg/info/libssl3.md5sums could not be parsed: failed to parse var/lib/dpkg/info/libssl3.md5sums file: invalid md5sums line format: nonsense"}},
		"names that lead out of the image":          {layers: [][]trivytest.Entry{append(debian, trivytest.Text("opt/../../etc/passwd", ""))}, reasons: []string{"there are names that lead out of the image (opt/../../etc/passwd)"}},
		"packages of a language without advisories": {layers: [][]trivytest.Entry{append(debian, trivytest.Text("usr/lib/python3/dist-packages/x-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: x\nVersion: 1.0\n"))}, reasons: []string{"the vulnerability database has no advisories for packages of pip"}},
		"all is what an SBOM claims":                {layers: [][]trivytest.Entry{{trivytest.Text("opt/bitnami/x/.spdx-x.spdx", bitnami)}}, reasons: []string{"all that is known of its packages is what an SBOM in the image claims"}},
		"Debian by the name of another":             {layers: [][]trivytest.Entry{replacing(debian, trivytest.Text("etc/os-release", "ID=wolfi\nVERSION_ID=20230201\n"))}, reasons: []string{"it calls itself wolfi, but has packages of dpkg"}},
		"Alpine by the name of another": {layers: [][]trivytest.Entry{
			{trivytest.Text("etc/os-release", "ID=wolfi\nVERSION_ID=20230201\n")},
			without(trivytest.Alpine("3.18.4", trivytest.Package{Name: "zlib", Version: "1.2-r0"}), "etc/os-release"),
		}, reasons: []string{"it calls itself wolfi, but has Alpine's etc/alpine-release"}},
		"Debian by the name of one without packages": {layers: [][]trivytest.Entry{replacing(append(debian, trivytest.NPM("lodash", "4.17.21")), trivytest.Text("etc/os-release", "ID=activestate\nVERSION_ID=1\n"))}, reasons: []string{"it calls itself activestate, which has no package database, but there is one"}},
		"Alpine with the repository of another":      {layers: [][]trivytest.Entry{append(trivytest.Alpine("3.18.4", trivytest.Package{Name: "zlib", Version: "1.2-r0"}), trivytest.Text("etc/apk/repositories", "https://dl-cdn.alpinelinux.org/alpine/v3.19/main\n"))}, reasons: []string{"it is Alpine 3.18 with packages of the repository of 3.19"}},
	} {
		t.Run(what, func(t *testing.T) {
			alpine := trivytest.Advisory{Source: "alpine 3.18", Package: "zlib", ID: "CVE-2024-0009", Fixed: "1.3-r0"}
			wolfi := trivytest.Advisory{Source: "wolfi", Package: "zlib", ID: "CVE-2024-0009", Fixed: "1.1-r0"}
			report := analyse(t, image(t, c.layers...), options(t, badAdvisory, npmAdvisory, alpine, wolfi)).Report
			if report.State != scanner.StateUnscannable {
				t.Errorf("state: got %s, want unscannable", report.State)
			}
			equal(t, "reasons", report.Reasons, c.reasons)
		})
	}
}

const bitnami = `{"SPDXID":"SPDXRef-DOCUMENT","spdxVersion":"SPDX-2.3","name":"x","dataLicense":"CC0-1.0","documentNamespace":"https://example.com/x","creationInfo":{"created":"2024-01-01T00:00:00Z","creators":["Tool: x"]},"packages":[{"SPDXID":"SPDXRef-x","name":"lodash","versionInfo":"4.17.20","downloadLocation":"NONE","externalRefs":[{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:npm/lodash@4.17.20"}]}],"relationships":[{"spdxElementId":"SPDXRef-DOCUMENT","relatedSpdxElement":"SPDXRef-x","relationshipType":"DESCRIBES"}]}`

func TestAllThatWasLookedAtIsComplete(t *testing.T) {
	debian := trivytest.Debian("12.5", badPackage)
	for what, c := range map[string]struct {
		layers [][]trivytest.Entry
		want   []string
	}{
		"a distribution":                        {layers: [][]trivytest.Entry{debian}, want: []string{badFinding}},
		"one without a known vulnerability":     {layers: [][]trivytest.Entry{trivytest.Debian("12.5", trivytest.Package{Name: "libssl3", Version: "3.0.20-1", Source: "openssl"})}, want: []string{}},
		"its packages in single files":          {layers: [][]trivytest.Entry{append(without(debian, "var/lib/dpkg/status"), trivytest.Text("var/lib/dpkg/status.d/libssl3", trivytest.DpkgStatus(badPackage)))}, want: []string{badFinding}},
		"names with a leading dot or slash":     {layers: [][]trivytest.Entry{{trivytest.Text("./etc/debian_version", "12.5\n"), trivytest.Text("/var/lib/dpkg/status", trivytest.DpkgStatus(badPackage))}}, want: []string{badFinding}},
		"a package that an upper layer removed": {layers: [][]trivytest.Entry{append(debian, trivytest.NPM("lodash", "4.17.20")), {trivytest.Whiteout("app/node_modules/lodash")}}, want: []string{badFinding}},
		"a package database that was replaced":  {layers: [][]trivytest.Entry{debian, {trivytest.Text("var/lib/dpkg/status", trivytest.DpkgStatus(trivytest.Package{Name: "libssl3", Version: "3.0.20-1", Source: "openssl"}))}}, want: []string{}},
		"programs of nobody in a distribution":  {layers: [][]trivytest.Entry{append(debian, trivytest.Program("usr/local/bin/python", elf))}, want: []string{badFinding}},
		"the same layer twice":                  {layers: [][]trivytest.Entry{debian, debian}, want: []string{badFinding}},
		"packages of Node.js and no programs":   {layers: [][]trivytest.Entry{{trivytest.NPM("lodash", "4.17.20")}}, want: []string{"CVE-2021-23337 lodash 4.17.20"}},
	} {
		t.Run(what, func(t *testing.T) {
			report := analyse(t, image(t, c.layers...), options(t, badAdvisory, npmAdvisory)).Report
			if report.State != scanner.StateComplete || len(report.Reasons) > 0 {
				t.Errorf("state: got %s (%q), want complete", report.State, report.Reasons)
			}
			equal(t, "vulnerabilities", found(report), c.want)
		})
	}
}

// Trivy passes over what it takes for another vendor's. That is a number for policies, not the end of a scan.
func TestPackagesOfOtherVendorsAreCounted(t *testing.T) {
	docker := trivytest.Package{Name: "docker-ce", Version: "1.0", Maintainer: "Docker <support@docker.com>"}
	nginx := trivytest.Package{Name: "nginx", Version: "1.0", Maintainer: "NGINX Packaging <nginx-packaging@f5.com>"}
	postgres := trivytest.Package{Name: "postgresql-17", Version: "1.0", Maintainer: "Debian PostgreSQL Maintainers <team+postgresql@tracker.debian.org>"}
	advisories := []trivytest.Advisory{badAdvisory}
	for _, name := range []string{"docker-ce", "nginx", "postgresql-17"} {
		advisories = append(advisories, trivytest.Advisory{Source: "debian 12", Package: name, ID: "CVE-2024-0003", Fixed: "2.0", Severity: "HIGH"})
	}
	for what, c := range map[string]struct {
		packages []trivytest.Package
		want     scanner.Packages
		found    []string
	}{
		"none": {packages: []trivytest.Package{badPackage}, want: scanner.Packages{OS: 1}, found: []string{badFinding}},
		"two":  {packages: []trivytest.Package{badPackage, docker, nginx}, want: scanner.Packages{OS: 3, ThirdParty: 2}, found: []string{badFinding}},
		"one, and one of a vendor that Trivy does not know": {packages: []trivytest.Package{badPackage, docker, postgres}, want: scanner.Packages{OS: 3, ThirdParty: 1}, found: []string{badFinding, "CVE-2024-0003 postgresql-17 1.0"}},
	} {
		t.Run(what, func(t *testing.T) {
			i, o := image(t, trivytest.Debian("12.5", c.packages...)), options(t, advisories...)
			o.Cache = t.TempDir()
			for _, layers := range []string{"read", "kept"} {
				report := analyse(t, i, o).Report
				if report.State != scanner.StateComplete || report.Packages != c.want {
					t.Errorf("layers %s: got %s (%q) with %+v, want complete with %+v", layers, report.State, report.Reasons, report.Packages, c.want)
				}
				equal(t, "vulnerabilities, layers "+layers, found(report), c.found)
			}
		})
	}
}

func TestAStaticProgramOfGoAloneIsComplete(t *testing.T) {
	program, err := trivytest.GoProgram(t.Context(), "v0.3.6")
	skipOffline(t, err)
	files := []trivytest.Entry{trivytest.Program("app", program), trivytest.Text("etc/ssl/certs/ca-certificates.crt", "")}
	report := analyse(t, image(t, files), options(t, goAdvisory)).Report
	if report.State != scanner.StateComplete || report.OS.Family != "" || report.Packages.Language == 0 {
		t.Errorf("got %s (%q) of %+v with %+v, want complete without a distribution", report.State, report.Reasons, report.OS, report.Packages)
	}
	equal(t, "vulnerabilities", found(report), []string{"CVE-2021-38561 golang.org/x/text v0.3.6"})

	report = analyse(t, image(t, append(files, trivytest.Program("bin/busybox", elf))), options(t, goAdvisory)).Report
	equal(t, "reasons with a program of which nothing is known", report.Reasons, []string{"there is no distribution, and programs or libraries of which nothing is known (bin/busybox)"})
}

func TestJavaArchivesAreNamedByTheirHash(t *testing.T) {
	jar, err := trivytest.JarFile("Main")
	if err != nil {
		t.Fatal(err)
	}
	java := t.TempDir()
	if err := trivytest.JavaDatabase(java, trivytest.Jar{Content: jar, Group: "com.example", Artifact: "app", Version: "1.0.0"}); err != nil {
		t.Fatal(err)
	}
	o := options(t, badAdvisory, trivytest.Advisory{Source: trivytest.MavenSource, Package: "com.example:app", ID: "CVE-2024-0002", Fixed: "1.0.1", Severity: "LOW"})
	o.JavaDatabase = java
	report := analyse(t, image(t, append(trivytest.Debian("12.5", badPackage), trivytest.Text("opt/app.jar", string(jar)))), o).Report
	if report.State != scanner.StateComplete {
		t.Errorf("state: got %s (%q), want complete", report.State, report.Reasons)
	}
	equal(t, "vulnerabilities", found(report), []string{badFinding, "CVE-2024-0002 com.example:app 1.0.0"})
}

func TestSeveritiesAreWords(t *testing.T) {
	o := options(t,
		trivytest.Advisory{Source: "debian 12", Package: "openssl", ID: "CVE-2024-0001", NoDetails: true},
		trivytest.Advisory{Source: "debian 12", Package: "openssl", ID: "CVE-2024-0002"},
		trivytest.Advisory{Source: "debian 12", Package: "openssl", ID: "CVE-2024-0003", Severity: "LOW", Score: 3.75, Status: 4},
	)
	report := analyse(t, image(t, trivytest.Debian("12.5", badPackage)), o).Report
	var got []string
	for _, v := range report.Vulnerabilities {
		got = append(got, strings.Join([]string{v.ID, v.Severity, v.Status, v.Fixed}, " "))
		if v.ID == "CVE-2024-0003" && v.Score != 38 {
			t.Errorf("score: got %d, want 38", v.Score)
		}
	}
	equal(t, "severities", got, []string{"CVE-2024-0001 unknown affected ", "CVE-2024-0002 unknown affected ", "CVE-2024-0003 low under_investigation "})
}

func TestSecretsAreFoundAndNotTold(t *testing.T) {
	const key = "AKIAIOSFODNN7ABCDEFG"
	i := image(t, append(trivytest.Debian("12.5", badPackage), trivytest.Text("app/config.env", "AWS_ACCESS_KEY_ID="+key+"\n")))
	o := options(t, badAdvisory)
	o.Cache = t.TempDir()
	result := analyse(t, i, o)
	if want := (scanner.Secret{Rule: "aws-access-key-id", Severity: "critical", Path: "/app/config.env"}); len(result.Report.Secrets) != 1 || result.Report.Secrets[0] != want {
		t.Errorf("secrets: got %+v, want %+v", result.Report.Secrets, want)
	}
	if bytes.Contains(result.CycloneDX, []byte(key)) || bytes.Contains(result.SPDX, []byte(key)) {
		t.Error("an SBOM has the secret")
	}
	for name, content := range files(t, o.Cache) {
		if strings.Contains(content, key[:8]) {
			t.Errorf("the file %s of the cache has the secret", name)
		}
	}
	inConfig := reconfigure(t, image(t, trivytest.Debian("12.5", badPackage)), func(c *v1.ConfigFile) {
		c.Config.Env = []string{"AWS_ACCESS_KEY_ID=" + key}
	})
	inHistory := reconfigure(t, image(t, trivytest.Debian("12.5", badPackage)), func(c *v1.ConfigFile) {
		c.History = []v1.History{{CreatedBy: "ADD x", EmptyLayer: false}, {CreatedBy: "RUN AWS_ACCESS_KEY_ID=" + key + " deploy", EmptyLayer: true}}
	})
	for what, i := range map[string]v1.Image{"the environment": inConfig, "the history": inHistory} {
		if want := (scanner.Secret{Rule: "aws-access-key-id", Severity: "critical", Path: "image configuration"}); len(analyse(t, i, o).Report.Secrets) != 1 || analyse(t, i, o).Report.Secrets[0] != want {
			t.Errorf("secrets in %s: got %+v, want %+v", what, analyse(t, i, o).Report.Secrets, want)
		}
	}
	// Trivy takes what lies below a CMD for a base image, which it does not search.
	based := reconfigure(t, i, func(c *v1.ConfigFile) {
		c.History = []v1.History{{CreatedBy: "ADD x"}, {CreatedBy: "CMD [\"sh\"]", EmptyLayer: true}, {CreatedBy: "RUN y", EmptyLayer: false}}
	})
	if secrets := analyse(t, based, o).Report.Secrets; len(secrets) != 1 {
		t.Errorf("secrets below a CMD: got %+v, want one", secrets)
	}
	o.NoSecrets = true
	if secrets := analyse(t, i, o).Report.Secrets; len(secrets) != 0 {
		t.Errorf("without the search: got %+v", secrets)
	}
}

func TestALayerIsReadInEachPacking(t *testing.T) {
	archive, err := trivytest.Archive(trivytest.Debian("12.5", badPackage)...)
	if err != nil {
		t.Fatal(err)
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(archive); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		packed    []byte
		mediaType types.MediaType
	}{
		"gzip":                        {zipped.Bytes(), types.OCILayer},
		"zstd":                        {encoder.EncodeAll(archive, nil), types.OCILayerZStd},
		"none":                        {archive, types.OCIUncompressedLayer},
		"zstd under the name of gzip": {encoder.EncodeAll(archive, nil), types.DockerLayer},
	} {
		t.Run(what, func(t *testing.T) {
			report := analyse(t, packed(t, c.packed, archive, c.mediaType), options(t, badAdvisory)).Report
			equal(t, "vulnerabilities", found(report), []string{badFinding})
		})
	}
}

// rawLayer is a layer with bytes that need not fit.
type rawLayer struct {
	v1.Layer
	diffID v1.Hash
}

func (l rawLayer) DiffID() (v1.Hash, error) { return l.diffID, nil }

func (l rawLayer) Uncompressed() (io.ReadCloser, error) { panic("the analyser unpacks itself") }

// packed is an image with one layer of these bytes, of which the configuration says that they unpack to others.
func packed(t testing.TB, packed, unpacked []byte, mediaType types.MediaType) v1.Image {
	t.Helper()
	diffID, _, err := v1.SHA256(bytes.NewReader(unpacked))
	if err != nil {
		t.Fatal(err)
	}
	i, err := trivytest.ImageOf(rawLayer{static.NewLayer(packed, mediaType), diffID})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestABrokenImageIsNeitherCompleteNorClean(t *testing.T) {
	archive, err := trivytest.Archive(trivytest.Debian("12.5", badPackage)...)
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write(archive)
	_ = w.Close()
	sound := func(mediaType types.MediaType) v1.Image { return packed(t, zipped.Bytes(), archive, mediaType) }
	for what, c := range map[string]struct {
		image v1.Image
		want  string // in the error, or in the reason after "unscannable: "
	}{
		"a layer that ends early":                                {packed(t, zipped.Bytes()[:zipped.Len()-20], archive, types.OCILayer), "unexpected EOF"},
		"a layer that ends early in its archive":                 {packed(t, archive[:1100], archive[:1100], types.OCIUncompressedLayer), "reading the archive"},
		"a layer that unpacks to another":                        {packed(t, zipped.Bytes(), append(archive, 0), types.OCILayer), "its content has the digest"},
		"a layer behind whose end something follows":             {packed(t, append(bytes.Clone(zipped.Bytes()), "more"...), archive, types.OCILayer), "reading the layer"},
		"a layer of another kind":                                {sound("application/vnd.cncf.helm.chart.content.v1.tar+gzip"), "unscannable: its layer"},
		"a foreign layer":                                        {sound(types.DockerForeignLayer), "is not kept in registries"},
		"an artifact":                                            {mutate.ConfigMediaType(sound(types.OCILayer), "application/vnd.cncf.helm.config.v1+json"), "unscannable: it is no container image"},
		"a configuration that names other layers than there are": {lessLayers(t, sound(types.OCILayer)), "unscannable: its configuration names"},
		"an image for Windows":                                   {windows(t, sound(types.OCILayer)), "unscannable: it is an image for Windows"},
	} {
		t.Run(what, func(t *testing.T) {
			result, err := trivy.Analyse(context.Background(), c.image, options(t, badAdvisory))
			got := "unscannable: " + strings.Join(result.Report.Reasons, "; ")
			if err != nil {
				got = err.Error()
			} else if result.Report.State != scanner.StateUnscannable {
				t.Fatalf("state: got %s, want unscannable", result.Report.State)
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// twisted is an image with another configuration.
type twisted struct {
	v1.Image
	config, manifest []byte
}

func (i twisted) RawConfigFile() ([]byte, error) { return i.config, nil }
func (i twisted) RawManifest() ([]byte, error)   { return i.manifest, nil }

func reconfigure(t testing.TB, i v1.Image, change func(*v1.ConfigFile)) v1.Image {
	t.Helper()
	config, err := i.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	changed := config.DeepCopy()
	change(changed)
	made, err := mutate.ConfigFile(i, changed)
	if err != nil {
		t.Fatal(err)
	}
	rawConfig, err := made.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	rawManifest, err := made.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	return twisted{i, rawConfig, rawManifest}
}

func lessLayers(t testing.TB, i v1.Image) v1.Image {
	return reconfigure(t, i, func(c *v1.ConfigFile) { c.RootFS.DiffIDs = nil })
}

func windows(t testing.TB, i v1.Image) v1.Image {
	return reconfigure(t, i, func(c *v1.ConfigFile) { c.OS = "windows" })
}

func TestAConfigurationOfAnotherImageIsRefused(t *testing.T) {
	i := image(t, trivytest.Debian("12.5", badPackage))
	manifest, err := i.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	_, err = trivy.Analyse(context.Background(), twisted{i, []byte(`{"rootfs":{"type":"layers","diff_ids":[]}}`), manifest}, options(t, badAdvisory))
	if err == nil || !strings.Contains(err.Error(), "the manifest names") {
		t.Errorf("got %v, want that the manifest names another configuration", err)
	}
	o := options(t, badAdvisory)
	o.Digest = "sha256:" + strings.Repeat("0", 64)
	if _, err := trivy.Analyse(context.Background(), i, o); err == nil || !strings.Contains(err.Error(), "not sha256:0000") {
		t.Errorf("got %v, want that the manifest has another digest", err)
	}
}

// zeros is an endless file's beginning.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestABombIsUnscannable(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(w, zeros{}, 300<<20); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		image  v1.Image
		limits trivy.Limits
		want   string
	}{
		"zeros":           {packed(t, bomb.Bytes(), nil, types.OCILayer), trivy.Limits{}, "unpacks to more than 200 times its size"},
		"too much":        {packed(t, bomb.Bytes(), nil, types.OCILayer), trivy.Limits{Unpacked: 1 << 20}, "larger than 1048576 bytes unpacked"},
		"too many files":  {image(t, trivytest.Debian("12.5", badPackage)), trivy.Limits{Entries: 2}, "more than 2 files"},
		"too many layers": {image(t, trivytest.Debian("12.5", badPackage), nil), trivy.Limits{Layers: 1}, "has 2 layers, more than the limit of 1"},
	} {
		t.Run(what, func(t *testing.T) {
			o := options(t, badAdvisory)
			o.Limits = c.limits
			report := analyse(t, c.image, o).Report
			if report.State != scanner.StateUnscannable || len(report.Reasons) != 1 || !strings.Contains(report.Reasons[0], c.want) {
				t.Errorf("got %s %q, want unscannable: %s", report.State, report.Reasons, c.want)
			}
		})
	}
}
