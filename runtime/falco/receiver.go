package falco

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/policies/tracing"
)

// Path is where events are posted. They are taken at "/", too, where falcosidekick and its webhooks post by default.
const Path = "/v1/falco"

// Limits of the server. Falco posts one small event at a time and keeps its connection; one is open for each node.
const (
	// answerWithin is how long a disk that hangs is waited for. Falco has no timeout of its own, and sends nothing anywhere
	// while it waits (outputs_http.cpp).
	answerWithin      = time.Second
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 15 * time.Second
	idleTimeout       = 5 * time.Minute
	maxHeaderBytes    = 8 << 10
	// DefaultMaxConnections are those of a large cluster's nodes.
	DefaultMaxConnections = 10_000
)

// Options of a [Receiver]. Queue, and one of ClientCAs and SecretPath, are required.
type Options struct {
	Queue *Queue
	// ClientCAs are trusted to sign senders' certificates. It is called for each request, so that the file behind it can
	// change; the same pool means that nothing changed.
	ClientCAs func() *x509.CertPool
	// ClientNode is the node that a certificate is for, "" for one of no node; [ClientNode] by default.
	ClientNode func(*x509.Certificate) string
	// Senders are the common names of certificates of no node that may send events of any node: that of falcosidekick, that of
	// the Falco which reads the audit log. None by default.
	Senders []string
	// SecretPath is the first segment of the path where senders show no certificate. It says nothing about the node: events are believed
	// whatever node they are about.
	SecretPath string
	// Refused keeps what cannot be read, nil for nothing.
	Refused *DeadLetters
	// Now is the clock, time.Now by default.
	Now     func() time.Time
	Metrics *Metrics
	Logger  *slog.Logger
}

// Receiver takes events over HTTP and answers when they are kept.
type Receiver struct {
	options Options
	senders *senders // nil where the path is the secret

	complaints throttle
}

