package packets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Target is where packets are sent to.
type Target struct {
	// Host tells what arrived; only SCTP needs it.
	Host     *Host
	Address  netip.Addr
	Protocol corev1.Protocol
	Port     int32
}

func (t Target) String() string { return fmt.Sprintf("%s %s", t.Protocol, t.addrPort()) }

func (t Target) addrPort() netip.AddrPort { return netip.AddrPortFrom(t.Address, uint16(t.Port)) }

// Serve answers on a port: TCP connections with the host's name, datagrams with themselves.
// Of SCTP it takes note of INIT chunks.
func (h *Host) Serve(protocol corev1.Protocol, port int32) error {
	err := h.Do(func() error { return h.listen(protocol, port) })
	if err != nil {
		return fmt.Errorf("serving %s %d on %s: %w", protocol, port, h.Name, err)
	}
	return nil
}

func (h *Host) listen(protocol corev1.Protocol, port int32) error {
	address := ":" + strconv.Itoa(int(port))
	switch protocol {
	case corev1.ProtocolTCP:
		listener, err := net.Listen("tcp", address)
		if err == nil {
			h.servers = append(h.servers, listener)
			go greet(listener, h.Name)
		}
		return err
	case corev1.ProtocolUDP:
		packets, err := net.ListenPacket("udp", address)
		if err == nil {
			h.servers = append(h.servers, packets)
			go echo(packets)
		}
		return err
	case corev1.ProtocolSCTP:
		return h.listenSCTP()
	default:
		return fmt.Errorf("no protocol %q is known", protocol)
	}
}

func greet(listener net.Listener, name string) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return // it was closed
		}
		_, _ = connection.Write([]byte(name)) // whoever asks sees whether it came
		_ = connection.Close()
	}
}

// ServeLines answers each line of a TCP connection with itself, for as long as the other side likes.
func (h *Host) ServeLines(port int32) error {
	return h.Do(func() error {
		listener, err := net.Listen("tcp", ":"+strconv.Itoa(int(port)))
		if err != nil {
			return fmt.Errorf("serving TCP %d on %s: %w", port, h.Name, err)
		}
		h.servers = append(h.servers, listener)
		go func() {
			for {
				connection, err := listener.Accept()
				if err != nil {
					return // it was closed
				}
				go func() {
					_, _ = io.Copy(connection, connection) // until the other side ends it
					_ = connection.Close()
				}()
			}
		}()
		return nil
	})
}

func echo(packets net.PacketConn) {
	buffer := make([]byte, 1500)
	for {
		length, from, err := packets.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = packets.WriteTo(buffer[:length], from) // whoever asks sees whether it came
		}
	}
}

// Reaches says whether packets get there and, where the protocol answers, back. That the
// other side refuses is an answer, too. No answer within patience is none.
func (h *Host) Reaches(ctx context.Context, target Target, patience time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	reached, err := false, error(nil)
	switch target.Protocol {
	case corev1.ProtocolTCP:
		reached, err = h.reachesTCP(ctx, target)
	case corev1.ProtocolUDP:
		reached, err = h.reachesUDP(ctx, target)
	case corev1.ProtocolSCTP:
		reached, err = h.reachesSCTP(ctx, target)
	default:
		err = fmt.Errorf("no protocol %q is known", target.Protocol)
	}
	if err != nil {
		return false, fmt.Errorf("sending from %s to %s: %w", h.Name, target, err)
	}
	return reached, nil
}

func (h *Host) reachesTCP(ctx context.Context, target Target) (bool, error) {
	connection, err := h.Dial(ctx, "tcp", target.addrPort())
	if err != nil {
		return answered(err)
	}
	return true, connection.Close()
}

// Dial connects from within the namespace.
func (n *Namespace) Dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	var connection net.Conn
	err := n.Do(func() error {
		var err error
		connection, err = (&net.Dialer{}).DialContext(ctx, network, to.String())
		return err
	})
	return connection, err
}

// resendAfter is when a datagram may be taken for lost on the way, not held up.
const resendAfter = 100 * time.Millisecond

func (h *Host) reachesUDP(ctx context.Context, target Target) (bool, error) {
	connection, err := h.dialUDP(target)
	if err != nil {
		return false, err
	}
	defer connection.Close()
	buffer := make([]byte, 16)
	for ctx.Err() == nil {
		if _, err := connection.Write([]byte("hello")); err != nil {
			return answered(err)
		}
		if err := connection.SetReadDeadline(time.Now().Add(resendAfter)); err != nil {
			return false, err
		}
		if _, err = connection.Read(buffer); err == nil {
			return true, nil
		}
		if reached, err := answered(err); reached || err != nil {
			return reached, err
		}
	}
	return false, nil
}

// dialUDP takes a source port that the host has not had before: the kernel may take one of which it still knows that it was
// let through (nf_conntrack_udp_timeout).
func (h *Host) dialUDP(target Target) (net.Conn, error) {
	var connection net.Conn
	err := h.Do(func() error {
		var err error
		local := &net.UDPAddr{Port: int(h.nextPort())}
		connection, err = net.DialUDP("udp", local, net.UDPAddrFromAddrPort(target.addrPort()))
		return err
	})
	return connection, err
}

// Source ports are above those that anybody serves. They come round again after so many attempts that nothing is known of them.
const firstSourcePort, sourcePorts = 1024, 64000

func (h *Host) nextPort() uint16 { return uint16(firstSourcePort + h.attempts.Add(1)%sourcePorts) }

// answered tells what an error of a socket says about the way: a refusal came from the
// other side, silence and "not permitted" (the own side's rules) from none.
func answered(err error) (bool, error) {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return true, nil
	case errors.Is(err, syscall.EPERM), errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return false, nil
	default:
		return false, err
	}
}
