package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// monitored renders the chart with all that it tells Prometheus and Grafana, and gives the objects of a kind by name.
func monitored(t *testing.T, kind string, values map[string]any) map[string]*unstructured.Unstructured {
	t.Helper()
	values["monitoring"] = map[string]any{
		"serviceMonitor": map[string]any{"enabled": true, "labels": map[string]any{"release": "prometheus"}},
		"prometheusRule": map[string]any{"enabled": true, "labels": map[string]any{"release": "prometheus"}},
		"dashboards":     map[string]any{"enabled": true},
	}
	rendered, err := Render(Options{Files: []string{"testdata/digests.yaml", "testdata/everything.yaml"}, Values: values, APIVersions: []string{"monitoring.coreos.com/v1", "cert-manager.io/v1"}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := Split([]byte(rendered.Manifest))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*unstructured.Unstructured{}
	for _, object := range all {
		if object.GetKind() == kind {
			found[object.GetName()] = object
		}
	}
	return found
}

func TestRulesAreMadeOfTheFilesOfComponentsThatAreOn(t *testing.T) {
	got := monitored(t, "PrometheusRule", map[string]any{"scanner": map[string]any{"enabled": false}, "webhook": map[string]any{"queueScans": false}})
	if got["portcullis-scanner"] != nil {
		t.Error("there are alerts about the scanner, which is off")
	}
	for _, name := range []string{"common", "webhook", "controller", "responder", "secrets"} {
		object := got["portcullis-"+name]
		if object == nil {
			t.Errorf("there are no alerts of %s", name)
			continue
		}
		content, err := os.ReadFile(filepath.Join(Dir, "files/rules", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		if err := yaml.Unmarshal(content, &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(object.Object["spec"], want) {
			t.Errorf("the spec of %s is not its file: got %v, want %v", name, object.Object["spec"], want)
		}
		if object.GetLabels()["release"] != "prometheus" {
			t.Errorf("%s lacks the labels of the values: %v", name, object.GetLabels())
		}
	}
}

func TestDashboardsAreFoundByGrafana(t *testing.T) {
	got := monitored(t, "ConfigMap", map[string]any{})
	for _, name := range []string{"overview", "webhook", "controller", "scanner", "responder", "secrets"} {
		object := got["portcullis-dashboard-"+name]
		if object == nil {
			t.Errorf("there is no dashboard of %s", name)
			continue
		}
		text, _, _ := unstructured.NestedString(object.Object, "data", "portcullis-"+name+".json")
		var dashboard struct {
			UID string `json:"uid"`
		}
		if err := json.Unmarshal([]byte(text), &dashboard); err != nil || dashboard.UID != "portcullis-"+name || object.GetLabels()["grafana_dashboard"] != "1" {
			t.Errorf("%s: got the labels %v and the uid %q: %v", name, object.GetLabels(), dashboard.UID, err)
		}
	}
}

func TestPrometheusFindsAllPods(t *testing.T) {
	monitor := monitored(t, "ServiceMonitor", map[string]any{})["portcullis"]
	service := monitored(t, "Service", map[string]any{})["portcullis-metrics"]
	if monitor == nil || service == nil {
		t.Fatal("there is no ServiceMonitor, or no Service")
	}
	chosen, _, _ := unstructured.NestedStringMap(monitor.Object, "spec", "selector", "matchLabels")
	for label, value := range chosen {
		if service.GetLabels()[label] != value {
			t.Errorf("the ServiceMonitor chooses %s=%s, and its Service has %v", label, value, service.GetLabels())
		}
	}
	selector, _, _ := unstructured.NestedStringMap(service.Object, "spec", "selector")
	for _, kind := range []string{"Deployment", "StatefulSet"} {
		for name, workload := range monitored(t, kind, map[string]any{}) {
			if name == "portcullis-console" {
				continue // it counts nothing
			}
			labels, _, _ := unstructured.NestedStringMap(workload.Object, "spec", "template", "metadata", "labels")
			for label, value := range selector {
				if labels[label] != value {
					t.Errorf("the Service does not find the pods of %s: %v", name, labels)
				}
			}
			containers, _, _ := unstructured.NestedSlice(workload.Object, "spec", "template", "spec", "containers")
			if !slices.ContainsFunc(containers, func(c any) bool {
				ports, _, _ := unstructured.NestedSlice(c.(map[string]any), "ports")
				return slices.ContainsFunc(ports, func(p any) bool { return p.(map[string]any)["name"] == "probes" })
			}) {
				t.Errorf("%s has no port probes", name)
			}
		}
	}
}