// NewReceiver makes one. It fails if senders could not be told from anybody else: whoever can post events can have pods
// isolated and deleted.
func NewReceiver(o Options) (*Receiver, error) {
	switch {
	case o.Queue == nil:
		return nil, errors.New("making the receiver of events: it has no queue")
	case o.ClientCAs == nil && o.SecretPath == "":
		return nil, errors.New("making the receiver of events: anybody could send some: give the CA of the senders' certificates, or a secret path")
	case o.ClientCAs != nil && o.SecretPath != "":
		return nil, errors.New("making the receiver of events: it has a CA for certificates and a secret path: choose one")
	case o.SecretPath != "" && len(o.SecretPath) < MinSecretLength:
		return nil, fmt.Errorf("making the receiver of events: the secret path has %d characters: use at least %d random ones", len(o.SecretPath), MinSecretLength)
	case strings.Trim(o.SecretPath, secretAlphabet) != "":
		return nil, errors.New("making the receiver of events: the secret path has other characters than letters, digits, - and _: Falco could not send it unchanged")
	}
	if o.ClientNode == nil {
		o.ClientNode = ClientNode
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Metrics == nil {
		o.Metrics = o.Queue.metrics
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Receiver{options: o}
	if o.ClientCAs != nil {
		r.senders = &senders{cas: o.ClientCAs, node: o.ClientNode, names: o.Senders, now: o.Now}
	}
	return r, nil
}

// refusal is the answer to what is not taken.
type refusal struct {
	reason  string
	status  int
	message string
}

func refuse(reason string, status int, message string) *refusal {
	return &refusal{reason, status, message}
}

// statuses of bodies that are no events; 400 for the others.
var statuses = map[string]int{ReasonTooLarge: http.StatusRequestEntityTooLarge, ReasonBody: http.StatusRequestTimeout}

// ServeHTTP implements [http.Handler]. It answers 200 when the event is on its way to disk and survives the end of this process, 503
// where it cannot be kept, and 4xx where it is none.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	began := r.options.Now()
	from, refused := r.admit(request)
	if refused != nil {
		r.answerRefused(w, request, refused)
		return
	}
	body, err := readBody(w, request)
	var m *Message
	if err == nil {
		m, err = Decode(body)
	}
	if err != nil {
		r.answerFault(w, request, from, body, err)
		return
	}
	m.From(from.node)
	if header := request.Header.Get(tracing.Header); tracing.Parse(header).IsValid() {
		m.Trace = header
	}
	ctx, cancel := context.WithTimeout(request.Context(), answerWithin)
	defer cancel()
	if err := r.options.Queue.Put(ctx, m); err != nil {
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	w.WriteHeader(http.StatusOK)
	r.options.Metrics.answered.Observe(r.options.Now().Sub(began).Seconds())
}

// admit says who sends, or why the request is not read.
func (r *Receiver) admit(request *http.Request) (from sender, refused *refusal) {
	path := request.URL.Path
	if r.senders == nil {
		var ok bool
		if path, ok = withoutSecret(path, r.options.SecretPath); !ok {
			// As any other path: nothing tells a prober that there is a secret to find.
			return from, refuse(ReasonPath, http.StatusNotFound, "there is nothing at this path")
		}
		from.name = "the secret path"
	} else if from, refused = r.senders.identify(request); refused != nil {
		return from, refused
	}
	switch {
	case path != Path && path != "/":
		return from, refuse(ReasonPath, http.StatusNotFound, "there is nothing at this path: post events to "+Path)
	case request.Method != http.MethodPost:
		return from, refuse(ReasonMethod, http.StatusMethodNotAllowed, "events are posted: use POST")
	case !isJSON(request.Header.Get("Content-Type")):
		return from, refuse(ReasonContentType, http.StatusUnsupportedMediaType, "events are JSON: set json_output: true in Falco's configuration, and Content-Type: application/json where something else sends")
	case request.Header.Get("Content-Encoding") != "":
		return from, refuse(ReasonContentType, http.StatusUnsupportedMediaType, "events are not compressed: send them as they are")
	case request.ContentLength > MaxBody:
		return from, refuse(ReasonTooLarge, http.StatusRequestEntityTooLarge, fmt.Sprintf("the event has %d bytes, %d are read: give the rule a shorter output", request.ContentLength, MaxBody))
	}
	return from, nil
}

// isJSON says whether a content type is that of JSON. A request without one is taken for what it has to be.
func isJSON(contentType string) bool {
	if contentType == "" || contentType == "application/json" {
		return true
	}
	kind, parameters, err := mime.ParseMediaType(contentType)
	charset := parameters["charset"]
	return err == nil && kind == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8"))
}

// readBody reads a body within its limit.
func readBody(w http.ResponseWriter, request *http.Request) ([]byte, error) {
	size := request.ContentLength
	if size < 0 {
		size = 2048
	}
	// One byte more than expected, so that the end is seen without growing.
	body := make([]byte, 0, size+1)
	limited := http.MaxBytesReader(w, request.Body, MaxBody)
	for {
		n, err := limited.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		var tooLarge *http.MaxBytesError
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case errors.As(err, &tooLarge):
			return body, faultf(ReasonTooLarge, "the event has more than %d bytes: give the rule a shorter output", MaxBody)
		case err != nil:
			return body, faultf(ReasonBody, "the event did not arrive whole (%w): send it again", err)
		}
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
	}
}

// answerFault answers what its sender may send and what is no event. It is kept among the refused.
func (r *Receiver) answerFault(w http.ResponseWriter, request *http.Request, from sender, body []byte, err error) {
	reason := reasonOf(err)
	r.options.Metrics.refused.WithLabelValues(reason).Inc()
	if r.complaints.may(from.name+" "+reason, r.options.Now()) {
		r.options.Logger.Warn("what was sent is no event", "sender", from.name, "remote", request.RemoteAddr, "reason", reason, "error", err)
	}
	if r.options.Refused != nil {
		letter := DeadLetter{Time: r.options.Now(), Reason: reason, Error: err.Error(), Sender: from.name, Remote: request.RemoteAddr}
		if err := r.options.Refused.Add(letter, body); err != nil {
			r.options.Logger.Error("what was refused is not kept", "error", err)
		}
	}
	status, ok := statuses[reason]
	if !ok {
		status = http.StatusBadRequest
	}
	answer(w, status, err.Error())
}

// answerRefused answers whoever may not send, and what is not read. The connection ends with it: those who may not send would keep
// connections that sensors need.
func (r *Receiver) answerRefused(w http.ResponseWriter, request *http.Request, refused *refusal) {
	r.options.Metrics.refused.WithLabelValues(refused.reason).Inc()
	r.options.Logger.Debug("a request is refused", "remote", request.RemoteAddr, "reason", refused.reason, "error", refused.message)
	w.Header().Set("Connection", "close")
	if refused.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	answer(w, refused.status, refused.message)
}

// answer writes a line of text. It holds words of the request only in quotes.
func answer(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, message+"\n") // the sender may be gone
}

// Server is an HTTP server for the receiver, with limits on time and sizes. It speaks HTTP/1.1 only, as Falco needs no more. The certificate
// is asked for at each handshake. Serve it with ServeTLS, on a listener of [Limit].
func (r *Receiver) Server(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *http.Server {
	config := &tls.Config{GetCertificate: certificate, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if r.senders != nil {
		config.ClientAuth = tls.RequestClientCert
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           r,
		TLSConfig:         config,
		Protocols:         &protocols,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(r.options.Logger.Handler(), slog.LevelDebug),
	}
}
