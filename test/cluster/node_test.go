package cluster_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/images"
)

// A real kubelet pulls an image from a registry on loopback and runs it; its log can be read, and commands run in it.
func TestANodeRunsWhatItPulls(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a control plane and a node")
	}
	if err := cluster.NodeUnavailable(); err != nil {
		t.Skip(err)
	}
	ctx := t.Context()
	image := imageOf(t, images.BuildServer)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	ref, err := images.Push(ctx, strings.TrimPrefix(server.URL, "http://")+"/shop/cart:1", image)
	if err != nil {
		t.Fatal(err)
	}
	control, err := cluster.Start(ctx, cluster.Options{Dir: t.TempDir(), Users: []cluster.User{cluster.NodeUser}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := control.Stop(); err != nil {
			t.Error(err)
		}
	})
	dir, err := os.MkdirTemp("", "node-")
	if err != nil {
		t.Fatal(err)
	}
	node, err := control.StartNode(ctx, cluster.NodeOptions{Dir: dir, Pause: imageOf(t, images.BuildProgram)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Stop(); err != nil {
			t.Error(err)
		}
	})
	client, err := control.Client(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "cart"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "cart", Image: ref}}}}
	if _, err := client.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		got, err := client.CoreV1().Pods("default").Get(ctx, "cart", metav1.GetOptions{})
		last = fmt.Errorf("%v %+v", err, got.Status)
		return err == nil && got.Status.Phase == corev1.PodRunning && strings.HasSuffix(got.Status.ContainerStatuses[0].ImageID, ref[strings.Index(ref, "@"):]), nil
	})
	if err != nil {
		t.Fatalf("waiting for the pod to run: %v: %v", err, last)
	}
	config, err := control.Config(cluster.Admin)
	if err != nil {
		t.Fatal(err)
	}
	// It runs a moment before it prints.
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		log, err := client.CoreV1().Pods("default").GetLogs("cart", &corev1.PodLogOptions{}).DoRaw(ctx)
		last = fmt.Errorf("got %q, %w", log, err)
		return strings.Contains(string(log), "listening on"), err
	})
	if err != nil {
		t.Errorf("reading the log: %v: %v, want what the program prints", err, last)
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		output, err := cluster.Exec(ctx, config, "default", "cart", "hello there\n", "/program", "print")
		last = fmt.Errorf("got %q, %w", output, err)
		return output == "hello there\n", err // once in a while containerd 1.6 loses what a command prints
	})
	if err != nil {
		t.Errorf("running a command: %v: %v, want what it prints", err, last)
	}
}

func imageOf(t *testing.T, build func(ctx context.Context, dir string) (string, error)) v1.Image {
	t.Helper()
	program, err := build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	image, err := images.New(images.Options{Program: program, Label: "node"})
	if err != nil {
		t.Fatal(err)
	}
	return image
}
