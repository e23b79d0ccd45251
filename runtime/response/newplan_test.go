package response

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// The owners of A3's table and beyond.
var (
	deployment  = &Owner{Group: "apps", Version: "v1", Kind: "Deployment", Name: "web", Desired: 3, Ready: 3, Direct: &Owner{Group: "apps", Version: "v1", Kind: "ReplicaSet", Name: "web-1", Desired: 3, Ready: 3}}
	replicaSet  = &Owner{Group: "apps", Version: "v1", Kind: "ReplicaSet", Name: "web-1", Desired: 3}
	controller  = &Owner{Version: "v1", Kind: "ReplicationController", Name: "old", Desired: 3}
	statefulSet = &Owner{Group: "apps", Version: "v1", Kind: "StatefulSet", Name: "db", Desired: 3}
	daemonSet   = &Owner{Group: "apps", Version: "v1", Kind: "DaemonSet", Name: "agent", Desired: 5}
	job         = &Owner{Group: "batch", Version: "v1", Kind: "Job", Name: "report", Desired: 1}
	wideJob     = &Owner{Group: "batch", Version: "v1", Kind: "Job", Name: "report", Desired: 8}
	cronJob     = &Owner{Group: "batch", Version: "v1", Kind: "CronJob", Name: "nightly", Direct: &Owner{Group: "batch", Version: "v1", Kind: "Job", Name: "nightly-1", Desired: 8}}
	rollout     = &Owner{Group: "argoproj.io", Version: "v1alpha1", Kind: "Rollout", Name: "web", Direct: &Owner{Group: "apps", Version: "v1", Kind: "ReplicaSet", Name: "web-1"}}
	custom      = &Owner{Group: "example.org", Version: "v1", Kind: "Database", Name: "db"}
)

func eventOf(owner *Owner, change ...func(*Event)) *Event {
	e := &Event{ID: "sha256:1", Source: "syscall", Rule: "Terminal shell in container", Priority: Critical, Time: noon, Owner: owner,
		Container: Container{Name: "app", Digest: "sha256:abc"},
		Pod:       &Pod{Namespace: "shop", Name: "web-1-abcde", UID: "uid-1", Node: "node-1", ServiceAccount: "web"}}
	for _, c := range change {
		c(e)
	}
	return e
}

func ask(action Action, change ...func(*Ask)) Ask {
	a := Ask{Policy: "runtime/shell", Bundle: "b", Severity: "high", Message: "a shell", Mode: ModeEnforce, Action: action}
	for _, c := range change {
		c(&a)
	}
	return a
}

func with(p Parameters) func(*Ask) { return func(a *Ask) { a.Parameters = p } }
func in(mode Mode) func(*Ask)      { return func(a *Ask) { a.Mode = mode } }
func by(policy string) func(*Ask)  { return func(a *Ask) { a.Policy = policy } }

var enforcing = map[string]Settings{"b": {Mode: ModeEnforce}}

