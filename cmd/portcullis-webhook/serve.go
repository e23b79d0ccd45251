package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/informer"
	"github.com/portcullis-dev/portcullis/admission/shadow"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
	"github.com/portcullis-dev/portcullis/cmd/internal/metrics"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/cluster"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// background is what runs beside the servers until the program ends.
type background []func(context.Context)

// run starts all and returns a function that waits for them.
func (b background) run(ctx context.Context) (wait func()) {
	var group sync.WaitGroup
	for _, task := range b {
		group.Go(func() { task(ctx) })
	}
	return group.Wait
}

// serve runs the webhook until ctx ends and it has drained.
func serve(ctx context.Context, f *flags, stdout io.Writer, logger *slog.Logger) error {
	if err := f.check(); err != nil {
		return err
	}
	klog.SetSlogLogger(slog.New(newWatchLog(logger.Handler(), time.Now))) // what client-go has to say
	// What can be wrong with the installation is found before policies are compiled,
	// which takes a while.
	var tasks background
	callers, err := f.callers(logger, &tasks)
	if err != nil {
		return err
	}
	config, err := f.cluster()
	if err != nil {
		return err
	}
	telling, err := f.telemetry.Start(ctx, "portcullis-webhook", logger)
	if err != nil {
		return err
	}
	defer telling.Close(ctx)
	telling.Cluster(config)
	images, err := f.images.open(config)
	if err != nil {
		return err
	}
	serving, err := f.certificate(logger, &tasks)
	if err != nil {
		return err
	}
	reviews, probes, err := f.listenBoth()
	if err != nil {
		return err
	}
	defer reviews.Close() // where something below fails: serving closes them, too
	defer probes.Close()
	registry, counts := f.series.NewRegistry("portcullis-webhook"), webhook.NewMetrics()
	registry.MustRegister(counts, telling)
	beginLoading()
	first, err := f.load(ctx, images)
	if err != nil {
		return err
	}
	site, err := f.site(first, config, images, logger, registry, &tasks)
	if err != nil {
		return err
	}
	kept, err := f.journal.open(writerName(), stdout, logger)
	if err != nil {
		return err
	}
	if kept != nil {
		defer closeJournal(ctx, kept, logger)
		registry.MustRegister(kept)
	}
	registry.Gauge("portcullis_webhook_certificate_expiry_timestamp_seconds", "When the serving certificate expires.",
		func() float64 { return float64(serving.Expires().Unix()) })
	shown, beside, err := f.decisions(ctx, config, logger)
	if err != nil {
		return err
	}
	recorder, err := f.tellEvents(shown.beside(site.recorder(kept)), config, registry.MustRegister, logger, &tasks)
	if err != nil {
		return err
	}
	handler, err := webhook.NewHandler(webhook.Options{
		Reviewer: site.reviewer,
		Callers:  callers, Logger: logger, Metrics: counts,
		MaxBody: f.maxBody, MaxBodies: f.maxBodies, MaxRunning: f.maxRunning, MaxWaiting: f.maxWait,
		TimeoutCap: f.timeoutCap, TimeoutMargin: f.timeoutMargin,
		Recorder: recorder, Journal: f.journal.dir, Traces: telling.Traces,
	})
	if err != nil {
		return err
	}
	site.handler.Store(handler)
	// Certificates must go on being renewed and facts followed while draining.
	tasksCtx, stopTasks := context.WithCancel(context.WithoutCancel(ctx))
	wait := tasks.run(tasksCtx)
	defer wait()
	defer stopTasks()
	endLoading()
	if first != nil {
		logger.Info("loaded policies", "bundle", first.Revision, "profile", cmp.Or(f.profile, "by namespace"))
	}
	f.announce(serving, logger)
	server := &webhook.Server{
		Handler:     handler,
		Certificate: serving.GetCertificate,
		Probes:      webhook.NewProbes(registry.Handler(logger), append([]webhook.Check{{Name: "certificate", Check: serving.Check}}, site.checks...)...),
		Beside:      beside,
		DrainDelay:  f.drainDelay, DrainGrace: f.drainGrace,
		Logger: logger,
	}
	return server.Serve(ctx, reviews, probes)
}

