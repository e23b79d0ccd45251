package registry_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// Four mebibytes of the shortest elements would be hundreds in memory.
func TestSmallAnswersDoNotBecomeLarge(t *testing.T) {
	many := strings.Repeat("{},", 1_300_000) + "{}"
	var notes strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&notes, `"%x":"",`, i)
	}
	for name, body := range map[string]string{
		"descriptors": `{"schemaVersion":2,"manifests":[` + many + `]}`,
		"layers":      `{"schemaVersion":2,"layers":[` + many + `]}`,
		"annotations": `{"schemaVersion":2,"manifests":[],"annotations":{` + notes.String() + `"z":""}}`,
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, registrytest.Fallback)
			client := newClient(t, server.Options())
			p := push(t, client, server.Repository("acme/app"))
			server.Inject(registrytest.On("/manifests/", registrytest.Content(manifestType, []byte(body))))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := client.Referrers(t.Context(), p.repository, p.image.Digest)
			wantKind(t, err, map[string]registry.Kind{"descriptors": registry.Malformed, "layers": registry.Malformed, "annotations": registry.Malformed}[name])
			_, err = client.Image(t.Context(), p.repository, registry.DigestOf([]byte(body)))
			wantKind(t, err, map[string]registry.Kind{"descriptors": registry.Malformed, "layers": registry.TooMany, "annotations": registry.Malformed}[name])
			runtime.ReadMemStats(&after)
			if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 100 {
				t.Errorf("allocated %d MiB", got)
			}
		})
	}
}
