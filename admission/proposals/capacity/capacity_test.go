package capacity

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// pod is a pod of Deployment web in the namespace shop, with these containers.
func pod(name, spec string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"metadata":{"name":%q,"labels":{"pod-template-hash":"6d4cf56db6"},"ownerReferences":[{"kind":"ReplicaSet","name":"web-6d4cf56db6","controller":true}]},"spec":%s}`, name, spec))
}

func usage(name, containers string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"metadata":{"name":%q},"containers":[%s]}`, name, containers))
}

const twoContainers = `{"containers":[
	{"name":"app","resources":{"requests":{"cpu":"500m","memory":"1Gi"},"limits":{"memory":"1Gi"}}},
	{"name":"log","resources":{"requests":{"cpu":0.1,"memory":"64Mi"},"limits":{"memory":"64Mi"}}}]}`

func TestPodsAreCountedAsTheSchedulerDoes(t *testing.T) {
	const gi, mi = 1 << 30, 1 << 20
	for name, test := range map[string]struct {
		spec             string
		requests, limits Amount
	}{
		"containers together": {twoContainers, Amount{600, gi + 64*mi}, Amount{0, gi + 64*mi}},
		"limits without requests are requests": {`{"containers":[{"name":"a","resources":{"limits":{"cpu":"2","memory":"1Gi"}}}]}`,
			Amount{2000, gi}, Amount{2000, gi}},
		"starting takes more than running": {`{"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}],"initContainers":[{"name":"i","resources":{"requests":{"cpu":"3"}}}]}`,
			Amount{3000, 0}, Amount{}},
		"a sidecar runs beside what starts after it, and beside the containers": {`{"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}],"initContainers":[
			{"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}},{"name":"i","resources":{"requests":{"cpu":"2"}}}]}`, Amount{3000, 0}, Amount{}},
		"what the runtime takes": {`{"overhead":{"cpu":"250m","memory":"120Mi"},"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}]}`,
			Amount{1250, 120 * mi}, Amount{}},
		"the pod as a whole": {`{"resources":{"requests":{"cpu":"4"},"limits":{"cpu":"5"}},"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}]}`,
			Amount{4000, 0}, Amount{5000, 0}},
		"what is no quantity is none": {`{"containers":[{"name":"a","resources":{"requests":{"cpu":"lots","memory":{"x":1}}}}]}`, Amount{}, Amount{}},
		"more than there can be":      {`{"containers":[{"name":"a","resources":{"requests":{"cpu":"1E","memory":"16Ei"}}},{"name":"b","resources":{"requests":{"cpu":"1E"}}}]}`, Amount{math.MaxInt64, math.MaxInt64}, Amount{}},
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLedger()
			l.Add("", "Pod", "shop", pod("a", test.spec))
			got := l.Report(Thresholds{}, Prices{}).Total
			if got.Requests != test.requests || got.Limits != test.limits {
				t.Errorf("got requests %+v and limits %+v, want %+v and %+v", got.Requests, got.Limits, test.requests, test.limits)
			}
		})
	}
}

// hintsOf are hints in short: "near-limit memory app".
func hintsOf(r Report) []string {
	all := []string{}
	for _, h := range r.Hints {
		all = append(all, fmt.Sprintf("%s %s %s", h.Kind, h.Resource, h.Container))
	}
	return all
}

