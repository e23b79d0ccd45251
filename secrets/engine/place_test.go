package engine

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// callerFunc is a Caller for faults that no Vault makes on demand.
type callerFunc func(context.Context, secrets.Call) (*secrets.Reply, error)

func (f callerFunc) Do(ctx context.Context, call secrets.Call) (*secrets.Reply, error) {
	return f(ctx, call)
}

// twoReadings are paths that some server, proxy or policy of Vault reads as another path than what is written.
var twoReadings = map[string]string{
	"a parent segment":            "shop/../production/db",
	"a parent segment at the end": "shop/..",
	"a parent segment alone":      "..",
	"a segment of one dot":        "shop/./db",
	"an empty segment":            "shop//db",
	"a slash before":              "/shop/db",
	"a slash after":               "shop/db/",
	"a slash alone":               "/",
	"a star":                      "shop/*",
	"a plus":                      "+/db",
	"a query":                     "shop/db?version=1",
	"a fragment":                  "shop/db#x",
	"an encoded slash":            "shop%2Fdb",
	"an encoded parent segment":   "shop/%2e%2e/production",
	"an encoding of an encoding":  "shop/%252e%252e/production",
	"a backslash":                 `shop\..\production`,
	"path parameters":             "shop/..;/production",
	"a NUL":                       "shop/db\x00",
	"a line break":                "shop/db\nX-Vault-Token: x",
	"a tab":                       "shop/\tdb",
	"a delete character":          "shop/db\x7f",
	"a no-break space":            "shop/db\u00a0x",
	"a character of no width":     "shop/d\u200bb",
	"a mark that turns the writing direction": "shop/\u202ebd",
	"a byte order mark":                       "\ufeffshop/db",
	"a line separator":                        "shop\u2028db",
	"bytes that are not UTF-8":                "shop/\xff\xfe",
	"an overlong slash":                       "shop\xc0\xafdb",
	"a space at the end":                      "shop/db ",
	"a space before a segment":                "shop/ db",
	"parent segments with spaces":             "shop/.. /production",
	"more than 512 bytes":                     strings.Repeat("a/", 256) + "a",
	"nothing":                                 "",
}

func TestPathsOfTwoReadingsAreRefused(t *testing.T) {
	fields := map[string]func(path string) error{
		"the path of version 2": func(p string) error {
			return placed(&v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "secret", Path: p}})
		},
		"the path of version 1": func(p string) error {
			return placed(&v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "secret", Path: p, EngineVersion: 1}})
		},
		"a mount of key-value": func(p string) error { return placed(&v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: p, Path: "db"}}) },
		"a path that issues": func(p string) error {
			return placed(&v1alpha1.Source{Dynamic: &v1alpha1.DynamicSource{Mount: "database", Path: p}})
		},
		"a mount that issues": func(p string) error {
			return placed(&v1alpha1.Source{Dynamic: &v1alpha1.DynamicSource{Mount: p, Path: "creds/shop"}})
		},
		"a mount of PKI": func(p string) error { return placed(pki(func(s *v1alpha1.PKISource) { s.Mount = p })) },
		"a role of PKI":  func(p string) error { return placed(pki(func(s *v1alpha1.PKISource) { s.Role = p })) },
		"a key of transit": func(p string) error {
			return placed(&v1alpha1.Source{Transit: &v1alpha1.TransitSource{Key: p, PublicKeys: true}})
		},
		"a role of AppRole": func(p string) error {
			return placed(&v1alpha1.Source{AppRoleSecretID: &v1alpha1.AppRoleSecretIDSource{Role: p}})
		},
		"the path of a push": func(p string) error {
			_, err := PushPlace(&v1alpha1.PushDestination{Mount: "secret", Path: p})
			return err
		},
		"the mount of a push": func(p string) error { _, err := PushPlace(&v1alpha1.PushDestination{Mount: p, Path: "db"}); return err },
		"the path of a push of kv 1": func(p string) error {
			_, err := PushPlace(&v1alpha1.PushDestination{Mount: "kv", Path: p, EngineVersion: 1})
			return err
		},
	}
	for field, place := range fields {
		for what, path := range twoReadings {
			t.Run(field+" with "+what, func(t *testing.T) {
				err := place(path)
				if secrets.ReasonOf(err) != secrets.Misconfigured {
					t.Fatalf("%q: got %v, want Misconfigured", path, err)
				}
				if text := err.Error(); strings.ContainsAny(text, "\n\x00\x7f\u202e\u200b") || len(text) > 512 {
					t.Errorf("the error prints what it refuses as it is: %q", text)
				}
			})
		}
	}
}

