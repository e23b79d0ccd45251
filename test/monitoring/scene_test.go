package monitoring

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/pki"
	"github.com/portcullis-dev/portcullis/test/process"
	"github.com/portcullis-dev/portcullis/test/programs"
)

const definitionsDir = "../../charts/portcullis/files/definitions"

// metric is a line of a program's catalog.
type metric struct {
	Name   string            `json:"name"`
	Help   string            `json:"help"`
	Labels []string          `json:"labels"`
	Bounds map[string]string `json:"bounds"`
	Type   string            `json:"type"`
	Series int               `json:"series"`
}

// scene is a real API server, our programs beside it, and a Prometheus that reads them.
type scene struct {
	dir        string
	programs   string // where they are
	kubeconfig string
	authority  *pki.Authority
	serving    pki.Pair
	probes     map[string]string // by program
	reviews    string
	catalogs   map[string][]metric // by program
	texts      map[string]string   // what each exposes
	prometheus string              // the address, "" where it is not installed
}

// patience is for a machine that does much else.
const patience = 3 * time.Minute

var client = &http.Client{Timeout: 10 * time.Second}

var built = flag.String("programs", "", "`folder` with programs that were built before, to save building them")

// shared is the scene of this package's tests: it starts once.
var shared struct {
	sync.Once
	scene *scene
	stop  []func()
	err   string
}

func TestMain(m *testing.M) {
	code := m.Run()
	for n := len(shared.stop) - 1; n >= 0; n-- {
		shared.stop[n]()
	}
	os.Exit(code)
}

// open gives the scene.
func open(t *testing.T) *scene {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts an API server and all programs")
	}
	shared.Do(func() {
		shared.err = "it was given up: see the first test that failed"
		shared.scene = newScene(t)
		shared.err = ""
	})
	if shared.err != "" {
		t.Fatalf("starting the programs: %s", shared.err)
	}
	return shared.scene
}

