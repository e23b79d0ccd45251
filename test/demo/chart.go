package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/admission/audit/report/reporttest"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/installation"
	"github.com/portcullis-dev/portcullis/test/kubelet"
)

// further is what the installation has besides the shop: an account for people.
const further = `
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: operator, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: operator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: operator, namespace: default}]
`

// chartDoor is the API server of a cluster with the chart installed.
type chartDoor struct {
	*apiServer
	here  *installation.Installation
	scene *incident
}

// startInstalled starts Vault and the control plane, and installs the chart with all components.
func startInstalled(ctx context.Context, dir string, policies policies, progress io.Writer) (_ *chartDoor, err error) {
	d := &chartDoor{apiServer: &apiServer{registry: policies.registry, dir: dir, policies: policies}, scene: &incident{dir: dir, warnings: &warnings{}, node: kubelet.NodeName}}
	d.scene.vault = &vaultScene{incident: d.scene}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.stop())
		}
	}()
	if err := d.scene.vault.startVault(ctx); err != nil {
		return nil, fmt.Errorf("starting Vault: %w", err)
	}
	options := installation.Options{
		Dir: dir, Programs: dir, Progress: progress,
		Components: []string{installation.Scanner, installation.Responder, installation.Secrets, installation.Console},
		// The chart names a repository of the database; the one here is a folder, as is where the scanner works: without the
		// walls of a container its child has those of this machine.
		Args: map[string][]string{installation.Scanner: {"--database=" + filepath.Join(dir, "database"), "--java-database="}},
	}
	if options.Values, err = d.values(); err != nil {
		return nil, err
	}
	if options.Before, err = d.before(); err != nil {
		return nil, err
	}
	if d.here, err = installation.Start(ctx, options); err != nil {
		return nil, err
	}
	d.control, d.scene.control = d.here.Control, d.here.Control
	if err := d.scene.connect(); err != nil {
		return nil, err
	}
	d.creator = d.scene.creator
	if d.scene.sender, err = senderOf(d.here.Senders, "system:node:"+kubelet.NodeName); err != nil {
		return nil, err
	}
	d.scene.sender.Transport.(*http.Transport).TLSClientConfig.RootCAs, err = pool(d.here.Serving.File)
	if err != nil {
		return nil, err
	}
	if err := d.scene.vault.prepare(ctx); err != nil {
		return nil, fmt.Errorf("preparing Vault: %w", err)
	}
	if err := d.grant(ctx); err != nil {
		return nil, fmt.Errorf("granting what the shop's secrets need: %w", err)
	}
	return d, d.waitUntilEffective(ctx)
}

// grant has the roles of the namespaces whose secrets are kept printed and applied: portcullis-secrets may do nothing else there.
func (d *chartDoor) grant(ctx context.Context) error {
	kubeconfig, err := d.control.Kubeconfig(cluster.Admin)
	if err != nil {
		return err
	}
	for _, namespace := range []string{sceneNamespace, "images"} {
		command := exec.CommandContext(ctx, filepath.Join(d.dir, "portcullis-secrets"), "roles", "--namespace="+namespace, "--kubeconfig="+kubeconfig)
		text, err := command.Output()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return fmt.Errorf("running portcullis-secrets roles: %w\n%s", err, exit.Stderr)
		}
		if err != nil {
			return err
		}
		objects, err := cluster.Parse(text)
		if err != nil {
			return err
		}
		if err := cluster.Apply(ctx, d.here.Config, objects); err != nil {
			return err
		}
	}
	return nil
}

// values are those of the chart: the demo's policies, and how its registry is reached.
func (d *chartDoor) values() (map[string]any, error) {
	text, err := os.ReadFile(filepath.Join(d.policies.bundle, "bundle.yaml"))
	if err != nil {
		return nil, err
	}
	var bundle map[string]any
	if err := yaml.Unmarshal(text, &bundle); err != nil {
		return nil, err
	}
	settings := map[string]any{}
	for _, key := range []string{"trust", "response", "profiles", "defaultProfile"} {
		settings[key] = bundle[key]
	}
	plain := []any{"--plain-http-registry=" + d.registry}
	return map[string]any{
		"bundle":        settings,
		"registries":    map[string]any{"allow": []any{d.registry}},
		"networkPolicy": map[string]any{"registries": []any{map[string]any{"cidr": "127.0.0.1/32", "ports": []any{443}}}}, // nobody enforces them here
		"webhook":       map[string]any{"extraArgs": plain, "queueScans": true},
		"controller":    map[string]any{"extraArgs": plain, "audit": map[string]any{"enabled": true}},
		"scanner":       map[string]any{"extraArgs": plain, "keySecret": "scanner-key"},
		"responder":     map[string]any{"extraArgs": plain},
		"secrets":       map[string]any{"extraArgs": plain},
	}, nil
}

