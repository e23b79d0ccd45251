package quarantine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/portcullis-dev/portcullis/runtime/containment"
	"github.com/portcullis-dev/portcullis/runtime/evidence"
	"github.com/portcullis-dev/portcullis/runtime/response"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// childVariable has the test binary be a controller: JSON of [childOptions].
const childVariable = "PORTCULLIS_TEST_QUARANTINE_CHILD"

// childOptions are those of a controller in a process of its own.
type childOptions struct {
	Kubeconfig string
	Quarantine string
	// Died are the points at which processes before have died, "isolate/prepared". It kills itself at the first other one.
	Died []string
}

// child is a controller that settles one quarantine and says at which point it dies. It gives the exit code of one that did not.
func child() int {
	var o childOptions
	if err := json.Unmarshal([]byte(os.Getenv(childVariable)), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	acting, keeper, err := realHands(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c, err := NewController(Options{
		Config: config, Namespace: v1alpha1.DefaultNamespace, Identity: "child", Cluster: acting, Capturer: keeper, SnapshotHead: 500 * time.Millisecond,
		Jitter: func() float64 { return 1 }, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		After: func(_, step, point string) {
			at := step + "/" + point
			if slices.Contains(o.Died, at) {
				return
			}
			fmt.Println(at)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal comes; nothing is done in between
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		again, err := c.settle(ctx, o.Quarantine)
		q, failed := c.objects.get(ctx, o.Quarantine)
		switch {
		case err != nil, failed != nil:
			fmt.Fprintln(os.Stderr, errors.Join(err, failed))
			return 1
		case q.Status.Phase == v1alpha1.PhaseContained || q.Status.Phase.Over():
			return 0
		case !pause(ctx, again):
			return 1
		}
	}
}

// dies runs a child and gives the point at which it has died, "" where it has come to the end.
func dies(t *testing.T, o childOptions) string {
	t.Helper()
	told, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), childVariable+"="+string(told))
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err = command.Run()
	var exit *exec.ExitError
	if err == nil {
		return ""
	}
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the controller ended by itself: %v\n%s", err, stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}

// changes are what a user has changed at the API server about pods, policies, incidents and evidence, as "patch pods shop/web", with how often it
// succeeded.
func changes(t *testing.T, log, user string) map[string]int {
	t.Helper()
	file, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	found := map[string]int{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Stage, Verb    string
			User           struct{ Username string }
			ObjectRef      struct{ Resource, Subresource, Namespace, Name string }
			ResponseStatus struct{ Code int }
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			continue // the line that is being written
		}
		writes := slices.Contains([]string{"create", "update", "patch", "delete"}, event.Verb)
		if event.Stage != "ResponseComplete" || !writes || event.User.Username != user || event.ResponseStatus.Code >= 300 || event.ObjectRef.Resource == "quarantines" || event.ObjectRef.Resource == "leases" {
			continue
		}
		resource := strings.TrimSuffix(event.ObjectRef.Resource+"/"+event.ObjectRef.Subresource, "/")
		found[strings.Join([]string{event.Verb, resource, event.ObjectRef.Namespace + "/" + event.ObjectRef.Name}, " ")]++
	}
	return found
}

// A process that is killed at any point of any step is followed by one that goes on, and the API server sees each change once.
func TestKilledAnywhereItGoesOnAndNothingIsDoneTwice(t *testing.T) {
	b := newBench(t)
	kubeconfig, err := shared.Cluster(t).Kubeconfig(responderUser)
	if err != nil {
		t.Fatal(err)
	}
	p := plan(b.pod("shop", "killed", map[string]string{"app": "web"}), response.Snapshot, response.Annotate, response.Isolate, response.Condemn, response.Notify)
	parameters(p, response.Condemn, func(a *response.Planned) { a.Digest = "sha256:" + strings.Repeat("a", 64) })
	name := b.propose(p, wide)
	var died []string
	for {
		at := dies(t, childOptions{Kubeconfig: kubeconfig, Quarantine: name, Died: died})
		if at == "" {
			break
		}
		died = append(died, at)
	}
	for _, step := range []string{"snapshot", "annotate", "isolate", "condemn", "notify"} {
		for _, point := range []string{PointPrepared, PointDone, PointRecorded} {
			if !slices.Contains(died, step+"/"+point) {
				t.Errorf("nothing died at %s of %s; it did at %q", point, step, died)
			}
		}
	}
	q := b.wantPhase(name, v1alpha1.PhaseContained)
	if got := q.Status.Originals.Labels["app"]; got != "web" {
		t.Errorf("the original labels are %v, want those of before", q.Status.Originals.Labels)
	}
	if err := b.store.Release(t.Context(), name, v1alpha1.Statement{By: "ann", Reason: "false alarm"}); err != nil {
		t.Fatal(err)
	}
	for before := len(died); ; {
		at := dies(t, childOptions{Kubeconfig: kubeconfig, Quarantine: name, Died: died})
		if at == "" {
			if len(died)-before < 6 {
				t.Errorf("while it was released it died at %q, want at each point of isolate and condemn at least", died[before:])
			}
			break
		}
		died = append(died, at)
	}
	b.wantPhase(name, v1alpha1.PhaseReleased)
	want := map[string]int{
		"patch pods shop/killed": 4, // annotated, isolated, and both taken back
		"create networkpolicies shop/" + v1alpha1.NetworkPolicyName(name): 1,
		"delete networkpolicies shop/" + v1alpha1.NetworkPolicyName(name): 1,
	}
	created, deleted := 0, 0
	for change, times := range changes(t, shared.Cluster(t).AuditLog, responderUser) {
		switch {
		case !strings.Contains(change, "killed") && !strings.Contains(change, name):
		case strings.HasPrefix(change, "create incidents "):
			created += times
		case strings.HasPrefix(change, "delete incidents "):
			deleted += times
		case strings.HasPrefix(change, "create quarantineevidences "):
			if times != 1 {
				t.Errorf("%d times: %s, want once", times, change)
			}
		case want[change] != times:
			t.Errorf("%d times: %s, want %d", times, change, want[change])
		default:
			delete(want, change)
		}
	}
	if created != 1 || deleted != 1 || len(want) > 0 {
		t.Errorf("%d incidents were created and %d deleted, and of changes these did not happen: %v; want one each, and all", created, deleted, want)
	}
}

// Two that act at once, as while a Lease changes hands, admit no more than one would.
func TestTwoControllersExceedNoLimit(t *testing.T) {
	b := newBench(t)
	const proposals, limit = 20, 3
	settings := wide
	settings.Limits.Cluster = limit
	var names []string
	for n := range proposals {
		p := plan(b.pod("shop", fmt.Sprintf("web-%d", n), nil), response.Snapshot, response.Isolate)
		names = append(names, b.propose(p, settings))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var leading sync.WaitGroup
	for _, identity := range []string{"one", "two"} {
		c := b.controller(func(o *Options) { o.Identity, o.Now = identity, time.Now })
		leading.Go(func() { c.lead(ctx) })
	}
	got := map[v1alpha1.Phase]int{}
	for _, name := range names {
		q := b.until(name, name+" is decided", func(q *v1alpha1.Quarantine) bool {
			return q.Status.Phase == v1alpha1.PhaseContained || q.Status.Phase == v1alpha1.PhaseRefused
		})
		got[q.Status.Phase]++
	}
	cancel()
	leading.Wait()
	if got[v1alpha1.PhaseContained] != limit || got[v1alpha1.PhaseRefused] != proposals-limit {
		t.Errorf("got %v, want %d contained and all others refused", got, limit)
	}
	list, err := b.admin.Resource(networkPolicies).Namespace("shop").List(t.Context(), listOptions)
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != limit {
		t.Errorf("%d policies isolate, want %d", len(list.Items), limit)
	}
}

// The API server, or its store, goes away while a step is taken, and again before what came of it can be written down.
func TestWhatServesTheClusterRestartsDuringAnIncident(t *testing.T) {
	for name, restart := range map[string]func(*cluster.Cluster, context.Context) error{
		"the API server": (*cluster.Cluster).RestartAPIServer,
		"etcd":           (*cluster.Cluster).RestartEtcd,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			once := func() func() {
				return sync.OnceFunc(func() {
					if err := restart(shared.Cluster(t), context.WithoutCancel(t.Context())); err != nil {
						t.Error(err)
					}
				})
			}
			before, after := once(), once()
			var restarted atomic.Int32
			c := b.controller(func(o *Options) {
				o.Now = time.Now
				o.After = func(_, step, point string) {
					if step == "isolate" && point == PointDone {
						after()
					}
				}
			})
			b.hands.seen = func(call string, _ *v1alpha1.Quarantine) {
				if call == "do isolate" {
					before()
					restarted.Add(1)
				}
			}
			b.run(c)
			name := b.propose(plan(b.pod("shop", "web", map[string]string{"app": "web"}), response.Snapshot, response.Annotate, response.Isolate, response.Condemn), wide)
			q := b.until(name, "it is contained", inPhase(v1alpha1.PhaseContained))
			if restarted.Load() == 0 || q.Status.Verdict != "Isolated" || q.Status.Originals.Labels["app"] != "web" {
				t.Errorf("the status is %+v, want it isolated with its originals", q.Status)
			}
			later := b.propose(plan(b.pod("desk", "later", nil), response.Isolate), wide)
			b.until(later, "it still listens to what is new", inPhase(v1alpha1.PhaseContained))
		})
	}
}

// lines is a [Journal] that remembers.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Quarantined(_ context.Context, t Transition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, strings.TrimSpace(t.Step+" "+t.From+">"+t.To+" "+t.Reason))
}

