package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/engine"
	"github.com/portcullis-dev/portcullis/secrets/inquiry"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// pushPass is one look at one VaultPush.
type pushPass struct {
	c    *Controller
	m    *mind
	key  Key
	now  time.Time
	seen *v1alpha1.VaultPush // as it was found, with the status that was written last
	push *v1alpha1.VaultPush // with its defaults
	// status is what will be written.
	status v1alpha1.VaultPushStatus

	place secrets.SyncPlace
	conn  *v1alpha1.VaultConnection
	auth  *v1alpha1.VaultAuth
}

// reconcilePush has Vault hold what a VaultPush says, and says when to look again. An error is a fault of our own or of the API server; what Vault or
// policies object to is in the status.
//
// What is generated is kept nowhere but in Vault, and read back from there. status.hash says where and what was written last, or was about to be:
// it is written before Vault is, so that a process that ends in between leaves a secret that the next one knows to be its own.
func (c *Controller) reconcilePush(ctx context.Context, key Key) (next time.Time, err error) {
	seen := c.push(key)
	if seen == nil {
		c.forget(key)
		return time.Time{}, nil
	}
	copied := *seen
	copied.Finalizers = slices.Clone(seen.Finalizers)
	p := &pushPass{c: c, m: c.mindOf(key, seen.UID), key: key, now: c.o.Clock.Now(), seen: &copied, push: seen.Defaulted(), status: seen.Status}
	p.status.Conditions = slices.Clone(seen.Status.Conditions)
	if seen.DeletionTimestamp != nil {
		return p.delete(ctx)
	}
	failure := p.run(ctx)
	if ctx.Err() != nil {
		return time.Time{}, ctx.Err() // whoever leads next, or the next pass, says what is so
	}
	if errors.Is(failure, errMoved) {
		return time.Time{}, failure
	}
	next = p.conclude(failure)
	return next, c.writePushStatus(ctx, p.seen, p.status)
}

// run is the pass, step by step.
func (p *pushPass) run(ctx context.Context) (err error) {
	if p.place, err = engine.PushPlace(&p.push.Spec.Destination); err != nil {
		return err
	}
	if p.conn, p.auth, err = p.c.references(p.push.Namespace, p.push.Spec.Auth); err != nil {
		return err
	}
	if err := p.ask(ctx); err != nil {
		return err
	}
	if err := p.c.setFinalizer(ctx, KindPush, &p.seen.ObjectMeta, p.push.Spec.WhenDeleted == v1alpha1.Delete); err != nil {
		return err
	}
	if p.push.Spec.Refresh.Once && p.settled() && !p.rotates() {
		return nil
	}
	session, err := p.c.session(ctx, p.conn, p.auth)
	if err != nil {
		return err
	}
	if err := p.deliver(ctx, session); err != nil {
		return err
	}
	p.c.succeeded(p.conn.Name)
	return nil
}

// ask asks policies, before Vault is asked for anything and before a Secret is read.
func (p *pushPass) ask(ctx context.Context) error {
	question, err := inquiry.NewPushSync(p.conn, p.auth, p.push)
	if err != nil {
		return err
	}
	answer, err := p.c.judge(ctx, question, p.push)
	if err != nil {
		return &secrets.Error{Reason: secrets.Undecided, Message: "the object does not encode for policies"}
	}
	p.status.Policies, p.status.Bundles = answer.Statements, answer.Bundles
	if answer.Admitted {
		setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionAllowed, "True", "Permitted", "policies allow it")
		return nil
	}
	if setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionAllowed, "False", string(answer.Reason), answer.Message) {
		p.c.event(KindPush, &p.seen.ObjectMeta, "Warning", string(answer.Reason), answer.Message)
	}
	return &secrets.Error{Reason: answer.Reason, Message: answer.Message}
}

// settled says that this generation of the object was pushed, and nobody asks for more.
func (p *pushPass) settled() bool {
	text := p.seen.Annotations[v1alpha1.SyncAnnotation]
	return p.seen.Status.LastPush != nil && p.seen.Status.ObservedGeneration == p.seen.Generation && isTrue(p.seen.Status.Conditions, v1alpha1.ConditionSynced) &&
		(text == "" || text == p.seen.Status.Requested)
}

// rotates says that generated values have had their time.
func (p *pushPass) rotates() bool {
	at := p.rotateAt()
	return !at.IsZero() && !at.After(p.now)
}

// rotateAt is when generated values are made anew, zero for never.
func (p *pushPass) rotateAt() time.Time {
	after := p.push.Spec.RotateAfter
	if len(p.push.Spec.Generate) == 0 || after == nil || after.Duration <= 0 || p.status.Generated == nil {
		return time.Time{}
	}
	return p.status.Generated.Add(after.Duration)
}

