package installation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// MaxMetrics bounds what one process says of itself, in bytes.
const MaxMetrics = 8 << 20

// Metrics are what a process says of itself, by name.
type Metrics map[string]*dto.MetricFamily

// ParseMetrics reads Prometheus' text format.
func ParseMetrics(text io.Reader) (Metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	return families, nil
}

// Sample is one value with its labels.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Samples are the values of a counter, a gauge or what has no type; none where there is no such metric.
func (m Metrics) Samples(name string) []Sample {
	family := m[name]
	if family == nil {
		return nil
	}
	var samples []Sample
	for _, metric := range family.Metric {
		labels := make(map[string]string, len(metric.Label))
		for _, label := range metric.Label {
			labels[label.GetName()] = label.GetValue()
		}
		value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetUntyped().GetValue()
		samples = append(samples, Sample{labels, value})
	}
	return samples
}

// Sum adds up all values of a metric; ok is false where there is none.
func (m Metrics) Sum(name string) (sum float64, ok bool) {
	for _, sample := range m.Samples(name) {
		sum, ok = sum+sample.Value, true
	}
	return sum, ok
}

// Metrics are those of a pod, through the API server: it takes get on pods/proxy.
func (i *Installation) Metrics(ctx context.Context, component Component, pod *corev1.Pod) (Metrics, error) {
	return i.metrics.get(ctx, pod.Name, func(ctx context.Context) (Metrics, error) {
		text, err := i.RawMetrics(ctx, component, pod)
		if err != nil {
			return nil, err
		}
		return ParseMetrics(bytes.NewReader(text))
	})
}

// Fresh are those of a pod as they are now.
func (i *Installation) Fresh(ctx context.Context, component Component, pod *corev1.Pod) (Metrics, error) {
	text, err := i.RawMetrics(ctx, component, pod)
	if err != nil {
		return nil, err
	}
	return ParseMetrics(bytes.NewReader(text))
}

// RawMetrics are those of a pod as text, at most MaxMetrics of it.
func (i *Installation) RawMetrics(ctx context.Context, component Component, pod *corev1.Pod) ([]byte, error) {
	body, err := i.probe(component, pod, "/metrics").Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, MaxMetrics+1))
	if err == nil && len(text) > MaxMetrics {
		return nil, fmt.Errorf("reading the metrics of the pod %s: they have more than %d bytes", pod.Name, MaxMetrics)
	}
	return text, err
}

// Readiness is what a pod says of each of its checks, one a line: "[+] bundle ok", "[-] … failed: …", "[!] …" for what it can do without.
// One that is not ready says so, too.
func (i *Installation) Readiness(ctx context.Context, component Component, pod *corev1.Pod) (string, error) {
	return i.readiness.get(ctx, pod.Name, func(ctx context.Context) (string, error) {
		text, err := i.probe(component, pod, "/readyz").Do(ctx).Raw()
		if err == nil {
			return string(text), nil
		}
		if said := unready(err); said != "" {
			return said, nil
		}
		return "", err
	})
}

// unready is what a pod says that is not ready (503), "" for other failures. The client keeps the first 2 KiB of such an answer.
func unready(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return ""
	}
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeUnexpectedServerResponse && strings.HasPrefix(cause.Message, "[") {
			return cause.Message
		}
	}
	return ""
}

// probe is the request for a page of a pod's probes.
func (i *Installation) probe(component Component, pod *corev1.Pod, page string) *rest.Request {
	return i.Client.CoreV1().RESTClient().Get().Namespace(pod.Namespace).Resource("pods").
		Name("http:" + pod.Name + ":" + ProbesPort(component, &pod.Spec)).SubResource("proxy").Suffix(page)
}

// ProbesPort is the port of /readyz and /metrics of a program.
func ProbesPort(component Component, spec *corev1.PodSpec) string {
	if address, ok := Flag(component, spec, "probes"); ok {
		if _, port, err := net.SplitHostPort(address); err == nil {
			return port
		}
	}
	for _, port := range container(component, spec).Ports {
		if strings.EqualFold(port.Name, "probes") || strings.EqualFold(port.Name, "metrics") {
			return fmt.Sprint(port.ContainerPort)
		}
	}
	return probes[component]
}
