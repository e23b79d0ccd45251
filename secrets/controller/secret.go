package controller

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/content"
	"github.com/portcullis-dev/portcullis/secrets/destination"
	"github.com/portcullis-dev/portcullis/secrets/engine"
	"github.com/portcullis-dev/portcullis/secrets/inquiry"
	"github.com/portcullis-dev/portcullis/secrets/restart"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Times of passes.
const (
	// statusEvery is how often at most a status says only that it was looked again, for what is refreshed more often than that.
	statusEvery = time.Minute
	// retireAfter is how long what was replaced stays good where nothing is restarted: kubelets take a new Secret to volumes in about a minute, and
	// a half more for their caches.
	retireAfter = 2 * time.Minute
	// collectEvery is how often it is looked whether old immutable Secrets are still used, and a restart that is stuck looked at again.
	collectEvery = time.Minute
)

// pass is one look at one VaultSecret.
type pass struct {
	c    *Controller
	m    *mind
	key  Key
	now  time.Time
	seen *v1alpha1.VaultSecret // as it was found: its status is what the new one is compared with
	// secret has the defaults, status is what will be written.
	secret *v1alpha1.VaultSecret
	status v1alpha1.VaultSecretStatus
	owner  destination.Owner

	place    secrets.SyncPlace
	specHash string
	conn     *v1alpha1.VaultConnection
	auth     *v1alpha1.VaultAuth
	sync     *secrets.Sync

	drifted, woken bool
	wanted         *demand
	rebundled      bool // other bundles than the last time
	wrote          bool
	// before are the hashes of keys that workloads had, present those of what is there now; nil where that was not read in this pass.
	before, present map[string]string
	soonest         time.Time // when something beside the refresh is to be looked at
}

// reconcileSecret brings a VaultSecret to where its spec wants it, and says when to look again. An error is a fault of our own or of the API server;
// what Vault or policies object to is in the status.
func (c *Controller) reconcileSecret(ctx context.Context, key Key) (next time.Time, class int, err error) {
	seen := c.secret(key)
	if seen == nil {
		c.forget(key)
		return time.Time{}, classRefresh, nil
	}
	p := c.newPass(key, seen)
	if seen.DeletionTimestamp != nil {
		next, err = p.delete(ctx)
		return next, classPeople, err
	}
	began := c.o.Clock.Now()
	failure := p.run(ctx)
	if ctx.Err() != nil {
		return time.Time{}, classRefresh, ctx.Err() // whoever leads next, or the next pass, says what is so
	}
	if errors.Is(failure, errMoved) {
		return time.Time{}, classRefresh, failure
	}
	p.roll(ctx)
	p.retire(ctx)
	next = p.conclude(failure)
	c.metrics.passed(p.place.Engine, secrets.ReasonOf(failure), c.o.Clock.Since(began), p.wrote || failure != nil)
	if err := c.writeSecretStatus(ctx, p.seen, p.status); err != nil {
		return time.Time{}, classRefresh, err
	}
	class = classRefresh
	if p.status.Lease != nil {
		class = classRenewal
	}
	return next, class, nil
}

func (c *Controller) newPass(key Key, seen *v1alpha1.VaultSecret) *pass {
	copied := *seen
	copied.Finalizers = slices.Clone(seen.Finalizers)
	p := &pass{c: c, m: c.mindOf(key, seen.UID), key: key, now: c.o.Clock.Now(), seen: &copied, secret: seen.Defaulted(), owner: ownerOf(seen)}
	p.status = copyStatus(&seen.Status)
	p.drifted, p.woken, p.wanted = c.flags(p.m)
	p.before = seen.Status.Keys
	if seen.Status.HashKey != c.o.Hasher.ID() {
		p.before = nil // hashes of another key say nothing
	}
	return p
}

// copyStatus shares nothing with a status that a pass changes.
func copyStatus(status *v1alpha1.VaultSecretStatus) v1alpha1.VaultSecretStatus {
	made := *status
	made.Conditions = slices.Clone(status.Conditions)
	made.Restarts = slices.Clone(status.Restarts)
	if status.Lease != nil {
		lease := *status.Lease
		made.Lease = &lease
	}
	if status.Destination != nil {
		written := *status.Destination
		written.Slots = slices.Clone(written.Slots)
		made.Destination = &written
	}
	return made
}