// held is what Vault has now.
type held struct {
	data    secrets.Data // nil where there is nothing
	version int64
	// ours says that it is what this object wrote last, previous the version to be replaced, 0 for none.
	ours     bool
	previous int64
}

// deliver has Vault hold what it should.
func (p *pushPass) deliver(ctx context.Context, session Session) error {
	there, err := p.look(ctx, session)
	if err != nil {
		return err
	}
	defer there.data.Clear()
	wanted, generated, err := p.want(ctx, session, there)
	if err != nil {
		return err
	}
	defer wanted.Clear()
	if there.ours && there.data.Equal(wanted) {
		p.pushed(wanted, there.version)
		return nil
	}
	repaired := p.written() && !there.ours
	// Before Vault has it: see reconcilePush.
	if err := p.announce(ctx, wanted); err != nil {
		return err
	}
	version, err := engine.Push(ctx, session, &p.push.Spec.Destination, wanted, there.previous)
	if secrets.ReasonOf(err) == secrets.NotOurs && there.data == nil && there.previous > 0 {
		// Where somebody has destroyed all of it, there is no version to replace: that succeeds only if really nothing is there.
		version, err = engine.Push(ctx, session, &p.push.Spec.Destination, wanted, 0)
	}
	if err != nil {
		return err
	}
	p.pushed(wanted, version)
	if generated {
		p.status.Generated = at(p.now)
	}
	p.c.metrics.wrote(p.place.Engine)
	reason, message := "Pushed", "Vault holds it as version "+strconv.FormatInt(version, 10)
	if repaired {
		reason, message = "Repaired", "somebody else had changed it in Vault; it is again what this object says, as version "+strconv.FormatInt(version, 10)
	}
	p.c.event(KindPush, &p.seen.ObjectMeta, "Normal", reason, message)
	return nil
}

// written says that something was pushed to this place.
func (p *pushPass) written() bool {
	where, _, _ := strings.Cut(p.seen.Status.Hash, ".")
	return p.seen.Status.Version > 0 && where == p.where()
}

// where is the place as status.hash has it. It is no secret: the spec says it.
func (p *pushPass) where() string {
	sum := sha256.Sum256([]byte(p.conn.Name + "\n" + p.place.Engine + "\n" + p.place.Mount + "\n" + p.place.Path))
	return hex.EncodeToString(sum[:8])
}

// look reads what Vault has at the place, and finds out whose it is.
func (p *pushPass) look(ctx context.Context, session Session) (*held, error) {
	there := &held{}
	if p.written() {
		there.previous = p.seen.Status.Version
	}
	data, version, err := engine.ReadPushed(ctx, session, &p.push.Spec.Destination)
	switch secrets.ReasonOf(err) {
	case "":
	case secrets.NotFound:
		return there, nil
	default:
		return nil, err
	}
	there.data, there.version = data, version
	place, hash, _ := strings.Cut(p.seen.Status.Hash, ".")
	switch {
	case place == p.where() && p.seen.Status.HashKey == p.c.o.Hasher.ID():
		there.ours = hash == p.c.o.Hasher.Data(data)
	case p.written():
		there.ours = version == p.seen.Status.Version // hashes of another key say nothing, and the number that it is the same
	}
	if there.ours || p.written() || p.push.Spec.Destination.Overwrite {
		there.previous = version
		return there, nil
	}
	data.Clear()
	return nil, &secrets.Error{
		Reason: secrets.NotOurs, Doing: "reading " + p.place.Accesses[0].Path,
		Message: "somebody else wrote it: take another path, or set destination.overwrite",
	}
}

// want is what Vault is to hold, and says whether any of it was made just now.
func (p *pushPass) want(ctx context.Context, session Session, there *held) (secrets.Data, bool, error) {
	if from := p.push.Spec.Secret; from != nil {
		wanted, err := p.readSecret(ctx, from)
		return wanted, false, err
	}
	if p.rotates() {
		made, err := engine.Generate(p.push.Spec.Generate, nil)
		return made, true, err
	}
	kept := there.data
	if !there.ours {
		kept = p.restore(ctx, session)
	}
	return p.generate(kept)
}

