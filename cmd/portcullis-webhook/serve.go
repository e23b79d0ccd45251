package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/informer"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
	"github.com/portcullis-dev/portcullis/policies"
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
func serve(ctx context.Context, f *flags, logger *slog.Logger) error {
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
	cluster, err := f.cluster()
	if err != nil {
		return err
	}
	images, err := f.images.open(cluster)
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
	beginLoading()
	engine, err := loadEngine(f)
	if err != nil {
		return err
	}
	if err := images.accepts(engine.Bundle()); err != nil {
		return usageError{err}
	}
	metrics := webhook.NewMetrics()
	ofCluster, factsCheck, err := f.facts(cluster, engine.Bundle(), logger, metrics, &tasks)
	if err != nil {
		return err
	}
	facts, err := images.facts(ofCluster, logger, metrics, &tasks)
	if err != nil {
		return err
	}
	metrics.Gauge("portcullis_webhook_certificate_expiry_timestamp_seconds", "When the serving certificate expires.",
		func() float64 { return float64(serving.Expires().Unix()) })
	reviewer := admission.NewReviewer(engine, facts, time.Now)
	reviewer.Pin(f.profile)
	if f.bundle != "" && f.bundleInterval > 0 {
		tasks = append(tasks, newBundleWatch(f, reviewer, images.accepts, logger).run)
	}
	handler, err := webhook.NewHandler(webhook.Options{
		Reviewer: reviewer,
		Callers:  callers, Logger: logger, Metrics: metrics,
		MaxBody: f.maxBody, MaxBodies: f.maxBodies, MaxRunning: f.maxRunning, MaxWaiting: f.maxWait,
		TimeoutCap: f.timeoutCap, TimeoutMargin: f.timeoutMargin,
	})
	if err != nil {
		return err
	}
	// Certificates must go on being renewed and facts followed while draining.
	tasksCtx, stopTasks := context.WithCancel(context.WithoutCancel(ctx))
	wait := tasks.run(tasksCtx)
	defer wait()
	defer stopTasks()
	endLoading()
	logger.Info("loaded policies", "bundle", engine.Bundle().Revision(), "profile", cmp.Or(f.profile, "by namespace"))
	f.announce(serving, logger)
	server := &webhook.Server{
		Handler:     handler,
		Certificate: serving.GetCertificate,
		Probes: webhook.NewProbes(metrics,
			webhook.Check{Name: "certificate", Check: serving.Check},
			factsCheck, images.check()),
		DrainDelay: f.drainDelay, DrainGrace: f.drainGrace,
		Logger: logger,
	}
	return server.Serve(ctx, reviews, probes)
}

// facts are those of the cluster, none where it is nil.
func (f *flags) facts(cluster *rest.Config, bundle *policies.Bundle, logger *slog.Logger, metrics *webhook.Metrics, tasks *background) (admission.Facts, webhook.Check, error) {
	check := webhook.Check{Name: "facts", Check: func() error { return nil }}
	if cluster == nil {
		logger.Warn("reading no facts: policies that need some deny; images are read without pull secrets, no scan is asked for and no pod is known to replace another", "flag", "--no-cluster")
		const reason = "the webhook runs with --no-cluster"
		check.Notes = func() []string { return []string{reason + ": policies that read the cluster fault"} }
		return informer.None{Reason: reason}, check, nil
	}
	facts, err := informer.New(cluster, informer.Options{Reads: reads(bundle), MaxBytes: f.maxFactBytes, Logger: logger})
	if err != nil {
		return nil, check, err
	}
	*tasks = append(*tasks, facts.Run)
	metrics.Gauges("portcullis_webhook_facts_available", "Whether a kind that policies read is known: 0 where they fault.", "kind", func() map[string]float64 {
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
	return facts, check, nil
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

// reads are the kinds that configured policies declare for the admission door.
func reads(bundle *policies.Bundle) []policies.Read {
	var reads []policies.Read
	add := func(instances []policies.Instance) {
		for _, instance := range instances {
			policy := bundle.Policies[instance.Policy]
			if policy == nil || instance.Enforcement == policies.EnforceOff {
				continue
			}
			if len(policy.Doors) > 0 && !slices.Contains(policy.Doors, policies.DoorAdmission) {
				continue
			}
			for _, declared := range policy.Reads {
				read := policies.Read{Group: declared.Group, Resource: declared.Resource}
				if !slices.Contains(reads, read) {
					reads = append(reads, read)
				}
			}
		}
	}
	add(bundle.Manifest.Policies)
	for _, profile := range bundle.Manifest.Profiles {
		add(profile.Policies)
	}
	return reads
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
