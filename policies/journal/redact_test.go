package journal

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/klauspost/compress/zstd"
	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var testRedactor = &redactor{key: bytes.Repeat([]byte("k"), keySize)}

func TestEqualSecretsStayEqualAndOthersDoNot(t *testing.T) {
	other := &redactor{key: bytes.Repeat([]byte("o"), keySize)}
	a, again, b := testRedactor.hash([]byte("a")), testRedactor.hash([]byte("a")), testRedactor.hash([]byte("b"))
	if a != again || a == b || a == other.hash([]byte("a")) {
		t.Errorf("got %s, %s, %s, want the first two equal, and others for another value and another key", a, again, b)
	}
}

// hidden are what must not be found again, each in the clear and in base64.
var hidden = []string{
	"correct-horse-battery", "p4ssw0rd \"quoted\" <&>", "hunter2hunter2", "sk_live_abcdefghijklmnop", "zażółć-gęślą", "multi\nline\nsecret", "AKIAIOSFODNN7EXAMPLE",
}

// unescaped is a value as an encoder writes it in JSON that leaves <, > and & as they are.
func unescaped(t *testing.T, value string) string {
	quoted, err := jsontext.AppendQuote(nil, value)
	if err != nil {
		t.Fatal(err)
	}
	return string(quoted[1 : len(quoted)-1])
}

