package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/audit/patrol"
	"github.com/portcullis-dev/portcullis/admission/audit/report"
	"github.com/portcullis-dev/portcullis/admission/audit/rescan"
	"github.com/portcullis-dev/portcullis/admission/audit/shard"
	"github.com/portcullis-dev/portcullis/admission/audit/stored"
	"github.com/portcullis-dev/portcullis/cmd/internal/judging"
	"github.com/portcullis-dev/portcullis/cmd/internal/metrics"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/policies/cluster"
	"github.com/portcullis-dev/portcullis/scanner/queue"
	"github.com/portcullis-dev/portcullis/signer/cosign"
)

// minAuditInterval keeps the audit from doing nothing but passes.
const minAuditInterval = 5 * time.Minute

// trustInterval is how often the audit looks whether the trusted root is another one.
const trustInterval = time.Minute

// What --audit-reports may be.
const (
	reportsAuto = "auto"
	reportsNone = "none"
)

// auditFlags are those of the audit.
type auditFlags struct {
	on       bool
	interval time.Duration
	reports  string
	skip     []string
	rescan   bool
	// bundle and profile are what is judged by.
	bundle, profile string
}

func (f *auditFlags) register(set *pflag.FlagSet) {
	set.BoolVar(&f.on, "audit", false, "judge what exists in the cluster, shared among all replicas")
	set.StringVar(&f.bundle, "audit-bundle", webhookBundleCluster, "by which `policies`, as the webhook has them: cluster for the PolicyBundles, library for the built-in one, or a folder with a bundle, watched for changes")
	set.StringVar(&f.profile, "audit-profile", "", "`profile` of the library or the folder, where the webhook has --profile")
	set.DurationVar(&f.interval, "audit-interval", patrol.DefaultInterval, "`time` between two passes over everything; changes are seen at once")
	set.StringVar(&f.reports, "audit-reports", reportsAuto, "`format` of the reports: auto for those that the cluster has, policyreport, openreports or none")
	set.StringSliceVar(&f.skip, "audit-skip", nil, "`resources` that are not audited, as secrets or jobs.batch; by default everything is that policies are about")
	set.BoolVar(&f.rescan, "audit-rescan", false, "ask portcullis-scanner for new scans of images that run when its vulnerability database is newer than their last ones")
}

func (f *auditFlags) check(name string) error {
	switch {
	case f.interval < minAuditInterval:
		return usage.Errorf("--audit-interval is %s: give %s or more: changes are seen at once without it", f.interval, minAuditInterval)
	case !f.on && (f.interval != patrol.DefaultInterval || f.reports != reportsAuto || len(f.skip) > 0 || f.rescan || f.bundle != webhookBundleCluster || f.profile != ""):
		return usage.Errorf("--audit-bundle, --audit-profile, --audit-interval, --audit-reports, --audit-rescan and --audit-skip are for the audit: give --audit, too")
	case f.bundle != webhookBundleCluster && f.bundle != webhookBundleLibrary && (!strings.ContainsRune(f.bundle, '/') || strings.Contains(f.bundle, "://")):
		return usage.Errorf("--audit-bundle is %q: choose %s, %s, or a folder, as ./policies; name what is in a registry or Git in a PolicyBundle", f.bundle, webhookBundleCluster, webhookBundleLibrary)
	case f.profile != "" && f.bundle == webhookBundleCluster:
		return usage.Errorf("--audit-profile is for --audit-bundle=%s or a folder: leave it out, each PolicyBundle chooses by namespace", webhookBundleLibrary)
	case slices.Contains(f.skip, ""):
		return usage.Errorf("--audit-skip has an empty name: give resources, as secrets or jobs.batch")
	case f.rescan && slices.Contains(f.skip, "pods"):
		return usage.Errorf("--audit-rescan is about images of pods, and --audit-skip leaves pods out: give one of them")
	}
	if problems := validation.IsDNS1123Subdomain("portcullis-audit-" + name); f.on && name != "" && len(problems) > 0 {
		return usage.Errorf("--name is %q, of which no Lease can be named (%s): give another one for --audit", name, problems[0])
	}
	_, err := f.formats()
	return err
}

// formats are the reports that are wanted, nil for all; none where it says so.
func (f *auditFlags) formats() ([]report.Format, error) {
	if f.reports == reportsAuto || f.reports == reportsNone {
		return nil, nil
	}
	for _, format := range report.Formats {
		if format.Name == f.reports {
			return []report.Format{format}, nil
		}
	}
	return nil, usage.Errorf("--audit-reports is %q: give auto, policyreport, openreports or none", f.reports)
}

// auditing is the audit of one replica.
type auditing struct {
	tasks []func(context.Context) error
	close func()
}

