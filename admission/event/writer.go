package event

import (
	"cmp"
	"container/list"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedeventsv1 "k8s.io/client-go/kubernetes/typed/events/v1"
)

// ReportingController is who tells.
const ReportingController = "portcullis.dev/webhook"

// Limits, so that a namespace that has thousands of requests denied neither fills etcd nor takes the word from others. client-go's own recorder has a bucket of 25 for
// each object, refilled every five minutes (k8s.io/client-go/tools/record).
const (
	// Events of a namespace, written a second, and at once.
	DefaultNamespaceRate  = 1
	DefaultNamespaceBurst = 10
	// Of all namespaces.
	DefaultRate  = 5
	DefaultBurst = 50

	maxQueue      = 256
	maxSeries     = 1024
	maxNamespaces = 1024
	// A series is written at most so often, and ends where nothing was seen for so long (k8s.io/client-go/tools/events has six minutes).
	seriesEvery = 10 * time.Second
	seriesEnd   = 6 * time.Minute
	// How long the API server may take for one Event.
	writeTimeout = 5 * time.Second
	// How long series are still written when the program ends.
	endTimeout = 2 * time.Second
)

// Results of Events: values of the label result.
const (
	resultCreated = "created"
	resultCounted = "counted" // a repeat, in an Event that is there
	resultDropped = "dropped" // over a limit
	resultFailed  = "failed"  // the API server did not take it
)

// Options of a [Writer]. Client is required.
type Options struct {
	Client typedeventsv1.EventsGetter
	// Instance is this replica.
	Instance string
	// NamespaceRate and Rate are Events a second, the bursts how many at once; 0 for the defaults.
	NamespaceRate, Rate   float64
	NamespaceBurst, Burst int
	// Now is the clock, Tick how often series are looked at; time.Now and time.Tick by default.
	Now  func() time.Time
	Tick func(time.Duration) <-chan time.Time
	Log  *slog.Logger
}

// Writer writes Events. It is a Recorder of package webhook.
type Writer struct {
	options Options
	queue   chan telling
	results *prometheus.CounterVec

	// Of the one goroutine that writes:
	series  map[string]*list.Element // of *series
	recent  *list.List               // those seen last come first
	all     *rate.Limiter
	limits  map[string]*rate.Limiter
	failing bool
}

// telling is one decision to tell of.
type telling struct {
	key       string // what repeats have in common
	regarding corev1.ObjectReference
	related   *corev1.ObjectReference
	reason    string
	action    string
	note      string
	at        time.Time
}

// series is an Event that was written, and how often it happened.
type series struct {
	key             string
	namespace, name string
	count           int32 // how often it was seen
	seen, written   time.Time
	told            int32 // how many of them are written
}

// NewWriter makes a Writer. It writes while [Writer.Run] runs.
func NewWriter(o Options) (*Writer, error) {
	if o.Client == nil {
		return nil, errors.New("writing Events takes a client of the cluster")
	}
	o.NamespaceRate, o.NamespaceBurst = cmp.Or(o.NamespaceRate, DefaultNamespaceRate), cmp.Or(o.NamespaceBurst, DefaultNamespaceBurst)
	o.Rate, o.Burst = cmp.Or(o.Rate, DefaultRate), cmp.Or(o.Burst, DefaultBurst)
	o.Instance = bounded(cmp.Or(o.Instance, "unknown"), 128) // the API server's limit
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tick == nil {
		o.Tick = time.Tick
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := &Writer{
		options: o, queue: make(chan telling, maxQueue), series: map[string]*list.Element{}, recent: list.New(),
		all: rate.NewLimiter(rate.Limit(o.Rate), o.Burst), limits: map[string]*rate.Limiter{},
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_webhook_events_total",
			Help: "Kubernetes Events about decisions: created, counted in one that is there, dropped over a limit, failed at the API server.",
		}, []string{"result"}),
	}
	for _, result := range []string{resultCreated, resultCounted, resultDropped, resultFailed} {
		w.results.WithLabelValues(result)
	}
	return w, nil
}

// Describe implements [prometheus.Collector].
func (w *Writer) Describe(descs chan<- *prometheus.Desc) { w.results.Describe(descs) }

// Collect implements [prometheus.Collector].
func (w *Writer) Collect(metrics chan<- prometheus.Metric) { w.results.Collect(metrics) }

// Record hands over what there is to tell of a decision, and never waits. It keeps nothing of the decision.
func (w *Writer) Record(_ context.Context, d *admission.Decision) {
	reason, ok := reasonOf(d)
	if !ok {
		return
	}
	regarding, related := about(&d.Request, d.Verdict.Admitted)
	note, whom := noteOf(d, reason)
	one := telling{regarding: regarding, related: related, reason: reason, action: actionOf(d.Request.Operation), note: note, at: d.Time}
	one.key = strings.Join(append([]string{
		regarding.Namespace, regarding.Kind, regarding.Name, string(regarding.UID), reason, one.action, d.Request.Resource.Resource, d.Request.SubResource, relatedName(d, related),
	}, slices.Compact(whom)...), "\x00")
	select {
	case w.queue <- one:
	default:
		w.count(resultDropped)
	}
}

// relatedName is the name of what was to be created, without what makes names of generated ones differ.
func relatedName(d *admission.Decision, related *corev1.ObjectReference) string {
	if related == nil {
		return ""
	}
	if generated := readMetadata(d.Request.Object).GenerateName; generated != "" {
		return generated
	}
	return related.Name
}

