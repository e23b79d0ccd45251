// Package capacity adds up what pods request, may use and do use, and hints at where that does not fit.
//
// It is pure: a [Ledger] is given objects one by one, and keeps of them one row for each container of each workload. All
// figures are whole numbers: processors in thousandths, memory in bytes, money in billionths of a unit.
//
// What pods use is what metrics-server measured over its last window, less than a minute. It is a reason to
// look at a workload for longer, and no measure to set requests by: hints say so.
package capacity

// Amount is some processor time and some memory.
type Amount struct {
	MilliCPU    int64 `json:"milliCPU"`
	MemoryBytes int64 `json:"memoryBytes"`
}

// plus adds, and stays at the largest number instead of running over.
func (a Amount) plus(b Amount) Amount {
	return Amount{add(a.MilliCPU, b.MilliCPU), add(a.MemoryBytes, b.MemoryBytes)}
}

// times multiplies likewise.
func (a Amount) times(n int64) Amount {
	return Amount{multiply(a.MilliCPU, n), multiply(a.MemoryBytes, n)}
}

// atLeast is the larger one of each.
func (a Amount) atLeast(b Amount) Amount {
	return Amount{max(a.MilliCPU, b.MilliCPU), max(a.MemoryBytes, b.MemoryBytes)}
}