func planOf(t *testing.T, e *Event, settings map[string]Settings, asks ...Ask) *Plan {
	t.Helper()
	plan, err := NewPlan(e, asks, settings, Facts{Own: "portcullis-system"})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// taken is a plan in short: its actions, isolate with what becomes of the labels.
func taken(p *Plan) string {
	var all []string
	for _, a := range p.Actions {
		word := string(a.Action)
		if a.Action == Isolate && a.Parameters.Detach != nil && *a.Parameters.Detach {
			word += "+detach"
		}
		all = append(all, word)
	}
	return strings.Join(all, " ")
}

func refusal(p *Plan, a Action) string {
	for _, r := range p.Refused {
		if r.Action == a {
			return r.Reason
		}
	}
	return ""
}

func TestEachOwnerIsTreatedAsItMustBe(t *testing.T) {
	yes, no := true, false
	for name, test := range map[string]struct {
		owner  *Owner
		asks   []Ask
		s      Settings
		want   string
		says   string // of the reason of the first containing action
		refuse Action
	}{
		"a pod of a Deployment is detached and isolated, evidence first":     {owner: deployment, asks: []Ask{ask(Isolate)}, want: "snapshot isolate+detach", says: "ReplicaSet web-1 lets it go"},
		"the only pod of a Deployment, too, and people are told":             {owner: &Owner{Group: "apps", Version: "v1", Kind: "Deployment", Name: "one", Desired: 1, Direct: replicaSet}, asks: []Ask{ask(Isolate)}, want: "snapshot isolate+detach", says: "the only pod"},
		"a pod of a ReplicaSet alone, too":                                   {owner: replicaSet, asks: []Ask{ask(Isolate)}, want: "snapshot isolate+detach"},
		"a pod of a ReplicationController, too":                              {owner: controller, asks: []Ask{ask(Isolate)}, want: "snapshot isolate+detach"},
		"a pod of a Rollout stands under a ReplicaSet":                       {owner: rollout, asks: []Ask{ask(Isolate)}, want: "snapshot isolate+detach"},
		"a pod of a StatefulSet stays where it is":                           {owner: statefulSet, asks: []Ask{ask(Isolate)}, want: "snapshot isolate", says: "cannot replace a pod"},
		"also where detaching is asked for":                                  {owner: statefulSet, asks: []Ask{ask(Isolate, with(Parameters{Detach: &yes}))}, want: "snapshot isolate", says: "cannot replace a pod"},
		"detach alone is refused there":                                      {owner: statefulSet, asks: []Ask{ask(Detach)}, want: "", refuse: Detach},
		"a pod of a DaemonSet stays where it is":                             {owner: daemonSet, asks: []Ask{ask(Isolate)}, want: "snapshot isolate", says: "detachDaemonSets"},
		"unless that is allowed":                                             {owner: daemonSet, asks: []Ask{ask(Isolate)}, s: Settings{DetachDaemonSets: true}, want: "snapshot isolate+detach"},
		"a bare pod loses its labels, too":                                   {owner: nil, asks: []Ask{ask(Isolate)}, want: "snapshot isolate+detach", says: "put back at release"},
		"a pod of an unknown controller keeps its labels":                    {owner: custom, asks: []Ask{ask(Isolate)}, want: "snapshot isolate", says: "detachKinds"},
		"unless its kind is known to replace":                                {owner: custom, asks: []Ask{ask(Isolate)}, s: Settings{DetachKinds: []string{"example.org/Database"}}, want: "snapshot isolate+detach"},
		"labels are kept where that is asked for":                            {owner: deployment, asks: []Ask{ask(Isolate, with(Parameters{Detach: &no}))}, want: "snapshot isolate"},
		"a Job of one pod is suspended after that is detached":               {owner: job, asks: []Ask{ask(Isolate)}, want: "snapshot isolate+detach suspend"},
		"a Job of many goes on":                                              {owner: wideJob, asks: []Ask{ask(Isolate)}, want: "snapshot isolate+detach"},
		"a Job of many is suspended where that is asked for, detached first": {owner: wideJob, asks: []Ask{ask(Suspend)}, want: "snapshot detach suspend"},
		"a CronJob is suspended before anything else":                        {owner: cronJob, asks: []Ask{ask(Isolate)}, want: "snapshot suspend isolate+detach"},
		"a CronJob is suspended alone where that is all":                     {owner: cronJob, asks: []Ask{ask(Suspend)}, want: "snapshot suspend"},
		"a Deployment is not suspended":                                      {owner: deployment, asks: []Ask{ask(Suspend)}, want: "", refuse: Suspend},
		"a Deployment is scaled after its pod is detached":                   {owner: deployment, asks: []Ask{ask(Scale)}, want: "snapshot detach scale"},
		"isolation that detaches will do":                                    {owner: deployment, asks: []Ask{ask(Scale), ask(Isolate)}, want: "snapshot isolate+detach scale"},
		"isolation that waits for a person does not":                         {owner: deployment, asks: []Ask{ask(Scale), ask(Isolate, in(ModeApprove))}, want: "snapshot isolate+detach detach scale"},
		"isolation that keeps labels does not":                               {owner: deployment, asks: []Ask{ask(Scale), ask(Isolate, with(Parameters{Detach: &no}))}, want: "snapshot isolate detach scale"},
		"a StatefulSet that is scaled ends the pod":                          {owner: statefulSet, asks: []Ask{ask(Scale)}, want: "snapshot scale", says: "ends the pod, too"},
		"a DaemonSet is not scaled":                                          {owner: daemonSet, asks: []Ask{ask(Scale)}, want: "", refuse: Scale},
		"nor is a bare pod":                                                  {owner: nil, asks: []Ask{ask(Scale)}, want: "", refuse: Scale},
		"an evicted pod of a StatefulSet leaves its volumes":                 {owner: statefulSet, asks: []Ask{ask(Evict)}, want: "snapshot evict", says: "same volumes"},
		"the owner of a bare pod is not condemned":                           {owner: nil, asks: []Ask{ask(Condemn, with(Parameters{Scope: ScopeOwner}))}, want: "", refuse: Condemn},
	} {
		t.Run(name, func(t *testing.T) {
			test.s.Mode = ModeEnforce
			plan := planOf(t, eventOf(test.owner), map[string]Settings{"b": test.s}, test.asks...)
			if got := taken(plan); got != test.want {
				t.Errorf("got %q, want %q (refused: %+v)", got, test.want, plan.Refused)
			}
			if test.says != "" && !slices.ContainsFunc(plan.Actions, func(a Planned) bool { return strings.Contains(a.Reason, test.says) }) {
				t.Errorf("got %+v, want a reason with %q", plan.Actions, test.says)
			}
			if test.refuse != "" && refusal(plan, test.refuse) == "" {
				t.Errorf("got %+v, want %s refused", plan.Refused, test.refuse)
			}
		})
	}
}

func TestWhatStaysPossibleAtAStatefulSetEvictsIt(t *testing.T) {
	for name, test := range map[string]struct {
		owner    *Owner
		p        Parameters
		settings string
		want     string
	}{
		"by default":            {statefulSet, Parameters{}, "", ResidualEvict},
		"as the settings say":   {statefulSet, Parameters{}, ResidualAlert, ResidualAlert},
		"as the policy says":    {statefulSet, Parameters{Residual: ResidualRestrict}, ResidualAlert, ResidualRestrict},
		"others alert":          {deployment, Parameters{}, "", ResidualAlert},
		"others, too, as asked": {deployment, Parameters{Residual: ResidualDelete}, "", ResidualDelete},
	} {
		plan := planOf(t, eventOf(test.owner), map[string]Settings{"b": {Mode: ModeEnforce, Residual: test.settings}}, ask(Isolate, with(test.p)))
		if got := plan.Actions[1].Parameters.Residual; got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

func TestBranchesOfWhatPoliciesAndTheAPIDoNotReach(t *testing.T) {
	hostNetwork := func(e *Event) { e.Pod.HostNetwork = true }
	privileged := func(e *Event) { e.Pod.Privileged = true }
	static := func(e *Event) { e.Pod.Static = true }
	escape := func(e *Event) { e.Tags = []string{"T1611"} }
	host := func(e *Event) { e.Pod, e.Host = nil, true }
	for name, test := range map[string]struct {
		change       []func(*Event)
		asks         []Ask
		branch, want string
		mode         Mode
	}{
		"host network: evicted":                             {[]func(*Event){hostNetwork}, []Ask{ask(Isolate)}, BranchHostNetwork, "snapshot evict", ModeEnforce},
		"host network and an escape: cordoned":              {[]func(*Event){hostNetwork, escape}, []Ask{ask(Isolate)}, BranchHostNetwork, "snapshot cordon evict", ModeEnforce},
		"host network and privileged: cordoned":             {[]func(*Event){hostNetwork, privileged}, []Ask{ask(Isolate)}, BranchHostNetwork, "snapshot cordon evict", ModeEnforce},
		"host network, deletion asked for":                  {[]func(*Event){hostNetwork}, []Ask{ask(Isolate), ask(Delete)}, BranchHostNetwork, "snapshot delete", ModeEnforce},
		"host network, deletion only recorded":              {[]func(*Event){hostNetwork}, []Ask{ask(Isolate), ask(Delete, in(ModeAudit))}, BranchHostNetwork, "snapshot evict", ModeEnforce},
		"host network, only people told":                    {[]func(*Event){hostNetwork}, []Ask{ask(Notify)}, BranchHostNetwork, "notify", ModeAudit},
		"static: the node is cordoned, and people told":     {[]func(*Event){static}, []Ask{ask(Isolate), ask(Evict)}, BranchStatic, "snapshot notify cordon", ModeEnforce},
		"static: its image is condemned":                    {[]func(*Event){static}, []Ask{ask(Condemn)}, BranchStatic, "condemn", ModeAudit},
		"a process of the node: people are told":            {[]func(*Event){host}, []Ask{ask(Isolate), ask(Cordon), ask(Condemn)}, BranchHost, "notify", ModeAudit},
		"a process of the node in a namespace of globs":     {[]func(*Event){host, escape}, []Ask{ask(Notify)}, BranchHost, "notify", ModeAudit},
		"an escape of a pod with a network of its own":      {[]func(*Event){escape}, []Ask{ask(Isolate)}, "", "snapshot isolate+detach", ModeEnforce},
		"host network in the mode audit: only written down": {[]func(*Event){hostNetwork, escape}, []Ask{ask(Isolate, in(ModeAudit))}, BranchHostNetwork, "snapshot cordon evict", ModeAudit},
	} {
		t.Run(name, func(t *testing.T) {
			plan := planOf(t, eventOf(deployment, test.change...), enforcing, test.asks...)
			if taken(plan) != test.want || plan.Branch != test.branch || plan.Mode != test.mode {
				t.Errorf("got %q in branch %q and mode %s, want %q in %q and %s", taken(plan), plan.Branch, plan.Mode, test.want, test.branch, test.mode)
			}
			if (plan.Name == "") != (plan.Event.Pod == nil) {
				t.Errorf("got the name %q", plan.Name)
			}
		})
	}
}

func TestWhatIsProtectedIsNotContained(t *testing.T) {
	all := []Ask{ask(Isolate), ask(Detach), ask(Evict), ask(Delete), ask(Cordon), ask(Scale), ask(Label, with(Parameters{Labels: map[string]string{"a": "b"}})), ask(Revoke),
		ask(Condemn, with(Parameters{Effect: EffectDeny})), ask(Annotate), ask(Notify), ask(Snapshot)}
	for name, test := range map[string]struct {
		change func(*Event)
		s      map[string]Settings
		free   bool
	}{
		"kube-system":                          {change: func(e *Event) { e.Pod.Namespace = "kube-system" }},
		"kube-node-lease":                      {change: func(e *Event) { e.Pod.Namespace = "kube-node-lease" }},
		"the responder's own":                  {change: func(e *Event) { e.Pod.Namespace = "portcullis-system" }},
		"a critical priority class":            {change: func(e *Event) { e.Pod.Priority = "system-node-critical" }},
		"no namespace":                         {change: func(e *Event) { e.Pod.Namespace = "" }},
		"a glob of the settings":               {s: map[string]Settings{"b": {Mode: ModeEnforce, Protect: Protection{Namespaces: []string{"sh*"}}}}},
		"a glob of another bundle":             {s: map[string]Settings{"b": {Mode: ModeEnforce}, "other": {Protect: Protection{Namespaces: []string{"shop"}}}}},
		"a glob that cannot be read":           {s: map[string]Settings{"b": {Mode: ModeEnforce, Protect: Protection{Namespaces: []string{"["}}}}},
		"its labels":                           {s: map[string]Settings{"b": {Mode: ModeEnforce, Protect: Protection{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "core"}}}}}},
		"a selector that cannot be read":       {s: map[string]Settings{"b": {Mode: ModeEnforce, Protect: Protection{PodSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}}}}}},
		"a priority class of the settings":     {change: func(e *Event) { e.Pod.Priority = "payments" }, s: map[string]Settings{"b": {Mode: ModeEnforce, Protect: Protection{PriorityClasses: []string{"pay*"}}}}},
		"a selector that does not match":       {s: map[string]Settings{"b": {Mode: ModeEnforce, Protect: Protection{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "edge"}}}}}, free: true},
		"a namespace that is called like that": {change: func(e *Event) { e.Pod.Namespace = "kube-system-2" }, free: true},
	} {
		t.Run(name, func(t *testing.T) {
			e := eventOf(deployment)
			if test.change != nil {
				test.change(e)
			}
			if test.s == nil {
				test.s = enforcing
			}
			plan, err := NewPlan(e, all, test.s, Facts{Own: "portcullis-system", PodLabels: map[string]string{"tier": "core"}})
			if err != nil {
				t.Fatal(err)
			}
			contained := slices.ContainsFunc(plan.Actions, func(a Planned) bool {
				return a.Action.Contains() || a.Action == Label || a.Action == Revoke || a.Action == Condemn
			})
			if contained != test.free {
				t.Errorf("got %q, want it contained: %v", taken(plan), test.free)
			}
			if !test.free && (taken(plan) != "snapshot annotate notify" || plan.Mode != ModeAudit || !strings.Contains(refusal(plan, Isolate), "protected")) {
				t.Errorf("got %q in mode %s, refused %+v, want evidence and a message, and to be told why", taken(plan), plan.Mode, plan.Refused)
			}
		})
	}
}

