package chart

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/process"
	"github.com/portcullis-dev/portcullis/test/programs"
)

// installation is the chart as rendered by default, with its programs as processes: with the arguments of its pods, the
// files that pods have mounted, and the rights of its service accounts.
type installation struct {
	*environment
	client kubernetes.Interface
	dir    string
	// address is one of this machine that is not loopback: an EndpointSlice may hold no other.
	address string
}

// TestTheInstalledChartRefusesABadPod goes the way of a first installation: no certificate and no configuration is there
// before the programs run, and nobody helps them.
func TestTheInstalledChartRefusesABadPod(t *testing.T) {
	if testing.Short() {
		t.Skip("a control plane takes seconds to start")
	}
	address := hostAddress(t)
	ctx := t.Context()
	i := &installation{environment: &environment{}, dir: t.TempDir(), address: address}
	if err := programs.Build(ctx, i.dir, "portcullis-webhook", "portcullis-controller"); err != nil {
		t.Fatal(err)
	}
	var err error
	i.control, err = cluster.Start(ctx, cluster.Options{Dir: filepath.Join(i.dir, "cluster"), APIServerFlags: []string{"--enable-aggregator-routing=true"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.control.Stop(); err != nil {
			t.Error(err)
		}
	})
	i.install(t)

	i.run(t, "controller", nil)
	eventually(t, "the controller makes the webhook's certificate", func() error { return i.certificate(ctx) })
	port := i.run(t, "webhook", map[string]string{"--listen": ":" + i.port(t)})
	i.endpoint(t, port)

	bad := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "bad", Namespace: "shop"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx", SecurityContext: &corev1.SecurityContext{Privileged: new(true)}}}},
	}
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	eventually(t, "a bad pod is refused", func() error {
		_, err := i.client.CoreV1().Pods("shop").Create(ctx, bad.DeepCopy(), dry)
		if err == nil || !strings.Contains(err.Error(), "pods/privileged") {
			return fmt.Errorf("got %w", errors.Join(errors.New("no refusal by pods/privileged"), err))
		}
		return nil
	})
	good := bad.DeepCopy()
	good.Name, good.Spec.Containers[0].SecurityContext = "good", nil
	if _, err := i.client.CoreV1().Pods("shop").Create(ctx, good, dry); err != nil {
		t.Errorf("a good pod: %v", err)
	}
	// An upgrade: what the chart has is applied again, under its own policies.
	if err := cluster.Apply(ctx, i.config, i.objects); err != nil {
		t.Errorf("applying the chart again: %v", err)
	}
	i.uninstall(t)
	if _, err := i.client.CoreV1().Pods("shop").Create(ctx, bad, dry); err != nil {
		t.Errorf("after the uninstall hook nobody is asked any more, and got %v", err)
	}
}

