package packets

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// peer is the other side of a rule: anybody, pods, or a block of addresses.
type peer struct {
	anybody bool
	pods    []*corev1.Pod
	block   string
	// except are blocks that are none of it; within, of pods, are those that their addresses have to be in.
	except, within []string
}

// port is what a rule says of ports: a range, all of a protocol (first 0), or a name,
// which means a port of the pod that receives. Without a protocol the name alone counts.
type port struct {
	protocol    corev1.Protocol
	first, last int32
	name        string
}

// render are the lines of a rule: each peer with each port. Without ports it is about all traffic.
func (c *Cluster) render(d direction, subject *corev1.Pod, peers []peer, ports []port, verdict string) []string {
	var lines []string
	add := func(parts ...string) {
		lines = append(lines, strings.Join(strings.Fields(strings.Join(append(parts, verdict), " ")), " "))
	}
	for _, peer := range peers {
		addresses := peer.matches(d)
		if len(ports) == 0 {
			for _, address := range addresses {
				add(address)
			}
		}
		for _, port := range ports {
			if port.name == "" {
				for _, address := range addresses {
					add(address, port.match())
				}
				continue
			}
			if d == ingress {
				for _, number := range port.of(subject) {
					for _, address := range addresses {
						add(address, number)
					}
				}
				continue
			}
			c.eachReceiver(peer, func(address string, pod *corev1.Pod) {
				for _, number := range port.of(pod) {
					add(address, number)
				}
			})
		}
	}
	return lines
}

// matches are what the addresses of the peer look like in a packet; one line each. Nobody has none.
func (p *peer) matches(d direction) []string {
	switch {
	case p.anybody && len(p.except) == 0:
		return []string{""}
	case p.anybody:
		// An exception of one family says nothing about the other.
		return []string{p.without("ip", d), p.without("ip6", d)}
	case p.block != "":
		family := family(netip.MustParsePrefix(p.block).Addr())
		return []string{fmt.Sprintf("%s %s %s %s", family, d.peer, p.block, p.without(family, d))}
	}
	var matches []string
	for _, pod := range p.pods {
		for _, address := range Addresses(pod) {
			if p.includes(address) {
				matches = append(matches, fmt.Sprintf("%s %s %s", family(address), d.peer, address))
			}
		}
	}
	return matches
}

// without matches what no exception of a family is about.
func (p *peer) without(name string, d direction) string {
	var except []string
	for _, block := range p.except {
		if family(netip.MustParsePrefix(block).Addr()) == name {
			except = append(except, block)
		}
	}
	if len(except) == 0 {
		return map[string]string{"ip": "meta nfproto ipv4", "ip6": "meta nfproto ipv6"}[name]
	}
	return fmt.Sprintf("%s %s != { %s }", name, d.peer, strings.Join(except, ", "))
}

// eachReceiver are the pods that a rule for outgoing traffic is about, by address: only of a pod is it known which port has
// a name.
func (c *Cluster) eachReceiver(p peer, visit func(match string, pod *corev1.Pod)) {
	pods := p.pods
	if p.anybody || p.block != "" {
		for i := range c.Pods {
			pods = append(pods, &c.Pods[i])
		}
	}
	for _, pod := range pods {
		for _, address := range Addresses(pod) {
			if p.includes(address) {
				visit(fmt.Sprintf("%s daddr %s", family(address), address), pod)
			}
		}
	}
}

// includes says whether an address is within the blocks of the peer, if it has any, and none of its exceptions.
func (p *peer) includes(address netip.Addr) bool {
	in := func(block string) bool { return netip.MustParsePrefix(block).Contains(address) }
	if p.block != "" && !in(p.block) || len(p.within) > 0 && !slices.ContainsFunc(p.within, in) {
		return false
	}
	return !slices.ContainsFunc(p.except, in)
}

func (p *port) match() string {
	protocol := strings.ToLower(string(p.protocol))
	switch {
	case p.first == 0:
		return "meta l4proto " + protocol
	case p.last > p.first:
		return fmt.Sprintf("%s dport %d-%d", protocol, p.first, p.last)
	default:
		return fmt.Sprintf("%s dport %d", protocol, p.first)
	}
}

// of are the ports of a pod that have the name.
func (p *port) of(pod *corev1.Pod) []string {
	var matches []string
	for _, container := range pod.Spec.Containers {
		for _, one := range container.Ports {
			protocol := one.Protocol
			if protocol == "" {
				protocol = corev1.ProtocolTCP
			}
			if one.Name == p.name && (p.protocol == "" || protocol == p.protocol) {
				matches = append(matches, (&port{protocol: protocol, first: one.ContainerPort}).match())
			}
		}
	}
	return matches
}

// Addresses of a pod, as its status has them.
func Addresses(pod *corev1.Pod) []netip.Addr {
	var addresses []netip.Addr
	for _, one := range pod.Status.PodIPs {
		if address, err := netip.ParseAddr(one.IP); err == nil {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

func family(address netip.Addr) string {
	if address.Is6() {
		return "ip6"
	}
	return "ip"
}
