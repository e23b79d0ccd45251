package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
)

// readyTimeout bounds the start of a single etcd member, which takes a tenth of a second.
const readyTimeout = 30 * time.Second

// etcdCommand runs one etcd member, a cluster of its own, until it is told to stop.
func etcdCommand() *cobra.Command {
	var dataDir, clientURL, peerURL string
	command := &cobra.Command{
		Use:          "etcd",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(command.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return runEtcd(ctx, dataDir, clientURL, peerURL)
		},
	}
	command.Flags().StringVar(&dataDir, "data-dir", "", "where the data lies")
	command.Flags().StringVar(&clientURL, "client-url", "", "where clients connect, http://127.0.0.1:PORT")
	command.Flags().StringVar(&peerURL, "peer-url", "", "where other members would connect, http://127.0.0.1:PORT")
	for _, name := range []string{"data-dir", "client-url", "peer-url"} {
		if err := command.MarkFlagRequired(name); err != nil {
			panic(err) // only for a flag that is not defined above
		}
	}
	command.SetContext(context.Background())
	return command
}

func runEtcd(ctx context.Context, dataDir, clientURL, peerURL string) error {
	client, err := url.Parse(clientURL)
	if err != nil {
		return fmt.Errorf("reading --client-url: %w", err)
	}
	peer, err := url.Parse(peerURL)
	if err != nil {
		return fmt.Errorf("reading --peer-url: %w", err)
	}
	config := embed.NewConfig()
	config.Dir = dataDir
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.UnsafeNoFsync = true // the data of a test need not outlive the machine
	config.LogLevel = "warn"

	server, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("starting etcd: %w", err)
	}
	defer server.Close()
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(readyTimeout):
		return errors.New("starting etcd: not ready in time")
	}
	select {
	case <-ctx.Done():
		return nil
	case <-server.Server.StopNotify():
		return errors.New("etcd stopped by itself")
	case err := <-server.Err():
		return fmt.Errorf("serving etcd: %w", err)
	}
}
