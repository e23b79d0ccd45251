package packets

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Probe is one attempt to reach somebody.
type Probe struct {
	From *Host
	To   Target
	// Expected is whether it should get there: if it does not, it gets more time.
	Expected bool
}

// How long nothing may come before that counts as held up. On this network an answer takes
// well below a millisecond, on a busy machine some more; where packets were expected to
// come, a machine that is very busy is given the time for a second SYN, too (RFC 6298: after 1 s).
const (
	patience     = 250 * time.Millisecond
	longPatience = 5 * time.Second
)

// atOnce bounds the probes on their way, each of which has a thread.
const atOnce = 64

// Measure makes all attempts, many at once, and says which of them got there.
func Measure(ctx context.Context, probes []Probe) ([]bool, error) {
	reached, problems := make([]bool, len(probes)), make([]error, len(probes))
	var running sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, probe := range probes {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			reached[i], problems[i] = probe.From.Reaches(ctx, probe.To, patience)
			if probe.Expected && !reached[i] && problems[i] == nil {
				reached[i], problems[i] = probe.From.Reaches(ctx, probe.To, longPatience)
			}
		})
	}
	running.Wait()
	return reached, errors.Join(problems...)
}

// Enforce puts the policies into force on the hosts that are pods of the cluster, by
// NAMESPACE/NAME. Others are let alone.
func (n *Network) Enforce(ctx context.Context, c *Cluster) error {
	for i := range c.Pods {
		pod := &c.Pods[i]
		host := n.Host(pod.Namespace + "/" + pod.Name)
		if host == nil {
			return errors.New("no host is " + pod.Namespace + "/" + pod.Name)
		}
		rules, err := c.Rules(pod)
		if err != nil {
			return err
		}
		if err := host.Apply(ctx, rules); err != nil {
			return err
		}
	}
	return nil
}

// Host with that name, nil if there is none.
func (n *Network) Host(name string) *Host {
	for _, host := range n.hosts {
		if host.Name == name {
			return host
		}
	}
	return nil
}

// Protocols are those that a policy can name.
var Protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
