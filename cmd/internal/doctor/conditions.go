package doctor

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"
)

var (
	getOptions  = metav1.GetOptions{}
	listOptions = metav1.ListOptions{Limit: 1000}
)

// condition is one of an object's status.
type condition struct {
	Status, Reason, Message string
	Since                   time.Time
}

// conditionOf is the condition of a type; its zero value where there is none.
func conditionOf(object *unstructured.Unstructured, name string) condition {
	list, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, item := range list {
		fields, _ := item.(map[string]any)
		if fields["type"] != name {
			continue
		}
		text := func(field string) string { s, _ := fields[field].(string); return s }
		since, _ := time.Parse(time.RFC3339, text("lastTransitionTime"))
		return condition{Status: text("status"), Reason: text("reason"), Message: text("message"), Since: since}
	}
	return condition{}
}

// ago is a time for people: "3h ago".
func ago(now, then time.Time) string { return duration.HumanDuration(now.Sub(then)) + " ago" }

// labelSet are labels as selectors want them.
func labelSet(of map[string]string) labels.Set { return labels.Set(of) }

// namespaceOf is that of NAMESPACE/NAME.
func namespaceOf(name string) string {
	namespace, _, _ := strings.Cut(name, "/")
	return namespace
}

// decode reads an object into its type, by way of JSON: the converter of apimachinery does not know types that read themselves from text.
func decode(object *unstructured.Unstructured, into any) error {
	written, err := json.Marshal(object.Object)
	if err == nil {
		err = json.Unmarshal(written, into)
	}
	if err != nil {
		return fmt.Errorf("reading the %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}
