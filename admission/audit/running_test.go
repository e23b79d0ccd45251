package audit

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

var (
	one, two = "sha256:" + strings.Repeat("1", 64), "sha256:" + strings.Repeat("2", 64)
	nginx    = registry.Repository{Registry: "docker.io", Path: "library/nginx"}
	app      = registry.Repository{Registry: "ghcr.io", Path: "acme/app"}
)

func TestWhatAPodRuns(t *testing.T) {
	pod := Reference{Version: "v1", Kind: "Pod", Resource: "pods", Namespace: "shop", Name: "a"}
	for name, test := range map[string]struct {
		about Reference
		pod   string
		want  []Image
	}{
		"a digest of the reference": {pod, `{"spec":{"containers":[{"name":"a","image":"ghcr.io/acme/app:1@` + one + `"}]},"status":{"containerStatuses":[{"name":"a","imageID":"ghcr.io/acme/app@` + one + `"}]}}`, []Image{{app, one}}},
		"what was pulled for a tag": {pod, `{"spec":{"containers":[{"name":"a","image":"nginx"}]},"status":{"containerStatuses":[{"name":"b","imageID":"x/y@` + two + `"},{"name":"a","imageID":"docker.io/library/nginx@` + one + `"}]}}`, []Image{{nginx, one}}},
		"where the pod says that it lies, not where the node first found it": {pod, `{"spec":{"containers":[{"name":"a","image":"ghcr.io/acme/app:1"},{"name":"b","image":"ghcr.io/acme/app@` + two + `"}]},
			"status":{"containerStatuses":[{"name":"a","imageID":"mirror.example/app@` + one + `"},{"name":"b","imageID":"mirror.example/app@` + two + `"}]}}`, []Image{{app, one}, {app, two}}},
		"as dockershim says it":                      {pod, `{"spec":{"containers":[{"name":"a","image":"nginx"}]},"status":{"containerStatuses":[{"name":"a","imageID":"docker-pullable://nginx@` + one + `"}]}}`, []Image{{nginx, one}}},
		"the digest of the reference before another": {pod, `{"spec":{"containers":[{"name":"a","image":"nginx@` + one + `"}]},"status":{"containerStatuses":[{"name":"a","imageID":"nginx@` + two + `"}]}}`, []Image{{nginx, one}}},
		"all kinds of containers, and volumes that these mount, once each": {pod, `{"spec":{"containers":[{"name":"a","image":"nginx@` + one + `","volumeMounts":[{"name":"v"},{"name":"w"},{"name":"x"}]},{"name":"b","image":"nginx:1@` + one + `"}],"initContainers":[{"name":"c","image":"ghcr.io/acme/app"}],
			"ephemeralContainers":[{"name":"d","image":"ghcr.io/acme/app@` + one + `"}],"volumes":[{"name":"v","image":{"reference":"nginx@` + two + `"}},{"name":"w","image":{"reference":"nginx"}},{"name":"x","emptyDir":{}}]},
			"status":{"containerStatuses":[{"name":"a","imageID":"nginx@` + one + `"},{"name":"b","imageID":"nginx@` + one + `"}],"initContainerStatuses":[{"name":"c","imageID":"ghcr.io/acme/app@` + two + `"}],
			"ephemeralContainerStatuses":[{"name":"d","imageID":"ghcr.io/acme/app@` + one + `"}]}}`, []Image{{nginx, one}, {app, two}, {app, one}, {nginx, two}}},
		"nothing that was only named":                  {pod, `{"spec":{"containers":[{"name":"a","image":"ghcr.io/acme/app@` + one + `"}]},"status":{"containerStatuses":[{"name":"a","imageID":""}]}}`, nil},
		"nothing of a volume of what was never pulled": {pod, `{"spec":{"containers":[{"name":"a","image":"nginx","volumeMounts":[{"name":"v"}]}],"volumes":[{"name":"v","image":{"reference":"ghcr.io/acme/app@` + two + `"}}]},"status":{"containerStatuses":[{"name":"a","imageID":""}]}}`, nil},
		"nothing of a volume that nothing mounts": {pod, `{"spec":{"containers":[{"name":"a","image":"nginx@` + one + `"}],"volumes":[{"name":"v","image":{"reference":"ghcr.io/acme/app@` + two + `"}}]},
			"status":{"containerStatuses":[{"name":"a","imageID":"nginx@` + one + `"}]}}`, []Image{{nginx, one}}},
		"nothing that a pod was changed to and that was not pulled since": {pod, `{"spec":{"containers":[{"name":"a","image":"ghcr.io/acme/app@` + two + `"}]},"status":{"containerStatuses":[{"name":"a","imageID":"docker.io/library/nginx@` + one + `"}]}}`, nil},
		"nothing of a repository that no scan can name": {pod, `{"spec":{"containers":[{"name":"a","image":"` + strings.Repeat("a", 250) + `.example/` + strings.Repeat("b", 255) + `@` + one + `"}]},
			"status":{"containerStatuses":[{"name":"a","imageID":"` + strings.Repeat("a", 250) + `.example/` + strings.Repeat("b", 255) + `@` + one + `"}]}}`, nil},
		"nothing of a configuration's digest":  {pod, `{"spec":{"containers":[{"name":"a","image":"built:here"}]},"status":{"containerStatuses":[{"name":"a","imageID":"` + one + `"}]}}`, nil},
		"nothing before anything is pulled":    {pod, `{"spec":{"containers":[{"name":"a","image":"nginx"}]}}`, nil},
		"nothing of what has ended":            {pod, `{"spec":{"containers":[{"name":"a","image":"nginx@` + one + `"}]},"status":{"phase":"Succeeded","containerStatuses":[{"name":"a","imageID":"nginx@` + one + `"}]}}`, nil},
		"nothing of what is no reference":      {pod, `{"spec":{"containers":[{"name":"a","image":"NO REFERENCE"}]},"status":{"containerStatuses":[{"name":"a","imageID":"x@` + one + `"}]}}`, nil},
		"nothing of what is no pod":            {Reference{Version: "v1", Kind: "Pod", Resource: "podtemplates"}, `{"spec":{"containers":[{"name":"a","image":"nginx@` + one + `"}]},"status":{"containerStatuses":[{"name":"a","imageID":"nginx@` + one + `"}]}}`, nil},
		"nothing of what is no JSON of a pod":  {pod, `{"spec":[]}`, nil},
		"nothing of a digest that scans lack":  {pod, `{"spec":{"containers":[{"name":"a","image":"nginx@sha512:` + strings.Repeat("1", 128) + `"}]},"status":{"containerStatuses":[{"name":"a","imageID":"nginx@sha512:` + strings.Repeat("1", 128) + `"}]}}`, nil},
		"nothing of a pod without any of this": {pod, `{}`, nil},
	} {
		var got []Image
		if running := runningOf(test.about, []byte(test.pod)); running != nil {
			got = running.Images
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestTheLedgerKnowsWhoUsesAnImage(t *testing.T) {
	ledger := NewLedger(func(r Reference) string { return r.Namespace })
	ledger.Begin()
	put := func(group, kind, resource, namespace, name, owner string, running *Running) {
		r := Result{Object: Reference{Group: group, Version: "v1", Kind: kind, Resource: resource, Namespace: namespace, Name: name, UID: name}, Running: running}
		if owner != "" {
			r.Owner = &Owner{Name: owner, UID: owner}
		}
		ledger.Put(r, 1, "")
	}
	day := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	put("apps", "Deployment", "deployments", "shop", "web", "", nil)
	put("apps", "Deployment", "deployments", "shop", "other", "", nil)
	put("apps", "ReplicaSet", "replicasets", "shop", "web-1", "web", nil)
	for n := range 3 {
		put("", "Pod", "pods", "shop", fmt.Sprint("web-1-", n), "web-1", &Running{Since: day.Add(time.Duration(n) * time.Hour), Images: []Image{{app, one}, {nginx, two}}})
	}
	put("", "Pod", "pods", "bank", "alone", "gone", &Running{Since: day, Images: []Image{{nginx, one}}})
	put("", "Pod", "pods", "bank", "ended", "", nil)
	want := map[string]Use{one: {app, day.Add(2 * time.Hour), 4}, two: {nginx, day.Add(2 * time.Hour), 3}}
	if got := ledger.Running(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	names := func(references []Reference) (all []string) {
		for _, r := range references {
			all = append(all, r.Namespace+"/"+r.Name)
		}
		return all
	}
	if got, want := names(ledger.Using([]string{one, two})), []string{"shop/web", "shop/web-1", "bank/alone", "shop/web-1-0", "shop/web-1-1", "shop/web-1-2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// Another image is no other finding, and is known all the same.
	put("", "Pod", "pods", "bank", "alone", "gone", &Running{Since: day, Images: []Image{{nginx, two}}})
	ledger.Remove(Reference{Version: "v1", Kind: "Pod", Resource: "pods", Namespace: "shop", Name: "web-1-0"}, "")
	if got := ledger.Running(); got[one].Pods != 2 || got[two].Pods != 3 {
		t.Errorf("after a pod is gone and another runs another image: got %v, want 2 and 3 pods", got)
	}
}

func TestScopesWithNewCriticalFindingsAreWrittenFirst(t *testing.T) {
	ledger := NewLedger(func(r Reference) string { return r.Namespace })
	ledger.Begin()
	put := func(namespace, severity string) {
		ledger.Put(Result{
			Object:   Reference{Version: "v1", Kind: "Pod", Resource: "pods", Namespace: namespace, Name: "a"},
			Findings: []policies.Finding{{Policy: "some", Severity: severity}},
		}, 1, "")
	}
	put("a", "high")
	put("b", "high")
	put("z", "critical")
	if got, want := ledger.Dirty(), []string{"z", "a", "b"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	ledger.Read("z")
	ledger.Soil("z") // it is no news any more
	if got, want := ledger.Dirty(), []string{"a", "b", "z"}; !reflect.DeepEqual(got, want) {
		t.Errorf("once it was read: got %q, want %q", got, want)
	}
}

// A judgement may have begun before a scan was forgotten that another one, begun later and over sooner, has read anew.
func TestAJudgementThatBeganEarlierDoesNotUndoALaterOne(t *testing.T) {
	pod := func(severity string, number uint64) Result {
		return Result{
			Object:   Reference{Version: "v1", Kind: "Pod", Resource: "pods", Namespace: "shop", Name: "a", UID: "u"},
			Findings: []policies.Finding{{Policy: "some", Severity: severity}}, Number: number,
		}
	}
	for name, test := range map[string]struct {
		versions [2]string // of the later one, and then of the earlier one
		want     string
	}{
		"of the same state":                            {[2]string{"7", "7"}, "critical"},
		"of states of which none is known to be newer": {[2]string{"x", "y"}, "critical"},
		"unless it judged a newer state":               {[2]string{"7", "8"}, "low"},
	} {
		ledger := NewLedger(func(r Reference) string { return r.Namespace })
		ledger.Begin()
		earlier, later := ledger.Number(), ledger.Number()
		ledger.Put(pod("high", 0), 1, test.versions[0])
		ledger.Put(pod("critical", later), 1, test.versions[0])
		ledger.Put(pod("critical", later), 1, test.versions[0]) // says the same
		judged := ledger.Put(pod("low", earlier), 1, test.versions[1])
		if got := ledger.Read("shop")[0].Findings[0].Severity; got != test.want || judged.Stale != (test.want == "critical") {
			t.Errorf("%s: what counts is %s, stale %v; want %s", name, got, judged.Stale, test.want)
		}
	}
}
