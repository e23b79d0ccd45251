package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/inquiry"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// secretsWhyFlags are those of portcullis secrets why.
type secretsWhyFlags struct {
	secretsFlags
	files  []string
	bundle bundleFlags
	source sourceFlags
	format string
}

func (p *program) secretsWhyCommand() *cobra.Command {
	var f secretsWhyFlags
	command := &cobra.Command{
		Use:   "why NAMESPACE/NAME | --filename FILE",
		Short: "Say why a secret is or is not synced, and the smallest change that would help",
		Long: `why goes through what has to be right for a VaultSecret (or, with --push, a VaultPush), in the order of portcullis-secrets: what
the object names, the VaultConnection and its namespaces, the login, the policies with those that permit and deny, Vault, what is written, the
workloads. The first thing that is wrong is what to change. In a cluster it reads what portcullis-secrets has written down.

With --filename it judges the VaultSecrets and VaultPushes of manifests by a bundle, by the question that is asked in the cluster. The
VaultAuth, VaultConnection and Namespace come from the manifests or from --context. Vault is not asked: what policies say of a secret's age and
lifetime is not known before it is read. Exit codes:
  64  usage      wrong flags or arguments, or no such object
  1   denied     policies deny it, or the VaultConnection does not list the namespace
  4   fault      something else is wrong
  3   undecided  it cannot be known: something is missing, or has not been tried yet
  0   admitted   it is synced; with --filename: it would be allowed`,
		Example: `  portcullis secrets why shop/db
  portcullis secrets why --filename deploy/ --bundle policies/
  portcullis secrets why --filename db.yaml --context ~/.kube/config --format json`,
		RunE: func(command *cobra.Command, args []string) error {
			return p.secretsWhy(command.Context(), &f, command, args)
		},
	}
	f.source.registerContext(command.Flags()) // first: --context is for manifests here, as it is for the gate
	f.register(command.Flags())
	f.bundle.register(command, nil)
	command.Flags().StringArrayVarP(&f.files, "filename", "f", nil, "`file` or directory of manifests, - for standard input: judge those instead of a cluster's; may be repeated")
	command.Flags().StringVarP(&f.source.namespace, "namespace", "n", "", "with --filename, the `namespace` of objects that do not say (default: default)")
	command.Flags().StringVar(&f.format, "format", "text", "`format`: text or json")
	complete(command, "format", "text", "json")
	complete(command, "profile", "baseline", "restricted", "hardened")
	return command
}

// offlineOnly are flags that are about manifests.
var offlineOnly = []string{"bundle", "profile", "context", "namespace"}

func (p *program) secretsWhy(ctx context.Context, f *secretsWhyFlags, command *cobra.Command, args []string) error {
	if err := checkFormat(f.format); err != nil {
		return err
	}
	var reports []secretReport
	switch {
	case len(f.files) > 0 && len(args) > 0:
		return usagef("%s and --filename: ask about an object of the cluster or about manifests", args[0])
	case len(f.files) > 0:
		if f.push || f.cluster.given() {
			return usagef("--push, --kubeconfig and --as are for objects of a cluster: leave them out with --filename; --context takes a kubeconfig, too")
		}
		judged, err := p.judgeManifests(ctx, f)
		if err != nil {
			return err
		}
		reports = judged
	case len(args) != 1:
		return usagef("name one object as NAMESPACE/NAME, or manifests by --filename; secrets list has those of a cluster")
	default:
		for _, name := range offlineOnly {
			if command.Flags().Changed(name) {
				return usagef("--%s is for manifests: name them by --filename, or leave it out; in a cluster its own policies have spoken", name)
			}
		}
		report, err := f.examine(ctx, args[0])
		if err != nil {
			return err
		}
		reports = []secretReport{*report}
	}
	var codes []gate.ExitCode
	for n := range reports {
		codes = append(codes, reports[n].exit())
	}
	p.code = gate.Worst(codes...)
	if f.format == "json" {
		return writeDocument(p.stdout, &secretsReport{Schema: secretsWhySchemaID, Objects: reports})
	}
	return writeSecretReports(p.stdout, reports)
}

// secretsWhySchemaID names the published schema of the report, docs/secrets-why.schema.json.
const secretsWhySchemaID = "https://portcullis.dev/schemas/secrets-why-v1.json"

// secretsReport is the report as JSON.
type secretsReport struct {
	Schema  string         `json:"$schema"`
	Objects []secretReport `json:"objects"`
}

