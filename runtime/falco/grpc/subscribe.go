package grpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/falcosecurity/client-go/pkg/api/outputs"
	"github.com/portcullis-dev/portcullis/runtime/falco"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

const (
	// askEvery is how often Falco is asked for more: it ends a stream that asks for nothing
	// (grpc_request_context.cpp, and OutputsWatch of client-go).
	askEvery = time.Second
	// aliveEvery and aliveWithin notice that a node is gone without saying so.
	aliveEvery  = 30 * time.Second
	aliveWithin = 10 * time.Second
)

// Options of a subscription. One of Address and Socket is required.
type Options struct {
	// Address is the host and port of Falco's server, which wants CertFile and KeyFile and is verified by CAFile. The files are read for each
	// subscription.
	Address                   string
	CertFile, KeyFile, CAFile string
	// Socket is the path of Falco's unix socket.
	Socket string
	// Node is the node that this Falco runs on: its events are about pods of this node only. Empty believes it about any.
	Node string
	// Refused hears of what cannot be read, with the reason for it, and may be nil. The subscription goes on.
	Refused func(raw []byte, err error)
}

// Subscribe hands on the events of one Falco until the context ends, the connection does, or an event is not taken. It never returns nil. The
// caller begins again after a while. An event that the queue could not keep is counted there and ends nothing: a new connection would
// lose those that Falco has sent meanwhile, too.
func Subscribe(ctx context.Context, o Options, take func(*falco.Message) error) error {
	connection, err := o.connect()
	if err != nil {
		return fmt.Errorf("connecting to Falco: %w", err)
	}
	defer connection.Close()
	// The stream's goroutines end with its context.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := outputs.NewServiceClient(connection).Sub(ctx)
	if err != nil {
		return fmt.Errorf("subscribing to Falco at %s: %w", connection.Target(), err)
	}
	go ask(ctx, stream)
	for {
		response, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("reading events of Falco at %s: %w", connection.Target(), err)
		}
		if err := o.hand(response, take); err != nil {
			return fmt.Errorf("taking an event of Falco at %s: %w", connection.Target(), err)
		}
	}
}

// hand makes a message of a response. One that cannot be read does not end the subscription: it would come to nothing else.
func (o *Options) hand(response *outputs.Response, take func(*falco.Message) error) error {
	raw, err := document(response)
	var m *falco.Message
	if err == nil {
		m, err = falco.Decode(raw)
	}
	if err != nil {
		if o.Refused != nil {
			o.Refused(raw, err)
		}
		return nil
	}
	m.From(o.Node)
	if err := take(m); err != nil && !notKept(err) {
		return err
	}
	return nil
}

// notKept says whether the queue goes on although it has not kept an event.
func notKept(err error) bool {
	return errors.Is(err, falco.ErrShed) || errors.Is(err, falco.ErrFull) || errors.Is(err, falco.ErrVolatile) || errors.Is(err, falco.ErrBusy)
}

// ask asks for events until the stream ends. Receiving fails then, too.
func ask(ctx context.Context, stream outputs.Service_SubClient) {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for stream.Send(&outputs.Request{}) == nil {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (o *Options) connect() (*grpc.ClientConn, error) {
	target, security, err := o.target()
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(target,
		grpc.WithTransportCredentials(security),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(falco.MaxBody)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: aliveEvery, Timeout: aliveWithin}))
}

// target is where to connect to, and how it is secured. A socket is secured by who may open it.
func (o *Options) target() (string, credentials.TransportCredentials, error) {
	switch {
	case o.Socket != "" && o.Address != "":
		return "", nil, errors.New("it has an address and a socket: choose one")
	case o.Socket != "":
		return "unix:" + strings.TrimPrefix(o.Socket, "unix:"), insecure.NewCredentials(), nil
	case o.Address == "":
		return "", nil, errors.New("it has neither an address nor a socket: give one")
	}
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return "", nil, fmt.Errorf("%w: give host:port", err)
	}
	config, err := o.tls(host)
	if err != nil {
		return "", nil, err
	}
	return o.Address, credentials.NewTLS(config), nil
}

func (o *Options) tls(host string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the client certificate: %w", err)
	}
	ca, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA of Falco's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("reading the CA of Falco's certificate: %s holds no certificate in PEM", o.CAFile)
	}
	return &tls.Config{ServerName: host, Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
