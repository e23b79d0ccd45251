package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/cmd/internal/metrics"
	"github.com/portcullis-dev/portcullis/cmd/internal/registryflags"
	"github.com/portcullis-dev/portcullis/cmd/internal/replica"
	"github.com/portcullis-dev/portcullis/cmd/internal/telemetry"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/policies/controller"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/registry"
)

// flags are those of serve.
type flags struct {
	replica               replica.Flags
	lease                 string
	leaseDuration         time.Duration
	trustedRoot           string
	registries            registryflags.Flags
	hook, tlsCert, tlsKey string
	probes                string
	series                metrics.Series
	journal               string
	logLevel              slog.Level
	telemetry             telemetry.Flags
	registration          registrationFlags
	audits                auditFlags
}

func (f *flags) register(set *pflag.FlagSet) {
	f.replica.Register(set, "of the Lease and of the Secrets that bundles name")
	set.StringVar(&f.lease, "lease-name", controller.DefaultLease, "`name` of the Lease by which replicas elect one that acts")
	set.DurationVar(&f.leaseDuration, "lease-duration", controller.DefaultLeaseDuration, "`time` after which another replica takes over from one that is gone")
	set.StringVar(&f.trustedRoot, "trusted-root", "", "trusted_root.json `file` of Sigstore that keyless signatures and log entries are verified with, watched for changes")
	f.registries.Register(set)
	set.StringVar(&f.hook, "hook", "", "`address` for calls of Git servers and registries, over TLS; by default there is none")
	set.StringVar(&f.tlsCert, "tls-cert", "", "PEM `file` of the certificate for --hook, watched for changes")
	set.StringVar(&f.tlsKey, "tls-key", "", "PEM `file` of its key")
	set.StringVar(&f.probes, "probes", ":8083", "`address` for /livez, /readyz and /metrics, without TLS")
	f.series.Register(set)
	set.StringVar(&f.journal, "journal", "", "`folder` for a journal of all transitions; by default there is none")
	set.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "least `level` to log: debug, info, warn or error")
	f.telemetry.Register(set)
	f.registration.register(set)
	f.audits.register(set)
}

// check finds flags that contradict each other, before anything is read.
func (f *flags) check() error {
	switch {
	case (f.tlsCert == "") != (f.tlsKey == ""):
		return usage.Errorf("--tls-cert and --tls-key belong together: give both or neither")
	case f.hook != "" && f.tlsCert == "":
		return usage.Errorf("--hook takes secrets, which go over TLS only: give --tls-cert and --tls-key")
	case f.hook == "" && f.tlsCert != "":
		return usage.Errorf("--tls-cert is the certificate for --hook: give that, too")
	case f.leaseDuration < time.Second:
		return usage.Errorf("--lease-duration is %s: give a second or more", f.leaseDuration)
	case f.lease == "":
		return usage.Errorf("--lease-name is empty: leave it out for %s", controller.DefaultLease)
	}
	for name, address := range map[string]string{"--hook": f.hook, "--probes": f.probes} {
		if _, _, err := net.SplitHostPort(address); err != nil && (name != "--hook" || address != "") {
			return usage.Errorf("%s is %q: give host:port or :port", name, address)
		}
	}
	if err := f.audits.check(f.replica.Name); err != nil {
		return err
	}
	return f.telemetry.Check()
}

// roots are those of --trusted-root, nil without it.
func (f *flags) roots() (*cosign.Roots, error) {
	if f.trustedRoot == "" {
		return nil, nil
	}
	roots, err := cosign.NewRoots(f.trustedRoot)
	if err != nil {
		return nil, fmt.Errorf("%w: correct --trusted-root", err)
	}
	return roots, nil
}

// registryOptions are those of the flags. A mistake in them is one of usage, unless a file cannot be read.
func (f *flags) registryOptions() (registry.Options, error) {
	options, err := f.registries.Options()
	if err == nil {
		_, err = registry.New(options)
	}
	if path := (*fs.PathError)(nil); err != nil && !errors.As(err, &path) {
		return options, usage.New(err)
	}
	return options, err
}
