// Package e2e holds the end-to-end tests: the real programs against a real
// Kubernetes API server (package test/cluster). It has only tests.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// users may log in beside cluster.Admin; testdata/before.yaml gives them their rights.
var users = []cluster.User{
	{Name: "dev", Groups: []string{"developers", "debuggers"}},
	{Name: "intern", Groups: []string{"developers"}},
	{Name: "tenant"}, {Name: "rolemaker"}, {Name: webhookUser},
}

// environment is what most tests share: a cluster with two replicas of the webhook.
type environment struct {
	control                               *cluster.Cluster
	admin, dev, intern, tenant, rolemaker kubernetes.Interface
	creator                               *cluster.Creator
	// library is the webhook with the built-in policies, own one with testdata/bundle.
	library, own *installation
}

var (
	built     string       // the folder of the built programs
	ownBundle string       // the folder that writeOwnBundle wrote
	shared    *environment // what most tests use
)

// TestMain builds the programs and starts the shared cluster before any test's time
// runs: the first build of the control plane takes longer than go test waits.
func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Fprintln(os.Stderr, "skipping the end-to-end tests because of -short")
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "portcullis-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "making a folder for the end-to-end tests:", err)
		return 1
	}
	built = dir
	if err := programs.Build(ctx, built, "portcullis-webhook"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if ownBundle, err = writeOwnBundle(filepath.Join(dir, "bundle")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if shared, err = startEnvironment(ctx, filepath.Join(dir, "shared")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	err = shared.stop()
	if code != 0 || err != nil {
		fmt.Fprintln(os.Stderr, "logs of the control plane and the webhook are kept in", dir, err)
		return max(code, 1)
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "removing the folder of the end-to-end tests:", err)
		return 1
	}
	return 0
}

// startEnvironment starts a cluster with two webhooks in front of it: the library
// with the restricted profile, as two replicas, and the bundle of testdata.
func startEnvironment(ctx context.Context, dir string) (*environment, error) {
	env, err := startCluster(ctx, cluster.Options{Dir: dir})
	if err == nil {
		err = env.installWebhooks(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the end-to-end tests: %w", err), env.stop())
	}
	return env, nil
}

// startCluster starts a cluster and puts into it what is there before Portcullis comes.
func startCluster(ctx context.Context, options cluster.Options) (*environment, error) {
	options.Users = append(slices.Clone(users), options.Users...)
	env := &environment{}
	var err error
	if env.control, err = cluster.Start(ctx, options); err != nil {
		return env, err
	}
	for user, client := range map[string]*kubernetes.Interface{
		cluster.Admin: &env.admin, "dev": &env.dev, "intern": &env.intern, "tenant": &env.tenant, "rolemaker": &env.rolemaker,
	} {
		if *client, err = env.control.Client(user); err != nil {
			return env, err
		}
	}
	config, err := env.control.Config(cluster.Admin)
	if err != nil {
		return env, err
	}
	if env.creator, err = cluster.NewCreator(config); err != nil {
		return env, err
	}
	before, err := os.ReadFile("testdata/before.yaml")
	if err != nil {
		return env, err
	}
	if _, err := env.creator.Create(ctx, before, metav1.CreateOptions{}); err != nil {
		return env, fmt.Errorf("preparing the cluster from testdata/before.yaml: %w", err)
	}
	return env, grantReads(ctx, env.admin)
}

// startAlone starts a cluster for one test that does to it what others would not survive.
func startAlone(t *testing.T, options cluster.Options) *environment {
	t.Helper()
	options.Dir = t.TempDir()
	env, err := startCluster(t.Context(), options)
	t.Cleanup(func() {
		if err := env.stop(); err != nil {
			t.Error(err)
		}
	})
	must(t, err)
	return env
}

func (env *environment) installWebhooks(ctx context.Context) error {
	var err error
	env.library, err = newInstallation(ctx, env, installOptions{name: "portcullis", profile: "restricted", replicas: 2})
	if err != nil {
		return err
	}
	env.own, err = newInstallation(ctx, env, installOptions{name: "portcullis-e2e", bundle: ownBundle, replicas: 1})
	if err != nil {
		return err
	}
	for _, installed := range []*installation{env.library, env.own} {
		if err := installed.install(ctx); err != nil {
			return err
		}
	}
	return env.waitUntilEffective(ctx)
}

// waitUntilEffective waits until the API server, which learns of a configuration a
// moment after it is stored, asks both webhooks: it denies what policies deny, and
// what it admits comes back patched.
func (env *environment) waitUntilEffective(ctx context.Context) error {
	denied, patched := &corev1.Pod{}, &corev1.Pod{}
	if err := errors.Join(yaml.Unmarshal([]byte(goodPod), denied), yaml.Unmarshal([]byte(goodPod), patched)); err != nil {
		return err
	}
	privileged(denied)
	patched.Spec.AutomountServiceAccountToken = nil
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	var missing error
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := env.dev.CoreV1().Pods("team").Create(ctx, denied, dryRun)
		if err == nil || !strings.Contains(err.Error(), "pods/privileged") {
			missing = fmt.Errorf("a privileged pod is not denied yet: %w", err)
			return false, nil
		}
		pod, err := env.dev.CoreV1().Pods("team").Create(ctx, patched, dryRun)
		if err != nil || pod.Spec.AutomountServiceAccountToken == nil {
			missing = fmt.Errorf("a pod is not patched yet: %w", err)
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the webhook to be asked: %w: %w", err, missing)
	}
	return nil
}

func (env *environment) stop() error {
	var problems []error
	for _, installed := range []*installation{env.library, env.own} {
		if installed != nil {
			problems = append(problems, installed.stop())
		}
	}
	if env.control != nil {
		problems = append(problems, env.control.Stop())
	}
	return errors.Join(problems...)
}
