package isolation

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// span is a range of addresses of one family, both ends included.
type span struct{ first, last netip.Addr }

// addresses is a set of them: spans in order, apart from each other, IPv4 before IPv6.
type addresses []span

// spanOf are the addresses of a prefix.
func spanOf(p netip.Prefix) span {
	p = p.Masked()
	raw := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(raw)
	return span{p.Addr(), last}
}

// everywhere is each address of both families.
func everywhere() addresses {
	return addresses{spanOf(netip.PrefixFrom(netip.IPv4Unspecified(), 0)), spanOf(netip.PrefixFrom(netip.IPv6Unspecified(), 0))}
}

// parsePrefix reads a CIDR, or a single address, which is one with all bits.
func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("reading the address %q: %w", text, err)
		}
		return netip.PrefixFrom(address.Unmap().WithZone(""), address.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("reading the CIDR %q: %w", text, err)
	}
	if prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("reading the CIDR %q: an IPv4 address written as IPv6", text)
	}
	return prefix, nil
}

// parseAddresses is the union of CIDRs less the union of others.
func parseAddresses(cidrs, except []string) (addresses, error) {
	var set, without addresses
	for _, list := range []struct {
		texts []string
		into  *addresses
	}{{cidrs, &set}, {except, &without}} {
		for _, text := range list.texts {
			prefix, err := parsePrefix(text)
			if err != nil {
				return nil, err
			}
			*list.into = append(*list.into, spanOf(prefix))
		}
	}
	return set.normal().less(without.normal()), nil
}

// normal puts spans in order and joins those that touch.
func (a addresses) normal() addresses {
	sorted := slices.Clone(a)
	slices.SortFunc(sorted, func(x, y span) int { return x.first.Compare(y.first) })
	var joined addresses
	for _, s := range sorted {
		if n := len(joined); n > 0 {
			before := &joined[n-1]
			touches := before.last.BitLen() == s.first.BitLen() && (before.last.Compare(s.first) >= 0 || before.last.Next() == s.first)
			if touches {
				if s.last.Compare(before.last) > 0 {
					before.last = s.last
				}
				continue
			}
		}
		joined = append(joined, s)
	}
	return joined
}

// less is what is in a and not in b; both are normal.
func (a addresses) less(b addresses) addresses {
	var rest addresses
	for _, s := range a {
		// Cuts before this span are before all that follow, too.
		for len(b) > 0 && b[0].last.Less(s.first) {
			b = b[1:]
		}
		left := true
		for _, cut := range b {
			if s.last.Less(cut.first) {
				break
			}
			if s.first.Less(cut.first) {
				rest = append(rest, span{s.first, cut.first.Prev()})
			}
			if s.last.Compare(cut.last) <= 0 {
				left = false
				break
			}
			s.first = cut.last.Next()
		}
		if left {
			rest = append(rest, s)
		}
	}
	return rest
}

func (a addresses) union(b addresses) addresses { return slices.Concat(a, b).normal() }

func (a addresses) contains(address netip.Addr) bool {
	i, found := slices.BinarySearchFunc(a, address, func(s span, t netip.Addr) int { return s.first.Compare(t) })
	if found {
		return true
	}
	return i > 0 && a[i-1].first.BitLen() == address.BitLen() && address.Compare(a[i-1].last) <= 0
}

// all says that no address of either family is left out.
func (a addresses) all() bool { return len(a) == 2 && slices.Equal(a, everywhere()) }

// cells cuts all addresses at every end of the sets: each cell is within a set or outside of it as a whole.
func cells(sets []addresses) addresses {
	var starts []netip.Addr
	for _, s := range everywhere() {
		starts = append(starts, s.first)
	}
	for _, set := range sets {
		for _, s := range set {
			starts = append(starts, s.first)
			if next := s.last.Next(); next.IsValid() {
				starts = append(starts, next)
			}
		}
	}
	slices.SortFunc(starts, netip.Addr.Compare)
	starts = slices.Compact(starts)
	var result addresses
	for i, start := range starts {
		end := spanOf(netip.PrefixFrom(start, 0)).last
		if i+1 < len(starts) && starts[i+1].BitLen() == start.BitLen() {
			end = starts[i+1].Prev()
		}
		result = append(result, span{start, end})
	}
	return result
}

// maxSpans is how many pieces of a set are told; more are counted.
const maxSpans = 6

// String is "10.0.0.0/8, 192.0.2.1-192.0.2.9".
func (a addresses) String() string {
	if a.all() {
		return "any address"
	}
	var texts []string
	for i, s := range a {
		if i == maxSpans {
			texts = append(texts, fmt.Sprintf("%d more ranges", len(a)-i))
			break
		}
		texts = append(texts, s.String())
	}
	return strings.Join(texts, ", ")
}

func (s span) String() string {
	if s.first == s.last {
		return s.first.String()
	}
	for bits := 0; bits < s.first.BitLen(); bits++ {
		if prefix := netip.PrefixFrom(s.first, bits); prefix.Masked().Addr() == s.first && spanOf(prefix).last == s.last {
			return prefix.String()
		}
	}
	return s.first.String() + "-" + s.last.String()
}
