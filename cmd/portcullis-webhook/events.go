package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"

	"github.com/portcullis-dev/portcullis/admission/event"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// tellEvents adds who writes Events to whoever hears of decisions already. Nobody does without --events.
func (f *flags) tellEvents(recorder webhook.Recorder, config *rest.Config, register func(...prometheus.Collector), logger *slog.Logger, tasks *background) (webhook.Recorder, error) {
	if !f.events {
		return recorder, nil
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster to write Events: %w", err)
	}
	host, _ := os.Hostname()
	writer, err := event.NewWriter(event.Options{Client: client.EventsV1(), Instance: cmp.Or(host, "webhook"), Log: logger})
	if err != nil {
		return nil, err
	}
	register(writer)
	*tasks = append(*tasks, writer.Run)
	if recorder == nil {
		return writer, nil
	}
	return recorders{recorder, writer}, nil
}
