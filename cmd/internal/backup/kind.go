package backup

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	policiesv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	scannerv1alpha1 "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	secretsv1alpha1 "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Kind is one kind of object that is state.
type Kind struct {
	Resource   schema.GroupVersionResource
	Kind       string
	Namespaced bool
	// page is how many are read at a time: what may take a megabyte each is read by few.
	page int64
	// fixed is what never changes once it is written.
	fixed bool
	// program acts on it as soon as it is there, "" for none.
	program installation.Component
	// ended says why an object counts for nothing any more at a time, "" where it counts. Nil is never.
	ended func(*unstructured.Unstructured, time.Time) string
	// about says what comes back with one, where somebody may have taken it back since, "" for nothing. Nil is for what nobody takes back.
	about func(*unstructured.Unstructured) string
	// status is what goes on in another cluster of a status, nil where all of it is said again by itself.
	status func(status map[string]any) map[string]any
	// blank says that a status says nothing yet that restoring one would take away.
	blank func(status map[string]any) bool
	// begun is a status whose times count from when it is restored. Nil is for those that have none.
	begun func(status map[string]any, now func() time.Time) map[string]any
	// anySpec says that a status counts whatever the spec has become: it is about what the name says.
	anySpec bool
	// takenBack says that what is there is over, or about to be, and what was has it in force. Nil is for what no status ends.
	takenBack func(there, was *unstructured.Unstructured) bool
}

// Name is RESOURCE.GROUP, as kubectl takes it.
func (k *Kind) Name() string { return k.Resource.GroupResource().String() }

// Sizes of pages: a PolicyRevision, an ImageScan with its statement and a piece of evidence may have a megabyte, others have a few
// kilobytes.
const (
	manySmall = 500
	fewLarge  = 20
)

// kinds are all, in the order in which they are restored: what denies before what admits, and what others refer to before those.
var kinds = []Kind{
	{Resource: policiesv1alpha1.Revisions, Kind: "PolicyRevision", page: fewLarge, fixed: true},
	{Resource: policiesv1alpha1.Bundles, Kind: "PolicyBundle", page: manySmall, program: installation.Controller, status: bundleStatus, blank: lacks("active", "maxSerial"), begun: trialBegun, anySpec: true},
	{Resource: runtimev1alpha1.Incidents, Kind: "Incident", page: manySmall, ended: incidentEnded, about: incidentAbout},
	{Resource: runtimev1alpha1.Quarantines, Kind: "Quarantine", page: manySmall, program: installation.Responder, status: maps.Clone[map[string]any], blank: lacks("phase"), about: quarantineAbout, anySpec: true, takenBack: released},
	{Resource: runtimev1alpha1.Evidences, Kind: "QuarantineEvidence", page: fewLarge, fixed: true},
	{Resource: policiesv1alpha1.Exceptions, Kind: "PolicyException", Namespaced: true, page: manySmall, ended: exceptionEnded, about: exceptionAbout},
	{Resource: scannerv1alpha1.Resource, Kind: scannerv1alpha1.Kind, page: fewLarge, ended: scanEnded, status: scanStatus, blank: lacks("phase"), anySpec: true},
	{Resource: secretsv1alpha1.VaultConnections, Kind: "VaultConnection", page: manySmall},
	{Resource: secretsv1alpha1.VaultAuths, Kind: "VaultAuth", Namespaced: true, page: manySmall},
	{Resource: secretsv1alpha1.VaultLeases, Kind: "VaultLease", Namespaced: true, page: manySmall, program: installation.Secrets},
	{Resource: secretsv1alpha1.VaultSecrets, Kind: "VaultSecret", Namespaced: true, page: manySmall, program: installation.Secrets},
	{Resource: secretsv1alpha1.VaultPushes, Kind: "VaultPush", Namespaced: true, page: manySmall, program: installation.Secrets, status: pushStatus, blank: lacks("version", "hash")},
}

// reading is the order in which kinds are read: a revision is stored before a status names it and a lease before its secret is written,
// so whoever reads the latter first finds the former.
var reading = []string{
	"PolicyBundle", "PolicyRevision", "PolicyException", "Quarantine", "Incident", "QuarantineEvidence", "ImageScan",
	"VaultConnection", "VaultAuth", "VaultSecret", "VaultPush", "VaultLease",
}

// Kinds are all kinds that are state, in the order in which they are restored.
func Kinds() []Kind { return slices.Clone(kinds) }

// Names are those of all kinds, RESOURCE.GROUP.
func Names() []string {
	var names []string
	for n := range kinds {
		names = append(names, kinds[n].Name())
	}
	return names
}

// Find gives the kind that is called RESOURCE.GROUP, RESOURCE or by its kind, nil for none.
func Find(name string) *Kind {
	for n := range kinds {
		if k := &kinds[n]; name == k.Name() || name == k.Resource.Resource || strings.EqualFold(name, k.Kind) {
			return k
		}
	}
	return nil
}

// LeftOut is what is not in any backup, and why.
type LeftOut struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// leftOut are kinds of ours, and objects that we write, which must not come back, or come back by themselves. docs/backup.md has the whole table.
var leftOut = []LeftOut{
	{"breakglasses.policy.portcullis.dev", "what was opened for an hour must not open again: who needs it opens another in their own name"},
	{"policyreplicas.policy.portcullis.dev", "each replica of the webhook reports for itself"},
	{"secrets", "no Secret is read: docs/backup.md says where each comes from again"},
	{"leases.coordination.k8s.io", "whoever acts takes it anew"},
	{"webhook configurations and their certificates", "the controller writes both, with an authority of this cluster"},
}

