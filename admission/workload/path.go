package workload

import (
	"strconv"
	"strings"
)

// paths writes the paths of one workload into one growing text, of which each
// path is a part: a workload of four containers has about a hundred.
type paths struct {
	text strings.Builder
}

// field is parent.name.
func (p *paths) field(parent, name string) string {
	start := p.text.Len()
	p.writeField(parent, name)
	return p.text.String()[start:]
}

// index is parent.name[i].
func (p *paths) index(parent, name string, i int) string {
	start := p.text.Len()
	p.writeField(parent, name)
	p.writeIndex(i)
	return p.text.String()[start:]
}

// within is parent.first.second.
func (p *paths) within(parent, first, second string) string {
	start := p.text.Len()
	p.writeField(parent, first)
	p.text.WriteByte('.')
	p.text.WriteString(second)
	return p.text.String()[start:]
}

// key is parent.name[key].
func (p *paths) key(parent, name, key string) string {
	start := p.text.Len()
	p.writeField(parent, name)
	p.text.WriteByte('[')
	p.text.WriteString(key)
	p.text.WriteByte(']')
	return p.text.String()[start:]
}

func (p *paths) writeField(parent, name string) {
	if parent != "" {
		p.text.WriteString(parent)
		if name != "" {
			p.text.WriteByte('.')
		}
	}
	p.text.WriteString(name)
}

func (p *paths) writeIndex(i int) {
	var digits [20]byte
	p.text.WriteByte('[')
	p.text.Write(strconv.AppendInt(digits[:0], int64(i), 10))
	p.text.WriteByte(']')
}