// site is what judges, and what it takes to be ready.
type site struct {
	reviewer *recent
	shadow   *shadow.Shadow // nil where no revision can be on trial
	checks   []webhook.Check
	handler  atomic.Pointer[webhook.Handler] // for the shadow, nil at first
}

// site is made of the one bundle that is loaded, or of those of the cluster where none is.
func (f *flags) site(first *revision.Revision, config *rest.Config, images *images, logger *slog.Logger, registry *metrics.Registry, tasks *background) (*site, error) {
	s := &site{}
	lineup := &admission.Lineup{}
	var reads []policies.Read
	if first != nil {
		if err := images.accepts(first.Bundle); err != nil {
			return nil, usageError{err}
		}
		lineup.Members = []admission.Member{{Active: first.Ready}}
		reads = cluster.ReadsOf(first)
	}
	ofCluster, follow, factsCheck, err := f.facts(config, reads, logger, registry, tasks)
	if err != nil {
		return nil, err
	}
	facts, err := images.facts(ofCluster, logger, registry, tasks)
	if err != nil {
		return nil, err
	}
	s.reviewer = newRecent(admission.NewLineupReviewer(lineup, facts, time.Now))
	s.reviewer.Pin(f.profile)
	s.checks = []webhook.Check{factsCheck, images.check()}
	if f.fromFolder() && f.bundleInterval > 0 {
		*tasks = append(*tasks, newBundleWatch(f, s.reviewer, first, follow, images.accepts, logger).run)
	}
	if f.fromCluster() {
		s.shadow = shadow.New(shadow.Options{Reviewer: s.reviewer, Busy: s.busy})
		bundles, err := f.watchCluster(config, images, follow, s.reviewer, s.shadow, logger, registry, tasks)
		if err != nil {
			return nil, err
		}
		s.checks = append(s.checks, bundles)
	}
	return s, nil
}

// busy says whether reviews are under way.
func (s *site) busy() bool {
	handler := s.handler.Load()
	return handler == nil || handler.Running() > 0
}

// recorder is who hears of decisions, nil for nobody.
func (s *site) recorder(kept *journal.Journal) webhook.Recorder {
	if kept == nil && s.shadow == nil {
		return nil
	}
	return recorder{journal: kept, shadow: s.shadow}
}

// facts are those of the cluster, none where it is nil, with what makes more kinds known.
func (f *flags) facts(cluster *rest.Config, reads []policies.Read, logger *slog.Logger, registry *metrics.Registry, tasks *background) (admission.Facts, func(context.Context, []policies.Read) error, webhook.Check, error) {
	check := webhook.Check{Name: "facts", Check: func() error { return nil }}
	if cluster == nil {
		logger.Warn("reading no facts: policies that need some deny; images are read without pull secrets, no scan is asked for and no pod is known to replace another", "flag", "--no-cluster")
		const reason = "the webhook runs with --no-cluster"
		check.Notes = func() []string { return []string{reason + ": policies that read the cluster fault"} }
		return informer.None{Reason: reason}, nil, check, nil
	}
	facts, err := informer.New(cluster, informer.Options{Reads: reads, MaxBytes: f.maxFactBytes, Logger: logger})
	if err != nil {
		return nil, nil, check, err
	}
	*tasks = append(*tasks, facts.Run)
	registry.Gauges("portcullis_webhook_facts_available", "Whether a kind that policies read is known: 0 where they fault.", "kind", func() map[string]float64 {
		values := map[string]float64{}
		for kind, reason := range facts.Availability() {
			values[kind] = 1
			if reason != "" {
				values[kind] = 0
			}
		}
		return values
	})
	check.Check, check.Notes = facts.Check, func() []string { return unavailable(facts) }
	return facts, facts.Follow, check, nil
}

