package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/content"
	"github.com/portcullis-dev/portcullis/secrets/inquiry"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// judgeManifests asks policies about the VaultSecrets and VaultPushes of manifests, as portcullis-secrets would.
func (p *program) judgeManifests(ctx context.Context, f *secretsWhyFlags) ([]secretReport, error) {
	loaded, err := f.source.load(ctx, p, f.files)
	if err != nil {
		return nil, err
	}
	if len(loaded.Problems) > 0 {
		problem := loaded.Problems[0]
		return nil, fmt.Errorf("reading %s: %s: mend it", problem.Location, problem.Message)
	}
	f.source.namespace = cmp.Or(f.source.namespace, "default")
	cluster, err := f.source.cluster(ctx)
	if err != nil {
		return nil, err
	}
	known := &layers{documents: loaded.Documents, namespace: f.source.namespace, first: gate.NewDirectory("the manifests", loaded.Documents, f.source.namespace), then: cluster}
	var asked []*source.Document
	for n := range loaded.Documents {
		if d := &loaded.Documents[n]; ofGroup(d) && (d.Kind == "VaultSecret" || d.Kind == "VaultPush") {
			asked = append(asked, d)
		}
	}
	if len(asked) == 0 {
		return nil, usagef("there is nothing to judge: no VaultSecret and no VaultPush in %s", strings.Join(f.files, ", "))
	}
	lineup, err := f.bundle.lineup(ctx)
	if err != nil {
		return nil, err
	}
	reviewer := admission.NewLineupReviewer(lineup, gate.NewFacts(known, nil), time.Now)
	reviewer.Pin(f.bundle.profile)
	var reports []secretReport
	for _, document := range asked {
		report, err := judgeManifest(ctx, reviewer, known, document)
		if err != nil {
			return nil, err
		}
		reports = append(reports, *report)
	}
	return reports, nil
}

func ofGroup(d *source.Document) bool {
	group, _, _ := strings.Cut(d.APIVersion, "/")
	return group == v1alpha1.GroupVersion.Group
}

// layers are the manifests that are judged, over what --context says.
type layers struct {
	documents []source.Document
	namespace string // of objects that do not say
	first     *gate.Directory
	then      gate.Cluster // nil without --context
}

func (l *layers) String() string { return "the manifests" }

// List implements gate.Cluster. What the manifests have counts before what the context has of the same name.
func (l *layers) List(ctx context.Context, read policies.Read) ([]policies.Object, string) {
	objects, _ := l.first.List(ctx, read)
	if l.then == nil {
		return objects, "only the manifests are known; pass --context DIR or --context KUBECONFIG"
	}
	others, partial := l.then.List(ctx, read)
	for _, other := range others {
		if !slices.ContainsFunc(objects, func(o policies.Object) bool { return o.Namespace == other.Namespace && o.Name == other.Name }) {
			objects = append(objects, other)
		}
	}
	return objects, partial
}

// Namespace implements gate.Cluster.
func (l *layers) Namespace(ctx context.Context, name string) (*policies.Namespace, string) {
	found, missing := l.first.Namespace(ctx, name)
	if found != nil {
		return found, ""
	}
	if l.then == nil {
		return nil, missing + ", or pass --context DIR or --context KUBECONFIG"
	}
	return l.then.Namespace(ctx, name)
}

// errNotKnown says that an object is not among what is known.
var errNotKnown = errors.New("it is not among the manifests")

// find reads an object that another one names; namespace is "" for those without. Its error wraps errNotKnown where it could be elsewhere.
func find[T v1alpha1.Object](ctx context.Context, l *layers, resource, namespace, name string) (*T, error) {
	for n := range l.documents {
		d := &l.documents[n]
		if ofGroup(d) && d.Kind == v1alpha1.Kind[T]() && d.Name == name && (namespace == "" || cmp.Or(d.Namespace, l.namespace) == namespace) {
			return decodeManifest[T](d.JSON, namespace)
		}
	}
	if l.then == nil {
		return nil, fmt.Errorf("%w: add its manifest, or pass --context DIR or --context KUBECONFIG", errNotKnown)
	}
	objects, partial := l.then.List(ctx, policies.Read{Group: v1alpha1.GroupVersion.Group, Resource: resource, Namespace: namespace})
	for _, object := range objects {
		if object.Name == name {
			return decodeManifest[T](object.Raw, namespace)
		}
	}
	if partial != "" {
		return nil, fmt.Errorf("%w, and it cannot be looked up: %s", errNotKnown, partial)
	}
	return nil, fmt.Errorf("it is not among the manifests and not in %s: create it, or mend the name", l.then)
}

func decodeManifest[T v1alpha1.Object](raw []byte, namespace string) (*T, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	object.SetNamespace(namespace)
	return v1alpha1.Decode[T](object)
}

