package registry

import (
	"context"
	"net"
	"net/url"
)

// DialContext connects to "host:port" by the same rules, for what is not spoken over HTTP.
func (t *Transport) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return t.transports.guard.dial(ctx, network, address)
}

// DialProxy connects to a proxy that shall connect to "host:port". The proxy is the operator's and may be anywhere; what
// is seen in the other name is checked.
func (t *Transport) DialProxy(ctx context.Context, proxy *url.URL, address string) (net.Conn, error) {
	guard := t.transports.guard
	at := addressOf(proxy)
	guard.proxies.Store(at, true)
	if err := guard.checkProxied(address); err != nil {
		return nil, err
	}
	return guard.dial(ctx, "tcp", at)
}
