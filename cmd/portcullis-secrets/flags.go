package main

import (
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/admission/informer"
	"github.com/portcullis-dev/portcullis/cmd/internal/journalflags"
	"github.com/portcullis-dev/portcullis/cmd/internal/judging"
	"github.com/portcullis-dev/portcullis/cmd/internal/metrics"
	"github.com/portcullis-dev/portcullis/cmd/internal/replica"
	"github.com/portcullis-dev/portcullis/cmd/internal/telemetry"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/secrets/controller"
)

// defaultWatches is how many destinations are watched, each by a watch of its own, which costs this process about 60 KB.
// What is beyond is looked at with each refresh.
const defaultWatches = 500

// flags are those of serve.
type flags struct {
	replica       replica.Flags
	leaseDuration time.Duration
	probes        string
	series        metrics.Series

	bundle       judging.BundleFlags
	images       judging.ImageFlags
	maxFactBytes int

	kmsSocket string
	workers   int
	watches   int
	journal   journalflags.Flags
	endGrace  time.Duration
	logLevel  slog.Level
	telemetry telemetry.Flags

	between func(controller.Judge) controller.Judge // see commands
}

func (f *flags) register(set *pflag.FlagSet) {
	set.SortFlags = false

	f.replica.Register(set, "of portcullis-secrets, which has its Lease, its VaultLeases and its key of hashes")
	set.DurationVar(&f.leaseDuration, "lease-duration", controller.DefaultLeaseDuration, "`time` after which another replica takes over from one that is gone")
	set.StringVar(&f.probes, "probes", ":8085", "`address` for /livez, /readyz and /metrics, without TLS")
	f.series.Register(set)

	f.bundle.Register(set, "syncs")
	f.images.Register(set)
	set.IntVar(&f.maxFactBytes, "max-fact-bytes", informer.DefaultMaxBytes, "memory in `bytes` for the objects of each kind that policies read")

	set.StringVar(&f.kmsSocket, "kms-socket", "", "unix socket, as a `path`, of a KMS v2 plugin (KEP-3299) that encrypts the tokens of leases, for VaultConnections with leaseEncryption.kms")
	set.IntVar(&f.workers, "workers", controller.DefaultWorkers, "`number` of objects that are looked at at once")
	set.IntVar(&f.watches, "max-watches", defaultWatches, "`number` of Secrets whose changes by others are noticed at once, by a watch for each; those of others with the next refresh")
	f.journal.Register(set, "journal-allows", "`share` from 0 to 1 of syncs kept that were plainly permitted; all others always are")
	set.DurationVar(&f.endGrace, "end-grace", 8*time.Second, "`time` for what is under way after SIGTERM")
	set.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "least `level` to log: debug, info, warn or error")
	f.telemetry.Register(set)
}

// check finds flags that contradict each other, before anything is read.
func (f *flags) check() error {
	switch {
	case f.leaseDuration < time.Second:
		return usage.Errorf("--lease-duration is %s: give a second or more", f.leaseDuration)
	case f.workers <= 0 || f.maxFactBytes <= 0:
		return usage.Errorf("--workers and --max-fact-bytes are numbers above 0: leave them out for the defaults")
	case f.watches < 0:
		return usage.Errorf("--max-watches is %d: give a number, 0 for none", f.watches)
	case f.kmsSocket != "" && !filepath.IsAbs(strings.TrimPrefix(f.kmsSocket, "unix://")):
		return usage.Errorf("--kms-socket is %q: give the absolute path of a unix socket", f.kmsSocket)
	case f.logLevel < slog.LevelDebug:
		return usage.Errorf("--log-level is %s: debug is the most that can be had, since below it clients of the cluster log whole Secrets", f.logLevel)
	case f.endGrace <= 0:
		return usage.Errorf("--end-grace is %s: give a time above 0", f.endGrace)
	}
	if _, _, err := net.SplitHostPort(f.probes); err != nil {
		return usage.Errorf("--probes is %q: give host:port or :port", f.probes)
	}
	if err := f.bundle.Check("portcullis-secrets"); err != nil {
		return err
	}
	if err := f.telemetry.Check(); err != nil {
		return err
	}
	return f.journal.Check()
}
