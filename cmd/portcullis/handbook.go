package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/conftest"
	"github.com/portcullis-dev/portcullis/policies/gatekeeper"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"sigs.k8s.io/yaml"
)

// Bounds of what a handbook shows of samples: it is read by people.
const (
	maxSamples    = 2       // of each kind
	maxSampleSize = 4 << 10 // bytes
)

// handbook is what a bundle asks of whom.
type handbook struct {
	Name, Revision, Digest string
	Serial                 int64
	Profiles               []handbookProfile
	// Policies are those that some profile configures, sorted; Spare is how many others the bundle has.
	Policies   []handbookPolicy
	Spare      int
	Foreign    []string // policies for other tools
	Exceptions []handbookException
	// Grants says which exceptions of the cluster are taken, "" for none.
	Grants string
}

// handbookProfile is a profile with where it applies.
type handbookProfile struct {
	Name, Description string
	Extends           string
	Namespaces        []string // globs
	Default           bool
	Rows              []handbookRow
}

// handbookRow is a policy as a profile configures it.
type handbookRow struct {
	ID, Instance, Title, Severity string
	Enforcement, Ramp             string
}

// handbookPolicy is a policy with all there is to know.
type handbookPolicy struct {
	ID, Title, Severity    string
	Description            string
	Matches, Remediation   string
	FixReason              string
	Effects                string
	Doors, Reads, Controls []string
	Links                  []string
	Parameters             []handbookParameter
	Uses                   []handbookUse
	Samples                []handbookSample
	Exceptions             []handbookException
}

// handbookParameter is a parameter as the policy declares it.
type handbookParameter struct{ Name, Type, Default, Description string }

// handbookUse is how some profiles configure a policy.
type handbookUse struct {
	Profiles                          []string
	Instance, Enforcement, Ramp, Fail string
	Match, Parameters                 string // YAML
}

// handbookSample is a manifest that the policy must allow, or object to, or patch.
type handbookSample struct{ Kind, Name, Content string }

// handbookException is an exception with how much longer it waives.
type handbookException struct {
	Name, Policy, Reason, Owner, Expires, Selector string
	Expired                                        bool
	// Soon says that it expires within 30 days.
	Soon bool
}

// soon is when an exception is about to expire.
const soon = 30 * 24 * time.Hour

func newHandbook(r *revision.Revision, now time.Time) (*handbook, error) {
	bundle := r.Bundle
	book := &handbook{
		Name: bundle.Manifest.Name, Serial: bundle.Manifest.Serial, Revision: r.Ready.Revision, Digest: r.Digest,
		Exceptions: exceptionsOf(bundle, "", now), Grants: grantsOf(bundle.Manifest.ExceptionsFrom), Foreign: foreignOf(r),
	}
	uses := map[string][]handbookUse{}
	for _, name := range bundle.Profiles() {
		book.Profiles = append(book.Profiles, profileOf(bundle, name, uses))
	}
	for _, id := range slices.Sorted(maps.Keys(bundle.Policies)) {
		if uses[id] == nil {
			book.Spare++
			continue
		}
		described, err := describePolicy(r, bundle.Policies[id])
		if err != nil {
			return nil, err
		}
		described.Uses, described.Exceptions = uses[id], exceptionsOf(bundle, id, now)
		book.Policies = append(book.Policies, described)
	}
	return book, nil
}

// profileOf is a profile. It adds to the uses of the policies.
func profileOf(bundle *policies.Bundle, name string, uses map[string][]handbookUse) handbookProfile {
	profile := handbookProfile{Name: name, Default: name == bundle.Manifest.DefaultProfile || len(bundle.Manifest.Profiles) == 0}
	for _, declared := range bundle.Manifest.Profiles {
		if declared.Name == name {
			profile.Description, profile.Extends = declared.Description, declared.Extends
		}
	}
	for _, assignment := range bundle.Manifest.Namespaces {
		if assignment.Profile == name {
			profile.Namespaces = append(profile.Namespaces, assignment.Match...)
		}
	}
	for _, instance := range bundle.Configured(name) {
		policy := bundle.Policies[instance.Policy]
		if policy == nil {
			continue
		}
		row := handbookRow{ID: policy.ID, Title: policy.Title, Severity: policy.Severity, Enforcement: enforcementText(policy, &instance), Ramp: rampText(instance.Ramp)}
		if instance.Name != policy.ID {
			row.Instance = instance.Name
		}
		profile.Rows = append(profile.Rows, row)
		use := handbookUse{
			Profiles: []string{name}, Instance: row.Instance, Enforcement: row.Enforcement, Ramp: row.Ramp,
			Match: yamlText(instance.Match), Parameters: yamlText(instance.Parameters),
		}
		if instance.FailMode != policies.FailClosed {
			use.Fail = instance.FailMode.String()
		}
		uses[policy.ID] = addUse(uses[policy.ID], use)
	}
	return profile
}

// addUse puts profiles together that configure a policy alike.
func addUse(uses []handbookUse, use handbookUse) []handbookUse {
	for n := range uses {
		other := uses[n]
		other.Profiles = use.Profiles
		if other.Instance == use.Instance && other.Enforcement == use.Enforcement && other.Ramp == use.Ramp && other.Fail == use.Fail && other.Match == use.Match && other.Parameters == use.Parameters {
			uses[n].Profiles = append(uses[n].Profiles, use.Profiles...)
			return uses
		}
	}
	return append(uses, use)
}

