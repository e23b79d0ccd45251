package controller

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// guard makes an error of a panic. What the panic says is dropped, since it may quote values; where it was is kept.
func guard(f func() error) (err error) {
	defer func() {
		reason := recover()
		if reason == nil {
			return
		}
		err = fmt.Errorf("a defect of portcullis-secrets, please report it: %s at %s", kindOfPanic(reason), strings.Join(panickedAt(), " < "))
	}()
	return f()
}

func kindOfPanic(reason any) string {
	if failed, ok := reason.(error); ok {
		if fault := (runtime.Error)(nil); errors.As(failed, &fault) {
			return fmt.Sprintf("%T", fault)
		}
	}
	return "a panic"
}

// panickedAt are the functions below guard, at most 12.
func panickedAt() []string {
	counters := make([]uintptr, 32)
	frames := runtime.CallersFrames(counters[:runtime.Callers(4, counters)])
	var found []string
	for len(found) < 12 {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, ".guard") || !more {
			break
		}
		found = append(found, fmt.Sprintf("%s:%d", frame.Function[strings.LastIndex(frame.Function, "/")+1:], frame.Line))
	}
	return found
}
