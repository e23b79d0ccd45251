package library_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

const (
	quarantinedUID   = "4d5b8c0e-6a53-4a3c-9d4e-6c1d2a3b4c5d"
	quarantineOfWeb  = `{"apiVersion":"runtime.portcullis.dev/v1alpha1","kind":"Quarantine","metadata":{"name":"q-1"},"spec":{"pod":{"namespace":"sample","name":"web","uid":"` + quarantinedUID + `"},"mode":"enforce","triggers":[{"policy":"runtime/reverse-shell","message":"a shell","event":"e","rule":"r","priority":"critical","time":null}],"actions":[]},"status":{"phase":"Contained"}}`
	incidentOfDigest = `{"apiVersion":"runtime.portcullis.dev/v1alpha1","kind":"Incident","metadata":{"name":"i-1"},"spec":{"scope":"digest","digest":"` + imageDigest + `","effect":"deny","reason":"a miner","expires":"2026-01-02T00:00:00Z"}}`
)

// cluster are facts with one object of our own, and images that resolve to imageDigest.
type cluster string

func (c cluster) Gather(ctx context.Context, needs policies.Needs) policies.Facts {
	facts := knownOf{Resolved: imageDigest}.Gather(ctx, needs)
	var object struct {
		Kind     string
		Metadata struct{ Name string }
	}
	if json.Unmarshal([]byte(c), &object) == nil {
		facts.Cluster = []policies.Object{{Group: "runtime.portcullis.dev", Version: "v1alpha1", Kind: object.Kind, Resource: strings.ToLower(object.Kind) + "s", Name: object.Metadata.Name, Raw: []byte(c)}}
	}
	return facts
}

