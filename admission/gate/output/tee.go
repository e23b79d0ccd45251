package output

import "github.com/portcullis-dev/portcullis/admission/gate"

// Tee returns a handler that tells each of several handlers, in order. The first error
// ends a call.
func Tee(handlers ...gate.Handler) gate.Handler {
	if len(handlers) == 1 {
		return handlers[0]
	}
	return tee(handlers)
}

type tee []gate.Handler

func (t tee) each(tell func(gate.Handler) error) error {
	for _, handler := range t {
		if err := tell(handler); err != nil {
			return err
		}
	}
	return nil
}

func (t tee) Start(run gate.Run) error {
	return t.each(func(h gate.Handler) error { return h.Start(run) })
}

func (t tee) Result(result gate.Result) error {
	return t.each(func(h gate.Handler) error { return h.Result(result) })
}

func (t tee) Problem(problem gate.Problem) error {
	return t.each(func(h gate.Handler) error { return h.Problem(problem) })
}

func (t tee) Finish(summary gate.Summary) error {
	return t.each(func(h gate.Handler) error { return h.Finish(summary) })
}
