//go:build !linux

package packets

import "errors"

func unshare() error { return errors.ErrUnsupported }

func enter(uintptr) error { return errors.ErrUnsupported }
