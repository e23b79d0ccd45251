package bench

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

//go:embed testdata/pod.json
var podJSON []byte

// Pod is the pod of the budgets as an API server sends it: about 6 KB, four
// containers, nothing to object to.
func Pod() []byte { return bytes.TrimSpace(podJSON) }

// BadPod is the same pod with mistakes that eight of the fifty policies object to.
func BadPod() []byte {
	bad := string(Pod())
	for _, change := range [][2]string{
		{`"readOnlyRootFilesystem":true`, `"readOnlyRootFilesystem":false`},
		{`"allowPrivilegeEscalation":false`, `"allowPrivilegeEscalation":true`},
		{`"docker.io/envoyproxy/envoy:`, `"docker.io/library/nginx:`},
		{`"containerPort":9102`, `"containerPort":9102,"hostPort":9102`},
		{`"drop":["ALL"]`, `"drop":["ALL"],"add":["SYS_TIME"]`},
		{`"emptyDir":{"sizeLimit":"64Mi"}`, `"hostPath":{"path":"/var/lib/shop"}`},
	} {
		bad = replaceLast(bad, change[0], change[1])
	}
	return []byte(bad)
}

func replaceLast(s, old, replacement string) string {
	at := bytes.LastIndex([]byte(s), []byte(old))
	if at < 0 {
		panic("testdata/pod.json no longer holds " + old)
	}
	return s[:at] + replacement + s[at+len(old):]
}

// A Template makes the bodies of AdmissionReviews that differ only where their
// number is written.
type Template struct {
	body    []byte
	offsets []int
	number  uint64
}

// number is what stands in a template where the number goes: eight digits.
const number = "90000000"

// SameTemplate makes reviews of pods that one ReplicaSet creates: names and uids
// differ, what runs is the same.
func SameTemplate(pod []byte) *Template {
	fresh := bytes.ReplaceAll(pod, []byte("x2v4q"), []byte(number))
	return newTemplate("", "v1", "Pod", "pods", fresh)
}

// AllDifferent makes reviews of pods of which each runs something else: the tag of an
// image and the value of a variable differ too, so that nothing judged before helps.
func AllDifferent(pod []byte) *Template {
	return newTemplate("", "v1", "Pod", "pods", allDifferent(pod))
}

// AllDifferentPods makes the pods of [AllDifferent] without a review around them.
func AllDifferentPods(pod []byte) *Template { return numbered(allDifferent(pod)) }

func allDifferent(pod []byte) []byte {
	fresh := bytes.ReplaceAll(pod, []byte("shop/api:2.14.1"), []byte("shop/api:2.14."+number))
	fresh = bytes.ReplaceAll(fresh, []byte(`"LOG_LEVEL","value":"info"`), []byte(`"LOG_LEVEL","value":"info-`+number+`"`))
	return bytes.ReplaceAll(fresh, []byte("x2v4q"), []byte(number))
}

// Unmatched makes reviews of an object of a pod's size that no policy is about.
func Unmatched() *Template {
	object := bytes.Replace(Pod(), []byte(`"kind":"Pod","apiVersion":"v1"`), []byte(`"kind":"Widget","apiVersion":"shop.example.com/v1"`), 1)
	return newTemplate("shop.example.com", "v1", "Widget", "widgets", object)
}

// Lease makes reviews of what API servers are sent most often, which is small.
func Lease() *Template {
	return newTemplate("coordination.k8s.io", "v1", "Lease", "leases", []byte(
		`{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"node-1","namespace":"kube-node-lease","resourceVersion":"90000000"},"spec":{"holderIdentity":"node-1","leaseDurationSeconds":40,"renewTime":"2026-03-14T09:26:53.000000Z"}}`))
}