func placed(source *v1alpha1.Source) error {
	_, err := Place(source)
	return err
}

func pki(change func(*v1alpha1.PKISource)) *v1alpha1.Source {
	source := &v1alpha1.PKISource{Mount: "pki", Role: "web", CommonName: "shop.example"}
	if change != nil {
		change(source)
	}
	return &v1alpha1.Source{PKI: source}
}

func TestMountsOfVaultItselfAreRefused(t *testing.T) {
	for _, mount := range []string{"sys", "SYS", "sys/internal", "identity", "cubbyhole", "auth", "auth/kubernetes", "team/sys", "team/cubbyhole", "audit"} {
		for engine, source := range map[string]*v1alpha1.Source{
			"kv":      {KV: &v1alpha1.KVSource{Mount: mount, Path: "a"}},
			"kv 1":    {KV: &v1alpha1.KVSource{Mount: mount, Path: "a", EngineVersion: 1}},
			"dynamic": {Dynamic: &v1alpha1.DynamicSource{Mount: mount, Path: "token/create", Parameters: map[string]string{"policies": "root"}}},
			"pki":     pki(func(s *v1alpha1.PKISource) { s.Mount = mount }),
			"transit": {Transit: &v1alpha1.TransitSource{Mount: mount, Key: "a", PublicKeys: true}},
			"approle": {AppRoleSecretID: &v1alpha1.AppRoleSecretIDSource{Mount: mount, Role: "a"}},
		} {
			if err := placed(source); secrets.ReasonOf(err) != secrets.Misconfigured {
				t.Errorf("%s in %q: got %v, want Misconfigured", engine, mount, err)
			}
		}
		if _, err := PushPlace(&v1alpha1.PushDestination{Mount: mount, Path: "a"}); secrets.ReasonOf(err) != secrets.Misconfigured {
			t.Errorf("a push to %q: got %v, want Misconfigured", mount, err)
		}
	}
}

