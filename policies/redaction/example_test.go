package redaction_test

import (
	"fmt"

	"github.com/portcullis-dev/portcullis/policies/redaction"
)

func ExampleRedactor_Text() {
	var r redaction.Redactor
	fmt.Println(r.Text("sh -c curl -H 'Authorization: Bearer abcdef123456' https://ann:hunter2@example.org --password=hunter2"))
	// Output: sh -c curl -H 'Authorization: [redacted] [redacted]' https://ann:[redacted]@example.org --password=[redacted]
}
