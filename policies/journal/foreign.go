package journal

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// foreign is a judge of policies written for another tool. What those read is known by the first parts of a path only, and
// of other objects not at all, so that what was replaced is told to them as coarsely: rather more of them are not replayable
// than one guesses.
type foreign struct{ admission.Judge }

// Evaluate implements [admission.Judge].
func (f foreign) Evaluate(ctx context.Context, r *policies.Request, facts *policies.Facts, now time.Time, phase policies.Phase) policies.Result {
	if len(r.Redacted) == 0 {
		return f.Judge.Evaluate(ctx, r, facts, now, phase)
	}
	coarse, known := *r, *facts
	coarse.Redacted = nil
	inCluster := false
	for _, path := range r.Redacted {
		inCluster = inCluster || strings.HasPrefix(path, "cluster.")
		before, _, _ := strings.Cut(path, "[")
		if !slices.Contains(coarse.Redacted, before) {
			coarse.Redacted = append(coarse.Redacted, before)
		}
	}
	if reads := f.Judge.Needs(r, phase).Reads; inCluster && len(reads) > 0 {
		known.Partial = maps.Clone(known.Partial)
		if known.Partial == nil {
			known.Partial = map[policies.Read]string{}
		}
		for _, read := range reads {
			known.Partial[read] = notReplayable + "the journal does not keep all of the objects that were read"
		}
	}
	return f.Judge.Evaluate(ctx, &coarse, &known, now, phase)
}

// cautious is a lineup whose judges are told as much as they can make use of.
func cautious(lineup *admission.Lineup) *admission.Lineup {
	if lineup == nil {
		return nil
	}
	wrapped := &admission.Lineup{Members: slices.Clone(lineup.Members), Exceptions: lineup.Exceptions}
	for n := range wrapped.Members {
		member := &wrapped.Members[n]
		member.Active = cautiousReady(member.Active)
		if member.Candidate != nil {
			candidate := cautiousReady(*member.Candidate)
			member.Candidate = &candidate
		}
	}
	return wrapped
}

func cautiousReady(ready admission.Ready) admission.Ready {
	ready.Judges = slices.Clone(ready.Judges)
	for n, judge := range ready.Judges {
		if _, own := judge.(*policies.Engine); !own {
			ready.Judges[n] = foreign{judge}
		}
	}
	return ready
}