func newScene(t *testing.T) *scene {
	t.Helper()
	dir, err := os.MkdirTemp("", "portcullis-monitoring")
	must(t, err)
	shared.stop = append(shared.stop, func() { _ = os.RemoveAll(dir) })
	s := &scene{dir: dir, probes: map[string]string{}, catalogs: map[string][]metric{}, texts: map[string]string{}}
	names := []string{"portcullis-webhook", "portcullis-controller", "portcullis-scanner", "portcullis-responder", "portcullis-secrets"}
	if s.programs = *built; s.programs == "" {
		s.programs = dir
		must(t, programs.Build(t.Context(), dir, names...))
	}
	s.cluster(t)
	s.authority, err = pki.NewAuthority(dir, "authority")
	must(t, err)
	s.serving, err = s.authority.Issue("serving")
	must(t, err)
	for _, name := range names {
		s.start(t, name)
	}
	s.prometheusStarts(t)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cluster starts an API server with our custom resources. It outlives the test that asks for it first.
func (s *scene) cluster(t *testing.T) {
	t.Helper()
	control, err := cluster.Start(context.WithoutCancel(t.Context()), cluster.Options{Dir: filepath.Join(s.dir, "cluster"), WithoutControllers: true})
	must(t, err)
	shared.stop = append(shared.stop, func() { _ = control.Stop() })
	config, err := control.Config(cluster.Admin)
	must(t, err)
	creator, err := cluster.NewCreator(config)
	must(t, err)
	files, err := filepath.Glob(filepath.Join(definitionsDir, "*.yaml"))
	must(t, err)
	manifests := [][]byte{[]byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: portcullis-system}\n")}
	for _, file := range files {
		content, err := os.ReadFile(file)
		must(t, err)
		manifests = append(manifests, content)
	}
	for _, manifest := range manifests {
		_, err := creator.Create(t.Context(), manifest, metav1.CreateOptions{})
		must(t, err)
	}
	s.kubeconfig, err = control.Kubeconfig(cluster.Admin)
	must(t, err)
}

func address(t *testing.T) string {
	t.Helper()
	port, err := cluster.FreePort()
	must(t, err)
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// start starts a program with all of its parts that have metrics on.
func (s *scene) start(t *testing.T, name string) {
	t.Helper()
	probes, own := address(t), filepath.Join(s.dir, name+".d")
	must(t, os.MkdirAll(own, 0o700))
	s.probes[name] = probes
	args := []string{"--probes=" + probes, "--kubeconfig=" + s.kubeconfig}
	replica := []string{"--namespace=portcullis-system", "--name=one"}
	journal := "--journal=" + filepath.Join(own, "journal")
	switch name {
	case "portcullis-webhook":
		listen := address(t)
		s.reviews = "https://" + listen
		args = append(args, "--listen="+listen, "--tls-cert="+s.serving.CertFile, "--tls-key="+s.serving.KeyFile, "--caller=open", "--bundle=cluster",
			journal, "--drain-delay=0s", "--drain-grace=1s", "--otlp-endpoint=http://127.0.0.1:9", "--events")
	case "portcullis-controller":
		args = append(append([]string{"serve"}, args...), append(replica, journal, "--webhook-service=portcullis-system/portcullis-webhook", "--audit", "--audit-rescan")...)
	case "portcullis-scanner":
		registry := s.silent(t)
		args = append(append([]string{"serve"}, args...), "--name=one", "--work-dir="+own, "--allow-registry="+registry, "--key="+signingKey(t, own), "--database="+registry+"/database:2", "--java-database=")
	case "portcullis-responder":
		args = append(append([]string{"serve"}, args...), append(replica, journal, "--listen="+address(t), "--tls-cert="+s.serving.CertFile, "--tls-key="+s.serving.KeyFile,
			"--client-ca="+s.authority.File, "--spool="+filepath.Join(own, "spool"), "--drain-delay=0s", "--drain-grace=1s")...)
	case "portcullis-secrets":
		args = append(append([]string{"serve"}, args...), append(replica, journal)...)
	}
	running, err := process.Start(process.Command{Name: name, Path: filepath.Join(s.programs, name), Args: args, LogFile: filepath.Join(s.dir, name+".log")})
	must(t, err)
	shared.stop = append(shared.stop, func() { _ = running.Stop() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, running.WaitUntil(ctx, func(ctx context.Context) error {
		return errors.Join(s.read(ctx, name, "?catalog"), s.read(ctx, name, ""))
	}))
}

// signingKey makes a key for scans, as PKCS #8.
func signingKey(t *testing.T, dir string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	file := filepath.Join(dir, "scans.key")
	must(t, pki.WritePEM(file, "PRIVATE KEY", der))
	return file
}

// silent is a registry that takes calls and says nothing: the scanner waits there for its first database, and serves metrics meanwhile.
// It gives up after a while: what it exposes is read when it starts.
func (s *scene) silent(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	shared.stop = append(shared.stop, func() { _ = listener.Close() })
	return listener.Addr().String()
}

// read asks a program for its catalog or its metrics.
func (s *scene) read(ctx context.Context, name, query string) error {
	content, err := get(ctx, "http://"+s.probes[name]+"/metrics"+query)
	switch {
	case err != nil:
		return err
	case query == "":
		s.texts[name] = string(content)
		return nil
	}
	var all []metric
	if err := json.Unmarshal(content, &all); err != nil {
		return err
	}
	s.catalogs[name] = all
	return nil
}

func get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: HTTP %d: %.300s", address, response.StatusCode, content)
	}
	return content, err
}

// traceID is that of the request that is sent: an example of the specification (https://www.w3.org/TR/trace-context/).
const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

// review sends the webhook a request of a traced API server.
func (s *scene) review(t *testing.T) {
	t.Helper()
	pool := x509.NewCertPool()
	content, err := os.ReadFile(s.authority.File)
	must(t, err)
	pool.AppendCertsFromPEM(content)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","kind":{"version":"v1","kind":"ConfigMap"},"resource":{"version":"v1","resource":"configmaps"},
		"operation":"CREATE","namespace":"default","name":"a","userInfo":{"username":"u"},"object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"default"}}}}`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.reviews+"/validate?timeout=5s", strings.NewReader(body))
	must(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Traceparent", "00-"+traceID+"-00f067aa0ba902b7-01")
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	must(t, err)
	answer, err := io.ReadAll(response.Body)
	must(t, err)
	must(t, response.Body.Close())
	if response.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"uid":"1"`)) {
		t.Fatalf("HTTP %d: %s", response.StatusCode, answer)
	}
}

// prometheusStarts starts a Prometheus, where it is installed, that reads the programs and evaluates the alerts every second.
func (s *scene) prometheusStarts(t *testing.T) {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		return
	}
	_, files := rules(t)
	var config strings.Builder
	fmt.Fprintf(&config, "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%s]\nscrape_configs:\n", strings.Join(files, ", "))
	for _, name := range sortedKeys(s.probes) {
		fmt.Fprintf(&config, "  - {job_name: %s, static_configs: [{targets: [%q]}]}\n", name, s.probes[name])
	}
	file := filepath.Join(s.dir, "prometheus.yaml")
	must(t, os.WriteFile(file, []byte(config.String()), 0o600))
	listen := address(t)
	running, err := process.Start(process.Command{
		Name: "prometheus", Path: path, LogFile: filepath.Join(s.dir, "prometheus.log"),
		Args: []string{"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(s.dir, "tsdb"), "--web.listen-address=" + listen, "--enable-feature=exemplar-storage"},
	})
	must(t, err)
	shared.stop = append(shared.stop, func() { _ = running.Stop() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, running.WaitUntil(ctx, func(ctx context.Context) error {
		_, err := get(ctx, "http://"+listen+"/-/ready")
		return err
	}))
	s.prometheus = "http://" + listen
}

// ask gives the data of an answer of Prometheus' API.
func (s *scene) ask(ctx context.Context, path string, query url.Values, into any) error {
	content, err := get(ctx, s.prometheus+"/api/v1/"+path+"?"+query.Encode())
	if err != nil {
		return err
	}
	var answer struct {
		Status string          `json:"status"`
		Error  string          `json:"error"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(content, &answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", query, answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}