// actionOf is an operation in UpperCamel.
func actionOf(operation string) string {
	if operation == "" {
		return "Unknown"
	}
	return operation[:1] + strings.ToLower(operation[1:])
}

// Run writes until the context ends, and then what is known of series.
func (w *Writer) Run(ctx context.Context) {
	tick := w.options.Tick(seriesEvery)
	for {
		select {
		case one := <-w.queue:
			w.tell(ctx, one)
		case <-tick:
			w.look(ctx, false)
		case <-ctx.Done():
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
			defer cancel()
			w.look(ending, true)
			return
		}
	}
}

// tell creates an Event, or counts it in one that is there.
func (w *Writer) tell(ctx context.Context, one telling) {
	if element := w.series[one.key]; element != nil {
		known := element.Value.(*series)
		if one.at.Sub(known.seen) < seriesEnd {
			known.count++
			known.seen = one.at
			w.recent.MoveToFront(element)
			w.count(resultCounted)
			return
		}
		w.forget(element)
	}
	namespace := cmp.Or(one.regarding.Namespace, metav1.NamespaceDefault)
	if !w.may(namespace) {
		w.count(resultDropped)
		return
	}
	name, err := w.create(ctx, namespace, one)
	w.noticed(err)
	if err != nil {
		w.count(resultFailed)
		return
	}
	w.count(resultCreated)
	w.series[one.key] = w.recent.PushFront(&series{key: one.key, namespace: namespace, name: name, count: 1, told: 1, seen: one.at, written: w.options.Now()})
	if w.recent.Len() > maxSeries {
		w.forget(w.recent.Back())
	}
}

func (w *Writer) create(ctx context.Context, namespace string, one telling) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	made, err := w.options.Client.Events(namespace).Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: nameOf(one.regarding.Name)},
		EventTime:  metav1.NewMicroTime(one.at), Type: corev1.EventTypeWarning, Reason: one.reason, Action: one.action, Note: one.note,
		Regarding: one.regarding, Related: one.related, ReportingController: ReportingController, ReportingInstance: w.options.Instance,
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return made.Name, nil
}

// nameOf is a name for an Event: that of what it is about, and something that is like no other.
func nameOf(regarding string) string {
	var unique [8]byte
	_, _ = rand.Read(unique[:]) // it never fails (crypto/rand)
	const longest = 200
	about := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-' // names of roles have colons
	}, strings.ToLower(bounded(regarding, longest)))
	return cmp.Or(strings.Trim(about, "-"), "admission") + "." + hex.EncodeToString(unique[:])
}

// look writes how often series have happened, and forgets those that have ended.
func (w *Writer) look(ctx context.Context, all bool) {
	now := w.options.Now()
	for element := w.recent.Back(); element != nil; {
		known, before := element.Value.(*series), element.Prev()
		due := known.count > known.told && (all || now.Sub(known.written) >= seriesEvery)
		switch {
		case due && w.may(known.namespace):
			w.patch(ctx, element, known)
		case now.Sub(known.seen) >= seriesEnd:
			w.forget(element)
		}
		element = before
	}
}

func (w *Writer) patch(ctx context.Context, element *list.Element, known *series) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	body, err := json.Marshal(map[string]any{"series": eventsv1.EventSeries{Count: known.count, LastObservedTime: metav1.NewMicroTime(known.seen)}})
	if err == nil {
		_, err = w.options.Client.Events(known.namespace).Patch(ctx, known.name, types.MergePatchType, body, metav1.PatchOptions{})
	}
	w.noticed(err)
	if err != nil {
		w.count(resultFailed)
		w.forget(element) // it is gone, or a new one will say it
		return
	}
	known.told, known.written = known.count, w.options.Now()
}

func (w *Writer) forget(element *list.Element) {
	delete(w.series, element.Value.(*series).key)
	w.recent.Remove(element)
}

// may says whether one more Event of a namespace may be written.
func (w *Writer) may(namespace string) bool {
	now := w.options.Now()
	own := w.limits[namespace]
	if own == nil {
		if len(w.limits) >= maxNamespaces {
			w.forgetNamespaces(now)
		}
		own = rate.NewLimiter(rate.Limit(w.options.NamespaceRate), w.options.NamespaceBurst)
		if len(w.limits) < maxNamespaces {
			w.limits[namespace] = own
		}
	}
	return own.AllowN(now, 1) && w.all.AllowN(now, 1)
}

// forgetNamespaces forgets the limits of those that have all their tokens: new ones have as many.
func (w *Writer) forgetNamespaces(now time.Time) {
	for name, own := range w.limits {
		if own.TokensAt(now) >= float64(w.options.NamespaceBurst) {
			delete(w.limits, name)
		}
	}
}

// noticed logs when the API server begins to take no Events, and when it takes some again. A namespace that is gone or ends is no failure to log.
func (w *Writer) noticed(err error) {
	if err != nil && (apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)) {
		return
	}
	if w.failing == (err != nil) {
		return
	}
	w.failing = err != nil
	switch {
	case apierrors.IsForbidden(err):
		w.options.Log.Warn("Events about decisions may not be written: grant create and patch of events in the group events.k8s.io, or leave out --events", "error", err)
	case err != nil:
		w.options.Log.Warn("an Event about a decision was not written", "error", fmt.Sprint(err))
	default:
		w.options.Log.Info("Events about decisions are written again")
	}
}

func (w *Writer) count(result string) { w.results.WithLabelValues(result).Inc() }
