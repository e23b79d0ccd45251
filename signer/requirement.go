package signer

import "fmt"

func (c *compiler) compileRequirements() {
	if c.tooMany("requirements", len(c.trust.Requirements), maxRequirements) {
		return
	}
	names := map[string]bool{}
	for i := range c.trust.Requirements {
		requirement := &c.trust.Requirements[i]
		place := placeOf("requirements", i, requirement.Name)
		c.checkName(place, requirement.Name)
		if names[requirement.Name] && requirement.Name != "" {
			c.problem(place, "the name is taken by another requirement: choose another")
		}
		names[requirement.Name] = true
		images := c.compileImages(place, requirement.Images)
		c.requirements = append(c.requirements, checkedRequirement{images: images, required: c.flatten(place, requirement)})
		c.checkReach(place, images, c.requirements[i].required.Authorities)
	}
}

// checkReach refuses authorities that may sign none of the images of a requirement, which could
// never be met by them.
func (c *compiler) checkReach(place string, images []pattern, authorities []RequiredAuthority) {
	for _, required := range authorities {
		authority := c.names[required.Name]
		if authority == nil || len(images) == 0 || len(authority.images) == 0 {
			continue
		}
		if !c.anyMeet(images, authority.images) {
			c.problem(place, "authority %q may sign none of these images: correct the images of either", shorten(required.Name))
		}
	}
}

// anyMeet says whether there is an image of both. It says so, too, of what would take too long to
// compare: nothing is trusted for it.
func (c *compiler) anyMeet(a, b []pattern) bool {
	for i := range a {
		for j := range b {
			if text, known := intersect(a[i].expression(), b[j].expression(), &c.imageSteps); text != "" || !known {
				return true
			}
		}
	}
	return false
}

// flatten makes of anyOf, allOf and atLeast what they all are: so many of these.
func (c *compiler) flatten(place string, requirement *Requirement) Required {
	field, of, count := "", []string(nil), 0
	forms := 0
	if requirement.AnyOf != nil {
		field, of, count, forms = "anyOf", requirement.AnyOf, 1, forms+1
	}
	if requirement.AllOf != nil {
		field, of, count, forms = "allOf", requirement.AllOf, len(requirement.AllOf), forms+1
	}
	if requirement.AtLeast != nil {
		field, of, count, forms = "atLeast.of", requirement.AtLeast.Of, requirement.AtLeast.Count, forms+1
	}
	if forms != 1 {
		c.problem(place, "it has %d of anyOf, allOf and atLeast: write exactly one", forms)
		return Required{}
	}
	place += ": " + field
	if len(of) == 0 {
		c.problem(place, "it names no authority: name some")
		return Required{}
	}
	if count < 1 || count > len(of) {
		c.problem(place, "count is %d of %d authorities: write 1 to %d", count, len(of), len(of))
	}
	c.checkNames(place, of)
	if count > 1 {
		c.checkDistinct(place, of)
	}
	return Required{Name: requirement.Name, Count: int64(count), Authorities: c.required(of)}
}

// required is what policies read of the authorities of a requirement.
func (c *compiler) required(of []string) []RequiredAuthority {
	authorities := make([]RequiredAuthority, 0, len(of))
	for _, name := range of {
		one := RequiredAuthority{Name: name, Attestations: []RequiredAttestation{}}
		if authority := c.names[name]; authority != nil {
			for _, attestation := range authority.Attestations {
				age, _ := parseAge(attestation.MaxAge) // checked with the authority
				one.Attestations = append(one.Attestations, RequiredAttestation{PredicateType: attestation.PredicateType, MaxAge: age})
			}
		}
		authorities = append(authorities, one)
	}
	return authorities
}

// checkNames wants each name once, and to be an authority's.
func (c *compiler) checkNames(place string, names []string) map[string]bool {
	seen := map[string]bool{}
	for i, name := range names {
		at := fmt.Sprintf("%s[%d]", place, i)
		if seen[name] {
			c.problem(at, "%q is listed twice, which counts once: remove one", shorten(name))
		} else if c.names[name] == nil {
			c.problem(at, "there is no authority %q: correct the name, or add the authority", shorten(name))
		}
		seen[name] = true
	}
	return seen
}

// checkDistinct refuses authorities of which one signer would be two: of N of M the
// N must be different keys, or different people.
func (c *compiler) checkDistinct(place string, of []string) {
	for i, name := range of {
		for _, other := range of[:i] {
			a, b := c.names[other], c.names[name]
			if a == nil || b == nil || a == b {
				continue
			}
			shared, known := sharedBy(a, b, &c.steps)
			if !known {
				c.problem(place, "the expressions of %q and %q are too large to be compared: write shorter ones, or exact identities", shorten(other), shorten(name))
				return
			}
			if shared != "" {
				c.problem(place, "%q and %q both accept %s, so that one signature would count for two: give each its own", shorten(other), shorten(name), shared)
			}
		}
	}
}

// checkUse refuses what is written and would never be looked at.
func (c *compiler) checkUse() {
	required := map[string]bool{}
	for i := range c.requirements {
		for _, authority := range c.requirements[i].required.Authorities {
			required[authority.Name] = true
		}
	}
	for i, authority := range c.authorities {
		if required[authority.Name] {
			continue
		}
		place := placeOf("authorities", i, authority.Name)
		if len(authority.Attestations) > 0 {
			c.problem(place+": attestations", "no requirement names this authority, so that nothing would demand them: add a requirement, or remove them")
		}
		if len(authority.Annotations) > 0 && (c.scanners[authority.Name] || c.vex[authority.Name]) {
			c.problem(place+": annotations", "this authority is believed for its attestations, which have no annotations: remove them, or add a requirement of its signature")
		}
	}
}
