package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/cmd/internal/journalflags"
	"github.com/portcullis-dev/portcullis/cmd/internal/judging"
	"github.com/portcullis-dev/portcullis/cmd/internal/metrics"
	"github.com/portcullis-dev/portcullis/cmd/internal/telemetry"
	"github.com/portcullis-dev/portcullis/cmd/internal/version"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/controller"
	"github.com/portcullis-dev/portcullis/secrets/destination"
	"github.com/portcullis-dev/portcullis/secrets/leases"
	"github.com/portcullis-dev/portcullis/secrets/restart"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/secrets/vault"
)

// lookEvery is the time between two looks whether policies can be asked.
const lookEvery = 100 * time.Millisecond

// poolClose is how long logins that hold no lease may take to be given back.
const poolClose = 2 * time.Second

// site is all that the program is made of.
type site struct {
	flags    *flags
	log      *slog.Logger
	identity string
	metrics  *metrics.Registry

	config     *rest.Config
	client     dynamic.Interface
	kubernetes kubernetes.Interface
	images     *judging.Images
	judging    *judging.Judging
	journal    *journal.Journal // nil for none
	pool       *vault.Pool
	events     record.EventBroadcaster
	controller *controller.Controller
	telling    *telemetry.Telemetry
}

// serve keeps secrets until ctx ends.
func (f *flags) serve(ctx context.Context, log *slog.Logger) error {
	if err := f.check(); err != nil {
		return err
	}
	klog.SetSlogLogger(log) // what client-go has to say
	if err := f.replica.Identify(); err != nil {
		return err
	}
	s := &site{flags: f, log: log, identity: f.replica.Name + "-" + suffix(), metrics: f.series.NewRegistry("portcullis-secrets")}
	telling, err := f.telemetry.Start(ctx, "portcullis-secrets", log)
	if err != nil {
		return err
	}
	defer telling.Close(ctx)
	s.telling = telling
	s.metrics.MustRegister(telling)
	defer s.close(ctx)
	probing, err := net.Listen("tcp", f.probes)
	if err != nil {
		return fmt.Errorf("listening for probes: %w: correct --probes", err)
	}
	defer probing.Close() // where something below fails: serving closes it, too
	for _, open := range []func(context.Context) error{s.openCluster, s.openJudging, s.openController} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	endLoading()
	return s.run(ctx, probing)
}

// suffix tells processes of one name apart: a container that is restarted is another holder of the Lease.
func suffix() string {
	random := make([]byte, 4)
	_, _ = rand.Read(random) // it never fails (crypto/rand)
	return hex.EncodeToString(random)
}

// openCluster makes the clients of the cluster.
func (s *site) openCluster(context.Context) (err error) {
	if s.config, err = s.flags.replica.Cluster(); err != nil {
		return err
	}
	s.telling.Cluster(s.config)
	// 5,000 objects at a start are more than a client that throttles itself lets through, and the API server has priority and fairness.
	config := rest.CopyConfig(s.config)
	config.QPS, config.Burst = 200, 400
	config.UserAgent = v1alpha1.ManagedBy + "/" + version.String()
	if s.client, err = dynamic.NewForConfig(config); err != nil {
		return fmt.Errorf("making a client of the cluster: %w", err)
	}
	if s.kubernetes, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("making a client of the cluster: %w", err)
	}
	return nil
}

// openJudging opens what says whether something is synced, and what is kept of that.
func (s *site) openJudging(ctx context.Context) (err error) {
	if s.images, err = s.flags.images.Open(); err != nil {
		return err
	}
	if s.journal, err = s.flags.journal.Open(v1alpha1.ManagedBy+"/"+s.flags.replica.Name, s.log); err != nil {
		return err
	}
	if s.journal != nil {
		s.metrics.MustRegister(s.journal)
	}
	s.judging, err = judging.New(ctx, s.config, judging.Options{
		Bundle: &s.flags.bundle, Images: s.images, Door: admission.DoorSecrets, NoOwners: "portcullis-secrets judges no pods",
		MaxFactBytes: s.flags.maxFactBytes, Register: s.metrics.MustRegister, Log: s.log,
		Installed: func(*admission.Lineup) {
			if s.controller != nil { // nil for the first
				s.controller.Requeue("other policies judge")
			}
		},
	})
	return err
}

