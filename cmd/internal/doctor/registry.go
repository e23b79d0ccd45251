package doctor

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
)

func registries() Check {
	return Check{
		Name: "registry", About: "the registry of --registry answers, from here",
		Why:  "Signatures, scans and bundles are read from registries; while one does not answer, policies about its images deny.",
		look: lookAtRegistry,
	}
}

func lookAtRegistry(ctx context.Context, p *patient, r *Result) {
	if p.options.Registry == "" {
		r.ok("No registry was named: --registry HOST tries one, from here")
		return
	}
	// GET /v2/ says that it is one: 200, or 401 for those who have yet to log in (OCI distribution specification 1.1, end-1).
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+p.options.Registry+"/v2/", http.NoBody)
	if err != nil {
		r.unknown("give --registry HOST or HOST:PORT", "%q is no registry: %v", p.options.Registry, err)
		return
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		next := "curl --verbose https://" + p.options.Registry + "/v2/"
		var unknown *net.DNSError
		if errors.As(err, &unknown) {
			next = "nslookup " + strings.Split(p.options.Registry, ":")[0]
		}
		r.problem(next, "The registry %s does not answer here: %v", p.options.Registry, err)
		return
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusUnauthorized {
		r.problem("curl --verbose https://"+p.options.Registry+"/v2/", "%s does not answer as a registry: %s", p.options.Registry, response.Status)
		return
	}
	r.ok("The registry %s answers here (%s); whether it answers the webhook shows in its metric portcullis_evidence_faults_total", p.options.Registry, response.Status)
}
