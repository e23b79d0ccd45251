//go:build goexperiment.jsonv2

package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/trivy/trivytest"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// shop is a registry, a database with two advisories, and the flags that name them.
type shop struct {
	*registrytest.Server
	t          *testing.T
	client     *registry.Client
	repository registry.Repository
	work       string
	database   string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	server, err := registrytest.Start(registrytest.Referrers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{Server: server, t: t, client: client, repository: server.Repository("acme/shop"), work: t.TempDir(), database: filepath.Join(t.TempDir(), "db")}
	s.must(trivytest.Database(s.database,
		trivytest.Advisory{Source: "debian 12", Package: "openssl", ID: "CVE-2023-5678", Fixed: "3.0.13-1~deb12u1", Severity: "HIGH"},
		trivytest.Advisory{Source: "npm::GitHub Security Advisory npm", Package: "lodash", ID: "CVE-2021-23337", Fixed: "4.17.21", Severity: "CRITICAL"},
	))
	return s
}

func (s *shop) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// flags are those of a scan with this registry and this database.
func (s *shop) flags(more ...string) []string {
	return append([]string{"scan", "--work-dir", s.work, "--database", s.database, "--java-database=", "--plain-http-registry", s.Host(), "--allow-registry", s.Host(), "--children=1"}, more...)
}

func (s *shop) image(openssl, lodash string) v1.Image {
	s.t.Helper()
	image, err := trivytest.Image(append(trivytest.Debian("12.5", trivytest.Package{Name: "libssl3", Version: openssl, Source: "openssl"}), trivytest.NPM("lodash", lodash)))
	s.must(err)
	return image
}

func (s *shop) push(image v1.Image, tag string) string {
	s.t.Helper()
	d, err := s.client.PushImage(s.t.Context(), s.repository, tag, image)
	s.must(err)
	return d.Digest
}

// line is one line of -o json.
type line struct {
	Image, Digest string
	Report        scanner.Report
}

func (s *shop) reports(stdout string) []line {
	s.t.Helper()
	var all []line
	for text := range strings.Lines(stdout) {
		var one line
		if err := json.Unmarshal([]byte(text), &one); err != nil {
			s.t.Fatalf("the line %q: %v", text, err)
		}
		all = append(all, one)
	}
	return all
}

func ids(r scanner.Report) []string {
	var all []string
	for _, v := range r.Vulnerabilities {
		all = append(all, v.ID+" "+v.Severity)
	}
	slices.Sort(all)
	return all
}

var bothFound = []string{"CVE-2021-23337 critical", "CVE-2023-5678 high"}

func TestScanFindsWhatIsThere(t *testing.T) {
	s := newShop(t)
	bad := s.push(s.image("3.0.11-1~deb12u2", "4.17.20"), "bad")
	good := s.push(s.image("3.0.13-1~deb12u1", "4.17.21"), "good")
	code, stdout, stderr := call(t, s.flags("-o", "json", s.repository.String()+":bad", s.repository.String()+":good", s.repository.String()+"@"+bad)...)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	got := s.reports(stdout)
	if len(got) != 2 || got[0].Digest != bad || got[1].Digest != good {
		t.Fatalf("got %+v, want the two images, one of them named twice", got)
	}
	if found := ids(got[0].Report); !slices.Equal(found, bothFound) {
		t.Errorf("got %q in the bad image, want %q", found, bothFound)
	}
	if found := ids(got[1].Report); len(found) > 0 {
		t.Errorf("got %q in the good image, want none", found)
	}
	for _, one := range got {
		r := one.Report
		if r.State != scanner.StateComplete || r.Database.UpdatedAt != trivytest.DefaultUpdated.Format(time.RFC3339) || !strings.HasPrefix(r.Database.Digest, "sha256:") || r.Scanner.Name != "trivy" || r.Packages != (scanner.Packages{OS: 1, Language: 1}) {
			t.Errorf("%s: got state %s (%q), database %+v, scanner %+v, packages %+v", one.Image, r.State, r.Reasons, r.Database, r.Scanner, r.Packages)
		}
	}
}

func TestTheTableIsForPeople(t *testing.T) {
	s := newShop(t)
	s.push(s.image("3.0.11-1~deb12u2", "4.17.20"), "bad")
	code, stdout, stderr := call(t, s.flags(s.repository.String()+":bad")...)
	if code != exitOK || stderr != "" {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	for _, want := range []string{"complete: 1 OS packages, 1 of languages, debian 12.5; 2 vulnerabilities, 0 secrets", "SEVERITY", "critical  CVE-2021-23337  lodash", "3.0.13-1~deb12u1"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the table lacks %q:\n%s", want, stdout)
		}
	}
	if strings.Index(stdout, "CVE-2021-23337") > strings.Index(stdout, "CVE-2023-5678") {
		t.Errorf("the worst is not first:\n%s", stdout)
	}
}

func TestPackagesOfOtherVendorsAreInTheTable(t *testing.T) {
	s := newShop(t)
	image, err := trivytest.Image(trivytest.Debian("12.5", trivytest.Package{Name: "libssl3", Version: "3.0.13-1~deb12u1", Source: "openssl"},
		trivytest.Package{Name: "nginx", Version: "1.27.3-1~bookworm", Maintainer: "NGINX Packaging <nginx-packaging@f5.com>"}))
	s.must(err)
	s.push(image, "vendor")
	code, stdout, stderr := call(t, s.flags(s.repository.String()+":vendor")...)
	if want := "complete: 2 OS packages (1 of other vendors, not looked up), 0 of languages"; code != exitOK || !strings.Contains(stdout, want) {
		t.Errorf("got exit %d with %q (%s), want %d with %q", code, stdout, stderr, exitOK, want)
	}
}

func TestAnImageWithNothingToLookUpIsUndecided(t *testing.T) {
	s := newShop(t)
	s.push(empty.Image, "scratch")
	code, stdout, stderr := call(t, s.flags("-o", "json", s.repository.String()+":scratch")...)
	if got := s.reports(stdout); code != exitUndecided || len(got) != 1 || got[0].Report.State != scanner.StateUnscannable {
		t.Errorf("got exit %d with %+v (%s), want %d and unscannable", code, got, stderr, exitUndecided)
	}
}

func TestLayoutsAreScannedWithoutNetwork(t *testing.T) {
	s := newShop(t)
	folder := t.TempDir()
	path, err := layout.Write(folder, empty.Index)
	s.must(err)
	s.must(path.AppendImage(s.image("3.0.11-1~deb12u2", "4.17.20")))
	s.Close()
	code, stdout, stderr := call(t, s.flags("-o", "json", "oci:"+folder)...)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if got := s.reports(stdout); len(got) != 1 || !slices.Equal(ids(got[0].Report), bothFound) {
		t.Errorf("got %+v, want %q", got, bothFound)
	}
}

func TestALayoutThatIsNoneIsAMistakeOfTheCaller(t *testing.T) {
	s := newShop(t)
	if code, _, stderr := call(t, s.flags("oci:"+t.TempDir())...); code != exitUsage || !strings.Contains(stderr, "neither an OCI image layout") {
		t.Errorf("got exit %d and %q, want %d and that it is none", code, stderr, exitUsage)
	}
}

func TestOfAnIndexCountsWhatAnyOfItsImagesHas(t *testing.T) {
	s := newShop(t)
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: s.image("3.0.13-1~deb12u1", "4.17.21"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: s.image("3.0.11-1~deb12u2", "4.17.21"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
	)
	_, err := s.client.PushIndex(t.Context(), s.repository, "index", index)
	s.must(err)
	code, stdout, stderr := call(t, s.flags("-o", "json", s.repository.String()+":index")...)
	if got := s.reports(stdout); code != exitOK || len(got) != 1 || !slices.Equal(ids(got[0].Report), []string{"CVE-2023-5678 high"}) {
		t.Errorf("got exit %d, %+v (%s), want what is in the arm64 image", code, got, stderr)
	}
	code, stdout, _ = call(t, s.flags("-o", "json", "--platform=linux/amd64", s.repository.String()+":index")...)
	if got := s.reports(stdout); code != exitOK || len(got) != 1 || len(ids(got[0].Report)) != 0 {
		t.Errorf("got exit %d, %+v, want nothing in the amd64 image", code, got)
	}
}

// A scan that is attached to an index counts for all of its platforms.
func TestAScanOfFewerPlatformsTakesThePlaceOfNone(t *testing.T) {
	s := newShop(t)
	on := func(processor string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: s.image("3.0.11-1~deb12u2", "4.17.20"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: processor}}}
	}
	// Two images of the same bytes would be one to the index.
	other := on("arm64")
	other.Add = s.image("3.0.13-1~deb12u1", "4.17.21")
	pushed, err := s.client.PushIndex(t.Context(), s.repository, "multi", mutate.AppendManifests(empty.Index, on("amd64"), other))
	s.must(err)
	private, _, trust := s.keys(s.repository.String())
	attach := []string{"--attach", "--key", private, "--key-password-file", private + ".password"}
	name := s.repository.String() + ":multi"
	scan := func(more ...string) (code int, stderr string) {
		code, _, stderr = call(t, s.flags(append(more, name)...)...)
		return code, stderr
	}
	if code, stderr := scan(attach...); code != exitOK {
		t.Fatalf("all platforms: exit %d: %s", code, stderr)
	}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"a platform that is not there":           {append([]string{"--platform=linux/s390x"}, attach...), "--platform linux/s390x: the index has linux/amd64, linux/arm64: choose one of these"},
		"likewise without attaching":             {[]string{"--platform=linux/s390x"}, "--platform linux/s390x: the index has linux/amd64, linux/arm64: choose one of these"},
		"one of two":                             {append([]string{"--platform=linux/arm64"}, attach...), "--platform leaves out linux/amd64, and what is attached counts for all platforms"},
		"one of two, to be attached by somebody": {[]string{"--platform=linux/arm64", "-o", "predicate"}, "--platform leaves out linux/amd64, and a predicate counts for all platforms"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, stderr := scan(c.args...); code != exitUsage || !strings.Contains(stderr, c.says) {
				t.Errorf("got exit %d and %q, want %d and %q", code, stderr, exitUsage, c.says)
			}
			evidence, err := cosign.NewVerifier(cosign.Options{}).Verify(t.Context(), s.client, cosign.Target{Repository: s.repository, Digest: pushed.Digest}, trust)
			s.must(err)
			if report := scanner.Latest(evidence.Attestations, trust, time.Now()); report.State != scanner.StateComplete || !slices.Equal(ids(report), bothFound) {
				t.Errorf("attached is a scan that is %s with %q, want the complete one with %q", report.State, ids(report), bothFound)
			}
		})
	}
	if code, stderr := scan(append([]string{"--platform=linux/arm64,linux/amd64"}, attach...)...); code != exitOK {
		t.Errorf("both by name: exit %d: %s", code, stderr)
	}
}

