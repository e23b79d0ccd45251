package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// configurationName is the webhook's in the API.
const configurationName = "portcullis"

// apiServer is a real one, with portcullis-webhook in front of what it stores.
type apiServer struct {
	control *cluster.Cluster
	creator *cluster.Creator
	webhook *programs.Webhook
	// registry is where the images of the cases are.
	registry string
	dir      string
	policies policies
}

// startAPIServer starts a control plane and the webhook, and tells the one of the other.
func startAPIServer(ctx context.Context, dir string, policies policies) (*apiServer, error) {
	control, err := cluster.Start(ctx, cluster.Options{Dir: filepath.Join(dir, "cluster")})
	if err != nil {
		return nil, err
	}
	s := &apiServer{control: control, registry: policies.registry, dir: dir, policies: policies}
	if err := s.install(ctx, dir, policies); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *apiServer) install(ctx context.Context, dir string, policies policies) error {
	config, err := s.control.Config(cluster.Admin)
	if err != nil {
		return err
	}
	if s.creator, err = cluster.NewCreator(config); err != nil {
		return err
	}
	before, err := manifests.ReadFile("manifests/before.yaml")
	if err != nil {
		return err
	}
	before = append(before, "\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: portcullis-system}}\n"...)
	if _, err := s.creator.Create(ctx, before, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("preparing the cluster: %w", err)
	}
	// Policies read quarantines and incidents.
	if _, err := s.creator.Create(ctx, v1alpha1.Manifest, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("defining quarantines: %w", err)
	}
	serving, err := s.control.ServingCertificate("portcullis-webhook")
	if err != nil {
		return err
	}
	options, err := webhookOptions(dir, policies)
	if err != nil {
		return err
	}
	options.Serving = serving
	options.ClientCAFile, options.ClientName = s.control.WebhookClientCAFile, cluster.WebhookClientName
	if options.Kubeconfig, err = s.control.Kubeconfig(cluster.Admin); err != nil {
		return err
	}
	if s.webhook, err = programs.StartWebhook(ctx, options); err != nil {
		return err
	}
	printed, err := programs.PrintConfig(ctx, programs.ConfigOptions{
		Dir: dir, Name: configurationName, Bundle: options.Bundle, URL: "https://" + options.Listen, CAFile: s.control.CAFile,
	})
	if err != nil {
		return err
	}
	if _, err := s.creator.Create(ctx, printed, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("installing the webhook configurations: %w", err)
	}
	return s.waitUntilEffective(ctx)
}

// waitUntilEffective waits until the API server asks the webhook, which it does a
// moment after the configurations are stored.
func (s *apiServer) waitUntilEffective(ctx context.Context) error {
	bad, err := manifests.ReadFile("manifests/privileged-pod.yaml")
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, last = s.creator.Create(ctx, bad, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return last != nil && strings.Contains(last.Error(), "admission webhook"), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the API server to ask the webhook: %w; its last answer was: %w", err, last)
	}
	return nil
}

// judge creates the manifest, as kubectl create does.
func (s *apiServer) judge(ctx context.Context, c demoCase) (answer, error) {
	text, err := c.text(s.registry)
	if err != nil {
		return answer{}, err
	}
	stored, err := s.creator.Create(ctx, text, metav1.CreateOptions{})
	if err == nil {
		patched, err := changed(c, stored[0])
		return answer{admitted: true, patched: patched}, err
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !strings.Contains(err.Error(), "admission webhook") {
		return answer{}, err
	}
	var got answer
	denial := status.Status()
	got.addCauses(&denial)
	return got, nil
}

// epilogue waits for the pods that the controllers made of the good deployment,
// checks that no token came into them, and has one of them break out.
func (s *apiServer) epilogue(ctx context.Context) (string, error) {
	client, err := s.control.Client(cluster.Admin)
	if err != nil {
		return "", err
	}
	var pods *corev1.PodList
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		var err error
		pods, err = client.CoreV1().Pods("shop").List(ctx, metav1.ListOptions{LabelSelector: "app=cart"})
		return err == nil && len(pods.Items) == 2, err
	})
	if err != nil {
		return "", fmt.Errorf("waiting for the two pods of the good deployment: %w", err)
	}
	for _, pod := range pods.Items {
		for _, volume := range pod.Spec.Volumes {
			if volume.Projected != nil {
				return "", fmt.Errorf("checking pod %s: it has the projected volume %s, want none", pod.Name, volume.Name)
			}
		}
	}
	text, err := playIncident(ctx, s, s.dir, s.policies)
	return "The deployment's two pods were judged and stored as well, without a service account token.\n" + text, err
}

// changed is the value where the case expects a patch, if the stored object has one
// there. What else differs from the manifest are the API server's defaults.
func changed(c demoCase, stored *unstructured.Unstructured) ([]change, error) {
	if c.patched == "" {
		return nil, nil
	}
	fields := strings.Split(strings.TrimPrefix(c.patched, "/"), "/")
	value, err := lookUp(stored.Object, fields)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(value)
	return []change{{c.patched, string(text)}}, err
}

// lookUp follows a JSON pointer's segments.
func lookUp(value any, segments []string) (any, error) {
	for _, segment := range segments {
		switch at := value.(type) {
		case map[string]any:
			value = at[segment]
		case []any:
			number, err := strconv.Atoi(segment)
			if err != nil || number < 0 || number >= len(at) {
				return nil, fmt.Errorf("looking for a patch: there is no item %s", segment)
			}
			value = at[number]
		default:
			return nil, fmt.Errorf("looking for a patch: there is no field %s", segment)
		}
	}
	return value, nil
}

func (s *apiServer) stop() error {
	var err error
	if s.webhook != nil {
		err = s.webhook.Stop()
	}
	return errors.Join(err, s.control.Stop())
}

// goOn says how to play with it.
func (s *apiServer) goOn(manifests string) (string, error) {
	kubeconfig, err := s.control.Kubeconfig(cluster.Admin)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`The cluster goes on running until you press Ctrl-C. In another terminal:

  export KUBECONFIG=%s
  kubectl apply -f %s
  kubectl -n shop get deployments -o yaml
`, kubeconfig, filepath.Join(manifests, "privileged-pod.yaml")), nil
}