// install applies what is there before, and the default render.
func (i *installation) install(t *testing.T) {
	t.Helper()
	var err error
	if i.config, err = i.control.Config(cluster.Admin); err != nil {
		t.Fatal(err)
	}
	i.config.QPS, i.config.Burst = 200, 400
	if i.client, err = kubernetes.NewForConfig(i.config); err != nil {
		t.Fatal(err)
	}
	rendered, err := Render(profiles["default"])
	if err != nil {
		t.Fatal(err)
	}
	if i.objects, err = cluster.Parse([]byte(rendered.Manifest)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/before.yaml")
	if err != nil {
		t.Fatal(err)
	}
	first, err := cluster.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Apply(t.Context(), i.config, slices.Concat(first, i.objects)); err != nil {
		t.Fatal(err)
	}
	i.write(t, "bundle/bundle.yaml", configMap(t, rendered.Manifest, "portcullis-bundle", "bundle.yaml"))
	i.write(t, "secret-path/path", strings.Repeat("a1", 24))
	if err := os.MkdirAll(filepath.Join(i.dir, "journal"), 0o700); err != nil {
		t.Fatal(err)
	}
}

func (i *installation) write(t *testing.T, name, content string) {
	t.Helper()
	file := filepath.Join(i.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// arguments are those of a pod, with the files at their places here.
func (i *installation) arguments(t *testing.T, component string) []string {
	t.Helper()
	for _, object := range i.objects {
		if object.GetKind() != "Deployment" || object.GetName() != "portcullis-"+component {
			continue
		}
		containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		args, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
		for n, arg := range args {
			if flag, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(value, "/") {
				args[n] = flag + "=" + i.dir + value
			}
		}
		return args
	}
	t.Fatalf("the chart has no Deployment of %s", component)
	return nil
}

// kubeconfig has a token of the component's service account, as its pod has.
func (i *installation) kubeconfig(t *testing.T, component string) string {
	t.Helper()
	token, err := i.client.CoreV1().ServiceAccounts("portcullis-system").CreateToken(t.Context(), "portcullis-"+component, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: i.control.URL, CertificateAuthority: i.control.CAFile}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	file := filepath.Join(i.dir, component+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

func (i *installation) port(t *testing.T) string {
	t.Helper()
	port, err := cluster.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(port)
}

// run starts a component and waits until it is ready; it returns the address that it listens on.
func (i *installation) run(t *testing.T, component string, instead map[string]string) string {
	t.Helper()
	args := i.arguments(t, component)
	for n, arg := range args {
		if flag, _, _ := strings.Cut(arg, "="); instead[flag] != "" {
			args[n] = flag + "=" + instead[flag]
		}
	}
	probes := "127.0.0.1:" + i.port(t)
	args = append(args, "--probes="+probes, "--kubeconfig="+i.kubeconfig(t, component))
	if component == "controller" {
		args = append(args, "--namespace=portcullis-system")
	}
	running, err := process.Start(process.Command{Name: component, Path: filepath.Join(i.dir, "portcullis-"+component), Args: args, LogFile: filepath.Join(i.dir, component+".log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(running.LastLines(20))
		}
		if err := running.Stop(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client := &http.Client{Timeout: 2 * time.Second}
	err = running.WaitUntil(ctx, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+probes+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s is not ready: %s", component, response.Status)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return instead["--listen"]
}

// certificate puts the certificate that the controller made where the webhook's pod would have it.
func (i *installation) certificate(ctx context.Context) error {
	secret, err := i.client.CoreV1().Secrets("portcullis-system").Get(ctx, "portcullis-webhook-tls", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(i.dir, "tls"), 0o755); err != nil {
		return err
	}
	for key, value := range secret.Data {
		if err := os.WriteFile(filepath.Join(i.dir, "tls", key), value, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// endpoint is what the cluster would make of a ready pod.
func (i *installation) endpoint(t *testing.T, listen string) {
	t.Helper()
	var port int32
	if _, err := fmt.Sscanf(listen, ":%d", &port); err != nil {
		t.Fatal(err)
	}
	_, err := i.client.DiscoveryV1().EndpointSlices("portcullis-system").Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "portcullis-webhook-here", Labels: map[string]string{discoveryv1.LabelServiceName: "portcullis-webhook"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{i.address}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}}},
		Ports:       []discoveryv1.EndpointPort{{Name: new("https"), Port: new(port)}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// uninstall runs what the hook runs.
func (i *installation) uninstall(t *testing.T) {
	t.Helper()
	rendered, err := Render(profiles["default"])
	if err != nil {
		t.Fatal(err)
	}
	hooks, err := cluster.Parse([]byte(rendered.Hooks))
	if err != nil || len(hooks) != 1 {
		t.Fatalf("got %d hooks and %v, want one", len(hooks), err)
	}
	containers, _, _ := unstructured.NestedSlice(hooks[0].Object, "spec", "template", "spec", "containers")
	args, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
	running, err := process.Start(process.Command{
		Name: "uninstall", Path: filepath.Join(i.dir, "portcullis-controller"), Args: append(args, "--kubeconfig="+i.kubeconfig(t, "controller")), LogFile: filepath.Join(i.dir, "uninstall.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-running.Done():
	case <-time.After(2 * time.Minute):
		t.Fatal("the uninstall hook does not end")
	}
	if err := running.Err(); err != nil {
		t.Errorf("the uninstall hook: %v\n%s", err, running.LastLines(20))
	}
}

func hostAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.To4() != nil && !network.IP.IsLoopback() && !network.IP.IsLinkLocalUnicast() {
			return network.IP.String()
		}
	}
	t.Skip("this machine has only loopback, and an EndpointSlice may not hold that")
	return ""
}
