package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// askEvery is the time between two questions whether Quarantines can be written.
const askEvery = time.Second

// served knows whether the API server has Quarantines. Once it has, it is not asked any more.
type served struct {
	mu      sync.Mutex
	problem error
	known   bool
}

// ask asks until the answer is good, or the context ends.
func (s *served) ask(ctx context.Context, client dynamic.Interface) {
	for ctx.Err() == nil {
		_, err := client.Resource(v1alpha1.Quarantines).List(ctx, metav1.ListOptions{Limit: 1})
		s.mu.Lock()
		s.problem, s.known = err, err == nil
		s.mu.Unlock()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(askEvery):
		}
	}
}

// check says why nothing can be written down.
func (s *served) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.known:
		return nil
	case s.problem == nil:
		return errors.New("the API server has not answered yet")
	case apierrors.IsNotFound(s.problem):
		return fmt.Errorf("listing them: %w: apply what portcullis-responder crd prints", s.problem)
	case apierrors.IsForbidden(s.problem) || apierrors.IsUnauthorized(s.problem):
		return fmt.Errorf("listing them: %w: apply what portcullis-responder roles prints, and bind the role to the service account", s.problem)
	}
	return fmt.Errorf("listing them: %w: it is tried again", s.problem)
}
