// Package report writes what an audit found as reports that other tools read: PolicyReport and ClusterPolicyReport
// (wgpolicyk8s.io/v1alpha2), or Report and ClusterReport (openreports.io/v1alpha1), whichever the cluster has.
//
// There is one report for each namespace, and one for each kind that is in none; never one for an object or a request. A
// report has 500 results at most, the worst ones, and fewer where they are large; its summary is exact. It is
// written when something is found otherwise than before, by whoever the namespace belongs to, and is gone with its
// namespace, or when there is nothing to report on.
package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/policies"
)

// Source says in each report whose it is.
const Source = "portcullis"

// Labels of reports.
const (
	partOf    = "app.kubernetes.io/part-of"
	managedBy = "app.kubernetes.io/managed-by"
)

// Limits of one report. An API server refuses objects of more than 1.5 MB (etcd's --max-request-bytes), and its watchers pay
// for each byte.
const (
	MaxResults = 500
	maxBytes   = 900 << 10
	maxMessage = 1 << 10
)

// Format is a kind of reports.
type Format struct {
	// Name is what people call it: "policyreport", "openreports".
	Name              string
	version           schema.GroupVersion
	namespaced, whole string // kinds
	// source says that the report itself has a field for it.
	source bool
}

// The formats, the one that is preferred first: what most tools read today comes last.
var (
	OpenReports  = Format{"openreports", schema.GroupVersion{Group: "openreports.io", Version: "v1alpha1"}, "Report", "ClusterReport", true}
	PolicyReport = Format{"policyreport", schema.GroupVersion{Group: "wgpolicyk8s.io", Version: "v1alpha2"}, "PolicyReport", "ClusterPolicyReport", false}
	Formats      = []Format{OpenReports, PolicyReport}
)

// resource is where reports of a namespace, or of none, are.
func (f Format) resource(namespace string) schema.GroupVersionResource {
	return f.version.WithResource(strings.ToLower(f.kind(namespace)) + "s")
}

func (f Format) kind(namespace string) string {
	if namespace == "" {
		return f.whole
	}
	return f.namespaced
}

// report is both formats: their fields are the same but for source.
type report struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Source     string   `json:"source,omitempty"`
	Summary    summary  `json:"summary"`
	Results    []result `json:"results,omitempty"`
}

