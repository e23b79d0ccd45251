package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/tracing"
	"golang.org/x/sync/semaphore"
)

// The paths a [Handler] answers.
const (
	ValidatePath = "/validate"
	MutatePath   = "/mutate"
)

// Defaults of [Options].
const (
	// An API server takes requests of 3 MiB; an update carries two objects, and JSON
	// may write what was sent as YAML or protobuf longer.
	DefaultMaxBody = 8 << 20
	// The API server's own default of timeoutSeconds.
	DefaultTimeout = 10 * time.Second
	// The API server's limit of timeoutSeconds.
	DefaultTimeoutCap = 30 * time.Second
	// Eight of the largest bodies at once; API servers send some KiB.
	DefaultMaxBodies = 8 * DefaultMaxBody
	// What an answer needs to travel back.
	DefaultTimeoutMargin = 500 * time.Millisecond
)

// minWaiting is how many requests wait by default on a machine however small: a node that
// comes back has its pods created all at once. A waiting request holds its body.
const minWaiting = 256

// Reviewer decides requests. [*admission.Reviewer] is one.
type Reviewer interface {
	// Review judges a request as a validating webhook does.
	Review(ctx context.Context, request admission.Request) admission.Verdict
	// Mutate applies the patch rules. Verdict.Patch holds RFC 6902 operations.
	Mutate(ctx context.Context, request admission.Request) admission.Verdict
	// Matches says whether any policy could want such a request. It is asked before
	// the objects are looked at, with none in the request, and must cost next to nothing.
	Matches(request *admission.Request) bool
}

// Options of a [Handler]. Reviewer and Callers are required.
type Options struct {
	Reviewer Reviewer
	Callers  *Callers
	// MaxBody is the largest body in bytes, DefaultMaxBody if 0.
	MaxBody int
	// MaxBodies is how many bytes all bodies under way may have together,
	// DefaultMaxBodies if 0 and never less than MaxBody. Bodies that say no length count
	// as the largest.
	MaxBodies int
	// MaxRunning is how many reviews run at once, 4 for each processor if 0;
	// MaxWaiting how many wait for a place, 16 times MaxRunning but at least 256 if 0. One
	// subject, or all service accounts of a namespace, has at most half of each, and of
	// MaxBodies.
	MaxRunning, MaxWaiting int
	// TimeoutCap limits what a caller may ask for, DefaultTimeoutCap if 0; it is also the
	// timeout of a request that asks for none, if shorter than DefaultTimeout.
	TimeoutCap time.Duration
	// TimeoutMargin is kept back from the timeout, DefaultTimeoutMargin if 0, but never
	// more than half of it.
	TimeoutMargin time.Duration
	// Logger gets one line for each denial; nil discards them.
	Logger *slog.Logger
	// Metrics count what happens; nil counts into nowhere.
	Metrics *Metrics
	// Recorder keeps decisions; nil keeps none, and costs nothing.
	Recorder Recorder
	// Traces begins a trace for each review, or continues the API server's; nil traces nothing.
	Traces *tracing.Source
	// Journal is where portcullis explain finds what Recorder keeps; denials name it. "" where it does not.
	Journal string
}

// Handler answers AdmissionReviews at /validate and /mutate.
type Handler struct {
	reviewer Reviewer
	callers  *Callers
	limiter  *limiter
	memory   *semaphore.Weighted
	refusals throttle
	options  Options
	logger   *slog.Logger
	metrics  *Metrics
	draining atomic.Bool
	bodies   sync.Pool
	crew     crew
}

