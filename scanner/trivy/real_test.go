//go:build goexperiment.jsonv2

package trivy_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aquasecurity/bolt-fixtures"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/trivy"
	"github.com/portcullis-dev/portcullis/scanner/trivy/trivytest"
)

// shipped is a database of the fixtures in Trivy's module.
func shipped(t testing.TB) trivy.Options {
	t.Helper()
	directory := t.TempDir()
	files, err := filepath.Glob(filepath.Join(module(t, "github.com/aquasecurity/trivy"), "integration/testdata/fixtures/db/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the fixtures of Trivy's module: %v, %d files", err, len(files))
	}
	loader, err := fixtures.New(filepath.Join(directory, "trivy.db"), files)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(loader.Load(), loader.Close(), trivytest.Metadata(directory, trivytest.DefaultUpdated)); err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.Database = directory
	return o
}

func TestImagesOfTheRealWorldAreFlagged(t *testing.T) {
	shipped := shipped(t)
	for what, c := range map[string]struct {
		image     string
		lockFiles bool
		os        scanner.OS
		packages  scanner.Packages
		want      []string
	}{
		"Alpine 3.10.4, which has all that the advisories ask for": {
			image: "alpine-310.tar.gz", os: scanner.OS{Family: "alpine", Name: "3.10.4", EndOfLife: true}, packages: scanner.Packages{OS: 14},
			want: []string{},
		},
		"distroless, where packages are in single files": {
			image: "distroless.tar.gz", os: scanner.OS{Family: "debian", Name: "9.12", EndOfLife: true}, packages: scanner.Packages{OS: 6},
			want: []string{"CVE-2019-1551 libssl1.1 1.1.0l-1~deb9u1", "CVE-2019-1551 openssl 1.1.0l-1~deb9u1"},
		},
		"lock files count only where they are asked for": {
			image: "vuln-image.tar.gz", os: scanner.OS{Family: "debian", Name: "9.9", EndOfLife: true}, packages: scanner.Packages{OS: 6},
			want: []string{"CVE-2019-1551 libssl1.1 1.1.0k-1~deb9u1", "CVE-2019-1551 openssl 1.1.0k-1~deb9u1", "CVE-2019-1563 libssl1.1 1.1.0k-1~deb9u1", "CVE-2019-1563 openssl 1.1.0k-1~deb9u1"},
		},
		"an application's lock files and its base, with whiteouts": {
			image: "vuln-image.tar.gz", lockFiles: true, os: scanner.OS{Family: "debian", Name: "9.9", EndOfLife: true}, packages: scanner.Packages{OS: 6, Language: 68},
			want: []string{"CVE-2019-1551 libssl1.1 1.1.0k-1~deb9u1", "CVE-2019-1551 openssl 1.1.0k-1~deb9u1", "CVE-2019-1563 libssl1.1 1.1.0k-1~deb9u1", "CVE-2019-1563 openssl 1.1.0k-1~deb9u1", "CVE-2020-8165 activesupport 5.2.3", "CVE-2022-24775 guzzlehttp/psr7 1.5.2"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			o := shipped
			o.LockFiles = c.lockFiles
			report := analyse(t, realImage(t, c.image), o).Report
			if report.State != scanner.StateComplete {
				t.Errorf("state: got %s (%q), want complete", report.State, report.Reasons)
			}
			if report.OS != c.os || report.Packages != c.packages {
				t.Errorf("got %+v with %+v, want %+v with %+v", report.OS, report.Packages, c.os, c.packages)
			}
			equal(t, "vulnerabilities", found(report), c.want)
		})
	}
}

func TestAlpineIsFlaggedBySourcePackage(t *testing.T) {
	// CVE-2020-1967 is of openssl up to 1.1.1f; Alpine mended it in 1.1.1g-r0. The image has libcrypto1.1 and libssl1.1.
	o := options(t, trivytest.Advisory{Source: "alpine 3.10", Package: "openssl", ID: "CVE-2020-1967", Fixed: "1.1.1g-r0", Severity: "HIGH", Score: 7.5})
	report := analyse(t, realImage(t, "alpine-310.tar.gz"), o).Report
	equal(t, "vulnerabilities", found(report), []string{"CVE-2020-1967 libcrypto1.1 1.1.1d-r2", "CVE-2020-1967 libssl1.1 1.1.1d-r2"})
}

