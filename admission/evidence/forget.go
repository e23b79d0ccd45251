package evidence

// Forget has everything found out anew that is remembered of a digest, because something is known to be new about it: it was scanned
// again. Whoever asks next waits for what there is then; what others wait for already is not remembered.
func (f *Facts) Forget(digest string) {
	for _, k := range f.evidence.forget(digest) {
		f.store.remove(partEvidence, k)
	}
	f.statements.forget(digest)
}

// forget drops the answers about a subject, and has those that are under way remembered by nobody. It gives their keys.
func (m *memory[V]) forget(subject string) []key {
	m.mu.Lock()
	defer m.mu.Unlock()
	var about []key
	for k := range m.cache.entries {
		if k.subject == subject {
			about = append(about, k)
		}
	}
	for _, k := range about {
		m.cache.remove(k)
	}
	for k := range m.running {
		if k.subject == subject {
			delete(m.running, k)
			about = append(about, k)
		}
	}
	return about
}
