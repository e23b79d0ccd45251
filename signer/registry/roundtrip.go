package registry

import "net/http"

// Transport makes connections as a [Client] does: to the addresses that its options allow only, whatever names say, over
// TLS 1.2 or later, with the authorities of the host and its proxy. It is for what lies on other servers than registries and
// is fetched by the same rules. It follows no redirects and knows no credentials.
type Transport struct{ transports *transports }

// NewTransport checks those options that are about connections: Allow, Cluster, Authorities and Proxy.
func NewTransport(options Options) (*Transport, error) {
	fill(&options)
	guard, err := newGuard(options.Allow, options.Cluster)
	if err != nil {
		return nil, err
	}
	transports, err := newTransports(options, guard)
	if err != nil {
		return nil, err
	}
	return &Transport{transports}, nil
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	return t.transports.roundTrip(request)
}

// CloseIdleConnections closes connections that are not in use.
func (t *Transport) CloseIdleConnections() {
	t.transports.shared.CloseIdleConnections()
	for _, own := range t.transports.own {
		own.CloseIdleConnections()
	}
}

// Broken is the fault that an error of a [Transport] stands for: what is a gerund phrase, host the one that was asked.
func Broken(what, host string, err error) *Error {
	return (&request{what: what, place: place{host: host}}).broken(err)
}

// UntrustedCertificate says whether an error of a [Transport] is that the server's certificate was not accepted.
func UntrustedCertificate(err error) bool { return certificateProblem(err) }
