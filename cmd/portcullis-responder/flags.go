package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/admission/informer"
	"github.com/portcullis-dev/portcullis/cmd/internal/journalflags"
	"github.com/portcullis-dev/portcullis/cmd/internal/judging"
	"github.com/portcullis-dev/portcullis/cmd/internal/metrics"
	"github.com/portcullis-dev/portcullis/cmd/internal/replica"
	"github.com/portcullis-dev/portcullis/cmd/internal/telemetry"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/runtime/falco"
	"github.com/portcullis-dev/portcullis/runtime/guard"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/pods"
	"github.com/portcullis-dev/portcullis/runtime/quarantine"
	"github.com/portcullis-dev/portcullis/runtime/responder"
)

// cnis are what --cni may be.
var cnis = []isolation.CNI{"calico", "cilium", "antrea", "ovn-kubernetes", "kube-network-policies", "none"}

// flags are those of serve.
type flags struct {
	replica       replica.Flags
	lease         string
	leaseDuration time.Duration

	listen, probes       string
	series               metrics.Series
	tlsCert, tlsKey      string
	clientCA, secretFile string
	senders              []string
	connections          int
	grpc                 grpcFlags

	spool      string
	spoolBytes int64
	maxWaiting int
	maxPods    int
	parallel   int

	bundle judging.BundleFlags
	images judging.ImageFlags

	dryRun       bool
	cni          string
	webhook      string
	notify       string
	journal      journalflags.Flags
	maxFactBytes int
	drainDelay   time.Duration
	drainGrace   time.Duration
	logLevel     slog.Level
	telemetry    telemetry.Flags
}

func (f *flags) register(set *pflag.FlagSet) {
	set.SortFlags = false

	f.replica.Register(set, "of the responder, which is protected and has its Leases")
	set.StringVar(&f.lease, "lease-name", quarantine.DefaultLease, "`name` of the Lease by which replicas elect one that acts")
	set.DurationVar(&f.leaseDuration, "lease-duration", quarantine.DefaultLeaseDuration, "`time` after which another replica takes over from one that is gone")

	set.StringVar(&f.listen, "listen", ":8443", "`address` for events: POST "+falco.Path+", or / as falcosidekick does")
	set.StringVar(&f.probes, "probes", ":8084", "`address` for /livez, /readyz and /metrics, without TLS")
	f.series.Register(set)
	set.StringVar(&f.tlsCert, "tls-cert", "", "serving certificate `file`, watched for changes")
	set.StringVar(&f.tlsKey, "tls-key", "", "serving key `file`, watched for changes")
	set.StringVar(&f.clientCA, "client-ca", "", "`file` of CA certificates that sign senders' client certificates, watched for changes")
	set.StringSliceVar(&f.senders, "sender", nil, "common `names` of certificates that may send events of any node, as falcosidekick's; by default a certificate is one node's (system:node:NAME)")
	set.StringVar(&f.secretFile, "secret-path-file", "", "`file` with the secret first path segment, where senders can show no certificate")
	set.IntVar(&f.connections, "max-connections", falco.DefaultMaxConnections, "`number` of connections of senders at once, of which one address gets at most a quarter")
	f.grpc.register(set)

	set.StringVar(&f.spool, "spool", "", "`folder` that keeps events until they are dealt with; each replica needs its own")
	set.Int64Var(&f.spoolBytes, "spool-max-bytes", falco.DefaultMaxBytes, "`bytes` of events in that folder")
	set.IntVar(&f.maxWaiting, "max-waiting", falco.DefaultMaxWaiting, "`number` of events below Critical that may wait before the mildest are shed")
	set.IntVar(&f.maxPods, "max-pods", pods.DefaultMaxPods, "`number` of pods that are kept in memory, at about 1 KiB each")
	set.IntVar(&f.parallel, "parallel", responder.DefaultParallel, "`number` of events that are judged at once")

	f.bundle.Register(set, "events")
	f.images.Register(set)

	set.BoolVar(&f.dryRun, "dry-run", false, "only write down what would be done, whatever bundles say")
	set.StringVar(&f.webhook, "webhook-configuration", guard.DefaultSource, "`name` of the ValidatingWebhookConfiguration of portcullis-webhook, which is also asked about what tokens of quarantined pods write, by one named "+guard.DefaultName+" that is there meanwhile; empty for not at all")
	set.StringVar(&f.cni, "cni", "", "`provider` of the cluster's network: "+joined(cnis)+"; found out by default. Without one no isolation counts as proved")
	set.StringVar(&f.notify, "notify", "", "YAML `file` that says who is told; by default Events of Kubernetes")
	f.journal.Register(set, "journal-ignored", "`share` from 0 to 1 of events kept that policies were asked about and asked for nothing; all others always are")
	set.IntVar(&f.maxFactBytes, "max-fact-bytes", informer.DefaultMaxBytes, "memory in `bytes` for the objects of each kind that policies read")
	set.DurationVar(&f.drainDelay, "drain-delay", 5*time.Second, "`time` to go on taking events after SIGTERM, until the cluster has noticed")
	set.DurationVar(&f.drainGrace, "drain-grace", 20*time.Second, "`time` after that for what is under way")
	set.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "least `level` to log: debug, info, warn or error")
	f.telemetry.Register(set)
}

