// Command auditload audits objects that it makes up and prints how long it took and how much memory at most, as JSON.
//
//	auditload [-objects=100000] [-profile=baseline]
//
// It is a program of its own so that its memory is that of an audit and of nothing else.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/audit/stored"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/library"
)

// Figures are what is printed.
type Figures struct {
	Objects  int     `json:"objects"`
	Policies int     `json:"policies"`
	Findings int     `json:"findings"`
	Faults   int     `json:"faults"`
	Seconds  float64 `json:"seconds"`
	// ProcessorSeconds is the processor time of the audit alone, garbage collection included.
	ProcessorSeconds float64 `json:"processorSeconds"`
	// PeakBytes is the process's largest resident set, of loading the bundle, too.
	PeakBytes int64 `json:"peakBytes"`
}

func main() {
	objects := flag.Int("objects", 100_000, "how many objects")
	profile := flag.String("profile", "baseline", "profile of the built-in library")
	flag.Parse()
	figures, err := measure(context.Background(), *objects, *profile)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(figures)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, objects int, profile string) (*Figures, error) {
	bundle, err := policies.Load(library.FS())
	if err != nil {
		return nil, err
	}
	engine, err := policies.NewEngineFor(bundle, profile)
	if err != nil {
		return nil, err
	}
	reviewer := admission.NewReviewer(engine, facts{}, time.Now)
	reviewer.Pin(profile)
	figures := &Figures{Policies: len(engine.Instances(profile))}
	runtime.GC()
	// The whole of what portcullis-controller does but for the API server: judged, kept, added up.
	ledger := audit.NewLedger(stored.ScopeOf)
	ledger.Begin()
	used, err := usage()
	if err != nil {
		return nil, err
	}
	began, before := time.Now(), processorSeconds(used)
	err = audit.New(audit.Options{Reviewer: reviewer, Unfolded: true}).Audit(ctx, &cluster{count: objects}, audit.HandlerFunc(func(r audit.Result) error {
		figures.Objects++
		figures.Faults += len(r.Faults)
		ledger.Put(r, uint64(figures.Objects), "")
		return nil
	}))
	if err != nil {
		return nil, err
	}
	for _, scope := range ledger.Scopes() {
		ledger.Read(scope)
	}
	cells, _ := ledger.Counts()
	for _, n := range cells {
		figures.Findings += n
	}
	figures.Seconds = time.Since(began).Seconds()
	if used, err = usage(); err != nil {
		return nil, err
	}
	figures.ProcessorSeconds = processorSeconds(used) - before
	figures.PeakBytes = used.Maxrss << 10 // Linux counts in kilobytes
	return figures, nil
}

func usage() (used syscall.Rusage, err error) {
	err = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return used, err
}

func processorSeconds(used syscall.Rusage) float64 {
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}

// facts are those of a cluster whose namespaces have no labels, and that has nothing else.
type facts struct{}

func (facts) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	return policies.Facts{Namespace: &policies.Namespace{Name: needs.Namespace, Labels: map[string]string{}, Annotations: map[string]string{}}}
}

//go:embed pod.json
var podManifest []byte

// cluster makes up objects as a cluster has them: of twenty, eleven pods of three Deployments, and Services, ConfigMaps and RBAC.
// Pods of one template differ in their names; templates are many.
type cluster struct{ count int }

func (c *cluster) Objects(_ context.Context, yield func(audit.Object) error) error {
	made := 0
	give := func(group, kind, resource, namespace, name string, raw []byte) error {
		if made >= c.count {
			return nil
		}
		made++
		return yield(audit.Object{Reference: audit.Reference{Group: group, Version: "v1", Kind: kind, Resource: resource, Namespace: namespace, Name: name, UID: fmt.Sprint("uid-", made)}, Raw: raw})
	}
	spec := podManifest[bytes.Index(podManifest, []byte(`"spec":`))+len(`"spec":`) : bytes.LastIndex(podManifest, []byte(`,"status":`))]
	for n := 0; made < c.count; n++ {
		namespace := fmt.Sprintf("team-%03d", n%200)
		for d := range 3 {
			name := fmt.Sprintf("app-%d-%d", n, d)
			template := spec
			if d == 0 && n%4 == 0 { // some that something is wrong with
				template = bytes.Replace(spec, []byte(`"allowPrivilegeEscalation":false`), []byte(`"privileged":true`), 1)
			}
			template = bytes.Replace(template, []byte(`"shop-api"`), fmt.Appendf(nil, "%q", name), 1)
			if err := give("apps", "Deployment", "deployments", namespace, name, fmt.Appendf(nil, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":%q,"namespace":%q},"spec":{"replicas":4,"template":{"metadata":{"labels":{"app":%q}},"spec":%s}}}`, name, namespace, name, template)); err != nil {
				return err
			}
			for p := range 4 {
				pod := fmt.Sprintf("%s-%d", name, p)
				if d == 2 && p == 3 {
					continue
				}
				if err := give("", "Pod", "pods", namespace, pod, fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":%q,"labels":{"app":%q}},"spec":%s,"status":{"phase":"Running"}}`, pod, namespace, name, template)); err != nil {
					return err
				}
			}
		}
		name := fmt.Sprint("app-", n)
		for _, o := range []struct{ group, kind, resource, rest string }{
			{"", "Service", "services", `"spec":{"ports":[{"port":80}],"selector":{"app":"x"}}`},
			{"", "ConfigMap", "configmaps", `"data":{"application.yaml":"server:\n  port: 8080\nlogging:\n  level: info\n"}`},
			{"", "ServiceAccount", "serviceaccounts", `"automountServiceAccountToken":false`},
			{"rbac.authorization.k8s.io", "Role", "roles", `"rules":[{"apiGroups":[""],"resources":["pods","configmaps"],"verbs":["get","list","watch"]}]`},
			{"rbac.authorization.k8s.io", "RoleBinding", "rolebindings", `"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"x"},"subjects":[{"kind":"ServiceAccount","name":"x","namespace":"shop"}]`},
		} {
			version := audit.Reference{Group: o.group, Version: "v1"}.APIVersion()
			if err := give(o.group, o.kind, o.resource, namespace, name, fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"metadata":{"name":%q,"namespace":%q},%s}`, version, o.kind, name, namespace, o.rest)); err != nil {
				return err
			}
		}
	}
	return nil
}
