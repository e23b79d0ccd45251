package scanner

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gocsaf/csaf/v3/csaf"
)

// vexProfile is the category of CSAF documents that are VEX (CSAF 2.0, section 4.5).
const vexProfile = "csaf_vex"

// readCSAF reads a CSAF 2.0 document of the VEX profile
// (https://docs.oasis-open.org/csaf/csaf/v2.0/os/csaf-v2.0-os.html).
func readCSAF(source string, content []byte) ([]*claim, error) {
	var advisory csaf.Advisory
	if err := stdjson.Unmarshal(content, &advisory); err != nil {
		if bytes.Contains(content, []byte(`"product_groups"`)) || bytes.Contains(content, []byte(`"group_ids"`)) {
			return nil, errors.New("reading CSAF: the document has groups of products, which are not supported: list the products in product_ids")
		}
		return nil, fmt.Errorf("reading CSAF: %w", err)
	}
	if err := advisory.Validate(); err != nil {
		return nil, fmt.Errorf("reading CSAF: %w", err)
	}
	if category := deref(advisory.Document.Category); category != vexProfile {
		return nil, fmt.Errorf("reading CSAF: the document's category is %q: only %q says what a product is not affected by", category, vexProfile)
	}
	released, err := time.Parse(time.RFC3339, deref(advisory.Document.Tracking.CurrentReleaseDate))
	if err != nil {
		return nil, fmt.Errorf("reading CSAF: document.tracking.current_release_date: %w", err)
	}
	products := csafProducts(advisory.ProductTree)
	var claims []*claim
	var mistakes []error
	for i, vulnerability := range advisory.Vulnerabilities {
		list, err := csafClaims(vulnerability, products)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("vulnerabilities[%d]: %w", i, err))
			continue
		}
		for _, c := range list {
			c.time, c.Time, c.Source = released, released.UTC().Format(time.RFC3339), source
			c.Author = deref(advisory.Document.Publisher.Name)
		}
		claims = append(claims, list...)
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return claims, nil
}

// csafClaims are the statements about one vulnerability, one for each product and status.
func csafClaims(v *csaf.Vulnerability, products map[csaf.ProductID]product) ([]*claim, error) {
	if v == nil {
		return nil, errors.New("it is null")
	}
	var names []string
	if v.CVE != nil {
		names = append(names, key(string(*v.CVE)))
	}
	for _, id := range v.IDs {
		if id != nil && deref(id.Text) != "" {
			names = append(names, key(*id.Text))
		}
	}
	if len(names) == 0 {
		return nil, errors.New("it names no vulnerability: write cve or ids")
	}
	if v.ProductStatus == nil {
		return nil, errors.New("it has no product_status")
	}
	var claims []*claim
	for _, group := range []struct {
		status string
		ids    []*csaf.Products
	}{
		{statusNotAffected, []*csaf.Products{v.ProductStatus.KnownNotAffected}},
		{statusFixed, []*csaf.Products{v.ProductStatus.Fixed, v.ProductStatus.FirstFixed}},
		{statusAffected, []*csaf.Products{v.ProductStatus.KnownAffected, v.ProductStatus.FirstAffected, v.ProductStatus.LastAffected}},
		{statusUnderInvestigation, []*csaf.Products{v.ProductStatus.UnderInvestigation}},
	} {
		for _, id := range flatten(group.ids) {
			c := &claim{Statement: Statement{Status: group.status}, vulnerabilities: names}
			if p, ok := products[id]; ok {
				c.products = []product{p}
			}
			if group.status == statusNotAffected {
				c.Justification, c.Impact = csafReason(v, id)
				if c.Justification == "" && c.Impact == "" {
					// CSAF 2.0, section 4.5: an impact statement is required for known_not_affected.
					return nil, fmt.Errorf("product %q is not affected, and nothing says why: write a flag or a threat of category impact", abbreviate(string(id)))
				}
			}
			claims = append(claims, c)
		}
	}
	return claims, nil
}

// csafReason is why a product is not affected: the label of a flag, and the text of a threat of category impact.
func csafReason(v *csaf.Vulnerability, id csaf.ProductID) (justification, impact string) {
	names := func(ids *csaf.Products) bool { return slices.Contains(flatten([]*csaf.Products{ids}), id) }
	for _, flag := range v.Flags {
		if flag != nil && names(flag.ProductIds) {
			justification = string(deref(flag.Label))
		}
	}
	for _, threat := range v.Threats {
		if threat != nil && deref(threat.Category) == csaf.CSAFThreatCategoryImpact && names(threat.ProductIds) {
			impact = deref(threat.Details)
		}
	}
	return justification, impact
}

// csafProducts are the products of a tree by their identifiers. A relationship makes a product of two: a component in
// another product.
func csafProducts(tree *csaf.ProductTree) map[csaf.ProductID]product {
	products := map[csaf.ProductID]product{}
	if tree == nil {
		return products
	}
	add := func(name *csaf.FullProductName) {
		if name != nil && name.ProductID != nil {
			products[*name.ProductID] = product{is: csafComponent(name.ProductIdentificationHelper)}
		}
	}
	for _, name := range deref(tree.FullProductNames) {
		add(name)
	}
	var walk func(csaf.Branches)
	walk = func(branches csaf.Branches) {
		for _, branch := range branches {
			if branch != nil {
				add(branch.Product)
				walk(branch.Branches)
			}
		}
	}
	walk(tree.Branches)
	for _, r := range deref(tree.RelationShips) {
		if r == nil || r.FullProductName == nil || r.FullProductName.ProductID == nil {
			continue
		}
		whole, part := products[deref(r.RelatesToProductReference)], products[deref(r.ProductReference)]
		// Without a component that can be told, the statement would be about all of the product.
		products[*r.FullProductName.ProductID] = product{is: whole.is, within: []component{part.is}}
	}
	return products
}

func csafComponent(helper *csaf.ProductIdentificationHelper) component {
	var c component
	if helper == nil {
		return c
	}
	c.addPURL(string(deref(helper.PURL)))
	if helper.Hashes != nil {
		for _, hash := range helper.Hashes.FileHashes {
			if hash != nil && deref(hash.Algorithm) == "sha256" {
				c.digests = append(c.digests, strings.ToLower(string(deref(hash.Value))))
			}
		}
	}
	return c
}

func flatten(lists []*csaf.Products) []csaf.ProductID {
	var ids []csaf.ProductID
	for _, list := range lists {
		for _, id := range deref(list) {
			if id != nil {
				ids = append(ids, *id)
			}
		}
	}
	return ids
}

// deref is the zero value for nil.
func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