// before are objects that are there before the chart.
func (d *chartDoor) before() ([]byte, error) {
	text, err := manifests.ReadFile("manifests/before.yaml")
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(filepath.Join(d.dir, "scanner.key"))
	if err != nil {
		return nil, err
	}
	secret, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "scanner-key", "namespace": installation.Namespace},
		"stringData": map[string]any{"cosign.key": string(key), "password": "demo"},
	})
	// A cluster has the definitions of reports from whoever shows them.
	return fmt.Appendf(text, "%s---\n%s\n---\n%s\n", further, reporttest.PolicyReport, secret), err
}

// epilogue shows that everything runs and does its work.
func (d *chartDoor) epilogue(ctx context.Context) (string, error) {
	out := &d.scene.out
	for _, show := range []struct {
		doing string
		do    func(context.Context) error
	}{
		{"listing what runs", d.showPods},
		{"syncing secrets", d.showSynced},
		{"reading reports", d.showReports},
		{"breaking out", d.showQuarantine},
		{"asking the console", d.showConsole},
	} {
		if err := show.do(ctx); err != nil {
			return out.String(), fmt.Errorf("%s: %w\n%s", show.doing, err, d.here.Logs(5))
		}
	}
	return out.String(), nil
}

func (d *chartDoor) showPods(ctx context.Context) error {
	list, err := d.here.Client.CoreV1().Pods(installation.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	d.scene.say("\nINSTALLED: kubectl --namespace %s get pods", installation.Namespace)
	table := tabwriter.NewWriter(&d.scene.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "  NAME\tSTATUS\tREADY")
	for _, pod := range list.Items {
		fmt.Fprintf(table, "  %s\t%s\t%t\n", pod.Name, pod.Status.Phase, len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].Ready)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	pods, err := d.scene.runningPods(ctx, 2)
	if err != nil {
		return fmt.Errorf("waiting for the two pods of the good deployment: %w", err)
	}
	d.scene.say("%d pods of %s/cart run", len(pods), sceneNamespace)
	return nil
}

func (d *chartDoor) showSynced(ctx context.Context) error {
	for _, name := range []string{"cart-api", "cart-database"} {
		found, err := d.scene.vault.secretIs(ctx, sceneNamespace, name, "synced", synced)
		if err != nil {
			return err
		}
		d.scene.say("Secret %s/%s is synced from Vault", sceneNamespace, found.Name)
	}
	return nil
}

// policyReports is where results of the audit are.
var policyReports = schema.GroupVersionResource{Group: "wgpolicyk8s.io", Version: "v1alpha2", Resource: "policyreports"}

func (d *chartDoor) showReports(ctx context.Context) error {
	var namespaces []string
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		list, err := d.here.Dynamic.Resource(policyReports).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		namespaces = nil
		for _, item := range list.Items {
			namespaces = append(namespaces, item.GetNamespace())
		}
		return len(namespaces) > 0, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the audit's reports: %w", err)
	}
	d.scene.say("Reports of what exists already: %s", strings.Join(namespaces, ", "))
	return nil
}

func (d *chartDoor) showQuarantine(ctx context.Context) error {
	pods, err := d.scene.runningPods(ctx, 2)
	if err != nil {
		return err
	}
	names, err := d.here.Pods(ctx, installation.Responder)
	if err != nil || len(names) == 0 {
		return errors.Join(errors.New("the responder has no pod"), err)
	}
	address, err := d.here.Address(names[0], "https")
	if err != nil {
		return err
	}
	d.scene.eventsURL = "https://" + strings.Replace(address, "127.0.0.1", "localhost", 1) + "/v1/falco"
	_, err = d.scene.report(ctx, &pods[0])
	return err
}

// showConsole asks for the page where one logs in.
func (d *chartDoor) showConsole(ctx context.Context) error {
	address, err := d.console(ctx)
	if err != nil {
		return err
	}
	roots, err := pool(d.here.Serving.File)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(page), "<html") {
		return fmt.Errorf("%s answers %s: %w", address, response.Status, errors.Join(errors.New("this is not its page"), err))
	}
	d.scene.say("\nThe console answers at %s", address)
	return nil
}

