package soak

import (
	"context"
	"errors"
	"net"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// outcome is what became of a request.
type outcome int

// The outcomes. The zero value is the one that may never be.
const (
	unexplained outcome = iota // refused, and neither a policy nor a fault is named
	admitted
	denied     // by policies
	failed     // for safety: a fault is named
	unanswered // the API server did not judge it, or nobody knows
)

// outcomeOf reads it off what the API server says.
func outcomeOf(err error) outcome {
	if err == nil {
		return admitted
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "failed calling webhook"):
		return failed
	case strings.Contains(text, "admission webhook") && strings.Contains(text, "denied the request"):
		if apierrors.IsTooManyRequests(err) || strings.Contains(text, "could not be judged") {
			return failed
		}
		if strings.Contains(text, "denies it") || strings.Contains(text, "deny it") {
			return denied
		}
		return unexplained
	case apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsInternalError(err), apierrors.IsServiceUnavailable(err), apierrors.IsTooManyRequests(err),
		apierrors.IsUnexpectedServerError(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), notSent(err), warmingUp(text):
		return unanswered
	}
	return unexplained
}

// notSent says that a connection ended before there was an answer.
func notSent(err error) bool {
	var network net.Error
	if errors.As(err, &network) {
		return true
	}
	for _, sign := range []string{"EOF", "connection refused", "connection reset", "http2: ", "etcdserver: ", "leader changed", "Client.Timeout"} {
		if strings.Contains(err.Error(), sign) {
			return true
		}
	}
	return false
}

// warmingUp are answers of an API server that has just begun: its caches of rights and namespaces are not filled yet.
func warmingUp(text string) bool {
	return strings.Contains(text, "not yet ready to handle request") || strings.Contains(text, "RBAC: clusterrole") && strings.Contains(text, "not found")
}
