package workload

// KnownKind is a kind of objects that carry pods, with the resource under which
// the API server serves it.
type KnownKind struct {
	Group    string
	Kind     string
	Resource string // plural: "deployments"
}

// Known returns all kinds that [Extract] knows: what webhook rules for "workload:
// any" have to name. The caller may change the slice.
func Known() []KnownKind {
	known := make([]KnownKind, 0, len(rows))
	for i := range rows {
		known = append(known, KnownKind{rows[i].group, rows[i].kind, rows[i].resource})
	}
	return known
}

// Carries says whether objects of a kind, in whatever version, carry pods.
func Carries(group, kind string) bool {
	_, ok := rowOf(group, kind)
	return ok
}
