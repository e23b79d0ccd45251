// Package revisiontest has the files of a small bundle, for tests.
package revisiontest

import "fmt"

// Policy is the one policy of [Files].
const Policy = `# METADATA
# title: Replicas
# description: At most three.
# custom:
#   severity: low
#   remediation: Lower it.
#   match:
#     resources: [{group: apps, resources: [deployments]}]
package portcullis.acme.replicas

deny contains finding if {
	input.object.spec.replicas > 3
	finding := {
		"path": "spec.replicas",
		"msg": "too many",
		"fix": [{"op": "set", "path": "spec.replicas", "value": 3}],
	}
}
`

// Files are those of a bundle that works: one policy, acme/replicas, and a sample of what it denies.
func Files(name string, serial int) map[string]string {
	return map[string]string{
		"bundle.yaml":                           fmt.Sprintf("apiVersion: policy.portcullis.dev/v1alpha1\nkind: Bundle\nname: %s\nserial: %d\npolicies: [{policy: acme/replicas}]\n", name, serial),
		"acme/replicas/policy.rego":             Policy,
		"acme/replicas/testdata/deny/many.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 9}\n",
	}
}