type metadata struct {
	Name            string            `json:"name"`
	Namespace       string            `json:"namespace,omitempty"`
	ResourceVersion string            `json:"resourceVersion,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
}

// summary counts policies, per object. Its numbers are exact, whatever results are left out.
type summary struct {
	Pass  int `json:"pass"`
	Fail  int `json:"fail"`
	Warn  int `json:"warn"`
	Error int `json:"error"`
	Skip  int `json:"skip"`
}

// result is one finding, fault or open question.
type result struct {
	Source    string            `json:"source"`
	Policy    string            `json:"policy"`
	Rule      string            `json:"rule,omitempty"`
	Category  string            `json:"category,omitempty"`
	Severity  string            `json:"severity,omitempty"`
	Result    string            `json:"result"`
	Scored    bool              `json:"scored"`
	Message   string            `json:"message,omitempty"`
	Resources []reference       `json:"resources,omitempty"`
	Timestamp *timestamp        `json:"timestamp,omitempty"`
	Details   map[string]string `json:"properties,omitempty"`

	weight int // worst first, see weigh
}

type reference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

type timestamp struct {
	Seconds int64 `json:"seconds"`
	Nanos   int32 `json:"nanos"`
}

// Annotations of reports.
const (
	annotationRevision  = "policy.portcullis.dev/revision"
	annotationObjects   = "policy.portcullis.dev/objects"
	annotationTruncated = "policy.portcullis.dev/results-left-out"
)

// build makes the report of a scope.
func (f Format) build(scope string, results []audit.Result) *report {
	namespace, resource := split(scope)
	r := &report{
		APIVersion: f.version.String(), Kind: f.kind(namespace),
		Metadata: metadata{
			Name: nameOf(resource), Namespace: namespace,
			Labels: map[string]string{partOf: Source, managedBy: Source},
		},
	}
	if f.source {
		r.Source = Source
	}
	owned := podsOf(results)
	var all []result
	for n := range results {
		all = append(all, r.Summary.add(&results[n], owned[results[n].Object.UID])...)
	}
	slices.SortStableFunc(all, compareResults)
	r.Metadata.Annotations = map[string]string{
		annotationRevision: revisions(results), annotationObjects: strconv.Itoa(len(results)),
	}
	r.fit(all)
	return r
}

// fit takes as many results as there is room for.
func (r *report) fit(all []result) {
	size := 2 << 10 // of everything else
	for n := range all {
		if n == MaxResults {
			break
		}
		text, _ := json.Marshal(all[n])
		if size += len(text) + 1; size > maxBytes {
			break
		}
		r.Results = append(r.Results, all[n])
	}
	if left := len(all) - len(r.Results); left > 0 {
		r.Metadata.Annotations[annotationTruncated] = strconv.Itoa(left)
	}
}

// add counts an object's policies and gives its results.
func (s *summary) add(r *audit.Result, pods int) []result {
	var all []result
	said := map[string]bool{}
	subject := []reference{{r.Object.APIVersion(), r.Object.Kind, r.Object.Namespace, r.Object.Name, r.Object.UID}}
	found := &timestamp{Seconds: r.At.Unix()}
	for n := range r.Findings {
		one := ofFinding(&r.Findings[n])
		if pods > 0 {
			one.Details["pods"] = strconv.Itoa(pods)
		}
		said[one.Rule+"\x00"+one.Policy] = true
		all = append(all, one)
	}
	for _, fault := range r.Faults {
		said["\x00"+fault.Policy] = true
		all = append(all, result{
			Policy: cmp.Or(fault.Policy, "bundle"), Result: "error", Message: cut(fmt.Sprintf("%s: %s", fault.Kind, fault.Message)), weight: 1,
			Details: details(map[string]string{"bundle": fault.Bundle, "enforcement": fault.Enforcement.String()}),
		})
	}
	for _, open := range r.Undecided {
		said["\x00"+open.Policy] = true
		all = append(all, result{
			Policy: cmp.Or(open.Policy, "bundle"), Result: "error", Message: cut("undecided: " + open.Reason), weight: 1,
			Details: details(map[string]string{"bundle": open.Bundle, "path": open.Path, "enforcement": open.Enforcement.String()}),
		})
	}
	for n := range all {
		all[n].Source, all[n].Resources, all[n].Timestamp, all[n].Scored = Source, subject, found, all[n].Result != "skip"
		s.count(all[n].Result)
	}
	s.Pass += max(0, r.Matched-len(said)-min(r.Folded, max(0, r.Matched-len(said))))
	return all
}

func (s *summary) count(result string) {
	switch result {
	case "fail":
		s.Fail++
	case "warn":
		s.Warn++
	case "skip":
		s.Skip++
	default:
		s.Error++
	}
}

// ofFinding is what a finding is in a report: what an exception waives is skipped, what denies or is recorded fails, what
// only warns warns.
func ofFinding(f *policies.Finding) result {
	one := result{
		Policy: f.Policy, Severity: f.Severity, Message: cut(f.Message), Result: "fail",
		Details: details(map[string]string{
			"enforcement": f.Enforcement.String(), "path": f.Path, "bundle": f.Bundle, "title": f.Title,
			"exception": f.ExceptedBy, "exceptionEnds": f.ExceptedUntil,
		}),
	}
	if f.Instance != f.Policy {
		one.Rule = f.Instance
	}
	switch {
	case f.ExceptedBy != "":
		one.Result = "skip"
	case f.Effect == policies.EffectWarn || f.Enforcement == policies.EnforceWarn:
		one.Result = "warn"
	}
	one.weight = weigh(one.Result, f.Severity)
	return one
}

// weigh puts what is worst first: by severity, and faults after what is critical, since nobody knows what they hide.
func weigh(result, severity string) int {
	weight := 2 * slices.Index([]string{"critical", "high", "medium", "low"}, severity)
	if weight < 0 {
		weight = 8
	}
	if result == "skip" {
		weight += 100
	}
	return weight
}

func compareResults(a, b result) int {
	enforcement := func(r result) int { return slices.Index([]string{"deny", "warn", "audit"}, r.Details["enforcement"]) }
	subject := func(r result) string { return r.Resources[0].Kind + "\x00" + r.Resources[0].Name }
	return cmp.Or(
		cmp.Compare(a.weight, b.weight), cmp.Compare(enforcement(a), enforcement(b)),
		strings.Compare(a.Policy, b.Policy), strings.Compare(a.Rule, b.Rule), strings.Compare(subject(a), subject(b)),
		strings.Compare(a.Details["path"], b.Details["path"]), strings.Compare(a.Message, b.Message))
}

// details leaves out what is empty.
func details(all map[string]string) map[string]string {
	for name, value := range all {
		if all[name] = cut(value); value == "" {
			delete(all, name)
		}
	}
	return all
}

// cut bounds a text: messages are written by policies about what is in objects.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxMessage {
		return text
	}
	end := maxMessage
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// podsOf counts by UID the pods that something makes, by whatever makes them for it.
func podsOf(results []audit.Result) map[string]int {
	owner := map[string]string{}
	for n := range results {
		if o := results[n].Owner; o != nil {
			owner[results[n].Object.UID] = o.UID
		}
	}
	pods := map[string]int{}
	for n := range results {
		if results[n].Object.GroupResource() != "pods" || results[n].Dormant {
			continue
		}
		above := owner[results[n].Object.UID]
		for range 5 { // Pod, Job, CronJob, and what is above
			if above == "" {
				break
			}
			pods[above]++
			above = owner[above]
		}
	}
	return pods
}

func revisions(results []audit.Result) string {
	var all []string
	for n := range results {
		if !slices.Contains(all, results[n].Revision) {
			all = append(all, results[n].Revision)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// clusterPrefix begins the scope of a kind that is in no namespace, as [stored.ClusterScope] makes it.
const clusterPrefix = "cluster:"

// split tells namespace and resource of a scope apart.
func split(scope string) (namespace, resource string) {
	if resource, ok := strings.CutPrefix(scope, clusterPrefix); ok {
		return "", resource
	}
	return scope, ""
}

// nameOf is that of the report of a resource, or of a namespace.
func nameOf(resource string) string {
	if resource == "" {
		return Source
	}
	return Source + "-" + resource
}

// scopeOf is what a report is about, "" for one that is not ours.
func scopeOf(namespace, name string) string {
	resource, ok := strings.CutPrefix(name, Source+"-")
	switch {
	case namespace != "" && name == Source:
		return namespace
	case namespace == "" && ok:
		return clusterPrefix + resource
	}
	return ""
}

// carry takes over the times of what was reported before: since then it is so.
func (r *report) carry(before *report) {
	type identity struct{ policy, rule, result, message, path, uid, name string }
	of := func(one *result) identity {
		id := identity{one.Policy, one.Rule, one.Result, one.Message, one.Details["path"], "", ""}
		if len(one.Resources) > 0 {
			id.uid, id.name = one.Resources[0].UID, one.Resources[0].Kind+"/"+one.Resources[0].Name
		}
		return id
	}
	since := map[identity]*timestamp{}
	for n := range before.Results {
		since[of(&before.Results[n])] = before.Results[n].Timestamp
	}
	for n := range r.Results {
		if at := since[of(&r.Results[n])]; at != nil && at.Seconds <= r.Results[n].Timestamp.Seconds {
			r.Results[n].Timestamp = at
		}
	}
}

// same says that two reports say the same.
func (r *report) same(other *report) bool {
	text := func(r *report) string {
		bare := *r
		bare.Metadata = metadata{Name: r.Metadata.Name, Namespace: r.Metadata.Namespace, Labels: ours(r.Metadata.Labels), Annotations: ours(r.Metadata.Annotations)}
		content, _ := json.Marshal(bare)
		return string(content)
	}
	return text(r) == text(other)
}

// ours leaves out what others have put on a report.
func ours(values map[string]string) map[string]string {
	kept := map[string]string{}
	for _, name := range []string{partOf, managedBy, annotationRevision, annotationObjects, annotationTruncated} {
		if value, ok := values[name]; ok {
			kept[name] = value
		}
	}
	return kept
}