// keys writes a key pair and gives a configuration that believes its scans.
func (s *shop) keys(images string) (private, public string, trust *signer.Configuration) {
	s.t.Helper()
	folder := s.t.TempDir()
	privatePEM, publicPEM, err := cosign.GenerateKeyPair([]byte("correct horse"))
	s.must(err)
	private, public = filepath.Join(folder, "scanner.key"), filepath.Join(folder, "scanner.pub")
	s.must(errors.Join(os.WriteFile(private, privatePEM, 0o600), os.WriteFile(public, publicPEM, 0o600), os.WriteFile(private+".password", []byte("correct horse\n"), 0o600)))
	trust, err = signer.Compile(&signer.Trust{
		Authorities: []signer.Authority{{Name: "scanners", Images: []string{images}, Keys: []signer.Key{{PEM: string(publicPEM)}}}},
		Scanners:    []string{"scanners"},
	})
	s.must(err)
	return private, public, trust
}

func TestAnAttachedScanIsBelievedByItsSignatureAndTakesThePlaceOfTheLast(t *testing.T) {
	for _, format := range []string{signer.FormatBundle, signer.FormatLegacy} {
		t.Run(format, func(t *testing.T) {
			s := newShop(t)
			digest := s.push(s.image("3.0.11-1~deb12u2", "4.17.20"), "bad")
			private, _, trust := s.keys(s.repository.String())
			for range 3 {
				if code, _, stderr := call(t, s.flags("--attach", "--sbom", "--key", private, "--key-password-file", private+".password", "--format", format, s.repository.String()+":bad")...); code != exitOK {
					t.Fatalf("exit %d: %s", code, stderr)
				}
			}
			evidence, err := cosign.NewVerifier(cosign.Options{}).Verify(t.Context(), s.client, cosign.Target{Repository: s.repository, Digest: digest}, trust)
			s.must(err)
			var types []string
			for _, a := range evidence.Attestations {
				types = append(types, a.PredicateType)
			}
			slices.Sort(types)
			if want := []string{scanner.PredicateType, cycloneDXType, spdxType}; !slices.Equal(types, want) {
				t.Errorf("attested are %q, want one of each of %q (rejected: %+v)", types, want, evidence.Rejected)
			}
			report := scanner.Latest(evidence.Attestations, trust, time.Now())
			if report.State != scanner.StateComplete || report.Authority != "scanners" || !slices.Equal(ids(report), bothFound) {
				t.Errorf("got state %s (%q) of %q with %q, want complete of scanners with %q", report.State, report.Reasons, report.Authority, ids(report), bothFound)
			}
			if len(evidence.Signatures) > 0 {
				t.Error("the scan counts as a signature of the image")
			}
		})
	}
}