func TestSourcesThatMakeNoSenseAreRefused(t *testing.T) {
	day := &metav1.Duration{Duration: 24 * time.Hour}
	negative := &metav1.Duration{Duration: -time.Hour}
	kv := func(change func(*v1alpha1.KVSource)) *v1alpha1.Source {
		source := &v1alpha1.KVSource{Mount: "secret", Path: "shop/db"}
		change(source)
		return &v1alpha1.Source{KV: source}
	}
	transit := func(change func(*v1alpha1.TransitSource)) *v1alpha1.Source {
		source := &v1alpha1.TransitSource{Key: "shop", Ciphertexts: map[string]string{"a": "vault:v1:AAAA"}}
		change(source)
		return &v1alpha1.Source{Transit: source}
	}
	role := func(change func(*v1alpha1.AppRoleSecretIDSource)) *v1alpha1.Source {
		source := &v1alpha1.AppRoleSecretIDSource{Role: "shop", TTL: day}
		change(source)
		return &v1alpha1.Source{AppRoleSecretID: source}
	}
	for what, source := range map[string]*v1alpha1.Source{
		"no source":                              nil,
		"no engine":                              {},
		"two engines":                            {KV: &v1alpha1.KVSource{Mount: "a", Path: "b"}, Transit: &v1alpha1.TransitSource{Key: "c", PublicKeys: true}},
		"a third version of the engine":          kv(func(s *v1alpha1.KVSource) { s.EngineVersion = 3 }),
		"a negative version":                     kv(func(s *v1alpha1.KVSource) { s.Version = -1 }),
		"a pinned version of version 1":          kv(func(s *v1alpha1.KVSource) { s.EngineVersion, s.Version = 1, 2 }),
		"an empty key":                           kv(func(s *v1alpha1.KVSource) { s.Keys = []string{""} }),
		"a key twice":                            kv(func(s *v1alpha1.KVSource) { s.Keys = []string{"a", "a"} }),
		"too many keys":                          kv(func(s *v1alpha1.KVSource) { s.Keys = make([]string, maxItems+1) }),
		"a certificate for nothing":              pki(func(s *v1alpha1.PKISource) { s.CommonName = "" }),
		"a name that is two":                     pki(func(s *v1alpha1.PKISource) { s.AltNames = []string{"shop.example,bank.example"} }),
		"a common name that is two":              pki(func(s *v1alpha1.PKISource) { s.CommonName = "shop.example,bank.example" }),
		"an address that is none":                pki(func(s *v1alpha1.PKISource) { s.IPSANs = []string{"10.0.0.256"} }),
		"two addresses in one":                   pki(func(s *v1alpha1.PKISource) { s.IPSANs = []string{"10.0.0.1,10.0.0.2"} }),
		"an address with a zone":                 pki(func(s *v1alpha1.PKISource) { s.IPSANs = []string{"fe80::1%eth0"} }),
		"a URI without a scheme":                 pki(func(s *v1alpha1.PKISource) { s.URISANs = []string{"cluster.local/ns/shop"} }),
		"a negative lifetime":                    pki(func(s *v1alpha1.PKISource) { s.TTL = negative }),
		"a key format that is none":              pki(func(s *v1alpha1.PKISource) { s.KeyFormat = "PKCS12" }),
		"a chain that is none":                   pki(func(s *v1alpha1.PKISource) { s.Chain = "Root" }),
		"an algorithm that is none":              pki(func(s *v1alpha1.PKISource) { s.CSR = &v1alpha1.CSR{Algorithm: "RSA1024"} }),
		"an Ed25519 key in a traditional form":   pki(func(s *v1alpha1.PKISource) { s.CSR, s.KeyFormat = &v1alpha1.CSR{Algorithm: "Ed25519"}, "Traditional" }),
		"a renewal after its end":                pki(func(s *v1alpha1.PKISource) { s.RenewPercent = 100 }),
		"a renewal all the time":                 pki(func(s *v1alpha1.PKISource) { s.RenewPercent = 1 }),
		"ciphertexts and public keys":            transit(func(s *v1alpha1.TransitSource) { s.PublicKeys = true }),
		"neither ciphertexts nor public keys":    transit(func(s *v1alpha1.TransitSource) { s.Ciphertexts = nil }),
		"a ciphertext that is none":              transit(func(s *v1alpha1.TransitSource) { s.Ciphertexts["a"] = "plain" }),
		"a context that is no base64":            transit(func(s *v1alpha1.TransitSource) { s.Context = "shop!" }),
		"a role in two cases":                    role(func(s *v1alpha1.AppRoleSecretIDSource) { s.Role = "Shop" }),
		"a secret id with a negative lifetime":   role(func(s *v1alpha1.AppRoleSecretIDSource) { s.TTL = negative }),
		"a block of addresses that is none":      role(func(s *v1alpha1.AppRoleSecretIDSource) { s.CIDRs = []string{"10.0.0.0"} }),
		"a role of PKI below another":            pki(func(s *v1alpha1.PKISource) { s.Role = "web/../admin" }),
		"a path that is too long with its mount": kv(func(s *v1alpha1.KVSource) { s.Mount, s.Path = strings.Repeat("m", 300), strings.Repeat("p", 300) }),
	} {
		t.Run(what, func(t *testing.T) {
			if err := placed(source); secrets.ReasonOf(err) != secrets.Misconfigured {
				t.Errorf("got %v, want Misconfigured", err)
			}
			asked := 0
			_, err := Read(t.Context(), callerFunc(func(context.Context, secrets.Call) (*secrets.Reply, error) { asked++; return nil, errors.New("asked") }), source, Options{})
			if secrets.ReasonOf(err) != secrets.Misconfigured || asked != 0 {
				t.Errorf("reading it: got %v after %d requests, want Misconfigured and none", err, asked)
			}
		})
	}
}

