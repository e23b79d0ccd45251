package chart

import (
	"maps"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestValuesThatCannotWorkAreRefusedInWords(t *testing.T) {
	for name, test := range map[string]struct {
		values, namespace string
		want              []string
	}{
		"a misspelt value":                       {values: "webhook: {replicsa: 3}", want: []string{"/webhook", "replicsa"}},
		"a misspelt group":                       {values: "webhoook: {enabled: true}", want: []string{"webhoook"}},
		"a number that is a text":                {values: `webhook: {replicas: "two"}`, want: []string{"/webhook/replicas", "integer"}},
		"no replicas":                            {values: "webhook: {replicas: 0}", want: []string{"/webhook/replicas", "1"}},
		"a mode that there is not":               {values: "webhook: {caller: mtls}", want: []string{"/webhook/caller", "secret-path"}},
		"a digest that is none":                  {values: "images: {digests: {webhook: latest}}", want: []string{"/images/digests/webhook", "sha256"}},
		"a quantity without unit of memory":      {values: "webhook: {resources: {limits: {memory: lots}}}", want: []string{`"lots"`, "512Mi"}},
		"another namespace by the library":       {values: "bundle: {source: library}", namespace: "security", want: []string{"install into portcullis-system, or set bundle.source to chart"}},
		"an artifact that nobody signed":         {values: "bundle: {source: oci}", want: []string{"bundle.reference", "bundle.verification"}},
		"bundles that nobody rolls out":          {values: "bundle: {source: cluster}\ncontroller: {enabled: false}\nwebhook: {certificate: {from: secret, secretName: tls}}", want: []string{"nobody rolls bundles out"}},
		"signatures of nobody":                   {values: "imagePolicy: {enabled: true}", want: []string{"nobody is trusted", "imagePolicy.publicKey"}},
		"identities without a trusted root":      {values: "imagePolicy: {enabled: true, identity: {issuer: a, subject: b}}", want: []string{"registries.trustedRootSecret"}},
		"signatures out of reach":                {values: "imagePolicy: {enabled: true, publicKey: x}", want: []string{"networkPolicy.registries"}},
		"signatures by another bundle":           {values: "imagePolicy: {enabled: true, publicKey: x}\nbundle: {source: cluster}", want: []string{"the chart's own bundle"}},
		"client certificates of nobody":          {values: "webhook: {caller: certificate}", want: []string{"webhook.clientCAConfigMap"}},
		"a secret path without a secret":         {values: `webhook: {secretPathSecret: ""}`, want: []string{"webhook.secretPathSecret"}},
		"a certificate without a Secret":         {values: "webhook: {certificate: {from: secret}}", want: []string{"webhook.certificate.secretName"}},
		"a certificate that nobody makes":        {values: "controller: {enabled: false}", want: []string{"webhook.certificate.from is controller, which is off"}},
		"cert-manager that is off":               {values: "webhook: {certificate: {from: cert-manager}}", want: []string{"certManager.enabled"}},
		"cert-manager without issuer":            {values: "certManager: {enabled: true}", want: []string{"certManager.issuerName"}},
		"scans that nobody does":                 {values: "webhook: {queueScans: true}", want: []string{"scanner.enabled"}},
		"a scanner without key":                  {values: "scanner: {enabled: true}", want: []string{"scanner.keySecret"}},
		"a scanner that reaches nothing":         {values: "scanner: {enabled: true, keySecret: k}", want: []string{"networkPolicy.registries"}},
		"a scanner whose child is larger":        {values: "scanner: {enabled: true, keySecret: k, resources: {limits: {memory: 2Gi}}}\nnetworkPolicy: {registries: [{cidr: 203.0.113.0/24}]}", want: []string{"scanner.childMemory (2048 MiB)"}},
		"an issuer that is out of reach":         {values: "console: {enabled: true, oidc: {issuer: 'https://i', clientID: c, redirect: 'https://c/login/oidc/callback'}}\nwebhook: {decisions: true}", want: []string{"console.oidc.networks", "console.oidc.pods"}},
		"a responder that believes nobody":       {values: "responder: {enabled: true}", want: []string{"responder.clientCAConfigMap"}},
		"a responder without secret path":        {values: "responder: {enabled: true, caller: secret-path}", want: []string{"responder.secretPathSecret"}},
		"credential programs from nowhere":       {values: "registries: {credentialProviders: {configMap: c}}", want: []string{"both configMap", "image"}},
		"no digests where they are demanded":     {values: "images: {requireDigests: true}", want: []string{"images.digests.webhook is empty"}},
		"an API server that nothing reaches":     {values: "networkPolicy: {apiServer: []}", want: []string{"networkPolicy.apiServer is empty"}},
		"nothing at all":                         {values: "webhook: {enabled: false}\ncontroller: {enabled: false}", want: []string{"no component is enabled"}},
		"a flag that is no list":                 {values: "webhook: {extraArgs: --a}", want: []string{"/webhook/extraArgs", "array"}},
		"a seccomp profile from nowhere":         {values: "scanner: {seccompProfile: Unconfined}", want: []string{"/scanner/seccompProfile"}},
		"a share of journal lines that is above": {values: "webhook: {journal: {allows: 2}}", want: []string{"/webhook/journal/allows"}},
	} {
		t.Run(name, func(t *testing.T) {
			var values map[string]any
			if err := yaml.Unmarshal([]byte(test.values), &values); err != nil {
				t.Fatal(err)
			}
			_, err := Render(Options{Values: maps.Clone(values), Namespace: test.namespace})
			if err == nil {
				t.Fatal("got no error")
			}
			t.Log(err)
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v\nwant %q in it", err, want)
				}
			}
		})
	}
}
