package journal

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Forms in which [HTTP] sends lines.
const (
	// FormNDJSON is one line after the other (application/x-ndjson).
	FormNDJSON = "ndjson"
	// FormCloudEvents is a batch of CloudEvents 1.0 (application/cloudevents-batch+json), the line being the data.
	FormCloudEvents = "cloudevents"
	// FormOTLP is OpenTelemetry's logs as JSON, as an OTLP/HTTP receiver takes them at /v1/logs.
	FormOTLP = "otlp"
)

// HTTPOptions of a sink over HTTP. URL is required.
type HTTPOptions struct {
	// URL is where lines are posted to, with https unless Plain is set.
	URL string
	// Form is one of the forms, [FormNDJSON] if empty.
	Form string
	// TokenFile holds a bearer token, "" for none. It is read for each request, so that it can be changed.
	TokenFile string
	// CAFile holds the certificates of authorities in PEM, "" for those of the system.
	CAFile string
	// Plain allows http. What the lines say is then open to whoever is on the way.
	Plain bool
	// Source is the program and replica that the lines are from, for CloudEvents and OpenTelemetry.
	Source string
}

// HTTP is a sink that posts lines.
type HTTP struct {
	options HTTPOptions
	client  *http.Client
	encode  func(source string, entries []Entry) ([]byte, error)
	media   string
}

// NewHTTP checks the options and makes a sink. Nothing is sent before there are lines.
func NewHTTP(options HTTPOptions) (*HTTP, error) {
	target, err := url.Parse(options.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("sending the journal by HTTP: %w", err)
	case target.Scheme == "http" && !options.Plain:
		return nil, fmt.Errorf("sending the journal by HTTP: %s is not encrypted: use https, or allow plain HTTP", target.Redacted())
	case target.Scheme != "http" && target.Scheme != "https", target.Host == "":
		return nil, fmt.Errorf("sending the journal by HTTP: %s is no address: give https://HOST/PATH", target.Redacted())
	case target.User != nil:
		return nil, errors.New("sending the journal by HTTP: the address has a user: put a token into a file and name that")
	}
	sink := &HTTP{options: options}
	switch options.Form {
	case "", FormNDJSON:
		sink.encode, sink.media = encodeNDJSON, "application/x-ndjson"
	case FormCloudEvents:
		sink.encode, sink.media = encodeCloudEvents, "application/cloudevents-batch+json"
	case FormOTLP:
		sink.encode, sink.media = encodeOTLP, "application/json"
	default:
		return nil, fmt.Errorf("sending the journal by HTTP: there is no form %q: use %s, %s or %s", options.Form, FormNDJSON, FormCloudEvents, FormOTLP)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if options.CAFile != "" {
		if transport.TLSClientConfig.RootCAs, err = readAuthorities(options.CAFile); err != nil {
			return nil, fmt.Errorf("sending the journal by HTTP: %w", err)
		}
	}
	sink.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the token is for this address
	}}
	return sink, nil
}

func readAuthorities(path string) (*x509.CertPool, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("reading certificates: %s holds none in PEM", path)
	}
	return pool, nil
}

// Name implements [Sink].
func (s *HTTP) Name() string {
	if s.options.Form == FormOTLP {
		return FormOTLP
	}
	return "http"
}

// Send implements [Sink].
func (s *HTTP) Send(ctx context.Context, entries []Entry) error {
	body, err := s.encode(s.options.Source, entries)
	if err != nil {
		return fmt.Errorf("encoding lines of the journal: %w: %w", err, ErrRefused)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.options.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("sending lines of the journal: %w", err)
	}
	request.Header.Set("Content-Type", s.media)
	if err := s.authorise(request); err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("sending lines of the journal: %w", err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection can be used again
	return accepted(response)
}

func (s *HTTP) authorise(request *http.Request) error {
	if s.options.TokenFile == "" {
		return nil
	}
	token, err := os.ReadFile(s.options.TokenFile)
	if err != nil {
		return fmt.Errorf("reading the token for the journal's receiver: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return nil
}

// accepted says whether a receiver has taken lines. Those that it will never take are refused: trying again would
// hold up all the others. A token can be mended, so that a receiver that does not know us is asked again.
func accepted(response *http.Response) error {
	switch code := response.StatusCode; {
	case code/100 == 2:
		return nil
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnprocessableEntity, code == http.StatusUnsupportedMediaType:
		return fmt.Errorf("sending lines of the journal: the receiver says %s: %w", response.Status, ErrRefused)
	default:
		return fmt.Errorf("sending lines of the journal: the receiver says %s", response.Status)
	}
}

// Close ends idle connections.
func (s *HTTP) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

func encodeNDJSON(_ string, entries []Entry) ([]byte, error) {
	var body []byte
	for _, entry := range entries {
		body = append(append(body, entry.Line...), '\n')
	}
	return body, nil
}

// cloudEvent is an event of CloudEvents 1.0.2 (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md).
type cloudEvent struct {
	SpecVersion string         `json:"specversion"`
	ID          string         `json:"id"` // with the source unique
	Source      string         `json:"source"`
	Type        string         `json:"type"`
	Time        time.Time      `json:"time"`
	MediaType   string         `json:"datacontenttype"`
	Schema      string         `json:"dataschema"`
	Data        jsontext.Value `json:"data"`
}

func encodeCloudEvents(source string, entries []Entry) ([]byte, error) {
	events := make([]cloudEvent, 0, len(entries))
	for _, entry := range entries {
		id := entry.ID
		if id == "" {
			id = fmt.Sprint(entry.Sequence)
		}
		events = append(events, cloudEvent{
			SpecVersion: "1.0", ID: id, Source: "/portcullis/" + url.PathEscape(source), Type: "dev.portcullis." + entry.Kind,
			Time: entry.Time.UTC(), MediaType: "application/json", Schema: SchemaID, Data: entry.Line,
		})
	}
	return json.Marshal(events, jsontext.AllowInvalidUTF8(true))
}