func (d *chartDoor) console(ctx context.Context) (string, error) {
	names, err := d.here.Pods(ctx, installation.Console)
	if err != nil || len(names) == 0 {
		return "", errors.Join(errors.New("the console has no pod"), err)
	}
	address, err := d.here.Address(names[0], "https")
	return "https://" + strings.Replace(address, "127.0.0.1", "localhost", 1) + "/", err
}

// pool are the authorities of a file.
func pool(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("reading %s: it has no certificate", file)
	}
	return roots, nil
}

// goOn says how to play with it.
func (d *chartDoor) goOn(manifests string) (string, error) {
	ctx := context.Background()
	kubeconfig, err := d.control.Kubeconfig(cluster.Admin)
	if err != nil {
		return "", err
	}
	console, err := d.console(ctx)
	if err != nil {
		return "", err
	}
	event, err := d.writeEvent(ctx)
	if err != nil {
		return "", err
	}
	vault := d.scene.vault.server
	return strings.NewReplacer(
		"KUBECONFIG-FILE", kubeconfig, "CONSOLE", console, "MANIFESTS", manifests, "BIN", d.dir, "EVENT", event,
		"VAULT-ADDRESS", vault.Address(), "VAULT-CA", filepath.Join(d.dir, "vault-ca.crt"), "VAULT-TOKEN", vault.RootToken(), "LOGS", filepath.Join(d.dir, "node", "logs", installation.Namespace),
	).Replace(usage), os.WriteFile(filepath.Join(d.dir, "vault-ca.crt"), vault.CA(), 0o644)
}

// usage is what can be done with a cluster that goes on running.
const usage = `The cluster goes on running until you press Ctrl-C. In another terminal:

  export KUBECONFIG=KUBECONFIG-FILE PATH=BIN:$PATH

What runs, and what is refused:
  kubectl --namespace portcullis-system get pods
  kubectl apply -f MANIFESTS/privileged-pod.yaml
  kubectl get validatingwebhookconfigurations,policyreports,quarantines,vaultsecrets --all-namespaces
  portcullis audit --kubeconfig KUBECONFIG-FILE --namespace shop

The console, whose certificate no browser knows: CONSOLE
  kubectl create token operator --duration 8h        # what to log in with

A reverse shell, as Falco would report it, in the pod that runs now:
  EVENT
  kubectl get quarantines
  portcullis quarantine release NAME --reason "it was a drill"

A secret that changes in Vault:
  export VAULT_ADDR=VAULT-ADDRESS VAULT_CACERT=VAULT-CA VAULT_TOKEN=VAULT-TOKEN
  vault kv put secret/shop/api key=another && kubectl --namespace shop get secret cart-api --watch

Logs: kubectl --namespace portcullis-system logs NAME, or LOGS
`

// writeEvent writes an event about a pod that runs, and gives the command that sends it.
func (d *chartDoor) writeEvent(ctx context.Context) (string, error) {
	pods, err := d.here.Client.CoreV1().Pods(sceneNamespace).List(ctx, metav1.ListOptions{LabelSelector: sceneLabel})
	if err != nil {
		return "", err
	}
	var victim *corev1.Pod
	for n := range pods.Items {
		if pod := &pods.Items[n]; pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			victim = pod
		}
	}
	if victim == nil {
		return "", errors.New("no pod of the deployment runs")
	}
	content, err := json.Marshal(reverseShell(victim, kubelet.NodeName))
	if err != nil {
		return "", err
	}
	file := filepath.Join(d.dir, "event.json")
	if err := os.WriteFile(file, content, 0o644); err != nil {
		return "", err
	}
	pair, err := d.here.Senders.Issue("system:node:" + kubelet.NodeName)
	if err != nil {
		return "", err
	}
	sender := filepath.Join(d.dir, "sender") // curl takes what follows a colon for a password
	for from, to := range map[string]string{pair.CertFile: sender + ".crt", pair.KeyFile: sender + ".key"} {
		if err := os.Rename(from, to); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("curl --cacert %s --cert %s.crt --key %s.key --header 'Content-Type: application/json' --data @%s %s", d.here.Serving.File, sender, sender, file, d.scene.eventsURL), nil
}

func (d *chartDoor) stop() error {
	var err error
	if d.here != nil {
		err = d.here.Stop()
	}
	return errors.Join(err, d.scene.vault.stop())
}
