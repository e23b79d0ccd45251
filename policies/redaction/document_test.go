package redaction

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestADocumentKeepsNoCredentialInAnyOfItsTexts(t *testing.T) {
	var pod any
	err := json.Unmarshal([]byte(`{"metadata":{"annotations":{"note":"token=hunter2","n":"1"}},"spec":{"containers":[{
		"command":["run","--password","hunter2","--level","debug"],"args":["--url=https://ann:hunter2@db"],"env":[{"name":"A_TOKEN","value":"hunter2"},{"name":"LEVEL","value":"debug"}]}]},
		"status":{"message":"failed with password: hunter2","n":12345678901234567890}}`), &pod)
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&Redactor{}).Document(pod)
	if err != nil || !json.Valid(got) || strings.Contains(string(got), "hunter2") {
		t.Errorf("got %s, %v, want JSON without credentials", got, err)
	}
	for _, part := range []string{`"debug"`, `"--password",`, `https://ann:[redacted]@db`, `"n": "1"`} {
		if !strings.Contains(string(got), part) {
			t.Errorf("got %s, want %s in it", got, part)
		}
	}
}

func TestADocumentThatIsNoneIsAnError(t *testing.T) {
	if got, err := (&Redactor{}).Document(func() {}); err == nil {
		t.Errorf("got %s", got)
	}
}

// What an attacker writes into an object breaks nothing, and hides nothing.
func FuzzDocument(f *testing.F) {
	for _, seed := range []string{`{"a":["--password","x"]}`, `[1,null,{"b":"token=x"}]`, `"\\ud800"`, `{"command":[["--password"],"x"]}`, `{"env":{"env":[1]}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var value any
		if json.Unmarshal([]byte(raw), &value) != nil {
			return
		}
		got, err := (&Redactor{}).Document(map[string]any{"a": value, "b": "password=hunter2hunter2", "args": []any{"--password", "hunter2hunter2"}})
		if err != nil || !json.Valid(got) || strings.Count(string(got), "hunter2hunter2") > strings.Count(raw, "hunter2hunter2") {
			t.Errorf("got %q, %v of %q", got, err, raw)
		}
	})
}