// What policies judge is place.accesses; what is requested must be that and nothing else, but for asking which mount answers.
func TestNothingIsRequestedButWhatPoliciesJudged(t *testing.T) {
	for what, source := range goodSources() {
		t.Run(what, func(t *testing.T) {
			place, err := Place(source)
			if err != nil {
				t.Fatal(err)
			}
			if place.Keys == nil || len(place.Segments) == 0 || place.Accesses == nil {
				t.Errorf("got %+v: policies need arrays, not null", place)
			}
			var requested []secrets.Call
			_, _ = Read(t.Context(), callerFunc(func(_ context.Context, call secrets.Call) (*secrets.Reply, error) {
				requested = append(requested, call)
				if strings.HasPrefix(call.Path, "sys/internal/ui/mounts/") {
					return mounted(place), nil
				}
				return &secrets.Reply{Data: map[string]any{"role_id": "x"}}, nil
			}), source, Options{})
			var judged []secrets.Access
			for _, call := range requested {
				if path, ok := strings.CutPrefix(call.Path, "sys/internal/ui/mounts/"); ok {
					if call.Method != http.MethodGet || path != place.Accesses[0].Path {
						t.Errorf("asked %s %s about the mount", call.Method, call.Path)
					}
					continue
				}
				capability := "update"
				if call.Method == http.MethodGet {
					capability = "read"
				}
				judged = append(judged, secrets.Access{Path: call.Path, Capability: capability})
			}
			if !slices.Equal(judged, place.Accesses) {
				t.Errorf("requested %v, and policies judged %v", judged, place.Accesses)
			}
		})
	}
}

// mounted is what Vault says about the mount of a place.
func mounted(place secrets.SyncPlace) *secrets.Reply {
	data := map[string]any{"path": strings.TrimPrefix(place.Mount, "auth/") + "/", "type": place.Engine}
	switch place.Engine {
	case secrets.EngineKV1:
		data["type"], data["options"] = "kv", map[string]any{"version": "1"}
	case secrets.EngineKV2:
		data["type"], data["options"] = "kv", map[string]any{"version": "2"}
	case secrets.EngineDynamic:
		data["type"] = "database"
	}
	return &secrets.Reply{Data: data}
}

func goodSources() map[string]*v1alpha1.Source {
	return map[string]*v1alpha1.Source{
		"the latest of version 2":    {KV: &v1alpha1.KVSource{Mount: "secret", Path: "shop/db"}},
		"a pinned one":               {KV: &v1alpha1.KVSource{Mount: "team/secret", Path: "shop/my db", Version: 3, Keys: []string{"a"}}},
		"version 1":                  {KV: &v1alpha1.KVSource{Mount: "kv", Path: "shop/db", EngineVersion: 1}},
		"a name beyond ASCII":        {KV: &v1alpha1.KVSource{Mount: "secret", Path: "shop/schlüssel"}},
		"credentials":                {Dynamic: &v1alpha1.DynamicSource{Mount: "database", Path: "creds/shop"}},
		"credentials with a request": {Dynamic: &v1alpha1.DynamicSource{Mount: "database", Path: "creds/shop", Parameters: map[string]string{"ttl": "1h"}}},
		"a certificate":              pki(nil),
		"a certificate of our key":   pki(func(s *v1alpha1.PKISource) { s.CSR = &v1alpha1.CSR{} }),
		"ciphertexts":                {Transit: &v1alpha1.TransitSource{Key: "shop", Ciphertexts: map[string]string{"a": "vault:v1:AAAA", "b": "vault:v1:BBBB"}}},
		"public keys":                {Transit: &v1alpha1.TransitSource{Mount: "signing", Key: "shop", PublicKeys: true}},
		"a secret id":                {AppRoleSecretID: &v1alpha1.AppRoleSecretIDSource{Role: "shop"}},
	}
}

