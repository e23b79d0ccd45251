package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/portcullis-dev/portcullis/signer/registry"
)

// sshKey reads the private key to sign in with.
func sshKey(c Credentials) (ssh.Signer, error) {
	if len(c.Identity) == 0 {
		return nil, errors.New("there is no key to sign in with: put identity, an SSH private key, and known_hosts into the Secret")
	}
	key, err := ssh.ParsePrivateKey(c.Identity)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked) && c.Password == "":
		return nil, errors.New("reading identity: it has a passphrase: put that into the Secret as password")
	case errors.As(err, &locked):
		if key, err = ssh.ParsePrivateKeyWithPassphrase(c.Identity, []byte(c.Password)); err != nil {
			return nil, errors.New("reading identity: password is not its passphrase: correct password in the Secret")
		}
	case err != nil:
		return nil, errors.New("reading identity: it is no SSH private key: write one with ssh-keygen -t ed25519")
	}
	return key, nil
}

// sshSession runs git-upload-pack on a server (gitprotocol-pack, "SSH Transport").
type sshSession struct {
	source   *Source
	client   *ssh.Client
	session  *ssh.Session
	stdin    io.WriteCloser
	stdout   io.Reader
	problems lockedHead
	stop     func() bool
}

// connectSSH signs in. The connection ends with the context.
func (s *Source) connectSSH(ctx context.Context) (*sshSession, error) {
	algorithms := s.known.algorithms(s.at.host)
	if len(algorithms) == 0 {
		return nil, fmt.Errorf("known_hosts has no key of %s: get it with ssh-keyscan, compare the fingerprint with the server's, and add it to the Secret", normalized(s.at.host))
	}
	connection, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
	config := &ssh.ClientConfig{
		User: s.at.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(s.identity)},
		HostKeyCallback: s.known.check, HostKeyAlgorithms: algorithms, ClientVersion: "SSH-2.0-" + agent,
	}
	conn, channels, requests, err := ssh.NewClientConn(connection, s.at.host, config)
	if err != nil {
		stop()
		_ = connection.Close()
		return nil, s.explainHandshake(err)
	}
	return &sshSession{source: s, client: ssh.NewClient(conn, channels, requests), stop: stop}, nil
}

// dial connects, through the proxy if there is one.
func (s *Source) dial(ctx context.Context) (net.Conn, error) {
	if s.proxy == nil {
		connection, err := s.transport.DialContext(ctx, "tcp", s.at.host)
		if err != nil {
			return nil, s.explainConnection(err)
		}
		return connection, nil
	}
	connection, err := s.transport.DialProxy(ctx, s.proxy, s.at.host)
	if err != nil {
		return nil, s.explainConnection(err)
	}
	tunnelled, err := tunnel(ctx, connection, s)
	if err != nil {
		_ = connection.Close()
		return nil, fmt.Errorf("connecting through the proxy %s: %w", s.proxy.Host, err)
	}
	return tunnelled, nil
}

// tunnel asks an HTTP proxy for a connection (RFC 9110, section 9.3.6).
func tunnel(ctx context.Context, connection net.Conn, s *Source) (net.Conn, error) {
	defer context.AfterFunc(ctx, func() { _ = connection.Close() })()
	request := &http.Request{Method: http.MethodConnect, Host: s.at.host, Header: http.Header{}}
	authority := "CONNECT " + s.at.host + " HTTP/1.1\r\nHost: " + s.at.host + "\r\nUser-Agent: " + agent + "\r\n"
	if s.proxy.User != nil {
		password, _ := s.proxy.User.Password()
		request.SetBasicAuth(s.proxy.User.Username(), password)
		authority += "Proxy-Authorization: " + request.Header.Get("Authorization") + "\r\n"
	}
	if _, err := io.WriteString(connection, authority+"\r\n"); err != nil {
		return nil, err
	}
	const most = 64 << 10
	reader := bufio.NewReader(io.LimitReader(connection, most))
	response, err := http.ReadResponse(reader, request) //nolint:bodyclose // what follows is the connection; closing would read it
	if err != nil {
		return nil, fmt.Errorf("%w: check proxyURL", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, explainStatus(s.proxy.Host, response.StatusCode, s.options.Credentials)
	}
	if reader.Buffered() > 0 {
		ahead, _ := reader.Peek(reader.Buffered())
		return &early{Conn: connection, reader: io.MultiReader(bytes.NewReader(ahead), connection)}, nil
	}
	return connection, nil
}

// early is a connection of which something was read already: servers of SSH speak first.
type early struct {
	net.Conn
	reader io.Reader
}

func (a *early) Read(p []byte) (int, error) { return a.reader.Read(p) }

// explainHandshake says what to do about a connection that was refused.
func (s *Source) explainHandshake(err error) error {
	var wrong *wrongHostKey
	switch {
	case errors.As(err, &wrong):
		return fmt.Errorf("connecting to %s: %w", s.at.host, wrong)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("%s does not accept the key %s for the user %s: register its public key there, or correct identity in the Secret", s.at.host, ssh.FingerprintSHA256(s.identity.PublicKey()), s.at.user)
	case strings.Contains(err.Error(), "no common algorithm for host key"):
		return fmt.Errorf("connecting to %s: %w: the server has no key of the kinds that known_hosts has for it: somebody may be in between; ask who runs it, and only then correct known_hosts", s.at.host, err)
	}
	return registry.Broken("connecting to "+s.at.host, s.at.host, err)
}

func (c *sshSession) advertised(context.Context) (io.Reader, error) {
	var err error
	if c.session, err = c.client.NewSession(); err != nil {
		return nil, c.source.explainConnection(err)
	}
	if c.stdin, err = c.session.StdinPipe(); err != nil {
		return nil, c.source.explainConnection(err)
	}
	if c.stdout, err = c.session.StdoutPipe(); err != nil {
		return nil, c.source.explainConnection(err)
	}
	c.session.Stderr = &c.problems
	if err := c.session.Start(uploadPack + " " + quote(c.source.at.path)); err != nil {
		return nil, c.source.explainConnection(err)
	}
	return c.stdout, nil
}

func (c *sshSession) upload(_ context.Context, request []byte) (io.Reader, error) {
	if _, err := c.stdin.Write(request); err != nil {
		return nil, c.explain(err)
	}
	return c.stdout, nil
}

// explain prefers what the server's program says: where there is no repository it says so and ends.
func (c *sshSession) explain(err error) error {
	if errors.Is(err, errCut) && c.session != nil {
		_ = c.stdin.Close()  // there is nothing more to say
		_ = c.session.Wait() // its output has ended; what it complains about has come when it has
		if said := c.problems.text(); said != "" {
			return fmt.Errorf("the server says %.200q: correct git.url, or what the key may read", said)
		}
	}
	return err
}

func (c *sshSession) close() {
	c.stop()
	_ = c.client.Close() // nothing of it is of use any more
}

// quote is a text as a POSIX shell takes it for one word.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// lockedHead keeps the first bytes of what a server's program complains about.
type lockedHead struct {
	lock sync.Mutex
	head bytes.Buffer
}

func (l *lockedHead) Write(p []byte) (int, error) {
	const most = 4 << 10
	l.lock.Lock()
	defer l.lock.Unlock()
	l.head.Write(p[:min(len(p), max(0, most-l.head.Len()))])
	return len(p), nil
}

func (l *lockedHead) text() string {
	l.lock.Lock()
	defer l.lock.Unlock()
	return strings.TrimSpace(l.head.String())
}
