package revision

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/portcullis-dev/portcullis/policies"
)

// Change says what became of something between two revisions.
type Change string

// The changes.
const (
	Added   Change = "added"
	Removed Change = "removed"
	Changed Change = "changed"
)

// Direction says whether a change can only refuse more, or only less.
type Direction string

// The directions. The zero value is either or neither.
const (
	Stricter Direction = "stricter"
	Looser   Direction = "looser"
)

// Difference is how two revisions of a bundle differ.
type Difference struct {
	Before Side `json:"before"`
	After  Side `json:"after"`
	// Policies are those that are defined, whether they are configured or not; Instances those that are configured.
	Policies   []Entry         `json:"policies"`
	Instances  []InstanceEntry `json:"instances"`
	Exceptions []Entry         `json:"exceptions"`
	// Settings are the other fields of bundle.yaml, trust among them, field by field.
	Settings []Field `json:"settings"`
	// Shared is Rego that policies share, Files all others that can matter: data, VEX, policies for other tools.
	Shared []Entry `json:"shared"`
	Files  []Entry `json:"files"`
}

// Side is one of the two.
type Side struct {
	Name   string `json:"name"`
	Serial int64  `json:"serial"`
	Digest string `json:"digest"`
}

// Entry is a policy, an exception or a file that is not as it was.
type Entry struct {
	Name      string    `json:"name"`
	Title     string    `json:"title,omitempty"`
	Change    Change    `json:"change"`
	Direction Direction `json:"direction,omitempty"`
	Fields    []Field   `json:"fields,omitempty"`
}

// InstanceEntry is a configured policy that is not as it was, in the same way in some profiles.
type InstanceEntry struct {
	Profiles []string `json:"profiles"`
	Policy   string   `json:"policy"`
	Entry
}

