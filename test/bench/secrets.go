package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	testcluster "github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/programs"
	"github.com/portcullis-dev/portcullis/test/vaultserver"
)

const (
	// budgetKeeper is the resident memory of portcullis-secrets with 5,000 VaultSecrets.
	budgetKeeper = 150 << 20
	// keeperUser is the program's alone, so that its requests can be told from others in the audit log.
	keeperUser = "portcullis-secrets"
	// perNamespace is how many VaultSecrets share a namespace, and so a login at Vault.
	perNamespace = 100
	// creators is how many requests are made at once where many objects are.
	creators = 16
	// syncTime is what one VaultSecret may take of the first sync of all, beside settleTime: a VaultConnection without requestsPerSecond lets
	// 50 requests a second through.
	syncTime = 100 * time.Millisecond
)

const keepingObjects = `apiVersion: v1
kind: Namespace
metadata: {name: portcullis-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reviewer, namespace: portcullis-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reviewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:auth-delegator'}
subjects: [{kind: ServiceAccount, name: reviewer, namespace: portcullis-system}]
---
apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultConnection
metadata: {name: main}
spec: {address: '%s', caBundle: %s, allowedNamespaces: [%s]}
`

// namespaceObjects has one Deployment that uses the namespace's first VaultSecret of many.
const namespaceObjects = `apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: vault, namespace: %[1]s}
---
apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultAuth
metadata: {name: vault, namespace: %[1]s}
spec: {connection: main, kubernetes: {role: %[1]s, serviceAccount: vault}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: %[1]s}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers: [{name: app, image: 'ghcr.io/acme/app:1', envFrom: [{secretRef: {name: %[2]s}}]}]
`

const keptObject = `apiVersion: secrets.portcullis.dev/v1alpha1
kind: VaultSecret
metadata: {name: %[2]s, namespace: %[1]s}
spec: {auth: vault, source: {kv: {mount: secret, path: %[1]s/%[2]s}}, destination: {name: %[2]s}, rotation: {restart: Referencing}}
`

// keeping is a real Vault, a real API server, and portcullis-secrets between them.
type keeping struct {
	size       Size
	control    *testcluster.Cluster
	server     *vaultserver.Server
	keeper     *programs.Secrets
	options    programs.SecretsOptions
	kube       kubernetes.Interface
	objects    dynamic.Interface
	creator    *testcluster.Creator
	namespaces []string
	// passes and failed count over all starts.
	passes, failed, restarts int64
}

