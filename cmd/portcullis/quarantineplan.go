package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// quarantinePlanFlags are those of portcullis quarantine plan.
type quarantinePlanFlags struct {
	cluster              clusterFlags
	bundle               bundleFlags
	manifests, cni, tier string
	actions              []string
	keepLabels           bool
	format               string
}

// noTier is --deny-tier without an API.
const noTier = "none"

func (p *program) quarantinePlanCommand() *cobra.Command {
	var f quarantinePlanFlags
	command := &cobra.Command{
		Use:   "plan NAMESPACE/POD",
		Short: "Say what a quarantine of a pod would do, and prove what traffic would remain possible",
		Long: `plan says what the responder would do about a pod, in which order, and what it would refuse to do; and computes from
all network policies which traffic to and from the pod is possible now, and which would remain. Nothing is changed.

It looks at a cluster or, with --manifests, at a folder of manifests, charts and kustomizations, which is taken for all that
there is. A Deployment, or anything else with a template, counts as a pod of its own name where there is no such pod.

What a policy is worth depends on the provider of the network. In a cluster it is found out where possible; for a folder
name it by --cni: without that the best verdict is Unverified.

Verdicts: Isolated (no traffic remains possible, but with the pod's own node and with itself), Residual (some does, and is
listed), Unenforceable (network policies do not reach the pod, or nothing enforces them), Unverified (it depends on what is not
known).

Without --bundle the plan is that of a bundle that enforces, with the default limits and protection.

Exit codes, where several apply the first one listed:
  64  usage      wrong flags or arguments, or no such pod
  4   fault      the cluster or the manifests cannot be read
  1   denied     any verdict but Isolated
  0   admitted   Isolated`,
		Example: `  portcullis quarantine plan shop/web-7d9f6b5c4-x2x9k
  portcullis quarantine plan shop/web --manifests deploy/ --cni calico
  portcullis quarantine plan shop/web --manifests deploy/ --cni cilium --deny-tier CiliumClusterwideNetworkPolicy --format json
  portcullis quarantine plan shop/db-0 --action isolate --action condemn --bundle policies/`,
		Args: arguments(cobra.ExactArgs(1), "name one pod as NAMESPACE/POD"),
		RunE: func(command *cobra.Command, args []string) error {
			return p.quarantinePlan(command.Context(), &f, args[0])
		},
	}
	flags := command.Flags()
	f.cluster.register(flags)
	flags.StringVar(&f.manifests, "manifests", "", "look at this `directory` of manifests instead of a cluster")
	flags.StringVar(&f.cni, "cni", "", "`provider` of the network: "+strings.Join(cniNames(), ", ")+" (default: found out in a cluster, not known for manifests)")
	flags.StringVar(&f.tier, "deny-tier", "", "`API` of the standing deny that is, or would be, installed: "+strings.Join(tierNames(), ", ")+" (default: what the cluster serves; for manifests the one that is among them)")
	flags.StringArrayVar(&f.actions, "action", []string{string(response.Isolate)}, "`action` that is asked for; may be repeated")
	flags.BoolVar(&f.keepLabels, "keep-labels", false, "isolate without taking off the pod's labels, so that its controller and Services keep it")
	flags.StringVar(&f.format, "format", "text", "`format`: text or json")
	f.bundle.registerBundle(flags, nil)
	complete(command, "format", "text", "json")
	complete(command, "cni", cniNames()...)
	complete(command, "deny-tier", tierNames()...)
	complete(command, "action", actionNames()...)
	return command
}

func cniNames() []string {
	var names []string
	for _, cni := range isolation.CNIs() {
		names = append(names, string(cni))
	}
	return names
}

func tierNames() []string {
	names := []string{noTier}
	for _, api := range tiers() {
		names = append(names, string(api))
	}
	return names
}

func actionNames() []string {
	var names []string
	for _, action := range response.Actions() {
		names = append(names, string(action))
	}
	return names
}

// check refuses flags that mean nothing.
func (f *quarantinePlanFlags) check() error {
	if err := checkFormat(f.format); err != nil {
		return err
	}
	if f.cni != "" && !isolation.CNI(f.cni).Known() {
		return usagef("--cni=%s: use one of %s", f.cni, strings.Join(cniNames(), ", "))
	}
	if f.tier != "" && !slices.Contains(tierNames(), f.tier) {
		return usagef("--deny-tier=%s: use one of %s", f.tier, strings.Join(tierNames(), ", "))
	}
	for _, action := range f.actions {
		if _, err := response.ParseAction(action); err != nil {
			return usagef("--action: %w", err)
		}
	}
	if f.manifests != "" && f.cluster.given() {
		return usagef("--manifests and --kubeconfig, --context or --as contradict each other: leave one out")
	}
	return nil
}