// The database of Java archives is one of SQLite, which a child that may write nowhere has to be able to read.
func TestJavaArchivesNeedTheirDatabase(t *testing.T) {
	s := newShop(t)
	jar, err := trivytest.JarFile("Main")
	s.must(err)
	java := filepath.Join(t.TempDir(), "java")
	s.must(trivytest.JavaDatabase(java, trivytest.Jar{Content: jar, Group: "com.example", Artifact: "app", Version: "1.0.0"}))
	s.must(trivytest.Database(s.database,
		trivytest.Advisory{Source: "debian 12", Package: "openssl", ID: "CVE-2023-5678", Fixed: "3.0.13-1~deb12u1", Severity: "HIGH"},
		trivytest.Advisory{Source: trivytest.MavenSource, Package: "com.example:app", ID: "CVE-2026-0001", Fixed: "1.0.1", Severity: "LOW"},
	))
	image, err := trivytest.Image(append(trivytest.Debian("12.5", trivytest.Package{Name: "libssl3", Version: "3.0.13-1~deb12u1", Source: "openssl"}), trivytest.Entry{Path: "app/app.jar", Content: jar}))
	s.must(err)
	s.push(image, "java")
	code, stdout, stderr := call(t, s.flags("-o", "json", s.repository.String()+":java")...)
	if got := s.reports(stdout); code != exitUndecided || len(got) != 1 || got[0].Report.State != scanner.StateUnscannable {
		t.Errorf("without it: got exit %d, %+v (%s), want %d and unscannable", code, got, stderr, exitUndecided)
	}
	code, stdout, stderr = call(t, s.flags("-o", "json", "--java-database", java, s.repository.String()+":java")...)
	if got := s.reports(stdout); code != exitOK || len(got) != 1 || !slices.Equal(ids(got[0].Report), []string{"CVE-2026-0001 low"}) {
		t.Errorf("with it: got exit %d, %+v (%s), want the archive's vulnerability", code, got, stderr)
	}
}

