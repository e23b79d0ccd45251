package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/portcullis-dev/portcullis/admission/proposals/defaultdeny"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
)

// auditNetworkFlags say which NetworkPolicies are proposed.
type auditNetworkFlags struct {
	directory, cni, dns string
	directions          []string
	sameNamespace       bool

	resolver defaultdeny.DNS
}

func (f *auditNetworkFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.directory, "write-network-policies", "", "write default-deny NetworkPolicies for namespaces without into this `directory`, as proposals with what they would cut off")
	flags.StringSliceVar(&f.directions, "deny", []string{"ingress", "egress"}, "`directions` that proposed NetworkPolicies deny: ingress, egress, or both")
	flags.StringVar(&f.dns, "allow-dns", "kube-system/k8s-app=kube-dns", "pods that everybody may ask for names, as `namespace/label=value`")
	flags.BoolVar(&f.sameNamespace, "allow-same-namespace", false, "let proposed NetworkPolicies allow the traffic among the pods of the namespace")
	flags.StringVar(&f.cni, "cni", "", "`provider` of the cluster's network, which decides what its policies mean: calico, cilium, antrea, ovn-kubernetes or kube-network-policies (default: as Kubernetes says)")
}

func (f *auditNetworkFlags) check() error {
	namespace, label, found := strings.Cut(f.dns, "/")
	key, value, labelled := strings.Cut(label, "=")
	if !found || !labelled || len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsQualifiedName(key)) > 0 || value == "" || len(validation.IsValidLabelValue(value)) > 0 {
		return usagef("reading --allow-dns %q: write namespace/label=value, as kube-system/k8s-app=kube-dns", f.dns)
	}
	f.resolver = defaultdeny.DNS{Namespace: namespace, Labels: map[string]string{key: value}}
	for _, direction := range f.directions {
		if direction != "ingress" && direction != "egress" {
			return usagef("reading --deny %q: use ingress, egress, or ingress,egress", direction)
		}
	}
	if len(f.directions) == 0 {
		return usagef("reading --deny: it names no direction: use ingress, egress, or ingress,egress")
	}
	if cni := isolation.CNI(f.cni); f.cni != "" && (!cni.Known() || cni == isolation.None) {
		return usagef("reading --cni %q: use one of %s, %s, %s, %s, %s, or leave it out", f.cni, isolation.Calico, isolation.Cilium, isolation.Antrea, isolation.OVNKubernetes, isolation.KubeNetworkPolicies)
	}
	if info, err := os.Stat(f.directory); f.directory != "" && err == nil && !info.IsDir() {
		return usagef("writing into %s: it is a file: name a directory with --write-network-policies", f.directory)
	}
	return nil
}

func (f *auditNetworkFlags) options(namespaces []string) defaultdeny.Options {
	options := defaultdeny.Options{DNS: f.resolver, SameNamespace: f.sameNamespace, CNI: isolation.CNI(f.cni)}
	for _, direction := range []string{defaultdeny.Ingress, defaultdeny.Egress} {
		if slices.Contains(f.directions, strings.ToLower(direction)) {
			options.Directions = append(options.Directions, direction)
		}
	}
	if len(namespaces) > 0 {
		options.Namespace = func(name string) bool { return slices.Contains(namespaces, name) }
	}
	return options
}

// write writes one file for each namespace, and says what to do with them.
func (f *auditNetworkFlags) write(w io.Writer, proposals []defaultdeny.Proposal, incomplete bool) error {
	if f.directory == "" || incomplete {
		return nil
	}
	files := map[string][]byte{}
	for n := range proposals {
		content, err := proposals[n].YAML()
		if err != nil {
			return err
		}
		files[proposals[n].Namespace+".yaml"] = content
	}
	if err := writeFiles(f.directory, "--write-network-policies", files); err != nil {
		return err
	}
	if len(proposals) == 0 {
		fmt.Fprintln(w, "portcullis: no NetworkPolicy is proposed: every namespace has one that denies by default")
	}
	return nil
}