// asks is a request as the API server sends it, "" for what it does not have.
func asks(t *testing.T, operation, resource, subresource, name, user, object, old string) admission.Request {
	t.Helper()
	fields := map[string]any{
		"uid": "1", "operation": operation, "namespace": "sample", "kind": map[string]string{"version": "v1", "kind": "Pod"},
		"resource": map[string]string{"version": "v1", "resource": resource}, "subResource": subresource, "name": name,
		"userInfo": map[string]any{"username": user, "groups": []string{"system:authenticated"}},
	}
	if object != "" {
		fields["object"] = json.RawMessage(object)
	}
	if old != "" {
		fields["oldObject"] = json.RawMessage(old)
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	var review admissionv1.AdmissionRequest
	if err := json.Unmarshal(raw, &review); err != nil {
		t.Fatal(err)
	}
	return admission.FromReview(admission.DoorAdmission, &review)
}

// podWith is a pod with metadata as given, beside its name.
func podWith(metadata string) string {
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"sample","uid":"` + quarantinedUID + `"` + metadata + `},"spec":{"containers":[{"name":"a","image":"a"}]}}`
}

const labelled = `,"labels":{"runtime.portcullis.dev/quarantine":"q-1"}`

func wantDenial(t *testing.T, id string, request admission.Request, facts cluster, parameters map[string]any) {
	t.Helper()
	verdict := admission.NewReviewer(only(t, id, parameters), facts, sampleClock).Review(t.Context(), request)
	if verdict.Admitted || len(verdict.Faults) > 0 {
		t.Errorf("got admitted = %v, findings %+v, faults %+v; want a denial by %s", verdict.Admitted, verdict.Findings, verdict.Faults, id)
	}
}

// Each way into a pod that passes the API server. GET requests do not pass admission: logs are for RBAC.
func TestNoWayIntoAQuarantinedPod(t *testing.T) {
	for _, subresource := range []string{"exec", "attach", "portforward", "proxy"} {
		t.Run(subresource, func(t *testing.T) {
			wantDenial(t, "runtime/quarantined-exec", asks(t, "CONNECT", "pods", subresource, "web", "root", `{"kind":"PodExecOptions"}`, ""), quarantineOfWeb, nil)
		})
	}
	for _, subresource := range []string{"ephemeralcontainers", "resize"} {
		t.Run(subresource, func(t *testing.T) {
			wantDenial(t, "runtime/quarantined-exec", asks(t, "UPDATE", "pods", subresource, "web", "root", podWith(`,"annotations":{"a":"b"}`), podWith("")), quarantineOfWeb, nil)
		})
	}
}

// A pod of a StatefulSet comes back under its name, and the quarantine is about the one before it.
func TestAPodThatCameBackUnderItsNameIsAnotherOne(t *testing.T) {
	again := strings.Replace(podWith(""), quarantinedUID, "1", 1)
	for _, request := range []admission.Request{
		asks(t, "UPDATE", "pods", "ephemeralcontainers", "web", "ada", strings.Replace(again, `"uid"`, `"labels":{"a":"b"},"uid"`, 1), again),
		asks(t, "DELETE", "pods", "", "web", "ada", "", again),
	} {
		for _, id := range []string{"runtime/quarantined-exec", "runtime/quarantined-deletion"} {
			verdict := admission.NewReviewer(only(t, id, nil), cluster(quarantineOfWeb), sampleClock).Review(t.Context(), request)
			if !verdict.Admitted {
				t.Errorf("%s: got findings %+v, want none", id, verdict.Findings)
			}
		}
	}
}

// Deletecollection asks about each pod, with its object and without its name (k8s.io/apiserver, AdmissionToValidateObjectDeleteFunc).
func TestADeletionOfManyPodsNamesNone(t *testing.T) {
	wantDenial(t, "runtime/quarantined-deletion", asks(t, "DELETE", "pods", "", "", "ada", "", podWith("")), quarantineOfWeb, nil)
}

// Labels change through each of these as well as through pods (CVE-2026-30963 was that for namespaces).
func TestRelabellingThroughASubresourceIsRelabelling(t *testing.T) {
	for _, subresource := range []string{"", "status", "ephemeralcontainers", "resize"} {
		t.Run("pods/"+subresource, func(t *testing.T) {
			wantDenial(t, "runtime/quarantine-labels", asks(t, "UPDATE", "pods", subresource, "web", "system:node:a", podWith(""), podWith(labelled)), "", nil)
		})
	}
	for _, subresource := range []string{"", "status"} {
		t.Run("other labels through pods/"+subresource, func(t *testing.T) {
			wantDenial(t, "runtime/quarantined-changes", asks(t, "UPDATE", "pods", subresource, "web", "ada",
				podWith(strings.Replace(labelled, "{", `{"app":"web",`, 1)), podWith(labelled)), "", nil)
		})
	}
}

// The garbage collector deletes what has none of its owners any more, and may.
func TestAForgedOwnerDoesNotHaveThePodCollected(t *testing.T) {
	wantDenial(t, "runtime/quarantined-changes", asks(t, "UPDATE", "pods", "", "web", "ada",
		podWith(labelled+`,"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"none","uid":"9"}]`), podWith(labelled)), "", nil)
}

// A Role of many operators allows pods/binding, which copies annotations and labels to the pod.
func TestABindingDoesNotLabelAPod(t *testing.T) {
	for _, resource := range []string{"pods/binding", "bindings/"} {
		plural, subresource, _ := strings.Cut(resource, "/")
		wantDenial(t, "runtime/quarantine-labels", asks(t, "CREATE", plural, subresource, "web", "ada",
			`{"apiVersion":"v1","kind":"Binding","metadata":{"name":"web"`+labelled+`},"target":{"kind":"Node","name":"a"}}`, ""), "", nil)
	}
}

