package library_test

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/secrets"
)

// secretsPage is the page about policies of the group secrets.
const secretsPage = "../../docs/secrets-policies.md"

// namespacesAre are facts with the labels of every namespace.
type namespacesAre map[string]string

func (n namespacesAre) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	return policies.Facts{Namespace: &policies.Namespace{Name: needs.Namespace, Labels: n}}
}

// asking is a request of the namespace team-a to read secret/team-a/db, or what change makes of it.
func asking(operation string, change func(*secrets.Sync)) admission.Request {
	s := &secrets.Sync{
		Object:     secrets.SyncObject{Kind: "VaultSecret", Namespace: "team-a", Name: "db"},
		Connection: secrets.SyncConnection{Name: "main", Address: "https://vault.example.com:8200"},
		Auth:       secrets.SyncAuth{Name: "vault", Method: "kubernetes", Mount: "kubernetes", Role: "team-a", ServiceAccount: "vault"},
		Vault:      secrets.SyncPlace{Engine: secrets.EngineKV2, Mount: "secret", Path: "team-a/db"},

		Destination: secrets.SyncDestination{Kind: "Secret", Name: "db", Type: "Opaque"}, RefreshSeconds: 3600,
	}
	if change != nil {
		change(s)
	}
	s.Vault.Segments = strings.Split(s.Vault.Path, "/")
	resource := "vaultsecrets"
	if operation == secrets.OperationPush {
		s.Object.Kind, resource = "VaultPush", "vaultpushes"
	}
	return admission.Request{
		Door: admission.DoorSecrets, Operation: operation, Namespace: s.Object.Namespace, Name: s.Object.Name, Sync: s,
		Resource: metav1.GroupVersionResource{Group: "secrets.portcullis.dev", Version: "v1alpha1", Resource: resource},
		Kind:     metav1.GroupVersionKind{Group: "secrets.portcullis.dev", Version: "v1alpha1", Kind: s.Object.Kind},
	}
}

func decideSync(engine *policies.Engine, profile string, request admission.Request, labels map[string]string) admission.Verdict {
	reviewer := admission.NewReviewer(engine, namespacesAre(labels), sampleClock)
	reviewer.Pin(profile)
	return reviewer.Sync(context.Background(), request)
}

