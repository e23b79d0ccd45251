package git_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/portcullis-dev/portcullis/policies/source/git"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/gitserver"
)

// repository is a real one, written by git itself, in a folder that servers serve from.
type repository struct {
	t    testing.TB
	root string // of the server
	dir  string
}

func newRepository(t testing.TB, arguments ...string) *repository {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed: apt-get install git")
	}
	root := t.TempDir()
	r := &repository{t: t, root: root, dir: filepath.Join(root, "policies.git")}
	r.git(append([]string{"init", "-q", "--initial-branch=main", r.dir}, arguments...)...)
	return r
}

func (r *repository) git(arguments ...string) string {
	r.t.Helper()
	command := exec.Command("git", arguments...)
	command.Dir = r.root
	if _, err := os.Stat(r.dir); err == nil {
		command.Dir = r.dir
	}
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.root, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE=1772366400 +0000",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com", "GIT_COMMITTER_DATE=1772366400 +0000",
	}
	out, err := command.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// write adds a file to the next commit.
func (r *repository) write(name string, content []byte) {
	r.t.Helper()
	file := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.git("add", name)
}

// commit commits what was written, and gives its hash.
func (r *repository) commit(arguments ...string) string {
	r.t.Helper()
	r.git(append([]string{"commit", "-q", "--allow-empty", "-m", "Change policies"}, arguments...)...)
	return r.git("rev-parse", "HEAD")
}

// bundle writes a bundle with so much as a serial.
func (r *repository) bundle(serial int) {
	r.write("bundle.yaml", fmt.Appendf(nil, "name: acme\nserial: %d\n", serial))
	r.write("pods/privileged/policy.rego", []byte("package pods.privileged\n"))
	r.write(".gitignore", []byte("*.tmp\n"))
}

// server serves a repository over https with git's own program.
type server struct {
	*httptest.Server
	requests atomic.Int64 // those for objects
}

func (r *repository) serve(between func(http.Handler) http.Handler) *server {
	r.t.Helper()
	backend, err := gitserver.Backend(r.t.Context())
	if err != nil {
		r.t.Skip(err)
	}
	handler := http.Handler(&cgi.Handler{
		Path: backend,
		Env: []string{
			"GIT_PROJECT_ROOT=" + r.root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=git", "HOME=" + r.root,
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		},
		InheritEnv: []string{"PATH"},
		Stderr:     io.Discard,
		Logger:     log.New(io.Discard, "", 0),
	})
	if between != nil {
		handler = between(handler)
	}
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodPost {
			s.requests.Add(1)
		}
		handler.ServeHTTP(w, request)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up are what is tested
	s.StartTLS()
	r.t.Cleanup(s.Close)
	return s
}

// source is the repository as a PolicyBundle names it.
func (s *server) source() v1alpha1.GitSource {
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return v1alpha1.GitSource{URL: s.URL + "/policies.git", Connection: v1alpha1.Connection{CABundle: string(authority)}}
}

// loopback lets tests connect to this machine.
func loopback() git.Options { return git.Options{Allow: []string{"127.0.0.0/8"}} }

// newKey makes an SSH key: for signing in, and as the file that Git takes.
func newKey(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "test")
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

// publicLine is a key as in known_hosts and allowed_signers.
func publicLine(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// sshServer runs git-upload-pack for who has the key.
type sshServer struct {
	t        testing.TB
	root     string
	address  string
	listener net.Listener
	config   *ssh.ServerConfig
}

func (r *repository) serveSSH(host ssh.Signer, allowed ssh.PublicKey) *sshServer {
	r.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	s := &sshServer{t: r.t, root: r.root, address: listener.Addr().String(), listener: listener}
	s.config = &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(allowed.Marshal()) {
			return nil, errors.New("who are you?")
		}
		return &ssh.Permissions{}, nil
	}}
	s.config.AddHostKey(host)
	r.t.Cleanup(func() { _ = listener.Close() })
	go s.accept(r.t.Context())
	return s
}

func (s *sshServer) accept(ctx context.Context) {
	for {
		connection, err := s.listener.Accept()
		if err != nil {
			return
		}
		go s.talk(ctx, connection)
	}
}

func (s *sshServer) talk(ctx context.Context, connection net.Conn) {
	defer connection.Close()
	_, channels, requests, err := ssh.NewServerConn(connection, s.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go s.exec(ctx, channel, requests)
	}
}

// exec runs what a shell would, where it is git-upload-pack.
func (s *sshServer) exec(ctx context.Context, channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for request := range requests {
		line := strings.TrimSpace(string(request.Payload[min(4, len(request.Payload)):]))
		name, ok := strings.CutPrefix(line, "git-upload-pack '/")
		_ = request.Reply(request.Type == "exec" && ok, nil)
		if request.Type != "exec" || !ok {
			continue
		}
		command := exec.CommandContext(ctx, "git", "upload-pack", filepath.Join(s.root, strings.TrimSuffix(name, "'")))
		command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.root}
		command.Stdout, command.Stderr = channel, channel.Stderr()
		stdin, err := command.StdinPipe() // with a Stdin that never ends the command would not
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(stdin, channel) }()
		status := make([]byte, 4)
		if err := command.Run(); err != nil {
			status[3] = 128
		}
		_, _ = channel.SendRequest("exit-status", false, status)
		return
	}
}

// known is a line of known_hosts.
func (s *sshServer) known(key ssh.PublicKey) string {
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	return "[" + host + "]:" + port + " " + publicLine(key) + "\n"
}
