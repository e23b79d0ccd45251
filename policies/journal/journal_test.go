package journal

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const deniesLatest = `deny contains {"msg": "no latest", "path": c.path} if { some c in input.workload.containers; endswith(c.image, ":latest") }`

func reviewerOf(t testing.TB, facts admission.Facts, given ...string) *admission.Reviewer {
	return admission.NewReviewer(engineOf(t, 1, "", given...), facts, clock)
}

func TestADecisionComesBackAsItWas(t *testing.T) {
	dir := t.TempDir()
	reviewer := reviewerOf(t, cluster{}, "pods/x", "", `deny contains "never" if input.workload.hostNetwork`)
	j := openIn(t, dir, nil)
	want := decide(reviewer, pod("web", `{"hostNetwork":true,"containers":[{"name":"a","image":"a"}]}`))
	want.Trace = strings.Repeat("ab", 16)
	j.Record(context.Background(), want)
	closeNow(t, j)

	all := lines(t, dir, Filter{})
	if len(all) != 1 {
		t.Fatalf("got %d decisions, want 1", len(all))
	}
	got := all[0].Decision
	if got.ID != want.ID || got.Trace != want.Trace || got.Outcome != "denied" || got.Duration != 3000 || !all[0].Time.Equal(noon) {
		t.Errorf("got %+v, want it as it was recorded", got)
	}
	if got.Verdict.Admitted || len(got.Verdict.Findings) != 1 || got.Verdict.Findings[0].Message != "never" || got.Verdict.Findings[0].Enforcement != policies.EnforceDeny {
		t.Errorf("got verdict %+v, want the denial", got.Verdict)
	}
	if !bytes.Equal(got.Request.Object.Inline, want.Request.Object) || got.Request.User.Username != "ann" || got.Request.resource() != want.Request.Resource {
		t.Errorf("got request %+v, want %+v", got.Request, want.Request)
	}
	if len(got.Judges) != 1 || got.Judges[0].Digest != reviewer.Lineup().Members[0].Active.Digest || !strings.HasPrefix(got.Judges[0].Revision, "test 1 ") && got.Judges[0].Revision == "" {
		t.Errorf("got judges %+v, want the revision that judged", got.Judges)
	}
	intact(t, dir)
}

func TestWhatIsKeptFollowsFromTheOutcome(t *testing.T) {
	warning := admission.Verdict{Admitted: true, Findings: []policies.Finding{{Policy: "pods/x", Effect: policies.EffectWarn}}}
	for name, test := range map[string]struct {
		decision  admission.Decision
		allows    float64
		unmatched bool
		kept      bool
	}{
		"a denial":                              {admission.Decision{Outcome: "denied"}, 0, false, true},
		"a fault":                               {admission.Decision{Outcome: "fault"}, 0, false, true},
		"a request that was shed":               {admission.Decision{Outcome: "shed"}, 0, false, true},
		"an admission with a warning":           {admission.Decision{Outcome: "admitted", Verdict: warning}, 0, false, true},
		"an admission with a fault":             {admission.Decision{Outcome: "admitted", Verdict: admission.Verdict{Faults: []policies.Fault{{}}}}, 0, false, true},
		"an admission where none are":           {admission.Decision{Outcome: "admitted"}, 0, false, false},
		"an admission where all are":            {admission.Decision{Outcome: "admitted"}, 1, false, true},
		"what no policy is about":               {admission.Decision{Outcome: "unmatched"}, 1, false, false},
		"what no policy is about, if asked for": {admission.Decision{Outcome: "unmatched"}, 1, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			j := &Journal{options: Options{Allows: test.allows, Unmatched: test.unmatched}}
			if got := j.keeps(&test.decision); got != test.kept {
				t.Errorf("got kept %v, want %v", got, test.kept)
			}
		})
	}
}

func TestAShareOfAdmissionsIsTheSameOnEveryReplica(t *testing.T) {
	// A hash that changed between versions would tear the two decisions on one request apart while a cluster is updated.
	for uid, want := range map[string]bool{"705ab4f5-6393-11e8-b7cc-42010a800002": false, "e3a1f1c2-0d5e-4d6f-9a7b-000000000001": true} {
		if got := chosen(uid, 0.5); got != want {
			t.Errorf("%s: got chosen %v, want %v", uid, got, want)
		}
	}
	kept := 0
	for n := range 10_000 {
		uid := fmt.Sprintf("705ab4f5-6393-11e8-b7cc-%012d", n)
		if chosen(uid, 0.1) {
			kept++
			if !chosen(uid, 0.5) {
				t.Fatalf("%s is among a tenth and not among a half", uid)
			}
		}
	}
	if kept < 850 || kept > 1150 {
		t.Errorf("got %d of 10,000, want about a tenth", kept)
	}
}