// run is the pass, step by step.
func (p *pass) run(ctx context.Context) error {
	if err := p.check(); err != nil {
		return err
	}
	p.mark()
	if err := p.refer(); err != nil {
		return err
	}
	// Before Vault is asked for anything.
	if err := p.ask(ctx, nil); err != nil {
		if secrets.ReasonOf(err) == secrets.Undecided && p.allowedBefore() {
			// What a policy could not decide is not read and not written; but the lease that it allowed is not lost for it.
			if failure := p.renewOnly(ctx); failure != nil {
				return failure
			}
		}
		return err
	}
	if p.secret.Spec.Suspend {
		return p.renewOnly(ctx)
	}
	if err := p.hold(ctx); err != nil {
		return err
	}
	if err := p.look(ctx); err != nil {
		return err
	}
	result, err := p.obtain(ctx)
	if err != nil {
		return p.gone(ctx, err)
	}
	if result == nil {
		return nil // nothing is due, or a lease was renewed: Vault and the destination agree
	}
	defer result.Data.Clear()
	return p.deliver(ctx, result)
}

// check is what can be said of the object alone.
func (p *pass) check() error {
	var err error
	if p.place, err = engine.Place(&p.secret.Spec.Source); err != nil {
		return err
	}
	if err := content.Check(&p.secret.Spec.Destination); err != nil {
		return err
	}
	p.specHash, err = p.hashSpec()
	return err
}

// hashSpec is the keyed hash of what decides about the content: who asks, for what, and what is made of it.
func (p *pass) hashSpec() (string, error) {
	raw, err := json.Marshal(struct {
		Auth        string
		Source      v1alpha1.Source
		Destination v1alpha1.Destination
	}{p.secret.Spec.Auth, p.secret.Spec.Source, p.secret.Spec.Destination})
	if err != nil {
		return "", &secrets.Error{Reason: secrets.Misconfigured, Doing: "reading the spec", Message: "it does not encode"}
	}
	return p.c.o.Hasher.Texts("spec", string(raw)), nil
}

func (p *pass) refer() (err error) {
	if p.conn, p.auth, err = p.c.references(p.secret.Namespace, p.secret.Spec.Auth); err != nil {
		return err
	}
	p.sync, err = inquiry.NewSync(p.conn, p.auth, p.secret)
	return err
}

// ask asks policies: with nil before Vault is, and then with what is known of what was read.
func (p *pass) ask(ctx context.Context, result *secrets.SyncResult) error {
	question := *p.sync
	question.Secret = result
	answer, err := p.c.judge(ctx, &question, p.secret)
	if err != nil {
		return &secrets.Error{Reason: secrets.Undecided, Message: "the object does not encode for policies"}
	}
	p.rebundled = p.rebundled || !slices.Equal(p.seen.Status.Bundles, answer.Bundles)
	p.status.Policies, p.status.Bundles = answer.Statements, answer.Bundles
	if answer.Admitted {
		setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionAllowed, "True", "Permitted", "policies allow it")
		return nil
	}
	state := "False"
	if answer.Reason == secrets.Undecided && p.allowedBefore() {
		state = "Unknown" // it was allowed when it could be decided last
	}
	if setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionAllowed, state, string(answer.Reason), answer.Message) {
		p.c.event(KindSecret, &p.seen.ObjectMeta, "Warning", string(answer.Reason), answer.Message)
	}
	return &secrets.Error{Reason: answer.Reason, Message: answer.Message}
}

// allowedBefore says that policies allowed this state of the spec when they could decide last.
func (p *pass) allowedBefore() bool {
	known := condition(p.seen.Status.Conditions, v1alpha1.ConditionAllowed)
	return known != nil && known.Status != metav1.ConditionFalse && known.ObservedGeneration == p.seen.Generation
}

// hold has the object stay, when it is deleted, until what was issued for it is revoked, or what was taken over is given back.
func (p *pass) hold(ctx context.Context) error {
	if !p.issues() && p.secret.Spec.Deletion.WhenDeleted != v1alpha1.Retain && !p.secret.Spec.Destination.Adopt && p.status.Lease == nil {
		return nil // the garbage collector deletes the Secret with its owner
	}
	return p.c.setFinalizer(ctx, KindSecret, &p.seen.ObjectMeta, true)
}

