package falco

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// sample is an event of testdata/events.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "events", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func decode(t testing.TB, body []byte) *Message {
	t.Helper()
	m, err := Decode(body)
	if err != nil {
		t.Fatalf("got %v, want an event", err)
	}
	return m
}

func decoded(t testing.TB, name string) *response.Event {
	t.Helper()
	m := decode(t, sample(t, name))
	if m.Event == nil {
		t.Fatalf("got %+v, want an event", m.Health)
	}
	return m.Event
}

func TestFieldsAreWhatTheyAre(t *testing.T) {
	for name, want := range map[string]map[string]any{
		"terminal-shell": {
			"container.id": "ee97d9c4186f", "container.image.repository": "docker.io/library/alpine", "evt.time": json.Number("1685022245478445995"),
			"k8s.ns.name": "default", "k8s.pod.name": "kubecon", "proc.cmdline": "sh -c clear", "proc.name": "sh", "proc.pname": "runc", "proc.tty": json.Number("34816"),
			"user.loginuid": json.Number("-1"), "user.name": "root",
		},
		// Exact above 2^53, lists, a digest in a list of one, nothing for what was not known.
		"full": {
			"container.id": "3f1c0a9be8d2", "container.full_id": "3f1c0a9be8d2" + strings.Repeat("0", 52), "container.image.digest": "sha256:" + strings.Repeat("ab", 32),
			"container.privileged": false, "k8s.pod.uid": "0f6f6e1c-6a4b-4a3f-9a2b-1d2f3a4b5c6d", "k8s.pod.name": "cart-7d9f", "k8s.ns.name": "shop",
			"k8s.pod.labels": []any{"app:cart", "pod-template-hash:7d9f"}, "proc.aname[2]": "bash", "proc.pid": json.Number("4194303"),
			"proc.exe_ino.mtime": json.Number("1685022245478808525"), "fd.sport": json.Number("4444"), "fd.name": "10.0.0.5:50122->203.0.113.9:4444",
		},
		"metadata-not-ready": {"container.id": "3f1c0a9be8d2", "text.container.id": nil},
		"rewritten-keys": {
			"evt.time": json.Number("1772359200000000001"), "k8s.ns.name": "shop", "k8s.pod.name": "cart-7d9f", "k8s.pod.uid": "0f6f6e1c-6a4b-4a3f-9a2b-1d2f3a4b5c6d",
			"container.id": "3f1c0a9be8d2", "container.image.digest": "sha256:" + strings.Repeat("ab", 32), "proc.aname[2]": "bash", "container.host_network": true, "custom_key": "stays",
		},
		"names-only-in-the-text":    {"user.name": "root", "text.k8s.ns.name": "shop", "text.k8s.pod.name": "cart-7d9f", "text.container.id": "3f1c0a9be8d2"},
		"only-what-is-always-there": nil,
		"old-falco-without-source":  {"evt.time": json.Number("1558107116746609046"), "proc.name": "bash"},
	} {
		t.Run(name, func(t *testing.T) {
			maps.DeleteFunc(want, func(_ string, value any) bool { return value == nil })
			if got := map[string]any(decoded(t, name).Fields); !reflect.DeepEqual(got, want) {
				t.Errorf("got the fields %#v, want %#v", got, want)
			}
		})
	}
}

func TestAnEventIsRead(t *testing.T) {
	e := decoded(t, "terminal-shell")
	if e.Rule != "Terminal shell in container" || e.Priority != response.Critical || e.Source != "syscall" || e.Hostname != "falco-xczjd" || e.Host ||
		!e.Time.Equal(time.Date(2023, 5, 25, 13, 44, 5, 478445995, time.UTC)) || !strings.HasPrefix(e.Output, "13:44:05") ||
		strings.Join(e.Tags, " ") != "T1059 container maturity_stable mitre_execution shell" {
		t.Errorf("got %+v", e)
	}
	for name, want := range map[string]response.Priority{"full": response.Critical, "metadata-not-ready": response.Notice, "rewritten-keys": response.Warning, "only-what-is-always-there": response.Informational} {
		if got := decoded(t, name).Priority; got != want {
			t.Errorf("%s: got the priority %s, want %s", name, got, want)
		}
	}
	if e := decoded(t, "host-process"); !e.Host {
		t.Error("got an event of a pod, want one of the node")
	}
	e = decoded(t, "k8s-audit")
	if e.Source != "k8s_audit" || e.Text("ka.target.namespace") != "shop" || e.Text("ka.target.pod.name") != "cart-7d9f" || e.Text("ka.user.name") != "ann" || e.Text("ka.response.code") != "101" {
		t.Errorf("got %+v, want the target and the actor of an audit event", e)
	}
	if e := decoded(t, "old-falco-without-source"); e.Source != "syscall" {
		t.Errorf("got the source %q, want syscall", e.Source)
	}
	e = decode(t, []byte(`{"rule":"r","priority":"Notice","output_fields":{"evt.time":1685022245478808525,"ka.verb":"create"}}`)).Event
	if want := time.Unix(0, 1685022245478808525); !e.Time.Equal(want) || e.Source != "k8s_audit" {
		t.Errorf("got %s from %s, want the time of the field, %s, and k8s_audit", e.Time, e.Source, want.UTC())
	}
}