func TestTheMildestModeWins(t *testing.T) {
	for name, test := range map[string]struct {
		policy Mode
		s      *Settings
		want   Mode
	}{
		"all enforce":                     {ModeEnforce, &Settings{Mode: ModeEnforce}, ModeEnforce},
		"the policy only records":         {ModeAudit, &Settings{Mode: ModeEnforce}, ModeAudit},
		"the policy asks":                 {ModeApprove, &Settings{Mode: ModeEnforce}, ModeApprove},
		"the bundle only records":         {ModeEnforce, &Settings{Mode: ModeAudit}, ModeAudit},
		"the bundle says nothing":         {ModeEnforce, &Settings{}, ModeAudit},
		"the bundle is not known":         {ModeEnforce, nil, ModeAudit},
		"the namespace only records":      {ModeEnforce, &Settings{Mode: ModeEnforce, Namespaces: []NamespaceMode{{Match: []string{"sh*"}, Mode: ModeAudit}}}, ModeAudit},
		"the namespace goes further":      {ModeEnforce, &Settings{Mode: ModeAudit, Namespaces: []NamespaceMode{{Match: []string{"shop"}, Mode: ModeEnforce}}}, ModeEnforce},
		"the first entry counts":          {ModeEnforce, &Settings{Namespaces: []NamespaceMode{{Match: []string{"a", "shop"}, Mode: ModeApprove}, {Match: []string{"*"}, Mode: ModeEnforce}}}, ModeApprove},
		"a glob that cannot be read":      {ModeEnforce, &Settings{Mode: ModeEnforce, Namespaces: []NamespaceMode{{Match: []string{"["}, Mode: ModeEnforce}}}, ModeAudit},
		"a mode that is none":             {"destroy", &Settings{Mode: ModeEnforce}, ModeAudit},
		"a mode of a bundle that is none": {ModeEnforce, &Settings{Mode: "destroy"}, ModeAudit},
		"no mode":                         {"", &Settings{Mode: ModeEnforce}, ModeAudit},
	} {
		settings := map[string]Settings{}
		if test.s != nil {
			settings["b"] = *test.s
		}
		plan := planOf(t, eventOf(deployment), settings, ask(Isolate, in(test.policy)))
		if plan.Mode != test.want {
			t.Errorf("%s: got %s, want %s", name, plan.Mode, test.want)
		}
	}
}

