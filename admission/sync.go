package admission

import (
	"context"

	"github.com/portcullis-dev/portcullis/policies"
)

// Sync evaluates the allow_sync, deny and warn rules that match a request about a secret of Vault: one of the operations SYNC and PUSH.
//
// It is admitted if nothing denies it and something permits it. Each bundle whose allow_sync rules are about it has to permit it
// by one of them, and one that is not a tenant's has to be among them: a tenant cannot permit himself what nobody else
// permits. What failed permits nothing.
func (r *Reviewer) Sync(ctx context.Context, request Request) Verdict {
	r.choose(&request)
	lineup := r.Lineup()
	parts := r.evaluate(ctx, lineup, &request, policies.PhaseSync)
	verdict := newVerdict(lineup, parts)
	if why := unpermitted(lineup, parts); why != "" && len(verdict.Faults) == 0 {
		verdict.Findings = append(verdict.Findings, policies.NotPermitted(&request, why))
		verdict.sort()
	}
	verdict.Admitted = verdict.admits() && unpermitted(lineup, parts) == ""
	return verdict
}

// unpermitted says why nothing permits, beyond what each bundle's own finding says; "" where something does, or where such a finding
// is there.
func unpermitted(lineup *Lineup, parts []Part) string {
	tenants := false
	for n := range parts {
		part := &parts[n]
		if !part.Result.AskedToPermit {
			continue
		}
		if lineup.tenant(part.Ready.Bundle) {
			tenants = true
			continue
		}
		return "" // it permits, or has its finding
	}
	if tenants {
		return "only bundles of tenants have an allow_sync rule about it, and those permit what the cluster's own permit, no more"
	}
	return "no policy that is enforced has an allow_sync rule about it"
}

// tenant says whether a bundle judges some namespaces only.
func (l *Lineup) tenant(bundle string) bool {
	for n := range l.Members {
		if l.Members[n].Active.Bundle == bundle {
			return l.Members[n].Namespaces != nil
		}
	}
	return true
}