func TestTheJournalHasEachStepInOrderAndNoSecrets(t *testing.T) {
	b := newBench(t)
	kept := &lines{}
	c := b.controller(func(o *Options) { o.Journal, o.Now = kept, time.Now })
	stop := b.run(c)
	name := b.propose(plan(b.pod("shop", "web", nil), response.Annotate, response.Isolate), wide)
	b.until(name, "it is contained", inPhase(v1alpha1.PhaseContained))
	if err := b.store.Release(t.Context(), name, v1alpha1.Statement{By: "ann", Reason: "false alarm, token=hunter2hunter2"}); err != nil {
		t.Fatal(err)
	}
	b.until(name, "it is released", inPhase(v1alpha1.PhaseReleased))
	want := []string{
		"phase >Containing", "annotate >Done done", "isolate >Done isolated", "phase Containing>Contained all actions were taken",
		"phase Contained>Releasing released by ann: false alarm, token=[redacted]", "release/annotate >Done taken back", "release/isolate >Done taken back",
		"phase Releasing>Released released by ann: false alarm, token=[redacted]",
	}
	clustertest.Eventually(t, "the last line, which follows the status", func() error {
		kept.mu.Lock()
		defer kept.mu.Unlock()
		if len(kept.all) < len(want) {
			return fmt.Errorf("got %d lines, want %d", len(kept.all), len(want))
		}
		return nil
	})
	stop()
	if !slices.Equal(kept.all, want) {
		t.Errorf("the lines are\n%s\nwant\n%s", strings.Join(kept.all, "\n"), strings.Join(want, "\n"))
	}
}

// Another replica goes on where one is gone.
func TestAnotherReplicaTakesOver(t *testing.T) {
	b := newBench(t)
	real := func(identity string) *Controller {
		return b.controller(func(o *Options) { o.Identity, o.Now = identity, time.Now })
	}
	one, two := real("one"), real("two")
	stop := b.run(one)
	first := b.propose(plan(b.pod("shop", "first", nil), response.Isolate), wide)
	b.until(first, "the first leads", inPhase(v1alpha1.PhaseContained))
	b.run(two)
	stop()
	if one.Leads() {
		t.Error("the first still leads")
	}
	second := b.propose(plan(b.pod("shop", "second", nil), response.Isolate), wide)
	b.until(second, "the second leads", inPhase(v1alpha1.PhaseContained))
	if !two.Leads() {
		t.Error("the second does not lead")
	}
}

// realHands are what act in production.
func realHands(config *rest.Config) (Cluster, Capturer, error) {
	acting, err := containment.New(config, containment.Options{Namespace: v1alpha1.DefaultNamespace, CNI: "calico"})
	if err != nil {
		return nil, nil, err
	}
	keeper, err := evidence.New(config, evidence.Options{})
	return acting, keeper, err
}
