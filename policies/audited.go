package policies

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Audited are the resources whose objects policies judge at the audit's door, as the creations that made them: what an audit
// has to list. Workloads of kinds that nobody knows are found at their pods.
func (e *Engine) Audited() []Interest {
	return e.audited(func(*instance) bool { return true })
}

// AuditedByImages are those of Audited that some policy judges by what is known of images: what is true today may not be
// tomorrow, though neither object nor policy changes.
func (e *Engine) AuditedByImages() []Interest {
	return e.audited(func(i *instance) bool { return i.readsEvidence(PhaseValidate) })
}

// AuditedBy are those of Audited that policies judge by reading other objects of a resource.
func (e *Engine) AuditedBy(group, resource string) []Interest {
	return e.audited(func(i *instance) bool {
		return slices.ContainsFunc(i.policy.Reads, func(read ReadDeclaration) bool { return read.Group == group && read.Resource == resource })
	})
}

// AuditedSince are the resources about whose objects this engine may say something else than another one, that judged before:
// those that policies match which are new, gone, configured otherwise or written otherwise. Of a change that may concern
// everything it is all of them.
func (e *Engine) AuditedSince(before *Engine) []Interest {
	if before == nil {
		return e.Audited()
	}
	if !e.bundle.alike(before.bundle) {
		return MergeInterests(e.Audited(), before.Audited())
	}
	evidence := !reflect.DeepEqual(e.bundle.Manifest.Trust, before.bundle.Manifest.Trust) || !reflect.DeepEqual(e.bundle.exemptions, before.bundle.exemptions)
	excepted := changedExceptions(e.bundle, before.bundle)
	now, then := e.prints(), before.prints()
	changed := func(i *instance) bool {
		return evidence && i.readsEvidence(PhaseValidate) || excepted[i.policy.ID] || excepted[i.Name] || now[e.printKey(i)] != then[e.printKey(i)]
	}
	changedBefore := func(i *instance) bool {
		return excepted[i.policy.ID] || excepted[i.Name] || now[before.printKey(i)] != then[before.printKey(i)]
	}
	return MergeInterests(e.audited(changed), before.audited(changedBefore))
}

// NextRamp is when a ramp rises next, zero where none does after now: from then on this engine enforces more, though nothing
// else changes.
func (e *Engine) NextRamp(now time.Time) time.Time {
	var next time.Time
	for _, p := range e.profiles {
		for _, i := range p.instances {
			if i.Ramp == nil {
				continue
			}
			for _, at := range []time.Time{i.Ramp.auditUntil, i.Ramp.warnUntil} {
				if at.After(now) && (next.IsZero() || at.Before(next)) {
					next = at
				}
			}
		}
	}
	return next
}

func (e *Engine) audited(of func(*instance) bool) []Interest {
	found := map[indexKey]*interested{}
	for key, instances := range e.index.entries {
		if key.operation != "CREATE" || key.group == wildcard || strings.Contains(key.resource, "/") {
			continue
		}
		key.profile = ""
		for _, i := range instances {
			if i.Enforcement == EnforceOff || !i.policy.at(DoorAudit) || i.policy.Subject.Caller != "" || !of(i) {
				continue
			}
			if found[key] == nil {
				found[key] = &interested{}
			}
			found[key].add(i)
		}
	}
	var interests []Interest
	for key, interested := range found {
		if interested.validates {
			interests = append(interests, interested.in(key)...)
		}
	}
	slices.SortFunc(interests, compareInterests)
	return interests
}

// alike says that two bundles differ in nothing but policies, profiles, exceptions, and what is known of images.
func (b *Bundle) alike(other *Bundle) bool {
	rest := func(m Manifest) string {
		m.Serial, m.Policies, m.Trust, m.Response = 0, nil, nil, nil
		profiles := slices.Clone(m.Profiles)
		for n := range profiles {
			profiles[n] = Profile{Name: profiles[n].Name}
		}
		m.Profiles = profiles
		text, _ := json.Marshal(m)
		return string(text)
	}
	return rest(b.Manifest) == rest(other.Manifest) && !b.foreign && !other.foreign && reflect.DeepEqual(b.data, other.data)
}

// changedExceptions are the policies, or instances, that have other exceptions.
func changedExceptions(a, b *Bundle) map[string]bool {
	texts := func(bundle *Bundle) map[string]string {
		all := map[string]string{}
		for _, exception := range bundle.Exceptions {
			text, _ := json.Marshal(exception)
			all[string(text)] = exception.Policy
		}
		return all
	}
	changed, left, right := map[string]bool{}, texts(a), texts(b)
	for _, sides := range [][2]map[string]string{{left, right}, {right, left}} {
		for text, policy := range sides[0] {
			if _, same := sides[1][text]; !same {
				changed[policy] = true
			}
		}
	}
	return changed
}

func (e *Engine) printKey(i *instance) string {
	for _, name := range sortedKeys(e.profiles) {
		if slices.Contains(e.profiles[name].instances, i) {
			return name + "\x00" + i.Name + "\x00" + i.policy.ID
		}
	}
	return ""
}

// prints are what each instance of each profile says, as text: its rules, those that it shares, and how it is configured.
func (e *Engine) prints() map[string]string {
	prints, modules := map[string]string{}, map[*Policy]string{}
	for name, p := range e.profiles {
		for _, i := range p.instances {
			if modules[i.policy] == "" {
				metadata, _ := json.Marshal(i.policy.Metadata)
				modules[i.policy] = string(metadata) + moduleText(i.policy.module)
				libraries := e.bundle.librariesOf(i.policy.module)
				for _, file := range slices.Sorted(maps.Keys(libraries)) {
					modules[i.policy] += file + moduleText(libraries[file])
				}
			}
			configured, _ := json.Marshal(i.Instance)
			prints[name+"\x00"+i.Name+"\x00"+i.policy.ID] = string(configured) + modules[i.policy]
		}
	}
	return prints
}

// moduleText is without comments, and however it is laid out.
func moduleText(module *ast.Module) string {
	if module == nil {
		return ""
	}
	var text strings.Builder
	for _, rule := range module.Rules {
		text.WriteString(rule.String())
		text.WriteByte('\n')
	}
	return text.String()
}
