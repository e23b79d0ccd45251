package registry

import (
	"net/netip"
	"testing"
)

func TestAddressesThatAreNotPublicAreRefused(t *testing.T) {
	g, err := newGuard([]string{"registry.corp:5000", "plain.corp", "10.1.0.0/16", "::ffff:192.168.7.0/120"}, []string{"203.0.113.0/24", "10.96.0.0/12"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, host, address string
		allowed             bool
	}{
		{"a public address", "ghcr.io:443", "140.82.121.33", true},
		{"a public IPv6 address", "ghcr.io:443", "2606:50c0:8000::154", true},
		{"loopback", "ghcr.io:443", "127.0.0.1", false},
		{"another loopback address", "ghcr.io:443", "127.8.9.10", false},
		{"IPv6 loopback", "ghcr.io:443", "::1", false},
		{"loopback as an IPv4-mapped address", "ghcr.io:443", "::ffff:127.0.0.1", false},
		{"metadata", "ghcr.io:443", "169.254.169.254", false},
		{"metadata as an IPv4-mapped address", "ghcr.io:443", "::ffff:169.254.169.254", false},
		{"metadata behind NAT64", "ghcr.io:443", "64:ff9b::a9fe:a9fe", false},
		{"a public address behind NAT64", "ghcr.io:443", "64:ff9b::8c52:7921", true},
		{"metadata of AWS over IPv6", "ghcr.io:443", "fd00:ec2::254", false},
		{"metadata of Alibaba", "ghcr.io:443", "100.100.100.200", false},
		{"metadata of Azure", "ghcr.io:443", "168.63.129.16", false},
		{"IPv6 link-local with a zone", "ghcr.io:443", "fe80::1%eth0", false},
		{"10/8", "ghcr.io:443", "10.2.0.1", false},
		{"172.16/12", "ghcr.io:443", "172.31.255.255", false},
		{"just above 172.16/12", "ghcr.io:443", "172.32.0.1", true},
		{"192.168/16", "ghcr.io:443", "192.168.1.1", false},
		{"a carrier's network", "ghcr.io:443", "100.64.0.1", false},
		{"a unique local address", "ghcr.io:443", "fd12::1", false},
		{"multicast", "ghcr.io:443", "224.0.0.1", false},
		{"IPv6 multicast", "ghcr.io:443", "ff02::1", false},
		{"unspecified", "ghcr.io:443", "0.0.0.0", false},
		{"IPv6 unspecified", "ghcr.io:443", "::", false},
		{"broadcast", "ghcr.io:443", "255.255.255.255", false},
		{"6to4 of loopback", "ghcr.io:443", "2002:7f00:1::", false},
		{"a public network of the cluster", "ghcr.io:443", "203.0.113.9", false},
		{"an allowed network", "ghcr.io:443", "10.1.2.3", true},
		{"an allowed network in its IPv4-mapped form", "ghcr.io:443", "192.168.7.9", true},
		{"an allowed host at a private address", "registry.corp:5000", "10.2.0.1", true},
		{"an allowed host at an address of the cluster", "registry.corp:5000", "10.96.0.1", true},
		{"an allowed host at another port", "registry.corp:6443", "10.2.0.1", false},
		{"an allowed host that turned to metadata", "registry.corp:5000", "169.254.169.254", false},
		{"an allowed host that turned to metadata of AWS", "registry.corp:5000", "fd00:ec2::254", false},
		{"a host allowed without port, with TLS", "plain.corp:443", "10.2.0.1", true},
		{"a host allowed without port, without TLS", "plain.corp:80", "10.2.0.1", true},
		{"a host allowed without port, elsewhere", "plain.corp:6443", "10.2.0.1", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := g.check(test.host, netip.MustParseAddr(test.address))
			if allowed := err == nil; allowed != test.allowed {
				t.Errorf("got %v, want allowed %t", err, test.allowed)
			}
		})
	}
}

func TestHostsAreWrittenInOneWay(t *testing.T) {
	for text, want := range map[string]string{
		"ghcr.io": "ghcr.io", "GHCR.io": "ghcr.io", "ghcr.io:443": "ghcr.io", "ghcr.io:5000": "ghcr.io:5000",
		"[::1]:5000": "[::1]:5000", "[::1]": "[::1]", "127.0.0.1:80": "127.0.0.1:80", "localhost:5000": "localhost:5000",
		"": "", "a b": "", "ghcr.io/x": "", "ghcr.io:x": "", "user@ghcr.io": "", "0x7f.1": "", "2130706433": "", "127.1": "",
		"ghcr.іo": "", "ghcr.io:999999": "", "ghcr.io.": "", "a\nb": "",
	} {
		got, err := canonicalHost(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestProxiedNamesAreLookedAt(t *testing.T) {
	g, err := newGuard([]string{"localhost:5000"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.proxies.Store("proxy.corp:3128", true)
	for address, allowed := range map[string]bool{
		"ghcr.io:443": true, "169.254.169.254:443": false, "[::1]:443": false, "10.0.0.1:443": false,
		"localhost:443": false, "a.localhost:443": false, "localhost:5000": true, "proxy.corp:3128": false,
	} {
		if err := g.checkProxied(address); (err == nil) != allowed {
			t.Errorf("%s: got %v, want allowed %t", address, err, allowed)
		}
	}
}

func TestPathsAndTagsThatWouldLeadElsewhereAreNone(t *testing.T) {
	for _, path := range []string{"", "..", "a/../b", "a//b", "/a", "a/", "A", "a b", "a?b", "a#b", "a%2fb", "a/.", "é"} {
		if checkPath(path) == nil {
			t.Errorf("%q is taken for a repository", path)
		}
	}
	for _, path := range []string{"a", "a/b", "library/nginx", "a__b/c-d.e"} {
		if err := checkPath(path); err != nil {
			t.Error(err)
		}
	}
	for _, tag := range []string{"", ".a", "-a", "a/b", "a:b", "a?b", "sha256:" + string(make([]byte, 64))} {
		if checkTag(tag) == nil {
			t.Errorf("%q is taken for a tag", tag)
		}
	}
}