// A scanner that finds nothing must never start.
func TestADatabaseThatKnowsNothingIsRefused(t *testing.T) {
	s := newShop(t)
	s.must(trivytest.Database(s.database))
	s.push(s.image("3.0.11-1~deb12u2", "4.17.20"), "bad")
	code, stdout, stderr := call(t, s.flags(s.repository.String()+":bad")...)
	if code != exitInternal || stdout != "" || !strings.Contains(stderr, "known-bad image") {
		t.Errorf("got exit %d, %q and %q, want %d and that the self-test failed", code, stdout, stderr, exitInternal)
	}
}

// A mirror without way to the internet holds a copy of the artifact, signed by who copied it.
func TestAMirroredDatabaseMustBeSignedWhereAKeyIsGiven(t *testing.T) {
	s := newShop(t)
	s.push(s.image("3.0.11-1~deb12u2", "4.17.20"), "bad")
	mirror := s.Repository("mirror/trivy-db")
	read := func(name string) trivytest.Entry {
		content, err := os.ReadFile(filepath.Join(s.database, name))
		s.must(err)
		return trivytest.Entry{Path: name, Content: content}
	}
	packed, err := trivytest.Archive(read("trivy.db"), read("metadata.json"))
	s.must(err)
	layer, err := s.client.PushBlob(t.Context(), mirror, gzipped(t, packed))
	s.must(err)
	config, err := s.client.PushBlob(t.Context(), mirror, []byte("{}"))
	s.must(err)
	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": mediaType, "config": map[string]any{"mediaType": "application/vnd.aquasec.trivy.config.v1+json", "digest": config.Digest, "size": config.Size},
		"layers": []any{map[string]any{"mediaType": "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip", "digest": layer.Digest, "size": layer.Size}},
	})
	s.must(err)
	artifact, err := s.client.PushManifest(t.Context(), mirror, "2", mediaType, manifest)
	s.must(err)
	private, public, _ := s.keys(mirror.String())

	flags := s.flags("-o", "json", "--database", mirror.String()+":2", "--database-key", public, s.repository.String()+":bad")
	if code, _, stderr := call(t, flags...); code != exitInternal || !strings.Contains(stderr, "--database-key") {
		t.Fatalf("unsigned: got exit %d and %q, want %d and that nobody signed it", code, stderr, exitInternal)
	}
	content, err := os.ReadFile(private)
	s.must(err)
	key, err := cosign.LoadPrivateKey(content, []byte("correct horse"))
	s.must(err)
	_, err = cosign.Sign(t.Context(), s.client, cosign.Target{Repository: mirror, Digest: artifact.Digest}, key, cosign.SignOptions{})
	s.must(err)
	code, stdout, stderr := call(t, flags...)
	if got := s.reports(stdout); code != exitOK || len(got) != 1 || !slices.Equal(ids(got[0].Report), bothFound) || got[0].Report.Database.Digest != artifact.Digest {
		t.Errorf("signed: got exit %d, %+v (%s), want %q by the database %s", code, got, stderr, bothFound, artifact.Digest)
	}
}
