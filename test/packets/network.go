package packets

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
)

// Network is a bridge in a network namespace of its own: nothing of it is seen by this machine.
type Network struct {
	hub   *Namespace
	hosts []*Host
}

// Host is a network namespace on the bridge. Pods are hosts, and so is what is outside of a cluster.
type Host struct {
	*Namespace
	Name      string
	Addresses []netip.Addr
	servers   []interface{ Close() error }
	inits     *handshakes
	attempts  atomic.Uint32 // of UDP and SCTP
}

// NewNetwork makes an empty network.
func NewNetwork(ctx context.Context) (*Network, error) {
	hub, err := newNamespace()
	if err != nil {
		return nil, err
	}
	n := &Network{hub: hub}
	if err := hub.ip(ctx, "link add bridge0 type bridge", "link set bridge0 up"); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// ip runs the commands of iproute2, in order.
func (n *Namespace) ip(ctx context.Context, commands ...string) error {
	_, err := n.run(ctx, strings.Join(commands, "\n")+"\n", "ip", "-batch", "-")
	return err
}

// Attach adds a host. It takes every other address to be on the bridge.
func (n *Network) Attach(ctx context.Context, name string, addresses ...netip.Addr) (*Host, error) {
	namespace, err := newNamespace()
	if err != nil {
		return nil, err
	}
	host := &Host{Namespace: namespace, Name: name, Addresses: addresses, inits: newHandshakes()}
	n.hosts = append(n.hosts, host)
	if err := n.connect(ctx, host, fmt.Sprintf("port%d", len(n.hosts))); err != nil {
		return nil, fmt.Errorf("attaching %s to the network: %w", name, err)
	}
	return host, nil
}

func (n *Network) connect(ctx context.Context, host *Host, port string) error {
	err := n.hub.ip(ctx,
		"link add "+port+" type veth peer name eth0 netns "+host.path(),
		"link set "+port+" master bridge0 up")
	if err != nil {
		return err
	}
	commands := []string{"link set lo up", "link set eth0 up"}
	everywhere := map[bool]string{false: "0.0.0.0/0", true: "::/0"}
	for _, address := range host.Addresses {
		add := fmt.Sprintf("address add %s/%d dev eth0", address, address.BitLen())
		if address.Is6() {
			add += " nodad" // nobody else has it, and looking for somebody takes a second
		}
		commands = append(commands, add, fmt.Sprintf("route replace %s dev eth0", everywhere[address.Is6()]))
	}
	return host.ip(ctx, commands...)
}

// Close takes the network away.
func (n *Network) Close() error {
	var problems []error
	for _, host := range n.hosts {
		for _, server := range host.servers {
			problems = append(problems, server.Close())
		}
		problems = append(problems, host.Namespace.Close())
	}
	return errors.Join(append(problems, n.hub.Close())...)
}
