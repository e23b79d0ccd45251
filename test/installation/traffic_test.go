package installation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// traffic are people who go on creating what is right and what is not, through the API server.
type traffic struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	lock   sync.Mutex
	phases []*phase
}

// phase is what was seen while something went on.
type phase struct {
	name                string
	began               time.Time
	took                time.Duration
	requests            int
	latencies           []time.Duration
	failed, wrongAllows []string
}

// start begins: so many clients, each with a request every interval.
func startTraffic(t *testing.T, config *rest.Config, clients int, interval time.Duration, name string) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &traffic{cancel: cancel, phases: []*phase{{name: name, began: time.Now()}}}
	for n := range clients {
		config := rest.CopyConfig(config)
		config.QPS, config.Burst = -1, -1
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		r.done.Go(func() {
			ticker := time.NewTicker(interval)
			defer ticker.Stop()
			for i := 0; ; i++ {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
					r.one(ctx, client, fmt.Sprintf("t-%d-%d", n, i), i)
				}
			}
		})
	}
	return r
}

// one makes a request: pods are tried only, templates stored.
func (r *traffic) one(ctx context.Context, client kubernetes.Interface, name string, i int) {
	bad := i%2 == 1
	began := time.Now()
	var err error
	if i%4 < 2 {
		_, err = client.CoreV1().Pods("default").Create(ctx, pod(name, bad), dry)
	} else {
		_, err = client.CoreV1().PodTemplates("default").Create(ctx, template(name, bad), metav1.CreateOptions{})
	}
	took := time.Since(began)
	if ctx.Err() != nil {
		return
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	p := r.phases[len(r.phases)-1]
	p.requests++
	p.latencies = append(p.latencies, took)
	said := fmt.Sprintf("%s after %d ms: %v", name, took.Milliseconds(), err)
	switch {
	case bad && err == nil:
		p.wrongAllows = append(p.wrongAllows, name)
	case bad && !strings.Contains(err.Error(), "pods/privileged"), !bad && err != nil:
		p.failed = append(p.failed, fmt.Sprintf("%s %s", time.Now().UTC().Format("15:04:05.000"), said))
	}
}

// template is what is stored: a pod's template that no controller acts on.
func template(name string, privileged bool) *corev1.PodTemplate {
	return &corev1.PodTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"traffic": "yes"}},
		Template:   corev1.PodTemplateSpec{Spec: pod(name, privileged).Spec},
	}
}

// enter begins another phase.
func (r *traffic) enter(name string) {
	r.lock.Lock()
	defer r.lock.Unlock()
	last := r.phases[len(r.phases)-1]
	last.took = time.Since(last.began)
	r.phases = append(r.phases, &phase{name: name, began: time.Now()})
}

// stop ends it and says what was seen: nothing may have failed.
func (r *traffic) stop(t *testing.T) {
	t.Helper()
	r.enter("the end")
	r.cancel()
	r.done.Wait()
	for _, p := range r.phases[:len(r.phases)-1] {
		slices.Sort(p.latencies)
		if p.requests == 0 {
			t.Errorf("%s: no request was made", p.name)
			continue
		}
		rate := float64(p.requests) / p.took.Seconds()
		t.Logf("%-28s %5d requests in %5.1f s (%3.0f/s), p50 %4d ms, p99 %4d ms, max %5d ms, %d failed, %d wrongly admitted", p.name, p.requests, p.took.Seconds(), rate,
			p.at(50).Milliseconds(), p.at(99).Milliseconds(), p.at(100).Milliseconds(), len(p.failed), len(p.wrongAllows))
		if len(p.failed) > 0 {
			t.Errorf("%s: %d requests failed, the first ones:\n%s", p.name, len(p.failed), strings.Join(p.failed[:min(5, len(p.failed))], "\n"))
		}
		if len(p.wrongAllows) > 0 {
			t.Errorf("%s: %d were admitted that must not be: %s", p.name, len(p.wrongAllows), strings.Join(p.wrongAllows[:min(5, len(p.wrongAllows))], ", "))
		}
	}
}

// at is a percentile.
func (p *phase) at(percent int) time.Duration {
	return p.latencies[min(len(p.latencies)-1, len(p.latencies)*percent/100)]
}

// stored is an error if something that is not right is in the cluster.
func stored(ctx context.Context, client kubernetes.Interface) error {
	list, err := client.CoreV1().PodTemplates("default").List(ctx, metav1.ListOptions{LabelSelector: "traffic"})
	if err != nil {
		return err
	}
	if len(list.Items) == 0 {
		return errors.New("nothing is stored")
	}
	for _, d := range list.Items {
		if s := d.Template.Spec.Containers[0].SecurityContext; s != nil && s.Privileged != nil && *s.Privileged {
			return fmt.Errorf("the template %s is stored, with a privileged container", d.Name)
		}
	}
	return nil
}
