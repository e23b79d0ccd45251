package registry_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// BenchmarkCold is all that a first verification reads: the tag, the referrers, one of
// them and its blob, by a client that has no connection and no token yet; and the same
// requests with nothing around them. Both report how many requests that takes.
func BenchmarkCold(b *testing.B) {
	for _, shape := range registrytest.Shapes() {
		server := start(b, shape)
		p := push(b, newClient(b, server.Options()), server.Repository("acme/app"))
		b.Run(string(shape), func(b *testing.B) {
			b.ReportAllocs()
			server.Forget()
			for b.Loop() {
				cold(b, newClient(b, server.Options()), p)
			}
			b.ReportMetric(float64(len(server.Requests()))/float64(b.N), "requests/op")
		})
		if shape != registrytest.Referrers {
			continue
		}
		b.Run("bare requests", func(b *testing.B) {
			b.ReportAllocs()
			server.Forget()
			for b.Loop() {
				bare(b, server, p)
			}
			b.ReportMetric(float64(len(server.Requests()))/float64(b.N), "requests/op")
		})
	}
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
