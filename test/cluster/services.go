package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// serviceNetwork has the addresses of Services. The first is that of the Service kubernetes, which pods are told in
// KUBERNETES_SERVICE_HOST and the API server's certificate names.
const (
	serviceNetwork = "10.0.0.0/16"
	serviceAddress = "10.0.0.1"
)

// NodeAddress is the address of this machine on the network of a node's pods. It is there from the node's start to its end where
// [NodeOptions.APIServer] is set: what listens there is reached by pods, and by containerd.
const NodeAddress = "10.88.77.1"

// natTable is the table of nftables that stands in for kube-proxy.
const natTable = "portcullis_test_services"

// natRules send what pods have for the API server's Service where it listens: on loopback. The table is emptied first, whoever left it.
// No other Service is served: the API server finds the pods of webhooks itself with --enable-aggregator-routing.
const natRules = `add table ip %[1]s
delete table ip %[1]s
table ip %[1]s {
  chain services {
    type nat hook prerouting priority dstnat;
    iifname %[2]q ip daddr %[3]s tcp dport 443 dnat to 127.0.0.1:%[4]s
  }
}
`

// APIServerUnavailable is why pods of a node cannot be given a way to the API server here, nil if they can.
func APIServerUnavailable() error {
	for _, program := range []string{"nft", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed: install the packages nftables and iproute2", program)
		}
	}
	return nil
}

// serveAPIServer makes the bridge of the pods before the first of them, and the way from there to the API server.
func (n *Node) serveAPIServer(ctx context.Context, c *Cluster) error {
	if err := APIServerUnavailable(); err != nil {
		return err
	}
	server, err := url.Parse(c.URL)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join("/sys/class/net", bridge)); errors.Is(err, os.ErrNotExist) {
		if err := run(ctx, "", "ip", "link", "add", bridge, "type", "bridge"); err != nil {
			return err
		}
	}
	if err := errors.Join(run(ctx, "", "ip", "address", "replace", NodeAddress+"/24", "dev", bridge), run(ctx, "", "ip", "link", "set", bridge, "up")); err != nil {
		return err
	}
	// Or else the kernel drops what is sent to loopback from elsewhere (ip-sysctl, route_localnet). It ends with the bridge.
	if err := os.WriteFile(filepath.Join("/proc/sys/net/ipv4/conf", bridge, "route_localnet"), []byte("1"), 0o644); err != nil {
		return fmt.Errorf("letting pods reach the API server: %w", err)
	}
	return run(ctx, fmt.Sprintf(natRules, natTable, bridge, serviceAddress, server.Port()), "nft", "-f", "-")
}

// removeServices takes away what serveAPIServer made, but for the bridge.
func (n *Node) removeServices(ctx context.Context) error {
	if !n.options.APIServer {
		return nil
	}
	return run(ctx, fmt.Sprintf("add table ip %[1]s\ndelete table ip %[1]s\n", natTable), "nft", "-f", "-")
}

// run runs a command with an input.
func run(ctx context.Context, input string, command ...string) error {
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Stdin = strings.NewReader(input)
	if output, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w\n%s", strings.Join(command, " "), err, output)
	}
	return nil
}

// Trust has the node pull from a registry over TLS whose certificate an authority signed: host is HOST:PORT, as references name it.
// It holds from the next pull on.
func (n *Node) Trust(host, caFile string) error {
	folder := filepath.Join(n.options.Dir, "registries", host)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("trusting the registry %s: %w", host, err)
	}
	// https://github.com/containerd/containerd/blob/main/docs/hosts.md
	text := fmt.Sprintf("server = %[1]q\n[host.%[1]q]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %[2]q\n", "https://"+host, caFile)
	if err := os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(text), 0o644); err != nil {
		return fmt.Errorf("trusting the registry %s: %w", host, err)
	}
	return nil
}
