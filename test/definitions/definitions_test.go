package definitions

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// complaints takes failures down.
type complaints struct {
	testing.TB
	all []string
}

func (c *complaints) Helper() {}

func (c *complaints) Errorf(format string, args ...any) {
	c.all = append(c.all, fmt.Sprintf(format, args...))
}

type Door struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Opens   metav1.Duration   `json:"opens"`
		Keys    []string          `json:"keys"`
		Colours map[string]string `json:"colours"`
		Inner   *Door             `json:"inner"`
	} `json:"spec"`
}

const doors = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: doors.house.example}
spec:
  group: house.example
  scope: Namespaced
  names: {kind: Door, plural: doors}
  versions:
  - name: v1
    schema:
      openAPIV3Schema:
        type: object
        properties:
          apiVersion: {type: string}
          kind: {type: string}
          metadata: {type: object}
          spec:
            type: object
            properties:
              opens: {type: string, pattern: '^([0-9]+(\.[0-9]+)?(h|m|s))+$|^0$'}
              keys: {type: array, maxItems: 3, items: {type: string}}
              colours: {type: object, additionalProperties: {type: string}}
`

func TestWhatDiffersIsNamed(t *testing.T) {
	want := Type{Resource: schema.GroupVersionResource{Group: "house.example", Version: "v1", Resource: "doors"}, Of: reflect.TypeFor[Door](), Namespaced: true, Bounded: true, End: "Door.spec.inner"}
	for name, test := range map[string]struct{ old, new, want string }{
		"nothing":                             {"", "", ""},
		"a field that the schema lacks":       {"keys: {type: array, maxItems: 3, items: {type: string}}", "", `has the fields ["colours" "opens"] in the schema`},
		"a field that the type lacks":         {"opens:", "shuts: {type: string}\n              opens:", `"shuts"`},
		"another type":                        {"items: {type: string}", "items: {type: integer}", `Door.spec.keys[] is of type "integer"`},
		"a list without an end":               {"maxItems: 3, ", "", "Door.spec.keys has no end"},
		"a map whose values are pruned":       {", additionalProperties: {type: string}", "", "would be pruned"},
		"a duration that Go does not read":    {"(h|m|s)", "(d|h|m|s)", `takes "1d": true`},
		"another scope":                       {"Namespaced", "Cluster", "doors.house.example is Cluster"},
		"a status of its own that is unknown": {"    schema:", "    subresources: {status: {}}\n    schema:", "status of its own: true"},
		"another version":                     {"name: v1", "name: v2", "first v2"},
		"another resource":                    {"doors.house", "gates.house", "no definition of doors.house.example"},
	} {
		t.Run(name, func(t *testing.T) {
			got := &complaints{TB: t}
			Hold(got, []byte(strings.Replace(doors, test.old, test.new, 1)), want)
			if all := strings.Join(got.all, "\n"); (test.want == "") != (all == "") || !strings.Contains(all, test.want) {
				t.Errorf("got %q, want %q", all, test.want)
			}
		})
	}
}
