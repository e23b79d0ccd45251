package evidence

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Bounds of what is read of one log: lines from its end, and bytes of which the last are kept. Twice as much is looked at as is kept, so
// that a key that begins before what is kept is seen as one.
const (
	tailLines = 5000
	maxRead   = 8 << 20
	window    = 2 * maxPiece
)

// logs keeps the end of the log of each container that has run, and of its run before that.
func (r *capture) logs(ctx context.Context) {
	at := r.q.Spec.Pod
	pod, err := r.core.CoreV1().Pods(at.Namespace).Get(ctx, at.Name, metav1.GetOptions{})
	if err != nil || string(pod.UID) != at.UID {
		return // that it is gone was said when objects were read
	}
	statuses := slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses)
	for _, status := range statuses {
		if status.ContainerID != "" || status.State.Terminated != nil {
			r.logOf(ctx, pod, status.Name, false)
		}
	}
	for _, status := range statuses {
		if status.RestartCount > 0 || status.LastTerminationState.Terminated != nil {
			r.logOf(ctx, pod, status.Name, true)
		}
	}
}

func (r *capture) logOf(whole context.Context, pod *corev1.Pod, container string, previous bool) {
	kind := KindLog
	if previous {
		kind = KindPreviousLog
	}
	if r.has(kind, container) {
		return
	}
	ctx, cancel := context.WithTimeout(whole, logBudget)
	defer cancel()
	lines := int64(tailLines)
	stream, err := r.core.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, Previous: previous, TailLines: &lines, Timestamps: true}).Stream(ctx)
	if err != nil {
		r.problem("reading the %s of container %s: %w", kind, container, err)
		return
	}
	defer stream.Close()
	data, truncated, err := tail(stream)
	if err != nil {
		r.problem("reading the %s of container %s: %w", kind, container, err)
		if len(data) == 0 {
			return
		}
		truncated = true
	}
	// The pod may have been made anew under its name while its log was read: then this is the log of another one.
	again, err := r.core.CoreV1().Pods(pod.Namespace).Get(whole, pod.Name, metav1.GetOptions{})
	if err == nil && again.UID != pod.UID {
		r.problem("reading the %s of container %s: the pod was made anew meanwhile", kind, container)
		return
	}
	text := r.redactor.Text(string(bytes.ToValidUTF8(data, []byte("\uFFFD"))))
	r.keep(whole, captured{kind: kind, container: container, data: []byte(text), truncated: truncated})
}

// tail reads a log and gives its end, whether there was more, and why it ended early.
func tail(log io.Reader) (data []byte, truncated bool, err error) {
	buffer := make([]byte, 32<<10)
	read := 0
	for {
		n, err := log.Read(buffer)
		data = append(data, buffer[:n]...)
		if len(data) > 2*window {
			data, truncated = append([]byte(nil), data[len(data)-window:]...), true
		}
		if read += n; read > maxRead {
			return data, true, errors.New("there is more than can be read of one log: what came after is not kept")
		}
		if errors.Is(err, io.EOF) {
			return data, truncated, nil
		}
		if err != nil {
			return data, truncated, err
		}
	}
}
