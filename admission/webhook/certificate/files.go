package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// DefaultPoll is how often files are looked at. A mounted Secret is itself up to a
// minute late, so reading two small files is cheap enough and misses no rename.
const DefaultPoll = 10 * time.Second

// Files is a certificate that somebody else renews. A new pair that is broken or
// already expired is logged and not used: the old one goes on serving.
type Files struct {
	certificateFile, keyFile string
	now                      func() time.Time
	logger                   *slog.Logger

	mu               sync.RWMutex
	certificate, key []byte // as read
	serving          *tls.Certificate
}

// NewFiles reads the pair, which must be good to begin with. now is time.Now and
// logger discards where they are nil.
func NewFiles(certificateFile, keyFile string, now func() time.Time, logger *slog.Logger) (*Files, error) {
	if now == nil {
		now = time.Now
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f := &Files{certificateFile: certificateFile, keyFile: keyFile, now: now, logger: logger}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// GetCertificate is for tls.Config.
func (f *Files) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.serving, nil
}

// Expires is when the serving certificate ends.
func (f *Files) Expires() time.Time {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.serving.Leaf.NotAfter
}

// Check says why the certificate cannot be served with now, nil if it can.
func (f *Files) Check() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return validNow(f.serving.Leaf, f.now())
}

// Run reloads until the context ends.
func (f *Files) Run(ctx context.Context) {
	reloadUntil(ctx, f.Reload, func(message string) {
		f.logger.Error("the new serving certificate is not used: the old one goes on", "error", message, "expires", f.Expires())
	})
}

// Reload uses what the files hold now, if it changed and is good.
func (f *Files) Reload() error {
	certificate, err := os.ReadFile(f.certificateFile)
	if err != nil {
		return fmt.Errorf("reading the serving certificate: %w", err)
	}
	key, err := os.ReadFile(f.keyFile)
	if err != nil {
		return fmt.Errorf("reading the serving key: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.serving != nil && bytes.Equal(certificate, f.certificate) && bytes.Equal(key, f.key) {
		return nil
	}
	serving, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("reading %s and %s: %w: write both of one pair", f.certificateFile, f.keyFile, err)
	}
	if err := usable(&serving, f.now()); err != nil {
		return fmt.Errorf("reading %s: %w", f.certificateFile, err)
	}
	f.certificate, f.key, f.serving = certificate, key, &serving
	f.logger.Info("loaded a serving certificate", "names", serving.Leaf.DNSNames, "expires", serving.Leaf.NotAfter)
	return nil
}

func usable(serving *tls.Certificate, now time.Time) error {
	if serving.Leaf == nil {
		leaf, err := x509.ParseCertificate(serving.Certificate[0])
		if err != nil {
			return err
		}
		serving.Leaf = leaf
	}
	if len(serving.Leaf.DNSNames)+len(serving.Leaf.IPAddresses) == 0 {
		return errors.New("the certificate has no subject alternative name: Kubernetes ignores common names")
	}
	return validNow(serving.Leaf, now)
}