// plannedQuarantine is what plan says.
type plannedQuarantine struct {
	Schema string `json:"$schema"`
	// Verdict, Residual, Connections and Notes are the proof of how it would be.
	Verdict     isolation.Verdict `json:"verdict"`
	Residual    []isolation.Flow  `json:"residual"`
	Connections string            `json:"connections"`
	Notes       []string          `json:"notes"`
	// Before is the proof of how it is.
	Before isolation.Report `json:"before"`

	Quarantine string             `json:"quarantine"`
	Pod        *response.Pod      `json:"pod"`
	Owner      *response.Owner    `json:"owner,omitempty"`
	Mode       response.Mode      `json:"mode"`
	Branch     string             `json:"branch,omitempty"`
	Actions    []response.Planned `json:"actions"`
	Refused    []response.Refused `json:"refused"`
	Measures   plannedMeasures    `json:"measures"`
	CNI        isolation.CNI      `json:"cni"`
	// Advice are what would make more of it.
	Advice []string `json:"advice"`
}

// plannedMeasures are what isolates. Without Isolate nothing does.
type plannedMeasures struct {
	Isolate  bool          `json:"isolate"`
	Detach   bool          `json:"detach"`
	DenyTier isolation.API `json:"denyTier"`
	// Standing says that the deny is there already.
	Standing bool `json:"standing"`
}

// quarantinePlanSchemaID names the published schema of the report, docs/quarantine-plan.schema.json.
const quarantinePlanSchemaID = "https://portcullis.dev/schemas/quarantine-plan-v1.json"

func (p *program) quarantinePlan(ctx context.Context, f *quarantinePlanFlags, argument string) error {
	if err := f.check(); err != nil {
		return err
	}
	namespace, name, err := namedPod(argument)
	if err != nil {
		return err
	}
	settings, bundle, err := f.settings(ctx)
	if err != nil {
		return err
	}
	seen, err := f.see(ctx, namespace, name)
	if err != nil {
		return err
	}
	planned, err := f.plan(seen, settings, bundle)
	if err != nil {
		return err
	}
	if planned.Verdict != isolation.Isolated {
		p.code = gate.ExitDenied
	}
	if f.format == "json" {
		return writeDocument(p.stdout, planned)
	}
	return writeQuarantinePlan(p.stdout, planned)
}

// settings are those of the bundle, by its name. Without a bundle they enforce.
func (f *quarantinePlanFlags) settings(ctx context.Context) (response.Settings, string, error) {
	if f.bundle.ref == "" {
		return response.Settings{Mode: response.ModeEnforce}, "", nil
	}
	bundle, err := f.bundle.load(ctx)
	if err != nil {
		return response.Settings{}, "", err
	}
	if bundle.Manifest.Response == nil {
		return response.Settings{}, bundle.Manifest.Name, nil
	}
	return *bundle.Manifest.Response, bundle.Manifest.Name, nil
}

// see finds the pod.
func (f *quarantinePlanFlags) see(ctx context.Context, namespace, name string) (*sight, error) {
	var seen *sight
	if f.manifests != "" {
		read, err := readFolder(ctx, f.manifests, isolation.CNI(f.cni))
		if err != nil {
			return nil, err
		}
		if seen, err = read.see(ctx, namespace, name); err != nil {
			return nil, err
		}
	} else {
		config, err := f.cluster.config()
		if err != nil {
			return nil, err
		}
		cluster, err := newRunning(config, isolation.CNI(f.cni))
		if err != nil {
			return nil, err
		}
		if seen, err = cluster.see(ctx, namespace, name); err != nil {
			return nil, err
		}
	}
	switch {
	case f.tier == noTier:
		seen.tier, seen.standing = "", false
	case f.tier != "":
		seen.tier = isolation.API(f.tier)
		seen.standing = hasStanding(seen.view.Policies, seen.tier)
	}
	return seen, nil
}

