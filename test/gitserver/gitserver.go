// Package gitserver serves Git repositories over HTTPS on this machine with git's own program, git-http-backend: the
// server that a client of Git meets elsewhere, with a certificate of a private authority.
package gitserver

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/test/pki"
)

// Options are those of a Server.
type Options struct {
	// Dir is where bare repositories lie, as NAME.git.
	Dir string
	// Serving is the certificate it shows.
	Serving pki.Pair
	// Username and Password are asked of every caller, "" of nobody.
	Username, Password string
	// Listen is an address, "127.0.0.1:0" by default.
	Listen string
}

// Server is a running server.
type Server struct {
	options Options
	server  *http.Server
	address string
}

// Start starts a server. It needs git with git-http-backend, which Debian has in the package git.
func Start(ctx context.Context, options Options) (*Server, error) {
	backend, err := Backend(ctx)
	if err != nil {
		return nil, err
	}
	if options.Listen == "" {
		options.Listen = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", options.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for Git: %w", err)
	}
	s := &Server{options: options, address: listener.Addr().String()}
	s.server = &http.Server{Handler: s.guard(&cgi.Handler{
		Path: backend,
		Env: []string{
			"GIT_PROJECT_ROOT=" + options.Dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=git", "HOME=" + options.Dir,
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		},
		InheritEnv: []string{"PATH"},
	}), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.server.ServeTLS(listener, options.Serving.CertFile, options.Serving.KeyFile) }() // ends with Stop
	return s, nil
}

// Backend is the path of git-http-backend.
func Backend(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "--exec-path").Output()
	if err != nil {
		return "", fmt.Errorf("finding git-http-backend: %w: install git", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		return "", fmt.Errorf("finding git-http-backend: %w: install all of git", err)
	}
	return backend, nil
}

// guard asks for a password, where there is one.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		username, password, _ := r.BasicAuth()
		given, wanted := []byte(username+":"+password), []byte(s.options.Username+":"+s.options.Password)
		if s.options.Username != "" && subtle.ConstantTimeCompare(given, wanted) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// URL is that of a repository.
func (s *Server) URL(name string) string { return "https://" + s.address + "/" + name + ".git" }

// Create makes an empty bare repository that may be pushed to, and gives its folder.
func (s *Server) Create(ctx context.Context, name string) (string, error) {
	dir := filepath.Join(s.options.Dir, name+".git")
	for _, arguments := range [][]string{
		{"init", "-q", "--bare", "--initial-branch=main", dir},
		{"-C", dir, "config", "http.receivepack", "true"},
		{"-C", dir, "config", "uploadpack.allowAnySHA1InWant", "true"},
	} {
		if out, err := exec.CommandContext(ctx, "git", arguments...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("making the repository %s: %w: %s", name, err, out)
		}
	}
	return dir, nil
}

// Stop ends it. Requests under way are cut off.
func (s *Server) Stop() error {
	if err := s.server.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