// restore reads the version that was pushed last, where somebody has written another one since; nil where it is not to be had.
func (p *pushPass) restore(ctx context.Context, session Session) secrets.Data {
	if !p.written() || p.place.Engine != secrets.EngineKV2 || p.seen.Status.HashKey != p.c.o.Hasher.ID() {
		return nil
	}
	destination := &p.push.Spec.Destination
	source := &v1alpha1.Source{KV: &v1alpha1.KVSource{Mount: destination.Mount, Path: destination.Path, EngineVersion: 2, Version: p.seen.Status.Version}}
	result, err := engine.Read(ctx, session, source, engine.Options{Clock: p.c.o.Clock, Mounts: p.c.mountsOf(p.conn.Name)})
	if err != nil {
		return nil
	}
	_, hash, _ := strings.Cut(p.seen.Status.Hash, ".")
	if hash != p.c.o.Hasher.Data(result.Data) {
		result.Data.Clear()
		return nil
	}
	return result.Data
}

// generate keeps the values that fit their generators, and makes the others.
func (p *pushPass) generate(kept secrets.Data) (wanted secrets.Data, made bool, err error) {
	missing := map[string]v1alpha1.Generator{}
	wanted = secrets.Data{}
	for key, generator := range p.push.Spec.Generate {
		if !fits(kept, key, &generator) {
			missing[key] = generator
			continue
		}
		wanted[key] = kept[key]
		if generator.PrivateKey != "" {
			wanted[key+".pub"] = kept[key+".pub"]
		}
	}
	if len(missing) == 0 {
		return wanted, false, nil
	}
	fresh, err := engine.Generate(missing, nil)
	if err != nil {
		return nil, false, err
	}
	for key, value := range fresh {
		wanted[key] = value
	}
	return wanted, true, nil
}

// readSecret reads the Secret that is pushed, by its name.
func (p *pushPass) readSecret(ctx context.Context, from *v1alpha1.PushSecret) (secrets.Data, error) {
	doing := "reading the Secret " + from.Name
	secret, err := p.c.o.Kubernetes.CoreV1().Secrets(p.push.Namespace).Get(ctx, from.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, &secrets.Error{Reason: secrets.MissingReference, Doing: doing, Message: "it is not there: create it, or name another in spec.secret"}
	case err != nil:
		return nil, clusterError(doing, err)
	}
	keys := from.Keys
	if len(keys) == 0 {
		for key := range secret.Data {
			keys = append(keys, key)
		}
	}
	wanted := secrets.Data{}
	for _, key := range keys {
		value, ok := secret.Data[key]
		if !ok {
			return nil, &secrets.Error{Reason: secrets.KeyMissing, Doing: doing, Message: "it has no key " + strconv.Quote(key) + ": correct spec.secret.keys"}
		}
		wanted[key] = secrets.NewValue(value)
	}
	return wanted, nil
}

// announce writes into the status what will be written to Vault.
func (p *pushPass) announce(ctx context.Context, wanted secrets.Data) error {
	hash := p.where() + "." + p.c.o.Hasher.Data(wanted)
	if p.seen.Status.Hash == hash && p.seen.Status.HashKey == p.c.o.Hasher.ID() {
		return nil
	}
	status := p.seen.Status
	if !p.written() {
		if status.Version > 0 {
			p.c.event(KindPush, &p.seen.ObjectMeta, "Normal", "Moved", "it is pushed to another place from now on; what was pushed to the one of before is left there")
		}
		status.Version = 0
	}
	status.Hash, status.HashKey = hash, p.c.o.Hasher.ID()
	if err := p.c.writePushStatus(ctx, p.seen, status); err != nil {
		return err
	}
	if now := p.c.push(p.key); now != nil && now.UID == p.seen.UID {
		p.seen.ResourceVersion = now.ResourceVersion
	}
	p.seen.Status = status
	p.status.Hash, p.status.HashKey, p.status.Version = status.Hash, status.HashKey, status.Version
	return nil
}

// pushed notes what Vault holds now.
func (p *pushPass) pushed(data secrets.Data, version int64) {
	p.status.Hash, p.status.HashKey, p.status.Version = p.where()+"."+p.c.o.Hasher.Data(data), p.c.o.Hasher.ID(), version
	p.status.LastPush = at(p.now)
	p.status.ObservedGeneration = p.seen.Generation
	p.status.Requested = p.seen.Annotations[v1alpha1.SyncAnnotation]
	switch {
	case len(p.push.Spec.Generate) == 0:
		p.status.Generated = nil
	case p.status.Generated == nil:
		p.status.Generated = at(p.now) // it was announced, and the process ended before it said so
	}
}

