package capacity

import "fmt"

// Text is an amount for people: "250m" and "1.5" processors, "128 MiB". What does not come out even is cut, not rounded: figures for
// machines are in the report.
func Text(resource string, n int64) string {
	if resource == "cpu" {
		return CPU(n)
	}
	return Memory(n)
}

// CPU is thousandths of a processor.
func CPU(milli int64) string {
	if milli < 1000 {
		return fmt.Sprintf("%dm", milli)
	}
	return decimal(milli, 1000)
}

// Memory is bytes, in the largest unit of which there is one.
func Memory(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	unit, size := 0, int64(1)
	for unit < len(units)-1 && bytes >= size*1024 {
		unit, size = unit+1, size*1024
	}
	return decimal(bytes, size) + " " + units[unit]
}

// decimal is n divided by size, with one decimal where it is small and does not come out even.
func decimal(n, size int64) string {
	whole, tenth := n/size, n%size*10/size
	if tenth == 0 || whole >= 100 {
		return fmt.Sprint(whole)
	}
	return fmt.Sprintf("%d.%d", whole, tenth)
}
