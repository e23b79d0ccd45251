package journal

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
)

// encoding writes the same bytes for the same values. What is no text in a policy's message must not keep a decision
// from being recorded.
var encoding = json.JoinOptions(
	jsonv1.OmitEmptyWithLegacySemantics(true),
	json.Deterministic(true),
	jsontext.AllowInvalidUTF8(true),
)

// fact is something that lines name by its digest.
type fact struct {
	sum     sum
	digest  string // the sum as lines write it
	content []byte
	// shared says that the content is remembered anyway, and costs the queue nothing.
	shared bool
}

// encoder makes lines of decisions. It may be used by any number of goroutines.
type encoder struct {
	redactor *redactor
	// inline is the size up to which objects stand in the line.
	inline int
	facts  *factEncoder
}

// encoded is a line that still lacks its place in the chain: "{" and the first two fields.
type encoded struct {
	rest  []byte // from the version on, with the closing brace, without a line feed
	facts []fact
}

// decision encodes one, redacted. Nothing of what it returns aliases the request.
func (e *encoder) decision(d *admission.Decision) (encoded, error) {
	line := Line{Version: Version, Kind: KindDecision, Time: d.Time.UTC()}
	out := &Decision{
		ID: d.ID, Trace: d.Trace, Door: d.Request.Door, Mutation: d.Mutation,
		Outcome: d.Outcome, Reason: d.Reason, Duration: d.Duration.Microseconds(),
	}
	line.Decision = out
	var b besides
	e.request(out, &d.Request, &b)
	for n := range d.Verdict.Parts {
		judge, err := e.judge(&d.Verdict.Parts[n], &b)
		if err != nil {
			return encoded{}, fmt.Errorf("recording the facts of %s: %w", d.Verdict.Parts[n].Ready.Bundle, err)
		}
		out.Judges = append(out.Judges, judge)
	}
	if err := e.verdict(out, &d.Verdict, b.values); err != nil {
		return encoded{}, err
	}
	rest, err := encodeLine(&line)
	return encoded{rest: rest, facts: b.facts}, err
}

// chained are the fields that the writer fills in.
const chained = `{"seq":0,"prev":"",`

// encodeLine encodes a line without its place in the chain.
func encodeLine(line *Line) ([]byte, error) {
	written, err := json.Marshal(line, encoding)
	if err != nil {
		return nil, fmt.Errorf("encoding a line of the journal: %w", err)
	}
	return written[len(chained):], nil
}

// request takes in the request.
func (e *encoder) request(out *Decision, r *policies.Request, b *besides) {
	secret := r.Resource.Group == "" && r.Resource.Resource == "secrets" || r.Resource.Group == "authentication.k8s.io" && r.Resource.Resource == "tokenreviews"
	out.Request = Request{
		UID: r.UID, Operation: r.Operation, SubResource: r.SubResource,
		Group: r.Resource.Group, APIVersion: r.Resource.Version, Resource: r.Resource.Resource,
		Kind:      Kind{Group: r.Kind.Group, Version: r.Kind.Version, Kind: r.Kind.Kind},
		Namespace: r.Namespace, Name: r.Name, DryRun: r.DryRun, Profile: r.Profile,
		User: User{Username: r.Subject.Username, UID: r.Subject.UID, Groups: r.Subject.Groups},
	}
	for _, body := range []struct {
		section string
		raw     []byte
		into    **Body
	}{{"object", r.Object, &out.Request.Object}, {"oldObject", r.OldObject, &out.Request.OldObject}, {"options", r.Options, &out.Request.Options}} {
		redacted := e.redactor.object(body.raw, secret && body.section != "options")
		if redacted.Object == nil {
			continue
		}
		*body.into = e.body(redacted.Object, b)
		b.values = append(b.values, redacted.Values...)
		for _, path := range redacted.Paths {
			out.Redacted = append(out.Redacted, below(section(body.section), path))
		}
	}
	if r.Event != nil {
		event, paths, values := e.redactor.event(r.Event)
		out.Request.Event, b.values = event, append(b.values, values...)
		out.Redacted = append(out.Redacted, paths...)
	}
	out.Request.Sync = r.Sync
	if len(r.Subject.Extra) > 0 {
		out.Redacted = append(out.Redacted, "subject.extra")
	}
	out.Redacted = append(out.Redacted, r.Redacted...)
}

// section is the name of a part of the request as policies read it.
func section(name string) string {
	if name == "options" {
		return "request.options"
	}
	return name
}

func below(section, path string) string {
	if path == "" {
		return section
	}
	return section + "." + path
}

// body puts an object into the line, or beside it.
func (e *encoder) body(object []byte, b *besides) *Body {
	if len(object) <= e.inline {
		return &Body{Inline: object}
	}
	held := factOf(slices.Clone(object))
	b.facts = append(b.facts, held)
	return &Body{Digest: held.digest}
}

// verdict takes in the verdict, with what was replaced in the request replaced here, too.
func (e *encoder) verdict(out *Decision, v *admission.Verdict, values []string) error {
	out.Verdict = Verdict{
		Admitted: v.Admitted, Profile: v.Profile, Matched: v.Matched,
		Findings: v.Findings, Faults: v.Faults, Undecided: v.Undecided, Responses: v.Responses, Permits: v.Permits, Patch: v.Patch,
	}
	if len(values) == 0 {
		return nil
	}
	written, err := json.Marshal(out.Verdict, encoding)
	if err != nil {
		return fmt.Errorf("encoding a verdict: %w", err)
	}
	scrubbed := e.redactor.scrub(written, values)
	out.Verdict = Verdict{}
	if err := json.Unmarshal(scrubbed, &out.Verdict, encoding); err != nil {
		return fmt.Errorf("replacing secrets in a verdict: %w", err)
	}
	return nil
}

// transition encodes a step of a rollout.
func transitionLine(line Line) (encoded, error) {
	line.Version, line.Kind = Version, KindTransition
	rest, err := encodeLine(&line)
	return encoded{rest: rest}, err
}
