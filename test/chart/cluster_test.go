package chart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/test/cluster"
)

// environment is a real control plane with the chart installed: each component, by one render.
type environment struct {
	control *cluster.Cluster
	dir     string
	config  *rest.Config
	objects []*unstructured.Unstructured
}

var (
	starting sync.Once
	shared   *environment
	failed   error
)

func TestMain(m *testing.M) {
	code := m.Run()
	if shared != nil && shared.control != nil {
		if err := shared.control.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		if err := os.RemoveAll(shared.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

// installed starts the control plane once.
func installed(t *testing.T) *environment {
	t.Helper()
	if testing.Short() {
		t.Skip("a control plane takes seconds to start")
	}
	starting.Do(func() {
		dir, err := os.MkdirTemp("", "portcullis-chart-")
		if err != nil {
			failed = err
			return
		}
		shared = &environment{dir: dir}
		failed = shared.start(context.Background(), dir)
	})
	if failed != nil {
		t.Fatal(failed)
	}
	return shared
}

func (e *environment) start(ctx context.Context, dir string) error {
	var err error
	if e.control, err = cluster.Start(ctx, cluster.Options{Dir: dir}); err != nil {
		return err
	}
	if e.config, err = e.control.Config(cluster.Admin); err != nil {
		return err
	}
	e.config.QPS, e.config.Burst = 200, 400
	rendered, err := Render(profiles["large"])
	if err != nil {
		return err
	}
	if e.objects, err = cluster.Parse([]byte(rendered.Manifest)); err != nil {
		return err
	}
	before, err := os.ReadFile("testdata/before.yaml")
	if err != nil {
		return err
	}
	first, err := cluster.Parse(before)
	if err != nil {
		return err
	}
	return cluster.Apply(ctx, e.config, slices.Concat(first, e.objects))
}

// as is a client in the name of somebody.
func (e *environment) as(t *testing.T, user string, groups ...string) dynamic.Interface {
	t.Helper()
	config := rest.CopyConfig(e.config)
	if user != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// eventually polls until something is so.
func eventually(t *testing.T, what string, is func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		last = is()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v", what, last)
	}
}

func TestTheAPIServerTakesAllOfIt(t *testing.T) {
	e := installed(t)
	client := e.as(t, "")
	definitions, err := client.Resource(resourceOf("apiextensions.k8s.io/v1/customresourcedefinitions")).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=portcullis"})
	if err != nil {
		t.Fatal(err)
	}
	if len(definitions.Items) < 13 {
		t.Errorf("got %d definitions, want all", len(definitions.Items))
	}
	for _, definition := range definitions.Items {
		names, _, _ := unstructured.NestedMap(definition.Object, "spec", "names")
		if names["shortNames"] == nil || fmt.Sprint(names["categories"]) != "[portcullis]" {
			t.Errorf("%s: got the names %v, want short names and the category portcullis", definition.GetName(), names)
		}
		if definition.GetAnnotations()["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s: it goes when the chart does", definition.GetName())
		}
		versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
		for _, version := range versions {
			if version.(map[string]any)["additionalPrinterColumns"] == nil {
				t.Errorf("%s has no printer columns", definition.GetName())
			}
		}
		eventually(t, definition.GetName()+" is structural", func() error {
			now, err := client.Resource(resourceOf("apiextensions.k8s.io/v1/customresourcedefinitions")).Get(t.Context(), definition.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			conditions, _, _ := unstructured.NestedSlice(now.Object, "status", "conditions")
			established := false
			for _, condition := range conditions {
				c := condition.(map[string]any)
				if c["type"] == "NonStructuralSchema" && c["status"] == "True" || c["type"] == "NamesAccepted" && c["status"] != "True" {
					return fmt.Errorf("%v", c["message"])
				}
				established = established || c["type"] == "Established" && c["status"] == "True"
			}
			if !established {
				return errors.New("it is not established")
			}
			return nil
		})
	}
	// The types of the rest were checked when they were applied; what CEL says of itself is in the status.
	for _, object := range e.objects {
		if object.GetKind() != "ValidatingAdmissionPolicy" {
			continue
		}
		eventually(t, object.GetName()+" has no type errors", func() error {
			now, err := client.Resource(resourceOf("admissionregistration.k8s.io/v1/validatingadmissionpolicies")).Get(t.Context(), object.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			checking, found, _ := unstructured.NestedMap(now.Object, "status", "typeChecking")
			if !found {
				return errors.New("it was not checked yet")
			}
			if checking["expressionWarnings"] != nil {
				t.Errorf("%s: %v", object.GetName(), checking["expressionWarnings"])
			}
			return nil
		})
	}
}

// Pods are made by the cluster's controllers, under the guards and under the restricted Pod Security Standard.
func TestTheClusterMakesThePods(t *testing.T) {
	e := installed(t)
	client := e.as(t, "")
	want := map[string]int{"console": 2, "webhook": 5, "controller": 3, "scanner": 4, "responder": 3, "secrets": 2}
	eventually(t, "all pods are there", func() error {
		pods, err := client.Resource(resourceOf("v1/pods")).Namespace("portcullis-system").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		got := map[string]int{}
		for _, pod := range pods.Items {
			got[pod.GetLabels()["app.kubernetes.io/component"]]++
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	})
}

// resourceOf reads GROUP/VERSION/RESOURCE, or VERSION/RESOURCE.
func resourceOf(text string) (r gvr) {
	parts := strings.Split(text, "/")
	if len(parts) == 3 {
		r.Group, parts = parts[0], parts[1:]
	}
	r.Version, r.Resource = parts[0], parts[1]
	return r
}

func isRefused(err error, by string) bool {
	return err != nil && (apierrors.IsForbidden(err) || apierrors.IsInvalid(err)) && strings.Contains(err.Error(), by)
}
