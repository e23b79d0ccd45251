package cosign_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// moduleDirs remembers where modules are.
type moduleDirs struct {
	mu   sync.Mutex
	dirs map[string]string
}

// file reads a file of a module that this one depends on.
func (m *moduleDirs) file(t testing.TB, module, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(m.dir(t, module), path))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func (m *moduleDirs) dir(t testing.TB, module string) string {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if dir := m.dirs[module]; dir != "" {
		return dir
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("locating module %s: %v", module, err)
	}
	if m.dirs == nil {
		m.dirs = make(map[string]string)
	}
	m.dirs[module] = strings.TrimSpace(string(out))
	return m.dirs[module]
}

const (
	cosignModule     = "github.com/sigstore/cosign/v2"
	sigstoreGoModule = "github.com/sigstore/sigstore-go"
)

// modules is not package state of the program: tests look directories up once.
var modules moduleDirs

func writeFile(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
