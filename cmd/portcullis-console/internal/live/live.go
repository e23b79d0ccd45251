// Package live reads decisions from all replicas of the webhook, with the caller's own token: each replica asks the API server what the caller may see.
//
// Where the replicas are is read from the EndpointSlices of the webhook's Service, as the caller. A token is sent to nobody who does not show a
// certificate for the Service's name that the webhook's own authority has signed.
package live

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/portcullis-dev/portcullis/admission/decisions"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/kube"
)

// Bounds of what is read from replicas.
const (
	maxReplicas = 20
	maxLine     = 64 << 10
	maxRecent   = 8 << 20 // bytes of one replica
	dialTimeout = 3 * time.Second
	readTimeout = 8 * time.Second
)

// ErrOff is where no authority of the webhook is given.
var ErrOff = errors.New("the console was not told how to know the webhook (--webhook-ca): it shows Events instead")

// errNoToken is of a kubeconfig with a client certificate or a plugin.
var errNoToken = errors.New("your kubeconfig holds no bearer token, and the webhook takes nothing else: the console shows Events instead")

// Service is where the webhook is.
type Service struct {
	Namespace, Name string
	Port            int32 // 0 is that of the EndpointSlices
}

// Host is the name in the webhook's certificate.
func (s Service) Host() string { return s.Name + "." + s.Namespace + ".svc" }

// Source reads from replicas. The zero value is off.
type Source struct {
	service Service
	urls    []string
	client  *http.Client
}

// New makes a source. authorities gives those that sign the webhook's certificate, nil turns it off. urls are where replicas are, instead of what the
// EndpointSlices say.
func New(service Service, urls []string, authorities func() (*x509.CertPool, error)) *Source {
	if authorities == nil {
		return &Source{}
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &Source{service: service, urls: urls, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				pool, err := authorities()
				if err != nil {
					return nil, err
				}
				return (&tls.Dialer{NetDialer: dialer, Config: &tls.Config{RootCAs: pool, ServerName: service.Host(), MinVersion: tls.VersionTLS12}}).DialContext(ctx, network, address)
			},
			ResponseHeaderTimeout: readTimeout, MaxResponseHeaderBytes: 16 << 10, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 2,
		},
	}}
}

// replicas are the addresses of those that serve.
func (s *Source) replicas(ctx context.Context, caller *kube.Caller) ([]string, error) {
	if len(s.urls) > 0 {
		return s.urls, nil
	}
	slicesOf, err := kube.List[discoveryv1.EndpointSlice](ctx, caller, discoveryv1.SchemeGroupVersion.WithResource("endpointslices"),
		kube.Query{Namespace: s.service.Namespace, Labels: discoveryv1.LabelServiceName + "=" + s.service.Name})
	if err != nil {
		return nil, err
	}
	var urls []string
	for n := range slicesOf.Items {
		slice := &slicesOf.Items[n]
		port := s.service.Port
		if port == 0 && len(slice.Ports) > 0 && slice.Ports[0].Port != nil {
			port = *slice.Ports[0].Port
		}
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
				continue
			}
			for _, address := range endpoint.Addresses {
				urls = append(urls, "https://"+net.JoinHostPort(address, strconv.Itoa(int(port))))
			}
		}
	}
	slices.Sort(urls)
	if urls = slices.Compact(urls); len(urls) > maxReplicas {
		urls = urls[:maxReplicas]
	}
	if len(urls) == 0 {
		return nil, fmt.Errorf("no replica of %s/%s is ready: see its pods", s.service.Namespace, s.service.Name)
	}
	return urls, nil
}

// Line is one decision, or something to know about the stream.
type Line struct {
	*decisions.Entry
	Notice string `json:"notice,omitempty"`
}

