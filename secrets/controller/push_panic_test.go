package controller

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestAPanicSaysWhereItWasAndNothingOfWhatItQuotes: what a panic says may be a value.
func TestAPanicSaysWhereItWasAndNothingOfWhatItQuotes(t *testing.T) {
	const value = "correct horse battery staple"
	for name, panics := range map[string]func(){
		"with a text":               func() { panic(value) },
		"with an error":             func() { panic(fmt.Errorf("reading %s: %w", value, errors.New(value))) },
		"with something that holds": func() { panic(struct{ Held string }{value}) },
		"of the runtime":            func() { _ = map[any]int{}[func() string { return value }] },
		"of a bound":                func() { s := value; _ = s[len(s)+len(value):] },
	} {
		t.Run(name, func(t *testing.T) {
			err := guard(func() error { panics(); return nil })
			if err == nil || strings.Contains(err.Error(), value) || strings.Contains(err.Error(), "staple") {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), "TestAPanicSaysWhereItWas") || !strings.Contains(err.Error(), "push_panic_test.go:") && !strings.Contains(err.Error(), ":1") {
				t.Errorf("it does not say where it was: %v", err)
			}
		})
	}
}