func TestAChainHoldsOverRestartsAndFiles(t *testing.T) {
	dir := t.TempDir()
	reviewer := reviewerOf(t, cluster{}, "pods/x", "", deniesLatest)
	for run := range 3 {
		j := openIn(t, dir, func(o *Options) { o.MaxFile = 4 << 10 })
		var group sync.WaitGroup
		for n := range 20 {
			group.Go(func() {
				j.Record(context.Background(), decide(reviewer, pod(fmt.Sprintf("web-%d-%d", run, n), plainSpec)))
			})
		}
		group.Wait()
		closeNow(t, j)
	}
	v := intact(t, dir)
	if v.Decisions != 60 || v.Files < 5 || v.Restarts != 2 || v.First != 1 {
		t.Errorf("got %+v, want 60 decisions in several files, from 1 on, with 2 restarts", v)
	}
}

func TestAChangedJournalIsToldFromAnIntactOne(t *testing.T) {
	reviewer := reviewerOf(t, cluster{}, "pods/x", "", deniesLatest)
	edit := func(change func(lines [][]byte) [][]byte) func([]byte) []byte {
		return func(content []byte) []byte {
			return bytes.Join(change(bytes.SplitAfter(content, []byte("\n"))), nil)
		}
	}
	for name, test := range map[string]struct {
		change func([]byte) []byte
		line   int
		reason string
	}{
		"a word is changed":                  {func(c []byte) []byte { return bytes.Replace(c, []byte("web-2"), []byte("web-9"), 1) }, 5, "was changed"},
		"a line is left out":                 {edit(func(l [][]byte) [][]byte { return slices.Delete(l, 2, 3) }), 3, "missing"},
		"two lines are swapped":              {edit(func(l [][]byte) [][]byte { l[2], l[3] = l[3], l[2]; return l }), 3, "missing"},
		"a line comes twice":                 {edit(func(l [][]byte) [][]byte { return slices.Insert(l, 2, l[1]) }), 3, "twice"},
		"a line is no JSON":                  {edit(func(l [][]byte) [][]byte { l[2] = []byte("oops\n"); return l }), 3, "no line of a journal"},
		"the first line names one before it": {func(c []byte) []byte { return bytes.Replace(c, []byte(`"prev":""`), []byte(`"prev":"sha256:00"`), 1) }, 1, "first line of all"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := openIn(t, dir, nil)
			for n := range 5 {
				j.Record(context.Background(), decide(reviewer, pod(fmt.Sprint("web-", n), plainSpec)))
			}
			closeNow(t, j)
			intact(t, dir)
			path := newest(t, dir)
			if err := os.WriteFile(path, test.change(mustRead(t, path)), 0o600); err != nil {
				t.Fatal(err)
			}
			v, err := Verify(context.Background(), dir, "")
			if err != nil {
				t.Fatal(err)
			}
			if v.Break == nil || v.Break.Line != test.line || !strings.Contains(v.Break.Reason, test.reason) {
				t.Errorf("got break %+v, want one at line %d that says %q", v.Break, test.line, test.reason)
			}
		})
	}
}