func joined(names []isolation.CNI) string {
	texts := make([]string, 0, len(names))
	for _, name := range names {
		texts = append(texts, string(name))
	}
	return strings.Join(texts, ", ")
}

// check finds flags that contradict each other, before anything is read.
func (f *flags) check() error {
	switch {
	case f.spool == "":
		return usage.Errorf("events that are answered must not be lost: give --spool a folder that keeps them")
	case f.tlsCert == "" || f.tlsKey == "":
		return usage.Errorf("events go over TLS: give --tls-cert and --tls-key")
	case f.clientCA == "" && f.secretFile == "":
		return usage.Errorf("anybody could send events, and have pods isolated: give --client-ca, or --secret-path-file where senders can show no certificate")
	case f.clientCA != "" && f.secretFile != "":
		return usage.Errorf("--client-ca and --secret-path-file contradict each other: leave one out")
	case len(f.senders) > 0 && f.clientCA == "":
		return usage.Errorf("--sender is for certificates: give --client-ca, too")
	case f.leaseDuration < time.Second:
		return usage.Errorf("--lease-duration is %s: give a second or more", f.leaseDuration)
	case f.lease == "":
		return usage.Errorf("--lease-name is empty: leave it out for %s", quarantine.DefaultLease)
	case f.cni != "" && !slices.Contains(cnis, isolation.CNI(f.cni)):
		return usage.Errorf("--cni is %q: use one of %s, or leave it out", f.cni, joined(cnis))
	case f.spoolBytes <= 0 || f.maxWaiting <= 0 || f.maxPods <= 0 || f.parallel <= 0 || f.connections <= 0 || f.maxFactBytes <= 0:
		return usage.Errorf("--spool-max-bytes, --max-waiting, --max-pods, --parallel, --max-connections and --max-fact-bytes are numbers above 0: leave them out for the defaults")
	}
	for name, address := range map[string]string{"--listen": f.listen, "--probes": f.probes} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return usage.Errorf("%s is %q: give host:port or :port", name, address)
		}
	}
	if err := f.bundle.Check("the responder"); err != nil {
		return err
	}
	if err := f.grpc.check(); err != nil {
		return err
	}
	if err := f.journal.Check(); err != nil {
		return err
	}
	return f.telemetry.Check()
}

// secret is the path that senders know, "" where they show certificates.
func (f *flags) secret() (string, error) {
	if f.secretFile == "" {
		return "", nil
	}
	content, err := os.ReadFile(f.secretFile)
	if err != nil {
		return "", usage.Correct("--secret-path-file", fmt.Errorf("reading the secret path: %w", err))
	}
	return strings.TrimSpace(string(content)), nil
}