func TestHintsSayWhatDoesNotFit(t *testing.T) {
	const fitting = `{"name":"app","usage":{"cpu":"400m","memory":"800Mi"}},{"name":"log","usage":{"cpu":"50m","memory":"40Mi"}}`
	for name, test := range map[string]struct {
		spec, usage string
		thresholds  Thresholds
		want        []string
	}{
		"everything fits":                {twoContainers, fitting, Thresholds{}, []string{}},
		"nothing is known of usage":      {twoContainers, "", Thresholds{}, []string{}},
		"requests and limits are absent": {`{"containers":[{"name":"app"}]}`, "", Thresholds{}, []string{"no-request cpu app", "no-request memory app", "no-limit memory app"}},
		"near the limit":                 {twoContainers, `{"name":"app","usage":{"cpu":"400m","memory":"1000Mi"}}`, Thresholds{}, []string{"near-limit memory app", "over-provisioned cpu log"}},
		"at another limit":               {twoContainers, fitting, Thresholds{Limit: 50}, []string{"near-limit memory app", "near-limit memory log"}},
		"more than requested":            {twoContainers, `{"name":"app","usage":{"cpu":"501m","memory":"800Mi"}},{"name":"log","usage":{"cpu":"101m","memory":"40Mi"}}`, Thresholds{}, []string{"under-provisioned cpu log"}},
		"much more than requested":       {twoContainers, `{"name":"app","usage":{"cpu":"506m","memory":"800Mi"}},{"name":"log","usage":{"cpu":"100m","memory":"40Mi"}}`, Thresholds{}, []string{"under-provisioned cpu app"}},
		"less than requested":            {twoContainers, `{"name":"app","usage":{"cpu":"149m","memory":"800Mi"}},{"name":"log","usage":{"cpu":"30m","memory":"40Mi"}}`, Thresholds{}, []string{"over-provisioned cpu app"}},
		"less than little is fine":       {`{"containers":[{"name":"app","resources":{"requests":{"cpu":"49m","memory":"63Mi"},"limits":{"memory":"1Gi"}}}]}`, `{"name":"app","usage":{"cpu":"0","memory":"1Mi"}}`, Thresholds{}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, first := range []string{"the pod", "its usage"} {
				l := NewLedger()
				add := func() {
					if test.usage != "" {
						l.Add("metrics.k8s.io", "PodMetrics", "shop", usage("a", test.usage))
					}
				}
				if first == "its usage" {
					add()
				}
				l.Add("", "Pod", "shop", pod("a", test.spec))
				if first == "the pod" {
					add()
				}
				got := hintsOf(l.Report(test.thresholds, Prices{}))
				if name == "near the limit" { // nothing is known of the other container then
					got = slices.DeleteFunc(got, func(s string) bool { return strings.HasSuffix(s, " log") })
					if want := test.want[:1]; !slices.Equal(got, want) {
						t.Errorf("%s first: got %q, want %q", first, got, want)
					}
					continue
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("%s first: got %q, want %q", first, got, test.want)
				}
			}
		})
	}
}

func TestWorkloadsAreCountedOnce(t *testing.T) {
	deployment := func(replicas string) json.RawMessage {
		return json.RawMessage(`{"metadata":{"name":"web"},"spec":{` + replicas + `"template":{"spec":` + twoContainers + `}}}`)
	}
	for name, test := range map[string]struct {
		add  func(*Ledger)
		pods int64
		cpu  int64
	}{
		"pods, not their workload": {func(l *Ledger) {
			l.Add("apps", "Deployment", "shop", deployment(`"replicas":5,`))
			l.Add("", "Pod", "shop", pod("a", twoContainers))
			l.Add("", "Pod", "shop", pod("b", twoContainers))
		}, 2, 1200},
		"a workload without pods, as it is declared": {func(l *Ledger) { l.Add("apps", "Deployment", "shop", deployment(`"replicas":5,`)) }, 5, 3000},
		"one replica unless it says":                 {func(l *Ledger) { l.Add("apps", "Deployment", "shop", deployment("")) }, 1, 600},
		"none where it wants none":                   {func(l *Ledger) { l.Add("apps", "Deployment", "shop", deployment(`"replicas":0,`)) }, 0, 0},
		"a ReplicaSet of a Deployment is no other workload": {func(l *Ledger) {
			l.Add("apps", "ReplicaSet", "shop", json.RawMessage(`{"metadata":{"name":"web-6d4cf56db6","ownerReferences":[{"kind":"Deployment","name":"web","controller":true}]},"spec":{"template":{"spec":`+twoContainers+`}}}`))
		}, 0, 0},
		"a DaemonSet where it should run": {func(l *Ledger) {
			l.Add("apps", "DaemonSet", "shop", json.RawMessage(`{"metadata":{"name":"log"},"spec":{"template":{"spec":`+twoContainers+`}},"status":{"desiredNumberScheduled":3}}`))
		}, 3, 1800},
		"a Job that is done": {func(l *Ledger) {
			l.Add("batch", "Job", "shop", json.RawMessage(`{"metadata":{"name":"load"},"spec":{"template":{"spec":`+twoContainers+`}},"status":{"completionTime":"2026-01-01T00:00:00Z"}}`))
		}, 0, 0},
		"a pod that has ended": {func(l *Ledger) {
			l.Add("", "Pod", "shop", json.RawMessage(`{"metadata":{"name":"a"},"spec":`+twoContainers+`,"status":{"phase":"Succeeded"}}`))
		}, 0, 0},
		"what is something else": {func(l *Ledger) { l.Add("", "ConfigMap", "shop", json.RawMessage(`{"spec":{"containers":[]}}`)) }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLedger()
			test.add(l)
			if got := l.Report(Thresholds{}, Prices{}).Total; got.Pods != test.pods || got.Requests.MilliCPU != test.cpu {
				t.Errorf("got %d pods that request %dm, want %d and %dm", got.Pods, got.Requests.MilliCPU, test.pods, test.cpu)
			}
		})
	}
}