// secretRows measure how long secrets take from Vault into the cluster, and what many of them cost.
func secretRows(ctx context.Context, size Size, dir string) (rows []Row, err error) {
	k, err := newKeeping(ctx, size, filepath.Join(dir, "secrets"))
	if k != nil {
		defer func() { err = errors.Join(err, k.close()) }()
	}
	if err != nil {
		return nil, err
	}
	for _, measure := range []func(context.Context) ([]Row, error){k.firstRows, k.latencyRows, k.startRows, k.noneRows} {
		some, err := measure(ctx)
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

func newKeeping(ctx context.Context, size Size, dir string) (*keeping, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := programs.Build(ctx, dir, "portcullis-secrets"); err != nil {
		return nil, err
	}
	k := &keeping{size: size}
	for n := range max(1, size.Synced/perNamespace) {
		k.namespaces = append(k.namespaces, fmt.Sprintf("team-%02d", n))
	}
	var err error
	if k.server, err = vaultserver.Start(ctx, vaultserver.Options{Dir: filepath.Join(dir, "vault")}); err != nil {
		return nil, err
	}
	k.control, err = testcluster.Start(ctx, testcluster.Options{
		Dir: filepath.Join(dir, "cluster"), WithoutControllers: true, Users: []testcluster.User{{Name: keeperUser, Groups: []string{"system:masters"}}},
	})
	if err != nil {
		return k, err
	}
	k.options = programs.SecretsOptions{Dir: dir, Name: "secrets", Namespace: "portcullis-system", LogFile: filepath.Join(dir, "secrets.log")}
	if k.options.Kubeconfig, err = k.control.Kubeconfig(keeperUser); err != nil {
		return k, err
	}
	if err := k.fillCluster(ctx); err != nil {
		return k, err
	}
	return k, k.fillVault(ctx)
}

func (k *keeping) close() error {
	if k.keeper != nil {
		k.keeper.Kill()
	}
	err := k.server.Stop()
	if k.control != nil {
		err = errors.Join(err, k.control.Stop())
	}
	return err
}

func (k *keeping) fillCluster(ctx context.Context) error {
	config, err := k.control.Config(testcluster.Admin)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 500, 1000
	if k.kube, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if k.objects, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	ca, err := json.Marshal(string(k.server.CA())) // JSON is YAML
	if err != nil {
		return err
	}
	all := [][]byte{v1alpha1.Manifest, runtimev1alpha1.Manifest, fmt.Appendf(nil, keepingObjects, k.server.Address(), ca, strings.Join(k.namespaces, ", "))}
	for _, namespace := range k.namespaces {
		all = append(all, fmt.Appendf(nil, namespaceObjects, namespace, "kept-0000"))
	}
	for n, objects := range all {
		if n <= 2 { // kinds that were not there before
			if err := until(ctx, func() (err error) {
				if n == 2 {
					_, err = k.objects.Resource(v1alpha1.VaultSecrets).List(ctx, metav1.ListOptions{Limit: 1})
				}
				if err == nil {
					k.creator, err = testcluster.NewCreator(config)
				}
				return err
			}); err != nil {
				return fmt.Errorf("waiting for the custom resources: %w", err)
			}
		}
		if _, err := k.creator.Create(ctx, objects, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (k *keeping) fillVault(ctx context.Context) error {
	hour := int64(3600)
	reviewer, err := k.kube.CoreV1().ServiceAccounts("portcullis-system").CreateToken(ctx, "reviewer",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(k.control.CAFile)
	if err != nil {
		return err
	}
	if err := errors.Join(
		k.server.Mount(ctx, "secret", "kv", map[string]string{"version": "2"}, ""),
		k.server.EnableAuth(ctx, "kubernetes", "kubernetes"),
		k.server.ConfigureKubernetesAuth(ctx, "kubernetes", k.control.URL, authority, reviewer.Status.Token),
	); err != nil {
		return err
	}
	for _, namespace := range k.namespaces {
		if err := k.server.Policy(ctx, namespace, `path "secret/data/`+namespace+`/*" { capabilities = ["read"] }`); err != nil {
			return err
		}
		if _, err := k.server.Write(ctx, "auth/kubernetes/role/"+namespace, map[string]any{
			"bound_service_account_namespaces": []string{namespace}, "bound_service_account_names": []string{"vault"}, "audience": "vault",
			"token_policies": []string{namespace}, "token_ttl": "1h",
		}); err != nil {
			return err
		}
	}
	return each(ctx, k.size.Synced, func(ctx context.Context, n int) error { return k.rotate(ctx, n, "first") })
}

// each does something for each number, some at once.
func each(ctx context.Context, count int, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(creators)
	for n := range count {
		group.Go(func() error { return do(ctx, n) })
	}
	return group.Wait()
}

// named are the namespace and the name of a VaultSecret.
func (k *keeping) named(n int) (namespace, name string) {
	return k.namespaces[n%len(k.namespaces)], fmt.Sprintf("kept-%04d", n/len(k.namespaces))
}

func (k *keeping) create(ctx context.Context, n int) error {
	namespace, name := k.named(n)
	_, err := k.creator.Create(ctx, fmt.Appendf(nil, keptObject, namespace, name), metav1.CreateOptions{})
	return err
}

// rotate writes a secret of Vault.
func (k *keeping) rotate(ctx context.Context, n int, value string) error {
	namespace, name := k.named(n)
	return k.server.WriteKV2(ctx, "secret", namespace+"/"+name, map[string]any{"password": value})
}

// ask asks for a sync now.
func (k *keeping) ask(ctx context.Context, n int, text string) error {
	namespace, name := k.named(n)
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.SyncAnnotation, text)
	_, err := k.objects.Resource(v1alpha1.VaultSecrets).Namespace(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// start starts the program, and says how long it took until it knows so many objects, each of them synced, none of them due.
func (k *keeping) start(ctx context.Context, synced int, args ...string) (time.Duration, error) {
	var err error
	if k.options.Probes, err = freeAddress(); err != nil {
		return 0, err
	}
	k.options.Args = append([]string{"--log-level=warn"}, args...)
	began := time.Now()
	if k.keeper, err = programs.StartSecrets(ctx, k.options); err != nil {
		return 0, err
	}
	err = k.settled(ctx, synced)
	return time.Since(began), err
}

func (k *keeping) settled(ctx context.Context, synced int) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime+time.Duration(synced)*syncTime)
	defer cancel()
	for {
		text, err := k.keeper.Metrics(ctx)
		if err != nil {
			return err
		}
		known, waiting := sum(text, "portcullis_secrets_objects", `reason="Synced"`), sum(text, "portcullis_secrets_queue_depth", `class="waiting"`)
		due := sum(text, "portcullis_secrets_queue_depth", "") - waiting
		if sum(text, "portcullis_secrets_leader", "") == 1 && known == int64(synced) && waiting >= known && due == 0 {
			return nil
		}
		if denied := sum(text, "portcullis_secrets_denied_total", ""); denied > 0 { // which waiting does not change
			return fmt.Errorf("%d syncs are denied: see the condition Allowed of the VaultSecrets, and have the objects do what it says", denied)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d VaultSecrets are synced, %d are due: see their conditions: %w", known, synced, due, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// stop ends the program and keeps what it counted.
func (k *keeping) stop(ctx context.Context) error {
	text, err := k.keeper.Metrics(ctx)
	if err != nil {
		return err
	}
	passes := sum(text, "portcullis_secrets_sync_total", "")
	k.passes += passes
	k.failed += passes - sum(text, "portcullis_secrets_sync_total", `reason="Synced"`)
	k.restarts += sum(text, "portcullis_secrets_restarts_total", "")
	return k.keeper.Stop()
}

// sum adds the samples of a metric that have a label; "" for all.
func sum(text, metric, label string) int64 {
	var total float64
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), metric)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' || !strings.Contains(rest, label) {
			continue
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err == nil {
			total += value
		}
	}
	return int64(total)
}

// firstRows sync all but those whose latency is measured afterwards, with the rest there.
func (k *keeping) firstRows(ctx context.Context) ([]Row, error) {
	if _, err := k.start(ctx, 0); err != nil {
		return nil, err
	}
	// What is found at a start has its turn within secrets.StartWindow, what is created afterwards at once. So one is asked for until it is
	// synced: then the start is over.
	if err := k.create(ctx, 0); err != nil {
		return nil, err
	}
	asked := 0
	if err := until(ctx, func() error {
		asked++
		if err := k.ask(ctx, 0, strconv.Itoa(asked)); err != nil {
			return err
		}
		text, err := k.keeper.Metrics(ctx)
		if err == nil && sum(text, "portcullis_secrets_objects", `reason="Synced"`) == 0 {
			err = errors.New("the first VaultSecret is not synced: see its conditions")
		}
		return err
	}); err != nil {
		return nil, err
	}
	count := k.size.Synced - k.size.Created
	began := time.Now()
	if err := each(ctx, count-1, func(ctx context.Context, n int) error { return k.create(ctx, n+1) }); err != nil {
		return nil, err
	}
	if err := k.settled(ctx, count); err != nil {
		return nil, err
	}
	took := time.Since(began)
	return []Row{{
		What: fmt.Sprintf("first sync of %d VaultSecrets in %d namespaces, created at once", count, len(k.namespaces)), Got: fmt.Sprintf("%5.1f s, %.0f/s", took.Seconds(), float64(count)/took.Seconds()),
		Note: "a VaultConnection lets 50 requests/s through unless it says otherwise; Vault, API server and program are all on this machine",
	}}, nil
}

// latencyRows create and rotate one after the other, and watch the Secrets.
func (k *keeping) latencyRows(ctx context.Context) ([]Row, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watcher, err := k.kube.CoreV1().Secrets("").Watch(ctx, metav1.ListOptions{LabelSelector: v1alpha1.ManagedByLabel + "=" + v1alpha1.ManagedBy})
	if err != nil {
		return nil, fmt.Errorf("watching Secrets: %w", err)
	}
	defer watcher.Stop()
	first := k.size.Synced - k.size.Created
	latency := func(what string, count int, value string, do func(context.Context, int) error) (Row, error) {
		var times []time.Duration
		for n := range count {
			namespace, name := k.named(first + n)
			began := time.Now()
			if err := do(ctx, first+n); err != nil {
				return Row{}, err
			}
			for timeout, seen := time.After(settleTime), false; !seen; {
				select {
				case event, open := <-watcher.ResultChan():
					secret, ok := event.Object.(*corev1.Secret)
					if !open || !ok {
						return Row{}, errors.New("watching Secrets: the watch ended: measure again")
					}
					seen = secret.Namespace == namespace && secret.Name == name && string(secret.Data["password"]) == value
				case <-timeout:
					return Row{}, fmt.Errorf("rotating: Secret %s/%s did not get what Vault has in %s: see its VaultSecret's conditions", namespace, name, settleTime)
				}
			}
			times = append(times, time.Since(began))
		}
		return Row{What: what, Got: fmt.Sprintf("%5.0f ms p50, %.0f ms p99", millis(percentile(times, 50)), millis(percentile(times, 99))),
			Note: fmt.Sprintf("%d, one after the other, beside %d that are synced", count, first)}, nil
	}
	created, err := latency("VaultSecret created to its Secret written", k.size.Created, "first", k.create)
	if err != nil {
		return nil, err
	}
	rotated, err := latency("rotated in Vault and asked for to its Secret changed", k.size.Rotated, "second", func(ctx context.Context, n int) error {
		if err := k.rotate(ctx, n, "second"); err != nil {
			return err
		}
		return k.ask(ctx, n, "now")
	})
	if err != nil {
		return nil, err
	}
	if err := k.settled(ctx, k.size.Synced); err != nil {
		return nil, err
	}
	return []Row{created, rotated}, k.stop(ctx)
}

// startRows start the program again, as an update of it does: everything is synced, and little should be asked.
func (k *keeping) startRows(ctx context.Context) ([]Row, error) {
	before, err := os.Stat(k.control.AuditLog)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	took, err := k.start(ctx, k.size.Synced)
	if err != nil {
		return nil, err
	}
	if err := idle(ctx, time.Until(began.Add(k.size.FirstMinute))); err != nil {
		return nil, err
	}
	text, err := k.keeper.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	requests, err := k.audited(before.Size())
	if err != nil {
		return nil, err
	}
	all := requests["get"] + requests["list"] + requests["watch"] + requests["write"]
	rows := []Row{
		{What: fmt.Sprintf("start with %d VaultSecrets that are synced, until none is due", k.size.Synced), Got: fmt.Sprintf("%5.0f ms", millis(took))},
		{
			What: fmt.Sprintf("  requests in the first %s", k.size.FirstMinute),
			Got:  fmt.Sprintf("%5d to Vault, %d to the API server", sum(text, "portcullis_vault_requests_total", ""), all),
			Note: fmt.Sprintf("of those to the API server %d get, %d list, %d watch and %d write; its Lease is not counted", requests["get"], requests["list"], requests["watch"], requests["write"]),
		},
	}
	memory := Row{What: fmt.Sprintf("  resident memory with %d VaultSecrets", k.size.Synced)}
	now, most, err := Resident(k.keeper.PID())
	if errors.Is(err, errNoProc) {
		memory.Got = err.Error()
		return append(rows, memory), k.stop(ctx)
	}
	if err != nil {
		return nil, err
	}
	file := fileResident(k.keeper.PID())
	if err := k.stop(ctx); err != nil {
		return nil, err
	}
	began = time.Now()
	tookWithout, err := k.start(ctx, k.size.Synced, "--max-watches=0")
	if err != nil {
		return nil, err
	}
	rows[0].Note = fmt.Sprintf("without watches of the Secrets %.0f ms", millis(tookWithout))
	if err := idle(ctx, time.Until(began.Add(k.size.FirstMinute))); err != nil {
		return nil, err
	}
	nowWithout, mostWithout, err := Resident(k.keeper.PID())
	if err != nil {
		return nil, err
	}
	memory.Got = fmt.Sprintf("%5d MB at most, %d MB then", most>>20, now>>20)
	memory.Budget, memory.Of = fmt.Sprintf("%d MB", budgetKeeper>>20), float64(most)/budgetKeeper
	memory.Note = fmt.Sprintf("%d MB of it are pages of the program's file; without watches of the Secrets (%d of them, 1,000 at most) it is %d MB at most, %d MB then",
		file>>20, requests["watch of secrets"], mostWithout>>20, nowWithout>>20)
	return append(rows, memory), k.stop(ctx)
}

func idle(ctx context.Context, duration time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(duration):
		return nil
	}
}

// audited counts requests of the program from an offset of the audit log on: by verb, those that change something as "write".
func (k *keeping) audited(offset int64) (map[string]int, error) {
	file, err := os.Open(k.control.AuditLog)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	counts := map[string]int{}
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return counts, nil // what is not a whole line yet came later
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		var event struct {
			Stage, Verb string
			User        struct{ Username string }
			ObjectRef   struct{ Resource string }
		}
		if err := json.Unmarshal(bytes.TrimSpace(line), &event); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		// A watch counts when it begins, all else when it ends (audit.k8s.io/v1, Stage).
		if event.User.Username != keeperUser || (event.Verb == "watch") != (event.Stage == "ResponseStarted") {
			continue
		}
		switch event.Verb {
		case "get", "list":
			counts[event.Verb]++
		case "watch":
			counts["watch"]++
			if event.ObjectRef.Resource == "secrets" {
				counts["watch of secrets"]++
			}
		default:
			counts["write"]++
		}
	}
}

// noneRows are what must not happen: syncs that failed, and workloads that were restarted, of which none uses what was rotated.
func (k *keeping) noneRows(ctx context.Context) ([]Row, error) {
	list, err := k.kube.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	if len(list.Items) != len(k.namespaces) {
		return nil, fmt.Errorf("there are %d Deployments, want one for each of %d namespaces", len(list.Items), len(k.namespaces))
	}
	restarts := k.restarts
	for n := range list.Items {
		restarts += list.Items[n].Generation - 1
	}
	return []Row{
		noneRow("  syncs that failed, over three starts", k.failed, k.passes),
		noneRow("  workloads that were restarted, over three starts", restarts, int64(len(list.Items))),
	}, nil
}
