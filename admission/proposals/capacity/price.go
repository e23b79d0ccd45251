package capacity

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
)

// HoursOfMonth is how many hours a month has for prices: 8,760 by 12, as clouds count them.
const HoursOfMonth = 730

// Money is an amount in billionths of whatever unit prices are in.
type Money struct{ nano *big.Int }

// Prices are what an hour costs. The zero value has none.
type Prices struct {
	// CPUHour is that of one processor, GiBHour of 1,024 MiB of memory.
	CPUHour, GiBHour *Money
}

// ParsePrice reads a price exactly: a decimal number with up to nine decimals, not negative.
func ParsePrice(text string) (*Money, error) {
	const most = 15 // digits before the point: more than there is money
	before, after, point := strings.Cut(text, ".")
	digits := strings.Trim(before+after, "0123456789") == "" && before != "" && (!point || after != "")
	if !digits || len(before) > most || len(after) > 9 {
		return nil, fmt.Errorf("%q is no price: write a number with up to nine decimals, as 0.0316", text)
	}
	nano, _ := new(big.Int).SetString(before+after+strings.Repeat("0", 9-len(after)), 10)
	return &Money{nano}, nil
}

// month is what an amount costs in a month, nil without prices.
func (p Prices) month(a Amount) *Money {
	if p.CPUHour == nil && p.GiBHour == nil {
		return nil
	}
	total := new(big.Int)
	for _, part := range []struct {
		price        *Money
		amount, unit int64
	}{{p.CPUHour, a.MilliCPU, 1000}, {p.GiBHour, a.MemoryBytes, 1 << 30}} {
		if part.price == nil {
			continue
		}
		cost := new(big.Int).Mul(part.price.nano, big.NewInt(part.amount))
		cost.Mul(cost, big.NewInt(HoursOfMonth))
		total.Add(total, cost.Quo(cost, big.NewInt(part.unit)))
	}
	return &Money{total}
}

// String has two decimals, rounded half up: "1234.50".
func (m *Money) String() string {
	if m == nil || m.nano == nil {
		return ""
	}
	cents := new(big.Int).Add(m.nano, big.NewInt(5_000_000))
	cents.Quo(cents, big.NewInt(10_000_000))
	units, rest := new(big.Int).QuoRem(cents, big.NewInt(100), new(big.Int))
	return fmt.Sprintf("%s.%02d", units, rest.Int64())
}

// MarshalJSON implements [json.Marshaler]: as a string, which keeps its decimals.
func (m *Money) MarshalJSON() ([]byte, error) { return json.Marshal(m.String()) }
