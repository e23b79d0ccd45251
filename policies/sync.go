package policies

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/portcullis-dev/portcullis/secrets"
)

// The operations of requests about secrets: from Vault into the cluster, and from the cluster to Vault. Their object is the VaultSecret
// or VaultPush.
const (
	OperationSync = secrets.OperationSync
	OperationPush = secrets.OperationPush
)

// syncGroup is the API group of what such requests are about.
const syncGroup = "secrets.portcullis.dev"

// syncResources are the resources by operation.
var syncResources = map[string]string{OperationSync: "vaultsecrets", OperationPush: "vaultpushes"}

// NoPermit is what a finding names as its policy that no policy made: that none permits a sync.
const NoPermit = "portcullis/no-permit"

// SyncMatching says which syncs a policy is about. All fields that are given must match; lists are alternatives.
type SyncMatching struct {
	// Operations are SYNC and PUSH; both for none.
	Operations []string `json:"operations,omitempty"`
	// Engines are kv-v1, kv-v2, dynamic, pki, transit and approle; any for none.
	Engines []string `json:"engines,omitempty"`
	// Connections are globs of names of VaultConnections; any for none.
	Connections []string `json:"connections,omitempty"`

	connections globs
}

var engines = []string{secrets.EngineKV1, secrets.EngineKV2, secrets.EngineDynamic, secrets.EnginePKI, secrets.EngineTransit, secrets.EngineAppRole}

func (m *SyncMatching) compile() (problems []error) {
	for _, operation := range m.Operations {
		if syncResources[operation] == "" {
			problems = append(problems, fmt.Errorf("syncs: operation %q: use %s or %s", operation, OperationSync, OperationPush))
		}
	}
	for _, engine := range m.Engines {
		if !slices.Contains(engines, engine) {
			problems = append(problems, fmt.Errorf("syncs: engine %q: use one of %s", engine, strings.Join(engines, ", ")))
		}
	}
	var err error
	if m.connections, err = compileGlobs(m.Connections); err != nil {
		problems = append(problems, fmt.Errorf("syncs: connections: %w", err))
	}
	return problems
}

func (m *SyncMatching) matches(s *secrets.Sync) bool {
	return s != nil && (len(m.Engines) == 0 || slices.Contains(m.Engines, s.Vault.Engine)) &&
		(len(m.Connections) == 0 || m.connections.match(s.Connection.Name))
}

// checkSyncs says what is wrong with the match of a policy about syncs.
func (m *Matching) checkSyncs() []error {
	var problems []error
	if m.Workload != "" || len(m.Resources) > 0 || m.Caller != "" || m.Events != nil {
		problems = append(problems, errors.New("a policy about syncs has nothing beside syncs: no workload, resources, caller or events"))
	}
	return append(problems, m.Syncs.compile()...)
}

// checkSyncRules says what is wrong with the rules of a policy about syncs, or with an allow_sync rule of another.
func (p *Policy) checkSyncRules() error {
	switch {
	case p.has(EffectAllowSync) && p.Subject.Syncs == nil:
		return errors.New("a policy with an allow_sync rule is about syncs: say so (match: {syncs: {}})")
	case p.Subject.Syncs != nil && (p.has(EffectPatch) || p.has(EffectRespond)):
		return errors.New("a policy about syncs has allow_sync, deny and warn rules only: there is nothing to patch")
	}
	return nil
}

// Permit is what an allow_sync rule says: that a sync may be. One alone is not enough where something denies.
type Permit struct {
	Policy   string `json:"policy"`
	Instance string `json:"instance,omitempty"`
	Bundle   string `json:"bundle,omitempty"` // as Finding.Bundle
	Title    string `json:"title"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
	// Enforcement is what the bundle makes of the policy here. Only with deny does a permit count: a policy on trial permits nothing.
	Enforcement Enforcement `json:"enforcement"`
}

// Counts says whether a permit permits.
func (p *Permit) Counts() bool { return p.Enforcement == EnforceDeny }

// Finding says of a permit what a finding of the policy would.
func (p *Permit) Finding() Finding {
	return Finding{Policy: p.Policy, Instance: p.Instance, Bundle: p.Bundle, Title: p.Title, Severity: p.Severity, Effect: EffectAllowSync, Enforcement: p.Enforcement, Message: p.Message}
}

// permit takes what an instance's allow_sync rule gave into the result. Of a policy whose facts are not complete nothing counts.
func (j *judgement) permit(i *planned, term *ast.Term) {
	decoded, err := decodeFindings(i.instance, EffectAllowSync, term)
	if err != nil {
		j.fault(i.instance, FaultError, err.Error())
		return
	}
	if j.incomplete(i.instance) {
		return // partial says so
	}
	for n := range decoded {
		j.result.Permits = append(j.result.Permits, Permit{
			Policy: decoded[n].Policy, Instance: decoded[n].Instance, Title: decoded[n].Title, Severity: decoded[n].Severity, Message: decoded[n].Message,
			Enforcement: i.enforcementAt(j.clock),
		})
	}
}

// incomplete says whether some fact that an instance reads is not complete.
func (j *judgement) incomplete(i *instance) bool {
	return slices.ContainsFunc(i.readsFor(j.request), func(read Read) bool {
		_, partial := j.facts.Partial[read]
		return partial
	})
}

// judgeSync adds, where allow_sync rules were asked and none permits, a finding that says so. It denies: what nobody allows is
// not allowed, whatever the enforcement of the policies that were asked. Those that failed have their fault, which does not
// permit either.
func (j *judgement) judgeSync(selected []*instance) {
	if j.phase != PhaseSync {
		return
	}
	var asked []string
	for _, i := range selected {
		if i.policy.has(EffectAllowSync) && i.enforcementAt(j.clock) == EnforceDeny {
			asked = append(asked, i.Name)
		}
	}
	j.result.AskedToPermit = len(asked) > 0
	if len(asked) == 0 || slices.ContainsFunc(j.result.Permits, func(p Permit) bool { return p.Counts() }) {
		return
	}
	j.result.Findings = append(j.result.Findings, NotPermitted(j.request, "of the policies that could permit it ("+strings.Join(asked, ", ")+"), none does"))
}

// NotPermitted is the finding that a request is permitted by nothing.
func NotPermitted(r *Request, why string) Finding {
	finding := Finding{
		Policy: NoPermit, Title: "No policy permits this sync", Severity: "high", Effect: EffectDeny, Enforcement: EnforceDeny,
		Message:     "nothing permits it: " + why,
		Remediation: "Ask whoever keeps the policies for an allow_sync rule about it, or use a place in Vault that one is about.",
	}
	if s := r.Sync; s != nil {
		finding.Message = Shorten(fmt.Sprintf("nothing permits %s %s/%s (%s) for namespace %s: %s", syncVerb(r.Operation), s.Vault.Mount, s.Vault.Path, s.Vault.Engine, s.Object.Namespace, why))
	}
	return finding
}

func syncVerb(operation string) string {
	if operation == OperationPush {
		return "writing to"
	}
	return "reading"
}

func comparePermits(a, b Permit) int {
	for _, pair := range [][2]string{{a.Bundle, b.Bundle}, {a.Policy, b.Policy}, {a.Instance, b.Instance}, {a.Message, b.Message}} {
		if c := strings.Compare(pair[0], pair[1]); c != 0 {
			return c
		}
	}
	return 0
}