// Recent are the decisions that replicas hold, the newest first, with what went wrong at single ones.
func (s *Source) Recent(ctx context.Context, caller *kube.Caller, namespace string, limit int) (entries []decisions.Entry, notices []string, err error) {
	urls, err := s.ready(ctx, caller)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	failed := 0
	for _, base := range urls {
		group.Go(func() {
			err := s.read(ctx, caller, base, url.Values{"namespace": {namespace}, "limit": {strconv.Itoa(limit)}}, maxRecent, func(line Line) error {
				mu.Lock()
				defer mu.Unlock()
				if line.Entry != nil {
					entries = append(entries, *line.Entry)
				} else {
					notices = append(notices, line.Notice)
				}
				return nil
			})
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed++
				notices = append(notices, err.Error())
			}
		})
	}
	group.Wait()
	slices.Sort(notices)
	notices = slices.Compact(notices)
	if failed == len(urls) {
		return nil, nil, errors.New(notices[0])
	}
	slices.SortStableFunc(entries, func(a, b decisions.Entry) int { return b.Time.Compare(a.Time) })
	return entries[:min(limit, len(entries))], notices, nil
}

// overlap is how many of the last decisions a stream begins with: those between the page and the stream. The script shows none twice.
const overlap = "20"

// Follow gives decisions as they come, until ctx ends, send fails, or no replica is left. Send is never called twice at once.
func (s *Source) Follow(ctx context.Context, caller *kube.Caller, namespace string, send func(Line) error) error {
	urls, err := s.ready(ctx, caller)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, base := range urls {
		group.Go(func() {
			err := s.read(ctx, caller, base, url.Values{"namespace": {namespace}, "limit": {overlap}, "follow": {"true"}}, 0, func(line Line) error {
				mu.Lock()
				defer mu.Unlock()
				return send(line)
			})
			if err != nil && ctx.Err() == nil {
				mu.Lock()
				defer mu.Unlock()
				if send(Line{Notice: err.Error()}) != nil {
					cancel()
				}
			}
		})
	}
	group.Wait()
	return ctx.Err()
}

func (s *Source) ready(ctx context.Context, caller *kube.Caller) ([]string, error) {
	if s.client == nil {
		return nil, ErrOff
	}
	if caller.Token() == "" {
		return nil, errNoToken
	}
	return s.replicas(ctx, caller)
}

// read reads one replica's lines; at most limit bytes, 0 for any number.
func (s *Source) read(ctx context.Context, caller *kube.Caller, base string, query url.Values, limit int64, send func(Line) error) error {
	if query.Get("namespace") == "" {
		query.Del("namespace")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+decisions.Path+"?"+query.Encode(), nil)
	if err != nil {
		return fmt.Errorf("asking the webhook at %s: %w", base, err)
	}
	request.Header.Set("Authorization", "Bearer "+caller.Token())
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("asking a replica of the webhook for decisions: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return refused(base, response)
	}
	body := io.Reader(response.Body)
	if limit > 0 {
		body = io.LimitReader(body, limit)
	}
	scanner := bufio.NewScanner(body)
	scanner.Buffer(nil, maxLine)
	for scanner.Scan() {
		if len(bytes.TrimSpace(scanner.Bytes())) == 0 {
			continue
		}
		line, err := parse(scanner.Bytes())
		if err != nil {
			return err
		}
		if err := send(line); err != nil {
			return err
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("reading decisions of the webhook at %s: %w", base, err)
	}
	return nil
}

// parse reads one line.
func parse(text []byte) (Line, error) {
	var notice decisions.Notice
	if err := json.Unmarshal(text, &notice); err == nil && notice.Notice != "" {
		return Line{Notice: notice.Notice}, nil
	}
	var entry decisions.Entry
	if err := json.Unmarshal(text, &entry); err != nil {
		return Line{}, fmt.Errorf("reading a decision: %w", err)
	}
	return Line{Entry: &entry}, nil
}

// refused is why a replica shows nothing.
func refused(base string, response *http.Response) error {
	var status struct {
		Message string `json:"message"`
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxLine))
	if json.Unmarshal(body, &status) != nil || status.Message == "" || response.StatusCode == http.StatusNotFound {
		return fmt.Errorf("the webhook at %s shows no decisions (%s): run it with --decisions", base, response.Status)
	}
	return errors.New(status.Message)
}