// plan makes the plan, and the proofs before and after.
func (f *quarantinePlanFlags) plan(seen *sight, settings response.Settings, bundle string) (*plannedQuarantine, error) {
	plan, err := f.responsePlan(seen, settings, bundle)
	if err != nil {
		return nil, err
	}
	subject, err := seen.subject()
	if err != nil {
		return nil, fmt.Errorf("reading the pod: %w", err)
	}
	before, err := isolation.Evaluate(seen.view, subject)
	if err != nil {
		return nil, fmt.Errorf("proving what is possible now: %w", err)
	}
	planned := &plannedQuarantine{
		Schema: quarantinePlanSchemaID, Before: before, Quarantine: plan.Name, Pod: plan.Event.Pod, Owner: plan.Event.Owner, Mode: plan.Mode, Branch: plan.Branch,
		Actions: nonNil(plan.Actions), Refused: nonNil(plan.Refused), CNI: seen.view.CNI, Measures: measuresOf(plan, seen),
	}
	after := before
	if planned.Measures.Isolate {
		if after, err = prove(seen, subject, plan.Name, planned.Measures); err != nil {
			return nil, err
		}
	}
	planned.Verdict, planned.Residual, planned.Connections, planned.Notes = after.Verdict, nonNil(after.Residual), after.Connections, nonNil(slices.Concat(after.Notes, seen.notes))
	planned.Before.Residual = nonNil(before.Residual)
	planned.Advice = nonNil(advise(planned, seen, subject))
	return planned, nil
}

// nonNil is a list that is written as one, if empty.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// asker is who asks for the actions.
const asker = "portcullis quarantine plan"

func (f *quarantinePlanFlags) responsePlan(seen *sight, settings response.Settings, bundle string) (*response.Plan, error) {
	var asks []response.Ask
	for _, action := range f.actions {
		ask := response.Ask{Policy: asker, Bundle: bundle, Severity: "critical", Message: "asked for by --action", Mode: response.ModeEnforce, Action: response.Action(action)}
		if f.keepLabels && ask.Action == response.Isolate {
			detach := false
			ask.Parameters.Detach = &detach
		}
		asks = append(asks, ask)
	}
	now := time.Now()
	event := &response.Event{Source: "portcullis", Rule: asker, Priority: response.Critical, Time: now, Pod: seen.responsePod(), Owner: seen.owner}
	plan, err := response.NewPlan(event, asks, map[string]response.Settings{bundle: settings}, response.Facts{Own: defaultOwnNamespace, PodLabels: seen.pod.Labels})
	if err == nil && plan == nil {
		err = errors.New("planning: nothing is asked for: give --action")
	}
	return plan, err
}

// defaultOwnNamespace is where the responder runs, which it never acts on.
const defaultOwnNamespace = "portcullis-system"

// measuresOf are the measures of a plan.
func measuresOf(plan *response.Plan, seen *sight) plannedMeasures {
	m := plannedMeasures{DenyTier: seen.tier, Standing: seen.standing}
	for n := range plan.Actions {
		switch action := &plan.Actions[n]; action.Action {
		case response.Isolate:
			m.Isolate = true
			if detach := action.Parameters.Detach; detach != nil && *detach {
				m.Detach = true
			}
		case response.Detach:
			m.Detach = true
		}
	}
	return m
}

// prove says what would remain possible.
func prove(seen *sight, subject isolation.Pod, quarantine string, m plannedMeasures) (isolation.Report, error) {
	after, pod := isolation.Simulate(seen.view, subject, isolation.Measures{Quarantine: quarantine, Detach: m.Detach, DenyTier: m.DenyTier, Standing: m.Standing})
	report, err := isolation.Evaluate(after, pod)
	if err != nil {
		return report, fmt.Errorf("proving what would remain possible: %w", err)
	}
	return report, nil
}

// advise says what would make more of a plan that does not isolate.
func advise(planned *plannedQuarantine, seen *sight, subject isolation.Pod) []string {
	var advice []string
	switch {
	case planned.Verdict == isolation.Isolated || !planned.Measures.Isolate:
	case seen.view.CNI == "":
		advice = append(advice, "name the provider of the network by --cni: what policies are worth depends on it")
	case planned.Verdict == isolation.Residual && planned.Measures.DenyTier == "":
		for _, tier := range tiers() {
			with := planned.Measures
			with.DenyTier = tier
			if report, err := prove(seen, subject, planned.Quarantine, with); err == nil && report.Verdict == isolation.Isolated {
				advice = append(advice, fmt.Sprintf("with a standing deny as %s it would be Isolated: see it by --deny-tier %s; the responder installs it where the cluster serves that", tier, tier))
				break
			}
		}
	}
	return advice
}
