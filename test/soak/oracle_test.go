package soak

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies/journal"
	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

func status(code int32, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Message: message, Reason: metav1.StatusReasonForbidden}}
}

func TestAnAnswerIsReadForWhatItIs(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want outcome
	}{
		"no error":       {nil, admitted},
		"a policy":       {status(403, `admission webhook "fail.validate.portcullis.dev" denied the request: 1 policy denies it (soak@2):`), denied},
		"several":        {status(403, `admission webhook "fail.validate.portcullis.dev" denied the request: 2 policies deny it (soak@2):`), denied},
		"a fault":        {status(500, `admission webhook "fail.validate.portcullis.dev" denied the request: the request could not be judged (soak@2) and is denied for safety:`), failed},
		"nobody there":   {apierrors.NewInternalError(errors.New(`failed calling webhook "fail.validate.portcullis.dev": failed to call webhook: Post "https://portcullis-webhook": connection refused`)), failed},
		"no reason":      {status(403, `admission webhook "fail.validate.portcullis.dev" denied the request: no`), unexplained},
		"no rights":      {status(403, `pods is forbidden: User "eve" cannot create resource "pods"`), unexplained},
		"etcd is gone":   {apierrors.NewInternalError(errors.New("etcdserver: request timed out")), unanswered},
		"no API server":  {fmt.Errorf("Post: %w", context.DeadlineExceeded), unanswered},
		"too many of us": {apierrors.NewTooManyRequests("later", 1), unanswered},
	} {
		if got := outcomeOf(c.err); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

// TestEachWrongAnswerIsSeen has each kind of failure make the soak fail.
func TestEachWrongAnswerIsSeen(t *testing.T) {
	good := func() *Report {
		r := newReport(1)
		r.admission("a good one", false, nil, time.Millisecond, false)
		r.admission("a bad one", true, status(403, `admission webhook "w" denied the request: 1 policy denies it`), time.Millisecond, true)
		r.image("signed", false, nil, time.Millisecond, false)
		r.decisions(1, 1, 1, nil, nil)
		r.events(1, 1, nil)
		r.secrets(1, 1, nil)
		r.fault("a fault", time.Second)
		return r
	}
	if text := good().Failures(); text != "" {
		t.Fatalf("a soak in which all was right fails: %s", text)
	}
	forSafety := good()
	for _, bad := range []bool{false, true} { // a fault may refuse anything, and a bad one at any time
		forSafety.admission("one", bad, apierrors.NewInternalError(errors.New(`failed calling webhook "w"`)), 0, !bad)
	}
	if text := forSafety.Failures(); text != "" {
		t.Errorf("a soak in which requests were refused for safety fails: %s", text)
	}
	for want, spoil := range map[string]func(*Report){
		wrongAllows + ": one":       func(r *Report) { r.admission("one", true, nil, 0, true) },
		wrongAllows + ": unsigned":  func(r *Report) { r.image("unsigned", true, nil, 0, false) },
		wrongAllows + ": a bad pod": func(r *Report) { r.probe("a bad pod", nil) },
		wrongRefusals + ": one": func(r *Report) {
			r.admission("one", false, status(403, `admission webhook "w" denied the request: 1 policy denies it`), 0, true)
		},
		calmRefusals + ": three": func(r *Report) {
			r.image("three", false, apierrors.NewInternalError(errors.New(`failed calling webhook "w"`)), 0, false)
		},
		wrongRefusals + ": two":          func(r *Report) { r.admission("two", true, status(403, "no"), 0, true) },
		lostDecisions + ": an id":        func(r *Report) { r.decisions(1, 1, 1, []string{"an id"}, nil) },
		brokenJournals + ": a folder":    func(r *Report) { r.decisions(1, 1, 1, nil, []string{"a folder"}) },
		lostEvents + ": an event":        func(r *Report) { r.events(1, 1, []string{"an event"}) },
		lostSecrets + ": a secret":       func(r *Report) { r.secrets(1, 1, []string{"a secret"}) },
		stuckObjects + ": a pod":         func(r *Report) { r.stuck("a pod") },
		notRecovered + ": a fault":       func(r *Report) { r.unrecovered("a fault", errors.New("x")) },
		problems + ": x":                 func(r *Report) { r.problem(errors.New("x")) },
		lostDecisions + ": 1 requests":   func(r *Report) { r.decisions(1, 0, 1, nil, nil) },
		"the soak has seen no decisions": func(r *Report) { r.decisions(0, 1, 1, nil, nil) },
		"the soak has seen no events":    func(r *Report) { r.events(0, 0, nil) },
		wrongAllows + ": … and 1 more": func(r *Report) {
			for range maxListed + 1 {
				r.wrongAllow("one")
			}
		},
	} {
		r := good()
		spoil(r)
		if got := r.Failures(); !strings.Contains(got, want) {
			t.Errorf("got %q, want it to say %q", got, want)
		}
	}
}

// TestADecisionThatIsInNoJournalIsLost compares an audit log with the journals of two replicas, one of which was cut.
func TestADecisionThatIsInNoJournalIsLost(t *testing.T) {
	dir := t.TempDir()
	var folders []string
	var log strings.Builder
	for _, replica := range []string{"one", "two"} {
		folder := filepath.Join(dir, replica)
		folders = append(folders, folder)
		kept, err := journal.Open(journal.Options{Dir: folder, Allows: 1})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			id := fmt.Sprintf("%s-%d", replica, n)
			kept.Record(t.Context(), &admission.Decision{ID: id, Time: time.Now(), Outcome: "denied"})
			fmt.Fprintf(&log, `{"verb":"create","requestURI":"/api/v1/pods","annotations":{"fail.validate.portcullis.dev/decision":%q,"authorization.k8s.io/decision":"allow"},"responseStatus":{"code":%d}}`+"\n", id, 201+202*(n%2))
		}
		if err := kept.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	log.WriteString(`{"verb":"create","annotations":{"authorization.k8s.io/decision":"forbid"},"responseStatus":{"code":403}}` + "\n")
	log.WriteString(`{"verb":"create","annota`) // the API server was killed
	audit := filepath.Join(dir, "audit.log")
	if err := os.WriteFile(audit, []byte(log.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	compare := func() (missing, broken []string) {
		t.Helper()
		ids, refusals, err := told([]string{audit})
		if err != nil {
			t.Fatal(err)
		}
		if refusals != 2 { // the second of each replica
			t.Errorf("got %d refusals, want 2", refusals)
		}
		kept, broken, err := written(t.Context(), folders)
		if err != nil {
			t.Fatal(err)
		}
		return lost(ids, kept), broken
	}
	if missing, broken := compare(); len(missing) > 0 || len(broken) > 0 {
		t.Errorf("nothing is lost, and got %q and broken journals %q", missing, broken)
	}
	files, err := filepath.Glob(filepath.Join(folders[1], "*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the journal has the files %q: %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSpace(string(text)), "\n")
	cut := slices.Concat(lines[:2], lines[3:])
	if err := os.WriteFile(files[0], []byte(strings.Join(cut, "")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if missing, broken := compare(); len(missing) != 1 || len(broken) != 1 {
		t.Errorf("one line is missing, and got %q and broken journals %q", missing, broken)
	}
}

func TestASecretIsNeitherEmptiedNorTakenBack(t *testing.T) {
	l := newSecretLoad(&soak{})
	for _, step := range []struct {
		name   string
		change watch.EventType
		data   map[string]string
		want   string
	}{
		{"kv-1", watch.Added, map[string]string{"value": "v-00000002"}, ""},
		{"kv-1", watch.Modified, map[string]string{"value": "v-00000004"}, ""},
		{"kv-1", watch.Modified, map[string]string{"value": "v-00000003"}, "went back from 4 to 3"},
		{"kv-1", watch.Modified, nil, "holds"},
		{"kv-1", watch.Deleted, map[string]string{"value": "v-00000004"}, "was deleted"},
		{"creds-0", watch.Modified, map[string]string{"password": "made"}, ""},
		{"creds-0", watch.Modified, map[string]string{"username": "v-shop"}, "has no password"},
		{"churn-0", watch.Deleted, nil, ""},
		{"another", watch.Deleted, nil, ""},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: step.name}, Data: map[string][]byte{}}
		for key, value := range step.data {
			secret.Data[key] = []byte(value)
		}
		if got := l.problem(step.change, secret); (got == "") != (step.want == "") || !strings.Contains(got, step.want) {
			t.Errorf("%s %s %v: got %q, want %q", step.change, step.name, step.data, got, step.want)
		}
	}
}

// TestASecretThatGoesUnwatchedIsSeen has Secrets go between two lists.
func TestASecretThatGoesUnwatchedIsSeen(t *testing.T) {
	l := newSecretLoad(&soak{})
	named := func(name string) corev1.Secret {
		return corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"value": []byte("v-00000001"), "password": []byte("made")}}
	}
	var all []corev1.Secret
	for _, name := range []string{"kv-0", "kv-1", "creds-0", "creds-1", "churn-0"} {
		all = append(all, named(name))
		if got := l.problem(watch.Modified, &all[len(all)-1]); got != "" {
			t.Fatal(got)
		}
	}
	if got := l.gone(all); len(got) > 0 {
		t.Errorf("got %q gone, want none", got)
	}
	if got := l.problem(watch.Deleted, &all[1]); got == "" {
		t.Error("a Secret that is deleted is not seen")
	}
	left := []corev1.Secret{named("kv-0"), named("creds-1")}
	if got := l.gone(left); !slices.Equal(got, []string{"creds-0"}) { // kv-1 was told, churn-0 may go
		t.Errorf("got %q gone, want creds-0", got)
	}
	if got := l.gone(left); len(got) > 0 {
		t.Errorf("got %q gone again, want none", got)
	}
}

func TestAnEventIsAnsweredAsItHasToBe(t *testing.T) {
	released := &runtimev1alpha1.Statement{By: onCall}
	one, none := []string{"incident"}, []string(nil)
	for name, test := range map[string]struct {
		victim    victim
		phase     runtimev1alpha1.Phase
		release   *runtimev1alpha1.Statement
		incidents []string
		reopened  int64
		want      string
	}{
		"contained":                           {victim{}, runtimev1alpha1.PhaseContained, nil, one, 0, ""},
		"without an Incident":                 {victim{}, runtimev1alpha1.PhaseContained, nil, none, 0, "it made 0 Incidents"},
		"with two":                            {victim{}, runtimev1alpha1.PhaseContained, nil, []string{"a", "b"}, 0, "it made 2 Incidents"},
		"not yet":                             {victim{}, runtimev1alpha1.PhaseContaining, nil, one, 0, "want Contained"},
		"released though nobody asked":        {victim{}, runtimev1alpha1.PhaseReleased, released, none, 0, "nobody asked"},
		"released":                            {victim{asked: true, release: true}, runtimev1alpha1.PhaseReleased, released, none, 0, ""},
		"asked for, and still contained":      {victim{asked: true, release: true}, runtimev1alpha1.PhaseContained, released, none, 0, "want Released"},
		"forgotten that somebody asked":       {victim{asked: true, release: true}, runtimev1alpha1.PhaseContained, nil, one, 0, "want Released"},
		"the answer was lost, and it is over": {victim{asked: true}, runtimev1alpha1.PhaseReleased, released, none, 0, ""},
		"the answer was lost, and it counts":  {victim{asked: true}, runtimev1alpha1.PhaseContained, released, none, 0, "want Released"},
		"the request was lost":                {victim{asked: true}, runtimev1alpha1.PhaseContained, nil, one, 0, ""},
		"answered twice":                      {victim{}, runtimev1alpha1.PhaseContained, nil, one, 1, "twice"},
	} {
		q := &runtimev1alpha1.Quarantine{}
		q.Spec.Release, q.Status.Phase, q.Status.Incidents, q.Status.Reopened = test.release, test.phase, test.incidents, test.reopened
		if got := (&eventLoad{}).answer(&test.victim, q); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
	if got := (&eventLoad{}).answer(&victim{}, nil); got == "" {
		t.Error("an event without a Quarantine is not seen")
	}
}

func TestFaultsHaveNamesOfTheirOwn(t *testing.T) {
	names := Faults()
	if sorted := slices.Compact(slices.Sorted(slices.Values(names))); len(sorted) != len(names) || len(names) < 30 {
		t.Errorf("got %d names, %d of them different", len(names), len(sorted))
	}
}