// issues says that each read makes something new in Vault.
func (p *pass) issues() bool {
	switch p.place.Engine {
	case secrets.EngineDynamic, secrets.EnginePKI, secrets.EngineAppRole:
		return true
	}
	return false
}

// look compares the destination with what was written: once in a term, when the watcher says so, and with each refresh.
func (p *pass) look(ctx context.Context) error {
	written := p.status.Destination
	if written == nil || written.UID == "" || p.status.HashKey != p.c.o.Hasher.ID() || p.m.looked && !p.drifted && !p.timely() {
		return nil
	}
	drifted, err := p.c.o.Writer.Drifted(ctx, p.owner, written, p.status.Hash)
	if err != nil {
		return err
	}
	p.m.looked, p.drifted = true, drifted
	return nil
}

// timely says that the time of the next refresh has come.
func (p *pass) timely() bool {
	return !p.secret.Spec.Refresh.Once && (p.seen.Status.NextSync == nil || !p.seen.Status.NextSync.After(p.now))
}

// due says whether anything asks for a new read of what does not end by itself.
func (p *pass) due() bool {
	seen := &p.seen.Status
	return seen.LastSync == nil || seen.Destination == nil || seen.ObservedGeneration != p.seen.Generation || p.asked() || p.timely() || p.drifted || p.woken || p.rebundled ||
		!isTrue(seen.Conditions, v1alpha1.ConditionSynced) || seen.HashKey != p.c.o.Hasher.ID()
}

// asked says that somebody asks for a sync now.
func (p *pass) asked() bool {
	text := p.seen.Annotations[v1alpha1.SyncAnnotation]
	return text != "" && text != p.seen.Status.Requested
}

// obtain is what is to be written, nil where what is there is good.
func (p *pass) obtain(ctx context.Context) (*engine.Result, error) {
	if p.issues() {
		return p.obtainIssued(ctx)
	}
	if !p.due() {
		return nil, nil
	}
	session, err := p.c.session(ctx, p.conn, p.auth)
	if err != nil {
		return nil, err
	}
	result, err := p.read(ctx, session)
	if err == nil {
		p.c.succeeded(p.conn.Name)
	}
	return result, err
}

func (p *pass) read(ctx context.Context, session Session) (*engine.Result, error) {
	var caller engine.Caller = session
	if p.asked() {
		caller = alone{session}
	}
	return engine.Read(ctx, caller, &p.secret.Spec.Source, engine.Options{Clock: p.c.o.Clock, Mounts: p.c.mountsOf(p.conn.Name)})
}

// alone shares no answer with others: who asks for a sync now has just changed the secret, and an answer of a moment ago is an old one.
type alone struct{ engine.Caller }

func (a alone) Do(ctx context.Context, call secrets.Call) (*secrets.Reply, error) {
	call.Shared = false
	return a.Caller.Do(ctx, call)
}

