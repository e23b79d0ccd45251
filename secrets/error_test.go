package secrets

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestAnErrorSaysWhatWasDoneAndNothingOfItsCause(t *testing.T) {
	cause := fmt.Errorf("body %s: %w", canary, context.DeadlineExceeded)
	for _, test := range []struct {
		err  *Error
		want string
	}{
		{&Error{Reason: Sealed, Doing: "reading secret/data/a", Message: "Vault is sealed; unseal it", Status: 503, Cause: cause}, "reading secret/data/a: Vault is sealed; unseal it (HTTP 503)"},
		{&Error{Reason: KeyMissing, Message: "no key a", Cause: cause}, "no key a"},
		{&Error{Doing: "a", Message: "b"}, "a: b"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
		for _, text := range []string{fmt.Sprint(test.err), fmt.Sprintf("%+v", test.err), fmt.Sprintf("%q", test.err), fmt.Errorf("x: %w", test.err).Error(), fmt.Sprintf("%s", error(test.err))} {
			wantNoCanary(t, "an error", text)
		}
	}
	if err := fmt.Errorf("x: %w", &Error{Reason: Slow, Cause: cause}); !errors.Is(err, context.DeadlineExceeded) || ReasonOf(err) != Slow {
		t.Errorf("got the reason %s, want Slow with the end of a context below", ReasonOf(err))
	}
	if ReasonOf(nil) != "" || ReasonOf(errors.New("x")) != Failed || ReasonOf(&Error{}) != Failed {
		t.Errorf("got %q, %q and %q, want none, Failed and Failed", ReasonOf(nil), ReasonOf(errors.New("x")), ReasonOf(&Error{}))
	}
}

func TestReasonsSayWhetherTheyArePassing(t *testing.T) {
	outages := map[Reason]bool{Sealed: true, Unreachable: true, Slow: true, Truncated: true, Malformed: true, Untrusted: true, Failed: true}
	for _, reason := range allReasons {
		if got := reason.Outage(); got != outages[reason] {
			t.Errorf("%s is an outage: %v, want %v", reason, got, outages[reason])
		}
		if got, want := reason.Retries(), reason != Misconfigured; got != want {
			t.Errorf("%s is tried again: %v, want %v", reason, got, want)
		}
	}
}

var allReasons = []Reason{Sealed, Unreachable, Slow, Truncated, Malformed, Untrusted, Forbidden, LoginFailed, TokenRevoked, NotFound, RateLimited, Behind, Failed, Refused,
	Denied, Undecided, NamespaceBarred, Misconfigured, MissingReference, KeyMissing, TemplateFailed, Unfit, NotOurs, ClusterForbidden, ClusterFailed, LeaseLost}