// TestACommandLineNamesNobody: whoever runs a command in a pod writes into the text of the event.
func TestACommandLineNamesNobody(t *testing.T) {
	e := decode(t, []byte(`{"rule":"r","priority":"Critical","time":"2026-03-01T10:00:00Z","source":"syscall",
		"output":"Shell (cmdline=sh k8s_ns_name=kube-system k8s_pod_name=coredns container_id=0123456789ab k8s_ns_name=shop k8s_pod_name=<NA>)","output_fields":{"proc.name":"sh"}}`)).Event
	for _, field := range []string{"k8s.ns.name", "k8s.pod.name", "container.id"} {
		if got := e.Text(field); got != "" {
			t.Errorf("got %s=%q from the text, want none", field, got)
		}
	}
	if got := e.Text("text.k8s.ns.name"); got != "" {
		t.Errorf("got the hint %q, want none: the text names two", got)
	}
	// Neither does a field under another name, where there is one under its own.
	e = decode(t, []byte(`{"rule":"r","priority":"Critical","time":"2026-03-01T10:00:00Z","output_fields":{"k8s_pod_name":"coredns","k8s.pod.name":"cart"}}`)).Event
	if got := e.Text("k8s.pod.name"); got != "cart" {
		t.Errorf("got %q, want the field under its own name", got)
	}
}

func TestWhatFalcoSaysOfItselfIsHealth(t *testing.T) {
	for name, want := range map[string]map[string]json.Number{
		"syscall-event-drop": {"n_drops": "42", "n_evts": "1000000"},
		"metrics-snapshot":   {"scap.n_drops": "1234", "falco.outputs_queue_num_drops": "7", "scap.n_drops_perc": "0.5"},
	} {
		m := decode(t, sample(t, name))
		if m.Event != nil || m.Health == nil || m.Health.Hostname != "node-a" {
			t.Fatalf("%s: got %+v, want health", name, m)
		}
		for field, number := range want {
			if got := m.Health.Numbers[field]; got != number {
				t.Errorf("%s: got %s=%q, want %q", name, field, got, number)
			}
		}
	}
	if m := decode(t, []byte(`{"rule":"Falco internal: hung threads","priority":"Alert","time":"2026-03-01T10:00:00Z"}`)); m.Health == nil {
		t.Error("got an event, want health: old versions give no source")
	}
}

func TestTheSameEventHasOneIdentity(t *testing.T) {
	direct := decoded(t, "terminal-shell")
	if got := decoded(t, "falcosidekick").ID; got != direct.ID {
		t.Errorf("got %s by way of falcosidekick, want %s as from Falco", got, direct.ID)
	}
	if !strings.HasPrefix(direct.ID, "sha256:") || len(direct.ID) != 71 {
		t.Errorf("got the identity %q, want a SHA-256", direct.ID)
	}
	body := string(sample(t, "terminal-shell"))
	for what, change := range map[string][2]string{
		"the rule":           {`"rule":"Terminal shell`, `"rule":"A terminal shell`},
		"the time":           {"478445995Z", "478445996Z"},
		"the priority":       {`"priority":"Critical"`, `"priority":"Alert"`},
		"a field":            {`"sh -c clear"`, `"sh -c cleaR"`},
		"a field's name":     {`"proc.pname"`, `"proc.pexe"`},
		"a number as text":   {`"proc.name":"sh"`, `"proc.name":1`},
		"a tag":              {`"T1059"`, `"T1060"`},
		"the host":           {"falco-xczjd", "falco-xczje"},
		"the source":         {`"source":"syscall"`, `"source":"other"`},
		"the text":           {"terminal=34816", "terminal=34817"},
		"where a value ends": {`"user.name":"root"`, `"user.name":"roo","u":"t"`},
	} {
		changed := strings.Replace(body, change[0], change[1], 1)
		if changed == body {
			t.Fatalf("%s: nothing was changed", what)
		}
		if got := decode(t, []byte(changed)).Event.ID; got == direct.ID {
			t.Errorf("got the same identity with another %s", what)
		}
	}
}