// secretReport is what is known of one object.
type secretReport struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// File is where the manifest stands, "" in a cluster.
	File string `json:"file,omitempty"`
	// Outcome is one of the outcomes.
	Outcome string `json:"outcome"`
	// Summary is what is asked for.
	Summary string        `json:"summary"`
	Checks  []secretCheck `json:"checks"`
	// Policies are what policies said.
	Policies []v1alpha1.PolicyStatement `json:"policies"`
	// Change is the smallest one that would help, "" where nothing has to be changed.
	Change string `json:"change,omitempty"`
}

// The outcomes.
const (
	outcomeSynced    = "synced"    // in a cluster
	outcomeAllowed   = "allowed"   // a manifest
	outcomeDenied    = "denied"    // by policies, or by the VaultConnection
	outcomeFailed    = "failed"    // something else is wrong
	outcomeUndecided = "undecided" // it cannot be known
	outcomePending   = "pending"   // it has not been tried
	outcomeSuspended = "suspended"
)

func newSecretReport(o *vaultObject) *secretReport {
	engine, path := o.place()
	from, to := strings.TrimSpace(path+" "+parenthesized(engine)), o.end()
	if o.push != nil {
		from, to = to, from
	}
	return &secretReport{
		Kind: o.object.GetKind(), Namespace: o.object.GetNamespace(), Name: o.object.GetName(), Summary: from + " to " + to,
		Checks: []secretCheck{}, Policies: []v1alpha1.PolicyStatement{},
	}
}

func (r *secretReport) exit() gate.ExitCode {
	switch r.Outcome {
	case outcomeSynced, outcomeAllowed:
		return gate.ExitAdmitted
	case outcomeDenied:
		return gate.ExitDenied
	case outcomeUndecided, outcomePending, outcomeSuspended:
		return gate.ExitUndecided
	}
	return gate.ExitFault
}

// secretCheck is one thing that has to be right.
type secretCheck struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Message string `json:"message"`
	Next    string `json:"next,omitempty"`
}

// The states of checks.
const (
	checkOK      = "ok"
	checkFailed  = "failed"
	checkWarned  = "warned"
	checkWaiting = "waiting" // it goes on by itself
	checkUnknown = "unknown"
)

func (r *secretReport) check(name, state, message, next string) {
	r.Checks = append(r.Checks, secretCheck{Name: name, State: state, Message: message, Next: next})
}

// conclude takes the change from the first thing that is wrong, else from the first that is not known.
func (r *secretReport) conclude() {
	if r.Outcome == outcomeSynced || r.Outcome == outcomeAllowed {
		return
	}
	for _, state := range []string{checkFailed, checkUnknown} {
		for _, c := range r.Checks {
			if c.State == state && c.Next != "" && r.Change == "" {
				r.Change = c.Next
			}
		}
	}
}

// examine says of an object in a cluster what portcullis-secrets has written down.
func (f *secretsWhyFlags) examine(ctx context.Context, argument string) (*secretReport, error) {
	client, err := f.open(argument)
	if err != nil {
		return nil, err
	}
	o, err := f.get(ctx, client, argument)
	if err != nil {
		return nil, err
	}
	r := newSecretReport(o)
	r.Outcome = o.outcome()
	r.checkObject(o)
	r.checkAuth(ctx, client, o)
	r.checkPolicies(o)
	r.checkSynced(o)
	r.checkAfter(o)
	r.conclude()
	return r, nil
}

func (o *vaultObject) outcome() string {
	c := meta.FindStatusCondition(o.conditions(), v1alpha1.ConditionSynced)
	switch {
	case o.suspended():
		return outcomeSuspended
	case c == nil, o.observed() < o.object.GetGeneration(), c.Status == metav1.ConditionUnknown:
		return outcomePending
	case c.Status == metav1.ConditionTrue:
		return outcomeSynced
	}
	switch secrets.Reason(c.Reason) {
	case secrets.Denied, secrets.NamespaceBarred:
		return outcomeDenied
	case secrets.Undecided:
		return outcomeUndecided
	}
	return outcomeFailed
}