func TestOneActionEachAndTheOneThatGoesFurthest(t *testing.T) {
	plan := planOf(t, eventOf(deployment), enforcing,
		ask(Isolate, in(ModeAudit), by("a")), ask(Isolate, by("b"), with(Parameters{Residual: ResidualEvict})), ask(Isolate, by("c"), func(a *Ask) { a.Severity = "critical" }),
		ask(Label, by("a"), with(Parameters{Labels: map[string]string{"a": "1"}})), ask(Label, by("b"), with(Parameters{Labels: map[string]string{"b": "2", "a": "3"}})),
		ask(Evict, in(ModeAudit)))
	if got, want := taken(plan), "snapshot label isolate+detach"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := plan.Actions[2].Policy; got != "c" {
		t.Errorf("got isolate by %s, want the most severe one of those that enforce", got)
	}
	if got := plan.Actions[1].Parameters.Labels; !reflect.DeepEqual(got, map[string]string{"a": "1", "b": "2"}) {
		t.Errorf("got the labels %v, want both, the first one's of the same", got)
	}
	if len(plan.Refused) != 3 || !strings.Contains(refusal(plan, Isolate), "other parameters") || !strings.Contains(refusal(plan, Label), "other parameters") || !strings.Contains(refusal(plan, Evict), "only records") {
		t.Errorf("got %+v refused, want to be told what is lost", plan.Refused)
	}
}

