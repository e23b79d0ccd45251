package falco

import (
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/netutil"
)

// shareOfOne is which part of all connections one address may have.
const shareOfOne = 4

// Limit has a listener accept so many connections at once, [DefaultMaxConnections] for 0, and a quarter of them from one address: whoever can reach
// the port can open some, and must not leave none for sensors. Where all sensors come by one address, as behind a proxy, four times as many have to be
// let in.
func Limit(listener net.Listener, connections int) net.Listener {
	if connections <= 0 {
		connections = DefaultMaxConnections
	}
	return &shared{Listener: netutil.LimitListener(listener, connections), most: max(1, connections/shareOfOne), open: map[netip.Addr]int{}}
}

// shared closes connections beyond the share of their address.
type shared struct {
	net.Listener
	most int

	mu   sync.Mutex
	open map[netip.Addr]int
}

// Accept implements [net.Listener].
func (s *shared) Accept() (net.Conn, error) {
	for {
		connection, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addressOf(connection.RemoteAddr())
		if s.enter(from) {
			return &counted{Conn: connection, leave: sync.OnceFunc(func() { s.leave(from) })}, nil
		}
		_ = connection.Close() // there is nobody to tell
	}
}

func (s *shared) enter(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[from] >= s.most {
		return false
	}
	s.open[from]++
	return true
}

func (s *shared) leave(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[from]--; s.open[from] <= 0 {
		delete(s.open, from)
	}
}

// addressOf is that of a connection without its port; all that have none share one.
func addressOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
