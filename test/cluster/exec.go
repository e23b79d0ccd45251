package cluster

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

// Exec runs a command in the first container of a pod with an input, as kubectl exec -i does, and returns what it printed, errors last. It
// needs a [Node]. The command should read its input to the end: of one that ends at once, Debian's containerd (1.6) may lose
// what it prints.
func Exec(ctx context.Context, config *rest.Config, namespace, pod, input string, command ...string) (string, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	request := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: command, Stdin: true, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewSPDYExecutor(config, "POST", request.URL())
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer // both are written at once
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: strings.NewReader(input), Stdout: &stdout, Stderr: &stderr}); err != nil {
		err = fmt.Errorf("running %s in %s/%s: %w", strings.Join(command, " "), namespace, pod, err)
		return stdout.String() + stderr.String(), err
	}
	return stdout.String() + stderr.String(), nil
}
