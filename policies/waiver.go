package policies

import (
	"time"

	"github.com/portcullis-dev/portcullis/admission/workload"
)

// waiver applies the exceptions of a bundle, and those of the cluster that it takes, to findings about one request.
type waiver struct {
	bundle  *Bundle
	request *Request
	granted []Exception
	clock   time.Time
}

func (j *judgement) waiver() *waiver {
	return &waiver{bundle: j.engine.bundle, request: j.request, granted: j.facts.Exceptions, clock: j.clock}
}

// Waive applies exceptions to findings of policies for other tools, which the bundle holds beside its own: by the same rules
// as to findings of its own. Such findings are about the object as a whole, so that an exception for single containers
// waives none.
func (b *Bundle) Waive(r *Request, facts *Facts, now time.Time, findings []Finding) {
	w := &waiver{bundle: b, request: r, granted: facts.Exceptions, clock: now}
	for n := range findings {
		if findings[n].ExceptedBy == "" {
			w.except(nil, &findings[n])
		}
	}
}

// except names the exception that waives a finding. Where the only ones that covered it have
// expired, the finding says so of the last: nobody else would tell why it is back.
func (v *waiver) except(w *workload.Workload, finding *Finding) {
	var last *Exception
	waives := func(e *Exception) bool {
		if !e.expired(v.clock) {
			finding.ExceptedBy, finding.ExceptedUntil = e.title(), e.until()
			return true
		}
		if last == nil || e.expires.After(last.expires) {
			last = e
		}
		return false
	}
	for n := range v.bundle.Exceptions {
		if e := &v.bundle.Exceptions[n]; e.covers(v.request, w, finding) && waives(e) {
			return
		}
	}
	for n := range v.granted {
		// Most are about something else, which is quickly seen.
		if e := &v.granted[n]; e.covers(v.request, w, finding) && v.bundle.grants(e, v.request) && waives(e) {
			return
		}
	}
	if last != nil {
		finding.Message += last.lapse()
	}
}