func TestATornEndIsCutOffAndNoted(t *testing.T) {
	reviewer := reviewerOf(t, cluster{}, "pods/x", "", deniesLatest)
	for name, test := range map[string]struct {
		tail string
		lost int64
	}{
		"half a line":                       {`{"seq":5,"prev":"sha256:`, 24},
		"zeros, as some disks leave":        {strings.Repeat("\x00", 100), 100},
		"a line of something else":          {"what?\n", 6},
		"a line of something else and half": {"what?\n{", 7},
		"nothing":                           {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := openIn(t, dir, nil)
			for n := range 3 {
				j.Record(context.Background(), decide(reviewer, pod(fmt.Sprint("web-", n), plainSpec)))
			}
			closeNow(t, j)
			path := newest(t, dir)
			if err := os.WriteFile(path, append(mustRead(t, path), test.tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(test.tail, "\n") {
				if got := len(lines(t, dir, Filter{})); got != 3 {
					t.Errorf("before it is mended, got %d decisions, want 3", got)
				}
			}
			j = openIn(t, dir, nil)
			j.Record(context.Background(), decide(reviewer, pod("after", plainSpec)))
			closeNow(t, j)
			if v := intact(t, dir); v.Decisions != 4 {
				t.Errorf("got %d decisions, want 3 and 1", v.Decisions)
			}
			want := fmt.Sprintf(`"recovered":{"bytes":%d}`, test.lost)
			if got := strings.Contains(string(mustRead(t, path)), want); got != (test.lost > 0) {
				t.Errorf("got a header with %s %v, want %v", want, got, test.lost > 0)
			}
		})
	}
}

// objects are cluster objects of some size.
func objects(count, size int) []policies.Object {
	var all []policies.Object
	for n := range count {
		name := fmt.Sprint("policy-", n)
		all = append(all, policies.Object{
			Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy", Resource: "networkpolicies", Namespace: "shop", Name: name,
			Raw: fmt.Appendf(nil, `{"metadata":{"name":%q},"spec":{"podSelector":{"a":%q}}}`, name, strings.Repeat("x", size)),
		})
	}
	return all
}

const readsNetworkPolicies = "reads: [{group: networking.k8s.io, resource: networkpolicies, scope: namespace}]"

func factFiles(t testing.TB, dir string) (count int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "facts"), func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			count++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

func TestFactsAreStoredOnce(t *testing.T) {
	dir := t.TempDir()
	reviewer := reviewerOf(t, cluster{Cluster: objects(3, 10)}, "pods/x", readsNetworkPolicies, `deny contains "none" if count(input.cluster) == 0`)
	j := openIn(t, dir, nil)
	for n := range 10 {
		j.Record(context.Background(), decide(reviewer, pod(fmt.Sprint("web-", n), plainSpec)))
	}
	closeNow(t, j)
	if got := factFiles(t, dir); got != 4 { // three objects and the list of them
		t.Errorf("got %d facts, want 4", got)
	}
	if v := intact(t, dir); v.Facts != 4 {
		t.Errorf("got %d facts named, want 4", v.Facts)
	}
}

func TestADamagedFactIsMissed(t *testing.T) {
	dir := t.TempDir()
	reviewer := reviewerOf(t, cluster{Cluster: objects(1, 10)}, "pods/x", readsNetworkPolicies, `deny contains "none" if count(input.cluster) == 0`)
	j := openIn(t, dir, nil)
	j.Record(context.Background(), decide(reviewer, pod("web", plainSpec)))
	closeNow(t, j)
	err := filepath.WalkDir(filepath.Join(dir, "facts"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			return os.Remove(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	v, err := Verify(context.Background(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if v.Intact() || len(v.Missing) != 1 { // the list; what it names is not known
		t.Errorf("got %+v, want the list missing", v)
	}
	// Whoever names them next stores them again.
	j = openIn(t, dir, nil)
	j.Record(context.Background(), decide(reviewer, pod("web", plainSpec)))
	closeNow(t, j)
	intact(t, dir)
}

func TestAJournalIsBounded(t *testing.T) {
	dir := t.TempDir()
	const most = 256 << 10
	for round := range 3 {
		reviewer := reviewerOf(t, cluster{Cluster: objects(20, 100+round)}, "pods/x", readsNetworkPolicies, `deny contains "none" if count(input.cluster) == 0`)
		j := openIn(t, dir, func(o *Options) { o.MaxTotal, o.MaxFile = most, 32<<10 })
		for n := range 200 {
			j.Record(context.Background(), decide(reviewer, pod(fmt.Sprint("web-", round, "-", n), plainSpec)))
		}
		closeNow(t, j)
		var total int64
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(path, namedSuffix) {
				return err
			}
			info, err := entry.Info()
			total += info.Size()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if total > most+64 {
			t.Errorf("got %d bytes, want at most %d", total, most)
		}
		intact(t, dir)
	}
	if v := intact(t, dir); v.First == 1 || v.Decisions < 50 {
		t.Errorf("got %+v, want the oldest removed and many kept", v)
	}
	if got := factFiles(t, dir); got != 21 && got != 42 {
		t.Errorf("got %d facts, want those of the last one or two rounds", got)
	}
}

func TestLargeObjectsLieBesideTheLines(t *testing.T) {
	dir := t.TempDir()
	reviewer := reviewerOf(t, cluster{}, "pods/x", "", deniesLatest)
	j := openIn(t, dir, func(o *Options) { o.Inline = 50 })
	request := pod("web", plainSpec)
	j.Record(context.Background(), decide(reviewer, request))
	closeNow(t, j)
	body := lines(t, dir, Filter{})[0].Decision.Request.Object
	reader, err := newFactReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := reader.get(body.Digest)
	if err != nil || !bytes.Equal(got, request.Object) || body.Inline != nil {
		t.Errorf("got %s, %v, want the object by its digest", got, err)
	}
}

func TestNobodyElseWritesMeanwhile(t *testing.T) {
	dir := t.TempDir()
	j := openIn(t, dir, nil)
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v, want the folder refused", err)
	}
	closeNow(t, j)
	closeNow(t, openIn(t, dir, nil))
}

func TestWhatComesAfterTheEndIsCounted(t *testing.T) {
	j := openIn(t, t.TempDir(), nil)
	closeNow(t, j)
	j.Record(context.Background(), &admission.Decision{Outcome: "denied"})
	if got := testutil.ToFloat64(j.counts.drops.WithLabelValues(reasonClosed)); got != 1 {
		t.Errorf("got %v drops, want 1", got)
	}
}

func TestAFullQueueDropsAndCountsInsteadOfWaiting(t *testing.T) {
	j := openIn(t, t.TempDir(), nil)
	defer closeNow(t, j)
	j.bytes.Add(j.options.QueueBytes) // as many lines as may wait
	j.Record(context.Background(), &admission.Decision{Outcome: "denied"})
	j.bytes.Add(-j.options.QueueBytes)
	if got := testutil.ToFloat64(j.counts.drops.WithLabelValues(reasonQueue)); got != 1 {
		t.Errorf("got %v drops, want 1", got)
	}
}

func TestAWriteThatFailsLosesItsLinesAndNoOthers(t *testing.T) {
	dir := t.TempDir()
	reviewer := reviewerOf(t, cluster{}, "pods/x", "", deniesLatest)
	j := openIn(t, dir, nil)
	j.Record(context.Background(), decide(reviewer, pod("before", plainSpec)))
	good := j.files.file
	broken, err := os.Open(good.Name()) // for reading: writes fail
	if err != nil {
		t.Fatal(err)
	}
	j.files.file = broken
	j.Record(context.Background(), decide(reviewer, pod("lost", plainSpec)))
	j.files.file = good
	broken.Close()
	j.Record(context.Background(), decide(reviewer, pod("after", plainSpec)))
	closeNow(t, j)
	if got := testutil.ToFloat64(j.counts.drops.WithLabelValues(reasonWrite)); got != 1 {
		t.Errorf("got %v drops, want 1", got)
	}
	if v := intact(t, dir); v.Decisions != 2 {
		t.Errorf("got %d decisions, want those before and after", v.Decisions)
	}
}

func TestTransitionsAreLinesOfTheSameChain(t *testing.T) {
	dir := t.TempDir()
	j := openIn(t, dir, nil)
	j.Transition(context.Background(), Transition{Bundle: "platform", From: "platform 1", To: "platform 2", Step: "rolledBack", Reason: "3 new denials"})
	closeNow(t, j)
	if v := intact(t, dir); v.Transitions != 1 || v.Decisions != 0 {
		t.Errorf("got %+v, want a transition", v)
	}
	if content := mustRead(t, newest(t, dir)); !bytes.Contains(content, []byte(`"step":"rolledBack"`)) {
		t.Errorf("got %s, want the step", content)
	}
}

func TestADiskThatHangsHoldsUpNoAnswer(t *testing.T) {
	dir := t.TempDir()
	j := openIn(t, dir, func(o *Options) { o.Wait = time.Millisecond })
	j.flushing.mu.Lock() // the writer gets no further
	const count = 5
	for n := range count {
		j.Record(context.Background(), &admission.Decision{ID: fmt.Sprint(n), Outcome: "denied"})
	}
	if got := testutil.ToFloat64(j.counts.late); got != count {
		t.Errorf("got %v late, want %d", got, count)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	j.Record(ended, &admission.Decision{ID: "whose caller is gone", Outcome: "denied"})
	j.flushing.mu.Unlock()
	closeNow(t, j)
	if v := intact(t, dir); v.Decisions != count+1 {
		t.Errorf("got %d decisions, want all of them in the end", v.Decisions)
	}
}

func TestDecisionsThatComeWhileAJournalEndsAreKeptOrCounted(t *testing.T) {
	dir := t.TempDir()
	j := openIn(t, dir, nil)
	const callers, each = 8, 200
	var group sync.WaitGroup
	started := make(chan struct{}, callers)
	for caller := range callers {
		group.Go(func() {
			for n := range each {
				j.Record(context.Background(), &admission.Decision{ID: fmt.Sprint(caller, "-", n), Outcome: "denied"})
				if n == 0 {
					started <- struct{}{}
				}
			}
		})
	}
	<-started
	closeNow(t, j)
	group.Wait()
	kept, lost := intact(t, dir).Decisions, testutil.ToFloat64(j.counts.drops.WithLabelValues(reasonClosed))
	if float64(kept)+lost != callers*each {
		t.Errorf("got %d kept and %v counted as lost, want %d together", kept, lost, callers*each)
	}
}