// deliver takes what was read to where it belongs. What was issued for it and cannot be delivered is given back.
func (p *pass) deliver(ctx context.Context, result *engine.Result) error {
	// Once more, now that its age, its keys and its lifetime are known.
	if err := p.ask(ctx, &result.Metadata); err != nil {
		p.giveBack(ctx, result)
		return err
	}
	source := p.specHash + "." + p.c.o.Hasher.Data(result.Data)
	if source == p.seen.Status.Source && !p.drifted && p.status.Destination != nil && p.status.HashKey == p.c.o.Hasher.ID() {
		p.delivered(result, source)
		return nil // it is what was written last
	}
	made, err := content.Make(ctx, result.Data, &p.secret.Spec.Destination)
	if err != nil {
		p.giveBack(ctx, result)
		return err
	}
	defer made.Clear()
	prior := p.seen.Status.Destination
	written, outcome, err := p.c.o.Writer.Write(ctx, p.owner, p.secret, made, prior)
	if err != nil {
		if secrets.ReasonOf(err) != secrets.ClusterFailed { // then nothing was overwritten; else who knows
			p.giveBack(ctx, result)
		}
		return err
	}
	p.status.Destination = &written
	p.status.Hash, p.status.HashKey = p.c.o.Hasher.Data(made), p.c.o.Hasher.ID()
	p.present = map[string]string{}
	for key, value := range made {
		p.present[key] = p.c.o.Hasher.Value(key, value)
	}
	if outcome.Created || outcome.Changed || outcome.Repaired {
		p.wrote = true
		p.c.metrics.wrote(p.place.Engine)
		reason, message := "Written", "the "+written.Kind+" "+written.Name+" holds what Vault gives"
		if outcome.Repaired && !outcome.Created {
			reason, message = "Repaired", "somebody else had changed the "+written.Kind+" "+written.Name+"; it holds again what Vault gives"
		}
		p.c.event(KindSecret, &p.seen.ObjectMeta, "Normal", reason, message)
	}
	if prior != nil && prior.Name != "" && (prior.Kind != written.Kind || prior.Name != written.Name && !p.secret.Spec.Destination.Immutable) {
		// The destination has another name: what it was before is not ours any more.
		if err := p.c.o.Writer.Delete(ctx, p.owner, prior, false); err != nil {
			p.c.log.Error("deleting the Secret of before", "object", p.key.String(), "secret", prior.Name, "error", err)
		}
	}
	if prior != nil && prior.Name != written.Name {
		p.c.unfollow(p.seen)
	}
	p.c.watcher.FollowFrom(p.owner, written.Kind, written.Name, written.ResourceVersion)
	p.delivered(result, source)
	return nil
}

// delivered notes what is there now.
func (p *pass) delivered(result *engine.Result, source string) {
	changed := p.seen.Status.Source != source
	p.status.Source, p.status.Version, p.status.Created = source, result.Version, at(result.Created)
	// What was asked to be given back is given back once others were issued, though an engine may give the same values again.
	if changed || p.wanted != nil && p.issues() {
		p.rotated()
	}
	if result.Lease != nil {
		p.adopt(result)
	} else {
		p.status.Lease = nil
	}
	p.status.LastSync = at(p.now)
	p.status.ObservedGeneration = p.seen.Generation
	p.status.Requested = p.seen.Annotations[v1alpha1.SyncAnnotation]
	p.c.flag(p.key, func(m *mind) { m.drifted, m.due = false, false })
	p.m.looked = true
}

// gone deletes the destination where Vault says that the secret is not there, if the spec says so. Any other failure keeps the last good value.
func (p *pass) gone(ctx context.Context, failure error) error {
	written := p.status.Destination
	if secrets.ReasonOf(failure) != secrets.NotFound || p.secret.Spec.Deletion.WhenGone != v1alpha1.Delete || written == nil || p.issues() {
		return failure
	}
	if err := p.c.o.Writer.Delete(ctx, p.owner, written, false); err != nil {
		return err
	}
	p.c.unfollow(p.seen)
	p.c.event(KindSecret, &p.seen.ObjectMeta, "Warning", "Deleted", "Vault says that the secret is not there: the "+written.Kind+" "+written.Name+" was deleted, as deletion.whenGone asks")
	p.status.Destination, p.status.Hash, p.status.Keys, p.status.Source, p.status.Version, p.status.Created, p.status.Restarts = nil, "", nil, "", "", nil, nil
	p.before = nil
	return failure
}

// roll restarts the workloads that use a key that has changed, one a pass, and takes away Secrets that nobody uses any more. Until all have the
// newest, status.keys are the hashes of what they had: so whoever leads next goes on, and begins nothing anew.
func (p *pass) roll(ctx context.Context) {
	written := p.status.Destination
	if written == nil || written.Name == "" {
		return
	}
	if p.present == nil && p.rolling() {
		if p.present = p.hashesHeld(ctx, written); p.present == nil {
			p.soon(collectEvery / 4)
			return // it was changed meanwhile, which is repaired first
		}
	}
	if p.present != nil {
		p.restart(ctx, written)
	}
	p.collect(ctx, written)
}