func TestAPlanOfNothingThatContainsTellsPeopleAllTheSame(t *testing.T) {
	plan := planOf(t, eventOf(deployment), enforcing, ask(Notify), ask(Isolate, in(ModeAudit)))
	if plan.Mode != ModeAudit || taken(plan) != "snapshot isolate+detach notify" {
		t.Fatalf("got %q in mode %s", taken(plan), plan.Mode)
	}
	for _, a := range plan.Actions {
		if want := map[Action]Mode{Notify: ModeEnforce, Isolate: ModeAudit, Snapshot: ModeAudit}[a.Action]; a.Mode != want {
			t.Errorf("got %s in mode %s, want %s", a.Action, a.Mode, want)
		}
	}
}

func TestEvidenceWaitsForNobody(t *testing.T) {
	plan := planOf(t, eventOf(deployment), enforcing, ask(Evict, in(ModeApprove)))
	if plan.Actions[0].Action != Snapshot || plan.Actions[0].Mode != ModeEnforce || plan.Mode != ModeApprove {
		t.Errorf("got %+v, want evidence at once and the eviction to wait", plan.Actions)
	}
}

func TestWhatIsAskedForWronglyIsRefusedAndSaysWhy(t *testing.T) {
	zero := int64(0)
	for name, a := range map[string]Ask{
		"killing at once":            ask(Delete, with(Parameters{GracePeriodSeconds: &zero})),
		"an unknown action":          ask("explode"),
		"a label of Kubernetes":      ask(Label, with(Parameters{Labels: map[string]string{"app.kubernetes.io/name": "x"}})),
		"a label of ours":            ask(Label, with(Parameters{Labels: map[string]string{"runtime.portcullis.dev/quarantine": "x"}})),
		"a time that is none":        ask(Isolate, with(Parameters{TTL: "soon"})),
		"less than nothing replicas": ask(Scale, with(Parameters{Replicas: -1})),
	} {
		plan := planOf(t, eventOf(deployment), enforcing, a)
		if len(plan.Actions) != 0 || len(plan.Refused) != 1 || plan.Mode != ModeAudit {
			t.Errorf("%s: got %+v, want it refused", name, plan)
		}
	}
}

