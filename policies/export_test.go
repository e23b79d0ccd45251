package policies

// WholeInput makes an engine give policies all of the input, and evaluate all of them each
// time: what an engine without read sets, guards and memory would do.
func (e *Engine) WholeInput() { e.unpruned, e.unguarded = true, true }

// NoShortcuts makes an engine evaluate all policies each time, on the input they read.
func (e *Engine) NoShortcuts() { e.unguarded = true }
