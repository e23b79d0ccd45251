package gate

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// lineup are the bundles that judge.
func (g *Gate) lineup() *admission.Lineup {
	if g.Lineup != nil {
		return g.Lineup
	}
	return admission.Solo(g.Engine)
}

// onlyImages is a lineup that judges images without a manifest. Policies written for other tools know nothing of
// evidence about images.
func onlyImages(lineup *admission.Lineup) *admission.Lineup {
	return lineup.Select(func(judge admission.Judge) admission.Judge {
		if engine, ok := judge.(*policies.Engine); ok {
			return engine.OnlyImages()
		}
		return nil
	})
}

// Documented is a judge that documents its policies.
type Documented interface {
	// Rules are its policies.
	Rules() []Rule
}

// describe is the head of the report.
func (g *Gate) describe() Run {
	lineup := g.lineup()
	run := Run{
		Version: g.Version, Bundle: lineup.String(), Profile: orElse(g.Profile, "by namespace"),
		Baseline: g.Baseline.String(), Started: g.Now(),
	}
	run.BundleName, run.BundleDigest = identity(lineup)
	if g.Cluster != nil {
		run.Context = g.Cluster.String()
	}
	for n := range lineup.Members {
		ready := &lineup.Members[n].Active
		for _, rule := range rulesOf(ready) {
			if len(lineup.Members) > 1 {
				rule.ID = Qualified(ready.Bundle, rule.ID)
			}
			run.Rules = append(run.Rules, rule)
		}
	}
	slices.SortFunc(run.Rules, func(a, b Rule) int { return cmp.Compare(a.ID, b.ID) })
	return run
}

// identity is the name and the digest of the bundle that judges. Several together have the digest of theirs.
func identity(lineup *admission.Lineup) (name, digest string) {
	if len(lineup.Members) == 1 {
		return lineup.Members[0].Active.Bundle, lineup.Members[0].Active.Digest
	}
	var names []string
	hash := sha256.New()
	for n := range lineup.Members {
		names = append(names, lineup.Members[n].Active.Bundle)
		hash.Write([]byte(lineup.Members[n].Active.Digest + "\n"))
	}
	return strings.Join(names, ", "), "sha256:" + hex.EncodeToString(hash.Sum(nil))
}

// rulesOf are the policies of a revision.
func rulesOf(ready *admission.Ready) []Rule {
	var rules []Rule
	for _, judge := range ready.Judges {
		switch judge := judge.(type) {
		case *policies.Engine:
			for id, policy := range judge.Bundle().Policies {
				rules = append(rules, Rule{
					ID: id, Title: policy.Title, Description: policy.Description, Severity: policy.Severity,
					Remediation: policy.Remediation, Links: policy.Related, Controls: policy.Controls,
				})
			}
		case Documented:
			rules = append(rules, judge.Rules()...)
		}
	}
	return rules
}

// Qualified is the name of a policy among those of several bundles, which may have policies of one name; bundle is "" where
// one bundle judges alone.
func Qualified(bundle, policy string) string {
	if bundle == "" || policy == "" {
		return policy
	}
	return bundle + ":" + policy
}