func (r *secretReport) checkObject(o *vaultObject) {
	switch {
	case o.suspended():
		r.check(o.object.GetKind(), checkFailed, "spec.suspend stops everything but the renewal of leases", "Take out spec.suspend.")
	case o.observed() == 0:
		r.check(o.object.GetKind(), checkUnknown, "nobody has looked at it yet", "See that portcullis-secrets runs, and leads (kubectl get lease --namespace "+v1alpha1.DefaultNamespace+" "+v1alpha1.LeaseName+"); after a start objects wait for their turn.")
	case o.observed() < o.object.GetGeneration():
		r.check(o.object.GetKind(), checkWaiting, fmt.Sprintf("generation %d was looked at, and this is %d: what follows is about the earlier one", o.observed(), o.object.GetGeneration()), "")
	default:
		r.check(o.object.GetKind(), checkOK, fmt.Sprintf("generation %d was looked at", o.observed()), "")
	}
}

// checkAuth looks at the VaultAuth, and by it at the VaultConnection.
func (r *secretReport) checkAuth(ctx context.Context, client dynamic.Interface, o *vaultObject) {
	name := "VaultAuth " + o.auth()
	object, err := client.Resource(v1alpha1.VaultAuths).Namespace(r.Namespace).Get(ctx, o.auth(), metav1.GetOptions{})
	if err != nil {
		r.unread(name, "in the namespace "+r.Namespace, err)
		return
	}
	auth, err := v1alpha1.Decode[v1alpha1.VaultAuth](object)
	if err != nil {
		r.check(name, checkFailed, err.Error(), "Mend the VaultAuth.")
		return
	}
	spec := &auth.Defaulted().Spec
	if spec.Method() == "" {
		r.check(name, checkFailed, "it does not have exactly one method", "Name one of kubernetes, jwt, appRole and cert.")
	} else {
		r.checkReady(name, "logs in by "+spec.Method()+" at auth/"+spec.Mount, auth.Status.Conditions)
	}
	r.checkConnection(ctx, client, spec.Connection)
}

func (r *secretReport) checkConnection(ctx context.Context, client dynamic.Interface, connection string) {
	name := "VaultConnection " + connection
	object, err := client.Resource(v1alpha1.VaultConnections).Get(ctx, connection, metav1.GetOptions{})
	if err != nil {
		r.unread(name, "in the cluster", err)
		return
	}
	conn, err := v1alpha1.Decode[v1alpha1.VaultConnection](object)
	if err != nil {
		r.check(name, checkFailed, err.Error(), "Mend the VaultConnection.")
		return
	}
	if !inquiry.Allows(conn, r.Namespace) {
		r.check(name, checkFailed, barredText(conn, r.Namespace), secretReasons[secrets.NamespaceBarred].next)
		return
	}
	r.checkReady(name, conn.Spec.Address+", lists the namespace", conn.Status.Conditions)
}

func barredText(conn *v1alpha1.VaultConnection, namespace string) string {
	if len(conn.Spec.AllowedNamespaces) == 0 {
		return "it lists no namespaces, which means none"
	}
	return fmt.Sprintf("it lists %s and not %s", strings.Join(conn.Spec.AllowedNamespaces, ", "), namespace)
}

// unread says of an object that cannot be read whether it is missing or hidden.
func (r *secretReport) unread(name, where string, err error) {
	switch {
	case apierrors.IsNotFound(err):
		r.check(name, checkFailed, "there is none "+where, secretReasons[secrets.MissingReference].next)
	case apierrors.IsForbidden(err):
		r.check(name, checkUnknown, "you may not read it", "")
	default:
		r.check(name, checkUnknown, err.Error(), "")
	}
}

// checkReady takes the condition Ready of a VaultAuth or VaultConnection.
func (r *secretReport) checkReady(name, what string, conditions []metav1.Condition) {
	c := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	switch {
	case c == nil || c.Status == metav1.ConditionUnknown:
		r.check(name, checkUnknown, what+"; nobody has tried it yet", "")
	case c.Status == metav1.ConditionTrue:
		r.check(name, checkOK, what, "")
	default:
		known, _ := reasonOf(c.Reason)
		r.check(name, checkFailed, joinText(c.Reason, c.Message), known.next)
	}
}