// hashesHeld are the hashes of what the Secret holds, if that is what was written: restarts go on that another process began.
func (p *pass) hashesHeld(ctx context.Context, written *v1alpha1.DestinationStatus) map[string]string {
	if written.Kind != v1alpha1.KindSecret || p.status.HashKey != p.c.o.Hasher.ID() {
		return nil
	}
	found, err := p.c.o.Kubernetes.CoreV1().Secrets(p.seen.Namespace).Get(ctx, written.Name, metav1.GetOptions{})
	if err != nil || string(found.UID) != written.UID {
		return nil
	}
	held, hashes := secrets.Data{}, map[string]string{}
	defer held.Clear()
	for key, raw := range found.Data {
		held[key] = secrets.NewValue(raw)
		hashes[key] = p.c.o.Hasher.Value(key, held[key])
	}
	if p.c.o.Hasher.Data(held) != p.status.Hash {
		return nil
	}
	return hashes
}

// rolling says that workloads are being restarted.
func (p *pass) rolling() bool {
	return slices.ContainsFunc(p.status.Restarts, func(one v1alpha1.RestartStatus) bool {
		return one.State != restart.Restarted && one.State != restart.Unneeded
	})
}

func (p *pass) restart(ctx context.Context, written *v1alpha1.DestinationStatus) {
	if maps.Equal(p.before, p.present) && !p.rolling() {
		p.status.Keys = p.present
		return
	}
	rotation := &p.secret.Spec.Rotation
	states, again, err := p.c.o.Restarter.Step(ctx, p.secret.Namespace, rotation, restart.Used{Name: written.Name, Earlier: written.Slots, Keys: p.present, Before: p.before}, p.status.Restarts)
	p.countRestarts(states)
	p.status.Restarts = states
	switch {
	case err != nil:
		p.c.log.Error("restarting workloads: it is tried again", "object", p.key.String(), "error", err)
		setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionRestarted, "False", reasonWord(secrets.ReasonOf(err)), messageOf(err))
		p.soon(max(again, 3*time.Second))
		if p.before == nil {
			p.status.Keys = p.present
		}
	case p.rolling():
		stuck := slices.IndexFunc(states, func(one v1alpha1.RestartStatus) bool { return one.State == restart.Stuck })
		reason, message := "Restarting", "workloads that use it are restarted, one after the other: see status.restarts"
		if stuck >= 0 {
			reason, message = "Stuck", states[stuck].Kind+" "+states[stuck].Name+": "+states[stuck].Message
			again = max(again, collectEvery/4)
		}
		if setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionRestarted, "False", reason, message) && stuck >= 0 {
			p.c.event(KindSecret, &p.seen.ObjectMeta, "Warning", reason, message)
		}
		p.soon(max(again, time.Second))
	default:
		p.status.Keys = p.present
		if rotation.Restart != v1alpha1.RestartNone && p.before != nil {
			if setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionRestarted, "True", "UpToDate", "all workloads that use it have the newest") {
				p.c.event(KindSecret, &p.seen.ObjectMeta, "Normal", "Restarted", "all workloads that use it have the newest")
			}
		}
	}
}

// countRestarts counts those that began in this pass.
func (p *pass) countRestarts(states []v1alpha1.RestartStatus) {
	for _, state := range states {
		known := slices.ContainsFunc(p.status.Restarts, func(one v1alpha1.RestartStatus) bool {
			return one.Kind == state.Kind && one.Name == state.Name && one.Hash == state.Hash && (one.State == restart.Restarting || one.State == restart.Restarted || one.State == restart.Stuck)
		})
		if state.State == restart.Restarting && !known {
			p.c.metrics.restarted()
		}
	}
}

// collect takes old immutable Secrets away.
func (p *pass) collect(ctx context.Context, written *v1alpha1.DestinationStatus) {
	if len(written.Slots) == 0 || p.rolling() {
		return
	}
	left, err := p.c.o.Writer.Collect(ctx, p.owner, written, func(name string) (bool, error) { return p.c.o.Restarter.Uses(ctx, p.secret.Namespace, name) })
	if err != nil {
		p.c.log.Error("taking old immutable Secrets away: it is tried again", "object", p.key.String(), "error", err)
	} else {
		written.Slots = left
	}
	if len(written.Slots) > 0 {
		p.soon(collectEvery)
	}
}

// soon asks for another look.
func (p *pass) soon(after time.Duration) { p.by(p.now.Add(after)) }

