package supportbundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	policiesv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	secretsv1alpha1 "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// canary is what must be in no file: each place has its own, so that a failure says which one leaks.
func canary(place string) string { return "canary-" + place + "-4f1d9a7c2e" }

var places = []string{"secret", "stringdata", "env", "plainenv", "templateenv", "annotation", "applied", "args", "logpassword", "logbearer", "logjson", "logenv", "metrics", "readyz", "event", "configmap", "status"}

const objects = `apiVersion: v1
kind: Namespace
metadata: {name: portcullis-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: portcullis-system}
---
apiVersion: v1
kind: Secret
metadata: {name: db, namespace: portcullis-system, annotations: {note: CANARY-secret}}
stringData: {password: CANARY-stringdata, other: CANARY-secret}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: app, namespace: portcullis-system}
data: {config: CANARY-configmap}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: portcullis-webhook, namespace: portcullis-system}
spec:
  selector: {matchLabels: {app: webhook}}
  template:
    metadata: {labels: {app: webhook}}
    spec:
      containers: [{name: portcullis-webhook, image: "ghcr.io/acme/portcullis-webhook:1", env: [{name: API_TOKEN, value: CANARY-templateenv}]}]
---
apiVersion: v1
kind: Pod
metadata:
  name: portcullis-webhook-0
  namespace: portcullis-system
  annotations: {example.com/token: CANARY-annotation, kubectl.kubernetes.io/last-applied-configuration: '{"x":"CANARY-applied"}'}
spec:
  nodeName: node-1
  containers:
  - name: portcullis-webhook
    image: ghcr.io/acme/portcullis-webhook:1
    args: ["--probes=:PORT", --registry-password, CANARY-args]
    env: [{name: DB_PASSWORD, value: CANARY-env}, {name: COLOUR, value: CANARY-plainenv}, {name: SESSION_TOKEN, value: CANARY-logenv}]
---
apiVersion: v1
kind: Event
metadata: {name: e1, namespace: portcullis-system}
involvedObject: {kind: Pod, namespace: portcullis-system, name: portcullis-webhook-0}
message: "cannot log in: token=CANARY-event"
---
apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultConnection
metadata: {name: main}
spec: {address: "https://vault.example.com:8200"}
`

