package kubelet

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/portcullis-dev/portcullis/test/pki"
)

// serveLogs answers what the API server asks a kubelet for `kubectl logs`: GET /containerLogs/NAMESPACE/POD/CONTAINER with
// tailLines and follow. Only the API server is answered. Lines have no time of their own, so timestamps are left out.
func (n *Node) serveLogs(ctx context.Context) (port int32, err error) {
	authority, err := pki.NewAuthority(n.options.Dir, "kubelet")
	if err != nil {
		return 0, err
	}
	certificate, err := authority.Serving(n.address, time.Now().AddDate(1, 0, 0))
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(n.options.CAFile)
	if err != nil {
		return 0, err
	}
	callers := x509.NewCertPool()
	callers.AppendCertsFromPEM(text)
	listener, err := net.Listen("tcp", net.JoinHostPort(n.address, "0"))
	if err != nil {
		return 0, fmt.Errorf("listening for the API server: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", n.logs)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: callers},
	}
	n.done.Go(func() { _ = server.ServeTLS(listener, "", "") })
	n.done.Go(func() {
		<-ctx.Done()
		_ = server.Close()
	})
	return int32(listener.Addr().(*net.TCPAddr).Port), nil
}

func (n *Node) logs(w http.ResponseWriter, r *http.Request) {
	file, err := os.Open(n.logFile(filepath.Base(r.PathValue("namespace")), filepath.Base(r.PathValue("pod"))))
	if errors.Is(err, fs.ErrNotExist) {
		return // nothing runs in its place, and says nothing
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if lines, err := strconv.Atoi(r.URL.Query().Get("tailLines")); err == nil && lines >= 0 {
		text = last(text, lines)
	}
	if _, err := w.Write(text); err != nil || r.URL.Query().Get("follow") != "true" {
		return
	}
	control, ticker := http.NewResponseController(w), time.NewTicker(again/4)
	defer ticker.Stop()
	for {
		if _, err := io.Copy(w, file); err != nil || control.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		}
	}
}

// last is the end of a text, with so many lines.
func last(text []byte, lines int) []byte {
	all := bytes.SplitAfter(text, []byte("\n"))
	if len(all) > 0 && len(all[len(all)-1]) == 0 {
		all = all[:len(all)-1]
	}
	return bytes.Join(all[max(0, len(all)-lines):], nil)
}

// logFile is where what runs in a pod writes.
func (n *Node) logFile(namespace, pod string) string {
	return filepath.Join(n.options.Dir, "logs", namespace, pod+".log")
}