// openController opens what keeps secrets.
func (s *site) openController(ctx context.Context) error {
	key, err := hashKey(ctx, s.kubernetes, s.flags.replica.Namespace, s.log)
	if err != nil {
		return err
	}
	hasher := secrets.NewHasher(key)
	key.Clear()
	var kms leases.Sealer
	if s.flags.kmsSocket != "" {
		if kms, err = leases.NewKMS(context.WithoutCancel(ctx), s.flags.kmsSocket); err != nil {
			return fmt.Errorf("%w: correct --kms-socket, or see that the plugin runs", err)
		}
	}
	s.pool = vault.NewPool(vault.Options{
		Cluster: vault.NewCluster(s.kubernetes), Log: s.log, Registerer: s.metrics, UserAgent: v1alpha1.ManagedBy + "/" + version.String(),
	})
	s.events = record.NewBroadcaster()
	s.events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: s.kubernetes.CoreV1().Events("")})
	judge := controller.Judge(s.judging.Reviewer)
	if s.flags.between != nil {
		judge = s.flags.between(judge)
	}
	writer, restarter := destination.New(s.kubernetes, hasher), restart.New(s.kubernetes, clock.RealClock{}, hasher)
	writer.Used = restarter.Uses
	made, err := controller.New(controller.Options{
		Client: s.client, Kubernetes: s.kubernetes, Vaults: controller.Pool(s.pool), Judge: judge, Record: recorder(s.journal), Traces: s.telling.Traces,
		Hasher: hasher, KMS: kms, Leases: leases.NewStore(s.client, s.flags.replica.Namespace),
		Writer: writer, Restarter: restarter,
		NewWatcher: func(changed func(destination.Owner)) controller.Watcher {
			writer.Watcher = destination.NewWatcher(s.kubernetes, s.flags.watches, changed)
			return writer.Watcher
		},
		Namespace: s.flags.replica.Namespace, Identity: s.identity, LeaseDuration: s.flags.leaseDuration, Log: s.log, Registerer: s.metrics, Workers: s.flags.workers,
		Recorder: s.events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: v1alpha1.ManagedBy, Host: s.flags.replica.Name}),
	})
	s.controller = made
	return err
}

// run keeps secrets until ctx ends, and waits for all that it has begun, as long as --end-grace allows.
func (s *site) run(ctx context.Context, probing net.Listener) error {
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	acting, stopActing := context.WithCancelCause(ctx)
	var watching, working sync.WaitGroup
	defer func() {
		stopActing(nil)
		ended := make(chan struct{})
		go func() { working.Wait(); stopBackground(); watching.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(s.flags.endGrace):
			stopBackground()
			s.log.Warn("something was still under way: it is broken off, and whoever acts next goes on with it", "after", s.flags.endGrace.String())
		}
	}()
	for _, task := range s.judging.Tasks() {
		watching.Go(func() { task(background) })
	}
	server := probes(s.metrics.Handler(s.log),
		part{name: "objects", check: served(s.client)},
		part{name: "policies", check: func(context.Context) error { return s.judging.Check() }, notes: s.judging.Notes},
	)
	defer server.Close()
	working.Go(func() {
		if err := server.Serve(probing); !errors.Is(err, http.ErrServerClosed) {
			stopActing(fmt.Errorf("serving probes: %w", err))
		}
	})
	context.AfterFunc(acting, func() { _ = server.Close() })
	working.Go(func() {
		if err := s.whenReady(acting); err != nil {
			return // it ends
		}
		if err := s.controller.Run(acting); err != nil {
			stopActing(err)
		}
	})
	s.log.Info("serving", "probes", probing.Addr().String(), "name", s.identity, "namespace", s.flags.replica.Namespace)
	<-acting.Done()
	if ctx.Err() == nil {
		return context.Cause(acting)
	}
	s.log.Info("ending: leases stay as they are")
	return nil
}

// whenReady waits until policies can be asked: whoever leads without them would have every sync undecided.
func (s *site) whenReady(ctx context.Context) error {
	said := ""
	for {
		err := s.judging.Check()
		if err == nil {
			return nil
		}
		if said != err.Error() {
			said = err.Error()
			s.log.Info("it takes no part in the election yet: policies cannot be asked", "reason", said)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

// close ends what was opened, in the order in which one part needs another. Tokens that hold leases are not revoked.
func (s *site) close(ctx context.Context) {
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), poolClose)
	defer cancel()
	if s.pool != nil {
		s.pool.Close(ending)
	}
	if s.events != nil {
		s.events.Shutdown()
	}
	if s.journal != nil {
		journalflags.Close(ctx, s.journal, journalClose, s.log)
	}
	if s.images != nil {
		s.images.Close()
	}
}
