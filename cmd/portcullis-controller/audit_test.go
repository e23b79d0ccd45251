package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/admission/audit/report/reporttest"
	"github.com/portcullis-dev/portcullis/cmd/internal/program"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	scans "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

func TestMistakesOfTheAuditEndWithTheNextStep(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"passes without end":           {[]string{"--audit", "--audit-interval=1s"}, "give 5m0s or more"},
		"reports of another kind":      {[]string{"--audit", "--audit-reports=sarif"}, "give auto, policyreport, openreports or none"},
		"an interval of nothing":       {[]string{"--audit-interval=1h"}, "give --audit, too"},
		"something to skip of nothing": {[]string{"--audit-skip=secrets"}, "give --audit, too"},
		"nothing to skip":              {[]string{"--audit", "--audit-skip=secrets,"}, "give resources, as secrets or jobs.batch"},
		"policies from elsewhere":      {[]string{"--audit", "--audit-bundle=oci://r.example/b@sha256:0"}, "name what is in a registry or Git in a PolicyBundle"},
		"policies that are no folder":  {[]string{"--audit", "--audit-bundle=mine"}, "or a folder, as ./policies"},
		"scans of nothing":             {[]string{"--audit-rescan"}, "give --audit, too"},
		"scans of what is left out":    {[]string{"--audit", "--audit-rescan", "--audit-skip=pods"}, "leaves pods out"},
		"policies of nothing":          {[]string{"--audit-bundle=library"}, "give --audit, too"},
		"a profile of the cluster":     {[]string{"--audit", "--audit-profile=baseline"}, "each PolicyBundle chooses by namespace"},
		"a name that no Lease has":     {[]string{"--audit", "--name=Replica_1"}, "give another one for --audit"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := call(t, append([]string{"serve", "--namespace=guard"}, test.args...)...)
			if code != program.ExitUsage || !strings.Contains(stderr, test.says) {
				t.Errorf("got exit %d and %q, want %d and %q", code, stderr, program.ExitUsage, test.says)
			}
		})
	}
}

// TestTheAuditorMayReadWhatTheLibraryIsAbout fails when a policy about another kind joins the library.
func TestTheAuditorMayReadWhatTheLibraryIsAbout(t *testing.T) {
	may := map[string]bool{"extensions/daemonsets": true, "extensions/deployments": true, "extensions/replicasets": true} // served no more
	for document := range strings.SplitSeq(string(v1alpha1.Roles(v1alpha1.DefaultNamespace)), "\n---\n") {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			t.Fatal(err)
		}
		if role.Kind != "ClusterRole" || !strings.HasPrefix(role.Name, "portcullis-auditor") {
			continue
		}
		for _, rule := range role.Rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					may[group+"/"+resource] = slices.Contains(rule.Verbs, "list")
				}
			}
		}
	}
	bundle, err := policies.Load(library.FS())
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.NewEngine(bundle)
	if err != nil {
		t.Fatal(err)
	}
	for _, interest := range engine.Audited() {
		if !may[interest.Group+"/"+interest.Resource] {
			t.Errorf("the library is about %s/%s, which portcullis-auditor may not list", interest.Group, interest.Resource)
		}
	}
	for _, read := range engine.ReadsAt(policies.DoorAudit) {
		if !may[read.Group+"/"+read.Resource] {
			t.Errorf("the library reads %s/%s, which portcullis-auditor may not list", read.Group, read.Resource)
		}
	}
}

// TestTheProgramAuditsWithTheRolesThatItPrints runs it as a user who has these and no others.
func TestTheProgramAuditsWithTheRolesThatItPrints(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts an API server")
	}
	pictures := newImages(t)
	_, crds, _ := call(t, "crd")
	_, roles, _ := call(t, "roles", "--namespace=guard")
	crds += "\n---\n" + string(scans.Manifest)
	manifests := "apiVersion: v1\nkind: Namespace\nmetadata: {name: guard}\n---\n" + crds + "\n---\n" + roles + "\n---\n" + string(reporttest.PolicyReport) + "\n---\n" + `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "` + pictures.other.String() + `", securityContext: {privileged: true}}]}
` + pictures.pod() + `---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: rescan}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portcullis-auditor-rescan}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: controller}]}
`
	for _, name := range []string{"portcullis-controller", "portcullis-auditor"} {
		manifests += fmt.Sprintf(`---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: %[1]s}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %[1]s}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: controller}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: %[1]s, namespace: guard}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %[1]s}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: controller}]}
`, name)
	}
	control, client, _ := clustertest.Start(t, []cluster.User{{Name: "controller"}}, []byte(manifests))
	file, err := control.Kubeconfig("controller")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bundle.yaml"), pictures.bundle(t), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = client.Resource(v1alpha1.Bundles).Create(t.Context(), object(t, fmt.Sprintf("apiVersion: policy.portcullis.dev/v1alpha1\nkind: PolicyBundle\nmetadata: {name: acme}\nspec: {source: {directory: {path: %q}}, verification: {insecureUnsigned: true}, interval: 10s}\n", dir)), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	probes := free(t)
	ctx, end := context.WithCancel(t.Context())
	done := make(chan int)
	var log bytes.Buffer
	go func() {
		done <- run(ctx, append([]string{"serve"}, append(pictures.flags(), "--kubeconfig="+file, "--namespace=guard", "--name=one", "--probes="+probes, "--audit", "--audit-skip=secrets", "--audit-rescan")...), nil, io.Discard, &log)
	}()
	defer func() {
		end()
		if code := <-done; code != program.ExitOK || t.Failed() {
			t.Errorf("got exit %d, want %d: %s", code, program.ExitOK, log.String())
		}
	}()
	started(t, probes)
	pictures.started(t, client)
	pictures.work(t, client)
	reports := schema.GroupVersionResource{Group: "wgpolicyk8s.io", Version: "v1alpha2", Resource: "policyreports"}
	clustertest.Eventually(t, "a report", func() error {
		report, err := client.Resource(reports).Namespace("shop").Get(t.Context(), "portcullis", metav1.GetOptions{})
		if err != nil {
			return err
		}
		results, _, _ := unstructured.NestedSlice(report.Object, "results")
		if len(results) == 0 || !strings.Contains(fmt.Sprint(results[0]), "pods/privileged") {
			return fmt.Errorf("got %v", report.Object)
		}
		return nil
	})
	clustertest.Eventually(t, "an audit that is complete, in the metrics", func() error {
		response, err := http.Get("http://" + probes + "/metrics")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		for _, want := range []string{"\nportcullis_audit_incomplete 0\n", `portcullis_audit_violations{enforcement="deny",policy="pods/privileged",severity="critical"} 1`} {
			if err == nil && !bytes.Contains(content, []byte(want)) {
				err = fmt.Errorf("there is no %q", want)
			}
		}
		return err
	})
	pictures.renewed(t, client)
}