// Field is a value that is not as it was: JSON, "" where there was or is none.
type Field struct {
	Field  string          `json:"field"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// Empty says whether the two judge alike and say the same: names, serials and digests aside.
func (d *Difference) Empty() bool {
	return len(d.Policies)+len(d.Instances)+len(d.Exceptions)+len(d.Settings)+len(d.Shared)+len(d.Files) == 0
}

// Diff compares two revisions.
func Diff(before, after *Revision) (*Difference, error) {
	d := &Difference{
		Before: sideOf(before), After: sideOf(after),
		Policies: []Entry{}, Instances: []InstanceEntry{}, Exceptions: []Entry{}, Settings: []Field{}, Shared: []Entry{}, Files: []Entry{},
	}
	d.Policies = append(d.Policies, diffPolicies(before.Bundle, after.Bundle)...)
	d.Instances = append(d.Instances, diffInstances(before.Bundle, after.Bundle)...)
	d.Exceptions = append(d.Exceptions, diffExceptions(before.Bundle, after.Bundle)...)
	d.Settings = append(d.Settings, diffSettings(before.Bundle, after.Bundle)...)
	d.Shared = append(d.Shared, diffShared(before.Bundle, after.Bundle)...)
	files, err := diffFiles(before, after)
	d.Files = append(d.Files, files...)
	return d, err
}

func sideOf(r *Revision) Side {
	return Side{Name: r.Bundle.Manifest.Name, Serial: r.Bundle.Manifest.Serial, Digest: r.Digest}
}

// both walks the keys of two maps in order.
func both[V any](before, after map[string]V, visit func(key string, b, a V, inBefore, inAfter bool)) {
	keys := map[string]bool{}
	for key := range before {
		keys[key] = true
	}
	for key := range after {
		keys[key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		b, inBefore := before[key]
		a, inAfter := after[key]
		visit(key, b, a, inBefore, inAfter)
	}
}

// diffPolicies compares what is defined.
func diffPolicies(before, after *policies.Bundle) []Entry {
	var entries []Entry
	rules := func(b *policies.Bundle) map[string]*ast.Module {
		all := b.IncludedModules()
		maps.Copy(all, b.OwnModules())
		return all
	}
	oldRules, newRules := rules(before), rules(after)
	both(before.Policies, after.Policies, func(id string, b, a *policies.Policy, inBefore, inAfter bool) {
		switch {
		case !inBefore:
			entries = append(entries, Entry{Name: id, Title: a.Title, Change: Added})
		case !inAfter:
			entries = append(entries, Entry{Name: id, Title: b.Title, Change: Removed})
		default:
			fields := diffValues("", b.Metadata, a.Metadata)
			if was, is := rulesText(oldRules[b.File]), rulesText(newRules[a.File]); was != is {
				fields = append(fields, Field{Field: "rules", Before: text(was), After: text(is)})
			}
			if len(fields) > 0 {
				entries = append(entries, Entry{Name: id, Title: a.Title, Change: Changed, Fields: fields})
			}
		}
	})
	return entries
}

// rulesText is what a module says, without comments and however it is laid out.
func rulesText(module *ast.Module) string {
	if module == nil {
		return ""
	}
	var b strings.Builder
	for _, imported := range module.Imports {
		fmt.Fprintln(&b, imported)
	}
	for _, rule := range module.Rules {
		fmt.Fprintln(&b, rule)
	}
	return b.String()
}

// diffInstances compares what is configured. The same change in several profiles is one entry.
func diffInstances(before, after *policies.Bundle) []InstanceEntry {
	var entries []InstanceEntry
	for _, profile := range profilesOf(before, after) {
		both(instancesOf(before, profile), instancesOf(after, profile), func(name string, b, a policies.Instance, inBefore, inAfter bool) {
			entry := InstanceEntry{Profiles: []string{profile}, Policy: cmp.Or(a.Policy, b.Policy), Entry: Entry{Name: name}}
			switch {
			case !inBefore:
				entry.Change, entry.Fields = Added, diffValues("", nil, describe(&a))
				entry.Direction = whenAdded(after, &a, Stricter)
			case !inAfter:
				entry.Change, entry.Fields = Removed, diffValues("", describe(&b), nil)
				entry.Direction = whenAdded(before, &b, Looser)
			default:
				entry.Change, entry.Fields = Changed, diffValues("", describe(&b), describe(&a))
				entry.Direction = directionOf(entry.Fields, &b, &a)
			}
			if len(entry.Fields) > 0 {
				entries = append(entries, entry)
			}
		})
	}
	return grouped(entries)
}

func profilesOf(bundles ...*policies.Bundle) []string {
	var names []string
	for _, b := range bundles {
		names = append(names, b.Profiles()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func instancesOf(b *policies.Bundle, profile string) map[string]policies.Instance {
	all := map[string]policies.Instance{}
	for _, instance := range b.Configured(profile) {
		all[instance.Name] = instance
	}
	return all
}

// describe is an instance as it is written; its name is that of the entry.
func describe(i *policies.Instance) map[string]any {
	described := map[string]any{"policy": i.Policy, "enforcement": i.Enforcement.String()}
	if i.FailMode != policies.FailClosed {
		described["failMode"] = i.FailMode
	}
	if i.Ramp != nil {
		described["ramp"] = i.Ramp
	}
	if i.Match != nil {
		described["match"] = i.Match
	}
	if len(i.Parameters) > 0 {
		described["parameters"] = i.Parameters
	}
	return described
}

// whenAdded is the direction of a policy that comes or goes: one that patches makes objects pass that would not.
func whenAdded(b *policies.Bundle, i *policies.Instance, direction Direction) Direction {
	policy := b.Policies[i.Policy]
	if i.Enforcement != policies.EnforceDeny || policy == nil || slices.Contains(policy.Effects, policies.EffectPatch) {
		return ""
	}
	return direction
}

// directionOf is that of a change which nothing but the enforcement, by itself and by date, and the fail mode are part of.
func directionOf(fields []Field, before, after *policies.Instance) Direction {
	for _, field := range fields {
		if field.Field != "enforcement" && field.Field != "failMode" && field.Field != "ramp" && !strings.HasPrefix(field.Field, "ramp.") {
			return ""
		}
	}
	var stricter, looser bool
	note := func(order int) { stricter, looser = stricter || order < 0, looser || order > 0 }
	note(cmp.Compare(after.Enforcement, before.Enforcement))
	note(cmp.Compare(after.FailMode, before.FailMode))
	switch {
	case before.Ramp == nil && after.Ramp != nil:
		note(1)
	case before.Ramp != nil && after.Ramp == nil:
		note(-1)
	case before.Ramp != nil:
		note(cmp.Compare(after.Ramp.AuditUntil, before.Ramp.AuditUntil))
		note(cmp.Compare(after.Ramp.WarnUntil, before.Ramp.WarnUntil))
	}
	switch {
	case stricter && !looser:
		return Stricter
	case looser && !stricter:
		return Looser
	}
	return ""
}

// grouped puts entries together that differ by their profile only.
func grouped(entries []InstanceEntry) []InstanceEntry {
	same := func(a, b *InstanceEntry) bool {
		return a.Name == b.Name && a.Policy == b.Policy && a.Change == b.Change && slices.EqualFunc(a.Fields, b.Fields, func(x, y Field) bool {
			return x.Field == y.Field && bytes.Equal(x.Before, y.Before) && bytes.Equal(x.After, y.After)
		})
	}
	var groups []InstanceEntry
	for _, entry := range entries {
		at := slices.IndexFunc(groups, func(g InstanceEntry) bool { return same(&g, &entry) })
		if at < 0 {
			groups = append(groups, entry)
			continue
		}
		groups[at].Profiles = append(groups[at].Profiles, entry.Profiles...)
	}
	slices.SortStableFunc(groups, func(a, b InstanceEntry) int { return cmp.Compare(a.Name, b.Name) })
	return groups
}

// diffExceptions compares what is waived.
func diffExceptions(before, after *policies.Bundle) []Entry {
	byName := func(b *policies.Bundle) map[string]policies.Exception {
		all := map[string]policies.Exception{}
		for _, exception := range b.Exceptions {
			all[exception.Name] = exception
		}
		return all
	}
	var entries []Entry
	both(byName(before), byName(after), func(name string, b, a policies.Exception, inBefore, inAfter bool) {
		switch {
		case !inBefore:
			entries = append(entries, Entry{Name: name, Title: a.Reason, Change: Added, Direction: Looser, Fields: diffValues("", nil, exceptionFields(&a))})
		case !inAfter:
			entries = append(entries, Entry{Name: name, Title: b.Reason, Change: Removed, Direction: Stricter, Fields: diffValues("", exceptionFields(&b), nil)})
		default:
			if fields := diffValues("", exceptionFields(&b), exceptionFields(&a)); len(fields) > 0 {
				entries = append(entries, Entry{Name: name, Title: a.Reason, Change: Changed, Fields: fields})
			}
		}
	})
	return entries
}

func exceptionFields(e *policies.Exception) map[string]any {
	return map[string]any{"policy": e.Policy, "selector": e.Selector, "reason": e.Reason, "owner": e.Owner, "expires": e.Expires}
}

// diffSettings compares bundle.yaml but for name, serial and what is configured where.
func diffSettings(before, after *policies.Bundle) []Field {
	settings := func(m policies.Manifest) map[string]any {
		fields := flatten("", m)
		for field := range fields {
			if field == "name" || field == "serial" || field == "policies" || field == "profiles" {
				delete(fields, field)
			}
		}
		all := map[string]any{}
		for field, value := range fields {
			all[field] = value
		}
		// The policies of profiles are compared as instances; here is what else there is of them.
		for _, profile := range m.Profiles {
			all["profiles."+profile.Name+".description"] = profile.Description
			all["profiles."+profile.Name+".extends"] = profile.Extends
		}
		return all
	}
	return diffFlat(encodeAll(settings(before.Manifest)), encodeAll(settings(after.Manifest)))
}

func encodeAll(values map[string]any) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	for field, value := range values {
		if raw, ok := value.(json.RawMessage); ok {
			all[field] = raw
		} else if encoded := encoded(value); string(encoded) != `""` {
			all[field] = encoded
		}
	}
	return all
}

// diffShared compares the Rego that policies share.
func diffShared(before, after *policies.Bundle) []Entry {
	shared := func(b *policies.Bundle) map[string]string {
		all := map[string]string{}
		policyFiles := map[string]bool{}
		for _, policy := range b.Policies {
			policyFiles[policy.File] = true
		}
		for _, modules := range []map[string]*ast.Module{b.IncludedModules(), b.OwnModules()} {
			for file, module := range modules {
				if !policyFiles[file] {
					all[file] = rulesText(module)
				}
			}
		}
		return all
	}
	return diffTexts(shared(before), shared(after))
}

// diffTexts says which files came, went and changed.
func diffTexts(before, after map[string]string) []Entry {
	var entries []Entry
	both(before, after, func(file, b, a string, inBefore, inAfter bool) {
		switch {
		case !inBefore:
			entries = append(entries, Entry{Name: file, Change: Added})
		case !inAfter:
			entries = append(entries, Entry{Name: file, Change: Removed})
		case a != b:
			entries = append(entries, Entry{Name: file, Change: Changed})
		}
	})
	return entries
}

// text is a text as JSON.
func text(s string) json.RawMessage { return encoded(s) }

func encoded(value any) json.RawMessage {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return text(fmt.Sprint(value)) // what was read from JSON can be written as JSON
	}
	return bytes.TrimSpace(b.Bytes())
}

// diffValues compares two values field by field: objects are walked, all else is compared whole.
func diffValues(prefix string, before, after any) []Field {
	return diffFlat(flatten(prefix, before), flatten(prefix, after))
}

func diffFlat(before, after map[string]json.RawMessage) []Field {
	var fields []Field
	both(before, after, func(field string, b, a json.RawMessage, _, _ bool) {
		if !bytes.Equal(b, a) {
			fields = append(fields, Field{Field: field, Before: b, After: a})
		}
	})
	return fields
}

// flatten is a value as a map from path to JSON. Nil has no fields.
func flatten(prefix string, value any) map[string]json.RawMessage {
	flat := map[string]json.RawMessage{}
	var decoded any
	if value == nil || json.Unmarshal(encoded(value), &decoded) != nil {
		return flat
	}
	flattenInto(flat, prefix, decoded)
	return flat
}

func flattenInto(flat map[string]json.RawMessage, path string, value any) {
	object, ok := value.(map[string]any)
	if !ok || len(object) == 0 && path != "" {
		flat[path] = encoded(value)
		return
	}
	for key, child := range object {
		if path != "" {
			key = path + "." + key
		}
		flattenInto(flat, key, child)
	}
}
