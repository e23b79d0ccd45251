package policies

// WholeInput is an engine of the same bundle that gives policies all of the input, and evaluates all of them each
// time: what an engine without read sets, guards and memory would do.
func (e *Engine) WholeInput() *Engine {
	other := e.NoShortcuts()
	other.unpruned = true
	return other
}

// NoShortcuts is an engine of the same bundle that evaluates all policies each time, on the input they read.
func (e *Engine) NoShortcuts() *Engine {
	return &Engine{
		bundle: e.bundle, compiler: e.compiler, store: e.store, txn: e.txn, profiles: e.profiles, assignments: e.assignments, index: e.index,
		plans: map[planKey]*plan{}, memo: newMemo(), unguarded: true,
	}
}
