package registry

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"
)

// special are the addresses that no public registry has (IANA special-purpose address
// registries, RFC 6890), and those at which clouds hand out credentials.
// A host that is allowed by name may be at all but the ones marked never.
var special = []struct {
	prefix netip.Prefix
	what   string
	never  bool
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "an unspecified address", true},
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address, where clouds keep their metadata", true},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address", true},
	{netip.MustParsePrefix("240.0.0.0/4"), "a reserved address", true},
	{netip.MustParsePrefix("100.100.100.200/32"), "a cloud's metadata service", true},
	{netip.MustParsePrefix("168.63.129.16/32"), "a cloud's metadata service", true},
	{netip.MustParsePrefix("fd00:ec2::/32"), "a cloud's metadata service", true},
	{netip.MustParsePrefix("::/128"), "an unspecified address", true},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address", true},
	{netip.MustParsePrefix("fec0::/10"), "a site-local address", true},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address", true},
	{netip.MustParsePrefix("2002::/16"), "a 6to4 address", true},
	{netip.MustParsePrefix("2001::/32"), "a Teredo address", true},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "a local translation address", true},
	{netip.MustParsePrefix("100::/64"), "a discard address", true},
	{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address", false},
	{netip.MustParsePrefix("10.0.0.0/8"), "a private address", false},
	{netip.MustParsePrefix("172.16.0.0/12"), "a private address", false},
	{netip.MustParsePrefix("192.168.0.0/16"), "a private address", false},
	{netip.MustParsePrefix("100.64.0.0/10"), "a carrier's shared address", false},
	{netip.MustParsePrefix("192.0.0.0/24"), "a protocol assignment", false},
	{netip.MustParsePrefix("198.18.0.0/15"), "a benchmarking address", false},
	{netip.MustParsePrefix("::1/128"), "a loopback address", false},
	{netip.MustParsePrefix("fc00::/7"), "a private address", false},
}

// nat64 holds an IPv4 address in its last four bytes (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// PrivateNetworks are the private and loopback networks, as [Options.Allow] takes them:
// for a program that a person runs for themselves, where the image names are their own.
// Link-local addresses are not among them.
func PrivateNetworks() []string {
	return []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "::1/128", "fc00::/7"}
}

// refusedAddress says that a connection was not made.
type refusedAddress struct {
	host, address, what string
	// always: allowing the host does not help.
	always bool
}

func (r *refusedAddress) Error() string {
	if r.address == r.host {
		return fmt.Sprintf("not connecting to %s: it is %s", r.host, r.what)
	}
	return fmt.Sprintf("not connecting to %s at %s: it is %s", r.host, r.address, r.what)
}

// guard decides which addresses may be connected to. Names decide nothing: it looks at
// the address that a name was resolved to, when the socket is about to be connected, so
// that redirects, token servers, pagination and changing DNS answers are all covered.
type guard struct {
	// hosts may be private: "host:port".
	hosts map[string]bool
	// prefixes are allowed whatever else they are.
	prefixes []netip.Prefix
	// cluster is refused as private addresses are.
	cluster []netip.Prefix
	// proxies are the operator's: "host:port".
	proxies sync.Map
	dialer  net.Dialer
}

// newGuard reads [Options.Allow] and [Options.Cluster].
func newGuard(allow, cluster []string) (*guard, error) {
	g := &guard{hosts: map[string]bool{}, dialer: net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}}
	for _, entry := range allow {
		if prefix, ok := parsePrefix(entry); ok {
			g.prefixes = append(g.prefixes, prefix)
			continue
		}
		host, err := optionHost("allow-registry", entry)
		if err != nil {
			return nil, err
		}
		g.hosts[withPort(host, "443")] = true
		if host == strings.ToLower(entry) && !strings.Contains(strings.TrimPrefix(host, "["), ":") {
			g.hosts[withPort(host, "80")] = true
		}
	}
	for _, entry := range cluster {
		prefix, ok := parsePrefix(entry)
		if !ok {
			return nil, fmt.Errorf("reading --cluster-network %q: write it as 10.96.0.0/12", entry)
		}
		g.cluster = append(g.cluster, prefix)
	}
	return g, nil
}

func parsePrefix(text string) (netip.Prefix, bool) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), true
}

// dial connects, unless the address is refused.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if _, ok := g.proxies.Load(address); ok {
		return g.dialer.DialContext(ctx, network, address)
	}
	dialer := g.dialer
	dialer.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(resolved)
		if err != nil {
			return &refusedAddress{host: address, address: resolved, what: "not an IP address", always: true}
		}
		return g.check(address, at.Addr())
	}
	return dialer.DialContext(ctx, network, address)
}

// check says whether a host ("host:port") may be at an address.
func (g *guard) check(host string, at netip.Addr) error {
	at = at.Unmap().WithZone("")
	if nat64.Contains(at) {
		bytes := at.As16()
		at = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	for _, prefix := range g.prefixes {
		if prefix.Contains(at) {
			return nil
		}
	}
	for _, s := range special {
		if s.prefix.Contains(at) && (s.never || !g.hosts[host]) {
			return &refusedAddress{host: host, address: at.String(), what: s.what, always: s.never}
		}
	}
	for _, prefix := range g.cluster {
		if prefix.Contains(at) && !g.hosts[host] {
			return &refusedAddress{host: host, address: at.String(), what: "an address of the cluster"}
		}
	}
	return nil
}

// checkProxied is for requests that a proxy resolves: what can be seen in the name itself.
// What the proxy connects to is the proxy's to restrict.
func (g *guard) checkProxied(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if _, ok := g.proxies.Load(address); ok {
		return &refusedAddress{host: address, address: address, what: "the proxy itself", always: true}
	}
	if at, err := netip.ParseAddr(host); err == nil {
		return g.check(address, at)
	}
	if (host == "localhost" || strings.HasSuffix(host, ".localhost")) && !g.hosts[address] {
		return &refusedAddress{host: address, address: address, what: "a loopback name"}
	}
	return nil
}

// canonicalHost checks "host" or "host:port" and writes it in one way: lower case, no
// port where it is 443.
func canonicalHost(text string) (string, error) {
	text = strings.ToLower(text)
	host, port := text, ""
	if colon := strings.LastIndexByte(text, ':'); colon >= 0 && !strings.HasSuffix(text, "]") {
		host, port = text[:colon], text[colon+1:]
	}
	if err := checkHostname(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")); err != nil {
		return "", err
	}
	if port == "" || port == "443" {
		return host, nil
	}
	if len(port) > 5 || strings.Trim(port, "0123456789") != "" {
		return "", fmt.Errorf("%s is no port", printable(port))
	}
	return host + ":" + port, nil
}

// optionHost is the host that an option names, in the words of its flag.
func optionHost(flag, text string) (string, error) {
	if strings.Contains(text, "://") {
		return "", fmt.Errorf("reading --%s %q: it is an address: write HOST or HOST:PORT", flag, text)
	}
	host, err := canonicalHost(text)
	if err != nil {
		return "", fmt.Errorf("reading --%s %q: %w: write HOST or HOST:PORT", flag, text, err)
	}
	return host, nil
}

// checkHostname refuses what is neither an IP address nor a DNS name. A name whose last
// label begins with a digit is neither: "0x7f.1" or "2130706433" are addresses to some
// resolvers and names to others.
func checkHostname(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if host == "" || len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" || last == "" || last[0] >= '0' && last[0] <= '9' {
		return fmt.Errorf("%s is no host name", printable(host))
	}
	return nil
}

// withPort adds the port where the host has none.
func withPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}