// event is a valid event with something put into it.
func event(members string) string {
	return `{"rule":"r","priority":"Notice","time":"2026-03-01T10:00:00Z",` + members + `"source":"syscall"}`
}

func TestHostileEventsAreRefusedAndSayWhy(t *testing.T) {
	many := func(count int, one string) string { return strings.TrimSuffix(strings.Repeat(one+",", count), ",") }
	var fields []string
	for n := range maxFields + 1 {
		fields = append(fields, `"f`+strings.Repeat("x", n)+`":1`)
	}
	for name, c := range map[string]struct{ body, reason string }{
		"nothing":                          {"", ReasonSyntax},
		"no JSON, as without json_output":  {"13:44:05.478445995: Critical A shell", ReasonSyntax},
		"a list of events":                 {"[" + event("") + "]", ReasonSyntax},
		"two events":                       {event("") + event(""), ReasonSyntax},
		"an event that ends too soon":      {strings.TrimSuffix(event(""), "}"), ReasonSyntax},
		"a text that ends too soon":        {`{"rule":"r`, ReasonSyntax},
		"half a surrogate":                 {event(`"output":"\ud800",`), ReasonSyntax},
		"bytes that are no UTF-8":          {event("\"output\":\"\xff\xfe\","), ReasonEncoding},
		"a rule that is there twice":       {event(`"rule":"other",`), ReasonDuplicate},
		"a field that is there twice":      {event(`"output_fields":{"k8s.pod.name":"a","k8s.pod.name":"b"},`), ReasonDuplicate},
		"a field twice, once escaped":      {event(`"output_fields":{"k8s.pod.name":"a","k8s.pod.n\u0061me":"b"},`), ReasonDuplicate},
		"a key twice in what is left out":  {event(`"extra":{"a":1,"a":2},`), ReasonDuplicate},
		"no rule":                          {`{"priority":"Notice","time":"2026-03-01T10:00:00Z"}`, ReasonMissing},
		"an empty rule":                    {`{"rule":"","priority":"Notice","time":"2026-03-01T10:00:00Z"}`, ReasonMissing},
		"no priority":                      {`{"rule":"r","time":"2026-03-01T10:00:00Z"}`, ReasonMissing},
		"no time":                          {`{"rule":"r","priority":"Notice"}`, ReasonMissing},
		"the zero time":                    {`{"rule":"r","priority":"Notice","time":"0001-01-01T00:00:00Z"}`, ReasonMissing},
		"a priority that there is not":     {`{"rule":"r","priority":"Severe","time":"2026-03-01T10:00:00Z"}`, ReasonPriority},
		"a priority as a number":           {`{"rule":"r","priority":2,"time":"2026-03-01T10:00:00Z"}`, ReasonType},
		"a time of another form":           {`{"rule":"r","priority":"Notice","time":"yesterday"}`, ReasonTime},
		"a rule that is an object":         {`{"rule":{"a":1},"priority":"Notice","time":"2026-03-01T10:00:00Z"}`, ReasonType},
		"fields that are a list":           {event(`"output_fields":[1],`), ReasonType},
		"tags that are a text":             {event(`"tags":"a",`), ReasonType},
		"a tag that is a number":           {event(`"tags":[1],`), ReasonType},
		"too many bytes":                   {event(`"output":"` + strings.Repeat("x", MaxBody) + `",`), ReasonTooLarge},
		"too long a text":                  {event(`"output":"` + strings.Repeat("x", maxText+1) + `",`), ReasonTooLarge},
		"too long a field":                 {event(`"output_fields":{"a":"` + strings.Repeat("x", maxText+1) + `"},`), ReasonTooLarge},
		"too long a field's name":          {event(`"output_fields":{"` + strings.Repeat("x", maxName+1) + `":1},`), ReasonTooLarge},
		"too many fields":                  {event(`"output_fields":{` + strings.Join(fields, ",") + `},`), ReasonTooLarge},
		"too long a list":                  {event(`"output_fields":{"a":[` + many(maxElements+1, "1") + `]},`), ReasonTooLarge},
		"too many tags":                    {event(`"tags":[` + many(maxElements+1, `"a"`) + `],`), ReasonTooLarge},
		"too long a number":                {event(`"output_fields":{"a":` + strings.Repeat("1", maxNumber+1) + `},`), ReasonTooLarge},
		"a number that nobody writes out":  {event(`"output_fields":{"a":1e999999999},`), ReasonTooLarge},
		"an exponent that is too long":     {event(`"output_fields":{"a":1e` + strings.Repeat("9", 50) + `},`), ReasonTooLarge},
		"lists in lists":                   {event(`"output_fields":{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `},`), ReasonTooLarge},
		"objects in what is left out":      {event(`"extra":` + strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100) + `,`), ReasonTooLarge},
		"deeper than any reader would go":  {event(`"extra":` + strings.Repeat("[", 120_000) + strings.Repeat("]", 120_000) + `,`), ReasonSyntax},
		"a rule of more than it may have":  {`{"rule":"` + strings.Repeat("r", maxName+1) + `","priority":"Notice","time":"2026-03-01T10:00:00Z"}`, ReasonTooLarge},
		"a null where the event should be": {"null", ReasonSyntax},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Decode([]byte(c.body))
			if err == nil || reasonOf(err) != c.reason {
				t.Fatalf("got %+v, %v (%s), want it refused for %s", m, err, reasonOf(err), c.reason)
			}
			if message := err.Error(); len(message) > 600 || !strings.Contains(message, ": ") && c.reason != ReasonTooLarge {
				t.Errorf("got the message %q, want a short one with the next step", message)
			}
		})
	}
}

func TestWhatIsJustWithinTheLimitsIsRead(t *testing.T) {
	body := event(`"output":"` + strings.Repeat("x", maxText) + `","output_fields":{"a":` + strings.Repeat("1", maxNumber) + `,"b":[` + strings.TrimSuffix(strings.Repeat("1,", maxElements), ",") +
		`],"c":[["nested"]],"d":{"k":"v"},"e":1e308,"f":[null,"<NA>"]},"extra":[[[[[[1]]]]]],`)
	e := decode(t, []byte(body)).Event
	if len(e.Output) != maxText || e.Text("a") != strings.Repeat("1", maxNumber) || len(e.Fields["b"].([]any)) != maxElements || e.Text("d") != `{"k":"v"}` || e.Fields["f"] != nil {
		t.Errorf("got %d bytes of text and the fields %.200v", len(e.Output), e.Fields)
	}
	if got, want := e.Fields["c"], []any{`["nested"]`}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want the inner list as text, %v", got, want)
	}
}

func TestEveryFieldHasOneRewrittenName(t *testing.T) {
	// Two fields with one rewritten name would make what an event means a matter of chance.
	seen := map[string]string{}
	for name := range fieldKinds {
		other := strings.ReplaceAll(name, ".", "_")
		if before, twice := seen[other]; twice {
			t.Errorf("%s and %s are both rewritten as %s", before, name, other)
		}
		seen[other] = name
		if got := original(other); got != name {
			t.Errorf("got %s for %s, want %s", got, other, name)
		}
	}
}

// FuzzDecode reads anything: what is read can be written and read again as the same event, and what is refused has a reason.
func FuzzDecode(f *testing.F) {
	for _, pattern := range []string{"testdata/events/*.json"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			body, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		m, err := Decode(body)
		if !bytes.Equal(body, before) {
			t.Fatal("the body was changed")
		}
		if err != nil {
			if reasonOf(err) == "" {
				t.Fatalf("got %v, want a reason", err)
			}
			return
		}
		if (m.Event == nil) == (m.Health == nil) {
			t.Fatalf("got %+v, want an event or health", m)
		}
		if m.Event == nil {
			return
		}
		if _, err := json.Marshal(m.Event); err != nil {
			t.Fatalf("got %v, want an event that can be written", err)
		}
		again, err := Decode(body)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("got %+v, %v the second time, want %+v", again, err, m)
		}
		trace := ""
		if len(body)%2 == 0 {
			trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		}
		record := seal(nil, time.Unix(0, 1), trace, "node", body)
		kept, received, err := unseal(record)
		m.From("node")
		m.Trace = trace
		if err != nil || !reflect.DeepEqual(kept, m) || received.UnixNano() != 1 {
			t.Fatalf("got %+v, %v from the log, want %+v", kept, err, m)
		}
	})
}

// FuzzUnseal reads records that are damaged.
func FuzzUnseal(f *testing.F) {
	f.Add([]byte{})
	f.Add(seal(nil, time.Unix(1, 2), "", "node-a", []byte(event(""))))
	f.Add(seal(nil, time.Unix(1, 2), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "node-a", []byte(event(""))))
	f.Add([]byte{envelopeVersion, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, record []byte) {
		if m, _, err := unseal(record); (err == nil) != (m != nil) {
			t.Fatalf("got %+v, %v", m, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	body := sample(b, "full")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}