// Each is a way to have policies judge another place than the one that is read.
func TestAMountThatIsOnlyClaimedIsFoundOut(t *testing.T) {
	kv2 := map[string]any{"path": "secret/", "type": "kv", "options": map[string]any{"version": "2"}}
	kv1 := map[string]any{"path": "kv/", "type": "kv", "options": nil}
	for what, test := range map[string]struct {
		source *v1alpha1.Source
		says   map[string]any
	}{
		"half of the path as the mount":               {&v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "secret/data/production", Path: "shop/db", EngineVersion: 1}}, kv2},
		"half of the path as the mount of version 2":  {&v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "secret/data/production", Path: "shop/db"}}, kv2},
		"version 2 as version 1, by the segment data": {&v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "secret", Path: "data/production/db", EngineVersion: 1}}, kv2},
		"version 1 as version 2":                      {&v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "kv", Path: "shop/db"}}, kv1},
		"key-value as what issues":                    {&v1alpha1.Source{Dynamic: &v1alpha1.DynamicSource{Mount: "secret", Path: "data/production/db"}}, kv2},
		"key-value 1 as what issues":                  {&v1alpha1.Source{Dynamic: &v1alpha1.DynamicSource{Mount: "kv", Path: "production/db"}}, kv1},
		"another engine as PKI":                       {pki(func(s *v1alpha1.PKISource) { s.Mount = "database" }), map[string]any{"path": "database/", "type": "database"}},
		"another engine as transit":                   {&v1alpha1.Source{Transit: &v1alpha1.TransitSource{Mount: "kv", Key: "a", PublicKeys: true}}, kv1},
		"another method as AppRole":                   {&v1alpha1.Source{AppRoleSecretID: &v1alpha1.AppRoleSecretIDSource{Mount: "kubernetes", Role: "a"}}, map[string]any{"path": "kubernetes/", "type": "kubernetes"}},
	} {
		t.Run(what, func(t *testing.T) {
			const canary = "canary-of-another-mount"
			var changing []string
			result, err := Read(t.Context(), callerFunc(func(_ context.Context, call secrets.Call) (*secrets.Reply, error) {
				if strings.HasPrefix(call.Path, "sys/internal/ui/mounts/") {
					return &secrets.Reply{Data: test.says}, nil
				}
				if call.Method != http.MethodGet {
					changing = append(changing, call.Path)
				}
				return &secrets.Reply{Data: map[string]any{"data": map[string]any{"password": canary}, "metadata": map[string]any{"version": float64(1)}}}, nil
			}), test.source, Options{})
			if secrets.ReasonOf(err) != secrets.Misconfigured || result != nil {
				t.Errorf("got %v and %v, want Misconfigured and nothing", result, err)
			}
			if len(changing) > 0 {
				t.Errorf("requested %v of a mount that is not what it is said to be", changing)
			}
		})
	}
}