// deniedBy are the policies that deny.
func deniedBy(verdict admission.Verdict) []string {
	var names []string
	for _, f := range verdict.Findings {
		if admission.Denies(f) {
			names = append(names, f.Policy)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Peers let a namespace read what the operator may read (hashicorp/vault-secrets-operator#652), look into other namespaces (GHSA-77v3-r3jw-j2v2) and write there (GHSA-fcxq-v2r3-cc8h).
func TestInEveryProfileANamespaceReadsAndWritesItsOwnPlacesOnly(t *testing.T) {
	engine := wholeLibrary(t)
	for name, test := range map[string]struct {
		operation string
		change    func(*secrets.Sync)
		labels    map[string]string
		want      []string // policies that deny, of the group secrets
	}{
		"its own path":             {secrets.OperationSync, nil, nil, nil},
		"its own path, written":    {secrets.OperationPush, nil, nil, nil},
		"its own database role":    {secrets.OperationSync, func(s *secrets.Sync) { s.Vault = place(secrets.EngineDynamic, "database", "creds/team-a.rw") }, nil, nil},
		"its own certificate":      {secrets.OperationSync, func(s *secrets.Sync) { s.Vault = place(secrets.EnginePKI, "pki_int", "team-a") }, nil, nil},
		"its own key":              {secrets.OperationSync, func(s *secrets.Sync) { s.Vault = place(secrets.EngineTransit, "transit", "team-a_images") }, nil, nil},
		"its own AppRole":          {secrets.OperationSync, func(s *secrets.Sync) { s.Vault = place(secrets.EngineAppRole, "auth/approle", "team-a.ci") }, nil, nil},
		"another's path":           {secrets.OperationSync, func(s *secrets.Sync) { s.Vault.Path = "team-b/db" }, nil, []string{"secrets/path-carries-namespace"}},
		"a name that begins alike": {secrets.OperationSync, func(s *secrets.Sync) { s.Vault.Path = "team-a-evil/db" }, nil, []string{"secrets/path-carries-namespace"}},
		"another's path, written":  {secrets.OperationPush, func(s *secrets.Sync) { s.Vault.Path = "team-b/db" }, nil, []string{"secrets/path-carries-namespace"}},
		"a role that begins alike": {secrets.OperationSync, func(s *secrets.Sync) { s.Vault = place(secrets.EngineDynamic, "database", "creds/team-a-evil") }, nil, []string{"secrets/path-carries-namespace"}},
		"a path that climbs":       {secrets.OperationSync, func(s *secrets.Sync) { s.Vault.Path = "team-a/../team-b" }, nil, []string{"secrets/no-wildcard"}},
		"production":               {secrets.OperationSync, func(s *secrets.Sync) { s.Vault.Path = "team-a/prod/db" }, map[string]string{"environment": "production"}, []string{"secrets/production-paths"}},
		"production, by a guard":   {secrets.OperationSync, func(s *secrets.Sync) { s.Vault.Path = "team-a/prod/db" }, map[string]string{"policy.portcullis.dev/environment": "production"}, nil},
		"the account of every pod": {secrets.OperationSync, func(s *secrets.Sync) { s.Auth.ServiceAccount = "default" }, nil, []string{"secrets/service-account"}},
		"a role of another":        {secrets.OperationSync, func(s *secrets.Sync) { s.Auth.Role = "team-b" }, nil, []string{"secrets/service-account"}},
		"somebody else's Secret":   {secrets.OperationSync, func(s *secrets.Sync) { s.Destination.Adopts = true }, nil, []string{"secrets/no-adoption"}},
		"a Vault without TLS":      {secrets.OperationSync, func(s *secrets.Sync) { s.Connection.Address = "http://vault:8200" }, nil, []string{"secrets/connection-tls"}},
		"labels of one's own count": {secrets.OperationSync, func(s *secrets.Sync) {
			s.Object.Labels, s.Vault.Path = map[string]string{"namespace": "team-b"}, "team-b/db"
		}, nil, []string{"secrets/path-carries-namespace"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, profile := range []string{"baseline", "restricted", "hardened", "system"} {
				verdict := decideSync(engine, profile, asking(test.operation, test.change), test.labels)
				denied := slices.DeleteFunc(deniedBy(verdict), func(policy string) bool { return policy == policies.NoPermit })
				if verdict.Admitted != (test.want == nil) || !slices.Equal(denied, test.want) || len(verdict.Faults)+len(verdict.Undecided) > 0 {
					t.Errorf("%s: got admitted %v, denied by %q, faults %+v, undecided %+v; want denied by %q", profile, verdict.Admitted, denied, verdict.Faults, verdict.Undecided, test.want)
				}
			}
		})
	}
}

func place(engine, mount, path string) secrets.SyncPlace {
	return secrets.SyncPlace{Engine: engine, Mount: mount, Path: path}
}

func TestAgeAndLifeOfSecretsAreWarnedAboutAndDeniedInHighSecurityOnly(t *testing.T) {
	engine := wholeLibrary(t)
	old := func(s *secrets.Sync) { s.Secret = &secrets.SyncResult{AgeSeconds: 400 * 86400} }
	seldom := func(s *secrets.Sync) { s.RefreshSeconds = 7 * 86400 }
	for profile, admitted := range map[string]bool{"baseline": true, "restricted": true, "hardened": false} {
		for policy, change := range map[string]func(*secrets.Sync){"secrets/static-secret-age": old, "secrets/minimum-rotation": seldom} {
			verdict := decideSync(engine, profile, asking(secrets.OperationSync, change), nil)
			if verdict.Admitted != admitted || !slices.ContainsFunc(verdict.Findings, func(f policies.Finding) bool { return f.Policy == policy }) {
				t.Errorf("%s in %s: got admitted %v and %+v, want %v and a finding of it", policy, profile, verdict.Admitted, verdict.Findings, admitted)
			}
		}
	}
}

func secretsPageText(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(secretsPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestTheBundleOnThePageAboutSecretsDecides(t *testing.T) {
	match := pageFile.FindStringSubmatch(secretsPageText(t))
	if match == nil || match[1] != "bundle.yaml" {
		t.Fatalf("got no bundle.yaml on %s, want one", secretsPage)
	}
	engine := loadPage(t, fstest.MapFS{"bundle.yaml": {Data: []byte(match[2])}})
	for name, test := range map[string]struct {
		operation, namespace, mount, path, role string
		adopts, admitted                        bool
	}{
		"the second segment":             {"SYNC", "team-a", "apps", "dev/team-a/db", "team-a", false, true},
		"the first one":                  {"SYNC", "team-a", "apps", "team-a/db", "team-a", false, false},
		"a mount of the default":         {"SYNC", "team-a", "secret", "team-a/db", "team-a", false, false},
		"a mount of its own":             {"SYNC", "team-a", "kv-team-a", "db", "team-a", false, true},
		"another's mount":                {"SYNC", "team-a", "kv-team-b", "db", "team-a", false, false},
		"what production shares":         {"SYNC", "prod-a", "apps", "prod/shared/ca", "prod-a", false, true},
		"what production shares, pushed": {"PUSH", "prod-a", "apps", "prod/shared/ca", "prod-a", false, false},
		"a push":                         {"PUSH", "team-a", "apps", "dev/team-a/db", "team-a", false, true},
		"the role of all":                {"SYNC", "team-a", "apps", "dev/team-a/db", "portcullis", false, true},
		"another role":                   {"SYNC", "team-a", "apps", "dev/team-a/db", "other", false, false},
		"a migration":                    {"SYNC", "legacy-a", "apps", "dev/legacy-a/db", "legacy-a", true, true},
		"no migration":                   {"SYNC", "team-a", "apps", "dev/team-a/db", "team-a", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			verdict := decideSync(engine, "", asking(test.operation, func(s *secrets.Sync) {
				s.Object.Namespace, s.Vault.Mount, s.Vault.Path, s.Auth.Role, s.Destination.Adopts = test.namespace, test.mount, test.path, test.role, test.adopts
			}), nil)
			if verdict.Admitted != test.admitted {
				t.Errorf("got admitted %v, denied by %q, faults %+v; want %v", verdict.Admitted, deniedBy(verdict), verdict.Faults, test.admitted)
			}
		})
	}
}

// secretsRow is a policy with its severity and its enforcement in four profiles.
var secretsRow = regexp.MustCompile("(?m)^\\| `(secrets/[a-z-]+)` \\| [^|]+ \\| ([a-z]+) \\| ([a-z]+) \\| ([a-z]+) \\| ([a-z]+) \\| ([a-z]+) \\|$")

func TestTheTableOnThePageAboutSecretsIsRight(t *testing.T) {
	engine := wholeLibrary(t)
	rows := map[string][]string{}
	for _, row := range secretsRow.FindAllStringSubmatch(secretsPageText(t), -1) {
		rows[row[1]] = row[2:]
	}
	for id, policy := range load(t).Policies {
		if !strings.HasPrefix(id, "secrets/") {
			continue
		}
		want := []string{policy.Severity}
		for _, profile := range []string{"baseline", "restricted", "hardened", "system"} {
			enforcement, ok := engine.Enforcements(profile)[id]
			if !ok {
				t.Errorf("%s is not in %s", id, profile)
			}
			want = append(want, enforcement.String())
		}
		if !slices.Equal(rows[id], want) {
			t.Errorf("got the row %q of %s on %s, want %q", rows[id], id, secretsPage, want)
		}
		delete(rows, id)
	}
	if len(rows) > 0 {
		t.Errorf("got rows about %v, which there are not", rows)
	}
}