// TestNoSecretIsInABundle puts values that can be recognised wherever credentials are found in a cluster, and looks for them in the archive.
func TestNoSecretIsInABundle(t *testing.T) {
	host := address(t)
	probes := listen(t, host, false, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics":
			fmt.Fprintf(w, "portcullis_build_info{version=\"devel\"} 1\n# password=%s\n", canary("metrics"))
		case "/readyz":
			fmt.Fprintf(w, "[!] vault: Authorization: Bearer %s\n", canary("readyz"))
		}
	})
	kubelet := listen(t, host, true, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/containerLogs/portcullis-system/portcullis-webhook-0/") {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, "serving\nlogin failed: password=%s\n", canary("logpassword"))
		fmt.Fprintf(w, "GET /x Authorization: Bearer %s\n{\"level\":\"INFO\",\"apiKey\":\"%s\"}\nusing %s now\n", canary("logbearer"), canary("logjson"), canary("logenv"))
	})
	manifest := strings.NewReplacer("PORT", strconv.Itoa(probes)).Replace(objects)
	for _, place := range places {
		manifest = strings.ReplaceAll(manifest, "CANARY-"+place, canary(place))
	}
	control, client, _ := clustertest.Start(t, []cluster.User{{Name: "bob"}}, policiesv1alpha1.Manifest, secretsv1alpha1.Manifest)
	clustertest.Serving(t, client, policiesv1alpha1.Bundles, secretsv1alpha1.VaultConnections)
	config, err := control.Config(cluster.Admin)
	must(t, err)
	creator, err := cluster.NewCreator(config)
	must(t, err)
	if _, err := creator.Create(t.Context(), []byte(manifest), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	typed, err := control.Client(cluster.Admin)
	must(t, err)
	node, err := typed.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}, metav1.CreateOptions{})
	must(t, err)
	node.Status = corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}}, DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(kubelet)}}}
	_, err = typed.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{})
	must(t, err)
	pod, err := typed.CoreV1().Pods("portcullis-system").Get(t.Context(), "portcullis-webhook-0", metav1.GetOptions{})
	must(t, err)
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: host, PodIPs: []corev1.PodIP{{IP: host}}, ContainerStatuses: []corev1.ContainerStatus{{Name: "portcullis-webhook", RestartCount: 1, Image: "x", ImageID: "x"}}}
	pod.Status.Message = "secret: " + canary("status")
	_, err = typed.CoreV1().Pods("portcullis-system").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	must(t, err)

	at, err := installation.Open(config, "portcullis-system", time.Now)
	must(t, err)
	extra := []File{{Name: "doctor.txt", About: "what the doctor says", Content: []byte("password=" + canary("env") + "\n")}}
	bundle, err := Gather(t.Context(), at, Options{Since: time.Hour, Version: "devel", Extra: extra})
	must(t, err)
	var packed bytes.Buffer
	must(t, bundle.Write(&packed, "support", time.Unix(1, 0)))
	files := unpack(t, packed.Bytes())

	t.Run("no canary is in any file", func(t *testing.T) {
		for name, content := range files {
			for _, place := range places {
				if strings.Contains(content, canary(place)) {
					t.Errorf("%s holds the canary of %s", name, place)
				}
			}
		}
	})
	t.Run("what helps is inside", func(t *testing.T) {
		for name, want := range map[string]string{
			"support/index.json": `"what": "Secrets"`,
			"support/pods/portcullis-webhook-0/portcullis-webhook.log":          "login failed: password=[redacted]",
			"support/pods/portcullis-webhook-0/portcullis-webhook.previous.log": "serving",
			"support/pods/portcullis-webhook-0/metrics.txt":                     `portcullis_build_info{version="devel"} 1`,
			"support/pods/portcullis-webhook-0/readyz.txt":                      "[!] vault",
			"support/namespace/pods.json":                                       `"name": "DB_PASSWORD"`,
			"support/namespace/events.json":                                     "cannot log in",
			"support/namespace/deployments.apps.json":                           "ghcr.io/acme/portcullis-webhook:1",
			"support/cluster/vaultconnections.secrets.portcullis.dev.json":      "https://vault.example.com:8200",
			"support/cluster/policybundles.policy.portcullis.dev.json":          `"items"`,
			"support/doctor.txt":                                                "password=[redacted]",
			"support/version.json":                                              "gitVersion",
		} {
			if !strings.Contains(files[name], want) {
				t.Errorf("%s: got no %q in %.600s", name, want, files[name])
			}
		}
	})
	t.Run("what could not be had is said to be left out", func(t *testing.T) {
		var index struct {
			LeftOut []LeftOut `json:"leftOut"`
		}
		must(t, json.Unmarshal([]byte(files["support/index.json"]), &index))
		want := LeftOut{"cluster/quarantines.runtime.portcullis.dev.json", "the cluster does not have it"}
		if !slices.Contains(index.LeftOut, want) {
			t.Errorf("got %+v, want %+v among them", index.LeftOut, want)
		}
	})
	t.Run("the same installation gives the same files in the same order", func(t *testing.T) {
		again, err := Gather(t.Context(), at, Options{Since: time.Hour, Version: "devel", Extra: extra})
		must(t, err)
		if !slices.EqualFunc(bundle.Files, again.Files, func(a, b File) bool { return a.Name == b.Name }) || !slices.IsSortedFunc(again.Files[1:], byName) {
			t.Errorf("got other names, or no order: %v", names(again.Files))
		}
	})
	t.Run("the plan has the names of what is taken", func(t *testing.T) {
		planned, _, err := Plan(t.Context(), at, Options{Extra: extra})
		must(t, err)
		for _, file := range bundle.Files[1:] {
			if !slices.Contains(names(planned), file.Name) {
				t.Errorf("%s is taken, and not planned", file.Name)
			}
		}
	})
	t.Run("whoever may nothing gets a bundle that says so", func(t *testing.T) {
		config, err := control.Config("bob")
		must(t, err)
		at, err := installation.Open(config, "portcullis-system", time.Now)
		must(t, err)
		bundle, err := Gather(t.Context(), at, Options{Since: time.Hour})
		must(t, err)
		if got := fmt.Sprint(bundle.LeftOut); !strings.Contains(got, "{logs and metrics of pods you may not read it") {
			t.Errorf("got %s", got)
		}
	})
}

func names(files []File) []string {
	var all []string
	for _, file := range files {
		all = append(all, file.Name)
	}
	return all
}

// unpack reads an archive, and holds it to its modes.
func unpack(t *testing.T, packed []byte) map[string]string {
	t.Helper()
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	must(t, err)
	files := map[string]string{}
	for archive := tar.NewReader(plain); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		must(t, err)
		content, err := io.ReadAll(archive)
		must(t, err)
		if header.Mode != 0o600 {
			t.Errorf("%s has the mode %o, want 600", header.Name, header.Mode)
		}
		files[header.Name] = string(content)
	}
}

// listen serves on an address of this machine until the test ends, and gives the port.
func listen(t *testing.T, host string, secured bool, handler http.HandlerFunc) int {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	must(t, err)
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
	if secured {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return listener.Addr().(*net.TCPAddr).Port
}

// address is one of this machine that is no loopback: the API server connects to no pod or node there.
func address(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	must(t, err)
	for _, one := range all {
		if network, ok := one.(*net.IPNet); ok && network.IP.To4() != nil && network.IP.IsGlobalUnicast() {
			return network.IP.String()
		}
	}
	t.Skip("this machine has only loopback addresses")
	return ""
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