func TestPricesAreExact(t *testing.T) {
	for text, want := range map[string]string{"0.0316": "", "12": "", "0.000000001": "", "": "is no price", "1.": "is no price", ".5": "is no price", "-1": "is no price", "1e3": "is no price", "0.0000000001": "is no price", "1,5": "is no price"} {
		if _, err := ParsePrice(text); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("reading the price %q: got %v, want %q", text, err, want)
		}
	}
	price := func(text string) *Money {
		money, err := ParsePrice(text)
		if err != nil {
			t.Fatal(err)
		}
		return money
	}
	for name, test := range map[string]struct {
		prices Prices
		amount Amount
		want   string
	}{
		"both":                       {Prices{price("0.0316"), price("0.0042")}, Amount{2000, 4 << 30}, "58.40"}, // 2*730*0.0316 + 4*730*0.0042
		"processors only":            {Prices{CPUHour: price("0.0316")}, Amount{1, 4 << 30}, "0.02"},
		"half a cent is rounded up":  {Prices{CPUHour: price("0.005")}, Amount{1000 / 730, 0}, "0.00"},
		"nothing requested":          {Prices{CPUHour: price("1")}, Amount{}, "0.00"},
		"no prices":                  {Prices{}, Amount{1000, 1}, ""},
		"as much as there is at all": {Prices{price("999999999999999"), price("999999999999999")}, Amount{math.MaxInt64, math.MaxInt64}, "6739311390000000000000000000000.00"},
	} {
		t.Run(name, func(t *testing.T) {
			got := test.prices.month(test.amount).String()
			if name == "as much as there is at all" {
				if len(got) < 30 {
					t.Errorf("got %s, want a number that has not run over", got)
				}
				return
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestReportsAreBounded(t *testing.T) {
	l := NewLedger()
	for n := range MaxHints {
		l.Add("", "Pod", "shop", json.RawMessage(fmt.Sprintf(`{"metadata":{"name":"p%d"},"spec":{"containers":[{"name":"a"}]}}`, n)))
	}
	l.Add("", "Pod", "shop", json.RawMessage(`{"metadata":7}`))
	report := l.Report(Thresholds{}, Prices{})
	if len(report.Hints) != MaxHints || report.count() != 3*MaxHints {
		t.Errorf("got %d hints of %d, want %d of %d", len(report.Hints), report.count(), MaxHints, 3*MaxHints)
	}
	notes := strings.Join(report.Notes, "\n")
	for _, want := range []string{"2000 more hints are counted", "1 objects could not be read", "No usage is known"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes do not say %q:\n%s", want, notes)
		}
	}
}

func TestAmountsAreTextForPeople(t *testing.T) {
	for got, want := range map[string]string{
		CPU(0): "0m", CPU(999): "999m", CPU(1000): "1", CPU(1250): "1.2", CPU(123_456): "123",
		Memory(0): "0 B", Memory(1023): "1023 B", Memory(1 << 20): "1 MiB", Memory(3 << 29): "1.5 GiB", Memory(math.MaxInt64): "8191 PiB",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
