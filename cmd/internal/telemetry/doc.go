// Package telemetry is what all programs say of themselves while they run: log lines, with the trace that they belong to, and traces, sent to an
// OpenTelemetry collector. A collector that is slow or gone costs traces and nothing else, and the metrics say how many.
package telemetry
