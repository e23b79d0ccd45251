package registration

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

func (b *bench) wantWaiting(reason string) {
	b.t.Helper()
	for _, one := range waits {
		want := 0.0
		if one == reason {
			want = 1
		}
		if got := testutil.ToFloat64(b.metrics.waiting.WithLabelValues(one)); got != want {
			b.t.Errorf("waiting for %s is %v, want %v (waiting for %q)", one, got, want, reason)
		}
	}
}

func TestNothingIsRegisteredBeforeSomebodyAnswers(t *testing.T) {
	b := newBench(t)
	for _, step := range []struct {
		do     func()
		reason string
	}{
		{func() {}, waitService},
		{b.createService, waitPolicies},
		{func() { b.Follow(lineup()) }, waitPolicies},
		{func() { b.Follow(ordinaryLineup) }, waitEndpoints},
		{func() { b.setEndpoint(false) }, waitEndpoints},
	} {
		step.do()
		b.turn()
		b.wantWaiting(step.reason)
		if got := b.there(); len(got) > 0 {
			t.Fatalf("waiting for %s, %d configurations are registered", step.reason, len(got))
		}
	}
	if secret, err := b.secret(t.Context(), ServingSecret); err != nil || secret == nil {
		t.Fatalf("without a certificate no replica becomes ready: got %v, %v", secret, err)
	}
	events, err := b.kube.EventsV1().Events(service.Namespace).List(t.Context(), metav1.ListOptions{})
	b.must(err)
	said := ""
	for _, e := range events.Items {
		said += e.Reason + ": " + e.Note + "\n"
	}
	if !strings.Contains(said, "RegistrationWaiting: nothing is registered yet: no endpoint of the Service") {
		t.Errorf("the Events do not say what is waited for:\n%s", said)
	}

	b.setEndpoint(true)
	b.turn()
	b.wantWaiting("")
	if got := b.there(); len(got) != 2 {
		t.Fatalf("got %d configurations, want both", len(got))
	}
	if closed, open := b.failures(); closed != 2 || open != 0 {
		t.Errorf("%d entries fail closed and %d open, want 2 and 0", closed, open)
	}

	t.Run("and nothing is withdrawn when nobody answers", func(t *testing.T) {
		b.setEndpoint(false)
		b.restart() // without policies, too
		b.turn()
		if got := b.there(); len(got) != 2 {
			t.Errorf("got %d configurations, want both", len(got))
		}
		b.deleteConfigurations()
		b.Follow(ordinaryLineup)
		b.turn()
		if got := b.there(); len(got) != 2 {
			t.Errorf("after they were deleted: got %d configurations, want both", len(got))
		}
	})
}

func TestWhatOthersChangeIsPutBack(t *testing.T) {
	b := registered(t)
	want := b.there()
	for name, change := range map[string]func(*admissionregistrationv1.ValidatingWebhookConfiguration){
		"rules": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].Rules[0].Resources = []string{"secrets"}
		},
		"an operation": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].Rules[0].Operations = []admissionregistrationv1.OperationType{"DELETE"}
		},
		"the CA bundle": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].ClientConfig.CABundle = nil
		},
		"the timeout": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].TimeoutSeconds = new(int32(1))
		},
		"the failure policy": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].FailurePolicy = new(admissionregistrationv1.Ignore)
		},
		"the match policy": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].MatchPolicy = new(admissionregistrationv1.Exact)
		},
		"a condition": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].MatchConditions = append(c.Webhooks[0].MatchConditions, admissionregistrationv1.MatchCondition{Name: "mine", Expression: "false"})
		},
		"the namespaces": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"guarded": "yes"}}
		},
		"the objects": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"guarded": "yes"}}
		},
		"the Service": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].ClientConfig.Service.Name = "mine"
		},
		"the path": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].ClientConfig.Service.Path = new("/mine")
		},
		"an entry less": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) { c.Webhooks = c.Webhooks[1:] },
		"no entry":      func(c *admissionregistrationv1.ValidatingWebhookConfiguration) { c.Webhooks = nil },
		"our label":     func(c *admissionregistrationv1.ValidatingWebhookConfiguration) { c.Labels = nil },
		"all at once": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Labels = nil
			for n := range c.Webhooks {
				c.Webhooks[n].ClientConfig.Service.Namespace = "default"
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b.clock.add(time.Hour / 60) // no fight
			b.edit(change)
			if b.there()[validating].same(&configured{door: validating, meta: metav1.ObjectMeta{Labels: labels()}, entries: want[validating].entries}) {
				t.Fatal("the edit changed nothing")
			}
			b.turn()
			if got := b.there()[validating]; !got.same(&configured{door: validating, meta: metav1.ObjectMeta{Labels: labels()}, entries: want[validating].entries}) {
				t.Errorf("got %s, want it put back", got.text())
			}
		})
	}
	if got := testutil.ToFloat64(b.metrics.writes.WithLabelValues("validating", wroteHealed)); got < 13 {
		t.Errorf("%v repairs are counted, want those of all edits", got)
	}
	t.Run("what is none of our business stays", func(t *testing.T) {
		b.edit(func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Labels["team"] = "platform"
			c.Annotations = map[string]string{"note": "x"}
		})
		b.turn()
		if got := b.validating(); got.Labels["team"] != "platform" || got.Annotations["note"] != "x" {
			t.Errorf("got labels %v and annotations %v, want those of others kept", got.Labels, got.Annotations)
		}
	})
}