// Whoever has the token of a quarantined pod is that pod, whatever groups it claims and wherever it asks.
func TestATokenOfAQuarantinedPodWritesNothing(t *testing.T) {
	parameters := map[string]any(nil)
	for name, change := range map[string]func(*admission.Request){
		"in another namespace":  func(r *admission.Request) { r.Namespace = "kube-system" },
		"outside of namespaces": func(r *admission.Request) { r.Namespace = "" },
		"by a responder":        func(r *admission.Request) { r.Subject.Groups = []string{"portcullis:responders", "system:masters"} },
		"as a dry run":          func(r *admission.Request) { r.DryRun = true },
		"of a kind nobody knows": func(r *admission.Request) {
			r.Resource.Group, r.Resource.Resource, r.Kind.Kind = "example.com", "widgets", "Widget"
		},
	} {
		t.Run(name, func(t *testing.T) {
			request := asks(t, "CREATE", "configmaps", "", "a", "system:serviceaccount:sample:web", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`, "")
			request.Subject.Extra = map[string][]string{"authentication.kubernetes.io/pod-uid": {quarantinedUID}}
			change(&request)
			wantDenial(t, "runtime/quarantined-token", request, quarantineOfWeb, parameters)
		})
	}
}

// CVE-2023-2727 and the like: an image with an incident in each place where an image can be, by digest and by tag.
func TestAnImageWithAnIncidentIsFoundWhereverItStands(t *testing.T) {
	for place := range imagePlaces {
		request := placed(t, place)
		t.Run("by tag in "+place, func(t *testing.T) { wantDenial(t, "runtime/incident-digests", request, incidentOfDigest, nil) })
		request.Object = []byte(strings.ReplaceAll(string(request.Object), "ghcr.io/acme/app0:1", "ghcr.io/acme/app0:1@"+imageDigest))
		t.Run("by digest in "+place, func(t *testing.T) { wantDenial(t, "runtime/incidents", request, incidentOfDigest, nil) })
	}
	t.Run("by tag in an ephemeral container", func(t *testing.T) { wantDenial(t, "runtime/incident-digests", debugged(t), incidentOfDigest, nil) })
}

// A pod that says that it replaces another one is one that somebody wrote.
func TestNobodyClaimsToBeAReplacement(t *testing.T) {
	request := placed(t, "a pod that says it is deleted")
	request.Object = []byte(strings.ReplaceAll(string(request.Object), "ghcr.io/acme/app0:1", "ghcr.io/acme/app0:1@"+imageDigest))
	for _, user := range []string{"ada", "system:serviceaccount:sample:replicaset-controller", "system:serviceaccount:kube-system:replicaset-controller2"} {
		request.Subject.Username = user
		t.Run(user, func(t *testing.T) { wantDenial(t, "runtime/incidents", request, incidentOfDigest, nil) })
	}
	request.Subject.Username = "system:serviceaccount:kube-system:replicaset-controller"
	verdict := admission.NewReviewer(only(t, "runtime/incidents", nil), cluster(incidentOfDigest), sampleClock).Review(t.Context(), request)
	if !verdict.Admitted || len(verdict.Findings) != 1 {
		t.Errorf("got admitted = %v, findings %+v; want a warning for a replacement", verdict.Admitted, verdict.Findings)
	}
}

// Exceptions follow the pod that was found, not what the event says of itself.
func TestAnEventDoesNotExceptItself(t *testing.T) {
	engine := only(t, "runtime/reverse-shell", map[string]any{"except": map[string]any{"namespaces": []any{"build"}, "images": []any{"docker.io/acme/**"}}})
	verdict := respond(engine, seen(func(e *response.Event) {
		e.Rule = "Redirect STDOUT/STDIN to Network Connection in Container"
		e.Fields = map[string]any{"k8s.ns.name": "build", "container.image.repository": "docker.io/acme/builder", "proc.name": "build"}
	}))
	if len(verdict.Responses) == 0 {
		t.Error("got no response, want one: the event only says that it is of an excepted namespace and image")
	}
}

// A miner that is called like something else, a shell that is, and a rule that somebody renamed.
func TestNamesAreNotAllThatIsLookedAt(t *testing.T) {
	engine := wholeLibrary(t)
	for name, test := range map[string]struct {
		change func(*response.Event)
		want   string
	}{
		"a miner that calls itself nginx": {func(e *response.Event) {
			e.Fields = map[string]any{"proc.name": "nginx", "proc.exepath": "/tmp/xmrig"}
		}, "crypto-miner"},
		"a miner that is called nginx": {func(e *response.Event) {
			e.Fields = map[string]any{"proc.name": "nginx", "proc.exepath": "/usr/sbin/nginx", "proc.cmdline": "nginx -o stratum+tcp://192.0.2.7:80"}
		}, "crypto-miner"},
		"a reverse shell by a rule of ones own": {func(e *response.Event) {
			e.Rule, e.Fields = "acme 17", map[string]any{"evt.type": "dup2", "fd.type": "ipv6", "fd.sip": "2001:db8::7", "proc.name": "x", "proc.exepath": "/bin/busybox"}
		}, "reverse-shell"},
		"a dropped program by the kernel's flags": {func(e *response.Event) {
			e.Rule, e.Fields = "acme 18", map[string]any{"proc.name": "nginx", "evt.arg.flags": "EXE_WRITABLE|EXE_UPPER_LAYER"}
		}, "drop-and-execute"},
		"the metadata service behind an IPv4-mapped address": {func(e *response.Event) {
			e.Rule, e.Fields = "acme 19", map[string]any{"fd.sip": "::ffff:169.254.169.254"}
		}, "cloud-metadata-contact"},
		"a technique by its tag alone": {func(e *response.Event) { e.Rule, e.Tags = "acme 20", []string{"T1611"} }, "container-escape"},
	} {
		t.Run(name, func(t *testing.T) {
			verdict := respond(engine, seen(func(e *response.Event) {
				e.Rule, e.Tags = "Run shell untrusted", []string{"process"}
				test.change(e)
			}))
			if got := policiesOf(verdict); !slices.Contains(got, test.want) {
				t.Errorf("got %q, want %s among them", got, test.want)
			}
		})
	}
}

// guards are what protects a quarantine at admission, as docs/runtime-policies.md has them.
var guards = []string{"runtime/quarantined-exec", "runtime/quarantined-deletion", "runtime/quarantined-changes", "runtime/quarantine-labels", "runtime/quarantine-objects", "runtime/quarantine-openings"}

func TestTheAPIServerIsToldToAskAboutEachWayToAQuarantine(t *testing.T) {
	var interests []policies.Interest
	for _, id := range guards {
		interests = policies.MergeInterests(interests, only(t, id, nil).Interests(""))
	}
	made, err := configuration.Compute(interests, configuration.Options{Service: &configuration.Service{Namespace: "portcullis-system", Name: "portcullis-webhook"}, CABundle: []byte("-----BEGIN CERTIFICATE-----\n")})
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, webhook := range made.Validating.Webhooks {
		for _, rule := range webhook.Rules {
			for _, resource := range rule.Resources {
				for _, operation := range rule.Operations {
					told[fmt.Sprintf("%s %s/%s", operation, rule.APIGroups[0], resource)] = true
				}
			}
		}
	}
	for _, want := range []string{
		"CONNECT /pods/exec", "CONNECT /pods/attach", "CONNECT /pods/portforward", "CONNECT /pods/proxy", "UPDATE /pods/ephemeralcontainers", "UPDATE /pods/resize",
		"DELETE /pods", "CREATE /pods/eviction", "CREATE /pods", "UPDATE /pods", "UPDATE /pods/status", "CREATE /pods/binding", "CREATE /bindings",
		"CREATE networking.k8s.io/networkpolicies", "UPDATE networking.k8s.io/networkpolicies", "DELETE networking.k8s.io/networkpolicies",
		"UPDATE policy.networking.k8s.io/clusternetworkpolicies", "DELETE policy.networking.k8s.io/adminnetworkpolicies", "DELETE cilium.io/ciliumclusterwidenetworkpolicies",
		"DELETE crd.projectcalico.org/globalnetworkpolicies", "DELETE projectcalico.org/globalnetworkpolicies",
		"UPDATE runtime.portcullis.dev/quarantines", "UPDATE runtime.portcullis.dev/quarantines/status", "DELETE runtime.portcullis.dev/incidents", "DELETE runtime.portcullis.dev/quarantineevidences",
	} {
		if !told[want] {
			t.Errorf("got no rule for %s, want one", want)
		}
	}
}
