// Package reporttest has the definitions of reports for tests: what the published ones of wgpolicyk8s.io/v1alpha2 and
// openreports.io/v1alpha1 accept and keep, field by field, without their descriptions.
package reporttest

import "strings"

// Definitions of one format, of both kinds, as YAML.
var (
	// PolicyReport are those of wgpolicyk8s.io/v1alpha2 as they are since 2022.
	PolicyReport = definitions("wgpolicyk8s.io", "v1alpha2", "PolicyReport", "critical, high, low, medium, info", false)
	// FirstPolicyReport are those of 2021, which many clusters still have: no result is critical.
	FirstPolicyReport = definitions("wgpolicyk8s.io", "v1alpha2", "PolicyReport", "high, low, medium", false)
	// OpenReports are those of openreports.io/v1alpha1.
	OpenReports = definitions("openreports.io", "v1alpha1", "Report", "critical, high, low, medium, info", true)
)

// Structural schemas prune what they do not name, so that a field of ours that is not there is lost.
const schema = `
      openAPIV3Schema:
        type: object
        properties:
          apiVersion: {type: string}
          kind: {type: string}
          metadata: {type: object}
SOURCE          scope: &reference
            type: object
            properties:
              apiVersion: {type: string}
              fieldPath: {type: string}
              kind: {type: string}
              name: {type: string}
              namespace: {type: string}
              resourceVersion: {type: string}
              uid: {type: string}
          summary:
            type: object
            properties:
              error: {type: integer}
              fail: {type: integer}
              pass: {type: integer}
              skip: {type: integer}
              warn: {type: integer}
          results:
            type: array
            items:
              type: object
              required: [policy]
              properties:
                category: {type: string}
                message: {type: string}
                policy: {type: string}
                properties: {type: object, additionalProperties: {type: string}}
                resources: {type: array, items: *reference}
                result: {type: string, enum: [pass, fail, warn, error, skip]}
                rule: {type: string}
                scored: {type: boolean}
                severity: {type: string, enum: [SEVERITIES]}
                source: {type: string}
                timestamp:
                  type: object
                  required: [nanos, seconds]
                  properties:
                    nanos: {type: integer, format: int32}
                    seconds: {type: integer, format: int64}
`

func definitions(group, version, kind, severities string, source bool) []byte {
	field := ""
	if source {
		field = "          source: {type: string}\n"
	}
	fields := strings.NewReplacer("SEVERITIES", severities, "SOURCE", field).Replace(schema)
	var documents []string
	for scope, kind := range map[string]string{"Namespaced": kind, "Cluster": "Cluster" + kind} {
		plural := strings.ToLower(kind) + "s"
		documents = append(documents, `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: `+plural+"."+group+`
spec:
  group: `+group+`
  scope: `+scope+`
  names: {kind: `+kind+`, listKind: `+kind+`List, plural: `+plural+`, singular: `+strings.ToLower(kind)+`}
  versions:
  - name: `+version+`
    served: true
    storage: true
    schema:`+fields)
	}
	return []byte(strings.Join(documents, "---\n"))
}