func TestWhatVaultSaidAboutMountsIsRememberedForAWhile(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	options := Options{Mounts: &Mounts{}, Clock: stopped{&now}}
	source := &v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: "secret", Path: "shop/db"}}
	place, _ := Place(source)
	asked := 0
	caller := callerFunc(func(_ context.Context, call secrets.Call) (*secrets.Reply, error) {
		if strings.HasPrefix(call.Path, "sys/internal/") {
			asked++
			return mounted(place), nil
		}
		return &secrets.Reply{Data: map[string]any{"data": map[string]any{"a": "b"}, "metadata": map[string]any{"version": float64(1)}}}, nil
	})
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {time.Minute, 1}, {mountsLast - time.Minute, 1}, {time.Second, 2}} {
		now = now.Add(step.after)
		if _, err := Read(t.Context(), caller, source, options); err != nil || asked != step.want {
			t.Fatalf("after %s more: got %v and %d questions, want %d", step.after, err, asked, step.want)
		}
	}
	// What is remembered is also what is checked.
	source.KV.EngineVersion = 1
	if _, err := Read(t.Context(), caller, source, options); secrets.ReasonOf(err) != secrets.Misconfigured {
		t.Errorf("version 1 of a mount that is known to be version 2: got %v", err)
	}
}

// stopped is a clock that a test moves.
type stopped struct{ at *time.Time }

func (s stopped) Now() time.Time                  { return *s.at }
func (s stopped) Since(t time.Time) time.Duration { return s.at.Sub(t) }

func TestRevokingNeedsWhatItSaysItNeeds(t *testing.T) {
	for what, source := range goodSources() {
		t.Run(what, func(t *testing.T) {
			var lease secrets.Lease
			switch {
			case source.Dynamic != nil:
				lease = secrets.Lease{ID: "database/creds/shop/x"}
			case source.PKI != nil:
				lease = secrets.Lease{Serial: "01:02", Mount: source.PKI.Mount, Role: source.PKI.Role}
			case source.AppRoleSecretID != nil:
				lease = secrets.Lease{Accessor: "x", Mount: "auth/approle", Role: source.AppRoleSecretID.Role}
			default:
				if got := RevokeAccesses(source); len(got) != 0 {
					t.Errorf("got %v for what issues nothing", got)
				}
				return
			}
			var requested []secrets.Access
			if err := Revoke(t.Context(), callerFunc(func(_ context.Context, call secrets.Call) (*secrets.Reply, error) {
				requested = append(requested, secrets.Access{Path: call.Path, Capability: "update"})
				return &secrets.Reply{}, nil
			}), lease); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(requested, RevokeAccesses(source)) {
				t.Errorf("requested %v, and %v was checked", requested, RevokeAccesses(source))
			}
		})
	}
}

func TestDefaultsOfRenewingAndRevoking(t *testing.T) {
	no, yes := false, true
	for what, test := range map[string]struct {
		source  *v1alpha1.Source
		percent int64
		revokes bool
	}{
		"key-value":                    {goodSources()["version 1"], 0, false},
		"transit":                      {goodSources()["public keys"], 0, false},
		"credentials":                  {goodSources()["credentials"], 67, true},
		"credentials that stay":        {&v1alpha1.Source{Dynamic: &v1alpha1.DynamicSource{RenewPercent: 50, RevokeOnDelete: &no}}, 50, false},
		"credentials that go":          {&v1alpha1.Source{Dynamic: &v1alpha1.DynamicSource{RevokeOnDelete: &yes}}, 67, true},
		"certificates":                 {pki(nil), 67, false},
		"certificates that go":         {pki(func(s *v1alpha1.PKISource) { s.RevokeOnDelete, s.RenewPercent = true, 80 }), 80, true},
		"secret ids":                   {goodSources()["a secret id"], 67, true},
		"secret ids that are not torn": {&v1alpha1.Source{AppRoleSecretID: &v1alpha1.AppRoleSecretIDSource{DestroyOnReplace: &no}}, 67, false},
	} {
		if got := RenewPercent(test.source); got != test.percent {
			t.Errorf("%s: renewed at %d %%, want %d", what, got, test.percent)
		}
		if got := Revokes(test.source); got != test.revokes {
			t.Errorf("%s: revokes is %v, want %v", what, got, test.revokes)
		}
	}
}