func TestNoPodNoPlan(t *testing.T) {
	for name, e := range map[string]*Event{"no event": nil, "no pod": {Rule: "a"}, "a pod without UID": {Pod: &Pod{Namespace: "shop", Name: "web"}}} {
		if plan, err := NewPlan(e, []Ask{ask(Isolate)}, enforcing, Facts{}); !errors.Is(err, ErrUnresolved) || plan != nil {
			t.Errorf("%s: got %+v, %v, want ErrUnresolved", name, plan, err)
		}
	}
	if plan, err := NewPlan(nil, nil, nil, Facts{}); plan != nil || err != nil {
		t.Errorf("got %+v, %v, want nothing where nothing is asked for", plan, err)
	}
}

func TestHowAPlanEnds(t *testing.T) {
	for name, test := range map[string]struct {
		s    Settings
		asks []Ask
		ttl  time.Duration
		how  string
	}{
		"by default":                            {Settings{}, []Ask{ask(Isolate)}, 24 * time.Hour, OnExpiryRelease},
		"as the settings say":                   {Settings{TTL: "1h", OnExpiry: OnExpiryDelete}, []Ask{ask(Isolate)}, time.Hour, OnExpiryDelete},
		"as the policy says":                    {Settings{TTL: "1h", OnExpiry: OnExpiryDelete}, []Ask{ask(Isolate, with(Parameters{TTL: "2h", OnExpiry: OnExpiryRelease}))}, 2 * time.Hour, OnExpiryRelease},
		"the longest of several":                {Settings{}, []Ask{ask(Isolate, with(Parameters{TTL: "2h"})), ask(Condemn, with(Parameters{TTL: "3h"}))}, 3 * time.Hour, OnExpiryRelease},
		"what is refused does not count":        {Settings{}, []Ask{ask(Isolate, with(Parameters{TTL: "2h"})), ask(Suspend, with(Parameters{TTL: "300h"}))}, 2 * time.Hour, OnExpiryRelease},
		"release, unless all say delete":        {Settings{}, []Ask{ask(Isolate, with(Parameters{OnExpiry: OnExpiryDelete})), ask(Condemn, with(Parameters{OnExpiry: OnExpiryRelease}))}, 24 * time.Hour, OnExpiryRelease},
		"delete, where nobody else says a word": {Settings{}, []Ask{ask(Isolate, with(Parameters{OnExpiry: OnExpiryDelete})), ask(Condemn)}, 24 * time.Hour, OnExpiryDelete},
	} {
		test.s.Mode = ModeEnforce
		plan := planOf(t, eventOf(deployment), map[string]Settings{"b": test.s}, test.asks...)
		if plan.TTL != test.ttl || plan.OnExpiry != test.how {
			t.Errorf("%s: got %s after %s, want %s after %s", name, plan.OnExpiry, plan.TTL, test.how, test.ttl)
		}
	}
}

