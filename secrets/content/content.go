package content

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Limits. A Secret with more is refused by the API server (core/v1 MaxSecretSize), and what a template of a Secret needs is far below the others.
const (
	MaxSize         = 1 << 20   // bytes of all keys and values of a Secret
	MaxTemplate     = 64 << 10  // bytes of one template
	MaxTemplates    = 64        // of one Secret
	MaxTemplatesAll = 256 << 10 // bytes of all templates of one Secret: what parsing them takes is bounded by it
	maxSteps        = 100_000   // nodes evaluated, rounds of range, calls: by all templates of a Secret
	maxWork         = 32 << 20  // bytes read and made by functions, likewise
	maxText         = MaxSize   // bytes of one text
	maxNesting      = 100       // of blocks, parentheses and JSON
	evaluationTime  = 500 * time.Millisecond
	doingConfigured = "checking the destination"
)

// Make makes what the Secret or ConfigMap of a destination holds. It shares nothing with source, and leaves it as it is.
//
// It fails with a *secrets.Error: Misconfigured for what is wrong whatever the source holds (see Check); KeyMissing where a key is not
// there that a type or a template asks for, or none is there at all; Unfit where there is one and it is not what the type takes;
// TemplateFailed where a template fails otherwise, or takes more than 500 ms or any of the other bounds. No error quotes a value.
func Make(ctx context.Context, source secrets.Data, destination *v1alpha1.Destination) (secrets.Data, error) {
	plan, err := check(destination)
	if err != nil {
		return nil, err
	}
	if plan.configMap {
		if err := onlyPublicKeys(source); err != nil {
			return nil, err
		}
	}
	made := secrets.Data{}
	if len(plan.templates) == 0 || destination.KeepSource {
		for key, value := range source {
			made[key] = secrets.NewValue(slices.Clone(value.Reveal()))
		}
	}
	if err := plan.fill(ctx, made, source); err != nil {
		made.Clear()
		return nil, err
	}
	if err := plan.finish(made); err != nil {
		made.Clear()
		return nil, err
	}
	return made, nil
}

// Check says what is wrong with a destination whatever the source will hold, as a *secrets.Error with the reason Misconfigured: a template that
// does not parse or calls what is not there, a key that no Secret can have, a type that is not made here. nil where nothing is.
func Check(destination *v1alpha1.Destination) error {
	_, err := check(destination)
	return err
}

// plan is a destination that was checked.
type plan struct {
	kind      *secretType // nil: Opaque, or a ConfigMap
	configMap bool
	templates []*template // sorted by key
}

func check(destination *v1alpha1.Destination) (*plan, error) {
	var p plan
	switch destination.Kind {
	case "", v1alpha1.KindSecret:
		kind, known := secretTypes[destination.Type]
		if !known {
			return nil, misconfigured("the type %q is not one that is made here: use %s", destination.Type, strings.Join(slices.Sorted(maps.Keys(typeNames())), ", "))
		}
		p.kind = kind
	case v1alpha1.KindConfigMap:
		p.configMap = true
		if destination.Type != "" {
			return nil, misconfigured("a ConfigMap has no type: take destination.type out")
		}
	default:
		return nil, misconfigured("the kind %q is not one that is made here: use Secret or ConfigMap", destination.Kind)
	}
	if len(destination.Templates) > MaxTemplates {
		return nil, misconfigured("there are %d templates, and at most %d may be", len(destination.Templates), MaxTemplates)
	}
	size := 0
	for _, key := range slices.Sorted(maps.Keys(destination.Templates)) {
		if size += len(destination.Templates[key]); size > MaxTemplatesAll {
			return nil, misconfigured("the templates have more than %d bytes", MaxTemplatesAll)
		}
		if wrong := validation.IsConfigMapKey(key); len(wrong) > 0 {
			return nil, misconfigured("the template %q makes no key of a Secret: use letters, digits, '-', '_' and '.', at most 253 of them", key)
		}
		t, err := parseTemplate(key, destination.Templates[key])
		if err != nil {
			return nil, err
		}
		p.templates = append(p.templates, t)
	}
	if p.kind != nil && len(p.templates) > 0 && !destination.KeepSource {
		if lacking := p.kind.lacks(func(key string) bool { _, ok := destination.Templates[key]; return ok }); lacking != "" {
			return nil, misconfigured("a Secret of the type %s needs %s, and no template makes it: add one, or set keepSource", destination.Type, lacking)
		}
	}
	return &p, nil
}

func misconfigured(format string, args ...any) error {
	return &secrets.Error{Reason: secrets.Misconfigured, Doing: doingConfigured, Message: fmt.Sprintf(format, args...)}
}

// fill evaluates all templates within one budget.
func (p *plan) fill(ctx context.Context, made, source secrets.Data) error {
	if len(p.templates) == 0 {
		return nil
	}
	ctx, stop := context.WithTimeout(ctx, evaluationTime)
	defer stop()
	root := rootOf(source)
	budget := newBudget(ctx)
	for _, t := range p.templates {
		text, err := t.evaluate(root, budget)
		if err != nil {
			return err
		}
		made[t.name] = secrets.NewValue(text)
	}
	return nil
}

// finish makes what the type asks for, and holds all of it to what the API server takes.
func (p *plan) finish(made secrets.Data) error {
	const doing = "making the content"
	if len(made) == 0 {
		return &secrets.Error{Reason: secrets.KeyMissing, Doing: doing, Message: "the secret has no keys; the Secret is left as it is"}
	}
	if p.kind != nil {
		if err := p.kind.complete(made); err != nil {
			var failed *secrets.Error
			if errors.As(err, &failed) {
				failed.Doing = doing
			}
			return err
		}
	}
	size := 0
	for _, key := range made.Keys() {
		if wrong := validation.IsConfigMapKey(key); len(wrong) > 0 {
			return &secrets.Error{Reason: secrets.Unfit, Doing: doing,
				Message: fmt.Sprintf("the key %q cannot be one of a Secret (letters, digits, '-', '_' and '.', at most 253 of them): take the others by source keys, or write it with a template under another name", printable(key))}
		}
		size += len(key) + made[key].Len()
	}
	if size > MaxSize {
		return &secrets.Error{Reason: secrets.Unfit, Doing: doing, Message: fmt.Sprintf("it has %d bytes, and a Secret holds at most %d: take fewer keys", size, MaxSize)}
	}
	return nil
}

// printable shortens a name that Vault gave, for a message.
func printable(name string) string {
	const most = 64
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return name
}
