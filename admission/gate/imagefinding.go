package gate

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/workload"
)

// ImageDetails is what a finding about an image says in its details, so that reports can
// tell one vulnerability from another. A policy copies the fields from input.images[] and
// input.images[].scan.vulnerabilities[]:
//
//	"details": {
//		"image":         "ghcr.io/acme/app:1",          # input.images[].ref
//		"digest":        "sha256:…",                    # input.images[].resolved
//		"vulnerability": "CVE-2024-1234",               # id
//		"package":       "openssl",
//		"purl":          "pkg:deb/debian/openssl@3.0.1?distro=debian-12",
//		"version":       "3.0.1",
//		"fixed":         "3.0.2",                       # "" when there is no fix
//		"severity":      "critical",                    # the scanner's, not the policy's
//		"score":         98,                            # CVSS base score in tenths
//	}
//
// image alone makes a finding one about an image. The others are left out where they do
// not apply, as for an image without signature. A finding about a file in the image (a
// secret) names it in "file"; one about a licence its package.
type ImageDetails struct {
	Image, Digest                       string
	Vulnerability                       string // "" for findings about no vulnerability
	Package, PURL, Version, Fixed, File string
	Severity                            string // critical, high, medium, low, unknown
	Score                               int    // CVSS base score in tenths; 0 when unknown
}

// maxScore is the highest CVSS base score, in tenths (CVSS 3.1, section 5).
const maxScore = 100

// Image reads the details of a finding about an image; ok is false for other findings.
// Fields of another type than expected count as absent: a policy's author may put
// anything into details.
func (f Finding) Image() (details ImageDetails, ok bool) {
	text := func(key string) string {
		value, _ := f.Details[key].(string)
		return value
	}
	details = ImageDetails{
		Image: text("image"), Digest: text("digest"), Vulnerability: text("vulnerability"), Package: text("package"), PURL: text("purl"),
		Version: text("version"), Fixed: text("fixed"), File: text("file"), Severity: text("severity"), Score: tenths(f.Details["score"]),
	}
	return details, details.Image != ""
}

// tenths is a whole number of tenths of a CVSS score, 0 for what is none.
func tenths(value any) int {
	var score float64
	switch value := value.(type) {
	case json.Number:
		score, _ = value.Float64() // 0 for what is no number
	case float64:
		score = value
	case int64:
		score = float64(value)
	case int:
		score = float64(value)
	}
	if score < 0 || score > maxScore || score != math.Trunc(score) {
		return 0
	}
	return int(score)
}

// Repository is the image's registry and repository, canonical and without tag and
// digest: what stays the same from build to build.
func (d ImageDetails) Repository() string {
	parsed, err := workload.ParseImage(d.Image)
	if err != nil {
		return d.Image
	}
	return parsed.Registry + "/" + parsed.Repository
}

// Subject is the package as it is called in every version of it: the package URL without
// version, qualifiers and subpath (package-url specification, "Rules for each purl
// component"), or the package's name.
func (d ImageDetails) Subject() string {
	if d.PURL == "" {
		return d.Package
	}
	purl, _, _ := strings.Cut(d.PURL, "#")
	purl, _, _ = strings.Cut(purl, "?")
	// An @ of a namespace is written %40, so the last one begins the version.
	if at := strings.LastIndexByte(purl, '@'); at > strings.LastIndexByte(purl, '/') {
		purl = purl[:at]
	}
	return purl
}