// skipOffline skips where real packages cannot be fetched.
func skipOffline(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, trivytest.ErrUnavailable) {
		t.Skipf("this test needs real packages: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// openssl are the advisories of Debian's changelog, with their fixed versions.
func openssl(t testing.TB) []trivytest.Advisory {
	t.Helper()
	f, err := os.Open("testdata/openssl.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var advisories []trivytest.Advisory
	for lines := bufio.NewScanner(f); lines.Scan(); {
		id, fixed, ok := strings.Cut(lines.Text(), " ")
		if ok && strings.HasPrefix(id, "CVE-") {
			advisories = append(advisories, trivytest.Advisory{Source: "debian 12", Package: "openssl", ID: id, Fixed: fixed, Severity: "HIGH", Score: 7.5})
		}
	}
	return advisories
}

// earlier asks dpkg whether a version is lower than another.
func earlier(t testing.TB, a, b string) bool {
	t.Helper()
	err := exec.Command("dpkg", "--compare-versions", a, "lt", b).Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		skipOffline(t, errors.Join(err, trivytest.ErrUnavailable))
	}
	return err == nil
}

const oldOpenSSL = "3.0.17-1~deb12u2"

// realOptions have the advisories for all that realDebian holds.
func realOptions(t testing.TB) trivy.Options {
	t.Helper()
	return options(t, append(openssl(t),
		trivytest.Advisory{Source: "debian 12", Package: "zlib", ID: "CVE-2023-45853", Status: 5, Severity: "CRITICAL", Score: 9.8},
		trivytest.Advisory{Source: trivytest.NPMSource, Package: "lodash", ID: "CVE-2021-23337", Fixed: "4.17.21", Severity: "HIGH", Score: 7.2},
		trivytest.Advisory{Source: trivytest.NPMSource, Package: "minimist", ID: "CVE-2021-44906", Fixed: "1.2.6", Severity: "CRITICAL", Score: 9.8},
		trivytest.Advisory{Source: trivytest.GoSource, Package: "golang.org/x/text", ID: "CVE-2021-38561", Fixed: "0.3.7", Severity: "HIGH", Score: 7.5},
	)...)
}

func realDebian(t testing.TB) [][]trivytest.Entry {
	t.Helper()
	system, err := trivytest.DebianPackages(t.Context(), "base-files", "zlib1g", "libssl3="+oldOpenSSL, "openssl="+oldOpenSSL)
	skipOffline(t, err)
	packages, err := trivytest.NPMPackages(t.Context(), "lodash@4.17.20", "minimist@1.2.5")
	skipOffline(t, err)
	program, err := trivytest.GoProgram(t.Context(), "v0.3.6")
	skipOffline(t, err)
	return [][]trivytest.Entry{system, packages, {trivytest.Program("usr/local/bin/app", program)}}
}

func TestPackagesOfDebianNPMAndGoAreFlaggedExactly(t *testing.T) {
	layers := realDebian(t)
	report := analyse(t, image(t, layers...), realOptions(t)).Report
	if report.State != scanner.StateComplete {
		t.Errorf("state: got %s (%q), want complete", report.State, report.Reasons)
	}
	if report.OS.Family != "debian" || !strings.HasPrefix(report.OS.Name, "12") || report.Packages.OS != 4 {
		t.Errorf("got %+v with %+v, want debian 12 with 4 packages", report.OS, report.Packages)
	}
	want := []string{
		"CVE-2021-23337 lodash 4.17.20", "CVE-2021-38561 golang.org/x/text v0.3.6", "CVE-2021-44906 minimist 1.2.5",
		"CVE-2023-45853 zlib1g 1:1.2.13.dfsg-1",
	}
	for _, a := range openssl(t) {
		if earlier(t, oldOpenSSL, a.Fixed) {
			want = append(want, a.ID+" libssl3 "+oldOpenSSL, a.ID+" openssl "+oldOpenSSL)
		}
	}
	slices.Sort(want)
	got := found(report)
	slices.Sort(got)
	equal(t, "vulnerabilities", got, want)
	if len(want) != 4+2*37 {
		t.Errorf("of the 84 advisories dpkg counts %d as open, want 37 for each of both packages", (len(want)-4)/2)
	}
	details := map[string]scanner.Vulnerability{}
	for _, v := range report.Vulnerabilities {
		details[v.ID] = v
	}
	for id, want := range map[string]scanner.Vulnerability{
		"CVE-2023-45853": {
			ID: "CVE-2023-45853", Package: "zlib1g", Version: "1:1.2.13.dfsg-1", Status: "will_not_fix", Severity: "critical", Score: 98, Class: "os",
			PURL: "pkg:deb/debian/zlib1g@1.2.13.dfsg-1?arch=amd64&distro=debian-" + report.OS.Name + "&epoch=1", Link: "https://avd.aquasec.com/nvd/cve-2023-45853",
		},
		"CVE-2021-38561": {
			ID: "CVE-2021-38561", Package: "golang.org/x/text", Version: "v0.3.6", Fixed: "0.3.7", Status: "fixed", Severity: "high", Score: 75, Class: "language",
			Path: "/usr/local/bin/app", PURL: "pkg:golang/golang.org/x/text@v0.3.6", Link: "https://avd.aquasec.com/nvd/cve-2021-38561",
		},
	} {
		if details[id] != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", id, details[id], want)
		}
	}
}
