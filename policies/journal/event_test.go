package journal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// shellRequest is an event about the pod a of the namespace shop.
func shellRequest(fields response.Fields) admission.Request {
	request := pod("a", plainSpec)
	request.Door, request.Operation, request.Subject = admission.DoorResponder, policies.OperationEvent, admission.Subject{}
	request.Event = &response.Event{
		ID: "sha256:aa", Source: "syscall", Rule: "Terminal shell in container", Priority: response.Critical, Time: noon, Fields: fields,
		Pod: &response.Pod{Namespace: "shop", Name: "a", UID: "u-1"},
	}
	return request
}

// journalOfEvents is journalOf for events.
func journalOfEvents(t *testing.T, engine *policies.Engine, requests ...admission.Request) (dir string) {
	t.Helper()
	dir = t.TempDir()
	j := openIn(t, dir, nil)
	reviewer := admission.NewReviewer(engine, cluster{}, clock)
	for n, request := range requests {
		j.Record(t.Context(), &admission.Decision{
			ID: fmt.Sprintf("id-%d", n), Time: noon, Request: request, Outcome: "responded", Verdict: reviewer.Respond(t.Context(), request),
		})
	}
	closeNow(t, j)
	return dir
}

const (
	aboutEvents = "match: {events: {sources: [syscall]}}\n"
	isolates    = `respond contains {"action": "isolate", "msg": sprintf("%v ran %v", [input.event.pod.name, input.event.fields["proc.pid"]])} if input.event.fields["proc.pid"] == 9007199254740993`
)

func TestEventsAreJudgedAgain(t *testing.T) {
	fields := response.Fields{"proc.pid": json.Number("9007199254740993"), "proc.name": "sh"}
	for name, test := range map[string]struct {
		then, now string
		want      Effect
		change    PolicyChange
	}{
		"the same policy":              {isolates, isolates, EffectNone, PolicyChange{}},
		"a policy that asks for more":  {isolates, isolates + "\n\nrespond contains {\"action\": \"notify\", \"msg\": \"m\"}", EffectChanged, PolicyChange{"runtime/x", StanceResponds, StanceResponds, "isolate: a ran 9007199254740993", ""}},
		"a policy that asks no longer": {isolates, strings.Replace(isolates, "993 ", "992 ", 1) + " + 1", EffectChanged, PolicyChange{"runtime/x", StanceResponds, StanceSilent, "isolate: a ran 9007199254740993", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := journalOfEvents(t, engineOf(t, 1, "", "runtime/x", aboutEvents, test.then), shellRequest(fields))
			report := replay(t, dir, ReplayOptions{After: admission.Solo(engineOf(t, 2, "", "runtime/x", aboutEvents, test.now))})
			var got []PolicyChange
			for _, change := range report.Changes {
				got = append(got, change.Policies...)
			}
			want := []PolicyChange{test.change}
			if test.change.Policy == "" {
				want = nil
			}
			if effect := effectOf(report); effect != test.want || !slices.Equal(got, want) {
				t.Errorf("got %s %+v, want %s %+v", effect, got, test.want, want)
			}
		})
	}
}

// effectOf is that of the only decision of a report.
func effectOf(r *Report) Effect {
	switch {
	case r.Counts.Unchanged == 1:
		return EffectNone
	case r.Counts.Changed == 1:
		return EffectChanged
	case r.Counts.NotReplayable == 1:
		return EffectNotReplayable
	}
	return "another"
}

func TestPasswordsOfCommandLinesAreNotKept(t *testing.T) {
	const password = "hunter2hunter2"
	says := `respond contains {"action": "isolate", "msg": input.event.fields["proc.cmdline"]}`
	request := shellRequest(response.Fields{"proc.cmdline": "mysql --password=" + password, "proc.args": []any{"PASSWORD=" + password}})
	request.Event.Output = "A shell (cmdline=mysql --password=" + password + ")"
	engine := engineOf(t, 1, "", "runtime/x", aboutEvents, says)
	dir := journalOfEvents(t, engine, request)
	if kept := string(mustRead(t, newest(t, dir))); strings.Contains(kept, password) || !strings.Contains(kept, "event.output") || !strings.Contains(kept, "mysql") {
		t.Errorf("got %s, want it without the password, and a word on that", kept)
	}
	report := replay(t, dir, ReplayOptions{After: admission.Solo(engine)})
	if got := effectOf(report); got != EffectNotReplayable {
		t.Errorf("got %s, want %s: nobody knows what the command line was", got, EffectNotReplayable)
	}
	if request.Event.Fields["proc.cmdline"] != "mysql --password="+password {
		t.Errorf("got the request changed to %v", request.Event.Fields)
	}
}