// conclude says how it went, and when to look again.
func (p *pushPass) conclude(failure error) time.Time {
	if failure != nil {
		return p.concludeFailure(failure)
	}
	p.m.failures, p.status.Failures = 0, 0
	setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionSynced, "True", "Synced", "Vault holds what it should")
	var next time.Time
	if !p.push.Spec.Refresh.Once {
		next = secrets.RefreshAt(p.now, p.push.Spec.Refresh.Interval.Duration, string(p.seen.UID))
	}
	if rotation := p.rotateAt(); !rotation.IsZero() {
		next = soonest(next, rotation)
	}
	p.status.NextPush = at(next)
	p.keepQuiet()
	return next
}

// keepQuiet leaves the status as it is where only the times have changed, and those not by much.
func (p *pushPass) keepQuiet() {
	seen := &p.seen.Status
	if seen.LastPush == nil || p.status.LastPush == nil || p.status.LastPush.Sub(seen.LastPush.Time) >= statusEvery {
		return
	}
	quiet := p.status
	quiet.LastPush, quiet.NextPush = seen.LastPush, seen.NextPush
	if sameStatus(quiet, *seen) {
		p.status = *seen
	}
}

func (p *pushPass) concludeFailure(failure error) time.Time {
	reason, message := secrets.ReasonOf(failure), messageOf(failure)
	p.m.failures = max(p.m.failures, p.seen.Status.Failures) + 1
	changed := setCondition(&p.status.Conditions, p.seen.Generation, p.now, v1alpha1.ConditionSynced, "False", reasonWord(reason), message)
	if changed && reason != secrets.Denied && reason != secrets.Undecided { // of those there is one already
		p.c.event(KindPush, &p.seen.ObjectMeta, "Warning", reasonWord(reason), message)
	}
	if reason == secrets.Misconfigured || reason == secrets.Denied {
		p.status.ObservedGeneration = p.seen.Generation
	}
	p.c.failed(p.key, p.connection(), failure)
	if !reason.Outage() || changed {
		p.status.Failures = p.m.failures // in an outage each try would be a write of each status
	}
	if !reason.Retries() {
		p.status.NextPush = nil
		return time.Time{}
	}
	next := p.now.Add(p.backoff(failure))
	if !reason.Outage() || changed {
		p.status.NextPush = at(next)
	}
	return next
}

func (p *pushPass) connection() string {
	if p.conn == nil {
		return ""
	}
	return p.conn.Name
}

func (p *pushPass) backoff(failure error) time.Duration {
	var after time.Duration
	if failed := (*secrets.Error)(nil); errors.As(failure, &failed) {
		after = failed.After
	}
	return secrets.Backoff(p.m.failures, secrets.ReasonOf(failure), after, string(p.seen.UID))
}

// delete takes away from Vault what was pushed, if the spec says so and it is still that. An outage is waited for; what will never be possible does not
// hold the object, and with it its namespace, for ever: an Event says what was left.
func (p *pushPass) delete(ctx context.Context) (time.Time, error) {
	if !slices.Contains(p.seen.Finalizers, v1alpha1.Finalizer) {
		return time.Time{}, nil
	}
	failure := p.withdraw(ctx)
	if ctx.Err() != nil {
		return time.Time{}, ctx.Err()
	}
	if failure != nil {
		reason := secrets.ReasonOf(failure)
		if reason.Outage() || reason == secrets.RateLimited || reason == secrets.Behind || reason == secrets.ClusterFailed {
			next := p.concludeFailure(failure)
			return next, p.c.writePushStatus(ctx, p.seen, p.status)
		}
		p.c.event(KindPush, &p.seen.ObjectMeta, "Warning", reasonWord(reason), "what was pushed is left in Vault, delete it there: "+messageOf(failure))
	}
	return time.Time{}, p.c.setFinalizer(ctx, KindPush, &p.seen.ObjectMeta, false)
}

func (p *pushPass) withdraw(ctx context.Context) (err error) {
	if p.push.Spec.WhenDeleted != v1alpha1.Delete || p.seen.Status.Hash == "" {
		return nil
	}
	if p.place, err = engine.PushPlace(&p.push.Spec.Destination); err != nil {
		return err
	}
	if p.conn, p.auth, err = p.c.references(p.push.Namespace, p.push.Spec.Auth); err != nil {
		return err
	}
	session, err := p.c.session(ctx, p.conn, p.auth)
	if err != nil {
		return err
	}
	there, err := p.look(ctx, session)
	if err != nil {
		return err
	}
	defer there.data.Clear()
	if there.data == nil {
		return nil
	}
	if !there.ours {
		return &secrets.Error{Reason: secrets.NotOurs, Doing: "deleting " + p.place.Accesses[0].Path, Message: "somebody else has written it since"}
	}
	return engine.DeletePushed(ctx, session, &p.push.Spec.Destination, there.version)
}