func TestCondemnIsAboutTheImageInWhichItHappened(t *testing.T) {
	plan := planOf(t, eventOf(deployment), enforcing, ask(Condemn))
	if got := plan.Actions[0]; got.Digest != "sha256:abc" || got.Parameters.Scope != ScopeDigest {
		t.Errorf("got %+v", got)
	}
}

// randomInput is an event, what is asked for, and settings.
func randomInput(r *rand.Rand) (*Event, []Ask, map[string]Settings) {
	pick := func(n int) int { return r.IntN(n) }
	owners := []*Owner{nil, deployment, replicaSet, controller, statefulSet, daemonSet, job, wideJob, cronJob, rollout, custom}
	e := eventOf(owners[pick(len(owners))])
	e.Pod.Namespace = []string{"shop", "kube-system", "pay", ""}[pick(4)]
	e.Pod.HostNetwork, e.Pod.Static, e.Pod.Privileged = pick(5) == 0, pick(6) == 0, pick(3) == 0
	if pick(3) == 0 {
		e.Tags = []string{"T1611"}
	}
	if pick(10) == 0 {
		e.Pod, e.Host, e.Owner = nil, true, nil
	}
	modes := []Mode{ModeAudit, ModeApprove, ModeEnforce, ModeEnforce, ""}
	settings := map[string]Settings{}
	for _, bundle := range []string{"a", "b"} {
		s := Settings{Mode: modes[pick(len(modes))], DetachDaemonSets: pick(2) == 0, Residual: []string{"", ResidualEvict}[pick(2)]}
		if pick(3) == 0 {
			s.Namespaces = []NamespaceMode{{Match: []string{"shop"}, Mode: modes[pick(4)]}}
		}
		if pick(4) == 0 {
			s.Protect.Namespaces = []string{"pay"}
		}
		settings[bundle] = s
	}
	var asks []Ask
	yes, no := true, false
	for range 1 + pick(6) {
		a := ask(Actions()[pick(len(Actions()))], in(modes[pick(len(modes))]), by(fmt.Sprint("p", pick(3))))
		a.Bundle = []string{"a", "b", "c"}[pick(3)]
		a.Parameters.Detach = []*bool{nil, nil, &yes, &no}[pick(4)]
		a.Parameters.Approval = pick(5) == 0
		a.Parameters.Effect = []string{"", EffectDeny}[pick(2)]
		if a.Action == Label {
			a.Parameters.Labels = map[string]string{fmt.Sprint("k", pick(2)): fmt.Sprint(pick(2))}
		}
		asks = append(asks, a)
	}
	return e, asks, settings
}

