package soak

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/runtime/quarantine"
	"github.com/portcullis-dev/portcullis/runtime/response"
	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/installation"
	"github.com/portcullis-dev/portcullis/test/programs"
)

const (
	// eventEvery is the pause between two events, each about a pod of its own.
	eventEvery = 3 * time.Second
	// eventTimeout bounds one attempt to send one.
	eventTimeout = 5 * time.Second
	// eventDelay is how long an acknowledged event may take to be answered while nothing fails.
	eventDelay = 10 * time.Second
)

// victim is a pod about which an event was acknowledged.
type victim struct {
	name, uid    string
	acknowledged time.Time
	asked        bool // for a release; the answer may have been lost
	release      bool // somebody asked for it, and was answered
}

// eventLoad reports reverse shells in pods, and releases every second quarantine.
type eventLoad struct {
	*soak
	store   *quarantine.Store
	person  *quarantine.Store // as the one on call
	sender  *http.Client
	address string // of a responder that was there

	lock    sync.Mutex
	victims []*victim
}

func newEventLoad(s *soak) *eventLoad {
	return &eventLoad{soak: s, store: quarantine.NewStore(s.Dynamic, quarantine.StoreOptions{})}
}

func (l *eventLoad) run(ctx context.Context) {
	if err := l.login(); err != nil {
		l.report.problem(fmt.Errorf("sending events: %w", err))
		return
	}
	for n := 0; l.sleep(ctx, eventEvery) == nil; n++ {
		pod, err := l.pod(ctx, n)
		if err != nil {
			continue // while the API server fails there is no pod to report
		}
		one := &victim{name: pod.Name, uid: string(pod.UID)}
		if err := until(ctx, func(ctx context.Context) error { return l.post(ctx, eventAbout(pod)) }); err != nil {
			return
		}
		one.acknowledged = time.Now()
		l.lock.Lock()
		l.victims = append(l.victims, one)
		l.lock.Unlock()
		l.releaseSome(ctx)
	}
}

// login makes the clients of the sender and of the person on call.
func (l *eventLoad) login() (err error) {
	if l.sender, err = l.client(); err != nil {
		return err
	}
	config, err := l.Control.Config(onCall)
	if err != nil {
		return err
	}
	person, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	l.person = quarantine.NewStore(person, quarantine.StoreOptions{})
	return nil
}

// client is a sender, as falcosidekick is one.
func (l *eventLoad) client() (*http.Client, error) {
	pair, err := l.Senders.Issue(installation.Sender)
	if err != nil {
		return nil, err
	}
	own, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(l.Serving.File)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &http.Client{Timeout: eventTimeout, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{own}, ServerName: "portcullis-responder", MinVersion: tls.VersionTLS12,
	}}}, nil
}

// pod makes one that runs, of an image of its own, since incidents are about images.
func (l *eventLoad) pod(ctx context.Context, n int) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	pods := l.Client.CoreV1().Pods(victimNamespace)
	name := fmt.Sprintf("victim-%d", n)
	pod := podNamed(victimNamespace, name, fmt.Sprintf("registry.example.com/victim@sha256:%x", sha256.Sum256([]byte(name))))
	if err := until(ctx, func(ctx context.Context) error {
		_, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			err = nil
		}
		return err
	}); err != nil {
		return nil, err
	}
	err := until(ctx, func(ctx context.Context) (err error) {
		if pod, err = pods.Get(ctx, name, metav1.GetOptions{}); err == nil && pod.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("it is %s", pod.Status.Phase)
		}
		return err
	})
	return pod, err
}

func eventAbout(pod *corev1.Pod) programs.FalcoEvent {
	now := time.Now().UTC()
	return programs.FalcoEvent{
		Hostname: "here", Output: "Notice Redirect stdout/stdin to network connection", Priority: "Notice",
		Rule: "Redirect STDOUT/STDIN to Network Connection in Container", Source: "syscall", Time: now, Tags: []string{"T1059", "container", "mitre_execution"},
		Fields: map[string]any{
			"k8s.ns.name": pod.Namespace, "k8s.pod.name": pod.Name, "k8s.pod.uid": string(pod.UID),
			"proc.name": "bash", "proc.pname": "python3", "proc.cmdline": "bash -i", "fd.name": "10.244.0.7:51820->203.0.113.7:4444", "evt.time": now.UnixNano(),
		},
	}
}