// lacks says whether a status has none of some fields.
func lacks(fields ...string) func(map[string]any) bool {
	return func(status map[string]any) bool {
		return !slices.ContainsFunc(fields, func(field string) bool {
			value, there := status[field]
			return there && value != "" && value != int64(0)
		})
	}
}

func without(status map[string]any, fields ...string) map[string]any {
	kept := maps.Clone(status)
	for _, field := range fields {
		delete(kept, field)
	}
	return kept
}

// bundleStatus keeps which revisions judge, and which may not judge any more. What programs say of the cluster that was they say again, and
// what replicas have seen of a candidate they see again: a trial is one of the cluster that it protects.
func bundleStatus(status map[string]any) map[string]any {
	kept := without(status, "observedGeneration", "conditions", "replicas", "readyReplicas", "fetchRequested", "comparison")
	if candidate, ok := kept["candidate"].(map[string]any); ok {
		kept["candidate"] = without(candidate, "since")
	}
	return kept
}

// trialBegun has the trial of a candidate begin: time in which nobody judged is no time of a trial.
func trialBegun(status map[string]any, now func() time.Time) map[string]any {
	candidate, ok := status["candidate"].(map[string]any)
	if !ok {
		return status
	}
	begun, since := maps.Clone(status), maps.Clone(candidate)
	since["since"] = now().UTC().Format(time.RFC3339)
	begun["candidate"] = since
	return begun
}

// scanStatus has a scan that was going on begun again: whoever was at it is not there.
func scanStatus(status map[string]any) map[string]any {
	kept := without(status, "claimedBy", "claimExpires")
	if kept["phase"] == string(scannerv1alpha1.PhaseRunning) {
		kept["phase"] = string(scannerv1alpha1.PhaseQueued)
	}
	return kept
}

// pushStatus keeps which version of a secret was pushed: without it portcullis-secrets takes it for somebody else's.
func pushStatus(status map[string]any) map[string]any {
	kept := map[string]any{}
	for _, field := range []string{"lastPush", "generated", "requested", "version", "hash", "hashKey"} {
		if value, there := status[field]; there {
			kept[field] = value
		}
	}
	return kept
}

// exceptionEnded is strict: one whose end cannot be read waives nothing.
func exceptionEnded(o *unstructured.Unstructured, now time.Time) string {
	text, _, _ := unstructured.NestedString(o.Object, "spec", "expires")
	ends, err := time.Parse(time.DateOnly, text)
	if err != nil {
		if ends, err = time.Parse(time.RFC3339, strings.ToUpper(text)); err != nil {
			return "its end cannot be read"
		}
	}
	if now.Before(ends) {
		return ""
	}
	return "it expired " + text
}

func exceptionAbout(o *unstructured.Unstructured) string {
	spec, _, _ := unstructured.NestedMap(o.Object, "spec")
	return fmt.Sprintf("waives %v until %v: %v (%v)", spec["policy"], spec["expires"], spec["reason"], spec["owner"])
}

func incidentAbout(o *unstructured.Unstructured) string {
	spec, _, _ := unstructured.NestedMap(o.Object, "spec")
	return fmt.Sprintf("%v until %v: %v", spec["effect"], spec["expires"], spec["reason"])
}

// quarantineAbout is about those that are not over. Incidents of one are objects of their own.
func quarantineAbout(o *unstructured.Unstructured) string {
	if phaseOf(o).Over() {
		return ""
	}
	pod, _, _ := unstructured.NestedMap(o.Object, "spec", "pod")
	phase := phaseOf(o)
	if phase == "" {
		phase = "nothing was done yet"
	}
	return fmt.Sprintf("%s, about the pod %v/%v on the node %v", phase, pod["namespace"], pod["name"], pod["node"])
}

// released says that a Quarantine is over here, or that somebody has asked for its release, which it was not when the backup was taken.
func released(there, was *unstructured.Unstructured) bool {
	ended := func(o *unstructured.Unstructured) bool {
		_, asked, _ := unstructured.NestedMap(o.Object, "spec", "release")
		return asked || phaseOf(o).Over() || phaseOf(o) == runtimev1alpha1.PhaseReleasing
	}
	return ended(there) && !ended(was)
}

func phaseOf(o *unstructured.Unstructured) runtimev1alpha1.Phase {
	phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	return runtimev1alpha1.Phase(phase)
}

func incidentEnded(o *unstructured.Unstructured, now time.Time) string {
	return past(o, now, "it expired ", "spec", "expires")
}

func scanEnded(o *unstructured.Unstructured, now time.Time) string {
	return past(o, now, "nobody has asked for it since ", "status", "expires")
}

// past says that a time is over; one that is not there, or cannot be read, is not.
func past(o *unstructured.Unstructured, now time.Time, why string, path ...string) string {
	text, _, _ := unstructured.NestedString(o.Object, path...)
	if ends, err := time.Parse(time.RFC3339, text); err == nil && !now.Before(ends) {
		return why + text
	}
	return ""
}
