package kubelet

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// quickest is how often a probe is asked at most; slowest is for readiness, so that nobody waits for long periods.
const (
	quickest = 200 * time.Millisecond
	slowest  = time.Second
)

// probing asks a probe again and again, and counts.
type probing struct {
	probe              *corev1.Probe
	period             time.Duration
	next               time.Time
	successes, failing int32
}

func newProbing(probe *corev1.Probe, longest time.Duration) *probing {
	if probe == nil {
		return nil
	}
	period := time.Duration(max(probe.PeriodSeconds, 1)) * time.Second
	return &probing{probe: probe, period: max(quickest, min(period, longest))}
}

// ask asks when it is time. It says whether the probe has succeeded last, and whether it has failed as often as it may.
func (b *probing) ask(ctx context.Context, c *Container, now time.Time) (ok, failed bool) {
	if b == nil {
		return true, false
	}
	if now.Before(b.next) {
		return b.successes > 0, false
	}
	b.next = now.Add(b.period)
	if err := b.once(ctx, c); err != nil {
		b.successes = 0
		b.failing++
		return false, b.failing >= max(b.probe.FailureThreshold, 1)
	}
	b.successes, b.failing = b.successes+1, 0
	return true, false
}

func (b *probing) once(ctx context.Context, c *Container) error {
	get := b.probe.HTTPGet
	if get == nil {
		return nil // of probes, HTTP is what is known here
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(b.probe.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	scheme, name, number := "http", get.Port.StrVal, get.Port.IntVal
	if get.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	if get.Port.Type == intstr.Int {
		name = ""
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s://%s%s", scheme, hostPort(c.port(name, number)), get.Path), nil)
	if err != nil {
		return err
	}
	response, err := probeClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("%s answers %s", get.Path, response.Status)
	}
	return nil
}

// probeClient does not look at certificates, as kubelets do not.
var probeClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} //nolint:gosec // a probe
