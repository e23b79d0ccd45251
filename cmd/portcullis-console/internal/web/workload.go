package web

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission/decisions"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/kube"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/timeline"
	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	scan "github.com/portcullis-dev/portcullis/scanner/v1alpha1"
	secret "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

type workloadData struct {
	Problem, Namespace, Pods, Gate string
	Secrets, Images, Problems      []string
	Events                         []timeline.Event
	Newest                         bool
	Other                          string
	Pager                          pager
}

// maxScans is how many images of one workload are looked up.
const maxScans = 20

func (v *visit) workload() error {
	about := timeline.Workload{Namespace: v.query.Get("in"), Kind: v.query.Get("kind"), Name: v.query.Get("name")}
	n := slices.IndexFunc(kinds, func(k kindOf) bool { return k.kind == about.Kind })
	if n < 0 || !isName(about.Namespace) || about.Namespace == "" || !isName(about.Name) || about.Name == "" {
		return v.show("workload", "Workload", workloadData{Problem: "There is no such workload: choose one of the list."})
	}
	found, err := kube.Get[object](v.r.Context(), v.caller, kinds[n].resource, about.Namespace, about.Name)
	if err != nil {
		if kube.LoggedOut(err) {
			return err
		}
		return v.show("workload", about.Kind+" "+about.Name, workloadData{Problem: err.Error()})
	}
	data, facts, err := v.gather(about, found)
	if err != nil {
		return err
	}
	facts.QuarantineLink = func(name string) string { return address("/quarantine", "name", name, "namespace", v.namespace) }
	all := timeline.Of(facts)
	order := "oldest"
	if data.Newest = v.query.Get("order") != order; data.Newest {
		slices.Reverse(all)
	} else {
		order = ""
	}
	query := url.Values{}
	for key, values := range v.query {
		query[key] = values
	}
	data.Other = address("/workload", "kind", about.Kind, "in", about.Namespace, "name", about.Name, "namespace", v.namespace, "order", order)
	data.Events, data.Pager = cutPage(all, "/workload", query, false)
	return v.show("workload", about.Kind+" "+about.Namespace+"/"+about.Name, data)
}

// gather reads what the timeline is made of. What the caller may not read is left out, and said.
func (v *visit) gather(about timeline.Workload, found *object) (workloadData, timeline.Facts, error) {
	var (
		ofPods      read[corev1.Pod]
		ofSecrets   read[secret.VaultSecret]
		ofIncidents read[v1alpha1.Incident]
		quarantines read[v1alpha1.Quarantine]
		ofEvents    read[corev1.Event]
		decided     []decisions.Entry
		decidedErr  error
	)
	in := kube.Query{Namespace: about.Namespace}
	if err := together(
		func() error { return fill(&ofPods, v, in, pods) },
		func() error { return fill(&ofSecrets, v, in, secret.VaultSecrets) },
		func() error { return fill(&ofIncidents, v, kube.Query{}, v1alpha1.Incidents) },
		func() error { return fill(&quarantines, v, kube.Query{}, v1alpha1.Quarantines) },
		func() error { return fill(&ofEvents, v, in, events) },
		func() error {
			decided, _, decidedErr = v.o.Live.Recent(v.r.Context(), v.caller, about.Namespace, recentLimit)
			return decidedErr
		},
	); err != nil {
		return workloadData{}, timeline.Facts{}, err
	}
	mine := owned(about.Kind, found, ofPods.Items)
	names := make([]string, 0, len(mine))
	var accounts, secretNames []string
	for _, spec := range specsOf(found, mine) {
		accounts = append(accounts, spec.ServiceAccountName)
		secretNames = append(secretNames, timeline.SecretsOf(spec)...)
	}
	for n := range mine {
		names = append(names, mine[n].Name)
	}
	slices.Sort(secretNames)
	secretNames = slices.Compact(secretNames)
	digests := timeline.Digests(mine)
	facts := timeline.Facts{Kind: about.Kind, Meta: found.ObjectMeta, Pods: mine}
	data := workloadData{Namespace: about.Namespace, Pods: strconv.Itoa(len(mine)), Gate: found.Annotations[timeline.GateAnnotation], Images: digests}
	facts.Secrets = slices.DeleteFunc(ofSecrets.Items, func(s secret.VaultSecret) bool { return !timeline.Writes(&s, secretNames) })
	for _, name := range secretNames {
		origin := ""
		for n := range facts.Secrets {
			if timeline.Writes(&facts.Secrets[n], []string{name}) {
				origin = " from Vault, by VaultSecret " + facts.Secrets[n].Name
			}
		}
		data.Secrets = append(data.Secrets, name+origin)
	}
	facts.Incidents = slices.DeleteFunc(ofIncidents.Items, func(i v1alpha1.Incident) bool { return !about.OfIncident(&i, digests, accounts) })
	facts.Quarantines = slices.DeleteFunc(quarantines.Items, func(q v1alpha1.Quarantine) bool { return !about.OfQuarantine(&q, names) })
	facts.Decisions = slices.DeleteFunc(decided, func(e decisions.Entry) bool {
		return e.Namespace != about.Namespace || !(e.Name == about.Name && e.Kind == about.Kind || e.Kind == "Pod" && slices.Contains(names, e.Name) || strings.HasPrefix(e.Name, about.Name+"-") && e.Kind == "ReplicaSet")
	})
	facts.Events = slices.DeleteFunc(ofEvents.Items, func(e corev1.Event) bool {
		o := e.InvolvedObject
		return !(o.Kind == about.Kind && o.Name == about.Name || o.Kind == "Pod" && slices.Contains(names, o.Name) || o.Kind == "ReplicaSet" && about.Kind == "Deployment" && strings.HasPrefix(o.Name, about.Name+"-"))
	})
	err := v.scansOf(digests, &facts, &data)
	for _, one := range []error{ofPods.err, ofSecrets.err, ofIncidents.err, quarantines.err, ofEvents.err, decidedErr} {
		if one != nil && !kube.NotInstalled(one) {
			data.Problems = append(data.Problems, one.Error())
		}
	}
	return data, facts, err
}

// scansOf looks up what is known of images.
func (v *visit) scansOf(digests []string, facts *timeline.Facts, data *workloadData) error {
	for n, digest := range digests {
		if n == maxScans {
			data.Problems = append(data.Problems, "Scans of the first "+strconv.Itoa(maxScans)+" images are shown.")
			break
		}
		name, err := scan.Name(digest)
		if err != nil {
			continue
		}
		found, err := kube.Get[scan.ImageScan](v.r.Context(), v.caller, scan.Resource, "", name)
		switch {
		case kube.LoggedOut(err):
			return err
		case kube.Forbidden(err):
			data.Problems = append(data.Problems, err.Error())
			return nil
		case err == nil:
			facts.Scans = append(facts.Scans, *found)
		}
	}
	return nil
}

// specsOf are the specifications of the pods of a workload, and of those that it would make.
func specsOf(o *object, pods []corev1.Pod) []*corev1.PodSpec {
	specs := []*corev1.PodSpec{&o.Spec.Template.Spec, &o.Spec.JobTemplate.Spec.Template.Spec}
	for n := range pods {
		specs = append(specs, &pods[n].Spec)
	}
	return specs
}

var _ metav1.Object = &object{} // for owner references
