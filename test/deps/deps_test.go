// Package deps keeps the architecture: who may import whom, and what each program
// may link.
package deps

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/portcullis-dev/portcullis/"

// levels are the packages from the ground up. A package imports packages of lower
// levels only; two of one level do not know each other, except below one folder.
var levels = [][]string{
	{"admission/manifest", "admission/workload", "admission/patch", "signer", "policies/archive", "policies/redaction", "policies/tracing", "runtime/response", "runtime/isolation", "secrets"},
	{"admission/decisions", "admission/proposals", "scanner", "signer/registry", "signer/gitsign", "signer/clusterimagepolicy", "runtime/v1alpha1", "secrets/v1alpha1"},
	{"policies", "policies/library", "policies/v1alpha1"},
	{"policies/gatekeeper", "policies/conftest", "policies/admissionpolicy"},
	{"admission"},
	{"policies/sample"},
	{"policies/revision"},
	{"admission/webhook", "admission/audit", "admission/gate", "admission/informer", "admission/evidence", "admission/event", "admission/shadow", "policies/journal", "policies/rollout", "signer/cosign", "signer/signertest", "signer/registrytest", "scanner/trivy", "scanner/child", "scanner/database", "scanner/queue", "runtime/falco", "runtime/pods", "runtime/containment", "runtime/evidence", "runtime/notify", "runtime/guard", "secrets/vault", "secrets/engine", "secrets/content", "secrets/leases", "secrets/destination", "secrets/restart"},
	{"policies/source", "runtime/quarantine", "secrets/inquiry", "admission/registration"},
	{"policies/cluster", "policies/controller", "runtime/responder", "secrets/controller"},
	{"cmd/internal/version", "cmd/internal/usage", "cmd/internal/registryflags", "cmd/internal/scanreport", "cmd/internal/installation"},
	{"cmd/internal/bundlesource", "cmd/internal/metrics", "cmd/internal/journalflags", "cmd/internal/judging", "cmd/internal/program", "cmd/internal/replica", "cmd/internal/doctor", "cmd/internal/supportbundle", "cmd/internal/backup", "cmd/internal/telemetry"},
	{"cmd/portcullis", "cmd/portcullis-webhook", "cmd/portcullis-scanner", "cmd/portcullis-controller", "cmd/portcullis-responder", "cmd/portcullis-secrets", "cmd/portcullis-console"},
}

// forbidden are modules that a program must not link, with the reason.
var forbidden = map[string]map[string]string{
	"cmd/portcullis-webhook": {
		"github.com/hashicorp/vault":                     "secrets are those of portcullis-secrets",
		"helm.sh/helm":                                   "the admission process renders nothing",
		"sigs.k8s.io/kustomize":                          "the admission process renders nothing",
		"github.com/go-git":                              "bundles are fetched and verified elsewhere",
		"github.com/falcosecurity/client-go":             "events are the responder's",
		"github.com/aquasecurity/trivy":                  "the webhook never scans",
		"k8s.io/kubernetes":                              "the control plane is for tests",
		"github.com/stretchr/testify":                    "a test library",
		"github.com/sigstore/sigstore/pkg/signature/kms": "keys are PEM in the bundle: a reference to a key manager runs programs",
		"github.com/sigstore/cosign/v2/cmd":              "the library is enough",
		"github.com/sigstore/cosign/v2/pkg/policy":       "one policy language",
		"k8s.io/pod-security-admission":                  "only tests compare with it",
		"github.com/open-policy-agent/opa/v1/server":     "the engine is embedded: no REST API (CVE-2025-46569)",
	},
	"cmd/portcullis-controller": {
		"github.com/hashicorp/vault":                     "secrets are those of portcullis-secrets",
		"helm.sh/helm":                                   "it renders nothing",
		"github.com/aquasecurity/trivy":                  "scans are the scanner's",
		"k8s.io/kubernetes":                              "the control plane is for tests",
		"github.com/sigstore/sigstore/pkg/signature/kms": "keys are PEM: a reference to a key manager runs programs",
		"github.com/sigstore/cosign/v2/cmd":              "the library is enough",
		"github.com/open-policy-agent/opa/v1/server":     "the engine is embedded: no REST API (CVE-2025-46569)",
	},
	"cmd/portcullis-responder": {
		"github.com/hashicorp/vault":                     "secrets are those of portcullis-secrets",
		"helm.sh/helm":                                   "it renders nothing",
		"github.com/go-git":                              "bundles are fetched and verified elsewhere",
		"github.com/aquasecurity/trivy":                  "scans are the scanner's",
		"k8s.io/kubernetes":                              "the control plane is for tests",
		"github.com/sigstore/sigstore/pkg/signature/kms": "keys are PEM: a reference to a key manager runs programs",
		"github.com/sigstore/cosign/v2/cmd":              "the library is enough",
		"github.com/open-policy-agent/opa/v1/server":     "the engine is embedded: no REST API (CVE-2025-46569)",
	},
	"cmd/portcullis-secrets": {
		"helm.sh/helm":                                   "it renders nothing",
		"github.com/go-git":                              "bundles are fetched and verified elsewhere",
		"github.com/aquasecurity/trivy":                  "scans are the scanner's",
		"github.com/falcosecurity/client-go":             "events are the responder's",
		"github.com/hashicorp/vault/sdk":                 "Vault's API is enough; the rest of it is under another licence",
		"k8s.io/kubernetes":                              "the control plane is for tests",
		"github.com/sigstore/sigstore/pkg/signature/kms": "keys are PEM: a reference to a key manager runs programs",
		"github.com/sigstore/cosign/v2/cmd":              "the library is enough",
		"github.com/open-policy-agent/opa/v1/server":     "the engine is embedded: no REST API (CVE-2025-46569)",
	},
	"cmd/portcullis-console": {
		"github.com/open-policy-agent/opa":       "a page judges nothing",
		"github.com/sigstore":                    "signatures are verified at admission",
		"github.com/aquasecurity/trivy":          "scans are the scanner's",
		"github.com/hashicorp/vault":             "secrets are those of portcullis-secrets",
		"github.com/go-git":                      "bundles are fetched and verified elsewhere",
		"helm.sh/helm":                           "it renders nothing",
		"sigs.k8s.io/kustomize":                  "it renders nothing",
		"github.com/falcosecurity/client-go":     "events are the responder's",
		"github.com/google/go-containerregistry": "it asks no registry",
		module + "signer/cosign":                 "signatures are verified at admission",
		"k8s.io/kubernetes":                      "the control plane is for tests",
		"github.com/gorilla/websocket":           "only tests drive a browser",
	},
	"cmd/portcullis-scanner": {
		module + "policies":       "a scanner finds facts and decides nothing",
		module + "admission/gate": "a scanner finds facts and decides nothing",
		"k8s.io/kubernetes":       "the control plane is for tests",
	},
	"cmd/portcullis": {
		"github.com/sigstore/sigstore/pkg/signature/kms": "keys are files: a reference to a key manager runs programs",
		"github.com/sigstore/cosign/v2/cmd":              "the library is enough",
		"github.com/aquasecurity/trivy":                  "scans run in a child process",
		"k8s.io/kubernetes":                              "the control plane is for tests",
		"k8s.io/pod-security-admission":                  "only tests compare with it",
		"github.com/open-policy-agent/opa/v1/server":     "the engine is embedded: no REST API (CVE-2025-46569)",
	},
}