// judgeManifest is judgeManifests for one of them. An error is one of reading it.
func judgeManifest(ctx context.Context, reviewer *admission.Reviewer, known *layers, document *source.Document) (*secretReport, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(document.JSON); err != nil {
		return nil, fmt.Errorf("reading %s: %w: mend it", document.Locate(""), err)
	}
	object.SetNamespace(cmp.Or(object.GetNamespace(), known.namespace))
	o, err := newVaultObject(object)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w: mend it", document.Locate(""), err)
	}
	r := newSecretReport(o)
	r.File = document.Locate("").String()
	sync, err := r.ask(ctx, known, o)
	if err != nil {
		return nil, err
	}
	if sync != nil && r.Outcome == "" {
		if err := r.judge(ctx, reviewer, sync, object.Object); err != nil {
			return nil, err
		}
	}
	r.conclude()
	return r, nil
}

// ask makes the question of an object and what it names. It is nil where something is missing or makes no sense; then the outcome says so.
func (r *secretReport) ask(ctx context.Context, known *layers, o *vaultObject) (*secrets.Sync, error) {
	name := "VaultAuth " + o.auth()
	auth, err := find[v1alpha1.VaultAuth](ctx, known, v1alpha1.VaultAuths.Resource, r.Namespace, o.auth())
	if err != nil {
		r.unfound(name, err)
		return nil, nil
	}
	r.check(name, checkOK, "logs in by "+cmp.Or(auth.Spec.Method(), "no method")+" at auth/"+auth.Defaulted().Spec.Mount, "")
	name = "VaultConnection " + auth.Spec.Connection
	conn, err := find[v1alpha1.VaultConnection](ctx, known, v1alpha1.VaultConnections.Resource, "", auth.Spec.Connection)
	if err != nil {
		r.unfound(name, err)
		return nil, nil
	}
	if !inquiry.Allows(conn, r.Namespace) {
		r.Outcome = outcomeDenied
		r.check(name, checkFailed, barredText(conn, r.Namespace), secretReasons[secrets.NamespaceBarred].next)
	} else {
		r.check(name, checkOK, conn.Spec.Address+", lists the namespace", "")
	}
	var sync *secrets.Sync
	if o.push != nil {
		if sync, err = inquiry.NewPushSync(conn, auth, o.push); err == nil {
			err = v1alpha1.CheckPush(o.push)
		}
	} else {
		if sync, err = inquiry.NewSync(conn, auth, o.secret); err == nil {
			err = errors.Join(v1alpha1.CheckSecret(o.secret), content.Check(&o.secret.Spec.Destination))
		}
	}
	if err != nil {
		r.Outcome = cmp.Or(r.Outcome, outcomeFailed)
		r.check(r.Kind, checkFailed, err.Error(), secretReasons[secrets.Misconfigured].next)
		return nil, nil
	}
	return sync, nil
}

// unfound says that something the object names cannot be read.
func (r *secretReport) unfound(name string, err error) {
	r.Outcome = outcomeFailed
	state := checkFailed
	if errors.Is(err, errNotKnown) {
		r.Outcome, state = outcomeUndecided, checkUnknown
	}
	r.check(name, state, err.Error(), "Create "+name+" where it is looked for, or pass --context with what has it.")
}

// judge asks the policies.
func (r *secretReport) judge(ctx context.Context, reviewer *admission.Reviewer, sync *secrets.Sync, object any) error {
	request, err := inquiry.NewRequest(sync, object, v1alpha1.DefaultNamespace)
	if err != nil {
		return err
	}
	verdict := reviewer.Sync(ctx, request)
	for n := range verdict.Permits {
		if permit := &verdict.Permits[n]; permit.Counts() {
			r.say(v1alpha1.PolicyStatement{Policy: permit.Policy, Bundle: permit.Bundle, Effect: "allow_sync", Message: permit.Message})
		}
	}
	for n := range verdict.Findings {
		finding := &verdict.Findings[n]
		statement := v1alpha1.PolicyStatement{Policy: finding.Policy, Bundle: finding.Bundle, Effect: "deny", Message: finding.Message, Remediation: finding.Remediation}
		switch {
		case admission.Denies(*finding):
			r.say(statement)
		case admission.Warns(*finding):
			statement.Effect = "warn"
			r.say(statement)
		}
	}
	r.Outcome = outcomeUndecided
	switch {
	case verdict.Admitted:
		r.Outcome = outcomeAllowed
	case verdict.Denied():
		r.Outcome = outcomeDenied
	}
	for _, fault := range verdict.Faults {
		if admission.FaultDenies(fault) {
			r.say(v1alpha1.PolicyStatement{Policy: fault.Policy, Bundle: fault.Bundle, Effect: "fault", Message: string(fault.Kind) + ": " + fault.Message, Remediation: "Give what it needs to know by --context, or mend the policy."})
		}
	}
	for _, open := range verdict.Undecided {
		if admission.UndecidedCounts(open) {
			r.say(v1alpha1.PolicyStatement{Policy: open.Policy, Bundle: open.Bundle, Effect: "fault", Message: open.Reason, Remediation: "Give what it needs to know by --context."})
		}
	}
	return nil
}

func (r *secretReport) say(s v1alpha1.PolicyStatement) {
	r.Policies = append(r.Policies, s)
	r.checkStatement(&s)
}