func TestAFightIsAnsweredAtEachLookOnly(t *testing.T) {
	b := registered(t)
	b.options.Resync = 30 * time.Second
	b.restart()
	b.Follow(ordinaryLineup)
	b.turn()
	for range fightCount + 4 {
		b.edit(func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].TimeoutSeconds = new(int32(1))
		})
		b.turn()
	}
	if got := testutil.ToFloat64(b.metrics.writes.WithLabelValues("validating", wroteHealed)); got > fightCount {
		t.Errorf("%v repairs at once, want %d at most", got, fightCount)
	}
	b.clock.add(31 * time.Second)
	b.turn()
	if got := b.validating().Webhooks[0].TimeoutSeconds; *got == 1 {
		t.Error("after a while it is still not put back")
	}
}

func TestRulesFollowThePolicies(t *testing.T) {
	b := registered(t)
	b.Follow(lineup(podsClosed, servicesOpen, ingressClosed))
	b.turn()
	if !strings.Contains(string(b.there()[validating].text()), "ingresses") {
		t.Error("a new policy's kind is not asked about")
	}
	b.Follow(lineup(servicesOpen))
	b.turn()
	if got := b.there(); got[mutating] != nil || strings.Contains(string(got[validating].text()), "fail.validate") {
		t.Error("what no policy is about any more is still asked about")
	}
	before := b.validating().ResourceVersion
	b.Follow(lineup())
	b.turn()
	if got := b.validating(); got.ResourceVersion != before || len(got.Webhooks) == 0 {
		t.Error("policies about nothing have changed the configuration, want the last good one")
	}
	b.Follow(lineup(podsClosed, servicesOpen))
	b.turn()
	unloaded := *lineup(servicesOpen)
	unloaded.Members = append(slices.Clone(unloaded.Members), admission.Member{Refuses: true, Active: admission.Ready{Bundle: "tenant"}})
	b.Follow(&unloaded)
	b.turn()
	if !strings.Contains(string(b.there()[validating].text()), "fail.validate") {
		t.Error("rules went while a bundle was not loaded, and with them those that it may need")
	}
}

func TestWhatIsSomebodyElsesIsLeftAlone(t *testing.T) {
	b := newBench(t)
	b.createService()
	b.setEndpoint(true)
	b.Follow(ordinaryLineup)
	theirs := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "portcullis"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "theirs.example.com", ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: new("https://127.0.0.1:1")}, AdmissionReviewVersions: []string{"v1"},
			SideEffects: new(admissionregistrationv1.SideEffectClassNone), FailurePolicy: new(admissionregistrationv1.Ignore),
			Rules: []admissionregistrationv1.RuleWithOperations{{Operations: []admissionregistrationv1.OperationType{"CREATE"}, Rule: admissionregistrationv1.Rule{APIGroups: []string{"example.com"}, APIVersions: []string{"v1"}, Resources: []string{"things"}}}},
		}},
	}
	made, err := b.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), theirs, metav1.CreateOptions{})
	b.must(err)
	b.turn()
	b.wantWaiting(waitForeign)
	if got := b.validating(); got.ResourceVersion != made.ResourceVersion || len(b.there()) != 1 {
		t.Error("it was changed, or something was made beside it")
	}
	err = Uninstall(t.Context(), b.kube, UninstallOptions{Service: service, Name: "portcullis", Settle: time.Millisecond})
	if !errors.Is(err, ErrNotOurs) {
		t.Errorf("uninstalling: got %v, want that it is not ours", err)
	}
	if b.validating().UID != made.UID {
		t.Error("uninstalling has deleted it")
	}

	t.Run("a Secret", func(t *testing.T) {
		b := newBench(t)
		b.clean()
		b.createService()
		_, err := b.kube.CoreV1().Secrets(service.Namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: ServingSecret}, Data: map[string][]byte{"x": []byte("y")}}, metav1.CreateOptions{})
		b.must(err)
		if _, err := b.Turn(t.Context()); !errors.Is(err, errForeign) {
			t.Errorf("got %v, want that it is not ours", err)
		}
		b.wantWaiting(waitForeign)
	})
}

