package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/portcullis-dev/portcullis/admission/decisions"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/kube"
	"github.com/portcullis-dev/portcullis/cmd/portcullis-console/internal/live"
)

type decisionsData struct {
	Verdict, Text, Problem, Stream string
	Verdicts                       []string
	Entries                        []decisions.Entry
	Notices                        []string
	Events                         bool // instead of decisions
	EventRows                      []eventRow
	Pager                          pager
}

type eventRow struct {
	Time                    time.Time
	Reason, Object, Message string
}

// recentLimit is how many decisions of the past are read.
const recentLimit = decisions.DefaultSize

// decisions shows what was decided of late.
func (v *visit) decisions() error {
	data := decisionsData{
		Verdict: v.query.Get("verdict"), Text: v.query.Get("q"), Verdicts: []string{"", "admitted", "denied", "fault", "unmatched", "shed", "rejected"},
		Stream: address("/decisions/stream", "namespace", v.namespace),
	}
	entries, notices, err := v.o.Live.Recent(v.r.Context(), v.caller, v.namespace, recentLimit)
	if err != nil {
		if kube.LoggedOut(err) {
			return err
		}
		data.Problem, data.Events = err.Error(), true
		rows, more, err := v.eventRows(v.r.Context())
		if err != nil {
			if kube.LoggedOut(err) {
				return err
			}
			data.Notices = append(data.Notices, err.Error())
		}
		data.EventRows, data.Pager = cutPage(rows, "/decisions", v.query, more)
		return v.show("decisions", "Decisions", data)
	}
	wanted := slices.DeleteFunc(entries, func(e decisions.Entry) bool {
		return data.Verdict != "" && e.Verdict != data.Verdict || data.Text != "" && !contains(e, data.Text)
	})
	data.Notices = notices
	data.Entries, data.Pager = cutPage(wanted, "/decisions", v.query, false)
	return v.show("decisions", "Decisions", data)
}

// contains says whether a text is somewhere in a decision, as the script does.
func contains(e decisions.Entry, text string) bool {
	line, err := json.Marshal(e)
	return err == nil && strings.Contains(strings.ToLower(string(line)), strings.ToLower(text))
}

// eventRows are Events about refusals, and those of Portcullis, the newest first.
func (v *visit) eventRows(ctx context.Context) ([]eventRow, bool, error) {
	list, err := kube.List[corev1.Event](ctx, v.caller, events, kube.Query{Namespace: v.namespace})
	if err != nil {
		return nil, false, err
	}
	var rows []eventRow
	for n := range list.Items {
		e := &list.Items[n]
		ours := strings.Contains(e.ReportingController, "portcullis") || strings.Contains(e.Source.Component, "portcullis") || strings.Contains(e.Message, "admission webhook")
		if !ours {
			continue
		}
		at := cmp.Or(e.LastTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time)
		rows = append(rows, eventRow{at, e.Reason, e.InvolvedObject.Kind + " " + e.InvolvedObject.Namespace + "/" + e.InvolvedObject.Name, e.Message})
	}
	slices.SortFunc(rows, func(a, b eventRow) int { return b.Time.Compare(a.Time) })
	return rows, list.More, nil
}

// Bounds of a stream: a browser connects again by itself.
const (
	streamLongest  = 9 * time.Minute
	streamInterval = 15 * time.Second
	// Over HTTP/2 a deadline that passes resets the stream, whether or not something is written.
	streamWrite = 3 * streamInterval
)

// stream sends decisions as they come, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
func (v *visit) stream() error {
	ctx, cancel := context.WithTimeout(v.r.Context(), min(streamLongest, v.session.Expires.Sub(v.o.Now())))
	defer cancel()
	control := http.NewResponseController(v.w)
	// The server's limit for reading a request would end the stream: it is read.
	_ = control.SetReadDeadline(time.Time{})
	v.w.Header().Set("Content-Type", "text/event-stream")
	lines := make(chan []byte)
	ended := make(chan error, 1)
	go func() {
		ended <- v.o.Live.Follow(ctx, v.caller, v.namespace, func(line live.Line) error {
			text, err := json.Marshal(line)
			if err != nil {
				return err
			}
			select {
			case lines <- text:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	ticker := time.NewTicker(streamInterval)
	defer ticker.Stop()
	write := func(format string, args ...any) bool {
		_ = control.SetWriteDeadline(time.Now().Add(streamWrite))
		_, err := fmt.Fprintf(v.w, format, args...)
		return err == nil && control.Flush() == nil
	}
	if !write("retry: 3000\n\n") {
		return nil
	}
	for {
		select {
		case text := <-lines:
			if !write("data: %s\n\n", text) {
				return nil
			}
		case <-ticker.C:
			if !write(": still here\n\n") {
				return nil
			}
		case err := <-ended:
			if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
				text, _ := json.Marshal(live.Line{Notice: err.Error()})
				write("data: %s\n\n", text)
			}
			return nil
		}
	}
}
