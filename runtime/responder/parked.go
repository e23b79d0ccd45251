package responder

import "time"

// parked are events whose pod is not known yet, the oldest first.
type parked struct{ waiting []parkedItem }

type parkedItem struct {
	item  Item
	since time.Time
	err   error // why it is not known
}

// try has each looked at again: what is not known stays until it has waited for long enough, and is then given up.
func (p *parked) try(now time.Time, wait time.Duration, look func(Item) error, giveUp func(Item, error)) {
	var still []parkedItem
	for _, one := range p.waiting {
		one.err = look(one.item)
		switch {
		case one.err == nil:
		case now.Sub(one.since) >= wait:
			giveUp(one.item, one.err)
		default:
			still = append(still, one)
		}
	}
	p.waiting = still
}