func (p *pass) by(at time.Time) {
	if p.soonest.IsZero() || at.Before(p.soonest) {
		p.soonest = at
	}
}

// conclude says how it went, and when to look again.
func (p *pass) conclude(failure error) time.Time {
	if failure != nil {
		return p.concludeFailure(failure)
	}
	p.m.failures, p.status.Failures = 0, 0
	p.status.ObservedGeneration = p.seen.Generation
	if p.secret.Spec.Suspend {
		setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionSynced, "Unknown", "Suspended", "spec.suspend: nothing is done but renewing leases")
		return p.earliest(p.leaseAt())
	}
	if setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionSynced, "True", "Synced", "the destination holds what Vault gives") {
		p.c.event(KindSecret, &p.seen.ObjectMeta, "Normal", "Synced", "the destination holds what Vault gives")
	}
	next := p.leaseAt()
	if next.IsZero() && !p.secret.Spec.Refresh.Once {
		next = p.refreshAt()
	}
	p.status.NextSync = at(next)
	p.keepQuiet()
	return p.earliest(next)
}

// refreshAt is when what does not end is read again.
func (p *pass) refreshAt() time.Time {
	if p.status.LastSync != nil && p.seen.Status.LastSync != nil && p.status.LastSync.Equal(p.seen.Status.LastSync) && p.seen.Status.NextSync != nil && p.seen.Status.NextSync.After(p.now) {
		return p.seen.Status.NextSync.Time // nothing was read: the time stands
	}
	return secrets.RefreshAt(p.now, intervalOf(p.secret), string(p.seen.UID))
}

// keepQuiet leaves the status as it is where only the times have changed, and those not by much: what is refreshed every ten seconds would
// be written every ten seconds.
func (p *pass) keepQuiet() {
	seen := &p.seen.Status
	if seen.LastSync == nil || p.status.LastSync == nil || p.status.LastSync.Sub(seen.LastSync.Time) >= statusEvery {
		return
	}
	quiet := p.status
	quiet.LastSync, quiet.NextSync = seen.LastSync, seen.NextSync
	if sameStatus(quiet, *seen) {
		p.status = *seen
	}
}

func (p *pass) concludeFailure(failure error) time.Time {
	reason := secrets.ReasonOf(failure)
	message := messageOf(failure)
	p.m.failures = max(p.m.failures, p.seen.Status.Failures) + 1
	changed := setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionSynced, "False", reasonWord(reason), message)
	if changed && reason != secrets.Denied && reason != secrets.Undecided { // of those there is one already
		p.c.event(KindSecret, &p.seen.ObjectMeta, "Warning", reasonWord(reason), message)
	}
	if reason == secrets.Misconfigured || reason == secrets.Denied {
		p.status.ObservedGeneration = p.seen.Generation
	}
	connection := ""
	if p.conn != nil {
		connection = p.conn.Name
	}
	class := classRefresh
	if p.status.Lease != nil {
		class = classRenewal
	}
	p.c.failedAs(p.key, connection, class, failure)
	if !reason.Outage() || changed {
		p.status.Failures = p.m.failures // in an outage each try would be a write of each status
	}
	if !reason.Retries() {
		p.status.NextSync = nil
		return p.earliest(time.Time{})
	}
	var after time.Duration
	if failed := (*secrets.Error)(nil); errors.As(failure, &failed) {
		after = failed.After
	}
	wait := secrets.Backoff(p.m.failures, reason, after, string(p.seen.UID))
	if lease := p.lease(); lease != nil && reason != secrets.Denied {
		// A lease that can still be saved is tried more often, the nearer its end is.
		if left := lease.Expires.Sub(p.now); left > 0 {
			wait = min(wait, max(left/4, 200*time.Millisecond))
		}
	}
	next := p.now.Add(wait)
	if !reason.Outage() || changed {
		p.status.NextSync = at(next)
	}
	return p.earliest(next)
}

// earliest is a time, or sooner if something else is to be looked at before.
func (p *pass) earliest(next time.Time) time.Time {
	if p.soonest.IsZero() || !next.IsZero() && next.Before(p.soonest) {
		return next
	}
	return p.soonest
}

// statusTime is a time of a status, zero for none.
func statusTime(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}