func TestWhatHoldsForEveryPlan(t *testing.T) {
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 1))
		e, asks, settings := randomInput(r)
		before, _ := json.Marshal([]any{e, asks, settings})
		facts := Facts{Own: "portcullis-system"}
		plan, err := NewPlan(e, asks, settings, facts)
		if err != nil {
			t.Fatal(seed, err)
		}
		fail := func(format string, args ...any) {
			t.Helper()
			written, _ := json.MarshalIndent(plan, "", " ")
			t.Fatalf("seed %d: %s\ninput %s\nplan %s", seed, fmt.Sprintf(format, args...), before, written)
		}
		if after, _ := json.Marshal([]any{e, asks, settings}); string(after) != string(before) {
			fail("the input was changed to %s", after)
		}
		seen := map[Action]int{}
		for n, a := range plan.Actions {
			if _, twice := seen[a.Action]; twice {
				fail("%s comes twice", a.Action)
			}
			seen[a.Action] = n
			if a.Action.Contains() {
				if plan.Mode != ModeAudit && Milder(a.Mode, ModeEnforce) == ModeAudit {
					fail("%s is only recorded in a plan of mode %s", a.Action, plan.Mode)
				}
				snapshot, ok := seen[Snapshot]
				if !ok || rank(plan.Actions[snapshot].Ask) < rank(a.Ask) {
					fail("%s has no evidence before it", a.Action)
				}
				if e.Pod == nil || Protected(e.Pod, settings, facts) != "" {
					fail("%s of what is protected", a.Action)
				}
			}
			// No action goes further than some ask of it or of what it follows from.
			if !slices.ContainsFunc(asks, func(ask Ask) bool {
				of := settings[ask.Bundle]
				mode := Milder(ask.Mode, of.ModeIn(e.namespace()))
				return ask.Policy == a.Policy && (Milder(a.Mode, mode) == a.Mode || a.Action == Snapshot && mode == ModeApprove)
			}) {
				fail("%s goes further than its policy", a.Action)
			}
		}
		if scale, ok := seen[Scale]; ok {
			if detachable, _ := Detachable(e.Owner.direct(), settings[plan.Actions[scale].Bundle]); detachable && !detachedBefore(plan, scale) {
				fail("scaled before the pod is detached")
			}
		}
		if suspend, ok := seen[Suspend]; ok && !e.Owner.is("batch", "CronJob") && !detachedBefore(plan, suspend) {
			fail("suspended before the pod is detached")
		}
		if plan.Branch != "" && (seen[Isolate] > 0 || plan.Branch == BranchHost && len(plan.Actions) > 1) {
			fail("branch %s", plan.Branch)
		}
		if plan.TTL <= 0 || plan.OnExpiry != OnExpiryRelease {
			fail("it ends after %s by %q", plan.TTL, plan.OnExpiry)
		}
		for _, refused := range plan.Refused {
			if refused.Reason == "" {
				fail("%s is refused without a reason", refused.Action)
			}
		}
		r.Shuffle(len(asks), func(i, j int) { asks[i], asks[j] = asks[j], asks[i] })
		again, err := NewPlan(e, asks, settings, facts)
		if err != nil || !reflect.DeepEqual(plan, again) {
			other, _ := json.MarshalIndent(again, "", " ")
			fail("in another order the plan is %s", other)
		}
	}
}

func (e *Event) namespace() string {
	if e.Pod == nil {
		return ""
	}
	return e.Pod.Namespace
}

func detachedBefore(plan *Plan, place int) bool {
	return slices.ContainsFunc(plan.Actions[:place], func(a Planned) bool {
		return (a.Action == Detach || a.Action == Isolate && *a.Parameters.Detach) && rank(a.Ask) >= rank(plan.Actions[place].Ask)
	})
}

func BenchmarkNewPlan(b *testing.B) {
	e, asks := eventOf(deployment), []Ask{ask(Isolate), ask(Condemn), ask(Notify), ask(Evict, in(ModeAudit))}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewPlan(e, asks, enforcing, Facts{Own: "portcullis-system"}); err != nil {
			b.Fatal(err)
		}
	}
}
