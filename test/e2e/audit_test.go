package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// auditEvent is what a test reads of a line of the API server's audit log.
type auditEvent struct {
	AuditID    string `json:"auditID"`
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	Annotations map[string]string `json:"annotations"`
}

// readAudit reads the whole audit log.
func readAudit(t *testing.T, file string) []auditEvent {
	t.Helper()
	log, err := os.Open(file)
	must(t, err)
	defer log.Close()
	var events []auditEvent
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var event auditEvent
		if json.Unmarshal(lines.Bytes(), &event) == nil { // the last line may be half written
			events = append(events, event)
		}
	}
	must(t, lines.Err())
	return events
}

// writesBy are the requests by which a user changed something or tried to.
func writesBy(events []auditEvent, user string) []auditEvent {
	return slices.DeleteFunc(slices.Clone(events), func(e auditEvent) bool {
		reads := []string{"get", "list", "watch"}
		reviews := []string{"tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews"}
		return e.User.Username != user || slices.Contains(reads, e.Verb) || slices.Contains(reviews, e.ObjectRef.Resource)
	})
}
