// Package usage tells mistakes in how a program was called from failures of what it does: the former end it with exit code 64, and a line
// that says where help is.
package usage

import (
	"errors"
	"fmt"
	"io/fs"
)

// Error is a mistake in how the program was called.
type Error struct{ cause error }

func (e Error) Error() string { return e.cause.Error() }

// Unwrap gives the cause.
func (e Error) Unwrap() error { return e.cause }

// New makes an error one of usage.
func New(err error) error { return Error{err} }

// Errorf is fmt.Errorf for mistakes of usage.
func Errorf(format string, args ...any) error { return Error{fmt.Errorf(format, args...)} }

// Is says whether an error is one of usage.
func Is(err error) bool {
	_, ok := errors.AsType[Error](err)
	return ok
}

// Correct adds the next step to an error about a file that cannot be read.
func Correct(flag string, err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return fmt.Errorf("%w: correct %s", err, flag)
	}
	return err
}

// UnlessFile makes an error one of usage, unless a file cannot be read.
func UnlessFile(flag string, err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return fmt.Errorf("%w: correct %s", err, flag)
	}
	return Error{fmt.Errorf("%w: correct %s", err, flag)}
}
