package certificate

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// Authorities are CA certificates in a file that may change, such as those that sign
// the API server's client certificate.
type Authorities struct {
	file   string
	logger *slog.Logger

	mu      sync.RWMutex
	content []byte
	pool    *x509.CertPool
}

// NewAuthorities reads the file.
func NewAuthorities(file string, logger *slog.Logger) (*Authorities, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	a := &Authorities{file: file, logger: logger}
	if err := a.Reload(); err != nil {
		return nil, err
	}
	return a, nil
}

// Pool is the same value until the file changes.
func (a *Authorities) Pool() *x509.CertPool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.pool
}

// Run reloads until the context ends.
func (a *Authorities) Run(ctx context.Context) {
	reloadUntil(ctx, a.Reload, func(message string) {
		a.logger.Error("the new client CA is not used: the old one goes on", "error", message)
	})
}

// Reload uses what the file holds now, if it changed and holds a certificate.
func (a *Authorities) Reload() error {
	content, err := os.ReadFile(a.file)
	if err != nil {
		return fmt.Errorf("reading the client CA: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pool != nil && bytes.Equal(content, a.content) {
		return nil
	}
	certificates, err := decodeCertificates(content)
	if err == nil && len(certificates) == 0 {
		err = errors.New("it holds no certificate in PEM")
	}
	if err != nil {
		return fmt.Errorf("reading the client CA %s: %w", a.file, err)
	}
	pool := x509.NewCertPool()
	for _, certificate := range certificates {
		pool.AddCert(certificate)
	}
	a.content, a.pool = content, pool
	return nil
}
