package notify

import (
	"bytes"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// The published schema refuses fields that it does not have, so that one which is added here and not there is noticed.
func TestTheDataOfEventsFollowTheirSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/notification.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	messages := []Message{NewMessage(Details{Kind: KindBreakerOpened, Time: noon, Until: noon.Add(time.Minute)})}
	for _, kind := range Kinds() {
		messages = append(messages, About(kind, shell(func(q *v1alpha1.Quarantine) {
			q.Status.Verdict, q.Status.Residual = "Residual", []string{"egress to anything, UDP 53"}
		}), noon, "x"))
	}
	for _, m := range messages {
		_, body, err := (&CloudEvents{cluster: "production", binary: true}).encode(m)
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(document); err != nil {
			t.Errorf("%s: %v\n%s", m.Details().Kind, err, body)
		}
	}
}
