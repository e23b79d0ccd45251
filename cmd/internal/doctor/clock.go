package doctor

import (
	"context"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
)

func clock() Check {
	return Check{
		Name: "clock", About: "the clocks of the API server, of this machine and of the replicas agree",
		Why:  "Certificates, leases, exceptions and the age of scans go by the clock: one that is wrong ends them early, or never.",
		look: lookAtClock,
	}
}

// Differences of clocks.
const (
	skewNoted  = 5 * time.Second
	skewBroken = time.Minute
)

func lookAtClock(ctx context.Context, p *patient, r *Result) {
	asked := p.Now()
	theirs, err := p.serverTime(ctx)
	answered := p.Now()
	if err != nil {
		r.unknown("date --utc; kubectl get --raw /version --v=8 2>&1 | grep -i date", "The API server's time could not be read: %v", err)
		return
	}
	// The header has whole seconds, cut off: the middle of both bounds is compared (RFC 9110, 6.6.1).
	middle := asked.Add(answered.Sub(asked) / 2)
	here := middle.Sub(theirs.Add(time.Second / 2))
	uncertain := answered.Sub(asked)/2 + time.Second/2
	judge(r, "date --utc # here, then see that both have NTP", "the clock of this machine", here, uncertain)
	// A heartbeat is the newest proof of a replica's clock; one that is old says nothing.
	replicas, err := p.replicas(ctx)
	if err != nil {
		return
	}
	for n := range replicas {
		beat := replicas[n].Status.Heartbeat.Time
		if ahead := beat.Sub(theirs); ahead > 0 {
			judge(r, "kubectl get pod "+replicas[n].Labels["policy.portcullis.dev/pod"]+" --namespace "+p.Namespace+" --output wide # then see to NTP on its node", "the clock of the replica "+replicas[n].Name, ahead, 2*time.Second)
		}
	}
	leases, err := p.Client.CoordinationV1().Leases(p.Namespace).List(ctx, listOptions)
	if err != nil {
		return
	}
	for n := range leases.Items {
		if at := leases.Items[n].Spec.RenewTime; at != nil {
			if ahead := at.Sub(theirs); ahead > 0 {
				judge(r, "kubectl --namespace "+p.Namespace+" get lease "+leases.Items[n].Name+" --output yaml # then see to NTP on its holder's node", "the clock of who holds the Lease "+leases.Items[n].Name, ahead, 2*time.Second)
			}
		}
	}
}

// judge says how far a clock is ahead of the API server's.
func judge(r *Result, next, whose string, ahead, uncertain time.Duration) {
	off := max(ahead.Abs()-uncertain, 0)
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	switch {
	case off >= skewBroken:
		r.problem(next, "%s is %s %s that of the API server", capital(whose), ahead.Abs().Round(time.Second), direction)
	case off >= skewNoted:
		r.warn(next, "%s is %s %s that of the API server", capital(whose), ahead.Abs().Round(time.Second), direction)
	default:
		r.ok("%s agrees with that of the API server within %s", capital(whose), (off + uncertain).Round(100*time.Millisecond))
	}
}

// serverTime is the Date header of an answer.
func (p *patient) serverTime(ctx context.Context) (time.Time, error) {
	client, err := rest.HTTPClientFor(p.Config)
	if err != nil {
		return time.Time{}, err
	}
	base, _, err := rest.DefaultServerUrlFor(p.Config)
	if err != nil {
		return time.Time{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("version").String(), http.NoBody)
	if err != nil {
		return time.Time{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return time.Time{}, err
	}
	response.Body.Close()
	return http.ParseTime(response.Header.Get("Date"))
}
