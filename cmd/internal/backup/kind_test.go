package backup

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	policiesv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	scannerv1alpha1 "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	secretsv1alpha1 "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// derived are statuses that programs say again by themselves: nothing of them goes on in another cluster.
var derived = []string{"VaultConnection", "VaultAuth", "VaultSecret"}

// A kind that somebody adds has to be decided about.
func TestEachDefinitionIsStateOrLeftOut(t *testing.T) {
	defined := map[string]bool{}
	for _, manifest := range [][]byte{policiesv1alpha1.Manifest, runtimev1alpha1.Manifest, scannerv1alpha1.Manifest, secretsv1alpha1.Manifest} {
		for document := range bytes.SplitSeq(manifest, []byte("\n---\n")) {
			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(document, &object.Object); err != nil {
				t.Fatal(err)
			}
			if object.GetKind() != "CustomResourceDefinition" {
				continue
			}
			defined[object.GetName()] = true
			kind := Find(object.GetName())
			if kind == nil {
				if !slices.ContainsFunc(leftOut, func(l LeftOut) bool { return l.What == object.GetName() }) {
					t.Errorf("%s is neither backed up nor left out with a reason", object.GetName())
				}
				continue
			}
			if scope, _, _ := unstructured.NestedString(object.Object, "spec", "scope"); (scope == "Namespaced") != kind.Namespaced {
				t.Errorf("%s: its scope is %s, and the table says otherwise", object.GetName(), scope)
			}
			if name, _, _ := unstructured.NestedString(object.Object, "spec", "names", "kind"); name != kind.Kind {
				t.Errorf("%s: got the kind %s, want %s", object.GetName(), kind.Kind, name)
			}
			versions, _, _ := unstructured.NestedSlice(object.Object, "spec", "versions")
			_, subresource, _ := unstructured.NestedMap(versions[0].(map[string]any), "subresources", "status")
			if restored := kind.status != nil; subresource != (restored || slices.Contains(derived, kind.Kind)) {
				t.Errorf("%s: has a status %t, is restored %t, and is not said to be derived", object.GetName(), subresource, restored)
			}
		}
	}
	for _, kind := range Kinds() {
		if !defined[kind.Name()] {
			t.Errorf("%s is defined nowhere", kind.Name())
		}
		if !slices.Contains(reading, kind.Kind) {
			t.Errorf("%s is not read", kind.Kind)
		}
	}
	if len(reading) != len(kinds) {
		t.Errorf("%d kinds are read, and %d are there", len(reading), len(kinds))
	}
}

// The roles that are printed give what is asked for, and nothing else of our kinds.
func TestTheRolesAreWhatIsAskedFor(t *testing.T) {
	wanted := map[string]map[string]bool{"portcullis-backup": {}, "portcullis-restore": {}}
	for n := range kinds {
		kind := &kinds[n]
		wanted["portcullis-backup"]["list "+kind.Name()] = true
		for _, overwrite := range []bool{false, true} {
			for _, r := range (Restore{Overwrite: overwrite}).rights([]*Kind{kind}) {
				wanted["portcullis-restore"][r.String()] = true
			}
		}
		// Rules of several kinds are easier to read than exact ones: an update of what never changes is refused by the API server.
		wanted["portcullis-restore"]["update "+kind.Name()] = true
	}
	wanted["portcullis-restore"]["administer installations.policy.portcullis.dev"] = true
	for document := range bytes.SplitSeq(Roles("portcullis-system"), []byte("\n---\n")) {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal(document, &role); err != nil {
			t.Fatal(err)
		}
		if role.Kind != "ClusterRole" {
			continue
		}
		given := map[string]bool{}
		for _, rule := range role.Rules {
			if rule.APIGroups[0] == "" {
				continue
			}
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					name, below, _ := strings.Cut(resource, "/")
					if below != "" {
						name += "/" + below
					}
					given[verb+" "+name+"."+rule.APIGroups[0]] = true
				}
			}
		}
		if got, want := slices.Sorted(maps.Keys(given)), slices.Sorted(maps.Keys(wanted[role.Name])); !slices.Equal(got, want) {
			t.Errorf("%s gives\n%s\nwant\n%s", role.Name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if got := string(Roles("edge")); strings.Contains(got, "portcullis-system") || !strings.Contains(got, "namespace: edge") {
		t.Error("the roles are not of the namespace that is asked for")
	}
}

func TestWhatIsOverIsNotRestored(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	object := func(path string, value string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{}}
		if err := unstructured.SetNestedField(o.Object, value, strings.Split(path, ".")...); err != nil {
			t.Fatal(err)
		}
		return o
	}
	for name, test := range map[string]struct {
		kind, path, value string
		over              bool
	}{
		"an exception until tomorrow":         {"PolicyException", "spec.expires", "2026-11-30", false},
		"an exception until today":            {"PolicyException", "spec.expires", "2026-11-29", true},
		"an exception until in an hour":       {"PolicyException", "spec.expires", "2026-11-29t15:00:00+02:00", false},
		"an exception until an hour ago":      {"PolicyException", "spec.expires", "2026-11-29T11:00:00Z", true},
		"an exception whose end is unclear":   {"PolicyException", "spec.expires", "soon", true},
		"an incident that lasts":              {"Incident", "spec.expires", "2026-11-29T12:00:01Z", false},
		"an incident that is over":            {"Incident", "spec.expires", "2026-11-29T12:00:00Z", true},
		"an incident whose end is unclear":    {"Incident", "spec.expires", "soon", false},
		"a scan that nobody asks for":         {"ImageScan", "status.expires", "2026-11-28T12:00:00Z", true},
		"a scan that is asked for":            {"ImageScan", "status.expires", "2026-12-28T12:00:00Z", false},
		"a scan of which nothing is said yet": {"ImageScan", "spec.digest", "sha256:0", false},
	} {
		t.Run(name, func(t *testing.T) {
			if why := Find(test.kind).ended(object(test.path, test.value), now); (why != "") != test.over {
				t.Errorf("got %q, want it over: %t", why, test.over)
			}
		})
	}
}

