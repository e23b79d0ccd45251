package capacity

import (
	"math"
	"math/bits"

	"k8s.io/apimachinery/pkg/api/resource"
)

// add is the sum of two numbers that are not negative, the largest number where it is beyond.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// multiply is the product, likewise.
func multiply(a, b int64) int64 {
	high, low := bits.Mul64(uint64(a), uint64(b))
	if high > 0 || low > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(low)
}

// percent is how many hundredths of whole a part is, rounded down.
func percent(part, whole int64) int64 {
	if whole <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(part), 100)
	if high >= uint64(whole) {
		return math.MaxInt64
	}
	quotient, _ := bits.Div64(high, low, uint64(whole))
	return int64(min(quotient, math.MaxInt64))
}

// milli is a quantity in thousandths, rounded up; one that cannot be read, or is negative, is none.
func milli(text string) (n int64, ok bool) {
	q, ok := quantity(text)
	if !ok {
		return 0, false
	}
	if q.CmpInt64(math.MaxInt64/1000) >= 0 { // where MilliValue is undefined
		return math.MaxInt64, true
	}
	return q.MilliValue(), true
}

// whole is a quantity in units, likewise.
func whole(text string) (n int64, ok bool) {
	q, ok := quantity(text)
	if !ok {
		return 0, false
	}
	if q.CmpInt64(math.MaxInt64) >= 0 {
		return math.MaxInt64, true
	}
	return q.Value(), true
}

func quantity(text string) (q resource.Quantity, ok bool) {
	q, err := resource.ParseQuantity(text)
	return q, err == nil && q.Sign() >= 0
}
