package soak

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// admissionEvery is the pause between two requests of one worker.
	admissionEvery = 150 * time.Millisecond
	// keptPods is how many pods that were really created are there at a time.
	keptPods = 5
	// badLabel is on every object that no policy lets in: none may ever be there.
	badLabel = "soak.portcullis.dev/bad"
)

var dryRun = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}

// admissions is the load of pods and Deployments.
type admissions struct {
	*soak
	client kubernetes.Interface
	number atomic.Int64

	lock sync.Mutex
	kept []string // pods that were created
}

func newAdmissions(s *soak) *admissions { return &admissions{soak: s, client: s.Client} }

// kinds of bad pods, each refused by a policy of the profile baseline.
var bad = []struct {
	policy string
	spoil  func(*corev1.PodSpec)
}{
	{"pods/privileged", func(p *corev1.PodSpec) {
		yes := true
		p.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	}},
	{"pods/host-path-volumes", func(p *corev1.PodSpec) {
		p.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
	}},
	{"pods/host-namespaces", func(p *corev1.PodSpec) { p.HostPID = true }},
	{"pods/capabilities-baseline", func(p *corev1.PodSpec) {
		p.Containers[0].SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_ADMIN"}}}
	}},
}

func podNamed(namespace, name, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": "soak"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}},
	}
}

func (a *admissions) run(ctx context.Context) {
	for a.sleep(ctx, admissionEvery) == nil {
		a.one(ctx, a.number.Add(1))
	}
}

// one sends the request with a number. Every twelfth good and bad pod is meant; the others are dry runs.
func (a *admissions) one(ctx context.Context, n int64) {
	options := dryRun
	if n%12 < 2 {
		options = metav1.CreateOptions{}
	}
	pod := podNamed(loadNamespace, fmt.Sprintf("pod-%d", n), "nginx")
	policy := ""
	if n%2 == 1 {
		kind := bad[int(n/2)%len(bad)]
		kind.spoil(&pod.Spec)
		pod.Labels[badLabel], policy = "true", kind.policy
	}
	began := time.Now()
	faulty := a.faulty.Load()
	var err error
	if n%3 == 2 {
		_, err = a.client.AppsV1().Deployments(loadNamespace).Create(ctx, deploymentOf(pod), dryRun)
	} else {
		_, err = a.client.CoreV1().Pods(loadNamespace).Create(ctx, pod, options)
		if len(options.DryRun) == 0 && policy == "" && outcomeOf(err) != denied {
			a.keep(ctx, pod.Name)
		}
	}
	if ctx.Err() != nil {
		return // nobody knows
	}
	a.report.admission(fmt.Sprintf("request %d", n), policy != "", err, time.Since(began), faulty || a.faulty.Load())
}

func deploymentOf(pod *corev1.Pod) *appsv1.Deployment {
	one := int32(1)
	return &appsv1.Deployment{ObjectMeta: pod.ObjectMeta, Spec: appsv1.DeploymentSpec{
		Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "soak"}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec},
	}}
}

// keep remembers a pod and deletes the oldest one. What fails is deleted at the end.
func (a *admissions) keep(ctx context.Context, name string) {
	a.lock.Lock()
	a.kept = append(a.kept, name)
	oldest := ""
	if len(a.kept) > keptPods {
		oldest, a.kept = a.kept[0], a.kept[1:]
	}
	a.lock.Unlock()
	if oldest != "" {
		_ = a.client.CoreV1().Pods(loadNamespace).Delete(ctx, oldest, metav1.DeleteOptions{})
	}
}

// works says whether a good pod gets in and a bad one is refused by its policy.
func (a *admissions) works(ctx context.Context) error {
	n := a.number.Add(1)
	good, worse := podNamed(loadNamespace, fmt.Sprintf("well-%d", n), "nginx"), podNamed(loadNamespace, fmt.Sprintf("worse-%d", n), "nginx")
	bad[0].spoil(&worse.Spec)
	worse.Labels[badLabel] = "true"
	if _, err := a.client.CoreV1().Pods(loadNamespace).Create(ctx, good, dryRun); err != nil {
		return fmt.Errorf("a good pod: %w", err)
	}
	_, err := a.client.CoreV1().Pods(loadNamespace).Create(ctx, worse, dryRun)
	a.report.probe("a bad pod", err)
	if outcomeOf(err) != denied {
		return fmt.Errorf("a bad pod is not refused by %s: %w", bad[0].policy, err)
	}
	return nil
}

// end deletes what is left of the load, and says what should not be there.
func (a *admissions) end(ctx context.Context) error {
	for _, namespace := range []string{loadNamespace, imageNamespace, victimNamespace} {
		list, err := a.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: badLabel})
		if err != nil {
			return err
		}
		for _, pod := range list.Items {
			a.report.wrongAllow(fmt.Sprintf("the pod %s/%s exists", pod.Namespace, pod.Name))
		}
	}
	if err := a.client.CoreV1().Pods(loadNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return until(ctx, func(ctx context.Context) error {
		list, err := a.client.CoreV1().Pods(loadNamespace).List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) > 0 {
			err = errors.New("pods of the load are still there")
		}
		return err
	})
}