func (a *auditing) add(tasks ...func(context.Context)) {
	for _, task := range tasks {
		a.tasks = append(a.tasks, func(ctx context.Context) error { task(ctx); return nil })
	}
}

// audit makes the audit, which judges by the bundles of --audit-bundle with the facts that they read.
func (f *flags) audit(ctx context.Context, config *rest.Config, compiled *cluster.Compiled, registered *metrics.Registry, decided func(context.Context, *admission.Decision), log *slog.Logger) (*auditing, error) {
	log = log.With("part", "audit")
	roots, err := f.roots()
	if err != nil {
		return nil, err
	}
	registries, err := f.registryOptions()
	if err != nil {
		return nil, err
	}
	images, err := judging.With(registries, roots)
	if err != nil {
		return nil, err
	}
	var scans *queue.Client
	if f.audits.rescan {
		client, err := dynamic.NewForConfig(config)
		if err != nil {
			return nil, fmt.Errorf("making a client of the cluster: %w", err)
		}
		scans = queue.NewClient(client)
		images.KeptIn(scans)
	}
	var patrolling *patrol.Patrol
	judged, err := judging.New(ctx, config, judging.Options{
		Bundle: judging.Of(f.audits.bundle, f.audits.profile), Images: images, Compiled: compiled, Door: admission.DoorAudit,
		NoOwners: "the audit judges what exists, which replaces nothing",
		Installed: func(*admission.Lineup) {
			if patrolling != nil {
				patrolling.Wake()
			}
		},
		Register: registered.MustRegister, Log: log,
	})
	if err != nil {
		return nil, err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the cluster: %w", err)
	}
	members := shard.New(kube.CoordinationV1().Leases(f.replica.Namespace), shard.Options{
		Name: f.replica.Name, Log: log, Changed: func() { patrolling.Members() },
	})
	options := patrol.Options{
		Reviewer: judged.Reviewer, Owns: members.Owns, Ready: ready(judged, members),
		Decided: decided, Interval: f.audits.interval, Skip: f.audits.skip, Images: f.audits.rescan, Metrics: patrol.NewMetrics(), Log: log,
	}
	if options.Client, err = stored.New(config, stored.Options{Owns: members.Owns}); err != nil {
		return nil, err
	}
	if f.audits.reports != reportsNone {
		formats, err := f.audits.formats()
		if err != nil {
			return nil, err
		}
		if options.Reports, err = report.New(config, report.Options{Formats: formats, Log: log}); err != nil {
			return nil, err
		}
	}
	patrolling = patrol.New(options)
	registered.MustRegister(options.Metrics)
	made := &auditing{close: images.Close}
	made.add(judged.Tasks()...)
	made.add(members.Run, patrolling.Run)
	if scans != nil {
		rescanning, err := rescans(config, scans, images, patrolling, log)
		if err != nil {
			return nil, err
		}
		registered.MustRegister(rescanning.metrics)
		made.add(rescanning.Run)
	}
	if roots != nil {
		made.add(func(ctx context.Context) { watchTrust(ctx, roots, patrolling.Trust) })
	}
	return made, nil
}

// rescanning has images scanned that run.
type rescanning struct {
	*rescan.Rescan
	metrics *rescan.Metrics
}

// rescans makes what asks for new scans, and has their images judged again.
func rescans(config *rest.Config, scans *queue.Client, images *judging.Images, patrolling *patrol.Patrol, log *slog.Logger) (*rescanning, error) {
	client, err := stored.New(config, stored.Options{Limit: rescan.PageSize})
	if err != nil {
		return nil, err
	}
	counts := rescan.NewMetrics()
	return &rescanning{metrics: counts, Rescan: rescan.New(rescan.Options{
		Client: client, Queue: queue.NewAsker(scans, queue.AskerOptions{By: "portcullis-controller"}), Running: patrolling.Running,
		Scanned: func(digests []string) {
			for _, digest := range digests {
				images.Forget(digest)
			}
			patrolling.Rescanned(digests)
		},
		Missing: patrolling.Scans, Metrics: counts, Log: log,
	})}, nil
}

// errAlone is of a replica that has not told the others yet that it is there.
var errAlone = errors.New("this replica has no Lease yet by which the audit is shared: let it get, list, create, update and delete leases in its namespace")

// ready says why nothing can be audited yet.
func ready(judged *judging.Judging, members *shard.Members) func() error {
	return func() error {
		if err := judged.Check(); err != nil {
			return err
		}
		if len(members.Current()) == 0 {
			return errAlone
		}
		return nil
	}
}

// watchTrust tells of another trusted root until the context ends.
func watchTrust(ctx context.Context, roots *cosign.Roots, changed func()) {
	ticker := time.NewTicker(trustInterval)
	defer ticker.Stop()
	_, before := roots.Current()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if _, now := roots.Current(); now != before {
			before = now
			changed()
		}
	}
}
