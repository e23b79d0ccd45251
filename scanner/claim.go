package scanner

import (
	"slices"
	"strings"
	"time"

	"github.com/package-url/packageurl-go"
	"github.com/portcullis-dev/portcullis/admission/workload"
)

// The statuses of VEX statements (OpenVEX 0.2.0, "Status Labels").
const (
	statusNotAffected        = "not_affected"
	statusAffected           = "affected"
	statusFixed              = "fixed"
	statusUnderInvestigation = "under_investigation"
)

// claim is a VEX statement in a form common to OpenVEX and CSAF.
type claim struct {
	Statement
	time time.Time
	// vulnerabilities are all names of the one it is about, as [key] writes them.
	vulnerabilities []string
	// products are what it is about. Any of them will do.
	products []product
	// ofSubject is a statement without products in an attestation: it is about the image that was attested.
	ofSubject bool
}

// product is something that a statement is about: an image, a package, or packages within an image.
type product struct {
	is component
	// within are the parts of it that are meant; all of it where there are none.
	within []component
}

// component identifies one thing by one or several of its names. A name that this package cannot compare (CPE,
// a text) identifies nothing.
type component struct {
	purls []packageurl.PackageURL
	// digests are SHA-256 hashes in hex: of an image's manifest.
	digests []string
}

// subject is the image that a report is about.
type subject struct {
	image  workload.Image
	digest string
}

// about says whether the statement speaks of a vulnerability in an image. In doubt it does not: a statement about
// another product must never hide anything.
func (c *claim) about(v *Vulnerability, s *subject) bool {
	if c.ofSubject {
		return true
	}
	found, err := packageurl.FromString(v.PURL)
	known := err == nil
	for i := range c.products {
		p := &c.products[i]
		switch {
		case p.is.image(s):
			if len(p.within) == 0 || known && slices.ContainsFunc(p.within, func(part component) bool { return part.pkg(&found) }) {
				return true
			}
		case len(p.within) == 0 && known && p.is.pkg(&found):
			return true
		}
	}
	return false
}

// supersedes says whether the statement counts instead of another. Of two of the same time the one that admits
// more does: affected, under_investigation, fixed, not_affected.
func (c *claim) supersedes(other *claim) bool {
	if !c.time.Equal(other.time) {
		return c.time.After(other.time)
	}
	return admission(c.Status) < admission(other.Status)
}

func admission(status string) int {
	return slices.Index([]string{statusAffected, statusUnderInvestigation, statusFixed, statusNotAffected}, status)
}

// image says whether the component is the image, which needs its digest or its whole repository: a name
// alone is that of any number of images.
func (c *component) image(s *subject) bool {
	if algorithm, hash, _ := strings.Cut(s.digest, ":"); algorithm == "sha256" && slices.Contains(c.digests, hash) {
		return true
	}
	return slices.ContainsFunc(c.purls, func(p packageurl.PackageURL) bool {
		return (p.Type == packageurl.TypeOCI || p.Type == packageurl.TypeDocker) && imageMatches(&p, s)
	})
}

// imageMatches compares a purl of type oci (https://github.com/package-url/purl-spec, types-doc/oci-definition) or docker.
func imageMatches(p *packageurl.PackageURL, s *subject) bool {
	qualifiers := p.Qualifiers.Map()
	name := s.image.Repository[strings.LastIndexByte(s.image.Repository, '/')+1:]
	if p.Name != name || p.Subpath != "" {
		return false
	}
	version := p.Version
	if p.Type == packageurl.TypeDocker && !strings.HasPrefix(version, "sha256:") && version != "" {
		qualifiers["tag"], version = version, "" // pkg:docker/acme/app@1.2
	}
	byDigest := version != "" && version == s.digest
	repository := s.image.Registry + "/" + s.image.Repository
	byRepository := false
	for key, value := range qualifiers {
		switch key {
		case "repository_url":
			// The specification means the whole repository; several tools leave the name out.
			value = strings.TrimPrefix(strings.TrimPrefix(value, "https://"), "oci://")
			full := value == repository || value+"/"+name == repository || p.Namespace != "" && value+"/"+p.Namespace+"/"+name == repository
			if !full {
				return false
			}
			byRepository = true
		case "tag":
			// Where the image is named by digest, nothing looks at the tag beside it: whoever writes the pod chooses it.
			if !byDigest && (s.image.Digest != "" || value != s.image.Tag) {
				return false
			}
		case "arch", "os", "variant":
			// One platform of an index: its digest alone tells whether it is the one that was scanned.
			if !byDigest {
				return false
			}
		default:
			return false // it says something that this code does not understand
		}
	}
	if version != "" {
		return byDigest
	}
	return byRepository
}

// pkg says whether the component is a package. What the component leaves open (version, qualifiers)
// stands for all.
func (c *component) pkg(found *packageurl.PackageURL) bool {
	return slices.ContainsFunc(c.purls, func(p packageurl.PackageURL) bool {
		if p.Type != found.Type || p.Namespace != found.Namespace || p.Name != found.Name ||
			p.Version != "" && p.Version != found.Version || p.Subpath != "" && p.Subpath != found.Subpath {
			return false
		}
		qualifiers := found.Qualifiers.Map()
		for _, q := range p.Qualifiers {
			if qualifiers[q.Key] != q.Value {
				return false
			}
		}
		return true
	})
}

// addPURL takes over a purl; other texts identify nothing.
func (c *component) addPURL(text string) {
	if !strings.HasPrefix(text, "pkg:") {
		return
	}
	if p, err := packageurl.FromString(text); err == nil {
		c.purls = append(c.purls, p)
	}
}
