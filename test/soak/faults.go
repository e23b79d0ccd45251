package soak

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/signer/registrytest"
	"github.com/portcullis-dev/portcullis/test/installation"
	"github.com/portcullis-dev/portcullis/test/process"
	"github.com/portcullis-dev/portcullis/test/vaultfront"
)

// fault is something that goes wrong, for a while if it is of those that last. It has ended when happen returns.
type fault struct {
	name   string
	happen func(ctx context.Context, during time.Duration) error
}

// slow is how much later everything is answered by what is slow.
const slow = time.Second

// everything is all faults that there are.
func (s *soak) everything() []fault {
	var all []fault
	for _, component := range components {
		all = append(all,
			fault{component + ": one is killed", s.kill(component, false)},
			fault{component + ": one hangs", s.hang(component, 1)},
			fault{component + ": a pod is deleted", s.deletePod(component)},
		)
		if component != installation.Responder && component != installation.Console { // which have one
			all = append(all,
				fault{component + ": all are killed", s.kill(component, true)},
				fault{component + ": one hangs past its lease", s.hang(component, 3)},
			)
		}
	}
	return append(all,
		fault{"API server: killed", func(ctx context.Context, _ time.Duration) error { return s.Control.RestartAPIServer(ctx) }},
		fault{"API server: hangs", s.Control.HangAPIServer},
		fault{"etcd: killed", func(ctx context.Context, _ time.Duration) error { return s.Control.RestartEtcd(ctx) }},
		fault{"node: rebooted", s.reboot},
		fault{"registry: refuses", s.registryFails(registrytest.Reset())},
		fault{"registry: silent", s.registryFails(registrytest.Slow(time.Hour))},
		fault{"registry: slow", s.registryFails(registrytest.Slow(slow))},
		fault{"Git: gone", s.gitGone},
		fault{"Vault: refuses", s.vaultRefuses},
		fault{"Vault: silent", s.vaultSilent},
		fault{"Vault: slow", s.vaultSlow},
		fault{"Vault: sealed", s.vaultSealed},
		fault{"Vault: killed", func(ctx context.Context, _ time.Duration) error { return s.vault.Restart(ctx) }},
		fault{"Vault: another certificate", func(context.Context, time.Duration) error { return s.front.ServeGoodCertificate() }},
	)
}

// choices are the faults that were asked for.
func (s *soak) choices() []fault {
	return slices.DeleteFunc(s.everything(), func(f fault) bool { return len(s.options.Only) > 0 && !slices.Contains(s.options.Only, f.name) })
}

// Faults are the names of all faults.
func Faults() []string {
	var names []string
	for _, f := range (&soak{scene: &scene{Installation: &installation.Installation{}}}).everything() {
		names = append(names, f.name)
	}
	return names
}

// processes are those of a component that run, in a random order.
func (s *soak) processes(ctx context.Context, component string) ([]*process.Process, error) {
	pods, err := s.Pods(ctx, component)
	if err != nil {
		return nil, err
	}
	var all []*process.Process
	for _, n := range s.random.Perm(len(pods)) {
		if running := s.Process(pods[n]); running != nil {
			all = append(all, running)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nothing of %s runs", component)
	}
	return all, nil
}

func (s *soak) kill(component string, all bool) func(context.Context, time.Duration) error {
	return func(ctx context.Context, _ time.Duration) error {
		running, err := s.processes(ctx, component)
		if err != nil {
			return err
		}
		if !all {
			running = running[:1]
		}
		for _, one := range running {
			one.Kill()
		}
		return nil
	}
}

// hang stops a process for a while; it does not notice, and goes on in the middle of what it did.
func (s *soak) hang(component string, times int) func(context.Context, time.Duration) error {
	return func(ctx context.Context, during time.Duration) error {
		running, err := s.processes(ctx, component)
		if err != nil {
			return err
		}
		if err := running[0].Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		return errors.Join(s.sleep(ctx, time.Duration(times)*during), running[0].Signal(syscall.SIGCONT))
	}
}

func (s *soak) deletePod(component string) func(context.Context, time.Duration) error {
	return func(ctx context.Context, _ time.Duration) error {
		pods, err := s.Pods(ctx, component)
		if err != nil {
			return err
		}
		if len(pods) == 0 {
			return fmt.Errorf("there is no pod of %s", component)
		}
		return s.Client.CoreV1().Pods(installation.Namespace).Delete(ctx, pods[s.random.IntN(len(pods))], metav1.DeleteOptions{})
	}
}

func (s *soak) reboot(ctx context.Context, during time.Duration) error {
	s.Node.Stop()
	return errors.Join(s.sleep(ctx, during/2), s.StartNode(ctx))
}

func (s *soak) registryFails(how registrytest.Fault) func(context.Context, time.Duration) error {
	return func(ctx context.Context, during time.Duration) error {
		s.registry.Forget()
		s.registry.Inject(how)
		defer s.registry.Inject()
		return s.sleep(ctx, during)
	}
}

func (s *soak) gitGone(ctx context.Context, during time.Duration) error {
	address, err := url.Parse(s.git.URL(bundleName))
	if err != nil {
		return err
	}
	if err := errors.Join(s.git.Stop(), s.pushBundle(ctx), s.sleep(ctx, during)); err != nil {
		return err
	}
	return until(ctx, func(ctx context.Context) error { return s.serveGit(ctx, address.Host) })
}

func (s *soak) vaultRefuses(ctx context.Context, during time.Duration) error {
	return errors.Join(s.front.Down(), s.sleep(ctx, during), s.front.Up(ctx))
}

func (s *soak) vaultSilent(ctx context.Context, during time.Duration) error {
	over := make(chan struct{})
	s.front.Forget()
	s.front.Fail(vaultfront.Fault{Do: vaultfront.Hang(over)})
	defer close(over)
	defer s.front.Heal()
	return s.sleep(ctx, during)
}

func (s *soak) vaultSlow(ctx context.Context, during time.Duration) error {
	s.front.Fail(vaultfront.Fault{Change: func(response *http.Response) error {
		select {
		case <-time.After(slow):
		case <-response.Request.Context().Done():
		}
		return nil
	}})
	defer s.front.Heal()
	return s.sleep(ctx, during)
}

func (s *soak) vaultSealed(ctx context.Context, during time.Duration) error {
	return errors.Join(s.vault.Seal(ctx), s.sleep(ctx, during), s.vault.Unseal(ctx))
}