// NewHandler checks the options and makes a handler.
func NewHandler(options Options) (*Handler, error) {
	if options.Reviewer == nil || options.Callers == nil {
		return nil, errors.New("a webhook needs a reviewer to ask and callers to answer")
	}
	if err := options.Callers.Check(); err != nil {
		return nil, err
	}
	setDefault(&options.MaxBody, DefaultMaxBody)
	setDefault(&options.MaxBodies, DefaultMaxBodies)
	options.MaxBodies = max(options.MaxBodies, options.MaxBody)
	setDefault(&options.MaxRunning, 4*runtime.GOMAXPROCS(0))
	setDefault(&options.MaxWaiting, max(16*options.MaxRunning, minWaiting))
	setDefault(&options.TimeoutCap, DefaultTimeoutCap)
	setDefault(&options.TimeoutMargin, DefaultTimeoutMargin)
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Metrics == nil {
		options.Metrics = NewMetrics()
	}
	places := newLimiter(options.MaxRunning, options.MaxWaiting, int64(max(options.MaxBodies/shareDivisor, options.MaxBody)))
	options.Metrics.limiter.Store(places)
	return &Handler{
		reviewer: options.Reviewer,
		callers:  options.Callers,
		limiter:  places,
		memory:   semaphore.NewWeighted(int64(options.MaxBodies)),
		options:  options,
		logger:   options.Logger,
		metrics:  options.Metrics,
		bodies:   sync.Pool{New: func() any { return new([]byte) }},
		crew:     newCrew(),
	}, nil
}

func setDefault[T int | time.Duration](value *T, fallback T) {
	if *value <= 0 {
		*value = fallback
	}
}

// Drain makes every further answer end its connection, so that callers move to
// another replica between two requests and never in the middle of one.
func (h *Handler) Drain() { h.draining.Store(true) }

// Running is how many reviews run at the moment, for whoever has something to do that can wait.
func (h *Handler) Running() int { return h.limiter.runningNow() }

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	exchange := &exchange{handler: h, writer: w, started: started, ctx: r.Context()}
	defer exchange.rescue()
	if h.draining.Load() {
		// Over HTTP/2 this sends GOAWAY after the answer.
		w.Header().Set("Connection", "close")
	}
	door, refused := h.route(r)
	if refused != nil {
		exchange.refuse(refused)
		return
	}
	exchange.door = door
	exchange.identify(r)
	defer exchange.trace(r)()
	h.serve(exchange, r)
}

// serve is an exchange with a caller that may ask.
func (h *Handler) serve(exchange *exchange, r *http.Request) {
	ctx, cancel := context.WithDeadline(exchange.ctx, exchange.started.Add(h.timeout(r)))
	defer cancel()
	buffer := h.bodies.Get().(*[]byte)
	defer h.putBody(buffer)

	size := h.bodySize(r)
	if err := h.memory.Acquire(ctx, size); err != nil {
		body, _ := readBody(r, *buffer, salvageable) // for its uid
		exchange.reject(body, nil, errOverloaded)
		return
	}
	defer h.memory.Release(size)
	body, err := readBody(r, *buffer, h.options.MaxBody)
	*buffer = body
	if err != nil {
		exchange.reject(body, nil, err)
		return
	}
	review, err := decodeReview(body)
	if err != nil {
		exchange.reject(body, review, err)
		return
	}
	request := review.Request.admission()
	exchange.uid, exchange.request = request.UID, request
	if !h.reviewer.Matches(request) {
		exchange.admitUnmatched(request)
		return
	}
	share := shareOf(request.Subject)
	if err := exchange.waitForPlace(ctx, share, size); err != nil {
		exchange.shed(request, err)
		return
	}
	review.Request.addObjects(request, body)
	exchange.answer(request, h.judge(ctx, exchange.door, *request, func() { h.limiter.release(share, size) }))
}

