package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
	"github.com/portcullis-dev/portcullis/cmd/internal/metrics"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/cluster"
	"github.com/portcullis-dev/portcullis/policies/conftest/parse"
	"github.com/portcullis-dev/portcullis/policies/controller"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/policies/library"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// endTimeout is how long calls under way, and the journal's sinks, may take when the program ends.
const endTimeout = 5 * time.Second

// serve keeps the bundles until the context ends.
func (f *flags) serve(ctx context.Context, log *slog.Logger) (failed error) {
	if err := f.check(); err != nil {
		return err
	}
	klog.SetSlogLogger(log)
	if err := f.replica.Identify(); err != nil {
		return err
	}
	config, err := f.replica.Cluster()
	if err != nil {
		return err
	}
	telling, err := f.telemetry.Start(ctx, "portcullis-controller", log)
	if err != nil {
		return err
	}
	defer telling.Close(ctx)
	telling.Cluster(config)
	options, err := f.options(config, log)
	if err != nil {
		return err
	}
	options.Traces = telling.Traces
	registered := f.series.NewRegistry("portcullis-controller")
	registered.MustRegister(options.Metrics, telling)
	var decided func(context.Context, *admission.Decision)
	if f.journal != "" {
		kept, err := journal.Open(journal.Options{Dir: f.journal, Writer: "portcullis-controller " + f.replica.Name, Logger: log})
		if err != nil {
			return fmt.Errorf("opening the journal: %w: correct --journal", err)
		}
		defer func() {
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
			defer cancel()
			failed = errors.Join(failed, kept.Close(ending))
		}()
		options.Journal, decided = transitions{kept}, kept.Record
		registered.MustRegister(kept)
	}
	made, err := controller.New(options)
	if err != nil {
		return err
	}
	// The rules of the webhook and the audit follow the same bundles: they are compiled once for both.
	compiled := &cluster.Compiled{}
	registering, err := f.registration.tasks(config, compiled, options, made.Leads, registered.MustRegister)
	if err != nil {
		return err
	}
	if f.audits.on {
		auditing, err := f.audit(ctx, config, compiled, registered, decided, log)
		if err != nil {
			return err
		}
		defer auditing.close()
		registering = append(registering, auditing.tasks...)
	}
	return f.run(ctx, made, registering, config, registered, log)
}

// options are those of the controller.
func (f *flags) options(config *rest.Config, log *slog.Logger) (controller.Options, error) {
	roots, err := f.roots()
	if err != nil {
		return controller.Options{}, err
	}
	registries, err := f.registryOptions()
	if err != nil {
		return controller.Options{}, err
	}
	return controller.Options{
		Config: config, Namespace: f.replica.Namespace, Identity: f.replica.Name, Lease: f.lease, LeaseDuration: f.leaseDuration,
		Verifier: source.NewVerifier(source.VerifierOptions{Roots: roots}),
		Included: []policies.Included{{Name: "library", Files: library.FS()}}, Reader: parse.File,
		Registry: registries, Metrics: controller.NewMetrics(), Log: log,
	}, nil
}

// transitions writes steps of rollouts into a journal.
type transitions struct{ to *journal.Journal }

// Transition implements [controller.Journal].
func (j transitions) Transition(ctx context.Context, bundle string, t v1alpha1.Transition) {
	j.to.Transition(ctx, journal.Transition{Bundle: bundle, From: t.From, To: t.To, Step: t.Step, Reason: t.Reason})
}

// run listens, and has the controller run, until the context ends or one of them fails.
func (f *flags) run(ctx context.Context, made *controller.Controller, beside []func(context.Context) error, config *rest.Config, registered *metrics.Registry, log *slog.Logger) error {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	begin := func(task func() error) {
		tasks.Go(func() {
			if err := task(); err != nil {
				stop(err)
			}
		})
	}
	probes, err := net.Listen("tcp", f.probes)
	if err != nil {
		return fmt.Errorf("listening for probes: %w: correct --probes", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return errors.Join(fmt.Errorf("making a client of the cluster: %w", err), probes.Close())
	}
	begin(func() error { return serveHTTP(ctx, probes, probesHandler(client, registered.Handler(log)), log) })
	if f.hook != "" {
		hook, certificates, err := f.listen(log)
		if err != nil {
			return err
		}
		tasks.Go(func() { certificates.Run(ctx) })
		begin(func() error { return serveHTTP(ctx, hook, made.Hook(), log) })
	}
	begin(func() error { return made.Run(ctx) })
	for _, task := range beside {
		begin(func() error { return task(ctx) })
	}
	log.Info("taking part in the election", "namespace", f.replica.Namespace, "lease", f.lease, "name", f.replica.Name)
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// listen opens the push endpoint.
func (f *flags) listen(log *slog.Logger) (net.Listener, *certificate.Files, error) {
	certificates, err := certificate.NewFiles(f.tlsCert, f.tlsKey, nil, log)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: correct --tls-cert or --tls-key", err)
	}
	listener, err := tls.Listen("tcp", f.hook, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificates.GetCertificate})
	if err != nil {
		return nil, nil, fmt.Errorf("listening for calls: %w: correct --hook", err)
	}
	return listener, certificates, nil
}

// probesHandler answers probes. The program is ready once it can read the custom resources.
func probesHandler(client dynamic.Interface, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), endTimeout)
		defer cancel()
		if _, err := client.Resource(v1alpha1.Bundles).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
			http.Error(w, "the PolicyBundles cannot be listed: apply what portcullis-controller crd and roles print", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}

// serveHTTP answers until the context ends, and then what is under way.
func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(ended)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		_ = server.Shutdown(ending)
	})()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving at %s: %w", listener.Addr(), err)
	}
	<-ended
	return nil
}
