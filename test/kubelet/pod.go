package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/test/process"
)

const (
	// tick is how often a pod is looked after.
	tick = 100 * time.Millisecond
	// again is how often what depends on the API server is tried: volumes are compared, a status that was not written is.
	again = 2 * time.Second
	// firstDelay is the pause before a container that ended is started again; it doubles up to lastDelay.
	firstDelay, lastDelay = time.Second, 8 * time.Second
)

// pod is one pod, from the moment that it is bound to the node until it is gone.
type pod struct {
	node            *Node
	namespace, name string
	address         string // told where nothing runs
	container       *Container

	tokenValue string
	tokenSince time.Time

	gone   chan struct{} // closed when the API server has it no more
	ending chan struct{} // closed when it is being deleted

	lock    sync.Mutex
	object  *corev1.Pod
	running *process.Process
}

func newPod(n *Node, object *corev1.Pod, number int) *pod {
	p := &pod{
		node: n, namespace: object.Namespace, name: object.Name, object: object, gone: make(chan struct{}), ending: make(chan struct{}),
		address: fmt.Sprintf("100.64.%d.%d", number/250, number%250+1), // of RFC 6598: nobody here has it
	}
	p.container = &Container{
		Pod: object, Spec: object.Spec.Containers[0], Dir: filepath.Join(n.options.Dir, object.Namespace, string(object.UID)),
		Server: n.options.Server, CAFile: n.options.CAFile,
	}
	p.container.Kubeconfig = p.container.Dir + ".kubeconfig"
	if object.DeletionTimestamp != nil {
		close(p.ending)
	}
	return p
}

// see takes a change in.
func (p *pod) see(object *corev1.Pod) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if object.DeletionTimestamp != nil && p.object.DeletionTimestamp == nil {
		close(p.ending)
	}
	p.object = object
}

func (p *pod) lost() { close(p.gone) }

// run is the pod's life.
func (p *pod) run(ctx context.Context) {
	life := &life{pod: p, delay: firstDelay}
	defer life.kill()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.gone:
			return
		case <-p.ending:
			life.end(ctx)
			return
		case <-ticker.C:
			life.step(ctx, time.Now())
		}
	}
}

// life is what is known of a pod's container.
type life struct {
	*pod
	mounts   []*mount
	program  *Program
	prepared bool
	alone    bool // no program: the container is only said to run

	startup, liveness, readiness *probing
	started, ready               bool
	restarts                     int32
	startedAt, retry, refreshed  time.Time
	delay                        time.Duration
	finished                     *corev1.ContainerStateTerminated // a pod of a Job that is done

	written string // the status that was written last
	waiting string // why nothing runs yet
}

func (l *life) step(ctx context.Context, now time.Time) {
	switch {
	case l.finished != nil:
	case !l.prepared:
		if now.Before(l.retry) {
			return
		}
		l.retry = now.Add(again / 4)
		if err := l.prepare(ctx); err != nil {
			l.waiting = err.Error()
			break
		}
		l.prepared, l.waiting = true, ""
		l.start(now)
	case l.alone:
	case l.process() == nil:
		if now.After(l.retry) {
			l.start(now)
		}
	default:
		l.look(ctx, now)
	}
	if l.prepared && !l.alone && l.finished == nil && now.After(l.refreshed.Add(again)) {
		l.refreshed = now
		if err := l.refresh(ctx, l.mounts); err != nil {
			l.waiting = err.Error() // files stay as they were
		}
		if err := l.publish(ctx, l.ready); err != nil { // Services and labels change, too
			l.written = ""
		}
	}
	l.tell(ctx)
}

// prepare makes what the container needs. What is not there yet is tried again.
func (l *life) prepare(ctx context.Context) (err error) {
	c := l.container
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return err
	}
	if err := l.pod.findPorts(); err != nil {
		return err
	}
	if l.program, err = l.node.options.Program(c); err != nil {
		return err
	}
	if l.alone = l.program == nil; l.alone {
		l.started, l.ready, l.startedAt = true, true, time.Now()
		return nil
	}
	if l.mounts, err = l.pod.mounts(); err != nil {
		return err
	}
	if err := l.refresh(ctx, l.mounts); err != nil {
		return err
	}
	return c.writeKubeconfig()
}

func (l *life) process() *process.Process {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.running
}

func (l *life) setProcess(running *process.Process) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.running = running
}

func (l *life) start(now time.Time) {
	if l.alone {
		return
	}
	path, args := l.command(l.program)
	running, err := process.Start(process.Command{
		Name: l.name, Path: path, Args: args, Env: append(l.container.env(), l.program.Env...),
		LogFile: l.node.logFile(l.namespace, l.name),
	})
	if err != nil {
		l.waiting, l.retry = err.Error(), now.Add(l.delay)
		return
	}
	spec := l.container.Spec
	l.startup, l.liveness, l.readiness = newProbing(spec.StartupProbe, slowest), newProbing(spec.LivenessProbe, time.Minute), newProbing(spec.ReadinessProbe, slowest/2)
	l.started, l.ready, l.startedAt, l.waiting = false, false, now, ""
	l.setProcess(running)
}

// look sees whether the program lives, and asks its probes.
func (l *life) look(ctx context.Context, now time.Time) {
	running := l.process()
	select {
	case <-running.Done():
		l.ended(running, now)
		return
	default:
	}
	if !l.started {
		ok, failed := l.startup.ask(ctx, l.container, now)
		if failed {
			running.Kill()
		}
		if l.started = ok; !ok {
			return
		}
	}
	if _, failed := l.liveness.ask(ctx, l.container, now); failed {
		running.Kill()
		return
	}
	ok, failed := l.readiness.ask(ctx, l.container, now)
	if ok || failed {
		l.ready = ok
	}
}