// enforcementText says what a policy does to what it objects to. One that only patches refuses nothing.
func enforcementText(policy *policies.Policy, instance *policies.Instance) string {
	if slices.Equal(policy.Effects, []policies.Effect{policies.EffectPatch}) && instance.Enforcement == policies.EnforceDeny {
		return "patch"
	}
	return instance.Enforcement.String()
}

func rampText(ramp *policies.Ramp) string {
	if ramp == nil {
		return ""
	}
	var parts []string
	if ramp.AuditUntil != "" {
		parts = append(parts, "only recorded until "+ramp.AuditUntil)
	}
	if ramp.WarnUntil != "" {
		parts = append(parts, "warns until "+ramp.WarnUntil)
	}
	return strings.Join(parts, ", ")
}

// yamlText is a value as YAML, "" for none.
func yamlText[V any](value V) string {
	text, err := yaml.Marshal(value)
	if err != nil || string(text) == "null\n" || string(text) == "{}\n" {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// describePolicy is what a policy says of itself.
func describePolicy(r *revision.Revision, policy *policies.Policy) (handbookPolicy, error) {
	described := handbookPolicy{
		ID: policy.ID, Title: policy.Title, Severity: policy.Severity, Description: policy.Description,
		Matches: matchText(policy.Subject), Remediation: policy.Remediation, FixReason: policy.FixReason,
		Controls: controlsOf(policy.Controls), Links: policy.Related,
	}
	var effects []string
	for _, effect := range policy.Effects {
		effects = append(effects, string(effect))
	}
	described.Effects = strings.Join(effects, ", ")
	for _, door := range policy.Doors {
		described.Doors = append(described.Doors, string(door))
	}
	for _, read := range policy.Reads {
		described.Reads = append(described.Reads, strings.TrimSuffix(read.Resource+"."+read.Group, ".")+" of the "+read.Scope)
	}
	for _, name := range slices.Sorted(maps.Keys(properties(policy.Parameters))) {
		described.Parameters = append(described.Parameters, parameterOf(name, properties(policy.Parameters)[name]))
	}
	var err error
	described.Samples, err = samplesOf(r.Files(), policy)
	return described, err
}

func parameterOf(name string, schema any) handbookParameter {
	described, _ := schema.(map[string]any)
	parameter := handbookParameter{Name: name, Default: "required"}
	parameter.Type, _ = described["type"].(string)
	parameter.Description, _ = described["description"].(string)
	if value, ok := described["default"]; ok {
		parameter.Default = jsonText(value)
	}
	return parameter
}

// samplesOf are the first samples of a policy, where its bundle has them: the built-in library has them in its repository.
func samplesOf(files fs.FS, policy *policies.Policy) ([]handbookSample, error) {
	var samples []handbookSample
	for _, kind := range []string{"allow", "deny", "patch"} {
		found, err := fs.Glob(files, path.Join(path.Dir(policy.File), "testdata", kind, "*.yaml"))
		if err != nil {
			return nil, fmt.Errorf("reading the samples of %s: %w", policy.ID, err)
		}
		taken := 0
		for _, file := range found {
			info, err := fs.Stat(files, file)
			if err != nil || info.Size() > maxSampleSize || strings.HasSuffix(file, ".patched.yaml") || taken == maxSamples {
				continue
			}
			content, err := fs.ReadFile(files, file)
			if err != nil {
				return nil, fmt.Errorf("reading the samples of %s: %w", policy.ID, err)
			}
			taken++
			samples = append(samples, handbookSample{Kind: kind, Name: strings.TrimSuffix(path.Base(file), ".yaml"), Content: strings.TrimSpace(string(content))})
		}
	}
	return samples, nil
}

// exceptionsOf are those of one policy, or all for "", the first to expire first.
func exceptionsOf(bundle *policies.Bundle, policy string, now time.Time) []handbookException {
	var all []handbookException
	for _, e := range bundle.Exceptions {
		if policy != "" && e.Policy != policy {
			continue
		}
		expires := e.ExpiresAt()
		all = append(all, handbookException{
			Name: e.Name, Policy: e.Policy, Reason: e.Reason, Owner: e.Owner, Expires: e.Expires, Selector: yamlText(e.Selector),
			Expired: !now.Before(expires), Soon: now.Before(expires) && expires.Sub(now) < soon,
		})
	}
	slices.SortStableFunc(all, func(a, b handbookException) int { return cmp.Compare(a.Expires, b.Expires) })
	return all
}

// grantsOf says which exceptions of a cluster are taken.
func grantsOf(rules *policies.ExceptionRules) string {
	if rules == nil {
		return ""
	}
	var parts []string
	if len(rules.Namespaces) > 0 {
		parts = append(parts, "the namespaces "+strings.Join(rules.Namespaces, ", ")+" may grant exceptions for what is in themselves")
	}
	if len(rules.Central) > 0 {
		parts = append(parts, "the namespaces "+strings.Join(rules.Central, ", ")+" may grant exceptions for anything")
	}
	if len(rules.Policies) > 0 {
		parts = append(parts, "from "+strings.Join(rules.Policies, ", "))
	}
	parts = append(parts, "for "+rules.MaxDuration+" at most")
	if rules.NotForCreator {
		parts = append(parts, "and never for what whoever created one does")
	}
	return strings.Join(parts, ", ")
}

// foreignOf are the names of policies for other tools.
func foreignOf(r *revision.Revision) []string {
	var names []string
	for _, judge := range r.Judges {
		switch judge := judge.(type) {
		case *gatekeeper.Engine:
			names = append(names, judge.Policies()...)
		case *conftest.Engine:
			names = append(names, judge.Rules()...)
		}
	}
	return names
}
