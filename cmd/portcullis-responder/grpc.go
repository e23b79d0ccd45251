package main

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/runtime/falco"
	"github.com/portcullis-dev/portcullis/runtime/falco/grpc"
)

// Waits before a Falco is asked again whose connection ended.
const (
	minReconnect = time.Second
	maxReconnect = time.Minute
)

// grpcFlags say which Falcos are asked by gRPC.
type grpcFlags struct {
	servers       []string
	cert, key, ca string
}

func (f *grpcFlags) register(set *pflag.FlagSet) {
	set.StringSliceVar(&f.servers, "falco-grpc", nil, "gRPC servers of Falco 0.43 and older, each `NODE=HOST:PORT` or NODE=unix:///PATH; its events are of that node only")
	set.StringVar(&f.cert, "falco-grpc-cert", "", "client certificate `file` for them")
	set.StringVar(&f.key, "falco-grpc-key", "", "client key `file` for them")
	set.StringVar(&f.ca, "falco-grpc-ca", "", "`file` of CA certificates that verify them")
}

func (f *grpcFlags) check() error {
	_, err := f.subscriptions()
	return err
}

// subscriptions are those of the servers.
func (f *grpcFlags) subscriptions() ([]grpc.Options, error) {
	var all []grpc.Options
	for _, server := range f.servers {
		node, address, ok := strings.Cut(server, "=")
		if !ok || node == "" || address == "" {
			return nil, usage.Errorf("--falco-grpc is %q: write NODE=HOST:PORT or NODE=unix:///PATH", server)
		}
		one := grpc.Options{Node: node}
		if path, isSocket := strings.CutPrefix(address, "unix://"); isSocket {
			one.Socket = path
		} else {
			one.Address, one.CertFile, one.KeyFile, one.CAFile = address, f.cert, f.key, f.ca
			if f.cert == "" || f.key == "" || f.ca == "" {
				return nil, usage.Errorf("--falco-grpc=%s wants a client certificate: give --falco-grpc-cert, --falco-grpc-key and --falco-grpc-ca", server)
			}
		}
		all = append(all, one)
	}
	return all, nil
}

// subscribe takes the events of one Falco until the context ends. What cannot be read is kept among what is refused.
func subscribe(ctx context.Context, o grpc.Options, queue *falco.Queue, refused *falco.DeadLetters, log *slog.Logger) {
	o.Refused = func(raw []byte, err error) {
		log.Warn("what a Falco sent is no event", "node", o.Node, "error", err)
		letter := falco.DeadLetter{Time: time.Now(), Reason: "grpc", Error: err.Error(), Sender: o.Node, Remote: cmp.Or(o.Address, o.Socket)}
		if err := refused.Add(letter, raw); err != nil {
			log.Error("what was refused is not kept", "error", err)
		}
	}
	wait := minReconnect
	for ctx.Err() == nil {
		began := time.Now()
		err := grpc.Subscribe(ctx, o, func(m *falco.Message) error { return queue.Put(ctx, m) })
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > maxReconnect {
			wait = minReconnect
		}
		log.Warn("the events of a Falco are not read: it is asked again", "node", o.Node, "in", wait.String(), "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, maxReconnect)
	}
}
