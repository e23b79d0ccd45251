package decisions

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
)

// Path is where a webhook serves decisions.
const Path = "/decisions"

// MediaType is that of the answer: one JSON object a line.
const MediaType = "application/jsonl"

// Bounds of readers.
const (
	maxReaders       = 64 // at once, of whom
	maxReadersOfUser = 8  // are one user's
	batch            = 100
	// A follower asks again after this long: a token may have been revoked, and connections are to move to new replicas.
	longest = 10 * time.Minute
	// An empty line shows both sides that the other one is there; rights are asked for again as often.
	defaultHeartbeat = 15 * time.Second
	// unread is how long a reader may take nothing before it is given up: three heartbeats.
	unread = 3 * defaultHeartbeat
)

// Options of a [Handler]. Client is required.
type Options struct {
	// Client may create TokenReviews and SubjectAccessReviews.
	Client kubernetes.Interface
	// Closing ends those who follow; nil never does.
	Closing <-chan struct{}
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// Logger hears of what goes wrong; nil discards it. No token is ever logged.
	Logger *slog.Logger
}

// Handler answers GET /decisions. The query may have namespace=NAME, after=SEQUENCE, limit=NUMBER and follow=true.
type Handler struct {
	ring    *Ring
	access  *access
	options Options
	// heartbeat is defaultHeartbeat.
	heartbeat time.Duration

	mu      sync.Mutex
	readers map[string]int // by user
	all     int
}

// NewHandler shows a ring.
func NewHandler(ring *Ring, options Options) (*Handler, error) {
	if options.Client == nil {
		return nil, errors.New("showing decisions: there is no cluster to ask who may see them")
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Handler{ring: ring, access: newAccess(options.Client, options.Now), options: options, heartbeat: defaultHeartbeat, readers: map[string]int{}}, nil
}

// query is what a reader asks for.
type query struct {
	namespace string
	after     uint64
	limit     int
	follow    bool
}

func parseQuery(r *http.Request) (query, error) {
	values := r.URL.Query()
	q := query{namespace: values.Get("namespace"), limit: DefaultSize}
	if q.namespace != "" && len(validation.IsDNS1123Label(q.namespace)) > 0 {
		return q, errors.New("the namespace is none: give its name")
	}
	var err error
	if text := values.Get("after"); text != "" {
		if q.after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return q, errors.New("after is no sequence: give the number of the last decision that you have")
		}
	}
	if text := values.Get("limit"); text != "" {
		if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 1 || q.limit > DefaultSize {
			return q, errors.New("limit is no number from 1 to " + strconv.Itoa(DefaultSize))
		}
	}
	if text := values.Get("follow"); text != "" {
		if q.follow, err = strconv.ParseBool(text); err != nil {
			return q, errors.New("follow is neither true nor false")
		}
	}
	return q, nil
}

// ServeHTTP answers one reader.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		refuse(w, http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, "decisions are read: use GET")
		return
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "decisions are for those who may see them: send a bearer token of this cluster")
		return
	}
	asked, err := parseQuery(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	who, err := h.access.reader(r.Context(), token, sourceOf(r.RemoteAddr))
	if err != nil {
		h.fail(w, err)
		return
	}
	if !h.enter(who.name) {
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many read decisions at the moment: end another reader, or try again")
		return
	}
	defer h.leave(who.name)
	seen := &sight{access: h.access, who: who, only: asked.namespace, asked: map[string]bool{}}
	if asked.namespace != "" {
		allowed, err := seen.may(r.Context(), asked.namespace, "")
		if err != nil {
			h.fail(w, err)
			return
		}
		if !allowed {
			refuse(w, http.StatusForbidden, metav1.StatusReasonForbidden, "you may not see decisions about "+asked.namespace+": ask for the verb "+Verb+" on "+Resource+"."+Group+" there")
			return
		}
	}
	h.write(w, r, token, asked, seen)
}

// write sends what there is, and what comes while somebody follows.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, token string, asked query, seen *sight) {
	w.Header().Set("Content-Type", MediaType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	control := http.NewResponseController(w)
	var wake <-chan time.Time
	if asked.follow {
		ticker := time.NewTicker(h.heartbeat)
		defer ticker.Stop()
		wake = ticker.C
	}
	ends := h.options.Now().Add(longest)
	// Over HTTP/2 a deadline that passes resets the stream, whether or not something is written: it has to outlast heartbeats.
	writable := func() { _ = control.SetWriteDeadline(time.Now().Add(unread)) } // a writer without deadlines is a test's
	writable()
	lines := &lines{encoder: json.NewEncoder(w)}
	first, more := h.backlog(r.Context(), lines, &asked, seen)
	if len(first) > asked.limit { // the newest of what there is
		first = first[len(first)-asked.limit:]
	}
	for n := range first {
		lines.write(first[n])
	}
	for lines.failed == nil && control.Flush() == nil && asked.follow {
		select {
		case <-more:
		case <-r.Context().Done():
			return
		case <-h.options.Closing:
			lines.write(Notice{"this replica is shutting down: connect to another one"})
			return
		case <-wake:
			who, err := h.access.reader(r.Context(), token, sourceOf(r.RemoteAddr))
			if busy := errors.Is(err, errBusy); err != nil && !busy || !h.options.Now().Before(ends) {
				return // what was asked of late still holds while others keep the API server busy, for as long as a stream may last
			} else if !busy {
				seen.who = who // groups may have changed
			}
			if _, err := w.Write([]byte("\n")); err != nil {
				return
			}
		}
		writable()
		var entries []Entry
		entries, more = h.backlog(r.Context(), lines, &asked, seen)
		for n := range entries {
			lines.write(entries[n])
		}
	}
}

// backlog is what the reader may see of what they do not have yet, and a channel that is closed when there is more.
func (h *Handler) backlog(ctx context.Context, lines *lines, asked *query, seen *sight) (shown []Entry, more <-chan struct{}) {
	for more == nil && lines.failed == nil {
		entries, missed, next, changed := h.ring.since(asked.after, batch)
		if missed > 0 && asked.after > 0 {
			lines.write(Notice{strconv.FormatUint(missed, 10) + " decisions are gone that came in between: the journal has them"})
		}
		asked.after, more = next, changed
		for n := range entries {
			entry, ok, err := seen.see(ctx, entries[n])
			if err != nil {
				h.options.Logger.Warn("showing decisions ended", "error", err)
				lines.write(Notice{"it could not be found out what you may see: try again"})
				lines.failed = err
				return shown, more
			}
			if ok {
				shown = append(shown, entry)
			}
		}
	}
	return shown, more
}

// lines writes JSON lines until the first failure.
type lines struct {
	encoder *json.Encoder
	failed  error
}

func (l *lines) write(line any) {
	if l.failed == nil {
		l.failed = l.encoder.Encode(line)
	}
}

func (h *Handler) enter(user string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all >= maxReaders || h.readers[user] >= maxReadersOfUser {
		return false
	}
	h.all++
	h.readers[user]++
	return true
}

func (h *Handler) leave(user string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all--
	if h.readers[user]--; h.readers[user] == 0 {
		delete(h.readers, user)
	}
}

func (h *Handler) fail(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errUnknown):
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, err.Error()+": log in again")
	case errors.Is(err, errBusy):
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, err.Error())
	default:
		h.options.Logger.Warn("refused a reader of decisions", "error", err)
		refuse(w, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "it cannot be found out what you may see: try again")
	}
}

// refuse answers in the form that Kubernetes clients read.
func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	body, err := json.Marshal(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message})
	if err != nil {
		body = []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(body) // the caller is gone, and with it whom to tell
}