// TestTheGlass breaks it in both ways.
func TestTheGlass(t *testing.T) {
	b := registered(t)
	good := v1alpha1.BreakGlassSpec{Reason: "the webhook cannot start, OPS-1", Until: metav1.NewTime(time.Now().Add(time.Hour).Truncate(time.Second)), OpenedBy: glassUser}

	t.Run("only as the API server allows", func(t *testing.T) {
		for name, test := range map[string]struct {
			as     string
			change func(*v1alpha1.BreakGlassSpec)
			want   string
		}{
			"in another's name":           {glassUser, func(s *v1alpha1.BreakGlassSpec) { s.OpenedBy = "bob" }, "write alice"},
			"for a day":                   {glassUser, func(s *v1alpha1.BreakGlassSpec) { s.Until = metav1.NewTime(time.Now().Add(24 * time.Hour)) }, "more than 4 hours away"},
			"for no reason":               {glassUser, func(s *v1alpha1.BreakGlassSpec) { s.Reason = " " }, "spec.reason"},
			"in a mode that there is not": {glassUser, func(s *v1alpha1.BreakGlassSpec) { s.Mode = "Everything" }, "spec.mode"},
			"by who may not":              {controllerUser, func(s *v1alpha1.BreakGlassSpec) { s.OpenedBy = controllerUser }, "forbidden"},
		} {
			spec := good
			test.change(&spec)
			if _, err := b.breakGlass(test.as, spec); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: got %v, want %q", name, err, test.want)
			}
		}
		made, err := b.breakGlass(glassUser, good)
		b.must(err)
		b.must(unstructured.SetNestedField(made.Object, time.Now().Add(3*time.Hour).UTC().Format(time.RFC3339), "spec", "until"))
		if _, err := b.objects.Resource(v1alpha1.BreakGlasses).Update(t.Context(), made, metav1.UpdateOptions{}); err == nil || !strings.Contains(err.Error(), "never changes") {
			t.Errorf("prolonging one: got %v, want that it never changes", err)
		}
		b.must(b.objects.Resource(v1alpha1.BreakGlasses).Delete(t.Context(), made.GetName(), metav1.DeleteOptions{}))
	})

	t.Run("by a BreakGlass", func(t *testing.T) {
		made, err := b.breakGlass(glassUser, good)
		b.must(err)
		next := b.turn()
		if closed, open := b.failures(); closed != 0 || open != 2 {
			t.Errorf("%d entries fail closed and %d open, want 0 and 2", closed, open)
		}
		if want := good.Until.Time; next.Sub(want).Abs() > time.Second {
			t.Errorf("the next look is at %s, want its end %s", next, want)
		}
		if got := testutil.ToFloat64(b.metrics.active.WithLabelValues()); got != 1 {
			t.Errorf("portcullis_break_glass_active is %v, want 1", got)
		}
		// What is left is healed, and a restart changes nothing.
		b.edit(func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].Rules = c.Webhooks[0].Rules[:0]
			c.Webhooks = c.Webhooks[1:]
		})
		b.restart()
		b.Follow(ordinaryLineup)
		b.turn()
		if closed, open := b.failures(); closed != 0 || open != 2 {
			t.Errorf("after a restart %d entries fail closed and %d open, want 0 and 2", closed, open)
		}
		found, err := b.objects.Resource(v1alpha1.BreakGlasses).Get(t.Context(), made.GetName(), metav1.GetOptions{})
		b.must(err)
		if phase := found.Object["status"].(map[string]any)["phase"]; phase != "InForce" {
			t.Errorf("its phase is %v, want InForce", phase)
		}
		b.clock.add(61 * time.Minute)
		b.turn()
		if closed, open := b.failures(); closed != 2 || open != 0 {
			t.Errorf("after its end %d entries fail closed and %d open, want 2 and 0", closed, open)
		}
		if opened, closed := b.journal.steps("breakGlassOpened"), b.journal.steps("breakGlassClosed"); opened != 1 || closed != 1 {
			t.Errorf("the journal says %d times that it was opened and %d times closed, want once each: %q", opened, closed, b.journal.all)
		}
		events, err := b.kube.EventsV1().Events("default").List(t.Context(), metav1.ListOptions{})
		b.must(err)
		if len(events.Items) < 2 || events.Items[0].Regarding.Kind != "BreakGlass" {
			t.Errorf("got %d Events, want two about the BreakGlass", len(events.Items))
		}
		b.must(b.objects.Resource(v1alpha1.BreakGlasses).Delete(t.Context(), made.GetName(), metav1.DeleteOptions{}))
		b.clock.add(-61 * time.Minute)
	})

	t.Run("for all requests", func(t *testing.T) {
		admit := good
		admit.Mode = v1alpha1.BreakGlassAdmit
		made, err := b.breakGlass(glassUser, admit)
		b.must(err)
		b.turn()
		if got := b.there(); len(got) != 0 {
			t.Errorf("got %d configurations, want none", len(got))
		}
		b.setEndpoint(false)
		b.must(b.objects.Resource(v1alpha1.BreakGlasses).Delete(t.Context(), made.GetName(), metav1.DeleteOptions{}))
		b.turn()
		if got := b.there(); len(got) != 2 {
			t.Errorf("closed before its time: got %d configurations, want both", len(got))
		}
		b.setEndpoint(true)
	})

	t.Run("by kubectl", func(t *testing.T) {
		now := b.clock.Now()
		b.annotate(now.Add(720 * time.Hour).UTC().Format(time.RFC3339))
		b.turn()
		if closed, open := b.failures(); closed != 0 || open != 2 {
			t.Errorf("%d entries fail closed and %d open, want 0 and 2", closed, open)
		}
		b.deleteConfigurations()
		b.turn()
		b.restart()
		b.Follow(ordinaryLineup)
		b.clock.add(3*time.Hour + 58*time.Minute)
		b.turn()
		if got := b.there(); len(got) != 0 {
			t.Errorf("nearly four hours later: got %d configurations, want none", len(got))
		}
		b.clock.add(3 * time.Minute)
		b.turn()
		if got := b.there(); len(got) != 2 {
			t.Errorf("four hours later: got %d configurations, want both", len(got))
		}
		if closed, open := b.failures(); closed != 2 || open != 0 {
			t.Errorf("%d entries fail closed and %d open, want 2 and 0", closed, open)
		}
		b.annotate("tomorrow")
		b.turn()
		if closed, open := b.failures(); closed != 2 || open != 0 || b.validating().Annotations[v1alpha1.BreakGlassUntilAnnotation] != "" {
			t.Errorf("by what is no time %d entries fail closed and %d open, want 2 and 0, and the annotation gone", closed, open)
		}
	})
}

