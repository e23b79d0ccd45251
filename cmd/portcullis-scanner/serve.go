package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/metrics"
	"github.com/portcullis-dev/portcullis/cmd/internal/telemetry"
	"github.com/portcullis-dev/portcullis/policies/tracing"
	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/scanner/queue"
	"github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/spf13/cobra"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// Where signed scans are kept.
const (
	keepInRegistry = "registry" // and in the object where a registry takes none
	keepInObject   = "object"
)

// serveFlags are those of serve alone.
type serveFlags struct {
	flags
	kubeconfig, name, keepIn string
	rescan, keep             time.Duration
	databaseInterval         time.Duration
	probes                   string
	series                   metrics.Series
	logLevel                 slog.Level
	telemetry                telemetry.Flags
}

func (p *program) serveCommand() *cobra.Command {
	var f serveFlags
	command := &cobra.Command{
		Use:   "serve",
		Short: "Scan what a cluster asks for",
		Long: `portcullis-scanner serve works off the ImageScan objects of a cluster: it scans each image,
signs the scan with --key and attaches it to the image, or keeps it in the object where
the registry cannot be written to. Several replicas share the work.

The custom resource and the roles are printed by portcullis-scanner crd. It runs until it
is sent SIGTERM, and gives back what it has begun. /livez, /readyz and /metrics are on
--probes.`,
		Example: `  portcullis-scanner crd | kubectl apply -f -
  portcullis-scanner serve --key=/keys/cosign.key --key-password-file=/keys/password --work-dir=/work`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			return f.serve(command.Context(), f.telemetry.Logger(p.stderr, f.logLevel))
		},
	}
	set := command.Flags()
	set.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file`; by default that of the pod's service account")
	set.StringVar(&f.name, "name", "", "`name` of this replica, which no other has; by default the host's")
	set.StringVar(&f.keepIn, "keep-in", keepInRegistry, "where signed scans are kept: `registry` (in the ImageScan object where that takes none) or object")
	set.DurationVar(&f.rescan, "rescan", queue.DefaultRescan, "`time` after which an image is scanned anew")
	set.DurationVar(&f.keep, "keep", queue.DefaultKeep, "`time` for which that goes on after somebody last asked for the image")
	set.DurationVar(&f.databaseInterval, "database-interval", time.Hour, "`time` between looks for newer databases")
	set.StringVar(&f.probes, "probes", ":8082", "`address` for /livez, /readyz and /metrics, without TLS")
	f.series.Register(set)
	set.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "least `level` to log: debug, info, warn or error")
	f.telemetry.Register(set)
	f.register(set, 1)
	return command
}

// crdCommand prints what the cluster must know.
func (p *program) crdCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "crd",
		Short: "Print the custom resource of the queue and the roles of who uses it",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := p.stdout.Write(v1alpha1.Manifest)
			return err
		},
	}
}

func (f *serveFlags) check() error {
	switch {
	case f.key == "":
		return usagef("scans are believed by their signature: give --key")
	case f.keepIn != keepInRegistry && f.keepIn != keepInObject:
		return usagef("--keep-in is %q: use registry or object", f.keepIn)
	case f.rescan <= 0 || f.keep <= 0 || f.databaseInterval <= 0:
		return usagef("--rescan, --keep and --database-interval are times above 0: leave them out for the defaults")
	}
	if _, _, err := net.SplitHostPort(f.probes); err != nil {
		return usagef("--probes is %q: give host:port or :port", f.probes)
	}
	if err := f.telemetry.Check(); err != nil {
		return usageError{err}
	}
	return nil
}

// serve works until the context ends.
func (f *serveFlags) serve(ctx context.Context, log *slog.Logger) error {
	if err := f.check(); err != nil {
		return err
	}
	klog.SetSlogLogger(log)
	config, err := f.cluster()
	if err != nil {
		return err
	}
	telling, err := f.telemetry.Start(ctx, "portcullis-scanner", log)
	if err != nil {
		return err
	}
	defer telling.Close(ctx)
	telling.Cluster(config)
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connecting to the API server: %w", err)
	}
	if f.name == "" {
		if f.name, err = os.Hostname(); err != nil {
			return fmt.Errorf("finding a name for this replica: %w: give --name", err)
		}
	}
	listener, err := net.Listen("tcp", f.probes)
	if err != nil {
		return fmt.Errorf("listening for probes: %w", err)
	}
	defer listener.Close()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	registered, counts := f.series.NewRegistry("portcullis-scanner"), queue.NewMetrics()
	registered.MustRegister(counts, telling)
	var ready atomic.Bool
	var opened atomic.Pointer[works]
	registered.Gauge("portcullis_scanner_database_timestamp_seconds", "When the vulnerability database that scans use was made; 0 where there is none.",
		func() float64 { return seconds(opened.Load()) })
	tasks.Go(func() { serveProbes(ctx, listener, &ready, registered.Handler(log), log) })
	w, err := f.open(ctx, log) // the first database may take minutes
	if err != nil {
		return err
	}
	defer w.close()
	opened.Store(w)
	if err := w.test(ctx); err != nil {
		return err
	}
	worker, err := queue.NewWorker(queue.Options{
		Client: client, Name: f.name, Parallel: f.children, Rescan: f.rescan, Keep: f.keep, Database: w.databaseMade, Metrics: counts, Log: log,
		Scan: func(ctx context.Context, work queue.Work) (queue.Outcome, error) {
			ctx, span := telling.Traces.Begin(ctx, "scan")
			span.SetAttributes(tracing.Text("digest", work.Digest))
			outcome, err := w.scanQueued(ctx, work, f.keepIn)
			span.SetAttributes(tracing.Text("outcome", string(outcome.State)))
			tracing.End(span, err)
			return outcome, err
		},
	})
	if err != nil {
		return err
	}
	tasks.Go(func() { w.updateEvery(ctx, f.databaseInterval, worker.Wake) })
	ready.Store(true)
	log.Info("scanning what is asked for", "replica", f.name)
	return worker.Run(ctx)
}

func (f *serveFlags) cluster() (*rest.Config, error) {
	if f.kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, usagef("this is no pod of a cluster: give --kubeconfig")
		}
		return config, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w: correct --kubeconfig", err)
	}
	return config, nil
}

// updateEvery looks for newer databases, and calls looked after each look.
func (w *works) updateEvery(ctx context.Context, interval time.Duration, looked func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = w.update(ctx) // what failed was logged, and what is there is used on
			looked()
		}
	}
}

// databaseMade is when the database in use was made, zero for none.
func (w *works) databaseMade() time.Time {
	lease, err := w.keeper.Acquire()
	if err != nil {
		return time.Time{}
	}
	defer lease.Release()
	return lease.UpdatedAt
}

// seconds are those since 1970 of the database in use, 0 for none, and before there are works.
func seconds(w *works) float64 {
	if w == nil {
		return 0
	}
	made := w.databaseMade()
	if made.IsZero() {
		return 0
	}
	return float64(made.Unix())
}

// scanQueued scans an image that the cluster asks for. The signed scan goes to each repository of it, and into the
// object where one takes none: nobody may write there, or it is a mirror.
func (w *works) scanQueued(ctx context.Context, work queue.Work, keepIn string) (queue.Outcome, error) {
	s, err := w.scanFirst(ctx, work)
	if err != nil {
		return queue.Outcome{}, err
	}
	outcome := queue.Outcome{State: s.Report.State, Reasons: s.Report.Reasons, Database: s.Report.Database, Found: queue.Count(s.Report.Vulnerabilities)}
	if outcome.State == scanner.StateError {
		return outcome, nil // the queue tries again, and what was known of the image stays
	}
	attached := keepIn == keepInRegistry
	for _, repository := range work.Repositories {
		if keepIn != keepInRegistry {
			break
		}
		to := s
		to.target.Repository = repository
		if err := w.attach(ctx, to); err != nil {
			if ctx.Err() != nil {
				return queue.Outcome{}, err
			}
			w.log.Warn("a scan could not be attached and is kept in its ImageScan object", "image", to.target.String(), "error", err)
			attached = false
		}
	}
	if !attached {
		if outcome.Statement, err = w.sign(s); err != nil {
			return queue.Outcome{}, err
		}
	}
	return outcome, nil
}

// scanFirst scans the image in the first repository that has it.
func (w *works) scanFirst(ctx context.Context, work queue.Work) (scanned, error) {
	problems := []error{}
	for _, repository := range work.Repositories {
		s, err := w.scan(ctx, w.registry, cosign.Target{Repository: repository, Digest: work.Digest})
		if err == nil || ctx.Err() != nil {
			return s, err
		}
		problems = append(problems, err)
		if registry.KindOf(err) == "" {
			break // not the registry's fault
		}
	}
	if len(problems) == 0 {
		problems = append(problems, errors.New("no repository of the image is named"))
	}
	return scanned{}, errors.Join(problems...)
}

// sign makes the signed statement that an object holds.
func (w *works) sign(s scanned) ([]byte, error) {
	statement, err := cosign.NewStatement(s.target, scanner.PredicateType, s.predicate)
	if err != nil {
		return nil, err
	}
	return cosign.SignStatement(s.target, w.key, statement, w.flags.format)
}

// serveProbes answers until the context ends. The program is ready once databases are there and a known-bad image was
// flagged.
func serveProbes(ctx context.Context, listener net.Listener, ready *atomic.Bool, metrics http.Handler, log *slog.Logger) {
	mux := http.NewServeMux()
	ok := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }
	mux.HandleFunc("GET /livez", ok)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if !ready.Load() {
			http.Error(w, "the databases and the self-test are not ready yet", http.StatusServiceUnavailable)
			return
		}
		ok(w, r)
	})
	mux.Handle("GET /metrics", metrics)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Error("serving probes", "error", err)
	}
}
