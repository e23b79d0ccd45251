package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
	"github.com/portcullis-dev/portcullis/cmd/internal/journalflags"
	"github.com/portcullis-dev/portcullis/cmd/internal/judging"
	"github.com/portcullis-dev/portcullis/cmd/internal/metrics"
	"github.com/portcullis-dev/portcullis/cmd/internal/telemetry"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/runtime/containment"
	"github.com/portcullis-dev/portcullis/runtime/evidence"
	"github.com/portcullis-dev/portcullis/runtime/falco"
	"github.com/portcullis-dev/portcullis/runtime/guard"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/notify"
	"github.com/portcullis-dev/portcullis/runtime/pods"
	"github.com/portcullis-dev/portcullis/runtime/quarantine"
	"github.com/portcullis-dev/portcullis/runtime/responder"
)

// actor is who acts, as people know it.
const actor = "portcullis-responder"

// lookEvery is the time between two looks whether events can be dealt with.
const lookEvery = 100 * time.Millisecond

// site is all that the program is made of.
type site struct {
	flags    *flags
	config   *rest.Config
	client   dynamic.Interface
	log      *slog.Logger
	metrics  *metrics.Registry
	identity string

	queue       *falco.Queue
	refused     *falco.DeadLetters
	receiver    *falco.Receiver
	certificate *certificate.Files
	authorities *certificate.Authorities // nil with a secret path

	images     *judging.Images
	judging    *judging.Judging
	window     atomic.Int64 // of recent events, in nanoseconds
	index      *pods.Index
	dispatcher *notify.Dispatcher
	journal    *journal.Journal // nil for none
	responder  *responder.Responder
	controller *quarantine.Controller
	served     served
	telling    *telemetry.Telemetry
}

// serve takes and answers events until ctx ends and it has drained.
func (f *flags) serve(ctx context.Context, _ io.Writer, log *slog.Logger) error {
	if err := f.check(); err != nil {
		return err
	}
	klog.SetSlogLogger(log) // what client-go has to say
	if err := f.replica.Identify(); err != nil {
		return err
	}
	config, err := f.replica.Cluster()
	if err != nil {
		return err
	}
	s := &site{flags: f, config: config, log: log, metrics: f.series.NewRegistry("portcullis-responder"), identity: f.replica.Name + "-" + suffix()}
	if s.telling, err = f.telemetry.Start(ctx, "portcullis-responder", log); err != nil {
		return err
	}
	defer s.telling.Close(ctx)
	s.telling.Cluster(config)
	s.metrics.MustRegister(s.telling)
	defer s.close(ctx)
	// What can be wrong with the installation is found before policies are compiled, which takes a while.
	events, probing, err := f.listenBoth()
	if err != nil {
		return err
	}
	defer events.Close() // where something below fails: serving closes them, too
	defer probing.Close()
	for _, open := range []func(context.Context) error{s.openReceiver, s.openJudging, s.openResponder, s.openController} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	return s.run(ctx, events, probing)
}

// suffix tells processes of one name apart: a container that is restarted is another holder of the Lease.
func suffix() string {
	random := make([]byte, 4)
	_, _ = rand.Read(random) // it never fails (crypto/rand)
	return hex.EncodeToString(random)
}

func (f *flags) listenBoth() (events, probing net.Listener, err error) {
	if events, err = net.Listen("tcp", f.listen); err != nil {
		return nil, nil, fmt.Errorf("listening for events: %w: choose another address with --listen", err)
	}
	if probing, err = net.Listen("tcp", f.probes); err != nil {
		events.Close()
		return nil, nil, fmt.Errorf("listening for probes: %w: choose another address with --probes", err)
	}
	return events, probing, nil
}

// openReceiver opens what events come in by.
func (s *site) openReceiver(context.Context) (err error) {
	f := s.flags
	if s.certificate, err = certificate.NewFiles(f.tlsCert, f.tlsKey, nil, s.log); err != nil {
		return usage.Correct("--tls-cert and --tls-key", err)
	}
	options := falco.Options{Senders: f.senders, Logger: s.log}
	if f.clientCA != "" {
		if s.authorities, err = certificate.NewAuthorities(f.clientCA, s.log); err != nil {
			return fmt.Errorf("%w: correct --client-ca", err)
		}
		options.ClientCAs = s.authorities.Pool
	}
	if options.SecretPath, err = f.secret(); err != nil {
		return err
	}
	counts := falco.NewMetrics()
	s.metrics.MustRegister(counts)
	if s.queue, err = falco.OpenQueue(falco.QueueOptions{Dir: filepath.Join(f.spool, "events"), MaxBytes: f.spoolBytes, MaxWaiting: f.maxWaiting, Metrics: counts, Logger: s.log}); err != nil {
		return fmt.Errorf("%w: correct --spool", err)
	}
	if s.refused, err = falco.OpenDeadLetters(f.spool); err != nil {
		return fmt.Errorf("%w: correct --spool", err)
	}
	options.Queue, options.Refused, options.Metrics = s.queue, s.refused, counts
	if s.receiver, err = falco.NewReceiver(options); err != nil {
		return usage.New(err)
	}
	return nil
}

