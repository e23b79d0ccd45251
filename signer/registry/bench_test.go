package registry_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// BenchmarkCold is all that a first verification reads: the tag, the referrers, one of
// them and its blob, by a client that has no connection and no token yet. It reports how
// many requests that takes.
func BenchmarkCold(b *testing.B) {
	for _, shape := range registrytest.Shapes() {
		server := start(b, shape)
		p := push(b, newClient(b, server.Options()), server.Repository("acme/app"))
		b.Run(string(shape), func(b *testing.B) {
			b.ReportAllocs()
			server.Forget()
			for b.Loop() {
				client := newClient(b, server.Options())
				cold(b, client, p)
				client.CloseIdleConnections()
			}
			b.ReportMetric(float64(len(server.Requests()))/float64(b.N), "requests/op")
		})
	}
}

// BenchmarkColdAgainstBareRequests does the same in turns with the same requests and
// nothing around them, against a registry that takes 2 ms for an answer, and reports how
// many times as long it takes.
func BenchmarkColdAgainstBareRequests(b *testing.B) {
	server := start(b, registrytest.Referrers, registrytest.Slow(2*time.Millisecond))
	p := push(b, newClient(b, server.Options()), server.Repository("acme/app"))
	var ours, theirs time.Duration
	for b.Loop() {
		began := time.Now()
		bare(b, server, p)
		between := time.Now()
		client := newClient(b, server.Options())
		cold(b, client, p)
		ours += time.Since(between)
		theirs += between.Sub(began)
		client.CloseIdleConnections()
	}
	b.ReportMetric(float64(ours)/float64(theirs), "times-bare")
}

// bare asks the least that the protocol takes, over one new connection.
func bare(b *testing.B, server *registrytest.Server, p pushed) {
	b.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for _, path := range []string{"manifests/v1", "referrers/" + p.image.Digest, "manifests/" + p.referrer.Digest, "blobs/" + p.blob.Digest} {
		request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/v2/acme/app/%s", server.URL(), path), nil)
		if err != nil {
			b.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err != nil || response.StatusCode != http.StatusOK {
			b.Fatal(response, err)
		}
		if _, err := io.ReadAll(response.Body); err != nil {
			b.Fatal(err)
		}
		response.Body.Close()
	}
}

// BenchmarkResolve is a tag over a connection that there is already.
func BenchmarkResolve(b *testing.B) {
	server := start(b, registrytest.Bearer)
	client := newClient(b, server.Options())
	p := push(b, client, server.Repository("acme/app"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Resolve(b.Context(), p.repository, "v1"); err != nil {
			b.Fatal(err)
		}
	}
}