// judge asks the reviewer, which releases its place when it ends, and answers for it when it panics or outlives the
// deadline. A reviewer that ignores its context keeps its place in the limiter until
// it ends, so that hanging reviews cannot pile up.
func (h *Handler) judge(ctx context.Context, door door, request admission.Request, release func()) admission.Verdict {
	verdicts := make(chan admission.Verdict, 1)
	h.crew.run(func() {
		defer release()
		defer func() {
			if cause := recover(); cause != nil {
				h.logger.Error("reviewer panicked", "uid", request.UID, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
				verdicts <- faulty(policies.FaultPanic, "the reviewer panicked: report it with the line of the webhook's log that has this request's uid")
			}
		}()
		verdicts <- door.ask(ctx, h.reviewer, request)
	})
	select {
	case verdict := <-verdicts:
		return verdict
	case <-ctx.Done():
	}
	// The reviewer sees the same deadline and may have answered because of it.
	select {
	case verdict := <-verdicts:
		return verdict
	case <-time.After(h.options.TimeoutMargin / 4):
		return faulty(policies.FaultDeadline, "the review did not end before the API server's timeout: retry, and raise timeoutSeconds in the webhook configuration if it happens again")
	}
}

// faulty is a verdict that denies because nobody could judge.
func faulty(kind policies.FaultKind, message string) admission.Verdict {
	return admission.Verdict{Faults: []policies.Fault{{Kind: kind, Message: message}}}
}

// door is /validate or /mutate.
type door string

const (
	doorValidate door = "validate"
	doorMutate   door = "mutate"
)

func (d door) ask(ctx context.Context, reviewer Reviewer, request admission.Request) admission.Verdict {
	if d == doorMutate {
		return reviewer.Mutate(ctx, request)
	}
	return reviewer.Review(ctx, request)
}

// route checks who asks for what, and how it is sent.
func (h *Handler) route(r *http.Request) (door, *refusal) {
	path, refused := h.callers.admit(r)
	if refused != nil {
		return "", refused
	}
	if path != ValidatePath && path != MutatePath {
		return "", &refusal{http.StatusNotFound, "there is nothing at this path: send AdmissionReviews to " + ValidatePath + " or " + MutatePath}
	}
	if r.Method != http.MethodPost {
		return "", &refusal{http.StatusMethodNotAllowed, "the method is " + r.Method + ": send AdmissionReviews by POST"}
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		return "", &refusal{http.StatusUnsupportedMediaType, fmt.Sprintf("the content type is %.100q: send application/json", r.Header.Get("Content-Type"))}
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return "", &refusal{http.StatusUnsupportedMediaType, fmt.Sprintf("the content encoding is %.100q: send the body as it is", encoding)}
	}
	if path == MutatePath {
		return doorMutate, nil
	}
	return doorValidate, nil
}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	media, parameters, err := mime.ParseMediaType(contentType)
	charset, given := parameters["charset"]
	return err == nil && media == "application/json" && (!given || strings.EqualFold(charset, "utf-8"))
}

// timeout is how long the answer may take. The API server says how long it waits in
// the query: ?timeout=10s.
func (h *Handler) timeout(r *http.Request) time.Duration {
	asked, err := time.ParseDuration(r.URL.Query().Get("timeout"))
	if err != nil || asked <= 0 {
		asked = DefaultTimeout
	}
	asked = min(asked, h.options.TimeoutCap)
	return asked - min(h.options.TimeoutMargin, asked/2)
}

// bodySize is what a body may need in memory.
func (h *Handler) bodySize(r *http.Request) int64 {
	if limit := int64(h.options.MaxBody); r.ContentLength < 0 || r.ContentLength > limit {
		return limit
	}
	return r.ContentLength
}

// errTooLarge says that a body exceeds Options.MaxBody.
var errTooLarge = errors.New("request body too large")

// salvageable is how much of a body known to be too large is read for its uid.
const salvageable = 64 << 10

// readBody reads into the buffer, which grows. On an error it returns what was read.
func readBody(r *http.Request, buffer []byte, limit int) ([]byte, error) {
	body := buffer[:0]
	tooLarge := r.ContentLength > int64(limit)
	if tooLarge {
		limit = min(limit, salvageable)
	}
	if size := r.ContentLength; size > int64(cap(body)) && !tooLarge {
		body = make([]byte, 0, size+1) // one more, so that the end is seen without growing
	}
	for {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > limit:
			return body[:limit], errTooLarge
		case err == io.EOF && tooLarge:
			return body, errTooLarge
		case err == io.EOF:
			return body, nil
		case err != nil:
			return body, fmt.Errorf("reading the request body: %w", err)
		}
	}
}

// maxPooledBody keeps one huge request from pinning its memory.
const maxPooledBody = 256 << 10

func (h *Handler) putBody(buffer *[]byte) {
	if cap(*buffer) <= maxPooledBody {
		h.bodies.Put(buffer)
	}
}