// post sends an event to where the Service says that a responder is, or was when it last said so.
func (l *eventLoad) post(ctx context.Context, event programs.FalcoEvent) error {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	slices, err := l.Client.DiscoveryV1().EndpointSlices(installation.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=portcullis-responder"})
	if err == nil {
		for _, slice := range slices.Items {
			if len(slice.Ports) > 0 && len(slice.Endpoints) > 0 && *slice.Endpoints[0].Conditions.Ready {
				l.address = net.JoinHostPort(slice.Endpoints[0].Addresses[0], strconv.Itoa(int(*slice.Ports[0].Port)))
			}
		}
	}
	if l.address == "" {
		return errors.New("there is no responder")
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), eventTimeout) // an API server that hangs has used up the time
	defer stop()
	status, text, err := event.Post(ctx, l.sender, "https://"+l.address+"/v1/falco")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, text)
	}
	return err
}

// releaseSome asks for the end of every second quarantine that holds.
func (l *eventLoad) releaseSome(ctx context.Context) {
	for n, one := range l.all() {
		if n%2 == 0 || one.release {
			continue
		}
		q, err := l.store.Get(ctx, response.QuarantineName(one.uid))
		if err != nil || q.Status.Phase != runtimev1alpha1.PhaseContained {
			continue
		}
		l.lock.Lock()
		one.asked = true
		l.lock.Unlock()
		if l.person.Release(ctx, q.Name, runtimev1alpha1.Statement{By: onCall, Reason: "it was a drill"}) == nil {
			l.lock.Lock()
			one.release = true
			l.lock.Unlock()
		}
	}
}

func (l *eventLoad) all() []*victim {
	l.lock.Lock()
	defer l.lock.Unlock()
	return append([]*victim(nil), l.victims...)
}

// settled says whether all events that are not new have been answered.
func (l *eventLoad) settled(ctx context.Context) error {
	_, err := l.state(ctx, eventDelay)
	return err
}

// state goes through all events that are older than an age: each has one Quarantine, which holds, with one Incident, or was released.
func (l *eventLoad) state(ctx context.Context, age time.Duration) (wrong []string, err error) {
	list, err := l.store.List(ctx)
	if err != nil {
		return nil, err
	}
	by := map[string]*runtimev1alpha1.Quarantine{}
	for n := range list {
		by[list[n].Name] = &list[n]
	}
	for _, one := range l.all() {
		if time.Since(one.acknowledged) < age {
			continue
		}
		if problem := l.answer(one, by[response.QuarantineName(one.uid)]); problem != "" {
			wrong = append(wrong, fmt.Sprintf("the event about %s, acknowledged %s ago: %s", one.name, time.Since(one.acknowledged).Round(time.Second), problem))
		}
	}
	if len(wrong) > 0 {
		return wrong, errors.New(strings.Join(wrong[:min(len(wrong), 5)], "; "))
	}
	return nil, nil
}

// answer says what is wrong with what came of an event, "" for nothing.
func (l *eventLoad) answer(one *victim, q *runtimev1alpha1.Quarantine) string {
	l.lock.Lock()
	asked, release := one.asked, one.release
	l.lock.Unlock()
	if q == nil {
		return "there is no Quarantine"
	}
	want := runtimev1alpha1.PhaseContained
	if release || asked && q.Spec.Release != nil {
		want = runtimev1alpha1.PhaseReleased
	}
	switch {
	case !asked && q.Spec.Release != nil:
		return fmt.Sprintf("it was released by %s, and nobody asked", q.Spec.Release.By)
	case q.Status.Phase != want:
		return fmt.Sprintf("it is %s (%s), want %s", q.Status.Phase, q.Status.Reason, want)
	case want == runtimev1alpha1.PhaseContained && len(q.Status.Incidents) != 1: // a release takes them back
		return fmt.Sprintf("it made %d Incidents: %q", len(q.Status.Incidents), q.Status.Incidents)
	case q.Status.Reopened != 0:
		return "it was answered twice"
	}
	return ""
}

// end waits until every event is answered, and counts.
func (l *eventLoad) end(ctx context.Context) {
	var wrong []string
	err := until(ctx, func(ctx context.Context) (err error) {
		wrong, err = l.state(ctx, 0)
		return err
	})
	if err != nil && len(wrong) == 0 {
		wrong = []string{err.Error()}
	}
	quarantines, err := l.store.List(context.WithoutCancel(ctx))
	if err != nil {
		l.report.problem(err)
	}
	if got, want := len(quarantines), len(l.all()); got > want+1 { // one may have been sent and not acknowledged
		wrong = append(wrong, fmt.Sprintf("there are %d Quarantines for %d events", got, want))
	}
	released := 0
	for _, one := range l.all() {
		if one.release {
			released++
		}
	}
	l.report.events(len(l.all()), released, wrong)
	journals, err := filepath.Glob(filepath.Join(l.dir, "installation", "node", "claims", installation.Namespace, "*", "journal"))
	if err != nil {
		l.report.problem(err)
	}
	if _, broken, err := written(context.WithoutCancel(ctx), journals); err != nil || len(broken) > 0 {
		l.report.problem(fmt.Errorf("the responder's journal: %v %w", broken, err))
	}
}