// ended is what becomes of a program that has: a Job is done, anything else begins again after a pause.
func (l *life) ended(running *process.Process, now time.Time) {
	err := running.Err()
	l.setProcess(nil)
	l.ready, l.started = false, false
	policy := l.seen().Spec.RestartPolicy
	if policy == corev1.RestartPolicyNever || policy == corev1.RestartPolicyOnFailure && err == nil {
		l.finished = &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: metav1.NewTime(l.startedAt), FinishedAt: metav1.NewTime(now)}
		if err != nil {
			l.finished.ExitCode, l.finished.Reason, l.finished.Message = 1, "Error", err.Error()
		}
		return
	}
	if now.Sub(l.startedAt) > time.Minute {
		l.delay = firstDelay
	}
	l.restarts++
	l.retry, l.waiting = now.Add(l.delay), "the program ended and is started again soon"
	l.delay = min(2*l.delay, lastDelay)
}

func (l *life) kill() {
	if running := l.process(); running != nil {
		running.Kill()
		l.setProcess(nil)
	}
}

// end is a deletion: Services hear of it, the program is told and has its time, and then the API server is.
func (l *life) end(ctx context.Context) {
	l.ready = false
	l.tell(ctx)
	if running := l.process(); running != nil {
		grace := 30 * time.Second
		if seconds := l.seen().DeletionGracePeriodSeconds; seconds != nil {
			grace = time.Duration(*seconds) * time.Second
		}
		_ = running.Signal(syscall.SIGTERM) // fails only where the program has already ended
		select {
		case <-running.Done():
		case <-time.After(grace):
		case <-ctx.Done():
		case <-l.gone:
		}
		l.kill()
	}
	now := int64(0)
	uid := l.seen().UID
	for ctx.Err() == nil {
		err := l.node.options.Client.CoreV1().Pods(l.namespace).Delete(ctx, l.name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &uid}})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		select {
		case <-time.After(again):
		case <-l.gone:
			return
		case <-ctx.Done():
		}
	}
}

// tell writes the pod's status and its endpoints where they have changed; what fails is tried again with the next step.
func (l *life) tell(ctx context.Context) {
	state := fmt.Sprint(l.started, l.ready, l.restarts, l.finished != nil, l.waiting, l.process() != nil)
	if state == l.written {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if l.prepared && !l.alone {
		if err := l.publish(ctx, l.ready); err != nil {
			return
		}
	}
	if err := l.writeStatus(ctx); err == nil {
		l.written = state
	}
}

func (l *life) writeStatus(ctx context.Context) error {
	pods := l.node.options.Client.CoreV1().Pods(l.namespace)
	object, err := pods.Get(ctx, l.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && object.UID != l.seen().UID {
		return nil
	}
	if err != nil {
		return err
	}
	l.fill(&object.Status)
	_, err = pods.UpdateStatus(ctx, object, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (l *life) fill(status *corev1.PodStatus) {
	spec := l.container.Spec
	one := corev1.ContainerStatus{
		Name: spec.Name, Image: spec.Image, ImageID: spec.Image, ContainerID: "processes://" + string(l.seen().UID), Ready: l.ready, Started: &l.started, RestartCount: l.restarts,
	}
	running := l.alone || l.process() != nil
	status.Phase = corev1.PodRunning
	switch {
	case l.finished != nil:
		one.State.Terminated = l.finished
		status.Phase = corev1.PodSucceeded
		if l.finished.ExitCode != 0 {
			status.Phase = corev1.PodFailed
		}
	case running:
		one.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(l.startedAt)}
	default:
		one.State.Waiting = &corev1.ContainerStateWaiting{Reason: "Waiting", Message: l.waiting}
		if !l.prepared {
			status.Phase = corev1.PodPending
		}
	}
	status.ContainerStatuses = []corev1.ContainerStatus{one}
	for _, other := range l.seen().Spec.Containers[1:] { // said to run, whatever they are
		same := one
		same.Name, same.Image, same.ImageID = other.Name, other.Image, other.Image
		status.ContainerStatuses = append(status.ContainerStatuses, same)
	}
	status.HostIP, status.HostIPs = l.node.address, []corev1.HostIP{{IP: l.node.address}}
	if l.alone {
		status.PodIP, status.PodIPs = l.address, []corev1.PodIP{{IP: l.address}}
	}
	if status.StartTime == nil {
		now := metav1.Now()
		status.StartTime = &now
	}
	setCondition(status, corev1.PodInitialized, true)
	setCondition(status, corev1.PodReadyToStartContainers, l.prepared)
	setCondition(status, corev1.ContainersReady, l.ready)
	setCondition(status, corev1.PodReady, l.ready)
}

func setCondition(status *corev1.PodStatus, kind corev1.PodConditionType, holds bool) {
	value := corev1.ConditionFalse
	if holds {
		value = corev1.ConditionTrue
	}
	for i := range status.Conditions {
		if c := &status.Conditions[i]; c.Type == kind {
			if c.Status != value {
				c.Status, c.LastTransitionTime = value, metav1.Now()
			}
			return
		}
	}
	status.Conditions = append(status.Conditions, corev1.PodCondition{Type: kind, Status: value, LastTransitionTime: metav1.Now()})
}

// seen is the pod as the API server had it last.
func (p *pod) seen() *corev1.Pod {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.object
}