// TestWhatIsToldIsFollowedAtOnce runs it, with its watches.
func TestWhatIsToldIsFollowedAtOnce(t *testing.T) {
	b := newBench(t)
	b.options.Now, b.options.Elapsed, b.options.Resync = nil, nil, time.Hour
	var leads = make(chan struct{})
	b.options.Leads = func() bool {
		select {
		case <-leads:
			return true
		default:
			return false
		}
	}
	b.restart()
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	defer func() {
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	b.createService()
	b.setEndpoint(true)
	b.Follow(ordinaryLineup)
	if got := b.there(); len(got) != 0 {
		t.Fatalf("%d configurations were made by a replica that does not lead", len(got))
	}
	close(leads)
	both := func() bool { return len(b.there()) == 2 }
	clustertest.Until(t, "both are registered", both)
	b.must(b.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), "portcullis", metav1.DeleteOptions{}))
	clustertest.Until(t, "the one that was deleted is back", both)
	uid := b.validating().UID
	b.edit(func(c *admissionregistrationv1.ValidatingWebhookConfiguration) { c.Webhooks = c.Webhooks[:1] })
	clustertest.Until(t, "the entry that was taken out is back", func() bool { return len(b.validating().Webhooks) > 1 })

	// Annotated and deleted in one go: it stays away.
	b.annotate(time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	b.deleteConfigurations()
	clustertest.Until(t, "the opening is written down", func() bool {
		m, err := readMemory(t.Context(), b.kube.CoordinationV1().Leases(service.Namespace), "portcullis-webhook")
		return err == nil && len(m.openings) == 1
	})
	if got := b.there(); len(got) != 0 {
		t.Errorf("%d configurations were put back though the glass is broken", len(got))
	}

	t.Run("uninstalled, it stays away", func(t *testing.T) {
		_ = b.kube.CoordinationV1().Leases(service.Namespace).Delete(t.Context(), "portcullis-webhook", metav1.DeleteOptions{})
		clustertest.Until(t, "both are registered", both)
		if b.validating().UID == uid {
			t.Fatal("it is the old one")
		}
		var out strings.Builder
		b.must(Uninstall(t.Context(), b.uninstaller(), UninstallOptions{Service: service, Name: "portcullis", Secrets: true, Settle: time.Second, Out: &out}))
		if len(b.there()) != 0 || !strings.Contains(out.String(), "are gone") || !strings.Contains(out.String(), "Deleted the Secret "+service.Namespace+"/"+AuthoritySecret) {
			t.Errorf("got %d configurations and %q, want none and that they are gone", len(b.there()), out.String())
		}
		b.poke()
		clustertest.Until(t, "the controller knows", func() bool {
			return testutil.ToFloat64(b.metrics.waiting.WithLabelValues(waitUninstalled)) == 1
		})
		if _, err := b.kube.CoreV1().Secrets(service.Namespace).Get(t.Context(), AuthoritySecret, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the authority is back: %v", err)
		}
		// Installed anew: another Service.
		b.must(b.kube.CoreV1().Services(service.Namespace).Delete(t.Context(), service.Name, metav1.DeleteOptions{}))
		b.createService()
		b.poke()
		clustertest.Until(t, "both are registered again", both)
	})
}