// grounded are packages below policies that know nothing of policies, which every program may link: for its logs and traces.
var grounded = []string{"policies/redaction", "policies/tracing"}

// listed is what "go list -json" says of a package.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, arguments ...string) []listed {
	t.Helper()
	command := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, arguments...)...)
	command.Dir = "../.."
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var one listed
		if err := decoder.Decode(&one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// place is the level and the room of a package, -1 for one outside the table. A
// room is an entry of the table; packages below it belong to it.
func place(path string) (int, string) {
	best, room := -1, ""
	for level, rooms := range levels {
		for _, r := range rooms {
			if (path == r || strings.HasPrefix(path, r+"/")) && len(r) > len(room) {
				best, room = level, r
			}
		}
	}
	return best, room
}

func TestImportsGoOneWay(t *testing.T) {
	for _, p := range list(t, "./admission/...", "./policies/...", "./signer/...", "./scanner/...", "./runtime/...", "./secrets/...", "./cmd/...") {
		path := strings.TrimPrefix(p.ImportPath, module)
		level, room := place(path)
		if path == "runtime" && len(p.Imports) == 0 {
			continue // documentation only
		}
		if level < 0 {
			t.Errorf("package %s has no place in the table of levels: give it one", path)
			continue
		}
		for _, imported := range p.Imports {
			other, ok := strings.CutPrefix(imported, module)
			if !ok {
				continue
			}
			otherLevel, otherRoom := place(other)
			if otherLevel < level || otherRoom == room {
				continue
			}
			t.Errorf("%s (level %d) imports %s (level %d): imports go to lower levels only", path, level, other, otherLevel)
		}
	}
}

// programs are all programs, with what they link.
func programs(t *testing.T) map[string]listed {
	t.Helper()
	found := map[string]listed{}
	for _, p := range list(t, "./cmd/...") {
		if program := strings.TrimPrefix(p.ImportPath, module); forbidden[program] != nil {
			found[program] = p
		}
	}
	if len(found) != len(forbidden) {
		t.Fatalf("got %d programs, want %d", len(found), len(forbidden))
	}
	return found
}

func TestProgramsLinkNoMoreThanTheyMay(t *testing.T) {
	for program, p := range programs(t) {
		for path, why := range forbidden[program] {
			if slices.ContainsFunc(p.Deps, func(dep string) bool {
				return (dep == path || strings.HasPrefix(dep, path+"/")) && !slices.Contains(grounded, strings.TrimPrefix(dep, module))
			}) {
				t.Errorf("%s links %s: %s", program, path, why)
			}
		}
	}
}

// testers are packages of others that drag package testing into the webhook, with what they are for.
var testers = map[string]string{
	"github.com/digitorus/pkcs7":                 "reads RFC 3161 timestamps",
	"github.com/sigstore/sigstore/pkg/tuf":       "cosign's package links it; nothing calls it",
	"github.com/open-policy-agent/opa/v1/tester": "runs the Rego tests of bundles for the controller and the command line; the webhook calls it never",
}

func TestNoTestCodeIsLinkedIntoAProgram(t *testing.T) {
	for program, p := range programs(t) {
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, module+"test/") {
				t.Errorf("%s links %s", program, dep)
			}
		}
	}
	// Helm's engine drags package testing into the command line; the webhook has no such excuse.
	for _, p := range list(t, "-deps", "./cmd/portcullis-webhook") {
		if slices.Contains(p.Imports, "testing") && testers[p.ImportPath] == "" {
			t.Errorf("the webhook links testing by way of %s", p.ImportPath)
		}
	}
}
