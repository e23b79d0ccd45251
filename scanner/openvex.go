package scanner

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/openvex/go-vex/pkg/vex"
	"github.com/portcullis-dev/portcullis/signer"
)

// readVEX reads a VEX document of either kind. All its mistakes are reported together.
func readVEX(name string, content []byte) ([]*claim, error) {
	if len(content) > maxDocument {
		return nil, fmt.Errorf("the document has %d bytes where %d are allowed", len(content), maxDocument)
	}
	if strings.TrimSpace(string(content)) == "" {
		return nil, errors.New("the file is empty: write a VEX document, or remove it")
	}
	var kind struct {
		Context  string `json:"@context"`
		Document *struct {
			Version string `json:"csaf_version"`
		} `json:"document"`
	}
	if err := json.Unmarshal(content, &kind); err != nil {
		return nil, fmt.Errorf("the document is no JSON: %w", err)
	}
	switch {
	case kind.Document != nil && kind.Document.Version != "":
		return readCSAF(name, content)
	case isVEXPredicate(kind.Context):
		return readOpenVEX(name, content, false)
	}
	return nil, errors.New("the document is neither OpenVEX (@context) nor CSAF (document.csaf_version)")
}

// readAttestedVEX reads the predicate of a VEX attestation. Its statements count by the time they give, but none may
// be newer than the signature.
func readAttestedVEX(a *signer.Attestation) ([]*claim, error) {
	if len(a.Predicate) > maxDocument {
		return nil, fmt.Errorf("the document has %d bytes where %d are allowed", len(a.Predicate), maxDocument)
	}
	claims, err := readOpenVEX("attestation", a.Predicate, true)
	if err != nil {
		return nil, err
	}
	for _, c := range claims {
		c.Authority = a.Authority
		if signed, err := time.Parse(time.RFC3339, a.Time); err == nil && c.time.After(signed.Add(ClockSkew)) {
			return nil, fmt.Errorf("a statement is of %s, and was signed at %s already", c.Time, a.Time)
		}
	}
	return claims, nil
}

// readOpenVEX reads an OpenVEX 0.2 document (https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md).
func readOpenVEX(source string, content []byte, attested bool) ([]*claim, error) {
	document, err := vex.Parse(content)
	if err != nil {
		return nil, fmt.Errorf("reading OpenVEX: %w", err)
	}
	var claims []*claim
	var mistakes []error
	for i := range document.Statements {
		c, err := openVEXClaim(document, &document.Statements[i], attested)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("statements[%d]: %w", i, err))
			continue
		}
		c.Source, c.Author = source, document.Author
		claims = append(claims, c)
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return claims, nil
}

func openVEXClaim(document *vex.VEX, statement *vex.Statement, attested bool) (*claim, error) {
	if err := statement.Validate(); err != nil {
		return nil, err
	}
	c := &claim{Statement: Statement{Status: string(statement.Status), Justification: string(statement.Justification), Impact: statement.ImpactStatement}}
	if c.Status == statusAffected {
		c.Impact = statement.ActionStatement
	}
	for _, name := range append([]vex.VulnerabilityID{statement.Vulnerability.Name}, statement.Vulnerability.Aliases...) {
		if name != "" {
			c.vulnerabilities = append(c.vulnerabilities, key(string(name)))
		}
	}
	if len(c.vulnerabilities) == 0 {
		return nil, errors.New("it names no vulnerability: write vulnerability.name")
	}
	// A statement without time of its own is of the document's ("Inheritance Flow").
	for _, t := range []*time.Time{statement.LastUpdated, statement.Timestamp, document.LastUpdated, document.Timestamp} {
		if t != nil && !t.IsZero() {
			c.time = *t
			break
		}
	}
	if c.time.IsZero() {
		return nil, errors.New("neither it nor the document has a timestamp, so that nobody can tell which statement is the newest")
	}
	c.Time = c.time.UTC().Format(time.RFC3339)
	for i := range statement.Products {
		p := product{is: openVEXComponent(&statement.Products[i].Component)}
		for j := range statement.Products[i].Subcomponents {
			p.within = append(p.within, openVEXComponent(&statement.Products[i].Subcomponents[j].Component))
		}
		c.products = append(c.products, p)
	}
	if len(c.products) == 0 {
		if !attested {
			return nil, errors.New("it names no product: write products with the purl of an image or a package")
		}
		c.ofSubject = true
	}
	return c, nil
}

func openVEXComponent(c *vex.Component) component {
	var out component
	out.addPURL(c.ID)
	out.addPURL(c.Identifiers[vex.PURL])
	if hash := c.Hashes[vex.SHA256]; len(hash) == 64 {
		out.digests = append(out.digests, strings.ToLower(string(hash)))
	}
	return out
}