// TestNoSecretReachesTheFolder records secrets in every place that is known, judged by policies that repeat them, and then looks
// for them in all bytes of the journal, facts unpacked.
func TestNoSecretReachesTheFolder(t *testing.T) {
	dir := t.TempDir()
	tells := `deny contains {"msg": sprintf("%v", [input.object]), "details": {"object": input.object}}`
	given := []string{
		"any/tells", "match: {resources: [{group: '', resources: [pods, secrets]}]}", tells,
		"any/cluster", "match: {resources: [{group: '', resources: [pods, secrets]}]}\nreads: [{resource: secrets, scope: namespace}, {group: apps, resource: deployments, scope: namespace}]", `deny contains sprintf("%v", [input.cluster])`,
	}
	var requests []admission.Request
	var held []policies.Object
	for n, secret := range hidden {
		quoted, _ := json.Marshal(secret)
		encoded := base64.StdEncoding.EncodeToString([]byte(secret))
		object := fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s%d","namespace":"shop","annotations":{%q:%q}},"data":{"a":%q},"stringData":{"b":%s}}`,
			n, corev1.LastAppliedConfigAnnotation, `{"data":{"a":"`+encoded+`"}}`, encoded, quoted)
		workload := fmt.Sprintf(`{"containers":[{"name":"a","image":"a","env":[{"name":"MY_SECRET","value":%s}]}]}`, quoted)
		secretRequest := pod(fmt.Sprint("s", n), "{}")
		secretRequest.Resource.Resource, secretRequest.Kind.Kind = "secrets", "Secret"
		secretRequest.Operation, secretRequest.Object, secretRequest.OldObject = "UPDATE", []byte(object), []byte(strings.Replace(object, "shop", "bank", 1))
		secretRequest.Subject.Extra = map[string][]string{"token": {secret}}
		requests = append(requests, secretRequest, pod(fmt.Sprint("p", n), workload))
		held = append(held,
			policies.Object{Version: "v1", Kind: "Secret", Resource: "secrets", Namespace: "shop", Name: fmt.Sprint("s", n), Raw: []byte(object)},
			policies.Object{Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments", Namespace: "shop", Name: fmt.Sprint("d", n), Raw: fmt.Appendf(nil, `{"spec":{"template":{"spec":%s}}}`, workload)})
	}
	reviewer := reviewerOf(t, cluster{Cluster: held}, given...)
	var sunk bytes.Buffer
	j := openIn(t, dir, func(o *Options) { o.Inline, o.Sinks = 300, []Sink{NewStream("test", &sunk)} })
	for _, request := range requests {
		d := decide(reviewer, request)
		if len(d.Verdict.Findings) == 0 {
			t.Fatalf("got %+v, want policies that tell", d.Verdict)
		}
		j.Record(context.Background(), d)
	}
	closeNow(t, j)
	if got := len(lines(t, dir, Filter{})); got != len(requests) {
		t.Fatalf("got %d decisions, want %d", got, len(requests))
	}
	unpacker, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	look := func(where string, content []byte) {
		for _, secret := range hidden {
			quoted, _ := json.Marshal(secret)
			for _, form := range []string{secret, string(quoted[1 : len(quoted)-1]), unescaped(t, secret), base64.StdEncoding.EncodeToString([]byte(secret))} {
				if bytes.Contains(content, []byte(form)) {
					t.Errorf("%s: got %q in it", where, form)
				}
			}
		}
	}
	files := 0
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		look(path, content)
		if strings.HasSuffix(path, factSuffix) {
			if content, err = unpacker.DecodeAll(content, nil); err != nil {
				return err
			}
			look(path, content)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	look("the sink", sunk.Bytes())
	if files < 10 || sunk.Len() == 0 {
		t.Errorf("got %d files and %d bytes in the sink, want facts, too", files, sunk.Len())
	}
	// What was replaced in the cluster leaves open whoever reads it.
	report := replay(t, dir, ReplayOptions{After: reviewer.Lineup()})
	if report.NotReplayable != len(requests) {
		t.Errorf("got %+v, want nothing replayed that reads secrets", report.Counts)
	}
	labels := engineOf(t, 2, "", "any/labels", "match: {resources: [{group: '', resources: [pods]}]}\nreads: [{group: apps, resource: deployments, scope: namespace}]", `deny contains "x" if { some d in input.cluster; d.object.metadata.labels.x == "y" }`)
	report = replay(t, dir, ReplayOptions{After: admission.Solo(labels)})
	if report.NotReplayable != 0 {
		t.Errorf("got %+v, want a policy replayed that reads something else of the same objects", report.Policies)
	}
}

func TestRequestsOfASecretNameWhatIsReplaced(t *testing.T) {
	dir := t.TempDir()
	j := openIn(t, dir, nil)
	request := admission.Request{UID: "1", Operation: "UPDATE", Resource: metav1.GroupVersionResource{Version: "v1", Resource: "secrets"},
		Object: []byte(`{"data":{"a":"aHVudGVyMg=="}}`), OldObject: []byte(`{"stringData":{"a":"b"}}`), Subject: admission.Subject{Extra: map[string][]string{"a": {"b"}}}}
	j.Record(context.Background(), &admission.Decision{ID: "1", Outcome: "denied", Request: request})
	closeNow(t, j)
	got := lines(t, dir, Filter{})[0].Decision.Redacted
	if want := []string{"object.data", "oldObject.stringData", "subject.extra"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whoever the policies are about everything for is sent the bearer tokens that others ask about.
func TestTokensThatAreReviewedAreReplaced(t *testing.T) {
	dir := t.TempDir()
	j := openIn(t, dir, nil)
	request := admission.Request{UID: "1", Operation: "CREATE", Resource: metav1.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "tokenreviews"},
		Object: []byte(`{"spec":{"token":"hunter2"}}`)}
	j.Record(context.Background(), &admission.Decision{ID: "1", Outcome: "denied", Request: request})
	closeNow(t, j)
	got := lines(t, dir, Filter{})[0].Decision
	if !slices.Equal(got.Redacted, []string{"object.spec.token"}) || bytes.Contains(got.Request.Object.Inline, []byte("hunter2")) {
		t.Errorf("got %s with %q replaced, want the token replaced", got.Request.Object.Inline, got.Redacted)
	}
}

func TestTheKeyIsMadeOnceAndOnlyItsOwnerReadsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first, err := openKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := openKey(path)
	if err != nil || !bytes.Equal(first, again) || len(first) != keySize {
		t.Errorf("got %x, %v, want %x again", again, err, first)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openKey(path); err == nil || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("got %v, want a key that can be guessed refused", err)
	}
}

func FuzzDecodeLine(f *testing.F) {
	f.Add([]byte(`{"seq":1,"prev":"","version":1,"kind":"header","time":"2026-03-01T12:00:00Z","header":{"file":1,"allows":1}}`))
	f.Add([]byte(`{"seq":2,"prev":"sha256:00","version":1,"kind":"decision","time":"2026-03-01T12:00:00Z","decision":{"id":"a","request":{"object":{"digest":"sha256:zz"}},"judges":[{"facts":{"reads":[{"objects":"../../etc"}]}}]}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		line, err := decodeLine(rawLine{content: content})
		if err != nil {
			return
		}
		reader, err := newFactReader(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		for _, digest := range reader.named(line) {
			if _, err := reader.get(digest); err == nil {
				t.Errorf("got a fact by %q from an empty folder", digest)
			}
		}
	})
}