// newTemplate wraps an object into a review as the API server writes it.
func newTemplate(group, version, kind, resource string, object []byte) *Template {
	gvk := fmt.Sprintf(`{"group":%q,"version":%q,"kind":%q}`, group, version, kind)
	gvr := fmt.Sprintf(`{"group":%q,"version":%q,"resource":%q}`, group, version, resource)
	body := fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"7f0c2b0e-5d5e-4f39-9a53-0000%s","kind":%s,"resource":%s,"requestKind":%s,"requestResource":%s,"namespace":"shop","operation":"CREATE","userInfo":{"username":"system:serviceaccount:`+team+`:replicaset-controller","uid":"8a3c1f52-6a35-4a51-8e40-3f3f1cfc7c55","groups":["system:serviceaccounts","system:serviceaccounts:`+team+`","system:authenticated"]},"object":%s,"oldObject":null,"dryRun":false,"options":{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}`,
		number, gvk, gvr, gvk, gvr, object)
	return numbered(body)
}

// numbered finds where the numbers of a body go.
func numbered(body []byte) *Template {
	if !json.Valid(body) {
		panic("the template is no JSON: " + string(body))
	}
	t := &Template{body: body}
	for at := 0; ; at++ {
		next := bytes.Index(body[at:], []byte(number))
		if next < 0 {
			return t
		}
		at += next
		t.offsets = append(t.offsets, at)
	}
}

// team is the namespace of the service account that asks in a template.
const team = "kube-system"

// teams is how many others ask in clones.
const teams = 10

// Clone makes an independent template for another goroutine. Its numbers start
// elsewhere, and another team asks: the webhook lets none take all places.
func (t *Template) Clone(n int) *Template {
	other := fmt.Sprintf("team-%0*d", len(team)-len("team-"), n%teams)
	return &Template{
		body:    bytes.ReplaceAll(t.body, []byte(team), []byte(other)),
		offsets: t.offsets,
		number:  uint64(n%90) * 1_000_000,
	}
}

// Next is the next body. It is valid until Next is called again.
func (t *Template) Next() []byte {
	t.number++
	n := t.number
	var digits [len(number)]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	for _, at := range t.offsets {
		copy(t.body[at:], digits[:])
	}
	return t.body
}

// Caller sends the bodies of a template to a handler, one after the other, without
// a network.
type Caller struct {
	handler http.Handler
	bodies  *Template
	want    []byte
	request *http.Request
	body    readCloser
	answer  answer
}

// NewCaller makes a caller that expects requests to be admitted, or denied.
func NewCaller(handler http.Handler, bodies *Template, admitted bool) (*Caller, error) {
	request, err := http.NewRequest(http.MethodPost, "https://localhost/validate?timeout=10s", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	c := &Caller{handler: handler, bodies: bodies, request: request, want: wanted(admitted)}
	c.answer.header = http.Header{}
	request.Body = &c.body
	return c, c.check()
}

func wanted(admitted bool) []byte { return fmt.Appendf(nil, `"allowed":%t`, admitted) }

// Call has one body judged.
func (c *Caller) Call() {
	body := c.bodies.Next()
	c.body.Reset(body)
	c.request.ContentLength = int64(len(body))
	c.answer.body = c.answer.body[:0]
	clear(c.answer.header)
	c.handler.ServeHTTP(&c.answer, c.request)
	if !bytes.Contains(c.answer.body, c.want) {
		panic(c.check())
	}
}

func (c *Caller) check() error {
	body := c.bodies.Next()
	c.body.Reset(body)
	c.request.ContentLength = int64(len(body))
	c.answer.body = nil
	c.handler.ServeHTTP(&c.answer, c.request)
	if !bytes.Contains(c.answer.body, c.want) {
		return fmt.Errorf("the answer is %s: want %s", c.answer.body, c.want)
	}
	return nil
}

// Answer is the last answer.
func (c *Caller) Answer() []byte { return c.answer.body }

type readCloser struct{ bytes.Reader }

func (*readCloser) Close() error { return nil }

var _ io.ReadCloser = (*readCloser)(nil)

// answer keeps what a handler writes.
type answer struct {
	header http.Header
	body   []byte
}

func (a *answer) Header() http.Header { return a.header }
func (a *answer) WriteHeader(int)     {}
func (a *answer) Write(b []byte) (int, error) {
	a.body = append(a.body, b...)
	return len(b), nil
}
