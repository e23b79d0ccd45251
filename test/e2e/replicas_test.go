package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The short form runs with all tests, the long one where PORTCULLIS_SOAK is set.
const (
	soakRate      = 200 // requests a second
	shortDuration = 10 * time.Second
	soakDuration  = 60 * time.Second
)

// TestRestartingOneOfTwoReplicasCostsNoRequest keeps a steady load on the API server,
// with failurePolicy Fail, while one replica after the other ends and comes back. Every
// answer must be the right one: the webhook's verdict, at once.
func TestRestartingOneOfTwoReplicasCostsNoRequest(t *testing.T) {
	env := shared
	duration := shortDuration
	if os.Getenv("PORTCULLIS_SOAK") != "" {
		duration = soakDuration
	}
	good, bad := pod(t, "load"), pod(t, "load", privileged)
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	request := func(ctx context.Context, number int) error {
		if number%10 != 0 {
			_, err := env.dev.CoreV1().Pods("team").Create(ctx, good, dryRun)
			return err
		}
		_, err := env.dev.CoreV1().Pods("team").Create(ctx, bad, dryRun)
		if err == nil || !strings.Contains(err.Error(), "pods/privileged") {
			return fmt.Errorf("a privileged pod: got %v, want it denied by pods/privileged", err)
		}
		return nil
	}

	restarted := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { restarted <- restartInTurn(ctx, env, duration) }()
	result := send(t.Context(), soakRate, duration, request)
	t.Log(result)
	if err := <-restarted; err != nil {
		t.Error(err)
	}
	for i, err := range result.errors {
		if i == 10 {
			t.Errorf("… and %d more", len(result.errors)-i)
			break
		}
		t.Error(err)
	}
	if want := int(duration.Seconds() * soakRate); result.sent != want {
		t.Errorf("sent %d requests, want %d", result.sent, want)
	}
}

// restartInTurn restarts each replica once, a third and two thirds into the load.
func restartInTurn(ctx context.Context, env *environment, duration time.Duration) error {
	for _, replica := range env.library.replicas {
		select {
		case <-time.After(duration / 3):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := errors.Join(replica.Stop(), replica.Start(ctx)); err != nil {
			return err
		}
	}
	return nil
}
