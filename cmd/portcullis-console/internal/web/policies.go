package web

import (
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/kube"
	"github.com/portcullis-dev/portcullis/policies/library"
	policy "github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

type policiesData struct {
	Problem, ReplicasProblem, Text string
	Bundles                        []bundleCard
	Replicas                       []policy.PolicyReplica
	Library                        []libraryPolicy
	Pager                          pager
}

type bundleCard struct {
	Name, Phase       string
	Active, Candidate *policy.RevisionStatus
	Namespaces        []string
	Ready, Replicas   int32
	Conditions        []conditionRow
	Comparison        *policy.Comparison
	Differences       *chart
	Samples           []sampleRow
	Rejected          []policy.Rejection
}

type conditionRow struct{ Type, Status, Message, Tone string }

type sampleRow struct {
	Policy string
	policy.Sample
}

func (v *visit) policies() error {
	var bundles read[policy.PolicyBundle]
	var replicas read[policy.PolicyReplica]
	if err := together(
		func() error { return fill(&bundles, v, kube.Query{}, policy.Bundles) },
		func() error { return fill(&replicas, v, kube.Query{}, policy.Replicas) },
	); err != nil {
		return err
	}
	data := policiesData{Problem: text(bundles.err), ReplicasProblem: text(replicas.err), Replicas: replicas.Items, Text: v.query.Get("q")}
	for n := range bundles.Items {
		data.Bundles = append(data.Bundles, newBundleCard(&bundles.Items[n]))
	}
	known, err := builtIn()
	if err != nil {
		return err
	}
	wanted := slices.DeleteFunc(slices.Clone(known), func(p libraryPolicy) bool {
		return data.Text != "" && !strings.Contains(strings.ToLower(p.ID+" "+p.Title+" "+p.Severity+" "+strings.Join(p.Profiles, " ")), strings.ToLower(data.Text))
	})
	data.Library, data.Pager = cutPage(wanted, "/policies", url.Values{"q": {data.Text}, "page": {v.query.Get("page")}, "namespace": {v.namespace}}, false)
	return v.show("policies", "Policies", data)
}

func newBundleCard(b *policy.PolicyBundle) bundleCard {
	card := bundleCard{
		Name: b.Name, Phase: string(b.Status.Phase), Active: b.Status.Active, Candidate: b.Status.Candidate, Namespaces: b.Spec.Namespaces,
		Ready: b.Status.ReadyReplicas, Replicas: b.Status.Replicas, Comparison: b.Status.Comparison, Rejected: b.Status.Rejected,
	}
	if card.Phase == "" {
		card.Phase = "no revision yet"
	}
	for _, c := range b.Status.Conditions {
		row := conditionRow{c.Type, string(c.Status), c.Message, "note"}
		switch c.Status {
		case metav1.ConditionTrue:
			row.Tone = "good"
		case metav1.ConditionFalse:
			row.Tone = "bad"
		}
		card.Conditions = append(card.Conditions, row)
	}
	if card.Comparison == nil {
		return card
	}
	most := int64(0)
	for n := range card.Comparison.Policies {
		p := &card.Comparison.Policies[n]
		most = max(most, p.NewDenials+p.NewAdmissions)
	}
	for n := range card.Comparison.Policies {
		p := &card.Comparison.Policies[n]
		if card.Differences == nil {
			card.Differences = &chart{Title: "Differences by policy: new denials, then new admissions", Of: "Policy"}
		}
		if len(card.Differences.Rows) < maxBars {
			card.Differences.Rows = append(card.Differences.Rows, newBar(p.Policy, fmt.Sprintf("%d denials, %d admissions", p.NewDenials, p.NewAdmissions), most, amount{"bad", p.NewDenials}, amount{"good", p.NewAdmissions}))
		}
		for _, sample := range p.Samples {
			card.Samples = append(card.Samples, sampleRow{p.Policy, sample})
		}
	}
	return card
}

// libraryPolicy is a policy of the built-in library.
type libraryPolicy struct {
	ID, Title, Severity, First, Rest, Remediation string
	Profiles                                      []string
}

// builtIn reads the metadata of the library, once.
var builtIn = sync.OnceValues(readLibrary)

func readLibrary() ([]libraryPolicy, error) {
	profiles, err := profilesOf()
	if err != nil {
		return nil, fmt.Errorf("reading the built-in library: %w", err)
	}
	files, err := fs.Glob(library.FS(), "*/*/policy.rego")
	if err != nil {
		return nil, err
	}
	all := make([]libraryPolicy, 0, len(files))
	for _, file := range files {
		source, err := fs.ReadFile(library.FS(), file)
		if err != nil {
			return nil, err
		}
		one, err := metadata(string(source))
		if err != nil {
			return nil, fmt.Errorf("reading the metadata of %s: %w", file, err)
		}
		one.ID = strings.TrimSuffix(file, "/policy.rego")
		one.Profiles = profiles[one.ID]
		all = append(all, *one)
	}
	return all, nil
}

// metadata reads the annotations of a policy (https://www.openpolicyagent.org/docs/policy-language#annotations): the comments after "# METADATA" are YAML.
func metadata(source string) (*libraryPolicy, error) {
	_, after, found := strings.Cut(source, "# METADATA\n")
	if !found {
		return nil, fmt.Errorf("there is none")
	}
	var text strings.Builder
	for line := range strings.Lines(after) {
		comment, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		text.WriteString(strings.TrimPrefix(comment, " "))
	}
	var parsed struct {
		Title       string
		Description string
		Custom      struct{ Severity, Remediation string }
	}
	if err := yaml.Unmarshal([]byte(text.String()), &parsed); err != nil {
		return nil, err
	}
	sentence, rest, _ := strings.Cut(strings.Join(strings.Fields(parsed.Description), " "), ". ")
	if rest != "" {
		sentence += "."
	}
	return &libraryPolicy{Title: parsed.Title, Severity: parsed.Custom.Severity, First: sentence, Rest: rest, Remediation: parsed.Custom.Remediation}, nil
}

// profilesOf are the profiles of each policy, with their enforcement where it is not deny. A profile has those, too, of the one that it extends.
func profilesOf() (map[string][]string, error) {
	raw, err := fs.ReadFile(library.FS(), "bundle.yaml")
	if err != nil {
		return nil, err
	}
	var bundle struct {
		Profiles []struct {
			Name, Extends string
			Policies      []struct{ Policy, Enforcement string }
		}
	}
	if err := yaml.Unmarshal(raw, &bundle); err != nil {
		return nil, err
	}
	of := map[string][]string{}
	byProfile := map[string]map[string]string{}
	for _, profile := range bundle.Profiles {
		enforced := map[string]string{}
		for policy, enforcement := range byProfile[profile.Extends] {
			enforced[policy] = enforcement
		}
		for _, one := range profile.Policies {
			enforced[one.Policy] = one.Enforcement
		}
		byProfile[profile.Name] = enforced
		for policy, enforcement := range enforced {
			label := profile.Name
			if enforcement != "" && enforcement != "deny" {
				label += " (" + enforcement + ")"
			}
			of[policy] = append(of[policy], label)
		}
	}
	return of, nil
}
