// Package packets sends real packets through real enforcement of network policies: pods
// are network namespaces on a bridge, and their policies are nftables rules within them.
// What a computation says about who reaches whom can be held to what packets do.
//
//	network, err := packets.NewNetwork(ctx)
//	defer network.Close()
//	host, err := network.Attach(ctx, "x/a", netip.MustParseAddr("10.99.0.2"))
//	err = host.Serve(corev1.ProtocolTCP, 80)
//	rules, err := cluster.Rules(&pod) // what the policies mean for this pod
//	err = host.Apply(ctx, rules)
//	reached, err := other.Reaches(ctx, packets.Target{...}, patience)
//
// The rules are made here from the text of the APIs and share no code with the rest of the
// project, so that no mistake is made twice. They do what an agent does that keeps track of
// connections: what was let through stays open, whatever comes later. The same rules can be
// put into the network namespace of a container of a real node ([NamespaceOf]).
//
// Network namespaces are held by file descriptors: they end with the test, however it ends.
package packets

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
)

// Unavailable is why no packets can be sent here, nil if they can.
func Unavailable() error {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		return errors.New("network namespaces need Linux and root")
	}
	for _, program := range []string{"nft", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed: install the packages nftables and iproute2", program)
		}
	}
	namespace, err := newNamespace()
	if err != nil {
		return fmt.Errorf("this machine lets nobody make network namespaces: %w", err)
	}
	return namespace.Close()
}
