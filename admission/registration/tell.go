package registration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// reporter is how Events name who reports.
const reporter = "policy.portcullis.dev/registration"

// retell is how long the same is not told again.
const retell = 10 * time.Minute

// maxNote is the limit of events.k8s.io/v1.
const maxNote = 1024

// Reasons of Events.
const (
	reasonRegistered   = "Registered"
	reasonWaiting      = "RegistrationWaiting"
	reasonHealed       = "RegistrationHealed"
	reasonUnregistered = "Unregistered"
	reasonCertificate  = "CertificateRenewed"
	reasonOpened       = "BreakGlassOpened"
	reasonClosed       = "BreakGlassClosed"
	reasonIgnored      = "BreakGlassIgnored"
	reasonFailed       = "RegistrationFailed"
)

// tellings are what was said, by its text, and when. It is bounded by being emptied.
type tellings map[string]time.Time

// fresh says whether something is to be said: it was not lately.
func (t *tellings) fresh(text string, now time.Time) bool {
	const most = 256
	if *t == nil || len(*t) > most {
		*t = tellings{}
	}
	if last, ok := (*t)[text]; ok && now.Sub(last) < retell && !now.Before(last) {
		return false
	}
	(*t)[text] = now
	return true
}

// tell logs, and makes an Event about the Service of the webhook. The same is told once in a while.
func (r *Registration) tell(ctx context.Context, kind, reason, action, note string) {
	if !r.told.fresh(reason+note, r.options.Now()) {
		return
	}
	if kind == corev1.EventTypeWarning {
		r.log.Warn(note, "reason", reason)
	} else {
		r.log.Info(note, "reason", reason)
	}
	r.event(ctx, corev1.ObjectReference{
		APIVersion: "v1", Kind: "Service", Namespace: r.options.Service.Namespace, Name: r.options.Service.Name,
	}, kind, reason, action, note)
}

// tellGlass is told once for each opening and its end: in the log, the journal, and as an Event about the BreakGlass if there is one.
func (r *Registration) tellGlass(ctx context.Context, reason, action, note string, o Opening) {
	r.log.Warn(note, "reason", reason, "name", o.Name, "by", o.By, "why", o.Reason, "since", o.Since, "until", o.Until)
	if r.options.Journal != nil {
		r.options.Journal.Registration(ctx, strings.ToLower(reason[:1])+reason[1:], note)
	}
	about := corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "BreakGlass", Name: o.Name}
	if o.Name == AnnotationOpening {
		about = corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: r.options.Service.Namespace, Name: r.options.Service.Name}
	}
	r.event(ctx, about, corev1.EventTypeWarning, reason, action, note)
}

// event makes one. Nothing depends on it: what cannot be told is in the log and in metrics.
func (r *Registration) event(ctx context.Context, about corev1.ObjectReference, kind, reason, action, note string) {
	now := r.options.Now()
	namespace := about.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	if len(note) > maxNote {
		note = strings.ToValidUTF8(note[:maxNote-len("…")], "") + "…"
	}
	sum := sha256.Sum256([]byte(about.Kind + reason + note + now.UTC().Format(time.RFC3339)))
	const longest = 200 // of a name, with the hash behind it
	name := strings.Trim(about.Name[:min(len(about.Name), longest)], "().-")
	_, err := r.kube.EventsV1().Events(namespace).Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name + "." + hex.EncodeToString(sum[:8])},
		EventTime:  metav1.NewMicroTime(now), Regarding: about, Type: kind, Reason: reason, Action: action, Note: note,
		ReportingController: reporter, ReportingInstance: r.identity(),
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		r.log.Debug("an Event could not be made", "reason", reason, "error", err)
	}
}

func (r *Registration) identity() string {
	if r.options.Identity == "" {
		return ManagedBy
	}
	return r.options.Identity[:min(len(r.options.Identity), 128)]
}

// damper slows down a fight: where others change back what was healed, again and again, each is answered at the next look
// without being told, not at once.
type damper struct{ healed []time.Time }

// A fight is more than fightCount repairs within fightTime.
const (
	fightCount = 6
	fightTime  = time.Minute
)

func (d *damper) fighting(now time.Time) bool {
	kept := d.healed[:0]
	for _, at := range d.healed {
		if age := now.Sub(at); age >= 0 && age < fightTime {
			kept = append(kept, at)
		}
	}
	d.healed = kept
	return len(kept) >= fightCount
}

func (d *damper) heal(now time.Time) { d.healed = append(d.healed, now) }