// uninstaller acts with the controller's rights.
func (b *bench) uninstaller() kubernetes.Interface {
	b.t.Helper()
	client, err := shared.Cluster(b.t).Client(controllerUser)
	b.must(err)
	return client
}

func TestAnInspectionSaysWhatIsRegistered(t *testing.T) {
	b := registered(t)
	state, err := Inspect(t.Context(), b.objects, Place{}, b.clock.Now())
	b.must(err)
	if state.Validating == nil || state.Mutating == nil || !state.Validating.Controlled || state.Validating.Service != "portcullis-system/portcullis-webhook:443" ||
		!state.Validating.SameCA || len(state.Validating.CA) != 1 || len(state.Validating.FailOpen) != 0 || state.Leaf == nil || state.Authority == nil || state.Since.IsZero() || len(state.Unread) > 0 {
		t.Errorf("got %+v, %+v, want both controlled and closed, with certificates", state, state.Validating)
	}
	_, err = b.breakGlass(glassUser, v1alpha1.BreakGlassSpec{Reason: "the webhook cannot start", Until: metav1.NewTime(time.Now().Add(time.Hour)), OpenedBy: glassUser})
	b.must(err)
	b.turn()
	state, err = Inspect(t.Context(), b.objects, Place{}, b.clock.Now())
	b.must(err)
	if len(state.BreakGlass) != 1 || state.BreakGlass[0].By != glassUser || len(state.Validating.FailOpen) != 1 {
		t.Errorf("got %+v and %q, want an opening by %s and an entry that fails open", state.BreakGlass, state.Validating.FailOpen, glassUser)
	}
	// Who may read little learns what could not be read.
	limited, err := shared.Cluster(t).Config(glassUser)
	b.must(err)
	as, err := dynamic.NewForConfig(limited)
	b.must(err)
	state, err = Inspect(t.Context(), as, Place{}, b.clock.Now())
	b.must(err)
	if len(state.Unread) < 4 || len(state.BreakGlass) != 1 {
		t.Errorf("got %d that are unread and %d openings, want what alice may not read, and the opening", len(state.Unread), len(state.BreakGlass))
	}
}
