package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/portcullis-dev/portcullis/scanner"
)

// Handler answers one request. It is called for one at a time. What it cannot find out of an image is a report whose
// state is not complete; an error says that the request failed.
type Handler func(context.Context, Request) (Result, error)

// Serve is the child's side: it answers requests from in on out until in ends, which is how a parent that is gone
// ends its child, even in the midst of an analysis. A panic of the handler is an error of the request.
//
// Nothing else may write to out.
func Serve(ctx context.Context, in io.Reader, out io.Writer, tool scanner.Tool, handle Handler) error {
	if err := writeLine(out, Hello{Protocol: ProtocolVersion, Tool: tool}, maxRequest); err != nil {
		return fmt.Errorf("greeting the parent: %w", err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	requests := make(chan Request)
	go receive(ctx, stop, in, requests)
	for {
		select {
		case request := <-requests:
			answer := make(chan response, 1)
			go func() { answer <- answerOne(ctx, handle, request) }()
			select {
			case r := <-answer:
				if err := send(out, r); err != nil {
					return err
				}
			case <-ctx.Done():
				return ended(ctx)
			}
		case <-ctx.Done():
			return ended(ctx)
		}
	}
}

func receive(ctx context.Context, stop context.CancelCauseFunc, in io.Reader, requests chan<- Request) {
	for reader := bufio.NewReaderSize(in, maxRequest); ; {
		var request Request
		if err := readLine(reader, &request, maxRequest); err != nil {
			stop(err)
			return
		}
		select {
		case requests <- request:
		case <-ctx.Done():
			return
		}
	}
}

// ended is nil where the parent has closed the pipe or the process is being ended.
func ended(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, io.EOF) && !errors.Is(cause, context.Canceled) {
		return fmt.Errorf("reading a request: %w", cause)
	}
	return nil
}

func answerOne(ctx context.Context, handle Handler, request Request) (r response) {
	r.ID = request.ID
	defer func() {
		if p := recover(); p != nil {
			r.Result, r.Error = nil, fmt.Sprintf("the analyser panicked: %v\n%s", p, stack())
		}
	}()
	if request.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(request.Timeout)*time.Millisecond)
		defer cancel()
	}
	result, err := handle(ctx, request)
	if err != nil {
		r.Error = err.Error()
		if r.Error == "" {
			r.Error = "the analyser failed and does not say why"
		}
		return r
	}
	r.Result = &result
	return r
}

// stack is the beginning of the stack, for the log.
func stack() []byte {
	const most = 4 << 10
	all := debug.Stack()
	return all[:min(len(all), most)]
}

// send writes a response, or that it is too long for one.
func send(out io.Writer, r response) error {
	err := writeLine(out, r, maxResponse)
	if errors.Is(err, errLineTooLong) {
		err = writeLine(out, response{ID: r.ID, Error: "the result is too large to be handed over: " + err.Error()}, maxResponse)
	}
	if err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	return nil
}