// openJudging opens what judges events, and what finds their pods.
func (s *site) openJudging(ctx context.Context) (err error) {
	if s.images, err = s.flags.images.Open(); err != nil {
		return err
	}
	s.judging, err = judging.New(ctx, s.config, judging.Options{
		Bundle: &s.flags.bundle, Images: s.images, Door: admission.DoorResponder, NoOwners: "the responder judges what runs already",
		MaxFactBytes: s.flags.maxFactBytes, Register: s.metrics.MustRegister, Log: s.log,
		Installed: func(lineup *admission.Lineup) { s.window.Store(int64(windowOf(lineup))) },
		Notes: func(lineup *admission.Lineup) []string {
			if why := unguarded(lineup); why != "" {
				return []string{why}
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	s.index, err = pods.New(s.config, pods.Options{MaxPods: s.flags.maxPods, Logger: s.log, Window: func() time.Duration {
		if window := time.Duration(s.window.Load()); window > 0 {
			return window
		}
		return pods.DefaultWindow
	}})
	if err != nil {
		return err
	}
	s.metrics.Gauge("portcullis_responder_pods", "Pods that are known.", func() float64 { live, _ := s.index.Pods(); return float64(live) })
	s.metrics.Gauge("portcullis_responder_pods_gone", "Pods that are gone and still known, for events that are late.", func() float64 { _, gone := s.index.Pods(); return float64(gone) })
	return nil
}

// openResponder opens what takes an event to its Quarantine.
func (s *site) openResponder(context.Context) (err error) {
	if s.dispatcher, err = s.flags.dispatcher(s.config, s.identity, s.metrics, s.log); err != nil {
		return err
	}
	if s.journal, err = s.flags.journal.Open(actor+"/"+s.flags.replica.Name, s.log); err != nil {
		return err
	}
	if s.client, err = dynamic.NewForConfig(fast(s.config)); err != nil {
		return fmt.Errorf("making a client of the cluster: %w", err)
	}
	options := responder.Options{
		Source: queueSource{s.queue}, Resolver: s.index, Reviewer: s.judging.Reviewer, Proposer: quarantine.NewStore(s.client, quarantine.StoreOptions{}),
		Notifier: s.dispatcher, Namespace: s.flags.replica.Namespace, DryRun: s.flags.dryRun, Parallel: s.flags.parallel,
		Metrics: responder.NewMetrics(), Logger: s.log, Traces: s.telling.Traces,
	}
	if s.journal != nil {
		options.Recorder = s.journal
		s.metrics.MustRegister(s.journal)
	}
	s.metrics.MustRegister(options.Metrics)
	s.responder, err = responder.New(options)
	return err
}

// fast is a configuration whose client does not throttle itself: bursts are what this program is for, and the API server has
// priority and fairness.
func fast(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 200, 400
	return config
}

// openController opens what takes Quarantines from step to step.
func (s *site) openController(context.Context) error {
	acts, err := containment.New(fast(s.config), containment.Options{Namespace: s.flags.replica.Namespace, CNI: isolation.CNI(s.flags.cni), Actor: actor, Logger: s.log})
	if err != nil {
		return err
	}
	keeps, err := evidence.New(fast(s.config), evidence.Options{Logger: s.log})
	if err != nil {
		return err
	}
	counts := quarantine.NewMetrics()
	s.metrics.MustRegister(counts)
	options := quarantine.Options{
		Config: s.config, Namespace: s.flags.replica.Namespace, Identity: s.identity, Lease: s.flags.lease, LeaseDuration: s.flags.leaseDuration,
		Cluster: acts, Capturer: keeps, Notifier: s.dispatcher, Metrics: counts, Log: s.log, Traces: s.telling.Traces,
	}
	if s.journal != nil {
		options.Journal = transitions{s.journal}
	}
	s.controller, err = quarantine.NewController(options)
	return err
}

// dispatcher is who tells people: as the file says, or Events of Kubernetes.
func (f *flags) dispatcher(config *rest.Config, instance string, registry *metrics.Registry, log *slog.Logger) (*notify.Dispatcher, error) {
	told := &notify.Config{Receivers: []notify.ReceiverConfig{{Name: "events", Events: &notify.EventsConfig{}}}}
	if f.notify != "" {
		content, err := os.ReadFile(f.notify)
		if err != nil {
			return nil, usage.Correct("--notify", fmt.Errorf("reading who is told: %w", err))
		}
		if told, err = notify.ReadConfig(content); err != nil {
			return nil, usage.UnlessFile("--notify", err)
		}
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	routes, err := told.Routes(notify.Surroundings{Events: client.EventsV1(), Namespace: f.replica.Namespace, Instance: instance, Environment: os.LookupEnv})
	if err != nil {
		return nil, usage.UnlessFile("--notify", err)
	}
	counts := notify.NewMetrics()
	registry.MustRegister(counts)
	return notify.NewDispatcher(notify.Options{Routes: routes, Metrics: counts, Logger: log}), nil
}

// run serves until ctx ends, drains, and waits for all that it has begun.
func (s *site) run(ctx context.Context, events, probing net.Listener) error {
	answers := newProbes(s.metrics, s.log,
		part{name: "events", notes: s.queueNotes},
		part{name: "certificate", notes: s.certificateNotes},
		part{name: "quarantines", check: s.served.check},
		part{name: "pods", check: s.index.Check, notes: s.index.Notes},
		part{name: "policies", check: s.judging.Check, notes: s.judging.Notes},
	)
	// Certificates go on being renewed and pods followed while draining.
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	acting, stopActing := context.WithCancelCause(context.WithoutCancel(ctx))
	var watching, working sync.WaitGroup
	defer func() {
		stopActing(nil)
		working.Wait()
		stopBackground()
		watching.Wait()
	}()
	for _, task := range s.tasks() {
		watching.Go(func() { task(background) })
	}
	work := func(task func(context.Context) error) {
		working.Go(func() {
			if err := task(acting); err != nil {
				stopActing(err)
			}
		})
	}
	work(s.controller.Run)
	work(func(ctx context.Context) error { return s.respond(ctx, answers) })
	subscriptions, err := s.flags.grpc.subscriptions()
	if err != nil {
		return err
	}
	for _, one := range subscriptions {
		working.Go(func() { subscribe(acting, one, s.queue, s.refused, s.log) })
	}
	return s.listen(ctx, acting, answers, events, probing)
}

// respond deals with events once their pods can be found and policies judge: before, each would be given up.
func (s *site) respond(ctx context.Context, answers *probes) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	said := ""
	for {
		err := answers.waiting()
		if err == nil {
			break
		}
		if said != err.Error() {
			said = err.Error()
			s.log.Info("events are kept and wait", "reason", said)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
	s.log.Info("dealing with events")
	return s.responder.Run(ctx)
}

// tasks are what runs beside all others until the end.
func (s *site) tasks() []func(context.Context) {
	tasks := append(s.judging.Tasks(), s.index.Run, s.certificate.Run, func(ctx context.Context) { s.served.ask(ctx, s.client) })
	if s.flags.webhook != "" {
		tasks = append(tasks, s.guard)
	}
	if s.authorities != nil {
		tasks = append(tasks, s.authorities.Run)
	}
	return tasks
}

// guard has the API server ask the webhook about what tokens of quarantined pods write. Every replica does: what has to be follows from
// the objects.
func (s *site) guard(ctx context.Context) {
	if err := guard.New(s.client, guard.Options{Source: s.flags.webhook, Logger: s.log}).Run(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("tokens of quarantined pods are not guarded", "error", err)
	}
}

// listen answers senders and probes until ctx ends, or acting does because of a failure, and then drains.
func (s *site) listen(ctx, acting context.Context, answers *probes, events, probing net.Listener) error {
	server, probeServer := s.receiver.Server(s.certificate.GetCertificate), answers.server()
	failed := make(chan error, 2)
	go func() { failed <- probeServer.Serve(probing) }()
	go func() { failed <- server.ServeTLS(falco.Limit(events, s.flags.connections), "", "") }()
	defer probeServer.Close()
	s.log.Info("serving", "events", events.Addr().String(), "probes", probing.Addr().String(), "name", s.identity, "dryRun", s.flags.dryRun)
	select {
	case err := <-failed:
		server.Close()
		return fmt.Errorf("serving: %w", err)
	case <-acting.Done():
		server.Close()
		return context.Cause(acting)
	case <-ctx.Done():
	}
	return s.drain(answers, server)
}

// drain goes on taking events until the cluster has noticed, and then finishes what is under way. What waits stays on disk.
func (s *site) drain(answers *probes, server *http.Server) error {
	s.log.Info("draining", "delay", s.flags.drainDelay.String(), "grace", s.flags.drainGrace.String())
	answers.draining.Store(true)
	time.Sleep(s.flags.drainDelay)
	grace, cancel := context.WithTimeout(context.Background(), s.flags.drainGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		server.Close()
		if !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("draining: %w", err)
		}
		return fmt.Errorf("draining: events were still under way after %s: raise --drain-grace", s.flags.drainGrace)
	}
	s.log.Info("drained")
	return nil
}

// close ends what was opened, in the order in which one part needs another.
func (s *site) close(ctx context.Context) {
	if s.dispatcher != nil {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalClose)
		s.dispatcher.Close(ending)
		cancel()
	}
	if s.journal != nil {
		journalflags.Close(ctx, s.journal, journalClose, s.log)
	}
	if s.images != nil {
		s.images.Close()
	}
	if s.queue != nil {
		if err := s.queue.Close(); err != nil {
			s.log.Error("closing the folder of events failed", "error", err)
		}
	}
	if s.refused != nil {
		_ = s.refused.Close() // nothing is lost: each line is written at once
	}
}

// queueNotes say what is wrong with the log of events.
func (s *site) queueNotes() []string {
	if volatile := s.queue.Status().Volatile; volatile > 0 {
		return []string{fmt.Sprintf("%d events are in memory only, since the disk does not take them: see the log", volatile)}
	}
	return nil
}

func (s *site) certificateNotes() []string {
	if err := s.certificate.Check(); err != nil {
		return []string{err.Error()}
	}
	return nil
}