func TestOfAStatusOnlyWhatGoesOnIsRestored(t *testing.T) {
	for name, test := range map[string]struct {
		kind      string
		was, want map[string]any
	}{
		"which revision judges": {"PolicyBundle",
			map[string]any{"active": map[string]any{"digest": "sha256:1"}, "maxSerial": int64(7), "conditions": []any{"x"}, "replicas": int64(2), "readyReplicas": int64(2), "observedGeneration": int64(3)},
			map[string]any{"active": map[string]any{"digest": "sha256:1"}, "maxSerial": int64(7)}},
		"of a bundle that never had one": {"PolicyBundle", map[string]any{"conditions": []any{"x"}}, nil},
		"a scan that was going on": {"ImageScan",
			map[string]any{"phase": "Running", "claimedBy": "scanner-0", "claimExpires": "2026-11-29T12:00:00Z", "attempts": int64(1)}, map[string]any{"phase": "Queued", "attempts": int64(1)}},
		"what was done about a pod":  {"Quarantine", map[string]any{"phase": "Contained", "verdict": "Isolated"}, map[string]any{"phase": "Contained", "verdict": "Isolated"}},
		"which version was pushed":   {"VaultPush", map[string]any{"version": int64(3), "hash": "h", "failures": int64(2), "nextPush": "soon"}, map[string]any{"version": int64(3), "hash": "h"}},
		"when a secret was synced":   {"VaultSecret", map[string]any{"lastSync": "now", "lease": map[string]any{"id": "x"}}, nil},
		"of what never has a status": {"Incident", map[string]any{"phase": "x"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			run := &restoring{kind: Find(test.kind)}
			if got := run.status(&unstructured.Unstructured{Object: map[string]any{"status": test.was}}); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestWhatIsRestoredHasOwnersOfThisCluster(t *testing.T) {
	was := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "runtime.portcullis.dev/v1alpha1", "kind": "QuarantineEvidence", "piece": "log",
		"metadata": map[string]any{
			"name": "e", "uid": "old-e", "resourceVersion": "7", "generation": int64(2), "creationTimestamp": "2026-01-01T00:00:00Z", "generateName": "e-",
			"finalizers": []any{"example.com/never"}, "labels": map[string]any{"a": "b"}, "annotations": map[string]any{"c": "d"},
			"ownerReferences": []any{
				map[string]any{"apiVersion": "runtime.portcullis.dev/v1alpha1", "kind": "Quarantine", "name": "q", "uid": "old-q"},
				map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "old-c"},
			},
		},
	}}
	run := &restoring{kind: Find("QuarantineEvidence"), uids: map[types.UID]types.UID{"old-q": "new-q"}}
	want := map[string]any{
		"apiVersion": "runtime.portcullis.dev/v1alpha1", "kind": "QuarantineEvidence", "piece": "log",
		"metadata": map[string]any{
			"name": "e", "labels": map[string]any{"a": "b"}, "annotations": map[string]any{"c": "d"},
			"ownerReferences": []any{map[string]any{"apiVersion": "runtime.portcullis.dev/v1alpha1", "kind": "Quarantine", "name": "q", "uid": "new-q"}},
		},
	}
	if got := run.clean(was).Object; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if got := was.GetOwnerReferences()[0].UID; got != "old-q" {
		t.Errorf("what was read was changed: its owner is %s", got)
	}
}

func TestSecretsThatObjectsNameAreListed(t *testing.T) {
	for text, want := range map[string]string{
		`{kind: PolicyBundle, metadata: {name: p}, spec: {source: {git: {secretRef: git}}, pushSecretRef: push}}`: "portcullis-system/git portcullis-system/push",
		`{kind: VaultAuth, metadata: {name: v, namespace: shop}, spec: {appRole: {secretRef: {name: role}}}}`:     "shop/role",
		`{kind: VaultAuth, metadata: {name: v, namespace: shop}, spec: {cert: {secretName: client}}}`:             "shop/client",
		`{kind: VaultPush, metadata: {name: v, namespace: shop}, spec: {secret: {name: from}}}`:                   "shop/from",
		`{kind: VaultSecret, metadata: {name: v, namespace: shop}, spec: {destination: {name: made}}}`:            "",
	} {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, reference := range references(Find(object.GetKind()), object, "portcullis-system") {
			got = append(got, fmt.Sprintf("%s/%s", reference.Namespace, reference.Name))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", text, got, want)
		}
	}
}