// unavailable are the reasons why policies fault, by kind.
func unavailable(facts *informer.Facts) []string {
	var notes []string
	for _, reason := range facts.Availability() {
		if reason != "" {
			notes = append(notes, reason+": policies that read it fault")
		}
	}
	slices.Sort(notes)
	return notes
}

// cluster is how to reach the cluster, nil with --no-cluster.
func (f *flags) cluster() (*rest.Config, error) {
	if f.noCluster {
		return nil, nil
	}
	if f.kubeconfig != "" {
		config, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("reading the kubeconfig %s: %w: correct --kubeconfig, or give --no-cluster to do without", f.kubeconfig, err)
		}
		return config, nil
	}
	config, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, usagef("there is no cluster to read facts from: give --kubeconfig, or --no-cluster to do without")
	}
	return config, err
}

// servingCertificate is either kind of certificate.
type servingCertificate interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Expires() time.Time
	Check() error
	Run(context.Context)
}

func (f *flags) certificate(logger *slog.Logger, tasks *background) (servingCertificate, error) {
	serving, err := f.loadCertificate(logger)
	if err != nil {
		return nil, err
	}
	*tasks = append(*tasks, serving.Run)
	return serving, nil
}

func (f *flags) loadCertificate(logger *slog.Logger) (servingCertificate, error) {
	if f.tlsCert != "" {
		files, err := certificate.NewFiles(f.tlsCert, f.tlsKey, nil, logger)
		if err != nil {
			return nil, correct("--tls-cert and --tls-key", err)
		}
		return files, nil
	}
	names, err := f.names()
	if err != nil {
		return nil, err
	}
	return certificate.NewSelfSigned(certificate.Options{Names: names, Directory: f.certificateDir, Logger: logger})
}

// announce logs what the API server must trust where it is nowhere else to be found.
func (f *flags) announce(serving servingCertificate, logger *slog.Logger) {
	own, ok := serving.(*certificate.SelfSigned)
	if ok && f.certificateDir == "" {
		logger.Warn("the certificate authority is in memory and ends with this process: give the API server this CA bundle, or use --certificate-dir or --tls-cert", "caBundle", string(own.CABundle()))
	}
}

func (f *flags) callers(logger *slog.Logger, tasks *background) (*webhook.Callers, error) {
	mode, err := webhook.ParseCallerMode(f.caller)
	if err != nil {
		return nil, usageError{err}
	}
	callers := &webhook.Callers{Mode: mode, Names: f.clientNames}
	switch mode {
	case webhook.CallerCertificate:
		authorities, err := certificate.NewAuthorities(f.clientCA, logger)
		if err != nil {
			return nil, fmt.Errorf("%w: correct --client-ca", err)
		}
		callers.CAs = authorities.Pool
		*tasks = append(*tasks, authorities.Run)
		if len(f.clientNames) == 0 {
			logger.Warn("any certificate that the client CA signed may call: give --client-name unless it signs for the API server only")
		}
	case webhook.CallerSecretPath:
		if callers.Secret, err = f.secret(); err != nil {
			return nil, err
		}
	case webhook.CallerOpen:
		logger.Warn("ANYBODY WHO REACHES THIS PORT IS ANSWERED: every pod can send it objects to judge (CVE-2025-1974). Use --caller=certificate, or --caller=secret-path and a network policy", "caller", "open")
	}
	return callers, nil
}

func (f *flags) listenBoth() (reviews, probes net.Listener, err error) {
	if reviews, err = net.Listen("tcp", f.listen); err != nil {
		return nil, nil, fmt.Errorf("listening for reviews: %w: choose another address with --listen", err)
	}
	if probes, err = net.Listen("tcp", f.probes); err != nil {
		reviews.Close()
		return nil, nil, fmt.Errorf("listening for probes: %w: choose another address with --probes", err)
	}
	return reviews, probes, nil
}
