package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/informer"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	"github.com/portcullis-dev/portcullis/cmd/internal/metrics"
	"github.com/portcullis-dev/portcullis/cmd/internal/telemetry"
	"github.com/spf13/pflag"
)

// flags is what the command line says.
type flags struct {
	bundle, profile                 string
	bundleVerification, bundleCache string
	bundleInterval                  time.Duration
	journal                         journalFlags
	showDecisions, events           bool
	telemetry                       telemetry.Flags

	listen, probes                 string
	series                         metrics.Series
	tlsCert, tlsKey                string
	certificateDir                 string
	dnsNames                       []string
	caller, clientCA, secretFile   string
	clientNames                    []string
	maxBody, maxBodies             int
	maxRunning, maxWait            int
	timeoutCap, timeoutMargin      time.Duration
	drainDelay, drainGrace         time.Duration
	kubeconfig                     string
	noCluster                      bool
	maxFactBytes                   int
	images                         imageFlags
	logLevel                       slog.Level
	printConfig, name              string
	service, url, caFile, ownSpace string
	nodeNamespaces                 []string
	timeoutSeconds                 int32
}

// The forms of --print-config.
const (
	printAPI    = "api"
	printStatic = "manifests"
)

func (f *flags) register(set *pflag.FlagSet) {
	set.SortFlags = false

	set.StringVar(&f.bundle, "bundle", "", "the policy `bundle`: a folder, oci://REPOSITORY@DIGEST, or cluster for the PolicyBundles that portcullis-controller rolls out; the built-in library by default")
	set.DurationVar(&f.bundleInterval, "bundle-interval", 10*time.Second, "`time` between looks at the folder of --bundle for a new revision; 0 never looks")
	set.StringVar(&f.bundleVerification, "bundle-verification", "", "YAML `file` that says who must have signed a bundle from a registry: the section verification of a PolicyBundle")
	set.StringVar(&f.bundleCache, "bundle-cache", "", "`folder` that keeps the last good bundles of the cluster, for a start while the API server does not answer")
	set.StringVar(&f.profile, "profile", "", "`profile` of the bundle for all requests; by default the bundle chooses by namespace")

	set.StringVar(&f.listen, "listen", ":8443", "`address` for AdmissionReviews")
	set.StringVar(&f.probes, "probes", ":8081", "`address` for /livez, /readyz and /metrics, without TLS")
	f.series.Register(set)

	set.StringVar(&f.tlsCert, "tls-cert", "", "serving certificate `file`, watched for changes; with --tls-key")
	set.StringVar(&f.tlsKey, "tls-key", "", "serving key `file`, watched for changes")
	set.StringVar(&f.certificateDir, "certificate-dir", "", "`folder` for a certificate authority of this replica's own, where no certificate is given; in memory by default")
	set.StringSliceVar(&f.dnsNames, "dns-name", nil, "`names` and addresses in that certificate; by default those of --service or --url, else localhost")

	set.StringVar(&f.caller, "caller", webhook.CallerCertificate.String(), "how the API server shows who it is: certificate, secret-path or open")
	set.StringVar(&f.clientCA, "client-ca", "", "`file` of CA certificates that sign the API server's client certificate, watched for changes")
	set.StringSliceVar(&f.clientNames, "client-name", nil, "common `names` that may call; any that --client-ca signed by default")
	set.StringVar(&f.secretFile, "secret-path-file", "", "`file` with the secret first path segment")

	set.IntVar(&f.maxBody, "max-body", webhook.DefaultMaxBody, "largest request in `bytes`")
	set.IntVar(&f.maxBodies, "max-bodies", webhook.DefaultMaxBodies, "`bytes` of all requests under way together")
	set.IntVar(&f.maxRunning, "max-running", 0, "`number` of reviews at once; 4 a processor by default")
	set.IntVar(&f.maxWait, "max-waiting", 0, "`number` of reviews that may wait for a place; 16 times --max-running by default, and at least 256")
	set.DurationVar(&f.timeoutCap, "timeout-cap", webhook.DefaultTimeoutCap, "longest `time` for a review, whatever the API server allows")
	set.DurationVar(&f.timeoutMargin, "timeout-margin", webhook.DefaultTimeoutMargin, "`time` kept back from the API server's timeout for the answer")
	set.DurationVar(&f.drainDelay, "drain-delay", 5*time.Second, "`time` to go on serving after SIGTERM, until the cluster has noticed")
	set.DurationVar(&f.drainGrace, "drain-grace", 20*time.Second, "`time` after that for requests under way")

	set.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` for reading facts; by default that of the pod's service account")
	set.BoolVar(&f.noCluster, "no-cluster", false, "read no facts; policies that need some deny")
	set.IntVar(&f.maxFactBytes, "max-fact-bytes", informer.DefaultMaxBytes, "memory in `bytes` for the objects of each kind that policies read")

	f.images.register(set)
	f.journal.register(set)
	set.BoolVar(&f.showDecisions, "decisions", false, "show the last 1000 decisions at /decisions on the port of --listen, to bearer tokens that may get decisions.policy.portcullis.dev")

	set.BoolVar(&f.events, "events", false, "write Kubernetes Events about denials and warnings, a few a second; needs the right to create and patch events of events.k8s.io")
	f.telemetry.Register(set)
	set.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "least `level` to log: debug, info, warn or error")

	set.StringVar(&f.printConfig, "print-config", "", "print webhook configurations and exit; `form` api (the default) for objects to apply, manifests for files beside the API server (KEP-5793)")
	set.Lookup("print-config").NoOptDefVal = printAPI
	set.StringVar(&f.name, "name", configuration.DefaultName, "`name` of the printed configurations")
	set.StringVar(&f.service, "service", "", "where the API server reaches the webhook: `namespace/name[:port]` of a Service, such as portcullis-system/portcullis-webhook")
	set.StringVar(&f.url, "url", "", "where the API server reaches the webhook without a Service: https `URL`")
	set.StringVar(&f.caFile, "ca-file", "", "`file` of CA certificates that verify the webhook's; by default the bundle in --certificate-dir")
	set.StringVar(&f.ownSpace, "own-namespace", "", "`namespace` the webhook runs in, whose pods must be able to come back without it; that of --service by default")
	set.StringSliceVar(&f.nodeNamespaces, "node-namespaces", configuration.DefaultNodeNamespaces, "`namespaces` of the DaemonSets that a node needs to become ready")
	set.Int32Var(&f.timeoutSeconds, "timeout-seconds", configuration.DefaultTimeoutSeconds, "`seconds` the API server waits for an answer")
}

// names are those of the serving certificate.
func (f *flags) names() ([]string, error) {
	names := slices.Clone(f.dnsNames)
	if len(names) > 0 {
		return names, nil
	}
	if f.service != "" {
		service, err := f.parseService()
		if err != nil {
			return nil, err
		}
		names = append(names, service.Name+"."+service.Namespace+".svc")
	}
	if parsed, err := url.Parse(f.url); err == nil && parsed.Hostname() != "" {
		names = append(names, parsed.Hostname())
	}
	if len(names) == 0 {
		names = []string{"localhost", "127.0.0.1", "::1"}
	}
	return names, nil
}

func (f *flags) parseService() (*configuration.Service, error) {
	if f.service == "" {
		return nil, nil
	}
	address, portText, hasPort := strings.Cut(f.service, ":")
	namespace, name, ok := strings.Cut(address, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return nil, usagef("--service is %q: give namespace/name or namespace/name:port", f.service)
	}
	service := &configuration.Service{Namespace: namespace, Name: name}
	if hasPort {
		port, err := strconv.ParseUint(portText, 10, 16)
		if err != nil || port == 0 {
			return nil, usagef("--service is %q: the port is no number from 1 to 65535", f.service)
		}
		service.Port = int32(port)
	}
	return service, nil
}

func (f *flags) secret() (string, error) {
	if f.secretFile == "" {
		return "", nil
	}
	content, err := os.ReadFile(f.secretFile)
	if err != nil {
		return "", correct("--secret-path-file", fmt.Errorf("reading the secret path: %w", err))
	}
	callers := webhook.Callers{Mode: webhook.CallerSecretPath, Secret: strings.TrimSpace(string(content))}
	if err := callers.Check(); err != nil {
		return "", fmt.Errorf("reading %s: %w", f.secretFile, err)
	}
	return callers.Secret, nil
}

// correct adds the next step to an error about a file that cannot be read.
func correct(flag string, err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return fmt.Errorf("%w: correct %s", err, flag)
	}
	return err
}

var errNoSecret = usagef("callers must know the secret path, but there is none: give --secret-path-file")

// check finds flags that contradict each other, before anything is read.
func (f *flags) check() error {
	mode, err := webhook.ParseCallerMode(f.caller)
	switch {
	case err != nil:
		return usageError{err}
	case mode == webhook.CallerCertificate && f.clientCA == "":
		return usagef("callers must show a client certificate, but there is no CA to check it with: give --client-ca, or choose --caller=secret-path or, to try things out, --caller=open")
	case mode == webhook.CallerSecretPath && f.secretFile == "":
		return errNoSecret
	case (f.tlsCert == "") != (f.tlsKey == ""):
		return usagef("--tls-cert and --tls-key belong together: give both or neither")
	case f.tlsCert != "" && f.certificateDir != "":
		return usagef("--certificate-dir is for a certificate of the webhook's own: leave it out with --tls-cert")
	case f.noCluster && f.showDecisions:
		return usagef("--decisions asks the cluster who may see them: leave out --no-cluster, or --decisions")
	case f.noCluster && f.events:
		return usagef("--events writes to the cluster: leave out --no-cluster, or --events")
	case f.noCluster && f.kubeconfig != "":
		return usagef("--no-cluster and --kubeconfig contradict each other: leave one out")
	}
	if err := f.checkBundle(); err != nil {
		return err
	}
	if err := f.images.check(f.noCluster); err != nil {
		return err
	}
	if err := f.journal.check(); err != nil {
		return err
	}
	if err := f.telemetry.Check(); err != nil {
		return usageError{err}
	}
	for name, address := range map[string]string{"--listen": f.listen, "--probes": f.probes} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return usagef("%s is %q: give host:port or :port", name, address)
		}
	}
	return nil
}
