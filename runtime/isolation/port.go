package isolation

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// protocol is one of those that have ports, or all others together (ICMP and the like).
type protocol int

const (
	tcp protocol = iota
	udp
	sctp
	otherProtocols
	protocols // how many
)

func (p protocol) String() string {
	return [protocols]string{"TCP", "UDP", "SCTP", "other protocols"}[p]
}

// parseProtocol reads TCP, UDP or SCTP in any case; "" is TCP (API reference of NetworkPolicyPort).
func parseProtocol(text string) (protocol, bool) {
	switch strings.ToUpper(text) {
	case "", "TCP":
		return tcp, true
	case "UDP":
		return udp, true
	case "SCTP":
		return sctp, true
	default:
		return otherProtocols, false
	}
}

// portRange is a range of ports, both ends included.
type portRange struct{ first, last int32 }

// allPorts are those of a protocol. 0 is no port on the wire, but stands for protocols without ports.
var allPorts = portRange{0, 65535}

// portSet are ports by protocol: ranges in order, apart from each other.
type portSet [protocols][]portRange

// everyPort is each port of each protocol.
func everyPort() portSet {
	var set portSet
	for p := range set {
		set[p] = []portRange{allPorts}
	}
	return set
}

func portsOf(p protocol, first, last int32) portSet {
	var set portSet
	if first <= last {
		set[p] = []portRange{{first, last}}
	}
	return set
}

func (s portSet) empty() bool {
	return !slices.ContainsFunc(s[:], func(ranges []portRange) bool { return len(ranges) > 0 })
}

func (s portSet) union(other portSet) portSet {
	for p := range s {
		switch {
		case len(other[p]) == 0:
		case len(s[p]) == 0:
			s[p] = other[p]
		default:
			s[p] = joinPorts(slices.Concat(s[p], other[p]))
		}
	}
	return s
}

func (s portSet) less(other portSet) portSet {
	for p := range s {
		if len(s[p]) > 0 && len(other[p]) > 0 {
			s[p] = lessPorts(s[p], other[p])
		}
	}
	return s
}

// lessPorts is what is in a and not in b; both are in order.
func lessPorts(a, b []portRange) []portRange {
	var rest []portRange
	for _, r := range a {
		for len(b) > 0 && b[0].last < r.first {
			b = b[1:]
		}
		for _, cut := range b {
			if r.last < cut.first {
				break
			}
			if r.first < cut.first {
				rest = append(rest, portRange{r.first, cut.first - 1})
			}
			r.first = cut.last + 1
			if r.first > r.last {
				break
			}
		}
		if r.first <= r.last {
			rest = append(rest, r)
		}
	}
	return rest
}

// add adds a range without putting the set in order, which normal does.
func (s *portSet) add(p protocol, first, last int32) {
	if first <= last {
		s[p] = append(s[p], portRange{first, last})
	}
}

func (s portSet) normal() portSet {
	for p := range s {
		s[p] = joinPorts(slices.Clone(s[p]))
	}
	return s
}

func (s portSet) intersect(other portSet) portSet { return s.less(s.less(other)) }

func joinPorts(ranges []portRange) []portRange {
	slices.SortFunc(ranges, func(a, b portRange) int { return cmp.Compare(a.first, b.first) })
	var joined []portRange
	for _, r := range ranges {
		if n := len(joined); n > 0 && r.first <= joined[n-1].last+1 {
			joined[n-1].last = max(joined[n-1].last, r.last)
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// String is "TCP 80, 443, UDP 53"; "any port" where nothing is left out of the protocols that have some.
func (s portSet) String() string {
	every := everyPort()
	whole := func(p protocol) bool { return slices.Equal(s[p], every[p]) }
	if whole(tcp) && whole(udp) && whole(sctp) {
		return "any port"
	}
	var texts []string
	for p := range protocols {
		switch {
		case len(s[p]) == 0:
		case p == otherProtocols:
			texts = append(texts, p.String())
		case whole(p):
			texts = append(texts, "any "+p.String()+" port")
		default:
			var ports []string
			for i, r := range s[p] {
				if i == maxSpans {
					ports = append(ports, fmt.Sprintf("%d more ranges", len(s[p])-i))
					break
				}
				ports = append(ports, r.String())
			}
			texts = append(texts, p.String()+" "+strings.Join(ports, ", "))
		}
	}
	return strings.Join(texts, ", ")
}

func (r portRange) String() string {
	if r.first == r.last {
		return strconv.Itoa(int(r.first))
	}
	return fmt.Sprintf("%d-%d", r.first, r.last)
}
