package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The published schema refuses fields that it does not have, so that one which is added to the report and not to it is noticed.
func TestThePlanOfAQuarantineFollowsItsSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/quarantine-plan.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"pod.yaml": `{"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "bare", "uid": "1"}, "spec": {"nodeName": "n", "priorityClassName": "p", "serviceAccountName": "s", "containers": [{"name": "c", "image": "i"}]}}`,
		"node.yaml": `{"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "node"},
			"spec": {"hostNetwork": true, "hostPID": true, "containers": [{"name": "c", "image": "i", "securityContext": {"privileged": true}}]}}`,
		"job.yaml": `{"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"namespace": "shop", "name": "nightly"},
			"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, arguments := range []string{
		"shop/bare", "shop/bare --cni calico", "shop/node --cni cilium", "shop/nightly --cni antrea --action isolate --action condemn --action scale --action revoke",
		"shop/bare --cni none --keep-labels", "shop/bare --cni ovn-kubernetes --deny-tier AdminNetworkPolicy --action evict --action detach",
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"quarantine", "plan", "--manifests", dir, "--format", "json"}, strings.Fields(arguments)...), strings.NewReader(""), &stdout, &stderr)
		if code > 1 {
			t.Errorf("%s: got exit code %d: %s", arguments, code, &stderr)
			continue
		}
		document, err := jsonschema.UnmarshalJSON(&stdout)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(document); err != nil {
			t.Errorf("%s: %v", arguments, err)
		}
	}
}
