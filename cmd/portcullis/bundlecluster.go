package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/cmd/internal/bundlesource"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/cluster"
)

// loadCluster reads the bundles that a cluster judges by now, verified as its webhooks do: by their own sections
// verification, so that the flags about who must have signed have no say.
func (f *bundleFlags) loadCluster(ctx context.Context) (*admission.Lineup, []cluster.Bundle, error) {
	config, err := f.elsewhere.Kubeconfig()
	if err != nil {
		return nil, nil, err
	}
	verifier, err := f.elsewhere.Verifier()
	if err != nil {
		return nil, nil, err
	}
	defer collectLess()()
	lineup, bundles, err := cluster.Load(ctx, config, cluster.Options{Verifier: verifier, Included: []policies.Included{builtIn()}, Now: time.Now})
	if err != nil {
		return nil, nil, fmt.Errorf("opening the bundles of the cluster %s: %w", config.Host, err)
	}
	if len(bundles) == 0 {
		return nil, nil, fmt.Errorf("opening the bundles of the cluster %s: no PolicyBundle has an active revision: kubectl get policybundles says why", config.Host)
	}
	return lineup, bundles, nil
}

// clusterLineup are all bundles of a cluster, or one of them by name.
func (f *bundleFlags) clusterLineup(ctx context.Context, name string) (*admission.Lineup, error) {
	lineup, bundles, err := f.loadCluster(ctx)
	if err != nil || name == "" {
		return lineup, err
	}
	bundle, err := chosen(bundles, name)
	if err != nil {
		return nil, err
	}
	for _, member := range lineup.Members {
		if member.Active.Digest == bundle.Active.Digest && member.Active.Bundle == bundle.Active.Ready.Bundle {
			return &admission.Lineup{Members: []admission.Member{member}, Exceptions: lineup.Exceptions}, nil
		}
	}
	return nil, fmt.Errorf("opening the bundle %s: the cluster does not judge by it", f.ref)
}

// openCluster finds the files of the one bundle that a cluster judges by, or of one of them by name.
func (f *bundleFlags) openCluster(ctx context.Context) (*opened, error) {
	name, _ := bundlesource.InCluster(f.ref)
	_, bundles, err := f.loadCluster(ctx)
	if err != nil {
		return nil, err
	}
	bundle, err := chosen(bundles, name)
	if err != nil {
		return nil, err
	}
	return &opened{files: bundle.Active.Tree.FS(), tree: bundle.Active.Tree}, nil
}

// chosen is the bundle of a PolicyBundle by name, or the only one for "".
func chosen(bundles []cluster.Bundle, name string) (*cluster.Bundle, error) {
	var names []string
	for n := range bundles {
		if bundles[n].Object.Name == name || name == "" && len(bundles) == 1 {
			return &bundles[n], nil
		}
		names = append(names, bundles[n].Object.Name)
	}
	if name == "" {
		return nil, usagef("the cluster has several bundles: name one as cluster/NAME: %s", strings.Join(names, ", "))
	}
	return nil, usagef("the cluster has no bundle %q: name one of %s", name, strings.Join(names, ", "))
}
