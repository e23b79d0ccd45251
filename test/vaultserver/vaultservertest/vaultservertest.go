// Package vaultservertest shares one Vault between the tests of a package, started by the first that needs it.
package vaultservertest

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/portcullis-dev/portcullis/test/vaultserver"
)

// Shared is a Vault that is started when it is first asked for. Its zero value is one with nothing mounted.
type Shared struct {
	// Prepare mounts and writes what the tests share.
	Prepare func(context.Context, *vaultserver.Server) error

	once   sync.Once
	dir    string
	server *vaultserver.Server
	err    error
}

// Server gives the Vault, and ends the test if it cannot. A short test is skipped.
func (s *Shared) Server(t testing.TB) *vaultserver.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a Vault")
	}
	s.once.Do(func() { s.err = s.start() })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server
}

func (s *Shared) start() error {
	ctx := context.Background() // it outlives the test that starts it
	var err error
	if s.dir, err = os.MkdirTemp("", "portcullis-vault-"); err != nil {
		return err
	}
	if s.server, err = vaultserver.Start(ctx, vaultserver.Options{Dir: s.dir}); err != nil || s.Prepare == nil {
		return err
	}
	return s.Prepare(ctx, s.server)
}

// Run runs the tests of a package, for its TestMain, and ends the Vault after them. It gives the exit code.
func (s *Shared) Run(m *testing.M) int {
	code := m.Run()
	if s.server != nil {
		_ = s.server.Stop()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
	return code
}
