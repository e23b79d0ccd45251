package grpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/falcosecurity/client-go/pkg/api/outputs"
	"github.com/falcosecurity/client-go/pkg/api/schema"
	"github.com/portcullis-dev/portcullis/runtime/falco"
	"github.com/portcullis-dev/portcullis/test/pki"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// sensor is a Falco that sends what it has when it is asked, as Falco's server does, and then waits to be asked for more.
type sensor struct {
	outputs.UnimplementedServiceServer
	responses []*outputs.Response
	// end ends the stream when all is sent.
	end bool
}

func (s *sensor) Sub(stream outputs.Service_SubServer) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	for _, r := range s.responses {
		if err := stream.Send(r); err != nil {
			return err
		}
	}
	for !s.end {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

func serve(t *testing.T, s *sensor, network, address string, o ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(o...)
	outputs.RegisterServiceServer(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// shell is the event of testdata/events/terminal-shell.json, as Falco's gRPC server sends it: all values are text, and what was not known is "<NA>".
func shell() *outputs.Response {
	return &outputs.Response{
		Time:     timestamppb.New(time.Date(2023, 5, 25, 13, 44, 5, 478445995, time.UTC)),
		Priority: schema.Priority_CRITICAL,
		Rule:     "Terminal shell in container", Hostname: "falco-xczjd", Source: "syscall",
		Tags:   []string{"shell", "container", "maturity_stable", "mitre_execution", "T1059"},
		Output: "13:44:05.478445995: Critical A shell was spawned in a container with an attached terminal (user=root user_loginuid=-1 k8s.ns=default k8s.pod=kubecon container=ee97d9c4186f shell=sh parent=runc cmdline=sh -c clear terminal=34816 container_id=ee97d9c4186f image=docker.io/library/alpine)",
		OutputFields: map[string]string{
			"container.id": "ee97d9c4186f", "container.image.repository": "docker.io/library/alpine", "evt.time": "13:44:05.478445995", "k8s.ns.name": "default",
			"k8s.pod.name": "kubecon", "proc.cmdline": "sh -c clear", "proc.name": "sh", "proc.pname": "runc", "proc.tty": "34816", "user.loginuid": "-1", "user.name": "root",
			"k8s.pod.uid": "<NA>", "container.image.digest": "<NA>",
		},
	}
}

func overHTTP(t *testing.T, name string) *falco.Message {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("..", "testdata", "events", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := falco.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var errEnough = errors.New("enough")

// subscribe takes so many messages.
func subscribe(t *testing.T, o Options, count int) (messages []*falco.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := Subscribe(ctx, o, func(m *falco.Message) error {
		if messages = append(messages, m); len(messages) == count {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("got %v after %d messages, want %d of them", err, len(messages), count)
	}
	return messages
}

// mutual is what a server over TLS and a client of it need.
func mutual(t *testing.T) (grpc.ServerOption, Options) {
	t.Helper()
	authority, err := pki.NewAuthority(t.TempDir(), "authority")
	if err != nil {
		t.Fatal(err)
	}
	server, err := authority.Issue("falco")
	if err != nil {
		t.Fatal(err)
	}
	client, err := authority.Issue("responder")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(server.CertFile, server.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(authority.File)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	config := &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	return grpc.Creds(credentials.NewTLS(config)), Options{CertFile: client.CertFile, KeyFile: client.KeyFile, CAFile: authority.File}
}

func TestAnEventIsTheSameOverGRPCAndHTTP(t *testing.T) {
	want := overHTTP(t, "terminal-shell")
	want.From("node-a")
	same := func(t *testing.T, o Options) {
		t.Helper()
		o.Node = "node-a"
		got := subscribe(t, o, 1)[0]
		if !reflect.DeepEqual(got.Event, want.Event) {
			t.Errorf("got %+v over gRPC, want %+v", got.Event, want.Event)
		}
		// What is kept of it on disk reads the same.
		again, err := falco.Decode(got.Raw)
		if err != nil || again.Event.ID != want.Event.ID {
			t.Errorf("got %+v, %v from what is kept, want the same event", again, err)
		}
	}
	t.Run("with certificates", func(t *testing.T) {
		creds, o := mutual(t)
		o.Address = serve(t, &sensor{responses: []*outputs.Response{shell()}}, "tcp", "127.0.0.1:0", creds)
		same(t, o)
	})
	t.Run("over a unix socket", func(t *testing.T) {
		dir, err := os.MkdirTemp("", "falco") // the path of a socket has 108 bytes at most
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		socket := serve(t, &sensor{responses: []*outputs.Response{shell()}}, "unix", filepath.Join(dir, "falco.sock"))
		same(t, Options{Socket: socket})
		same(t, Options{Socket: "unix://" + socket})
	})
}

func TestHealthAndOldEventsComeOverGRPCToo(t *testing.T) {
	drop := &outputs.Response{
		Time: timestamppb.New(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)), Priority: schema.Priority_DEBUG, Rule: "Falco internal: syscall event drop", Hostname: "node-a",
		Source: "internal", OutputFields: map[string]string{"n_drops": "42", "ebpf_enabled": "1"},
	}
	audit := shell()
	//lint:ignore SA1019 deprecated, and all that old versions have
	audit.Source, audit.SourceDeprecated = "", schema.Source_K8S_AUDIT
	socket := serve(t, &sensor{responses: []*outputs.Response{drop, audit}}, "unix", filepath.Join(shortDir(t), "s"))
	got := subscribe(t, Options{Socket: socket, Node: "node-b"}, 2)
	if h := got[0].Health; h == nil || h.Numbers["n_drops"] != "42" || h.Sender != "node-b" {
		t.Errorf("got %+v, want 42 drops of node-b", h)
	}
	if got[1].Event == nil || got[1].Event.Source != "k8s_audit" {
		t.Errorf("got %+v, want an event of the audit log", got[1].Event)
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "f")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestWhatCannotBeReadDoesNotEndTheSubscription(t *testing.T) {
	nameless, timeless, huge := shell(), shell(), shell()
	nameless.Rule = ""
	timeless.Time, timeless.OutputFields = nil, nil
	huge.OutputFields = map[string]string{"proc.cmdline": strings.Repeat("x", 100<<10)}
	notUTF8 := &outputs.Response{Time: &timestamppb.Timestamp{Seconds: -1 << 60}, Rule: "r"}
	socket := serve(t, &sensor{responses: []*outputs.Response{nameless, timeless, huge, notUTF8, shell()}}, "unix", filepath.Join(shortDir(t), "s"))
	var refused []string
	got := subscribe(t, Options{Socket: socket, Refused: func(_ []byte, err error) { refused = append(refused, err.Error()) }}, 1)
	if len(refused) != 4 || got[0].Event.Rule != "Terminal shell in container" {
		t.Errorf("got %d refused (%q) and %+v, want four and the event after them", len(refused), refused, got[0].Event)
	}
	// Without anybody who hears of it, too.
	subscribe(t, Options{Socket: socket}, 1)
}

func TestAnEventThatIsNotKeptDoesNotEndTheSubscription(t *testing.T) {
	socket := serve(t, &sensor{responses: []*outputs.Response{shell(), shell(), shell(), shell(), shell()}}, "unix", filepath.Join(shortDir(t), "s"))
	answers := []error{falco.ErrShed, falco.ErrFull, falco.ErrVolatile, falco.ErrBusy, falco.ErrClosed}
	asked := 0
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := Subscribe(ctx, Options{Socket: socket}, func(*falco.Message) error { asked++; return answers[asked-1] })
	if !errors.Is(err, falco.ErrClosed) || asked != len(answers) {
		t.Errorf("got %v after %d events, want %v after %d", err, asked, falco.ErrClosed, len(answers))
	}
}

func TestASubscriptionEnds(t *testing.T) {
	ended := serve(t, &sensor{end: true}, "unix", filepath.Join(shortDir(t), "s"))
	if err := Subscribe(t.Context(), Options{Socket: ended}, nil); !errors.Is(err, io.EOF) {
		t.Errorf("got %v when Falco ends it, want %v", err, io.EOF)
	}
	waiting := serve(t, &sensor{}, "unix", filepath.Join(shortDir(t), "s"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Subscribe(ctx, Options{Socket: waiting}, nil); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("got %v, want that the context has ended", err)
	}
}

// TestFalcoIsVerified: whoever poses as Falco could have pods isolated.
func TestFalcoIsVerified(t *testing.T) {
	creds, o := mutual(t)
	_, other := mutual(t)
	address := serve(t, &sensor{responses: []*outputs.Response{shell()}}, "tcp", "127.0.0.1:0", creds)
	none := filepath.Join(t.TempDir(), "none")
	for name, c := range map[string]struct {
		options Options
		want    string
	}{
		"by its CA":                          {Options{Address: address, CertFile: o.CertFile, KeyFile: o.KeyFile, CAFile: other.CAFile}, "certificate"},
		"and verifies us":                    {Options{Address: address, CertFile: other.CertFile, KeyFile: other.KeyFile, CAFile: o.CAFile}, "Falco at 127.0.0.1"},
		"not without a certificate of ours":  {Options{Address: address, CertFile: none, KeyFile: none, CAFile: o.CAFile}, "reading the client certificate"},
		"not without a CA":                   {Options{Address: address, CertFile: o.CertFile, KeyFile: o.KeyFile, CAFile: none}, "reading the CA"},
		"not with a CA that is none":         {Options{Address: address, CertFile: o.CertFile, KeyFile: o.KeyFile, CAFile: o.KeyFile}, "holds no certificate"},
		"not without an address":             {Options{}, "neither an address nor a socket"},
		"not with two":                       {Options{Address: address, Socket: "s"}, "choose one"},
		"not with an address without a port": {Options{Address: "falco"}, "give host:port"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := Subscribe(ctx, c.options, func(*falco.Message) error { t.Error("got an event"); return nil })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
