package doctor

import (
	"context"
	"slices"
	"sync"
)

// warnings are what the API server has warned of.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

// maxWarnings bounds what is kept of them.
const maxWarnings = 200

// HandleWarningHeaderWithContext implements [rest.WarningHandlerWithContext].
func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, code int, _ string, text string) {
	const miscellaneous = 299 // RFC 7234, 5.5.7: the only one that an API server sends
	w.mu.Lock()
	defer w.mu.Unlock()
	if code == miscellaneous && len(w.texts) < maxWarnings {
		w.texts = append(w.texts, text)
	}
}

// all are those so far.
func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.texts)
}