// checkPolicies takes what policies said, each by name.
func (r *secretReport) checkPolicies(o *vaultObject) {
	statements, bundles := o.policies()
	r.Policies = append(r.Policies, statements...)
	if len(statements) == 0 {
		c := meta.FindStatusCondition(o.conditions(), v1alpha1.ConditionAllowed)
		switch {
		case c == nil:
			r.check("policies", checkUnknown, "they have not been asked yet", "")
		case c.Status == metav1.ConditionTrue:
			r.check("policies", checkOK, c.Message, "")
		default:
			known, _ := reasonOf(c.Reason)
			r.check("policies", checkFailed, joinText(c.Reason, c.Message), cmp.Or(known.next, secretReasons[secrets.Denied].next))
		}
		return
	}
	for n := range statements {
		r.checkStatement(&statements[n])
	}
	if len(bundles) > 0 {
		r.check("bundles", checkOK, strings.Join(bundles, ", "), "")
	}
}

// statementStates are what effects come to.
var statementStates = map[string]string{"allow_sync": checkOK, "deny": checkFailed, "warn": checkWarned, "fault": checkFailed}

func (r *secretReport) checkStatement(s *v1alpha1.PolicyStatement) {
	next := s.Remediation
	if s.Effect == "fault" && next == "" {
		next = secretReasons[secrets.Undecided].next
	}
	r.check("policy "+s.Policy, cmp.Or(statementStates[s.Effect], checkUnknown), saidText(s)[len(s.Policy)+1:]+": "+s.Message, next)
}

// checkSynced takes the condition Synced, with what its reason means.
func (r *secretReport) checkSynced(o *vaultObject) {
	c := meta.FindStatusCondition(o.conditions(), v1alpha1.ConditionSynced)
	if c == nil {
		return
	}
	last, _ := o.times()
	switch {
	case c.Status == metav1.ConditionTrue:
		r.check("sync", checkOK, joinText(o.end(), "holds what Vault gave"), "")
		return
	case c.Reason == string(secrets.Denied), c.Reason == string(secrets.NamespaceBarred): // said above
		return
	}
	message := joinText(c.Reason, c.Message)
	known, ok := reasonOf(c.Reason)
	if ok {
		message += " (" + known.meaning + ")"
	}
	if !last.IsZero() {
		message += "; what was last synced is kept, from " + last.UTC().Format("2006-01-02T15:04:05Z")
	}
	state := checkFailed
	if c.Status == metav1.ConditionUnknown {
		state = checkWaiting
	}
	r.check("sync", state, message, known.next)
}

// checkAfter is about what follows a sync: revoking, workloads, incidents.
func (r *secretReport) checkAfter(o *vaultObject) {
	if o.secret == nil {
		return
	}
	if c := meta.FindStatusCondition(o.conditions(), v1alpha1.ConditionRevocable); c != nil && c.Status == metav1.ConditionFalse {
		r.check("revoking", checkWarned, joinText(c.Reason, c.Message), "Have the policy of the role in Vault allow revoking, or set revokeOnDelete: false.")
	}
	for _, w := range o.secret.Status.Restarts {
		name := "workload " + w.Kind + " " + w.Name
		switch w.State {
		case "Stuck":
			r.check(name, checkFailed, joinText("it did not become available again", w.Message), "Look why its pods do not start (kubectl rollout status); those after it wait for it.")
		case "Waiting", "Restarting":
			r.check(name, checkWaiting, joinText(strings.ToLower(w.State), w.Message), "")
		default:
			r.check(name, checkOK, joinText(strings.ToLower(w.State), w.Message), "")
		}
	}
	if c := meta.FindStatusCondition(o.conditions(), v1alpha1.ConditionRotationRequired); c != nil && c.Status == metav1.ConditionTrue {
		r.check("rotation", checkWarned, joinText(c.Reason, c.Message), "Change the secret where it is used and in Vault: a pod that held it was quarantined.")
	}
}

// writeSecretReports says reports to people.
func writeSecretReports(w io.Writer, reports []secretReport) error {
	var b page
	for n := range reports {
		r := &reports[n]
		if n > 0 {
			b.WriteString("\n")
		}
		at := ""
		if r.File != "" {
			at = " (" + r.File + ")"
		}
		b.line("%s %s/%s%s: %s", r.Kind, r.Namespace, r.Name, at, r.Outcome)
		if r.Summary != "" {
			b.line("  %s", r.Summary)
		}
		for _, c := range r.Checks {
			b.line("  %-8s %s: %s", c.State, c.Name, c.Message)
			if c.Next != "" && (c.State == checkWarned || c.State == checkFailed && c.Next != r.Change) {
				b.line("           next: %s", c.Next)
			}
		}
		if r.Change != "" {
			b.line("  What would help: %s", r.Change)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
